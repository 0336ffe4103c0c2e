"""Group, layer and instance normalisation, on batch norm's primitives.

What is normalised together there, a channel, is here a group of one sample: x is laid out as
(1, N*G, M), and batch norm without weights computes the statistics and what grad_x is of them.
Formulas stand in `backend.reference`.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from .norm import batch_norm_backward, batch_norm_forward
from .precision import working


def _by_channel(t: ndarray, x: ndarray) -> ndarray:
    """(C,) along x (N,C,*)."""
    return t.reshape(-1, *[1] * (x.ndim - 2))


@np.errstate(all="ignore")
def group_norm_forward(
    x: ndarray, weight: ndarray | None, bias: ndarray | None, groups: int, eps: float
) -> tuple[ndarray, ndarray, ndarray]:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, each group of each sample by itself.

    x (N,C,*), weight and bias (C,) or None; y like x, mean and var (N,G).
    """
    sets = (x.shape[0], groups)
    if x.size == 0:
        mean, var = np.zeros((2, *sets), np.result_type(x.dtype, np.float32))
        return np.empty_like(x), mean, var
    rows = working(x).reshape(1, x.shape[0] * groups, -1)
    y, mean, var = batch_norm_forward(rows, None, None, eps)
    y = y.reshape(x.shape)
    if weight is not None:
        y *= _by_channel(weight, x)
    if bias is not None:
        y += _by_channel(bias, x)
    return y.astype(x.dtype, copy=False), mean.reshape(sets), var.reshape(sets)


@np.errstate(all="ignore")
def group_norm_grad_input(
    grad_y: ndarray, x: ndarray, weight: ndarray | None, mean: ndarray, inv_std: ndarray
) -> ndarray:
    """grad_x = inv_std * (u - mean of u - x_hat * mean of u * x_hat), u = weight * grad_y.

    grad_y and x (N,C,*), mean and inv_std (N,G); result like x.
    """
    if x.size == 0:
        return np.empty_like(x)
    u = working(grad_y)
    if weight is not None:
        u = u * _by_channel(weight, x)
    rows = (1, mean.size, -1)
    statistics = mean.ravel(), inv_std.ravel()
    grad_x = batch_norm_backward(u.reshape(rows), x.reshape(rows), None, *statistics)[0]
    return grad_x.reshape(x.shape)


@np.errstate(all="ignore")
def group_norm_grad_affine(
    grad_y: ndarray, x: ndarray, mean: ndarray, inv_std: ndarray
) -> tuple[ndarray, ndarray]:
    """grad_w[c] = sum over n,h,k of grad_y * x_hat, grad_b[c] = sum over n,h,k of grad_y.

    Arguments as in `group_norm_grad_input`; results (C,).
    """
    g, axes = working(grad_y), (0, *range(2, x.ndim))
    if x.size == 0:
        zeros = np.zeros((2, x.shape[1]), g.dtype)
        return zeros[0], zeros[1]
    x_hat = (working(x).reshape(*mean.shape, -1) - mean[..., None]) * inv_std[..., None]
    return (g * x_hat.reshape(x.shape)).sum(axis=axes), g.sum(axis=axes)

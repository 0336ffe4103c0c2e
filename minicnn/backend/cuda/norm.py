"""Batch normalisation: kernels/batchnorm.cu. Others in the library's own functions."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .elementwise import relu_backward, relu_forward
from .launcher import Constants, device_of, launch, prepared, scalar
from .parts import cut

_FILE = "batchnorm.cu"

# A channel's values are cut into chunks of at least so many, one block each, until there are about
# so many blocks: enough for every multiprocessor of a large GPU to have several.
_CHUNK = 8192
_BLOCKS = 1024


def _constants(x: Any) -> Constants:
    return {**scalar(x.dtype), "PLACES": max(prod(x.shape[2:]), 1)}


def batch_norm_forward(
    x: Any, weight: Any | None, bias: Any | None, eps: float, relu: bool = False
) -> tuple[Any, Any, Any]:
    """Normalises each channel over the batch and the positions, then scales and shifts it.

        mean[c] = (sum over c of x) / M
        var[c]  = (sum over c of (x - mean[c])^2) / M        (biased)
        y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c]

    x (N,C,*), weight and bias (C,) or None for 1 and 0; results y like x, mean (C,), var (C,).
    With `relu` y is max(0, that).
    """
    C = x.shape[1]
    device, dtype = device_of(x), x.dtype
    options = {"weight": (weight, (C,)), "bias": (bias, (C,))}
    x, weight, bias = prepared("batch_norm_forward", x=(x, None), **options)
    if x.size == 0:
        zeros = [device.zeros((C,), statistics_dtype(dtype)) for _ in range(2)]
        return device.empty(x.shape, dtype), *zeros
    values = x.size // C
    splits, chunk = cut(values, _CHUNK, _BLOCKS // C)
    means, m2s = [device.empty((C, splits), x.dtype) for _ in range(2)]
    mean, var = [device.empty((C,), x.dtype) for _ in range(2)]
    constants = _constants(x)
    sizes = {"values": values, "channels": C, "chunk": chunk}
    parts = {"means": means, "m2s": m2s}
    kernel = "batch_norm_moments"
    launch(device, _FILE, kernel, constants, grid=(C, splits), x=x, **parts, **sizes)
    kernel, sizes = "batch_norm_combine_moments", {**sizes, "splits": splits}
    launch(device, _FILE, kernel, constants, threads=C, mean=mean, var=var, **parts, **sizes)
    y = _apply(device, x, weight, bias, mean, var, eps)
    if relu:
        y = relu_forward(y)
    statistics = [a.astype(statistics_dtype(dtype), copy=False) for a in (mean, var)]
    return y.astype(dtype, copy=False), *statistics


def batch_norm_inference(
    x: Any, weight: Any | None, bias: Any | None, mean: Any, var: Any, eps: float
) -> Any:
    """y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c].

    x (N,C,*); the given mean and var, and weight and bias or None, (C,); result like x.
    """
    C = (x.shape[1],)
    device, dtype = device_of(x), x.dtype
    x, weight, bias, mean, var = prepared(
        "batch_norm_inference",
        x=(x, None),
        weight=(weight, C),
        bias=(bias, C),
        mean=(mean, C),
        var=(var, C),
    )
    return _apply(device, x, weight, bias, mean, var, eps).astype(dtype, copy=False)


def _apply(device: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch(
        device,
        _FILE,
        "batch_norm_apply",
        _constants(x),
        threads=x.size,
        x=x,
        weight=weight,
        bias=bias,
        mean=mean,
        var=var,
        eps=eps,
        y=y,
        channels=x.shape[1],
        count=x.size,
    )
    return y


def batch_norm_backward(
    grad_y: Any, x: Any, weight: Any | None, mean: Any, inv_std: Any, y: Any | None = None
) -> tuple[Any, Any, Any]:
    """The gradients of `batch_norm_forward`, where x reaches y on three paths: itself, mean, var.

        x_hat = (x - mean[c]) * inv_std[c]
        grad_b[c] = sum over c of grad_y
        grad_w[c] = sum over c of grad_y * x_hat
        grad_x = weight[c] * inv_std[c] * (grad_y - grad_b[c]/M - x_hat * grad_w[c]/M)

    grad_y and x (N,C,*), the others (C,); results like x, (C,) and (C,), the latter two also where
    there is no weight. Given y, the result of the forward with `relu`, grad_y goes through relu
    first.
    """
    C = x.shape[1]
    device, dtype = device_of(x), x.dtype
    options = {"weight": (weight, (C,)), "mean": (mean, (C,)), "inv_std": (inv_std, (C,))}
    if y is not None:
        grad_y = relu_backward(grad_y, y)
    grad_y, x, weight, mean, inv_std = prepared(
        "batch_norm_backward", grad_y=(grad_y, x.shape), x=(x, None), **options
    )
    if x.size == 0:
        zeros = [device.zeros((C,), statistics_dtype(dtype)) for _ in range(2)]
        return device.empty(x.shape, dtype), *zeros
    values = x.size // C
    splits, chunk = cut(values, _CHUNK, _BLOCKS // C)
    grad_ws, grad_bs = [device.empty((C, splits), x.dtype) for _ in range(2)]
    grad_w, grad_b = [device.empty((C,), x.dtype) for _ in range(2)]
    grad_x = device.empty(x.shape, x.dtype)
    constants = _constants(x)
    arrays = {"grad_y": grad_y, "x": x, "mean": mean, "inv_std": inv_std}
    parts, sums = {"grad_ws": grad_ws, "grad_bs": grad_bs}, {"grad_w": grad_w, "grad_b": grad_b}
    sizes = {"values": values, "channels": C}
    kernel, grid = "batch_norm_sums", (C, splits)
    launch(device, _FILE, kernel, constants, grid=grid, **arrays, **parts, **sizes, chunk=chunk)
    kernel, cuts = "batch_norm_combine_sums", {"channels": C, "splits": splits}
    launch(device, _FILE, kernel, constants, threads=C, **parts, **sums, **cuts)
    kernel, arrays = "batch_norm_grad_input", {**arrays, **sums, "weight": weight, "grad_x": grad_x}
    launch(device, _FILE, kernel, constants, threads=x.size, **arrays, **sizes, count=x.size)
    statistics = [a.astype(statistics_dtype(dtype), copy=False) for a in (grad_w, grad_b)]
    return grad_x.astype(dtype, copy=False), *statistics


def statistics_dtype(dtype: Any) -> np.dtype:
    """That of what is summed over numbers of a dtype: float32 at least."""
    return np.result_type(dtype, np.float32)


# Root mean square and local response normalisation


def rms_norm_forward(x: Any, weight: Any | None, eps: float) -> tuple[Any, Any]:
    """y = x * r * weight, r = 1 / sqrt(mean square of the row + eps).

    x (N,C), weight (C,) or None; y like x, r (N,).
    """
    dtype, C = x.dtype, x.shape[1]
    x, weight = prepared("rms_norm_forward", x=(x, None), weight=(weight, (C,)))
    r = ((x * x).sum(axis=1) / max(1, C) + x.dtype.type(eps)) ** x.dtype.type(-0.5)
    y = x * r[:, None] if weight is None else x * r[:, None] * weight
    return y.astype(dtype, copy=False), r


def rms_norm_backward(grad_y: Any, x: Any, weight: Any | None, r: Any) -> tuple[Any, Any]:
    """grad_x (like x), grad_w (C,) of `rms_norm_forward`.

    With x_hat = x * r and g = weight * grad_y, grad_w = sum over n of grad_y * x_hat and

        grad_x = r * (g - x_hat * (sum over c of g * x_hat) / C).
    """
    dtype, (N, C) = x.dtype, x.shape
    options = {"weight": (weight, (C,)), "r": (r, (N,))}
    g, x, weight, r = prepared(
        "rms_norm_backward", grad_y=(grad_y, x.shape), x=(x, None), **options
    )
    x_hat = x * r[:, None]
    grad_w = (g * x_hat).sum(axis=0)
    g = g if weight is None else g * weight
    along = (g * x_hat).sum(axis=1) / max(1, C)
    grad_x = (g - x_hat * along[:, None]) * r[:, None]
    return grad_x.astype(dtype, copy=False), grad_w


def channel_sums(x: Any, before: int, after: int) -> Any:
    """y[:,c] = sum of x[:,d] over c - before <= d <= c + after; x (N,C,*), y like x."""
    dtype, C = x.dtype, x.shape[1]
    [x] = prepared("channel_sums", x=(x, None))
    y = x.copy()
    for step in range(1, min(after, C - 1) + 1):
        y[:, :-step] += x[:, step:]
    for step in range(1, min(before, C - 1) + 1):
        y[:, step:] += x[:, :-step]
    return y.astype(dtype, copy=False)

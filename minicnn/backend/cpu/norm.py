"""Batch normalisation in two passes: the mean first, then the mean square of what it leaves.

The one-pass variance E[x^2] - E[x]^2 subtracts two nearly equal numbers where the mean is large
against the spread, and can even come out negative; so x is read twice. Formulas and derivations
stand in `backend.reference`.

x (N,C,*) is taken as three axes (A,C,B) in the order they have in memory: (N,C,H*W) for N,C,H,W,
(N*H*W,C,1) for N,H,W,C, and (1,C,H*W*N) for C,H,W,N. A block of it at a time is worked on, in
scratch that stays in the cache, and the sums over blocks are taken in float64. Infinities, and
numbers whose squares overflow, become NaN or 0 in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
from numpy import ndarray

from . import scratch
from .precision import working, working_dtype

# Entries of x in a block.
_BLOCK = 1 << 16

Axes = tuple[int, ...]


def _memory_axes(x: ndarray) -> Axes:
    """The order of x's axes in memory, as far as it is one of the three; else their own order."""
    axes = tuple(range(x.ndim))
    last = (0, *axes[2:], 1)
    batch_last = (*axes[1:], 0)
    for order in (axes, last, batch_last):
        if x.transpose(order).flags.c_contiguous:
            return order
    return axes


def _three_axes(x: ndarray, order: Axes) -> ndarray:
    """x (N,C,*) as (A,C,B); a view if x lies in that order."""
    C = x.shape[1]
    where = order.index(1)
    shape = [x.shape[axis] for axis in order]
    return x.transpose(order).reshape(prod(shape[:where]), C, prod(shape[where + 1 :]))


def _new(shape: tuple[int, ...], order: Axes, dtype: np.dtype) -> tuple[ndarray, ndarray]:
    """A new array of that shape in that memory order, and itself as (A,C,B)."""
    array = np.empty([shape[axis] for axis in order], dtype)
    array = array.transpose([order.index(axis) for axis in range(len(order))])
    return array, _three_axes(array, order)


def _blocks(x: ndarray) -> Iterator[tuple[slice, slice]]:
    """(a, c) for each block of x (A,C,B): runs of A, or of C where there is one A only."""
    A, C, B = x.shape
    if A > 1:
        step = max(1, _BLOCK // max(1, C * B))
        for start in range(0, A, step):
            yield slice(start, start + step), slice(None)
    else:
        step = max(1, _BLOCK // max(1, B))
        for start in range(0, C, step):
            yield slice(None), slice(start, start + step)


def _add_sums(total: ndarray, block: ndarray, c: slice) -> None:
    """total[c] += the sum of each channel of a block (A,C,B) that is contiguous."""
    A, C, B = block.shape
    if B != 1:
        total[c] += block.sum(axis=2).sum(axis=0, dtype=total.dtype)
        return
    # Long rows add up faster than rows of C: fold as many of them as divide A into one.
    fold = next(k for k in (32, 16, 8, 4, 2, 1) if A % k == 0)
    total[c] += block.reshape(A // fold, fold * C).sum(axis=0).reshape(fold, C).sum(axis=0)


def _column(values: ndarray, c: slice, dtype: np.dtype) -> ndarray:
    """(C,)[c] as (C,1), to broadcast over (A,C,B)."""
    return values[c, None].astype(dtype, copy=False)


def _count(x: ndarray) -> int:
    """M, how many values a channel has; 1 where it has none, so that their mean is 0."""
    return max(1, x.size // max(1, x.shape[1]))


def _deviations(x: ndarray, mean: ndarray, a: slice, c: slice) -> ndarray:
    """x - mean for a block, in scratch."""
    block = x[a, c]
    result = scratch.take("deviations", block.shape, x.dtype)
    return np.subtract(block, _column(mean, c, x.dtype), out=result)


@np.errstate(all="ignore")
def batch_norm_forward(
    x: ndarray, weight: ndarray | None, bias: ndarray | None, eps: float
) -> tuple[ndarray, ndarray, ndarray]:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, with each channel's own mean and variance.

    x (N,C,*), weight and bias (C,) or None; y like x, mean and var (C,). The variance is the
    biased one. An empty channel has mean 0 and variance 0.
    """
    order = _memory_axes(x)
    values = _three_axes(working(x), order)
    M, dtype = _count(x), values.dtype
    wide = np.result_type(dtype, np.float64)
    mean, var = np.zeros(x.shape[1], wide), np.zeros(x.shape[1], wide)
    for a, c in _blocks(values):
        _add_sums(mean, values[a, c], c)
    mean = (mean / M).astype(dtype)
    for a, c in _blocks(values):
        deviations = _deviations(values, mean, a, c)
        deviations *= deviations
        _add_sums(var, deviations, c)
    var /= M
    inv_std = (1 / np.sqrt(var + eps)).astype(dtype)
    y = _normalised(x.shape, order, values, mean, inv_std, weight, bias)
    return y.astype(x.dtype, copy=False), mean, var.astype(dtype, copy=False)


def _normalised(shape, order: Axes, values, mean, inv_std, weight, bias) -> ndarray:
    """(x - mean) * inv_std * weight + bias.

    Not x * scale + (bias - mean * scale), which loses the digits that the mean takes.
    """
    y, target = _new(shape, order, values.dtype)
    scale = inv_std if weight is None else inv_std * weight
    for a, c in _blocks(values):
        block = target[a, c]
        np.subtract(values[a, c], _column(mean, c, y.dtype), out=block)
        block *= _column(scale, c, y.dtype)
        if bias is not None:
            block += _column(bias, c, y.dtype)
    return y


@np.errstate(all="ignore")
def batch_norm_inference(
    x: ndarray,
    weight: ndarray | None,
    bias: ndarray | None,
    mean: ndarray,
    var: ndarray,
    eps: float,
) -> ndarray:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, with the given mean and var (C,)."""
    order = _memory_axes(x)
    values = _three_axes(working(x), order)
    inv_std = 1 / np.sqrt(var.astype(working_dtype(var.dtype, x.dtype), copy=False) + eps)
    y = _normalised(x.shape, order, values, mean, inv_std, weight, bias)
    return y.astype(x.dtype, copy=False)


@np.errstate(all="ignore")
def batch_norm_backward(
    grad_y: ndarray, x: ndarray, weight: ndarray | None, mean: ndarray, inv_std: ndarray
) -> tuple[ndarray, ndarray, ndarray]:
    """grad_x (like x), grad_w (C,), grad_b (C,) of `batch_norm_forward`.

    With inv_std = 1 / sqrt(var + eps) and x_hat = (x - mean) * inv_std, grad_b = sum of grad_y and
    grad_w = sum of grad_y * x_hat,

        grad_x = weight * inv_std * (grad_y - grad_b/M - x_hat * grad_w/M).
    """
    order = _memory_axes(x)
    values, g = _three_axes(working(x), order), _three_axes(working(grad_y), order)
    M, dtype = _count(x), values.dtype
    wide = np.result_type(dtype, np.float64)
    grad_w, grad_b = np.zeros(x.shape[1], wide), np.zeros(x.shape[1], wide)
    for a, c in _blocks(values):
        _add_sums(grad_b, g[a, c], c)
        product = _deviations(values, mean, a, c)
        product *= g[a, c]
        _add_sums(grad_w, product, c)
    grad_w *= inv_std
    grad_x, target = _new(x.shape, order, dtype)
    scale = inv_std if weight is None else inv_std * weight
    slope = -inv_std * grad_w / M
    for a, c in _blocks(values):
        block = target[a, c]
        np.subtract(values[a, c], _column(mean, c, dtype), out=block)
        block *= _column(slope, c, dtype)
        block += g[a, c]
        block -= _column(grad_b / M, c, dtype)
        block *= _column(scale, c, dtype)
    return grad_x.astype(x.dtype, copy=False), grad_w.astype(dtype), grad_b.astype(dtype)


@np.errstate(all="ignore")
def rms_norm_forward(x: ndarray, weight: ndarray | None, eps: float) -> tuple[ndarray, ndarray]:
    """y = x * r * weight, r = 1 / sqrt(mean square of the row + eps).

    x (N,C), weight (C,) or None; y like x, r (N,).
    """
    values = working(x)
    r = ((values * values).sum(axis=1) / max(1, x.shape[1]) + eps) ** -0.5
    y = values * r[:, None]
    if weight is not None:
        y *= weight
    return y.astype(x.dtype, copy=False), r.astype(values.dtype, copy=False)


@np.errstate(all="ignore")
def rms_norm_backward(
    grad_y: ndarray, x: ndarray, weight: ndarray | None, r: ndarray
) -> tuple[ndarray, ndarray]:
    """grad_x (like x), grad_w (C,) of `rms_norm_forward`.

    With x_hat = x * r and g = weight * grad_y, grad_w = sum over n of grad_y * x_hat and

        grad_x = r * (g - x_hat * (sum over c of g * x_hat) / C).
    """
    g, x_hat = working(grad_y), working(x) * r[:, None]
    product = g * x_hat
    grad_w = product.sum(axis=0)
    if weight is not None:
        g = g * weight
        product *= weight
    along = product.sum(axis=1) / max(1, x.shape[1])
    grad_x = np.multiply(x_hat, along[:, None], out=x_hat)
    np.subtract(g, grad_x, out=grad_x)
    grad_x *= r[:, None]
    return grad_x.astype(x.dtype, copy=False), grad_w


def channel_sums(x: ndarray, before: int, after: int) -> ndarray:
    """y[:,c] = sum of x[:,d] over c - before <= d <= c + after; x (N,C,*), y like x."""
    values = working(x)
    y = values.copy(order="K")
    C = x.shape[1]
    for step in range(1, min(after, C - 1) + 1):
        y[:, :-step] += values[:, step:]
    for step in range(1, min(before, C - 1) + 1):
        y[:, step:] += values[:, :-step]
    return y.astype(x.dtype, copy=False)

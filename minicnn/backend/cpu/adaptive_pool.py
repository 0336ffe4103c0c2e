"""Adaptive pooling: windows that follow from the two sizes, as even as can be.

Where OH divides H they are equal and lie side by side, and pooling with kernel and stride H/OH does
the same. Otherwise they are taken one by one along each axis, which is as many calls as there are
windows along it.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy import ndarray

from ..geometry import Ints, PoolGeometry, adaptive_windows
from .avg_pool import avg_pool_backward, avg_pool_forward
from .max_pool import max_pool_forward
from .precision import working
from .windows import at


def _divides(out_size: Ints, size: Ints) -> bool:
    """Whether adaptive windows are equal and lie side by side."""
    return not any(H % OH for OH, H in zip(out_size, size, strict=True))


@lru_cache(maxsize=256)
def _tiling(size: Ints, out_size: Ints) -> PoolGeometry:
    """The pooling whose equal windows, side by side, adaptive pooling is where OH divides H."""
    kernel = tuple([H // OH for H, OH in zip(size, out_size, strict=True)])
    dims = len(size)
    return PoolGeometry(size, kernel, kernel, (0,) * dims, (1,) * dims, False)


def adaptive_max_pool_forward(x: ndarray, out_size: Ints) -> tuple[ndarray, ndarray]:
    """The maximum over rows floor(i*H/OH) .. ceil((i+1)*H/OH) - 1, columns likewise.

    x (N,C,H,W); results (N,C,OH,OW), with winners and indices as in `max_pool_forward`.
    """
    size = x.shape[2:]
    if _divides(out_size, size):
        return max_pool_forward(x, _tiling(size, out_size))
    dims = len(size)
    best = x
    indices = np.broadcast_to(np.arange(prod(size)).reshape(size), x.shape)
    for axis in reversed(range(dims)):
        shape = (*best.shape[: 2 + axis], *out_size[axis:])
        maxima, winners = np.empty(shape, x.dtype), np.empty(shape, np.int64)
        for i, (start, stop) in enumerate(adaptive_windows(size[axis], out_size[axis])):
            o, h = at(slice(i, i + 1), axis, dims), at(slice(start, stop), axis, dims)
            first = best[h].argmax(axis=2 + axis, keepdims=True)
            maxima[o] = np.take_along_axis(best[h], first, 2 + axis)
            winners[o] = np.take_along_axis(indices[h], first, 2 + axis)
        best, indices = maxima, winners
    if best.dtype.kind == "f" and np.isnan(best.max(initial=-np.inf)):
        _find_last_nans_adaptive(x, indices)
    return best, indices


def _find_last_nans_adaptive(x: ndarray, indices: ndarray) -> None:
    """Makes the last NaN of each window that holds one its winner. Rare, so it may be slow."""
    size, out_size = x.shape[2:], indices.shape[2:]
    axes = [list(enumerate(adaptive_windows(H, OH))) for H, OH in zip(size, out_size, strict=True)]
    for window in product(*axes):
        output: Any = (..., *[i for i, _ in window])
        inputs: Any = (..., *[slice(*rows) for _, rows in window])
        numbers = np.arange(prod(size)).reshape(size)[inputs]
        last = np.where(np.isnan(x[inputs]), numbers, -1).reshape(*x.shape[:2], -1).max(axis=2)
        indices[output] = np.where(last < 0, indices[output], last)


def adaptive_avg_pool_forward(x: ndarray, out_size: Ints) -> ndarray:
    """The mean over rows floor(i*H/OH) .. ceil((i+1)*H/OH) - 1, columns likewise.

    x (N,C,H,W); result (N,C,OH,OW).
    """
    size, dims = x.shape[2:], len(out_size)
    if prod(out_size) == 1:  # a single window: one call sums it, and in pairs, which rounds less
        total = working(x).sum(axis=tuple(range(2, x.ndim)), keepdims=True)
        return (total / prod(size)).astype(x.dtype, copy=False)
    if _divides(out_size, size):
        return avg_pool_forward(x, _tiling(size, out_size))
    values = working(x)
    for axis in range(dims):
        shape = (*values.shape[: 2 + axis], out_size[axis], *values.shape[3 + axis :])
        sums = np.empty(shape, values.dtype)
        for i, (start, stop) in enumerate(adaptive_windows(size[axis], out_size[axis])):
            rows = values[at(slice(start, stop), axis, dims)]
            np.sum(rows, axis=2 + axis, keepdims=True, out=sums[at(slice(i, i + 1), axis, dims)])
        values = sums
    values /= _adaptive_counts(size, out_size).astype(values.dtype)
    return values.astype(x.dtype, copy=False)


def _adaptive_counts(size: Ints, out_size: Ints) -> ndarray:
    """(OH, OW): how many pixels each window covers."""
    axes = [adaptive_windows(H, OH) for H, OH in zip(size, out_size, strict=True)]
    return reduce(
        np.multiply.outer, [np.array([stop - start for start, stop in rows]) for rows in axes]
    )


def adaptive_avg_pool_backward(grad_y: ndarray, x_shape: Ints) -> ndarray:
    """grad_x[n,c,h,k] = sum over the windows (i,j) over (h,k) of grad_y[n,c,i,j] / (window's size).

    grad_y (N,C,OH,OW); result (N,C,H,W).
    """
    size, out_size = x_shape[2:], grad_y.shape[2:]
    dims = len(size)
    if _divides(out_size, size):
        return avg_pool_backward(grad_y, x_shape, _tiling(size, out_size))
    values = working(grad_y)
    values = values / _adaptive_counts(size, out_size).astype(values.dtype)
    for axis in reversed(range(dims)):
        shape = (*values.shape[: 2 + axis], *size[axis:])
        spread = np.zeros(shape, values.dtype)
        for i, (start, stop) in enumerate(adaptive_windows(size[axis], out_size[axis])):
            place = at(slice(start, stop), axis, dims)
            spread[place] += values[at(slice(i, i + 1), axis, dims)]
        values = spread
    return values.astype(grad_y.dtype, copy=False)

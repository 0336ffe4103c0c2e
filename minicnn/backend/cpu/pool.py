"""Pooling tap by tap: a maximum or a sum over a window is one along its rows, then one over them.

What tap q of every window reads is one strided view, x[..., q*D-P::S], so a running maximum or sum
over KW views, and then over KH, replaces a loop over OH*OW windows. Formulas stand in
`backend.reference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy import ndarray

from ..geometry import PoolGeometry, adaptive_windows
from . import layout
from .layout import Order
from .precision import working, working_dtype
from .taps import axis_taps

Taps = Iterator[tuple[Any, ndarray, Any]]

# Outputs that are worked on at a time, so that what is known of them so far stays in the cache.
_SLAB = 1 << 16


def _axis(geometry: PoolGeometry, axis: int) -> tuple[tuple[slice, slice], ...]:
    """For each tap along one axis: the outputs that read through it, and the inputs they read."""
    return axis_taps(
        geometry.size[axis],
        geometry.kernel[axis],
        geometry.stride[axis],
        geometry.padding[axis],
        geometry.dilation[axis],
        0,
        geometry.out_size[axis],
    )


def _slabs(shape: tuple[int, ...], order: Order) -> list[tuple[slice, ...]]:
    """Cuts (N,C,..) along its outermost axis in memory, N or C, into pieces of `_SLAB` entries."""
    outer = order[0]
    step = max(1, _SLAB * shape[outer] // max(1, prod(shape)))
    cuts = [slice(start, start + step) for start in range(0, shape[outer], step)]
    return [(slice(None),) * outer + (cut,) for cut in cuts]


# Max pooling


def max_pool_forward(x: ndarray, geometry: PoolGeometry) -> tuple[ndarray, ndarray]:
    """y[n,c,i,j] = max over p,q of x[n,c,h,k], and indices[n,c,i,j] = h*W + k of the winner.

    x (N,C,H,W); results (N,C,OH,OW) in x's memory order, the second int64. The first of equal
    maxima wins; NaN wins over all numbers, the last NaN over the others.
    """
    order = layout.order_of(x)
    shape = (*x.shape[:2], *geometry.out_size)
    y = layout.empty(shape, order, x.dtype)
    indices = layout.empty(shape, order, np.dtype(np.int64))
    for slab in _slabs(shape, order):
        _max_pool_slab(x[slab], y[slab], indices[slab], order, geometry)
    return y, indices


def _max_pool_slab(
    x: ndarray, y: ndarray, indices: ndarray, order: Order, geometry: PoolGeometry
) -> None:
    """Fills y and indices: the maximum of each row of a window, then the maximum of its rows.

    Tap (p, q) has the number t = p*KW + q. The winner is the first tap of the first row that holds
    the maximum, so the same two steps find it: the first q in each row, then the first p.
    """
    KH, KW = geometry.kernel
    number = np.dtype(np.uint8 if KH * KW <= 256 else np.uint32).type
    p_first, q_first = _first_taps(geometry, 0), _first_taps(geometry, 1)

    in_rows = (*x.shape[:3], geometry.out_size[1])
    row_best = layout.empty(in_rows, order, x.dtype)
    row_winner = layout.empty(in_rows, order, np.dtype(number))
    taps: Taps = (((..., j), x[..., k], number(q)) for q, (j, k) in enumerate(_axis(geometry, 1)))
    _running_max(row_best, row_winner, q_first, taps)

    winner = layout.empty(y.shape, order, np.dtype(number))
    taps = (
        ((..., i, slice(None)), row_best[:, :, h], row_winner[:, :, h] + number(p * KW))
        for p, (i, h) in enumerate(_axis(geometry, 0))
    )
    _running_max(y, winner, p_first[:, None] * KW + q_first, taps)

    if y.dtype.kind == "f" and np.isnan(y.max(initial=-np.inf)):
        _find_last_nans(x, winner, geometry)
    # In memory order, as np.take goes over a copy of anything else.
    in_memory = indices.transpose(order)
    np.take(_tap_offsets(geometry), winner.transpose(order), out=in_memory, mode="clip")
    indices += _window_origins(geometry)


def _running_max(best: ndarray, winner: ndarray, first: ndarray, taps: Taps) -> None:
    """The maximum over taps (place in `best`, values, their numbers t) and the t of the first one.

    t rises from tap to tap, so the last tap that beat all before it is the largest t for which
    `values > best` was true, and a running maximum of t * (values > best) finds it. To choose
    between two arrays by a mask would take ten times as long. `first` wins where all is -inf.
    """
    begun = False
    for place, values, t in taps:
        if not begun:
            begun = True
            if values.shape == best.shape:
                best[...], winner[...] = values, t
                continue
            best[...], winner[...] = _lowest(best.dtype), first
        so_far, won = best[place], winner[place]
        beats = np.greater(values, so_far).view(np.uint8)
        np.maximum(won, beats * t, out=won)
        np.maximum(so_far, values, out=so_far)


def _lowest(dtype: np.dtype) -> Any:
    """What no value of that dtype is less than."""
    if dtype.kind == "f":
        return -np.inf
    return np.iinfo(dtype).min if dtype.kind in "iu" else False


def _find_last_nans(x: ndarray, winner: ndarray, geometry: PoolGeometry) -> None:
    """Makes the last NaN of each window that holds one its winner. Rare, so it may be slow."""
    for p, (i, h) in enumerate(_axis(geometry, 0)):
        for q, (j, k) in enumerate(_axis(geometry, 1)):
            winner[:, :, i, j][np.isnan(x[:, :, h, k])] = p * geometry.kernel[1] + q


@lru_cache(maxsize=256)
def _first_taps(geometry: PoolGeometry, axis: int) -> ndarray:
    """For each output along an axis, its first tap inside the input: ceil((P - i*S)/D), or 0."""
    starts = np.arange(geometry.out_size[axis]) * geometry.stride[axis] - geometry.padding[axis]
    return np.maximum(0, -(starts // geometry.dilation[axis]))


@lru_cache(maxsize=256)
def _tap_offsets(geometry: PoolGeometry) -> ndarray:
    """(KH*KW,): how far tap (p, q) lies behind its window's origin: p*D*W + q*D."""
    (KH, KW), (DH, DW), W = geometry.kernel, geometry.dilation, geometry.size[1]
    return (np.arange(KH)[:, None] * DH * W + np.arange(KW) * DW).ravel()


@lru_cache(maxsize=256)
def _window_origins(geometry: PoolGeometry) -> ndarray:
    """(OH, OW): where tap (0, 0) of each window would lie: (i*S - P)*W + j*S - P."""
    (OH, OW), (SH, SW), (PH, PW) = geometry.out_size, geometry.stride, geometry.padding
    return (np.arange(OH)[:, None] * SH - PH) * geometry.size[1] + np.arange(OW) * SW - PW


def max_pool_backward(grad_y: ndarray, indices: ndarray, x_shape: tuple[int, ...]) -> ndarray:
    """grad_x[n,c,h,k] = sum of grad_y[n,c,i,j] over the (i,j) with indices[n,c,i,j] = h*W + k.

    grad_y and indices (N,C,OH,OW); result (N,C,H,W) in the indices' memory order.
    """
    order = layout.order_of(indices)
    grad_x = layout.empty(x_shape, order, working_dtype(grad_y.dtype))
    for slab in _slabs(indices.shape, order):
        part = grad_x[slab].transpose(order).reshape(-1)  # a view: slabs are contiguous
        part[:] = 0
        places = _places(indices[slab], x_shape, order)
        # A pixel may win in several overlapping windows: part[places] += g would keep one of them.
        np.add.at(part, places.ravel(), grad_y[slab].transpose(order).ravel())
    return grad_x.astype(grad_y.dtype, copy=False)


def _places(indices: ndarray, x_shape: tuple[int, ...], order: Order) -> ndarray:
    """Where the winners of a slab lie in that slab of x, in memory: h*W + k among its neighbours.

    Whatever the order, the step from one row to the next is W times the step within a row.
    """
    n, c = indices.shape[:2]
    plane = x_shape[2] * x_shape[3]
    flat = indices.transpose(order)
    if order == layout.NHWC:
        return flat * c + (np.arange(n)[:, None, None, None] * (plane * c) + np.arange(c))
    if order == layout.CHWN:
        return flat * n + (np.arange(c)[:, None, None, None] * (plane * n) + np.arange(n))
    return flat + np.arange(n * c).reshape(n, c, 1, 1) * plane


def max_pool_gather(x: ndarray, indices: ndarray) -> ndarray:
    """y[n,c,i,j] = x[n,c,h,k] where indices[n,c,i,j] = h*W + k; the backward's adjoint."""
    N, C, H, W = x.shape
    OH, OW = indices.shape[2:]
    winners = indices.reshape(N, C, OH * OW)
    values = np.take_along_axis(x.reshape(N, C, H * W), winners, axis=2)
    return values.reshape(N, C, OH, OW)


@lru_cache(maxsize=256)
def _tiling(size: tuple[int, int], out_size: tuple[int, int]) -> PoolGeometry:
    """The pooling whose equal windows, side by side, adaptive pooling is where OH divides H."""
    kernel = (size[0] // out_size[0], size[1] // out_size[1])
    return PoolGeometry(size, kernel, kernel, (0, 0), (1, 1), False)


def adaptive_max_pool_forward(x: ndarray, out_size: tuple[int, int]) -> tuple[ndarray, ndarray]:
    """The maximum over rows floor(i*H/OH) .. ceil((i+1)*H/OH) - 1, columns likewise.

    x (N,C,H,W); results (N,C,OH,OW), with winners and indices as in `max_pool_forward`.
    """
    N, C, H, W = x.shape
    OH, OW = out_size
    if H % OH == 0 and W % OW == 0:
        return max_pool_forward(x, _tiling((H, W), out_size))
    y = np.empty((N, C, OH, OW), x.dtype)
    indices = np.empty(y.shape, np.int64)
    for i, (top, bottom) in enumerate(adaptive_windows(H, OH)):
        for j, (left, right) in enumerate(adaptive_windows(W, OW)):
            width = right - left
            size = (bottom - top, width)
            whole = PoolGeometry(size, size, size, (0, 0), (1, 1), False)
            y[:, :, i : i + 1, j : j + 1], winner = max_pool_forward(
                x[:, :, top:bottom, left:right], whole
            )
            p, q = np.divmod(winner[:, :, 0, 0], width)
            indices[:, :, i, j] = (top + p) * W + left + q
    return y, indices


# Average pooling


@lru_cache(maxsize=256)
def _divisors(geometry: PoolGeometry, count_include_pad: bool, override: int | None) -> ndarray:
    """(OH, OW) or (1, 1): what each window's sum is divided by; (1, 1) where it is one number.

    The padding counts or not; what a `ceil_mode` window has beyond the padding never counts.
    """
    if override is not None:
        return np.full((1, 1), float(override))
    counts = []
    for H, K, S, P, OH in zip(
        geometry.size,
        geometry.kernel,
        geometry.stride,
        geometry.padding,
        geometry.out_size,
        strict=True,
    ):
        start = np.arange(OH) * S - P
        stop = np.minimum(start + K, H + P)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, H)
        counts.append((stop - start).astype(float))
    divisors = counts[0][:, None] * counts[1]
    return divisors[:1, :1] if (divisors == divisors[0, 0]).all() else divisors


def avg_pool_forward(
    x: ndarray,
    geometry: PoolGeometry,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> ndarray:
    """y[n,c,i,j] = (sum over p,q of x[n,c,h,k]) / divisor(i,j): along the rows, then the columns.

    x (N,C,H,W); result (N,C,OH,OW) in x's memory order.
    """
    order = layout.order_of(x)
    divisors = _divisors(geometry, count_include_pad, divisor_override)
    y = layout.empty((*x.shape[:2], *geometry.out_size), order, working_dtype(x.dtype))
    for slab in _slabs(y.shape, order):
        values, total = x[slab], y[slab]
        row_sums = layout.empty((*values.shape[:3], total.shape[3]), order, y.dtype)
        taps: Taps = (((..., j), values[..., k], None) for j, k in _axis(geometry, 1))
        _running_sum(row_sums, taps)
        taps = (((..., i, slice(None)), row_sums[:, :, h], None) for i, h in _axis(geometry, 0))
        _running_sum(total, taps)
        total /= divisors.astype(y.dtype)
    return y.astype(x.dtype, copy=False)


def _running_sum(total: ndarray, taps: Taps) -> None:
    """The sum over taps (place in `total`, values, nothing)."""
    begun = False
    for place, values, _ in taps:
        if not begun:
            begun = True
            if values.shape == total.shape:
                total[...] = values
                continue
            total[...] = 0
        sums = total[place]
        sums += values


def avg_pool_backward(
    grad_y: ndarray,
    x_shape: tuple[int, ...],
    geometry: PoolGeometry,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> ndarray:
    """grad_x[n,c,h,k] = sum of grad_y[n,c,i,j] / divisor(i,j) over the (i,j) that read (h,k).

    grad_y (N,C,OH,OW); result (N,C,H,W) in grad_y's memory order. Where windows overlap, they add.
    """
    order = layout.order_of(grad_y)
    divisors = _divisors(geometry, count_include_pad, divisor_override)
    grad_x = layout.empty(x_shape, order, working_dtype(grad_y.dtype))
    for slab in _slabs(grad_y.shape, order):
        share = grad_y[slab] / divisors.astype(grad_x.dtype)
        target = grad_x[slab]
        columns = layout.empty((*target.shape[:3], share.shape[3]), order, grad_x.dtype)
        taps: Taps = (((..., h, slice(None)), share[:, :, i], None) for i, h in _axis(geometry, 0))
        _spread(columns, taps, _tiles(geometry, 0))
        taps = (((..., k), columns[..., j], None) for j, k in _axis(geometry, 1))
        _spread(target, taps, _tiles(geometry, 1))
    return grad_x.astype(grad_y.dtype, copy=False)


def _tiles(geometry: PoolGeometry, axis: int) -> bool:
    """Whether every input along an axis is read by exactly one window."""
    K, S, P = geometry.kernel[axis], geometry.stride[axis], geometry.padding[axis]
    return K == S and P == 0 and geometry.size[axis] == geometry.out_size[axis] * S


def _spread(target: ndarray, taps: Taps, tiles: bool) -> None:
    """Adds the values of each tap (place in `target`, values, nothing) to zero."""
    if not tiles:
        target[...] = 0
    for place, values, _ in taps:
        if tiles:
            target[place] = values
        else:
            sums = target[place]
            sums += values


def adaptive_avg_pool_forward(x: ndarray, out_size: tuple[int, int]) -> ndarray:
    """The mean over rows floor(i*H/OH) .. ceil((i+1)*H/OH) - 1, columns likewise.

    x (N,C,H,W); result (N,C,OH,OW).
    """
    N, C, H, W = x.shape
    OH, OW = out_size
    if H % OH == 0 and W % OW == 0:
        return avg_pool_forward(x, _tiling((H, W), out_size))
    values = working(x)
    rows = np.empty((N, C, OH, W), values.dtype)
    for i, (top, bottom) in enumerate(adaptive_windows(H, OH)):
        np.sum(values[:, :, top:bottom], axis=2, out=rows[:, :, i])
    y = np.empty((N, C, OH, OW), values.dtype)
    for j, (left, right) in enumerate(adaptive_windows(W, OW)):
        np.sum(rows[:, :, :, left:right], axis=3, out=y[:, :, :, j])
    y /= _adaptive_counts(H, W, OH, OW).astype(y.dtype)
    return y.astype(x.dtype, copy=False)


def _adaptive_counts(H: int, W: int, OH: int, OW: int) -> ndarray:
    """(OH, OW): how many pixels each window covers."""
    rows, columns = (
        np.array([stop - start for start, stop in adaptive_windows(size, out)])
        for size, out in ((H, OH), (W, OW))
    )
    return rows[:, None] * columns


def adaptive_avg_pool_backward(grad_y: ndarray, x_shape: tuple[int, ...]) -> ndarray:
    """grad_x[n,c,h,k] = sum over the windows (i,j) over (h,k) of grad_y[n,c,i,j] / (window's size).

    grad_y (N,C,OH,OW); result (N,C,H,W).
    """
    N, C, H, W = x_shape
    OH, OW = grad_y.shape[2:]
    if H % OH == 0 and W % OW == 0:
        return avg_pool_backward(grad_y, x_shape, _tiling((H, W), (OH, OW)))
    g = working(grad_y)
    share = g / _adaptive_counts(H, W, OH, OW).astype(g.dtype)
    columns = np.zeros((N, C, OH, W), g.dtype)
    for j, (left, right) in enumerate(adaptive_windows(W, OW)):
        columns[:, :, :, left:right] += share[:, :, :, j : j + 1]
    grad_x = np.zeros((N, C, H, W), g.dtype)
    for i, (top, bottom) in enumerate(adaptive_windows(H, OH)):
        grad_x[:, :, top:bottom] += columns[:, :, i : i + 1]
    return grad_x.astype(grad_y.dtype, copy=False)

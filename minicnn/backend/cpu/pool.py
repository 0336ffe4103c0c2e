"""Pooling axis by axis, tap by tap: for any number of spatial axes.

A window is a box, so a maximum (or a sum) over it can be taken along one axis after the other. In
three dimensions, with R the box D(d) x H(i) x W(j) that window (d,i,j) covers,

    max over R of x = max over l in D(d) of (max over h in H(i) of (max over k in W(j) of x[l,h,k]))

and the same holds with sums in place of maxima: KD + KH + KW steps an output instead of KD*KH*KW.
The innermost axis comes first. So the winner too is found axis by axis: it is the first pixel in
reading order that holds the maximum, which is the first such row's first such pixel.

Along one axis, what tap p of every window reads is one strided view, x[..., p*D-P::S], so a running
maximum or sum over K views replaces a loop over windows. Formulas stand in `backend.reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, reduce, wraps
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy import ndarray

from ..geometry import AdaptiveGeometry, Ints, PoolGeometry, adaptive_windows
from . import layout
from .layout import Order
from .precision import working, working_dtype
from .taps import axis_taps

Taps = Iterator[tuple[Any, ndarray, Any]]

# Outputs that are worked on at a time, so that what is known of them so far stays in the cache.
_SLAB = 1 << 16

# Outputs up to which the tables of a geometry are kept.
_KEPT = 1 << 14


def _kept(make: Callable[..., ndarray]) -> Callable[..., ndarray]:
    """Keeps the tables that `make` has made, small ones alone.

    Those of large images cost little beside the pooling, and images of many sizes would leave so
    many that they fill the memory.
    """
    keep = lru_cache(maxsize=256)(make)

    @wraps(make)
    def table(geometry: PoolGeometry, *options: Any) -> ndarray:
        return (keep if prod(geometry.out_size) <= _KEPT else make)(geometry, *options)

    return table


def _cuts(geometry: PoolGeometry, axis: int) -> tuple[tuple[slice, slice], ...]:
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


def _at(cut: slice, axis: int, dims: int) -> tuple[Any, ...]:
    """The index that takes `cut` of one of `dims` spatial axes and all of the others."""
    return (..., cut, *[slice(None)] * (dims - 1 - axis))


@lru_cache(maxsize=256)
def _axis_taps(geometry: PoolGeometry, axis: int) -> list[tuple[Any, Any]]:
    """`_cuts` as indices of whole arrays, which are cut along that axis alone."""
    dims = len(geometry.size)
    return [(_at(o, axis, dims), _at(h, axis, dims)) for o, h in _cuts(geometry, axis)]


def window_taps(geometry: PoolGeometry) -> Iterator[tuple[Any, Any]]:
    """For each tap (p, q), in reading order: which outputs read through it, and which inputs."""
    for taps in product(*[_cuts(geometry, axis) for axis in range(len(geometry.size))]):
        yield (..., *[o for o, _ in taps]), (..., *[h for _, h in taps])


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
    """Fills y and indices: the maxima along the last axis, then those of them along the one before.

    Tap (p, q) has the number t = p*KW + q. The winner is the first tap of the first row that holds
    the maximum, so the same steps find it: the first q in each row, then the first p.
    """
    dims = len(geometry.kernel)
    number = np.dtype(np.uint8 if prod(geometry.kernel) <= 256 else np.uint32)
    best: ndarray = x
    winner: Any = None  # the numbers along the axes done so far
    step = 1  # from the number of one tap along the axis to that of the next
    for axis in reversed(range(dims)):
        shape = (*best.shape[: 2 + axis], *geometry.out_size[axis:])
        maxima = y if axis == 0 else layout.empty(shape, order, x.dtype)
        winners = layout.empty(shape, order, number)
        taps: Taps = (
            (o, best[h], number.type(p * step) + (0 if winner is None else winner[h]))
            for p, (o, h) in enumerate(_axis_taps(geometry, axis))
        )
        _running_max(maxima, winners, first_inside(geometry, axis), taps)
        best, winner, step = maxima, winners, step * geometry.kernel[axis]

    if y.dtype.kind == "f" and np.isnan(y.max(initial=-np.inf)):
        _find_last_nans(x, winner, geometry)
    # In memory order, as np.take goes over a copy of anything else.
    in_memory = indices.transpose(order)
    np.take(tap_offsets(geometry), winner.transpose(order), out=in_memory, mode="clip")
    indices += window_origins(geometry)


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
    for t, (o, h) in enumerate(window_taps(geometry)):
        winner[o][np.isnan(x[h])] = t


@_kept
def first_inside(geometry: PoolGeometry, axis: int = 0) -> ndarray:
    """The number of each window's first tap inside the input, along `axis` and the axes behind it.

    Along one axis it is tap ceil((P - i*S)/D), or 0.
    """
    axes = list(
        zip(geometry.out_size, geometry.stride, geometry.padding, geometry.dilation, strict=True)
    )
    firsts = [np.maximum(0, -((np.arange(OH) * S - P) // D)) for OH, S, P, D in axes[axis:]]
    return _flat(firsts, geometry.kernel[axis:])


def _flat(places: list[ndarray], size: Ints) -> ndarray:
    """h*W + k for each h and k of places[0] and places[1]; with three axes (d*H + h)*W + k."""
    flat = np.zeros((), np.int64)
    for along, length in zip(places, size, strict=True):
        flat = flat[..., None] * length + along
    return flat


@lru_cache(maxsize=256)
def tap_offsets(geometry: PoolGeometry) -> ndarray:
    """(KH*KW,): how far tap (p, q) lies behind its window's origin: p*D*W + q*D."""
    taps = [np.arange(K) * D for K, D in zip(geometry.kernel, geometry.dilation, strict=True)]
    return _flat(taps, geometry.size).ravel()


@_kept
def window_origins(geometry: PoolGeometry) -> ndarray:
    """(OH, OW): where tap (0, 0) of each window would lie: (i*S - P)*W + j*S - P."""
    axes = zip(geometry.out_size, geometry.stride, geometry.padding, strict=True)
    return _flat([np.arange(OH) * S - P for OH, S, P in axes], geometry.size)


def max_pool_backward(
    grad_y: ndarray,
    indices: ndarray,
    x_shape: Ints,
    geometry: PoolGeometry | AdaptiveGeometry | None = None,
) -> ndarray:
    """grad_x[n,c,h,k] = sum of grad_y[n,c,i,j] over the (i,j) with indices[n,c,i,j] = h*W + k.

    grad_y and indices (N,C,OH,OW); result (N,C,H,W) in the indices' memory order. The geometry is
    not needed here.
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


def _places(indices: ndarray, x_shape: Ints, order: Order) -> ndarray:
    """Where the winners of a slab lie in that slab of x, in memory: h*W + k among its neighbours.

    Whatever the order, the step from one row to the next is W times the step within a row.
    """
    n, c = indices.shape[:2]
    ones = [1] * len(x_shape[2:])
    plane = prod(x_shape[2:])
    flat = indices.transpose(order)
    if order[-1] == 1:  # N,H,W,C
        return flat * c + (np.arange(n).reshape(n, *ones, 1) * (plane * c) + np.arange(c))
    if order[-1] == 0:  # C,H,W,N
        return flat * n + (np.arange(c).reshape(c, *ones, 1) * (plane * n) + np.arange(n))
    return flat + np.arange(n * c).reshape(n, c, *ones) * plane


def max_pool_gather(x: ndarray, indices: ndarray) -> ndarray:
    """y[n,c,i,j] = x[n,c,h,k] where indices[n,c,i,j] = h*W + k; the backward's adjoint."""
    planes = (*x.shape[:2], prod(x.shape[2:]))
    winners = indices.reshape(*indices.shape[:2], prod(indices.shape[2:]))
    return np.take_along_axis(x.reshape(planes), winners, axis=2).reshape(indices.shape)


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
            o, h = _at(slice(i, i + 1), axis, dims), _at(slice(start, stop), axis, dims)
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


# Average pooling


@_kept
def _divisors(geometry: PoolGeometry, count_include_pad: bool, override: int | None) -> ndarray:
    """(OH, OW) or (1, 1): what each window's sum is divided by; (1, 1) where it is one number.

    The padding counts or not; what a `ceil_mode` window has beyond the padding never counts.
    """
    ones = (1,) * len(geometry.size)
    if override is not None:
        return np.full(ones, float(override))
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
    divisors = reduce(np.multiply.outer, counts)
    return divisors.ravel()[:1].reshape(ones) if (divisors == divisors.flat[0]).all() else divisors


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
        for axis in reversed(range(len(geometry.size))):
            shape = (*values.shape[: 2 + axis], *geometry.out_size[axis:])
            sums = total if axis == 0 else layout.empty(shape, order, y.dtype)
            _running_sum(sums, ((o, values[h], None) for o, h in _axis_taps(geometry, axis)))
            values = sums
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
    x_shape: Ints,
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
    dims = len(geometry.size)
    for slab in _slabs(grad_y.shape, order):
        values = grad_y[slab] / divisors.astype(grad_x.dtype)
        for axis in range(dims):
            shape = (*values.shape[:2], *geometry.size[: axis + 1], *values.shape[3 + axis :])
            target = grad_x[slab] if axis == dims - 1 else layout.empty(shape, order, grad_x.dtype)
            taps = ((h, values[o], None) for o, h in _axis_taps(geometry, axis))
            _spread(target, taps, _tiles(geometry, axis))
            values = target
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
            rows = values[_at(slice(start, stop), axis, dims)]
            np.sum(rows, axis=2 + axis, keepdims=True, out=sums[_at(slice(i, i + 1), axis, dims)])
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
            place = _at(slice(start, stop), axis, dims)
            spread[place] += values[_at(slice(i, i + 1), axis, dims)]
        values = spread
    return values.astype(grad_y.dtype, copy=False)

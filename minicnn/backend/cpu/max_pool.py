"""Max pooling, and the numbers of the taps that won.

The innermost axis comes first: the maxima of each row's windows, then the maxima of those down the
columns. So the winner too is found axis by axis: it is the first pixel in reading order that holds
the maximum, which is the first such row's first such pixel.

Tap (p, q) of a window has the number t = p*KW + q, and the winner of each window is kept as its t,
in a byte: an eighth of the position h*W + k as int64, which `positions` makes of it for those who
ask. What tap t of all windows reads is one strided view: so where windows lie apart and have few
taps, the backward writes each tap's view once,

    grad_x[n,c,h,k] = grad_y[n,c,i,j] if t is the winner of (i,j), else 0

with (i,j) the window that has (h,k) under its tap t. "If" is an AND of grad_y's bits with a mask of
all ones or all zeros, which unlike a product leaves no trace of an infinity and makes no -0.
Elsewhere the gradients are scattered to their places one by one.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy import ndarray

from ..geometry import AdaptiveGeometry, Ints, PoolGeometry
from . import layout, threads
from .layout import Order
from .precision import working_dtype
from .windows import (
    Taps,
    borrowed,
    first_inside,
    slabs,
    tap_offsets,
    taps_along,
    tiles,
    window_origins,
    window_taps,
)

_TAP = np.dtype(np.uint8)
_POSITION = np.dtype(np.int64)

# Taps of a window up to which all of them are written.
_FEW_TAPS = 8

# The integers of as many bytes.
_BITS: dict[int, Any] = {4: np.int32, 8: np.int64}


def max_pool_forward(
    x: ndarray, geometry: PoolGeometry, positions: bool = True
) -> tuple[ndarray, ndarray]:
    """y[n,c,i,j] = max over p,q of x[n,c,h,k], and indices[n,c,i,j] = h*W + k of the winner.

    x (N,C,H,W); results (N,C,OH,OW) in x's memory order, the second int64; with positions=False the
    numbers p*KW + q of the winning taps instead, as uint8, if there are at most 256 taps. The first
    of equal maxima wins; NaN wins over all numbers, the last NaN over the others.
    """
    order = layout.order_of(x)
    shape = (*x.shape[:2], *geometry.out_size)
    as_taps = not positions and prod(geometry.kernel) <= 256
    y = layout.empty(shape, order, x.dtype)
    indices = layout.empty(shape, order, _TAP if as_taps else _POSITION)

    def slab(cut: tuple[slice, ...]) -> None:
        if as_taps:
            _maxima(x[cut], y[cut], indices[cut], order, geometry)
        else:
            part = indices[cut]
            number = _TAP if prod(geometry.kernel) <= 256 else np.dtype(np.uint32)
            taps = borrowed("taps", part.shape, order, number)
            _maxima(x[cut], y[cut], taps, order, geometry)
            _positions(taps, order, geometry, part)

    threads.each(slab, slabs(shape, order), y.size)
    return y, indices


def _maxima(x: ndarray, y: ndarray, winners: ndarray, order: Order, geometry: PoolGeometry) -> None:
    """Fills y and the winners of a slab: along the last axis, then of those along the one before.

    The winner is the first tap of the first row that holds the maximum, so the same steps find it:
    the first q in each row, then the first p.
    """
    best: ndarray = x
    won: Any = None  # the numbers along the axes done so far
    step = 1  # from the number of one tap along the axis to that of the next
    for axis in reversed(range(len(geometry.kernel))):
        shape = (*best.shape[: 2 + axis], *geometry.out_size[axis:])
        maxima = y if axis == 0 else borrowed(f"maxima {axis}", shape, order, x.dtype)
        numbers = winners if axis == 0 else borrowed(f"won {axis}", shape, order, winners.dtype)
        taps: Taps = (
            (o, best[h], (winners.dtype.type(p * step), None if won is None else won[h]))
            for p, (o, h) in enumerate(taps_along(geometry, axis))
        )
        _running_max(maxima, numbers, first_inside(geometry, axis), taps, order)
        best, won, step = maxima, numbers, step * geometry.kernel[axis]
    if y.dtype.kind == "f" and np.isnan(y.max(initial=-np.inf)):
        _find_last_nans(x, winners, geometry)


def _running_max(best: ndarray, winner: ndarray, first: ndarray, taps: Taps, order: Order) -> None:
    """The maximum over taps (place in `best`, values, their numbers t) and the t of the first one.

    t = (number of the tap, numbers behind it or None), of which the sum counts. It rises from tap
    to tap, so the last tap that beat all before it is the largest t for which `values > best` was
    true, and a running maximum of t * (values > best) finds it. To choose between two arrays by a
    mask would take ten times as long. `first` wins where all is -inf.
    """
    so_far: ndarray | None = None  # the values of the first tap, as long as nothing beat them
    begun = False
    beats = borrowed("beats", best.shape, order, np.dtype(bool))
    terms = borrowed("terms", best.shape, order, winner.dtype)
    for place, values, (number, behind) in taps:
        whole = values.shape == best.shape
        if not begun:
            begun = True
            if whole:
                so_far = values
                winner[...] = number if behind is None else behind
                continue
            best[...], winner[...] = _lowest(best.dtype), first
        elif so_far is not None and not whole:
            best[...] = so_far
            so_far = None
        before = best[place] if so_far is None else so_far
        mask, term, won = beats[place], terms[place], winner[place]
        np.greater(values, before, out=mask)
        t = number if behind is None else np.add(behind, number, out=term)
        np.multiply(mask.view(np.uint8), t, out=term)
        np.maximum(won, term, out=won)
        np.maximum(before, values, out=best[place])
        so_far = None
    if so_far is not None:
        best[...] = so_far


def _lowest(dtype: np.dtype) -> Any:
    """What no value of that dtype is less than."""
    if dtype.kind == "f":
        return -np.inf
    return np.iinfo(dtype).min if dtype.kind in "iu" else False


def _find_last_nans(x: ndarray, winner: ndarray, geometry: PoolGeometry) -> None:
    """Makes the last NaN of each window that holds one its winner. Rare, so it may be slow."""
    for t, (o, h) in enumerate(window_taps(geometry)):
        winner[o][np.isnan(x[h])] = t


def _positions(taps: ndarray, order: Order, geometry: PoolGeometry, indices: ndarray) -> None:
    """indices = h*W + k of the pixels that windows read through those taps."""
    # In memory order, as np.take goes over a copy of anything else.
    in_memory = indices.transpose(order)
    np.take(tap_offsets(geometry), taps.transpose(order), out=in_memory, mode="clip")
    indices += window_origins(geometry)


def max_pool_backward(
    grad_y: ndarray,
    indices: ndarray,
    x_shape: Ints,
    geometry: PoolGeometry | AdaptiveGeometry | None = None,
) -> ndarray:
    """grad_x[n,c,h,k] = sum of grad_y[n,c,i,j] over the (i,j) with indices[n,c,i,j] = h*W + k.

    grad_y and indices (N,C,OH,OW); result (N,C,H,W) in the indices' memory order. The indices are
    as `max_pool_forward` gives them; numbers of taps need the geometry, positions do not.
    """
    order = layout.order_of(indices)
    grad_x = layout.empty(x_shape, order, working_dtype(grad_y.dtype))
    windows = _windows(indices, geometry)
    apart = windows is not None and all(
        span <= S for S, span in zip(windows.stride, windows.span, strict=True)
    )

    def slab(cut: tuple[slice, ...]) -> None:
        g = _in_order(grad_y[cut], order, grad_x.dtype)
        if windows is not None and apart and _few_taps(windows, g.dtype):
            _choose(g, indices[cut], grad_x[cut], order, windows)
            return
        target = grad_x[cut].transpose(order).reshape(-1)  # a view: slabs are contiguous
        target[:] = 0
        places = _places(indices[cut], grad_x[cut], order, windows)
        if apart:
            target[places] = g.transpose(order)
        else:  # += would keep one of the gradients of windows that a pixel won
            np.add.at(target, places.ravel(), g.transpose(order).ravel())

    threads.each(slab, slabs(indices.shape, order), indices.size)
    return grad_x.astype(grad_y.dtype, copy=False)


def _windows(
    indices: ndarray, geometry: PoolGeometry | AdaptiveGeometry | None
) -> PoolGeometry | None:
    """The windows, where the indices are numbers of taps in them; None where they are positions."""
    if indices.dtype != _TAP:
        return None
    assert isinstance(geometry, PoolGeometry)
    return geometry


def _few_taps(geometry: PoolGeometry, dtype: np.dtype) -> bool:
    """Whether to write all taps costs less than to find the winner's place."""
    return prod(geometry.kernel) <= _FEW_TAPS and dtype.itemsize in _BITS


def _in_order(part: ndarray, order: Order, dtype: np.dtype) -> ndarray:
    """A slab in that order and dtype: itself, or a copy in scratch."""
    if layout.order_of(part) == order and part.dtype == dtype:
        return part
    copy = borrowed("part", part.shape, order, dtype)
    np.copyto(copy, part)
    return copy


def _choose(
    g: ndarray, winners: ndarray, target: ndarray, order: Order, geometry: PoolGeometry
) -> None:
    """target[h] = g[o] where tap number t won, else 0, for the outputs o and inputs h of each t."""
    if not all(tiles(geometry, axis) for axis in range(len(geometry.kernel))):
        target[...] = 0
    mask = borrowed("mask", g.shape, order, np.dtype(bool))
    bits = _BITS[g.dtype.itemsize]
    for number, (o, h) in enumerate(window_taps(geometry)):
        chosen = np.equal(winners[o], number, out=mask[o]).view(np.int8)
        np.negative(chosen, out=chosen)  # -1, which as an integer of any width is all ones
        np.bitwise_and(g[o].view(bits), chosen, out=target[h].view(bits))


def _places(
    indices: ndarray, target: ndarray, order: Order, geometry: PoolGeometry | None
) -> ndarray:
    """Where the winners of a slab lie in that slab of x, in memory and in memory order.

    The indices are positions, or with a geometry numbers of taps. Whatever the order, the step from
    one row to the next is W times the step within a row: so one from h*W + k to the next is that.
    """
    n, c = indices.shape[:2]
    ones = [1] * (indices.ndim - 2)
    image, channel, step = (target.strides[axis] // target.itemsize for axis in (0, 1, -1))
    places = borrowed("places", indices.shape, order, _POSITION)
    in_memory = places.transpose(order)
    if geometry is None:
        np.multiply(indices, step, out=places)
    else:  # in memory order, as np.take goes over a copy of anything else
        offsets = tap_offsets(geometry) * step
        np.take(offsets, indices.transpose(order), out=in_memory, mode="clip")
        places += window_origins(geometry) * step
    places += (np.arange(n) * image).reshape(n, 1, *ones) + (np.arange(c) * channel).reshape(
        c, *ones
    )
    return in_memory


def max_pool_gather(
    x: ndarray, indices: ndarray, geometry: PoolGeometry | AdaptiveGeometry | None = None
) -> ndarray:
    """y[n,c,i,j] = x[n,c,h,k] where indices[n,c,i,j] = h*W + k; the backward's adjoint.

    The indices as in `max_pool_backward`.
    """
    if (windows := _windows(indices, geometry)) is not None:
        indices = windows.positions(indices, np)
    planes = (*x.shape[:2], prod(x.shape[2:]))
    winners = indices.reshape(*indices.shape[:2], prod(indices.shape[2:]))
    return np.take_along_axis(x.reshape(planes), winners, axis=2).reshape(indices.shape)

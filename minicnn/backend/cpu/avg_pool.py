"""Average pooling: sums along one axis after the other, then the quotient.

The rows first, as the sum of two rows of x is a sum of long runs of memory, whatever the order; the
backward goes the other way round, so that its last and largest step is one of long runs too.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy import ndarray

from ..geometry import Ints, PoolGeometry
from . import layout, threads
from .precision import working_dtype
from .windows import Taps, borrowed, kept, slabs, taps_along, tiles


@kept
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
    """y[n,c,i,j] = (sum over p,q of x[n,c,h,k]) / divisor(i,j): down the columns, then the rows.

    x (N,C,H,W); result (N,C,OH,OW) in x's memory order.
    """
    order, dims = layout.order_of(x), len(geometry.size)
    y = layout.empty((*x.shape[:2], *geometry.out_size), order, working_dtype(x.dtype))
    divisors = _divisors(geometry, count_include_pad, divisor_override).astype(y.dtype)

    def slab(cut: tuple[slice, ...]) -> None:
        values, total = x[cut], y[cut]
        for axis in range(dims):
            shape = (*values.shape[:2], *geometry.out_size[: axis + 1], *values.shape[3 + axis :])
            last = axis == dims - 1
            sums = total if last else borrowed(f"sums {axis}", shape, order, y.dtype)
            _running_sum(sums, ((o, values[h], None) for o, h in taps_along(geometry, axis)))
            values = sums
        total /= divisors

    threads.each(slab, slabs(y.shape, order), y.size)
    return y.astype(x.dtype, copy=False)


def _running_sum(total: ndarray, taps: Taps) -> None:
    """The sum over taps (place in `total`, values, nothing)."""
    first: ndarray | None = None  # the values of the first tap, as long as nothing is added
    begun = False
    for place, values, _ in taps:
        whole = values.shape == total.shape
        if not begun and whole:
            first = values
        elif first is not None and whole and first.dtype == total.dtype:
            np.add(first, values, out=total)
            first = None
        else:
            if not begun or first is not None:
                total[...] = 0 if first is None else first
                first = None
            sums = total[place]
            sums += values
        begun = True
    if first is not None:
        total[...] = first


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
    order, dims = layout.order_of(grad_y), len(geometry.size)
    grad_x = layout.empty(x_shape, order, working_dtype(grad_y.dtype))
    divisors = _divisors(geometry, count_include_pad, divisor_override).astype(grad_x.dtype)

    def slab(cut: tuple[slice, ...]) -> None:
        g = grad_y[cut]
        values = borrowed("shares", g.shape, order, grad_x.dtype)
        np.divide(g, divisors, out=values)
        for axis in reversed(range(dims)):
            shape = (*values.shape[: 2 + axis], *geometry.size[axis:])
            target = borrowed(f"spread {axis}", shape, order, grad_x.dtype) if axis else grad_x[cut]
            taps = ((h, values[o], None) for o, h in taps_along(geometry, axis))
            _spread(target, taps, tiles(geometry, axis))
            values = target

    threads.each(slab, slabs(grad_y.shape, order), grad_y.size)
    return grad_x.astype(grad_y.dtype, copy=False)


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

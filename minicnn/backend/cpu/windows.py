"""Pooling axis by axis, tap by tap: for any number of spatial axes.

A window is a box, so a maximum (or a sum) over it can be taken along one axis after the other. In
three dimensions, with R the box D(d) x H(i) x W(j) that window (d,i,j) covers,

    max over R of x = max over l in D(d) of (max over h in H(i) of (max over k in W(j) of x[l,h,k]))

and the same holds with sums in place of maxima: KD + KH + KW steps an output instead of KD*KH*KW.
Along one axis, what tap p of every window reads is one strided view, x[..., p*D-P::S], so a running
maximum or sum over K views replaces a loop over windows.

Outputs are worked on in slabs, runs of images or of channels, whichever lies outermost in memory:
so many that what is known of them so far stays in the cache. Each slab is a piece for a thread.
Formulas stand in `backend.reference`; `max_pool`, `avg_pool` and `adaptive_pool` build on this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy import ndarray

from ..geometry import Ints, PoolGeometry
from . import layout, scratch, threads
from .layout import Order
from .taps import axis_taps

Taps = Iterator[tuple[Any, ndarray, Any]]

# Outputs of a slab.
_SLAB = 1 << 17

# Outputs up to which the tables of a geometry are kept.
_KEPT = 1 << 14


def kept(make: Callable[..., ndarray]) -> Callable[..., ndarray]:
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


def at(cut: slice, axis: int, dims: int) -> tuple[Any, ...]:
    """The index that takes `cut` of one of `dims` spatial axes and all of the others."""
    return (..., cut, *[slice(None)] * (dims - 1 - axis))


@lru_cache(maxsize=256)
def taps_along(geometry: PoolGeometry, axis: int) -> list[tuple[Any, Any]]:
    """`_cuts` as indices of whole arrays, which are cut along that axis alone."""
    dims = len(geometry.size)
    return [(at(o, axis, dims), at(h, axis, dims)) for o, h in _cuts(geometry, axis)]


def window_taps(geometry: PoolGeometry) -> Iterator[tuple[Any, Any]]:
    """For each tap (p, q), in reading order: which outputs read through it, and which inputs."""
    for taps in product(*[_cuts(geometry, axis) for axis in range(len(geometry.size))]):
        yield (..., *[o for o, _ in taps]), (..., *[h for _, h in taps])


def slabs(shape: tuple[int, ...], order: Order) -> list[tuple[slice, ...]]:
    """Cuts (N,C,..) along its outermost axes in memory into pieces of about `_SLAB` entries.

    Along N or C; in N,C,H,W order along C too where there are fewer images than pieces.
    """
    outer, size = order[0], prod(shape)
    cuts = threads.pieces(shape[outer], size, _SLAB)
    if order[:2] != (0, 1):
        return [(slice(None),) * outer + (cut,) for cut in cuts]
    within = threads.pieces(shape[1], size // max(1, len(cuts)), _SLAB) if shape[0] else []
    return list(product(cuts, within if len(cuts) == shape[0] else [slice(None)]))


def borrowed(role: str, shape: tuple[int, ...], order: Order, dtype: np.dtype) -> ndarray:
    """Scratch of shape (N, C, *size), contiguous in `order`."""
    array = scratch.take(role, tuple([shape[axis] for axis in order]), dtype)
    return array.transpose(layout.inverse(order))


def tiles(geometry: PoolGeometry, axis: int) -> bool:
    """Whether every input along an axis is read by exactly one window."""
    K, S, P = geometry.kernel[axis], geometry.stride[axis], geometry.padding[axis]
    return K == S and P == 0 and geometry.size[axis] == geometry.out_size[axis] * S


@kept
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


@kept
def window_origins(geometry: PoolGeometry) -> ndarray:
    """(OH, OW): where tap (0, 0) of each window would lie: (i*S - P)*W + j*S - P."""
    axes = zip(geometry.out_size, geometry.stride, geometry.padding, strict=True)
    return _flat([np.arange(OH) * S - P for OH, S, P in axes], geometry.size)

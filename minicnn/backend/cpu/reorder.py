"""From one memory order to another, a tile at a time.

To bring an axis from the outermost place in memory to the innermost, say the batch, is to transpose
a matrix of N rows. Read down a column, each number lies C*H*W numbers from the one before: a cache
line for each, and as those distances are often powers of two, all of them compete for the same few
places in the cache. So a tile is first copied, along its rows, to scratch whose rows are a little
longer than the tile's, and is read down its columns there: in less than half the time.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy import ndarray

from . import layout, scratch, threads

# Entries of a tile, and by how much a row of scratch is longer than a row of the tile.
_TILE = 1 << 16
_GAP = 16

# Images below which the rows of the result are too short for a detour to pay.
_FEW = 8


def batch_last(x: ndarray, dtype: np.dtype) -> ndarray:
    """x (N,C,H,W) in C,H,W,N order and of that dtype; x itself if it is so."""
    if x.dtype == dtype and x.transpose(layout.CHWN).flags.c_contiguous:
        return x
    y = layout.empty(x.shape, layout.CHWN, dtype)
    if layout.order_of(x) == layout.CHWN or len(x) < _FEW:
        threads.each(lambda c: np.copyto(y[:, c], x[:, c]), threads.pieces(x.shape[1], x.size))
    else:
        _inwards(x, y, 0)
    return y


def as_other(x: ndarray, other: ndarray) -> ndarray:
    """x in the memory order of an array of its shape; x itself if it is so, or no images."""
    if x.ndim != 4 or x.strides == other.strides:
        return x
    order = layout.order_of(other)
    if order == layout.CHWN:
        return batch_last(x, x.dtype)
    y = layout.empty(x.shape, order, x.dtype)
    if order == layout.NHWC and layout.order_of(x) == layout.CHWN and x.shape[1] >= _FEW:
        _inwards(x, y, 1)
    else:
        threads.each(lambda n: np.copyto(y[n], x[n]), threads.pieces(len(x), x.size))
    return y


def _inwards(x: ndarray, y: ndarray, axis: int) -> None:
    """y[...] = x, where `axis` is the outermost of x in memory and the innermost of y."""
    axes = (axis, *[other for other in layout.order_of(x) if other != axis])
    source, target = x.transpose(axes), y.transpose(axes)

    def tile(cut: tuple[slice, slice]) -> None:
        part = source[:, *cut]
        size = part[0].size
        rows = scratch.take("tile", (len(source), size + _GAP), y.dtype)[:, :size]
        rows = rows.reshape(part.shape)
        np.copyto(rows, part)
        np.copyto(target[:, *cut], rows)

    threads.each(tile, _tiles(source.shape))


def _tiles(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Cuts the second and the third of four axes so that tiles have about `_TILE` entries."""
    N, outer, middle, inner = shape
    room = max(1, _TILE // (N * inner))
    step = min(middle, room)
    return list(product(_runs(outer, max(1, room // middle)), _runs(middle, step)))


def _runs(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]

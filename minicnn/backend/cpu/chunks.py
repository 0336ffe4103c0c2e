"""The outputs of a convolution cut into chunks, and images seen as matrices.

A convolution is computed a chunk of its outputs at a time, a rectangle of (n,i,j): so its columns
stay in the cache and within a limit, and several threads work on several chunks. How the outputs
are cut depends on the sizes alone (see `threads`).

Two of the memory orders of `layout` let an array (n,F,i,j) be seen as matrices without a copy, one
for each group of channels, with a row for each channel and a column for each position m:

    C,H,W,N:  m = (i,j,n), the positions of a channel side by side in memory
    N,H,W,C:  m = (n,i,j), the channels of a position side by side: the matrix is stored transposed

np.matmul takes either as it is, so the same lines of code serve both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from ..geometry import ConvGeometry
from . import layout, scratch, threads
from .layout import CHWN, NCHW, NHWC, Order
from .precision import working_dtype

# Entries of the column buffer that a chunk aims at. They leave the inner cache, and yet it is the
# quickest: with two threads each call of NumPy may wait for Python's lock, so there must be few.
_AIM = 1 << 20

# Entries from which on work is cut in two at least.
_LEAST = 1 << 17

# Positions that a chunk has at least, so that BLAS packs the weights for many of them at a time.
_POSITIONS = 512

# Sums that are kept apart until the end, and the entries that they may take together.
_SUMS = 16
_SUM_ENTRIES = 1 << 21


class Chunk(NamedTuple):
    """A rectangle of output positions: images, rows and columns of y."""

    n: slice
    i: slice
    j: slice

    @property
    def size(self) -> tuple[int, int, int]:
        """(images, rows, columns)."""
        n, i, j = self
        return n.stop - n.start, i.stop - i.start, j.stop - j.start

    def of(self, y: ndarray) -> ndarray:
        """This part of an array (N,F,OH,OW)."""
        return y[self.n, :, self.i, self.j]


def order_for(channels: int) -> Order:
    """The memory order to compute in, by the channels of a group on the side that has more."""
    return NHWC if channels >= 32 else CHWN


def load(geometry: ConvGeometry) -> float:
    """What a convolution takes, in passes over as many entries (see `threads.each`).

    Each entry of the columns is copied, and 16 multiply-adds take about as long as a copy.
    """
    outputs = geometry.out_channels // geometry.groups
    taps = geometry.in_channels * prod(geometry.kernel)
    return geometry.batch * prod(geometry.out_size) * taps * (1 + outputs / 16) / 2


def cut(geometry: ConvGeometry, order: Order, column: int, itemsize: int) -> list[Chunk]:
    """The outputs in chunks, the outermost axis of `order` cut first.

    column: the entries of scratch that a position takes.
    """
    N, (OH, OW) = geometry.batch, geometry.out_size
    limit = max(1, scratch.COLUMN_LIMIT // itemsize)
    positions = max(min(_POSITIONS, limit // column), min(_AIM, limit) // column, 1)
    total = N * OH * OW
    count = -(-total // positions)
    if total * column >= _LEAST:
        count = max(2, count + count % 2)
    if order == NHWC:
        n, i, j = _parts((N, OH, OW), count)
    else:
        i, n, j = _parts((OH, N, OW), count)
    return [Chunk(a, b, c) for a in n for b in i for c in j]


def _parts(sizes: tuple[int, int, int], count: int) -> list[list[slice]]:
    """Three nested axes cut into at least `count` parts, if they can be, the first one first."""
    parts = []
    for size in sizes:
        number = max(1, min(size, count))
        parts.append([slice(k * size // number, (k + 1) * size // number) for k in range(number)])
        count = -(-count // number)
    return parts


def scratch_in_order(role: str, shape: tuple[int, ...], order: Order, dtype: np.dtype) -> ndarray:
    """Scratch of shape (N,C,H,W), contiguous in `order`."""
    array = scratch.take(role, tuple([shape[axis] for axis in order]), dtype)
    return array.transpose(layout.inverse(order))


def position_matrix(y: ndarray, groups: int, order: Order) -> ndarray | None:
    """y (n,F,i,j) as a view (G, F/G, positions) that BLAS takes, or None where there is none."""
    F, shape, strides = y.shape[1], y.shape, y.strides
    step = None  # from one position to the next
    count = 1
    for axis in (0, 3, 2) if order == CHWN else (3, 2, 0):
        if shape[axis] == 1:
            continue
        if step is None:
            step = strides[axis]
        elif strides[axis] != step * count:
            return None
        count *= shape[axis]
    step = y.itemsize if step is None else step
    channel = y.strides[1] if F > 1 else count * y.itemsize
    by_channel = step == y.itemsize and channel >= count * step
    by_position = channel == y.itemsize and step >= F * channel
    if not by_channel and not by_position:
        return None
    # Views, as the axes that become one lie behind each other.
    if order == CHWN:
        return y.transpose(order).reshape(groups, F // groups, count)
    return y.transpose(NHWC).reshape(count, groups, F // groups).transpose(1, 2, 0)


def operand(
    y: ndarray, groups: int, order: Order, dtype: np.dtype, role: str = "operand"
) -> ndarray:
    """y (n,F,i,j) as (G, F/G, positions), copied to scratch if it must be."""
    matrix = position_matrix(y, groups, order) if y.dtype == dtype else None
    if matrix is None:
        copy = scratch_in_order(role, y.shape, order, dtype)
        np.copyto(copy, y)
        matrix = position_matrix(copy, groups, order)
        assert matrix is not None
    return matrix


def write(product: Callable[[ndarray], object], target: ndarray, groups: int, order: Order) -> None:
    """product(matrix) writes to `target` (n,F,i,j), seen as (G, F/G, positions): by a detour
    through scratch where it cannot be seen so."""
    matrix = position_matrix(target, groups, order)
    if matrix is not None:
        product(matrix)
        return
    detour = scratch_in_order("result", target.shape, order, target.dtype)
    matrix = position_matrix(detour, groups, order)
    assert matrix is not None
    product(matrix)
    np.copyto(target, detour)


def summed(
    term: Callable[[Any], ndarray],
    chunks: Sequence[Any],
    entries: int,
    passes: float = threads.ALONE,
) -> ndarray:
    """The sum over all chunks of term(chunk), an array of so many entries. passes: see `load`.

    Runs of chunks are added up on whichever thread takes them, and then their sums in their order:
    how many runs there are depends on the sizes alone.
    """
    runs = threads.pieces(len(chunks), max(2, min(_SUMS, _SUM_ENTRIES // entries)), 1)
    sums: list[Any] = [None] * len(runs)

    def add_up(k: int) -> None:
        first, *rest = chunks[runs[k]]
        total = sums[k] = term(first)
        for chunk in rest:
            total += term(chunk)

    threads.each(add_up, range(len(runs)), passes)
    return reduce(np.add, sums)


def channel_totals(y: ndarray, geometry: ConvGeometry) -> ndarray:
    """The sum of y (N,F,OH,OW) over all positions of each channel, (F,): the gradient of a bias."""
    order, dtype, F = layout.order_of(y), working_dtype(y.dtype), y.shape[1]

    def term(chunk: Chunk) -> ndarray:
        part = chunk.of(y)
        matrix = position_matrix(part, 1, order) if order != NCHW and y.dtype == dtype else None
        if matrix is None:
            return part.sum(axis=(0, 2, 3), dtype=dtype)
        return matrix[0] @ np.ones(matrix.shape[2], dtype)

    totals = summed(term, cut(geometry, order, F, dtype.itemsize), F)
    return totals.astype(y.dtype, copy=False)

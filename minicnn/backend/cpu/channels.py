"""x (N,C,*) cut into blocks for work that treats each channel alike, and sums over channels.

x is taken as three axes (A,C,B) in the order they have in memory: (N,C,H*W) for N,C,H,W,
(N*H*W,C,1) for N,H,W,C, and (1,C,H*W*N) for C,H,W,N. A block is contiguous there. It is seen

* as **columns**, (A, channels, run): a number for each channel is a column beside the block;
* or, where a run is short, as **rows**: (rows, row), a row being all channels with their runs, once
  or several times. The numbers of the channels stand in a row above the block, each B times in
  succession. NumPy's loops are then some thousand entries long, whatever C and B.

A sum over a block is a product, with ones or of one array with another, which BLAS takes several
times as fast as NumPy adds up. Some hundred entries at a time are summed in x's type; those sums
are added in float64, in the order of the blocks, so that it does not matter which thread did which.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from . import scratch

# Entries of x in a block. A call of NumPy's on a quarter as many is as fast on one thread, but two
# threads that make such calls wait for each other: below this the second one gains nothing.
BLOCK = 1 << 19

# A run of fewer entries than this is short for element-wise work, ...
_SHORT = 1 << 10
# ... and of fewer than this also for a product.
_SHORT_PRODUCT = 1 << 7

# Entries of a row, about.
_ROW = 1 << 12

# Entries of a run that are summed in x's own type.
_SUMMED = 1 << 10

Axes = tuple[int, ...]


class Block(NamedTuple):
    """One block: `where` its entries are in memory order; its channels and the length of its runs.

    Blocks that share a channel differ in `part`.
    """

    where: slice
    channels: slice
    run: int
    part: int


def memory_axes(x: ndarray) -> Axes:
    """The order of x's axes in memory, as far as it is one of the three; else their own order."""
    axes = tuple(range(x.ndim))
    for order in (axes, (0, *axes[2:], 1), (*axes[1:], 0)):
        if x.transpose(order).flags.c_contiguous:
            return order
    return axes


class Channels:
    """How x is cut: by its shape and its memory order alone."""

    def __init__(self, x: ndarray) -> None:
        self.shape, self.order = x.shape, memory_axes(x)
        where = self.order.index(1)
        sizes = [x.shape[axis] for axis in self.order]
        self.A, self.C, self.B = prod(sizes[:where]), sizes[where], prod(sizes[where + 1 :])
        # How many values a channel has; 1 where it has none, so that their mean is 0.
        self.M = max(1, self.A * self.B)
        width = self.C * self.B
        self.in_rows = self.A > 1 and self.B < _SHORT and 0 < 2 * width <= BLOCK
        self.fold = max(1, min(self.A, _ROW // width)) if self.in_rows else 1
        self.blocks: list[Block] = []
        if x.size:
            self.blocks = list(self._slabs(width) if width <= BLOCK else self._runs())
        self.parts = 1 + max([block.part for block in self.blocks], default=0)

    def _slabs(self, width: int) -> Iterator[Block]:
        """Some of A with all channels. Whole rows only; what is left over of A is a last block."""
        step = max(1, BLOCK // width // self.fold) * self.fold
        whole = self.A - self.A % self.fold
        ends = [*range(step, whole, step), whole, self.A]
        start = 0
        for part, end in enumerate(ends):
            if end > start:
                where = slice(start * width, end * width)
                yield Block(where, slice(0, self.C), self.B, part)
            start = end

    def _runs(self) -> Iterator[Block]:
        """One of A, and of that some channels, or a part of one."""
        step, length = max(1, BLOCK // self.B), min(self.B, BLOCK)
        pieces = -(-self.B // length)
        for a in range(self.A):
            for c in range(0, self.C, step):
                channels = slice(c, min(c + step, self.C))
                for piece in range(pieces):
                    b = piece * length
                    run, start = min(length, self.B - b), (a * self.C + c) * self.B + b
                    where = slice(start, start + (channels.stop - c) * run)
                    yield Block(where, channels, run, a * pieces + piece)

    # ------------------------------------------------------------------ arrays

    def flat(self, x: ndarray) -> ndarray:
        """The entries of an array of x's shape in memory order: a view, if it is x's order."""
        return x.transpose(self.order).reshape(-1)

    def new(self, dtype: np.dtype) -> tuple[ndarray, ndarray]:
        """A new array of x's shape and memory order, and its entries in that order."""
        array = np.empty([self.shape[axis] for axis in self.order], dtype)
        back = [self.order.index(axis) for axis in range(len(self.order))]
        return array.transpose(back), array.reshape(-1)

    def of(self, flat: ndarray, block: Block) -> ndarray:
        """A block, out of what `flat` gave, as rows or as columns."""
        values = flat[block.where]
        if self.in_rows:
            return values.reshape(-1, min(values.size, self.fold * self.C * self.B))
        return self._as_columns(values, block)

    def _as_columns(self, values: ndarray, block: Block) -> ndarray:
        return values.reshape(-1, block.channels.stop - block.channels.start, block.run)

    def spread(self, values: ndarray, dtype: np.dtype) -> ndarray:
        """A number for each channel, (C,), in the form of which `along` takes a block's part."""
        values = values.astype(dtype, copy=False)
        if self.in_rows:
            return np.tile(np.repeat(values, self.B), self.fold)
        return values[:, None]

    def along(self, spread: ndarray, block: Block) -> ndarray:
        """What broadcasts over a block, out of what `spread` gave."""
        if self.in_rows:
            return spread[: block.where.stop - block.where.start]
        return spread[block.channels]

    # ------------------------------------------------------------------ sums

    def sums(self, dtype: np.dtype) -> ndarray:
        """Zeros to put the sums of each block into: (parts, C), float64 at least."""
        return np.zeros((self.parts, self.C), np.result_type(dtype, np.float64))

    def put_sum(self, sums: ndarray, block: Block, values: ndarray) -> None:
        """Puts the sum of each channel of a block into sums (parts, C)."""
        if self._short:
            found = np.ones(len(values), values.dtype) @ values
            found = found.reshape(-1, self.C, self.B).sum(axis=(0, 2), dtype=sums.dtype)
            sums[block.part] = found
            return
        for run in self._runs_of(values, block):
            self._put(sums, block, run @ np.ones(run.shape[-1], run.dtype))

    def put_products(self, sums: ndarray, block: Block, a: ndarray, b: ndarray) -> None:
        """Puts the sum of a * b in each channel of a block into sums (parts, C)."""
        if self._short:
            product = scratch.take("products", a.shape, a.dtype)
            self.put_sum(sums, block, np.multiply(a, b, out=product))
            return
        pairs = zip(self._runs_of(a, block), self._runs_of(b, block), strict=True)
        for run_a, run_b in pairs:
            self._put(sums, block, (run_a[..., None, :] @ run_b[..., None])[..., 0, 0])

    @property
    def _short(self) -> bool:
        return self.in_rows and self.B < _SHORT_PRODUCT

    def _runs_of(self, values: ndarray, block: Block) -> list[ndarray]:
        """A block as columns; of long runs first their pieces, (A, channels, pieces, piece)."""
        columns = self._as_columns(values, block)
        if block.run < 2 * _SUMMED:
            return [columns]
        whole = block.run - block.run % _SUMMED
        pieces = columns[..., :whole].reshape(*columns.shape[:2], -1, _SUMMED)
        return [pieces] if whole == block.run else [pieces, columns[..., whole:]]

    def _put(self, sums: ndarray, block: Block, found: ndarray) -> None:
        """Adds up what was found, (A, channels) or (A, channels, pieces)."""
        found = found.reshape(*found.shape[:2], -1).sum(axis=(0, 2), dtype=sums.dtype)
        sums[block.part, block.channels] += found

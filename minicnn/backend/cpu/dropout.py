"""Dropout, a run of random words at a time: of an array that lies in the order of its indices the
mask never stands in memory as a whole; of any other, as bools, for as long as the call lasts. Since
block t of the words depends on t and the key alone, threads take pieces that begin with a block.

The words are those of `backend.reference.dropout_word`; NumPy's own Philox bit generator computes
them. It raises its counter before it makes a block, so that it must start one below the first.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy import ndarray

from . import threads
from .precision import working

_BLOCK = 8  # words that the generator makes at a time
_RUN = 2**15  # words at a time: they stay in the cache. Whole blocks.
_PIECE = 2**17  # words that a thread makes in one go: some 200 microseconds

_STATE = {
    "bit_generator": "Philox",
    "buffer": np.zeros(4, np.uint64),
    "buffer_pos": 4,  # the buffer is used up: the next word comes from a new block
    "has_uint32": 0,
    "uinteger": 0,
}
_BEFORE_ZERO = np.full(4, 2**64 - 1, np.uint64)  # the counter that comes before 0


class _Bits(threading.local):
    """A bit generator for each thread: to set its state costs a tenth of making one."""

    philox: Any = None


_bits = _Bits()


def _from(block: int, key: int) -> Any:
    """The thread's bit generator, before a block of `key`."""
    if _bits.philox is None:
        _bits.philox = np.random.Philox(key=0)
    counter = np.array([block - 1, 0, 0, 0], np.uint64) if block else _BEFORE_ZERO
    words = {"counter": counter, "key": np.array([key, 1], np.uint64)}
    _bits.philox.state = {**_STATE, "state": words}
    return _bits.philox


def _kept(piece: slice, p: float, key: int) -> Iterator[tuple[slice, ndarray]]:
    """m[piece] in runs: (where, bools). The piece begins with a block."""
    bits = _from(piece.start // _BLOCK, key)
    threshold = round(p * 2**32)
    for start in range(piece.start, piece.stop, _RUN):
        stop = min(start + _RUN, piece.stop)
        # In little-endian order the lower half of a 64-bit number is its first word, everywhere.
        numbers = bits.random_raw((stop - start + 1) // 2).astype("<u8", copy=False)
        yield slice(start, stop), numbers.view("<u4")[: stop - start] >= threshold


def _pieces(count: int) -> list[slice]:
    """`count` entries in pieces that begin with a block."""
    blocks = threads.pieces(-(-count // _BLOCK), count, _PIECE)
    return [slice(b.start * _BLOCK, min(b.stop * _BLOCK, count)) for b in blocks]


def dropout(x: ndarray, p: float, key: int, mask_shape: tuple[int, ...]) -> ndarray:
    """y = m * x / (1 - p), m of `mask_shape` broadcast to x; y like x, in x's memory order."""
    wide = working(x)
    scale = wide.dtype.type(1 / (1 - p) if p < 1 else 0)
    y = np.empty_like(wide)
    if wide.shape == mask_shape and wide.flags.c_contiguous:
        flat_x, flat_y = wide.reshape(-1), y.reshape(-1)

        def drop(piece: slice) -> None:
            for run, m in _kept(piece, p, key):
                np.multiply(flat_x[run], m, out=flat_y[run])
                flat_y[run] *= scale

        threads.each(drop, _pieces(flat_x.size))
    else:  # the mask's order is not that of the memory, or it is small
        mask = np.empty(prod(mask_shape), bool)

        def fill(piece: slice) -> None:
            for run, m in _kept(piece, p, key):
                mask[run] = m

        threads.each(fill, _pieces(mask.size))
        np.multiply(wide, mask.reshape(mask_shape), out=y)
        y *= scale
    return y.astype(x.dtype, copy=False)

"""ReLU and sums of large arrays, in pieces on the threads.

An array whose entries lie in memory without gaps, in whatever order of its axes, is one long row
there; two of them with the same strides are two rows whose entries belong together. So large arrays
are cut without a look at their axes, into pieces of which a thread's scratch stays in its cache.
Of images in different orders one is copied to the other's first. Small arrays, and those with gaps,
are left to NumPy's own functions: the results are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from . import scratch, threads
from .reorder import as_other

# Below so many entries NumPy's own functions are as fast.
SMALL = 1 << 18

# Entries of a piece; fewer than twice as many are one piece.
PIECE = 1 << 18

# NumPy's maximum of an array and a number takes three times as long as that of two arrays.
_ZEROS = {dtype: np.zeros(1 << 12, dtype) for dtype in (np.dtype("f4"), np.dtype("f8"))}


def long_loops() -> None:
    """Lets NumPy's loops run over the rows of an array, until the end of the errstate around.

    Rows of fewer entries than its buffers have, 8192, would else be copied there first wherever
    something is broadcast: twice the time.
    """
    np.setbufsize(1 << 10)


def _row(x: ndarray) -> ndarray | None:
    """The entries of x in memory order, as a view; None if there are gaps between them."""
    if x.flags.c_contiguous:
        return x.reshape(-1)
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    x = x.transpose(order)
    return x.reshape(-1) if x.flags.c_contiguous else None


def _rows(*arrays: ndarray) -> list[ndarray] | None:
    """The arrays as rows whose entries belong together; None if they lie differently, or small."""
    first = arrays[0]
    if first.size < SMALL or any(x.strides != first.strides for x in arrays):
        return None
    rows = [row for x in arrays if (row := _row(x)) is not None]
    return rows if len(rows) == len(arrays) else None


def positive_part(x: ndarray, out: ndarray) -> None:
    """out = max(x, 0). Quickest where neither has gaps."""
    zeros = _ZEROS.get(x.dtype)
    if zeros is None:
        np.maximum(x, 0, out=out)
        return
    if not (x.flags.c_contiguous and out.flags.c_contiguous):
        fits = x.ndim > 0 and x.shape[-1] <= zeros.size
        np.maximum(x, zeros[: x.shape[-1]] if fits else 0, out=out)
        return
    x, out = x.reshape(-1), out.reshape(-1)
    whole = x.size - x.size % zeros.size
    np.maximum(x[:whole].reshape(-1, zeros.size), zeros, out=out[:whole].reshape(-1, zeros.size))
    np.maximum(x[whole:], 0, out=out[whole:])


def where_not_zero(values: ndarray, y: ndarray, out: ndarray) -> ndarray:
    """out, after out = values * (y != 0). Not y > 0: what is NaN in y shall pass.

    By a bool, which on random signs is several times as fast as a choice.
    """
    kept = scratch.take("not zero", y.shape, np.dtype(bool))
    return np.multiply(values, np.not_equal(y, 0, out=kept), out=out)


def _in_pieces(work: Callable[..., object], *rows: ndarray) -> None:
    """work(piece of each row) for all pieces, on all threads."""
    pieces = threads.pieces(len(rows[0]), len(rows[0]), PIECE)
    with np.errstate():
        long_loops()
        threads.each(lambda piece: work(*[row[piece] for row in rows]), pieces, rows[0].size)


def relu_forward(x: ndarray, over: bool = False) -> ndarray:
    """y = max(x, 0); NaN stays. y like x: a new array, or x itself, written over, if `over`."""
    if x.size < SMALL:
        return np.maximum(x, 0, out=x if over else None)
    y = x if over else np.empty_like(x)
    rows = _rows(x, y)
    if rows is None:
        return np.maximum(x, 0, out=y)
    _in_pieces(positive_part, *rows)
    return y


def relu_backward(grad_y: ndarray, y: ndarray) -> ndarray:
    """grad_x = grad_y where y != 0, else 0; like grad_y, in y's memory order."""
    if y.size < SMALL:
        return grad_y * (y != 0)
    grad_y, grad_x = as_other(grad_y, y), np.empty_like(y, grad_y.dtype)
    rows = _rows(grad_y, y, grad_x)
    if rows is None:
        return np.multiply(grad_y, y != 0, out=grad_x)
    _in_pieces(where_not_zero, *rows)
    return grad_x


def add(a: Any, b: Any) -> Any:
    """a + b: on the threads if they are large arrays of one shape and type; a's memory order."""
    if (
        type(a) is not ndarray
        or type(b) is not ndarray
        or a.size < SMALL
        or a.shape != b.shape
        or a.dtype is not b.dtype
    ):
        return a + b
    b, y = as_other(b, a), np.empty_like(a)
    rows = _rows(a, b, y)
    if rows is None:
        return a + b
    _in_pieces(np.add, *rows)
    return y

"""A sparse matrix along one axis, entry by entry of its rows.

Round s takes the s-th entry of every row that has so many, so that no row is written twice in one
round and += is safe: nothing is lost where several outputs read one input, or the other way round.
Rows and columns that lie in even steps, as they mostly do, are slices instead of lists of indices.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy import ndarray

from ..taps import Taps
from .precision import working

_ROUNDS = 8  # a matrix with more entries in a row is added up row by row


def _steps(index: ndarray) -> slice | ndarray:
    """`index` as a slice if its steps are equal and positive, or zero (then of length 1)."""
    step = int(index[1] - index[0]) if len(index) > 1 else 1
    if step < 0 or (np.diff(index) != step).any():
        return index
    first, last = int(index[0]), int(index[-1])
    return slice(first, last + 1, max(step, 1))


@lru_cache(maxsize=256)
def _rounds(taps: Taps) -> list[tuple[slice | ndarray, slice | ndarray, ndarray | None]] | None:
    """(rows, columns, weights) of each round; None if they are too many."""
    counts = np.bincount(taps.rows, minlength=taps.shape[0])
    if counts.max(initial=0) > _ROUNDS:
        return None
    number = np.arange(len(taps.rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    rounds = []
    for s in range(counts.max(initial=0)):
        e = number == s
        weights = None if taps.weights is None else taps.weights[e]
        rounds.append((_steps(taps.rows[e]), _steps(taps.columns[e]), weights))
    return rounds


def resample(x: ndarray, taps: Taps, axis: int) -> ndarray:
    """y[..., j, ...] = sum over i of A[j,i] * x[..., i, ...]; y like x, in x's memory order."""
    order = np.argsort([-abs(s) for s in x.strides], kind="stable")  # outermost in memory first
    wide = working(x).transpose(order)
    axis = order.tolist().index(axis)
    m = taps.shape[0]
    y = np.empty((*wide.shape[:axis], m, *wide.shape[axis + 1 :]), wide.dtype)
    rounds = _rounds(taps)
    if rounds is None:
        _add_by_rows(wide, taps, axis, y)
    else:
        _add_in_rounds(wide, rounds, axis, y)
    return y.transpose(np.argsort(order)).astype(x.dtype, copy=False)


def _read(x: ndarray, index: slice | ndarray, axis: int) -> ndarray:
    if isinstance(index, slice):
        return x[(slice(None),) * axis + (index,)]
    return x.take(index, axis)


def _along(weights: ndarray, axis: int, like: ndarray) -> ndarray:
    return weights.astype(like.dtype, copy=False).reshape(-1, *(1,) * (like.ndim - 1 - axis))


def _add_in_rounds(x: ndarray, rounds: list[Any], axis: int, y: ndarray) -> None:
    first = rounds[0][0] if rounds else None
    if not isinstance(first, slice) or first != slice(0, y.shape[axis], 1):
        y.fill(0)  # some rows have no entries
    for s, (rows, columns, weights) in enumerate(rounds):
        part = _read(x, columns, axis)
        if weights is not None:
            part = part * _along(weights, axis, x)
        place = (slice(None),) * axis + (rows,)
        if s:
            y[place] += part
        else:
            y[place] = part


def _add_by_rows(x: ndarray, taps: Taps, axis: int, y: ndarray) -> None:
    parts = _read(x, taps.columns, axis)
    if taps.weights is not None:
        parts = parts * _along(taps.weights, axis, x)
    rows, starts = np.unique(taps.rows, return_index=True)
    if len(rows) < taps.shape[0]:
        y.fill(0)
    y[(slice(None),) * axis + (rows,)] = np.add.reduceat(parts, starts, axis)

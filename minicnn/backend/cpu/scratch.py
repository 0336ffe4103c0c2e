"""Working memory that is taken again and again instead of allocated.

Writing into freshly allocated memory costs more than most arithmetic (the system has to map and
clear every page), so columns, padded copies and other intermediate arrays live in buffers that each
thread keeps. A buffer has a name, its role, and grows to the largest size ever asked of it.

What `take` returns holds whatever the last user of that role left there: the caller writes all of
it, padding included, before reading any. So one buffer serves every geometry, stays warm in the
cache from one layer to the next, and can never hand one geometry's zeros to another.
"""

from __future__ import annotations

import threading
import weakref
from math import prod

import numpy as np

# What the columns of a convolution may take, in bytes, whatever the batch.
COLUMN_LIMIT = 64 * 2**20

_ALIGN = 64  # bytes: a cache line, and one AVX-512 register


class _Buffers:
    """One thread's buffers. They go with the thread."""

    def __init__(self) -> None:
        self.by_role: dict[str, np.ndarray] = {}
        _all.add(self)


class _Own(threading.local):
    def __init__(self) -> None:
        self.buffers = _Buffers()


_all: weakref.WeakSet[_Buffers] = weakref.WeakSet()
_own = _Own()


def take(role: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of arbitrary contents in this thread's buffer for `role`, until the next take."""
    by_role = _own.buffers.by_role
    nbytes = prod(shape) * dtype.itemsize
    buffer = by_role.get(role)
    if buffer is None or buffer.nbytes < nbytes:
        # The old buffer goes first, so that the two never stand side by side.
        by_role.pop(role, None)
        del buffer
        raw = np.empty(nbytes + _ALIGN, np.uint8)
        offset = -raw.ctypes.data % _ALIGN
        buffer = by_role[role] = raw[offset : offset + nbytes]
    return np.ndarray(shape, dtype, buffer)


def held() -> dict[str, int]:
    """Bytes that this thread's buffers take, by role."""
    return {role: buffer.nbytes for role, buffer in _own.buffers.by_role.items()}


def release() -> None:
    """Frees the buffers of all threads; what a primitive is at work on, when it has ended."""
    for buffers in list(_all):
        buffers.by_role.clear()

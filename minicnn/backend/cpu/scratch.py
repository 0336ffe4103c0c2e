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
from math import prod

import numpy as np

# What the columns of a convolution may take, in bytes, whatever the batch.
COLUMN_LIMIT = 64 * 2**20

_ALIGN = 64  # bytes: a cache line, and one AVX-512 register


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.by_role: dict[str, np.ndarray] = {}
        self.epoch = _epoch[0]


_epoch = [0]
_buffers = _Buffers()


def take(role: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of arbitrary contents in this thread's buffer for `role`, until the next take."""
    if _buffers.epoch != _epoch[0]:
        _buffers.__init__()  # type: ignore[misc]
    nbytes = prod(shape) * dtype.itemsize
    buffer = _buffers.by_role.get(role)
    if buffer is None or buffer.nbytes < nbytes:
        # The old buffer goes first, so that the two never stand side by side.
        _buffers.by_role.pop(role, None)
        del buffer
        raw = np.empty(nbytes + _ALIGN, np.uint8)
        offset = -raw.ctypes.data % _ALIGN
        buffer = _buffers.by_role[role] = raw[offset : offset + nbytes]
    return buffer[:nbytes].view(dtype).reshape(shape)


def held() -> dict[str, int]:
    """Bytes that this thread's buffers take, by role."""
    return {role: buffer.nbytes for role, buffer in _buffers.by_role.items()}


def release() -> None:
    """Frees the buffers: this thread's at once, another thread's when it next takes one."""
    _epoch[0] += 1
    _buffers.__init__()  # type: ignore[misc]

"""Freed memory is kept for the next array instead of going back to the system.

The C library gives every large array pages of its own, which the system maps and clears when they
are first touched, and takes back when the array goes. A training step makes and drops the same
arrays again and again: on LeNet the page faults cost as much as a quarter of the arithmetic. So
the first primitive that works on large arrays tells the C library to keep what is freed. That
holds for every array of the process, those of NumPy's own operators included, and it is only
*free* memory that is used again: what somebody still holds cannot change.

At most `LIMIT` bytes at the end of the heap are kept; `empty_cache` gives back all that is free.
This is glibc's `mallopt`; with another C library (macOS, Windows, musl) nothing is changed.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Any

from . import scratch

# Bytes of free memory that are kept: what mallopt's int can hold, and more than the steps of the
# classic networks go through.
LIMIT = (1 << 31) - 1

# The numbers of mallopt's parameters, from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4

_TOP_PAD = 16 << 20  # bytes that the heap grows by at least


@cache
def _libc() -> Any:
    """glibc, or None if this process runs on another C library."""
    if sys.platform != "linux":
        return None
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018
        libc.malloc_trim.argtypes = [ctypes.c_size_t]
        return libc
    except (OSError, AttributeError):
        return None


@cache
def keep_freed() -> bool:
    """From now on freed memory is kept; whether that is so. The environment's MALLOC_* win."""
    libc = _libc()
    if libc is None or any(name.startswith(("MALLOC_MMAP", "MALLOC_T")) for name in os.environ):
        return False
    settings = {_M_TRIM_THRESHOLD: LIMIT, _M_TOP_PAD: _TOP_PAD, _M_MMAP_MAX: 0}
    return all(libc.mallopt(*setting) for setting in settings.items())


def empty_cache() -> None:
    """Gives memory that no array uses back to the system, with the scratch of all threads.

    Nothing that the program holds changes; the next step takes its memory anew, and so a little
    longer.
    """
    scratch.release()
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)

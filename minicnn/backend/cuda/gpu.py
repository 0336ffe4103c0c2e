"""What CuPy does for GPUs beside arrays: which is current, its memory, streams, events, copies.

CuPy loads when first asked. Nothing here is called where no GPU can be used.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, NamedTuple

import numpy as np


class Properties(NamedTuple):
    """What a GPU is: its architecture is major.minor, total_memory its bytes."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int


class Memory(NamedTuple):
    """Bytes of a GPU: what arrays use, and what CuPy has taken from the GPU to give to them."""

    used: int
    reserved: int


def current_index() -> int:
    """The number of the GPU on which new arrays are made."""
    import cupy

    return int(cupy.cuda.Device().id)


def use(index: int) -> None:
    """Makes a GPU the current one, in this thread."""
    import cupy

    cupy.cuda.Device(index).use()


def using(index: int) -> AbstractContextManager[Any]:
    """Makes a GPU the current one for a block."""
    import cupy

    return cupy.cuda.Device(index)


def count() -> int:
    """How many GPUs there are."""
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())


def properties(index: int) -> Properties:
    """What a GPU is, as its driver gives it."""
    import cupy

    found = cupy.cuda.runtime.getDeviceProperties(index)
    return Properties(
        name=found["name"].decode(),
        major=int(found["major"]),
        minor=int(found["minor"]),
        total_memory=int(found["totalGlobalMem"]),
        multi_processor_count=int(found["multiProcessorCount"]),
    )


def synchronize(index: int) -> None:
    """Waits until the GPU has done all that it was given."""
    import cupy

    cupy.cuda.Device(index).synchronize()


# Memory


def memory(index: int) -> Memory:
    """How much of the GPU's memory CuPy's arrays use and hold."""
    import cupy

    with using(index):
        pool = cupy.get_default_memory_pool()
        return Memory(int(pool.used_bytes()), int(pool.total_bytes()))


def free_and_total(index: int) -> tuple[int, int]:
    """(free bytes, bytes in all) of the GPU."""
    import cupy

    with using(index):
        free, total = cupy.cuda.runtime.memGetInfo()
    return int(free), int(total)


def free_memory() -> None:
    """Gives back what CuPy keeps for the next arrays: of the GPUs, and pinned memory."""
    import cupy

    for index in range(count()):
        with using(index):
            cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()


@cache
def _peak() -> Any:
    """What watches the arrays come and go, from its first call on, in the thread of that call."""
    import cupy

    class Peak(cupy.cuda.MemoryHook):
        """The most bytes that were used at a time, by the number of the GPU."""

        name = "minicnn.peak"

        def __init__(self) -> None:
            self.used = {index: memory(index).used for index in range(count())}
            self.most = dict(self.used)

        def malloc_postprocess(self, **found: Any) -> None:
            if found["mem_ptr"]:
                index = found["device_id"]
                self.used[index] += found["mem_size"]
                self.most[index] = max(self.most[index], self.used[index])

        def free_postprocess(self, **found: Any) -> None:
            self.used[found["device_id"]] -= found["mem_size"]

    peak = Peak()
    peak.__enter__()  # for good: CuPy asks each of a thread's hooks, at about a microsecond a call
    return peak


def peak_memory(index: int) -> int:
    """The most bytes that arrays took since `reset_peak_memory`, or since the first call."""
    return max(_peak().most[index], memory(index).used)


def reset_peak_memory(index: int) -> None:
    """Begins `peak_memory` anew, with what is used now."""
    peak = _peak()
    peak.used[index] = peak.most[index] = memory(index).used


# Copies that the program does not wait for


_under_way: deque[tuple[Any, np.ndarray]] = deque()  # (event behind the copy, what is copied)
_watching = threading.Lock()


def pinned(x: np.ndarray) -> np.ndarray:
    """A copy of x in page-locked memory, from where a GPU fetches by itself; x if it is there."""
    import cupyx

    if not x.size or is_pinned(x):
        return x
    copy = cupyx.empty_pinned(x.shape, x.dtype)
    copy[...] = x
    return copy


def is_pinned(x: np.ndarray) -> bool:
    """True if x lies in page-locked memory."""
    if not x.size:
        return False
    import cupy

    return bool(cupy.cuda.pinned_memory.is_memory_pinned(x.ctypes.data))


def upload(x: np.ndarray, index: int) -> Any:
    """A copy of x on a GPU, in the order of the current stream.

    From page-locked memory without gaps the copy is only begun: x is kept alive until it has ended,
    and must not be changed before. From other memory it is taken before this returns.
    """
    import cupy

    with using(index):
        if not (x.flags.c_contiguous and is_pinned(x)):
            return cupy.asarray(x)
        out = cupy.empty(x.shape, x.dtype)
        out.data.copy_from_host_async(x.ctypes.data, x.nbytes)
        event = cupy.cuda.Event(disable_timing=True)
        event.record()
    with _watching:
        _under_way.append((event, x))
        while _under_way and _under_way[0][0].done:
            _under_way.popleft()
    return out


# Streams and events


def new_stream(index: int, priority: int = 0) -> Any:
    """A stream of its own, which does not wait for the GPU's default one."""
    import cupy

    with using(index):
        return cupy.cuda.Stream(non_blocking=True, priority=priority)


def default_stream() -> Any:
    """The stream that kernels run in where none was chosen."""
    import cupy

    return cupy.cuda.Stream.null


def current_stream(index: int) -> Any:
    """The stream that kernels on this GPU run in at present, in this thread."""
    import cupy

    return cupy.cuda.get_current_stream(index)


def new_event(timing: bool, blocking: bool) -> Any:
    """A mark to be set in a stream, on the current GPU. blocking: who waits for it sleeps."""
    import cupy

    return cupy.cuda.Event(block=blocking, disable_timing=not timing)


def milliseconds(start: Any, end: Any) -> float:
    """The time between two events that have happened."""
    import cupy

    return float(cupy.cuda.get_elapsed_time(start, end))

"""What CuPy says of the GPUs: which is current, how much memory is taken. CuPy loads when asked."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple


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


def name(index: int) -> str:
    """A GPU's name, as its driver gives it."""
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(index)["name"].decode())


def synchronize(index: int) -> None:
    """Waits until the GPU has done all that it was given."""
    import cupy

    cupy.cuda.Device(index).synchronize()


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

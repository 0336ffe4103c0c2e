"""GPUs: whether one can be used, which is current, their memory, their random numbers.

    device = minicnn.device("cuda" if minicnn.cuda.is_available() else "cpu")

Tensors reach a GPU by `.to("cuda")`, through CuPy, and compute there with kernels/*.cu
(backend/cuda). `why_unavailable()` says what is missing, and the line of pip that brings it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from .autograd import device as _device
from .backend import random
from .backend.cuda import compiler, gpu

__all__ = [
    "current_device",
    "device",
    "device_count",
    "empty_cache",
    "get_device_name",
    "get_rng_state",
    "initial_seed",
    "is_available",
    "manual_seed",
    "manual_seed_all",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "seed",
    "set_device",
    "set_rng_state",
    "synchronize",
    "why_unavailable",
]


def is_available() -> bool:
    """True if tensors can be moved to a GPU."""
    return compiler.unavailable() is None


def why_unavailable() -> str | None:
    """What stands in the way of a GPU and which line of pip mends it; None if one can be used."""
    return compiler.unavailable()


def device_count() -> int:
    """How many GPUs can be used."""
    return gpu.count() if is_available() else 0


def current_device() -> int:
    """The number of the GPU that "cuda" without a number means. RuntimeError if there is none."""
    _check("current_device")
    return gpu.current_index()


def set_device(device: Any) -> None:
    """Makes a GPU the one that "cuda" without a number means, in this thread."""
    gpu.use(_index("set_device", device))


def device(device: Any) -> AbstractContextManager[Any]:
    """`with cuda.device(1):` makes a GPU the current one for a block."""
    return gpu.using(_index("device", device))


def get_device_name(device: Any = None) -> str:
    """The GPU's name, as its driver gives it."""
    return gpu.name(_index("get_device_name", device))


def synchronize(device: Any = None) -> None:
    """Waits until the GPU has done all that it was given; without a GPU there is none to wait for.

    Kernels run while Python goes on: measure times only between two of these.
    """
    if is_available():
        gpu.synchronize(_index("synchronize", device))


# Memory


def empty_cache() -> None:
    """Gives memory that no tensor uses, which CuPy keeps for the next one, back to the GPU."""
    if is_available():
        gpu.free_memory()


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors on the GPU take; 0 without a GPU."""
    return _memory("memory_allocated", device).used if is_available() else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes that were taken from the GPU, used by tensors or kept for the next; 0 without one."""
    return _memory("memory_reserved", device).reserved if is_available() else 0


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free bytes, bytes in all) of the GPU. RuntimeError if there is none."""
    return gpu.free_and_total(_index("mem_get_info", device))


# Random numbers


def manual_seed(seed: int) -> None:
    """Seeds the current GPU's generator; ignored without a GPU."""
    if is_available():
        random.default_generator(f"cuda:{gpu.current_index()}").manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all GPUs; ignored without a GPU."""
    for index in range(device_count()):
        random.default_generator(f"cuda:{index}").manual_seed(seed)


def seed() -> None:
    """Seeds the current GPU's generator with a number that the operating system draws."""
    if is_available():
        random.default_generator(f"cuda:{gpu.current_index()}").seed()


def initial_seed() -> int:
    """The seed that the current GPU's generator began with. RuntimeError if there is no GPU."""
    return random.default_generator(f"cuda:{current_device()}").initial_seed()


def get_rng_state(device: Any = "cuda") -> Any:
    """Where the GPU's generator stands, for `set_rng_state` (uint8 array)."""
    return random.default_generator(f"cuda:{_index('get_rng_state', device)}").get_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Goes back to where `get_rng_state` was called. ValueError for anything else."""
    index = _index("set_rng_state", device)
    random.default_generator(f"cuda:{index}").set_state(new_state)


# What the functions above share


def _check(function: str) -> None:
    if (reason := compiler.unavailable()) is not None:
        raise RuntimeError(f"cuda.{function}: no GPU can be used: {reason}")


def _index(function: str, device: Any) -> int:
    """The number of a GPU: of an int, "cuda:1", a device; None and "cuda" are the current one.

    Raises:
        RuntimeError: there is no such GPU. ValueError: the device is no GPU.
    """
    _check(function)
    wanted = _device("cuda" if device is None else device)
    if wanted.type != "cuda":
        raise ValueError(f"cuda.{function}: expects a GPU, got device {str(wanted)!r}")
    index = gpu.current_index() if wanted.index is None else wanted.index
    if index >= device_count():
        raise RuntimeError(f"cuda.{function}: there are {device_count()} GPUs, no number {index}")
    return index


def _memory(function: str, device: Any) -> gpu.Memory:
    return gpu.memory(_index(function, device))

"""The newer way to ask for a GPU, by the names of `torch.accelerator`:

device = accelerator.current_accelerator() if accelerator.is_available() else "cpu"

Arguments and errors are those of minicnn.cuda.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from . import cuda
from .autograd import device as _device


def is_available() -> bool:
    """True if tensors can be moved to a GPU."""
    return cuda.is_available()


def current_accelerator(check_available: bool = False) -> Any:
    """The type of device to move tensors to, `device("cuda")`; None without a GPU."""
    return _device("cuda") if cuda.is_available() else None


def device_count() -> int:
    """How many GPUs can be used."""
    return cuda.device_count()


def synchronize(device: Any = None) -> None:
    """Waits until the GPU has done all that it was given; without one there is none to wait for."""
    cuda.synchronize(device)


def current_device_index() -> int:
    """The number of the GPU that "cuda" without a number means. RuntimeError if there is none."""
    return cuda.current_device()


def set_device_index(device: Any) -> None:
    """Makes a GPU the one that "cuda" without a number means, in this thread."""
    cuda.set_device(device)


def device_index(device: Any) -> AbstractContextManager[Any]:
    """`with accelerator.device_index(1):` makes a GPU the current one for a block."""
    return cuda.device(device)


def current_stream(device: Any = None) -> cuda.Stream:
    """The stream that takes this thread's work for the GPU at present."""
    return cuda.current_stream(device)


def set_stream(stream: cuda.Stream) -> None:
    """Makes a stream the current one of its GPU, in this thread."""
    cuda.set_stream(stream)


empty_cache = cuda.empty_cache
memory_allocated = cuda.memory_allocated
memory_reserved = cuda.memory_reserved
max_memory_allocated = cuda.max_memory_allocated
reset_peak_memory_stats = cuda.reset_peak_memory_stats

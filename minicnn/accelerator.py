"""The newer way to ask for a GPU, by the names of `torch.accelerator`:

device = accelerator.current_accelerator() if accelerator.is_available() else "cpu"
"""

from __future__ import annotations

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

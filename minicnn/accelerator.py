"""The newer way to ask for a GPU: `accelerator.is_available()`. minicnn computes on the CPU: no.

`accelerator.current_accelerator() if accelerator.is_available() else "cpu"` gives the CPU.
"""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    """True if tensors can be moved to some accelerator. This version has no path to one."""
    return False


def current_accelerator(check_available: bool = False) -> Any:
    """The device to move tensors to: None, as there is no accelerator."""
    return None


def device_count() -> int:
    """How many accelerators can be used: none."""
    return 0


def synchronize(device: Any = None) -> None:
    """Waits for the accelerator's work; without one there is none to wait for."""

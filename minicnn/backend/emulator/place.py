"""The emulated device as a place for tensors: "emulator", or "emulator:1" for a second one.

There are two, so that programs for several GPUs can be tried. They differ in nothing but that their
arrays do not mix.
"""

from __future__ import annotations

from typing import Any

from .arrays import EmulatedArray, _current, on_index, xp
from .build import unavailable

COUNT = 2


class Place:
    """An emulated device by its number: makes arrays there."""

    def __init__(self, index: int) -> None:
        self.index = index

    def asarray(self, x: Any) -> EmulatedArray:
        """A copy of x on this device."""
        with on_index(self.index):
            return xp.array(x)


def at(index: int | None = None) -> Place:
    """The emulated device of that number; None: the current one.

    Raises:
        RuntimeError: there is none of that number, or this machine has no C++ compiler.
    """
    index = _current.index if index is None else index
    if index >= COUNT:
        raise RuntimeError(f"emulator:{index}: the emulated devices are 0 to {COUNT - 1}")
    if (reason := unavailable()) is not None:
        raise RuntimeError(reason)
    return Place(index)

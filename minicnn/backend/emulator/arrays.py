"""Arrays of the emulated device: NumPy arrays of a type of their own, since the type decides who
computes with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class EmulatedArray(np.ndarray):
    """An array in the memory of the emulated device, which is the machine's own.

    NumPy's functions give an EmulatedArray for an EmulatedArray.
    """

    # The arrays whose addresses this one holds (see `pointers`), which a kernel reaches through it.
    targets: tuple[np.ndarray, ...] = ()

    @property
    def kernel_device(self) -> Any:
        """The device that kernels on this array run on: see `emulation`."""
        from .device import current_device

        return current_device()


def emulated(x: Any) -> EmulatedArray:
    """x as an EmulatedArray, sharing its memory where it is a NumPy array."""
    return np.asarray(x).view(EmulatedArray)


def pointers(arrays: Sequence[np.ndarray]) -> EmulatedArray:
    """A table of the addresses of arrays, for a kernel that takes `float* const*`.

    The table keeps the arrays alive, and in the checked mode a kernel may reach them through it.
    """
    table = emulated(np.array([a.ctypes.data for a in arrays], np.uint64))
    table.targets = tuple(arrays)
    return table

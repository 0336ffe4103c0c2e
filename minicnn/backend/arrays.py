"""Which objects are arrays, and where their memory is. CuPy is recognised, never imported here."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np


def is_array(x: Any) -> bool:
    """True for NumPy arrays (not NumPy scalars) and CuPy arrays."""
    return isinstance(x, np.ndarray) or _is_cupy(x)


def array_module(x: Any) -> ModuleType:
    """The module whose functions take `x`: numpy or cupy."""
    return sys.modules["cupy"] if _is_cupy(x) else np


def place(x: Any) -> tuple[str, int | None]:
    """The type and index of the device that holds `x`."""
    return ("cuda", int(x.device.id)) if _is_cupy(x) else ("cpu", None)


def to_numpy(x: Any) -> np.ndarray:
    """`x` as a NumPy array; shares memory unless `x` is on a GPU."""
    return x.get() if _is_cupy(x) else np.asarray(x)


def _is_cupy(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] == "cupy"

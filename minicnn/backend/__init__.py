"""Arrays, and the primitives that need an inner loop.

A primitive is a function on raw arrays, written once for each backend module under the same name:
`reference` (plain loops, to read and to compare with) and `cpu` (fast NumPy). Which of them serves
is decided by the type of the array, never by a global setting:

    backend.of(x).conv_forward(x, w, b, geometry)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from . import cpu, geometry, random, reference
from .arrays import array_module, is_array, place, to_numpy
from .geometry import ConvGeometry, PoolGeometry, ReceptiveField

__all__ = [
    "ConvGeometry",
    "PoolGeometry",
    "ReceptiveField",
    "array_module",
    "available",
    "cpu",
    "geometry",
    "is_array",
    "of",
    "place",
    "random",
    "reference",
    "to_numpy",
    "use_backend",
]

_MODULES = {"reference": reference, "cpu": cpu}


class _Override(threading.local):
    """What `use_backend` chose in this thread."""

    module: ModuleType | None = None


_override = _Override()


def available() -> tuple[str, ...]:
    """The names that `use_backend` takes on this machine."""
    return tuple(_MODULES)


def of(x: Any) -> ModuleType:
    """The module whose primitives serve the array x: that of `use_backend`, or else of x's type.

    Raises:
        TypeError: x is no array of any backend.
    """
    if not isinstance(x, (np.ndarray, np.generic)):
        raise TypeError(f"backend.of: x expects a numpy.ndarray, got {type(x).__name__}")
    return _override.module or cpu


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """In this thread, until the block ends, every primitive runs in the backend of that name.

    To compare versions: `with minicnn.use_backend("reference"): loss.backward()`.

    Raises:
        ValueError: there is no such backend on this machine.
    """
    if name not in _MODULES:
        names = ", ".join(map(repr, _MODULES))
        raise ValueError(f"use_backend: name expects one of {names}, got {name!r}")
    before = _override.module
    _override.module = _MODULES[name]
    try:
        yield
    finally:
        _override.module = before

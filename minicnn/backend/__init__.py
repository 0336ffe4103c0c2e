"""Arrays, and the primitives that need an inner loop.

A primitive is a function on raw arrays, written once for each backend module under the same name:
`reference` (plain loops, to read and to compare with), `cpu` (fast NumPy) and `cuda` (kernels, for
arrays of a GPU and of the emulator). Which of them serves is decided by the type of the array,
never by a global setting:

    backend.of(x).conv_forward(x, w, b, geometry)
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from . import cpu, geometry, random
from .arrays import (
    array_module,
    as_array,
    copy,
    is_array,
    like,
    move,
    on_device_of,
    place,
    to_numpy,
)
from .geometry import ConvGeometry, PoolGeometry, ReceptiveField

__all__ = [
    "ConvGeometry",
    "PoolGeometry",
    "ReceptiveField",
    "array_module",
    "as_array",
    "available",
    "copy",
    "cpu",
    "geometry",
    "is_array",
    "like",
    "move",
    "of",
    "on_device_of",
    "place",
    "random",
    "reference",
    "to_numpy",
    "use_backend",
    "why_not",
]

_MODULES = ("reference", "cpu", "emulator", "cuda")


class _Override(threading.local):
    """The name that `use_backend` was given in this thread."""

    name: str | None = None


_override = _Override()


def available() -> tuple[str, ...]:
    """The names that `use_backend` takes on this machine."""
    return tuple(name for name in _MODULES if why_not(name) is None)


def why_not(name: str) -> str | None:
    """Why the backend of that name cannot be used on this machine; None if it can."""
    if name == "emulator":
        from . import emulator

        return emulator.unavailable()
    if name == "cuda":
        from .cuda import compiler

        return compiler.unavailable()
    return None


def of(x: Any) -> Any:
    """The module whose primitives serve the array x: that of `use_backend`, or else of x's type.

    Raises:
        TypeError: x is no array of any backend.
    """
    kind = type(x)
    if kind is np.ndarray and _override.name is None:
        return cpu
    if not is_array(x) and not isinstance(x, np.generic):
        raise TypeError(f"backend.of: x expects an array, got {kind.__name__}")
    own = "cpu" if isinstance(x, np.generic) else place(x)[0]
    wanted = _override.name or own
    if wanted == own or (wanted == "reference" and own == "cpu"):
        return _module(wanted)
    return Elsewhere(wanted, x)


def _module(name: str) -> ModuleType:
    if name == "cpu":
        return cpu
    return importlib.import_module(f"{__name__}.{'reference' if name == 'reference' else 'cuda'}")


def __getattr__(name: str) -> Any:
    if name == "reference":  # loaded when somebody compares with it
        return _module(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Elsewhere:
    """The primitives of another backend than the arrays': moved there and back, call by call."""

    def __init__(self, name: str, x: Any) -> None:
        self._name, self._x = name, x

    def __getattr__(self, function: str) -> Any:
        primitive = getattr(_module(self._name), function)
        kind = "cpu" if self._name == "reference" else self._name

        def call(*args: Any, **options: Any) -> Any:
            there = [move(a, kind) if is_array(a) or isinstance(a, np.generic) else a for a in args]
            result = primitive(*there, **options)
            if isinstance(result, tuple):
                return tuple(None if y is None else like(self._x, y) for y in result)
            return like(self._x, result)

        return call


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """In this thread, until the block ends, every primitive runs in the backend of that name.

    To compare versions: `with minicnn.use_backend("reference"): loss.backward()`. Arrays stay where
    they are: a backend that computes elsewhere gets copies, and its results are copied back.

    Raises:
        ValueError: there is no backend of that name.
        RuntimeError: it cannot be used on this machine; the text says why.
    """
    if name not in _MODULES:
        names = ", ".join(map(repr, _MODULES))
        raise ValueError(f"use_backend: name expects one of {names}, got {name!r}")
    if (reason := why_not(name)) is not None:
        raise RuntimeError(f"use_backend: {name}: {reason}")
    before = _override.name
    _override.name = name
    try:
        yield
    finally:
        _override.name = before

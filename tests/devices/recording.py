"""Notes what is asked of the arrays of the emulated device, to compare with what CuPy has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from minicnn.backend import emulator
from minicnn.backend.emulator.arrays import EmulatedArray


class Call(NamedTuple):
    """What was called: "function" of NumPy or of the device's module, "ufunc" or "method" of an
    array; with how many arguments by position, which by keyword, and of which types (for a ufunc
    that of the result comes last)."""

    kind: str
    name: str
    method: str
    count: int
    keywords: tuple[str, ...]
    types: tuple[str, ...]


# These ask for more of an array's flags, after a question whether it is NumPy's.
ASK_NUMPY = ("minicnn.backend.arrays", "minicnn.backend.cuda.launcher")


class Flags(NamedTuple):
    """What CuPy tells of an array's memory."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool


def _type_of(x: Any) -> str:
    """The dtype of an array, with its number of axes; the type of anything else."""
    if isinstance(x, (np.ndarray, np.generic)):
        return f"{'array' if isinstance(x, np.ndarray) else 'scalar'} {x.dtype}"
    if isinstance(x, (tuple, list)) and any(isinstance(v, np.ndarray) for v in x):
        return f"{type(x).__name__} of arrays"
    return type(x).__name__


def _from_above() -> bool:
    """Whether the call that is being noted was written in minicnn, the emulator left out."""
    name = sys._getframe(2).f_globals["__name__"]
    return name.startswith("minicnn.") and not name.startswith("minicnn.backend.emulator")


@contextmanager
def recording(calls: set[Call]) -> Iterator[None]:
    """Until the block ends, notes in `calls` what minicnn asks of emulated arrays."""

    def note(kind: str, name: str, method: str, args: Any, options: Any) -> None:
        if "shape" in options and len(options["shape"]) != args[0].ndim:
            # CuPy's zeros_like and the like take shape=() for no shape at all.
            options = {**options, "shape of other dimensions": None}
        types = tuple(map(_type_of, args))
        count = len(args) - (kind == "ufunc")
        calls.add(Call(kind, name, method, count, tuple(sorted(options)), types))

    of_ufunc, of_function = EmulatedArray.__array_ufunc__, EmulatedArray.__array_function__

    def array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        result = of_ufunc(self, ufunc, method, *inputs, **options)
        if _from_above():
            note("ufunc", ufunc.__name__, method, (*inputs, result), options)
        return result

    def array_function(self: Any, function: Any, types: Any, args: Any, options: Any) -> Any:
        if _from_above():
            module = function.__module__.partition(".")[2]
            note("function", f"{module}.{function.__name__}".strip("."), "", args, options)
        return of_function(self, function, types, args, options)

    def getattribute(self: Any, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if not _from_above():
            return value
        if name == "flags" and sys._getframe(1).f_globals["__name__"] not in ASK_NUMPY:
            value = Flags(value.c_contiguous, value.f_contiguous, value.owndata)
        if not callable(value):
            calls.add(Call("attribute", name, "", 0, (), ()))
            return value

        def method(*args: Any, **options: Any) -> Any:
            note("method", name, "", args, options)
            return value(*args, **options)

        return method

    class Module:
        """The device's module: notes the functions that are called."""

        def __getattr__(self, name: str) -> Any:
            value = getattr(plain, name)
            if isinstance(value, type) or not callable(value):
                calls.add(Call("attribute of the module", name, "", 0, (), ()))
                return value

            def function(*args: Any, **options: Any) -> Any:
                note("function", name, "", args, options)
                return value(*args, **options)

            return function

    plain = emulator.xp
    with (
        mock.patch.object(EmulatedArray, "__array_ufunc__", array_ufunc),
        mock.patch.object(EmulatedArray, "__array_function__", array_function),
        mock.patch.object(EmulatedArray, "__getattribute__", getattribute),
        mock.patch.object(emulator, "xp", Module()),
    ):
        yield

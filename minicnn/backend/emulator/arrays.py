"""Arrays of the emulated device: NumPy arrays of a type of their own, as strict as a GPU's.

The type decides who computes with an array (`backend.of`). And as with CuPy's arrays, what lies on
the device stays there: an array of the CPU meets one of the device only where somebody moves it,
reductions give arrays without dimensions rather than numbers, and `xp` makes new arrays on the
device. So a program that runs on emulated arrays has named every copy that a GPU would need.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np


class _Current(threading.local):
    """The number of the device on which this thread makes new arrays."""

    index = 0


_current = _Current()


@contextmanager
def on_index(index: int) -> Iterator[None]:
    """In this thread, until the block ends, new arrays are made on the device of that number."""
    before, _current.index = _current.index, index
    try:
        yield
    finally:
        _current.index = before


class EmulatedArray(np.ndarray):
    """An array in the memory of an emulated device, which is the machine's own.

    NumPy's functions give an EmulatedArray for an EmulatedArray, and refuse to mix it with arrays
    of the CPU or of another device; Python's and NumPy's numbers go with every array.
    """

    index = 0  # the number of the device
    # The arrays whose addresses this one holds (see `pointers`), which a kernel reaches through it.
    targets: tuple[np.ndarray, ...] = ()

    def __array_finalize__(self, source: Any) -> None:
        self.index = getattr(source, "index", _current.index)

    @property
    def kernel_device(self) -> Any:
        """The device that kernels on this array run on: see `emulation`."""
        from .device import current_device

        return current_device()

    def get(self) -> np.ndarray:
        """A copy in the CPU's memory."""
        return np.array(self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if any(map(_knows_ufuncs, inputs)):
            return NotImplemented  # the operation is theirs
        index = _index_of(ufunc.__name__, (inputs, options))
        result = getattr(ufunc, method)(*_plain(inputs), **_plain(options))
        out = options.get("out")
        if out is None:
            return _emulated(result, index)
        return out[0] if len(out) == 1 else out

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        index = _index_of(function.__name__, (args, options))
        result = function(*_plain(args), **_plain(options))
        if function is np.diagonal:  # NumPy's is read-only for old reasons; a GPU's is not
            result.flags.writeable = True
        return options["out"] if options.get("out") is not None else _emulated(result, index)

    def __getitem__(self, key: Any) -> Any:
        _index_of("indexing", (self, key))
        y = super().__getitem__(key)
        if isinstance(y, np.ndarray):
            return y
        return super().__getitem__((*(key if isinstance(key, tuple) else (key,)), ...))

    def __setitem__(self, key: Any, value: Any) -> None:
        _index_of("assignment", (self, key, value))
        super().__setitem__(key, value)

    def __array_wrap__(self, y: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return _emulated(y, self.index)


def _method(name: str) -> Any:
    """A method of ndarray that gives plain arrays or numbers; here it gives arrays there."""
    plain = getattr(np.ndarray, name)

    def method(self: EmulatedArray, *args: Any, **options: Any) -> Any:
        _index_of(name, (self, args, options))
        return _emulated(plain(self, *args, **options), self.index)

    method.__name__, method.__doc__ = name, plain.__doc__
    return method


for _name in ("argmax", "argmin", "dot", "nonzero", "searchsorted", "take", "trace"):
    setattr(EmulatedArray, _name, _method(_name))


def _knows_ufuncs(x: Any) -> bool:
    """True for objects that are no arrays and compute with arrays, as minicnn's Tensors do."""
    return hasattr(type(x), "__array_ufunc__") and not isinstance(x, (np.ndarray, np.generic))


def _index_of(what: str, values: Any) -> int:
    """The number of the device on which all arrays among `values` are.

    Raises:
        TypeError: some are on the CPU, or on another device.
    """
    found: set[int | None] = set()
    _collect(values, found)
    if len(found) > 1:
        names = sorted("cpu" if i is None else f"emulator:{i}" for i in found)
        raise TypeError(f"{what}: arrays on different devices: {' and '.join(names)}")
    return next((i for i in found if i is not None), _current.index)


def _collect(value: Any, found: set[int | None]) -> None:
    if isinstance(value, np.ndarray):
        found.add(value.index if isinstance(value, EmulatedArray) else None)
    elif isinstance(value, (tuple, list)):
        for v in value:
            _collect(v, found)
    elif isinstance(value, dict):
        _collect(tuple(value.values()), found)


def _plain(value: Any) -> Any:
    """The same with NumPy's own arrays, over the same memory."""
    if isinstance(value, EmulatedArray):
        return value.view(np.ndarray)
    if isinstance(value, (tuple, list)):
        parts = [_plain(v) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return value


def _emulated(value: Any, index: int) -> Any:
    """The same with arrays of the device; numbers of NumPy's become arrays."""
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind == "O":
            return value
        out = np.asarray(value).view(EmulatedArray)
        out.index = index
        return out
    if isinstance(value, (tuple, list)):
        parts = [_emulated(v, index) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


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


# The module of the device's arrays: NumPy, whose functions that make arrays make them there.


def _creator(name: str) -> Any:
    function = getattr(np, name)

    def create(*args: Any, **options: Any) -> Any:
        index = _index_of(name, (args, options))
        return _emulated(function(*_plain(args), **_plain(options)), index)

    create.__name__, create.__doc__ = name, function.__doc__
    return create


def _copied(x: Any, dtype: Any = None, copy: bool = True, **options: Any) -> EmulatedArray:
    """A copy of x, of whatever device, on the current one."""
    out = np.array(x, dtype, **options).view(EmulatedArray)
    out.index = _current.index
    return out


def _as_array(x: Any, dtype: Any = None, **options: Any) -> EmulatedArray:
    """x itself if it is an array of the device and of that type, else a copy on the device."""
    here = isinstance(x, EmulatedArray) and x.index == _current.index
    if here and (dtype is None or x.dtype == dtype):
        return x
    return _copied(x, dtype, **options)


class _Module(SimpleNamespace):
    """NumPy, but for the functions given."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


_CREATORS = (
    "arange", "empty", "eye", "full", "identity", "indices", "linspace", "logspace", "ones", "tri",
    "tril_indices", "triu_indices", "zeros",
)  # fmt: skip

xp = _Module(
    array=_copied,
    asarray=_as_array,
    ascontiguousarray=lambda x, dtype=None: _as_array(x, dtype).copy(order="C"),
    ndarray=EmulatedArray,
    asnumpy=lambda x: np.array(x) if isinstance(x, np.ndarray) else np.asarray(x),
    **{name: _creator(name) for name in _CREATORS},
)

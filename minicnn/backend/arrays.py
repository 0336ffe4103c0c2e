"""Which objects are arrays, where their memory is, and how they get from one device to another.

CuPy and the emulator are recognised here; they are imported when the first array is moved there.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np


class _Devices:
    """`several`: a device beside the first of its kind was named, so ops must mind which is current
    (see `on_device_of`). Programs with one device pay nothing for it."""

    several = False


devices = _Devices()


def is_array(x: Any) -> bool:
    """True for arrays of NumPy (not its scalars), of CuPy and of the emulator."""
    return isinstance(x, np.ndarray) or _is_cupy(x)


def array_module(x: Any) -> Any:
    """The module whose functions make and take arrays like `x`: numpy, cupy, or the emulator's.

    New arrays are made on the device of `x`, whichever is the current one.
    """
    if type(x) is np.ndarray:
        return np
    if _is_emulated(x):
        module: Any = sys.modules["minicnn.backend.emulator"].xp
    elif _is_cupy(x):
        module = sys.modules["cupy"]
    else:
        return np
    return _Beside(module, x) if devices.several else module


class _Beside:
    """A module of arrays whose functions run while the device of an array is the current one."""

    def __init__(self, module: Any, x: Any) -> None:
        self._module, self._x = module, x

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._module, name)
        if not isinstance(function, (FunctionType, BuiltinFunctionType)):
            return function

        def beside(*args: Any, **options: Any) -> Any:
            with on_device_of(self._x):
                return function(*args, **options)

        return beside


def as_array(x: Any) -> Any:
    """`x` itself if it is an array of any device; a number as an array of the CPU."""
    return x if is_array(x) else np.asarray(x)


def place(x: Any) -> tuple[str, int | None]:
    """The type and index of the device that holds `x`."""
    if _is_emulated(x):
        return "emulator", x.index
    return ("cuda", int(x.device.id)) if _is_cupy(x) else ("cpu", None)


def to_numpy(x: Any) -> np.ndarray:
    """`x` as a NumPy array; shares memory if `x` is in the CPU's."""
    return x.get() if _is_cupy(x) or _is_emulated(x) else np.asarray(x)


def copy(x: Any) -> Any:
    """A copy of the array `x` beside it; CuPy's own method copies to the current device."""
    if not devices.several:
        return x.copy()
    with on_device_of(x):
        return x.copy()


def like(x: Any, value: Any) -> Any:
    """`value`, an array of any device or a number, as an array on the device of `x`."""
    kind, index = place(x)
    if is_array(value) and place(value) == (kind, index):
        return value
    return move(value, kind, index)


def move(x: Any, kind: str, index: int | None = None, non_blocking: bool = False) -> Any:
    """The array `x` on a device: a copy, or itself if it is there.

    kind: "cpu", "cuda" or "emulator"; index: None for the current device of that kind.
    non_blocking: do not wait for a copy between a GPU and pinned memory of the CPU.

    Raises:
        RuntimeError: the device cannot be used on this machine; the text says what to do.
    """
    here, its_index = place(x) if is_array(x) else ("", None)
    if here == kind and (kind == "cpu" or index in (None, its_index)):
        return x
    if kind == "cpu":
        if here == "cuda" and non_blocking:
            return x.get(blocking=False)
        return to_numpy(x)
    device = kernel_device(kind, index)
    if kind == "cuda" and here == "cpu" and non_blocking:
        from .cuda import gpu

        return gpu.upload(x, device.index)
    # CuPy copies between GPUs by itself; other arrays go through the CPU's memory.
    return device.asarray(x if here == "" or here == kind == "cuda" else to_numpy(x))


def kernel_device(kind: str, index: int | None = None) -> Any:
    """The device of that kind, as cuda/launcher.py describes it.

    Raises:
        RuntimeError: it cannot be used on this machine.
    """
    device: Any
    if kind == "emulator":
        from . import emulator

        device = emulator.at(index)
    else:
        from .cuda import compiler, gpu

        if (reason := compiler.unavailable()) is not None:
            raise RuntimeError(f"no GPU can be used: {reason}")
        device = compiler.device(gpu.current_index() if index is None else index)
    if device.index:
        devices.several = True
    return device


def on_device_of(*values: Any) -> AbstractContextManager[Any]:
    """Makes the device of the first array that is not in the CPU's memory the current one, for a
    block: an op's new arrays are made on the current device."""
    for x in values:
        if _is_cupy(x):
            return sys.modules["cupy"].cuda.Device(x.device.id)
        if _is_emulated(x):
            return sys.modules["minicnn.backend.emulator"].on_index(x.index)
    return nullcontext()


def is_writeable(x: Any) -> bool:
    """False if an element stands for several (as after `expand`), or the memory is read-only."""
    if not _is_cupy(x):
        return bool(x.flags.writeable)
    return all(s != 0 or n <= 1 for s, n in zip(x.strides, x.shape, strict=True))


def address(x: Any) -> int:
    """Where in the memory of its device the array begins."""
    return int(x.data.ptr if _is_cupy(x) else x.__array_interface__["data"][0])


def _is_cupy(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] == "cupy"


def _is_emulated(x: Any) -> bool:
    return type(x) is not np.ndarray and hasattr(type(x), "kernel_device")

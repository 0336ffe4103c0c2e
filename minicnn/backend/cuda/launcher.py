"""Launches kernels, and checks every argument first: a GPU would take wrong ones without a word.

A kernel runs on a *device*: an object with

    xp                               the module whose functions take its arrays (cupy or numpy)
    kernel(file, name, constants)    what is called as kernel(grid, block, args, shared_mem=0)
    empty(shape, dtype), zeros(shape, dtype)
    asarray(x)                       a NumPy array's copy there
    pointers(arrays)                 a table of arrays' addresses, for kernels that take one

It is the device of the arrays: a GPU (compiler.py) for CuPy's, the emulator for its own. The checks
are the same on each: dtypes, memory order, overlap, the range of numbers, and the sizes of grid and
block, against what the .cu file declares.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from ..arrays import on_device_of, place
from ..geometry import AdaptiveGeometry, ConvGeometry, Ints, PoolGeometry
from . import sources
from .sources import Parameter

Constants = Mapping[str, int | str]

LIMIT = 2**31  # indices are numbers of 32 bits
_BLOCK_LIMITS, _GRID_LIMITS = (1024, 1024, 64), (2**31 - 1, 65535, 65535)
_THREADS_LIMIT, _SHARED_LIMIT = 1024, 48 * 1024
DEFAULT_THREADS = 256  # of a block, where the file has no constant THREADS

TYPES: dict[str, np.dtype] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int": np.dtype(np.int32),
    "unsigned": np.dtype(np.uint32),
    "long long": np.dtype(np.int64),
    "unsigned long long": np.dtype(np.uint64),
    "unsigned char": np.dtype(np.uint8),
}
_BOUNDS: dict[str, tuple[int, int]] = {
    name: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    for name, dtype in TYPES.items()
    if dtype.kind in "iu"
}
_SCALARS = {"f": "float", "d": "double"}  # by the dtype's character
_FLOAT16, _FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)
_INT64 = np.dtype(np.int64)


def device_of(x: Any) -> Any:
    """The device that kernels on the array x run on.

    Raises:
        TypeError: no device runs kernels on arrays of this type.
    """
    emulator = sys.modules.get("minicnn.backend.emulator")
    if emulator is not None and isinstance(x, emulator.EmulatedArray):
        return emulator.current_device()
    if type(x).__module__.partition(".")[0] == "cupy":
        from . import compiler

        return compiler.device(int(x.device.id))
    raise TypeError(f"no kernels run on arrays of type {type(x).__module__}.{type(x).__name__}")


# Arguments of primitives


def prepared(function: str, **arrays: tuple[Any, Sequence[int] | None]) -> list[Any]:
    """Arrays as kernels take them, from name=(array or None, its shape or None if any will do).

    They come back in one dtype, float32 or float64 (float16 is computed in float32), and in the
    order of their indices in memory; copied where they were not so.

    Raises:
        ValueError: an array of another shape, or arrays on different devices.
        TypeError: dtypes that no kernel computes in, or something that is no array.
    """
    given = {name: x for name, (x, _) in arrays.items() if x is not None}
    for name, x in given.items():
        shape = arrays[name][1]
        if shape is not None and tuple(x.shape) != tuple(shape):
            raise ValueError(f"{function}: {name} expects shape {tuple(shape)}, got {x.shape}")
    places = [place(x) for x in given.values()]
    if places.count(places[0]) < len(places):
        where = ", ".join(
            f"{name} on {kind if i is None else f'{kind}:{i}'}"
            for name, (kind, i) in zip(given, places, strict=True)
        )
        raise ValueError(f"{function}: arrays on different devices: {where}")
    dtypes = [x.dtype for x in given.values()]
    dtype = dtypes[0] if dtypes.count(dtypes[0]) == len(dtypes) else np.result_type(*dtypes)
    dtype = _FLOAT32 if dtype == _FLOAT16 else dtype
    if dtype.char not in _SCALARS:
        raise TypeError(f"{function}: expects floating arrays of at most 64 bits, got {dtype}")
    return [None if x is None else in_order(x, dtype) for x, _ in arrays.values()]


def integers(function: str, name: str, x: Any, shape: Sequence[int]) -> Any:
    """An array of integers as kernels take it: int64, in the order of its indices in memory.

    Raises:
        ValueError: an array of another shape.
        TypeError: an array of other numbers.
    """
    if tuple(x.shape) != tuple(shape):
        raise ValueError(f"{function}: {name} expects shape {tuple(shape)}, got {x.shape}")
    if x.dtype.kind not in "iu":
        raise TypeError(f"{function}: {name} expects integers, got {x.dtype}")
    return in_order(x, _INT64)


def in_order(x: Any, dtype: np.dtype) -> Any:
    """x in a dtype and in the order of its indices in memory; x itself if it is so."""
    if x.dtype == dtype and x.flags.c_contiguous:
        return x
    with on_device_of(x):  # CuPy copies to the current device
        return x.astype(dtype, order="C")


# Constants of kernels


def scalar(dtype: Any) -> dict[str, int | str]:
    """The constant that says what the arrays hold."""
    return {"SCALAR": _SCALARS[np.dtype(dtype).char]}


@lru_cache(maxsize=4096)
def windows(geometry: ConvGeometry | PoolGeometry | AdaptiveGeometry) -> dict[str, int | str]:
    """The constants of kernels/windows.cuh for a geometry of one to three spatial axes."""
    if isinstance(geometry, AdaptiveGeometry):
        return adaptive_windows(geometry.size, geometry.out_size)
    lows = [p if isinstance(p, int) else p[0] for p in geometry.padding]
    columns = {
        "SIZE": (geometry.size, 1),
        "KERNEL": (geometry.kernel, 1),
        "STRIDE": (geometry.stride, 1),
        "PADDING": (lows, 0),
        "DILATION": (geometry.dilation, 1),
        "OUT": (geometry.out_size, 1),
    }
    return _lifted(columns)


@lru_cache(maxsize=4096)
def adaptive_windows(size: Ints, out_size: Ints) -> dict[str, int | str]:
    """The same for windows that follow from the two sizes."""
    return {**_lifted({"SIZE": (size, 1), "OUT": (out_size, 1)}), "ADAPTIVE": 1}


def _lifted(columns: Mapping[str, tuple[Sequence[int], int]]) -> dict[str, int | str]:
    """One constant for each axis D, H, W; axes that the image lacks get the neutral value."""
    constants: dict[str, int | str] = {}
    for name, (values, neutral) in columns.items():
        if len(values) > 3:
            raise ValueError(f"kernels take up to three spatial axes, got {len(values)}")
        lifted = (neutral,) * (3 - len(values)) + tuple(values)
        constants.update({f"{name}_{axis}": int(v) for axis, v in zip("DHW", lifted, strict=True)})
    return constants


# Launching


def launch(
    device: Any,
    file: str,
    name: str,
    constants: Constants,
    *,
    threads: int | None = None,
    grid: Ints | None = None,
    **arguments: Any,
) -> None:
    """Runs kernel `name` of kernels/`file` with its arguments, by the names the kernel gives them.

    Args:
        device: that of the arrays.
        constants: what the file is compiled with, SCALAR among them.
        threads: as many threads as are needed, in blocks over one axis; none for 0. Or
        grid: the number of blocks along each axis; none where one of them is 0.

    The block is the file's constant THREADS, or else 256 threads.

    Raises:
        TypeError, ValueError: an argument is not what the kernel declares.
    """
    source = sources.read(file)
    block = source.constants.get("THREADS", DEFAULT_THREADS)
    if grid is None:
        grid = (-(-_checked_count(name, threads) // block),)
    if 0 in grid:
        return
    args = checked_arguments(name, source.kernels[name], constants, arguments)
    check_sizes(name, grid, (block,))
    device.kernel(file, name, constants)(grid, (block,), args)


def _checked_count(name: str, threads: int | None) -> int:
    if threads is None or not 0 <= threads < LIMIT:
        raise ValueError(f"{name}: expects fewer than 2^31 threads, got {threads}")
    return threads


def check_sizes(name: str, grid: Ints, block: Ints, shared_mem: int = 0) -> None:
    """Raises ValueError for a grid, a block or shared memory that no GPU has."""
    for what, sizes, limits in (("grid", grid, _GRID_LIMITS), ("block", block, _BLOCK_LIMITS)):
        fits = 1 <= len(sizes) <= 3
        for n, limit in zip(sizes, limits, strict=False):
            fits = fits and 1 <= n <= limit
        if not fits:
            raise ValueError(f"{name}: {what} expects 1 to {limits} along its axes, got {sizes}")
    if prod(block) > _THREADS_LIMIT:
        raise ValueError(f"{name}: a block has at most {_THREADS_LIMIT} threads, got {block}")
    if not 0 <= shared_mem <= _SHARED_LIMIT:
        raise ValueError(f"{name}: a block has at most {_SHARED_LIMIT} bytes, got {shared_mem}")


def checked_arguments(
    name: str,
    parameters: Sequence[Parameter],
    constants: Constants,
    arguments: Mapping[str, Any],
) -> tuple[Any, ...]:
    """The arguments in the kernel's order: arrays as they are, numbers in the type it declares.

    Raises:
        TypeError, ValueError: as `launch`.
    """
    if len(parameters) != len(arguments) or [p for p in parameters if p.name not in arguments]:
        declared = ", ".join(p.name for p in parameters)
        raise TypeError(f"{name}: takes {declared}, got {', '.join(arguments)}")
    args, spans = [], []
    for p in parameters:
        value = arguments[p.name]
        c_type = str(constants["SCALAR"]) if p.type == "scalar" else p.type
        c_type = "unsigned long long" if p.is_table else c_type  # addresses
        if not p.is_pointer:
            value = _checked_number(name, p, c_type, value)
        elif value is not None:
            start = _checked_address(name, p, TYPES[c_type], value)
            spans.append((p, start, start + value.nbytes))
        elif not p.is_optional:
            raise TypeError(f"{name}: {p.name} expects an array, got None")
        args.append(value)
    _check_overlap(name, spans)
    return tuple(args)


def _checked_address(name: str, p: Parameter, dtype: np.dtype, x: Any) -> int:
    """The address of an array that is what the kernel declares."""
    is_on_host = isinstance(x, np.ndarray)
    if not is_on_host and (not hasattr(x, "strides") or isinstance(x, np.generic)):
        raise TypeError(f"{name}: {p.name} expects an array, got {type(x).__name__}")
    address: int = x.__array_interface__["data"][0] if is_on_host else x.data.ptr
    if x.dtype != dtype:
        error: Exception = TypeError(f"expects {dtype}, got {x.dtype}")
    elif not x.flags.c_contiguous:
        error = ValueError(f"expects its indices' order in memory, got strides {x.strides}")
    elif x.size >= LIMIT:
        error = ValueError(f"expects fewer than 2^31 elements, got {x.size}")
    elif p.is_written and is_on_host and not x.flags.writeable:
        error = ValueError("is written, but the array is read-only")
    elif address % dtype.itemsize:
        error = ValueError(f"expects an address divisible by {dtype.itemsize}")
    else:
        return address
    raise type(error)(f"{name}: {p.name} {error}")


def _checked_number(name: str, p: Parameter, c_type: str, value: Any) -> np.generic:
    dtype = TYPES[c_type]
    is_integer = type(value) is int or isinstance(value, np.integer)
    if dtype.kind == "f":
        if not is_integer and not isinstance(value, (float, np.floating)):
            raise TypeError(f"{name}: {p.name} expects a number, got {value!r}")
        return dtype.type(value)
    if not is_integer:
        raise TypeError(f"{name}: {p.name} expects an integer, got {value!r}")
    lowest, highest = _BOUNDS[c_type]
    if not lowest <= value <= highest:
        raise ValueError(f"{name}: {p.name} expects {lowest} to {highest}, got {value}")
    return dtype.type(value)


def _check_overlap(name: str, spans: Sequence[tuple[Parameter, int, int]]) -> None:
    """__restrict__ promises the compiler that what is written lies apart from everything else."""
    for p, start, stop in spans:
        if not p.is_written:
            continue
        for other, other_start, other_stop in spans:
            if start < other_stop and other_start < stop and p is not other:
                raise ValueError(f"{name}: {p.name} is written and overlaps {other.name}")

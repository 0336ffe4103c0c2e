"""The emulated device: launches kernels that build.py has built."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .. import kernel_source
from .arrays import EmulatedArray, emulated, pointers, xp
from .build import DYNAMIC_BYTES, build, headers
from .guard import Guarded
from .report import KernelError, translate

ORDERS = ("forward", "reversed", "shuffled")
_MAX_REPORTS = 32
# The dtype.char that go with a code of EmuType; a pointer to anything else takes any array.
_FITS = {**{c: c for c in "bBhHiIfd?"}, "q": "lq", "Q": "LQ"}


# The structures of host/runtime.h


class _Index3(ctypes.Structure):
    _fields_ = [(axis, ctypes.c_uint) for axis in "xyz"]


class _Party(ctypes.Structure):
    _fields_ = [
        ("block", _Index3),
        ("thread", _Index3),
        ("pc", ctypes.c_uint64),
        ("file", ctypes.c_char_p),
        ("line", ctypes.c_int),
        ("access", ctypes.c_int),
    ]


class _Report(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int) for name in ("kind", "size", "region", "live")],
        ("offset", ctypes.c_int64),
        ("at", _Party),
        ("other", _Party),
        ("text", ctypes.c_char * 96),
    ]


class _Region(ctypes.Structure):
    _fields_ = [("begin", ctypes.c_size_t), ("end", ctypes.c_size_t)]


class _Launch(ctypes.Structure):
    _fields_ = [
        ("kernel", ctypes.c_void_p),
        ("anchor", ctypes.c_void_p),
        ("dynamic", ctypes.c_void_p),
        ("args", ctypes.POINTER(ctypes.c_void_p)),
        ("grid", _Index3),
        ("block", _Index3),
        ("shared_bytes", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("seconds", ctypes.c_double),
        *[(name, ctypes.c_int) for name in ("order", "workers", "checked", "max_reports")],
        ("reports", ctypes.POINTER(_Report)),
        ("regions", ctypes.POINTER(_Region)),
        *[(name, ctypes.c_int) for name in ("region_count", "report_count", "stopped")],
    ]


class _Library:
    """One kernel of a library that build.py made: its addresses, and what it takes."""

    def __init__(self, file: Path, name: str, constants: Mapping[str, Any], checked: bool) -> None:
        source = kernel_source.parse(file.read_text(encoding="utf-8"))
        names = [*source.kernels]
        if name not in names:
            names = [name]  # an instance of a template: a library of its own
        self.path = build(file, names, constants, checked)
        library = ctypes.CDLL(str(self.path))
        i = names.index(name)
        describe = ctypes.create_string_buffer(4096)
        getattr(library, f"emu_describe_{i}")(describe)
        self.codes = describe.value.decode().split()
        self.call = _address(library, f"emu_call_{i}")
        self.anchor = _address(library, "emu_anchor")
        has_dynamic = hasattr(library, "emu_dynamic")
        self.dynamic = _address(library, "emu_dynamic") if has_dynamic else None
        self.launch = library.emu_launch
        self.parameters = [p.name for p in source.parameters(name)]


def _address(library: ctypes.CDLL, name: str) -> int | None:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value


@lru_cache(maxsize=4096)
def _library(
    file: Path, name: str, constants: tuple[tuple[str, Any], ...], checked: bool, changed: int
) -> _Library:
    return _Library(file, name, dict(constants), checked)


def _time_of(file: str | Path) -> int:
    """When the file was changed last; of a folder, when a file came there or went."""
    return os.stat(file).st_mtime_ns


def _headers_for(folder: Path) -> list[str]:
    """The headers that a file in the folder may include, and their folders."""
    folders = {folder, kernel_source.folder()}
    return [name for place in folders for name in _headers_in(place, _time_of(place))]


@lru_cache(maxsize=256)
def _headers_in(folder: Path, changed: int) -> list[str]:
    return [str(folder), *map(str, headers(folder))]


class Kernel:
    """A kernel of a .cu file on the emulated device, called as cupy.RawKernel is.

    kernel(grid, block, args, shared_mem=0): grid and block are tuples of one to three sizes, args
    the kernel's arguments, each an array of the dtype that the kernel declares, None for a null
    pointer, or a NumPy scalar of exactly the declared type; shared_mem the bytes of dynamic shared
    memory.

    Raises:
        TypeError, ValueError: an argument is not what the kernel declares.
        KernelError: threads wait for each other in different places, an assertion fails, or the
            kernel crashes or takes too long; in the checked mode any mistake.
        CompileError: the file does not compile.
    """

    def __init__(self, device: Device, file: Path, name: str, constants: Mapping[str, Any]) -> None:
        self.device, self.file, self.name = device, file, name
        self.constants = tuple(sorted(constants.items()))
        self._changed = _time_of(file) + sum(map(_time_of, _headers_for(file.parent)))

    def build(self) -> _Library:
        """The kernel compiled, now if it was not. An edited file or header is compiled anew."""
        return _library(self.file, self.name, self.constants, self.device.checked, self._changed)

    @property
    def parameters(self) -> list[str]:
        """The names of the kernel's parameters."""
        return self.build().parameters

    @property
    def codes(self) -> list[str]:
        """The types of the parameters, as host/cuda.h has them: "*f" for float*, "i" for int."""
        return self.build().codes

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared_mem: int = 0
    ) -> None:
        library = self.build()
        self._check(library, args)
        grid, block = self._sizes("grid", grid), self._sizes("block", block)
        if block[0] * block[1] * block[2] > 1024:
            raise ValueError(f"{self.name}: a block has at most 1024 threads, got {block}")
        if not 0 <= shared_mem <= DYNAMIC_BYTES:
            limit = f"{DYNAMIC_BYTES} bytes of dynamic shared memory"
            raise ValueError(f"{self.name}: a block has at most {limit}, got {shared_mem}")
        if not self.device.checked:
            values = [_value(arg, code) for arg, code in zip(args, library.codes, strict=True)]
            self._launch(library, grid, block, values, shared_mem, [])
            return
        with Guarded(library.parameters, args) as guarded, _one_at_a_time:
            pairs = zip(args, library.codes, strict=True)
            values = [_value(arg, code, guarded.address) for arg, code in pairs]
            self._launch(library, grid, block, values, shared_mem, guarded.regions)

    def _launch(
        self,
        library: _Library,
        grid: Sequence[int],
        block: Sequence[int],
        values: Sequence[Any],
        shared_mem: int,
        regions: Sequence[tuple[str, int, int]],
    ) -> None:
        addresses = [ctypes.addressof(value) for value in values]
        reports = (_Report * _MAX_REPORTS)()
        found = library.launch(
            ctypes.byref(
                _Launch(
                    kernel=library.call,
                    anchor=library.anchor,
                    dynamic=library.dynamic,
                    args=(ctypes.c_void_p * max(1, len(addresses)))(*addresses),
                    grid=_Index3(*grid),
                    block=_Index3(*block),
                    shared_bytes=shared_mem,
                    seed=self.device.seed,
                    seconds=self.device.seconds or 0,
                    order=ORDERS.index(self.device.order),
                    workers=1 if self.device.checked else self.device.workers,
                    checked=self.device.checked,
                    max_reports=_MAX_REPORTS,
                    reports=reports,
                    regions=(_Region * max(1, len(regions)))(
                        *[_Region(begin, end) for _, begin, end in regions]
                    ),
                    region_count=len(regions),
                )
            )
        )
        if found:
            arrays = [(name, end - begin) for name, begin, end in regions]
            raise KernelError(
                self.name, [translate(report, library.path, arrays) for report in reports[:found]]
            )

    def _sizes(self, what: str, sizes: Sequence[int]) -> tuple[int, ...]:
        if not 1 <= len(sizes) <= 3 or any(size < 1 for size in sizes):
            raise ValueError(
                f"{self.name}: {what} expects one to three positive sizes, got {sizes}"
            )
        return (*map(int, sizes), *(1,) * (3 - len(sizes)))

    def _check(self, library: _Library, args: Sequence[Any]) -> None:
        if len(args) != len(library.codes):
            raise TypeError(f"{self.name}: takes {len(library.codes)} arguments, got {len(args)}")
        for i, (arg, code) in enumerate(zip(args, library.codes, strict=True)):
            is_pointer = code[0] == "*"
            if arg is None and is_pointer:
                continue
            kind = np.ndarray if is_pointer else np.generic
            fits = _FITS.get("Q" if code.startswith("**") else code.lstrip("*"), "")
            if isinstance(arg, kind) and (arg.dtype.char in fits or (is_pointer and not fits)):
                continue
            name = library.parameters[i] if i < len(library.parameters) else f"argument {i + 1}"
            dtype = f" of {np.dtype(fits[0])}" if fits else ""
            expected = ("an array" if is_pointer else "a NumPy scalar") + dtype
            got = f"{type(arg).__name__} {getattr(arg, 'dtype', '')}".strip()
            raise TypeError(f"{self.name}: {name} expects {expected}, got {got}")


def _value(arg: Any, code: str, address: Any = None) -> Any:
    """What lies in the memory that the kernel takes this argument from."""
    if not code.startswith("*"):
        return (ctypes.c_char * arg.itemsize).from_buffer_copy(arg.tobytes())
    if arg is None:
        return ctypes.c_void_p(None)
    return ctypes.c_void_p(arg.ctypes.data if address is None else address(arg))


_one_at_a_time = threading.Lock()  # checked launches, of which the runtime knows one


class Device:
    """A GPU played by the CPU.

    Args:
        order: in which order the threads of a block, and the blocks, take their turns: "forward",
            "reversed" or "shuffled". A kernel whose result depends on it is wrong.
        seed: of the shuffled order.
        checked: reports every access outside the arrays, every race and more, at a tenth or so of
            the speed; see the package's docstring.
        workers: how many blocks run at the same time; by default one on each core.
        seconds: a launch that takes longer is given up, with a report; None: none is.
    """

    xp = xp

    def __init__(
        self,
        order: str = "forward",
        seed: int = 0,
        checked: bool = False,
        workers: int | None = None,
        seconds: float | None = None,
    ) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self.workers = workers or cores or 1
        self.order, self.seed, self.checked, self.seconds = order, seed, checked, seconds
        if order not in ORDERS:
            raise ValueError(f"Device: order expects one of {', '.join(ORDERS)}, got {order!r}")

    def kernel(
        self, file: str | Path, name: str, constants: Mapping[str, Any] | None = None
    ) -> Kernel:
        """The kernel of that name in a .cu file, compiled with -DNAME=value for each constant.

        file: a path, or a name in the folder `kernels`. name: that of an extern "C" function, or
        a template's with its arguments, "conv<16, 4>".
        """
        return Kernel(self, kernel_source.find(file), name, constants or {})

    def asarray(self, x: Any) -> EmulatedArray:
        """x on this device; shares memory with a NumPy array."""
        return emulated(x)

    def asnumpy(self, x: Any) -> np.ndarray:
        """x as a plain NumPy array, sharing memory."""
        return np.asarray(x).view(np.ndarray)

    def empty(self, shape: Any, dtype: Any = np.float32) -> EmulatedArray:
        """A new array whose bytes are all 0xff, NaN or -1: what is never written shows."""
        x = np.empty(shape, dtype)
        x.reshape(-1).view(np.uint8)[...] = 0xFF
        return emulated(x)

    def zeros(self, shape: Any, dtype: Any = np.float32) -> EmulatedArray:
        """A new array of zeros."""
        return emulated(np.zeros(shape, dtype))

    def pointers(self, arrays: Sequence[np.ndarray]) -> EmulatedArray:
        """A table of the arrays' addresses, for a kernel that takes pointers to pointers."""
        return pointers(arrays)


_default = Device()
_own = threading.local()  # `devices`: those of the blocks that this thread is in


def current_device() -> Device:
    """The device that kernels on emulated arrays run on, if this thread launches them now.

    That of the innermost `emulation` which the thread is in, or else the process's: see
    `configure`.
    """
    devices = getattr(_own, "devices", None)
    return devices[-1] if devices else _default


def configure(
    order: str = "forward", seed: int = 0, checked: bool = False, workers: int | None = None
) -> None:
    """From now on kernels run with these options of `Device`, in all threads of the process."""
    global _default
    _default = Device(order, seed, checked, workers)


@contextmanager
def emulation(
    order: str = "forward", seed: int = 0, checked: bool = False, workers: int | None = None
) -> Iterator[Device]:
    """Until the block ends, kernels that this thread launches run with these options of `Device`.

    A backward pass runs in the thread that asks for it. Other threads, those of a data loader for
    one, stay with what `configure` has set for the process.
    """
    with running_on(Device(order, seed, checked, workers)) as device:
        yield device


@contextmanager
def running_on(device: Device) -> Iterator[Device]:
    """The same with a device that there is already."""
    devices = _own.__dict__.setdefault("devices", [])
    devices.append(device)
    try:
        yield device
    finally:
        devices.pop()

"""A stand-in for CuPy, for tests on machines without a GPU: its arrays lie in the CPU's memory, and
its RawModule runs kernels in the emulator.

With it installed (`install()`, or the environment's MINICNN_TESTS_CUPY=stand-in) the whole path of
"cuda" runs: the compiler's options, the launcher's addresses, copies, several devices. It
knows the part of CuPy 14 that minicnn calls, with the same signatures, and is as strict: arrays are
no numpy.ndarray, do not mix with those of the CPU or another GPU, have the flags and methods that
CuPy's have, and refuse to become NumPy arrays unasked. It proves nothing about GPUs or about CuPy.
"""

from __future__ import annotations

import ctypes
import re
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

GPUS = 2
METHODS = [
    "all", "any", "argmax", "argmin", "argsort", "astype", "choose", "clip", "compress", "conj",
    "copy", "cumprod", "cumsum", "diagonal", "dot", "fill", "flatten", "item", "max", "mean",
    "min", "nonzero", "prod", "ptp", "put", "ravel", "repeat", "reshape", "round",
    "searchsorted", "sort", "squeeze", "std", "sum", "swapaxes", "take", "tobytes", "tolist",
    "trace", "transpose", "var",
]  # fmt: skip


class _Current(threading.local):
    index = 0
    stream: Any = None


_current = _Current()


class ndarray(NDArrayOperatorsMixin):
    """An array on a pretended GPU."""

    __module__ = "cupy"
    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 100

    def __init__(self, shape: Any, dtype: Any = float, _of: Any = None, _index: Any = None) -> None:
        self._a = np.empty(shape, dtype) if _of is None else _of
        self.device = Device(_current.index if _index is None else _index)

    dtype = property(lambda self: self._a.dtype)
    shape = property(lambda self: self._a.shape)
    strides = property(lambda self: self._a.strides)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    base = property(lambda self: self._a.base)
    T = property(lambda self: self._like(self._a.T))
    real = property(lambda self: self._like(self._a.real))
    imag = property(lambda self: self._like(self._a.imag))

    @property
    def flags(self) -> Any:
        names = ("c_contiguous", "f_contiguous", "owndata")
        return SimpleNamespace(**{name: getattr(self._a.flags, name) for name in names})

    @property
    def data(self) -> Any:
        return SimpleNamespace(
            ptr=self._a.__array_interface__["data"][0],
            device=self.device,
            copy_from_host_async=lambda mem, size: ctypes.memmove(self.data.ptr, mem, size),
        )

    def _like(self, value: Any) -> Any:
        return _wrapped(value, self.device.id)

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True):
        """A copy in the CPU's memory."""
        if out is None:
            return np.array(self._a, order=order)
        assert type(out) is np.ndarray and (out.dtype, out.shape) == (self.dtype, self.shape)
        out[...] = self._a
        return out

    def set(self, arr: Any, stream: Any = None) -> None:
        """Writes an array of the CPU's memory into this one."""
        assert type(arr) is np.ndarray and (arr.dtype, arr.shape) == (self.dtype, self.shape)
        self._a[...] = arr

    def view(self, dtype: Any = None) -> ndarray:
        return self._like(self._a.view() if dtype is None else self._a.view(dtype))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to "
            "construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if any(getattr(x, "__array_priority__", 0) > self.__array_priority__ for x in inputs):
            return NotImplemented  # as CuPy's operators
        for name in options:
            known = ("out", "where", "dtype", "casting", "axis", "keepdims", "axes")
            assert name in known, (ufunc, name)
        out = options.get("out")
        index = _index_of(ufunc.__name__, (inputs, options))
        _current_is(ufunc.__name__, index)
        result = getattr(ufunc, method)(*_plain(inputs), **_plain(options))
        return _wrapped(result, index) if out is None else out[0]

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        index = _index_of(function.__name__, (args, options))
        result = function(*_plain(args), **_plain(options))
        if function is np.diagonal:  # a view that NumPy, unlike CuPy, forbids to write
            result.flags.writeable = True
        return options["out"] if options.get("out") is not None else _wrapped(result, index)

    def __getitem__(self, key: Any) -> Any:
        _index_of("indexing", (self, key))
        key = _plain(key)
        y = self._a[key]
        if isinstance(y, np.generic):  # a view without dimensions
            y = self._a[(*(key if isinstance(key, tuple) else (key,)), ...)]
        return self._like(y)

    def __setitem__(self, key: Any, value: Any) -> None:
        _index_of("assignment", (self, key, value))
        self._a[_plain(key)] = _plain(value)

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._a)

    def __int__(self) -> int:
        return int(self._a)

    def __float__(self) -> float:
        return float(self._a)

    def __complex__(self) -> complex:
        return complex(self._a)

    def __repr__(self) -> str:
        return repr(self._a)

    def __str__(self) -> str:
        return str(self._a)

    def __format__(self, spec: str) -> str:
        return format(self._a, spec)


def _method(name: str) -> Any:
    def method(self: ndarray, *args: Any, **options: Any) -> Any:
        _index_of(name, (self, args, options))
        result = getattr(self._a, name)(*_plain(args), **_plain(options))
        if name == "copy":  # to the current GPU, wherever this array is
            return _wrapped(result, _current.index)
        if name == "astype" and result is not self._a:
            _current_is(name, self.device.id)
        return result if name in ("item", "tolist", "tobytes") else self._like(result)

    return method


for _name in METHODS:
    setattr(ndarray, _name, _method(_name))


# Mixing


def _index_of(what: str, values: Any) -> int:
    """The number of the GPU that all arrays among the values are on."""
    found: set[int] = set()
    _collect(what, values, found)
    if len(found) > 1:
        raise ValueError(f"{what}: Array device must be same as the current device: {found}")
    return found.pop() if found else _current.index


def _collect(what: str, value: Any, found: set[int]) -> None:
    if isinstance(value, ndarray):
        found.add(value.device.id)
    elif isinstance(value, np.ndarray):
        raise TypeError(f"{what}: Unsupported type {type(value)}")
    elif isinstance(value, (tuple, list)):
        for v in value:
            _collect(what, v, found)
    elif isinstance(value, dict):
        _collect(what, tuple(value.values()), found)


def _current_is(what: str, index: int) -> None:
    """CuPy computes on the current GPU only."""
    if index != _current.index:
        raise ValueError(
            f"{what}: the array is on GPU {index}, the current one is {_current.index}"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, (tuple, list)):
        return type(value)([_plain(v) for v in value])
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _wrapped(value: Any, index: int) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(None, _of=np.asarray(value), _index=index)
    if isinstance(value, (tuple, list)):
        return type(value)([_wrapped(v, index) for v in value])
    return value


# The module


class Device:
    """cupy.cuda.Device."""

    def __init__(self, device: int | None = None) -> None:
        self.id = _current.index if device is None else int(device)
        self._before: list[int] = []

    def __enter__(self) -> Device:
        self._before.append(_current.index)
        self.use()
        return self

    def __exit__(self, *_: object) -> None:
        _current.index = self._before.pop()

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def use(self) -> None:
        if not 0 <= self.id < GPUS:
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        _current.index = self.id

    def synchronize(self) -> None:
        pass


class Stream:
    """cupy.cuda.Stream: all work is done at once."""

    null: Any = None
    done = True

    def __init__(self, *, non_blocking: bool = False, priority: int | None = None) -> None:
        self.ptr = id(self)

    def __enter__(self) -> None:
        self._before, _current.stream = _current.stream, self

    def __exit__(self, *_: object) -> None:
        _current.stream = self._before

    def use(self) -> None:
        _current.stream = self

    def synchronize(self) -> None:
        pass

    def wait_event(self, event: Event) -> None:
        pass


class Event:
    """cupy.cuda.Event: has happened when it is recorded."""

    done = True

    def __init__(self, *, block: bool = False, disable_timing: bool = False) -> None:
        pass

    def record(self, stream: Stream | None = None) -> None:
        pass

    def synchronize(self) -> None:
        pass


class MemoryHook:
    """cupy.cuda.MemoryHook, which nobody calls."""

    def __enter__(self) -> None:
        pass


_pinned: set[int] = set()  # addresses


def empty_pinned(shape: Any, dtype: Any = float) -> np.ndarray:
    """cupyx.empty_pinned."""
    out = np.empty(shape, dtype)
    _pinned.add(out.ctypes.data)
    return out


class RawModule:
    """cupy.RawModule, whose kernels run in the emulator."""

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        assert isinstance(options, tuple) and all(isinstance(o, str) for o in options)
        [folder] = [Path(o[2:]) for o in options if o.startswith("-I")]
        self._file = next(f for f in folder.glob("*.cu") if f.read_text("utf-8") == code)
        defined = (re.fullmatch(r"-D(\w+)=(\S+)", o) for o in options)
        found = {m[1]: m[2] for m in defined if m}
        assert re.fullmatch("0x[0-9a-f]+", found.pop("SRC_HASH"))
        self._constants = found

    def get_function(self, name: str) -> Any:
        from minicnn.backend import emulator

        kernel = emulator.Device().kernel(str(self._file), name, self._constants)
        codes = kernel.codes

        def run(grid: Any, block: Any, args: Any, *, shared_mem: int = 0, stream: Any = None):
            assert isinstance(grid, tuple) and isinstance(block, tuple) and isinstance(args, tuple)
            passed: list[Any] = []
            for code, a in zip(codes, args, strict=True):
                if isinstance(a, ndarray):
                    _current_is(name, a.device.id)
                    passed.append(emulator.emulated(a._a))
                else:  # what else is passed is taken for a number; a null pointer has 8 bytes
                    assert isinstance(a, np.generic), (name, type(a))
                    is_null = code.startswith("*") and a.itemsize == 8 and int(a) == 0
                    passed.append(None if is_null else a)
            kernel(grid, block, tuple(passed), shared_mem=shared_mem)

        return run


def _made_there(name: str) -> Any:
    def create(*args: Any, **options: Any) -> Any:
        index = _index_of(name, (args, options))
        return _wrapped(getattr(np, name)(*_plain(args), **_plain(options)), index)

    return create


def array(obj: Any, dtype: Any = None, copy: bool = True, order: str = "K", ndmin: int = 0) -> Any:
    """cupy.array: takes NumPy arrays, and copies arrays of other GPUs."""
    return _wrapped(np.array(_plain(obj), dtype, order=order, ndmin=ndmin), _current.index)


def asarray(a: Any, dtype: Any = None, order: Any = None, *, blocking: bool = False) -> Any:
    """cupy.asarray."""
    here = isinstance(a, ndarray) and a.device.id == _current.index
    return a if here and dtype in (None, a.dtype) else array(a, dtype)


class _Pool:
    """Counts no bytes: nothing is pooled."""

    def used_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return 0

    def free_all_blocks(self) -> None:
        pass


_CREATORS = [
    "arange", "empty", "eye", "full", "identity", "indices", "linspace", "logspace", "ones",
    "tri", "tril_indices", "triu_indices", "zeros",
]  # fmt: skip


class _Module(ModuleType):
    """Names that are not written here are NumPy's functions, which know these arrays."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(np, name)


def _runtime() -> SimpleNamespace:
    return SimpleNamespace(
        CUDARuntimeError=RuntimeError,
        getDeviceCount=lambda: GPUS,
        getDevice=lambda: _current.index,
        getDeviceProperties=lambda i: {
            "name": b"stand-in", "totalGlobalMem": 2**30, "major": 9, "minor": 0,
            "multiProcessorCount": 2,
        },
        memGetInfo=lambda: (2**29, 2**30),
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
        deviceSynchronize=lambda: None,
    )  # fmt: skip


def install() -> None:
    """Makes `import cupy` give this stand-in."""
    cupy = _Module("cupy")
    cuda = ModuleType("cupy.cuda")
    pinned = _Pool()
    vars(cuda).update(
        Device=Device, runtime=_runtime(), is_available=lambda: True,
        Event=Event, Stream=Stream, MemoryHook=MemoryHook,
        get_current_stream=lambda device_id=-1: _current.stream or Stream.null,
        get_elapsed_time=lambda start, end: 0.0,
        pinned_memory=SimpleNamespace(is_memory_pinned=lambda address: address in _pinned),
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
    )  # fmt: skip
    vars(cupy).update(
        __version__="14.2.0", __path__=[], ndarray=ndarray, array=array, asarray=asarray, cuda=cuda,
        ascontiguousarray=lambda a, dtype=None: array(a, dtype, order="C"),
        asnumpy=lambda a: a.get() if isinstance(a, ndarray) else np.asarray(a),
        is_available=lambda: True, RawModule=RawModule,
        get_default_memory_pool=_Pool, get_default_pinned_memory_pool=lambda: pinned,
        **{name: _made_there(name) for name in _CREATORS},
    )  # fmt: skip
    Stream.null = Stream()
    cupyx = ModuleType("cupyx")
    cupyx.empty_pinned = empty_pinned  # type: ignore[attr-defined]
    sys.modules.update({"cupy": cupy, "cupy.cuda": cuda, "cupyx": cupyx})

    from minicnn.backend.cuda.diagnosis import Machine

    Machine.driver = lambda self: 13000  # type: ignore[method-assign]
    Machine.packages = lambda self: {"cupy-cuda13x": "14.2.0"}  # type: ignore[method-assign]

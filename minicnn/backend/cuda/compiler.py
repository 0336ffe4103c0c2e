"""Compiles kernels for a GPU with CuPy, once for each set of constants, and runs them there.

CuPy is imported when the first device is made. It keeps what it compiled in a cache on disk, under
a key that does not cover included headers; so every build is given a hash of all sources. Within a
process nothing is compiled twice, whatever happens to the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from . import sources
from .diagnosis import unavailable

__all__ = ["CudaDevice", "device", "options", "unavailable"]


@cache
def device(index: int) -> CudaDevice:
    """The GPU of that number, the same object each time.

    Raises:
        RuntimeError: no GPU can be used, or none has that number.
    """
    if (reason := unavailable()) is not None:
        raise RuntimeError(f"cuda:{index} cannot be used: {reason}")
    return CudaDevice(index)


def options(constants: Mapping[str, int | str]) -> tuple[str, ...]:
    """What a file is compiled with."""
    return (
        "--std=c++17",
        f"-I{sources.folder()}",
        f"-DSRC_HASH=0x{sources.source_hash()}",
        *[f"-D{name}={value}" for name, value in sorted(constants.items())],
    )


class CudaDevice:
    """A GPU, as launcher.py describes a device."""

    def __init__(self, index: int) -> None:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
        if not 0 <= index < count:
            raise RuntimeError(f"cuda:{index} does not exist: the driver lists {count} GPUs")
        self.xp = cupy
        self.index = index
        self._gpu = cupy.cuda.Device(index)
        self._modules: dict[Any, Any] = {}
        self._kernels: dict[Any, Callable[..., None]] = {}

    def __repr__(self) -> str:
        return f"cuda:{self.index}"

    def empty(self, shape: Any, dtype: Any) -> Any:
        """A new array on this GPU, its values not set."""
        with self._gpu:
            return self.xp.empty(shape, dtype)

    def zeros(self, shape: Any, dtype: Any) -> Any:
        """A new array of zeros on this GPU."""
        with self._gpu:
            return self.xp.zeros(shape, dtype)

    def asarray(self, x: Any) -> Any:
        """A NumPy array's copy on this GPU."""
        with self._gpu:
            return self.xp.asarray(x)

    def pointers(self, arrays: Sequence[Any]) -> Any:
        """A table of the arrays' addresses. It does not keep the arrays alive."""
        return self.asarray(np.array([x.data.ptr for x in arrays], np.uint64))

    def kernel(
        self, file: str, name: str, constants: Mapping[str, int | str]
    ) -> Callable[..., None]:
        """The kernel `name` of kernels/`file`, to be called as kernel(grid, block, args).

        It runs on CuPy's current stream of this GPU, after what was launched there before.
        """
        key = (file, name, *constants, *constants.values())
        if key not in self._kernels:
            self._kernels[key] = self._compiled(file, name, constants)
        return self._kernels[key]

    def _compiled(
        self, file: str, name: str, constants: Mapping[str, int | str]
    ) -> Callable[..., None]:
        build = (file, options(constants))
        if build not in self._modules:
            code = (sources.folder() / file).read_text(encoding="utf-8")
            self._modules[build] = self.xp.RawModule(code=code, options=build[1])
        with self._gpu:  # RawModule compiles now, for the current GPU
            function = self._modules[build].get_function(name)

        def run(grid: Any, block: Any, args: Any, shared_mem: int = 0) -> None:
            # CuPy passes the bytes of what it is given: a null pointer is a number of 8 bytes.
            passed = tuple([np.uintp(0) if a is None else a for a in args])
            with self._gpu:
                function(tuple(grid), tuple(block), passed, shared_mem=shared_mem)

        return run

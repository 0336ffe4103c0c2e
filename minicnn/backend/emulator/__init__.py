"""Runs CUDA kernels on a CPU, from the .cu file that nvcc would take, unchanged.

    from minicnn.backend import emulator

    device = emulator.Device(checked=True)
    saxpy = device.kernel("saxpy.cu", "saxpy", {"THREADS": 128})
    x = device.asarray(np.arange(1000, dtype=np.float32))
    y = device.empty(x.shape, x.dtype)
    saxpy((8,), (128,), (x, y, np.float32(2), np.int32(1000)))

A learner without a GPU can run a kernel so, print from it, and change the order in which its
threads take their turns. The checked mode reports, each with file, line, block and thread:

    out of bounds   an access to what is in no array and in no shared memory
    out of index    a[i] where i is outside the size that a is declared with
    misaligned      a float4 at an address that is no multiple of 16, and the like (found by g++;
                    clang++ makes it four accesses of 4 bytes)
    uninitialised   shared memory that is read before it is written
    race            two threads touch the same bytes, one at least writes, and nothing orders them:
                    no barrier within a block, nothing at all between blocks
    divergence      a barrier, or an operation of a warp, that not all of its threads come to
    endless         a thread that makes 2^26 accesses in one turn, or is still running when the
                    seconds are over that the device gives a launch
    arithmetic      a signed integer that overflows; an integer that is divided by zero
    failure         assert() and __trap(); a stack that is full

Divergence, failures, divisions by zero and what takes too long are found unchecked too, and so is
an access to memory that the process does not have. Reading plainly what others update atomically is
a race as well; atomicAdd(address, 0) reads it in order. Not emulated: textures, cooperative groups,
half precision, inline PTX, asynchronous copies, tensor cores, more than one stream; no timing of
a GPU.

How: `build.py` compiles the file as C++ (`host/cuda.h` explains the words), `host/` makes each CUDA
thread a fiber and runs the blocks (`runtime.h` is the way in), `host/check.cpp` looks at every
access, `host/watch.cpp` ends what crashes or never ends. `cache.py` keeps what was built,
`device.py` launches, `guard.py` keeps the arrays apart, `report.py` says what was found, `study.py`
runs one launch in all orders (`minicnn emulate`).
Needs g++ or clang++ on Linux, on x86-64 or arm64 (elsewhere more slowly), and binutils for lines.
"""

from .arrays import EmulatedArray, emulated, on_index, pointers, xp
from .build import CompileError, compiler, unavailable
from .device import ORDERS, Device, Kernel, configure, current_device, emulation
from .place import COUNT, at
from .report import KernelError, Report

__all__ = [
    "COUNT",
    "ORDERS",
    "CompileError",
    "Device",
    "EmulatedArray",
    "Kernel",
    "KernelError",
    "Report",
    "at",
    "compiler",
    "configure",
    "current_device",
    "emulated",
    "emulation",
    "on_index",
    "pointers",
    "unavailable",
    "xp",
]

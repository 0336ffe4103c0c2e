"""One stage of benchmarks.gpu on `Gpu`, CuPy being the stand-in of tests/cupy_stand_in.py.

python stage_on_stand_in.py NAME --device cuda --seconds 60 --file notes.json

To the stand-in it adds what only measuring asks for: streams, events, graphs, hooks. Sizes are
those of the emulator.
"""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np


class Stream:
    """Runs at once what is captured, too."""

    def __init__(self, non_blocking):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def synchronize(self):
        pass

    def begin_capture(self):
        pass

    def end_capture(self):
        return SimpleNamespace(launch=lambda stream: None)


class Event:
    """Milliseconds of the wall clock."""

    def record(self, stream):
        self.at = time.perf_counter() * 1e3

    def synchronize(self):
        pass


class Hook:
    """Is never told of anything."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def data(array):
    """The memory of an array of the stand-in, which can be copied to."""

    def copy(source, size, stream=None):
        assert source.size == size == array.nbytes
        array._a[...] = source.array._a

    address = array._a.__array_interface__["data"][0]
    memory = {"device": array.device, "array": array, "size": array.nbytes}
    return SimpleNamespace(ptr=address, copy_from_device_async=copy, **memory)


def main():
    """Installs the stand-in, completes it, and runs the stage."""
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    import cupy_stand_in

    cupy_stand_in.install()
    import cupy

    cupy.ndarray.data = property(data)
    cupy_stand_in.Device.mem_info = (2**30, 2**31)
    vars(cupy.cuda).update(
        Stream=Stream,
        Event=Event,
        MemoryHook=Hook,
        get_elapsed_time=lambda start, stop: stop.at - start.at + 1e-4,
        using_allocator=lambda allocator: nullcontext(),
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
    )
    cupy.cuda.runtime.deviceGetAttribute = lambda number, index: number
    linalg = SimpleNamespace(
        get_compute_type=lambda dtype: 0,
        set_compute_type=lambda dtype, kind: None,
        COMPUTE_TYPE_TF32=3,
    )
    core, cupyx = ModuleType("cupy._core"), ModuleType("cupyx")
    core._routines_linalg = linalg
    cupyx.empty_pinned = np.empty
    sys.modules.update({"cupy._core": core, "cupyx": cupyx})

    from benchmarks.gpu import device, stage

    device.Gpu.is_gpu = False
    stage.main()


if __name__ == "__main__":
    main()

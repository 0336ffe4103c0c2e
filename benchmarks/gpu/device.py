"""The GPU as the measurements see it, and a stand-in to try them without one.

All that only CuPy can do stands in `Gpu`: events, graphs, pinned memory, the memory pool, TF32.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np

import minicnn

from .run import Unavailable

Action = Callable[[], Any]

_BATCH_SECONDS = 2e-3  # between two events: long against what an event costs
_MOST_CALLS = 200
# Numbers of cudaDeviceAttr, for what cudaDeviceProp no longer holds in CUDA 13.
_ATTRIBUTES = {
    "clock_khz": 13,
    "multiprocessors": 16,
    "memory_clock_khz": 36,
    "memory_bus_bits": 37,
    "l2_bytes": 38,
}


class Gpu:
    """The first GPU, through CuPy."""

    name = where = "cuda"
    is_gpu = True

    def __init__(self) -> None:
        reason = minicnn.cuda.why_unavailable()
        if reason is not None:
            raise Unavailable(reason)
        import cupy

        from minicnn.backend.cuda import compiler

        self.xp, self.kernels = cupy, compiler.device(0)

    def facts(self) -> dict[str, Any]:
        """Name, sizes and versions, as CUDA tells them."""
        runtime = self.xp.cuda.runtime
        properties = runtime.getDeviceProperties(0)
        facts = {
            "gpu": properties["name"].decode(),
            "compute_capability": f"{properties['major']}.{properties['minor']}",
            "memory_bytes": int(properties["totalGlobalMem"]),
            "cupy": self.xp.__version__,
            "cuda_driver": runtime.driverGetVersion(),
            "cuda_runtime": runtime.runtimeGetVersion(),
            "nvrtc": ".".join(map(str, self.xp.cuda.nvrtc.getVersion())),
        }
        for name, number in _ATTRIBUTES.items():
            try:
                facts[name] = int(runtime.deviceGetAttribute(number, 0))
            except runtime.CUDARuntimeError as error:
                facts[name] = f"not told: {error}"
        return facts

    def synchronize(self) -> None:
        """Waits for all work of this process on the GPU."""
        self.xp.cuda.Device(0).synchronize()

    def free_bytes(self) -> int:
        """Memory that is free, after the pool has given back what it does not use."""
        self.release()
        return int(self.xp.cuda.Device(0).mem_info[0])

    def release(self) -> None:
        """Gives back what the pools hold and do not use."""
        self.xp.get_default_memory_pool().free_all_blocks()
        self.xp.get_default_pinned_memory_pool().free_all_blocks()

    def without_pool(self) -> AbstractContextManager[Any]:
        """Each array in an allocation of its own, so that a sanitizer sees where it ends."""
        return self.xp.cuda.using_allocator(None)

    def seconds(self, run: Action, repeats: int, captured: bool = True) -> tuple[float, str]:
        """(median seconds of a call by the GPU's clock, how the calls were launched).

        Calls go in batches of about two milliseconds between two events. With `captured` a batch
        is one CUDA graph, so that what Python takes to launch is left out.
        """
        run()
        self.synchronize()
        stream = self.xp.cuda.Stream(non_blocking=True)
        with stream:
            run()
            stream.synchronize()
            once = self._elapsed(stream, run)
            calls = max(1, min(_MOST_CALLS, round(_BATCH_SECONDS / max(once, 1e-6))))
            batch, how = self._batch(stream, run, calls, captured)
            batch()
            stream.synchronize()
            times = [self._elapsed(stream, batch) / calls for _ in range(repeats)]
        return statistics.median(times), how

    def _batch(self, stream: Any, run: Action, calls: int, captured: bool) -> tuple[Action, str]:
        def one_by_one() -> None:
            for _ in range(calls):
                run()

        if not captured:
            return one_by_one, "one by one"
        try:
            graph = self._captured(stream, one_by_one)
        except Exception as error:  # a figure with Python's launching in it is better than none
            return one_by_one, f"one by one, no graph: {error}"
        return lambda: graph.launch(stream), "graph"

    def _captured(self, stream: Any, run: Action) -> Any:
        stream.begin_capture()
        try:
            run()
        finally:
            graph = stream.end_capture()
        return graph

    def _elapsed(self, stream: Any, run: Action) -> float:
        start, stop = self.xp.cuda.Event(), self.xp.cuda.Event()
        start.record(stream)
        run()
        stop.record(stream)
        stop.synchronize()
        return self.xp.cuda.get_elapsed_time(start, stop) / 1e3

    def copy(self, target: Any, source: Any) -> Action:
        """A copy from memory of the GPU to other memory of it."""
        size = source.nbytes
        return lambda: target.data.copy_from_device_async(source.data, size)

    def host_copies(self, size: int) -> dict[str, Action]:
        """Copies of so many bytes between host and GPU, each waiting for its end."""
        import cupyx

        there = self.xp.empty(size, np.uint8)
        copies: dict[str, Action] = {}
        kinds = {"pageable": np.empty(size, np.uint8), "pinned": cupyx.empty_pinned(size, np.uint8)}
        for kind, here in kinds.items():
            here[...] = 0
            copies[f"{kind} host to GPU"] = self._waited(partial(there.set, here))
            copies[f"GPU to {kind} host"] = self._waited(partial(there.get, out=here))
        return copies

    def _waited(self, run: Action) -> Action:
        def copy() -> None:
            run()
            self.synchronize()

        return copy

    @contextmanager
    def tf32(self) -> Any:
        """Products of float32 matrices on tensor cores in TF32, until the block ends."""
        from cupy._core import _routines_linalg as linalg

        before = linalg.get_compute_type(np.dtype(np.float32))
        linalg.set_compute_type(np.dtype(np.float32), linalg.COMPUTE_TYPE_TF32)
        try:
            yield
        finally:
            linalg.set_compute_type(np.dtype(np.float32), before)

    def peak_bytes(self, run: Action) -> int:
        """The most memory that arrays held at a time while `run` ran, beyond what they held."""

        class Peak(self.xp.cuda.MemoryHook):  # type: ignore[name-defined]
            name, now, most = "peak", 0, 0

            def malloc_postprocess(self, **kwargs: Any) -> None:
                self.now += kwargs["mem_size"]
                self.most = max(self.most, self.now)

            def free_postprocess(self, **kwargs: Any) -> None:
                self.now -= kwargs["mem_size"]

        with Peak() as peak:
            run()
        return peak.most


class Emulated:
    """The emulated device in place of a GPU, timed by the wall clock: to try the script itself."""

    name = where = "emulator"
    is_gpu = False

    def __init__(self) -> None:
        from minicnn.backend import emulator

        if emulator.compiler() is None:
            raise Unavailable("no C++ compiler for the emulator")
        self.xp, self.kernels = np, emulator.current_device()

    def facts(self) -> dict[str, Any]:
        """A name in the place of a GPU's."""
        return {"gpu": "none: emulated on the CPU"}

    def synchronize(self) -> None:
        """Nothing is left running."""

    def free_bytes(self) -> int:
        """Enough for the sizes that are tried."""
        return 1 << 30

    def release(self) -> None:
        """There is no pool."""

    def without_pool(self) -> AbstractContextManager[Any]:
        """As it is."""
        return nullcontext()

    def seconds(self, run: Action, repeats: int, captured: bool = True) -> tuple[float, str]:
        """(seconds of a call, how it was called)."""
        start = time.perf_counter()
        run()
        return time.perf_counter() - start, "one by one"

    def copy(self, target: Any, source: Any) -> Action:
        """A copy in the emulated memory."""
        return lambda: np.copyto(target, source)

    def host_copies(self, size: int) -> dict[str, Action]:
        """A copy between arrays of the host."""
        here = np.zeros(size, np.uint8)
        there = self.kernels.asarray(here.copy())
        return {"host to emulator": lambda: np.copyto(there, self.kernels.asarray(here))}

    def tf32(self) -> AbstractContextManager[Any]:
        """There are no tensor cores."""
        raise Unavailable("no tensor cores")

    def peak_bytes(self, run: Action) -> None:
        """Runs; memory is counted on a GPU only."""
        run()


def open_device(name: str) -> Any:
    """The device of that name.

    Raises:
        Unavailable: it is not there.
    """
    return {"cuda": Gpu, "emulator": Emulated}[name]()


def normal(device: Any, *shape: int) -> Any:
    """Normally distributed float32 on the device; beyond a million values they repeat."""
    block = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)
    return device.kernels.asarray(np.resize(block, shape))

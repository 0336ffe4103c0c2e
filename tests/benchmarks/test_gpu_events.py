"""What only a GPU can do, on a stand-in for CuPy that notes what is asked of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.gpu.device import Gpu


class Stream:
    """Work is done at once, but in a capture, which keeps it."""

    can_capture = True

    def __init__(self, non_blocking):
        self.kept = None

    def __enter__(self):
        Stream.current = self
        return self

    def __exit__(self, *_):
        Stream.current = None

    def synchronize(self):
        assert self.kept is None, "waits in a capture"

    def begin_capture(self):
        if not self.can_capture:
            raise RuntimeError("capture is not permitted")
        self.kept = []

    def end_capture(self):
        work, self.kept = self.kept, None
        return SimpleNamespace(launch=lambda stream: [run() for run in work])


class Event:
    """Holds the time at which it was recorded."""

    clock = 0.0

    def record(self, stream):
        self.at = Event.clock

    def synchronize(self):
        pass


class Hook:
    """A MemoryHook that is told of whatever `pool` gives and takes."""

    active: Hook | None = None

    def __enter__(self):
        Hook.active = self
        return self

    def __exit__(self, *_):
        Hook.active = None


@pytest.fixture
def gpu(monkeypatch):
    """A Gpu on the stand-in. A kernel takes 0.25 ms, launching it from Python 1 ms."""
    monkeypatch.setattr(Event, "clock", 0.0)
    gpu = object.__new__(Gpu)
    gpu.xp = SimpleNamespace(
        cuda=SimpleNamespace(
            Stream=Stream,
            Event=Event,
            MemoryHook=Hook,
            Device=lambda index: SimpleNamespace(synchronize=lambda: None),
            get_elapsed_time=lambda start, stop: stop.at - start.at,
        )
    )
    return gpu


def kernel():
    def run():
        Event.clock += 0.25

    stream = getattr(Stream, "current", None)
    if stream is not None and stream.kept is not None:
        stream.kept.append(run)
    else:
        Event.clock += 1.0
        run()


def test_calls_in_a_graph_are_timed_without_their_launching(gpu):
    seconds, how = gpu.seconds(kernel, 3)
    assert (seconds, how) == (pytest.approx(0.25e-3), "graph")
    seconds, how = gpu.seconds(kernel, 3, captured=False)
    assert (seconds, how) == (pytest.approx(1.25e-3), "one by one")


def test_without_a_graph_the_figure_says_so(gpu, monkeypatch):
    monkeypatch.setattr(Stream, "can_capture", False)
    seconds, how = gpu.seconds(kernel, 3)
    assert seconds == pytest.approx(1.25e-3)
    assert how == "one by one, no graph: capture is not permitted"


def test_the_peak_of_memory_is_of_what_is_held_at_a_time(gpu):
    def run():
        for size in (100, 200):
            Hook.active.malloc_postprocess(device_id=0, size=size, mem_size=size, mem_ptr=1)
        Hook.active.free_postprocess(device_id=0, mem_size=200, mem_ptr=1)
        Hook.active.malloc_postprocess(device_id=0, size=50, mem_size=50, mem_ptr=2)

    assert gpu.peak_bytes(run) == 300


def test_cupy_has_what_is_asked_of_it():
    cupy = pytest.importorskip("cupy")
    cupyx = pytest.importorskip("cupyx")
    from cupy._core import _routines_linalg as linalg

    assert callable(cupyx.empty_pinned)
    assert callable(linalg.set_compute_type) and callable(linalg.get_compute_type)
    assert isinstance(linalg.COMPUTE_TYPE_TF32, int)
    for name in ("begin_capture", "end_capture", "synchronize"):
        assert callable(getattr(cupy.cuda.Stream, name))
    for name in ("record", "synchronize"):
        assert callable(getattr(cupy.cuda.Event, name))
    for name in ("malloc_postprocess", "free_postprocess"):
        assert callable(getattr(cupy.cuda.MemoryHook, name))
    assert callable(cupy.cuda.MemoryPointer.copy_from_device_async)
    for name in ("get_elapsed_time", "using_allocator", "Graph"):
        assert callable(getattr(cupy.cuda, name))
    gpu = object.__new__(Gpu)
    gpu.xp = cupy
    assert gpu.peak_bytes(lambda: np.zeros(5)) == 0

"""minicnn.cuda and pinned memory: what they ask of CuPy, played by a small fake of it.

The fake shows that the right calls are made in the right order; that CuPy does what its
documentation says is for machines with a GPU. One test holds the fake against the real CuPy, where
that is installed: it must have every name that the fake has.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
import types
import warnings

import numpy as np
import pytest

import minicnn
from minicnn import backend, cuda, data
from minicnn.backend.cuda import compiler, gpu


class FakeData:
    """The memory of an array: copies are begun, and end when somebody waits."""

    def __init__(self, array):
        self.array = array

    def copy_from_host_async(self, mem, size):
        Fake.log.append(("copy_from_host_async", size))
        Fake.pending.append((self.array, mem, size))


class FakeArray:
    def __init__(self, array, index):
        self.host, self.device = array, types.SimpleNamespace(id=index)
        self.data = FakeData(self)
        self.shape, self.dtype, self.size = array.shape, array.dtype, array.size

    def get(self):
        Fake.wait()
        return self.host.copy()


FakeArray.__module__ = "cupy"


class FakeDevice:
    current = 0

    def __init__(self, index=None):
        self.id = FakeDevice.current if index is None else index

    def __enter__(self):
        self.before, FakeDevice.current = FakeDevice.current, self.id

    def __exit__(self, *error):
        FakeDevice.current = self.before

    def use(self):
        FakeDevice.current = self.id

    def synchronize(self):
        Fake.wait()


class FakeStream:
    currents: dict = {}  # noqa: RUF012

    def __init__(self, non_blocking=False, priority=0):
        self.ptr = len(Fake.log) + 100
        Fake.log.append(("Stream", FakeDevice.current, non_blocking, priority))

    done = property(lambda self: not Fake.pending)

    def synchronize(self):
        Fake.wait()

    def wait_event(self, event):
        Fake.log.append(("wait_event", self.ptr, event.at))

    def use(self):
        FakeStream.currents[FakeDevice.current] = self

    def __enter__(self):
        self.before = FakeStream.currents.get(FakeDevice.current)
        self.use()

    def __exit__(self, *error):
        FakeStream.currents[FakeDevice.current] = self.before


class FakeEvent:
    def __init__(self, block=False, disable_timing=False):
        self.timing = not disable_timing

    done = property(lambda self: self.behind <= Fake.ended)

    def record(self, stream=None):
        Fake.clock += 1.5
        self.at, self.behind = Fake.clock, Fake.ended + len(Fake.pending)

    def synchronize(self):
        Fake.wait()


class FakeHook:
    def __enter__(self):
        Fake.hooks.append(self)


class FakePool:
    def used_bytes(self):
        return Fake.used

    def total_bytes(self):
        return 4096


class Fake:
    """What happened, and the modules `cupy` and `cupyx`."""

    log: list
    pending: list
    hooks: list
    pinned: set
    ended: int
    clock: float
    used: int

    @classmethod
    def reset(cls):
        cls.log, cls.pending, cls.hooks, cls.pinned = [], [], [], set()
        cls.clock, cls.used, cls.ended, FakeDevice.current = 0.0, 0, 0, 0
        FakeStream.currents = {}

    @classmethod
    def wait(cls):
        for array, mem, size in cls.pending:
            ctypes.memmove(array.host.ctypes.data, mem, size)
            cls.ended += 1
        cls.pending = []

    @classmethod
    def malloc(cls, size, sign=1):
        cls.used += sign * size
        for hook in cls.hooks:
            found = {"device_id": 0, "mem_size": size, "mem_ptr": 1, "pmem_id": 1}
            (hook.malloc_postprocess if sign > 0 else hook.free_postprocess)(**found)


def fake_properties(index):
    return {
        "name": b"Fake GPU",
        "major": 8,
        "minor": 6,
        "totalGlobalMem": 2**33,
        "multiProcessorCount": 28,
    }


def empty(shape, dtype):
    return FakeArray(np.zeros(shape, dtype), FakeDevice.current)


def asarray(x):
    Fake.log.append(("asarray", x.nbytes))
    return FakeArray(x.copy(), FakeDevice.current)


def empty_pinned(shape, dtype):
    out = np.empty(shape, dtype)
    Fake.pinned.add(out.ctypes.data)
    return out


def fake_modules():
    null = FakeStream()
    FakeStream.null = null
    module = types.ModuleType("cupy")
    module.cuda = types.SimpleNamespace(
        Device=FakeDevice,
        Event=FakeEvent,
        MemoryHook=FakeHook,
        Stream=FakeStream,
        get_current_stream=lambda index: FakeStream.currents.get(index) or null,
        get_elapsed_time=lambda start, end: end.at - start.at,
        pinned_memory=types.SimpleNamespace(is_memory_pinned=lambda ptr: ptr in Fake.pinned),
        runtime=types.SimpleNamespace(
            getDeviceCount=lambda: 2, getDeviceProperties=fake_properties, memGetInfo=lambda: (1, 2)
        ),
    )
    module.asarray, module.empty = asarray, empty
    module.get_default_memory_pool = FakePool
    extra = types.ModuleType("cupyx")
    extra.empty_pinned = empty_pinned
    return module, extra


@pytest.fixture
def cupy(monkeypatch):
    Fake.reset()
    module, extra = fake_modules()
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setitem(sys.modules, "cupyx", extra)
    monkeypatch.setattr(compiler, "unavailable", lambda: None)
    gpu._peak.cache_clear()
    gpu._under_way.clear()
    compiler.device.cache_clear()
    yield module
    gpu._peak.cache_clear()
    compiler.device.cache_clear()


def names(thing, path, depth=0):
    for name in vars(thing):
        if name.startswith("__"):
            continue
        value = getattr(thing, name)
        yield (*path, name)
        if isinstance(value, types.SimpleNamespace) and depth < 3:
            yield from names(value, (*path, name), depth + 1)


def test_the_fake_has_only_what_cupy_has():
    if not hasattr(pytest.importorskip("cupy"), "__file__"):
        pytest.skip("this CuPy is a stand-in")
    Fake.reset()
    for module in fake_modules():
        for path in names(module, ()):
            real = importlib.import_module(module.__name__)
            for name in path:
                assert hasattr(real, name), path
                real = getattr(real, name)
    import cupy

    pairs = [(FakeStream, cupy.cuda.Stream), (FakeEvent, cupy.cuda.Event)]
    for fake, real in [*pairs, (FakeDevice, cupy.cuda.Device)]:
        own = {name for name in vars(fake) if not name.startswith("__")}
        assert own - {"currents", "current"} <= set(dir(real))
    assert hasattr(cupy.cuda.MemoryPointer, "copy_from_host_async")
    assert {"malloc_postprocess", "free_postprocess"} <= set(dir(cupy.cuda.MemoryHook))


# Copies


def test_tensors_are_pinned_and_copied_without_waiting(cupy):
    x = minicnn.arange(6.0).reshape(2, 3)
    assert not x.is_pinned()
    there = x.pin_memory()
    assert there.is_pinned()
    assert there.pin_memory() is there
    assert there.tolist() == x.tolist()
    array = backend.move(there.array, "cuda", None, non_blocking=True)
    assert Fake.log[-1] == ("copy_from_host_async", 24)
    assert gpu._under_way[0][1] is there.array  # alive until it has been copied
    assert not array.host.any()
    assert array.get().tolist() == x.tolist()
    backend.move(there.array, "cuda", 1, non_blocking=True)
    assert len(gpu._under_way) == 1  # the first copy has ended
    assert backend.move(x.array, "cuda", 1, non_blocking=True).device.id == 1
    assert Fake.log[-1] == ("asarray", 24)
    backend.move(there.array, "cuda")
    assert Fake.log[-1] == ("asarray", 24)
    backend.move(there.array.T, "cuda", None, non_blocking=True)
    assert Fake.log[-1] == ("asarray", 24)
    assert minicnn.zeros(0).pin_memory().shape == (0,)


def test_pin_memory_refuses_what_it_would_lose(cupy):
    with pytest.raises(RuntimeError, match=r"use \.detach\(\) first"):
        minicnn.ones(2, requires_grad=True).pin_memory()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_pins_its_batches(cupy, workers):
    samples = [{"x": np.full(2, i, np.float32), "y": (i, "name"), "z": None} for i in range(4)]

    def collate(batch):
        return {**data.default_collate([{k: s[k] for k in "xy"} for s in batch]), "z": None}

    loader = data.DataLoader(samples, 2, pin_memory=True, num_workers=workers, collate_fn=collate)
    batches = list(loader)
    assert len(batches) == 2
    for batch in batches:
        assert batch["x"].is_pinned()
        assert batch["y"][0].is_pinned()
        assert batch["y"][1] == ("name", "name")
        assert batch["z"] is None
    assert batches[1]["y"][0].tolist() == [2, 3]


def test_without_a_gpu_nothing_is_pinned():
    if cuda.is_available():
        pytest.skip("there is a GPU")
    loader = data.DataLoader(data.TensorDataset(minicnn.ones(3)), pin_memory=True)
    with pytest.warns(UserWarning, match="pin_memory=True has no effect, for no GPU can be used"):
        batches = list(loader)
    assert not batches[0][0].is_pinned()
    with pytest.raises(RuntimeError, match="pin_memory: no GPU can be used"):
        minicnn.ones(2).pin_memory()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(data.DataLoader(data.TensorDataset(minicnn.ones(3))))


def test_emulated_tensors_are_not_pinned():
    if (reason := backend.why_not("emulator")) is not None:
        pytest.skip(reason)
    x = minicnn.ones(2, device="emulator")
    assert not x.is_pinned()
    with pytest.raises(RuntimeError, match="expects a tensor of the CPU, got one on emulator:0"):
        x.pin_memory()


# The module


def test_what_a_gpu_is(cupy):
    assert cuda.is_initialized()
    cuda.init()
    assert cuda.device_count() == 2
    found = cuda.get_device_properties(0)
    assert (found.name, found.total_memory, found.multi_processor_count) == ("Fake GPU", 2**33, 28)
    assert cuda.get_device_name(1) == "Fake GPU"
    assert cuda.get_device_capability("cuda:1") == (8, 6)
    with pytest.raises(RuntimeError, match="there are 2 GPUs, no number 2"):
        cuda.get_device_capability(2)
    assert cuda.mem_get_info() == (1, 2)
    cuda.set_device(1)
    assert cuda.current_device() == minicnn.accelerator.current_device_index() == 1
    with minicnn.accelerator.device_index(0):
        assert cuda.current_device() == 0


def test_the_time_between_events(cupy):
    start, end = [cuda.Event(enable_timing=True) for _ in range(2)]
    with pytest.raises(ValueError, match="record both events first"):
        start.elapsed_time(end)
    assert start.query()
    start.synchronize()
    start.record()
    x = minicnn.ones(1).pin_memory()
    backend.move(x.array, "cuda", None, non_blocking=True)
    end.record(cuda.Stream())
    assert not end.query()
    with pytest.raises(RuntimeError, match="call synchronize"):
        start.elapsed_time(end)
    end.synchronize()
    assert start.elapsed_time(end) == 3  # the copy set a mark, too
    with pytest.raises(ValueError, match="enable_timing=True"):
        start.elapsed_time(cuda.Event())


def test_streams(cupy):
    default = cuda.default_stream()
    assert cuda.current_stream() == default == minicnn.accelerator.current_stream()
    one, two = cuda.Stream(), cuda.Stream(1, priority=-1)
    assert Fake.log[-2:] == [("Stream", 0, True, 0), ("Stream", 1, True, -1)]
    assert two.device == minicnn.device("cuda", 1)
    assert one != two
    assert len({one, two, one}) == 2
    with cuda.stream(one):
        assert cuda.current_stream() == one
        with cuda.stream(None):
            assert cuda.current_stream() == one
        with cuda.stream(two):
            assert cuda.current_device() == 1
            assert cuda.current_stream() == two
    assert cuda.current_stream() == default
    one.wait_stream(two)
    assert Fake.log[-1] == ("wait_event", one.cuda_stream, Fake.clock)
    assert one.query()
    one.synchronize()
    cuda.set_stream(one)
    assert cuda.current_stream() == one
    assert "device=cuda:0" in repr(one)


def test_the_most_memory(cupy):
    Fake.used = 100
    assert cuda.max_memory_allocated() == 100
    Fake.malloc(1000)
    Fake.malloc(1000, -1)
    assert cuda.memory_allocated() == 100
    assert cuda.max_memory_allocated() == 1100
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == 100
    assert len(Fake.hooks) == 1


def test_every_generator_is_saved_and_seeded(cupy):
    cuda.manual_seed_all(5)
    states = cuda.get_rng_state_all()
    assert len(states) == 2
    cuda.seed_all()
    assert cuda.initial_seed() != 5
    cuda.set_rng_state_all(states)
    assert cuda.initial_seed() == 5


def test_without_a_gpu():
    if cuda.is_available():
        pytest.skip("there is a GPU")
    for make in (cuda.Event, cuda.Stream, cuda.init, cuda.get_device_properties):
        with pytest.raises(RuntimeError, match="no GPU can be used"):
            make()
    assert not cuda.is_initialized()
    assert cuda.max_memory_allocated() == 0
    cuda.reset_peak_memory_stats()
    assert cuda.get_rng_state_all() == []

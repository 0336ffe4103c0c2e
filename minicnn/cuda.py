"""GPUs: whether one can be used, which is current, their memory, streams and random numbers.

    device = minicnn.device("cuda" if minicnn.cuda.is_available() else "cpu")

Tensors reach a GPU by `.to("cuda")`, through CuPy, and compute there with kernels/*.cu
(backend/cuda). `why_unavailable()` says what is missing, and the line of pip that brings it.

A `device` is None for the current GPU, a number, "cuda:1" or a minicnn.device. Where nothing else
is said, functions raise RuntimeError without a GPU, or for a number that none has, and ValueError
for a device that is no GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from .autograd import device as _device
from .backend import random
from .backend.cuda import compiler, gpu

__all__ = [
    "Event",
    "Stream",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "get_rng_state_all",
    "init",
    "initial_seed",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_rng_state",
    "set_rng_state_all",
    "set_stream",
    "stream",
    "synchronize",
    "why_unavailable",
]


def is_available() -> bool:
    """True if tensors can be moved to a GPU."""
    return compiler.unavailable() is None


def why_unavailable() -> str | None:
    """What stands in the way of a GPU and which line of pip mends it; None if one can be used."""
    return compiler.unavailable()


def is_initialized() -> bool:
    """True once CuPy, through which everything here goes, is loaded and has found a GPU."""
    return "cupy" in sys.modules and is_available()


def init() -> None:
    """Loads CuPy now rather than with the first tensor. RuntimeError if there is no GPU."""
    _check("init")


def device_count() -> int:
    """How many GPUs can be used."""
    return gpu.count() if is_available() else 0


def current_device() -> int:
    """The number of the GPU that "cuda" without a number means. RuntimeError if there is none."""
    _check("current_device")
    return gpu.current_index()


def set_device(device: Any) -> None:
    """Makes a GPU the one that "cuda" without a number means, in this thread."""
    gpu.use(_index("set_device", device))


def device(device: Any) -> AbstractContextManager[Any]:
    """`with cuda.device(1):` makes a GPU the current one for a block."""
    return gpu.using(_index("device", device))


def get_device_name(device: Any = None) -> str:
    """The GPU's name, as its driver gives it."""
    return gpu.properties(_index("get_device_name", device)).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The GPU's architecture: (8, 6) for sm_86."""
    found = gpu.properties(_index("get_device_capability", device))
    return found.major, found.minor


def get_device_properties(device: Any = None) -> gpu.Properties:
    """The GPU's name, major, minor, total_memory (bytes) and multi_processor_count."""
    return gpu.properties(_index("get_device_properties", device))


def synchronize(device: Any = None) -> None:
    """Waits until the GPU has done all that it was given; without a GPU there is none to wait for.

    Kernels run while Python goes on: measure times only between two of these.
    """
    if is_available():
        gpu.synchronize(_index("synchronize", device))


# Memory


def empty_cache() -> None:
    """Gives memory that no tensor uses, which CuPy keeps for the next one, back to the GPU."""
    if is_available():
        gpu.free_memory()


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors on the GPU take; 0 without a GPU."""
    return _memory("memory_allocated", device).used if is_available() else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes that were taken from the GPU, used by tensors or kept for the next; 0 without one."""
    return _memory("memory_reserved", device).reserved if is_available() else 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors took at a time, since `reset_peak_memory_stats`; 0 without a GPU.

    They are watched from the first call of one of the two on, for that costs time at each array
    made: call `reset_peak_memory_stats` before what shall be measured, in the same thread.
    """
    return gpu.peak_memory(_index("max_memory_allocated", device)) if is_available() else 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Begins `max_memory_allocated` anew; ignored without a GPU."""
    if is_available():
        gpu.reset_peak_memory(_index("reset_peak_memory_stats", device))


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free bytes, bytes in all) of the GPU. RuntimeError if there is none."""
    return gpu.free_and_total(_index("mem_get_info", device))


# Streams and events


class Stream:
    """A queue of work for a GPU. Work in different streams may overlap, and waits for none other.

        with cuda.stream(cuda.Stream()):
            ...

    Memory that a tensor leaves is given to the next tensor of the same stream: let a stream end
    (`synchronize`, `wait_stream`) before its inputs go. RuntimeError if there is no GPU.
    """

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self._index = _index("Stream", device)
        self._raw = gpu.new_stream(self._index, priority)

    @classmethod
    def _of(cls, raw: Any, index: int) -> Stream:
        self = object.__new__(cls)
        self._raw, self._index = raw, index
        return self

    @property
    def device(self) -> Any:
        """The GPU whose work is queued here."""
        return _device("cuda", self._index)

    @property
    def cuda_stream(self) -> int:
        """The address of CUDA's own stream, for other libraries."""
        return int(self._raw.ptr)

    def query(self) -> bool:
        """True if all work given so far is done."""
        return bool(self._raw.done)

    def synchronize(self) -> None:
        """Waits until all work given so far is done."""
        self._raw.synchronize()

    def record_event(self, event: Event | None = None) -> Event:
        """Puts a mark behind the work given so far: `event`, or a new one."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Work given later waits for the event; the program does not."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Work given later waits for what the other stream was given so far."""
        self.wait_event(stream.record_event())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stream):
            return NotImplemented
        return (self.cuda_stream, self._index) == (other.cuda_stream, other._index)

    def __hash__(self) -> int:
        return hash((self.cuda_stream, self._index))

    def __repr__(self) -> str:
        return f"<minicnn.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


class Event:
    """A mark in a stream: has the work before it been done, and how long after another mark.

        start, end = [cuda.Event(enable_timing=True) for _ in range(2)]
        start.record(); y = net(x); end.record()
        end.synchronize()
        print(start.elapsed_time(end), "ms")

    RuntimeError if there is no GPU. interprocess: accepted for PyTorch's sake, without effect.
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        _check("Event")
        self._timing, self._blocking = enable_timing, blocking
        self._raw: Any = None  # made on the GPU where it is first recorded

    def record(self, stream: Stream | None = None) -> None:
        """Sets the mark behind what the stream (default: the current one) was given so far."""
        stream = current_stream() if stream is None else stream
        with gpu.using(stream._index):
            if self._raw is None:
                self._raw = gpu.new_event(self._timing, self._blocking)
            self._raw.record(stream._raw)

    def wait(self, stream: Stream | None = None) -> None:
        """Work given to the stream (default: the current one) later waits for this mark."""
        if self._raw is not None:
            (current_stream() if stream is None else stream)._raw.wait_event(self._raw)

    def query(self) -> bool:
        """True if the work before the mark is done."""
        return self._raw is None or bool(self._raw.done)

    def synchronize(self) -> None:
        """Waits until the work before the mark is done."""
        if self._raw is not None:
            self._raw.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to the other. ValueError if one was not recorded or made
        without enable_timing; RuntimeError while one has not happened yet."""
        for event in (self, end_event):
            if not event._timing:
                raise ValueError("Event.elapsed_time: make both events with enable_timing=True")
            if event._raw is None:
                raise ValueError("Event.elapsed_time: record both events first")
            if not event.query():
                raise RuntimeError(
                    "Event.elapsed_time: call synchronize() of the later event first"
                )
        return gpu.milliseconds(self._raw, end_event._raw)


def current_stream(device: Any = None) -> Stream:
    """The stream that takes this thread's work for the GPU at present."""
    index = _index("current_stream", device)
    return Stream._of(gpu.current_stream(index), index)


def default_stream(device: Any = None) -> Stream:
    """The stream that takes work where no other was chosen."""
    return Stream._of(gpu.default_stream(), _index("default_stream", device))


def set_stream(stream: Stream) -> None:
    """Makes a stream the current one of its GPU, in this thread."""
    with gpu.using(stream._index):
        stream._raw.use()


@contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """`with cuda.stream(s):` gives work to s, on its GPU, for a block; None changes nothing."""
    if stream is None:
        yield
        return
    with gpu.using(stream._index), stream._raw:
        yield


# Random numbers


def manual_seed(seed: int) -> None:
    """Seeds the current GPU's generator; ignored without a GPU."""
    if is_available():
        random.default_generator(f"cuda:{gpu.current_index()}").manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all GPUs; ignored without a GPU."""
    for index in range(device_count()):
        random.default_generator(f"cuda:{index}").manual_seed(seed)


def seed() -> None:
    """Seeds the current GPU's generator with a number that the operating system draws."""
    if is_available():
        random.default_generator(f"cuda:{gpu.current_index()}").seed()


def seed_all() -> None:
    """Seeds the generators of all GPUs with one number that the operating system draws."""
    if is_available():
        manual_seed_all(random.default_generator(f"cuda:{gpu.current_index()}").seed())


def initial_seed() -> int:
    """The seed that the current GPU's generator began with. RuntimeError if there is no GPU."""
    return random.default_generator(f"cuda:{_index('initial_seed', None)}").initial_seed()


def get_rng_state(device: Any = "cuda") -> Any:
    """Where the GPU's generator stands, for `set_rng_state` (uint8 array)."""
    return random.default_generator(f"cuda:{_index('get_rng_state', device)}").get_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Goes back to where `get_rng_state` was called. ValueError for anything else."""
    index = _index("set_rng_state", device)
    random.default_generator(f"cuda:{index}").set_state(new_state)


def get_rng_state_all() -> list[Any]:
    """Where the generators of all GPUs stand."""
    return [get_rng_state(index) for index in range(device_count())]


def set_rng_state_all(new_states: Iterable[Any]) -> None:
    """Goes back to where `get_rng_state_all` was called. ValueError for anything else."""
    for index, state in enumerate(new_states):
        set_rng_state(state, index)


# What the functions above share


def _check(function: str) -> None:
    if (reason := compiler.unavailable()) is not None:
        raise RuntimeError(f"cuda.{function}: no GPU can be used: {reason}")


def _index(function: str, device: Any) -> int:
    """The number of a GPU: of an int, "cuda:1", a device; None and "cuda" are the current one.

    Raises:
        RuntimeError: there is no such GPU.
        ValueError: the device is no GPU.
    """
    _check(function)
    wanted = _device("cuda" if device is None else device)
    if wanted.type != "cuda":
        raise ValueError(f"cuda.{function}: expects a GPU, got device {str(wanted)!r}")
    index = gpu.current_index() if wanted.index is None else wanted.index
    if index >= device_count():
        raise RuntimeError(f"cuda.{function}: there are {device_count()} GPUs, no number {index}")
    return index


def _memory(function: str, device: Any) -> gpu.Memory:
    return gpu.memory(_index(function, device))

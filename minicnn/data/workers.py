"""What a worker process of a DataLoader does, and what it hears and says.

Each worker has one pipe of its own to the program, so that no lock is shared and a worker that is
killed leaves nobody waiting. pool.py is the other end.

    the program (pool.py)                        worker i, a process
    Epoch: its number, its seed    ----------->  the listening thread takes what comes, at once
    Order: epoch, number, indices  ----------->    |  inbox
    Order: ...                     ----------->    v
                                                 the main thread: seeds the generators, fetches,
                                                 collates
    next(): unpickle, pin          <-----------  Reply: epoch, number, and a batch (transport.py),
                                                 or the exception it met, or "this was the last"
    close the pipe, or be killed   ----------->  the listening thread cancels the fetch under way,
                                                 and ends the process if that takes too long

A worker ignores Ctrl-C, which reaches every process of the terminal: what it means is the program's
affair. Since the end of the pipe is closed when the program goes, in whatever way, no worker stays
behind.

Randomness: before each batch, minicnn's generator, NumPy's global one and `random` are seeded by
the epoch's seed and the number of the batch (for an IterableDataset: the number of the worker, and
of the batch among its own). So what a random transform draws depends neither on how many workers
there are nor on which one had the batch. One that `worker_init_fn` has seeded is left alone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import queue
import random
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import numpy as np
from numpy.random import SeedSequence

from ..autograd.dtypes import get_default_dtype, set_default_dtype
from ..backend.cpu import threads
from ..backend.random import get_rng_state, manual_seed
from . import transport
from .dataset import IterableDataset
from .fetch import END, Cancelled, Job, WorkerInfo, become

_GONE = -1  # the epoch after the program has hung up
_GRACE = 1.0  # seconds that the sample under way may take then

BATCH, ERROR, LAST, FATAL = "batch", "error", "last", "fatal"


class Epoch(NamedTuple):
    """What was ordered before is not wanted any more. seed: None if there is nothing new either."""

    number: int
    seed: int | None


class Order(NamedTuple):
    """Fetch the batch of these indices (pickled), number `number` of its epoch."""

    epoch: int
    number: int
    indices: bytes


class Reply(NamedTuple):
    """The label of what was fetched. kind: BATCH, ERROR, LAST (the worker's part of an
    IterableDataset has ended) or FATAL (the worker could not begin)."""

    epoch: int
    number: int
    kind: str


# ---------------------------------------------------------------- what a worker is given


class Parcel:
    """A job on its way to a worker. A forked worker has it already; elsewhere it is pickled, and
    unpickled only by `open`, so that what fails there can be reported."""

    def __init__(self, job: Job) -> None:
        self._job: Job | None = job
        self._pickled = b""

    def open(self) -> Job:
        """The job. Raises what unpickling the dataset or a function raises."""
        if self._job is None:
            dtype, self._job = pickle.loads(self._pickled)
            set_default_dtype(dtype)
        return self._job

    def __getstate__(self) -> bytes:
        try:
            return bytes(ForkingPickler.dumps((get_default_dtype(), self._job)))
        except Exception as error:
            names = ("dataset", "collate_fn", "worker_init_fn")
            what = _unpicklable({name: getattr(self._job, name) for name in names})
            raise TypeError(
                f"DataLoader: workers that are not forked get dataset, collate_fn and "
                f"worker_init_fn pickled, and {what} cannot be: {error}. Define it at the top of "
                "a module (no lambda, no function in a function), or use num_workers=0 or, where "
                "there is fork, multiprocessing_context='fork'"
            ) from error

    def __setstate__(self, state: bytes) -> None:
        self._job, self._pickled = None, state


def _unpicklable(value: Any, name: str = "", depth: int = 8) -> str:
    """The name of the innermost part of `value` that cannot be pickled."""
    for part, content in _parts(value):
        try:
            ForkingPickler.dumps(content)
        except Exception:
            inner = f"{name}{part}" if name else part
            return _unpicklable(content, inner, depth - 1) if depth else inner
    return f"{name} ({value!r:.80})"


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        plain = all(isinstance(key, str) and key.isidentifier() for key in value)
        return [(key if plain else f"[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{i}]", item) for i, item in enumerate(value)]
    return [(f".{name}", item) for name, item in getattr(value, "__dict__", {}).items()]


# ---------------------------------------------------------------- seeds


class _Seeds:
    """Seeds the generators that transforms draw from."""

    def __init__(self, worker: int, streamed: bool) -> None:
        self._worker, self._streamed = worker, streamed
        self._mine = list(_GENERATORS)
        self._base, self._batches = 0, 0

    def begin(self, seed: int) -> None:
        """A new epoch: its seed plus the worker's number, until the first batch."""
        self._base, self._batches = seed, 0
        self._set(seed + self._worker, seed + self._worker)

    def leave_what(self, init: Callable[[], Any]) -> None:
        """Runs `init`; the generators that it moves are not seeded here again."""
        before = [state() for _, state in _GENERATORS]
        init()
        changed = [a != state() for a, (_, state) in zip(before, _GENERATORS, strict=True)]
        self._mine = [g for g, other in zip(_GENERATORS, changed, strict=True) if not other]

    def next_batch(self, number: int) -> None:
        """Seeds for the batch of that number."""
        key = (self._worker, self._batches) if self._streamed else (number,)
        self._batches += 1
        words = SeedSequence((self._base, *key)).generate_state(2, np.uint64)
        self._set(*words.tolist())

    def _set(self, seed: int, other: int) -> None:
        for place, (reseed, _) in enumerate(self._mine):
            reseed(other if place else seed)


def _seed_numpy(seed: int) -> None:
    np.random.seed(seed % 2**32)


def _seed_python(seed: int) -> None:
    random.seed(seed % 2**32)


# Each with what tells whether it was moved. NumPy and `random` take 32 bits, the number that
# PyTorch's recipe for a worker_init_fn gives them: initial_seed() % 2**32.
_GENERATORS: list[tuple[Callable[[int], Any], Callable[[], Any]]] = [
    (manual_seed, lambda: get_rng_state().tobytes()),
    (_seed_numpy, lambda: pickle.dumps(np.random.get_state())),
    (_seed_python, random.getstate),
]


# ---------------------------------------------------------------- the process


class _Desk:
    """What the two threads of a worker share."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.inbox: queue.SimpleQueue = queue.SimpleQueue()
        self.epoch = 0


def run(worker: int, count: int, connection: Any, parcel: Parcel, forked: bool) -> None:
    """The life of worker number `worker` of `count`."""
    _settle(forked)
    desk = _Desk(connection)
    threading.Thread(target=_listen, args=(desk,), daemon=True).start()
    with contextlib.suppress(ConnectionError):  # the program is gone
        _work(desk, worker, count, parcel)


def _settle(forked: bool) -> None:
    """Leaves behind what belongs to the program: its garbage and its way of hearing signals."""
    if forked:
        gc.freeze()  # what a GPU's arrays would do when they are freed, only the program may do
    threads.set_num_threads(1)  # the program has the cores; each worker is one process more
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _listen(desk: _Desk) -> None:
    """The listening thread."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            message = desk.connection.recv()
            if isinstance(message, Epoch):
                desk.epoch = message.number
            desk.inbox.put(message)
    desk.epoch = _GONE
    desk.inbox.put(None)
    time.sleep(_GRACE)
    os._exit(1)


def _work(desk: _Desk, worker: int, count: int, parcel: Parcel) -> None:
    """The main thread."""
    fetch: Any = None
    seeds: _Seeds | None = None
    job: Job
    while (message := desk.inbox.get()) is not None:
        if isinstance(message, Order):
            if message.epoch == desk.epoch:
                _serve(desk, worker, message, fetch, seeds)
        elif message.seed is None:
            fetch = None
        elif seeds is None:
            try:
                job = parcel.open()
                seeds = _begin(job, worker, count, message.seed)
                fetch = job.fetcher()
            except BaseException as error:
                label = Reply(message.number, 0, FATAL)
                transport.send(desk.connection, label, transport.packed(error, _name(worker)))
                return
        else:
            seeds.begin(message.seed)
            become(WorkerInfo(worker, count, message.seed + worker, job.dataset))
            fetch = job.fetcher()


def _begin(job: Job, worker: int, count: int, seed: int) -> _Seeds:
    become(WorkerInfo(worker, count, seed + worker, job.dataset))
    seeds = _Seeds(worker, isinstance(job.dataset, IterableDataset))
    seeds.begin(seed)
    init = job.worker_init_fn
    if init is not None:
        seeds.leave_what(lambda: init(worker))
    return seeds


def _serve(desk: _Desk, worker: int, order: Order, fetch: Any, seeds: Any) -> None:
    """Fetches what was ordered, and sends it or what went wrong."""
    try:
        seeds.next_batch(order.number)
        batch = fetch(pickle.loads(order.indices), lambda: desk.epoch != order.epoch)
    except Cancelled:
        return
    except BaseException as error:
        if type(error).__module__.partition(".")[0] in ("cupy", "cupy_backends"):
            error.add_note(_NO_GPU)
        _send_error(desk, worker, order, error)
        return
    try:
        kind, value = (LAST, None) if batch is END else (BATCH, batch)
        transport.send(desk.connection, Reply(order.epoch, order.number, kind), value)
    except OSError:
        raise  # the program is gone
    except Exception as error:
        error.add_note("(a DataLoader worker sends each batch pickled, and this one cannot be)")
        _send_error(desk, worker, order, error)


def _send_error(desk: _Desk, worker: int, order: Order, error: BaseException) -> None:
    label = Reply(order.epoch, order.number, ERROR)
    transport.send(desk.connection, label, transport.packed(error, _name(worker)))


_NO_GPU = (
    "(a DataLoader worker is a process of its own, and the program's GPU arrays are not there: "
    "keep the dataset on the CPU, and move its batches)"
)


def _name(worker: int) -> str:
    return f"DataLoader worker process {worker} (pid {os.getpid()})"

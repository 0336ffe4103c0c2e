"""The threads that the pieces of a primitive run on, and BLAS kept to one of them.

NumPy lets go of Python's lock (the GIL) while it copies, adds or multiplies arrays, so that several
threads of one Python process do compute at the same time. A primitive cuts its work into pieces,
and whoever is free takes the next one:

    def fill(piece): np.maximum(x[piece], 0, out=y[piece])
    threads.each(fill, threads.pieces(len(x), x.size))

* **A queue instead of a share for each thread.** Where another program takes one of the cores away
  for a while, its thread does fewer pieces and the others more; with equal shares everyone would
  wait for the slowest.
* **BLAS on one thread.** A BLAS with threads of its own cuts one product and makes all of them wait
  at its end, and two of our threads that each wake two of BLAS's would be four on two cores. So its
  limit is one while a primitive runs, and what it was before as soon as none does.
* **The same bits for any number of threads.** How work is cut depends on the shapes alone, never on
  the number of threads; each piece writes a place of its own, and sums over pieces are taken at the
  end, in their order.
* **Long pieces.** To wake a thread, or to get the GIL back from one that has it, takes 20 to 90
  microseconds. Below 64K numbers a call two threads are slower than one; `pieces` aims at 256K.
* **Alone with little work.** In the time that it takes to wake a second thread and to hear of its
  end, the first goes over half a million numbers. `each`, told how many there are, leaves the
  others asleep below a million.

The thread that calls works too. Pieces that call `each` run theirs one after the other. Two callers
in two threads share the workers; neither waits for a worker that is busy for the other, since each
caller can finish its pieces alone: there is nothing to deadlock on. A forked child begins without
workers and starts its own.
"""

from __future__ import annotations

import contextvars
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import memory

if TYPE_CHECKING:
    from queue import SimpleQueue

# Entries of an array that a piece should have: see above.
PIECE = 1 << 18

# Entries that one pass goes over before a second thread would have been of use: see above.
ALONE = 1 << 20

# Held while a module is loaded that `import minicnn` leaves out. A fork waits for it: a child would
# find the module half loaded, and its lock taken by a thread that is not there.
loading = threading.RLock()

_count: int | None = None  # as set; None: `_default`


def get_num_threads() -> int:
    """How many threads a primitive computes on, the caller's included.

    As set by `set_num_threads`; before that the environment's MINICNN_NUM_THREADS or, as with other
    numerical libraries, OMP_NUM_THREADS, or else the number of cores that the process may use.
    """
    global _count
    if _count is None:
        _count = _default()
    return _count


def set_num_threads(num: int) -> None:
    """Primitives compute on `num` threads from now on. Results stay the same to the bit.

    Raises:
        TypeError: num is no integer.
        ValueError: num < 1.
    """
    global _count
    if isinstance(num, bool) or not hasattr(num, "__index__"):
        raise TypeError(f"set_num_threads: num expects an integer, got {type(num).__name__}")
    if (number := num.__index__()) < 1:
        raise ValueError(f"set_num_threads: num expects a positive number, got {number}")
    _count = number


def _default() -> int:
    for name in ("MINICNN_NUM_THREADS", "OMP_NUM_THREADS"):
        asked = os.environ.get(name, "").split(",")[0].strip()
        if asked.isdecimal() and int(asked) > 0:
            return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# ---------------------------------------------------------------- pieces


def pieces(length: int, size: int, aim: int = PIECE) -> list[slice]:
    """Cuts an axis of `length`, of an array of `size` entries, into pieces of about `aim` entries.

    One piece below `aim` entries, and an even number from there on (two of half as many at first),
    as most machines have an even number of cores; never more pieces than `length`.
    """
    count = size // max(1, aim)
    count = max(1, min(length, count + count % 2))
    return [slice(k * length // count, (k + 1) * length // count) for k in range(count)]


def each(work: Callable[[Any], object], items: Sequence[Any], entries: float = ALONE) -> None:
    """work(item) for every item, on all threads, with BLAS on one thread each.

    entries: how many numbers all items go over, once; below ALONE the caller does them all. What
    takes longer than a pass counts for more.

    Returns when all are done. If one raises, those not begun are left out, and the first exception
    is raised here. NumPy's errstate holds in all threads as it does here.
    """
    helpers = min(get_num_threads(), len(items)) - 1
    memory.keep_freed()
    with one_blas_thread:
        if helpers < 1 or _within.pieces or entries < ALONE:
            for item in items:
                work(item)
            return
        job = _Job(work, items)
        try:
            _pool.help(job, helpers)
            job.finish()
        finally:
            job.close()


class _Within(threading.local):
    """Whether this thread is at work on a piece."""

    pieces = False


_within = _Within()


class _Job:
    """The items of one call of `each`. Whoever is free takes the next."""

    def __init__(self, work: Callable[[Any], object], items: Sequence[Any]) -> None:
        self._work: Callable[[Any], object] | None = work
        self._items = items
        self._numbers = itertools.count()  # `next` is a single step: no number is given out twice
        self._done = itertools.count(1)
        self._going = True  # whether items that nobody has begun are still to be done
        self._error: BaseException | None = None
        self._all = False  # whether all are done
        self._all_done = threading.Lock()
        self._all_done.acquire()

    def run(self) -> None:
        """Takes items until there are no more.

        Each that is taken is counted, also if a Ctrl-C comes: Python hears it in calls and at the
        end of a loop, of which there is none from an item's end to the count.
        """
        work, count = self._work, len(self._items)
        _within.pieces = True
        try:
            for number in self._numbers:
                if number >= count or work is None:
                    return
                try:
                    if self._going:
                        work(self._items[number])
                except BaseException as error:
                    self._going, self._error = False, self._error or error
                for done in self._done:  # `next` would be a call
                    if done == count:
                        self._all = True
                        self._all_done.release()
                    break
        finally:
            _within.pieces = False

    def finish(self) -> None:
        """Helps with the items, and waits for those that others are at: they write to the caller's
        arrays, also after a Ctrl-C. That may come when the lock is taken already."""
        while not self._all:
            try:
                self.run()
                self._all_done.acquire()
            except BaseException as error:  # a signal's handler may raise what it likes
                self._going, self._error = False, self._error or error
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback holds this frame: no cycle

    def close(self) -> None:
        """A worker that comes too late finds nothing, and keeps none of the arrays alive."""
        self._going = False
        self._work, self._items = None, ()


class _Pool:
    """The worker threads, started when first needed, and what they are wanted for."""

    def __init__(self) -> None:
        self._wanted: SimpleQueue[tuple[contextvars.Context, _Job]]  # from the first worker on
        self._started = 0
        self._starting = threading.Lock()

    def help(self, job: _Job, helpers: int) -> None:
        if self._started < helpers:
            self._start(helpers)
        for _ in range(min(helpers, self._started)):
            self._wanted.put((contextvars.copy_context(), job))

    def _start(self, count: int) -> None:
        """As many workers, or fewer: the system may give no more, least of all to a program that is
        about to end. The caller does what nobody helps with."""
        with loading:  # with the first worker: it takes `import` a millisecond
            from queue import SimpleQueue
        with self._starting:
            if self._started == 0:
                self._wanted = SimpleQueue()
            while self._started < count:
                name = f"minicnn-{self._started}"
                try:
                    threading.Thread(target=self._serve, name=name, daemon=True).start()
                except RuntimeError:
                    return
                self._started += 1

    def _serve(self) -> None:
        one_blas_thread.limit_worker()
        while True:
            context, job = self._wanted.get()
            context.run(job.run)
            del context, job


_pool = _Pool()


# ---------------------------------------------------------------- BLAS

Switch = tuple[Callable[[], int], Callable[[int], object]]  # reads and sets a number of threads
Before = list[tuple[Callable[[int], object], int]]  # what sets one, and what it was


class _Blas:
    """The BLAS libraries of this process. In a `with` block each keeps to the calling thread.

    Most have one number for the whole process: it is set by the first block of all threads, and set
    back after the last. Those on top of OpenMP have a number for each thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0  # how many blocks there are at the moment, in all threads
        self._before: Before = []  # what to call after the last
        self._shared: list[Switch] | None = None
        self._own: list[Switch] = []
        self._here = threading.local()

    def __enter__(self) -> None:
        counted = False
        own: Before = []
        try:
            with self._lock:
                if self._shared is None:
                    self._shared, self._own = _switches()
                self._users += 1
                counted = True
                if self._users == 1:
                    _limit(self._shared, self._before)
            if self._own:
                _limit(self._own, own)
                self._here.__dict__.setdefault("before", []).append(own)
        except BaseException:  # a Ctrl-C: what is not entered nobody leaves
            _restore(own)
            if counted:
                self._leave()
            raise

    def __exit__(self, *_: object) -> None:
        own = self._here.before.pop() if self._own else []
        try:
            _restore(own)
        finally:
            _restore(own)  # what a Ctrl-C left
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                _restore(self._before)

    def limit_worker(self) -> None:
        """For a thread that does nothing but serve primitives: its own numbers stay at one."""
        _limit(self._own, [])

    def after_fork(self) -> None:
        """In a forked child: the threads that were within a block are not there."""
        self._lock = threading.Lock()
        if self._users:
            _restore(self._before)
        self._users = 0


def _limit(switches: list[Switch], before: Before) -> None:
    """Sets all to one thread. Adds what is changed to `before`, with its number."""
    for read, change in switches:
        if (number := read()) != 1:
            before.append((change, number))
            change(1)


def _restore(before: Before) -> None:
    """Sets back what `before` says, and empties it; a Ctrl-C leaves what is still to be done."""
    while before:
        change, number = before[-1]
        change(number)
        before.pop()


def _switches() -> tuple[list[Switch], list[Switch]]:
    """Those of libraries that have one number, and of those that have one for each thread."""
    with loading:
        from threadpoolctl import ThreadpoolController
    shared: list[Switch] = []
    own: list[Switch] = []
    for library in ThreadpoolController().lib_controllers:
        if library.user_api != "blas":
            continue
        switch = library.get_num_threads, library.set_num_threads
        if getattr(library, "threading_layer", "") == "openmp":
            own.append(switch)
        else:
            shared.append(_openblas(library.dynlib) or switch)
    return shared, own


def _openblas(library: Any) -> Switch | None:
    """OpenBLAS's own two functions; None if this is another library.

    threadpoolctl's, since 3.7, do nothing if called by another thread than the first that did.
    """
    for prefix, suffix in itertools.product(("", "scipy_"), ("", "64_", "_64")):
        names = [f"{prefix}openblas_{verb}_num_threads{suffix}" for verb in ("get", "set")]
        if all(hasattr(library, name) for name in names):
            read, change = [getattr(library, name) for name in names]
            return read, change
    return None


one_blas_thread = _Blas()


def _after_fork() -> None:
    global _pool
    _pool = _Pool()
    _within.pieces = False
    one_blas_thread.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=loading.acquire, after_in_parent=loading.release, after_in_child=loading.release
    )
    os.register_at_fork(after_in_child=_after_fork)

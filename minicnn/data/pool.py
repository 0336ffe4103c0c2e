"""The worker processes of a DataLoader as the program sees them: started, spoken to, found dead,
ended. workers.py is the other end, and draws what is said.

A pool owns its processes. When it goes (closed, dropped, interpreter exit), its workers go: their
pipes are closed, which an idle worker follows at once; who is not gone after a short while gets
SIGTERM, then SIGKILL. A child that the program forks by itself has no part in them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.process
import os
import pickle
import signal
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Iterator, Sequence
from multiprocessing import connection as pipes
from typing import Any

from . import transport, workers
from .fetch import Job
from .interrupt import held_back, sent_again
from .workers import ERROR, FATAL, Epoch, Order, Parcel, Reply

_POLL = 1.0  # seconds between looks at the workers' health; on Windows also at Ctrl-C
_GRACE = 0.5  # seconds for a worker to end, before SIGTERM and again before SIGKILL

# A worker must not hold the program's end of another one's pipe: that one would then not notice if
# the program is killed. What is forked closes them; and one pipe with its worker is made at a time.
_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_starting = threading.Lock()


class TimedOut(RuntimeError):
    """No batch came in time; it may still come."""


class _Worker:
    """One process, and the pipe to it."""

    def __init__(self, number: int, connection: Any, process: Any) -> None:
        self.number, self.connection, self.process = number, connection, process
        self.heard = False  # anything, yet


class Pool:
    """`count` workers for a job. Each epoch begins with `begin`; then `order` and `receive`.

    Raises TypeError if the job cannot be sent to them, RuntimeError if processes cannot be started
    from here, OSError if the system does not let them.
    """

    def __init__(self, job: Job, count: int, context: Any) -> None:
        self.count = count
        self._epoch = 0
        self._workers: list[_Worker] = []
        self._forked = context.get_start_method() == "fork"
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _end, self._workers)
        _check_may_start(context)
        _pools.add(self)
        try:
            with held_back(), _born_deaf(self._forked):
                for number in range(count):
                    self._start(number, job, context)
        except BaseException:
            self.close(0)
            raise

    def _start(self, number: int, job: Job, context: Any) -> None:
        with _starting:
            ours, theirs = context.Pipe()
            args = (number, self.count, theirs, Parcel(job), self._forked)
            name = f"minicnn-DataLoader-{number}"
            process = context.Process(target=workers.run, args=args, name=name, daemon=True)
            self._workers.append(_Worker(number, ours, process))  # known to the one to be forked
            try:
                with warnings.catch_warnings():
                    # Since 3.12 Python warns of forks beside threads, NumPy's BLAS's included.
                    # That BLAS can be forked, and no lock of the program is taken in a worker.
                    warnings.simplefilter("ignore", DeprecationWarning)
                    process.start()
            except BaseException:
                self._workers.pop()
                ours.close()
                raise
            finally:
                theirs.close()

    # -------------------------------------------------------- what is said

    def begin(self, seed: int | None) -> None:
        """A new epoch. What the last one ordered and did not take is not wanted any more."""
        self._epoch += 1
        for worker in self._workers:
            with contextlib.suppress(OSError):  # it is dead: `receive` will find out
                worker.connection.send(Epoch(self._epoch, seed))

    def order(self, number: int, batch: int, indices: Any) -> None:
        """Has worker `number` fetch a batch."""
        order = Order(self._epoch, batch, pickle.dumps(indices))
        with contextlib.suppress(OSError):
            self._workers[number].connection.send(order)

    def receive(self, numbers: Sequence[int], seconds: float) -> tuple[int, str, Any]:
        """(worker, kind, value) of the next reply from one of the workers `numbers`.

        kind BATCH has a batch, LAST nothing, ERROR the exception. Raises TimedOut after `seconds`
        (0: never), RuntimeError if any worker has died, and what a worker met that could not begin.
        After any of these but TimedOut, and after Ctrl-C, the pool is closed.
        """
        try:
            self._check_owner()
            return self._receive(numbers, time.monotonic() + seconds if seconds else None, seconds)
        except TimedOut:
            raise
        except BaseException as error:
            self.close(0.1 if isinstance(error, KeyboardInterrupt) else _GRACE)
            raise

    def _receive(
        self, numbers: Sequence[int], deadline: float | None, seconds: float
    ) -> tuple[int, str, Any]:
        heard = {self._workers[number].connection: self._workers[number] for number in numbers}
        while True:
            self._check_health()
            wait = _POLL if deadline is None else min(_POLL, max(0, deadline - time.monotonic()))
            sentinels = [worker.process.sentinel for worker in self._workers]
            for ready in pipes.wait([*heard, *sentinels], wait):
                if ready in heard and (found := self._read(heard[ready])) is not None:
                    return found
            if deadline is not None and time.monotonic() >= deadline:
                raise TimedOut(f"DataLoader timed out after {seconds} seconds")

    def _read(self, worker: _Worker) -> tuple[int, str, Any] | None:
        """A reply's content; None if it is of an epoch that was given up."""
        try:
            label, message = transport.receive(worker.connection)
        except (EOFError, ConnectionError):
            worker.process.join(_GRACE)  # it hung up, which only its end can be the reason of
            self._check_health()
            raise RuntimeError(f"{_title(worker)} has closed its pipe") from None
        worker.heard = True
        if label.kind == FATAL:
            raise transport.unpacked(message.open())
        return None if label.epoch != self._epoch else (worker.number, *_content(label, message))

    # -------------------------------------------------------- death

    def alive(self) -> bool:
        """Whether all workers are there, and this is the process that started them."""
        ours = self._owner == os.getpid() and self._end.alive
        return ours and all(worker.process.is_alive() for worker in self._workers)

    def _check_owner(self) -> None:
        if self._owner != os.getpid():
            raise RuntimeError(
                f"DataLoader: this iteration belongs to process {self._owner}, which this one was "
                "forked from; begin another one here"
            )

    def _check_health(self) -> None:
        for worker in self._workers:
            if not worker.process.is_alive():
                self._raise_last_words(worker)
                raise RuntimeError(self._death(worker)) from None

    def _raise_last_words(self, worker: _Worker) -> None:
        """A worker that could not begin has said why."""
        with contextlib.suppress(EOFError, OSError):
            while worker.connection.poll():
                label, message = transport.receive(worker.connection)
                worker.heard = True
                if label.kind == FATAL:
                    raise transport.unpacked(message.open())

    def _death(self, worker: _Worker) -> str:
        code = worker.process.exitcode
        hint = ""
        if code is None:
            end = "is gone"
        elif code < 0:
            name = _signal_name(-code)
            end, hint = f"was killed by signal {-code} ({name})", _HINTS.get(name, "")
        else:
            end, hint = f"ended by itself with exit code {code}", _EXITED
            if not self._forked and not worker.heard and code in _UNGUARDED:
                end, hint = f"ended with exit code {code} while it was starting", _UNGUARDED[code]
        return f"{_title(worker)} {end}.{hint} The other workers were ended."

    # -------------------------------------------------------- the end

    def close(self, grace: float = _GRACE) -> None:
        """Ends the workers. Whoever is still busy after `grace` seconds is killed."""
        if self._end.detach():
            _end(self._workers, grace)

    def disown(self) -> None:
        """In a forked child: drops what belongs to the program alone."""
        self._end.detach()
        children: set = getattr(multiprocessing.process, "_children", set())
        for worker in self._workers:
            worker.connection.close()
            children.discard(worker.process)  # at its exit the child would end them


def _content(label: Reply, message: transport.Message) -> tuple[str, Any]:
    try:
        value = message.open()
    except Exception as error:  # the next batch may still be readable
        return ERROR, error
    return label.kind, transport.unpacked(value) if label.kind == ERROR else value


def _end(found: list[_Worker], grace: float = _GRACE) -> None:
    with sent_again() as came:
        workers = found.copy()
        # Forgotten before they are closed: a child that another thread forks in between would take
        # the number of a closed pipe, which by then may be its own pipe's, for one to close.
        found.clear()
        processes = [worker.process for worker in workers]
        for worker in workers:
            worker.connection.close()
        _wait(processes, grace, came)
        for process in _living(processes):
            process.terminate()
        _wait(processes, _GRACE, came)
        for process in _living(processes):
            process.kill()
        _wait(processes, 2.0)
        for process in processes:
            with contextlib.suppress(ValueError):  # not even that ended it
                process.close()


def _living(processes: list) -> list:
    return [process for process in processes if process.is_alive()]


def _wait(processes: list, seconds: float, hurry: Sequence = ()) -> None:
    """Until the processes have ended, the time is up, or there is something in `hurry`."""
    deadline = time.monotonic() + seconds
    while not hurry and (living := _living(processes)) and time.monotonic() < deadline:
        left = max(0, deadline - time.monotonic())
        pipes.wait([process.sentinel for process in living], min(0.05, left))


def _after_fork() -> None:
    """In the child of any fork."""
    global _starting
    _starting = threading.Lock()
    for pool in list(_pools):
        pool.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# ---------------------------------------------------------------- starting


def context_of(given: Any) -> Any:
    """The multiprocessing context that is meant: a context, the name of one, or None.

    None: the start method that the program has set, else fork on Linux and Python's own choice
    elsewhere. Forking two workers takes 4 ms, where spawn and forkserver, which import the program
    and minicnn anew, take 350; and the dataset need not be pickled, and is not copied.

    Raises ValueError for an unknown name, TypeError for anything else.
    """
    if given is None:
        linux = "fork" if sys.platform == "linux" else None
        given = multiprocessing.get_start_method(allow_none=True) or linux
    elif not isinstance(given, (str, multiprocessing.context.BaseContext)):
        raise TypeError(
            "multiprocessing_context option should be a multiprocessing context or the name of a "
            f"start method, got {given!r}"
        )
    methods = multiprocessing.get_all_start_methods()
    if isinstance(given, str) and given not in methods:
        raise ValueError(
            f"multiprocessing_context option should be one of {methods}, got {given!r}"
        )
    return multiprocessing.get_context(given) if given is None or isinstance(given, str) else given


def _check_may_start(context: Any) -> None:
    here: Any = multiprocessing.current_process()
    if getattr(here, "_inheriting", False):
        raise RuntimeError(
            f"DataLoader: workers are started by {context.get_start_method()!r} here, which "
            "imports the main program anew in each, and it begins to load data when imported. "
            "Put what it runs under `if __name__ == '__main__':`, or use num_workers=0"
        )
    if here.daemon:
        raise RuntimeError(
            "DataLoader: a daemonic process, as a worker of a DataLoader or of a "
            "multiprocessing.Pool, cannot start workers; use num_workers=0 in it"
        )


@contextlib.contextmanager
def _born_deaf(forked: bool) -> Iterator[None]:
    """What is started here does not hear Ctrl-C, not even before it can say so itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if not forked:  # Python's helper of the other methods unblocks SIGINT when it is started
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


# ---------------------------------------------------------------- words


def _title(worker: _Worker) -> str:
    return f"DataLoader worker {worker.number} (pid {worker.process.pid})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


_CRASHED = " It crashed in compiled code: num_workers=0 under `python -X faulthandler` shows where."
_HINTS = {
    "SIGKILL": (
        " If nobody did that, the system ran out of memory: try fewer workers, a smaller "
        "prefetch_factor or smaller batches."
    ),
    "SIGBUS": " A file that it had mapped became shorter, or shared memory ran out (df /dev/shm).",
    "SIGSEGV": _CRASHED,
    "SIGABRT": _CRASHED,
    "SIGFPE": _CRASHED,
    "SIGILL": _CRASHED,
}
_EXITED = " The dataset, collate_fn or a library must have called os._exit."
_GUARD = "when imported: put what it runs under `if __name__ == '__main__':`."
_UNGUARDED = {
    0: f" It imports the main program, which must not end, as by sys.exit, {_GUARD}",
    1: " What it said stands above. It imports the main program, which must not begin to load data "
    + _GUARD,
}

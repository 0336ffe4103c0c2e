"""An epoch of a DataLoader with workers: who is asked for what, and whose batch is next.

The processes themselves are pool.py's.
"""

from __future__ import annotations

import copy
import itertools
import pickle
import weakref
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .interrupt import sent_again
from .loader import EpochIterator
from .pool import Pool, TimedOut, context_of
from .sampler import draw_seed, source
from .workers import BATCH, LAST

if TYPE_CHECKING:
    from .loader import DataLoader


class WorkersIterator(EpochIterator):
    """The batches of one epoch, fetched ahead by worker processes.

    An order goes to the workers in turn, or, in_order=False, to the one with the least to do. A
    worker whose part of an IterableDataset has ended says so when its next batch is due, not
    before: the order of the batches does not depend on who is fast.
    """

    def __init__(self, loader: DataLoader):
        super().__init__(loader)
        # Kept, though not needed: a loader that nobody else has would go here, between two lines of
        # the program, and Ctrl-C be lost in its finalizer.
        self._loader = loader
        self._timeout, self._in_order = loader.timeout, loader.in_order
        self._each: int = loader.prefetch_factor  # type: ignore[assignment]
        self._live = list(range(loader.num_workers))  # those that have more to give
        self._due: deque[int] = deque()  # the workers that have been asked, in this order
        self._last = -1  # the worker that was asked before those
        self._number = 0  # of the next order
        self._last_error: BaseException | None = None
        self._orders: Iterator | None = None
        seed = self._draw_seed(loader)
        if loader._shelf is None:
            loader._shelf = _Shelf(loader)
        self._pool = loader._shelf.take(loader)
        self._release = weakref.finalize(self, loader._shelf.put, self._pool)
        self._pool.begin(seed)
        self._send_orders()

    def _draw_seed(self, loader: DataLoader) -> int:
        """The epoch's seed, after which the sampler has begun.

        It is the number that the generator gives next. If the sampler does not take it for its
        order, it is taken here: one number an epoch in either case.
        """
        rng = source(loader.generator)
        seed, before = draw_seed(copy.deepcopy(rng)), pickle.dumps(rng.bit_generator.state)
        self._orders = _begun(iter(loader._orders()), self._each * len(self._live))
        if pickle.dumps(rng.bit_generator.state) == before:
            draw_seed(rng)
        return seed

    def _send_orders(self) -> None:
        while self._orders is not None and len(self._due) < self._each * len(self._live):
            try:
                order = next(self._orders)
                worker = self._next_worker()
                self._pool.order(worker, self._number, order)
            except StopIteration:
                self._orders = None
            except Exception as error:  # due after the batches that were ordered before it
                self._orders, self._last_error = None, error
            else:
                self._due.append(worker)
                self._number += 1

    def _next_worker(self) -> int:
        if not self._in_order:
            return min(self._live, key=self._due.count)
        last = self._due[-1] if self._due else self._last
        return min((worker for worker in self._live if worker > last), default=self._live[0])

    def _next(self) -> Any:
        try:
            return self._advance()
        except KeyboardInterrupt:  # perhaps in the middle of a message: nothing can follow
            self._give_up()
            self._pool.close(0.1)
            self._last_error = RuntimeError("DataLoader: this iteration was interrupted")
            raise

    def _advance(self) -> Any:
        while self._due:
            worker, kind, value = self._receive()
            self._due.remove(worker)
            self._last = worker
            if kind == LAST and worker in self._live:
                self._live.remove(worker)
            self._send_orders()
            if kind == BATCH:
                return value
            if kind != LAST:
                try:
                    raise value
                finally:
                    del value  # its traceback holds this frame: no cycle
        self._release()
        return _raise(self._take_error() or StopIteration())

    def _take_error(self) -> BaseException | None:
        error, self._last_error = self._last_error, None
        return error

    def _receive(self) -> tuple[int, str, Any]:
        wanted = [self._due[0]] if self._in_order else sorted(set(self._due))
        try:
            return self._pool.receive(wanted, self._timeout)
        except TimedOut:
            raise
        except BaseException:  # the pool is closed
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._due.clear()
        self._orders = None


def _begun(orders: Iterator, count: int) -> Iterator:
    """`orders`, of which the first `count` have been drawn, whatever comes of it."""
    first = []
    try:
        for order in itertools.islice(orders, count):
            first.append(order)
    except Exception as error:
        return itertools.chain(first, map(_raise, [error]))
    return itertools.chain(first, orders)


def _raise(error: BaseException) -> Any:
    try:
        raise error
    finally:
        del error  # its traceback holds this frame: no cycle


class _Shelf:
    """Where a loader keeps its workers between two epochs, if they are persistent."""

    def __init__(self, loader: DataLoader) -> None:
        self._pool: Pool | None = None
        self._open = loader.persistent_workers
        if self._open:
            weakref.finalize(loader, self.close)

    def take(self, loader: DataLoader) -> Pool:
        """Workers for one epoch: those kept, if they are free and well, or new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            if pool.alive():
                return pool
            pool.close()
        context = context_of(loader.multiprocessing_context)
        return Pool(loader._job(), loader.num_workers, context)

    def put(self, pool: Pool) -> None:
        """The epoch has ended, or nobody wants the rest of it."""
        with sent_again():
            if self._open and self._pool is None and pool.alive():
                pool.begin(None)
                self._pool = pool
            else:
                pool.close()

    def close(self) -> None:
        """The loader is gone: nothing is kept any more."""
        with sent_again():
            self._open = False
            if self._pool is not None:
                self._pool.close()

"""DataLoader: batches of a dataset, in order, one after the other or fetched ahead.

With num_workers=0 a batch is fetched when it is asked for. With num_workers > 0 one background
thread fetches up to prefetch_factor * num_workers batches ahead:

    consumer                                  thread
    draws the indices of a batch   --orders-->  fetches and collates it
    takes the batch                <--results-- (batch, or the exception it met)

The sampler runs in the consumer and the dataset in one thread, so the batches and their order are
the same whatever num_workers is. NumPy, Pillow, zlib and file reads release the interpreter's
lock, so decoding overlaps with training. The thread knows the two queues but not the iterator:
when the iterator goes (loop left early, exception, garbage collection, interpreter exit), a
finalizer stops the thread. The queues are SimpleQueues, whose put is safe inside a finalizer.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from ..backend import why_not
from .collate import default_collate, default_convert, pinned
from .dataset import Dataset, IterableDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

T_co = TypeVar("T_co", covariant=True)

_END = object()  # an IterableDataset has no more samples
_POLL = 1.0  # seconds between looks at the thread's health; on Windows also at Ctrl-C
_JOIN = 5.0  # seconds that an abandoned iteration waits for the sample being fetched


def get_worker_info() -> None:
    """None: a dataset is never split over workers here, each one sees the whole of it."""
    return None


class DataLoader(Generic[T_co]):
    """Iterates over `dataset` in batches. PyTorch's arguments, in PyTorch's order.

    Args:
        dataset: indexed (`__getitem__`, `__len__`) or an IterableDataset.
        batch_size: samples a batch; None gives single samples, not collated.
        shuffle: a new random order each epoch. Each `iter(loader)` then takes exactly one number
            from `generator` (see minicnn.data.sampler), whatever num_workers is; a loader that
            does not shuffle takes none.
        sampler, batch_sampler: an order of your own, of indices or of lists of indices.
        num_workers: 0 fetches in the caller; more lets one background thread fetch ahead.
        collate_fn: makes a batch of a list of samples (default: default_collate).
        drop_last: leave out the last batch if it is shorter.
        timeout: seconds to wait for a batch of the thread; 0 waits for ever.
        worker_init_fn: called with 0 in the background thread before its first fetch.
        generator: a minicnn.Generator; default: the global one.
        prefetch_factor: batches fetched ahead for each of num_workers (default 2).
        pin_memory: put the tensors of each batch into page-locked memory, from where
            `.to("cuda", non_blocking=True)` copies while the program goes on. Without a GPU a
            UserWarning says that it has no effect.
        multiprocessing_context, persistent_workers, pin_memory_device, in_order:
            accepted for PyTorch's sake, without effect here.

    An exception of the dataset or collate_fn reaches the loop as it was raised, with its own
    traceback, when its batch is due; `next()` then goes on with the batch after it.

    Raises ValueError for options that contradict each other or are out of range. `len(loader)` of
    an IterableDataset without `__len__` is a TypeError.
    """

    _fixed = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset")
    _initialized = False

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable | None = None,
        batch_sampler: Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        _check_order(dataset, batch_size, shuffle, sampler, batch_sampler, drop_last)
        self.dataset = dataset
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.sampler = sampler if sampler is not None else self._default_sampler(shuffle)
        if batch_sampler is None and batch_size is not None:
            batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        else:
            batch_size = None
        self.batch_size = batch_size
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn or (
            default_convert if batch_sampler is None else default_collate
        )
        self._initialized = True

    def _default_sampler(self, shuffle: bool | None) -> Iterable:
        if isinstance(self.dataset, IterableDataset):
            return _Endless()
        if shuffle:
            return RandomSampler(self.dataset, generator=self.generator)  # type: ignore[arg-type]
        return SequentialSampler(self.dataset)  # type: ignore[arg-type]

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in self._fixed:
            raise ValueError(f"{name} attribute should not be set after DataLoader is initialized")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        if not isinstance(self.dataset, IterableDataset):
            return len(self._orders())  # type: ignore[arg-type]
        n = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        kind = _PrefetchIterator if self.num_workers else _DirectIterator
        return kind(self, iter(self._orders()), self._fetcher())

    def _orders(self) -> Iterable:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _fetcher(self) -> Callable[..., Any]:
        batched = self.batch_sampler is not None
        kind = _StreamFetcher if isinstance(self.dataset, IterableDataset) else _IndexedFetcher
        fetch = kind(self.dataset, self.collate_fn, batched, self.drop_last)
        return _Pinning(fetch) if self.pin_memory and _can_pin() else fetch


class _Endless(Sampler[None]):
    """The order in which an IterableDataset is visited: there is none."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if num_workers < 0:
        raise ValueError(
            f"num_workers option should be non-negative, got {num_workers}; "
            "use num_workers=0 to fetch without a background thread"
        )
    if timeout < 0:
        raise ValueError(f"timeout option should be non-negative, got {timeout}")
    if num_workers == 0:
        given = {"timeout": timeout, "prefetch_factor": prefetch_factor is not None}
        given["persistent_workers"] = persistent_workers
        for name, value in given.items():
            if value:
                raise ValueError(f"{name} option needs num_workers > 0")
    if prefetch_factor is not None and prefetch_factor < 1:
        raise ValueError(f"prefetch_factor option should be positive, got {prefetch_factor}")


def _check_order(
    dataset: Any, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if isinstance(dataset, IterableDataset):
        given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified {name} option, "
                    f"but got {name}={value}"
                )
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None and (
        batch_size != 1 or shuffle or sampler is not None or drop_last
    ):
        raise ValueError(
            "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
            "and drop_last"
        )
    if batch_size is None and drop_last:
        raise ValueError(
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
        )


# ---------------------------------------------------------------- fetching one batch


class _Cancelled(Exception):
    """The iteration that wanted this batch is gone."""


class _Line:
    """What the consumer and the thread share: orders there, results back."""

    __slots__ = ("orders", "results", "stopped")

    def __init__(self) -> None:
        self.orders: queue.SimpleQueue = queue.SimpleQueue()
        self.results: queue.SimpleQueue = queue.SimpleQueue()
        self.stopped = False


class _IndexedFetcher:
    """The batch of given indices."""

    def __init__(self, dataset: Any, collate_fn: Callable, batched: bool, drop_last: bool):
        self.dataset, self.collate_fn, self.batched = dataset, collate_fn, batched
        direct = getattr(dataset, "_fetch_batch", None) if batched else None
        self.direct = direct if collate_fn is default_collate else None

    def __call__(self, order: Any, line: _Line | None = None) -> Any:
        try:
            if not self.batched:
                return self.collate_fn(self.dataset[order])
            batch = self.direct(order) if self.direct is not None else None
            return self.collate_fn(self._samples(order, line)) if batch is None else batch
        except StopIteration as error:  # would end the loop as if there were no more samples
            raise RuntimeError(f"DataLoader: fetching {order} raised StopIteration") from error

    def _samples(self, order: Any, line: _Line | None) -> list:
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__(order)
        samples = []
        for index in order:
            if line is not None and line.stopped:
                raise _Cancelled
            try:
                samples.append(self.dataset[index])
            except Exception as error:
                error.add_note(f"(DataLoader was fetching sample {index})")
                raise
        return samples


class _StreamFetcher:
    """The next batch of an IterableDataset, or _END."""

    def __init__(self, dataset: Any, collate_fn: Callable, batched: bool, drop_last: bool):
        self.dataset, self.collate_fn, self.batched = dataset, collate_fn, batched
        self.drop_last = drop_last
        self.samples: Iterator | None = None

    def __call__(self, order: Any, line: _Line | None = None) -> Any:
        if self.samples is None:
            self.samples = iter(self.dataset)
        if not self.batched:
            sample = next(self.samples, _END)
            return _END if sample is _END else self.collate_fn(sample)
        batch = []
        for sample in itertools.islice(self.samples, len(order)):
            if line is not None and line.stopped:
                raise _Cancelled
            batch.append(sample)
        if not batch or (self.drop_last and len(batch) < len(order)):
            return _END
        return self.collate_fn(batch)


def _can_pin() -> bool:
    """Whether there is a GPU that page-locked memory is for; warns if there is none."""
    reason = why_not("cuda")
    if reason is not None:
        warnings.warn(
            f"DataLoader: pin_memory=True has no effect, for no GPU can be used: {reason}",
            stacklevel=4,
        )
    return reason is None


class _Pinning:
    """Fetches a batch, and brings its tensors into page-locked memory."""

    def __init__(self, fetch: Callable[..., Any]) -> None:
        self.fetch = fetch

    def __call__(self, order: Any, line: _Line | None = None) -> Any:
        batch = self.fetch(order, line)
        return batch if batch is _END else pinned(batch)


# ---------------------------------------------------------------- iterating


class _Iterator:
    """One epoch: counts what it gave, and warns of a dataset longer than it said."""

    def __init__(self, loader: DataLoader, orders: Iterator, fetch: Callable):
        self._orders: Iterator | None = orders
        self._fetch = fetch
        self._given = 0
        self._length: int | None = None
        if isinstance(loader.dataset, IterableDataset) and hasattr(loader.dataset, "__len__"):
            self._length = len(loader)

    def __iter__(self) -> _Iterator:
        return self

    def __next__(self) -> Any:
        batch = self._next()
        self._given += 1
        if self._length is not None and self._given == self._length + 1:
            warnings.warn(
                f"DataLoader: len(loader) is {self._length} by the IterableDataset's __len__, "
                "but it has given more",
                stacklevel=2,
            )
        return batch

    def _next(self) -> Any:
        raise NotImplementedError


class _DirectIterator(_Iterator):
    def _next(self) -> Any:
        if self._orders is None:
            raise StopIteration
        try:
            batch = self._fetch(next(self._orders))
        except StopIteration:
            batch = _END
        if batch is _END:
            self._orders = None
            raise StopIteration
        return batch


class _PrefetchIterator(_Iterator):
    def __init__(self, loader: DataLoader, orders: Iterator, fetch: Callable):
        super().__init__(loader, orders, fetch)
        self._timeout = loader.timeout
        self._ahead = loader.num_workers * loader.prefetch_factor  # type: ignore[operator]
        self._under_way = 0
        self._last_error: BaseException | None = None
        self._line = _Line()
        self._thread = threading.Thread(
            target=_serve,
            args=(self._line, fetch, loader.worker_init_fn),
            name="minicnn-DataLoader",
            daemon=True,  # must not keep a finished program alive
        )
        self._thread.start()
        self._close = weakref.finalize(self, _stop, self._line, self._thread)
        self._send_orders()

    def _send_orders(self) -> None:
        while self._orders is not None and self._under_way < self._ahead:
            try:
                order = next(self._orders)
            except StopIteration:
                self._orders = None
            except Exception as error:  # due after the batches that were ordered before it
                self._orders, self._last_error = None, error
            else:
                self._line.orders.put((order,))
                self._under_way += 1

    def _next(self) -> Any:
        if self._under_way:
            batch, error = self._receive()
            self._under_way -= 1
        else:
            batch, error, self._last_error = _END, self._last_error, None
        if batch is _END:
            self._orders, self._under_way = None, 0
            self._close()
            error = error or StopIteration()
        self._send_orders()
        if error is None:
            return batch
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: no cycle

    def _receive(self) -> tuple[Any, BaseException | None]:
        deadline = time.monotonic() + self._timeout if self._timeout else float("inf")
        while True:
            wait = min(_POLL, max(0.0, deadline - time.monotonic()))
            try:
                return self._line.results.get(timeout=wait)
            except queue.Empty:
                if time.monotonic() >= deadline:
                    raise RuntimeError(
                        f"DataLoader timed out after {self._timeout} seconds"
                    ) from None
                if not self._thread.is_alive() and self._line.results.empty():
                    raise RuntimeError(
                        "DataLoader: the background thread is gone (did this process fork?)"
                    ) from None
            except KeyboardInterrupt:
                # The batches under way are given up; the error may be kept, the thread must go.
                self._orders, self._under_way = None, 0
                self._last_error = RuntimeError("DataLoader: this iteration was interrupted")
                self._close()
                raise


def _serve(line: _Line, fetch: Callable, init: Callable[[int], Any] | None) -> None:
    """The background thread: an order in, a result out, until the line is stopped."""
    try:
        if init is not None:
            init(0)
    except BaseException as error:
        line.results.put((_END, error))
        return
    while True:
        order = line.orders.get()
        if line.stopped:
            return
        try:
            line.results.put((fetch(order[0], line), None))
        except _Cancelled:
            return
        except BaseException as error:
            # Not kept here: its traceback will hold the consumer, which must be free to go.
            line.results.put((None, error))
        del order


def _stop(line: _Line, thread: threading.Thread) -> None:
    line.stopped = True
    line.orders.put(None)
    # The next epoch must not find the dataset still in use. Garbage collection may run this in the
    # thread itself. A sample that takes longer is left to end on its own.
    if thread is not threading.current_thread():
        thread.join(_JOIN)

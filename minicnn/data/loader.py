"""DataLoader: batches of a dataset, in order, one after the other or fetched ahead.

With num_workers=0 a batch is fetched when it is asked for. With num_workers=k, k processes fetch
prefetch_factor batches ahead each:

    loader.py, this file   what a DataLoader is, and its epochs without workers
    prefetch.py            its epochs with workers: who is asked for what, whose batch is next
    pool.py                the processes: started, spoken to, found dead, ended
    workers.py             what a worker does, and the messages between the two (with a drawing)
    transport.py           how a batch, or an exception, gets from one process to another
    fetch.py               one batch of a dataset, fetched here or there
    interrupt.py           what becomes of Ctrl-C meanwhile

The sampler runs here. Worker i has batches i, i + k, i + 2k, ... of an indexed dataset, and they
are given in order; so the batches are the same whatever num_workers is.
"""

from __future__ import annotations

import itertools
import numbers
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from ..backend import why_not
from .collate import default_collate, default_convert, pinned
from .dataset import Dataset, IterableDataset
from .fetch import END, Job
from .interrupt import held_back
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

T_co = TypeVar("T_co", covariant=True)


class DataLoader(Generic[T_co]):
    """Iterates over `dataset` in batches. PyTorch's arguments, in PyTorch's order.

    Args:
        dataset: indexed (`__getitem__`, `__len__`) or an IterableDataset.
        batch_size: samples a batch; None gives single samples, not collated.
        shuffle: a new random order each epoch. Each `iter(loader)` then takes exactly one number
            from `generator` (see minicnn.data.sampler), whatever num_workers is; a loader that
            does not shuffle takes one if it has workers, and else none.
        sampler, batch_sampler: an order of your own, of indices or of lists of indices.
        num_workers: 0 fetches in the caller, k > 0 in k processes. Those of an IterableDataset
            have a copy of it each: it asks get_worker_info() which part it should give.
        collate_fn: makes a batch of a list of samples (default: default_collate), in the worker.
        drop_last: leave out the last batch if it is shorter (the last one of each worker, for an
            IterableDataset).
        timeout: seconds to wait for a batch of a worker, then RuntimeError; 0 waits for ever.
        worker_init_fn: called with the worker's number in each worker before its first fetch.
        multiprocessing_context: "fork", "spawn", "forkserver" or a context. Default: what
            multiprocessing.set_start_method has chosen; else fork on Linux, where starting takes a
            few milliseconds and the dataset need not be pickled, and elsewhere Python's default.
        generator: a minicnn.Generator; default: the global one.
        prefetch_factor: batches fetched ahead by each worker (default 2).
        persistent_workers: keep the workers for the next epoch. They keep the dataset as it was
            when they started. An iteration beside another one has workers of its own.
        pin_memory: put the tensors of each batch into page-locked memory, from where
            `.to("cuda", non_blocking=True)` copies while the program goes on. Without a GPU a
            UserWarning says that it has no effect.
        pin_memory_device: accepted for PyTorch's sake, without effect here.
        in_order: False gives the batches of workers as they come, so that a slow one holds up
            nobody.

    Random transforms in workers: each batch has seeds of its own, for minicnn's generator,
    NumPy's global one and `random`, made of the number that this epoch took from `generator` and
    the number of the batch. So the same `manual_seed`, or a generator restored from a checkpoint,
    gives the same batches with any num_workers > 0. (With num_workers=0, transforms draw from the
    program's generators, between its own draws.) What worker_init_fn seeds is left as it seeds it.

    An exception of the dataset or collate_fn reaches the loop when its batch is due, of the type
    that it had, with the worker's traceback in its notes; `next()` then goes on with the batch
    after it. A worker that dies (killed, crashed) is a RuntimeError that names it and the cause.

    Raises ValueError for options that contradict each other or are out of range, TypeError for
    num_workers, prefetch_factor or timeout that are no numbers. `iter(loader)` raises TypeError,
    which names the culprit, if spawned workers would need something that cannot be pickled.
    `len(loader)` of an IterableDataset without `__len__` is a TypeError.
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
        given = {"timeout": timeout or None, "prefetch_factor": prefetch_factor}
        given["persistent_workers"] = persistent_workers or None
        given["multiprocessing_context"] = multiprocessing_context
        _check_workers(num_workers, given)
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
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
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
        self._shelf: Any = None  # where persistent workers are between two epochs
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
        if not self.num_workers:
            return _DirectIterator(self)
        with held_back():
            from .prefetch import WorkersIterator  # with multiprocessing and numpy.random

        return WorkersIterator(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shelf": None}  # a copy starts workers of its own

    def _orders(self) -> Iterable:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _job(self) -> Job:
        batched = self.batch_sampler is not None
        return Job(self.dataset, self.collate_fn, self.worker_init_fn, batched, self.drop_last)


class _Endless(Sampler[None]):
    """The order in which an IterableDataset is visited: there is none."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


def _check_workers(num_workers: int, given: dict[str, Any]) -> None:
    """Raises ValueError for options of workers (None: not given) that cannot be, TypeError for
    those that are no numbers."""
    _check_number("num_workers", num_workers, numbers.Integral)
    _check_number("prefetch_factor", given["prefetch_factor"], numbers.Integral)
    _check_number("timeout", given["timeout"], numbers.Real)
    if num_workers < 0:
        raise ValueError(
            f"num_workers option should be non-negative, got {num_workers}; "
            "use num_workers=0 to fetch without worker processes"
        )
    if given["timeout"] is not None and given["timeout"] < 0:
        raise ValueError(f"timeout option should be non-negative, got {given['timeout']}")
    if num_workers == 0:
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"{name} option needs num_workers > 0")
    if given["prefetch_factor"] is not None and given["prefetch_factor"] < 1:
        raise ValueError(
            f"prefetch_factor option should be positive, got {given['prefetch_factor']}"
        )
    if given["multiprocessing_context"] is not None:
        with held_back():
            from .pool import context_of

        context_of(given["multiprocessing_context"])


def _check_number(name: str, value: Any, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        what = "an integer" if kind is numbers.Integral else "a number"
        raise TypeError(f"{name} option should be {what}, got {value!r}")


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


def _can_pin() -> bool:
    """Whether there is a GPU that page-locked memory is for; warns if there is none."""
    reason = why_not("cuda")
    if reason is not None:
        warnings.warn(
            f"DataLoader: pin_memory=True has no effect, for no GPU can be used: {reason}",
            stacklevel=5,
        )
    return reason is None


# ---------------------------------------------------------------- iterating


class EpochIterator:
    """One epoch: counts what it gave, and warns of a dataset longer than it said."""

    def __init__(self, loader: DataLoader):
        self._pins = loader.pin_memory and _can_pin()
        self._given = 0
        self._length: int | None = None
        if isinstance(loader.dataset, IterableDataset) and hasattr(loader.dataset, "__len__"):
            self._length = len(loader)
            self._copies = loader.num_workers

    def __iter__(self) -> EpochIterator:
        return self

    def __next__(self) -> Any:
        batch = self._next()
        self._given += 1
        if self._length is not None and self._given == self._length + 1:
            warnings.warn(
                f"DataLoader: len(loader) is {self._length} by the IterableDataset's __len__, "
                "but it has given more" + (_COPIES if self._copies > 1 else ""),
                stacklevel=2,
            )
        return pinned(batch) if self._pins else batch

    def _next(self) -> Any:
        raise NotImplementedError


_COPIES = (
    "; each worker iterates over a copy of it, which should give only the part that belongs to "
    "get_worker_info().id"
)


class _DirectIterator(EpochIterator):
    def __init__(self, loader: DataLoader):
        super().__init__(loader)
        self._orders: Iterator | None = iter(loader._orders())
        self._fetch = loader._job().fetcher()

    def _next(self) -> Any:
        if self._orders is None:
            raise StopIteration
        try:
            batch = self._fetch(next(self._orders))
        except StopIteration:
            batch = END
        if batch is END:
            self._orders = None
            raise StopIteration
        return batch

"""Fetching one batch: of given indices, or the next one of a stream. DataLoader itself does it, or
a worker process that it started."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .collate import default_collate
from .dataset import IterableDataset

END = object()  # an IterableDataset has no more samples


class Cancelled(Exception):
    """The iteration that wanted this batch is gone."""


def never() -> bool:
    """For who fetches what is surely wanted."""
    return False


@dataclass
class Job:
    """All that it takes to fetch batches. batched: a batch of samples each, not single ones."""

    dataset: Any
    collate_fn: Callable
    worker_init_fn: Callable[[int], Any] | None
    batched: bool
    drop_last: bool

    def fetcher(self) -> Callable:
        """A new epoch's function: it takes an order (the indices of a batch, or one index), and
        returns the collated batch or END. A second argument, `cancelled()`, is asked between two
        samples, and may end the work with Cancelled.
        """
        kind = _StreamFetcher if isinstance(self.dataset, IterableDataset) else _IndexedFetcher
        return kind(self.dataset, self.collate_fn, self.batched, self.drop_last)


class _IndexedFetcher:
    """The batch of given indices."""

    def __init__(self, dataset: Any, collate_fn: Callable, batched: bool, drop_last: bool):
        self.dataset, self.collate_fn, self.batched = dataset, collate_fn, batched
        direct = getattr(dataset, "_fetch_batch", None) if batched else None
        self.direct = direct if collate_fn is default_collate else None

    def __call__(self, order: Any, cancelled: Callable[[], bool] = never) -> Any:
        try:
            if not self.batched:
                return self.collate_fn(self.dataset[order])
            batch = self.direct(order) if self.direct is not None else None
            return self.collate_fn(self._samples(order, cancelled)) if batch is None else batch
        except StopIteration as error:  # would end the loop as if there were no more samples
            raise RuntimeError(f"DataLoader: fetching {order} raised StopIteration") from error

    def _samples(self, order: Any, cancelled: Callable[[], bool]) -> list:
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__(order)
        samples = []
        for index in order:
            if cancelled():
                raise Cancelled
            try:
                samples.append(self.dataset[index])
            except Exception as error:
                error.add_note(f"(DataLoader was fetching sample {index})")
                raise
        return samples


class _StreamFetcher:
    """The next batch of an IterableDataset, or END."""

    def __init__(self, dataset: Any, collate_fn: Callable, batched: bool, drop_last: bool):
        self.dataset, self.collate_fn, self.batched = dataset, collate_fn, batched
        self.drop_last = drop_last
        self.samples: Iterator | None = None

    def __call__(self, order: Any, cancelled: Callable[[], bool] = never) -> Any:
        if self.samples is None:
            self.samples = iter(self.dataset)
        if not self.batched:
            sample = next(self.samples, END)
            return END if sample is END else self.collate_fn(sample)
        batch = []
        for sample in itertools.islice(self.samples, len(order)):
            if cancelled():
                raise Cancelled
            batch.append(sample)
        if not batch or (self.drop_last and len(batch) < len(order)):
            return END
        return self.collate_fn(batch)


# ---------------------------------------------------------------- who is fetching


@dataclass
class WorkerInfo:
    """What `get_worker_info` tells a dataset.

    id: 0 .. num_workers - 1. seed: the epoch's, plus id. dataset: this worker's own copy.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def become(info: WorkerInfo) -> None:
    """What a worker process is from now on."""
    global _info
    _info = info


def get_worker_info() -> WorkerInfo | None:
    """In a worker process of a DataLoader, who it is; elsewhere None.

    An IterableDataset must ask: each worker iterates over a copy of it, and only the dataset can
    see to it that each copy gives its own part.
    """
    return _info

"""Datasets: what can be indexed or iterated, and how they are cut, joined and split.

A dataset may offer `_fetch_batch(indices)`: the collated batch of those samples at once, exactly
what default_collate would make of them one by one, or None where it cannot. DataLoader asks for it
when it would use default_collate; TensorDataset, Subset and the image sets in minicnn.datasets
have it.
"""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ..autograd import Tensor
from ..backend import arrays as backend
from .sampler import draw_seed, stream

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Anything with `dataset[index]`; give it `__len__` too, which the samplers need."""

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} needs a __getitem__(index)")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """A dataset that is only iterated: a stream, without indices and often without a length."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} needs an __iter__()")

    def __add__(self, other: Dataset) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample i is (tensors[0][i], tensors[1][i], ...).

    Args: tensors, each (N, ...); NumPy arrays are wrapped, sharing their memory.
    Raises TypeError for other arguments, ValueError for none, 0-dimensional ones or unequal N.
    """

    def __init__(self, *tensors: Any):
        if not tensors:
            raise ValueError("TensorDataset: needs at least one tensor")
        self.tensors = tuple(self._check(k, x) for k, x in enumerate(tensors))
        if len({x.shape[0] for x in self.tensors}) > 1:
            shapes = ", ".join(str(tuple(x.shape)) for x in self.tensors)
            raise ValueError(
                f"TensorDataset: size mismatch between tensors, dimension 0 of {shapes}"
            )

    @staticmethod
    def _check(k: int, x: Any) -> Tensor:
        if isinstance(x, np.ndarray):
            x = Tensor(x)
        if not isinstance(x, Tensor):
            raise TypeError(f"TensorDataset: tensor {k} is a {type(x).__name__}, not a Tensor")
        if x.ndim == 0:
            raise ValueError(f"TensorDataset: tensor {k} is 0-dimensional and has no samples")
        return x

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(x[index] for x in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def _fetch_batch(self, indices: Sequence[int]) -> list[Tensor] | None:
        if type(self).__getitem__ is not TensorDataset.__getitem__:
            return None
        rows = index_array(indices)
        return None if rows is None else [Tensor(_taken(x.array, rows)) for x in self.tensors]


def _taken(array: Any, rows: np.ndarray) -> Any:
    """array[rows], where the array is."""
    with backend.on_device_of(array):
        return array[backend.like(array, rows)]


def index_array(indices: Sequence[int]) -> np.ndarray | None:
    """`indices` for indexing many samples at once; None if it is empty or not of integers."""
    rows = np.asarray(indices)
    return rows if rows.ndim == 1 and rows.size and rows.dtype.kind in "iu" else None


class Subset(Dataset[T_co]):
    """The samples `dataset[indices[0]], dataset[indices[1]], ...`."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]):
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)

    def _fetch_batch(self, indices: Sequence[int]) -> Any:
        # A subclass that transforms its samples must not be passed over.
        fetch = getattr(self.dataset, "_fetch_batch", None)
        if fetch is None or type(self).__getitem__ is not Subset.__getitem__:
            return None
        return fetch([self.indices[i] for i in indices])


class ConcatDataset(Dataset[T_co]):
    """The samples of several datasets, one after the other.

    Raises ValueError for no datasets, TypeError for an IterableDataset among them, IndexError for
    an index outside [-len, len).
    """

    def __init__(self, datasets: Iterable[Dataset]):
        self.datasets: list[Any] = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: datasets should not be empty")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise TypeError("ConcatDataset: does not support IterableDataset; use ChainDataset")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: Any) -> Any:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"ConcatDataset: index {index} is outside its {n} samples")
        index = index + n if index < 0 else index
        which = bisect.bisect_right(self.cumulative_sizes, index)
        start = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][index - start]


class ChainDataset(IterableDataset):
    """The samples of several IterableDatasets, one after the other."""

    def __init__(self, datasets: Iterable[Dataset]):
        self.datasets: list[Any] = list(datasets)
        for d in self.datasets:
            if not isinstance(d, IterableDataset):
                raise TypeError(f"ChainDataset: only IterableDatasets, got {type(d).__name__}")

    def __iter__(self) -> Iterator:
        return itertools.chain.from_iterable(self.datasets)

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)


def random_split(
    dataset: Dataset[T_co], lengths: Sequence[float], generator: Any = None
) -> list[Subset[T_co]]:
    """Splits `dataset` at random into Subsets that do not overlap.

    Args: lengths, integers that add up to len(dataset), or fractions that add up to 1: then each
    part gets floor(fraction * len) samples, and what is left over goes round, one a part.
    generator: a minicnn.Generator (default: the global one); one seed is drawn from it.
    Raises ValueError if the lengths do not add up, are negative or not whole. Warns of empty parts.
    """
    n = len(dataset)  # type: ignore[arg-type]
    sizes = _sizes_of_fractions(lengths, n) if _are_fractions(lengths) else list(lengths)
    if any(size != int(size) or size < 0 for size in sizes) or sum(sizes) != n:
        raise ValueError(
            f"random_split: lengths should be whole, not negative, and add up to the dataset's "
            f"{n} samples, or be fractions that add up to 1; got {list(lengths)}"
        )
    order = stream(draw_seed(generator)).permutation(n).tolist()
    ends = itertools.accumulate(int(size) for size in sizes)
    return [Subset(dataset, order[end - int(s) : end]) for end, s in zip(ends, sizes, strict=True)]


def _are_fractions(lengths: Sequence[float]) -> bool:
    return math.isclose(sum(lengths), 1) and sum(lengths) <= 1


def _sizes_of_fractions(fractions: Sequence[float], n: int) -> list[int]:
    for i, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ValueError(f"random_split: fraction {i} is {fraction}, not between 0 and 1")
    sizes = [math.floor(n * fraction) for fraction in fractions]
    for i in range(n - sum(sizes)):
        sizes[i % len(sizes)] += 1
    for i, size in enumerate(sizes):
        if size == 0:
            warnings.warn(f"random_split: part {i} of {n} samples is empty", stacklevel=3)
    return sizes

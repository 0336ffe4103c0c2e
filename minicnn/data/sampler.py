"""Samplers: in which order the samples of a dataset are visited.

Randomness: each `iter()` of a random sampler takes exactly one number from its generator, a seed
of 63 bits (`generator.numpy.integers(2**63 - 1)`), at the moment `iter()` is called, whatever the
size of the dataset; the order comes from a Philox stream of its own under that seed. So one epoch
moves the generator by one draw, and a run that restores the generator's state repeats its orders.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from ..backend.random import default_generator

T_co = TypeVar("T_co", covariant=True)


def source(generator: Any = None) -> np.random.Generator:
    """The NumPy generator of a minicnn.Generator, or itself; of the global one for None."""
    given = default_generator() if generator is None else generator
    rng = getattr(given, "numpy", given)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"generator should be a minicnn.Generator, got {type(generator).__name__}")
    return rng


def draw_seed(generator: Any = None) -> int:
    """One seed from `generator` (a minicnn.Generator or a NumPy one; default: the global one)."""
    return int(source(generator).integers(2**63 - 1))


def stream(seed: int) -> np.random.Generator:
    """The random stream that belongs to `seed`."""
    return np.random.Generator(np.random.Philox(seed))


def positive_int(value: Any, name: str) -> int:
    """`value` as an int, or ValueError if it is not a whole number above zero."""
    try:
        n = 0 if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        n = 0
    if n <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")
    return n


class Sampler(Generic[T_co]):
    """Yields the indices of a dataset in some order. Subclasses give `__iter__`, and `__len__`."""

    def __init__(self, data_source: Any = None):
        pass

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} needs an __iter__()")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ..., len(data_source) - 1."""

    def __init__(self, data_source: Sized):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """The indices of `data_source` in random order, or drawn at random with replacement.

    Args: num_samples, how many in all (default: len(data_source)); without replacement and above
    len(data_source), whole permutations follow each other. generator: see the module's head.
    Raises ValueError for num_samples < 1 (an empty data_source too), TypeError for a replacement
    that is not a bool.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Any = None,
    ):
        if not isinstance(replacement, bool):
            raise TypeError(f"RandomSampler: replacement should be a bool, got {replacement!r}")
        self.data_source = data_source
        self.replacement = replacement
        self.generator = generator
        self._num_samples = num_samples
        positive_int(self.num_samples, "num_samples")

    @property
    def num_samples(self) -> int:
        """How many indices one iteration gives; follows the data source if it grows."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        # Not a generator function: the seed must be drawn now, not at the first next().
        return self._indices(stream(draw_seed(self.generator)))

    def _indices(self, rng: np.random.Generator) -> Iterator[int]:
        n, left = len(self.data_source), self.num_samples
        if self.replacement:
            yield from rng.integers(n, size=left).tolist()
            return
        while left > 0:
            yield from rng.permutation(n)[:left].tolist()
            left -= n

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in random order."""

    def __init__(self, indices: Sequence[int], generator: Any = None):
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = stream(draw_seed(self.generator)).permutation(len(self.indices))
        return iter([self.indices[i] for i in order.tolist()])

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices 0..len(weights)-1, each drawn with probability proportional to its weight.

    Raises ValueError for weights that are not one-dimensional, negative, not finite or all zero,
    for num_samples < 1, and for more samples than nonzero weights without replacement.
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Any = None,
    ):
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got {replacement!r}")
        w = np.asarray(weights, dtype=np.float64)
        if w.ndim != 1:
            raise ValueError(f"WeightedRandomSampler: weights should be 1d, got shape {w.shape}")
        if not (np.isfinite(w).all() and (w >= 0).all() and w.sum() > 0):
            raise ValueError(
                "WeightedRandomSampler: weights should be finite, not negative and not all zero"
            )
        self.weights = w
        self.num_samples = positive_int(num_samples, "num_samples")
        self.replacement = replacement
        self.generator = generator
        if not replacement and self.num_samples > np.count_nonzero(w):
            raise ValueError(
                f"WeightedRandomSampler: {num_samples} samples without replacement need as many "
                f"nonzero weights, there are {np.count_nonzero(w)}"
            )

    def __iter__(self) -> Iterator[int]:
        rng, p = stream(draw_seed(self.generator)), self.weights / self.weights.sum()
        return iter(rng.choice(len(p), self.num_samples, self.replacement, p).tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of `batch_size` indices from `sampler`; a shorter last one is kept or dropped."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool):
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = positive_int(batch_size, "batch_size")
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        return self._batches(iter(self.sampler))  # the sampler draws its seed now

    def _batches(self, indices: Iterator[int]) -> Iterator[list[int]]:
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

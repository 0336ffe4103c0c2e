"""Samplers: what they yield, and exactly what they take from the generator."""

from collections import Counter

import numpy as np
import pytest

import minicnn
from minicnn import Generator
from minicnn.backend.random import default_generator
from minicnn.data import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)


def test_sequential():
    sampler = SequentialSampler("abcd")
    assert list(sampler) == [0, 1, 2, 3]
    assert len(sampler) == 4


def test_random_is_a_permutation_that_follows_the_seed():
    orders = [
        list(RandomSampler(range(100), generator=Generator().manual_seed(s))) for s in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(100)) != orders[0]


def test_random_differs_from_epoch_to_epoch():
    sampler = RandomSampler(range(50), generator=Generator().manual_seed(0))
    assert list(sampler) != list(sampler)


def test_order_is_pinned():
    """A change of this order changes every seeded run: it must be deliberate."""
    sampler = RandomSampler(range(10), generator=Generator().manual_seed(0))
    rng = np.random.Generator(np.random.Philox(key=0))
    seed = int(rng.integers(2**63 - 1))
    expected = np.random.Generator(np.random.Philox(seed)).permutation(10).tolist()
    assert list(sampler) == expected


@pytest.mark.parametrize("n", [1, 10, 5000])
@pytest.mark.parametrize(
    "make",
    [
        lambda n, g: RandomSampler(range(n), generator=g),
        lambda n, g: RandomSampler(range(n), replacement=True, num_samples=3 * n, generator=g),
        lambda n, g: SubsetRandomSampler(list(range(n)), g),
        lambda n, g: WeightedRandomSampler([1.0] * n, n, generator=g),
        lambda n, g: BatchSampler(RandomSampler(range(n), generator=g), 3, False),
    ],
)
def test_one_epoch_takes_one_draw_when_iter_is_called(n, make):
    generator, twin = Generator().manual_seed(7), Generator().manual_seed(7)
    iterator = iter(make(n, generator))
    twin.numpy.integers(2**63 - 1)
    assert np.array_equal(generator.get_state(), twin.get_state())
    list(iterator)
    assert np.array_equal(generator.get_state(), twin.get_state())


def test_the_global_generator_is_the_default():
    orders = []
    for seed in (3, 3, 4):
        minicnn.manual_seed(seed)
        orders.append(list(RandomSampler(range(30))))
    assert orders[0] == orders[1] != orders[2]
    state = default_generator().get_state()
    list(SequentialSampler(range(30)))
    assert np.array_equal(default_generator().get_state(), state)


def test_num_samples_above_the_length_goes_round():
    order = list(RandomSampler(range(4), num_samples=10, generator=Generator().manual_seed(0)))
    assert len(order) == 10
    assert sorted(order[:4]) == sorted(order[4:8]) == [0, 1, 2, 3]
    assert len(set(order[8:])) == 2


def test_replacement_repeats_and_stays_in_range():
    order = list(RandomSampler(range(20), True, 1000, Generator().manual_seed(0)))
    assert set(order) == set(range(20))
    assert max(Counter(order).values()) < 100


def test_subset_random():
    order = list(SubsetRandomSampler([5, 9, 7], Generator().manual_seed(0)))
    assert sorted(order) == [5, 7, 9]


def test_weighted():
    counts = Counter(
        WeightedRandomSampler([0.0, 1.0, 3.0], 8000, generator=Generator().manual_seed(0))
    )
    assert set(counts) == {1, 2}
    assert abs(counts[2] / 8000 - 0.75) < 0.03
    order = list(WeightedRandomSampler([0, 1, 3, 1], 3, False, Generator().manual_seed(0)))
    assert sorted(order) == [1, 2, 3]


@pytest.mark.parametrize("n", range(7))
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches(n, drop_last):
    batches = list(BatchSampler(range(n), 3, drop_last))
    full = [[0, 1, 2], [3, 4, 5]][: n // 3]
    rest = list(range(n // 3 * 3, n))
    assert batches == (full if drop_last or not rest else [*full, rest])
    assert len(BatchSampler(range(n), 3, drop_last)) == len(batches)


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None, "3"])
def test_batch_size_must_be_a_positive_integer(size):
    with pytest.raises(ValueError, match=f"batch_size should be a positive integer.*={size}"):
        BatchSampler(range(3), size, False)


def test_other_errors():
    with pytest.raises(ValueError, match="num_samples=0"):
        RandomSampler([])
    with pytest.raises(TypeError, match="replacement"):
        RandomSampler([1], replacement=1)
    with pytest.raises(TypeError, match=r"generator should be a minicnn.Generator, got int"):
        iter(RandomSampler([1, 2], generator=5))
    with pytest.raises(ValueError, match="drop_last"):
        BatchSampler(range(3), 1, None)
    with pytest.raises(NotImplementedError, match="__iter__"):
        iter(Sampler())
    for weights in ([[1.0]], [-1.0, 2.0], [0.0, 0.0], [float("nan")]):
        with pytest.raises(ValueError, match="weights"):
            WeightedRandomSampler(weights, 1)
    with pytest.raises(ValueError, match="3 samples without replacement"):
        WeightedRandomSampler([1.0, 0.0, 1.0], 3, replacement=False)

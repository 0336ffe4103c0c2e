"""Datasets: indexing, joining, splitting, and the errors for what cannot be."""

import numpy as np
import pytest

from minicnn import Generator, Tensor
from minicnn.data import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    random_split,
)


class Range(Dataset):
    def __init__(self, start, stop):
        self.values = list(range(start, stop))

    def __getitem__(self, index):
        return self.values[index]

    def __len__(self):
        return len(self.values)


class Stream(IterableDataset):
    def __init__(self, *values):
        self.values = values

    def __iter__(self):
        return iter(self.values)


def test_tensor_dataset_gives_tuples_of_rows():
    x, y = np.arange(12.0).reshape(4, 3), np.arange(4)
    data = TensorDataset(Tensor(x), y)
    assert len(data) == 4
    row, label = data[2]
    assert np.array_equal(row.numpy(), x[2])
    assert label.item() == 2
    assert all(np.shares_memory(t.array, a) for t, a in zip(data.tensors, (x, y), strict=True))


@pytest.mark.parametrize(
    ("tensors", "error", "text"),
    [
        ((), ValueError, "at least one tensor"),
        ((np.zeros(3), np.zeros((2, 3))), ValueError, r"size mismatch.*\(3,\), \(2, 3\)"),
        ((np.zeros(3), np.array(1.0)), ValueError, "tensor 1 is 0-dimensional"),
        (([1, 2],), TypeError, "tensor 0 is a list"),
    ],
)
def test_tensor_dataset_rejects(tensors, error, text):
    with pytest.raises(error, match=text):
        TensorDataset(*tensors)


def test_subset_and_nested_subset():
    outer = Subset(Subset(Range(100, 110), [9, 7, 5, 3]), [3, 0])
    assert list(outer) == [103, 109]
    assert len(outer) == 2
    data = TensorDataset(np.arange(10))
    assert Subset(data, [4, 8, 6])[[2, 0]][0].numpy().tolist() == [6, 4]


def test_concat_finds_the_dataset_of_each_index():
    data = Range(0, 3) + Range(10, 10) + Range(20, 22)
    assert isinstance(data, ConcatDataset)
    assert list(data) == [0, 1, 2, 20, 21]
    assert [data[i] for i in range(-5, 0)] == [0, 1, 2, 20, 21]
    for index in (5, -6):
        with pytest.raises(IndexError, match=f"index {index} is outside its 5 samples"):
            data[index]
    with pytest.raises(ValueError, match="not be empty"):
        ConcatDataset([])
    with pytest.raises(TypeError, match="IterableDataset"):
        ConcatDataset([Range(0, 1), Stream(1)])


def test_chain_of_streams():
    chain = Stream(1, 2) + Stream(3)
    assert isinstance(chain, ChainDataset)
    assert list(chain) == [1, 2, 3]
    assert list(chain) == [1, 2, 3]
    with pytest.raises(TypeError, match="Range"):
        ChainDataset([Range(0, 1)])


def test_missing_methods_are_named():
    with pytest.raises(NotImplementedError, match="__getitem__"):
        Dataset()[0]
    with pytest.raises(NotImplementedError, match="__iter__"):
        iter(IterableDataset())


def test_random_split_covers_everything_once():
    parts = random_split(Range(0, 50), [30, 15, 5], Generator().manual_seed(1))
    assert [len(part) for part in parts] == [30, 15, 5]
    assert sorted(x for part in parts for x in part) == list(range(50))
    again = random_split(Range(0, 50), [30, 15, 5], Generator().manual_seed(1))
    other = random_split(Range(0, 50), [30, 15, 5], Generator().manual_seed(2))
    assert [part.indices for part in again] == [part.indices for part in parts]
    assert [part.indices for part in other] != [part.indices for part in parts]


def test_random_split_by_fractions_deals_out_the_remainder():
    sizes = [len(part) for part in random_split(Range(0, 11), [0.3, 0.3, 0.4])]
    assert sizes == [4, 3, 4]  # floors 3, 3, 4; the eleventh sample goes to the first


@pytest.mark.parametrize("lengths", [[3, 4], [12], [-1, 11], [2.5, 7.5]])
def test_random_split_rejects_lengths(lengths):
    with pytest.raises(ValueError, match="add up to the dataset's 10 samples"):
        random_split(Range(0, 10), lengths)


def test_random_split_rejects_a_negative_fraction_and_warns_of_empty_parts():
    with pytest.raises(ValueError, match=r"fraction 0 is -0.5"):
        random_split(Range(0, 10), [-0.5, 1.5])
    with pytest.warns(UserWarning, match="part 1 of 1 samples is empty"):
        random_split(Range(0, 1), [0.5, 0.5])

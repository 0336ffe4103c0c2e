"""Noise in the shape of a data set."""

import numpy as np
import pytest

from minicnn import transforms as T
from minicnn.data import DataLoader
from minicnn.datasets import FakeData


def test_images_depend_on_their_index_alone():
    pytest.importorskip("PIL")
    data = FakeData(7, (3, 8, 6), 4)
    image, target = data[2]
    assert (len(data), image.size, image.mode) == (7, (6, 8), "RGB") and 0 <= target < 4
    assert np.array_equal(np.asarray(FakeData(9, (3, 8, 6))[2][0]), np.asarray(image))
    assert not np.array_equal(np.asarray(data[3][0]), np.asarray(image))
    shifted = FakeData(7, (3, 8, 6), 4, random_offset=1)
    assert np.array_equal(np.asarray(shifted[1][0]), np.asarray(image))
    assert FakeData(1, (1, 5, 5))[0][0].mode == "L"


def test_batches_and_errors():
    data = FakeData(7, (3, 8, 6), 4, transform=T.ToTensor(), target_transform=lambda k: k + 10)
    x, y = next(iter(DataLoader(data, 7)))
    assert x.shape == (7, 3, 8, 6) and y.numpy().min() >= 10
    for index in (-1, 7):
        with pytest.raises(IndexError, match=rf"index {index} is not in 0 \.\. 6"):
            data[index]
    with pytest.raises(ValueError, match="image_size is"):
        FakeData(image_size=(2, 4, 4))

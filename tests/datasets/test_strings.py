"""Strings of digits: what is composed, from which digits, and that the seed decides it."""

import numpy as np
import pytest

from minicnn import Tensor, datasets
from minicnn import transforms as T
from minicnn.data import DataLoader
from minicnn.datasets import DigitStrings


@pytest.fixture(scope="module")
def strings():
    return DigitStrings(count=600)


def test_targets_are_digits_and_then_none(strings):
    targets = strings.targets.numpy()
    assert strings.data.shape == (600, 40, 40, 3) and targets.shape == (600, 5)
    lengths = (targets != 10).sum(1)
    assert set(lengths.tolist()) == {1, 2, 3, 4, 5}
    assert (np.bincount(lengths)[1:] > 85).all()
    for row, length in zip(targets, lengths, strict=True):
        assert (row[:length] < 10).all() and (row[length:] == 10).all()
    assert strings.classes[10] == "none" and len(strings.classes) == 11


def test_the_pixels_show_the_digits(strings):
    """The row of five 8x8 digits that an image was composed of is found in it again."""
    digits = datasets.Digits()
    shapes = digits.data.numpy().astype(float) / 255
    for k in np.flatnonzero((strings.targets.numpy() != 10).all(1))[:10]:
        image = strings.data.numpy()[k].astype(float)
        ground = image.reshape(-1, 3)[np.abs(image - np.median(image, (0, 1))).sum(2).argmin()]
        ink = np.abs(image - ground).sum(2)
        rows = np.flatnonzero(ink.any(1))
        assert rows.max() - rows.min() < 8
        ink /= ink.max()
        best = []
        for top in range(max(0, rows.max() - 7), rows.min() + 1):
            cells = ink[top : top + 8].reshape(8, 5, 8).transpose(1, 0, 2) if top <= 32 else None
            if cells is not None:
                error = ((shapes[:, None] - cells) ** 2).sum((2, 3))
                best.append((error.min(0).sum(), digits.targets.numpy()[error.argmin(0)]))
        found = min(best, key=lambda pair: pair[0])[1]
        assert (found == strings.targets.numpy()[k]).sum() >= 4


def test_seeds():
    a, b, c = DigitStrings(count=20), DigitStrings(count=20), DigitStrings(count=20, seed=1)
    assert np.array_equal(a.data.numpy(), b.data.numpy())
    assert not np.array_equal(a.data.numpy(), c.data.numpy())
    test = DigitStrings(train=False, count=20)
    assert not np.array_equal(a.targets.numpy(), test.targets.numpy())
    with pytest.raises(ValueError, match="count expects at least 1, got 0"):
        DigitStrings(count=0)


def test_batches(strings):
    data = DigitStrings(count=8, transform=T.ToTensor(), target_transform=lambda t: t + 1)
    image, target = data[3]
    assert image.shape == (3, 40, 40) and isinstance(target, Tensor) and target.shape == (5,)
    x, y = next(iter(DataLoader(data, 8)))
    assert np.array_equal(x.numpy()[3], image.numpy()) and np.array_equal(
        y.numpy()[3], target.numpy()
    )
    data.target_transform = None
    assert np.array_equal(next(iter(DataLoader(data, 8)))[1].numpy() + 1, y.numpy())


def test_the_registry_knows_their_statistics():
    info, data = datasets.info("digit-strings"), datasets.load("digit-strings")
    assert (len(data), info.heads) == (info.train_size, 5)
    assert len(datasets.load("digit-strings", train=False)) == info.test_size
    values = np.arange(256) / 255
    for k in range(3):
        counts = np.bincount(data.data.numpy()[..., k].ravel(), minlength=256)
        mean = (counts * values).sum() / counts.sum()
        std = np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum())
        assert abs(mean - info.mean[k]) < 1e-4 and abs(std - info.std[k]) < 1e-4

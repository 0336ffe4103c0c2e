"""The data set that ships: its content, its split and its licence."""

import hashlib
from importlib import resources

import numpy as np
import pytest

import minicnn
from minicnn import transforms as T
from minicnn.data import DataLoader
from minicnn.datasets import Digits, digits


def test_sizes_types_and_classes():
    train, test = Digits(), Digits(train=False)
    for data, n in ((train, 1437), (test, 360)):
        assert len(data) == n
        assert (data.data.shape, data.data.dtype) == ((n, 8, 8), minicnn.uint8)
        assert (data.targets.shape, data.targets.dtype) == ((n,), minicnn.int64)
        assert (data.data.numpy().min(), data.data.numpy().max()) == (0, 255)
    assert train.classes == list("0123456789")
    assert train.class_to_idx["7"] == 7


def test_the_split_is_stratified():
    held = np.bincount(Digits(train=False).targets.numpy())
    kept = np.bincount(Digits().targets.numpy())
    assert (held + kept).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (np.abs(held - (held + kept) / 5) < 1).all()


def test_the_split_never_changes():
    def digest(data):
        return hashlib.sha256(
            data.data.numpy().tobytes() + data.targets.numpy().tobytes()
        ).hexdigest()

    assert digest(Digits()) == "b91746db64e14d193c09da2a2d5f4e7d6424029c7bf54484400978340d3a9f62"
    assert (
        digest(Digits(train=False))
        == "83c99461e31a25765a26614f1c1bc7016c08dfc462b1b66cee9e5f3c29308a0a"
    )


def test_the_split_has_no_sample_twice():
    _, labels = digits.unpack(digits._content())
    mask = digits.held_out(labels)
    assert (mask.sum(), (~mask).sum()) == (360, 1437)
    by_class = np.argsort(labels, kind="stable")
    assert np.flatnonzero(mask[by_class]).tolist() == list(range(0, 1797, 5))
    assert np.array_equal(Digits(train=False).targets.numpy(), labels[mask])


def test_pixels_are_scaled_from_16_to_255():
    images, labels = digits.unpack(digits._content())
    found = Digits(train=False).data.numpy()
    wanted = np.floor(images[digits.held_out(labels)] * 255.0 / 16 + 0.5)
    assert np.array_equal(found, wanted)


def test_equals_scikit_learns_copy():
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = digits.unpack(digits._content())
    source = datasets.load_digits()
    assert np.array_equal(images, source.images)
    assert np.array_equal(labels, source.target)
    assert digits.pack(source.images, source.target) == digits._content()


def test_the_file_is_small_and_credited():
    folder = resources.files("minicnn.datasets")
    assert len(folder.joinpath("digits.bin").read_bytes()) < 100_000
    notice = folder.joinpath("digits.LICENSE.txt").read_text()
    for text in (notice, digits.__doc__):
        for credit in ("Alpaydin", "Kaynak", "10.24432/C50P49", "CC BY 4.0"):
            assert credit in text


def test_a_damaged_file_is_noticed(monkeypatch):
    monkeypatch.setattr(digits, "_SHA256", "0" * 64)
    with pytest.raises(RuntimeError, match=r"digits.bin is damaged, reinstall minicnn"):
        Digits()


def test_items():
    image, target = Digits(transform=T.ToTensor())[0]
    assert (image.shape, image.dtype, target, type(target)) == ((1, 8, 8), minicnn.float32, 1, int)
    image, target = Digits(train=False, target_transform=lambda t: t + 10)[-1]
    assert (image.size, image.mode, target) == ((8, 8), "L", 18)
    with pytest.raises(IndexError):
        Digits(transform=T.ToTensor())[1437]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_at_once_equal_one_by_one(num_workers):
    steps = [T.Resize(28), T.Pad(2), T.ToTensor(), T.Normalize((0.3058,), (0.3761,))]

    class Plain(Digits):
        def __getitem__(self, index):
            return super().__getitem__(index)

    for last in ([], [T.Lambda(lambda x: x)]):  # the second is not batched
        transform, negative = T.Compose(steps + last), lambda t: -t
        for target_transform in (None, negative):
            fast = Digits(None, False, transform, target_transform)
            slow = Plain(None, False, transform, target_transform)
            loaders = (DataLoader(d, 100, num_workers=num_workers) for d in (fast, slow))
            for a, b in zip(*loaders, strict=True):
                for s, t in zip(a, b, strict=True):
                    assert s.dtype == t.dtype
                    assert np.array_equal(s.numpy(), t.numpy())


def test_a_getitem_of_the_users_is_not_passed_over():
    class Weighted(Digits):
        def __getitem__(self, index):
            return (*super().__getitem__(index), 0.5)

    batch = next(iter(DataLoader(Weighted(transform=T.ToTensor()), 4)))
    assert batch[2].numpy().tolist() == [0.5] * 4


def test_a_callable_of_the_users_gets_a_pil_image():
    seen = []
    Digits(transform=seen.append)[3]
    assert seen[0].mode == "L"
    Digits(transform=T.Compose([T.Resize(4), seen.append]))[3]
    assert seen[1].size == (4, 4)
    Digits(transform=T.Compose([T.ToTensor(), seen.append]))[3]
    assert isinstance(seen[2], minicnn.Tensor)


def test_repr():
    assert repr(Digits(transform=T.Compose([T.ToTensor()]))) == (
        "Dataset Digits\n    Number of datapoints: 1437\n    Split: Train\n    StandardTransform\n"
        "Transform: Compose(\n               ToTensor()\n           )"
    )

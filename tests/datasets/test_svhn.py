"""SVHN's MATLAB files: what is read, and what is refused before memory is taken."""

import builtins

import numpy as np
import pytest

from minicnn import datasets
from minicnn import transforms as T
from minicnn.data import DataLoader
from minicnn.datasets import SVHN, SVHNError

scipy_io = pytest.importorskip("scipy.io")

rng = np.random.default_rng(0)
X = rng.integers(0, 256, (32, 32, 3, 12), np.uint8)
Y = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 1], np.uint8)[:, None]


def put(folder, name="train_32x32.mat", compress=True, **arrays):
    folder.mkdir(parents=True, exist_ok=True)
    scipy_io.savemat(folder / name, {"X": X, "y": Y, **arrays}, do_compression=compress)
    return folder


@pytest.mark.parametrize("where", [".", "svhn", "SVHN"])
@pytest.mark.parametrize("compress", [True, False])
def test_files_are_read(tmp_path, where, compress):
    put(tmp_path / where, compress=compress)
    data = SVHN(tmp_path)
    assert data.data.shape == (12, 3, 32, 32)
    assert np.array_equal(data.data[5], X[..., 5].transpose(2, 0, 1))
    assert data.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 1]
    assert data.targets is data.labels and "Split: train" in repr(data)


def test_items_and_batches(tmp_path):
    pytest.importorskip("PIL")
    put(tmp_path, "test_32x32.mat")
    image, target = SVHN(tmp_path, "test")[9]
    assert np.array_equal(np.asarray(image), X[..., 9]) and target == 0
    data = SVHN(tmp_path, "test", T.Compose([T.RandomCrop(32, 4), T.ToTensor()]))
    x, y = next(iter(DataLoader(data, 12)))
    assert x.shape == (12, 3, 32, 32) and y.numpy().tolist() == data.labels.tolist()
    plain = SVHN(tmp_path, "test", T.ToTensor())
    x, _ = next(iter(DataLoader(plain, 12)))
    assert np.array_equal(x.numpy()[4], plain[4][0].numpy())
    assert type(datasets.load("svhn", tmp_path, False, download=False)) is SVHN


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"X": X.astype(np.float64)}, "expected X, uint8"),
        ({"X": X[:, :, :2]}, r"expected X \(32, 32, 3, N\)"),
        ({"X": X[..., 0]}, r"expected X \(32, 32, 3, N\)"),
        ({"y": Y[:5]}, r"and y \(N, 1\)"),
        ({"y": Y.ravel() + 1.0}, "expected y, uint8"),
        ({"y": np.where(Y == 4, 0, Y).astype(np.uint8)}, "label 3 is 0, expected 1 to 10"),
        ({"y": np.where(Y == 4, 11, Y).astype(np.uint8)}, "label 3 is 11"),
        ({"X": np.array([{"a": 1}], object)}, "expected X, uint8"),
    ],
)
def test_wrong_content_names_the_file(tmp_path, arrays, text):
    put(tmp_path, **arrays)
    with pytest.raises(SVHNError, match=text) as caught:
        SVHN(tmp_path)
    assert str(tmp_path / "train_32x32.mat") in str(caught.value)


def test_more_images_than_the_file_can_hold(tmp_path):
    """A header that promises many images: refused before memory is taken for them."""
    path = put(tmp_path, compress=False) / "train_32x32.mat"
    content = path.read_bytes()
    sizes = np.array([32, 32, 3, 12], "<i4").tobytes()
    assert content.count(sizes) == 1
    changed = content.replace(sizes, np.array([32, 32, 3, 500_000], "<i4").tobytes())
    changed = changed.replace(
        np.array([12, 1], "<i4").tobytes(), np.array([500_000, 1], "<i4").tobytes()
    )
    path.write_bytes(changed)
    with pytest.raises(SVHNError, match="declares 500000 images, more than it can hold"):
        SVHN(tmp_path)


def test_broken_files(tmp_path):
    path = put(tmp_path) / "train_32x32.mat"
    content = path.read_bytes()
    for k in (0, 3, 127, 140, len(content) // 2, len(content) - 4):
        path.write_bytes(content[:k])
        with pytest.raises(SVHNError, match=r"train_32x32\.mat"):
            SVHN(tmp_path)
    path.write_bytes(b"\x80\x04hello, this is no MATLAB file" * 9)
    with pytest.raises(SVHNError, match="no MATLAB file"):
        SVHN(tmp_path)


def test_missing_files_splits_and_scipy(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match=r"SVHN: dataset not found: no extra_32x32\.mat in"):
        SVHN(tmp_path, "extra")
    with pytest.raises(ValueError, match=r"split is one of .* got 'validation'"):
        SVHN(tmp_path, "validation")
    put(tmp_path)
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("scipy"):
            raise ImportError("no scipy")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "minicnn\[svhn\]"'):
        SVHN(tmp_path)


def test_download_asks_for_the_file(tmp_path, monkeypatch):
    from minicnn.datasets import download

    asked = []

    def fetch(dataset, urls, path, sha256):
        asked.append((dataset, urls, path.name, sha256))
        put(path.parent)

    monkeypatch.setattr(download, "fetch", fetch)
    for _ in range(2):
        assert len(SVHN(tmp_path, download=True)) == 12
    name, sha256 = SVHN.split_list["train"]
    assert asked == [("SVHN", [SVHN.mirrors[0] + name], name, sha256)]
    assert all(len(bytes.fromhex(digest)) == 32 for _, digest in SVHN.split_list.values())

"""SVHN's MATLAB files: what is read, and what is refused before memory is taken."""

import struct

import numpy as np
import pytest

from minicnn import datasets
from minicnn import transforms as T
from minicnn.data import DataLoader
from minicnn.datasets import SVHN, MATError, read_mat

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
        ({"X": X.astype(np.float64)}, r"X is float64 .* expected uint8 \(32, 32, 3, N\)"),
        ({"X": X.astype(np.int16)}, "X is no plain array of uint8 or double"),
        ({"X": X[:, :, :2]}, r"expected uint8 \(32, 32, 3, N\)"),
        ({"X": X[..., 0]}, r"expected uint8 \(32, 32, 3, N\)"),
        ({"X": X[..., :0], "y": Y[:0]}, r"expected uint8 \(32, 32, 3, N\)"),
        ({"y": Y[:5]}, r"y is \(5, 1\), expected \(12, 1\)"),
        ({"y": Y.T}, r"y is \(1, 12\), expected \(12, 1\)"),
        ({"y": Y + 0.5}, "label 0 is 1.5, expected 1 to 10"),
        ({"y": np.where(Y == 4, 0, Y).astype(np.uint8)}, "label 3 is 0, expected 1 to 10"),
        ({"y": np.where(Y == 4, 11, Y).astype(np.uint8)}, "label 3 is 11"),
        ({"X": np.array([{"a": 1}], object)}, "X is no plain array"),
        ({"X": {"a": X}}, "X is no plain array"),
        ({"X": X + 1j}, "X is no plain array"),
    ],
)
def test_wrong_content_names_the_file(tmp_path, arrays, text):
    put(tmp_path, **arrays)
    with pytest.raises(MATError, match=text) as caught:
        SVHN(tmp_path)
    assert str(tmp_path / "train_32x32.mat") in str(caught.value)


def test_other_arrays_are_passed_over(tmp_path):
    others = {"a": "text", "cell": np.array([1, "x", 2.5], object), "z": rng.random((3, 4))}
    for compress in (True, False):
        scipy_io.savemat(tmp_path / "x.mat", {**others, "y": Y + 0.0, "s": np.uint8([[7, 8, 9]])},
                         do_compression=compress)  # fmt: skip
        found = read_mat(tmp_path / "x.mat", ("y", "s", "z"), 1000)
        assert found["y"].dtype == np.float64 and np.array_equal(found["y"], Y)
        assert found["s"].tolist() == [[7, 8, 9]] and np.array_equal(found["z"], others["z"])
        with pytest.raises(MATError, match=r"x\.mat: it holds no array q"):
            read_mat(tmp_path / "x.mat", ("y", "q"), 1000)
        with pytest.raises(MATError, match="more than it can hold or the 95 bytes allowed"):
            read_mat(tmp_path / "x.mat", ("z",), 95)


@pytest.mark.parametrize("compress", [True, False])
def test_broken_files(tmp_path, compress):
    path = put(tmp_path, compress=compress) / "train_32x32.mat"
    content = path.read_bytes()
    for k in (0, 3, 127, 140, len(content) // 2, len(content) - 4):
        path.write_bytes(content[:k])
        with pytest.raises(MATError, match=r"train_32x32\.mat"):
            SVHN(tmp_path)
    path.write_bytes(b"\x80\x04hello, this is no MATLAB file" * 9)
    with pytest.raises(MATError, match="no MATLAB file of version 5"):
        SVHN(tmp_path)


def test_more_values_than_the_file_can_hold(tmp_path):
    """Sizes and bytes that promise much: refused before memory is taken for them."""
    path = put(tmp_path, compress=False) / "train_32x32.mat"
    content = path.read_bytes()
    for old, new in (((32, 32, 3, 12), (32, 32, 3, 6_000)), ((2, X.size), (2, X.size * 500))):
        a, b = (np.array(values, "<u4").tobytes() for values in (old, new))
        assert content.count(a) == 1
        path.write_bytes(content.replace(a, b))
        with pytest.raises(MATError, match="X declares the sizes"):
            SVHN(tmp_path)
        content = content.replace(a, b)
    with pytest.raises(MATError, match="more than it can hold"):
        SVHN(tmp_path)


def element(kind, content):
    return struct.pack("<2I", kind, len(content)) + content + bytes(-len(content) % 8)


def array(kind, sizes, name, content):
    """An array's element, of bytes, for a class of this number."""
    flags = element(6, struct.pack("<2I", kind, 0))
    return element(14, flags + element(5, sizes) + element(1, name) + element(2, content))


@pytest.mark.parametrize(
    ("kind", "sizes", "content", "text"),
    [
        (6, struct.pack("<2i", 200, 1), bytes(200), "X declares the sizes .* 1000 bytes allowed"),
        (9, struct.pack("<4i", 0, *[2**31 - 1] * 3), b"", "X declares the sizes"),
        (9, b"abc", b"", "X is no plain array"),
        (9, b"", b"", "X is no plain array"),
        (9, struct.pack("<33i", *[1] * 33), b"x", "an element of type 5 and 132 bytes"),
    ],
    ids=["doubles stored as bytes", "none of too many", "half a size", "no sizes", "33 dimensions"],
)
def test_sizes_that_cannot_be(tmp_path, kind, sizes, content, text):
    path = tmp_path / "x.mat"
    path.write_bytes(bytes(124) + b"\x00\x01IM" + array(kind, sizes, b"X", content))
    with pytest.raises(MATError, match=rf"x\.mat: {text}"):
        read_mat(path, ("X",), 1000)


def test_objects_of_matlab_are_passed_over(tmp_path):
    flags = element(6, struct.pack("<2I", 17, 0))
    strange = element(14, flags + element(1, b"s") + element(1, b"MCOS") + element(1, b"string"))
    bytes_ = array(9, struct.pack("<2i", 1, 2), b"X", b"ab")
    (tmp_path / "x.mat").write_bytes(bytes(124) + b"\x00\x01IM" + strange + bytes_)
    assert read_mat(tmp_path / "x.mat", ("X",), 1000)["X"].tolist() == [[97, 98]]


@pytest.mark.parametrize("compress", [True, False])
def test_changed_bytes_are_an_error_or_a_file(tmp_path, compress):
    """Nothing but a MATError, whatever was changed; SciPy's reader crashes on such files."""
    path = put(tmp_path, compress=compress) / "train_32x32.mat"
    content, refused = path.read_bytes(), 0
    for k in range(300):
        changed = bytearray(content)
        for place in rng.integers(124, 190 if k % 2 else len(content), rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            assert SVHN(tmp_path).data.shape == (12, 3, 32, 32)
        except MATError:
            refused += 1
    assert refused > 50


def test_missing_files_and_splits(tmp_path):
    with pytest.raises(RuntimeError, match=r"SVHN: dataset not found: no extra_32x32\.mat in"):
        SVHN(tmp_path, "extra")
    with pytest.raises(ValueError, match=r"split is one of .* got 'validation'"):
        SVHN(tmp_path, "validation")


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

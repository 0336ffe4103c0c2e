"""CIFAR-10 and CIFAR-100: where files are found, the archive, and what is refused."""

import gzip
import io
import os
import tarfile

import numpy as np
import pytest

from minicnn import datasets
from minicnn import transforms as T
from minicnn.data import DataLoader
from minicnn.datasets import CIFAR10, CIFAR100, ArchiveError, CIFARError

COUNT = 10_000


def records(labels, seed=0):
    """10,000 records with these label columns; the pixels of record i begin with i % 251."""
    columns = [np.resize(np.array(column, np.uint8), COUNT) for column in labels]
    pixels = np.random.default_rng(seed).integers(0, 256, 3072, np.uint8)
    out = np.empty((COUNT, len(columns) + 3072), np.uint8)
    out[:, len(columns) :] = pixels
    out[:, len(columns)] = np.arange(COUNT) % 251
    for k, column in enumerate(columns):
        out[:, k] = column
    return out


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    """CIFAR-10's six files, of the published sizes."""
    folder = tmp_path_factory.mktemp("ten")
    for k in range(1, 6):
        records([np.arange(10)], k).tofile(folder / f"data_batch_{k}.bin")
    records([np.arange(9, -1, -1)], 6).tofile(folder / "test_batch.bin")
    return folder


@pytest.fixture(scope="module")
def hundred(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hundred")
    both = [np.arange(100) // 5, np.arange(100)]
    np.tile(records(both), (5, 1)).tofile(folder / "train.bin")
    records(both).tofile(folder / "test.bin")
    return folder


def link(source, folder):
    """The files of `source` in `folder`, without copying them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        os.link(path, folder / path.name)
    return folder


@pytest.mark.parametrize(
    "where", ["cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "cifar10", "."]
)
def test_files_are_found(ten, tmp_path, where):
    link(ten, tmp_path / where)
    test = CIFAR10(str(tmp_path), train=False)
    assert test.data.shape == (COUNT, 32, 32, 3) and test.data.dtype == np.uint8
    assert test.targets == [9 - k % 10 for k in range(COUNT)]
    first = np.fromfile(ten / "test_batch.bin", np.uint8, 3073)
    assert np.array_equal(test.data[0], first[1:].reshape(3, 32, 32).transpose(1, 2, 0))


def test_the_five_files_stand_in_order(ten):
    train = CIFAR10(ten)
    assert len(train) == 50_000 and train.classes[:2] == ["airplane", "automobile"]
    assert train.class_to_idx["truck"] == 9
    for k in range(5):
        row = train.data[k * COUNT + 77]
        content = np.fromfile(ten / f"data_batch_{k + 1}.bin", np.uint8).reshape(COUNT, 3073)[77]
        assert np.array_equal(row.transpose(2, 0, 1).ravel(), content[1:])


def test_hundred(hundred):
    train, test = CIFAR100(hundred), CIFAR100(hundred, train=False)
    assert (len(train), len(test)) == (50_000, COUNT)
    assert test.targets[:7] == [0, 1, 2, 3, 4, 5, 6]
    assert test.coarse_targets[:7] == [0, 0, 0, 0, 0, 1, 1]
    assert len(set(CIFAR100.classes)) == 100 and sorted(CIFAR100.classes) == CIFAR100.classes
    assert len(set(CIFAR100.coarse_classes)) == 20
    assert test.data[5, 0, 0, 0] == 5


def test_items_batches_and_repr(ten):
    pytest.importorskip("PIL")
    data = CIFAR10(ten, train=False)
    image, target = data[3]
    assert (image.size, image.mode, target) == ((32, 32), "RGB", 6)
    assert np.array_equal(np.asarray(image), data.data[3])
    data = CIFAR10(ten, False, T.Compose([T.ToTensor(), T.Normalize((0.5,) * 3, (0.5,) * 3)]))
    x, y = next(iter(DataLoader(data, 4)))
    assert x.shape == (4, 3, 32, 32) and y.numpy().tolist() == [9, 8, 7, 6]
    assert np.array_equal(x.numpy()[3], data[3][0].numpy())
    assert "Split: Test" in repr(data) and "Number of datapoints: 10000" in repr(data)


def test_missing_files_say_which_and_where(ten, tmp_path):
    link(ten, tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(RuntimeError) as caught:
        CIFAR10(tmp_path)
    text = str(caught.value)
    assert "CIFAR10: dataset not found: no data_batch_3.bin in" in text
    assert str(tmp_path / "cifar-10-batches-bin") in text and "download=True" in text
    assert "pickle" in text
    assert len(CIFAR10(tmp_path, train=False)) == COUNT


@pytest.mark.parametrize("change", [-1, 1, -3073])
def test_a_file_of_another_size(ten, tmp_path, change):
    content = (ten / "test_batch.bin").read_bytes()
    (tmp_path / "test_batch.bin").write_bytes(content[:change] if change < 0 else content + b"x")
    with pytest.raises(CIFARError, match=r"test_batch.bin: \d+ bytes, expected 30730000: 10000"):
        CIFAR10(tmp_path, train=False)


def test_labels_out_of_range(tmp_path):
    bad = records([[0, 1, 10]])
    bad.tofile(tmp_path / "test_batch.bin")
    with pytest.raises(
        CIFARError, match=r"test_batch.bin: label of record 2 is 10, expected 0 to 9"
    ):
        CIFAR10(tmp_path, train=False)
    records([[20], [3]]).tofile(tmp_path / "test.bin")
    with pytest.raises(CIFARError, match=r"test.bin: label of record 0 is 20, expected 0 to 19"):
        CIFAR100(tmp_path, train=False)


# ---------------------------------------------------------------- the archive


def archive(members, compress=1, layout=tarfile.GNU_FORMAT):
    """A .tar.gz of (name, content) pairs or TarInfos."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=compress, format=layout) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = member[0]
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
                info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


class Small(CIFAR10):
    """CIFAR-10 with two records a file: what archives and downloads do does not depend on it."""

    _records = {True: 2, False: 2}  # noqa: RUF012


def small(k):
    return records([np.arange(10)], k)[:2].tobytes()


NAMES = [*CIFAR10.train_list, *CIFAR10.test_list]
CONTENTS = [(f"cifar-10-batches-bin/{name}", small(k)) for k, name in enumerate(NAMES)]


@pytest.mark.parametrize("where", ["", "cifar10"])
@pytest.mark.parametrize("dot", ["", "./"])
def test_the_archive_is_unpacked(tmp_path, where, dot):
    (tmp_path / where).mkdir(exist_ok=True)
    members = [("cifar-10-batches-bin/readme.html", b"hello"), ("../outside", b"no")]
    members += [(dot + name, content) for name, content in CONTENTS]
    (tmp_path / where / CIFAR10.filename).write_bytes(archive(members))
    data = Small(tmp_path)
    assert len(data) == 10 and data.data[2, 0, 0, 0] == 0
    made = tmp_path / where / "cifar-10-batches-bin"
    assert sorted(p.name for p in made.iterdir()) == sorted(NAMES)
    assert not (tmp_path.parent / "outside").exists() and not (tmp_path / "outside").exists()
    assert len(list(made.parent.iterdir())) == 2  # nothing temporary is left


def special(kind, name=CONTENTS[0][0], size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, "/etc/passwd", size
    return info


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (CONTENTS[1:], "does not hold cifar-10-batches-bin/data_batch_1.bin"),
        ([*CONTENTS, CONTENTS[0]], "holds cifar-10-batches-bin/data_batch_1.bin twice"),
        ([(CONTENTS[0][0], b"short"), *CONTENTS[1:]], "has 5 bytes, expected 6146"),
        ([special(tarfile.SYMTYPE), *CONTENTS[1:]], "data_batch_1.bin is no ordinary file"),
        ([special(tarfile.LNKTYPE), *CONTENTS[1:]], "is no ordinary file"),
        ([special(tarfile.DIRTYPE), *CONTENTS[1:]], "is no ordinary file"),
        ([("a bomb", bytes(1 << 25)), *CONTENTS], "more than the published one"),
    ],
    ids=["missing", "twice", "short", "symlink", "link", "folder", "bomb"],
)
def test_hostile_archives(tmp_path, members, text):
    path = tmp_path / CIFAR10.filename
    path.write_bytes(archive(members, 9))
    with pytest.raises(ArchiveError, match=text) as caught:
        Small(tmp_path)
    assert str(path) in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [CIFAR10.filename]


def test_a_long_name_does_not_take_memory(tmp_path):
    """A header that declares a name of a gigabyte: no more is read than there is, and a limit."""
    members = [special(tarfile.GNUTYPE_LONGNAME, "x", 1 << 30), *CONTENTS]
    (tmp_path / CIFAR10.filename).write_bytes(archive(members))
    with pytest.raises(ArchiveError):
        Small(tmp_path)


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_layouts_are_read(tmp_path, layout):
    """Also behind pax headers with a text of digits, on which tarfile takes hours."""
    members = [("some/" * 15 + "readme", b"hello")]
    for name, content in CONTENTS:
        info = tarfile.TarInfo(name)
        info.size, info.mtime = len(content), 1.5
        info.pax_headers = {"comment": "1" * 300_000}
        members.append((info, content))
    (tmp_path / CIFAR10.filename).write_bytes(archive(members, 1, layout))
    assert len(Small(tmp_path)) == 10


def test_headers_that_are_no_headers(tmp_path):
    path, content = tmp_path / CIFAR10.filename, gzip.decompress(archive([("x", b"x"), *CONTENTS]))

    def refused(start, field, text, checksum=True):
        header = bytearray(content[:512])
        header[start : start + len(field)] = field
        if checksum:
            header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 256)
        path.write_bytes(gzip.compress(bytes(header) + content[512:], 1))
        with pytest.raises(ArchiveError, match=text):
            Small(tmp_path)

    refused(124, b"77777777777", "ends in the middle")  # 8 GiB to be passed over
    for size in (b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-0000000001", b"0x1", b"1_0"):
        refused(124, size, "a header has .* where a number should be")
    refused(0, b"y", "a header's checksum is wrong", checksum=False)
    path.write_bytes(gzip.compress(b"a" * 600))
    with pytest.raises(ArchiveError, match="where a number should be"):
        Small(tmp_path)
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(ArchiveError, match="ends in the middle"):
        Small(tmp_path)


def test_broken_archives(tmp_path):
    path, content = tmp_path / CIFAR10.filename, archive(CONTENTS)
    rng = np.random.default_rng(0)
    for k in [0, 1, 10, len(content) // 2, len(content) - 9, len(content) - 1]:
        path.write_bytes(content[:k])
        with pytest.raises(ArchiveError):
            Small(tmp_path)
    for _ in range(60):  # a changed bit is found by gzip's checksum, if by nothing else
        changed = bytearray(content)
        changed[rng.integers(10, len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        with pytest.raises(ArchiveError):
            Small(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [CIFAR10.filename]
    path.write_bytes(content)
    assert len(Small(tmp_path)) == 10


def test_download_fetches_the_archive(tmp_path, monkeypatch):
    from minicnn.datasets import download

    content = archive(CONTENTS)
    asked = []

    def fetch(dataset, urls, path, sha256):
        asked.append((dataset, urls, sha256))
        path.write_bytes(content)

    monkeypatch.setattr(download, "fetch", fetch)
    for _ in range(2):  # the second time, everything is there
        assert len(Small(tmp_path, train=False, download=True)) == 2
    urls = [mirror + "cifar-10-binary.tar.gz" for mirror in CIFAR10.mirrors]
    assert asked == [("Small", urls, CIFAR10.sha256)]


@pytest.mark.parametrize("dataset", [CIFAR10, CIFAR100])
def test_mirrors_and_hashes(dataset):
    assert len(dataset.mirrors) >= 2
    assert all(url.startswith("https://") and url.endswith("/") for url in dataset.mirrors)
    assert len(bytes.fromhex(dataset.sha256)) == 32


def test_the_true_cifar10(data_dir):
    try:
        train, test = CIFAR10(data_dir), CIFAR10(data_dir, train=False)
    except RuntimeError:
        pytest.skip("MINICNN_DATA does not hold CIFAR-10")
    info = datasets.info("cifar10")
    assert (len(train), len(test)) == (info.train_size, info.test_size)
    assert np.bincount(train.targets).tolist() == [5000] * 10
    assert np.bincount(test.targets).tolist() == [1000] * 10
    pixels = train.data / np.float32(255)
    np.testing.assert_allclose(pixels.mean((0, 1, 2)), info.mean, atol=2e-3)
    np.testing.assert_allclose(pixels.std((0, 1, 2)), info.std, atol=2e-3)

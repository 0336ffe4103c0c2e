"""MNIST and FashionMNIST: where files are found, what is refused, and downloads from mirrors."""

import contextlib
import errno
import gzip
import hashlib
import http.server
import struct
import threading

import numpy as np
import pytest

import minicnn
from minicnn import datasets
from minicnn import transforms as T
from minicnn.data import DataLoader
from minicnn.datasets import MNIST, DownloadError, FashionMNIST, IDXError


def idx(array):
    """The bytes of an IDX file of uint8 or int16."""
    header = struct.pack(
        f">2xBB{array.ndim}I", {1: 8, 2: 11}[array.itemsize], array.ndim, *array.shape
    )
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


rng = np.random.default_rng(0)
FILES = {
    "train-images-idx3-ubyte": idx(rng.integers(0, 256, (7, 28, 28), np.uint8)),
    "train-labels-idx1-ubyte": idx(rng.integers(0, 10, 7).astype(np.uint8)),
    "t10k-images-idx3-ubyte": idx(rng.integers(0, 256, (4, 28, 28), np.uint8)),
    "t10k-labels-idx1-ubyte": idx(rng.integers(0, 10, 4).astype(np.uint8)),
}


def put(folder, zipped=True, **changes):
    """Writes the four files; changes: content by the name's beginning, None for no such file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        for start, changed in changes.items():
            content = changed if name.startswith(start.replace("_", "-")) else content
        if content is not None:
            path = folder / (name + ".gz" * zipped)
            path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("where", ["MNIST/raw", "MNIST", "mnist", "."])
def test_files_are_found(tmp_path, where, zipped):
    put(tmp_path / where, zipped)
    train, test = MNIST(tmp_path), MNIST(str(tmp_path), train=False)
    assert (len(train), len(test)) == (7, 4)
    assert train.data.numpy().tobytes() == FILES["train-images-idx3-ubyte"][16:]
    assert test.targets.numpy().tolist() == list(FILES["t10k-labels-idx1-ubyte"][8:])
    assert (train.data.dtype, train.targets.dtype) == (minicnn.uint8, minicnn.int64)


def test_each_data_set_has_its_own_folder(tmp_path):
    put(tmp_path / "MNIST" / "raw")
    with pytest.raises(RuntimeError, match="FashionMNIST: dataset not found"):
        FashionMNIST(tmp_path)
    put(tmp_path / "fashion-mnist", train_labels=idx(np.full(7, 3, np.uint8)))
    assert FashionMNIST(tmp_path).targets.numpy().tolist() == [3] * 7
    assert MNIST(tmp_path).targets.numpy().tolist() != [3] * 7


def test_missing_files_say_which_and_where(tmp_path):
    put(tmp_path, train_labels=None)
    with pytest.raises(RuntimeError) as caught:
        MNIST(tmp_path)
    text = str(caught.value)
    assert "no train-labels-idx1-ubyte.gz" in text
    assert "train-images" not in text
    assert str(tmp_path / "MNIST" / "raw") in text
    assert "download=True" in text
    assert len(MNIST(tmp_path, train=False)) == 4


def test_the_default_root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINICNN_DATA", str(put(tmp_path / "mnist").parent))
    assert datasets.default_root() == tmp_path
    assert len(MNIST()) == 7
    monkeypatch.delenv("MINICNN_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    assert datasets.default_root() == tmp_path / "cache" / "minicnn"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"train_images": idx(np.zeros((7, 28, 27), np.uint8))}, r"expected 3: \(N, 28, 28\)"),
        ({"train_images": FILES["train-labels-idx1-ubyte"]}, "holds 1 dimensions of sizes"),
        ({"train_images": idx(np.zeros((7, 28, 28), np.int16))}, "int16 values, expected uint8"),
        ({"train_images": idx(np.zeros((0, 28, 28), np.uint8))}, "holds no images"),
        ({"train_images": FILES["train-images-idx3-ubyte"][:-5]}, "truncated"),
        ({"train_labels": idx(np.zeros(8, np.uint8))}, "holds 7 images, but .* 8 labels"),
        (
            {"train_labels": idx(np.array([9] * 6 + [10], np.uint8))},
            "label 6 is 10, expected 0 to 9",
        ),
        (
            {"train_labels": idx(np.array([0, 9, 10, 99, 0, 0, 0], np.uint8))},
            "label 2 is 10, expec",
        ),
    ],
)
def test_wrong_content_names_the_file(tmp_path, changes, text):
    put(tmp_path, **changes)
    with pytest.raises(IDXError, match=text) as caught:
        MNIST(tmp_path)
    assert str(tmp_path / f"{next(iter(changes)).replace('_', '-')}") in str(caught.value)
    assert len(MNIST(tmp_path, train=False)) == 4


def test_mnist_does_not_pass_for_fashion_mnist(tmp_path):
    labels = np.array([*MNIST._first_labels[False], 5], np.uint8)
    put(tmp_path, t10k_labels=idx(labels), t10k_images=idx(np.zeros((11, 28, 28), np.uint8)))
    assert len(MNIST(tmp_path, train=False)) == 11
    with pytest.raises(IDXError, match="these are the labels of MNIST"):
        FashionMNIST(tmp_path, train=False)


def test_items_and_repr(tmp_path):
    data = MNIST(put(tmp_path), transform=T.ToTensor())
    image, target = data[2]
    assert (image.shape, type(target)) == ((1, 28, 28), int)
    assert repr(data) == (
        f"Dataset MNIST\n    Number of datapoints: 7\n    Root location: {tmp_path}\n"
        "    Split: Train\n    StandardTransform\nTransform: ToTensor()"
    )
    data.transform = None
    pytest.importorskip("PIL")
    assert np.array_equal(np.asarray(data[2][0]), data.data.numpy()[2])
    data.targets = [7] * 7  # tutorials replace them
    data.transform = T.ToTensor()
    assert data[0][1] == 7
    assert next(iter(DataLoader(data, 7)))[1].numpy().tolist() == [7] * 7


# ---------------------------------------------------------------- downloads


class Server:
    """A mirror on this machine: files by path, and what was asked for."""

    def __init__(self, files):
        self.files, self.asked = files, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                content, length = outer.files.get(self.path, (None, 0))
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


@pytest.fixture
def mirrors(monkeypatch):
    """MNIST with four mirrors: nobody listens, files missing, files damaged, files right."""
    pytest.importorskip("pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    packed = {name + ".gz": gzip.compress(content, mtime=0) for name, content in FILES.items()}
    files = {}
    for name, content in packed.items():
        files[f"/bad/{name}"] = (content[:-1] + b"!", len(content))
        files[f"/half/{name}"] = (content[: len(content) // 2], len(content))
        files[f"/good/{name}"] = (content, len(content))
    server = Server(files)

    class Local(MNIST):
        resources = [(name, hashlib.sha256(c).hexdigest()) for name, c in packed.items()]  # noqa: RUF012

    Local.__name__ = "MNIST"
    server.dataset = Local
    thread = threading.Thread(target=server.server.serve_forever, args=(0.01,))
    thread.start()
    with contextlib.closing(server.server.socket):
        yield server
        server.server.shutdown()
        thread.join()


def files_under(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_download_tries_the_mirrors_in_turn(mirrors, tmp_path):
    base = mirrors.url
    mirrors.dataset.mirrors = [
        "http://127.0.0.1:9/",
        base + "none/",
        base + "bad/",
        base + "half/",
        base + "good/",
    ]
    data = mirrors.dataset(tmp_path, download=True)
    assert len(data) == 7
    assert data.raw_folder == tmp_path / "MNIST" / "raw"
    assert files_under(tmp_path) == sorted(name + ".gz" for name in FILES)
    assert [p.split("/")[1] for p in mirrors.asked] == ["none", "bad", "half", "good"] * 4
    mirrors.asked.clear()
    assert len(mirrors.dataset(tmp_path, train=False, download=True)) == 4
    assert mirrors.asked == []


def test_download_fetches_only_what_is_missing(mirrors, tmp_path):
    mirrors.dataset.mirrors = [mirrors.url + "good/"]
    put(tmp_path, zipped=False, t10k_labels=None)
    assert len(mirrors.dataset(tmp_path, train=False, download=True)) == 4
    assert mirrors.asked == ["/good/t10k-labels-idx1-ubyte.gz"]


def test_a_failed_download_explains_itself_and_leaves_nothing(mirrors, tmp_path):
    base = mirrors.url
    mirrors.dataset.mirrors = ["http://127.0.0.1:9/", base + "none/", base + "bad/", base + "half/"]
    with pytest.raises(DownloadError) as caught:
        mirrors.dataset(tmp_path, download=True)
    text = str(caught.value)
    for wanted in (
        "MNIST: could not download train-images-idx3-ubyte.gz",
        "http://127.0.0.1:9/train-images-idx3-ubyte.gz",
        "127.0.0.1:9/train-images-idx3-ubyte.gz\n    NewConnectionError: ",  # not what wraps it
        "404",
        "which does not begin with",
        str(tmp_path / "MNIST" / "raw"),
        mirrors.dataset.resources[0][1],
        "root= (--data-dir of the command)",
        "'digits' is part of minicnn",
    ):
        assert wanted in text
    assert files_under(tmp_path) == []


def test_a_folder_that_cannot_be_made(mirrors, tmp_path):
    mirrors.dataset.mirrors = [mirrors.url + "good/"]
    (tmp_path / "MNIST").write_text("a file, not a folder")
    with pytest.raises(OSError, match="MNIST"):
        mirrors.dataset(tmp_path, download=True)


def test_a_full_disk_is_not_blamed_on_the_mirrors(mirrors, tmp_path, monkeypatch):
    import pooch

    def get(self, url, file, pooch):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", get)
    with pytest.raises(OSError, match="No space left") as caught:
        mirrors.dataset(tmp_path, download=True)
    assert not isinstance(caught.value, DownloadError)


@pytest.mark.parametrize("dataset", [MNIST, FashionMNIST])
def test_mirrors_and_hashes(dataset):
    assert len(dataset.mirrors) >= 2
    assert all(url.startswith("http") and url.endswith("/") for url in dataset.mirrors)
    assert [name for name, _ in dataset.resources] == [name + ".gz" for name in FILES]
    assert all(len(bytes.fromhex(digest)) == 32 for _, digest in dataset.resources)


# ---------------------------------------------------------------- the registry


def test_available():
    infos = datasets.available()
    names = "digits mnist fashion-mnist cifar10 cifar100 svhn digit-strings"
    assert list(infos) == names.split()
    for name, info in infos.items():
        assert info.name == name
        expected = {"cifar100": 100, "digit-strings": 11}.get(name, 10)
        assert info.num_classes == len(info.classes) == expected
        assert info.heads == (5 if name == "digit-strings" else 1)
        assert info.image_size[0] == len(info.mean) == len(info.std)
        assert info.description and info.source and info.licence
    digits = datasets.load("digits")
    assert (len(digits), len(datasets.load("digits", train=False))) == (
        infos["digits"].train_size,
        infos["digits"].test_size,
    )
    pixels = digits.data.numpy() / 255
    assert abs(pixels.mean() - infos["digits"].mean[0]) < 5e-5
    assert abs(pixels.std() - infos["digits"].std[0]) < 5e-5


def test_load(tmp_path):
    put(tmp_path / "mnist")
    data = datasets.load("mnist", tmp_path, False, T.ToTensor(), lambda t: -t, download=False)
    assert type(data) is MNIST
    assert (len(data), data.train) == (4, False)
    assert data[0][1] <= 0
    with pytest.raises(ValueError, match=r"no data set 'minst', .* did you mean 'mnist'\?"):
        datasets.load("minst")
    with pytest.raises(RuntimeError, match="dataset not found"):
        datasets.load("fashion-mnist", tmp_path, download=False)


def test_the_true_mnist(data_dir):
    train, test = MNIST(data_dir), MNIST(data_dir, train=False)
    assert (len(train), len(test)) == (60000, 10000)
    digest = hashlib.md5(test.data.numpy().tobytes()).hexdigest()
    assert digest == "240610fa99e73bfa49df8e7fc24d3206"
    for train_split, data in ((True, train), (False, test)):
        first = MNIST._first_labels[train_split]
        assert tuple(data.targets.numpy()[: len(first)].tolist()) == first
    info = datasets.available()["mnist"]
    pixels = train.data.numpy() / 255
    assert abs(pixels.mean() - info.mean[0]) < 5e-5
    assert abs(pixels.std() - info.std[0]) < 5e-5

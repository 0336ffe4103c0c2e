"""MNIST and Fashion-MNIST: 70,000 grey images of 28x28 in ten classes, in four IDX files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..autograd import Tensor
from .idx import IDXError, read_idx
from .vision import ArrayDataset, default_root


class MNIST(ArrayDataset):
    """Handwritten digits: 60,000 training and 10,000 test images (LeCun, Cortes, Burges, 1998).

    Args:
        root: a folder. The IDX files, gzipped or not, are looked for in root/MNIST/raw (as
            torchvision lays them out), root/MNIST, root/mnist and root itself, in this order.
            None stands for `default_root()`.
        train: the 60,000 images, else the 10,000.
        transform, target_transform: see ArrayDataset.
        download: fetch the files that are missing into root/MNIST/raw, checked by SHA-256.

    Attributes: data, uint8 Tensor (N, 28, 28); targets, int64 Tensor (N,); classes; train; root.

    Raises RuntimeError if files are missing, or cannot be downloaded (it says from where, why, and
    where to put them by hand); ValueError, naming the file, if one does not hold what it should.
    """

    mirrors: ClassVar[list[str]] = [
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ]
    resources: ClassVar[list[tuple[str, str]]] = [
        (
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ]
    classes: ClassVar[list[str]] = [
        "0 - zero",
        "1 - one",
        "2 - two",
        "3 - three",
        "4 - four",
        "5 - five",
        "6 - six",
        "7 - seven",
        "8 - eight",
        "9 - nine",
    ]
    _folder = "mnist"  # the registry's name, by which a folder of data sets may hold this one
    # The first labels of both files: MNIST and Fashion-MNIST name their files alike, and one must
    # not pass for the other.
    _first_labels: ClassVar[dict[bool, tuple[int, ...]]] = {
        True: (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
        False: (7, 2, 1, 0, 4, 1, 4, 9, 5, 9),
    }

    def __init__(
        self,
        root: str | os.PathLike | None = None,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ):
        super().__init__(default_root() if root is None else root, transform, target_transform)
        self.train = bool(train)
        if download:
            self.download()
        images, labels = self._load()
        self.data, self.targets = Tensor(images), Tensor(labels.astype(np.int64))

    @property
    def raw_folder(self) -> Path:
        """Where downloads go."""
        return self.root / type(self).__name__ / "raw"  # type: ignore[operator]

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"

    def download(self) -> None:
        """Fetches the files that are missing; a file already there, gzipped or not, is kept."""
        from .download import fetch

        for filename, sha256 in self.resources:
            if self._find(filename) is None:
                urls = [mirror + filename for mirror in self.mirrors]
                fetch(type(self).__name__, urls, self.raw_folder / filename, sha256)

    def _folders(self) -> list[Path]:
        name = type(self).__name__
        root: Path = self.root  # type: ignore[assignment]
        return [root / name / "raw", root / name, root / self._folder, root]

    def _find(self, filename: str) -> Path | None:
        """The file in one of the folders, unpacked or gzipped."""
        for folder in self._folders():
            for path in (folder / filename.removesuffix(".gz"), folder / filename):
                if path.is_file():
                    return path
        return None

    def _load(self) -> tuple[np.ndarray, np.ndarray]:
        which = self.resources[:2] if self.train else self.resources[2:]
        paths = [path for filename, _ in which if (path := self._find(filename))]
        if len(paths) < len(which):
            missing = [filename for filename, _ in which if self._find(filename) is None]
            raise RuntimeError(
                f"{type(self).__name__}: dataset not found: no {' and no '.join(missing)} (or "
                f"unpacked, without .gz) in {', '.join(map(str, self._folders()))}. "
                "Use download=True to download it, or put the files there."
            )
        images = read_idx(paths[0], "uint8", (None, 28, 28))
        labels = read_idx(paths[1], "uint8", (None,))
        self._check(images, labels, *paths)
        return images, labels

    def _check(self, images: np.ndarray, labels: np.ndarray, path: Path, label_path: Path) -> None:
        name, n = type(self).__name__, len(self.classes)
        if len(images) == 0:
            raise IDXError(f"{name}: {path}: holds no images")
        if len(images) != len(labels):
            raise IDXError(
                f"{name}: {path} holds {len(images)} images, but {label_path} {len(labels)} labels"
            )
        if labels.max() >= n:
            k = int(np.argmax(labels >= n))
            raise IDXError(f"{name}: {label_path}: label {k} is {labels[k]}, expected 0 to {n - 1}")
        for other in (MNIST, FashionMNIST):
            first = other._first_labels[self.train]
            foreign = other._first_labels is not self._first_labels
            if foreign and tuple(labels[: len(first)]) == first:
                raise IDXError(f"{name}: {label_path}: these are the labels of {other.__name__}")


class FashionMNIST(MNIST):
    """Articles of clothing in MNIST's format, a harder replacement for it (Xiao, Rasul, Vollgraf,
    arXiv:1708.07747). Arguments, files and errors as MNIST's, under root/FashionMNIST.
    """

    mirrors: ClassVar[list[str]] = [
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ]
    resources: ClassVar[list[tuple[str, str]]] = [
        (
            "train-images-idx3-ubyte.gz",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ]
    classes: ClassVar[list[str]] = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ]
    _folder = "fashion-mnist"
    _first_labels: ClassVar[dict[bool, tuple[int, ...]]] = {
        True: (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
        False: (9, 2, 1, 1, 6, 1, 4, 6, 5, 7),
    }

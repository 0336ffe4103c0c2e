"""CIFAR-10 and CIFAR-100: 60,000 colour images of 32x32 in 10 or 100 classes.

Source: A. Krizhevsky (2009), Learning multiple layers of features from tiny images,
https://www.cs.toronto.edu/~kriz/cifar.html. Read is the binary version that is published there:
files of records, one after the other, each

    1 byte      the class, 0..9               CIFAR-100: 2 bytes, the coarse class 0..19 of the
    3072 bytes  the pixels                               superclass, and the fine one 0..99

with all 1024 red pixels first, then green, then blue, each row by row. The "python version" is a
pickle, which runs whatever code it holds when it is opened; it is not read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .archive import unpack
from .vision import ArrayDataset, default_root

_PIXELS = 3 * 32 * 32
_TEN = "airplane automobile bird cat deer dog frog horse ship truck"
_FINE = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle
    bowl boy bridge bus butterfly camel can castle caterpillar cattle
    chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
    lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
    mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
    plain plate poppy porcupine possum rabbit raccoon ray road rocket
    rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_COARSE = """
    aquatic_mammals fish flowers food_containers fruit_and_vegetables
    household_electrical_devices household_furniture insects large_carnivores
    large_man-made_outdoor_things large_natural_outdoor_scenes
    large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people
    reptiles small_mammals trees vehicles_1 vehicles_2
"""


class CIFARError(ValueError):
    """A file that does not hold the CIFAR records that were expected."""


class CIFAR10(ArrayDataset):
    """Small photographs of ten kinds of animals and vehicles: 50,000 for training, 10,000 for test.

    Args:
        root: a folder. The files are looked for in root/cifar-10-batches-bin (as the archive
            unpacks), in that folder of root/cifar10, in root/cifar10 and in root itself; then the
            archive cifar-10-binary.tar.gz in root/cifar10 and in root, which is unpacked beside
            itself. None stands for `default_root()`.
        train: the 50,000 images, else the 10,000.
        transform, target_transform: see ArrayDataset.
        download: fetch the archive, if there is nothing, into root; checked by SHA-256.

    Attributes: data, uint8 array (N, 32, 32, 3); targets, a list of N ints; classes; class_to_idx;
    train; root.

    Raises RuntimeError if files are missing, or cannot be downloaded (it says from where, why, and
    where to put them by hand); ValueError, naming the file, if one does not hold what it should.
    """

    base_folder: ClassVar[str] = "cifar-10-batches-bin"
    filename: ClassVar[str] = "cifar-10-binary.tar.gz"
    # SHA-256 as TensorFlow Datasets lists them (url_checksums); the publisher gives MD5 alone,
    # c32a1d4ab5d03f1284b67883e8d87530 and, of CIFAR-100, 03b5dce01913d631647c71ecec9e9cb8.
    sha256: ClassVar[str] = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    mirrors: ClassVar[list[str]] = [
        "https://www.cs.toronto.edu/~kriz/",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
        "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
    ]
    train_list: ClassVar[list[str]] = [f"data_batch_{k}.bin" for k in range(1, 6)]
    test_list: ClassVar[list[str]] = ["test_batch.bin"]
    classes: ClassVar[list[str]] = _TEN.split()
    _folder = "cifar10"  # the registry's name, by which a folder of data sets may hold this one
    _records: ClassVar[dict[bool, int]] = {True: 10_000, False: 10_000}  # in each file
    # The bytes before the pixels, and how many values each may have; the last one is the class.
    _labels: ClassVar[list[int]] = [10]

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
        planes, labels = self._load()
        # A view, (N, 32, 32, 3) over planes: whoever wants (N, 3, 32, 32) again copies nothing.
        self.data: Any = planes.transpose(0, 2, 3, 1)
        self._keep(labels)

    def _keep(self, labels: np.ndarray) -> None:
        self.targets: Any = labels[:, 0].tolist()

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"

    def download(self) -> None:
        """Fetches the archive, unless the files or the archive are there."""
        from .download import fetch

        if self._missing(self._files(True) | self._files(False)) and self._archive() is None:
            urls = [mirror + self.filename for mirror in self.mirrors]
            root: Path = self.root  # type: ignore[assignment]
            fetch(type(self).__name__, urls, root / self.filename, self.sha256)

    def _files(self, train: bool) -> dict[str, int]:
        """The files of a part, and the size that each has."""
        record = len(self._labels) + _PIXELS
        names = self.train_list if train else self.test_list
        return dict.fromkeys(names, self._records[train] * record)

    def _folders(self) -> list[Path]:
        root: Path = self.root  # type: ignore[assignment]
        inner = root / self._folder
        return [root / self.base_folder, inner / self.base_folder, inner, root]

    def _missing(self, files: dict[str, int]) -> list[str]:
        """Those of `files` that are missing in every folder."""
        return [name for name in files if not any((f / name).is_file() for f in self._folders())]

    def _archive(self) -> Path | None:
        root: Path = self.root  # type: ignore[assignment]
        paths = (root / self._folder / self.filename, root / self.filename)
        return next((path for path in paths if path.is_file()), None)

    def _load(self) -> tuple[np.ndarray, np.ndarray]:
        """The images, uint8 (N, 3, 32, 32), and the labels, int64 (N, number of labels)."""
        files = self._files(self.train)
        archive = self._archive()
        if self._missing(files) and archive is not None:
            both = self._files(True) | self._files(False)
            members = {f"{self.base_folder}/{name}": size for name, size in both.items()}
            unpack(archive, members, archive.parent / self.base_folder)
        if missing := self._missing(files):
            raise RuntimeError(
                f"{type(self).__name__}: dataset not found: no {' and no '.join(missing)} in "
                f"{', '.join(map(str, self._folders()))}, nor {self.filename}. Use download=True "
                "to download it, or put the binary version there (the python version is a pickle, "
                "which could run code, and is not read)."
            )
        count, extra = self._records[self.train], len(self._labels)
        planes = np.empty((len(files) * count, 3, 32, 32), np.uint8)
        labels = np.empty((len(planes), extra), np.int64)
        for k, (name, size) in enumerate(files.items()):
            path = next(f / name for f in self._folders() if (f / name).is_file())
            records = self._read(path, size).reshape(count, extra + _PIXELS)
            rows = slice(k * count, (k + 1) * count)
            planes[rows] = records[:, extra:].reshape(count, 3, 32, 32)
            labels[rows] = records[:, :extra]
        return planes, labels[:, ::-1]

    def _read(self, path: Path, size: int) -> np.ndarray:
        """The bytes of a file whose size and labels are right."""
        name, record = type(self).__name__, len(self._labels) + _PIXELS
        found = path.stat().st_size
        content = np.fromfile(path, np.uint8, size) if found == size else np.empty(0, np.uint8)
        if len(content) != size:
            raise CIFARError(
                f"{name}: {path}: {found} bytes, expected {size}: {size // record} records of "
                f"{record}"
            )
        for k, most in enumerate(self._labels):
            labels = content[k::record]
            if labels.max() >= most:
                bad = int(np.argmax(labels >= most))
                raise CIFARError(
                    f"{name}: {path}: label of record {bad} is {labels[bad]}, expected 0 to "
                    f"{most - 1}"
                )
        return content


class CIFAR100(CIFAR10):
    """As CIFAR10, with 100 classes of 600 images each, in 20 superclasses of five classes.

    Its files are train.bin and test.bin, in root/cifar-100-binary, root/cifar100 or root, or in
    cifar-100-binary.tar.gz. `targets` are the fine classes, as torchvision's; `coarse_targets` and
    `coarse_classes` are the superclasses.
    """

    base_folder: ClassVar[str] = "cifar-100-binary"
    filename: ClassVar[str] = "cifar-100-binary.tar.gz"
    sha256: ClassVar[str] = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
    mirrors: ClassVar[list[str]] = [
        "https://www.cs.toronto.edu/~kriz/",
        "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
    ]
    train_list: ClassVar[list[str]] = ["train.bin"]
    test_list: ClassVar[list[str]] = ["test.bin"]
    classes: ClassVar[list[str]] = _FINE.split()
    coarse_classes: ClassVar[list[str]] = _COARSE.split()
    _folder = "cifar100"
    _records: ClassVar[dict[bool, int]] = {True: 50_000, False: 10_000}
    _labels: ClassVar[list[int]] = [20, 100]

    def _keep(self, labels: np.ndarray) -> None:
        super()._keep(labels)
        self.coarse_targets: list[int] = labels[:, 1].tolist()

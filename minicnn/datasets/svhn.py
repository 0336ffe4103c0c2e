"""SVHN: photographs of house numbers, cut out digit by digit to 32x32 colour pixels.

Source: Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng (2011), Reading digits in
natural images with unsupervised feature learning, http://ufldl.stanford.edu/housenumbers/ (for
non-commercial use). Read is "format 2", MATLAB files with an array X, uint8 (32, 32, 3, N), and an
array y, uint8 (N, 1), of labels 1..9 and 10 for the digit 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .mat import MATError, read_mat
from .vision import ArrayDataset, default_root

_MOST = 600_000  # images; the largest file, extra, holds 531,131


class SVHN(ArrayDataset):
    """House numbers' digits: 73,257 for training, 26,032 for test, 531,131 easier ones besides.

    Args:
        root: a folder. The file, such as train_32x32.mat, is looked for in root, root/svhn and
            root/SVHN. None stands for `default_root()`.
        split: "train", "test" or "extra".
        transform, target_transform: see ArrayDataset.
        download: fetch the file, if it is missing, into root; checked by SHA-256.

    Attributes: data, uint8 array (N, 3, 32, 32), as torchvision has it; labels, int64 array (N,) of
    0..9; classes; split; root.

    Raises ValueError for another split, or, naming the file, if it does not hold what it should;
    RuntimeError if it is missing, or cannot be downloaded.
    """

    classes: ClassVar[list[str]] = [str(digit) for digit in range(10)]
    mirrors: ClassVar[list[str]] = ["http://ufldl.stanford.edu/housenumbers/"]
    # SHA-256 as TensorFlow Datasets lists them (url_checksums); torchvision lists the MD5s.
    split_list: ClassVar[dict[str, tuple[str, str]]] = {
        "train": (
            "train_32x32.mat",
            "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        ),
        "test": (
            "test_32x32.mat",
            "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        ),
        "extra": (
            "extra_32x32.mat",
            "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
        ),
    }

    def __init__(
        self,
        root: str | os.PathLike | None = None,
        split: str = "train",
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ):
        super().__init__(default_root() if root is None else root, transform, target_transform)
        if split not in self.split_list:
            raise ValueError(f"SVHN: split is one of {list(self.split_list)}, got {split!r}")
        self.split = split
        if download:
            self.download()
        images, labels = _read(self._find())
        # From (32, 32, 3, N), where the pixels of an image lie far apart.
        self.data: Any = np.ascontiguousarray(images.transpose(3, 2, 0, 1))
        self.labels = labels % 10  # 10 stands for the digit 0

    @property
    def targets(self) -> Any:
        """The labels."""
        return self.labels

    def extra_repr(self) -> str:
        return f"Split: {self.split}"

    def download(self) -> None:
        """Fetches the file of the split, unless it is there."""
        from .download import fetch

        name, sha256 = self.split_list[self.split]
        root: Path = self.root  # type: ignore[assignment]
        if self._found() is None:
            fetch("SVHN", [mirror + name for mirror in self.mirrors], root / name, sha256)

    def _folders(self) -> list[Path]:
        root: Path = self.root  # type: ignore[assignment]
        return [root, root / "svhn", root / "SVHN"]

    def _found(self) -> Path | None:
        name = self.split_list[self.split][0]
        return next((f / name for f in self._folders() if (f / name).is_file()), None)

    def _find(self) -> Path:
        path = self._found()
        if path is None:
            raise RuntimeError(
                f"SVHN: dataset not found: no {self.split_list[self.split][0]} in "
                f"{', '.join(map(str, self._folders()))}. Use download=True to download it, or put "
                "it there."
            )
        return path

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        return self._item(self.data[index].transpose(1, 2, 0), self.labels[index])

    def planes(self, rows: Any = slice(None)) -> np.ndarray:
        return self.data[rows]


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """X, uint8 (32, 32, 3, N), and y, int64 (N,) of 1..10, of the file."""
    arrays = read_mat(path, ("X", "y"), _MOST * 3072)
    x, y = arrays["X"], arrays["y"]
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (32, 32, 3) or not x.size:
        raise MATError(f"{path}: X is {x.dtype} {x.shape}, expected uint8 (32, 32, 3, N)")
    if y.shape != (x.shape[3], 1):
        raise MATError(f"{path}: y is {y.shape}, expected ({x.shape[3]}, 1)")
    bad = ~np.isin(y[:, 0], np.arange(1, 11))
    if bad.any():
        k = int(np.argmax(bad))
        raise MATError(f"{path}: label {k} is {y[k, 0]}, expected 1 to 10")
    return x, y[:, 0].astype(np.int64)

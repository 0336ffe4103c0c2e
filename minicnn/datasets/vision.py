"""What image data sets have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..autograd import Tensor
from ..data import Dataset, default_collate
from ..data.dataset import index_array


class VisionDataset(Dataset):
    """A set of (image, target) pairs with a root folder and transforms for both."""

    classes: ClassVar[list[str]] = []

    def __init__(
        self,
        root: Any = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ):
        self.root = root if root is None else Path(root).expanduser()
        self.transform = transform
        self.target_transform = target_transform

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} needs a __len__()")

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The index of each class's name."""
        return {name: index for index, name in enumerate(self.classes)}

    def extra_repr(self) -> str:
        """What else the repr says, a line or more."""
        return ""

    def __repr__(self) -> str:
        body = [f"Number of datapoints: {len(self)}"]
        if self.root is not None:
            body.append(f"Root location: {self.root}")
        body += self.extra_repr().splitlines()
        if self.transform is not None or self.target_transform is not None:
            body.append("StandardTransform")
        lines = [f"Dataset {type(self).__name__}", *("    " + line for line in body)]
        named = {"Transform: ": self.transform, "Target transform: ": self.target_transform}
        for label, transform in named.items():
            if transform is not None:
                lines.append(label + repr(transform).replace("\n", "\n" + " " * len(label)))
        return "\n".join(lines)


class ArrayDataset(VisionDataset):
    """Images in memory: `data`, uint8 (N, H, W) or (N, H, W, C), and `targets`, int64 (N,), (N, K)
    or a list of N ints; `data` and `targets` may be Tensors or arrays.

    Item i is (image, target): the image is what `transform` makes of a PIL image, or a PIL image if
    there is no transform; the target is an int (with K of them an int64 Tensor (K,)), or what
    `target_transform` makes of it. If
    `transform` consists of minicnn's own classes up to ToTensor, it is handed the array itself:
    the result is the same (transforms/resample.py names one exception, of one grey level), and
    Pillow is not needed. A DataLoader then also transforms whole batches at once.
    """

    data: Any
    targets: Any

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        targets = self.targets if isinstance(self.targets, list) else _array(self.targets)
        return self._item(_array(self.data)[index], targets[index])

    def _item(self, image: np.ndarray, target: Any) -> tuple[Any, Any]:
        """What `transform` makes of the image (H, W) or (H, W, C), and of the target."""
        several = np.ndim(target) > 0
        label = Tensor(np.array(target, np.int64)) if several else int(target)
        picture = image if _ask(self.transform, "_takes_arrays") else _to_pil(image)
        if self.transform is not None:
            picture = self.transform(picture)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return picture, label

    def __len__(self) -> int:
        return len(self.data)

    def _fetch_batch(self, indices: Sequence[int]) -> list | None:
        transform, rows = _ask(self.transform, "_batched"), index_array(indices)
        plain = type(self).__getitem__.__module__.startswith(__package__)
        if transform is None or rows is None or not plain:
            return None
        targets = self._targets(rows)
        batch = Tensor(np.ascontiguousarray(transform(self.planes(rows))))
        if self.target_transform is None:
            return [batch, Tensor(targets)]
        labels = [Tensor(t) if t.ndim else int(t) for t in targets]
        return [batch, default_collate([self.target_transform(t) for t in labels])]

    def planes(self, rows: Any = slice(None)) -> np.ndarray:
        """The images of these rows, all by default, uint8 (n, C, H, W); a view if possible."""
        images = _array(self.data)[rows]
        return images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1)

    def _targets(self, rows: np.ndarray) -> np.ndarray:
        if isinstance(self.targets, list):  # as torchvision's CIFAR-10 has them
            return np.array([self.targets[row] for row in rows], np.int64)
        return _array(self.targets)[rows].astype(np.int64)


def _ask(transform: Any, question: str) -> Any:
    """The transform's answer, if it is one of minicnn.transforms; else None."""
    method = getattr(transform, question, None)
    return None if method is None else method()


def _to_pil(image: np.ndarray) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "a PIL image is needed where the transform is not one of minicnn.transforms up to "
            "ToTensor: `pip install pillow`"
        ) from error
    return Image.fromarray(np.ascontiguousarray(image))


def _array(x: Any) -> np.ndarray:
    return x.array if isinstance(x, Tensor) else np.asarray(x)


def default_root() -> Path:
    """Where data sets are kept if no root is given.

    The environment variable MINICNN_DATA, else minicnn in the user's cache folder (LOCALAPPDATA on
    Windows, XDG_CACHE_HOME or ~/.cache elsewhere).
    """
    given = os.environ.get("MINICNN_DATA")
    if given:
        return Path(given).expanduser()
    cache = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "minicnn"

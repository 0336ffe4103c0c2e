"""Any folder of pictures as data for `minicnn train`, one folder in it for each class.

    FOLDER/train/CLASS/...   the training pictures
    FOLDER/val/CLASS/...     those to choose the best epoch by (also valid, validation)
    FOLDER/test/CLASS/...    those to test by

Without test/, val/ is what is tested by, and the pictures to choose the best epoch by come from the
training pictures, as they do for other data. Without train/, FOLDER holds the classes itself, and
every fifth picture of each class is tested by. All pictures are held in memory, cut to the square
in their middle and scaled to the side of the run's images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.folder import find_classes, is_image_file, make_dataset

if TYPE_CHECKING:
    from .data import DataConfig

USUAL_SIDE = 64  # of images, where nobody asks for another one and the network allows it
# The channels of ImageNet's pictures: those that weights which are published expect.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MOST_BYTES = 1 << 32
_TESTED = 5  # every so many pictures of a class is for testing, where there is one folder alone
_NAMES = {"train": ("train",), "test": ("test",), "validation": ("val", "valid", "validation")}


def is_folder(data: str) -> bool:
    """Whether --data names a folder of pictures; the data sets' own names come first."""
    from .. import datasets

    looks_like_one = os.sep in data or "/" in data or os.path.isdir(data)
    return data not in datasets.available() and looks_like_one


def folder_name(data: str) -> str:
    """The last part of a folder's path."""
    return os.path.basename(os.path.abspath(os.path.expanduser(data)))


def class_names(folder: str) -> tuple[str, ...]:
    """The classes, sorted. ValueError for a folder that holds no two folders of pictures."""
    place = _part(folder, "train") or Path(folder)
    try:
        names = _classes(place)
        _listed(place, {name: index for index, name in enumerate(names)})
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--data {folder}: expected train/ and val/ (or test/) with a folder of pictures for "
            f"each class, or such folders alone: {error}"
        ) from None
    if len(names) == 1:
        raise ValueError(
            f"--data {folder}: there is one class alone, {names[0]!r}; expected two or more, each "
            "in a folder of its own"
        )
    return tuple(names)


def has_part(config: DataConfig, part: str) -> bool:
    """Whether there is a folder for validation ("validation") besides the one for testing."""
    folder = str(config.directory)
    return _part(folder, part) is not None and _part(folder, "test") is not None


def pictures(config: DataConfig, part: str) -> list[tuple[str, int]]:
    """(path, class) of the pictures of "train", "validation" or "test", in a fixed order.

    FileNotFoundError if the folder or the part is missing, ValueError for a class that training
    does not have.
    """
    folder = str(config.directory)
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"there is no folder {folder}, where this run's pictures were; if they were moved, say "
            "--data-dir and where to"
        )
    indices = {name: index for index, name in enumerate(config.classes)}
    if _part(folder, "train") is None:
        return _divided(_listed(folder, indices), part == "test")
    place = _part(folder, part)
    if place is None and part == "test":
        place = _part(folder, "validation")
    if place is None:
        names = ", ".join(f"{name}/" for name in (*_NAMES["test"], *_NAMES["validation"]))
        raise FileNotFoundError(f"{folder} has no pictures to test by: none of {names}")
    if strangers := sorted(set(_classes(place)) - set(indices)):
        raise ValueError(f"{place} holds the class {strangers[0]!r}, which train/ does not")
    here = {name: index for name, index in indices.items() if (place / name).is_dir()}
    return _listed(place, here)


def read_pictures(paths: Sequence[str], config: DataConfig) -> np.ndarray:
    """The pictures as uint8 (N, C, S, S), S the run's image_size.

    ValueError, before anything is read, for more than fit into 4 GiB; or naming a broken picture.
    """
    from .picture import read_picture

    shape = (len(paths), config.channels, config.image_size, config.image_size)
    check_memory(*shape[:3])
    images = np.empty(shape, np.uint8)
    for image, path in zip(images, paths, strict=True):
        image[...] = read_picture(path, config)
    return images


def check_memory(count: int, channels: int, side: int) -> None:
    """ValueError for more images of side x side, a byte for each value, than fit into 4 GiB."""
    size = count * channels * side * side
    if size > _MOST_BYTES:
        raise ValueError(
            f"{count} images of {side} x {side} take {size / 2**30:.1f} GiB of memory, more than "
            f"the {_MOST_BYTES / 2**30:.0f} allowed: use a smaller --image-size, or --limit"
        )


def _classes(place: str | Path) -> list[str]:
    """The folders in `place`, sorted, without hidden ones such as .ipynb_checkpoints."""
    return [name for name in find_classes(place)[0] if not name.startswith(".")]


def _listed(place: str | Path, classes: dict[str, int]) -> list[tuple[str, int]]:
    """(path, class) of the pictures below `place`, without hidden ones: macOS leaves ._cat.jpg."""

    def counts(path: str) -> bool:
        return is_image_file(path) and not os.path.basename(path).startswith(".")

    return make_dataset(place, classes, is_valid_file=counts)


def _part(folder: str, part: str) -> Path | None:
    places = (Path(folder, name) for name in _NAMES[part])
    return next((place for place in places if place.is_dir()), None)


def _divided(samples: list[tuple[str, int]], test: bool) -> list[tuple[str, int]]:
    """The samples for testing, every fifth of each class from the first on; or the others."""
    seen: dict[int, int] = {}
    chosen = []
    for path, target in samples:
        k = seen[target] = seen.get(target, -1) + 1
        if (k % _TESTED == 0) == test:
            chosen.append((path, target))
    return chosen

"""Data sets as the commands use them: whole in memory, scaled once, normalised batch by batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend.random import default_generator
from ..data import Dataset
from ..data.dataset import index_array
from ..transforms import Cutout
from ..transforms.functional import crop_each, resize
from .folder import (
    MEAN,
    STD,
    USUAL_SIDE,
    check_memory,
    class_names,
    folder_name,
    has_part,
    is_folder,
    pictures,
    read_pictures,
)

_MOST = 1024
_AT_ONCE = 512  # images


@dataclass(frozen=True)
class DataConfig:
    """How images are prepared; stored with a run, so that later ones are prepared alike.

    `native_size` is the data set's own side; images are brought to it, then to `image_size`.
    `mean` and `std` are of the channels, in [0, 1]. Each image has `heads` class numbers. Of a
    `folder` of pictures `directory` is the folder itself, else one that holds data sets by name.
    """

    name: str
    directory: str | None
    native_size: int
    image_size: int
    channels: int
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation: float
    heads: int = 1
    folder: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> DataConfig:
        """The inverse of `as_dict`. ValueError for anything else."""
        try:
            lists = {k: tuple(values[k]) for k in ("classes", "mean", "std")}
            config = DataConfig(**{**values, **lists})
            sides = (config.native_size, config.image_size)
            sizes = (*sides, config.channels, config.heads, len(config.classes))
            # A network is made from these numbers: they must not ask for all the memory there is.
            if not all(type(n) is int and 1 <= n <= _MOST for n in sizes):
                raise ValueError(f"sizes {sizes} outside 1 to {_MOST}")
            return config
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"this run's description of its data is damaged ({error})") from None


class Images(Dataset):
    """uint8 images (N, C, H, W) and their classes, (N,) or (N, heads).

    A batch is (x / 255 - mean) / std, float32. Kept as bytes, a quarter of the memory of floats;
    normalising a batch costs little beside it. Images of a batch are moved by up to `shift` pixels
    in both directions, with `flip` half of them mirrored left to right, and a square of side
    `cutout` made black, each at random (from minicnn's default generator); what moves in is black.
    So the network sees no image twice alike.
    """

    def __init__(
        self,
        data: np.ndarray,
        targets: np.ndarray,
        config: DataConfig,
        shift: int = 0,
        flip: bool = False,
        cutout: int = 0,
    ):
        self.data, self.targets = data, targets
        self.shift, self.flip, self.cutout = shift, flip, cutout
        mean = np.array(config.mean, np.float32).reshape(-1, 1, 1)
        std = np.array(config.std, np.float32).reshape(-1, 1, 1)
        self._scale, self._shift = np.float32(1 / 255) / std, -mean / std

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> tuple[Tensor, Any]:
        target = self.targets[index]
        label = Tensor(target) if self.targets.ndim > 1 else int(target)
        return Tensor(self._normalised(self.data[index])), label

    def _fetch_batch(self, indices: Sequence[int]) -> list[Tensor] | None:
        rows = index_array(indices)
        if rows is None:
            return None
        images = self.data[rows]
        if self.shift:
            images = shifted(images, self.shift, default_generator().numpy)
        if self.flip:
            images = flipped(images, default_generator().numpy)
        if self.cutout:
            images = cut(images, self.cutout, default_generator().numpy)
        return [Tensor(self._normalised(images)), Tensor(self.targets[rows])]

    def _normalised(self, images: np.ndarray) -> np.ndarray:
        x = images.astype(np.float32)
        x *= self._scale
        x += self._shift
        return x


def shifted(images: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Each of (N, C, H, W) moved by -most .. most pixels along H and along W; zeros move in."""
    n, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (most, most), (most, most)))
    down, right = rng.integers(0, 2 * most + 1, (2, n, 1))[:, :, 0]
    return crop_each(padded, down, right, height, width)


def flipped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, C, H, W) with each image mirrored left to right or not, one as likely as the other."""
    mirrored = rng.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[..., ::-1], images)


def cut(images: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """(N, C, H, W) with a black square in each image, its middle anywhere (Cutout)."""
    return Cutout(side).of_each(images, rng.random((len(images), 2)))


def data_name(data: str) -> str:
    """What a run calls its data: the data set's name, or that of the folder of pictures."""
    return folder_name(data) if is_folder(data) else data


def describe(data: str, directory: str | None, image_size: int, validation: float) -> DataConfig:
    """The DataConfig of a data set by name, or of a folder of pictures.

    ValueError for a name that is not known, or a folder without pictures in folders.
    """
    from .. import datasets

    if is_folder(data):
        if directory is not None:
            raise ValueError(f"--data {data} is a folder of pictures: leave out --data-dir")
        path = os.path.abspath(os.path.expanduser(data))
        names = class_names(path)
        name, side = folder_name(data), USUAL_SIDE
        config = DataConfig(
            name, path, side, image_size, 3, names, MEAN, STD, validation, folder=True
        )
        pictures(config, "test")  # is there one?
        return config
    info = datasets.info(data)
    channels, height, _ = info.image_size
    sizes = (height, image_size, channels)
    statistics = (info.classes, info.mean, info.std)
    return DataConfig(data, directory, *sizes, *statistics, validation, info.heads)


def load_part(config: DataConfig, train: bool) -> Images:
    """The training or the test images of the data set, scaled to the run's size."""
    if config.folder:
        return load_pictures(config, "train" if train else "test")
    return _named(config, train)


def load_training(config: DataConfig, limit: int | None = None) -> tuple[Images, Images | None]:
    """The images to train on, and those to validate on (None for none): see `split`.

    limit: take so many of the training images, of every class in proportion, at even distances;
    None: all of them.
    Raises what the data set raises, and ValueError for more images than there are.
    """
    if not config.folder:
        return split(_named(config, True, limit), config)
    images = load_pictures(config, "train", limit)
    if config.validation and has_part(config, "validation"):
        return images, load_pictures(config, "validation")
    return split(images, config)


def load_pictures(config: DataConfig, part: str, limit: int | None = None) -> Images:
    """The pictures of a part of a folder, all in memory."""
    files = pictures(config, part)
    targets = np.array([target for _, target in files], np.int64)
    rows = _rows(targets, limit)
    data = read_pictures([files[row][0] for row in rows], config)
    return Images(data, targets[rows], config)


def _named(config: DataConfig, train: bool, limit: int | None = None) -> Images:
    from .. import datasets

    part = datasets.load(config.name, config.directory, train)
    targets = np.asarray(part.targets, np.int64)
    if limit is None:
        planes = part.planes()
    else:
        rows = _rows(targets, limit)
        planes, targets = part.planes(rows), targets[rows]
    check_memory(len(planes), config.channels, config.image_size)
    return Images(scale(planes, config.image_size), targets, config)


def _rows(targets: np.ndarray, limit: int | None) -> np.ndarray:
    if limit is None:
        return np.arange(len(targets))
    if limit > len(targets):
        raise ValueError(f"--limit expects at most {len(targets)}, which there are, got {limit}")
    return np.sort(_spread(targets, limit))


def _spread(targets: np.ndarray, count: int) -> np.ndarray:
    """`count` rows, at even distances in the order of the classes."""
    order = np.lexsort(np.atleast_2d(targets.T)[::-1])  # stable, as every lexsort
    return order[np.linspace(0, len(order) - 1, count).astype(int)]


def scale(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 images (..., H, W), bilinearly with antialiasing to (..., side, side)."""
    if images.shape[-2:] == (side, side):
        return np.ascontiguousarray(images)
    if images.ndim < 4:
        return resize(Tensor(images), [side, side]).array
    out = np.empty((*images.shape[:-2], side, side), np.uint8)
    for k in range(0, len(images), _AT_ONCE):  # in between, they are floats
        out[k : k + _AT_ONCE] = resize(Tensor(images[k : k + _AT_ONCE]), [side, side]).array
    return out


def split(images: Images, config: DataConfig) -> tuple[Images, Images | None]:
    """The images to train on, and those to validate on (None if config.validation is 0).

    Every class gives the same share, at even distances: the split depends on nothing but the data,
    so that runs with different seeds can be compared. ValueError if none is left to train on.
    """
    if config.validation == 0:
        return images, None
    count = max(1, round(config.validation * len(images)))
    if count >= len(images):
        raise ValueError(
            f"--validation {config.validation} leaves none of the {len(images)} images to train on"
        )
    chosen = np.zeros(len(images), bool)
    chosen[_spread(images.targets, count)] = True
    parts = [Images(images.data[rows], images.targets[rows], config) for rows in (~chosen, chosen)]
    return parts[0], parts[1]

"""Data sets as the commands use them: whole in memory, scaled once, normalised batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..autograd import Tensor
from ..backend.random import default_generator
from ..data import Dataset
from ..data.dataset import index_array

_MOST = 1024


@dataclass(frozen=True)
class DataConfig:
    """How images are prepared; stored with a run, so that later ones are prepared alike.

    `native_size` is the data set's own side; images are brought to it, then to `image_size`.
    `mean` and `std` are of the channels, in [0, 1].
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

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> DataConfig:
        """The inverse of `as_dict`. ValueError for anything else."""
        try:
            lists = {k: tuple(values[k]) for k in ("classes", "mean", "std")}
            config = DataConfig(**{**values, **lists})
            sizes = (config.native_size, config.image_size, config.channels, len(config.classes))
            # A network is made from these numbers: they must not ask for all the memory there is.
            if not all(type(n) is int and 1 <= n <= _MOST for n in sizes):
                raise ValueError(f"sizes {sizes} outside 1 to {_MOST}")
            return config
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"this run's description of its data is damaged ({error})") from None


class Images(Dataset):
    """uint8 images (N, C, H, W) and their classes (N,); a batch is (x / 255 - mean) / std, float32.

    Kept as bytes, a quarter of the memory of floats; normalising a batch costs little beside it.
    Images of a batch are moved by up to `shift` pixels in both directions, and with `flip` half of
    them mirrored left to right, each at random (from minicnn's default generator); what moves in is
    black. So the network sees no image twice alike.
    """

    def __init__(
        self,
        data: np.ndarray,
        targets: np.ndarray,
        config: DataConfig,
        shift: int = 0,
        flip: bool = False,
    ):
        self.data, self.targets, self.shift, self.flip = data, targets, shift, flip
        mean = np.array(config.mean, np.float32).reshape(-1, 1, 1)
        std = np.array(config.std, np.float32).reshape(-1, 1, 1)
        self._scale, self._shift = np.float32(1 / 255) / std, -mean / std

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> tuple[Tensor, int]:
        return Tensor(self._normalised(self.data[index])), int(self.targets[index])

    def _fetch_batch(self, indices: Sequence[int]) -> list[Tensor] | None:
        rows = index_array(indices)
        if rows is None:
            return None
        images = self.data[rows]
        if self.shift:
            images = shifted(images, self.shift, default_generator().numpy)
        if self.flip:
            images = flipped(images, default_generator().numpy)
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
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    return windows[np.arange(n), :, down, right]


def flipped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, C, H, W) with each image mirrored left to right or not, one as likely as the other."""
    mirrored = rng.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[..., ::-1], images)


def describe(name: str, directory: str | None, image_size: int, validation: float) -> DataConfig:
    """The DataConfig of the data set `name`. ValueError for a name that is not known."""
    from .. import datasets

    info = datasets.info(name)
    channels, height, _ = info.image_size
    return DataConfig(
        name, directory, height, image_size, channels, info.classes, info.mean, info.std, validation
    )


def load_part(config: DataConfig, train: bool) -> Images:
    """The training or the test images of the data set, scaled to the run's size."""
    from .. import datasets

    part = datasets.load(config.name, config.directory, train)
    images, targets = _array(part.data), _array(part.targets).astype(np.int64)
    planes = images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1)
    return Images(scale(np.ascontiguousarray(planes), config.image_size), targets, config)


def _array(x: Any) -> np.ndarray:
    return x.array if isinstance(x, Tensor) else np.asarray(x)


def limited(images: Images, config: DataConfig, limit: int | None) -> Images:
    """`limit` of the images, as many of every class as there are in proportion; None: all of them.

    At even distances, as `split` chooses. ValueError for more than there are.
    """
    if limit is None or limit == len(images):
        return images
    if limit > len(images):
        raise ValueError(f"--limit expects at most {len(images)}, which there are, got {limit}")
    rows = np.sort(_spread(images.targets, limit))
    return Images(images.data[rows], images.targets[rows], config)


def _spread(targets: np.ndarray, count: int) -> np.ndarray:
    """`count` rows, at even distances in the order of the classes."""
    order = np.argsort(targets, kind="stable")
    return order[np.linspace(0, len(order) - 1, count).astype(int)]


def scale(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 images (..., H, W), bilinearly with antialiasing to (..., side, side)."""
    if images.shape[-2:] == (side, side):
        return images
    from ..transforms.functional import resize

    return resize(Tensor(images), [side, side]).array


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

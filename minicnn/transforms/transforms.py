"""Image transforms as objects, to be given to a dataset: torchvision's names and arguments.

Each takes what its function in functional.py takes. The transforms in `_PLANAR` also work on a
whole batch of images at once, with equal results. The image datasets make use of that: they ask
their transform for `_takes_arrays()` and `_batched()`, which Compose and ToTensor have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from . import functional as F
from .distort import GaussianBlur
from .functional import InterpolationMode
from .randomly import (
    Cutout,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    draw,
)


class _ForDatasets:
    """What an image dataset asks of its transform; see `takes_arrays` and `batched` below."""

    def _takes_arrays(self) -> bool:
        return takes_arrays(self)

    def _batched(self) -> Callable[[np.ndarray], np.ndarray] | None:
        return batched(self)


class Compose(_ForDatasets):
    """Applies transforms one after the other."""

    def __init__(self, transforms: Sequence[Callable]):
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform!r}" for transform in self.transforms)
        return f"{type(self).__name__}({lines}\n)"


class ToTensor(_ForDatasets):
    """A PIL image or array (H, W), (H, W, C) as a Tensor (C, H, W); 8 bits become [0, 1]."""

    def __call__(self, pic: Any) -> Tensor:
        return F.to_tensor(pic)

    def _planar(self, x: np.ndarray) -> np.ndarray:
        return F.scaled(x)

    def __repr__(self) -> str:
        return "ToTensor()"


class PILToTensor:
    """A PIL image as a Tensor (C, H, W) of its own dtype, unscaled."""

    def __call__(self, pic: Any) -> Tensor:
        return F.pil_to_tensor(pic)

    def __repr__(self) -> str:
        return "PILToTensor()"


class ConvertImageDtype:
    """A Tensor in another dtype, scaled to that dtype's range."""

    def __init__(self, dtype: Any):
        self.dtype = dtype

    def __call__(self, image: Tensor) -> Tensor:
        return F.convert_image_dtype(image, self.dtype)

    def __repr__(self) -> str:
        return "ConvertImageDtype()"


class ToPILImage:
    """A Tensor (C, H, W) or array (H, W), (H, W, C) as a PIL image."""

    def __init__(self, mode: str | None = None):
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        return F.to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return "ToPILImage()" if self.mode is None else f"ToPILImage(mode={self.mode})"


class Normalize:
    """(x - mean[c]) / std[c] on each channel of a floating Tensor (..., C, H, W)."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False):
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def __call__(self, tensor: Tensor) -> Tensor:
        return F.normalize(tensor, self.mean, self.std, self.inplace)

    def _planar(self, x: np.ndarray) -> np.ndarray:
        return F.normalize(Tensor(x), self.mean, self.std, inplace=True).array

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class Resize:
    """Resizes to (H, W), or so that the shorter side is an int size; see functional.resize."""

    def __init__(
        self,
        size: Any,
        interpolation: Any = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ):
        F.sizes(size, "Resize")
        self.size = size
        self.max_size = max_size
        self.interpolation = F.interpolation_mode(interpolation)
        self.antialias = antialias

    def __call__(self, img: Any) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)

    def _planar(self, x: np.ndarray) -> np.ndarray:
        size = F.output_size((x.shape[-2], x.shape[-1]), self.size, self.max_size)
        return F.resize_bilinear(x, size, bool(self.antialias))

    def __repr__(self) -> str:
        return (
            f"Resize(size={self.size}, interpolation={self.interpolation.value}, "
            f"max_size={self.max_size}, antialias={self.antialias})"
        )


class CenterCrop:
    """The middle of the image, (H, W) or a square; smaller images are padded with zeros."""

    def __init__(self, size: Any):
        values = F.sizes(size, "CenterCrop")
        self.size = (values[0], values[-1])

    def __call__(self, img: Any) -> Any:
        return F.center_crop(img, self.size)

    def _planar(self, x: np.ndarray) -> np.ndarray:
        return F.center_crop(Tensor(x), self.size).array

    def __repr__(self) -> str:
        return f"CenterCrop(size={self.size})"


class Pad:
    """A border of one, two (left/right, top/bottom) or four (left, top, right, bottom) widths."""

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant"):
        F.sides(padding)
        if padding_mode not in F.PAD_MODES:
            raise ValueError(
                f"Pad: padding_mode is one of {list(F.PAD_MODES)}, got {padding_mode!r}"
            )
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode

    def __call__(self, img: Any) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)

    def _planar(self, x: np.ndarray) -> np.ndarray:
        return F.pad(Tensor(x), self.padding, self.fill, self.padding_mode).array

    def __repr__(self) -> str:
        return f"Pad(padding={self.padding}, fill={self.fill}, padding_mode={self.padding_mode})"


class FiveCrop:
    """The four corners and the middle of the image, as a tuple; see functional.five_crop."""

    def __init__(self, size: Any):
        values = F.sizes(size, "FiveCrop")
        self.size = (values[0], values[-1])

    def __call__(self, img: Any) -> tuple[Any, ...]:
        return F.five_crop(img, self.size)

    def __repr__(self) -> str:
        return f"FiveCrop(size={self.size})"


class TenCrop:
    """The five crops of the image and of its mirror image, as a tuple; see functional.ten_crop."""

    def __init__(self, size: Any, vertical_flip: bool = False):
        values = F.sizes(size, "TenCrop")
        self.size = (values[0], values[-1])
        self.vertical_flip = vertical_flip

    def __call__(self, img: Any) -> tuple[Any, ...]:
        return F.ten_crop(img, self.size, self.vertical_flip)

    def __repr__(self) -> str:
        return f"TenCrop(size={self.size}, vertical_flip={self.vertical_flip})"


class Grayscale:
    """Luma of an RGB image, in one channel or three equal ones."""

    def __init__(self, num_output_channels: int = 1):
        self.num_output_channels = num_output_channels

    def __call__(self, img: Any) -> Any:
        return F.to_grayscale(img, self.num_output_channels)

    def __repr__(self) -> str:
        return f"Grayscale(num_output_channels={self.num_output_channels})"


class Lambda:
    """Applies a function of your own."""

    def __init__(self, lambd: Callable):
        if not callable(lambd):
            raise TypeError(f"Lambda: lambd should be callable, got {type(lambd).__name__}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return "Lambda()"


# ---------------------------------------------------------------- what datasets ask

_SPATIAL = (
    *(Resize, CenterCrop, Pad, RandomCrop, RandomResizedCrop),
    *(RandomHorizontalFlip, RandomVerticalFlip, Cutout),
)
_SAME_ON_ARRAYS = (*_SPATIAL, GaussianBlur)  # an array gives the pixels that a PIL image gives
_PLANAR = (*_SPATIAL, ToTensor, Normalize, RandomErasing)


def _steps(transform: Any) -> list:
    if type(transform) is not Compose:  # a subclass may do something else
        return [transform]
    return [step for inner in transform.transforms for step in _steps(inner)]


def _exact(step: Any) -> bool:
    """Whether arrays and PIL images fare alike; Pillow alone has the other interpolations."""
    if type(step) not in (Resize, RandomResizedCrop):
        return type(step) in _SAME_ON_ARRAYS
    return step.interpolation is InterpolationMode.BILINEAR and step.antialias is not False


def takes_arrays(transform: Any) -> bool:
    """True if uint8 arrays may be given to `transform` where PIL images are expected.

    That is so if it is made of this package's classes and reaches ToTensor, so that neither a
    function of the user's nor the result can tell the difference.
    """
    for step in _steps(transform):
        if type(step) is ToTensor:
            return True
        if not _exact(step):
            return False
    return False


def _planar(step: Any) -> bool:
    if type(step) in (Resize, RandomResizedCrop):  # None depends on the kind of image
        return step.interpolation is InterpolationMode.BILINEAR and step.antialias is not None
    if type(step) is RandomErasing:  # noise takes more numbers, where it is wanted
        return step.value != "random"
    return type(step) in _PLANAR


def batched(transform: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """`transform` for a whole batch: uint8 images (N, C, H, W) to (N, C, H, W), or None.

    The result equals the stacked results of the single images, bit for bit, also of random ones.
    """
    steps = _steps(transform)
    if not takes_arrays(transform) or [type(step) for step in steps].count(ToTensor) != 1:
        return None
    if not all(map(_planar, steps)):
        return None

    def apply(x: np.ndarray) -> np.ndarray:
        for step, numbers in zip(steps, _numbers(steps, len(x)), strict=True):
            x = step._planar(x) if numbers is None else step._planar(x, numbers)
        return x

    return apply


def _numbers(steps: list, n: int) -> list[np.ndarray | None]:
    """The random numbers of each step, (n, its count), in the order that n single images take them.

    A generator gives all its numbers of the first image, of all steps, then those of the second.
    """
    found: list[np.ndarray | None] = [None] * len(steps)
    random = [k for k, step in enumerate(steps) if hasattr(step, "generator")]
    for generator in {id(steps[k].generator): steps[k].generator for k in random}.values():
        mine = [k for k in random if steps[k].generator is generator]
        ends = np.cumsum([steps[k]._count for k in mine])
        drawn = draw((n, int(ends[-1])), generator)
        for k, end in zip(mine, ends, strict=True):
            found[k] = drawn[:, end - steps[k]._count : end]
    return found

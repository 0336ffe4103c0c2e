"""What is done to an image before a network with published weights sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd import Tensor
from . import functional as F
from .functional import InterpolationMode, interpolation_mode


class ImageClassification:
    """Resize, crop the middle, scale to [0, 1], normalise: an image as a classifier's input.

    Args:
        crop_size: side of the square that is cut out of the middle.
        resize_size: what the shorter side is resized to before.
        mean, std: of each channel, subtracted from and divided by; default: those of ImageNet.
        interpolation, antialias: as for Resize.

    Takes a PIL image or a Tensor (..., C, H, W), whose integers are fractions of their type's
    largest value. Returns a floating Tensor (..., C, crop_size, crop_size).
    """

    def __init__(
        self,
        *,
        crop_size: int,
        resize_size: int = 256,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        interpolation: Any = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ):
        self.crop_size = [crop_size]
        self.resize_size = [resize_size]
        self.mean, self.std = list(mean), list(std)
        self.interpolation = interpolation_mode(interpolation)
        self.antialias = antialias

    def __call__(self, img: Any) -> Tensor:
        img = F.resize(img, self.resize_size, self.interpolation, antialias=self.antialias)
        img = F.center_crop(img, self.crop_size)
        if not isinstance(img, Tensor):
            img = F.pil_to_tensor(img)
        return F.normalize(F.convert_image_dtype(img), self.mean, self.std)

    def __repr__(self) -> str:
        lines = [
            f"crop_size={self.crop_size}",
            f"resize_size={self.resize_size}",
            f"mean={self.mean}",
            f"std={self.std}",
            f"interpolation={self.interpolation}",
        ]
        return f"{type(self).__name__}(\n    " + "\n    ".join(lines) + "\n)"

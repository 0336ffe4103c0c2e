"""How pixels between the pixels are filled, by torchvision's names and Pillow's numbers."""

from __future__ import annotations

from enum import Enum
from typing import Any


class InterpolationMode(Enum):
    """How pixels are filled. Tensors and arrays know nearest and bilinear; PIL images bicubic too,
    and where they are resized all."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


PIL_CODE = {"nearest": 0, "nearest-exact": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4}
PIL_CODE["hamming"] = 5


def interpolation_mode(value: Any) -> InterpolationMode:
    """An InterpolationMode, its name, or Pillow's number for it."""
    if isinstance(value, InterpolationMode):
        return value
    for mode in InterpolationMode:
        if value == mode.value or (value == PIL_CODE[mode.value] and isinstance(value, int)):
            return mode
    raise ValueError(
        f"interpolation should be one of {[m.value for m in InterpolationMode]}, got {value!r}"
    )

"""Transforms that turn, shear, scale, move and blur every image by another amount."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import functional as F
from .blur import kernel_sizes
from .functional import InterpolationMode
from .kinds import get_image_size
from .randomly import _given, _Random
from .warp import checked_center, pair_of, turning_mode

_TRANSLATE, _SCALE = "RandomAffine: translate", "RandomAffine: scale"


def _between(ends: Sequence[float], u: float) -> float:
    return float(ends[0] + u * (ends[1] - ends[0]))


def _angles(transform: str, name: str, value: Any, counts: tuple[int, ...] = (2,)) -> list[float]:
    """Ranges in degrees: a number d >= 0 stands for [-d, d]; or as many numbers as `counts` has."""
    if isinstance(value, numbers.Real):
        if value < 0:
            raise ValueError(f"{transform}: {name} as one number should not be negative: {value}")
        return [float(-value), float(value)]
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"{transform}: {name} should be a number or a sequence, got {value!r}")
    if len(value) not in counts:
        sizes = " or ".join(map(str, counts))
        raise ValueError(
            f"{transform}: {name} as a sequence should have {sizes} numbers, got {value!r}"
        )
    return [float(degrees) for degrees in value]


def _check_fill(transform: str, fill: Any) -> Any:
    if fill is not None and not isinstance(fill, (numbers.Real, Sequence)):
        raise TypeError(f"{transform}: fill should be a number or a sequence, got {fill!r}")
    return 0 if fill is None else fill


class RandomRotation(_Random):
    """The image turned by an angle between degrees[0] and degrees[1], counter-clockwise.

    Args: degrees, two numbers, or d for (-d, d); interpolation, expand, center and fill as for
    `functional.rotate` (fill None: 0). TypeError or ValueError for what cannot be.
    """

    def __init__(
        self,
        degrees: Any,
        interpolation: Any = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Any = 0,
        *,
        generator: Any = None,
    ):
        super().__init__(generator)
        self.degrees = _angles("RandomRotation", "degrees", degrees)
        self.interpolation = turning_mode(interpolation, "RandomRotation")
        self.expand = expand
        checked_center(center, "RandomRotation")
        self.center = center
        self.fill = _check_fill("RandomRotation", fill)

    @staticmethod
    def get_params(degrees: Sequence[float], u: np.ndarray | None = None) -> float:
        """An angle; u: 1 number, drawn if None."""
        return _between(degrees, _given(u, 1)[0])

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        angle = self.get_params(self.degrees, u)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)

    def __repr__(self) -> str:
        center = "" if self.center is None else f", center={self.center}"
        return (
            f"RandomRotation(degrees={self.degrees}, interpolation={self.interpolation.value}, "
            f"expand={self.expand}{center}, fill={self.fill})"
        )


class RandomAffine(_Random):
    """The image turned, moved, scaled and sheared at random, in a frame of its own size.

    Args: degrees, the range of the angle (clockwise), two numbers, or d for (-d, d); translate, the
    largest shifts along x and y as shares of width and height, in [0, 1]; scale, the smallest and
    the largest; shear, degrees along x as for `degrees`, or four numbers, the range along x and
    that along y (None: none of that); interpolation, fill (None: 0) and center as for
    `functional.affine`. TypeError or ValueError for what cannot be.
    """

    _count = 6

    def __init__(
        self,
        degrees: Any,
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: Any = None,
        interpolation: Any = InterpolationMode.NEAREST,
        fill: Any = 0,
        center: Sequence[float] | None = None,
        *,
        generator: Any = None,
    ):
        super().__init__(generator)
        self.degrees = _angles("RandomAffine", "degrees", degrees)
        if translate is not None and not all(0 <= t <= 1 for t in pair_of(translate, _TRANSLATE)):
            raise ValueError(f"{_TRANSLATE} should be two shares, 0 to 1, got {translate!r}")
        if scale is not None and min(pair_of(scale, _SCALE)) <= 0:
            raise ValueError(f"{_SCALE} should be two numbers above 0, got {scale!r}")
        self.translate = translate
        self.scale = scale
        self.shear = None if shear is None else _angles("RandomAffine", "shear", shear, (2, 4))
        self.interpolation = turning_mode(interpolation, "RandomAffine")
        self.fill = _check_fill("RandomAffine", fill)
        checked_center(center, "RandomAffine")
        self.center = center

    @staticmethod
    def get_params(
        degrees: Sequence[float],
        translate: Sequence[float] | None,
        scale_ranges: Sequence[float] | None,
        shears: Sequence[float] | None,
        img_size: Sequence[int],
        u: np.ndarray | None = None,
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """Angle, shift, scale and shears for an image of (W, H); u: 6 numbers, drawn if None."""
        u = _given(u, 6)
        reach = (0, 0) if translate is None else np.multiply(translate, img_size)
        dx, dy = (round(_between((-r, r), v)) for r, v in zip(reach, u[1:3], strict=True))
        shears = [0.0, 0.0] if shears is None else list(shears)
        along_x, along_y = shears[:2], shears[2:] or [0.0, 0.0]
        return (
            _between(degrees, u[0]),
            (dx, dy),
            1.0 if scale_ranges is None else _between(scale_ranges, u[3]),
            (_between(along_x, u[4]), _between(along_y, u[5])),
        )

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        size = get_image_size(img, "RandomAffine")[::-1]
        params = self.get_params(self.degrees, self.translate, self.scale, self.shear, size, u)
        return F.affine(img, *params, self.interpolation, self.fill, self.center)

    def __repr__(self) -> str:
        nearest = self.interpolation is InterpolationMode.NEAREST
        told = {
            "translate": self.translate,
            "scale": self.scale,
            "shear": self.shear,
            "interpolation": None if nearest else self.interpolation.value,
            "fill": self.fill or None,
            "center": self.center,
        }
        more = "".join(f", {name}={value}" for name, value in told.items() if value is not None)
        return f"RandomAffine(degrees={self.degrees}{more})"


class GaussianBlur(_Random):
    """The image, blurred with a standard deviation between sigma[0] and sigma[1] pixels.

    Args: kernel_size, taps along x and y, two odd numbers or one for both; sigma, the least and the
    largest, above 0, or one number that is always taken.

    TypeError or ValueError for what cannot be.
    """

    def __init__(self, kernel_size: Any, sigma: Any = (0.1, 2.0), *, generator: Any = None):
        super().__init__(generator)
        self.kernel_size = kernel_sizes(kernel_size, "GaussianBlur")
        pair: Any = (sigma, sigma) if isinstance(sigma, numbers.Real) else sigma
        if np.shape(pair) != (2,) or not 0 < pair[0] <= pair[1] < np.inf:
            raise ValueError(
                f"GaussianBlur: sigma expects a number above 0, or two, the smaller first, got "
                f"{sigma!r}"
            )
        self.sigma = (pair[0], pair[1])

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float, u: np.ndarray | None = None) -> float:
        """A standard deviation; u: 1 number, drawn if None."""
        return _between((sigma_min, sigma_max), _given(u, 1)[0])

    def _apply(self, img: Any, u: np.ndarray) -> Any:
        return F.gaussian_blur(img, self.kernel_size, self.get_params(*self.sigma, u))

    def __repr__(self) -> str:
        return f"GaussianBlur(kernel_size={self.kernel_size}, sigma={self.sigma})"

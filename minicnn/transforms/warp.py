"""Turning, moving, scaling and shearing an image: from where each output pixel is taken.

A point is p = (x, y), in pixels from the image's upper left corner, x to the right and y down; the
centre of pixel (i, j), row i and column j, is (j + 1/2, i + 1/2). About a centre c, p moves to

    p' = L (p - c) + c + t,        L = s R(a) Y(v) X(u),                                         (1)

    R(a) = [cos a  -sin a]    Y(v) = [  1     0]    X(u) = [1  -tan u]
           [sin a   cos a]           [-tan v  1]           [0     1  ]

a turn by a (clockwise, as y points down), shears by u along x and by v along y, a scale s, and a
shift t. The output is filled pixel by pixel, so what is needed is the way back:

    p = L^-1 (p' - c - t) + c,     L^-1 = X(-u) Y(-v) R(-a) / s.                                 (2)

At p = (x, y) the image is, of the four pixels whose centres are nearest, i and i+1, j and j+1,
i = floor(y - 1/2), j = floor(x - 1/2), the mean with the weights of bilinear interpolation,

    w[i] = 1 - (y - 1/2 - i),   w[i+1] = y - 1/2 - i,    the same for columns, and their products.

Pixels outside the image count as 0, so that only a share m of the weights lies inside, and the sum
is q. Where `fill` is given the result is m q + (1 - m) fill, as torchvision has it; without, q.
The nearest pixel is (rint(y - 1/2), rint(x - 1/2)); outside it is `fill`.

PIL images are left to Pillow, which finds the nearest pixel in fixed point; where it interpolates,
the half pixel along the image's edge has the values of the outer pixels.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from .interpolation import PIL_CODE, InterpolationMode, interpolation_mode
from .kinds import channel_values, get_image_size, in_dtype, is_pil, to_planes

_AFFINE = 0  # Pillow's number for a transform by six coefficients
_DECIMALS = 4  # of a pixel up to which a corner counts as lying on the edge of a pixel
_HALVES = 9  # decimals of a pixel up to which a place counts as lying between two


def rotate(
    img: Any,
    angle: float,
    interpolation: Any = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: Any = None,
) -> Any:
    """The image turned by `angle` degrees, counter-clockwise.

    Args: interpolation, nearest or bilinear (PIL images: bicubic, too); expand, make the result as
    large as all of the turned image needs, which is meant for turns about the middle; center, the
    point (x, y) to turn about, in pixels from the upper left corner (None: the middle); fill, what
    lies outside, a number or one for each channel (None: 0, as pixels outside the image count).
    Raises TypeError or ValueError for an argument that cannot be.
    """
    mode, center = turning_mode(interpolation, "rotate"), checked_center(center, "rotate")
    angle = _number("rotate", "angle", angle)
    if is_pil(img):
        colour = _pil_fill(img, fill, "rotate")
        return img.rotate(angle, PIL_CODE[mode.value], bool(expand), center, fillcolor=colour)
    planes, back = to_planes(img, "rotate")
    h, w = planes.shape[-2:]
    source = inverse(-angle, (0, 0), 1.0, (0, 0), center or (w / 2, h / 2))
    size = _turned_size(h, w, source) if expand else (h, w)
    return back(_warped(planes, source, size, mode, fill, "rotate"))


def affine(
    img: Any,
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Any,
    interpolation: Any = InterpolationMode.NEAREST,
    fill: Any = None,
    center: Sequence[float] | None = None,
) -> Any:
    """The image turned, scaled, sheared and moved, in a frame of its own size: equation (1).

    Args: angle, in degrees, clockwise; translate, (to the right, down) in pixels; scale, above 0;
    shear, in degrees along x, or (along x, along y); the others as for `rotate`.
    Raises TypeError or ValueError for an argument that cannot be.
    """
    mode, center = turning_mode(interpolation, "affine"), checked_center(center, "affine")
    angle, scale = _number("affine", "angle", angle), _number("affine", "scale", scale)
    if scale <= 0:
        raise ValueError(f"affine: scale should be above 0, got {scale}")
    shears = (shear, 0) if isinstance(shear, numbers.Real) else shear
    shears = tuple(shears) * 2 if np.shape(shears) == (1,) else shears
    pairs = pair_of(translate, "affine: translate"), pair_of(shears, "affine: shear")
    h, w = get_image_size(img, "affine")
    source = inverse(angle, pairs[0], scale, pairs[1], center or (w / 2, h / 2))
    if not np.isfinite(source).all():
        raise ValueError(f"affine: scale {scale} is too small for numbers of 64 bits")
    if is_pil(img):
        colour = _pil_fill(img, fill, "affine")
        data, code = source.ravel().tolist(), PIL_CODE[mode.value]
        return img.transform(img.size, _AFFINE, data, resample=code, fillcolor=colour)
    planes, back = to_planes(img, "affine")
    return back(_warped(planes, source, (h, w), mode, fill, "affine"))


def inverse(
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Sequence[float],
    center: Sequence[float],
) -> np.ndarray:
    """[L^-1 | c - L^-1 (c + t)] of equation (2), float64 (2, 3); angles in degrees."""
    a, u, v = (math.radians(degrees) for degrees in (angle, *shear))
    turned_back = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    sheared_back = np.array([[1, math.tan(u)], [0, 1]]) @ np.array([[1, 0], [math.tan(v), 1]])
    with np.errstate(over="ignore", invalid="ignore"):  # of a scale next to 0
        linear = sheared_back @ turned_back / scale
        c = np.asarray(center, np.float64)
        return np.column_stack([linear, c - linear @ (c + translate)])


# ---------------------------------------------------------------- arguments


def turning_mode(interpolation: Any, function: str) -> InterpolationMode:
    """The interpolation. ValueError for one that no image is turned with."""
    mode = interpolation_mode(interpolation)
    if mode.value in ("box", "hamming", "lanczos"):
        raise ValueError(
            f"{function}: interpolation should be nearest, bilinear or (of PIL images) bicubic, "
            f"got {mode.value}, which resizes"
        )
    return mode


def checked_center(center: Any, function: str) -> tuple[float, float] | None:
    """The centre (x, y) as two floats, or None."""
    return None if center is None else pair_of(center, f"{function}: center")


def pair_of(value: Any, name: str) -> tuple[float, float]:
    """Two finite numbers; ValueError with this name for anything else."""
    values = tuple(value) if isinstance(value, (Sequence, np.ndarray)) else ()
    if len(values) != 2 or not all(isinstance(v, numbers.Real) for v in values):
        raise ValueError(f"{name} should be two numbers, got {value!r}")
    return _finite(values[0], name), _finite(values[1], name)


def _number(function: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{function}: {name} should be a number, got {value!r}")
    return _finite(value, f"{function}: {name}")


def _finite(value: Any, name: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} should be finite, got {number}")
    return number


def _pil_fill(img: Any, fill: Any, function: str) -> Any:
    """`fill` as Pillow takes it: None, a number, or a tuple with one for each band."""
    if fill is None:
        return None
    values = (fill,) if isinstance(fill, numbers.Real) else tuple(fill)
    bands = len(img.getbands())
    if len(values) not in (1, bands):
        raise ValueError(f"{function}: fill should be one value or {bands}, got {fill!r}")
    if img.mode != "F":
        values = tuple(int(value) for value in values)
    return values[0] if bands == 1 else values * (bands // len(values))


# ---------------------------------------------------------------- pixels


def _turned_size(h: int, w: int, source: np.ndarray) -> tuple[int, int]:
    """(OH, OW): the whole pixels between the corners of an image of h x w."""
    corners = source @ [[0, w, w, 0], [0, 0, h, h], [1, 1, 1, 1]]
    low, high = (np.round(ends, _DECIMALS) for ends in (corners.min(1), corners.max(1)))
    OW, OH = np.ceil(high) - np.floor(low)
    return int(OH), int(OW)


def _warped(
    planes: np.ndarray,
    source: np.ndarray,
    size: tuple[int, int],
    mode: InterpolationMode,
    fill: Any,
    function: str,
) -> np.ndarray:
    """planes (..., H, W) as an image of `size` about the same middle, p' taken from source p'."""
    h, w = planes.shape[-2:]
    if h == 0 or w == 0:
        raise ValueError(f"{function}: image has no pixels, {h} x {w}")
    (OH, OW), (xx, xy, x0), (yx, yy, y0) = size, *source
    x = np.arange(OW) + 0.5 + (w - OW) / 2
    y = (np.arange(OH) + 0.5 + (h - OH) / 2)[:, None]
    columns, rows = xx * x + xy * y + (x0 - 0.5), yx * x + yy * y + (y0 - 0.5)
    work = np.result_type(planes.dtype, np.float32)
    value = None if fill is None else channel_values(planes, fill, function, work)
    if mode is InterpolationMode.BILINEAR:
        return in_dtype(_bilinear(planes, rows, columns, value, work), planes.dtype)
    if mode in (InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT):
        outside = in_dtype(np.zeros((), work) if value is None else value, planes.dtype)
        return _nearest(planes, rows, columns, outside)
    raise ValueError(f"{function}: {mode.value} interpolation needs a PIL image")


def _nearest(planes: np.ndarray, rows: np.ndarray, columns: np.ndarray, fill: Any) -> np.ndarray:
    # Rounded twice, so that rounding errors do not decide where places are halves.
    i, j = (np.rint(np.round(places, _HALVES)) for places in (rows, columns))
    values, inside = _read(planes, i, j)
    return np.where(inside, values, fill)


def _read(planes: np.ndarray, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """planes (..., i, j) for whole i and j, any pixel where they are outside; and where they are
    inside."""
    H, W = planes.shape[-2:]
    inside = (i >= 0) & (i < H) & (j >= 0) & (j < W)
    at = np.where(inside, i * W + j, 0).astype(np.intp)
    return planes.reshape(*planes.shape[:-2], H * W).take(at, axis=-1), inside


def _bilinear(
    planes: np.ndarray, rows: np.ndarray, columns: np.ndarray, fill: np.ndarray | None, work: Any
) -> np.ndarray:
    total = np.zeros((*planes.shape[:-2], *rows.shape), work)
    covered = np.zeros(rows.shape, work)
    top, left = np.floor(rows), np.floor(columns)
    down, right = rows - top, columns - left
    for i, row_weight in ((top, 1 - down), (top + 1, down)):
        for j, column_weight in ((left, 1 - right), (left + 1, right)):
            values, inside = _read(planes, i, j)
            weight = (row_weight * column_weight * inside).astype(work)
            # What is not read must not count, be it infinite.
            total += np.where(weight > 0, values, 0) * weight
            covered += weight
    return total if fill is None else covered * total + (1 - covered) * fill

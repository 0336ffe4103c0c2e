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

PIL images are left to Pillow, which works in fixed point and extends the edge by half a pixel.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from .interpolation import PIL_CODE, InterpolationMode, interpolation_mode
from .kinds import channel_values, get_image_size, is_pil, to_planes

_AFFINE = 0  # Pillow's number for a transform by six coefficients
_SAME = 4  # decimals of a pixel up to which two sizes are taken for the same


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
    lies outside, a number or one for each channel (None: 0).
    Raises TypeError or ValueError for an argument that cannot be.
    """
    mode = _checked("rotate", interpolation, center, angle=angle)
    if is_pil(img):
        code = PIL_CODE[mode.value]
        return img.rotate(angle, code, bool(expand), center, fillcolor=_pil_fill(img, fill))
    planes, back = to_planes(img, "rotate")
    h, w = get_image_size(img, "rotate")
    back_to = inverse(-angle, (0, 0), 1.0, (0, 0), _centre(center, h, w))
    size = _turned_size(h, w, angle) if expand else (h, w)
    return back(_warped(planes, back_to, size, mode, fill, "rotate"))


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
    mode = _checked("affine", interpolation, center, angle=angle, scale=scale)
    shears = (shear, 0) if isinstance(shear, numbers.Real) else shear
    shears = tuple(shears) * 2 if np.shape(shears) == (1,) else shears
    for name, pair in (("translate", translate), ("shear", shears)):
        if np.shape(pair) != (2,) or not np.isfinite(np.asarray(pair, np.float64)).all():
            raise ValueError(f"affine: {name} should be two numbers, got {pair!r}")
    if scale <= 0:
        raise ValueError(f"affine: scale should be above 0, got {scale}")
    h, w = get_image_size(img, "affine")
    back_to = inverse(angle, translate, scale, shears, _centre(center, h, w))
    if is_pil(img):
        options = {"resample": PIL_CODE[mode.value], "fillcolor": _pil_fill(img, fill)}
        return img.transform(img.size, _AFFINE, back_to.ravel().tolist(), **options)
    planes, back = to_planes(img, "affine")
    return back(_warped(planes, back_to, (h, w), mode, fill, "affine"))


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
    linear = sheared_back @ turned_back / scale
    c = np.asarray(center, np.float64)
    return np.column_stack([linear, c - linear @ (c + translate)])


def _checked(function: str, interpolation: Any, center: Any, **given: Any) -> InterpolationMode:
    """The interpolation; raises for it, for a centre that is none, and for what is no number."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{function}: {name} should be a number, got {value!r}")
        if not math.isfinite(value):
            raise ValueError(f"{function}: {name} should be finite, got {value}")
    if center is not None and np.shape(center) != (2,):
        raise ValueError(f"{function}: center should be two numbers, x and y, got {center!r}")
    return interpolation_mode(interpolation)


def _centre(center: Sequence[float] | None, h: int, w: int) -> Sequence[float]:
    return (w / 2, h / 2) if center is None else center


def _turned_size(h: int, w: int, angle: float) -> tuple[int, int]:
    """(OH, OW): the whole pixels that an image of h x w touches, turned about its middle."""
    a = math.radians(angle)
    sizes = []
    for side, other in ((h, w), (w, h)):
        half = (abs(side * math.cos(a)) + abs(other * math.sin(a))) / 2
        ends = np.round([side / 2 - half, side / 2 + half], _SAME)
        sizes.append(int(math.ceil(ends[1]) - math.floor(ends[0])))
    return sizes[0], sizes[1]


def _warped(
    planes: np.ndarray,
    back_to: np.ndarray,
    size: tuple[int, int],
    mode: InterpolationMode,
    fill: Any,
    function: str,
) -> np.ndarray:
    """planes (..., H, W) as an image of `size` about the same middle, taken from `back_to`."""
    h, w = planes.shape[-2:]
    if h == 0 or w == 0:
        raise ValueError(f"{function}: image has no pixels, {h} x {w}")
    (OH, OW), (xx, xy, x0), (yx, yy, y0) = size, *back_to
    x = np.arange(OW) + 0.5 + (w - OW) / 2
    y = (np.arange(OH) + 0.5 + (h - OH) / 2)[:, None]
    columns, rows = xx * x + xy * y + (x0 - 0.5), yx * x + yy * y + (y0 - 0.5)
    value = None if fill is None else channel_values(planes, fill, function)
    if mode is InterpolationMode.BILINEAR:
        return _bilinear(planes, rows, columns, value)
    if mode in (InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT):
        return _nearest(planes, rows, columns, 0 if value is None else value)
    raise ValueError(f"{function}: {mode.value} interpolation needs a PIL image")


def _nearest(planes: np.ndarray, rows: np.ndarray, columns: np.ndarray, fill: Any) -> np.ndarray:
    i, inside_i = _places(np.rint(rows), planes.shape[-2])
    j, inside_j = _places(np.rint(columns), planes.shape[-1])
    return np.where(inside_i & inside_j, planes[..., i, j], fill).astype(planes.dtype, copy=False)


def _places(positions: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole positions as indices into an axis of n, and whether they are inside."""
    inside = (positions >= 0) & (positions < n)
    return np.where(inside, positions, 0).astype(np.intp), inside


def _bilinear(
    planes: np.ndarray, rows: np.ndarray, columns: np.ndarray, fill: np.ndarray | None
) -> np.ndarray:
    work = np.result_type(planes.dtype, np.float32)
    total = np.zeros((*planes.shape[:-2], *rows.shape), work)
    covered = np.zeros(rows.shape, work)
    top, left = np.floor(rows), np.floor(columns)
    for i, row_weight in ((top, 1 - (rows - top)), (top + 1, rows - top)):
        i, inside_i = _places(i, planes.shape[-2])
        for j, column_weight in ((left, 1 - (columns - left)), (left + 1, columns - left)):
            j, inside_j = _places(j, planes.shape[-1])
            weight = (row_weight * column_weight * (inside_i & inside_j)).astype(work)
            total += weight * planes[..., i, j]
            covered += weight
    if fill is not None:
        total = covered * total + (1 - covered) * fill
    return (total if planes.dtype.kind == "f" else np.rint(total)).astype(planes.dtype)


def _pil_fill(img: Any, fill: Any) -> Any:
    """`fill` as Pillow takes it: None, a number, or a tuple with one for each band."""
    if fill is None:
        return None
    values = (fill,) if isinstance(fill, numbers.Real) else tuple(fill)
    bands = len(img.getbands())
    if len(values) not in (1, bands):
        raise ValueError(f"fill should be one value or {bands}, got {fill!r}")
    if img.mode != "F":
        values = tuple(int(value) for value in values)
    return values[0] if bands == 1 else values * (bands // len(values))

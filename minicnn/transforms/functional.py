"""Image operations as functions; the classes in transforms.py call them.

An image is one of
- a PIL image;
- an array (H, W) or (H, W, C), as Pillow and Matplotlib hold images;
- a Tensor (..., C, H, W), after `to_tensor`.

What goes in comes out, except where the name says otherwise. Inputs are not modified. These
functions prepare data: apart from `normalize` they record no gradient, and refuse a tensor that
requires one while gradients are on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..autograd import Tensor, is_grad_enabled
from ..autograd.dtypes import get_default_dtype
from .blur import gaussian_blur  # noqa: F401
from .colour import (  # noqa: F401
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    luma,
)
from .interpolation import PIL_CODE, InterpolationMode, interpolation_mode
from .kinds import (
    channel_values,
    channels_last,
    get_image_size,
    is_pil,
    pil_to_array,
    pillow,
    to_planes,
)
from .resample import resize_bilinear, resize_nearest
from .warp import affine, rotate  # noqa: F401

# ---------------------------------------------------------------- between the kinds


def to_tensor(pic: Any) -> Tensor:
    """A PIL image or an array (H, W), (H, W, C) as a Tensor (C, H, W).

    8-bit values (also PIL mode '1') become the default floating type divided by 255, so in [0, 1];
    other dtypes are kept, unscaled. Raises TypeError for anything else, ValueError for other ranks.
    """
    if not isinstance(pic, np.ndarray) and not is_pil(pic):
        raise TypeError(f"to_tensor: pic should be PIL Image or ndarray, got {type(pic).__name__}")
    array = pic if isinstance(pic, np.ndarray) else pil_to_array(pic)
    if array.ndim not in (2, 3):
        raise ValueError(f"to_tensor: pic should be 2 or 3 dimensional, got shape {array.shape}")
    planes = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    return Tensor(scaled(planes))


def scaled(planes: np.ndarray) -> np.ndarray:
    """`to_tensor`'s values: uint8 divided by 255 in the default floating type; others copied."""
    if planes.dtype != np.uint8:
        return np.array(planes, order="C")
    dtype = get_default_dtype()
    out = np.empty(planes.shape, dtype)
    return np.divide(planes, dtype.type(255), out=out, dtype=dtype)


def pil_to_tensor(pic: Any) -> Tensor:
    """A PIL image as a Tensor (C, H, W) of its own dtype, unscaled."""
    if not is_pil(pic):
        raise TypeError(f"pil_to_tensor: pic should be PIL Image, got {type(pic).__name__}")
    array = np.array(pic)
    planes = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    return Tensor(np.array(planes, order="C"))


_PIL_MODES = {1: ("L",), 2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX")}


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A Tensor (C, H, W) or (H, W), or an array (H, W) or (H, W, C), as a PIL image.

    A floating Tensor is multiplied by 255 and truncated to 8 bits; arrays and other Tensors are
    taken as they are: uint8 gives modes L, LA, RGB, RGBA (or `mode`); one channel of int16, int32
    or float32 gives I;16, I, F. Raises TypeError for other dtypes, ValueError for other shapes or
    a mode that does not fit.
    """
    if isinstance(pic, Tensor):
        array = pic.array
        if array.ndim not in (2, 3):
            raise ValueError(f"to_pil_image: pic should be (C, H, W) or (H, W), got {pic.shape}")
        if array.dtype.kind == "f" and mode != "F":
            with np.errstate(invalid="ignore"):  # what lies outside [0, 1] wraps, as in torchvision
                array = (array * 255).astype(np.int64).astype(np.uint8)
        array = array[:, :, None] if array.ndim == 2 else np.moveaxis(array, 0, 2)
    elif isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"to_pil_image: pic should be (H, W) or (H, W, C), got {pic.shape}")
        array = pic[:, :, None] if pic.ndim == 2 else pic
    else:
        raise TypeError(f"to_pil_image: pic should be Tensor or ndarray, got {type(pic).__name__}")
    return _array_to_pil(np.ascontiguousarray(array), mode)


def _array_to_pil(array: np.ndarray, mode: str | None) -> Any:
    """An array (H, W, C) as a PIL image."""
    channels = array.shape[2]
    if channels not in _PIL_MODES:
        raise ValueError(f"to_pil_image: pic should have 1 to 4 channels, got {channels}")
    allowed = _PIL_MODES[channels]
    if channels == 1:
        allowed = {"uint8": ("L",), "int16": ("I;16",), "int32": ("I",), "float32": ("F",)}.get(
            array.dtype.name, ()
        )
        array = array[:, :, 0]
    if not allowed or (channels > 1 and array.dtype != np.uint8):
        raise TypeError(f"to_pil_image: no PIL mode for {channels} channels of {array.dtype}")
    if mode is not None and mode not in allowed:
        raise ValueError(
            f"to_pil_image: mode {mode} does not fit {channels} channels of {array.dtype}, "
            f"which can be {', '.join(allowed)}"
        )
    size = (array.shape[1], array.shape[0])
    return pillow("to_pil_image").frombytes(mode or allowed[0], size, array.tobytes())


# ---------------------------------------------------------------- values


def normalize(
    tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False
) -> Tensor:
    """(tensor - mean[c]) / std[c] on each channel c of a floating Tensor (..., C, H, W).

    Differentiable with inplace=False. Raises TypeError for other types, ValueError for a rank below
    3, a std of zero, or as many means or deviations as there are no channels (one serves all).
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"normalize: tensor should be a Tensor, got {type(tensor).__name__}")
    if tensor.dtype.kind != "f":
        raise TypeError(f"normalize: tensor should be of a floating type, got {tensor.dtype}")
    if tensor.ndim < 3:
        raise ValueError(f"normalize: tensor should be (..., C, H, W), got {tensor.shape}")
    m, s = _channel_values(tensor.array, mean, std)
    if tensor.requires_grad and is_grad_enabled():
        if inplace:
            raise RuntimeError("normalize: inplace=True on a tensor that requires a gradient")
        return (tensor - Tensor(m)) / Tensor(s)
    y = np.subtract(tensor.array, m, out=tensor.array if inplace else None)
    y /= s
    return tensor if inplace else Tensor(y)


def _channel_values(x: np.ndarray, mean: Any, std: Any) -> tuple[np.ndarray, np.ndarray]:
    """mean and std checked against the channels of x (..., C, H, W), in its dtype, (C, 1, 1)."""
    values = []
    for name, given in (("mean", mean), ("std", std)):
        value = np.atleast_1d(np.asarray(given, dtype=x.dtype))
        if value.ndim != 1 or value.size not in (1, x.shape[-3]):
            raise ValueError(
                f"normalize: {name} should have a value for each of the {x.shape[-3]} channels, "
                f"got {given}"
            )
        values.append(value.reshape(-1, 1, 1))
    if not values[1].all():
        raise ValueError(f"normalize: std should not be zero (as {x.dtype}), got {std}")
    return values[0], values[1]


def convert_image_dtype(image: Tensor, dtype: Any = None) -> Tensor:
    """A Tensor in another dtype, its values scaled to that dtype's range.

    Integers are taken as fractions of their largest value, floats as lying in [0, 1]: uint8 255
    becomes float32 1.0 and back, a bool counts as an integer up to 1. Between integer types values
    are shifted, 8 bits to 16 by 256.
    Raises RuntimeError for a float that cannot count the integers of the target (float32 to int32).
    """
    if not isinstance(image, Tensor):
        raise TypeError(
            f"convert_image_dtype: image should be a Tensor, got {type(image).__name__}"
        )
    x, _ = to_planes(image, "convert_image_dtype")
    target = np.dtype(get_default_dtype() if dtype is None else dtype)
    if x.dtype == target:
        return image
    return Tensor(_rescaled(x, target))


def _rescaled(x: np.ndarray, target: np.dtype) -> np.ndarray:
    to_float, from_float = target.kind == "f", x.dtype.kind == "f"
    if from_float and to_float:
        return x.astype(target)
    if from_float:
        bits = 8 * target.itemsize
        if (x.dtype == np.float32 and bits >= 32) or (x.dtype == np.float64 and bits >= 64):
            raise RuntimeError(f"convert_image_dtype: {x.dtype} to {target} cannot be exact")
        # Just below max + 1, so that each integer gets an equal share of [0, 1].
        return (x * (float(_largest(target)) + 1.0 - 1e-3)).astype(target)
    limit = _largest(x.dtype)
    if to_float:
        return x.astype(target) / target.type(limit)
    new_limit = _largest(target)
    if limit > new_limit:
        return (x // ((limit + 1) // (new_limit + 1))).astype(target)
    return x.astype(target) * target.type((new_limit + 1) // (limit + 1))


def _largest(dtype: np.dtype) -> int:
    return 1 if dtype.kind == "b" else int(np.iinfo(dtype).max)


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Luma of an RGB image, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), in 1 or 3 equal channels.

    uint8 arrays and PIL images are rounded as Pillow does, Tensors truncated as torchvision does.
    An image of one channel keeps its values.
    """
    if num_output_channels not in (1, 3):
        raise ValueError(f"to_grayscale: num_output_channels is 1 or 3, got {num_output_channels}")
    if is_pil(img):
        gray = img.convert("L")
        return gray if num_output_channels == 1 else pillow("to_grayscale").merge("RGB", [gray] * 3)
    x, back = to_planes(img, "to_grayscale")
    x = x[None] if x.ndim == 2 else x
    if x.shape[-3] not in (1, 3):
        raise ValueError(f"to_grayscale: image should have 1 or 3 channels, got {x.shape[-3]}")
    gray = x if x.shape[-3] == 1 else luma(x, rounded=not isinstance(img, Tensor))
    gray = np.repeat(gray, num_output_channels, axis=-3)
    if isinstance(img, np.ndarray):
        return gray[0] if num_output_channels == 1 else channels_last(gray)
    return back(gray)


rgb_to_grayscale = to_grayscale


# ---------------------------------------------------------------- shape


def resize(
    img: Any,
    size: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """The image resized to size = (H, W); an int is the length of its shorter side.

    max_size: with an int size, the longer side is at most this, the shorter one less if need be.

    Bilinear with antialias=True averages over what a smaller pixel covers; with antialias=False
    it interpolates between the nearest pixels (PIL images are always antialiased, as Pillow does).
    antialias=None is False for Tensors and True for what else there is, as torchvision has it.
    uint8 arrays and Tensors give Pillow's own bits (of modes L and RGB) with antialias=True; see
    resample.py. Floats are not rounded. Nearest takes input pixel floor(j s), s = input / output
    size, of a Tensor and floor((j + 1/2) s) elsewhere, as torchvision and Pillow do; nearest-exact
    takes the latter everywhere.

    Raises ValueError for a size below 1, an empty image, or an interpolation that needs Pillow.
    """
    mode = interpolation_mode(interpolation)
    h, w = get_image_size(img, "resize")
    if h == 0 or w == 0:
        raise ValueError(f"resize: image has no pixels, {h} x {w}")
    size = output_size((h, w), size, max_size)
    if is_pil(img):
        return img.resize((size[1], size[0]), PIL_CODE[mode.value])
    planes, back = to_planes(img, "resize")
    if mode is InterpolationMode.BILINEAR:
        smooth = not isinstance(img, Tensor) if antialias is None else antialias
        return back(resize_bilinear(planes, size, bool(smooth)))
    if mode in (InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT):
        tensor = isinstance(img, Tensor)
        centred = not tensor or mode is InterpolationMode.NEAREST_EXACT
        return back(resize_nearest(planes, size, centred, pillow=not tensor))
    raise ValueError(
        f"resize: {mode.value} interpolation needs a PIL image, got {type(img).__name__}"
    )


def output_size(current: tuple[int, int], size: Any, max_size: int | None) -> tuple[int, int]:
    """The (H, W) that `resize` makes of an image of `current` size."""
    wanted = sizes(size, "resize")
    if len(wanted) == 2:
        if max_size is not None:
            raise ValueError("resize: max_size goes with an int size, the shorter side")
        return wanted[0], wanted[1]
    h, w = current
    short, long = min(h, w), max(h, w)
    new_short, new_long = wanted[0], int(wanted[0] * long / short)
    if max_size is not None:
        if max_size <= wanted[0]:
            raise ValueError(f"resize: max_size {max_size} should be above size {wanted[0]}")
        if new_long > max_size:
            new_short, new_long = int(max_size * new_short / new_long), max_size
    new_short = max(new_short, 1)
    return (new_short, new_long) if h <= w else (new_long, new_short)


def sizes(size: Any, function: str) -> tuple[int, ...]:
    """One or two positive lengths of `size`, an int or a sequence."""
    values = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{function}: size should be an int or two ints, got {size!r}")
        if value < 1:
            raise ValueError(f"{function}: size should be at least 1, got {size!r}")
    if len(values) not in (1, 2):
        raise ValueError(f"{function}: size should have one or two values, got {size!r}")
    return tuple(int(value) for value in values)


PAD_MODES = ("constant", "edge", "reflect", "symmetric")


def pad(img: Any, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """The image with a border.

    Args: padding, one number for all sides, two for left/right and top/bottom, or four for left,
    top, right, bottom. fill: the border's value, or one for each channel. padding_mode: constant,
    edge (repeat the last pixel), reflect (mirror without repeating it), symmetric (repeating it).
    Raises ValueError for negative padding, an unknown mode, reflect by H or W or more.
    """
    left, top, right, bottom = sides(padding)
    if padding_mode not in PAD_MODES:
        raise ValueError(f"pad: padding_mode is one of {list(PAD_MODES)}, got {padding_mode!r}")
    planes, back = to_planes(img, "pad")
    h, w = planes.shape[-2:]
    if padding_mode == "constant":
        return back(pad_constant(planes, (left, top, right, bottom), fill))
    limit = {"reflect": 1, "symmetric": 0, "edge": -max(left, top, right, bottom)}[padding_mode]
    if max(left, right) > w - limit or max(top, bottom) > h - limit or h == 0 or w == 0:
        raise ValueError(
            f"pad: padding_mode {padding_mode} by {(left, top, right, bottom)} needs a larger "
            f"image than {h} x {w}"
        )
    width = [(0, 0)] * (planes.ndim - 2) + [(top, bottom), (left, right)]
    return back(np.pad(planes, width, mode=padding_mode))  # type: ignore[call-overload]


def sides(padding: Any) -> tuple[int, int, int, int]:
    """left, top, right, bottom of `padding`."""
    values = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,)
    if any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) for v in values):
        raise TypeError(f"pad: padding should be an int or a sequence of ints, got {padding!r}")
    if len(values) not in (1, 2, 4):
        raise ValueError(f"pad: padding should have 1, 2 or 4 values, got {padding!r}")
    if min(values) < 0:
        raise ValueError(f"pad: padding should not be negative, got {padding!r}")
    left, top, right, bottom = (values * (4 // len(values)))[:4]
    return int(left), int(top), int(right), int(bottom)


def pad_constant(
    planes: np.ndarray, padding: tuple[int, int, int, int], fill: Any = 0
) -> np.ndarray:
    """A constant border around (..., H, W)."""
    left, top, right, bottom = padding
    h, w = planes.shape[-2:]
    value = channel_values(planes, fill, "pad")
    out = np.empty((*planes.shape[:-2], top + h + bottom, left + w + right), planes.dtype)
    out[...] = value
    out[..., top : top + h, left : left + w] = planes
    return out


def center_crop(img: Any, output_size: Any) -> Any:
    """The middle of the image, (H, W) or a square; smaller images are padded with zeros first."""
    wanted = sizes(output_size, "center_crop")
    oh, ow = wanted[0], wanted[-1]
    planes, back = to_planes(img, "center_crop")
    h, w = planes.shape[-2:]
    if h < oh or w < ow:
        dh, dw = max(oh - h, 0), max(ow - w, 0)
        planes = pad_constant(planes, (dw // 2, dh // 2, (dw + 1) // 2, (dh + 1) // 2))
        h, w = planes.shape[-2:]
    top, left = round((h - oh) / 2), round((w - ow) / 2)
    return back(np.ascontiguousarray(planes[..., top : top + oh, left : left + ow]))


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """The part of the image that begins at (top, left); what lies outside the image is zero.

    ValueError for a height or width below 1.
    """
    if height < 1 or width < 1:
        raise ValueError(f"crop: height and width should be at least 1, got {height} x {width}")
    x, back = to_planes(img, "crop")
    h, w = x.shape[-2:]
    y0, y1 = max(top, 0), min(top + height, h)
    x0, x1 = max(left, 0), min(left + width, w)
    if (y0, y1, x0, x1) == (top, top + height, left, left + width):
        return back(np.ascontiguousarray(x[..., y0:y1, x0:x1]))
    out = np.zeros((*x.shape[:-2], height, width), x.dtype)
    if y0 < y1 and x0 < x1:
        out[..., y0 - top : y1 - top, x0 - left : x1 - left] = x[..., y0:y1, x0:x1]
    return back(out)


def crop_each(
    x: np.ndarray, top: np.ndarray, left: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Of each image of (N, C, H, W) its own part: top and left are (N,), inside the image."""
    windows = sliding_window_view(x, (height, width), axis=(2, 3))
    return windows[np.arange(len(x)), :, top, left]


def hflip(img: Any) -> Any:
    """The image mirrored left to right."""
    x, back = to_planes(img, "hflip")
    return back(np.ascontiguousarray(x[..., ::-1]))


def vflip(img: Any) -> Any:
    """The image mirrored top to bottom."""
    x, back = to_planes(img, "vflip")
    return back(np.ascontiguousarray(x[..., ::-1, :]))


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """`crop`, then `resize` to size."""
    part = crop(img, top, left, height, width)
    return resize(part, size, interpolation, antialias=antialias)


def five_crop(img: Any, size: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The four corners and the middle: top left, top right, bottom left, bottom right, centre.

    size: (H, W), or an int for a square. ValueError if the image is smaller.
    """
    wanted = sizes(size, "five_crop")
    height, width = wanted[0], wanted[-1]
    h, w = get_image_size(img, "five_crop")
    if height > h or width > w:
        raise ValueError(f"five_crop: size {height} x {width} is larger than the image, {h} x {w}")
    tops, lefts = (0, h - height), (0, w - width)
    corners = [crop(img, top, left, height, width) for top in tops for left in lefts]
    return (*corners, center_crop(img, (height, width)))


def ten_crop(img: Any, size: Any, vertical_flip: bool = False) -> tuple[Any, ...]:
    """`five_crop` of the image, and of its mirror image (upside down if wanted)."""
    mirrored = vflip(img) if vertical_flip else hflip(img)
    return five_crop(img, size) + five_crop(mirrored, size)


def erase(img: Any, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Any:
    """The image with the h x w pixels from row i, column j on set to v.

    Args: img, a Tensor (..., C, H, W) or an array; v, a number, or a Tensor or array that can be
    broadcast to (..., C, h, w); inplace, change a Tensor itself.
    TypeError for a PIL image.
    """
    if is_pil(img):
        raise TypeError("erase: img should be a Tensor or an ndarray, got a PIL image")
    x, back = to_planes(img, "erase")
    out = x if inplace else x.copy()
    out[..., i : i + h, j : j + w] = v.array if isinstance(v, Tensor) else v
    return img if inplace else back(out)

"""The three kinds of image that transforms take: PIL images, arrays and Tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Tensor, is_grad_enabled


def is_pil(image: Any) -> bool:
    """True for a PIL image; does not import Pillow to find out."""
    return any(
        c.__module__.startswith("PIL.") and c.__name__ == "Image" for c in type(image).__mro__
    )


def pillow(function: str) -> Any:
    """The module PIL.Image; ImportError that names `function` where Pillow is missing."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"{function}: needs Pillow, `pip install pillow`") from error
    return Image


def to_planes(image: Any, function: str) -> tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    """The image as an array (..., H, W), and the way back to its kind."""
    if isinstance(image, Tensor):
        if image.requires_grad and is_grad_enabled():
            raise RuntimeError(
                f"{function}: would lose the gradient of this tensor; detach() it, or use "
                "the operations of minicnn.nn.functional"
            )
        if image.ndim < 2:
            raise ValueError(f"{function}: a tensor image is (..., H, W), got {image.shape}")
        if image.device.type != "cpu":  # images are prepared on the CPU
            there = image.device
            return image.detach().cpu().array, lambda planes: Tensor(planes).to(there)
        return image.array, Tensor
    if isinstance(image, np.ndarray):
        if image.ndim == 2:
            return image, lambda planes: planes
        if image.ndim == 3:
            return np.moveaxis(image, 2, 0), channels_last
        raise ValueError(f"{function}: an array image is (H, W) or (H, W, C), got {image.shape}")
    if is_pil(image):
        planes, back = to_planes(pil_to_array(image), function)
        return planes, lambda planes: like_pil(image, back(planes))
    kind = type(image).__name__
    raise TypeError(f"{function}: image should be a PIL Image, a Tensor or an ndarray, got {kind}")


def channel_values(planes: np.ndarray, fill: Any, function: str, dtype: Any = None) -> np.ndarray:
    """`fill`, a number or one for each channel, to broadcast with planes; in their dtype if None.

    ValueError for another count of numbers, or for one that the dtype cannot hold.
    """
    try:
        value = np.asarray(fill, dtype=planes.dtype if dtype is None else dtype)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(
            f"{function}: fill should be a number of {planes.dtype}, or one for each channel, got "
            f"{fill!r}"
        ) from None
    if not value.ndim:
        return value
    channels = planes.shape[-3] if planes.ndim > 2 else 1
    if value.ndim != 1 or value.size not in (1, channels):
        raise ValueError(f"{function}: fill should be one value or {channels}, got {fill!r}")
    return value.reshape(-1, 1, 1) if planes.ndim > 2 else value[0]


def in_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floating values in a dtype; integers rounded, half to even, and kept within its range."""
    if dtype.kind not in "iu":
        return (values if dtype.kind == "f" else np.rint(values)).astype(dtype, copy=False)
    info, largest = np.iinfo(dtype), values.dtype.type(np.iinfo(dtype).max)
    if int(largest) > info.max:  # the next number of this type, as of int64's in float64
        largest = np.nextafter(largest, values.dtype.type(0))
    return np.clip(np.rint(values), info.min, largest).astype(dtype)


def channels_last(planes: np.ndarray) -> np.ndarray:
    """(C, H, W) as (H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(planes, 0, 2))


def pil_to_array(image: Any) -> np.ndarray:
    """A PIL image as an array (H, W) or (H, W, C); of mode "1" as 0 and 255."""
    if image.mode == "1":
        return np.where(np.asarray(image), np.uint8(255), np.uint8(0))
    return np.array(image)


def like_pil(model: Any, array: np.ndarray) -> Any:
    """An array (H, W) or (H, W, C) as a PIL image of the mode, and with the palette, of `model`."""
    Image = pillow("to_pil_image")
    image = Image.fromarray(array)
    if model.mode == "1":
        return image.convert("1")
    if model.mode == "P":
        image.putpalette(model.getpalette())
    elif image.mode != model.mode and model.mode in ("YCbCr", "HSV", "LAB", "CMYK", "RGBX", "RGBa"):
        image = Image.frombytes(model.mode, image.size, image.tobytes())
    return image


def get_image_size(image: Any, function: str = "get_image_size") -> tuple[int, int]:
    """(H, W) of an image."""
    if is_pil(image):
        return image.size[1], image.size[0]
    planes, _ = to_planes(image, function)
    return planes.shape[-2], planes.shape[-1]

"""Brightness, contrast, saturation and hue of an image.

The first three blend the image x with a plainer one, x0, by a factor f: f x + (1 - f) x0 with f > 1
going away from x0, clipped to the range of the values. x0 is black for brightness, the mean grey
for contrast, and the image's own grey for saturation. The hue is turned in the HSV hexcone
(A. R. Smith, Color gamut transform pairs, SIGGRAPH 1978): with M and m the largest and smallest of
r, g, b and d = M - m,

    V = M,  S = d / M,  H = (g - b) / d, 2 + (b - r) / d or 4 + (r - g) / d sixths of a turn,

as M is r, g or b. PIL images and uint8 arrays are given to Pillow, whose own roundings they then
have; Tensors and other arrays are computed here, with torchvision's roundings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Tensor
from .kinds import is_pil, pillow, to_planes


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """The image so many times as bright: 0 is black, 1 the image, 2 twice as bright.

    Takes a PIL image, an array or a Tensor (..., 1 or 3, H, W); floats are in [0, 1].
    ValueError for a negative factor.
    """
    _check_factor("brightness", brightness_factor)
    return _adjust(
        img,
        "adjust_brightness",
        lambda picture: _enhanced(picture, "Brightness", brightness_factor),
        lambda x: _blend(x, np.zeros((), x.dtype), brightness_factor),
    )


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """The image with so many times the contrast: 0 is the mean grey, 1 the image.

    Takes and raises what `adjust_brightness` does.
    """
    _check_factor("contrast", contrast_factor)
    return _adjust(
        img,
        "adjust_contrast",
        lambda picture: _enhanced(picture, "Contrast", contrast_factor),
        lambda x: _blend(x, _mean_grey(x), contrast_factor),
    )


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """The image with so many times the colour: 0 is grey, 1 the image.

    Takes and raises what `adjust_brightness` does; an image of one channel stays as it is.
    """
    _check_factor("saturation", saturation_factor)
    return _adjust(
        img,
        "adjust_saturation",
        lambda picture: _enhanced(picture, "Color", saturation_factor),
        lambda x: x.copy() if x.shape[-3] == 1 else _blend(x, luma(x), saturation_factor),
    )


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """The image with its colours turned by a share of the colour wheel, -0.5 to 0.5; 0 is nothing.

    Takes what `adjust_brightness` does; an image of one channel stays as it is. ValueError for a
    factor outside -0.5 to 0.5.
    """
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"adjust_hue: hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    return _adjust(
        img,
        "adjust_hue",
        lambda picture: _turned_picture(picture, hue_factor),
        lambda x: x.copy() if x.shape[-3] == 1 else _turned(x, hue_factor),
    )


def luma(x: np.ndarray, rounded: bool = False) -> np.ndarray:
    """0.299 R + 0.587 G + 0.114 B (ITU-R BT.601) of (..., 3, H, W) as (..., 1, H, W), in x's dtype.

    `rounded`: uint8 as Pillow rounds it; else integers are truncated, as torchvision does.
    """
    r, g, b = (x[..., c, None, :, :] for c in range(3))
    if rounded and x.dtype == np.uint8:
        r, g, b = (channel.astype(np.uint32) for channel in (r, g, b))
        return ((19595 * r + 38470 * g + 7471 * b + 0x8000) // 0x10000).astype(np.uint8)
    weights = np.array([0.2989, 0.587, 0.114], _floating(x))
    return (weights[0] * r + weights[1] * g + weights[2] * b).astype(x.dtype)


def _check_factor(name: str, factor: float) -> None:
    if factor < 0:
        raise ValueError(f"adjust_{name}: {name}_factor ({factor}) is not non-negative.")


def _adjust(
    img: Any, function: str, by_pillow: Callable[[Any], Any], by_hand: Callable[[Any], Any]
) -> Any:
    if is_pil(img):
        return by_pillow(img)
    x, back = to_planes(img, function)
    channels = 1 if x.ndim == 2 else x.shape[-3]
    if channels not in (1, 3):
        raise ValueError(f"{function}: image should have 1 or 3 channels, got {channels}")
    if not isinstance(img, Tensor) and img.dtype == np.uint8:
        picture = pillow(function).fromarray(img if channels == 3 else img.reshape(img.shape[:2]))
        return np.array(by_pillow(picture)).reshape(img.shape)
    return back(by_hand(x[None])[0] if x.ndim == 2 else by_hand(x))


def _enhanced(picture: Any, kind: str, factor: float) -> Any:
    from PIL import ImageEnhance

    return getattr(ImageEnhance, kind)(picture).enhance(factor)


def _floating(x: np.ndarray) -> np.dtype:
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)


def _blend(x: np.ndarray, plain: np.ndarray, factor: float) -> np.ndarray:
    work = _floating(x)
    most = 1.0 if x.dtype.kind == "f" else np.iinfo(x.dtype).max
    mixed = work.type(factor) * x.astype(work) + work.type(1.0 - factor) * plain.astype(work)
    return np.clip(mixed, 0, most, out=mixed).astype(x.dtype)


def _mean_grey(x: np.ndarray) -> np.ndarray:
    grey = luma(x) if x.shape[-3] == 3 else x
    return grey.mean((-3, -2, -1), dtype=np.float64, keepdims=True).astype(_floating(x))


def _turned_picture(picture: Any, factor: float) -> Any:
    if picture.mode in ("L", "1", "I", "F"):
        return picture
    h, s, v = picture.convert("HSV").split()
    turned = np.array(h) + np.int32(factor * 255).astype(np.uint8)  # around 256
    Image = pillow("adjust_hue")
    parts = (Image.fromarray(turned), s, v)
    return Image.merge("HSV", parts).convert(picture.mode)


def _turned(x: np.ndarray, factor: float) -> np.ndarray:
    if x.dtype.kind == "f":
        return _turned_floats(x, factor)
    most = np.iinfo(x.dtype).max
    y = _turned_floats(x.astype(np.float32) / np.float32(most), factor)
    # Just below most + 1, so that each integer gets an equal share of [0, 1].
    return (y * (float(most) + 1.0 - 1e-3)).astype(x.dtype)


def _turned_floats(x: np.ndarray, factor: float) -> np.ndarray:
    h, s, v = _to_hsv(x)
    h = np.mod(h + x.dtype.type(factor), 1)
    sixth = np.floor(h * 6)
    f = h * 6 - sixth
    p = np.clip(v * (1 - s), 0, 1)
    q = np.clip(v * (1 - s * f), 0, 1)
    t = np.clip(v * (1 - s * (1 - f)), 0, 1)
    k = sixth.astype(np.int64) % 6
    r = np.choose(k, [v, q, p, p, t, v])
    g = np.choose(k, [t, v, v, q, p, p])
    b = np.choose(k, [p, p, t, v, v, q])
    return np.stack([r, g, b], axis=-3).astype(x.dtype, copy=False)


def _to_hsv(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """H, S and V, each (..., H, W) in [0, 1], of (..., 3, H, W)."""
    r, g, b = (x[..., c, :, :] for c in range(3))
    most, least = x.max(-3), x.min(-3)
    grey = most == least
    d = np.where(grey, 1, most - least)
    s = (most - least) / np.where(grey, 1, most)
    # The distances of the channels from the largest: torchvision's roundings depend on the order.
    rc, gc, bc = (most - r) / d, (most - g) / d, (most - b) / d
    h = np.where(most == r, bc - gc, np.where(most == g, 2 + rc - bc, 4 + gc - rc))
    return np.fmod(h / 6 + 1, 1), s, most

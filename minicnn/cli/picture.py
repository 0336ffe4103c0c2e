"""A picture from anywhere, made to look like the images a network was trained on.

The digits, MNIST and Fashion-MNIST are bright on black, scaled so that the thing fills a frame.
A picture that already has the data set's size is taken to be one of its kind; of any other one

1. transparent parts become white paper, colours become grey (if the network sees grey),
2. bright paper is turned into black: a border whose median is above half is inverted,
3. the box around everything brighter than a quarter of the brightest is cut out and put into the
   middle of a square, with the margin that the data set leaves around its things.

Of photographs (other data sets, and folders of pictures) the square in the middle is taken; where
several things are to be read side by side, the whole picture is squeezed into a square.

Then it is scaled to the data set's size, and from there like the training images.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from ..datasets.folder import readable
from .data import DataConfig, scale

_FILLED = {
    "digits": 1.0,
    "mnist": 20 / 28,
    "fashion-mnist": 1.0,
}  # of the side, by the thing itself


def read_picture(path: str | os.PathLike[str], config: DataConfig) -> np.ndarray:
    """The picture as uint8 (C, image_size, image_size).

    Raises FileNotFoundError, ImportError without Pillow, ValueError for a file that is no picture,
    or a broken one; each names the file.
    """
    image = open_picture(path, config.channels)
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    own_size = planes.shape[1:] == (config.native_size, config.native_size)
    if not own_size and not config.folder and config.name in _FILLED:
        planes = _framed(_dark(planes), _FILLED[config.name])
    elif planes.shape[1] != planes.shape[2] and config.heads == 1:
        side = min(planes.shape[1:])
        top, left = (planes.shape[1] - side) // 2, (planes.shape[2] - side) // 2
        planes = planes[:, top : top + side, left : left + side]
    return scale(scale(np.ascontiguousarray(planes), config.native_size), config.image_size)


def open_picture(path: str | os.PathLike[str], channels: int) -> np.ndarray:
    """The picture as uint8, (H, W) for one channel and else (H, W, 3). Raises as read_picture."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError(f"reading pictures needs Pillow: pip install pillow ({error})") from None
    # Ignored: a picture that is large, or has a damaged tag, is read all the same.
    with readable(path), warnings.catch_warnings(action="ignore"), Image.open(path) as file:
        picture: Any = ImageOps.exif_transpose(file)
        if picture.mode.startswith(("I", "F")):  # 16 bits and more, which convert() would clip
            return _eight_bits(np.asarray(picture, np.float64), channels)
        if "transparency" in picture.info or "A" in picture.getbands():
            paper = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(paper, picture.convert("RGBA"))
        return np.asarray(picture.convert("L" if channels == 1 else "RGB"))


def _eight_bits(values: np.ndarray, channels: int) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinity")
    low, high = values.min(), values.max()
    grey = ((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return grey if channels == 1 else np.repeat(grey[..., None], channels, axis=2)


def _dark(planes: np.ndarray) -> np.ndarray:
    border = np.concatenate(
        [planes[:, 0], planes[:, -1], planes[:, :, 0], planes[:, :, -1]], axis=1
    )
    return 255 - planes if np.median(border) > 127 else planes


def _framed(planes: np.ndarray, filled: float) -> np.ndarray:
    bright = planes.max(0)
    if bright.max() == 0:
        return planes
    rows, columns = np.nonzero(bright > bright.max() / 4)
    box = planes[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = box.shape[1:]
    side = round(max(height, width) / filled)
    frame = np.zeros((len(planes), side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    frame[:, top : top + height, left : left + width] = box
    return frame

"""Many images as one, by torchvision.utils' names: to look at a batch, and to save it."""

from __future__ import annotations

import io
import numbers
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..functional import cat, stack
from ..interop.files import write_bytes
from ..transforms.functional import to_pil_image


def make_grid(
    tensor: Tensor | Sequence[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Images side by side as one image (C, H', W'), row after row; one channel becomes three.

    A single image, (H, W), (C, H, W) or (1, C, H, W), comes back without a border, one of several
    channels as a view of what was given; the others get `padding` pixels around each. No gradient
    is recorded.

    Args:
        tensor: images (N, C, H, W), or a list of images of one size.
        nrow: images in a row.
        padding: pixels between images, and around all.
        normalize: bring the values into [0, 1]: (x - least) / (largest - least).
        value_range: least and largest for that, beyond which values are cut off; None: those found.
        scale_each: find them for each image instead of for all.
        pad_value: what the border is filled with.

    Raises:
        TypeError: something else than Tensors, or integers to be normalized.
        ValueError: no images, other ranks, or numbers that cannot be.
        RuntimeError: images of several sizes.
    """
    images = _batch(tensor)
    for name, value, least in (("nrow", nrow, 1), ("padding", padding, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"make_grid: {name} should be an int, got {value!r}")
        if value < least:
            raise ValueError(f"make_grid: {name} should be at least {least}, got {value}")
    if not isinstance(pad_value, numbers.Real):
        raise TypeError(f"make_grid: pad_value should be a number, got {pad_value!r}")
    if normalize:
        images = _normalized(images, _range(value_range), scale_each)
    N, C, H, W = images.shape
    if N == 1:
        return images[0]
    columns = min(nrow, N)
    rows, down, right = -(-N // columns), H + padding, W + padding
    grid = images.new_full((C, rows * down + padding, columns * right + padding), pad_value)
    for k in range(N):
        top, left = k // columns * down + padding, k % columns * right + padding
        grid[:, top : top + H, left : left + W] = images[k]
    return grid


def _batch(tensor: Any) -> Tensor:
    """Images (N, C, H, W) of three channels where they had one; without a gradient."""
    if isinstance(tensor, (list, tuple)) and all(isinstance(t, Tensor) for t in tensor):
        if not tensor:
            raise ValueError("make_grid: tensor should hold one image at least, got none")
        tensor = stack(list(tensor))
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"make_grid: tensor should be a Tensor or a list of them, got {_kinds(tensor)}"
        )
    images = tensor.detach()
    if images.ndim not in (2, 3, 4) or images.shape[0] == 0:
        raise ValueError(f"make_grid: tensor should be (N, C, H, W), got {tensor.shape}")
    if images.ndim == 2:
        images = images[None]
    if images.ndim == 3:
        images = images[None]
    return cat([images] * 3, 1) if images.shape[1] == 1 else images


def _kinds(value: Any) -> str:
    """What it is, without its contents."""
    kinds = {type(v).__name__ for v in value} if isinstance(value, (list, tuple)) else set()
    inside = f" of {', '.join(sorted(kinds))}" if kinds else ""
    return type(value).__name__ + inside


def _range(value_range: Any) -> tuple[float, float] | None:
    if value_range is None:
        return None
    values = tuple(value_range) if isinstance(value_range, (Sequence, np.ndarray)) else ()
    if len(values) != 2 or not all(isinstance(v, numbers.Real) for v in values):
        raise TypeError(f"make_grid: value_range should be two numbers, got {value_range!r}")
    if not values[0] <= values[1]:
        raise ValueError(f"make_grid: value_range should be (least, largest), got {value_range!r}")
    return float(values[0]), float(values[1])


def _normalized(images: Tensor, value_range: Any, scale_each: bool) -> Tensor:
    if not images.is_floating_point():
        raise TypeError(f"make_grid: normalize expects a floating type, got {images.dtype}")
    if scale_each:
        return stack([_normalized(image, value_range, False) for image in images])
    low, high = value_range or (images.min().item(), images.max().item())
    return (images.clamp(low, high) - low) / max(high - low, 1e-5)


def save_image(
    tensor: Tensor | Sequence[Tensor], fp: Any, format: str | None = None, **kwargs: Any
) -> None:
    """The images as one file: `make_grid` with what it takes, from [0, 1] to 8 bits, rounded.

    Args:
        tensor: as for make_grid, floating.
        fp: a path, which is written as a whole or not at all, or a file.
        format: Pillow's name of the format; None: by the path's suffix.

    Raises:
        ImportError: without Pillow.
        TypeError: integers, whose range is not [0, 1].
        ValueError: a suffix or format that Pillow cannot write; or make_grid's.
        OSError: a format that does not hold such images, such as four channels in a JPEG; or the
            system's.
    """
    grid = make_grid(tensor, **kwargs)
    if not grid.is_floating_point():
        raise TypeError(
            f"save_image: tensor should be of a floating type, in [0, 1], got {grid.dtype}; divide "
            "bytes by 255"
        )
    values = np.nan_to_num(grid.cpu().numpy(), nan=0.0, posinf=1.0, neginf=0.0)
    eight_bits = np.clip(values * 255.0 + 0.5, 0, 255).astype(np.uint8)
    image = to_pil_image(np.moveaxis(eight_bits, 0, 2))
    path = os.fspath(fp) if isinstance(fp, (str, os.PathLike)) else None
    written = io.BytesIO()  # with the name, from which some of Pillow's formats take details
    written.name = path or getattr(fp, "name", "")
    image.save(written, format=_format(str(written.name), format))
    if path is None:
        fp.write(written.getvalue())
    else:
        write_bytes(path, written.getvalue())


def _format(path: str, format: str | None) -> str:
    """Pillow's name of the format that is wanted, or that the path's suffix stands for."""
    from PIL import Image

    suffix = os.path.splitext(path)[1].lower()
    known = Image.registered_extensions()
    name = format.upper() if format else known.get(suffix, "")
    if name not in Image.SAVE:
        what = format or suffix or "a file without a suffix or format"
        raise ValueError(f"save_image: Pillow cannot write {what}")
    return name

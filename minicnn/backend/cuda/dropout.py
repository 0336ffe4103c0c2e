"""Dropout: kernels/dropout.cu."""

from __future__ import annotations

from math import prod
from typing import Any

from .launcher import device_of, launch, prepared, scalar

_TILE = 8 * 256  # elements that a block of the kernel does


def dropout(x: Any, p: float, key: int, mask_shape: tuple[int, ...]) -> Any:
    """y = m * x / (1 - p), m of `mask_shape` broadcast to x; y like x.

    Entry number e of m is 1 where word e % 8 of Philox block e // 8 is at least round(p * 2^32).
    """
    device, dtype = device_of(x), x.dtype
    [x] = prepared("dropout", x=(x, None))
    count = prod(mask_shape)
    random = {"key": key, "threshold": round(p * 2**32), "count": count}
    scale = 1 / (1 - p) if p < 1 else 0.0
    constants, grid = scalar(x.dtype), (-(-count // _TILE),)
    if tuple(x.shape) == tuple(mask_shape):
        arguments: dict[str, Any] = {"x": x, "y": device.empty(x.shape, x.dtype), **random}
        launch(device, "dropout.cu", "dropout", constants, grid=grid, scale=scale, **arguments)
        return arguments["y"].astype(dtype, copy=False)
    arguments = {"mask": device.empty(tuple(mask_shape), x.dtype), **random}
    launch(device, "dropout.cu", "dropout_mask", constants, grid=grid, **arguments)
    return (x * arguments["mask"] * x.dtype.type(scale)).astype(dtype, copy=False)

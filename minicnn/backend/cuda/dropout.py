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
    words = {"key": key, "threshold": round(p * 2**32)}
    scale = 1 / (1 - p) if p < 1 else 0.0
    count = prod(mask_shape)
    constants, grid = scalar(x.dtype), (-(-count // _TILE),)
    launch_ = (device, "dropout.cu")
    if tuple(x.shape) == tuple(mask_shape):
        y = device.empty(x.shape, x.dtype)
        launch(
            *launch_, "dropout", constants, grid=grid, x=x, y=y, scale=scale, count=count, **words
        )
        return y.astype(dtype, copy=False)
    mask = device.empty(tuple(mask_shape), x.dtype)
    launch(*launch_, "dropout_mask", constants, grid=grid, mask=mask, count=count, **words)
    return (x * mask * x.dtype.type(scale)).astype(dtype, copy=False)

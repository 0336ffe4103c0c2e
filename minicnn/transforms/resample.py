"""Resizing as a matrix: each output pixel is a weighted sum of input pixels, axis by axis.

Pixel i of an axis of n covers [i, i+1), so its centre is i + 1/2 (half-pixel centres). Resized to m
pixels, output centre j lands at c = (j + 1/2) * s on the input axis, s = n/m. The triangle filter
gives input pixel i the weight

    w[j, i] = max(0, 1 - |i + 1/2 - c| / r),   normalised so that sum over i of w[j, i] = 1,

with radius r = 1 for plain bilinear interpolation between the two nearest centres, and with r =
max(1, s) for antialiasing, so that shrinking averages all pixels that an output pixel covers. An
image is resized along W, then along H: y = A_H x A_W^T.

Eight-bit images follow Pillow bit for bit (its Resample.c): weights are rounded to 22 fractional
bits, each sum to the nearest integer, and the W pass is rounded to uint8 before the H pass. A sum
of 8-bit pixels times 22-bit weights stays below 2^31, so float64 products hold it exactly. (Pillow
13 takes the H pass first where H shrinks much more than W; there its values may differ by 1.)
"""

from __future__ import annotations

import functools

import numpy as np

from .kinds import in_dtype

_BITS = 22


@functools.lru_cache(maxsize=32)
def triangle_weights(n: int, m: int) -> np.ndarray:
    """The antialiasing weights w[j, i] from n to m pixels, float64 (m, n)."""
    scale = n / m
    radius = max(scale, 1.0)
    weights = np.zeros((m, n))
    for j in range(m):
        centre = (j + 0.5) * scale
        lo, hi = max(int(centre - radius + 0.5), 0), min(int(centre + radius + 0.5), n)
        distance = np.abs((np.arange(lo, hi) - centre + 0.5) * (1.0 / radius))
        w = np.maximum(1.0 - distance, 0.0)
        # Pillow adds in this order; np.sum adds in pairs and may differ in the last bit.
        weights[j, lo:hi] = w / np.add.accumulate(w)[-1]
    weights.flags.writeable = False
    return weights


@functools.lru_cache(maxsize=32)
def bilinear_weights(n: int, m: int) -> np.ndarray:
    """Interpolation between the two nearest centres, edge pixels extended; float64 (m, n)."""
    c = np.maximum((np.arange(m) + 0.5) * (n / m) - 0.5, 0.0)
    lo = np.minimum(c.astype(np.int64), n - 1)
    weights = np.zeros((m, n))
    np.add.at(weights, (np.arange(m), lo), 1.0 - (c - lo))
    np.add.at(weights, (np.arange(m), np.minimum(lo + 1, n - 1)), c - lo)
    weights.flags.writeable = False
    return weights


@functools.lru_cache(maxsize=32)
def _fixed_point_weights(n: int, m: int) -> np.ndarray:
    return np.floor(triangle_weights(n, m) * 2.0**_BITS + 0.5)


def resize_bilinear(x: np.ndarray, size: tuple[int, int], antialias: bool) -> np.ndarray:
    """Bilinear resize of x (..., H, W) to (..., *size), in x's dtype.

    uint8 with antialias equals Pillow; other integers are rounded, half to even.
    """
    if antialias and x.dtype == np.uint8:
        return _resize_uint8(x, size)
    weights = triangle_weights if antialias else bilinear_weights
    work = x.dtype if x.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    y = x.astype(work, copy=False)
    if size[1] != x.shape[-1]:
        y = y @ weights(x.shape[-1], size[1]).T.astype(work)
    if size[0] != x.shape[-2]:
        y = weights(x.shape[-2], size[0]).astype(work) @ y
    y = in_dtype(y, x.dtype) if x.dtype.kind in "iu" else y.astype(x.dtype, copy=False)
    return y.copy() if y is x else y


def _resize_uint8(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    y = x
    if size[1] != x.shape[-1]:
        y = _rounded(y @ _fixed_point_weights(x.shape[-1], size[1]).T)
    if size[0] != x.shape[-2]:
        y = _rounded(_fixed_point_weights(x.shape[-2], size[0]) @ y)
    return y.copy() if y is x else y


def _rounded(sums: np.ndarray) -> np.ndarray:
    """Sums with 22 fractional bits to the nearest uint8."""
    sums += 2.0 ** (_BITS - 1)
    sums *= 2.0**-_BITS
    np.floor(sums, out=sums)
    return np.clip(sums, 0, 255, out=sums).astype(np.uint8)


def resize_nearest(x: np.ndarray, size: tuple[int, int], centred: bool, pillow: bool) -> np.ndarray:
    """The nearest pixel: output j is input floor((j + 1/2) s) if centred, else floor(j s).

    With `pillow` the positions are rounded as Pillow does it, else as PyTorch: that decides where
    they fall on the edge between two pixels.
    """
    rows = _nearest(x.shape[-2], size[0], centred, pillow)
    columns = _nearest(x.shape[-1], size[1], centred, pillow)
    return x[..., rows[:, None], columns]


def _nearest(n: int, m: int, centred: bool, pillow: bool) -> np.ndarray:
    start = 0.5 if centred else 0.0
    if pillow:  # doubles, the scale added up pixel by pixel
        steps = np.full(m, n / m)
        steps[0] *= start
        positions = np.add.accumulate(steps)
    else:  # single precision, the scale multiplied
        positions = (np.arange(m, dtype=np.float32) + np.float32(start)) * np.float32(n / m)
    return np.minimum(positions.astype(np.int64), n - 1)

"""Gaussian blur: each pixel becomes a weighted mean of its neighbours.

With K taps along an axis, r = (K-1)/2, and standard deviation sigma in pixels, the weights are

    g[k] = exp(-(k - r)^2 / (2 sigma^2)) / sum over l of exp(-(l - r)^2 / (2 sigma^2))

The weights of a window are g_y[k] g_x[l], a product, so the axes can be taken one after the other,
with KY + KX instead of KY*KX products a pixel:

    u[i, j] = sum over l of g_x[l] x[i, j + l - r]
    y[i, j] = sum over k of g_y[k] u[i + k - r, j]

Outside the image lies its mirror image, which does not repeat the last pixel.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from .kinds import in_dtype, is_pil, to_planes


def gaussian_blur(img: Any, kernel_size: Any, sigma: Any = None) -> Any:
    """The image, blurred; of the same size.

    Args: kernel_size, taps along x and y, two odd numbers or one for both; sigma, the standard
    deviations along x and y in pixels, two or one for both (None: 0.15 K + 0.35).
    Integers are rounded, half to even. Raises ValueError for taps that are even, or more than twice
    the image's size less one, for a sigma that is not above 0, and for a PIL image of one bit or
    with a palette; TypeError for what is no number.
    """
    taps = kernel_sizes(kernel_size, "gaussian_blur")
    sigmas = _sigmas(taps, sigma)
    if is_pil(img) and img.mode in ("1", "P", "PA", "La"):
        raise ValueError(
            f"gaussian_blur: a PIL image of mode {img.mode} holds no values that can be mixed; "
            'convert it, say by convert("RGB")'
        )
    x, back = to_planes(img, "gaussian_blur")
    for K, n in zip(taps, x.shape[:-3:-1], strict=True):
        if n <= K // 2:
            raise ValueError(
                f"gaussian_blur: kernel_size {K} needs more than {K // 2} pixels, got {n}"
            )
    y = x.astype(np.result_type(x.dtype, np.float32), copy=False)
    for axis, K, s in zip((-1, -2), taps, sigmas, strict=True):
        y = _along(y, axis, weights(K, s))
    return back(in_dtype(y, x.dtype))


def _sigmas(taps: tuple[int, int], sigma: Any) -> tuple[float, float]:
    """The standard deviations along x and y."""
    if sigma is None:
        return 0.15 * taps[0] + 0.35, 0.15 * taps[1] + 0.35
    values = tuple(sigma) if isinstance(sigma, Sequence) else (sigma,)
    if not all(isinstance(s, numbers.Real) for s in values):
        raise TypeError(f"gaussian_blur: sigma should be a number or two, got {sigma!r}")
    if len(values) not in (1, 2) or not all(0 < s < np.inf for s in values):
        raise ValueError(f"gaussian_blur: sigma should be a number above 0, or two, got {sigma!r}")
    return float(values[0]), float(values[-1])


def weights(K: int, sigma: float) -> np.ndarray:
    """g (K,), float64."""
    with np.errstate(over="ignore"):  # of a sigma next to 0, whose weights are 0, 1, 0
        z = (np.arange(K) - K // 2) / sigma
        g = np.exp(-0.5 * z * z)
    return g / g.sum()


def kernel_sizes(value: Any, function: str) -> tuple[int, int]:
    """The taps along x and y, odd and above 0."""
    sizes = tuple(value) if isinstance(value, Sequence) else (value,)
    if not all(isinstance(K, (int, np.integer)) and not isinstance(K, bool) for K in sizes):
        raise TypeError(f"{function}: kernel_size should be an int or two, got {value!r}")
    if len(sizes) not in (1, 2) or any(K < 1 or K % 2 == 0 for K in sizes):
        raise ValueError(
            f"{function}: kernel_size should be an int or two, odd and above 0, got {value!r}"
        )
    return int(sizes[0]), int(sizes[-1])


def _along(x: np.ndarray, axis: int, g: np.ndarray) -> np.ndarray:
    """The sum of shifted copies of x, each by its weight."""
    r = len(g) // 2
    if r == 0:
        return x.copy()
    width = [(0, 0)] * x.ndim
    width[axis] = (r, r)
    lines = np.moveaxis(np.pad(x, width, mode="reflect"), axis, 0)
    n = x.shape[axis]
    total = lines[r : r + n] * x.dtype.type(g[r])
    for k in range(1, r + 1):  # g[r - k] = g[r + k]
        total += (lines[r - k : r - k + n] + lines[r + k : r + k + n]) * x.dtype.type(g[r + k])
    return np.ascontiguousarray(np.moveaxis(total, 0, axis))

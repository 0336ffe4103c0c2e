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

from .kinds import to_planes


def gaussian_blur(img: Any, kernel_size: Any, sigma: Any = None) -> Any:
    """The image, blurred; of the same size.

    Args: kernel_size, taps along x and y, two odd numbers or one for both; sigma, the standard
    deviations along x and y in pixels, two or one for both (None: 0.15 K + 0.35).
    Integers are rounded, half to even. Raises ValueError for taps that are even, or more than twice
    the image's size less one, and for a sigma that is not above 0; TypeError for what is no number.
    """
    taps = kernel_sizes(kernel_size, "gaussian_blur")
    given = [0.15 * K + 0.35 for K in taps] if sigma is None else sigma
    sigmas = (given,) if isinstance(given, numbers.Real) else tuple(given)
    if len(sigmas) not in (1, 2) or not all(isinstance(s, numbers.Real) for s in sigmas):
        raise TypeError(f"gaussian_blur: sigma should be a number or two, got {sigma!r}")
    if not all(0 < s < np.inf for s in sigmas):
        raise ValueError(f"gaussian_blur: sigma should be above 0, got {sigma!r}")
    x, back = to_planes(img, "gaussian_blur")
    for K, n in zip(taps, x.shape[:-3:-1], strict=True):
        if n <= K // 2:
            raise ValueError(
                f"gaussian_blur: kernel_size {K} needs more than {K // 2} pixels, got {n}"
            )
    work = x.dtype if x.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    y = x.astype(work, copy=False)
    for axis, K, s in zip((-1, -2), taps, (sigmas[0], sigmas[-1]), strict=True):
        y = _along(y, axis, weights(K, s))
    return back((y if x.dtype.kind == "f" else np.rint(y)).astype(x.dtype, copy=False))


def weights(K: int, sigma: float) -> np.ndarray:
    """g (K,), float64."""
    z = (np.arange(K) - K // 2) / sigma
    g = np.exp(-0.5 * z * z)
    return g / g.sum()


def kernel_sizes(value: Any, function: str) -> tuple[int, int]:
    """The taps along x and y, odd and above 0."""
    sizes = tuple(value) if isinstance(value, Sequence) else (value,)
    if not all(isinstance(K, (int, np.integer)) and not isinstance(K, bool) for K in sizes):
        raise TypeError(f"{function}: kernel_size should be an int or two, got {value!r}")
    if len(sizes) not in (1, 2) or any(K < 1 or K % 2 == 0 for K in sizes):
        raise ValueError(f"{function}: kernel_size should be odd and above 0, got {value!r}")
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

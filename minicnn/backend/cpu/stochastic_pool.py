"""Stochastic pooling: one pixel of each window, drawn by its value. Formulas: `reference`."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from ..geometry import PoolGeometry
from .max_pool import max_pool_gather
from .windows import first_inside, tap_offsets, window_origins, window_taps


def stochastic_pool_forward(
    x: ndarray, u: ndarray, geometry: PoolGeometry
) -> tuple[ndarray, ndarray]:
    """y[n,c,i,j] = x[n,c,h,k], where the pixel (h,k) of the window is drawn with u[n,c,i,j].

    The running sum of x over the window exceeds u * (sum over the window) first at the drawn pixel,
    so its tap's number is the count of taps before, at which the sum does not yet.
    x (N,C,H,W), not negative; u float64 (N,C,OH,OW); results like u, the second int64.
    """
    X = x.astype(np.float64, copy=False)
    s = np.zeros(u.shape)
    for o, h in window_taps(geometry):
        s[o] += X[h]
    running = np.zeros(u.shape)
    tap = np.zeros(u.shape, np.int64)
    for o, h in window_taps(geometry):
        running[o] += X[h]
        tap += running <= u * s
    offsets = tap_offsets(geometry)
    tap = np.where(tap == offsets.size, first_inside(geometry), tap)  # zeros: nothing was drawn
    indices = offsets[tap] + window_origins(geometry)
    return max_pool_gather(x, indices), indices

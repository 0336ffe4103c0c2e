"""Sparse matrices along one axis: kernels/resample.cu."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..taps import Taps
from .launcher import device_of, launch, prepared, scalar


def resample(x: Any, taps: Taps, axis: int) -> Any:
    """y[..., j, ...] = sum over i of A[j,i] * x[..., i, ...]: A's product with each line of x.

    The axis has n entries in x and m in y, A being (m, n).
    """
    device, dtype = device_of(x), x.dtype
    if dtype.kind not in "f" and taps.weights is None:
        return _copied(device, x, taps, axis)
    [x] = prepared("resample", x=(x, None))
    m, n = taps.shape
    shape = (*x.shape[:axis], m, *x.shape[axis + 1 :])
    y = device.empty(shape, x.dtype)
    starts = np.searchsorted(taps.rows, np.arange(m + 1)).astype(np.int32)
    weights = taps.weights
    launch(
        device,
        "resample.cu",
        "resample",
        scalar(x.dtype),
        threads=y.size,
        x=x,
        starts=device.asarray(starts),
        columns=device.asarray(taps.columns.astype(np.int32)),
        weights=None if weights is None else device.asarray(weights.astype(x.dtype)),
        y=y,
        n=n,
        m=m,
        inner=prod(shape[axis + 1 :]),
        count=y.size,
    )
    return y.astype(dtype, copy=False)


def _copied(device: Any, x: Any, taps: Taps, axis: int) -> Any:
    """The same for numbers of other types, in the library's own functions, an entry at a time."""
    lines = device.xp.moveaxis(x, axis, 0)
    y = device.zeros((taps.shape[0], *lines.shape[1:]), x.dtype)
    for j, i in zip(taps.rows.tolist(), taps.columns.tolist(), strict=True):
        y[j] += lines[i]
    return device.xp.moveaxis(y, 0, axis)

"""Anomaly mode: which op made the first NaN or infinity, and which line of the user's called it."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from ..backend import arrays as backend
from . import dtypes

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def check_forward(node: Any, arrays: Any, outs: Any) -> None:
    """Notes the user's line on the node; RuntimeError if a result holds a NaN or an infinity."""
    node.where = user_line()
    for y in outs:
        if (at := first_bad(y.array)) is None:
            continue
        came = [i for i, x in enumerate(arrays) if backend.is_array(x) and first_bad(x) is not None]
        cause = f"input {came[0]} already held one" if came else "its inputs are all finite"
        raise RuntimeError(
            f"{type(node).__name__}: the forward made {y.array[at].item()} at index {at} of a "
            f"result of shape {y.shape} ({cause}); called at {node.where}"
        )


def first_bad(array: Any) -> tuple[int, ...] | None:
    """The index of the first NaN or infinity; None if there is none."""
    if not dtypes.is_floating(array.dtype):
        return None
    with backend.on_device_of(array):
        bad = ~np.isfinite(array)
        if not bad.any():
            return None
        return tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))


def user_line() -> str:
    """Where the innermost frame outside minicnn stands, as `file.py:12: source line`."""
    import linecache

    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    return f"{file}:{line}: {linecache.getline(file, line).strip()}"

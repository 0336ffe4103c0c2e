"""The error function: kernels/special.cu."""

from __future__ import annotations

from typing import Any

from .launcher import device_of, launch, prepared, scalar


def erf(x: Any) -> Any:
    """erf(x), element by element; y like x."""
    return _launch("erf", x)


def erfc(x: Any) -> Any:
    """1 - erf(x), element by element, with its own digits; y like x."""
    return _launch("erfc", x)


def _launch(function: str, x: Any) -> Any:
    device, dtype = device_of(x), x.dtype
    [x] = prepared(function, x=(x, None))
    y, count = device.empty(x.shape, x.dtype), x.size
    kernel, constants = f"{function}_of", scalar(x.dtype)
    launch(device, "special.cu", kernel, constants, threads=count, x=x, y=y, count=count)
    return y.astype(dtype, copy=False)

"""Padding: numbers around a tensor, and where the gradient of a border goes.

Along one axis x has n numbers, and y has lo more in front and hi more behind. Padding several axes
is padding one after the other.


A constant
----------
(1)  y[j] = x[j - lo] if 0 <= j - lo < n, else v           j = 0 .. lo+n+hi-1

v does not depend on x, so the border takes its gradient with it:

(2)  grad_x[i] = grad_y[i + lo]


Borders made of x
-----------------
In the other modes every element of y is a copy of one of x,

(3)  y[j] = x[s(j)]

which for the j inside, with 0 <= j - lo < n, is j - lo, and beyond the ends

(4)  s(j) = |j - lo| for j - lo < n, else 2(n-1) - (j - lo)      reflect: the edge is not repeated
(5)  s(j) = min(max(j - lo, 0), n-1)                             replicate: the edge repeated
(6)  s(j) = (j - lo) mod n                                       circular: on from the other end

A number that is copied several times moves all of its copies, and so collects all of their
gradients. This is where a border's gradient *adds* to that of a pixel inside:

(7)  grad_x[i] = sum over the j with s(j) = i of grad_y[j]

Only one reflection or one turn is taken: lo and hi are at most n-1 for (4), n for (6).


Negative widths
---------------
They cut. (1) to (5) hold for them as they stand: what is cut gets no gradient. (6) goes round in
what is left: cut first, then pad.


By hand
-------
x = [1, 2, 3], lo = 2, hi = 1, v = 0, grad_y = [1, 2, 3, 4, 5, 6]:

     constant    y = [0, 0, 1, 2, 3, 0]      grad_x = [3, 4, 5]
     reflect     y = [3, 2, 1, 2, 3, 2]      grad_x = [3, 2+4+6, 1+5]
     replicate   y = [1, 1, 1, 2, 3, 3]      grad_x = [1+2+3, 4, 5+6]
     circular    y = [2, 3, 1, 2, 3, 1]      grad_x = [3+6, 1+4, 2+5]

Reflecting the 1x1x3x3 image [[1,2,3], [4,5,6], [7,8,9]] by 1 on every side puts 5 into all four
corners; with ones for grad_y the centre's gradient is 9, a corner's is 1, an edge's is 3.
"""

from __future__ import annotations

import math
from functools import lru_cache
from operator import index
from typing import Any

import numpy as np

from ..autograd import Function
from ..backend.taps import Taps
from .checks import check_array
from .resize import Resample
from .shape import Slice, narrow

__all__ = ["pad"]


class Pad(Function):
    """y = x in the middle of a larger tensor full of `value`: formula (1).  grad_x: (2)."""

    def forward(self, x: Any, *, widths: tuple[tuple[int, int], ...], value: Any) -> Any:
        shape = [lo + n + hi for n, (lo, hi) in zip(x.shape, widths, strict=True)]
        inner = tuple([slice(lo, lo + n) for n, (lo, _) in zip(x.shape, widths, strict=True)])
        self.inner = inner
        y = np.full_like(x, value, shape=shape) if value else np.zeros_like(x, shape=shape)
        y[inner] = x
        return y

    def backward(self, grad_y: Any) -> Any:
        return Slice.apply(grad_y, index=self.inner)


@lru_cache(maxsize=256)
def pad_taps(mode: str, n: int, lo: int, hi: int) -> Taps:
    """Formula (3) as a matrix that `Resample` multiplies an axis by: its transpose adds, as (7)."""
    j = np.arange(lo + n + hi)
    if mode == "reflect":
        s = np.where(j - lo < n, np.abs(j - lo), 2 * (n - 1) - (j - lo))
    elif mode == "replicate":
        s = np.clip(j - lo, 0, n - 1)
    else:
        first = max(-lo, 0)
        s = first + (j - max(lo, 0)) % max(n - first - max(-hi, 0), 1)
    return Taps((len(j), n), j, s, None)


_MODES = ("reflect", "replicate", "circular")


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """Wider at the ends of the last dimensions: pad = (left, right, top, bottom, ...), last first.

    Args:
        input: of any shape with "constant"; else (N, C, *size) or (C, *size).
        pad: two widths for each of the last dimensions; in the modes other than "constant", for
            each of the 1 to 3 dimensions of `size`. Negative widths cut.
        mode: "constant" fills with `value`; "reflect" mirrors without repeating the edge,
            "replicate" repeats the edge, "circular" goes on at the other end.
        value: 0 if None.

    Raises RuntimeError for an odd number of widths or more than twice the dimensions, for widths
    that leave nothing or that the mode cannot serve, for a value without "constant" or beyond the
    input's type; TypeError for widths that are no integers; NotImplementedError for a mode that
    does not exist, or not for so many dimensions.
    """
    check_array("pad", "input", input)
    widths = _pad_widths(input, pad)
    if mode == "constant":
        for axis, (lo, hi) in enumerate(widths):
            if lo < 0 or hi < 0:
                start = max(-lo, 0)
                _check_cut(input, axis, lo, hi)
                input = narrow(input, axis, start, input.shape[axis] - start - max(-hi, 0))
        grow = tuple([(max(lo, 0), max(hi, 0)) for lo, hi in widths])
        return Pad.apply(input, widths=grow, value=_fill(input, value))
    if mode not in _MODES:
        names = ", ".join(["'constant'", *map(repr, _MODES)])
        raise NotImplementedError(f"pad: mode expects one of {names}, got {mode!r}")
    if value:
        raise RuntimeError(f"pad: value is for mode 'constant' alone, got {value} with {mode!r}")
    dims = len(pad) // 2
    _check_border(input, widths, dims, mode)
    for axis in range(input.ndim - dims, input.ndim):
        taps = pad_taps(mode, input.shape[axis], *widths[axis])
        input = Resample.apply(input, taps=taps, axis=axis)
    return input


def _fill(x: Any, value: Any) -> Any:
    """`value` as a number, if x's type can hold it."""
    number = value.item() if hasattr(value, "item") else value
    if number is None:
        return 0
    if not isinstance(number, (int, float)):
        raise TypeError(f"pad: value expects a number, got {value!r}")
    if x.dtype.kind in "iu":
        held = np.iinfo(x.dtype).min <= number <= np.iinfo(x.dtype).max
    elif x.dtype.kind == "f":
        held = abs(number) <= float(np.finfo(x.dtype).max) or not abs(number) < math.inf
    else:
        held = True
    if not held:
        raise RuntimeError(f"pad: value expects a number that {x.dtype} can hold, got {number}")
    return number


def _pad_widths(x: Any, pad: Any) -> list[tuple[int, int]]:
    """(low, high) for each dimension of x, first dimension first."""
    try:
        pad = tuple([index(width) for width in pad])
    except TypeError:
        raise TypeError(f"pad: pad expects a tuple of integers, got {pad!r}") from None
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise RuntimeError(
            f"pad: pad expects two numbers for each of at most {x.ndim} dimensions, got {pad}"
        )
    pairs = list(zip(pad[0::2], pad[1::2], strict=True))[::-1]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    if any(lo + n + hi < 0 for n, (lo, hi) in zip(x.shape, widths, strict=True)):
        raise RuntimeError(f"pad: pad {pad} leaves less than nothing of shape {tuple(x.shape)}")
    return widths


def _check_cut(x: Any, axis: int, lo: int, hi: int) -> None:
    if max(-lo, 0) + max(-hi, 0) > x.shape[axis]:
        raise RuntimeError(
            f"pad: widths ({lo}, {hi}) cut off more than dimension {axis} of a tensor of shape "
            f"{tuple(x.shape)} has"
        )


def _check_border(x: Any, widths: list[tuple[int, int]], dims: int, mode: str) -> None:
    """Raises unless the mode can make these borders of x: (N, C, *size) or (C, *size)."""
    shape = tuple(x.shape)
    if not 1 <= dims <= 3 or x.ndim - dims not in (1, 2):
        raise NotImplementedError(
            f"pad: mode {mode!r} expects widths for the 1 to 3 last dimensions of (N, C, *size) or "
            f"(C, *size), got {2 * dims} widths for shape {shape}"
        )
    if mode != "circular" and 0 in shape[-dims - 1 :]:
        raise RuntimeError(f"pad: mode {mode!r} expects sizes other than 0, got shape {shape}")
    for axis, (lo, hi) in enumerate(widths):
        size = shape[axis]
        if mode == "circular":
            _check_cut(x, axis, lo, hi)
            size -= max(-lo, 0) + max(-hi, 0)
        largest = {"reflect": size - 1, "replicate": max(lo, hi), "circular": size}[mode]
        if max(lo, hi) > largest and max(lo, hi) > 0:
            raise RuntimeError(
                f"pad: mode {mode!r} expects widths of at most {largest} for dimension {axis} of "
                f"a tensor of shape {shape}, got ({lo}, {hi})"
            )
        if mode != "circular" and lo + shape[axis] + hi == 0 and shape[axis]:
            raise RuntimeError(
                f"pad: widths ({lo}, {hi}) leave nothing of dimension {axis} of a tensor of shape "
                f"{shape}, which mode {mode!r} does not allow"
            )

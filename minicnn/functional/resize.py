"""Resizing, and the derivation of its gradient.

A sparse matrix along each axis
-------------------------------
Along one axis, x has n numbers and y has m. In every mode y is linear in x:

(1)  y[j] = sum over i of A[j,i] * x[i]               j = 0 .. m-1,  i = 0 .. n-1

A has few entries in a row that are not zero: 1, 2 or 4, and in the modes that average as many as
one output covers. dy[j]/dx[i] = A[j,i], so the gradient goes back through the transpose,

(2)  grad_x[i] = sum over j of A[j,i] * grad_y[j]

which *adds* where several outputs read one input, as they do in enlarging, and is zero where none
does. The transpose of the transpose is A: derivatives of any order alternate between (1) and (2).

An image is resized along H, then along W, with a matrix for each (a volume along D too):

(3)  y[n,c,i,j] = sum over h,k of A_H[i,h] * A_W[j,k] * x[n,c,h,k]               y = A_H x A_W^T
(4)  grad_x[n,c,h,k] = sum over i,j of A_H[i,h] * A_W[j,k] * grad_y[n,c,i,j]     A_H^T grad_y A_W

The order makes no difference to (3); the axis that shrinks most goes first.


Where an output lies on the input
---------------------------------
The step from one output to the next, measured on the input, is

(5)  s = n/m;  1/scale_factor where that is given;  with align_corners (n-1)/(m-1), or 0 if m = 1

A pixel i covers [i, i+1), with its centre at i + 1/2; the centre of output j lies at (j + 1/2) * s.
With align_corners the first and the last centre of x and of y lie upon each other. Counted so that
pixel i is at i, output j is at

(6)  u(j) = (j + 1/2) * s - 1/2;   with align_corners u(j) = j * s

With a scale_factor m = floor(n * scale_factor), and n/m is in general another number than
1/scale_factor; recompute_scale_factor=True takes the former. s and u are computed in x's type (in
float32 for float16), which decides between two neighbours where u is next to a whole number.


Nearest
-------
"nearest" takes the pixel in which the *left end* of the output's pixel lies, "nearest-exact" that
in which its centre lies:

(7)  A[j,i] = 1 if i = min(floor(j * s), n-1), else 0
(8)  A[j,i] = 1 if i = min(floor((j + 1/2) * s), n-1), else 0


Linear
------
Between the two nearest pixels, weighted by nearness; beyond the outermost centres, their value:

(9)  A[j,i] = max(0, 1 - |v(j) - i|)      v(j) = min(max(u(j), 0), n-1)

"bilinear" and "trilinear" are (9) along two axes and three. Where m = n, (9) and (13) change
nothing, whatever the scale_factor.


Cubic
-----
The four pixels around u(j), weighted by a piecewise cubic that is 1 at 0, 0 at all other whole
numbers, and has a continuous slope (Keys 1981), here with a = -3/4:

(10) K(t) = (a+2)|t|^3 - (a+3)|t|^2 + 1           for |t| <= 1
          = a|t|^3 - 5a|t|^2 + 8a|t| - 4a         for 1 < |t| < 2,  else 0

Pixels beyond the border are copies of the border:

(11) A[j,i] = sum over those q of -1, 0, 1, 2 with min(max(floor(u(j)) + q, 0), n-1) = i
              of K(u(j) - floor(u(j)) - q)


Averages
--------
"area" is adaptive average pooling: output j averages the pixels that it touches,

(12) A[j,i] = 1 / (b - a) for a <= i < b, else 0      a = floor(j*n/m),  b = ceil((j+1)*n/m)

Where an image shrinks, (9) and (11) skip pixels and show patterns that are not there (aliasing).
With antialias the kernel is stretched by r = max(1, s) to cover an output's pixel, and normalised:

(13) A[j,i] = k(j,i) / sum over i of k(j,i)      k(j,i) = f((i + 1/2 - (j + 1/2) * s) / r)

with f(t) = max(0, 1 - |t|) for "bilinear", K with a = -1/2 for "bicubic", and for "lanczos"
f(t) = sinc(t) * sinc(t/3) for |t| < 3, else 0, where sinc(t) = sin(pi*t) / (pi*t). No pixel beyond
the border counts.


By hand
-------
x = [0, 4, 8] to m = 6, s = 1/2, u = [-1/4, 1/4, 3/4, 5/4, 7/4, 9/4]:

     nearest   y = [0, 0, 4, 4, 8, 8]     grad_x = [1+2, 3+4, 5+6]
     linear    y = [0, 1, 3, 5, 7, 8]     grad_x = [13/4, 7, 43/4], because A =
               [[1,0,0], [3/4,1/4,0], [1/4,3/4,0], [0,3/4,1/4], [0,1/4,3/4], [0,0,1]]

for grad_y = [1, 2, 3, 4, 5, 6]. The 1x1x3x3 image [[0,4,8], [4,8,12], [8,12,16]], whose pixels are
4h + 4k, resized to 6x6 by "bilinear" is y[i,j] = r[i] + r[j] with r = [0, 1, 3, 5, 7, 8].
"""

from __future__ import annotations

from functools import lru_cache
from operator import index
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from ..backend.geometry import adaptive_windows
from ..backend.taps import Taps
from .arithmetic import cast
from .shape import clone

__all__ = ["interpolate"]


class Resample(Function):
    """y = A x along one axis: formula (1).  grad_x: (2), the same with A transposed."""

    def forward(self, x: Any, *, taps: Taps, axis: int) -> Any:
        self.taps, self.axis = taps, axis
        return backend.of(x).resample(x, taps, axis)

    def backward(self, grad_y: Any) -> Any:
        return Resample.apply(grad_y, taps=self.taps.transposed, axis=self.axis)


# ---------------------------------------------------------------------- the matrices


@lru_cache(maxsize=256)
def resize_taps(
    kind: str,
    n: int,
    m: int,
    scale_factor: float | None,
    align_corners: bool,
    antialias: bool,
    dtype: Any,
) -> Taps:
    """A (m, n) for one axis; kind is "nearest", "nearest-exact", "linear", "cubic" or "area".

    All is computed in `dtype` (float32 or float64), as PyTorch does it on the CPU.
    """
    T = dtype.type
    if kind == "area":
        return _area(n, m, T)
    if n == m and (kind == "linear" or antialias):
        return _nearest(np.arange(m), n)
    if align_corners:
        s = T(n - 1) / T(m - 1) if m > 1 else T(0)
    else:
        s = T(1 / scale_factor) if scale_factor else T(n) / T(m)
    j, half = np.arange(m).astype(T), T(0.5)
    if kind == "nearest":
        return _nearest(j * s, n)
    if antialias:
        return _antialiased(kind, n, (j + half) * s, s)
    # In float32 rounded once, like the fused multiply-add that PyTorch is compiled to.
    u = j * s if align_corners else ((j + 0.5) * np.float64(s) - 0.5).astype(T)
    if kind == "nearest-exact":
        return _nearest(u + half, n)
    return _linear(u, n) if kind == "linear" else _cubic(u, n)


def _nearest(u: Any, n: int) -> Taps:
    """(7) and (8). PyTorch rounds to float32 before it takes the floor, in every type."""
    columns = np.floor(u.astype(np.float32)).astype(np.int64)
    return Taps((len(u), n), np.arange(len(u)), np.minimum(columns, n - 1), None)


def _linear(u: Any, n: int) -> Taps:
    """(9)."""
    v = np.clip(u, 0, n - 1)
    left = np.floor(v).astype(np.int64)
    right, share = np.minimum(left + 1, n - 1), (v - left.astype(v.dtype))
    rows = np.arange(len(u))
    return Taps.of((len(u), n), rows, np.array([left, right]), np.array([1 - share, share]))


def _keys(t: Any, a: float) -> Any:
    """K of (10)."""
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, t.dtype.type(0)))


def _cubic(u: Any, n: int) -> Taps:
    """(11)."""
    left = np.floor(u).astype(np.int64)
    q = np.arange(-1, 3)[:, None]
    weights = _keys(u - left.astype(u.dtype) - q.astype(u.dtype), -0.75)
    return Taps.of((len(u), n), np.arange(len(u)), np.clip(left + q, 0, n - 1), weights)


def _area(n: int, m: int, T: Any) -> Taps:
    """(12)."""
    windows = np.array(adaptive_windows(n, m))
    sizes = windows[:, 1] - windows[:, 0]
    columns = np.concatenate([np.arange(a, b) for a, b in windows])
    weights = np.repeat(1 / sizes.astype(T), sizes)
    return Taps.of((m, n), np.repeat(np.arange(m), sizes), columns, weights)


def _antialiased(kind: str, n: int, centre: Any, s: Any) -> Taps:
    """(13). `centre` holds (j + 1/2) * s."""
    r = max(s, s.dtype.type(1))
    reach = r * {"linear": 1, "cubic": 2, "lanczos": 3}[kind]
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + reach + 0.5).astype(np.int64), n)
    columns = first[:, None] + np.arange((stop - first).max())
    t = (columns - centre[:, None] + 0.5).astype(s.dtype) / r
    if kind == "linear":
        k = np.maximum(1 - np.abs(t), 0)
    elif kind == "cubic":
        k = _keys(t, -0.5)
    else:
        k = np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0).astype(t.dtype)
    k = np.where(columns < stop[:, None], k, s.dtype.type(0))
    weights = k / k.sum(1, keepdims=True)
    rows = np.arange(len(centre))[:, None]
    return Taps.of((len(centre), n), rows, np.minimum(columns, n - 1), weights)


# ---------------------------------------------------------------------- public function

# mode: (kind of matrix, the numbers of axes that it takes)
_MODES = {
    "nearest": ("nearest", (3, 4, 5)),
    "nearest-exact": ("nearest-exact", (3, 4, 5)),
    "linear": ("linear", (3,)),
    "bilinear": ("linear", (4,)),
    "trilinear": ("linear", (5,)),
    "bicubic": ("cubic", (4,)),
    "lanczos": ("lanczos", (4,)),
    "area": ("area", (3, 4, 5)),
}


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """`input` at another size, its pixels copied, interpolated or averaged.

    Args:
        input: (N, C, L), (N, C, H, W) or (N, C, D, H, W), floating; uint8 with the nearest modes.
        size: the new size, one number or one for each spatial axis; or
        scale_factor: what to multiply the size by, one number or one for each axis.
        mode: "nearest", "nearest-exact", "area"; "linear", "bilinear", "trilinear" for 1, 2, 3
            spatial axes; "bicubic" for 2, and "lanczos", with antialias only.
        align_corners: for the linear modes and "bicubic"; see formula (6).
        recompute_scale_factor: compute positions from the sizes, not from scale_factor.
        antialias: for "bilinear", "bicubic" and "lanczos"; see formula (13).

    Returns:
        (N, C, *new size) of the input's dtype.

    Raises:
        ValueError: both size and scale_factor, or neither; not one for each axis; an option that
            does not go with the mode; a size that is not positive.
        TypeError: a size that is no integer; an input of another type.
        NotImplementedError: a mode that does not exist, or not for so many axes.
    """
    kind = _kind(input, mode, align_corners, antialias)
    sizes, factors = _new_size(input, size, scale_factor, recompute_scale_factor, mode)
    T = np.dtype(np.float64 if input.dtype == np.float64 else np.float32)
    y = cast(input, T) if input.dtype == np.float16 else input
    axes = list(zip(range(2, input.ndim), input.shape[2:], sizes, factors, strict=True))
    for axis, n, m, factor in sorted(axes, key=lambda a: a[2] / a[1]):
        taps = resize_taps(kind, n, m, factor, bool(align_corners), antialias, T)
        if not taps.is_identity:
            y = Resample.apply(y, taps=taps, axis=axis)
    return clone(y) if y is input else cast(y, input.dtype) if y.dtype != input.dtype else y


def _kind(x: Any, mode: str, align_corners: bool | None, antialias: bool) -> str:
    """The kind of matrix, if the options go together."""
    dtype, shape = getattr(x, "dtype", None), tuple(getattr(x, "shape", ()))
    if mode not in list(_MODES):  # a list is no key of a dict, but gets the same message
        names = ", ".join(map(repr, _MODES))
        raise NotImplementedError(f"interpolate: mode expects one of {names}, got {mode!r}")
    kind, ranks = _MODES[mode]
    if dtype is None or not (dtype.kind == "f" or (dtype == np.uint8 and "nearest" in kind)):
        got = type(x).__name__ if dtype is None else dtype
        raise TypeError(
            f"interpolate: input expects a floating type (or uint8 with mode 'nearest' or "
            f"'nearest-exact'), got {got} with mode {mode!r}"
        )
    if align_corners is not None and kind not in ("linear", "cubic", "lanczos"):
        raise ValueError(
            "interpolate: align_corners goes with the modes 'linear', 'bilinear', 'trilinear' and "
            f"'bicubic', got {align_corners} with {mode!r}"
        )
    if antialias and mode not in ("bilinear", "bicubic", "lanczos"):
        raise ValueError(
            "interpolate: antialias goes with the modes 'bilinear', 'bicubic' and 'lanczos', got "
            f"{mode!r}"
        )
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError(
            "interpolate: mode 'lanczos' expects antialias=True and no align_corners, got "
            f"antialias={antialias} and align_corners={align_corners}"
        )
    if len(shape) not in ranks:
        axes = " or ".join(map(str, ranks))
        raise NotImplementedError(
            f"interpolate: mode {mode!r} expects an input of {axes} axes, (N, C, ...), got {shape}"
        )
    return kind


def _new_size(
    x: Any, size: Any, scale_factor: Any, recompute: bool | None, mode: str
) -> tuple[list[int], list[float | None]]:
    """For each spatial axis the new size, and the scale_factor that positions are computed from."""
    shape = tuple(x.shape)
    if (size is None) == (scale_factor is None):
        both = "neither" if size is None else f"{size} and {scale_factor}"
        raise ValueError(f"interpolate: expects either size or scale_factor, got {both}")
    name, given = ("scale_factor", scale_factor) if size is None else ("size", size)
    values = list(given) if isinstance(given, (tuple, list)) else [given] * (len(shape) - 2)
    if len(values) != len(shape) - 2:
        raise ValueError(
            f"interpolate: {name} expects one number, or one for each of the {len(shape) - 2} "
            f"spatial axes of {shape}, got {given}"
        )
    factors: list[float | None] = [None] * len(values)
    if size is None:
        try:
            values = [float(v) for v in values]
            sizes = [int(n * v) for n, v in zip(shape[2:], values, strict=True)]
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"interpolate: scale_factor expects finite numbers, got {given!r}"
            ) from None
        factors = factors if recompute or mode == "area" else list(values)
    elif recompute:
        raise ValueError("interpolate: recompute_scale_factor goes with scale_factor, got size")
    else:
        try:
            sizes = [index(v) for v in values]
        except (TypeError, RuntimeError):  # a Tensor of several numbers raises the latter
            raise TypeError(f"interpolate: size expects integers, got {given!r}") from None
    if min(sizes) <= 0 or min(shape[2:]) <= 0:
        raise ValueError(
            f"interpolate: sizes are positive, got {tuple(sizes)} from {name} {given} for {shape}"
        )
    return sizes, factors

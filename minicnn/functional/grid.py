"""Reading an image at places that a network computes, and the gradients of both.

    x (N, C, H, W) input        g (N, OH, OW, 2) grid of places        y (N, C, OH, OW) output

g[n,a,b] = (gx, gy) says where output (a,b) is read: -1 is the left (the upper) edge of x, 1 is the
right (the lower) edge. In three dimensions a place is (gx, gy, gz) in a volume (N, C, D, H, W);
read each pair of indices as three. Jaderberg et al. (2015) let a small network move, turn and scale
what the large one sees (spatial transformer networks).


Where a place lies on the pixels
--------------------------------
Along an axis of S pixels, counted so that the centre of pixel i is at i,

(1)  u = ((g + 1) * S - 1) / 2;    with align_corners u = (g + 1) * (S - 1) / 2

so that -1 and 1 are the outer edges of the outer pixels or, with align_corners, their centres.

What lies beyond the pixels is 0 (padding_mode "zeros", v = u), or the pixel at the border, or the
image mirrored again and again at its edges e = -1/2 and e + L, L = S (with align_corners at e = 0
and e + L, L = S - 1):

(2)  border       v = min(max(u, 0), S-1)
(3)  reflection   v = min(max(r, 0), S-1)    t = |u - e| mod 2L,   r = e + min(t, 2L - t)

with r = 0 if L = 0. v runs with u, against it, or stands still:

(4)  dv/du = 1, or for "reflection" the sign of u - e, turned if |u - e| mod 2L > L;
             0 where the min or max of (2), (3) cuts, v = 0 and v = S-1 themselves included


Between pixels
--------------
"bilinear" takes the pixels around, weighted by nearness; "nearest" the nearest alone, with even
numbers at a tie; "bicubic" four along each axis, with K of resize.py's formula (10), a = -3/4:

(5)  y[n,c,o] = sum over h,k of f(vy[n,o] - h) * f(vx[n,o] - k) * x[n,c,h,k]       o = (a,b)
(6)  bilinear  f(t) = max(0, 1 - |t|)
(7)  nearest   f(v - h) = 1 if h = rint(v), else 0
(8)  bicubic   f(t) = K(t), with u for v, and pixels beyond the border read by (2) or (3)

Pixels beyond x count as 0.


Backward
--------
y is linear in x: the gradient adds, pixel by pixel, what each output read of it,

(9)  grad_x[n,c,h,k] = sum over o of f(vy[n,o] - h) * f(vx[n,o] - k) * grad_y[n,c,o]

To the places it goes through the weights. With f' the slope of f,

(10) grad_gx[n,o] = du/dgx * dv/du * (sum over c,h,k of f(vy[n,o] - h) * f'(vx[n,o] - k)
                                                        * x[n,c,h,k] * grad_y[n,c,o])

and for gy with f and f' exchanged; du/dg = S/2, with align_corners (S-1)/2. "nearest" is flat, its
f' is 0. At a pixel's centre bilinear f has a kink; there the slope to the right is taken.

The code writes (5) as gathers, products and sums, whose gradients are (9) and (10); so they are
differentiable again.


An affine grid
--------------
theta (N, 2, 3) moves the places p = (px[b], py[a]) of the pixels' centres themselves,

(11) g[n,a,b] = theta[n] (px[b], py[a], 1)^T     p[j] = (2j + 1) / S - 1;  with align_corners
                                                p[j] = 2j / (S - 1) - 1, or 0 if S = 1

The identity [[1,0,0], [0,1,0]] gives each pixel its own place, so grid_sample returns x.


By hand
-------
One row x = [0, 4, 8], S = 3: g = 1/2 is at u = (3/2 * 3 - 1)/2 = 7/4, between the pixels 4 and 8,
and y = 1/4 * 4 + 3/4 * 8 = 7. dy/du = 8 - 4 and du/dg = 3/2, so grad_g = 6 grad_y, and grad_x =
[0, 1/4, 3/4] grad_y.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import array_module
from .choice import where
from .index import gather
from .linear import matmul
from .operands import on_its_device
from .shape import expand, permute, reshape, unsqueeze

__all__ = ["affine_grid", "grid_sample"]

_MODES = ("bilinear", "nearest", "bicubic")
_PADDING_MODES = ("zeros", "border", "reflection")


@on_its_device
def grid_sample(
    input: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Any:
    """`input` read at the places of `grid`: formula (5).

    Args:
        input: (N, C, H, W) or (N, C, D, H, W), floating.
        grid: (N, OH, OW, 2) or (N, OD, OH, OW, 3), of input's dtype: x, y (and z), in [-1, 1]
            within the image.
        mode: "bilinear" (in three dimensions that is trilinear), "nearest", or "bicubic" (in two).
        padding_mode: what lies beyond: "zeros", "border" or "reflection".
        align_corners: whether -1 and 1 are the outer pixels' centres, and not their edges.

    Returns:
        (N, C, OH, OW) or (N, C, OD, OH, OW).

    Raises:
        ValueError: a mode that does not exist, or bicubic in three dimensions.
        RuntimeError: shapes that do not fit, no pixels, or two dtypes.
        TypeError: an input that is not floating.
    """
    _check(input, grid, mode, padding_mode)
    N, C, *sizes = input.shape
    # Last comes x, along W: turned round, the places are in the order of the sizes.
    places = [reshape(grid[..., k], (N, -1)) for k in reversed(range(len(sizes)))]
    reads = [
        _reads(u, S, mode, padding_mode, bool(align_corners))
        for u, S in zip(places, sizes, strict=True)
    ]
    x, P = reshape(input, (N, C, -1)), places[0].shape[1]
    y: Any = 0
    for taps in product(*reads):
        at, weight = taps[0]
        for (pixel, factor), S in zip(taps[1:], sizes[1:], strict=True):
            at, weight = at * S + pixel, weight * factor
        y = y + gather(x, 2, expand(unsqueeze(at, 1), (N, C, P))) * unsqueeze(weight, 1)
    return reshape(y, (N, C, *grid.shape[1:-1]))


def _reads(
    g: Any, S: int, mode: str, padding_mode: str, align_corners: bool
) -> list[tuple[Tensor, Any]]:
    """For places g (N,P) along an axis: the pixels (N,P) that are read, and their weights (N,P)."""
    u = (g + 1) * ((S - 1) / 2) if align_corners else ((g + 1) * S - 1) / 2  # (1)
    xp = array_module(u.array)
    far = np.finfo(u.dtype).max / 4  # where infinities and NaN are taken to be
    u = where(Tensor(xp.isfinite(u.array)), u, Tensor(xp.where(u.array > 0, far, -far)))
    if mode == "bicubic":
        left = xp.floor(u.array)
        t = u - Tensor(left)
        return [
            _pixel(_beyond(left + q, S, padding_mode, align_corners)[0], S, _share(t, q))
            for q in (-1, 0, 1, 2)
        ]
    value, slope = _beyond(u.array, S, padding_mode, align_corners)
    run = where(Tensor(slope) != 0, u - u.detach(), 0)  # 0, with the slope 1
    v = Tensor(value) + Tensor(slope) * run
    if mode == "nearest":  # the weight is 1, and its gradient to the place 0, not None
        return [_pixel(xp.rint(value), S, 0 * run + 1)]
    left = xp.floor(value)
    share = v - Tensor(left)
    return [_pixel(left, S, 1 - share), _pixel(left + 1, S, share)]


def _beyond(u: Any, S: int, padding_mode: str, align_corners: bool) -> tuple[Any, Any]:
    """v and dv/du, arrays: (2), (3) and (4)."""
    xp = array_module(u)
    if padding_mode == "zeros":
        return u, xp.ones_like(u)
    r, slope = u, xp.ones_like(u)
    if padding_mode == "reflection":
        e, L = (0.0, S - 1) if align_corners else (-0.5, S)
        if L == 0:
            return xp.zeros_like(u), xp.zeros_like(u)
        distance = xp.abs(u - e)
        turns = xp.floor(distance / L)
        rest, odd = distance - turns * L, turns % 2 == 1
        r = xp.where(odd, L - rest, rest) + e
        slope = xp.where(odd, -slope, slope) * xp.where(u < e, -slope, slope)
    return xp.clip(r, 0, S - 1), xp.where((r > 0) & (r < S - 1), slope, 0 * slope)


def _pixel(place: Any, S: int, weight: Any) -> tuple[Tensor, Any]:
    """A whole place as an index; beyond x any index, and the weight 0."""
    xp = array_module(place)
    inside = (place >= 0) & (place < S)
    at = xp.where(inside, place, 0).astype(np.int64)
    return Tensor(at), where(Tensor(inside), weight, 0)


def _share(t: Any, q: int) -> Any:
    """K(t - q) for 0 <= t < 1: formula (10) of resize.py with a = -3/4."""
    d, a = (t - q if q < 1 else q - t), -0.75
    if q in (0, 1):
        return ((a + 2) * d - (a + 3)) * d * d + 1
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a


def _check(input: Any, grid: Any, mode: str, padding_mode: str) -> None:
    for name, value, known in (
        ("mode", mode, _MODES),
        ("padding_mode", padding_mode, _PADDING_MODES),
    ):
        if value not in list(known):
            names = ", ".join(map(repr, known))
            raise ValueError(f"grid_sample: {name} expects one of {names}, got {value!r}")
    if input.dtype.kind != "f":
        raise TypeError(f"grid_sample: input expects a floating type, got {input.dtype}")
    if input.dtype != grid.dtype:
        raise RuntimeError(
            f"grid_sample: input and grid expect one dtype, got {input.dtype} and {grid.dtype}"
        )
    shape, places = tuple(input.shape), tuple(grid.shape)
    dims = len(shape) - 2
    if dims not in (2, 3) or len(places) != len(shape) or places[-1] != dims:
        raise RuntimeError(
            "grid_sample: expects input (N, C, H, W) and grid (N, OH, OW, 2), or (N, C, D, H, W) "
            f"and (N, OD, OH, OW, 3), got {shape} and {places}"
        )
    if shape[0] != places[0] or 0 in shape[2:]:
        raise RuntimeError(
            "grid_sample: expects one grid for each input, and inputs with pixels, got "
            f"{shape} and {places}"
        )
    if mode == "bicubic" and dims == 3:
        raise ValueError("grid_sample: mode 'bicubic' expects an input (N, C, H, W)")


@on_its_device
def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """The places of all pixels of an image, moved by an affine map: formula (11).

    Args:
        theta: (N, 2, 3), or (N, 3, 4) for volumes; floating.
        size: of the images that grid_sample shall make, (N, C, OH, OW) or (N, C, OD, OH, OW).
        align_corners: as for grid_sample.

    Returns:
        (N, OH, OW, 2) or (N, OD, OH, OW, 3), of theta's dtype.

    Raises:
        ValueError: a size that is not positive.
        RuntimeError: theta of another shape.
        TypeError: theta that is not floating.
    """
    N, _, *sizes = size = tuple(int(n) for n in size)
    d = len(sizes)
    if theta.dtype.kind != "f":
        raise TypeError(f"affine_grid: theta expects a floating type, got {theta.dtype}")
    if min(size) <= 0 or d not in (2, 3):
        raise ValueError(
            f"affine_grid: size expects 4 or 5 positive numbers, (N, C, H, W) say, got {size}"
        )
    if tuple(theta.shape) != (N, d, d + 1):
        raise RuntimeError(
            f"affine_grid: theta expects shape {(N, d, d + 1)} for size {size}, got "
            f"{tuple(theta.shape)}"
        )
    xp = array_module(theta.array)
    lines = [_centres(S, bool(align_corners)) for S in sizes]
    axes = np.meshgrid(*lines, indexing="ij")[::-1]  # x first
    base = np.stack([*axes, np.ones(sizes)], axis=-1).reshape(-1, d + 1)
    places = matmul(Tensor(xp.asarray(base.astype(theta.dtype))), permute(theta, (0, 2, 1)))
    return reshape(places, (N, *sizes, d))


def _centres(S: int, align_corners: bool) -> np.ndarray:
    """p of (11)."""
    if not align_corners:
        return (2 * np.arange(S) + 1) / S - 1
    return np.linspace(-1, 1, S) if S > 1 else np.zeros(1)

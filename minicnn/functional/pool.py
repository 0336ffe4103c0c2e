"""Pooling, and the derivation of its gradients.

    x (N, C, H, W) input        KH, KW kernel    P padding
    y (N, C, OH, OW) output     S stride         D dilation

Window (i,j) looks at the pixels

(1)  R(i,j) = {(h,k) : h = i*S + p*D - P, k = j*S + q*D - P, 0 <= p < KH, 0 <= q < KW}

that lie inside the image, 0 <= h < H and 0 <= k < W. Channels never mix. OH is as in convolution;
with ceil_mode the division is rounded up, and the last window may hang over the end, but it must
begin inside the image or the padding in front of it. S is the kernel's size unless given: then
the windows tile x.

In one dimension x is (N, C, L) and a window a run of its columns; in three x is (N, C, D, H, W) and
a window the box of all (d,h,k) that (1) gives with a third axis. Nothing else changes: read each
pair of indices below as one, or as three.


Max pooling
-----------
(2)  y[n,c,i,j] = max over (h,k) in R(i,j) of x[n,c,h,k] = x[n,c, a(n,c,i,j)]

with a the position of the winner. A small change of x moves y by the change of the winner alone:

     dy[n,c,i,j] / dx[n,c,h,k] = 1 if (h,k) = a(n,c,i,j), else 0

(3)  grad_x[n,c,h,k] = sum over the (i,j) with a(n,c,i,j) = (h,k) of grad_y[n,c,i,j]

Where windows overlap (S < KH), one pixel can win several of them, and (3) *adds* their gradients:
an assignment in place of the sum keeps only the last one. A pixel that wins nothing, or that no
window reads, gets zero. Padding counts as -infinity and never wins.

(3) scatters, adding; its adjoint gathers: for any v of x's shape

(4)  gather(v)[n,c,i,j] = v[n,c, a(n,c,i,j)]         <scatter(g), v> = <g, gather(v)>

a does not change under small changes of x, so the derivative of (3) by grad_y is (4), and by x
zero.

Conventions where the maximum has no derivative: of equal values the first in reading order wins
and gets all of the gradient. A NaN in a window is its maximum.


Average pooling
---------------
(5)  y[n,c,i,j] = (sum over (h,k) in R(i,j) of x[n,c,h,k]) / d(i,j)

with the divisor d(i,j) = divisor_override if given; else the number of pixels in R(i,j), in which
with count_include_pad the padding counts too (but not what a ceil_mode window has beyond the
padding). Linear, so each pixel gets back its share from every window that read it; again overlaps
add:

(6)  grad_x[n,c,h,k] = sum over the (i,j) with (h,k) in R(i,j) of grad_y[n,c,i,j] / d(i,j)

The adjoint of (6) is (5) itself: derivatives of any order alternate between the two.


By hand
-------
x = [[1,2,3],[4,9,6],[7,8,5]], kernel 2, stride 1; the four windows overlap in the middle; grad_y =
[[1,2],[3,4]]:

     max       y = [[9,9], [9,9]]              grad_x = [[0,0,0], [0,1+2+3+4,0], [0,0,0]]
     average   y = [[16,20], [28,28]] / 4      grad_x = [[1,3,2], [4,10,6], [3,7,4]] / 4
"""

from __future__ import annotations

from operator import index
from typing import Any

from .. import backend
from ..autograd.function import Function
from ..backend.geometry import AdaptiveGeometry, Ints, PoolGeometry
from .checks import check_floating, with_batch, without_batch

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
]

Geometry = PoolGeometry | AdaptiveGeometry | None


# ---------------------------------------------------------------------- the maximum


class MaxPool(Function):
    """y, indices: formula (2), with a(n,c,i,j) = h*W + k as one number.  grad_x: (3).

    Without `positions` the indices may be of another kind, which says the same to the backward.
    """

    def forward(self, x: Any, *, geometry: PoolGeometry, positions: bool = True) -> Any:
        self.x_shape, self.geometry = x.shape, geometry
        y, indices = backend.of(x).max_pool_forward(x, geometry, positions)
        self.save(indices)  # not x: who won is all that the gradient depends on
        return y, indices

    def backward(self, grad_y: Any, _: Any) -> Any:
        (indices,) = self.saved
        where = {"x_shape": self.x_shape, "geometry": self.geometry}
        return MaxPoolScatter.apply(grad_y, indices, **where)


class MaxPoolScatter(Function):
    """grad_x of max pooling: formula (3). Its own gradient is the gather (4).

    `geometry` is that of the windows in which the indices lie.
    """

    def forward(
        self, grad_y: Any, indices: Any, *, x_shape: Ints, geometry: Geometry = None
    ) -> Any:
        self.geometry = geometry
        self.save(indices)
        return backend.of(grad_y).max_pool_backward(grad_y, indices, x_shape, geometry)

    def backward(self, v: Any) -> Any:
        (indices,) = self.saved
        return MaxPoolGather.apply(v, indices, geometry=self.geometry), None


class MaxPoolGather(Function):
    """Each window's value at its winner: formula (4). Its own gradient is the scatter (3)."""

    def forward(self, v: Any, indices: Any, *, geometry: Geometry = None) -> Any:
        self.x_shape, self.geometry = v.shape, geometry
        self.save(indices)
        return backend.of(v).max_pool_gather(v, indices, geometry)

    def backward(self, grad_y: Any) -> Any:
        (indices,) = self.saved
        where = {"x_shape": self.x_shape, "geometry": self.geometry}
        return MaxPoolScatter.apply(grad_y, indices, **where), None


# ---------------------------------------------------------------------- the average


class AvgPool(Function):
    """y: formula (5).  grad_x: (6)."""

    def forward(self, x: Any, **windows: Any) -> Any:
        self.x_shape, self.windows = x.shape, windows
        return backend.of(x).avg_pool_forward(x, **windows)

    def backward(self, grad_y: Any) -> Any:
        return AvgPoolAdjoint.apply(grad_y, x_shape=self.x_shape, **self.windows)


class AvgPoolAdjoint(Function):
    """grad_x of average pooling: formula (6). Its own gradient is (5)."""

    def forward(self, grad_y: Any, *, x_shape: tuple[int, ...], **windows: Any) -> Any:
        self.windows = windows
        return backend.of(grad_y).avg_pool_backward(grad_y, x_shape, **windows)

    def backward(self, v: Any) -> Any:
        return AvgPool.apply(v, **self.windows)


# ---------------------------------------------------------------------- public functions


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool2d` of (N, C, L), or a single sequence (C, L); positions are those along L."""
    windows = [kernel_size, stride, padding, dilation, ceil_mode, "max_pool1d"]
    return _max_pool(input, windows, 1, return_indices)


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window: formula (2).

    Args:
        input: (N, C, H, W), or a single image (C, H, W). N may be 0.
        kernel_size, stride, dilation: a positive integer, or one for each axis; stride None means
            kernel_size.
        padding: at most half the kernel, on both sides; it never wins.
        ceil_mode: round the number of windows up, so that no pixel at the end is left over.
        return_indices: also return where the maxima are.

    Returns:
        (N, C, OH, OW) of the input's dtype; with return_indices a pair of it and the int64
        positions h*W + k in the input's plane.

    Raises:
        ValueError: shapes or options that no pooling has.
        TypeError: an input that is not floating, options of the wrong type.
    """
    windows = [kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d"]
    return _max_pool(input, windows, 2, return_indices)


def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool2d` of (N, C, D, H, W), or a single volume (C, D, H, W).

    Positions are (d*H + h)*W + k.
    """
    windows = [kernel_size, stride, padding, dilation, ceil_mode, "max_pool3d"]
    return _max_pool(input, windows, 3, return_indices)


def _max_pool(input: Any, windows: list[Any], dims: int, return_indices: bool) -> Any:
    """`windows` is what `PoolGeometry.of` asks of the caller, the function's name at its end."""
    check_floating(windows[-1], "x", input)
    x = with_batch(windows[-1], input, dims)
    geometry = PoolGeometry.of(x.shape, *windows)
    y, indices = MaxPool.apply(x, geometry=geometry, positions=bool(return_indices))
    if x is not input:
        y, indices = without_batch(y), without_batch(indices)
    return (y, indices) if return_indices else y


def max_pool1d_with_indices(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool1d` with the positions, whatever `return_indices` says."""
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool2d` with the positions, whatever `return_indices` says."""
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool3d` with the positions, whatever `return_indices` says."""
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """`avg_pool2d` of (N, C, L), or a single sequence (C, L); the divisor cannot be given."""
    windows = [kernel_size, stride, padding, 1, ceil_mode, "avg_pool1d"]
    return _avg_pool(input, windows, 1, count_include_pad, None)


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The average of each window: formula (5).

    Args:
        input: (N, C, H, W), or a single image (C, H, W). N may be 0.
        kernel_size, stride: a positive integer, or one for each axis; stride None means
            kernel_size.
        padding: zeros, at most half the kernel, on both sides.
        ceil_mode: round the number of windows up, so that no pixel at the end is left over.
        count_include_pad: whether the zeros of the padding count in the divisor.
        divisor_override: divide each window's sum by this number instead; not 0.

    Returns:
        (N, C, OH, OW) of the input's dtype.

    Raises:
        ValueError: shapes or options that no pooling has.
        TypeError: an input that is not floating, options of the wrong type.
    """
    windows = [kernel_size, stride, padding, 1, ceil_mode, "avg_pool2d"]
    return _avg_pool(input, windows, 2, count_include_pad, divisor_override)


def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """`avg_pool2d` of (N, C, D, H, W), or a single volume (C, D, H, W)."""
    windows = [kernel_size, stride, padding, 1, ceil_mode, "avg_pool3d"]
    return _avg_pool(input, windows, 3, count_include_pad, divisor_override)


def _avg_pool(
    input: Any, windows: list[Any], dims: int, count_include_pad: bool, divisor_override: Any
) -> Any:
    """`windows` as in `_max_pool`."""
    check_floating(windows[-1], "x", input)
    x = with_batch(windows[-1], input, dims)
    y = AvgPool.apply(
        x,
        geometry=PoolGeometry.of(x.shape, *windows),
        count_include_pad=bool(count_include_pad),
        divisor_override=_divisor(windows[-1], divisor_override),
    )
    return y if x is input else without_batch(y)


def _divisor(function: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        value = index(value)
    except TypeError:
        got = f"{function}: divisor_override expects an integer or None, got {value!r}"
        raise TypeError(got) from None
    if value == 0:
        raise ValueError(f"{function}: divisor_override expects an integer other than 0, got 0")
    return value

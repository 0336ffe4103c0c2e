"""Pooling, and the derivation of its gradients.

    x (N, C, H, W) input        KH, KW kernel    P padding
    y (N, C, OH, OW) output     S stride         D dilation

Window (i,j) looks at the pixels

(1)  R(i,j) = {(h,k) : h = i*S + p*D - P, k = j*S + q*D - P, 0 <= p < KH, 0 <= q < KW}

that lie inside the image, 0 <= h < H and 0 <= k < W. Channels never mix. OH is as in convolution;
with ceil_mode the division is rounded up, and the last window may hang over the end, but it must
begin inside the image or the padding in front of it. S is the kernel's size unless given: then
the windows tile x.


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


Adaptive pooling
----------------
The output's size is given, and the windows follow from it: window i covers the rows

(7)  floor(i*H/OH) <= h < ceil((i+1)*H/OH)           columns likewise

Together they cover every row. Where OH divides H they are H/OH rows each, side by side; where it
does not, neighbours share a row, which then gets gradient from both. The maximum (2) and (3), or
the mean (5) and (6) with d(i,j) the window's own size, are taken over these windows.


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
from ..backend.geometry import PoolGeometry, adaptive_out_size
from .checks import check_floating, with_batch, without_batch

__all__ = ["adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d"]


# ---------------------------------------------------------------------- the maximum


class MaxPool(Function):
    """y, indices: formula (2), with a(n,c,i,j) = h*W + k as one number.  grad_x: (3)."""

    def forward(self, x: Any, *, geometry: PoolGeometry) -> Any:
        self.x_shape = x.shape
        y, indices = backend.of(x).max_pool_forward(x, geometry)
        self.save(indices)  # not x: who won is all that the gradient depends on
        return y, indices

    def backward(self, grad_y: Any, _: Any) -> Any:
        (indices,) = self.saved
        return MaxPoolScatter.apply(grad_y, indices, x_shape=self.x_shape)


class AdaptiveMaxPool(Function):
    """y, indices: formula (2) over the windows (7).  grad_x: (3)."""

    def forward(self, x: Any, *, out_size: tuple[int, ...]) -> Any:
        self.x_shape = x.shape
        y, indices = backend.of(x).adaptive_max_pool_forward(x, out_size)
        self.save(indices)
        return y, indices

    def backward(self, grad_y: Any, _: Any) -> Any:
        (indices,) = self.saved
        return MaxPoolScatter.apply(grad_y, indices, x_shape=self.x_shape)


class MaxPoolScatter(Function):
    """grad_x of max pooling: formula (3). Its own gradient is the gather (4)."""

    def forward(self, grad_y: Any, indices: Any, *, x_shape: tuple[int, ...]) -> Any:
        self.save(indices)
        return backend.of(grad_y).max_pool_backward(grad_y, indices, x_shape)

    def backward(self, v: Any) -> Any:
        (indices,) = self.saved
        return MaxPoolGather.apply(v, indices), None


class MaxPoolGather(Function):
    """Each window's value at its winner: formula (4). Its own gradient is the scatter (3)."""

    def forward(self, v: Any, indices: Any) -> Any:
        self.x_shape = v.shape
        self.save(indices)
        return backend.of(v).max_pool_gather(v, indices)

    def backward(self, grad_y: Any) -> Any:
        (indices,) = self.saved
        return MaxPoolScatter.apply(grad_y, indices, x_shape=self.x_shape), None


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


class AdaptiveAvgPool(Function):
    """y: formula (5) over the windows (7).  grad_x: (6) over the same."""

    def forward(self, x: Any, *, out_size: tuple[int, ...]) -> Any:
        self.x_shape = x.shape
        return backend.of(x).adaptive_avg_pool_forward(x, out_size)

    def backward(self, grad_y: Any) -> Any:
        return AdaptiveAvgPoolAdjoint.apply(grad_y, x_shape=self.x_shape)


class AdaptiveAvgPoolAdjoint(Function):
    """grad_x of adaptive average pooling. Its own gradient is the pooling."""

    def forward(self, grad_y: Any, *, x_shape: tuple[int, ...]) -> Any:
        self.out_size = grad_y.shape[2:]
        return backend.of(grad_y).adaptive_avg_pool_backward(grad_y, x_shape)

    def backward(self, v: Any) -> Any:
        return AdaptiveAvgPool.apply(v, out_size=self.out_size)


# ---------------------------------------------------------------------- public functions


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window.

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
    check_floating("max_pool2d", "x", input)
    x = with_batch(input, 2)
    geometry = PoolGeometry.of(
        x.shape, kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d"
    )
    y, indices = MaxPool.apply(x, geometry=geometry)
    if x is not input:
        y, indices = without_batch(y), without_batch(indices)
    return (y, indices) if return_indices else y


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The average of each window.

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
    check_floating("avg_pool2d", "x", input)
    x = with_batch(input, 2)
    y = AvgPool.apply(
        x,
        geometry=PoolGeometry.of(x.shape, kernel_size, stride, padding, 1, ceil_mode, "avg_pool2d"),
        count_include_pad=bool(count_include_pad),
        divisor_override=_divisor("avg_pool2d", divisor_override),
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


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """The average of each of OH x OW windows that cover the input: formulas (5) and (7).

    Args:
        input: (N, C, H, W), or a single image (C, H, W). N may be 0.
        output_size: OH = OW, or (OH, OW); None in place of one keeps the input's size.

    Returns:
        (N, C, OH, OW) of the input's dtype.

    Raises:
        ValueError: a wrong number of axes or sizes, a size that is not positive.
        TypeError: an input that is not floating, a size that is not an integer.
    """
    check_floating("adaptive_avg_pool2d", "x", input)
    x = with_batch(input, 2)
    out_size = adaptive_out_size(x.shape, output_size, "adaptive_avg_pool2d")
    y = AdaptiveAvgPool.apply(x, out_size=out_size)
    return y if x is input else without_batch(y)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum of each of OH x OW windows that cover the input: formulas (2) and (7).

    Args:
        input: (N, C, H, W), or a single image (C, H, W). N may be 0.
        output_size: OH = OW, or (OH, OW); None in place of one keeps the input's size.
        return_indices: also return where the maxima are.

    Returns:
        (N, C, OH, OW) of the input's dtype; with return_indices a pair of it and the int64
        positions h*W + k in the input's plane.

    Raises:
        ValueError: a wrong number of axes or sizes, a size that is not positive.
        TypeError: an input that is not floating, a size that is not an integer.
    """
    check_floating("adaptive_max_pool2d", "x", input)
    x = with_batch(input, 2)
    out_size = adaptive_out_size(x.shape, output_size, "adaptive_max_pool2d")
    y, indices = AdaptiveMaxPool.apply(x, out_size=out_size)
    if x is not input:
        y, indices = without_batch(y), without_batch(indices)
    return (y, indices) if return_indices else y

"""Adaptive pooling: the output's size is given, and the windows follow from it.

    x (N, C, H, W) input        y (N, C, OH, OW) output

Window (i,j) covers the rows and the columns

(1)  floor(i*H/OH) <= h < ceil((i+1)*H/OH)           floor(j*W/OW) <= k < ceil((j+1)*W/OW)

Together they cover every row. Where OH divides H they are H/OH rows each, side by side; where it
does not, windows i and i+1 share a row unless OH divides (i+1)*H. OH may be larger than H: windows
then repeat rows.

In one dimension x is (N, C, L), in three (N, C, D, H, W): read each pair of indices below as one,
or as three.


Average
-------
With R(i,j) the pixels of (1) and |R(i,j)| their number, which differs from window to window:

(2)  y[n,c,i,j] = (sum over (h,k) in R(i,j) of x[n,c,h,k]) / |R(i,j)|

Linear: each pixel gets its share from every window that covers it, and a row that two windows
share gets both:

(3)  grad_x[n,c,h,k] = sum over the (i,j) with (h,k) in R(i,j) of grad_y[n,c,i,j] / |R(i,j)|

The adjoint of (3) is (2): derivatives of any order alternate between the two.


Maximum
-------
(4)  y[n,c,i,j] = max over (h,k) in R(i,j) of x[n,c,h,k] = x[n,c, a(n,c,i,j)]
(5)  grad_x[n,c,h,k] = sum over the (i,j) with a(n,c,i,j) = (h,k) of grad_y[n,c,i,j]

as in pool.py, with its conventions for ties and NaN, and with its scatter and gather: only where
windows lie is new.


By hand
-------
x = [[1,2,3],[4,9,6],[7,8,5]] to 2x2: windows of rows 0..1 and 1..2, columns likewise, which share
the middle; grad_y = [[1,2],[3,4]]:

     average   y = [[16,20], [28,28]] / 4      grad_x = [[1,3,2], [4,10,6], [3,7,4]] / 4
     maximum   y = [[9,9], [9,9]]              grad_x = [[0,0,0], [0,10,0], [0,0,0]]

the pooling of pool.py with kernel 2 and stride 1. To 2x1 the columns are 0..2, and the averages of
six are y = [[25], [39]] / 6.
"""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd.function import Function
from ..backend.geometry import AdaptiveGeometry, adaptive_out_size
from .checks import check_floating, with_batch, without_batch
from .pool import MaxPoolScatter

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
]


class AdaptiveAvgPool(Function):
    """y: formula (2).  grad_x: (3)."""

    def forward(self, x: Any, *, out_size: tuple[int, ...]) -> Any:
        self.x_shape = x.shape
        return backend.of(x).adaptive_avg_pool_forward(x, out_size)

    def backward(self, grad_y: Any) -> Any:
        return AdaptiveAvgPoolAdjoint.apply(grad_y, x_shape=self.x_shape)


class AdaptiveAvgPoolAdjoint(Function):
    """grad_x of adaptive average pooling: formula (3). Its own gradient is (2)."""

    def forward(self, grad_y: Any, *, x_shape: tuple[int, ...]) -> Any:
        self.out_size = grad_y.shape[2:]
        return backend.of(grad_y).adaptive_avg_pool_backward(grad_y, x_shape)

    def backward(self, v: Any) -> Any:
        return AdaptiveAvgPool.apply(v, out_size=self.out_size)


class AdaptiveMaxPool(Function):
    """y, indices: formula (4), with a(n,c,i,j) = h*W + k as one number.  grad_x: (5)."""

    def forward(self, x: Any, *, out_size: tuple[int, ...]) -> Any:
        self.x_shape, self.geometry = x.shape, AdaptiveGeometry(x.shape[2:], out_size)
        y, indices = backend.of(x).adaptive_max_pool_forward(x, out_size)
        self.save(indices)
        return y, indices

    def backward(self, grad_y: Any, _: Any) -> Any:
        (indices,) = self.saved
        where = {"x_shape": self.x_shape, "geometry": self.geometry}
        return MaxPoolScatter.apply(grad_y, indices, **where)


# ---------------------------------------------------------------------- public functions


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """`adaptive_avg_pool2d` of (N, C, L), or a single sequence (C, L)."""
    return _adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """The average of each of OH x OW windows that cover the input: formulas (1) and (2).

    Args:
        input: (N, C, H, W), or a single image (C, H, W). N may be 0.
        output_size: OH = OW, or (OH, OW); None in place of one keeps the input's size.

    Returns:
        (N, C, OH, OW) of the input's dtype.

    Raises:
        ValueError: a wrong number of axes or sizes, a size that is not positive.
        TypeError: an input that is not floating, a size that is not an integer.
    """
    return _adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """`adaptive_avg_pool2d` of (N, C, D, H, W), or a single volume (C, D, H, W)."""
    return _adaptive_avg_pool("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_avg_pool(function: str, dims: int, input: Any, output_size: Any) -> Any:
    check_floating(function, "x", input)
    x = with_batch(function, input, dims)
    y = AdaptiveAvgPool.apply(x, out_size=adaptive_out_size(x.shape, output_size, function))
    return y if x is input else without_batch(y)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d` of (N, C, L), or a single sequence (C, L)."""
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum of each of OH x OW windows that cover the input: formulas (1) and (4).

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
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d` of (N, C, D, H, W), or a single volume (C, D, H, W)."""
    return _adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size, return_indices)


def _adaptive_max_pool(
    function: str, dims: int, input: Any, output_size: Any, return_indices: bool
) -> Any:
    check_floating(function, "x", input)
    x = with_batch(function, input, dims)
    out_size = adaptive_out_size(x.shape, output_size, function)
    y, indices = AdaptiveMaxPool.apply(x, out_size=out_size)
    if x is not input:
        y, indices = without_batch(y), without_batch(indices)
    return (y, indices) if return_indices else y


def adaptive_max_pool1d_with_indices(
    input: Any, output_size: Any, return_indices: bool = False
) -> Any:
    """`adaptive_max_pool1d` with the positions, whatever `return_indices` says."""
    return adaptive_max_pool1d(input, output_size, True)


def adaptive_max_pool2d_with_indices(
    input: Any, output_size: Any, return_indices: bool = False
) -> Any:
    """`adaptive_max_pool2d` with the positions, whatever `return_indices` says."""
    return adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d_with_indices(
    input: Any, output_size: Any, return_indices: bool = False
) -> Any:
    """`adaptive_max_pool3d` with the positions, whatever `return_indices` says."""
    return adaptive_max_pool3d(input, output_size, True)

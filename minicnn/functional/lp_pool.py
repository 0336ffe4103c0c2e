"""Power-average pooling: between the sum of each window and its maximum.

    x (N, C, H, W) input        p the norm          K = KH*KW pixels in a window
    y (N, C, OH, OW) output     S stride            R(i,j) the pixels that window (i,j) covers

As in pool.py, h = i*S + q for 0 <= q < KH, columns likewise; there is no padding, and with
ceil_mode a last window may hang over the end. In one dimension or three, read each pair of indices
as one or three.


Forward
-------
(1)  s(i,j) = K / d(i,j) * (sum over (h,k) in R(i,j) of x[n,c,h,k]^p)        d(i,j) = |R(i,j)|
(2)  y[n,c,i,j] = s(i,j)^(1/p)

s has the indices n and c too. K/d is 1 but for a window that hangs over the end: its sum is scaled
up as if what it lacks were like the rest, for s is K times an average, avg_pool's formula (5).

p = 1 gives the sum, p = 2 the root of the sum of squares (Sermanet, Chintala and LeCun 2012), and
the larger p is, the more of y is the largest value's, for s is its p-th power times a number from
1 to K. At the ends of the scale stand

(3)  p = infinity     y = max over (h,k) in R(i,j) of |x[n,c,h,k]|
(4)  p = -infinity    y = -(max over (h,k) in R(i,j) of -|x[n,c,h,k]|), the smallest |x|

which are max pooling and have its gradient, times the sign of x.

The formulas take x^p and not |x|^p, as PyTorch does. So it is a norm for p even, or x >= 0 as
after a relu. For p odd values cancel, and where s is negative y is NaN, but for p = 1 and -1; for p
no integer every negative x makes NaN.


Backward
--------
     ds/dx[n,c,h,k] = K / d(i,j) * p * x[n,c,h,k]^(p-1)       dy/ds = 1/p * s^(1/p - 1)

and p cancels. A pixel gets its share from every window that covers it; overlaps add:

(5)  grad_x[n,c,h,k] = x[n,c,h,k]^(p-1) * (sum over the (i,j) with (h,k) in R(i,j)
                                           of K / d(i,j) * s(i,j)^(1/p - 1) * grad_y[n,c,i,j])

The sum is the adjoint of average pooling, pool.py's (6). For p = 2 it says x/y * grad_y.

Convention: where s = 0 the power in (5) is infinite for p > 1, and its window counts as 0 (a
window of zeros, say, where y has a corner as |x| has at 0). For p = 1 the power is 1 even there,
but as in PyTorch the window counts as 0 all the same.


By hand
-------
x = [[1,2,1],[2,4,2],[1,2,1]], p = 2, kernel 2, stride 1: each window holds 1, 2, 2 and 4 in some
order, so s = 25 and y = [[5,5],[5,5]]. With grad_y = [[5,10],[15,20]], grad_y / y = [[1,2],[3,4]]:

     grad_x = x * [[1,3,2],[4,10,6],[3,7,4]] = [[1,6,2],[8,40,12],[3,14,4]]
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..autograd.function import Function
from ..backend.geometry import PoolGeometry
from .arithmetic import abs, cast
from .checks import check_floating, with_batch, without_batch
from .choice import where
from .pool import AvgPool, AvgPoolAdjoint, MaxPool

__all__ = ["lp_pool1d", "lp_pool2d", "lp_pool3d"]


class LpPool(Function):
    """y: formulas (1) and (2).  grad_x: (5)."""

    def forward(self, x: Any, *, p: float, geometry: PoolGeometry) -> Any:
        self.p, self.geometry = p, geometry
        self.K = prod(geometry.kernel)
        s = self._powers(cast(x, np.result_type(x.dtype, np.float32)))
        self.save(x, s)
        with np.errstate(all="ignore"):  # roots of negative numbers
            return (s ** (1 / p)).astype(x.dtype, copy=False)

    def backward(self, grad_y: Any) -> Any:
        x, s = self.saved
        p, wide = self.p, s.dtype
        x, grad_y = cast(x, wide), cast(grad_y, wide)
        if self.create_graph:
            s = self._powers(x)
        # 1 in place of the zeros: their power would be infinite, and in its own gradient NaN.
        power = where(s == 0, 1.0, s) ** (1 / p - 1)
        with np.errstate(all="ignore"):
            windows = where(s == 0, 0.0, power * grad_y * self.K)
            sums = AvgPoolAdjoint.apply(windows, x_shape=x.shape, geometry=self.geometry)
            return x ** (p - 1) * sums

    def _powers(self, x: Any) -> Any:
        """s: formula (1), as K times the average."""
        with np.errstate(all="ignore"):
            return AvgPool.apply(x**self.p, geometry=self.geometry) * self.K


# ---------------------------------------------------------------------- public functions


def lp_pool1d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """`lp_pool2d` of (N, C, L), or a single sequence (C, L)."""
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """The norm_type-th root of the sum of the norm_type-th powers of each window.

    Args:
        input: (N, C, H, W), or a single image (C, H, W). N may be 0.
        norm_type: p, a number other than 0; infinity for the largest absolute value.
        kernel_size, stride: a positive integer, or one for each axis; stride None means
            kernel_size.
        ceil_mode: round the number of windows up, so that no pixel at the end is left over.

    Returns:
        (N, C, OH, OW) of the input's dtype; NaN where a negative number has no such power or root.

    Raises:
        ValueError: shapes or options that no pooling has, norm_type 0.
        TypeError: an input that is not floating, options of the wrong type.
    """
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """`lp_pool2d` of (N, C, D, H, W), or a single volume (C, D, H, W)."""
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(
    function: str, dims: int, input: Any, p: Any, kernel_size: Any, stride: Any, ceil_mode: Any
) -> Any:
    check_floating(function, "x", input)
    if not isinstance(p, (int, float, np.integer, np.floating)):
        raise TypeError(f"{function}: norm_type expects a number, got {p!r}")
    p = p.item() if isinstance(p, np.generic) else p
    if p == 0:
        raise ValueError(f"{function}: norm_type expects a number other than 0, got 0")
    x = with_batch(function, input, dims)
    geometry = PoolGeometry.of(x.shape, kernel_size, stride, 0, 1, ceil_mode, function)
    if p == float("inf"):
        y = MaxPool.apply(abs(x), geometry=geometry, positions=False)[0]
    elif p == -float("inf"):
        y = -MaxPool.apply(-abs(x), geometry=geometry, positions=False)[0]
    else:
        y = LpPool.apply(x, p=p, geometry=geometry)
    return y if x is input else without_batch(y)

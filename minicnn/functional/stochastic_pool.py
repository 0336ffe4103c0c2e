"""Stochastic pooling (Zeiler and Fergus 2013): a pixel of each window, drawn by its value.

    x (N, C, H, W) input, not negative, as a relu leaves it       y (N, C, OH, OW) output
    R(i,j) the pixels that window (i,j) covers, as in pool.py's formula (1), with dilation 1

Max pooling learns from the largest value alone, and average pooling drowns it in small ones. Here
every pixel may be the one, the larger the likelier, which makes training rely on no single one:

(1)  s[n,c,i,j] = sum over (h,k) in R(i,j) of x[n,c,h,k]
(2)  P[n,c,i,j](h,k) = x[n,c,h,k] / s[n,c,i,j]        the probabilities; they sum to 1

Padding counts as zeros, which are never drawn.


Training
--------
(3)  y[n,c,i,j] = x[n,c, a(n,c,i,j)]        with a(n,c,i,j) drawn from R(i,j) by (2)

To draw, a number u, uniform in 0 <= u < 1, is laid on the interval of length s that the values of
the window, one behind the other, make up; it falls on a pixel with that pixel's share of it:

(4)  a(n,c,i,j) = the first (h,k) in reading order with
                  (sum of x[n,c,r,t] over the (r,t) in R(i,j) up to and with (h,k)) > u * s[n,c,i,j]

For the a that was drawn (3) is what it is in max pooling, and so is its gradient; overlaps add:

(5)  grad_x[n,c,h,k] = sum over the (i,j) with a(n,c,i,j) = (h,k) of grad_y[n,c,i,j]

That a small change of x changes the probabilities too is left out of account: (5) is the gradient
of what was drawn, as dropout's is for its mask.


Evaluation
----------
In place of a draw stands what it is on average:

(6)  y[n,c,i,j] = sum over (h,k) in R(i,j) of P(h,k) * x[n,c,h,k] = q / s,
     q[n,c,i,j] = sum over (h,k) in R(i,j) of x[n,c,h,k]^2

With dq/dx[n,c,h,k] = 2*x[n,c,h,k] and ds/dx[n,c,h,k] = 1 for each pixel of the window,

     dy/dx = (2*x*s - q) / s^2 = (2*x - y) / s

(7)  grad_x[n,c,h,k] = sum over the (i,j) with (h,k) in R(i,j)
                       of (2*x[n,c,h,k] - y[n,c,i,j]) / s[n,c,i,j] * grad_y[n,c,i,j]

A pixel of less than half of y has a negative share: more of it makes the others less likely. This
is what training's average gradient, P * grad_y, leaves out.

Convention: a window of zeros, in which nothing can be drawn, gives 0 and has no gradient.


By hand
-------
x = [[1,0,0],[2,1,0],[0,0,0]] with kernel 3: s = 4, P = [[1,0,0],[2,1,0],[0,0,0]] / 4. The running
sums are 1, 1, 1, 3, 4, 4, ... For u = 1/2 the first above u*s = 2 is the fourth:

     training     y = 2                       grad_y = 8 gives grad_x = [[0,0,0],[8,0,0],[0,0,0]]
     evaluation   q = 6, y = 6/4 = 3/2        grad_x = (2*x - 3/2) / 4 * 8
                                                     = [[1,-3,-3], [5,1,-3], [-3,-3,-3]]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function, Tensor
from ..backend.geometry import PoolGeometry
from .arithmetic import cast
from .checks import check_floating, with_batch, without_batch
from .choice import where
from .creation import numpy_generator
from .operands import on_its_device, raw
from .pool import AvgPool, AvgPoolAdjoint, MaxPoolScatter

__all__ = ["stochastic_pool2d"]


class StochasticPool(Function):
    """y, indices: formulas (3) and (4), with a(n,c,i,j) = h*W + k as one number.  grad_x: (5)."""

    def forward(self, x: Any, *, u: Any, geometry: PoolGeometry) -> Any:
        self.x_shape, self.geometry = x.shape, geometry
        y, indices = backend.of(x).stochastic_pool_forward(x, u, geometry)
        self.save(indices, y > 0)  # 0: a window of zeros
        return y, indices

    def backward(self, grad_y: Any, _: Any) -> Any:
        indices, drawn = self.saved
        where = {"x_shape": self.x_shape, "geometry": self.geometry}
        return MaxPoolScatter.apply(grad_y * drawn, indices, **where)


class StochasticPoolMean(Function):
    """y: formula (6).  grad_x: (7)."""

    def forward(self, x: Any, *, geometry: PoolGeometry) -> Any:
        self.windows = {"geometry": geometry, "divisor_override": 1}  # sums, not averages
        values = cast(x, np.result_type(x.dtype, np.float32))
        s, y = self._sum_and_mean(values)
        self.save(x, s, y)
        return y.astype(x.dtype, copy=False)

    def backward(self, grad_y: Any) -> Any:
        x, s, y = self.saved
        x, grad_y = cast(x, s.dtype), cast(grad_y, s.dtype)
        if self.create_graph:
            s, y = self._sum_and_mean(x)
        g = grad_y / s
        return 2 * x * self._spread(g, x.shape) - self._spread(y * g, x.shape)

    def _sum_and_mean(self, x: Any) -> tuple[Any, Any]:
        """s and y: formulas (1) and (6); s = 1 for a window of zeros."""
        s = AvgPool.apply(x, **self.windows)
        s = where(s == 0, 1.0, s)
        return s, AvgPool.apply(x * x, **self.windows) / s

    def _spread(self, g: Any, x_shape: tuple[int, ...]) -> Any:
        """The sum over the windows that cover a pixel."""
        return AvgPoolAdjoint.apply(g, x_shape=x_shape, **self.windows)


@on_its_device
def stochastic_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    training: bool = True,
    generator: Any = None,
) -> Any:
    """One pixel of each window, drawn with probability x / s; in evaluation their mean by it.

    Args:
        input: (N, C, H, W), or a single image (C, H, W), of finite numbers >= 0. N may be 0.
        kernel_size, stride: a positive integer, or one for each axis; stride None means
            kernel_size.
        padding: zeros, at most half the kernel, on both sides; they are never drawn.
        ceil_mode: round the number of windows up, so that no pixel at the end is left over.
        training: draw, formula (3), or take the mean, formula (6).
        generator: draws the u of formula (4), in the order of the output's indices; by default the
            one that `manual_seed` seeds.

    Returns:
        (N, C, OH, OW) of the input's dtype.

    Raises:
        ValueError: shapes or options that no pooling has; numbers that are negative, infinite or
            NaN, of which there are no probabilities.
        TypeError: an input that is not floating, options of the wrong type.
    """
    check_floating("stochastic_pool2d", "x", input)
    x = with_batch("stochastic_pool2d", input, 2)
    geometry = PoolGeometry.of(
        x.shape, kernel_size, stride, padding, 1, ceil_mode, "stochastic_pool2d"
    )
    values = raw(x)
    if values.size and not (values.min() >= 0 and values.max() < np.inf):
        raise ValueError(
            "stochastic_pool2d: x expects finite numbers >= 0, as relu gives them, got "
            f"{values.min()} to {values.max()}"
        )
    if training:
        rng = numpy_generator(generator, Tensor._wrap(values).device)
        u = backend.like(values, rng.random((*x.shape[:2], *geometry.out_size)))
        y = StochasticPool.apply(x, u=u, geometry=geometry)[0]
    else:
        y = StochasticPoolMean.apply(x, geometry=geometry)
    return y if x is input else without_batch(y)

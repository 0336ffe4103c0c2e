"""Activations that draw random numbers, and the derivation of their gradients.

Drawing a slope
---------------
rrelu, the randomised leaky relu (Xu et al. 2015), draws the slope of each x <= 0:

(1)  y = x if x > 0, else a*x        f' = 1 if x > 0, else a

in training with a new a[i] for each element, uniform between lower and upper; in evaluation with
their mean (lower + upper) / 2, and it is leaky_relu then. As in PyTorch, the training's f'(0) is a.
The numbers drawn do not depend on x, so that for those that were drawn y is linear in x.


Drawing a class
---------------
gumbel_softmax draws from the C classes of a softmax, differentiably (Jang et al. 2016; Maddison et
al. 2016). If E[c] are numbers of the exponential distribution, then n[c] = -log E[c] are of
Gumbel's, and the class with the largest x[c] + n[c] is c with probability softmax(x)[c]. In place
of the largest alone, softmax at the temperature tau:

(2)  y[c] = softmax((x + n) / tau)[c]
(3)  grad_x[c] = y[c] * (grad_y[c] - sum over b of grad_y[b] * y[b]) / tau

by activation.py's (16). The smaller tau, the nearer is y to 0 and 1. With hard=True the result is 1
for the largest and 0 for the others, but its gradient is still (3), of the y before.


By hand
-------
rrelu of x = [-2, 3] with lower = 0, upper = 1/2, in evaluation: y = [-1/2, 3], f' = [1/4, 1].
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function, Tensor
from .activation import LeakyReLU, activate, softmax
from .checks import check_floating
from .operands import raw, wrapped
from .shape import axis_of

__all__ = ["gumbel_softmax", "rrelu", "rrelu_"]


def _generator(x: Any) -> Any:
    """NumPy's generator of x's device."""
    device = Tensor._wrap(raw(x)).device
    return backend.random.default_generator(device).numpy


class RReLU(Function):
    """y = x where x > 0, else a*x: formula (1), a drawn for each element.

    grad_x = grad_y * (1 where x > 0, else a).
    """

    def forward(self, x: Any, *, lower: float, upper: float) -> Any:
        xp = backend.array_module(x)
        slope = np.asarray(_generator(x).uniform(lower, upper, x.shape)).astype(x.dtype)
        slope = backend.like(x, slope)
        slope = xp.where(x <= 0, slope, x.dtype.type(1))
        self.save(slope)
        with np.errstate(over="ignore", invalid="ignore"):
            return x * slope

    def backward(self, grad_y: Any) -> Any:
        (slope,) = self.saved
        return grad_y * slope


def rrelu(
    input: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Any:
    """x where x > 0, else a * x with a drawn between lower and upper; their mean in evaluation.

    Args:
        input: of any shape.
        lower, upper: the range of the slopes.
        training: draw a slope for each element, from the generator that `manual_seed` seeds.
        inplace: write into the input's memory.

    Raises:
        RuntimeError: lower and upper that are not finite, or lower > upper.
        TypeError: the input is not floating.
    """
    lower, upper = float(lower), float(upper)
    if not (math.isfinite(lower) and math.isfinite(upper) and lower <= upper):
        raise RuntimeError(
            f"rrelu: lower and upper expect finite numbers, lower <= upper, got {lower} and {upper}"
        )
    if training:
        return activate("rrelu", RReLU, input, inplace, lower=lower, upper=upper)
    return activate("rrelu", LeakyReLU, input, inplace, slope=(lower + upper) / 2)


def rrelu_(input: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Any:
    """rrelu in the input's own memory."""
    return rrelu(input, lower, upper, training, True)


def gumbel_softmax(
    logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Any:
    """A differentiable draw from softmax(logits) along `dim`: formula (2).

    Args:
        logits: of any shape with at least one axis.
        tau: the temperature, a positive number.
        hard: give 1 for the class drawn and 0 for the others, with the gradient of (2).
        eps: has no effect, as in PyTorch.
        dim: the axis of the classes.

    Raises:
        IndexError: no such axis.
        TypeError: the logits are not floating.
    """
    check_floating("gumbel_softmax", "logits", logits)
    axis = axis_of("gumbel_softmax", dim, logits.ndim)
    if eps != 1e-10:
        warnings.warn("gumbel_softmax: eps has no effect", stacklevel=2)
    xp = backend.array_module(raw(logits))
    noise = -np.log(_generator(logits).standard_exponential(logits.shape)).astype(logits.dtype)
    noise = backend.like(raw(logits), noise)
    y = softmax((logits + wrapped(noise, logits)) / tau, axis)
    if not hard:
        return y
    drawn = raw(y)
    one_hot = xp.zeros_like(drawn)
    xp.put_along_axis(one_hot, drawn.argmax(axis, keepdims=True), 1, axis)
    return y + wrapped(one_hot - drawn, y)

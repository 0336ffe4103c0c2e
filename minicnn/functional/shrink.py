"""Activations that cut away or shrink what is small, and the derivation of their gradients.

(1)  threshold   y = x if x > T, else v                            f' = 1 if x > T, else 0
(2)  hardshrink  y = 0 if -l <= x <= l, else x                     f' = 0 if -l <= x <= l, else 1
(3)  softshrink  y = x - l if x > l, x + l if x < -l, else 0       f' = 0 if -l <= x <= l, else 1
(4)  tanhshrink  y = x - tanh(x)                                   f' = tanh(x)^2

T: threshold, v: value, l: lambd. softshrink is the step towards zero that the l1 penalty l * |y|
takes: it minimises (x - y)^2 / 2 + l * |y|. hardshrink and threshold jump, so that at T and at -l
and l there is no derivative at all; the code follows PyTorch, with f' = 0 there. A NaN stays a NaN,
and its gradient passes.


By hand
-------
x = [-2, 1/4, 1] and l = 1/2: softshrink gives [-3/2, 0, 1/2], hardshrink [-2, 0, 1], and both have
f' = [1, 0, 1]. threshold with T = 1/2, v = 7 gives [7, 7, 1], with f' = [0, 0, 1].
"""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd import Function
from .activation import Tanh, activate, floating_input, number_of_type
from .compare import logical_not

__all__ = ["hardshrink", "softshrink", "tanhshrink", "threshold", "threshold_"]


class Threshold(Function):
    """y = x where x > T, else v: formula (1).  grad_x = grad_y where x > T, else 0."""

    def forward(self, x: Any, *, threshold: float, value: float) -> Any:
        low = x <= number_of_type("threshold", "threshold", threshold, x)
        self.save(low)
        value = number_of_type("threshold", "value", value, x)
        return backend.array_module(x).where(low, x.dtype.type(value), x)

    def backward(self, grad_y: Any) -> Any:
        (low,) = self.saved
        return grad_y * logical_not(low)


class Hardshrink(Function):
    """y = 0 where -l <= x <= l, else x: formula (2).  grad_x = 0 there, else grad_y."""

    def forward(self, x: Any, *, lambd: float) -> Any:
        small = (x >= -lambd) & (x <= lambd)
        self.save(small)
        return backend.array_module(x).where(small, x.dtype.type(0), x)

    def backward(self, grad_y: Any) -> Any:
        (small,) = self.saved
        return grad_y * logical_not(small)


class Softshrink(Function):
    """y = x - l, 0 or x + l: formula (3).  grad_x = 0 where -l <= x <= l, else grad_y."""

    def forward(self, x: Any, *, lambd: float) -> Any:
        small = (x >= -lambd) & (x <= lambd)
        self.save(small)
        return x - backend.array_module(x).clip(x, -lambd, lambd)

    def backward(self, grad_y: Any) -> Any:
        (small,) = self.saved
        return grad_y * logical_not(small)


class Tanhshrink(Function):
    """y = x - tanh(x): formula (4).  grad_x = grad_y * tanh(x)^2."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        return x - backend.array_module(x).tanh(x)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        t = Tanh.apply(x)
        return grad_y * (t * t)


# ---------------------------------------------------------------------- public functions


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where x > threshold, else `value`, also of integers. TypeError if the input holds bools."""
    return activate("threshold", Threshold, input, inplace, threshold=threshold, value=value)


def threshold_(input: Any, threshold: float, value: float) -> Any:
    """threshold in the input's own memory."""
    return activate("threshold", Threshold, input, True, threshold=threshold, value=value)


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """0 where -lambd <= x <= lambd, else x. TypeError if the input is not floating."""
    return activate("hardshrink", Hardshrink, input, lambd=lambd)


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x moved towards 0 by lambd, and 0 where that would cross it.

    ValueError if lambd is negative, TypeError if the input is not floating.
    """
    if not lambd >= 0:
        raise ValueError(f"softshrink: lambd expects at least 0, got {lambd}")
    return activate("softshrink", Softshrink, input, lambd=lambd)


def tanhshrink(input: Any) -> Any:
    """x - tanh(x), element by element. Integers become the default floating type."""
    return activate("tanhshrink", Tanhshrink, floating_input(input))

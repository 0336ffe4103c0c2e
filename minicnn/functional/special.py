"""The error function, its complement, and the derivation of their gradients.

(1)  erf(x) = 2 / sqrt(pi) * integral from 0 to x of e^(-t^2) dt        erfc(x) = 1 - erf(x)
(2)  erf'(x) = 2 / sqrt(pi) * e^(-x^2)                                  erfc'(x) = -erf'(x)

The derivative is the integrand at the upper end. Neither function has a closed form; how they are
computed is told in `backend.cpu.special`. From the definition follow the symmetries

(3)  erf(-x) = -erf(x)        erfc(-x) = 2 - erfc(x)

In float64 erf is right to about 1e-15, relative to itself; erfc to 1e-15 * (1 + x^2), since it
contains e^(-x^2), which inherits the rounding of x^2: erfc(10), 2e-45, has thirteen digits, where
1 - erf(10) is 0.


By hand
-------
At x = 0: erf = 0, erfc = 1, and the slope of erf is 2 / sqrt(pi) = 1.128.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from .arithmetic import cast
from .exponential import exp
from .operands import floating_operand

__all__ = ["erf", "erfc"]


class Erf(Function):
    """y = erf(x): formula (1).  grad_x = grad_y * 2 / sqrt(pi) * e^(-x^2): (2)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        x = floating_operand("erf", x)
        return backend.of(x).erf(x)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * bell(x, 2 / math.sqrt(math.pi))


class Erfc(Function):
    """y = 1 - erf(x).  grad_x = -grad_y * 2 / sqrt(pi) * e^(-x^2): formula (2)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        x = floating_operand("erfc", x)
        return backend.of(x).erfc(x)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * bell(x, -2 / math.sqrt(math.pi))


def bell(x: Any, height: float) -> Any:
    """height * e^(-x^2); 0 also where x^2 overflows."""
    with np.errstate(over="ignore"):
        return exp(-(x * x)) * height


def erf(input: Any) -> Any:
    """The error function, element by element. Integers become the default floating type."""
    return _in_full(Erf, input)


def erfc(input: Any) -> Any:
    """1 - erf(input), with its own digits where that difference has none left."""
    return _in_full(Erfc, input)


def _in_full(op: Any, x: Any) -> Any:
    """op.apply(x); of half precision in float32, rounded once."""
    if getattr(x, "dtype", None) != np.float16:
        return op.apply(x)
    return cast(op.apply(cast(x, np.float32)), np.float16)

"""The inverse of the error function: how normal numbers are made of uniform ones.

(1)  y = erfinv(x):  erf(y) = x                  for -1 < x < 1
(2)  grad_x = grad_y / erf'(y) = grad_y * sqrt(pi) / 2 * e^(y^2)

(2) is the derivative of an inverse, one over that of the function at y. There is no closed form for
y; it is found by steps of Halley's method from a first guess,

(3)  y <- y - u / (1 + y u),   u = (erf(y) - x) / erf'(y)

Halley's is Newton's step, u, bettered by the second derivative, erf''(y) = -2 y erf'(y). The guess
is S. Winitzki's ("A handy approximation for the error function and its inverse", 2008), right to
0.002; each step makes three times as many digits right of it.

For a uniform x in (-1, 1), sqrt(2) * erfinv(x) is normal with mean 0 and variance 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Function
from .exponential import exp
from .operands import floating_operand
from .special import erf, erfc

__all__ = ["erfinv"]


def _guess(x: np.ndarray) -> np.ndarray:
    log = np.log((1 - x) * (1 + x))
    middle = 2 / (math.pi * 0.147) + log / 2
    return np.copysign(np.sqrt(np.sqrt(middle**2 - log / 0.147) - middle), x)


class Erfinv(Function):
    """y: erf(y) = x;  grad_x = grad_y * sqrt(pi) / 2 * e^(y^2)."""

    def forward(self, x: Any) -> Any:
        x = floating_operand("erfinv", x)
        z = np.abs(x).astype(np.float64)
        with np.errstate(all="ignore"):
            y = _guess(z)
            for _ in range(3):
                # Near 1, erf(y) - x would lose the digits that 1 - x still has.
                off = np.where(z < 0.5, erf(y) - z, (1 - z) - erfc(y))
                u = off * (math.sqrt(math.pi) / 2) * np.exp(y * y)
                y = y - u / (1 + y * u)
            y = np.where(z == 1, np.inf, y)
            y = np.copysign(y, x).astype(x.dtype)
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        return grad_y * (math.sqrt(math.pi) / 2) * exp(y * y)


def erfinv(input: Any) -> Any:
    """The number whose erf is `input`: infinite at -1 and 1, NaN outside."""
    return Erfinv.apply(input)

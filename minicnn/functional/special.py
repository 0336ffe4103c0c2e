"""The error function, its complement, and the derivation of their gradients.

(1)  erf(x) = 2 / sqrt(pi) * integral from 0 to x of e^(-t^2) dt        erfc(x) = 1 - erf(x)
(2)  erf'(x) = 2 / sqrt(pi) * e^(-x^2)                                  erfc'(x) = -erf'(x)

The derivative is the integrand at the upper end. Neither function has a closed form. With a = |x|
they are computed from three quotients of polynomials, each the best of its degree on its interval:

(3)  a <= 0.46875       erf(a)  = a * A(a^2) / B(a^2)
(4)  0.46875 < a <= 4   erfc(a) = e^(-a^2) * C(a) / D(a)
(5)  4 < a              erfc(a) = e^(-a^2) / a * (1 / sqrt(pi) - z * P(z) / Q(z)),   z = 1 / a^2

and the rest by erf(x) + erfc(x) = 1, erf(-x) = -erf(x), erfc(-x) = 2 - erfc(x). The coefficients
are those of W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of
Computation 23 (1969), 631-637. In float64 erf is right to about 1e-15, relative to itself; erfc
to 1e-15 * (1 + a^2), since e^(-a^2) inherits the rounding of a^2: erfc(10), 2e-45, has thirteen
digits, where 1 - erf(10) is 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from .exponential import exp
from .operands import floating_operand

__all__ = ["erf", "erfc"]

# Highest power first.
_A = (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2,
      3.77485237685302021e2, 3.20937758913846947e3)  # fmt: skip
_B = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
      2.84423683343917062e3)  # fmt: skip
_C = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0,
      6.61191906371416295e1, 2.98635138197400131e2, 8.81952221241769090e2,
      1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3)  # fmt: skip
_D = (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
      1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3,
      3.43936767414372164e3, 1.23033935480374942e3)  # fmt: skip
_P = (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
      1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4)  # fmt: skip
_Q = (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1,
      6.05183413124413191e-2, 2.33520497626869185e-3)  # fmt: skip


def _quotient(z: Any, above: tuple[float, ...], below: tuple[float, ...]) -> Any:
    """The quotient of two polynomials of z, by Horner's rule."""
    p, q = above[0] * z + above[1], below[0] * z + below[1]
    for a, b in zip(above[2:], below[2:], strict=True):
        p, q = p * z + a, q * z + b
    return p / q


def _erf_near(x: Any) -> Any:
    """Formula (3)."""
    return x * _quotient(x * x, _A, _B)


def _erfc_middle(a: Any) -> Any:
    """Formula (4)."""
    return backend.array_module(a).exp(-a * a) * _quotient(a, _C, _D)


def _erfc_far(a: Any) -> Any:
    """Formula (5)."""
    xp = backend.array_module(a)
    a = xp.minimum(a, 30)  # beyond 27.3 erfc is 0; a^2 must not overflow
    z = 1 / (a * a)
    return xp.exp(-a * a) / a * (1 / math.sqrt(math.pi) - z * _quotient(z, _P, _Q))


def _error_function(x: Any, complement: bool) -> Any:
    """erf(x), or erfc(x). Each element goes through the one formula that holds for it."""
    xp = backend.array_module(x)
    x = xp.asarray(x)
    if x.dtype == np.float16:  # too short for the coefficients
        return _error_function(x.astype(np.float32), complement).astype(np.float16)
    a = xp.abs(x)
    near, middle = a <= 0.46875, a <= 4
    middle &= ~near
    far = ~(near | middle)  # NaN too
    y = xp.empty_like(x)
    y[near] = 1 - _erf_near(x[near]) if complement else _erf_near(x[near])
    for where, erfc_of in ((middle, _erfc_middle), (far, _erfc_far)):
        tail, negative = erfc_of(a[where]), x[where] < 0
        if complement:
            y[where] = xp.where(negative, 2 - tail, tail)
        else:
            y[where] = xp.where(negative, tail - 1, 1 - tail)
    return y


class Erf(Function):
    """y = erf(x): formula (1).  grad_x = grad_y * 2 / sqrt(pi) * e^(-x^2): (2)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        return _error_function(floating_operand("erf", x), complement=False)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * bell(x, 2 / math.sqrt(math.pi))


class Erfc(Function):
    """y = 1 - erf(x).  grad_x = -grad_y * 2 / sqrt(pi) * e^(-x^2): formula (2)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        return _error_function(floating_operand("erfc", x), complement=True)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * bell(x, -2 / math.sqrt(math.pi))


def bell(x: Any, height: float) -> Any:
    """height * e^(-x^2); 0 also where x^2 overflows."""
    with np.errstate(over="ignore"):
        return exp(-(x * x)) * height


def erf(input: Any) -> Any:
    """The error function, element by element. Integers become the default floating type."""
    return Erf.apply(input)


def erfc(input: Any) -> Any:
    """1 - erf(input), with its own digits where that difference has none left."""
    return Erfc.apply(input)

"""The error function and its complement, from polynomials.

For a >= 0, erfc(a) falls like e^(-a^2), and what is left of it when that is taken out, the scaled
complement e^(a^2) * erfc(a), is so smooth that one polynomial of t = (a - 3) / (a + 3) follows it
on the whole way from erfc(0) = 1, at t = -1, to where erfc underflows:

    erfc(a) = e^(-a^2) * (1 + (t + 1) * U(t))

U interpolates at Chebyshev points in t: for float32, which holds no erfc(a) beyond a = 10.1, ten
coefficients are right to 3e-8 of erfc(a); for float64, up to 27.3, twenty-three to 5e-17. The rest
follows from erfc(-a) = 2 - erfc(a) and erf = 1 - erfc, save that 1 - erfc(a) has no digits left
where a is small; there erf(a) = a * A(a^2) / B(a^2), with the coefficients of W. J. Cody, "Rational
Chebyshev approximations for the error function", Mathematics of Computation 23 (1969), 631-637,
for a <= 0.46875.

A block at a time is worked on, which stays in the cache through all steps of Horner's rule.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy import ndarray

from . import scratch
from .precision import working

_BLOCK = 1 << 14

# Highest power first.
_U32 = (4.449392758132297e-5, -4.2484038071408717e-5, -5.6349200278207083e-4,
        1.2935624263710879e-3, 2.9856546528086911e-3, -2.7382081395470645e-2,
        9.9045630299453518e-2, -2.4916132588516414e-1, 4.9476528665013874e-1,
        -8.2099885055437736e-1)  # fmt: skip
_U64 = (2.3796953461265296e-10, 4.8545704684390104e-10, -1.899507442015199e-9,
        -5.5739683602983476e-9, 7.0167286150841346e-9, 3.815912753342662e-8,
        -1.0030441013314049e-8, -2.2331963075403161e-7, -7.0372210013931406e-8,
        1.3222271376872278e-6, 7.9765391814230383e-7, -8.775578669053108e-6,
        -4.0848722637563603e-6, 6.8141384527398926e-5, -2.2886096499762442e-5,
        -5.7417584638429614e-4, 1.2819222866998685e-3, 2.9872140457005103e-3,
        -2.7379713364472054e-2, 9.9045550562468219e-2, -2.4916148706324221e-1,
        4.9476528877557279e-1, -8.2099884881861005e-1)  # fmt: skip
_A = (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2,
      3.77485237685302021e2, 3.20937758913846947e3)  # fmt: skip
_B = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
      2.84423683343917062e3)  # fmt: skip
_NEAR = 0.46875


def _polynomial(z: ndarray, coefficients: tuple[float, ...], role: str) -> ndarray:
    """The polynomial of z by Horner's rule, in scratch."""
    value = np.multiply(z, coefficients[0], out=scratch.take(role, z.shape, z.dtype))
    for c in coefficients[1:-1]:
        value += c
        value *= z
    value += coefficients[-1]
    return value


def _tail(a: ndarray) -> ndarray:
    """erfc(a) for a >= 0, in scratch; a is overwritten."""
    coefficients, last = (_U32, 10.1) if a.dtype == np.float32 else (_U64, 27.3)
    np.minimum(a, last, out=a)  # keeps a^2 from overflowing, and NaN
    t = np.subtract(a, 3, out=scratch.take("erf t", a.shape, a.dtype))
    below = np.add(a, 3, out=scratch.take("erf below", a.shape, a.dtype))
    t /= below
    tail = _polynomial(t, coefficients, "erf tail")
    t += 1
    tail *= t
    tail += 1
    a *= a
    tail *= np.exp(np.negative(a, out=a), out=a)
    return tail


def _erfc(x: ndarray) -> ndarray:
    tail = _tail(np.abs(x, out=scratch.take("erf a", x.shape, x.dtype)))
    return np.where(x < 0, 2 - tail, tail)


def _erf(x: ndarray) -> ndarray:
    a = np.abs(x, out=scratch.take("erf a", x.shape, x.dtype))
    is_near = a <= _NEAR
    z = np.minimum(a, _NEAR)
    z *= z
    near = _polynomial(z, _A, "erf t")
    near /= _polynomial(z, _B, "erf below")
    near = near * np.clip(x, -_NEAR, _NEAR)
    return np.where(is_near, near, np.copysign(1 - _tail(a), x))


def _by_blocks(function: Callable[[ndarray], ndarray], x: ndarray) -> ndarray:
    """function(x), a block at a time, in x's order in memory."""
    y = working(x).copy(order="K")
    flat = y.ravel("K")  # a view: y has no gaps
    for start in range(0, x.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        flat[block] = function(flat[block])
    return y.astype(x.dtype, copy=False)


def erf(x: ndarray) -> ndarray:
    """erf(x), element by element; y like x."""
    return _by_blocks(_erf, x)


def erfc(x: ndarray) -> ndarray:
    """1 - erf(x), element by element, with its own digits; y like x."""
    return _by_blocks(_erfc, x)

"""Activations that multiply x by a gate, and the derivation of their gradients.

y = x * g(x) with a gate g that is near 0 for x << 0 and near 1 for x >> 0. The product rule gives

     f' = g(x) + x * g'(x)

(1)  gelu        g = Phi(x) = erfc(-x / sqrt 2) / 2        g' = e^(-x^2 / 2) / sqrt(2 pi)
(2)  gelu, tanh  g = (1 + tanh u) / 2 = s(2 u)             g' = g * (1 - g) * 2 u'
                 u = k * (x + c * x^3)                     u' = k * (1 + 3 c * x^2)
                 k = sqrt(2 / pi), c = 0.044715
(3)  mish        g = t = tanh(log(1 + e^x))                g' = (1 - t^2) * s(x)
(4)  hardswish   g = min(max(x + 3, 0), 6) / 6             g' = 1/6 if -3 < x < 3, else 0
                                            f' = 0 if x <= -3, x / 3 + 1/2 between, 1 if x >= 3
(5)  glu         y[c] = a[c] * s(b[c])                     grad_a[c] = grad_y[c] * s(b[c])
                                            grad_b[c] = grad_y[c] * a[c] * s(b[c]) * (1 - s(b[c]))

s is the sigmoid and s' = s * (1 - s), activation.py's (4). Phi is the distribution function of the
normal distribution, Phi(x) = (1 + erf(x / sqrt 2)) / 2; written with erfc it keeps its digits for
x << 0, where 1 + erf has none left; and so does s(2 u) beside 1 + tanh u. In (3), log(1 + e^x) is
the softplus, whose slope is s(x). In (5), a and b are the first and the second half of x along one
axis: one half is the other's gate. silu, x * s(x), is activation.py's (8).

hardswish's kinks follow PyTorch: its slope is 0 at -3 and 1 at 3. At x = -infinity, where the gate
is 0, y is NaN, as in PyTorch.


By hand
-------
glu of x = [4, 0], so that a = 4 and b = 0, with s(0) = 1/2 and grad_y = 1: y = 2, grad_a = 1/2 and
grad_b = 4 * 1/2 * 1/2 = 1. hardswish of x = [-4, 0, 1, 4]: y = [0, 0, 2/3, 4], and f' = [0, 1/2,
5/6, 1].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from .activation import Sigmoid, Softplus, Tanh, activate
from .checks import check_floating
from .choice import clamp
from .compare import logical_not
from .shape import axis_of, cat, narrow
from .special import Erfc, bell

__all__ = ["gelu", "glu", "hardswish", "mish"]

_K, _C = math.sqrt(2 / math.pi), 0.044715


class GELU(Function):
    """y = x * Phi(x): formula (1).  grad_x = grad_y * (Phi(x) + x * e^(-x^2/2) / sqrt(2 pi))."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(invalid="ignore"):
            return x * (Erfc.apply(x * -math.sqrt(0.5)) * 0.5)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        z = x * math.sqrt(0.5)
        with np.errstate(invalid="ignore"):
            return grad_y * (Erfc.apply(-z) * 0.5 + x * bell(z, 1 / math.sqrt(2 * math.pi)))


class TanhGELU(Function):
    """y = x * s(2 u): formula (2).  grad_x = grad_y * (s + x * s * (1 - s) * 2 u')."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        # At -30 and 30 s(2 u) is 0 and 1; x^3 must not overflow.
        z = backend.array_module(x).clip(x, -30, 30)
        with np.errstate(invalid="ignore"):
            return x * Sigmoid.apply(z * (2 * _K) * (1 + z * z * _C))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        z = clamp(x, -30, 30)
        s = Sigmoid.apply(z * (2 * _K) * (1 + z * z * _C))
        return grad_y * (s + z * (s * (1 - s)) * (1 + z * z * (3 * _C)) * (2 * _K))


class Mish(Function):
    """y = x * t, t = tanh(log(1 + e^x)): formula (3).

    grad_x = grad_y * (t + x * (1 - t^2) * s(x)).
    """

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(invalid="ignore"):
            return x * Tanh.apply(Softplus.apply(x, beta=1.0, threshold=20.0))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        t = Tanh.apply(Softplus.apply(x, beta=1.0, threshold=20.0))
        with np.errstate(invalid="ignore"):
            return grad_y * (t + x * (Sigmoid.apply(x) * (1 - t * t)))


class Hardswish(Function):
    """y = x * min(max(x + 3, 0), 6) / 6: formula (4).

    grad_x = grad_y * (x / 3 + 1/2) where -3 < x < 3, grad_y where x >= 3, else 0.
    """

    def forward(self, x: Any) -> Any:
        self.save(x)
        xp = backend.array_module(x)
        with np.errstate(invalid="ignore"):
            return x * (xp.clip(xp.clip(x, -3, 3) + 3, 0, 6) / 6)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        straight = x >= 3
        curved = (x > -3) * logical_not(straight)
        return grad_y * straight + grad_y * (clamp(x, -3, 3) / 3 + 0.5) * curved


class GLU(Function):
    """y = a * s(b): formula (5).  grad_x holds grad_a and grad_b side by side."""

    def forward(self, x: Any, *, axis: int) -> Any:
        self.axis = axis
        self.save(x)
        a, b = _halves(x, axis)
        return a * Sigmoid.apply(b)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        a, b = _halves(x, self.axis)
        s = Sigmoid.apply(b)
        grad_a = grad_y * s
        return cat([grad_a, grad_a * (1 - s) * a], self.axis)


def _halves(x: Any, axis: int) -> tuple[Any, Any]:
    half = x.shape[axis] // 2
    return narrow(x, axis, 0, half), narrow(x, axis, half, half)


# ---------------------------------------------------------------------- public functions


def gelu(input: Any, approximate: str = "none") -> Any:
    """x * Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016).

    approximate="tanh" takes formula (2) in place of Phi, which differs by less than 5e-4.
    ValueError for another word, TypeError if the input is not floating.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate expects 'none' or 'tanh', got {approximate!r}")
    return activate("gelu", GELU if approximate == "none" else TanhGELU, input)


def mish(input: Any, inplace: bool = False) -> Any:
    """x * tanh(log(1 + exp(x))) (Misra 2019). TypeError if the input is not floating."""
    return activate("mish", Mish, input, inplace)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x * relu6(x + 3) / 6, silu out of straight pieces (Howard et al. 2019).

    TypeError if the input is not floating.
    """
    return activate("hardswish", Hardswish, input, inplace)


def glu(input: Any, dim: int = -1) -> Any:
    """The first half of x along `dim` times the sigmoid of the second (Dauphin et al. 2016).

    Raises:
        IndexError: no such axis.
        RuntimeError: an axis that cannot be halved.
        TypeError: the input is not floating.
    """
    check_floating("glu", "x", input)
    if input.ndim == 0:
        raise RuntimeError("glu: x expects at least one axis to halve, got shape ()")
    axis = axis_of("glu", dim, input.ndim)
    if input.shape[axis] % 2:
        raise RuntimeError(
            f"glu: x expects an even size along dim={dim}, got {input.shape[axis]}: "
            f"x {tuple(input.shape)}"
        )
    return GLU.apply(input, axis=axis)

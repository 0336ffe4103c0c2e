"""Trigonometric and hyperbolic functions, element by element; angles are in radians.

Integers become the default floating type. Outside their domain (asin of 2) the values are NaN, as
in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Function
from .exponential import rsqrt
from .operands import floating_operand, meet, meet_floating, mismatch
from .shape import sum_to

__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "deg2rad",
    "hypot",
    "rad2deg",
    "sin",
    "sinh",
    "tan",
]


class Sin(Function):
    """y = sin x;  grad_x = grad_y * cos x."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.sin(floating_operand("sin", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * cos(x)


def sin(input: Any) -> Any:
    """The sine of an angle in radians."""
    return Sin.apply(input)


class Cos(Function):
    """y = cos x;  grad_x = -grad_y * sin x."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.cos(floating_operand("cos", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return -grad_y * sin(x)


def cos(input: Any) -> Any:
    """The cosine of an angle in radians."""
    return Cos.apply(input)


class Tan(Function):
    """y = tan x;  grad_x = grad_y * (1 + y^2)."""

    def forward(self, x: Any) -> Any:
        with np.errstate(all="ignore"):
            y = np.tan(floating_operand("tan", x))
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        return grad_y * (y * y + 1)


def tan(input: Any) -> Any:
    """The tangent of an angle in radians."""
    return Tan.apply(input)


class Asin(Function):
    """y = the angle whose sine is x;  grad_x = grad_y / sqrt(1 - x^2)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.arcsin(floating_operand("asin", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * rsqrt(1 - x * x)


def asin(input: Any) -> Any:
    """The angle in [-pi/2, pi/2] whose sine is `input`."""
    return Asin.apply(input)


class Acos(Function):
    """y = the angle whose cosine is x;  grad_x = -grad_y / sqrt(1 - x^2)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.arccos(floating_operand("acos", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return -grad_y * rsqrt(1 - x * x)


def acos(input: Any) -> Any:
    """The angle in [0, pi] whose cosine is `input`."""
    return Acos.apply(input)


class Atan(Function):
    """y = the angle whose tangent is x;  grad_x = grad_y / (1 + x^2)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.arctan(floating_operand("atan", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y / (x * x + 1)


def atan(input: Any) -> Any:
    """The angle in (-pi/2, pi/2) whose tangent is `input`."""
    return Atan.apply(input)


class Atan2(Function):
    """y = the angle of the point (b, a), tan y = a / b.

    grad_a = grad_y * b / (a^2 + b^2),  grad_b = -grad_y * a / (a^2 + b^2).
    """

    def forward(self, a: Any, b: Any) -> Any:
        self.save(a, b)
        p, q = meet_floating("atan2", a, b)
        try:
            return np.arctan2(p, q)
        except ValueError:
            raise mismatch("atan2", a, b) from None

    def backward(self, grad_y: Any) -> Any:
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        with np.errstate(all="ignore"):
            slope = grad_y / (a * a + b * b)
            grad_a = sum_to(slope * b, a.shape) if need_a else None
            grad_b = sum_to(-slope * a, b.shape) if need_b else None
        return grad_a, grad_b


def atan2(input: Any, other: Any) -> Any:
    """The angle in (-pi, pi] of the point with height `input` and width `other`."""
    return Atan2.apply(input, other)


class Hypot(Function):
    """y = sqrt(a^2 + b^2);  grad_a = grad_y * a / y,  grad_b = grad_y * b / y."""

    def forward(self, a: Any, b: Any) -> Any:
        p, q = meet("hypot", a, b)
        if p.dtype.kind not in "fc":
            raise RuntimeError(f"hypot: expects a floating type, got {p.dtype}")
        try:
            y = np.hypot(p, q)
        except ValueError:
            raise mismatch("hypot", a, b) from None
        self.save(a, b, y)
        return y

    def backward(self, grad_y: Any) -> Any:
        a, b, y = self.saved
        need_a, need_b = self.needs_input_grad
        with np.errstate(all="ignore"):
            grad_a = sum_to(grad_y * (a / y), a.shape) if need_a else None
            grad_b = sum_to(grad_y * (b / y), b.shape) if need_b else None
        return grad_a, grad_b


def hypot(input: Any, other: Any) -> Any:
    """The third side of a right triangle, sqrt(input^2 + other^2), without overflow."""
    return Hypot.apply(input, other)


def deg2rad(input: Any) -> Any:
    """Degrees as radians."""
    return input * (math.pi / 180)


def rad2deg(input: Any) -> Any:
    """Radians as degrees."""
    return input * (180 / math.pi)


# ---------------------------------------------------------------------- hyperbolic


class Sinh(Function):
    """y = (e^x - e^-x) / 2;  grad_x = grad_y * cosh x."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.sinh(floating_operand("sinh", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * cosh(x)


def sinh(input: Any) -> Any:
    """The hyperbolic sine."""
    return Sinh.apply(input)


class Cosh(Function):
    """y = (e^x + e^-x) / 2;  grad_x = grad_y * sinh x."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.cosh(floating_operand("cosh", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * sinh(x)


def cosh(input: Any) -> Any:
    """The hyperbolic cosine."""
    return Cosh.apply(input)


class Asinh(Function):
    """y = log(x + sqrt(x^2 + 1));  grad_x = grad_y / sqrt(x^2 + 1)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.arcsinh(floating_operand("asinh", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * rsqrt(x * x + 1)


def asinh(input: Any) -> Any:
    """The inverse of sinh."""
    return Asinh.apply(input)


class Acosh(Function):
    """y = log(x + sqrt(x^2 - 1));  grad_x = grad_y / sqrt(x^2 - 1)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.arccosh(floating_operand("acosh", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * rsqrt(x * x - 1)


def acosh(input: Any) -> Any:
    """The inverse of cosh, not negative; NaN below 1."""
    return Acosh.apply(input)


class Atanh(Function):
    """y = log((1 + x) / (1 - x)) / 2;  grad_x = grad_y / (1 - x^2)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.arctanh(floating_operand("atanh", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y / (1 - x * x)


def atanh(input: Any) -> Any:
    """The inverse of tanh; NaN outside [-1, 1]."""
    return Atanh.apply(input)


arccos, arcsin, arctan, arctan2 = acos, asin, atan, atan2
arccosh, arcsinh, arctanh = acosh, asinh, atanh

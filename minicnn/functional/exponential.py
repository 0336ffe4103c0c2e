"""Exponentials, logarithms and roots: element by element.

Integers become the default floating type. Where a function has no value, or an infinite one, it
gives NaN or infinity without a word, as in PyTorch. Backward uses y itself where the derivative is
a function of y (exp, sqrt): then x need not be kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Function
from .choice import where
from .compare import eq, ge, le, logical_and
from .operands import floating_operand, meet_floating, mismatch, raw, shape_of
from .shape import broadcast_to, sum_to

__all__ = [
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logit",
    "rsqrt",
    "sqrt",
    "xlogy",
]


class Exp(Function):
    """y = e^x;  grad_x = grad_y * y."""

    def forward(self, x: Any) -> Any:
        with np.errstate(all="ignore"):
            y = np.exp(floating_operand("exp", x))
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        return grad_y * y


def exp(input: Any) -> Any:
    """e^input."""
    return Exp.apply(input)


class Exp2(Function):
    """y = 2^x;  grad_x = grad_y * y * log 2."""

    def forward(self, x: Any) -> Any:
        with np.errstate(all="ignore"):
            y = np.exp2(floating_operand("exp2", x))
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        return grad_y * y * math.log(2.0)


def exp2(input: Any) -> Any:
    """2^input."""
    return Exp2.apply(input)


class Expm1(Function):
    """y = e^x - 1, exact for small x;  grad_x = grad_y * (y + 1)."""

    def forward(self, x: Any) -> Any:
        with np.errstate(all="ignore"):
            y = np.expm1(floating_operand("expm1", x))
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        return grad_y * (y + 1)


def expm1(input: Any) -> Any:
    """e^input - 1, without losing digits where input is small."""
    return Expm1.apply(input)


class Log(Function):
    """y = log x;  grad_x = grad_y / x."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.log(floating_operand("log", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y / x


def log(input: Any) -> Any:
    """The natural logarithm: -inf at 0, NaN below."""
    return Log.apply(input)


class Log2(Function):
    """y = log x / log 2;  grad_x = grad_y / (x log 2)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.log2(floating_operand("log2", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y / (x * math.log(2.0))


def log2(input: Any) -> Any:
    """The logarithm to base 2."""
    return Log2.apply(input)


class Log10(Function):
    """y = log x / log 10;  grad_x = grad_y / (x log 10)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.log10(floating_operand("log10", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y / (x * math.log(10.0))


def log10(input: Any) -> Any:
    """The logarithm to base 10."""
    return Log10.apply(input)


class Log1p(Function):
    """y = log(1 + x), exact for small x;  grad_x = grad_y / (1 + x)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(all="ignore"):
            return np.log1p(floating_operand("log1p", x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y / (x + 1)


def log1p(input: Any) -> Any:
    """log(1 + input), without losing digits where input is small."""
    return Log1p.apply(input)


class Sqrt(Function):
    """y = sqrt x;  grad_x = grad_y / (2 y): infinite at 0, as the slope is."""

    def forward(self, x: Any) -> Any:
        with np.errstate(all="ignore"):
            y = np.sqrt(floating_operand("sqrt", x))
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        return grad_y / (2 * y)


def sqrt(input: Any) -> Any:
    """The square root; NaN below 0."""
    return Sqrt.apply(input)


class Rsqrt(Function):
    """y = 1 / sqrt x;  grad_x = -grad_y * y^3 / 2."""

    def forward(self, x: Any) -> Any:
        with np.errstate(all="ignore"):
            y = 1 / np.sqrt(floating_operand("rsqrt", x))
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        return grad_y * (y * y * y) * -0.5


def rsqrt(input: Any) -> Any:
    """1 / sqrt(input): infinite at 0, NaN below."""
    return Rsqrt.apply(input)


# ---------------------------------------------------------------------- logarithms of two


class LogAddExp(Function):
    """y = log(e^a + e^b);  grad_a = grad_y / (1 + e^(b-a)),  grad_b = grad_y / (1 + e^(a-b))."""

    function = "logaddexp"

    def forward(self, a: Any, b: Any) -> Any:
        self.save(a, b)
        p, q = meet_floating("logaddexp", a, b)
        try:
            with np.errstate(all="ignore"):
                return np.logaddexp(p, q)
        except ValueError:
            raise mismatch("logaddexp", a, b) from None

    def backward(self, grad_y: Any) -> Any:
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        grad_a = sum_to(grad_y / (1 + exp(b - a)), a.shape) if need_a else None
        grad_b = sum_to(grad_y / (1 + exp(a - b)), b.shape) if need_b else None
        return grad_a, grad_b


def logaddexp(input: Any, other: Any) -> Any:
    """log(e^input + e^other), without overflow. RuntimeError if the shapes do not broadcast."""
    return LogAddExp.apply(input, other)


class Logit(Function):
    """y = log(x / (1 - x));  grad_x = grad_y / (x (1 - x)).

    With eps, x is first clamped to [eps, 1 - eps]: outside grad_x = 0. Without, NaN outside [0, 1].
    """

    def forward(self, x: Any, *, eps: float | None) -> Any:
        x = floating_operand("logit", x)
        self.eps = eps
        self.save(x)
        with np.errstate(all="ignore"):
            z = x if eps is None else np.clip(x, eps, 1 - eps)
            return np.log(z / (1 - z))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        low, outside = (0.0, math.nan) if self.eps is None else (self.eps, 0.0)
        inside = logical_and(ge(x, low), le(x, 1 - low))
        with np.errstate(all="ignore"):
            return where(inside, grad_y / (x * (1 - x)), outside)


def logit(input: Any, eps: float | None = None) -> Any:
    """The inverse of sigmoid, log(input / (1 - input)), of probabilities clamped to [eps, 1 - eps].

    eps None: not clamped; infinite at 0 and 1, NaN outside.
    """
    return Logit.apply(input, eps=eps)


class XLogY(Function):
    """y = a log b, and 0 where a = 0;  grad_a = grad_y * log b,  grad_b = grad_y * a / b.

    Where a = 0 and b <= 0, grad_a is 0.
    """

    function = "xlogy"

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = shape_of(a), shape_of(b)
        self.save(a, b)
        p, q = meet_floating("xlogy", a, b)
        try:
            with np.errstate(all="ignore"):
                return np.where((p == 0) & ~np.isnan(q), np.zeros_like(p), p * np.log(q))
        except ValueError:
            raise mismatch("xlogy", a, b) from None

    def backward(self, grad_y: Any) -> Any:
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        flat = logical_and(eq(a, 0), le(b, 0))
        flat = broadcast_to(flat, raw(grad_y).shape)
        grad_a = sum_to(where(flat, 0.0, xlogy(grad_y, b)), self.shapes[0]) if need_a else None
        grad_b = sum_to(grad_y * (a / b), self.shapes[1]) if need_b else None
        return grad_a, grad_b


def xlogy(input: Any, other: Any) -> Any:
    """input * log(other), and 0 where `input` is 0: a term of an entropy."""
    return XLogY.apply(input, other)

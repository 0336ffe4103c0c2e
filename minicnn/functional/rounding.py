"""Rounding, and what is left over by it.

A rounded number is a step function of x: its derivative is zero wherever it has one, and zero is
what backward gives on the steps too. The remainder a - b * q has the derivative of a - b * q with
q, the rounded quotient, held fixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function
from .operands import meet, mismatch, refuse_bools, shape_of, zero_gradient
from .shape import sum_to

__all__ = [
    "ceil",
    "fix",
    "floor",
    "floor_divide",
    "fmod",
    "frac",
    "remainder",
    "round",
    "sgn",
    "sign",
    "trunc",
]


def _refuse_zero(name: str, p: Any, q: Any) -> str:
    """The kind of type that p and q met in. RuntimeError for integers if q holds a zero."""
    kind = (p.dtype if hasattr(p, "dtype") else q.dtype).kind
    if kind in "biu" and not np.all(q):
        raise RuntimeError(f"{name}: an integer divided by zero")
    return kind


class RoundedDiv(Function):
    """y = a / b rounded: a step function, flat between the steps.  grad_a = 0, grad_b = 0."""

    def forward(self, a: Any, b: Any, *, mode: str) -> Any:
        self.shapes = shape_of(a), shape_of(b)
        p, q = meet("floor_divide", a, b)
        refuse_bools("floor_divide", p)
        kind = _refuse_zero("floor_divide", p, q)
        try:
            with np.errstate(all="ignore"):
                if mode == "trunc" and kind == "f":
                    return np.trunc(p / q)
                y = np.floor_divide(p, q)
                if mode == "trunc":  # up again, where the quotient is negative and not whole
                    y = y + ((y < 0) & (y * q != p)).astype(y.dtype)
                return y
        except ValueError:
            raise mismatch("floor_divide", a, b) from None

    def backward(self, grad_y: Any) -> Any:
        return tuple(
            [
                sum_to(zero_gradient(grad_y), shape) if need else None
                for shape, need in zip(self.shapes, self.needs_input_grad, strict=True)
            ]
        )


def floor_divide(input: Any, other: Any) -> Any:
    """The quotient rounded down. RuntimeError for an integer division by zero."""
    return RoundedDiv.apply(input, other, mode="floor")


class Remainder(Function):
    """y = a - b * q, q = a / b rounded down ("floor") or towards zero ("trunc"), without rounding.

    grad_a = grad_y,  grad_b = -grad_y * q.
    """

    def forward(self, a: Any, b: Any, *, mode: str) -> Any:
        name, rest = ("remainder", np.remainder) if mode == "floor" else ("fmod", np.fmod)
        self.shapes, self.mode = (shape_of(a), shape_of(b)), mode
        if self.needs_input_grad[1]:
            self.save(a, b)
        p, q = meet(name, a, b)
        if _refuse_zero(name, p, q) == "b":
            raise RuntimeError(f"{name}: expects numbers, got bools")
        try:
            with np.errstate(all="ignore"):
                return rest(p, q)
        except ValueError:
            raise mismatch(name, a, b) from None

    def backward(self, grad_y: Any) -> Any:
        need_a, need_b = self.needs_input_grad
        grad_a = sum_to(grad_y, self.shapes[0]) if need_a else None
        grad_b = None
        if need_b:
            a, b = self.saved
            q = RoundedDiv.apply(a, b, mode=self.mode)
            grad_b = sum_to(-grad_y * q, self.shapes[1])
        return grad_a, grad_b


def remainder(input: Any, other: Any) -> Any:
    """input - other * floor(input / other): Python's %, with the sign of `other`.

    RuntimeError for an integer division by zero, for bools, or if the shapes do not broadcast.
    """
    return Remainder.apply(input, other, mode="floor")


def fmod(input: Any, other: Any) -> Any:
    """input - other * trunc(input / other): C's %, with the sign of `input`; else as remainder."""
    return Remainder.apply(input, other, mode="trunc")


class Step(Function):
    """y = a function that is flat between its steps: sign, floor, ceil, round;  grad_x = 0."""

    def forward(self, x: Any, *, step: Any) -> Any:
        return step(x).astype(x.dtype)

    def backward(self, grad_y: Any) -> Any:
        return zero_gradient(grad_y)


def sign(input: Any) -> Any:
    """-1, 0 or 1, and 0 for NaN. The gradient is zero."""
    return Step.apply(input, step=_sign)


def _sign(x: Any) -> Any:
    return np.subtract(x > 0, x < 0, dtype=np.int8)


def floor(input: Any) -> Any:
    """Rounded down. The gradient is zero."""
    refuse_bools("floor", input)
    return Step.apply(input, step=np.floor)


def ceil(input: Any) -> Any:
    """Rounded up. The gradient is zero."""
    refuse_bools("ceil", input)
    return Step.apply(input, step=np.ceil)


def trunc(input: Any) -> Any:
    """Rounded towards zero. The gradient is zero."""
    refuse_bools("trunc", input)
    return Step.apply(input, step=np.trunc)


def round(input: Any, *, decimals: int = 0) -> Any:
    """Rounded to the nearest, halves to the even one. The gradient is zero."""
    refuse_bools("round", input)
    return Step.apply(input, step=lambda x: np.round(x, decimals))


fix, sgn = trunc, sign


class Frac(Function):
    """y = x - trunc x;  grad_x = grad_y."""

    def forward(self, x: Any) -> Any:
        if x.dtype.kind != "f":
            raise RuntimeError(f"frac: expects a floating type, got {x.dtype}")
        return x - np.trunc(x)

    def backward(self, grad_y: Any) -> Any:
        return grad_y


def frac(input: Any) -> Any:
    """What `trunc` cuts off, with the sign of `input`. RuntimeError for integers."""
    return Frac.apply(input)

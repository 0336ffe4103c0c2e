"""Choices: each element of y is an element of one of the inputs, and gets its gradient there.

    y[i] = a[i] if c[i] else b[i]        grad_a[i] = grad_y[i] if c[i] else 0
                                         grad_b[i] = 0 if c[i] else grad_y[i]

For maximum, minimum and clamp the inputs themselves decide c. Where two are equal the derivative
has a jump, and PyTorch's convention is taken: maximum and minimum halve the gradient between equal
values, and clamp passes it on at the bounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function
from .compare import eq, ge, gt, isfinite, le, logical_and, logical_not, logical_or, lt
from .operands import meet, mismatch, on_its_device, raw, shape_of, wrapped
from .shape import check_tensors, clone, sum_to

__all__ = [
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "heaviside",
    "maximum",
    "minimum",
    "nan_to_num",
    "where",
]


class Maximum(Function):
    """y = max(a, b);  the larger one gets grad_y, equal ones half of it each."""

    def forward(self, a: Any, b: Any) -> Any:
        self.save(a, b)
        try:
            return np.maximum(*meet("maximum", a, b))
        except ValueError:
            raise mismatch("maximum", a, b) from None

    def backward(self, grad_y: Any) -> Any:
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        shared = where(eq(a, b), grad_y * 0.5, grad_y)
        grad_a = sum_to(where(lt(a, b), 0.0, shared), a.shape) if need_a else None
        grad_b = sum_to(where(lt(b, a), 0.0, shared), b.shape) if need_b else None
        return grad_a, grad_b


def maximum(input: Any, other: Any) -> Any:
    """The larger of two, element by element; NaN if one is. RuntimeError if shapes do not fit."""
    return Maximum.apply(input, other)


class Minimum(Function):
    """y = min(a, b);  the smaller one gets grad_y, equal ones half of it each."""

    def forward(self, a: Any, b: Any) -> Any:
        self.save(a, b)
        try:
            return np.minimum(*meet("minimum", a, b))
        except ValueError:
            raise mismatch("minimum", a, b) from None

    def backward(self, grad_y: Any) -> Any:
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        shared = where(eq(a, b), grad_y * 0.5, grad_y)
        grad_a = sum_to(where(lt(b, a), 0.0, shared), a.shape) if need_a else None
        grad_b = sum_to(where(lt(a, b), 0.0, shared), b.shape) if need_b else None
        return grad_a, grad_b


def minimum(input: Any, other: Any) -> Any:
    """The smaller of two, element by element; NaN if one is. RuntimeError if shapes do not fit."""
    return Minimum.apply(input, other)


class Where(Function):
    """y = a where c else b;  grad_a = grad_y where c else 0,  grad_b = 0 where c else grad_y."""

    def forward(self, c: Any, a: Any, b: Any) -> Any:
        if getattr(c, "dtype", None) != np.bool_:
            got = getattr(c, "dtype", type(c).__name__)
            raise RuntimeError(f"where: condition expects bools, got {got}")
        self.shapes = shape_of(a), shape_of(b)
        self.save(c)
        p, q = meet("where", a, b)
        try:
            y = np.where(c, p, q)
        except ValueError:
            raise RuntimeError(
                f"where: shapes {c.shape}, {self.shapes[0]} and {self.shapes[1]} do not broadcast"
            ) from None
        return y

    def backward(self, grad_y: Any) -> Any:
        (c,) = self.saved
        _, need_a, need_b = self.needs_input_grad
        grad_a = sum_to(where(c, grad_y, 0.0), self.shapes[0]) if need_a else None
        grad_b = sum_to(where(c, 0.0, grad_y), self.shapes[1]) if need_b else None
        return None, grad_a, grad_b


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """`input` where `condition`, else `other`; with `condition` alone, the indices where it holds.

    Raises RuntimeError if the condition is not bool, or if the three shapes do not broadcast.
    """
    if input is None and other is None:
        from .index import nonzero

        return nonzero(condition, as_tuple=True)
    return Where.apply(condition, input, other)


class Clamp(Function):
    """y = min(max(x, lo), hi);  whichever of the three it was gets grad_y: x at the bounds too."""

    def forward(self, x: Any, lo: Any, hi: Any) -> Any:
        self.save(x, lo, hi)
        y = x
        try:
            for bound, choose in ((lo, np.maximum), (hi, np.minimum)):
                if bound is not None:
                    y = choose(*meet("clamp", y, bound))
        except ValueError:
            raise mismatch("clamp", y, bound) from None
        return y

    def backward(self, grad_y: Any) -> Any:
        x, lo, hi = self.saved
        need_x, need_lo, need_hi = self.needs_input_grad
        crossed = False if lo is None or hi is None else gt(lo, hi)  # then y = hi everywhere
        grad_x = grad_lo = grad_hi = None
        if need_x:
            inside = True if lo is None else ge(x, lo)
            inside = inside if hi is None else logical_and(inside, le(x, hi))
            grad_x = sum_to(where(inside, grad_y, 0.0), x.shape)
        if need_lo:
            low = logical_and(lt(x, lo), logical_not(crossed))
            grad_lo = sum_to(where(low, grad_y, 0.0), lo.shape)
        if need_hi:
            high = logical_or(gt(x, hi), crossed)
            grad_hi = sum_to(where(high, grad_y, 0.0), hi.shape)
        return grad_x, grad_lo, grad_hi


def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """`input`, but not below `min` nor above `max`: numbers, tensors or None.

    ValueError if both are None.
    """
    if min is None and max is None:
        raise ValueError("clamp: expects min, max or both, got neither")
    return Clamp.apply(input, min, max)


clip = clamp


def clamp_min(input: Any, min: Any) -> Any:
    """`input`, but not below `min`."""
    return Clamp.apply(input, min, None)


def clamp_max(input: Any, max: Any) -> Any:
    """`input`, but not above `max`."""
    return Clamp.apply(input, None, max)


@on_its_device
def nan_to_num(
    input: Any, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """`input` with numbers for NaN, inf (None: the type's largest) and -inf (None: its smallest).

    The gradient passes where `input` is finite, and is zero elsewhere.
    """
    if input.dtype.kind not in "fc":
        return clone(input)
    limits = np.finfo(input.dtype)
    high = limits.max if posinf is None else posinf
    low = limits.min if neginf is None else neginf
    x = raw(input)
    fixed = np.where(np.isnan(x), 0.0 if nan is None else nan, np.where(x > 0, high, low))
    return where(isfinite(input), input, fixed.astype(x.dtype))


@on_its_device
def heaviside(input: Any, values: Any) -> Any:
    """0 below 0, 1 above, and `values` at 0; NaN stays. No gradient.

    RuntimeError if the types differ or the shapes do not broadcast.
    """
    check_tensors("heaviside", input, values)
    x, v = raw(input), raw(values)
    if x.dtype != v.dtype:
        raise RuntimeError(f"heaviside: expects one type, got {x.dtype} and {v.dtype}")
    try:
        y = np.where(x == 0, v, np.where(np.isnan(x), x, x > 0)).astype(x.dtype)
    except ValueError:
        raise mismatch("heaviside", x, v) from None
    return wrapped(y, input, values)

"""Arithmetic: element by element, with broadcasting.

For y = f(a, b), computed for each index i, the chain rule is a product for each index:

    grad_a[i] = grad_y[i] * df/da(a[i], b[i])

Where broadcasting used one element of a for many of y, its gradient is the sum over all of those:
`sum_to(grad, shape of a)`.

Types meet by PyTorch's rules (operands.py). Division turns integers into the default floating type.

The gradient of abs is 0 at 0, where it has a kink. Division and powers give NaN and infinities
without a word, as in PyTorch; where + - * or a product of matrices overflow, NumPy warns.
`autograd.detect_anomaly` finds where it began.

The other functions of single elements: exponential.py, trigonometry.py, rounding.py, choice.py
(maximum, where, clamp), compare.py.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function, dtypes
from ..autograd import device as Device
from ..backend.cpu import elementwise
from .choice import where
from .compare import eq, ge, logical_and
from .exponential import log
from .operands import (
    in_type,
    into,
    meet,
    mismatch,
    operand,
    raw,
    refuse_bools,
    shape_of,
    zero_gradient,
)
from .rounding import RoundedDiv, sign
from .shape import sum_to

__all__ = [
    "abs",
    "absolute",
    "add",
    "addcdiv",
    "addcmul",
    "div",
    "divide",
    "lerp",
    "mul",
    "multiply",
    "neg",
    "negative",
    "positive",
    "pow",
    "reciprocal",
    "rsub",
    "square",
    "sub",
    "subtract",
    "true_divide",
]

# ---------------------------------------------------------------------- types and devices


class Cast(Function):
    """y = x in another type;  grad_x = grad_y in the type of x."""

    def forward(self, x: Any, *, dtype: np.dtype) -> Any:
        self.x_dtype = x.dtype
        return x.astype(dtype)

    def backward(self, grad_y: Any) -> Any:
        return cast(grad_y, self.x_dtype)


def cast(input: Any, dtype: Any) -> Any:
    """`input` in another type; itself if it has that already. Differentiable between floats."""
    return input if input.dtype == dtype else Cast.apply(input, dtype=np.dtype(dtype))


class Move(Function):
    """y = x on another device;  grad_x = grad_y on the device of x."""

    def forward(self, x: Any, *, to: tuple[str, int | None], non_blocking: bool = False) -> Any:
        self.x_place = backend.place(x)
        return backend.move(x, *to, non_blocking=non_blocking)

    def backward(self, grad_y: Any) -> Any:
        return Move.apply(grad_y, to=self.x_place)


def move(input: Any, there: Device, non_blocking: bool = False) -> Any:
    """The tensor on that device; itself if it is there. RuntimeError if that cannot be used."""
    kind, index = backend.place(input.array)
    if kind == there.type and (kind == "cpu" or there.index in (None, index)):
        return input
    try:
        return Move.apply(input, to=(there.type, there.index), non_blocking=non_blocking)
    except RuntimeError as error:
        raise RuntimeError(f"to: device {str(there)!r}: {error}") from None


# ---------------------------------------------------------------------- + - * / **


class Add(Function):
    """y = a + b;  grad_a = grad_y,  grad_b = grad_y."""

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = shape_of(a), shape_of(b)
        p, q = meet("add", a, b)
        try:
            return elementwise.add(p, q)
        except ValueError:
            raise mismatch("add", a, b) from None

    def backward(self, grad_y: Any) -> Any:
        need_a, need_b = self.needs_input_grad
        grad_a = sum_to(grad_y, self.shapes[0]) if need_a else None
        grad_b = sum_to(grad_y, self.shapes[1]) if need_b else None
        return grad_a, grad_b


def _times(other: Any, alpha: Any) -> Any:
    """alpha * other; of two Python numbers a Python number, which does not promote."""
    return mul(other, alpha) if hasattr(other, "dtype") else alpha * other


def add(input: Any, other: Any, old: Any = None, *, alpha: Any = 1, out: Any = None) -> Any:
    """input + alpha * other; written into `out`, if given. RuntimeError if shapes do not broadcast.

    `w.add_(-0.1, grad)`, the form before PyTorch 1.5, is understood, with a warning.
    """
    if old is not None:
        warnings.warn("add: add(alpha, other) is old; write add(other, alpha=...)")
        alpha, other = other, old
    y = Add.apply(input, other if alpha == 1 else _times(other, alpha))
    return y if out is None else into(out, y, "add")


def _refuse_bools(name: str, *operands: Any) -> None:
    for x in operands:
        if x.dtype.kind == "b" if hasattr(x, "dtype") else isinstance(x, bool):
            raise RuntimeError(f"{name}: bools cannot be subtracted; use ^, logical_not or ~")


class Sub(Function):
    """y = a - b;  grad_a = grad_y,  grad_b = -grad_y."""

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = shape_of(a), shape_of(b)
        p, q = meet("sub", a, b)
        met = p if hasattr(p, "dtype") else q
        if p is not a or q is not b or met.dtype.kind == "b":
            _refuse_bools("sub", a, b)
        try:
            return p - q
        except ValueError:
            raise mismatch("sub", a, b) from None

    def backward(self, grad_y: Any) -> Any:
        need_a, need_b = self.needs_input_grad
        grad_a = sum_to(grad_y, self.shapes[0]) if need_a else None
        grad_b = sum_to(-grad_y, self.shapes[1]) if need_b else None
        return grad_a, grad_b


def sub(input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    """input - alpha * other; written into `out`, if given.

    RuntimeError if the shapes do not broadcast, or for bools.
    """
    y = Sub.apply(input, other if alpha == 1 else _times(other, alpha))
    return y if out is None else into(out, y, "sub")


subtract = sub


def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """other - alpha * input."""
    return sub(other, input, alpha=alpha)


class Mul(Function):
    """y = a * b;  grad_a = grad_y * b,  grad_b = grad_y * a."""

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = shape_of(a), shape_of(b)
        need_a, need_b = self.needs_input_grad
        self.save(a if need_b else None, b if need_a else None)
        p, q = meet("mul", a, b)
        try:
            return p * q
        except ValueError:
            raise mismatch("mul", a, b) from None

    def backward(self, grad_y: Any) -> Any:
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        grad_a = sum_to(grad_y * b, self.shapes[0]) if need_a else None
        grad_b = sum_to(grad_y * a, self.shapes[1]) if need_b else None
        return grad_a, grad_b


def mul(input: Any, other: Any, *, out: Any = None) -> Any:
    """input * other; written into `out`, if given. RuntimeError if the shapes do not broadcast."""
    y = Mul.apply(input, other)
    return y if out is None else into(out, y, "mul")


multiply = mul


class Div(Function):
    """y = a / b;  grad_a = grad_y / b,  grad_b = -grad_y * (a / b) / b."""

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = shape_of(a), shape_of(b)
        self.save(a if self.needs_input_grad[1] else None, b)
        p, q = meet("div", a, b)
        if p.dtype.kind in "biu" if hasattr(p, "dtype") else q.dtype.kind in "biu":
            p, q = in_type(p, q, dtypes.get_default_dtype())
        try:
            with np.errstate(all="ignore"):
                return p / q
        except ValueError:
            raise mismatch("div", a, b) from None

    def backward(self, grad_y: Any) -> Any:
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        grad_a = sum_to(grad_y / b, self.shapes[0]) if need_a else None
        grad_b = sum_to(-grad_y * (a / b / b), self.shapes[1]) if need_b else None
        return grad_a, grad_b


def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Any = None) -> Any:
    """input / other; of integers, in the default floating type. Written into `out`, if given.

    rounding_mode "floor" rounds the quotient down and "trunc" towards zero; both keep integers
    integers and have gradient zero. RuntimeError if the shapes do not broadcast, ValueError for
    another rounding_mode.
    """
    if rounding_mode is None:
        y = Div.apply(input, other)
        return y if out is None else into(out, y, "div")
    if rounding_mode not in ("floor", "trunc"):
        raise ValueError(
            f"div: rounding_mode expects None, 'floor' or 'trunc', got {rounding_mode!r}"
        )
    return into(out, RoundedDiv.apply(input, other, mode=rounding_mode), "div")


divide = true_divide = div


class Pow(Function):
    """y = a^b;  grad_a = grad_y * b a^(b-1),  grad_b = grad_y * y log a.

    a^0 is the constant 1, also at a = 0, so its grad_a is 0. grad_b is 0 where a = 0 and b >= 0.
    """

    def forward(self, a: Any, b: Any) -> Any:
        p, q = meet("pow", a, b)
        refuse_bools("pow", p)
        try:
            with np.errstate(all="ignore"):
                y = p**q
        except ValueError as error:
            if "negative integer" in str(error):
                raise RuntimeError(
                    "pow: integers to negative integer powers are fractions"
                ) from None
            raise mismatch("pow", a, b) from None
        self.save(a, b, y if self.needs_input_grad[1] else None)
        return y

    def backward(self, grad_y: Any) -> Any:
        a, b, y = self.saved
        need_a, need_b = self.needs_input_grad
        grad_a = grad_b = None
        if need_a and not hasattr(b, "shape") and b == 0:
            grad_a = zero_gradient(grad_y)  # 0 also where grad_y is infinite
        elif need_a:
            grad_a = sum_to(grad_y * _pow_slope(a, b), a.shape)
        if need_b:
            if not hasattr(a, "shape"):
                a = backend.like(raw(grad_y), np.asarray(a, grad_y.dtype))
            flat = logical_and(eq(a, 0), ge(b, 0))
            grad_b = sum_to(where(flat, 0.0, grad_y * y * log(a)), b.shape)
        return grad_a, grad_b


def _pow_slope(a: Any, b: Any) -> Any:
    if hasattr(b, "shape"):
        return where(eq(b, 0), 0.0, mul(b, pow(a, sub(b, 1))))
    return 2 * a if b == 2 else mul(pow(a, b - 1), b)


def pow(input: Any, exponent: Any) -> Any:
    """input to the power exponent. RuntimeError if the shapes do not broadcast, or for integers
    to a negative integer power."""
    return Pow.apply(input, exponent)


# ---------------------------------------------------------------------- of one argument


class Neg(Function):
    """y = -x;  grad_x = -grad_y."""

    def forward(self, x: Any) -> Any:
        if type(x) is not np.ndarray:
            x = operand("neg", x)
        elif x.dtype.kind == "b":
            raise RuntimeError("neg: a bool has no negative; use logical_not or ~")
        return -x

    def backward(self, grad_y: Any) -> Any:
        return -grad_y


def neg(input: Any) -> Any:
    """-input. RuntimeError for bools."""
    return Neg.apply(input)


negative = neg


def positive(input: Any) -> Any:
    """`input` itself. RuntimeError for bools."""
    if input.dtype.kind == "b":
        raise RuntimeError("positive: expects numbers, got bools")
    return input


class Abs(Function):
    """y = |x|;  grad_x = grad_y * sign(x), which is 0 at 0."""

    def forward(self, x: Any) -> Any:
        refuse_bools("abs", x)
        self.save(x)
        return np.abs(x)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * sign(x)


def abs(input: Any) -> Any:
    """The absolute value."""
    return Abs.apply(input)


absolute = abs


def square(input: Any) -> Any:
    """input squared."""
    return Pow.apply(input, 2)


def reciprocal(input: Any) -> Any:
    """1 / input."""
    return Div.apply(1, input)


# ---------------------------------------------------------------------- of three arguments


class Lerp(Function):
    """y = a + w * (b - a), the way from a to b.

    grad_a = grad_y * (1 - w),  grad_b = grad_y * w,  grad_w = grad_y * (b - a).
    """

    def forward(self, a: Any, b: Any, w: Any) -> Any:
        self.shapes = shape_of(a), shape_of(b), shape_of(w)
        wanted = self.needs_input_grad[2]
        self.save(a if wanted else None, b if wanted else None, w)
        try:
            # From the nearer end: w = 1 gives b exactly.
            return np.where(np.abs(w) < 0.5, a + w * (b - a), b - (b - a) * (1 - w)).astype(a.dtype)
        except ValueError:
            raise RuntimeError(
                f"lerp: shapes {', '.join(map(str, self.shapes))} do not broadcast"
            ) from None

    def backward(self, grad_y: Any) -> Any:
        a, b, w = self.saved
        need_a, need_b, need_w = self.needs_input_grad
        grad_a = sum_to(grad_y * (1 - w), self.shapes[0]) if need_a else None
        grad_b = sum_to(grad_y * w, self.shapes[1]) if need_b else None
        grad_w = sum_to(grad_y * (b - a), self.shapes[2]) if need_w else None
        return grad_a, grad_b, grad_w


def lerp(input: Any, end: Any, weight: Any) -> Any:
    """input + weight * (end - input): `input` for weight 0, `end` for 1; a moving average in place.

    weight: a number or a tensor. RuntimeError if the floating types differ, or for integers.
    """
    kinds = {x.dtype for x in (input, end, weight) if hasattr(x, "dtype")}
    if len(kinds) != 1 or kinds.pop().kind not in "fc":
        got = ", ".join([str(getattr(x, "dtype", type(x).__name__)) for x in (input, end, weight)])
        raise RuntimeError(f"lerp: expects tensors of one floating type, got {got}")
    return Lerp.apply(input, end, weight)


def addcmul(input: Any, tensor1: Any, tensor2: Any, old: Any = None, *, value: Any = 1) -> Any:
    """input + value * tensor1 * tensor2. RuntimeError if the shapes do not broadcast.

    addcmul(value, tensor1, tensor2), the form before PyTorch 1.5, is understood, with a warning.
    """
    if old is not None:
        warnings.warn("addcmul: addcmul(value, a, b) is old; write addcmul(a, b, value=...)")
        value, tensor1, tensor2 = tensor1, tensor2, old
    return add(input, mul(tensor1, tensor2), alpha=value)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, old: Any = None, *, value: Any = 1) -> Any:
    """input + value * tensor1 / tensor2. RuntimeError for a division of integers by integers.

    addcdiv(value, tensor1, tensor2), the form before PyTorch 1.5, is understood, with a warning.
    """
    if old is not None:
        warnings.warn("addcdiv: addcdiv(value, a, b) is old; write addcdiv(a, b, value=...)")
        value, tensor1, tensor2 = tensor1, tensor2, old
    if tensor1.dtype.kind in "biu" and tensor2.dtype.kind in "biu":
        raise RuntimeError(
            f"addcdiv: expects a floating type to divide, got {tensor1.dtype} and {tensor2.dtype}"
        )
    return add(input, div(tensor1, tensor2), alpha=value)

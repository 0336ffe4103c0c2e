"""Arithmetic: element by element, with broadcasting.

For y = f(a, b), computed for each index i, the chain rule is a product for each index:

    grad_a[i] = grad_y[i] * df/da(a[i], b[i])

Where broadcasting used one element of a for many of y, its gradient is the sum over all of those:
`sum_to(grad, shape of a)`.

Types meet by PyTorch's rules (operands.py). Operations whose result is not an integer (division,
exp, sqrt, ...) turn integers into the default floating type.

Kinks are decided as in PyTorch: the gradient of abs is 0 at 0, maximum and minimum halve it between
equal values, and clamp passes it on at the bounds. Division, powers, exp, log and sqrt give NaN
and infinities without a word, as in PyTorch; where + - * or a product of matrices overflow, NumPy
warns. `autograd.detect_anomaly` finds where it began.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..autograd import Function, dtypes
from .operands import (
    compare,
    floating_operand,
    in_type,
    meet,
    mismatch,
    operand,
    raw,
    shape_of,
    wrapped,
    zero_gradient,
)
from .shape import sum_to

__all__ = [
    "abs",
    "absolute",
    "add",
    "allclose",
    "ceil",
    "clamp",
    "clip",
    "cos",
    "div",
    "divide",
    "eq",
    "equal",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "fmod",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "ne",
    "neg",
    "negative",
    "not_equal",
    "pow",
    "reciprocal",
    "remainder",
    "round",
    "rsqrt",
    "sign",
    "sin",
    "sqrt",
    "square",
    "sub",
    "subtract",
    "true_divide",
    "trunc",
    "where",
]

# ---------------------------------------------------------------------- types


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


# ---------------------------------------------------------------------- + - * / **


class Add(Function):
    """y = a + b;  grad_a = grad_y,  grad_b = grad_y."""

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = shape_of(a), shape_of(b)
        p, q = meet("add", a, b)
        try:
            return p + q
        except ValueError:
            raise mismatch("add", a, b) from None

    def backward(self, grad_y: Any) -> Any:
        need_a, need_b = self.needs_input_grad
        grad_a = sum_to(grad_y, self.shapes[0]) if need_a else None
        grad_b = sum_to(grad_y, self.shapes[1]) if need_b else None
        return grad_a, grad_b


def add(input: Any, other: Any, old: Any = None, *, alpha: Any = 1) -> Any:
    """input + alpha * other. RuntimeError if the shapes do not broadcast.

    `w.add_(-0.1, grad)`, the form before PyTorch 1.5, is understood, with a warning.
    """
    if old is not None:
        warnings.warn("add: add(alpha, other) is old; write add(other, alpha=...)")
        alpha, other = other, old
    return Add.apply(input, other if alpha == 1 else mul(other, alpha))


def _refuse_bools(name: str, *operands: Any) -> None:
    if any(hasattr(x, "dtype") and x.dtype.kind == "b" for x in operands):
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


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """input - alpha * other. RuntimeError if the shapes do not broadcast, or for bools."""
    return Sub.apply(input, other if alpha == 1 else mul(other, alpha))


subtract = sub


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


def mul(input: Any, other: Any) -> Any:
    """input * other. RuntimeError if the shapes do not broadcast."""
    return Mul.apply(input, other)


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


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """input / other; of integers, in the default floating type.

    rounding_mode "floor" rounds the quotient down and "trunc" towards zero; both keep integers
    integers and have gradient zero. RuntimeError if the shapes do not broadcast, ValueError for
    another rounding_mode.
    """
    if rounding_mode is None:
        return Div.apply(input, other)
    if rounding_mode not in ("floor", "trunc"):
        raise ValueError(
            f"div: rounding_mode expects None, 'floor' or 'trunc', got {rounding_mode!r}"
        )
    return RoundedDiv.apply(input, other, mode=rounding_mode)


divide = true_divide = div


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
            grad_b = sum_to(-grad_y * div(a, b, rounding_mode=self.mode), self.shapes[1])
        return grad_a, grad_b


def remainder(input: Any, other: Any) -> Any:
    """input - other * floor(input / other): Python's %, with the sign of `other`.

    RuntimeError for an integer division by zero, for bools, or if the shapes do not broadcast.
    """
    return Remainder.apply(input, other, mode="floor")


def fmod(input: Any, other: Any) -> Any:
    """input - other * trunc(input / other): C's %, with the sign of `input`; else as remainder."""
    return Remainder.apply(input, other, mode="trunc")


class Pow(Function):
    """y = a^b;  grad_a = grad_y * b a^(b-1),  grad_b = grad_y * y log a.

    a^0 is the constant 1, also at a = 0, so its grad_a is 0. grad_b is 0 where a = 0 and b >= 0.
    """

    def forward(self, a: Any, b: Any) -> Any:
        p, q = meet("pow", a, b)
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
            grad_a = where(np.zeros(a.shape, bool), grad_y, 0.0)  # 0 also where grad_y is infinite
        elif need_a:
            grad_a = sum_to(grad_y * _pow_slope(a, b), a.shape)
        if need_b:
            a = a if hasattr(a, "shape") else np.asarray(a, grad_y.dtype)
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


class Abs(Function):
    """y = |x|;  grad_x = grad_y * sign(x), which is 0 at 0."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        return np.abs(x)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * sign(x)


def abs(input: Any) -> Any:
    """The absolute value."""
    return Abs.apply(input)


absolute = abs


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


def log2(input: Any) -> Any:
    """The logarithm to base 2."""
    return mul(Log.apply(input), 1 / np.log(2.0).item())


def log10(input: Any) -> Any:
    """The logarithm to base 10."""
    return mul(Log.apply(input), 1 / np.log(10.0).item())


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


def rsqrt(input: Any) -> Any:
    """1 / sqrt(input)."""
    return Div.apply(1.0, Sqrt.apply(input))


def square(input: Any) -> Any:
    """input squared."""
    return Pow.apply(input, 2)


def reciprocal(input: Any) -> Any:
    """1 / input."""
    return Div.apply(1, input)


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
    return Step.apply(input, step=np.floor)


def ceil(input: Any) -> Any:
    """Rounded up. The gradient is zero."""
    return Step.apply(input, step=np.ceil)


def trunc(input: Any) -> Any:
    """Rounded towards zero. The gradient is zero."""
    return Step.apply(input, step=np.trunc)


def round(input: Any, *, decimals: int = 0) -> Any:
    """Rounded to the nearest, halves to the even one. The gradient is zero."""
    return Step.apply(input, step=lambda x: np.round(x, decimals))


# ---------------------------------------------------------------------- choices


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

# ---------------------------------------------------------------------- questions, without gradient


def eq(input: Any, other: Any) -> Any:
    """input == other, element by element, as bools."""
    return compare("eq", np.equal, input, other)


def ne(input: Any, other: Any) -> Any:
    """input != other, element by element, as bools."""
    return compare("ne", np.not_equal, input, other)


def lt(input: Any, other: Any) -> Any:
    """input < other, element by element, as bools."""
    return compare("lt", np.less, input, other)


def le(input: Any, other: Any) -> Any:
    """input <= other, element by element, as bools."""
    return compare("le", np.less_equal, input, other)


def gt(input: Any, other: Any) -> Any:
    """input > other, element by element, as bools."""
    return compare("gt", np.greater, input, other)


def ge(input: Any, other: Any) -> Any:
    """input >= other, element by element, as bools."""
    return compare("ge", np.greater_equal, input, other)


not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def logical_and(input: Any, other: Any) -> Any:
    """True where both are not zero."""
    return compare("logical_and", np.logical_and, input, other)


def logical_or(input: Any, other: Any) -> Any:
    """True where at least one is not zero."""
    return compare("logical_or", np.logical_or, input, other)


def logical_xor(input: Any, other: Any) -> Any:
    """True where exactly one is not zero."""
    return compare("logical_xor", np.logical_xor, input, other)


def logical_not(input: Any) -> Any:
    """True where `input` is zero."""
    return wrapped(np.logical_not(raw(input)), input)


def isnan(input: Any) -> Any:
    """True where `input` is NaN."""
    return wrapped(np.isnan(raw(input)), input)


def isinf(input: Any) -> Any:
    """True where `input` is infinite."""
    return wrapped(np.isinf(raw(input)), input)


def isfinite(input: Any) -> Any:
    """True where `input` is neither NaN nor infinite."""
    return wrapped(np.isfinite(raw(input)), input)


def isclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    """True where |input - other| <= atol + rtol * |other|."""
    a, b = raw(input), raw(other)
    return wrapped(np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan), input, other)


def allclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """True if |input - other| <= atol + rtol * |other| everywhere. Returns a Python bool."""
    return bool(np.allclose(raw(input), raw(other), rtol=rtol, atol=atol, equal_nan=equal_nan))


def equal(input: Any, other: Any) -> bool:
    """True if shapes and all elements are equal. Returns a Python bool."""
    return bool(np.array_equal(raw(input), raw(other)))

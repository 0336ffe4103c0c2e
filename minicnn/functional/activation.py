"""Activations, and the derivation of their gradients.

Element by element
------------------
y = f(x) for each element alone, so grad_x = f'(x) * grad_y. Where f' can be written with y, y is
kept and not x: the layer behind keeps y as its own input anyway, and x can be freed. Where f' has
two values only, it is enough to keep which one.

(1)  relu        y = max(x, 0)                      f' = 1 if y > 0, else 0
(2)  leaky_relu  y = x if x > 0, else s*x           f' = 1 if x > 0, else s      s: negative_slope
(3)  prelu       y = x if x > 0, else w[c]*x        f' = 1 if x > 0, else w[c]   w learned
(4)  sigmoid     y = 1 / (1 + exp(-x))              f' = exp(-x) / (1 + exp(-x))^2 = y * (1 - y)
(5)  logsigmoid  y = log(1 / (1 + exp(-x)))         f' = 1 - sigmoid(x) = sigmoid(-x)
(6)  tanh        y = (e^x - e^-x) / (e^x + e^-x)    f' = 1 - y^2
(7)  softsign    y = x / (1 + |x|)                  f' = 1 / (1 + |x|)^2
(8)  silu        y = x * s(x), s the sigmoid        f' = s + x * s * (1 - s) = s * (1 + x * (1 - s))
(9)  elu         y = x if x > 0, else a*(e^x - 1)   f' = 1 if x > 0, else a*e^x  a: alpha
(10) celu        y = x if x > 0, else               f' = 1 if x > 0, else e^(x/a)
                     a*(e^(x/a) - 1)
(11) selu        y = r * elu(x)                     f' = r * elu'                r, a below
(12) softplus    y = log(1 + e^(t*x)) / t           f' = e^(t*x) / (1 + e^(t*x)) = sigmoid(t*x)
(13) hardtanh    y = min(max(x, lo), hi)            f' = 1 if lo < x < hi, else 0   relu6: 0 and 6
(14) hardsigmoid y = min(max(x + 3, 0), 6) / 6      f' = 1/6 if -3 < x < 3, else 0

The kinks follow PyTorch: relu'(0) = 0, leaky_relu'(0) = s, prelu'(0) = w, elu'(0) = a, selu'(0) =
r*a, hardtanh' = 0 at lo and at hi, hardsigmoid' = 0 at -3 and 3. A NaN stays a NaN; its gradient
passes relu, and is 0 under hardtanh and hardsigmoid.

prelu's slope w is an input like x. It serves a whole channel c of x[n,c,i,j] (or, with one entry,
all of x), and dy/dw[c] = min(x, 0), so that

     grad_w[c] = sum over n,i,j of grad_y[n,c,i,j] * min(x[n,c,i,j], 0)

selu's r = 1.0507 and a = 1.6733 are chosen such that y has mean 0 and variance 1 if x is normal
with mean 0 and variance 1 (Klambauer et al. 2017).

gate.py has the activations of the form x * g(x) but silu; shrink.py those that cut away small x.


Softmax
-------
Along one axis, whose entries a and b count:

(15) y[a] = exp(x[a]) / Z,  Z = sum over b of exp(x[b])

Every y[b] depends on every x[a]: through its own numerator if a = b, and through Z. With (a = b)
for 1 if a and b are equal, else 0:

     dy[b]/dx[a] = (a = b) * exp(x[b]) / Z - exp(x[b]) * exp(x[a]) / Z^2 = y[b] * ((a = b) - y[a])

(16) grad_x[a] = sum over b of grad_y[b] * y[b] * ((a = b) - y[a])
               = y[a] * (grad_y[a] - sum over b of grad_y[b] * y[b])

Adding a constant to x changes nothing, so exp is computed of x - max(x), which cannot overflow;
and the entries of grad_x sum to zero. If all grad_y[b] are equal, grad_x is zero: a gradient
check that sums the output sees nothing.

Log-softmax
-----------
(17) y[a] = x[a] - log(Z)                          dy[b]/dx[a] = (a = b) - exp(x[a]) / Z
(18) grad_x[a] = grad_y[a] - exp(y[a]) * sum over b of grad_y[b]

It is computed directly, not as log(softmax(x)), which is -infinity where softmax underflows.
softmin is the softmax of -x.


By hand
-------
softmax of x = [0, log 3] is y = [1/4, 3/4]. With grad_y = [1, 0]: sum grad_y*y = 1/4, and
grad_x = [1/4 * (1 - 1/4), 3/4 * (0 - 1/4)] = [3/16, -3/16].
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function, Tensor, dtypes, inplace
from ..autograd.inplace import can_overwrite, overwrite
from .arithmetic import cast
from .checks import check_floating
from .choice import clamp
from .compare import logical_not
from .exponential import exp
from .reduce import sum
from .shape import axis_of, reshape, sum_to

__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "hardsigmoid",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softsign",
    "tanh",
]


# ---------------------------------------------------------------------- element by element


class ReLU(Function):
    """y = max(x, 0): formula (1).  grad_x = grad_y where y > 0, else 0.

    over: y may be written over x, which nobody needs any more.
    """

    def forward(self, x: Any, *, over: bool = False) -> Any:
        y = backend.of(x).relu_forward(x, over)
        if y is x:
            y = x.view()  # what is saved is the output, not the input
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        if self.create_graph:
            return grad_y * (y != 0)
        return backend.of(y).relu_backward(grad_y, y)


class LeakyReLU(Function):
    """y = x where x > 0, else s*x: formula (2).  grad_x = grad_y * (1 where x > 0, else s)."""

    def forward(self, x: Any, *, slope: float) -> Any:
        self.slope = slope
        xp = backend.array_module(x)
        if slope == 0:
            y = xp.maximum(x, 0)
        else:
            # s <= 1: s*x is above x exactly where x < 0. s > 1: below.
            with np.errstate(over="ignore"):
                y = (xp.maximum if slope <= 1 else xp.minimum)(x, x * slope)
        if self.needs_input_grad[0]:
            self.save(x > 0)  # a byte an element, and x and y may be written over, as in PyTorch
        return y

    def backward(self, grad_y: Any) -> Any:
        (positive,) = self.saved
        return grad_y * positive + (grad_y * self.slope) * logical_not(positive)


class PReLU(Function):
    """y = x where x > 0, else w*x: formula (3), w in a shape that broadcasts to x's.

    grad_x = grad_y * (1 where x > 0, else w),  grad_w = sum of grad_y * min(x, 0).
    """

    function = "prelu"

    def forward(self, x: Any, w: Any) -> Any:
        self.save(x, w)
        xp = backend.array_module(x)
        with np.errstate(over="ignore", invalid="ignore"):
            return xp.where(x > 0, x, x * w)

    def backward(self, grad_y: Any) -> Any:
        x, w = self.saved
        need_x, need_w = self.needs_input_grad
        positive = x > 0
        grad_x = grad_y * positive + grad_y * w * logical_not(positive) if need_x else None
        grad_w = sum_to(grad_y * clamp(x, max=0), w.shape) if need_w else None
        return grad_x, grad_w


class Sigmoid(Function):
    """y = 1 / (1 + exp(-x)): formula (4).  grad_x = grad_y * y * (1 - y)."""

    def forward(self, x: Any) -> Any:
        with np.errstate(over="ignore"):  # exp(-x) = inf gives y = 0, which is right
            y = 1 / (1 + backend.array_module(x).exp(-x))
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        return grad_y * (y * (1 - y))


class LogSigmoid(Function):
    """y = -log(1 + exp(-x)): formula (5).  grad_x = grad_y * sigmoid(-x)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        xp = backend.array_module(x)
        return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x)))  # exp of nothing above 0

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * Sigmoid.apply(-x)


class Tanh(Function):
    """y = tanh(x): formula (6).  grad_x = grad_y * (1 - y^2)."""

    def forward(self, x: Any) -> Any:
        y = backend.array_module(x).tanh(x)
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        return grad_y * (1 - y * y)


class Softsign(Function):
    """y = x / (1 + |x|): formula (7).  grad_x = grad_y / (1 + |x|)^2."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(invalid="ignore"):  # infinity / infinity is NaN, as in PyTorch
            return x / (1 + backend.array_module(x).abs(x))

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        r = 1 / (1 + abs(x))
        return grad_y * (r * r)  # the square of 1 + |x| may overflow


class SiLU(Function):
    """y = x * s, s = sigmoid(x): formula (8).  grad_x = grad_y * s * (1 + x * (1 - s))."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        with np.errstate(invalid="ignore"):  # -infinity * 0 is NaN, as in PyTorch
            return x * Sigmoid.apply(x)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        s = Sigmoid.apply(x)
        return grad_y * (s * (1 + x * (1 - s)))


class ELU(Function):
    """y = r*x where x > 0, else r*a*(e^(q*x) - 1): (9) with r = q = 1, (10) with q = 1/a, (11).

    grad_x = grad_y * (r where x > 0, else r*a*q*e^(q*x)).
    """

    def forward(self, x: Any, *, alpha: float, scale: float = 1.0, rate: float = 1.0) -> Any:
        self.alpha, self.scale, self.rate = alpha, scale, rate
        self.save(x)
        xp = backend.array_module(x)
        # min(x, 0) keeps exp from overflowing where it is not used.
        with np.errstate(over="ignore", invalid="ignore"):
            straight = x if scale == 1 else x * scale
            low = xp.minimum(x, 0)
            curved = xp.expm1(low if rate == 1 else low * rate)
            return xp.where(x > 0, straight, scale * alpha * curved)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        positive = x > 0
        negative = logical_not(positive)
        with np.errstate(over="ignore"):
            slope = exp(clamp(x, max=0) * self.rate) * (self.scale * self.alpha * self.rate)
        return grad_y * self.scale * positive + grad_y * slope * negative


class Softplus(Function):
    """y = log(1 + e^(t*x)) / t: formula (12); x itself where t*x > threshold, which is as near as
    e^-threshold / t.  grad_x = grad_y * sigmoid(t*x), or grad_y."""

    def forward(self, x: Any, *, beta: float, threshold: float) -> Any:
        self.beta, self.threshold = beta, threshold
        self.save(x)
        xp = backend.array_module(x)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = x * beta
            y = xp.logaddexp(scaled, 0) / beta
        return xp.where(scaled > threshold, x, y)

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        scaled = x * self.beta
        straight = scaled > self.threshold
        return grad_y * Sigmoid.apply(scaled) * logical_not(straight) + grad_y * straight


class Hardtanh(Function):
    """y = min(max(x, lo), hi): formula (13).  grad_x = grad_y where lo < x < hi, else 0."""

    def forward(self, x: Any, *, lo: float, hi: float) -> Any:
        lo, hi = (number_of_type("hardtanh", "a bound", bound, x) for bound in (lo, hi))
        if self.needs_input_grad[0]:
            self.save((x > lo) & (x < hi))
        return backend.array_module(x).clip(x, lo, hi)

    def backward(self, grad_y: Any) -> Any:
        (inside,) = self.saved
        return grad_y * inside


class Hardsigmoid(Function):
    """y = min(max(x + 3, 0), 6) / 6: formula (14).  grad_x = grad_y * (1/6 where -3 < x < 3)."""

    def forward(self, x: Any) -> Any:
        self.save(x)
        return (backend.array_module(x).clip(x, -3, 3) + 3) / 6

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        return grad_y * ((x > -3) * (x < 3)) / 6


# ---------------------------------------------------------------------- along an axis


class Softmax(Function):
    """y: formula (15).  grad_x: (16)."""

    def forward(self, x: Any, *, axis: int) -> Any:
        self.axis = axis
        y = backend.of(x).softmax_forward(x, axis)
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        if self.create_graph:
            return y * (grad_y - sum(grad_y * y, self.axis, keepdim=True))
        return backend.of(y).softmax_backward(grad_y, y, self.axis)


class LogSoftmax(Function):
    """y: formula (17).  grad_x: (18)."""

    def forward(self, x: Any, *, axis: int) -> Any:
        self.axis = axis
        y = backend.of(x).log_softmax_forward(x, axis)
        self.save(y)
        return y

    def backward(self, grad_y: Any) -> Any:
        (y,) = self.saved
        if self.create_graph:
            return grad_y - exp(y) * sum(grad_y, self.axis, keepdim=True)
        return backend.of(y).log_softmax_backward(grad_y, y, self.axis)


# ---------------------------------------------------------------------- public functions


_INTEGERS_TOO = ("hardtanh", "relu", "relu6", "threshold")  # which compare, and no more


def activate(function: str, op: Any, x: Any, in_place: bool = False, **options: Any) -> Any:
    """op.apply(x), into x's own memory if asked for.

    Half precision is for storage: what does more than compare runs in float32 and is rounded once.
    """
    exact = function in _INTEGERS_TOO
    if not exact or getattr(x, "dtype", None) is None or x.dtype.kind not in "iu":
        check_floating(function, "x", x)
    apply: Any = partial(op.apply, **options)
    if not exact and x.dtype == np.float16:
        apply = partial(_in_float32, apply)
    if not in_place:
        return apply(x)
    if isinstance(x, Tensor):
        if op is ReLU and can_overwrite(x) and backend.of(x.array) is backend.cpu:
            return overwrite(f"{function}_", x, partial(op.apply, over=True))
        return inplace(f"{function}_", x, apply)
    x[...] = apply(x)
    return x


def _in_float32(apply: Any, x: Any) -> Any:
    with np.errstate(over="ignore"):
        return cast(apply(cast(x, np.float32)), x.dtype)


def number_of_type(function: str, name: str, value: Any, x: Any) -> Any:
    """A number in the type of x, if that is an integer type; RuntimeError where it does not fit."""
    if x.dtype.kind not in "iu":
        return value
    try:
        return x.dtype.type(value)
    except OverflowError:
        raise RuntimeError(
            f"{function}: {name} expects a number that x's type {x.dtype} holds, got {value}"
        ) from None


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0), element by element, also of integers; the gradient at 0 is 0.

    inplace writes into the input's memory.
    """
    return activate("relu", ReLU, input, inplace)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where x > 0, else negative_slope * x; the gradient at 0 is negative_slope.

    inplace writes into the input's memory. TypeError if the input is not floating.
    """
    return activate("leaky_relu", LeakyReLU, input, inplace, slope=float(negative_slope))


def prelu(input: Any, weight: Any) -> Any:
    """x where x > 0, else weight * x, with a learned weight (He et al. 2015).

    Args:
        input: (N, C, ...), or any shape if the weight has one entry.
        weight: (C,), one for each channel; or (1,) or (), one for all.

    Raises:
        RuntimeError: another number of weights, or a weight with more axes.
        TypeError: input or weight are not floating, or of different types.
    """
    check_floating("prelu", "x", input)
    check_floating("prelu", "weight", weight)
    if weight.dtype != input.dtype:
        raise TypeError(f"prelu: weight expects x's type {input.dtype}, got {weight.dtype}")
    C = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or weight.shape not in ((), (1,), (C,)):
        raise RuntimeError(
            f"prelu: weight expects shape (1,) or ({C},), one for each channel of x "
            f"{tuple(input.shape)}, got {tuple(weight.shape)}"
        )
    one_for_all = weight.ndim == 0 or weight.shape[0] == 1
    broadcasting = () if one_for_all else (C,) + (1,) * (input.ndim - 2)
    return PReLU.apply(input, reshape(weight, broadcasting))


def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x)), element by element. Integers become the default floating type."""
    return activate("sigmoid", Sigmoid, floating_input(input))


def tanh(input: Any) -> Any:
    """The hyperbolic tangent, element by element. Integers become the default floating type."""
    return activate("tanh", Tanh, floating_input(input))


def floating_input(x: Any) -> Any:
    """`x` itself, or if it holds integers or bools, `x` in the default floating type."""
    dtype = getattr(x, "dtype", None)
    return x if dtype is None or dtype.kind in "fc" else cast(x, dtypes.get_default_dtype())


def logsigmoid(input: Any) -> Any:
    """log(sigmoid(x)), also where sigmoid underflows. TypeError if the input is not floating."""
    return activate("logsigmoid", LogSigmoid, input)


def softsign(input: Any) -> Any:
    """x / (1 + |x|), element by element. Integers become the default floating type."""
    return activate("softsign", Softsign, floating_input(input))


def silu(input: Any, inplace: bool = False) -> Any:
    """x * sigmoid(x), also called swish (Elfwing et al. 2017). TypeError if not floating."""
    return activate("silu", SiLU, input, inplace)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha * (exp(x) - 1) (Clevert et al. 2015). TypeError if not floating."""
    return activate("elu", ELU, input, inplace, alpha=float(alpha))


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha * (exp(x / alpha) - 1) (Barron 2017): elu with the slope 1 at 0.

    ValueError if alpha is 0, TypeError if the input is not floating.
    """
    if alpha == 0:
        raise ValueError("celu: alpha expects a number other than 0, got 0")
    return activate("celu", ELU, input, inplace, alpha=float(alpha), rate=1 / alpha)


_SELU_ALPHA = 1.6732632423543772848170429916717  # the constants of Klambauer et al. 2017
_SELU_SCALE = 1.0507009873554804934193349852946


def selu(input: Any, inplace: bool = False) -> Any:
    """1.0507 * elu(x, 1.6733), which keeps mean 0 and variance 1 (Klambauer et al. 2017).

    TypeError if the input is not floating.
    """
    return activate("selu", ELU, input, inplace, alpha=_SELU_ALPHA, scale=_SELU_SCALE)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold.

    TypeError if the input is not floating.
    """
    return activate("softplus", Softplus, input, beta=float(beta), threshold=float(threshold))


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x, also of integers, kept between min_val and max_val; the gradient at both is 0.

    Raises ValueError if min_val > max_val, RuntimeError if an integer type does not hold them,
    TypeError if the input holds bools.
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val expects at most max_val={max_val}, got {min_val}")
    return activate("hardtanh", Hardtanh, input, inplace, lo=min_val, hi=max_val)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6), element by element, also of integers; the gradient at 0 and 6 is 0."""
    return activate("relu6", Hardtanh, input, inplace, lo=0.0, hi=6.0)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6) / 6, element by element. TypeError if the input is not floating."""
    return activate("hardsigmoid", Hardsigmoid, input, inplace)


def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """exp(x) / sum of exp(x) over `dim`: positive numbers that sum to 1.

    Args:
        input: of any shape.
        dim: the axis to sum over. None means 0 for 0, 1 or 3 axes and 1 otherwise, with a warning.
        dtype: convert the input first.

    Raises:
        IndexError: no such axis.
        TypeError: the input is not floating.
    """
    return _along_axis("softmax", Softmax, input, dim, _stacklevel, dtype)


def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """softmax(-x): the smallest entry gets most. Arguments and errors as softmax."""
    check_floating("softmin", "x", input if dtype is None else cast(input, dtype))
    return _along_axis("softmin", Softmax, -input, dim, _stacklevel, dtype)


def log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """log(softmax(x)), accurate also where softmax underflows. Arguments and errors as softmax."""
    return _along_axis("log_softmax", LogSoftmax, input, dim, _stacklevel, dtype)


def _along_axis(function: str, op: Any, x: Any, dim: Any, level: int, dtype: Any) -> Any:
    if dtype is not None:
        x = cast(x, dtype)
    check_floating(function, "x", x)
    if dim is None:
        warnings.warn(
            f"{function}: dim was not given and is guessed from the number of axes, as in old "
            "PyTorch code; name it",
            UserWarning,
            stacklevel=level,
        )
        dim = 0 if x.ndim in (0, 1, 3) else 1
    axis = axis_of(function, dim, x.ndim)
    if x.ndim == 0:
        return reshape(op.apply(reshape(x, (1,)), axis=0), ())
    return op.apply(x, axis=axis)


# ---------------------------------------------------------------------- in place


def relu_(input: Any) -> Any:
    """relu in the input's own memory."""
    return relu(input, True)


def leaky_relu_(input: Any, negative_slope: float = 0.01) -> Any:
    """leaky_relu in the input's own memory."""
    return leaky_relu(input, negative_slope, True)


def elu_(input: Any, alpha: float = 1.0) -> Any:
    """elu in the input's own memory."""
    return elu(input, alpha, True)


def celu_(input: Any, alpha: float = 1.0) -> Any:
    """celu in the input's own memory."""
    return celu(input, alpha, True)


def selu_(input: Any) -> Any:
    """selu in the input's own memory."""
    return selu(input, True)


def hardtanh_(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """hardtanh in the input's own memory."""
    return hardtanh(input, min_val, max_val, True)

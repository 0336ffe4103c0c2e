"""Reductions: many elements become one.

For y = f(x_1 ... x_n), each x_k gets grad_x[k] = grad_y * df/dx_k. With several dimensions reduced
at once the formulas hold for every index that remains; the gradient is first brought back to the
shape of x, `_spread`, by repeating it along the reduced dimensions.

(1)  sum         y = sum x_k                        grad_x[k] = grad_y
(2)  mean        y = sum x_k / n                    grad_x[k] = grad_y / n
(3)  var         y = sum (x_k - m)^2 / (n - c)      grad_x[k] = grad_y * 2 (x_k - m) / (n - c)
(4)  std         y = sqrt(var)                      grad_x[k] = grad_y * (x_k - m) / ((n - c) y)
(5)  max         y = x_j, j the first maximum       grad_x[k] = grad_y if k = j else 0
(6)  amax        y = max x_k                        grad_x[k] = grad_y / (number of maxima) at them
(7)  logsumexp   y = log sum e^x_k                  grad_x[k] = grad_y * e^(x_k - y)
(8)  norm        y = (sum |x_k|^p)^(1/p)            grad_x[k] = grad_y (|x_k| / y)^(p-1) sign x_k

By hand: x = 1, 2, 6 has sum 9, mean 3 and, with c = 1, var (4 + 1 + 9) / 2 = 7. For grad_y = 1 the
gradient of var is -2, -1, 3, that of max, which is 6, is 0, 0, 1.

In var, m is the mean and c the correction (1: the unbiased estimate). That m depends on x too adds
nothing: sum (x_k - m) * dm/dx = 0. But the second derivative sees it, so backward computes m from x
again instead of keeping it.
"""

from __future__ import annotations

import builtins
import functools
import math
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..autograd import Function, dtypes
from . import arithmetic, choice, compare, exponential, rounding
from .operands import ValuesIndices, first_place, on_its_device, raw, refuse_bools, wrapped
from .shape import (
    Expand,
    Reshape,
    Slice,
    axes_of,
    axis_of,
    cat,
    check_tensors,
    clone,
    flatten,
    unsqueeze,
)

__all__ = [
    "all",
    "amax",
    "amin",
    "aminmax",
    "any",
    "argmax",
    "argmin",
    "cdist",
    "count_nonzero",
    "dist",
    "logsumexp",
    "max",
    "mean",
    "min",
    "nanmean",
    "nansum",
    "norm",
    "prod",
    "renorm",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
]


def _spread(x: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """A result over `axes`, with or without those dimensions, repeated to the input's shape."""
    kept = tuple([1 if i in axes else n for i, n in enumerate(shape)])
    return Expand.apply(x if x.shape == kept else Reshape.apply(x, shape=kept), shape=shape)


def _count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return math.prod([shape[i] for i in axes])


def _need_floating(function: str, x: Any) -> None:
    if not dtypes.is_floating(x.dtype):
        raise RuntimeError(
            f"{function}: expects a floating type, got {x.dtype}; convert it first, for instance "
            f"with .float()"
        )


_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim", "ddof": "correction"}


def numpy_names(function: Any) -> Any:
    """Lets a reduction take axis= and keepdims=, as PyTorch does, so that np.mean(tensor) works."""

    @functools.wraps(function)
    def reduction(input: Any, *args: Any, **options: Any) -> Any:
        check_tensors(function.__name__, input)
        if options:
            options = {
                _NUMPY_NAMES.get(name, name): value
                for name, value in options.items()
                if value is not None or name not in ("out", "dtype")
            }
        return function(input, *args, **options)

    return reduction


# ---------------------------------------------------------------------- sums


class Sum(Function):
    """y = sum of x over axes;  grad_x = grad_y, repeated along them."""

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool, dtype: Any = None) -> Any:
        self.x_shape, self.axes = x.shape, axes
        if x.dtype.kind in "biu":
            return x.sum(axis=axes, keepdims=keepdim, dtype=np.int64 if dtype is None else dtype)
        if x.dtype.itemsize == 2:  # float16 holds 11 bits: sums need more
            return x.sum(axis=axes, keepdims=keepdim, dtype=np.float32).astype(x.dtype)
        return x.sum(axis=axes, keepdims=keepdim)

    def backward(self, grad_y: Any) -> Any:
        return _spread(grad_y, self.x_shape, self.axes)


@numpy_names
def sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum over `dim` (an integer, several, or all). Integers and bools are summed in int64.

    Raises IndexError for a dim that does not exist.
    """
    axes = axes_of("sum", dim, input.ndim)
    if dtype is None:
        return Sum.apply(input, axes=axes, keepdim=keepdim)
    return Sum.apply(arithmetic.cast(input, dtype), axes=axes, keepdim=keepdim, dtype=dtype)


class Mean(Function):
    """y = sum of x / n;  grad_x = grad_y / n, repeated."""

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.x_shape, self.axes, self.n = x.shape, axes, _count(x.shape, axes)
        if not self.n or x.dtype == np.float16:  # float16 sums overflow: NumPy's mean does not
            with np.errstate(all="ignore"):
                total = x.sum(axis=axes, keepdims=keepdim, dtype=np.float64)
                return np.divide(total, self.n).astype(x.dtype)
        return x.sum(axis=axes, keepdims=keepdim) / self.n

    def backward(self, grad_y: Any) -> Any:
        n = builtins.max(self.n, 1)
        half = grad_y.dtype == np.float16  # which holds no n beyond 65504
        return _spread(grad_y * (1 / n) if half else grad_y / n, self.x_shape, self.axes)


@numpy_names
def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean over `dim` (an integer, several, or all); NaN of nothing.

    Raises RuntimeError for integers (give dtype=float32, say), IndexError for an unknown dim.
    """
    if dtype is not None:
        input = arithmetic.cast(input, dtype)
    _need_floating("mean", input)
    return Mean.apply(input, axes=axes_of("mean", dim, input.ndim), keepdim=keepdim)


@numpy_names
def nansum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum of the elements that are not NaN: 0 of none. Arguments as `sum`."""
    return sum(_zero_for_nan(input), dim, keepdim, dtype=dtype)


@numpy_names
def nanmean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean of the elements that are not NaN; NaN of none. Arguments as `mean`."""
    _need_floating("nanmean", input)
    count = sum(compare.eq(input, input), dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / count


def _zero_for_nan(x: Any) -> Any:
    return choice.where(compare.eq(x, x), x, 0.0) if x.dtype.kind == "f" else x


class Var(Function):
    """y = sum of (x - m)^2 / (n - c);  grad_x = grad_y * 2 (x - m) / (n - c)."""

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool, correction: float) -> Any:
        self.axes, self.n = axes, builtins.max(_count(x.shape, axes) - correction, 0)
        self.save(x)
        with np.errstate(all="ignore"):
            d = x.astype(np.float32) if x.dtype == np.float16 else x  # squares need its range
            d = d - Mean.apply(d, axes=axes, keepdim=True)
            d -= Mean.apply(d, axes=axes, keepdim=True)  # what the mean's own rounding left
            total = (d * d).sum(axis=axes, keepdims=keepdim)
            return self.result(total / self.n).astype(x.dtype, copy=False)

    def result(self, variance: Any) -> Any:
        return variance

    def backward(self, grad_y: Any) -> Any:
        (x,) = self.saved
        d = x - Mean.apply(x, axes=self.axes, keepdim=True)
        return _spread(grad_y, x.shape, self.axes) * d * _inverse(self.n, 2.0)


class Std(Var):
    """y = sqrt(var);  grad_x = grad_y * (x - m) / ((n - c) y), and 0 where y = 0."""

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool, correction: float) -> Any:
        y = super().forward(x, axes=axes, keepdim=keepdim, correction=correction)
        self.save(x, y)
        return y

    def result(self, variance: Any) -> Any:
        return np.sqrt(variance)

    def backward(self, grad_y: Any) -> Any:
        x, y = self.saved
        d = x - Mean.apply(x, axes=self.axes, keepdim=True)
        slope = choice.where(compare.eq(y, 0), 0.0, grad_y / y)
        return _spread(slope, x.shape, self.axes) * d * _inverse(self.n, 1.0)


def _inverse(n: float, times: float) -> float:
    return times / n if n else math.nan


def _spread_out(
    function: Any, input: Any, dim: Any, unbiased: Any, correction: Any, keepdim: bool
) -> Any:
    """Var or Std with PyTorch's two ways to say the correction; also `var(x, False)`."""
    name = function.__name__.lower()
    if isinstance(dim, bool):  # var(x, unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    _need_floating(name, input)
    axes = axes_of(name, dim, input.ndim)
    return function.apply(input, axes=axes, keepdim=keepdim, correction=correction)


@numpy_names
def var(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """The variance over `dim`: sum of (x - mean)^2 / (n - correction), by two passes.

    `correction` is 1 (unbiased) if nothing is said; unbiased=False means 0. RuntimeError for
    integers; NaN where n <= correction.
    """
    return _spread_out(Var, input, dim, unbiased, correction, keepdim)


@numpy_names
def std(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """The square root of `var`, with the same arguments. Its gradient is 0 where it is 0."""
    return _spread_out(Std, input, dim, unbiased, correction, keepdim)


def var_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Any, Any]:
    """`(var, mean)`, with the arguments of `var`."""
    y = var(input, dim, unbiased, keepdim, correction=correction)
    return y, mean(input, None if isinstance(dim, bool) else dim, keepdim)


def std_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Any, Any]:
    """`(std, mean)`, with the arguments of `std`."""
    y = std(input, dim, unbiased, keepdim, correction=correction)
    return y, mean(input, None if isinstance(dim, bool) else dim, keepdim)


@numpy_names
def prod(input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The product over `dim`, or of all elements; 1 of nothing. Integers in int64.

    Multiplied in pairs, pairs of pairs, and so on: the gradient, the product of all others, is then
    right also where elements are 0, and so are the higher derivatives.
    """
    if dtype is not None or input.dtype.kind in "biu":
        input = arithmetic.cast(input, np.int64 if dtype is None else dtype)
    if dim is None:
        y = prod(flatten(input), 0, dtype=input.dtype)
        return Reshape.apply(y, shape=(1,) * input.ndim) if keepdim else y
    axis = axis_of("prod", dim, input.ndim)
    if input.ndim == 0:
        return clone(input)
    before = (slice(None),) * axis
    if input.shape[axis] == 0:
        return sum(input, axis, keepdim) + 1
    while (n := input.shape[axis]) > 1:
        half = n // 2
        low = Slice.apply(input, index=(*before, slice(0, half)))
        high = Slice.apply(input, index=(*before, slice(half, 2 * half)))
        rest = Slice.apply(input, index=(*before, slice(2 * half, n)))
        input = low * high
        if n % 2:
            input = cat([input, rest], axis)
    shape = input.shape
    kept = (
        (*shape[:axis], 1, *shape[axis + 1 :]) if keepdim else (*shape[:axis], *shape[axis + 1 :])
    )
    return Reshape.apply(clone(input), shape=kept)


# ---------------------------------------------------------------------- extremes


class Amax(Function):
    """y = max of x over axes;  grad_x = grad_y / (number of maxima) at each of them."""

    best = np.max

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.axes = axes
        y = backend.as_array(type(self).best(x, axis=axes, keepdims=keepdim))
        self.save(x, y)
        return y

    def backward(self, grad_y: Any) -> Any:
        x, y = self.saved
        # A NaN is its own maximum: where one is, it alone differs from itself.
        chosen = compare.logical_or(compare.eq(x, _spread(y, x.shape, self.axes)), compare.ne(x, x))
        count = sum(chosen, self.axes, keepdim=True) if self.axes else 1
        return _spread(grad_y, x.shape, self.axes) * chosen / count


class Amin(Amax):
    """y = min of x over axes;  grad_x = grad_y / (number of minima) at each of them."""

    best = np.min


def _need_elements(function: str, x: Any, axes: tuple[int, ...]) -> None:
    if _count(x.shape, axes) == 0 and x.ndim:
        raise IndexError(
            f"{function}: of no elements there is none: dim {axes} of a tensor of shape "
            f"{tuple(x.shape)}"
        )


@numpy_names
def amax(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The maximum over `dim` (one, several, or all). Equal maxima share the gradient evenly.

    IndexError where there are no elements.
    """
    axes = axes_of("amax", dim, input.ndim)
    _need_elements("amax", input, axes)
    return Amax.apply(input, axes=axes, keepdim=keepdim)


@numpy_names
def amin(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The minimum over `dim` (one, several, or all). Equal minima share the gradient evenly.

    IndexError where there are no elements.
    """
    axes = axes_of("amin", dim, input.ndim)
    _need_elements("amin", input, axes)
    return Amin.apply(input, axes=axes, keepdim=keepdim)


class MinMax(NamedTuple):
    """What `aminmax` returns."""

    min: Any
    max: Any


def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """`(amin, amax)` over `dim` or over all."""
    return MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


class MaxAlong(Function):
    """values, indices = the first maximum along axis;  grad_x = grad_values there, else 0."""

    where_best = np.argmax

    def forward(self, x: Any, *, axis: int, keepdim: bool) -> Any:
        self.axis, self.x_shape = axis, x.shape
        indices = np.expand_dims(type(self).where_best(x, axis=axis), axis)
        self.save(indices)
        values = np.take_along_axis(x, indices, axis)
        if keepdim:
            return values, indices.copy()
        return values.squeeze(axis), indices.squeeze(axis).copy()

    def backward(self, grad_values: Any, grad_indices: Any) -> Any:
        from .index import ScatterAdd

        indices = raw(self.saved[0])
        kept = Reshape.apply(grad_values, shape=indices.shape)
        return ScatterAdd.apply(kept, index=indices, axis=self.axis, shape=self.x_shape)


class MinAlong(MaxAlong):
    """values, indices = the first minimum along axis;  grad_x = grad_values there, else 0."""

    where_best = np.argmin


def _extreme(name: str, whole: Any, along: Any, input: Any, dim: Any, keepdim: bool) -> Any:
    if dim is None:
        if _count(input.shape, tuple(range(input.ndim))) == 0:
            raise RuntimeError(f"{name}: expects at least one element, got shape {input.shape}")
        return whole.apply(input, axes=tuple(range(input.ndim)), keepdim=keepdim)
    axis = axis_of(name, dim, input.ndim)
    _need_elements(name, input, (axis,) if input.ndim else ())
    if input.ndim == 0:
        return ValuesIndices(clone(input), first_place(input))
    return ValuesIndices(*along.apply(input, axis=axis, keepdim=keepdim))


@numpy_names
def max(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The maximum of all elements; with `dim`, `(values, indices)`; with a tensor, `maximum`.

    Over all, equal maxima share the gradient evenly; along a dim, the element at the index (the
    first maximum) gets it all. NaN counts as the largest. IndexError or RuntimeError of nothing.
    """
    if hasattr(dim, "shape"):
        return choice.maximum(input, dim)
    return _extreme("max", Amax, MaxAlong, input, dim, keepdim)


@numpy_names
def min(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The minimum of all elements; with `dim`, `(values, indices)`; with a tensor, `minimum`.

    Gradients and errors as `max`. NaN counts as the smallest.
    """
    if hasattr(dim, "shape"):
        return choice.minimum(input, dim)
    return _extreme("min", Amin, MinAlong, input, dim, keepdim)


@on_its_device
def _arg(name: str, function: Any, input: Any, dim: int | None, keepdim: bool) -> Any:
    x = raw(input)
    refuse_bools(name, x)
    if dim is not None:
        dim = axis_of(name, dim, x.ndim)
    _need_elements(name, x, tuple(range(x.ndim)) if dim is None else (dim,) if x.ndim else ())
    if dim is None or x.ndim == 0:
        shape = (1,) * x.ndim if keepdim else ()
        return wrapped(function(x).reshape(shape), input)
    return wrapped(function(x, axis=dim, keepdims=keepdim), input)


@numpy_names
def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index (int64) of the first maximum along `dim`, or among all elements in a row."""
    return _arg("argmax", np.argmax, input, dim, keepdim)


@numpy_names
def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index (int64) of the first minimum along `dim`, or among all elements in a row."""
    return _arg("argmin", np.argmin, input, dim, keepdim)


# ---------------------------------------------------------------------- questions


@numpy_names
def any(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """True where at least one element over `dim`, or of all, is not zero (of uint8: as uint8)."""
    return _whether("any", np.any, input, dim, keepdim)


@numpy_names
def all(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """True where no element over `dim`, or of all, is zero (of uint8: as uint8)."""
    return _whether("all", np.all, input, dim, keepdim)


@on_its_device
def _whether(name: str, function: Any, input: Any, dim: Any, keepdim: bool) -> Any:
    x = raw(input)
    y = function(x, axis=axes_of(name, dim, x.ndim), keepdims=keepdim)
    return wrapped(y.astype(x.dtype) if x.dtype == np.uint8 else y, input)


@on_its_device
def count_nonzero(input: Any, dim: Any = None) -> Any:
    """How many elements over `dim`, or of all, are not zero (int64)."""
    x = raw(input)
    return wrapped((x != 0).sum(axis=axes_of("count_nonzero", dim, x.ndim)), input)


# ---------------------------------------------------------------------- stable compositions


class LogSumExp(Function):
    """y = m + log sum e^(x - m), m the maximum;  grad_x = grad_y * e^(x - y)."""

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.axes = axes
        with np.errstate(all="ignore"):
            m = _largest(x, axes)
            m = np.where(np.isfinite(m), m, np.zeros_like(m))  # inf - inf would be NaN
            y = np.log(np.exp(x - m).sum(axis=axes, keepdims=True)) + m
        y = y if keepdim else y.squeeze(axes)
        self.save(x, y)
        return y

    def backward(self, grad_y: Any) -> Any:
        x, y = self.saved
        share = exponential.exp(x - _spread(y, x.shape, self.axes))
        return _spread(grad_y, x.shape, self.axes) * share


def _largest(x: Any, axes: tuple[int, ...]) -> Any:
    """The maximum over axes, all kept; -inf of nothing."""
    if _count(x.shape, axes):
        return x.max(axis=axes, keepdims=True)
    shape = [1 if i in axes else n for i, n in enumerate(x.shape)]
    return backend.array_module(x).full(shape, -np.inf, x.dtype)


def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    """log of the sum of e^input over `dim`, without overflow. Integers become floating."""
    if not dtypes.is_floating(input.dtype):
        input = arithmetic.cast(input, dtypes.get_default_dtype())
    return LogSumExp.apply(input, axes=axes_of("logsumexp", dim, input.ndim), keepdim=keepdim)


class Norm2(Function):
    """y = sqrt(sum of x^2);  grad_x = grad_y * x / y, and 0 where y = 0."""

    def forward(self, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.axes = axes
        with np.errstate(all="ignore"):
            y = np.sqrt((x * x).sum(axis=axes, keepdims=keepdim))
        self.save(x, y)
        return y

    def backward(self, grad_y: Any) -> Any:
        x, y = self.saved
        slope = choice.where(compare.eq(y, 0), 0.0, grad_y / y)
        return _spread(slope, x.shape, self.axes) * x


class PNorm(Function):
    """y = (sum of |x|^p)^(1/p);  grad_x = grad_y * (|x| / y)^(p-1) * sign(x), and 0 where y = 0."""

    def forward(self, x: Any, *, p: float, axes: tuple[int, ...], keepdim: bool) -> Any:
        self.p, self.axes = p, axes
        with np.errstate(all="ignore"):
            y = backend.as_array((abs(x) ** p).sum(axis=axes, keepdims=keepdim)) ** (1 / p)
        self.save(x, y)
        return y

    def backward(self, grad_y: Any) -> Any:
        x, y = self.saved
        nothing = compare.eq(y, 0)
        grad_y = _spread(choice.where(nothing, 0.0, grad_y), x.shape, self.axes)
        y = _spread(choice.where(nothing, 1.0, y), x.shape, self.axes)
        # 1 where x = 0: for p < 1 the slope there is infinite, and infinity * sign(0) not a number.
        share = choice.where(compare.eq(x, 0), 1.0, abs(x) / y)
        return grad_y * share ** (self.p - 1) * rounding.sign(x)


def norm(
    input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """(sum of |x|^p)^(1/p) over `dim` or over all: p = 2 ("fro"), 1, inf, -inf, 0, or any other.

    p = 0 counts the elements that are not zero. Half precision is computed in float32 and rounded
    once. RuntimeError for integers, ValueError for a p that is no number.
    """
    if dtype is not None:
        input = arithmetic.cast(input, dtype)
    _need_floating("norm", input)
    if input.dtype == np.float16:  # powers need a wider range
        y = norm(arithmetic.cast(input, np.float32), p, dim, keepdim)
        with np.errstate(over="ignore"):
            return arithmetic.cast(y, np.float16)
    axes = axes_of("norm", dim, input.ndim)
    if p in (2, "fro", None):
        return Norm2.apply(input, axes=axes, keepdim=keepdim)
    if isinstance(p, str):
        raise ValueError(f"norm: p expects a number or 'fro', got {p!r}")
    if p == 0:
        return sum(arithmetic.cast(compare.ne(input, 0), input.dtype), axes or None, keepdim)
    if p not in (1, math.inf, -math.inf):
        return PNorm.apply(input, p=float(p), axes=axes, keepdim=keepdim)
    outer = sum if p == 1 else amax if p > 0 else amin
    return outer(arithmetic.abs(input), axes or None, keepdim)


def dist(input: Any, other: Any, p: Any = 2) -> Any:
    """The p-norm of input - other, which broadcast."""
    return norm(arithmetic.sub(input, other), p)


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str | None = None) -> Any:
    """y[...,i,j] = the p-norm of x1[...,i,:] - x2[...,j,:]: all distances between two sets of rows.

    compute_mode is accepted and has no effect. RuntimeError for fewer than 2 dimensions, a negative
    p, or rows of different length.
    """
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1] or p < 0:
        raise RuntimeError(
            f"cdist: expects two sets of rows of one length and p >= 0, got {tuple(x1.shape)}, "
            f"{tuple(x2.shape)} and {p}"
        )
    return norm(unsqueeze(x1, -2) - unsqueeze(x2, -3), p, -1)


def renorm(input: Any, p: float, dim: int, maxnorm: float) -> Any:
    """`input`, but parts along `dim` whose p-norm is above maxnorm are scaled down to it.

    `w.data.renorm_(2, 0, 1)` holds every filter's norm to 1 at most. RuntimeError for p <= 0, a
    negative maxnorm, or fewer than 2 dimensions.
    """
    if p <= 0 or maxnorm < 0 or input.ndim < 2:
        raise RuntimeError(
            f"renorm: expects p > 0, maxnorm >= 0 and at least 2 dimensions, got {p}, {maxnorm} "
            f"and shape {tuple(input.shape)}"
        )
    axis = axis_of("renorm", dim, input.ndim)
    others = tuple([i for i in range(input.ndim) if i != axis])
    length = norm(clone(input), p, others, True)  # renorm_ writes over `input` itself
    factor = choice.where(compare.gt(length, maxnorm), maxnorm / (length + 1e-7), 1.0)
    return input * factor

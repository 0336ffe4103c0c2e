"""Losses, and the derivation of their gradients.

    x (N, C) scores, or (N, C, d1, ...)     p = softmax(x) along C   t (N,) or (N, d1, ...) labels
    W (C,) class weights, 1 if not given    s label_smoothing        q (N, C) target distribution

The formulas are for (N, C); further axes are more samples. (c = t) is 1 if c and t are equal, else
0.


Negative log-likelihood
-----------------------
With l = log p (what log_softmax gives), each sample that is not ignored (t[n] != ignore_index)
counts with the weight of its class, v[n] = W[t[n]]; an ignored one with v[n] = 0.

(1)  loss[n] = -v[n] * l[n, t[n]]
(2)  'none'  y[n] = loss[n]
     'sum'   y = sum over n of loss[n]
     'mean'  y = (sum over n of loss[n]) / M,  M = sum over n of v[n]

M is the sum of the weights, not the number of samples. If all are ignored the mean is 0/0, NaN;
the gradient of an ignored sample is 0 all the same. With g[n] the gradient that reaches loss[n]
(grad_y[n], grad_y or grad_y / M),

(3)  grad_l[n,c] = -g[n] * v[n] * (c = t[n])


Cross-entropy
-------------
-log p[n,t[n]] needs p at the labels only, but its gradient needs all of p. Smoothing gives s of the
target's mass to all classes alike: q[n,c] = (1 - s) * (c = t[n]) + s / C, and with the weights

(4)  loss[n] = -sum over c of Q[n,c] * log p[n,c],    Q[n,c] = W[c] * q[n,c], or 0 if n is ignored

d log p[n,c] / d x[n,a] = (a = c) - p[n,a], so

     d loss[n] / d x[n,a] = -Q[n,a] + p[n,a] * sum over c of Q[n,c]

(5)  grad_x[n,a] = g[n] * (p[n,a] * sum over c of Q[n,c] - Q[n,a])

For plain labels sum Q = 1: grad_x = (p - onehot(t)) / N with 'mean'. One pass over p in place of
the two of log_softmax and nll_loss, and no division by p, so it is exact also where p underflows
to 0. And p[n,c] = exp(x[n,c] - m[n]) / total[n], with m[n] the largest x[n,c] and total[n] the sum
over c of exp(x[n,c] - m[n]): the forward keeps these two numbers for each sample, not p.

Targets may also be distributions q (N, C): then (4) with q <- (1 - s) * q + s / C and M = N.
These are ordinary differentiable inputs, and the code composes (4) from log_softmax, product and
sum.


Squared and absolute error
--------------------------
(6)  mse: loss = (x - t)^2     grad_x = g * 2 * (x - t)       grad_t = -grad_x
(7)  l1:  loss = |x - t|       grad_x = g * sign(x - t)       grad_t = -grad_x       (0 where x = t)

'mean' divides by the number of elements.


By hand
-------
x = [[0, log 3]], t = [0]:

     s = 0      p = [[1/4, 3/4]]    q = [[1, 0]]        loss = log 4
                grad_x = [[1/4 - 1, 3/4 - 0]]   = [[-3/4, 3/4]]
     s = 1/2    p = [[1/4, 3/4]]    q = [[3/4, 1/4]]    loss = log 4 - log(3) / 4
                grad_x = [[1/4 - 3/4, 3/4 - 1/4]] = [[-1/2, 1/2]]
"""

from __future__ import annotations

import math
import warnings
from functools import cached_property
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function, Tensor, dtypes
from ..autograd.device import check_one_device
from ..autograd.tensor import recorded
from .activation import log_softmax, softmax
from .arithmetic import cast, div
from .checks import check_floating
from .operands import on_its_device
from .reduce import mean, sum
from .rounding import sign
from .shape import reshape, sum_to

__all__ = ["cross_entropy", "l1_loss", "mse_loss", "nll_loss"]


# ---------------------------------------------------------------------- labels


class _Labels:
    """Checked labels: which entry each sample picks, and what it weighs.

    Raises IndexError for a label that is no class, before anything is computed.
    """

    def __init__(self, function: str, x: Any, target: Any, weight: Any, ignore: int, smooth: float):
        # Copies: the caller may fill its buffers anew before the backward.
        self.target = t = target.astype(np.int64)
        self.weight = None if weight is None else weight.astype(x.dtype)
        self.smooth, self.dtype, self.classes = smooth, x.dtype, x.shape[1]
        self.wide = np.result_type(x.dtype, np.float32)  # float16 cannot count beyond 65504
        self.counts = target != ignore
        # On a GPU every question is a wait for all that it still has to do: it is asked but one.
        on_cpu = type(x) is np.ndarray
        self.ignore = None if on_cpu and self.counts.all() else ignore
        if self.ignore is not None:
            t = backend.array_module(x).where(self.counts, t, 0)
        if on_cpu and t.size:
            is_bad = t.min() < 0 or t.max() >= self.classes
        else:
            is_bad = ((t < 0) | (t >= self.classes)).any()
        if is_bad:
            _bad_label(function, t, self.classes, ignore)
        self.t = t

    @cached_property
    def at(self) -> tuple[Any, ...]:
        """x[at][n, ...] = x[n, t[n, ...], ...]"""
        xp, dims = backend.array_module(self.t), self.t.ndim
        n, *places = [
            xp.arange(size).reshape((-1,) + (1,) * (dims - axis - 1))
            for axis, size in enumerate(self.t.shape)
        ]
        return (n, self.t, *places)

    @cached_property
    def v(self) -> Any:
        """v[n] of formulas (1) and (2)."""
        kept = self.counts.astype(self.dtype)
        return kept if self.weight is None else self.weight[self.t] * kept

    @cached_property
    def M(self) -> Any:
        """M of formula (2)."""
        if self.weight is None and self.ignore is None:
            return self.wide.type(self.t.size)
        return (self.counts if self.weight is None else self.v).sum().astype(self.wide)

    def reduced(self, loss: Any, reduction: str) -> Any:
        """Formula (2)."""
        if reduction == "none":
            return loss
        total = loss.sum(dtype=self.wide)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return (total / self.M if reduction == "mean" else total).astype(loss.dtype)

    def reaching(self, grad_y: Any, reduction: str) -> Any:
        """g of (3) and (5), from grad_y, as it is for the samples that are not ignored."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return grad_y / self.M if reduction == "mean" else grad_y

    def spread(self, grad_y: Any, reduction: str) -> Any:
        """g[n] of (3) and (5), from grad_y; a sample that is ignored has gradient 0, not NaN."""
        kept = self.counts.astype(self.dtype)
        if reduction != "mean":
            return grad_y * kept
        with np.errstate(divide="ignore", invalid="ignore"):
            share = kept / self.M
        share[~self.counts] = 0
        return grad_y * share

    def distribution(self) -> Any:
        """Q of formula (4), as an array (N, C, ...)."""
        xp = backend.array_module(self.t)
        Q = xp.zeros((self.t.shape[0], self.classes, *self.t.shape[1:]), self.dtype)
        if self.smooth:
            by_class = (-1,) + (1,) * (self.t.ndim - 1)
            W = xp.ones(self.classes, self.dtype) if self.weight is None else self.weight
            Q += self.smooth / self.classes * W.reshape(by_class) * self.counts[:, None]
        Q[self.at] += (1 - self.smooth) * self.v
        return Q


def _bad_label(function: str, t: Any, C: int, ignore: int) -> None:
    at = np.argwhere((t < 0) | (t >= C))[0].tolist()
    raise IndexError(
        f"{function}: target holds the label {int(t[tuple(at)])} at index {tuple(at)}; with {C} "
        f"classes a label is 0 to {C - 1} (or ignore_index={ignore})"
    )


# ---------------------------------------------------------------------- functions


class NLLLoss(Function):
    """y: formulas (1) and (2).  grad_l: (3)."""

    function = "nll_loss"

    def forward(self, log_p: Any, *, labels: _Labels, reduction: str) -> Any:
        self.labels, self.reduction, self.shape = labels, reduction, log_p.shape
        with np.errstate(invalid="ignore"):
            loss = -log_p[labels.at] * labels.v
        loss[~labels.counts] = 0  # also where log_p is infinite
        return labels.reduced(loss, reduction)

    def backward(self, grad_y: Any) -> Any:
        labels = self.labels
        g = labels.spread(grad_y, self.reduction)
        if self.create_graph:
            return -reshape(g, (g.shape[0], 1, *g.shape[1:])) * Tensor._wrap(labels.distribution())
        grad_l = backend.array_module(g).zeros(self.shape, labels.v.dtype)
        grad_l[labels.at] = -g * labels.v
        return grad_l


class CrossEntropy(Function):
    """y: formulas (4) and (2), from the scores x.  grad_x: (5)."""

    def forward(self, x: Any, *, labels: _Labels, reduction: str) -> Any:
        self.labels, self.reduction = labels, reduction
        self.options = (labels.ignore, labels.smooth)
        loss, m, total = backend.of(x).cross_entropy_forward(
            x, labels.target, labels.weight, *self.options
        )
        self.save(x, m, total)
        return labels.reduced(loss, reduction)

    def backward(self, grad_y: Any) -> Any:
        x, m, total = self.saved
        labels = self.labels
        if self.create_graph:  # (5) as it stands, with p computed again from x
            g = labels.spread(grad_y, self.reduction)
            Q = labels.distribution()
            sum_q = Tensor._wrap(Q.sum(axis=1, keepdims=True))
            g = reshape(g, (g.shape[0], 1, *g.shape[1:]))
            return g * (softmax(x, 1) * sum_q - Tensor._wrap(Q))
        g = labels.reaching(grad_y, self.reduction)
        return backend.of(x).cross_entropy_backward(
            g, x, labels.target, labels.weight, m, total, *self.options
        )


class SquaredError(Function):
    """y = (x - t)^2, formula (6).  grad_x = grad_y * 2 * (x - t), grad_t = -grad_x."""

    function = "mse_loss"

    def forward(self, x: Any, t: Any) -> Any:
        self.save(x, t)
        with np.errstate(over="ignore", invalid="ignore"):
            d = x - t
            return d * d

    def backward(self, grad_y: Any) -> Any:
        x, t = self.saved
        need_x, need_t = self.needs_input_grad
        grad_d = grad_y * ((x - t) * 2)
        grad_x = sum_to(grad_d, x.shape) if need_x else None
        grad_t = -sum_to(grad_d, t.shape) if need_t else None
        return grad_x, grad_t


class AbsoluteError(Function):
    """y = |x - t|, formula (7).  grad_x = grad_y * sign(x - t), grad_t = -grad_x."""

    function = "l1_loss"

    def forward(self, x: Any, t: Any) -> Any:
        self.save(x, t)
        with np.errstate(over="ignore", invalid="ignore"):
            return abs(x - t)

    def backward(self, grad_y: Any) -> Any:
        x, t = self.saved
        need_x, need_t = self.needs_input_grad
        grad_d = grad_y * sign(x - t)
        grad_x = sum_to(grad_d, x.shape) if need_x else None
        grad_t = -sum_to(grad_d, t.shape) if need_t else None
        return grad_x, grad_t


# ---------------------------------------------------------------------- public functions


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The cross-entropy between softmax(input) and the target: formula (4).

    Args:
        input: scores (N, C), (N, C, d1, ...), or (C,) for a single sample. N may be 0.
        target: labels 0 .. C-1 of any integer type, (N,), (N, d1, ...) or (); or probabilities, of
            the input's shape and of a floating type.
        weight: (C,), one for each class; not differentiated.
        size_average, reduce: PyTorch's older form of `reduction`, with a warning.
        ignore_index: samples with this label count nothing (labels only).
        reduction: 'none', 'sum', or 'mean': for labels the mean weighted by `weight`.
        label_smoothing: 0 to 1, the mass that is spread over all classes.

    Returns:
        A scalar, or with 'none' the target's shape (for probabilities (N, d1, ...)).

    Raises:
        IndexError: a label that is no class.
        RuntimeError: an ignore_index of 0 or more for probabilities.
        ValueError: shapes that do not fit, an unknown reduction, label_smoothing outside 0 .. 1.
        TypeError: scores that are not floating, bool labels.
    """
    reduction = reduction_of("cross_entropy", size_average, reduce, reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing expects 0 to 1, got {label_smoothing}")
    _check_scores("cross_entropy", input, target, weight)
    if target.dtype.kind == "f":
        if ignore_index >= 0:
            raise RuntimeError(
                "cross_entropy: ignore_index is for labels; the target holds probabilities "
                f"({target.dtype}), got ignore_index={ignore_index}"
            )
        return _with_probabilities(input, target, weight, reduction, label_smoothing)
    return _with_labels(
        "cross_entropy",
        CrossEntropy,
        input,
        target,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
    )


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """-input[n, target[n]], weighted: formulas (1) and (2). `input` holds log-probabilities.

    Arguments, result and errors as cross_entropy's, with labels only.
    """
    reduction = reduction_of("nll_loss", size_average, reduce, reduction)
    _check_scores("nll_loss", input, target, weight)
    if target.dtype.kind == "f":
        raise TypeError(f"nll_loss: target expects integer labels, got {target.dtype}")
    return _with_labels("nll_loss", NLLLoss, input, target, weight, ignore_index, reduction, 0.0)


def mse_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """The mean (or sum, or each) of (input - target)^2.

    Args:
        input, target: of one shape. Others broadcast, with a warning.
        size_average, reduce: PyTorch's older form of `reduction`, with a warning.
        reduction: 'none', 'mean' or 'sum'.
        weight: multiplies each element's error, and 'mean' then divides by its sum; of the
            input's shape.

    Raises:
        ValueError: shapes that do not broadcast, an unknown reduction.
        TypeError: neither is floating.
    """
    reduction = reduction_of("mse_loss", size_average, reduce, reduction)
    return elementwise_loss("mse_loss", SquaredError, input, target, reduction, weight)


def l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """The mean (or sum, or each) of |input - target|. Arguments and errors as mse_loss."""
    reduction = reduction_of("l1_loss", size_average, reduce, reduction)
    return elementwise_loss("l1_loss", AbsoluteError, input, target, reduction, weight)


# ---------------------------------------------------------------------- arguments


def reduction_of(function: str, size_average: Any, reduce: Any, reduction: str, *more: str) -> str:
    """The reduction, also from the two arguments that PyTorch had before it.

    `more` are the names that a loss understands besides the three.
    """
    if size_average is not None or reduce is not None:
        mean = size_average is None or size_average
        reduction = "none" if reduce is False else "mean" if mean else "sum"
        warnings.warn(
            f"{function}: size_average and reduce are old; write reduction={reduction!r}",
            UserWarning,
            stacklevel=3,
        )
    known = ("none", "mean", "sum", *more)
    if reduction not in known:
        expected = ", ".join(map(repr, known[:-1])) + f" or {known[-1]!r}"
        raise ValueError(f"{function}: reduction expects {expected}, got {reduction!r}")
    return reduction


def _check_scores(function: str, x: Any, target: Any, weight: Any) -> None:
    check_floating(function, "input", x)
    shape = tuple(x.shape)
    if not shape or shape[min(1, len(shape) - 1)] == 0:
        raise ValueError(f"{function}: input expects (C,), (N, C) or (N, C, ...), got {shape}")
    dtype = getattr(target, "dtype", None)
    if dtype is None or dtype.kind not in "iuf":
        got = type(target).__name__ if dtype is None else dtype
        raise TypeError(f"{function}: target expects integer labels, got {got}")
    if weight is None:
        return
    C = shape[min(1, len(shape) - 1)]
    if tuple(weight.shape) != (C,):
        raise ValueError(
            f"{function}: weight expects shape ({C},), one for each class, got "
            f"{tuple(weight.shape)}"
        )
    if weight.dtype != x.dtype:
        raise TypeError(f"{function}: weight expects input's type {x.dtype}, got {weight.dtype}")
    if recorded(weight):
        raise RuntimeError(f"{function}: weight is not differentiated; detach() it")


@on_its_device
def _with_labels(
    function: str,
    loss: Any,
    x: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    smooth: float,
) -> Any:
    check_one_device(function, x, target, weight)
    wanted = (*x.shape[:1], *x.shape[2:]) if x.ndim > 1 else ()
    if tuple(target.shape) != wanted:
        raise ValueError(
            f"{function}: target expects shape {wanted}, a label for each sample of input "
            f"{tuple(x.shape)}, got {tuple(target.shape)}"
        )
    t, W = [getattr(a, "array", a) for a in (target, weight)]
    if x.ndim == 1:
        x, t = reshape(x, (1, -1)), t.reshape(1)
    labels = _Labels(function, getattr(x, "array", x), t, W, ignore_index, smooth)
    y = loss.apply(x, labels=labels, reduction=reduction)
    return reshape(y, ()) if reduction == "none" and not wanted else y


def _with_probabilities(x: Any, q: Any, weight: Any, reduction: str, smooth: float) -> Any:
    """Formula (4) for target distributions, out of differentiable pieces."""
    if tuple(q.shape) != tuple(x.shape):
        raise ValueError(
            f"cross_entropy: target expects probabilities of input's shape {tuple(x.shape)}, or "
            f"integer labels, got {q.dtype} {tuple(q.shape)}"
        )
    axis = min(1, x.ndim - 1)
    C = x.shape[axis]
    if smooth:
        q = q * (1 - smooth) + smooth / C
    Q = q if weight is None else q * reshape(weight, (C,) + (1,) * (x.ndim - axis - 1))
    loss = -sum(log_softmax(x, axis) * Q, axis)
    if reduction == "mean":
        return per_sample(sum(loss), math.prod(x.shape) // C)
    return reduced(loss, reduction)


def per_sample(total: Any, N: int) -> Any:
    """total / N; of half precision in float32, since N may be beyond 65504."""
    if total.dtype != np.float16:
        return div(total, N)
    return cast(div(cast(total, np.float32), N), np.float16)


def reduced(loss: Any, reduction: str) -> Any:
    """The loss of each element, their mean or their sum."""
    return loss if reduction == "none" else mean(loss) if reduction == "mean" else sum(loss)


def elementwise_loss(
    function: str, op: Any, x: Any, t: Any, reduction: str, weight: Any, **options: Any
) -> Any:
    """The loss op(x, t) of two operands that are checked, in one type; weighted and reduced."""
    if not hasattr(x, "dtype") or not hasattr(t, "dtype"):
        got = type(t if hasattr(x, "dtype") else x).__name__
        raise TypeError(f"{function}: input and target expect a Tensor or an array, got {got}")
    dtype = dtypes.result_type(x, t)
    if dtype.kind not in "fc":
        raise TypeError(f"{function}: one of input and target expects a floating type, got {dtype}")
    shapes = f"input {tuple(x.shape)}, target {tuple(t.shape)}"
    if x.shape != t.shape:
        try:
            np.broadcast_shapes(x.shape, t.shape)
        except ValueError:
            raise ValueError(f"{function}: expects shapes that broadcast: {shapes}") from None
        warnings.warn(
            f"{function}: the shapes differ and are broadcast, which is seldom meant: {shapes}",
            UserWarning,
            stacklevel=3,
        )
    loss = op.apply(cast(x, dtype), cast(t, dtype), **options)
    if weight is None:
        return reduced(loss, reduction)
    if weight.shape != x.shape:
        raise ValueError(
            f"{function}: weight expects input's shape {tuple(x.shape)}, got {weight.shape}"
        )
    loss = loss * weight
    return div(sum(loss), sum(weight)) if reduction == "mean" else reduced(loss, reduction)

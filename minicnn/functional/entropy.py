"""Losses between probabilities element by element, and the derivation of their gradients.

    x input, t target, W weight of each element, s the sigmoid, g the gradient of one element's loss

Binary cross-entropy
--------------------
x is the probability of a yes, t the true one:

(1)  bce     loss = -W * (t * log x + (1 - t) * log(1 - x))
(2)  grad_x = -g * W * (t / x - (1 - t) / (1 - x)) = g * W * (x - t) / (x * (1 - x))
     grad_t = g * W * (log(1 - x) - log x)

log 0 is -infinity; as in PyTorch the logarithms stop at -100 and the divisor of (2) at 1e-12 (here
in grad_t as well, which becomes infinite in PyTorch). Where x comes from a sigmoid, x = s(z), it is
better to start from the score z. With 1 - s(z) = s(-z), and P the weight of a yes (pos_weight):

(3)  logits  loss = -W * (P * t * log s(z) + (1 - t) * log s(-z))

log s has the slope s(-z), activation.py's (5), and z -> -z turns its sign:

(4)  grad_z = -g * W * (P * t * s(-z) - (1 - t) * s(z))              for P = 1: g * W * (s(z) - t)
     grad_t = -g * W * (P * log s(z) - log s(-z))
     grad_P = -g * W * t * log s(z), summed over the elements that share P

Nothing is divided, and log s(z) is computed without s(z), so that no score is too large.

Kullback-Leibler divergence
---------------------------
x is the logarithm of a probability, and so is t if log_target:

(5)  kl_div           loss = t * (log t - x)     grad_x = -g * t      grad_t = g * (log t + 1 - x)
(6)  with log_target  loss = e^t * (t - x)       grad_x = -g * e^t    grad_t = g * e^t * (t - x + 1)

0 * log 0 is 0 in (5); its slope is -infinity.

'mean' divides by the number of elements (the weights do not count), 'batchmean' by N.


By hand
-------
bce of x = 1/4 with t = 1: loss = log 4, grad_x = -1 / (1/4) = -4. From the score z = -log 3, whose
s(z) is 1/4: the same loss, grad_z = 1/4 - 1 = -3/4. kl_div of x = [-log 2, -log 2] and t = [1, 0],
summed: loss = 0 + log 2, grad_x = [-1, 0].
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function, dtypes
from .activation import LogSigmoid, Sigmoid
from .arithmetic import cast
from .checks import check_floating
from .choice import clamp
from .exponential import exp, log, log1p
from .loss import per_sample, reduced, reduction_of
from .operands import on_its_device
from .reduce import sum
from .shape import check_tensors, sum_to

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"]


class BinaryCrossEntropy(Function):
    """y: formula (1) with W = 1.  grad_x, grad_t: (2)."""

    def forward(self, x: Any, t: Any) -> Any:
        self.save(x, t)
        xp = backend.array_module(x)
        with np.errstate(divide="ignore"):
            yes, no = xp.maximum(xp.log(x), -100), xp.maximum(xp.log1p(-x), -100)
        return -(t * yes + (1 - t) * no)

    def backward(self, grad_y: Any) -> Any:
        x, t = self.saved
        need_x, need_t = self.needs_input_grad
        grad_x = grad_t = None
        if need_x:
            grad_x = grad_y * (x - t) / clamp(x * (1 - x), min=1e-12)
        if need_t:
            grad_t = grad_y * (clamp(log1p(-x), min=-100) - clamp(log(x), min=-100))
        return grad_x, grad_t


class LogitsCrossEntropy(Function):
    """y: formula (3) with W = 1, from scores z.  grad_z, grad_t, grad_P: (4)."""

    function = "binary_cross_entropy_with_logits"

    def forward(self, z: Any, t: Any, P: Any) -> Any:
        self.save(z, t, P)
        with np.errstate(invalid="ignore"):
            yes, no = t * LogSigmoid.apply(z), (1 - t) * LogSigmoid.apply(-z)
            return -((yes if P is None else P * yes) + no)

    def backward(self, grad_y: Any) -> Any:
        z, t, P = self.saved
        need_z, need_t, need_P = self.needs_input_grad
        grad_z = grad_t = grad_P = None
        if need_z:
            yes = t if P is None else P * t
            grad_z = grad_y * ((1 - t) * Sigmoid.apply(z) - yes * Sigmoid.apply(-z))
        if need_t:
            yes = LogSigmoid.apply(z)
            grad_t = grad_y * (LogSigmoid.apply(-z) - (yes if P is None else P * yes))
        if need_P:
            grad_P = sum_to(-grad_y * (t * LogSigmoid.apply(z)), P.shape)
        return grad_z, grad_t, grad_P


class Divergence(Function):
    """y = t * (log t - x): formula (5).

    grad_x = -grad_y * t, grad_t = grad_y * (log t + 1 - x).
    """

    function = "kl_div"

    def forward(self, x: Any, t: Any) -> Any:
        self.save(x, t)
        xp = backend.array_module(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            return xp.where(t == 0, 0, t * xp.log(t)) - t * x

    def backward(self, grad_y: Any) -> Any:
        x, t = self.saved
        need_x, need_t = self.needs_input_grad
        grad_x = sum_to(-grad_y * t, x.shape) if need_x else None
        grad_t = sum_to(grad_y * (log(t) + 1 - x), t.shape) if need_t else None
        return grad_x, grad_t


class LogDivergence(Function):
    """y = e^t * (t - x): formula (6).

    grad_x = -grad_y * e^t, grad_t = grad_y * e^t * (t - x + 1).
    """

    function = "kl_div"

    def forward(self, x: Any, t: Any) -> Any:
        self.save(x, t)
        with np.errstate(invalid="ignore", over="ignore"):
            return backend.array_module(x).exp(t) * (t - x)

    def backward(self, grad_y: Any) -> Any:
        x, t = self.saved
        need_x, need_t = self.needs_input_grad
        p = exp(t)
        grad_x = sum_to(-grad_y * p, x.shape) if need_x else None
        grad_t = sum_to(grad_y * (p * (t - x + 1)), t.shape) if need_t else None
        return grad_x, grad_t


# ---------------------------------------------------------------------- public functions


def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The binary cross-entropy between probabilities: formula (1).

    Args:
        input: probabilities, 0 to 1, of any shape.
        target: probabilities of the same shape and type.
        weight: multiplies each element's loss; of a shape that broadcasts to the input's.
        size_average, reduce: PyTorch's older form of `reduction`, with a warning.
        reduction: 'none', 'mean' (over all elements, whatever they weigh) or 'sum'.

    Raises:
        RuntimeError: an input or a target that is no probability.
        ValueError: shapes that do not fit, an unknown reduction.
        TypeError: not floating, or of different types.
    """
    name = "binary_cross_entropy"
    reduction = reduction_of(name, size_average, reduce, reduction)
    _check_pair(name, input, target, input if weight is None else weight)
    if input.dtype != target.dtype:
        raise TypeError(f"{name}: target expects input's type {input.dtype}, got {target.dtype}")
    _check_probabilities(name, "input", input)
    _check_probabilities(name, "target", target)
    return reduced(_weighted(BinaryCrossEntropy.apply(input, target), weight), reduction)


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """The binary cross-entropy between sigmoid(input) and the target: formula (3).

    Args:
        input: scores of any shape.
        target: probabilities, of the same shape.
        weight: multiplies each element's loss; of a shape that broadcasts to the input's.
        size_average, reduce: PyTorch's older form of `reduction`, with a warning.
        reduction: 'none', 'mean' (over all elements, whatever they weigh) or 'sum'.
        pos_weight: what a yes weighs beside a no; of a shape that broadcasts to the input's.

    Raises:
        ValueError: shapes that do not fit, an unknown reduction.
        TypeError: input or target are not floating.
    """
    name = "binary_cross_entropy_with_logits"
    reduction = reduction_of(name, size_average, reduce, reduction)
    _check_pair(name, input, target, input if weight is None else weight)
    P = pos_weight
    dtype = dtypes.result_type(input, target)
    if P is not None:
        _check_broadcasts(name, "pos_weight", P, input)
        P = cast(P, dtype)
    loss = LogitsCrossEntropy.apply(cast(input, dtype), cast(target, dtype), P)
    return reduced(_weighted(loss, weight), reduction)


def kl_div(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    """The Kullback-Leibler divergence, element by element: formulas (5) and (6).

    Args:
        input: logarithms of probabilities.
        target: probabilities, or with log_target their logarithms; broadcasts with the input.
        size_average, reduce: PyTorch's older form of `reduction`, with a warning.
        reduction: 'none', 'sum', 'batchmean' (the sum divided by input's first size: the
            divergence as it is defined), or 'mean' over all elements, with a warning.

    Raises:
        RuntimeError: shapes that do not broadcast.
        ValueError: an unknown reduction.
        TypeError: input or target are not floating.
    """
    if size_average is not None or reduce is not None or reduction != "batchmean":
        old = size_average is not None or reduce is not None
        reduction = reduction_of("kl_div", size_average, reduce, reduction, "batchmean")
        if reduction == "mean" and not old:
            warnings.warn(
                "kl_div: reduction='mean' divides by the number of elements; the divergence is "
                "reduction='batchmean'",
                UserWarning,
                stacklevel=2,
            )
    check_floating("kl_div", "input", input)
    check_floating("kl_div", "target", target)
    try:
        np.broadcast_shapes(input.shape, target.shape)
    except ValueError:
        raise RuntimeError(
            f"kl_div: expects shapes that broadcast: input {tuple(input.shape)}, target "
            f"{tuple(target.shape)}"
        ) from None
    dtype = dtypes.result_type(input, target)
    op = LogDivergence if log_target else Divergence
    loss = op.apply(cast(input, dtype), cast(target, dtype))
    if reduction == "batchmean":
        return per_sample(sum(loss), input.shape[0]) if input.ndim else sum(loss)
    return reduced(loss, reduction)


# ---------------------------------------------------------------------- arguments


def _weighted(loss: Any, weight: Any) -> Any:
    """loss * weight in the type of the loss."""
    return loss if weight is None else loss * cast(weight, loss.dtype)


def _check_pair(function: str, x: Any, target: Any, weight: Any) -> None:
    check_floating(function, "input", x)
    check_floating(function, "target", target)
    if x.shape != target.shape:
        raise ValueError(
            f"{function}: target expects input's shape {tuple(x.shape)}, got {tuple(target.shape)}"
        )
    _check_broadcasts(function, "weight", weight, x)


def _check_broadcasts(function: str, name: str, weight: Any, x: Any) -> None:
    """`weight` has a shape that broadcasts to x's own."""
    check_tensors(function, weight)
    try:
        fits = np.broadcast_shapes(weight.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{function}: {name} expects a shape that broadcasts to input's {tuple(x.shape)}, got "
            f"{tuple(weight.shape)}"
        )


@on_its_device
def _check_probabilities(function: str, name: str, x: Any) -> None:
    x = getattr(x, "array", x)
    inside = (x >= 0) & (x <= 1)
    if not inside.all():
        at = tuple(np.argwhere(~inside)[0].tolist())
        raise RuntimeError(
            f"{function}: {name} expects probabilities, 0 to 1, got {x[at].item():g} at index {at}"
        )

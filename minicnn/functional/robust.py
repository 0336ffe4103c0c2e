"""Losses that are squared near and straight far away, and the derivation of their gradients.

With d = x - t, and c = min(max(d, -D), D) the difference d cut off at a distance D:

(1)  huber      loss = d^2 / 2 if |d| <= D, else D * (|d| - D/2)      = c * (d - c/2)     D: delta
(2)  smooth_l1  loss = d^2 / (2 B) if |d| < B, else |d| - B/2         = huber / B, D = B  B: beta

The second form of (1) is the first: near, c = d; far, c = D * sign(d). Where c moves with d, the
slope of c * (d - c/2) is c + (d - c) = c, for c = d; where c stands still, it is c. So

(3)  grad_x = g * c        grad_t = -grad_x        (smooth_l1: divided by B)

g is the gradient that reaches the loss of one element. One outlier cannot pull by more than D,
where mse pulls by 2 |d|. At |d| = D both pieces have the slope D: the gradient does not jump there,
it has a kink, and second derivatives take the inner side's. smooth_l1 with B = 0 is l1.


By hand
-------
d = [1/2, 3]: huber with D = 1 gives [1/8, 5/2], with the slopes c = [1/2, 1]; smooth_l1 with B = 2
gives [1/16, 2], with the slopes c / 2 = [1/4, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from .choice import clamp
from .loss import AbsoluteError, elementwise_loss, reduced, reduction_of
from .shape import check_tensors, sum_to

__all__ = ["huber_loss", "smooth_l1_loss"]


class Huber(Function):
    """y = c * (d - c/2) / B, formulas (1) and (2).  grad_x = grad_y * c / B, grad_t = -grad_x."""

    function = "huber_loss"

    def forward(self, x: Any, t: Any, *, delta: float, divisor: float = 1.0) -> Any:
        self.delta, self.divisor = delta, divisor
        self.save(x, t)
        with np.errstate(over="ignore", invalid="ignore"):
            d = x - t
            c = backend.array_module(d).clip(d, -delta, delta)
            return (c / divisor) * (d - c / 2)

    def backward(self, grad_y: Any) -> Any:
        x, t = self.saved
        need_x, need_t = self.needs_input_grad
        with np.errstate(over="ignore"):
            c = clamp(x - t, -self.delta, self.delta)
        grad_d = grad_y * (c / self.divisor)
        grad_x = sum_to(grad_d, x.shape) if need_x else None
        grad_t = -sum_to(grad_d, t.shape) if need_t else None
        return grad_x, grad_t


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """The mean (or sum, or each) of (1): squared up to the distance delta, straight beyond.

    Args:
        input, target: of one shape. Others broadcast, with a warning.
        reduction: 'none', 'mean' or 'sum'.
        delta: positive.
        weight: multiplies each element's loss before the mean over all; of the input's shape.

    Raises:
        ValueError: a delta that is not positive, shapes that do not fit, an unknown reduction.
        TypeError: neither is floating.
    """
    reduction = reduction_of("huber_loss", None, None, reduction)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta expects a positive number, got {delta}")
    loss = elementwise_loss("huber_loss", Huber, input, target, "none", None, delta=float(delta))
    if weight is not None:
        check_tensors("huber_loss", weight)
        if weight.shape != input.shape:
            raise ValueError(
                f"huber_loss: weight expects input's shape {tuple(input.shape)}, got "
                f"{tuple(weight.shape)}"
            )
        loss = loss * weight
    return reduced(loss, reduction)


def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    """The mean (or sum, or each) of (2): |input - target|, rounded off within the distance beta.

    ValueError for a negative beta; other arguments and errors as mse_loss.
    """
    reduction = reduction_of("smooth_l1_loss", size_average, reduce, reduction)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta expects at least 0, got {beta}")
    if beta == 0:
        return elementwise_loss("smooth_l1_loss", AbsoluteError, input, target, reduction, None)
    options = {"delta": float(beta), "divisor": float(beta)}
    return elementwise_loss("smooth_l1_loss", Huber, input, target, reduction, None, **options)

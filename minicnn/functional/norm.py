"""Batch normalisation, and the derivation of its gradients in two forms (Ioffe and Szegedy 2015).

    x (N, C, H, W) input, or (N, C) or (N, C, ...)    w, b (C,) weight and bias    y output, like x

Each channel is normalised over the batch and all positions: M = N*H*W values. Channels do not
mix, so everything below is about one channel; m counts its values, x[m], and a sum without a
range is over m.


Forward
-------
(1)  mean  = (sum of x[m]) / M
(2)  var   = (sum of (x[m] - mean)^2) / M                    biased: divided by M
(3)  r     = 1 / sqrt(var + eps)                             the inverse deviation, inv_std below
(4)  x_hat[m] = (x[m] - mean) * r
(5)  y[m]  = w * x_hat[m] + b


Backward, node by node
----------------------
Every step above is a node; a value that several nodes use gets the sum of their gradients.

From (5): w and b touch every y[m].

(6)  grad_b = sum of grad_y[m]
(7)  grad_w = sum of grad_y[m] * x_hat[m]
(8)  grad_x_hat[m] = w * grad_y[m]

From (4), with u[m] = x[m] - mean and so x_hat[m] = u[m] * r: r is one number for all m.

(9)  grad_r = sum of grad_x_hat[m] * u[m]

From (3): dr/dvar = -1/2 * (var + eps)^(-3/2) = -1/2 * r^3.

(10) grad_var = -1/2 * r^3 * grad_r

From (2): dvar/du[m] = 2*u[m] / M. And u[m] is used by (4) as well: two summands.

(11) grad_u[m] = grad_x_hat[m] * r + grad_var * 2*u[m] / M

From (1) and u[m] = x[m] - mean: the mean gets minus the sum of grad_u, and passes 1/M of it on to
each x[m].

(12) grad_mean = -sum of grad_u[m]
(13) grad_x[m] = grad_u[m] + grad_mean / M

So x[m] reaches the loss on *three paths*: directly through its own x_hat[m]; through var, which
scales all values of the channel; and through the mean, which shifts them all. The common mistakes
are to forget one of the last two, or its 1/M.


Backward, compact
-----------------
Put (8) to (12) into (13). By (9) and (7), grad_r = w * (sum of grad_y[m] * u[m]) = w * grad_w / r.
So the second summand of (11) is

     -1/2 * r^3 * (w * grad_w / r) * 2*u[m] / M = -w * r * x_hat[m] * grad_w / M

In (12) it vanishes, because the u[m] sum to 0; what is left is grad_mean = -w * r * grad_b. So

(14) grad_x[m] = w * r * (grad_y[m] - grad_b / M - x_hat[m] * grad_w / M)

grad_y, less its mean, less its part along x_hat: what is left over is orthogonal to the constant
channel and (for eps = 0) to x_hat. It must be so, since y does not change if x is shifted or
stretched. The sums grad_b and grad_w are needed anyway, so the backward costs two passes.


Second derivatives
------------------
In (14) r and x_hat are functions of x as well. An implementation that keeps r from the forward, and
treats it as a constant when it differentiates (14), gets second derivatives that are wrong and look
plausible. Under create_graph the code below therefore computes (1) to (4) again from x.


Before a relu
-------------
If y goes through max(y, 0), and z is the result, then by the rule of the relu grad_y counts only
where z > 0. So y need not stand in memory: forward takes (5) and the maximum together, and (6), (7)
and (14) take as grad_y

(15) grad_y[m] = grad_z[m] * (1 if z[m] > 0, else 0)


Evaluation
----------
In evaluation mean and var are given numbers, and y is linear in x, with a single path:

(16) y[m] = w * (x[m] - mean) * r + b    grad_x[m] = w * r * grad_y[m],  grad_w, grad_b as before

In training they are remembered as running averages, the variance in its unbiased form:

(17) running_mean <- (1 - momentum) * running_mean + momentum * mean
     running_var  <- (1 - momentum) * running_var  + momentum * var * M / (M - 1)

So the forward keeps var, and the backward computes r from it by (3): the other way round, where eps
is much larger than var, r holds no digit of var.


By hand
-------
x = [1, 3] (N = 2, one channel of one pixel), w = 2, b = 0, eps = 0; grad_y = [1, 0]:

     mean = 2, var = 1, r = 1, x_hat = [-1, 1], y = [-2, 2]; remembered: 2 and 1*2/1 = 2
     grad_b = 1, grad_w = -1
     grad_x[0] = 2 * 1 * (1 - 1/2 - (-1)*(-1)/2) = 0,  grad_x[1] = 2 * 1 * (0 - 1/2 - 1*(-1)/2) = 0

Zero: two values always become -1 and 1, whatever they are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function, Tensor
from .activation import ReLU
from .checks import check_floating, check_per_channel
from .reduce import sum
from .shape import reshape

__all__ = ["batch_norm"]


class BatchNorm(Function):
    """y, mean, var: formulas (1) to (5).  grad_x: (14), grad_w: (7), grad_b: (6).

    With `relu` y is max(0, that), and the gradients are of (15).
    """

    def forward(self, x: Any, w: Any, b: Any, *, eps: float, relu: bool = False) -> Any:
        self.eps = eps
        y, mean, var = backend.of(x).batch_norm_forward(x, w, b, eps, relu)
        self.save(x, w, mean, var, y if relu else None)
        self.non_differentiable = (mean, var)
        return y, mean, var

    def backward(self, grad_y: Any, *_: Any) -> Any:
        x, w, mean, var, y = self.saved
        if self.create_graph:
            if y is not None:
                grad_y = grad_y * (y != 0)
            grads = _backward_from_x(grad_y, x, w, self.eps)
        else:
            # (3), in float64 as in the forward: three roundings to float32 would be two too many.
            wide = var.astype(np.result_type(var.dtype, np.float64))
            inv_std = ((wide + self.eps) ** -0.5).astype(var.dtype)
            grads = backend.of(x).batch_norm_backward(grad_y, x, w, mean, inv_std, y)
        return tuple(
            [g if need else None for g, need in zip(grads, self.needs_input_grad, strict=True)]
        )


def _backward_from_x(grad_y: Any, x: Any, w: Any, eps: float) -> tuple[Any, Any, Any]:
    """Formulas (6), (7) and (14) on Tensors, with (1) to (4) computed again from x."""
    axes, per_channel = _axes(x)
    M = max(x.numel() // x.shape[1], 1)  # an empty batch has no 0 / 0 to pass on
    u = x - sum(x, axes, keepdim=True) / M
    r = (sum(u * u, axes, keepdim=True) / M + eps) ** -0.5
    x_hat = u * r
    grad_b = sum(grad_y, axes, keepdim=True)
    grad_w = sum(grad_y * x_hat, axes, keepdim=True)
    scale = r if w is None else reshape(w, per_channel) * r
    grad_x = scale * (grad_y - grad_b / M - x_hat * grad_w / M)
    return grad_x, reshape(grad_w, -1), reshape(grad_b, -1)


class BatchNormInference(Function):
    """y, and its gradients, with given statistics: formulas (16), (6), (7)."""

    function = "batch_norm"

    def forward(self, x: Any, w: Any, b: Any, *, mean: Any, var: Any, eps: float) -> Any:
        _, per_channel = _axes(x)
        # Copies: the next training step changes the running statistics in place.
        self.mean = mean.reshape(per_channel).astype(mean.dtype, copy=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.inv_std = 1 / (var.reshape(per_channel) + eps) ** 0.5
        need_x, need_w, _ = self.needs_input_grad
        self.save(x if need_w else None, w if need_x else None)
        return backend.of(x).batch_norm_inference(x, w, b, mean, var, eps)

    def backward(self, grad_y: Any) -> Any:
        x, w = self.saved
        need_x, need_w, need_b = self.needs_input_grad
        axes, per_channel = _axes(grad_y)
        grad_x = grad_w = None
        if need_x:
            scale = self.inv_std if w is None else reshape(w, per_channel) * self.inv_std
            grad_x = grad_y * scale
        if need_w:
            grad_w = sum(grad_y * ((x - self.mean) * self.inv_std), axes)
        return grad_x, grad_w, sum(grad_y, axes) if need_b else None


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalises each channel to mean 0 and variance 1, then scales and shifts it.

    Args:
        input: (N, C) or (N, C, ...).
        running_mean, running_var: (C,), or None. In training they are updated in place, formula
            (17); in evaluation they are what is normalised by.
        weight, bias: (C,), or None for 1 and 0. With a float16 input these and the running
            statistics may be float32.
        training: normalise by the input's own statistics, with the biased variance.
        momentum: the weight of the new statistics in the running ones.
        eps: added to the variance.

    Returns:
        y of the input's shape and dtype. An empty batch gives an empty result and changes nothing.

    Raises:
        ValueError: fewer than two axes, a shape other than (C,), a single value per channel or an
            eps that is not positive in training, no statistics in evaluation, one running
            statistic of two. The running statistics are then unchanged.
        TypeError: types that are not floating or that differ.
    """
    statistics = running_mean, running_var
    return _batch_norm(input, *statistics, weight, bias, training, momentum, eps)


def batch_norm_relu(*args: Any) -> Any:
    """relu(batch_norm(*args)), the same to the bit, in one Function. It wants all arguments."""
    return _batch_norm(*args, relu=True)


def _batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float,
    eps: float,
    *,
    relu: bool = False,
) -> Any:
    _check("batch_norm", input, training, running_mean, running_var, weight, bias)
    eps = float(eps)
    if training and not eps > 0:
        raise ValueError(f"batch_norm: eps expects a positive number in training, got {eps}")
    if not training:
        mean, var = [getattr(t, "array", t) for t in (running_mean, running_var)]
        y = BatchNormInference.apply(input, weight, bias, mean=mean, var=var, eps=eps)
        return ReLU.apply(y, over=True) if relu else y
    y, mean, var = BatchNorm.apply(input, weight, bias, eps=eps, relu=relu)
    M = math.prod(input.shape) // input.shape[1]
    if M == 0:
        return y
    mean, var = [getattr(t, "array", t) for t in (mean, var)]
    remember("batch_norm", running_mean, mean, momentum)
    remember("batch_norm", running_var, var * (M / (M - 1)), momentum)
    return y


def remember(function: str, running: Any, new: Any, momentum: float) -> None:
    """Formula (17) in place, on a Tensor, an array or None, with the array `new`."""
    array = getattr(running, "array", running)
    if array is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            array *= 1 - momentum
            array += momentum * new
    if isinstance(running, Tensor):
        running._version[0] += 1
        running._version[1] = function


def _axes(x: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All axes but the channels', and the shape (1, C, 1, ...) that broadcasts over them."""
    return (0, *range(2, x.ndim)), (1, x.shape[1]) + (1,) * (x.ndim - 2)


def _check(
    function: str, x: Any, training: bool, mean: Any, var: Any, weight: Any, bias: Any
) -> None:
    check_floating(function, "x", x)
    shape = tuple(x.shape)
    if len(shape) < 2 or shape[1] == 0:
        raise ValueError(f"{function}: x expects (N, C) or (N, C, ...) with channels, got {shape}")
    if not training and (mean is None or var is None):
        raise ValueError(
            f"{function}: evaluation (training=False) expects running_mean and running_var"
        )
    if (mean is None) != (var is None):
        alone = "running_mean" if var is None else "running_var"
        raise ValueError(
            f"{function}: running_mean and running_var must either both be None or neither be "
            f"None, got {alone} alone"
        )
    if training and math.prod(shape) == shape[1]:
        raise ValueError(
            f"{function}: Expected more than 1 value per channel when training, got input size "
            f"{shape}"
        )
    check_per_channel(
        function, x, {"running_mean": mean, "running_var": var, "weight": weight, "bias": bias}
    )

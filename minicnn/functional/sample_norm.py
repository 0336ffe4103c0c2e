"""Layer, group and instance normalisation: batch norm's formulas over other sets of values.

    x (N, C, H, W) input    w, b weight and bias    y output, like x    G groups

All of them cut x into R sets of M values that are normalised together, and none of these sets
reaches over more than one sample: so nothing depends on the batch, and evaluation is like training.
x[n,c,i,j] lies in the set (Ba, Kiros and Hinton 2016; Wu and He 2018; Ulyanov et al. 2016)

     layer       n                        M = C*H*W, or any number of last axes: then one set for
                                          each place (n, ...) in the axes before them
     group       (n, c // (C/G))          M = C/G * H*W     C/G neighbouring channels together
     instance    (n, c)                   M = H*W           group norm with G = C

Batch norm's sets are the c, with M = N*H*W.


Forward
-------
For each set, m counting its values, and p(m) the index of the weight that value m has:
p = (c,i,j) in layer norm, p = c in group and instance norm.

(1)  mean = (sum of x[m]) / M
(2)  var  = (sum of (x[m] - mean)^2) / M                     biased
(3)  r    = 1 / sqrt(var + eps)
(4)  x_hat[m] = (x[m] - mean) * r
(5)  y[m] = w[p(m)] * x_hat[m] + b[p(m)]


Backward
--------
w[p] and b[p] have a part in every set, so these two sums run over all n,c,i,j that p belongs to:
over n in layer norm; over n,i,j in group and instance norm.

(6)  grad_b[p] = sum over n,c,i,j with that p of grad_y[n,c,i,j]
(7)  grad_w[p] = sum over n,c,i,j with that p of grad_y[n,c,i,j] * x_hat[n,c,i,j]
(8)  grad_x_hat[m] = g[m] = w[p(m)] * grad_y[m]

Within a set, x[l] reaches x_hat[m] directly, through mean, and through r:

     dmean/dx[l] = 1/M
     dr/dx[l]    = -1/2 * r^3 * 2*(x[l] - mean)/M = -r^2 * x_hat[l] / M

(9)  dx_hat[m]/dx[l] = r * ((1 if l = m) - 1/M - x_hat[m] * x_hat[l] / M)

Times g[m] and summed over m:

(10) grad_x[l] = r * (g[l] - (sum of g[m]) / M - x_hat[l] * (sum of g[m] * x_hat[m]) / M)

That is batch norm's gradient for weight 1 and g in place of grad_y. w could be taken out of the
sums there, being one number for a channel; here it changes within a set and stays in g. The common
mistake is to put grad_b and grad_w in their place, which sum over other indices.

One family of primitives serves all of these norms, that of group norm: instance norm has G = C, and
layer norm is group norm of x laid out as (R, M), where each p is a channel of its own and all of
them are one group.

Under create_graph (1) to (4) are computed again from x, as r depends on it.


Running statistics
------------------
Instance norm can remember, for each channel, the mean over n of its statistics, the variances
unbiased, and normalise by them in evaluation, which then is batch norm's:

(11) running_mean[c] <- (1 - momentum) * running_mean[c] + momentum * (mean over n of mean[n,c])
     running_var[c]  <- (1 - momentum) * running_var[c]
                        + momentum * (mean over n of var[n,c]) * M / (M - 1)


By hand
-------
Layer norm of x = [1, 2, 3], w = [3, 2, 1], b = 0, eps = 1/3; grad_y = [1, 0, 0]:

     mean = 2, var = 2/3, r = 1, x_hat = [-1, 0, 1], y = [-3, 0, 1]
     grad_b = [1, 0, 0], grad_w = [-1, 0, 0], g = [3, 0, 0], sum of g = 3, of g * x_hat = -3
     grad_x = [3 - 1 - (-1)*(-1), 0 - 1 - 0, 0 - 1 - 1*(-1)] = [1, -1, 0]
"""

from __future__ import annotations

import math
from operator import index
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from .arithmetic import cast
from .checks import check_floating, check_per_channel, check_trailing
from .norm import BatchNormInference, remember
from .operands import on_its_device
from .reduce import sum
from .shape import reshape

__all__ = ["group_norm", "instance_norm", "layer_norm"]


class SampleNorm(Function):
    """y, mean, var: formulas (1) to (5).  grad_x: (10), grad_w: (7), grad_b: (6).

    `shape` is (N, C, ...), as which x is taken, with `groups` sets in each of the N samples; w and
    b have C numbers.
    """

    def forward(
        self, x: Any, w: Any, b: Any, *, shape: tuple[int, ...], groups: int, eps: float
    ) -> Any:
        self.shape, self.groups, self.eps = shape, groups, eps
        by_channel = [None if t is None else t.reshape(-1) for t in (w, b)]
        y, mean, var = backend.of(x).group_norm_forward(x.reshape(shape), *by_channel, groups, eps)
        self.save(x, w, mean, var)
        self.b_shape = None if b is None else b.shape
        self.non_differentiable = (mean, var)
        return y.reshape(x.shape), mean, var

    def backward(self, grad_y: Any, *_: Any) -> Any:
        x, w, mean, var = self.saved
        need_x, need_w, need_b = self.needs_input_grad
        if self.create_graph:
            grad_x, grad_w, grad_b = self._from_x(grad_y, x, w)
        else:
            primitives, grad_x, grad_w = backend.of(x), None, None
            grad_y, values = grad_y.reshape(self.shape), x.reshape(self.shape)
            # (3), in float64 as in the forward.
            wide = var.astype(np.result_type(var.dtype, np.float64))
            r = ((wide + self.eps) ** -0.5).astype(var.dtype)
            if need_x:
                by_channel = None if w is None else w.reshape(-1)
                grad_x = primitives.group_norm_grad_input(grad_y, values, by_channel, mean, r)
            if need_w:
                grad_w, grad_b = primitives.group_norm_grad_affine(grad_y, values, mean, r)
            elif need_b:
                grad_b = sum(cast(grad_y, mean.dtype), (0, *range(2, grad_y.ndim)))
        return (
            reshape(grad_x, x.shape) if need_x else None,
            reshape(grad_w, w.shape) if need_w else None,
            reshape(grad_b, self.b_shape) if need_b else None,
        )

    def _from_x(self, grad_y: Any, x: Any, w: Any) -> tuple[Any, Any, Any]:
        """Formulas (6) to (8) and (10) on Tensors, with (1) to (4) computed again from x."""
        (N, C), G, places = self.shape[:2], self.groups, math.prod(self.shape[2:])
        sets = (N, G, C // G, places)
        grad_y = reshape(cast(grad_y, np.result_type(x.dtype, np.float32)), sets)
        values, axes, M = reshape(x, sets), (2, 3), max(C // G * places, 1)
        u = values - sum(values, axes, keepdim=True) / M
        r = (sum(u * u, axes, keepdim=True) / M + self.eps) ** -0.5
        x_hat = u * r
        g = grad_y if w is None else grad_y * reshape(w, (1, G, C // G, 1))
        along = sum(g * x_hat, axes, keepdim=True)
        grad_x = r * (g - sum(g, axes, keepdim=True) / M - x_hat * along / M)
        return grad_x, sum(grad_y * x_hat, (0, 3)), sum(grad_y, (0, 3))


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalises over the last axes to mean 0 and variance 1, then scales and shifts each place.

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the lengths of the last axes, at least one.
        weight, bias: of shape normalized_shape, or None for 1 and 0. With a float16 input they may
            be float32.
        eps: added to the variance.

    Returns:
        y of the input's shape and dtype.

    Raises:
        ValueError: the input does not end in normalized_shape, or it is not weight's or bias's
            shape.
        TypeError: types that are not floating or that differ, a normalized_shape that is not a
            tuple of integers.
    """
    trailing = check_trailing(
        "layer_norm", input, normalized_shape, {"weight": weight, "bias": bias}
    )
    before = input.ndim - len(trailing)
    shape = (math.prod(input.shape[:before]), math.prod(trailing))
    return SampleNorm.apply(input, weight, bias, shape=shape, groups=1, eps=float(eps))[0]


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalises num_groups groups of neighbouring channels in each sample, then w * x_hat + b.

    Args:
        input: (N, C) or (N, C, ...). N may be 0.
        num_groups: a positive integer that divides C.
        weight, bias: (C,), or None for 1 and 0. With a float16 input they may be float32.
        eps: added to the variance.

    Returns:
        y of the input's shape and dtype.

    Raises:
        ValueError: fewer than two axes, a num_groups that does not divide C, parameters of a shape
            other than (C,), a single value per group where there is one sample.
        TypeError: types that are not floating or that differ, a num_groups that is no integer.
    """
    C = _per_channel("group_norm", input, {"weight": weight, "bias": bias})
    try:
        G = index(num_groups)
    except TypeError:
        got = f"group_norm: num_groups expects an integer, got {num_groups!r}"
        raise TypeError(got) from None
    shape = tuple(input.shape)
    if G < 1 or C % G:
        raise ValueError(
            f"group_norm: num_groups expects a divisor of the {C} channels of x {shape}, got {G}"
        )
    places = math.prod(shape[2:])
    if shape[0] * (C // G) * places == 1:
        raise ValueError(
            f"group_norm: Expected more than 1 value per channel when training, got input size "
            f"{shape} in {G} groups"
        )
    options = {"shape": (shape[0], C, places), "groups": G, "eps": float(eps)}
    return SampleNorm.apply(input, weight, bias, **options)[0]


@on_its_device
def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalises each channel of each sample over its positions, then w * x_hat + b.

    Args:
        input: (N, C, ...) with at least one more axis. N may be 0.
        running_mean, running_var: (C,), both or neither. Updated in place, formula (11), where the
            input's own statistics are used; else they are what is normalised by.
        weight, bias: (C,), or None for 1 and 0. With a float16 input these and the running
            statistics may be float32.
        use_input_stats: normalise by the input's own statistics, with the biased variance.
        momentum: the weight of the new statistics in the running ones.
        eps: added to the variance.

    Returns:
        y of the input's shape and dtype. An empty batch gives an empty result and changes nothing.

    Raises:
        ValueError: fewer than two axes, a shape other than (C,), a single value per channel with
            use_input_stats, no statistics without, one running statistic of two. The running
            statistics are then unchanged.
        TypeError: types that are not floating or that differ.
    """
    function, shape = "instance_norm", tuple(getattr(input, "shape", ()))
    running = {"running_mean": running_mean, "running_var": running_var}
    C = _per_channel(function, input, {**running, "weight": weight, "bias": bias})
    M = math.prod(shape[2:])
    _check_statistics(function, running, use_input_stats, M, shape)
    if not use_input_stats:
        mean, var = [getattr(t, "array", t) for t in running.values()]
        return BatchNormInference.apply(input, weight, bias, mean=mean, var=var, eps=float(eps))
    options = {"shape": (shape[0], C, M), "groups": C, "eps": float(eps)}
    y, mean, var = SampleNorm.apply(input, weight, bias, **options)
    if running_mean is not None and shape[0] * M:
        mean, var = [getattr(t, "array", t).mean(axis=0) for t in (mean, var)]
        remember(function, running_mean, mean, momentum)
        remember(function, running_var, var * (M / (M - 1)), momentum)
    return y


def _per_channel(function: str, x: Any, named: dict[str, Any]) -> int:
    """C, of an x that has channels and fits what there is for each of them."""
    check_floating(function, "x", x)
    if x.ndim < 2 or x.shape[1] == 0:
        got = tuple(x.shape)
        raise ValueError(f"{function}: x expects (N, C) or (N, C, ...) with channels, got {got}")
    check_per_channel(function, x, named)
    return x.shape[1]


def _check_statistics(
    function: str, running: dict[str, Any], own: bool, M: int, shape: tuple[int, ...]
) -> None:
    known = [name for name, t in running.items() if t is not None]
    if not own and len(known) < 2:
        raise ValueError(f"{function}: use_input_stats=False expects running_mean and running_var")
    if len(known) == 1:
        raise ValueError(
            f"{function}: running_mean and running_var must either both be None or neither be "
            f"None, got {known[0]} alone"
        )
    if own and M == 1:
        raise ValueError(
            f"{function}: Expected more than 1 spatial element when training, got input size "
            f"{shape}"
        )

"""Negative log-likelihoods of counts and of normal numbers, and their gradients derived.

    x input    t target    g the gradient of one element's loss

Counts
------
t counts what happens at a rate r, with probability r^t * e^(-r) / t! (Poisson's distribution).
Minus the logarithm of that is r - t * log r + log t!. x is the logarithm of r, or r itself with
log_input=False:

(1)  poisson       loss = e^x - t * x              grad_x = g * (e^x - t)
                                                   grad_t = -g * x
(2)  of the rate   loss = x - t * log(x + eps)     grad_x = g * (1 - t / (x + eps))
                                                   grad_t = -g * log(x + eps)

log t! does not depend on x. With full=True it is added for t > 1, by Stirling's formula:

(3)  t * log t - t + log(2 pi t) / 2               its slope in t: log t + 1 / (2 t)

Normal numbers
--------------
t is normal with mean x and variance v, which the network tells as well (Nix and Weigend 1994).
Minus the logarithm of the density is, with v = max(var, eps),

(4)  gaussian      loss = (log v + (x - t)^2 / v) / 2      and with full=True + log(2 pi) / 2
                   grad_x = g * (x - t) / v                grad_t = -grad_x
                   grad_var = g * (1 - (x - t)^2 / v) / (2 v)

As in PyTorch, var gets this gradient also where it is below eps, so that it can rise again.


By hand
-------
poisson of x = 0, t = 2: loss = 1, grad_x = 1 - 2 = -1; full adds 2 log 2 - 2 + log(4 pi) / 2, which
is 0.652, for log 2! = 0.693. gaussian of x = 3, t = 1, var = 2: loss = (log 2 + 2) / 2, grad_x = 1,
grad_var = (1 - 2) / 4 = -1/4.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .checks import of_one_floating_type
from .choice import where
from .exponential import exp, log
from .loss import reduced, reduction_of
from .operands import on_its_device, raw, wrapped
from .shape import check_tensors, unsqueeze

__all__ = ["gaussian_nll_loss", "poisson_nll_loss"]


@on_its_device
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Minus the log-likelihood of counts: formulas (1) to (3).

    Args:
        input: the logarithm of the rate, or with log_input=False the rate.
        target: the counts; broadcasts with the input.
        log_input: see above.
        full: add (3).
        size_average, reduce: PyTorch's older form of `reduction`, with a warning.
        eps: keeps the logarithm of a rate of 0 finite.
        reduction: 'none', 'mean' or 'sum'.

    Raises:
        RuntimeError: shapes that do not broadcast.
        ValueError: an unknown reduction.
        TypeError: neither is floating.
    """
    name = "poisson_nll_loss"
    reduction = reduction_of(name, size_average, reduce, reduction)
    x, t = of_one_floating_type(name, input, target)
    loss = exp(x) - t * x if log_input else x - t * log(x + eps)
    if full:
        many = raw(t) > 1
        u = where(many, t, 1.0)
        loss = loss + where(many, u * log(u) - u + log(u * (2 * math.pi)) * 0.5, 0.0)
    return reduced(loss, reduction)


@on_its_device
def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:
    """Minus the log-likelihood of normal numbers: formula (4).

    Args:
        input: the mean.
        target: broadcasts with the input.
        var: the variance, not negative: a number, or of the input's shape; there the last axis may
            be missing, or one axis of length 1.
        full: add log(2 pi) / 2.
        eps: the least variance.
        reduction: 'none', 'mean' or 'sum'.

    Raises:
        RuntimeError: shapes of input and target that do not broadcast.
        ValueError: a negative variance, another shape of var, an unknown reduction.
        TypeError: neither is floating.
    """
    name = "gaussian_nll_loss"
    reduction = reduction_of(name, None, None, reduction)
    x, t = of_one_floating_type(name, input, target)
    var = _variance(name, var, x)
    # The value of max(var, eps), with the slope 1 everywhere.
    v = var + wrapped(np.maximum(raw(var), eps) - raw(var), var)
    d = x - t
    loss = (log(v) + d * d / v) * 0.5
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def _variance(function: str, var: Any, x: Any) -> Any:
    """var as a tensor that broadcasts over x's axes."""
    if isinstance(var, (int, float)):
        var = wrapped(np.full_like(raw(x), var), x)
    check_tensors(function, var)
    if (raw(var) < 0).any():
        raise ValueError(
            f"{function}: var expects no negative number, got {raw(var).min().item():g}"
        )
    shape, of_x = tuple(var.shape), tuple(x.shape)
    if shape == of_x:
        return var
    if shape == of_x[:-1]:
        return unsqueeze(var, -1)
    differ = [n for n, wanted in zip(shape, of_x, strict=False) if n != wanted]
    if len(shape) == len(of_x) and differ == [1]:
        return var
    raise ValueError(
        f"{function}: var expects input's shape {of_x}, without the last axis or with one axis of "
        f"length 1, got {shape}"
    )

"""Losses that ask for a margin, and the derivation of their gradients.

    x scores    t target    m margin    g the gradient of one element's or sample's loss
    [z] = max(z, 0), whose slope is 1 where z > 0, and 0 where z < 0

Two by two
----------
t is 1 or -1.

(1)  margin_ranking    loss = [-t * (x1 - x2) + m]
                       grad_x1 = -g * t where that is > 0, else 0      grad_x2 = -grad_x1
(2)  hinge_embedding   loss = x if t = 1, [m - x] if t = -1
                       grad_x = g if t = 1, -g if t = -1 and x < m, else 0
(3)  cosine_embedding  loss = 1 - y if t = 1, [y - m] if t = -1
                       y = sum of x1[c] * x2[c] / sqrt((|x1|^2 + e) * (|x2|^2 + e)),  e = 1e-12
                       grad_y = -g if t = 1, g if t = -1 and y > m, else 0
(4)  soft_margin       loss = log(1 + e^(-t * x)) = -log s(t * x)      grad_x = -g * t * s(-t * x)

In (3), y is the cosine of the angle, and passes grad_y on by similarity.py's (4). In (4), s is the
sigmoid; log s has the slope s(-z), activation.py's (5).

Triplets
--------
The anchor a shall be nearer to p than to n (Balntas et al. 2016), d being a distance:

(5)  triplet_margin    loss = [d(a, p) - d(a, n) + m]

With swap, d(p, n) stands for d(a, n) where it is smaller. Where the loss is > 0, d(a, p) gets the
gradient g, and the smaller of the other two -g; similarity.py's (6) passes them on.

Classes
-------
For one sample with the scores x[c] of C classes. In (6), t is its class and W the classes' weights;
in (7), T is the set of its classes; in (8), t[c] says of each class whether it is there.

(6)  multi_margin      loss = sum over c != t of W[t] * [m - x[t] + x[c]]^p / C
                       grad_x[c] = g * W[t] * p * [m - x[t] + x[c]]^(p-1) / C     for c != t
                       grad_x[t] = -(sum over c != t of grad_x[c])
(7)  multilabel_margin loss = sum over j in T, c not in T of [1 - x[j] + x[c]] / C
                       grad_x[c] = g / C * (how many j have 1 - x[j] + x[c] > 0)  for c not in T
                       grad_x[j] = -g / C * (how many c have)                     for j in T
(8)  multilabel_soft_margin  loss = -(sum over c of W[c] * (t[c] * log s(x[c])
                                      + (1 - t[c]) * log s(-x[c]))) / C
                       grad_x[c] = g * W[c] * (s(x[c]) - t[c]) / C

'mean' divides by the number of elements or samples, whatever they weigh.


By hand
-------
multi_margin of x = [1, 3/2, -1], t = 0, m = 1, p = 1: [1 - 1 + 3/2] = 3/2 and [1 - 1 - 1] = 0, so
loss = (3/2 + 0) / 3 = 1/2, and grad_x = [-1/3, 1/3, 0]. For p = 2: loss = (3/2)^2 / 3 = 3/4, and
grad_x = [-1, 1, 0].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend
from ..autograd.device import check_one_device
from .activation import logsigmoid
from .arithmetic import pow
from .checks import check_floating, of_one_floating_type
from .choice import clamp, minimum, where
from .exponential import sqrt
from .index import gather
from .loss import reduced, reduction_of
from .operands import on_its_device, raw
from .reduce import sum
from .shape import check_tensors, reshape, unsqueeze
from .similarity import pairwise_distance

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

# ---------------------------------------------------------------------- two by two


def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """[-target * (input1 - input2) + margin]: where target is 1, input1 shall be the larger.

    Raises RuntimeError for different numbers of axes and shapes that do not broadcast, TypeError if
    no argument is floating, ValueError for an unknown reduction.
    """
    name = "margin_ranking_loss"
    reduction = reduction_of(name, size_average, reduce, reduction)
    x1, x2, t = of_one_floating_type(name, input1, input2, target)
    if not x1.ndim == x2.ndim == t.ndim:
        raise RuntimeError(
            f"{name}: inputs and target expect one number of axes, got shapes {tuple(x1.shape)}, "
            f"{tuple(x2.shape)} and {tuple(t.shape)}"
        )
    return reduced(clamp(-t * (x1 - x2) + margin, min=0), reduction)


@on_its_device
def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """input, a distance, where target is 1; [margin - input] where it is -1: formula (2).

    Raises RuntimeError for shapes that do not broadcast, TypeError if the input is not floating,
    ValueError for an unknown reduction.
    """
    name = "hinge_embedding_loss"
    reduction = reduction_of(name, size_average, reduce, reduction)
    check_floating(name, "input", input)
    of_one_floating_type(name, input, target)  # which must broadcast, but has no say in the type
    x, t = input, raw(target)
    loss = where(t != -1, x, 0.0) + where(t != 1, clamp(margin - x, min=0), 0.0)
    return reduced(loss, reduction)


_EPSILON = 1e-12


@on_its_device
def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """1 - cosine where target is 1, [cosine - margin] where it is -1: formula (3).

    input1 and input2 are (N, D) with a target (N,), or (D,) with a target (). Raises RuntimeError
    for other shapes, TypeError if no input is floating, ValueError for an unknown reduction.
    """
    name = "cosine_embedding_loss"
    reduction = reduction_of(name, size_average, reduce, reduction)
    x1, x2 = of_one_floating_type(name, input1, input2)
    check_tensors(name, target)
    t, axis = raw(target), target.ndim
    if axis > 1 or not x1.ndim == x2.ndim == axis + 1:
        raise RuntimeError(
            f"{name}: expects inputs (N, D) and a target (N,), or (D,) and (), got "
            f"{tuple(x1.shape)}, {tuple(x2.shape)} and {tuple(t.shape)}"
        )
    squares = [sum(x * x, axis) + _EPSILON for x in (x1, x2)]
    cosine = sum(x1 * x2, axis) / sqrt(squares[0] * squares[1])
    loss = where(t == 1, 1 - cosine, 0.0) + where(t == -1, clamp(cosine - margin, min=0), 0.0)
    return reduced(loss, reduction)


def soft_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """log(1 + exp(-target * input)), right for scores of any size.

    Raises RuntimeError for shapes that do not broadcast, TypeError if no argument is floating,
    ValueError for an unknown reduction.
    """
    name = "soft_margin_loss"
    reduction = reduction_of(name, size_average, reduce, reduction)
    x, t = of_one_floating_type(name, input, target)
    return reduced(-logsigmoid(t * x), reduction)


# ---------------------------------------------------------------------- triplets


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """[d(anchor, positive) - d(anchor, negative) + margin]: formula (5), d the pairwise_distance.

    Args:
        anchor, positive, negative: (N, D) or (D,); they may broadcast.
        margin: a positive number.
        p, eps: as pairwise_distance's.
        swap: use d(positive, negative) where it is the smaller one.
        size_average, reduce: PyTorch's older form of `reduction`, with a warning.
        reduction: 'none', 'mean' or 'sum'.

    Raises:
        ValueError: a margin that is not positive, an unknown reduction.
        RuntimeError: different numbers of axes, shapes that do not broadcast.
        TypeError: none is floating.
    """
    reduction = reduction_of("triplet_margin_loss", size_average, reduce, reduction)

    def distance(x1: Any, x2: Any) -> Any:
        return pairwise_distance(x1, x2, p, eps)

    tensors = anchor, positive, negative
    return _triplets("triplet_margin_loss", *tensors, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """triplet_margin_loss with a distance of one's own, a function of two tensors."""
    name = "triplet_margin_with_distance_loss"
    reduction = reduction_of(name, None, None, reduction)
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplets(name, anchor, positive, negative, distance, margin, swap, reduction)


def _triplets(
    function: str, a: Any, p: Any, n: Any, distance: Any, margin: float, swap: bool, reduction: str
) -> Any:
    if not margin > 0:
        raise ValueError(f"{function}: margin expects a positive number, got {margin}")
    a, p, n = of_one_floating_type(function, a, p, n)
    if not a.ndim == p.ndim == n.ndim:
        raise RuntimeError(
            f"{function}: anchor, positive and negative expect one number of axes, got shapes "
            f"{tuple(a.shape)}, {tuple(p.shape)} and {tuple(n.shape)}"
        )
    near, far = distance(a, p), distance(a, n)
    if swap:
        far = minimum(far, distance(p, n))
    return reduced(clamp(near - far + margin, min=0), reduction)


# ---------------------------------------------------------------------- classes


@on_its_device
def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The class's score shall be above each other one by the margin: formula (6).

    Args:
        input: scores (N, C) or (C,). N may be 0.
        target: labels (N,) or (), 0 to C - 1.
        p: 1 or 2.
        margin: a number.
        weight: (C,), one for each class; not differentiated.
        size_average, reduce: PyTorch's older form of `reduction`, with a warning.
        reduction: 'none', 'mean' (over samples, whatever they weigh) or 'sum'.

    Raises:
        IndexError: a label that is no class.
        ValueError: another p, shapes that do not fit, an unknown reduction.
        TypeError: scores that are not floating, labels that are no integers.
    """
    name = "multi_margin_loss"
    reduction = reduction_of(name, size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError(f"{name}: p expects 1 or 2, got {p}")
    x, t = _samples(name, input, target, 1)
    C = x.shape[1]
    _check_labels(name, t, C, lowest=0)
    if weight is not None and tuple(weight.shape) != (C,):
        raise ValueError(f"{name}: weight expects shape ({C},), got {tuple(weight.shape)}")
    z = margin - gather(x, 1, t[:, None]) + x
    counts = (raw(z) > 0) & (backend.array_module(t).arange(C) != t[:, None])
    loss = sum(pow(where(counts, z, 0.0), p), 1) / C
    if weight is not None:
        loss = loss * raw(weight)[t]
    return reduced(reshape(loss, target.shape), reduction)


@on_its_device
def multilabel_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The score of each of a sample's classes shall be above each other one by 1: formula (7).

    Args:
        input: scores (N, C) or (C,). N may be 0.
        target: of the input's shape; each row lists classes and ends at the first -1.
        size_average, reduce, reduction: as in multi_margin_loss.

    Raises:
        IndexError: a label that is neither a class nor -1.
        ValueError: shapes that do not fit, an unknown reduction.
        TypeError: scores that are not floating, labels that are no integers.
    """
    name = "multilabel_margin_loss"
    reduction = reduction_of(name, size_average, reduce, reduction)
    x, t = _samples(name, input, target, 2)
    N, C = x.shape
    _check_labels(name, t, C, lowest=-1)
    listed = np.cumsum(t == -1, axis=1) == 0  # before the first -1
    t = np.where(listed, t, 0)
    inside = backend.array_module(t).zeros((N, C), bool)
    inside[np.nonzero(listed)[0], t[listed]] = True
    # z[n,j,c] = 1 - x[n,t[n,j]] + x[n,c]
    z = 1 - unsqueeze(gather(x, 1, t), 2) + unsqueeze(x, 1)
    counts = (raw(z) > 0) & listed[:, :, None] & ~inside[:, None, :]
    loss = sum(where(counts, z, 0.0), (1, 2)) / C
    return reduced(loss if input.ndim > 1 else reshape(loss, ()), reduction)


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The mean over the classes of binary_cross_entropy_with_logits: formula (8).

    Args:
        input: scores (..., C).
        target: 0 or 1 (or between) for each class; of a shape that broadcasts with the input's.
        weight: multiplies each class's loss; of a shape that broadcasts to the input's.
        size_average, reduce, reduction: as in multi_margin_loss.

    Raises RuntimeError for shapes that do not broadcast, TypeError if the input is not floating,
    ValueError for an unknown reduction.
    """
    name = "multilabel_soft_margin_loss"
    reduction = reduction_of(name, size_average, reduce, reduction)
    x, t = of_one_floating_type(name, input, target)
    loss = -(t * logsigmoid(x) + (1 - t) * logsigmoid(-x))
    if weight is not None:
        loss = loss * weight
    return reduced(sum(loss, x.ndim - 1) / x.shape[-1], reduction)


# ---------------------------------------------------------------------- arguments


def _samples(function: str, x: Any, target: Any, dims: int) -> tuple[Any, Any]:
    """x as (N, C), and the raw labels as (N,) or (N, C), by `dims`."""
    check_floating(function, "input", x)
    shape = tuple(x.shape)
    if len(shape) not in (1, 2) or not shape[-1]:
        raise ValueError(f"{function}: input expects (N, C) or (C,), got {shape}")
    t = raw(target)
    if getattr(t, "dtype", np.dtype(float)).kind not in "iu":
        got = getattr(t, "dtype", type(t).__name__)
        raise TypeError(f"{function}: target expects integer labels, got {got}")
    N, C = (1, *shape)[-2:]
    wanted = shape[: len(shape) - 2 + dims]
    if tuple(t.shape) != wanted and (wanted or t.size != 1 or t.ndim > 1):
        raise ValueError(
            f"{function}: target expects shape {wanted} for input {shape}, got {tuple(t.shape)}"
        )
    check_one_device(function, x, t)
    return reshape(x, (N, C)), t.reshape((N, C)[:dims])


def _check_labels(function: str, t: Any, C: int, lowest: int) -> None:
    wrong = (t < lowest) | (t >= C)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        raise IndexError(
            f"{function}: target holds the label {int(t[at])} at index {at}; with {C} classes a "
            f"label is {lowest} to {C - 1}"
        )

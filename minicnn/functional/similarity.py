"""Vectors scaled to length 1, the angle and the distance of two, and their gradients derived.

Normalising
-----------
Along one axis, whose entries c and k count:

(1)  normalize          y[c] = x[c] / m,   m = max(|x|, eps),   |x| = (sum over c of |x[c]|^p)^(1/p)

For p = 2 and |x| > eps, dm/dx[c] = x[c] / |x| = y[c], and with (c = k) for 1 if c and k are equal,
else 0, dy[k]/dx[c] = ((c = k) - y[k] * y[c]) / m:

(2)  grad_x[c] = (grad_y[c] - y[c] * sum over k of grad_y[k] * y[k]) / m

The part of grad_y along y is gone, since a longer x has the same y. Where |x| < eps, m is constant:
grad_x = grad_y / eps.


Cosine similarity
-----------------
(3)  cosine_similarity  y = sum over c of a[c] * b[c]
                        a = x1 / max(|x1|, eps),   b = x2 / max(|x2|, eps)

is the cosine of the angle between x1 and x2. By (2), with b for grad_y and y = sum of a * b:

(4)  grad_x1[c] = grad_y * (b[c] - y * a[c]) / |x1|
     grad_x2[c] = grad_y * (a[c] - y * b[c]) / |x2|

A vector shorter than eps has the gradient grad_y * b[c] / eps, that of (3) as it stands; PyTorch's
contains a part of the norm's as well.

The code composes both from norm, clamp and division, whose gradients give (2) and (4).


Distance
--------
With u[c] = x1[c] - x2[c] + eps,

(5)  pairwise_distance  d = |u| = (sum over c of |u[c]|^p)^(1/p)
(6)  grad_x1[c] = grad_y * sign(u[c]) * (|u[c]| / d)^(p-1)          grad_x2 = -grad_x1

Here eps is no lower limit: it keeps u away from 0, where d has a kink.


By hand
-------
x = [3, 4], |x| = 5: y = [0.6, 0.8]. With grad_y = [1, 0], sum of grad_y * y = 0.6:

     grad_x = [1 - 0.6 * 0.6, 0 - 0.6 * 0.8] / 5 = [0.128, -0.096]

x1 = [3, 4], x2 = [5, 0]: y = 0.6, and grad_x1 is the same, since b = [1, 0]. The distance of [3, 4]
and [0, 0] for eps = 0 is 5, with the slope [0.6, 0.8].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arithmetic import div
from .checks import check_floating, of_one_floating_type
from .choice import clamp
from .reduce import norm, sum
from .shape import axis_of, broadcast_to

__all__ = ["cosine_similarity", "normalize", "pairwise_distance"]


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Any = None) -> Any:
    """input / max(|input|_p, eps) along `dim`, one axis or several (None: all): formula (1).

    The result is also written into the tensor `out` if one is given, without gradient.

    Raises:
        IndexError: no such axis.
        TypeError: the input is not floating.
    """
    check_floating("normalize", "x", input)
    for axis in dim if isinstance(dim, (tuple, list)) else () if dim is None else (dim,):
        axis_of("normalize", axis, input.ndim)
    y = div(input, clamp(norm(input, p, dim, keepdim=True), min=eps))
    return y if out is None else out.copy_(y.detach())


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between x1 and x2 along `dim`: formula (3).

    x1 and x2 broadcast; the result has their common shape without `dim`.

    Raises:
        IndexError: no such axis.
        RuntimeError: shapes that do not broadcast.
        TypeError: neither is floating.
    """
    x1, x2 = _together("cosine_similarity", x1, x2)
    axis = axis_of("cosine_similarity", dim, x1.ndim)
    a, b = (normalize(x, 2.0, axis, eps) for x in (x1, x2))
    return sum(a * b, axis)


def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """The p-norm of x1 - x2 + eps along the last axis: formula (5).

    x1 and x2 broadcast; the result has their common shape without the last axis, or with it as one
    of length 1 if keepdim.

    Raises:
        RuntimeError: shapes that do not broadcast, or have no axis.
        TypeError: neither is floating.
    """
    x1, x2 = _together("pairwise_distance", x1, x2)
    if not x1.ndim:
        raise RuntimeError("pairwise_distance: x1 or x2 expects at least one axis, got shape ()")
    return norm(x1 - x2 + eps, p, x1.ndim - 1, keepdim)


def _together(function: str, x1: Any, x2: Any) -> list[Any]:
    """x1 and x2 in one floating type and one shape."""
    both = of_one_floating_type(function, x1, x2)
    shape = np.broadcast_shapes(*[x.shape for x in both])
    return [broadcast_to(x, shape) for x in both]

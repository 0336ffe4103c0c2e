"""Vectors scaled to length 1, the angle between two, and the derivation of their gradients.

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


By hand
-------
x = [3, 4], |x| = 5: y = [0.6, 0.8]. With grad_y = [1, 0], sum of grad_y * y = 0.6:

     grad_x = [1 - 0.6 * 0.6, 0 - 0.6 * 0.8] / 5 = [0.128, -0.096]

x1 = [3, 4], x2 = [5, 0]: y = 0.6, and grad_x1 is the same, since b = [1, 0].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import dtypes
from .arithmetic import cast, div
from .checks import check_floating
from .choice import clamp
from .operands import mismatch
from .reduce import norm, sum
from .shape import axis_of, broadcast_to, check_tensors

__all__ = ["cosine_similarity", "normalize"]


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
    check_tensors("cosine_similarity", x1, x2)
    dtype = dtypes.result_type(x1, x2)
    if dtype.kind != "f":
        raise TypeError(f"cosine_similarity: x1 or x2 expects a floating type, got {dtype}")
    try:
        shape = np.broadcast_shapes(x1.shape, x2.shape)
    except ValueError:
        raise mismatch("cosine_similarity", x1, x2) from None
    axis = axis_of("cosine_similarity", dim, len(shape))
    a, b = (normalize(broadcast_to(cast(x, dtype), shape), 2.0, axis, eps) for x in (x1, x2))
    return sum(a * b, axis)

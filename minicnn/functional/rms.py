"""Root mean square normalisation, and the derivation of its gradients (Zhang and Sennrich 2019).

    x (..., c) input, its last axes taken as one with C values    w (C,) weight    y output, like x

Layer norm without the mean and without a bias: each place before the last axes is a set of C
values, scaled to mean square 1. Below n counts the sets, c and d their values.


Forward
-------
(1)  q[n] = (sum over c of x[n,c]^2) / C + eps
(2)  r[n] = 1 / sqrt(q[n])
(3)  x_hat[n,c] = x[n,c] * r[n]
(4)  y[n,c] = w[c] * x_hat[n,c]


Backward
--------
w[c] has a part in every set.

(5)  grad_w[c] = sum over n of grad_y[n,c] * x_hat[n,c]
(6)  grad_x_hat[n,c] = g[n,c] = w[c] * grad_y[n,c]

x[n,d] reaches x_hat[n,c] directly if d = c, and all of them through r:

     dr[n]/dx[n,d] = -1/2 * r[n]^3 * 2*x[n,d] / C = -r[n]^2 * x_hat[n,d] / C

(7)  dx_hat[n,c]/dx[n,d] = r[n] * ((1 if c = d) - x_hat[n,c] * x_hat[n,d] / C)

Times g[n,c] and summed over c:

(8)  grad_x[n,d] = r[n] * (g[n,d] - x_hat[n,d] * (sum over c of g[n,c] * x_hat[n,c]) / C)

g less its part along x_hat: y does not change if x is stretched (for eps = 0), so the gradient is
orthogonal to x. Layer norm's third term, the sum of g, came by way of the mean and is gone.

Under create_graph r is computed again from x, as it depends on it.


By hand
-------
x = [1, 7], w = [1, 1], eps = 0; grad_y = [1, 0]:

     q = 25, r = 1/5, x_hat = [1/5, 7/5] = y, grad_w = [1/5, 0], sum of g * x_hat = 1/5
     grad_x = [1 - 1/5 * 1/10, 0 - 7/5 * 1/10] / 5 = [0.196, -0.028]

and 1 * 0.196 - 7 * 0.028 = 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from .arithmetic import cast
from .checks import check_trailing
from .reduce import sum
from .shape import reshape

__all__ = ["rms_norm"]


class RMSNorm(Function):
    """y, r: formulas (1) to (4).  grad_x: (8), grad_w: (5). x (n, c), w (c,) or None."""

    function = "rms_norm"

    def forward(self, x: Any, w: Any, *, eps: float) -> Any:
        self.eps = eps
        y, r = backend.of(x).rms_norm_forward(x, w, eps)
        self.save(x, w, r)
        self.non_differentiable = (r,)
        return y, r

    def backward(self, grad_y: Any, _: Any) -> Any:
        x, w, r = self.saved
        if self.create_graph:
            grads = _backward_through_r(grad_y, x, w, self.eps)
        else:
            grads = backend.of(x).rms_norm_backward(grad_y, x, w, r)
        return tuple(
            [g if need else None for g, need in zip(grads, self.needs_input_grad, strict=True)]
        )


def _backward_through_r(grad_y: Any, x: Any, w: Any, eps: float) -> tuple[Any, Any]:
    """Formulas (5) and (8) on Tensors, with (1) to (3) computed again from x."""
    wide = np.result_type(x.dtype, np.float32)
    x, grad_y = cast(x, wide), cast(grad_y, wide)
    C = max(x.shape[1], 1)
    r = (sum(x * x, 1, keepdim=True) / C + eps) ** -0.5
    x_hat = x * r
    g = grad_y if w is None else grad_y * w
    grad_x = r * (g - x_hat * (sum(g * x_hat, 1, keepdim=True) / C))
    return grad_x, sum(grad_y * x_hat, 0)


def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    """Scales the last axes to mean square 1, then each place by its weight.

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the lengths of the last axes, at least one.
        weight: of shape normalized_shape, or None for 1. With a float16 input it may be float32.
        eps: added to the mean square. None for the distance from 1 to the next number of the type
            that is computed in: the input's, or float32 for a float16 input.

    Returns:
        y of the input's shape and dtype.

    Raises:
        ValueError: the input does not end in normalized_shape, or it is not weight's shape.
        TypeError: types that are not floating or that differ, a normalized_shape that is not a
            tuple of integers.
    """
    trailing = check_trailing("rms_norm", input, normalized_shape, {"weight": weight})
    if eps is None:
        eps = np.finfo(np.result_type(input.dtype, np.float32)).eps
    C = math.prod(trailing)
    sets = math.prod(input.shape[: input.ndim - len(trailing)])
    w = None if weight is None else reshape(weight, (C,))
    y, _ = RMSNorm.apply(reshape(input, (sets, C)), w, eps=float(eps))
    return reshape(y, tuple(input.shape))

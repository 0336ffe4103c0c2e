"""Local response normalisation, AlexNet's, and its gradient (Krizhevsky et al. 2012, section 3.3).

    x (N, C, H, W) input, or (N, C, ...)    y output, like x
    size, alpha, beta, k numbers

Each value is divided by a power of what its neighbours among the channels have at the same place.
Places do not mix, so the indices n, h and w are left out below: c and d count channels.


Forward
-------
Channel c looks at the `size` channels

(1)  R(c) = {d : c - floor(size/2) <= d <= c + floor((size-1)/2), 0 <= d < C}

which for an odd size lie symmetrically around it; for an even one there is one more before it.

(2)  q[c] = k + alpha/size * sum over d in R(c) of x[d]^2
(3)  y[c] = x[c] * q[c]^(-beta)

The sum is divided by size also at the borders, where R(c) has fewer channels. (The paper's alpha is
not divided by size: its 1e-4 with size 5 is alpha = 5e-4 here, as in PyTorch.)


Backward
--------
x[d] reaches y[c] directly if c = d, and through q[c] if d is in R(c); dq[c]/dx[d] is then
2*alpha/size * x[d]. So

(4)  dy[c]/dx[d] = (q[c]^(-beta) if c = d)
                   - (x[c] * beta * q[c]^(-beta-1) * 2*alpha/size * x[d] if d in R(c))

Times grad_y[c] and summed over c:

(5)  grad_x[d] = grad_y[d] * q[d]^(-beta) - 2*alpha*beta/size * x[d]
                 * sum over the c with d in R(c) of grad_y[c] * x[c] * q[c]^(-beta-1)

The sum in (5) is over the channels that look at d, not over those that d looks at:

(6)  d in R(c)   if and only if   d - floor((size-1)/2) <= c <= d + floor(size/2)

the window (1) with its ends exchanged. For odd sizes that is R(d) again; for even ones the common
mistake is to take R(d) here. In other words: the sum over (6) is the adjoint of the sum over (1).

Under create_graph q is computed again from x, as it depends on it.


By hand
-------
Two channels x = [1, 2], size 2, alpha = 2, beta = 1, k = 1; R(0) = {0}, R(1) = {0, 1};
grad_y = [0, 1]:

     q = [1 + 1, 1 + 1 + 4] = [2, 6], y = [1/2, 1/3]
     sums of (5): d = 0 is looked at by 0 and 1: 0 + 2/36;   d = 1 by 1 alone: 2/36
     grad_x = [0 - 2*1*1/18, 1/6 - 2*2*1/18] = [-1/9, -1/18]
"""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from .arithmetic import cast
from .checks import check_floating

__all__ = ["local_response_norm"]


class ChannelSums(Function):
    """y[c] = sum of x[d] over c - before <= d <= c + after.  grad_x: before and after exchanged."""

    def forward(self, x: Any, *, before: int, after: int) -> Any:
        self.before, self.after = before, after
        return backend.of(x).channel_sums(x, before, after)

    def backward(self, grad_y: Any) -> Any:
        return ChannelSums.apply(grad_y, before=self.after, after=self.before)


class LocalResponseNorm(Function):
    """y: formulas (2) and (3).  grad_x: (5)."""

    def forward(self, x: Any, *, size: int, alpha: float, beta: float, k: float) -> Any:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        values = cast(x, np.result_type(x.dtype, np.float32))
        with np.errstate(all="ignore"):  # 0 * infinity where k and all of R(c) are 0
            q = self._scale(values)
            self.save(x, q)
            return (values * q**-beta).astype(x.dtype, copy=False)

    def backward(self, grad_y: Any) -> Any:
        x, q = self.saved
        wide = np.result_type(x.dtype, np.float32)
        x, grad_y = cast(x, wide), cast(grad_y, wide)
        if self.create_graph:
            q = self._scale(x)
        with np.errstate(all="ignore"):
            direct = grad_y * q**-self.beta
            looked = direct * x / q
        # Over (6): the window's ends are exchanged.
        sums = ChannelSums.apply(looked, before=(self.size - 1) // 2, after=self.size // 2)
        return direct - x * sums * (2 * self.alpha * self.beta / self.size)

    def _scale(self, x: Any) -> Any:
        """q: formula (2)."""
        sums = ChannelSums.apply(x * x, before=self.size // 2, after=(self.size - 1) // 2)
        return sums * (self.alpha / self.size) + self.k


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    """x / (k + alpha * mean of the squares of `size` neighbouring channels)^beta.

    Args:
        input: (N, C, ...) with at least one more axis. N may be 0.
        size: how many channels, the value's own among them; a positive integer. Those that do not
            exist count as 0.
        alpha, beta, k: as in the formula.

    Returns:
        y of the input's shape and dtype.

    Raises:
        ValueError: fewer than three axes, a size that is not positive.
        TypeError: an input that is not floating, a size that is not an integer.
    """
    check_floating("local_response_norm", "x", input)
    if input.ndim < 3:
        raise ValueError(
            f"local_response_norm: x expects (N, C, ...), at least 3 axes, got {tuple(input.shape)}"
        )
    try:
        size = index(size)
    except TypeError:
        raise TypeError(f"local_response_norm: size expects an integer, got {size!r}") from None
    if size < 1:
        raise ValueError(f"local_response_norm: size expects a positive integer, got {size}")
    return LocalResponseNorm.apply(
        input, size=size, alpha=float(alpha), beta=float(beta), k=float(k)
    )

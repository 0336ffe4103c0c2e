"""Dropout, and the derivation of its gradient (Srivastava et al. 2014).

In training each element is kept with probability 1 - p, and what is kept is scaled up so that the
expectation stays what it was (*inverted* dropout; evaluation then has nothing to do):

(1)  y[i] = m[i] * x[i] / (1 - p)      m[i] = 1 with probability 1 - p, else 0;  so E y[i] = x[i]

m does not depend on x, so for the m that was drawn y is linear in x, element by element:

(2)  grad_x[i] = m[i] * grad_y[i] / (1 - p)

The same m: a mask that is drawn again for the backward gives a gradient of another function.

dropout1d and dropout2d draw one m[n,c] for a whole channel: neighbouring pixels say nearly the
same, so dropping single ones would take hardly anything away (Tompson et al. 2015).


By hand
-------
x = [1, 2, 3, 4], p = 1/2, m = [1, 0, 0, 1]: y = [2, 0, 0, 8]; grad_y = [1, 1, 1, 1] gives
grad_x = [2, 0, 0, 2].
"""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd import Function, Tensor
from ..autograd import inplace as write_inplace
from .checks import check_floating, with_batch, without_batch

__all__ = ["dropout", "dropout1d", "dropout2d"]


def draw_mask(x: Any, shape: tuple[int, ...], p: float) -> Any:
    """m of formula (1): bools, False with probability p, from the default generator of x's device.

    They are drawn in the order of the indices, whatever x's order in memory.
    """
    device = Tensor._wrap(x).device
    return backend.random.default_generator(device).numpy.random(shape, "float32") >= p


class Dropout(Function):
    """y = m * x / (1 - p): formula (1).  grad_x: (2)."""

    def forward(self, x: Any, *, p: float, shape: tuple[int, ...]) -> Any:
        m = draw_mask(x, shape, p)
        self.scale = 1 / (1 - p) if p < 1 else 0.0
        self.save(m)  # one byte for each element
        return x * m * self.scale

    def backward(self, grad_y: Any) -> Any:
        (m,) = self.saved
        return grad_y * m * self.scale


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Sets elements to 0 with probability p and divides the others by 1 - p.

    Args:
        input: of any shape.
        p: 0 to 1. With 0 nothing is drawn; with 1 the result is zero.
        training: False returns the input itself.
        inplace: write into the input's memory.

    The numbers come from the generator that `manual_seed` seeds. Raises ValueError if p is outside
    0 .. 1, TypeError if the input is not floating.
    """
    return _dropout("dropout", input, p, training, inplace, lambda shape: shape)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """As dropout, but whole channels: input (N, C, L) or (C, L). ValueError for other ranks."""
    check_floating("dropout1d", "x", input)
    if input.ndim not in (2, 3):
        raise ValueError(f"dropout1d: x expects (N, C, L) or (C, L), got {tuple(input.shape)}")
    x = with_batch(input, 1)
    y = _dropout("dropout1d", x, p, training, inplace, _channels)
    return input if y is x else without_batch(y) if x is not input else y


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """As dropout, but whole channels: input (N, C, H, W). ValueError for other ranks.

    (N, C, L) is taken too, as in PyTorch; a single image (C, H, W) is not: give it a batch axis.
    """
    check_floating("dropout2d", "x", input)
    if input.ndim not in (3, 4):
        raise ValueError(f"dropout2d: x expects (N, C, H, W), got {tuple(input.shape)}")
    return _dropout("dropout2d", input, p, training, inplace, _channels)


def _channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] + (1,) * (len(shape) - 2)


def _dropout(
    function: str, x: Any, p: float, training: bool, inplace: bool, mask_shape: Any
) -> Any:
    if not 0 <= p <= 1:
        raise ValueError(f"{function}: p expects a probability from 0 to 1, got {p}")
    check_floating(function, "x", x)
    if not training or p == 0:
        return x
    options = {"p": float(p), "shape": mask_shape(tuple(x.shape))}
    if not inplace:
        return Dropout.apply(x, **options)
    if isinstance(x, Tensor):
        return write_inplace(f"{function}_", x, lambda t: Dropout.apply(t, **options))
    x[...] = Dropout.apply(x, **options)
    return x

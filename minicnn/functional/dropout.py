"""Dropout, and the derivation of its gradient (Srivastava et al. 2014).

In training each element is kept with probability 1 - p, and what is kept is scaled up so that the
expectation stays what it was (*inverted* dropout; evaluation then has nothing to do):

(1)  y[i] = m[i] * x[i] / (1 - p)      m[i] = 1 with probability 1 - p, else 0;  so E y[i] = x[i]

m does not depend on x, so for the m that was drawn y is linear in x, element by element:

(2)  grad_x[i] = m[i] * grad_y[i] / (1 - p)

which is (1) again, with grad_y for x and the *same* m: a mask that is drawn anew for the backward
gives the gradient of another function. Derivatives of any order apply (1) with the one mask.

dropout1d, dropout2d and dropout3d have one m[n,c] for a whole channel: neighbouring pixels say
nearly the same, so dropping single ones would take hardly anything away (Tompson et al. 2015).


The mask is computed, not kept
------------------------------
A call draws one number of 64 bits, its key, from the default generator. Element number e (counted
in the order of the indices, whatever the order in memory) is kept where a word of 32 bits that is a
function of key and e reaches a threshold:

(3)  m[e] = 1 if word(key, e) >= round(p * 2^32), else 0

word(key, e) is word e % 8 of block e // 8 of Philox 4x64-10, a counter-based generator (Salmon et
al. 2011), written out in backend/reference.py. So backward computes m again from the key, and
nothing of x's size is stored between; every backend has the same mask; and a generator that is set
back to an earlier state draws the same keys, hence the same masks. Words are uniform, so

(4)  P(m[e] = 0) = round(p * 2^32) / 2^32,   within 2^-33 of p, and exactly p at p = 0 and p = 1


Alpha dropout
-------------
selu keeps activations at mean 0 and variance 1 (Klambauer et al. 2017). Zeros would spoil both, so
dropped elements get the value s that selu tends to at -infinity, s = -1.0507 * 1.6733 = -1.7581:

     u[i] = m[i] * x[i] + (1 - m[i]) * s

If E x = 0 and E x^2 = 1, then E u = p*s and E u^2 = (1-p) + p*s^2, so

     var u = (1-p) + p*s^2 - p^2*s^2 = (1-p) * (1 + p*s^2)

and an affine map brings mean 0 and variance 1 back:

(5)  y[i] = a * u[i] + b      a = 1 / sqrt((1-p) * (1 + p*s^2)),   b = -a*p*s

Because u - s = m * (x - s), this is ordinary dropout of x - s:

(6)  y[i] = c * (m[i] * (x[i] - s) / (1-p) + s)      c = a * (1-p) = sqrt((1-p) / (1 + p*s^2))

which has a value at p = 1 too, zero. In x it has the slope of what it multiplies x by:

(7)  grad_x[i] = a * m[i] * grad_y[i]

feature_alpha_dropout has one m[n,c] for a whole channel.


By hand
-------
x = [1, 2, 3, 4], p = 1/2, m = [1, 0, 0, 1]: y = [2, 0, 0, 8]; grad_y = [1, 1, 1, 1] gives
grad_x = [2, 0, 0, 2].
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from .. import backend
from ..autograd import Function, Tensor
from ..autograd import inplace as write_inplace
from .checks import check_array, check_floating, with_batch, without_batch
from .operands import raw

__all__ = [
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]

_SELU_AT_MINUS_INFINITY = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717


def check_probability(function: str, p: Any) -> None:
    """TypeError if p is no number, ValueError if it is outside 0 .. 1."""
    message = f"{function}: p expects a probability from 0 to 1, got {p!r}"
    try:
        inside = 0 <= p <= 1
    except TypeError:
        raise TypeError(message) from None
    if not inside:
        raise ValueError(message)


def draw_key(x: Any) -> int:
    """The next 64 bits from the default generator of x's device."""
    generator = backend.random.default_generator(Tensor._wrap(raw(x)).device)
    return generator.numpy.bit_generator.random_raw()


class Dropout(Function):
    """y = m * x / (1 - p): formula (1), m by (3).  grad_x: (2). Saves no array."""

    def forward(self, x: Any, *, p: float, key: int, mask_shape: tuple[int, ...]) -> Any:
        self.options = {"p": p, "key": key, "mask_shape": mask_shape}
        return backend.of(x).dropout(x, p, key, mask_shape)

    def backward(self, grad_y: Any) -> Any:
        return Dropout.apply(grad_y, **self.options)


# ---------------------------------------------------------------------- public functions


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Sets elements to 0 with probability p and divides the others by 1 - p.

    Args:
        input: of any shape.
        p: 0 to 1. With 0 nothing is drawn; with 1 the result is zero.
        training: False returns the input itself.
        inplace: write into the input's memory.

    The mask follows from the generator that `manual_seed` seeds. Raises ValueError if p is outside
    0 .. 1, TypeError if the input is to be changed and is not floating.
    """
    return _drop("dropout", input, p, training, inplace, _elements)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """As dropout, but whole channels: input (N, C, L) or (C, L). ValueError for other ranks."""
    check_array("dropout1d", "x", input)
    if input.ndim not in (2, 3):
        raise ValueError(f"dropout1d: x expects (N, C, L) or (C, L), got {tuple(input.shape)}")
    return _drop_batched("dropout1d", input, p, training, inplace, 1)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """As dropout, but whole channels: input (N, C, H, W).

    Other ranks are (N, C, ...) too, as in PyTorch, with a warning: a single image (C, H, W) would
    have rows for channels, so give it a batch axis. ValueError without a channel axis.
    """
    check_array("dropout2d", "x", input)
    if input.ndim != 4:
        warnings.warn(
            f"dropout2d: x expects (N, C, H, W), got {tuple(input.shape)}, whose first two axes "
            "are taken for N and C; dropout1d takes (N, C, L), and dropout any shape",
            stacklevel=2,
        )
    return _drop("dropout2d", input, p, training, inplace, _channels)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """As dropout, but whole channels: input (N, C, D, H, W) or (C, D, H, W).

    The first axis of other ranks is C, as in PyTorch, with a warning. ValueError for no axis.
    """
    check_array("dropout3d", "x", input)
    if input.ndim not in (4, 5):
        warnings.warn(
            f"dropout3d: x expects (N, C, D, H, W) or (C, D, H, W), got {tuple(input.shape)}, "
            "whose first axis is taken for C; dropout takes any shape",
            stacklevel=2,
        )
    return _drop_batched("dropout3d", input, p, training, inplace, 3)


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Dropout that keeps mean 0 and variance 1, to go with selu: formula (5).

    Arguments and errors as for dropout; but `training` is False unless given, as in PyTorch.
    """
    return _drop("alpha_dropout", input, p, training, inplace, _elements, alpha=True)


def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Any:
    """As alpha_dropout, but whole channels: input (N, C, ...). ValueError for fewer axes."""
    function = "feature_alpha_dropout"
    return _drop(function, input, p, training, inplace, _channels, alpha=True)


def _elements(function: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape


def _channels(function: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) < 2:
        raise ValueError(f"{function}: x expects (N, C, ...), got {shape}")
    return shape[:2] + (1,) * (len(shape) - 2)


def _drop_batched(function: str, x: Any, p: float, training: bool, inplace: bool, dims: int) -> Any:
    """Channels of x (N, C, *size) or, with the other number of axes, (C, *size)."""
    batch = x if x.ndim == dims + 2 else with_batch(function, x, x.ndim - 1)
    y = _drop(function, batch, p, training, inplace, _channels)
    return x if y is batch else without_batch(y) if batch is not x else y


def _drop(
    function: str,
    x: Any,
    p: float,
    training: bool,
    inplace: bool,
    mask_shape: Callable[[str, tuple[int, ...]], tuple[int, ...]],
    alpha: bool = False,
) -> Any:
    check_probability(function, p)
    check_array(function, "x", x)
    if not training or p == 0:
        return x
    check_floating(function, "x", x)
    options = {"p": float(p), "mask_shape": mask_shape(function, tuple(x.shape))}

    def formula(x: Any) -> Any:
        drawn = {**options, "key": draw_key(x)}
        return _alpha(x, drawn) if alpha else Dropout.apply(x, **drawn)

    if not inplace:
        return formula(x)
    if isinstance(x, Tensor):
        return write_inplace(f"{function}_", x, formula)
    x[...] = formula(x)
    return x


def _alpha(x: Any, options: dict[str, Any]) -> Any:
    """Formula (6)."""
    p, s = options["p"], _SELU_AT_MINUS_INFINITY
    return (Dropout.apply(x - s, **options) + s) * math.sqrt((1 - p) / (1 + p * s * s))

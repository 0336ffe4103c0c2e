"""Softmax and its logarithm along one axis, shifted by the maximum so that exp cannot overflow.

Adding a constant to a line of x changes neither function, since it multiplies the numerator and the
denominator alike; with the maximum subtracted the largest term is exp(0) = 1, so the sum lies in
1 .. n, and no logit is too large. Formulas and derivations stand in `backend.reference`.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from .precision import working


def _shifted(x: ndarray, axis: int) -> ndarray:
    """x minus the maximum of each line, in a new array."""
    # A line that holds inf, or nothing but -inf, has no softmax: inf - inf makes it NaN in silence.
    with np.errstate(invalid="ignore", over="ignore"):
        return x - x.max(axis=axis, keepdims=True, initial=-np.inf)


def softmax_forward(x: ndarray, axis: int) -> ndarray:
    """y[a] = exp(x[a] - max x) / sum over b of exp(x[b] - max x), along `axis`; y like x."""
    y = _shifted(working(x), axis)
    np.exp(y, out=y)
    y /= y.sum(axis=axis, keepdims=True)
    return y.astype(x.dtype, copy=False)


def softmax_backward(grad_y: ndarray, y: ndarray, axis: int) -> ndarray:
    """grad_x[a] = y[a] * (grad_y[a] - sum over b of grad_y[b] * y[b]), along `axis`."""
    g, p = working(grad_y), working(y)
    grad_x = g * p
    inner = grad_x.sum(axis=axis, keepdims=True)
    np.subtract(g, inner, out=grad_x)
    grad_x *= p
    return grad_x.astype(y.dtype, copy=False)


def log_softmax_forward(x: ndarray, axis: int) -> ndarray:
    """y[a] = (x[a] - max x) - log(sum over b of exp(x[b] - max x)), along `axis`; y like x."""
    y = _shifted(working(x), axis)
    with np.errstate(divide="ignore"):  # the sum is 0 on an empty line alone
        y -= np.log(np.exp(y).sum(axis=axis, keepdims=True))
    return y.astype(x.dtype, copy=False)


def log_softmax_backward(grad_y: ndarray, y: ndarray, axis: int) -> ndarray:
    """grad_x[a] = grad_y[a] - exp(y[a]) * sum over b of grad_y[b], along `axis`."""
    g = working(grad_y)
    grad_x = np.exp(working(y))
    grad_x *= g.sum(axis=axis, keepdims=True)
    np.subtract(g, grad_x, out=grad_x)
    return grad_x.astype(y.dtype, copy=False)

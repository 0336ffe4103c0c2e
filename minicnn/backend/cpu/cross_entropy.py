"""Cross-entropy of scores and labels. Formulas stand in `backend.reference`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from .precision import working


def _picked(target: ndarray, ignore_index: int | None) -> tuple[Any, tuple[ndarray, ...]]:
    """Which samples count (None for all), and where their labels' scores lie in x.

    x[at][n, ...] is x[n, t[n, ...], ...]; of an ignored sample, some class's.
    """
    kept: Any = None
    t = target
    if ignore_index is not None:
        kept = target != ignore_index
        t = np.where(kept, target, 0)
    if t.ndim == 1:
        return kept, (np.arange(len(t)), t)
    numbers: Any = np.indices(t.shape, sparse=True)
    return kept, (numbers[0], t, *numbers[1:])


def _by_class(weight: ndarray, x: ndarray) -> ndarray:
    """(C,) among the axes (N,C,*)."""
    return weight.reshape(-1, *[1] * (x.ndim - 2))


@np.errstate(invalid="ignore", over="ignore", divide="ignore")
def cross_entropy_forward(
    x: ndarray,
    target: ndarray,
    weight: ndarray | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> tuple[ndarray, ndarray, ndarray]:
    """loss[n] = -sum over c of Q[n,c] * log p[n,c], with m[n] and total[n] for the backward.

    x (N,C,*), target (N,*) labels 0 .. C-1 or ignore_index, weight (C,) or None; results (N,*).
    """
    values, s = working(x), label_smoothing
    kept, at = _picked(target, ignore_index)
    m = values.max(axis=1, initial=-np.inf)
    shifted = values - m[:, None]
    loss = -shifted[at]
    if s:
        terms = shifted if weight is None else shifted * _by_class(weight, x)
        sum_shifted = terms.sum(axis=1)
    total = np.exp(shifted, out=shifted).sum(axis=1)
    log_total = np.log(total)
    loss += log_total
    if weight is not None:
        loss *= weight[at[1]]
    if s:
        sum_w = x.shape[1] if weight is None else weight.sum()
        loss *= 1 - s
        loss += (s / x.shape[1]) * (sum_w * log_total - sum_shifted)
    if kept is not None:
        loss[~kept] = 0
    return loss.astype(x.dtype, copy=False), m, total


@np.errstate(invalid="ignore", over="ignore", divide="ignore")
def cross_entropy_backward(
    g: ndarray,
    x: ndarray,
    target: ndarray,
    weight: ndarray | None,
    m: ndarray,
    total: ndarray,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> ndarray:
    """grad_x[n,c] = g[n] * (p[n,c] * (sum over d of Q[n,d]) - Q[n,c]).

    g (N,*), or () for one number that reaches every sample; the others as in the forward, m and
    total its results; result like x.
    """
    values, s = working(x), label_smoothing
    kept, at = _picked(target, ignore_index)
    g = g.astype(values.dtype, copy=False)
    if kept is not None:
        g = np.where(kept, g, g.dtype.type(0))
    grad_x = values - m[:, None]
    np.exp(grad_x, out=grad_x)
    at_label = g if weight is None else g * weight[at[1]]
    if not s:
        grad_x *= (at_label / total)[:, None]
    else:
        share = s / x.shape[1]
        at_label = at_label * (1 - s)
        sum_w = x.shape[1] if weight is None else weight.sum()
        grad_x *= ((at_label + g * (share * sum_w)) / total)[:, None]
        spread = np.broadcast_to(g, target.shape)[:, None] * share
        grad_x -= spread if weight is None else spread * _by_class(weight, x)
    grad_x[at] -= at_label
    return grad_x.astype(x.dtype, copy=False)

"""Embedding: a table of vectors, one for each word, class or token, looked up by its number.

K[i] is the number at place i, w[r,c] component c of vector r:

(1)  y[i,c] = w[K[i],c]

It is a linear layer on the one-hot vectors e[i,r] = 1 where r = K[i], else 0, without the product
by zeros: y[i,c] = sum over r of e[i,r] w[r,c]. So its gradient is the linear layer's,

(2)  grad_w[r,c] = sum over i of e[i,r] grad_y[i,c] = sum over i with K[i] = r of grad_y[i,c]

A number that occurs several times collects from all its places; one that does not occur gets 0.
Two options change (2). padding_idx: grad_w[padding_idx] = 0, so that the vector of a filler stays
what it was. scale_grad_by_freq: what r collects is divided by how often it occurred,

(3)  grad_w[r,c] = (sum over i with K[i] = r of grad_y[i,c]) / (number of i with K[i] = r)

max_norm is no part of the graph: before the look-up, vectors that are longer are shortened, in w.

By hand: w has the rows (1,2), (3,4), (5,6) and K = 2, 0, 2. y has the rows (5,6), (1,2), (5,6). For
grad_y of ones grad_w has the rows (1,1), (0,0), (2,2); scaled by frequency (1,1), (0,0), (1,1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from ..autograd.mode import no_grad
from .choice import where
from .index import AddAt, beside
from .operands import on_its_device, raw

__all__ = ["embedding"]


class Embedding(Function):
    """y[i] = w[K[i]];  grad_w[r] = the sum of grad_y[i] over all i with K[i] = r."""

    def forward(self, w: Any, *, index: Any, padding_idx: int | None, by_frequency: bool) -> Any:
        self.w_shape, self.index = w.shape, index
        self.padding_idx, self.by_frequency = padding_idx, by_frequency
        return w[index]

    def backward(self, grad_y: Any) -> Any:
        if self.padding_idx is not None:
            grad_y = where((self.index != self.padding_idx)[..., None], grad_y, 0.0)
        if self.by_frequency and self.index.size:
            often = np.bincount(self.index.ravel())[self.index]
            grad_y = grad_y * (1.0 / often)[..., None].astype(grad_y.dtype)
        return AddAt.apply(grad_y, index=(self.index,), shape=self.w_shape)


@on_its_device
def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """y[...] = weight[input[...]]: the vectors of these numbers.

    Args:
        input: integers of any shape. weight: (number of vectors, size), floating.
        padding_idx: this vector gets no gradient; negative counts from the end.
        max_norm: vectors that are looked up and longer, by norm_type, are first shortened to that
            length, in `weight` itself.
        scale_grad_by_freq: divide a vector's gradient by how often it was looked up.
        sparse: gradients are dense here; ValueError for True.
    Returns the shape of `input` and the vectors' size after it. RuntimeError for other types or
    dimensions, IndexError for a number out of range.
    """
    k = raw(input)
    if backend.is_array(k):
        k = beside("embedding", weight, k)
    if getattr(k, "dtype", np.dtype("O")).kind not in "iu":
        got = getattr(k, "dtype", type(k).__name__)
        raise RuntimeError(f"embedding: input expects integers, got {got}")
    if weight.ndim != 2:
        raise RuntimeError(
            f"embedding: weight expects (vectors, size), got shape {tuple(weight.shape)}"
        )
    if sparse:
        raise ValueError("embedding: sparse gradients are not made; use sparse=False")
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise ValueError(f"embedding: padding_idx expects {-rows} to {rows - 1}, got {padding_idx}")
    if k.size and not (k.min() >= 0 and k.max() < rows):
        wrong = k.min() if k.min() < 0 else k.max()
        raise IndexError(f"embedding: input expects 0 to {rows - 1}, got {wrong}")
    if max_norm is not None:
        _shorten(weight, np.unique(k), max_norm, norm_type)
    return Embedding.apply(
        weight,
        index=backend.copy(k),  # backward needs the numbers as they are now
        padding_idx=None if padding_idx is None else padding_idx % rows,
        by_frequency=scale_grad_by_freq,
    )


def _shorten(weight: Any, rows: np.ndarray, max_norm: float, norm_type: float) -> None:
    w = raw(weight)[rows]
    length = np.linalg.norm(w, norm_type, axis=1, keepdims=True)
    factor = np.where(length > max_norm, max_norm / (length + 1e-7), 1.0)
    with no_grad():
        weight[rows] = (w * factor).astype(w.dtype)

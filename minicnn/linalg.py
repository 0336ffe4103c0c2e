"""Norms under the names of `torch.linalg`: compositions of `functional.norm` and sums.

A vector norm takes the numbers along its dimensions as one vector. A matrix norm of A says by how
much A x can exceed x: for the 1-norm of vectors that is the largest sum of a column's magnitudes,
for the maximum norm that of a row's. Frobenius' norm is the vector 2-norm of all elements.
"""

from __future__ import annotations

import math
from typing import Any

from . import functional
from .functional.shape import axes_of

__all__ = ["matrix_norm", "norm", "vector_norm"]


def vector_norm(
    x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """(sum of |x|^ord)^(1/ord) over `dim` or all elements; inf and -inf: the extreme magnitude.

    ord = 0 counts the elements that are not zero. RuntimeError for integers, ValueError for an ord
    that is no number.
    """
    if isinstance(ord, str):
        raise ValueError(f"vector_norm: ord expects a number, got {ord!r}")
    return functional.norm(x, ord, dim, keepdim, dtype=dtype)


def matrix_norm(
    A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """The norm of each matrix that `dim`, rows and columns, spans.

    ord: "fro", the root of the sum of squares; 1 or -1, the largest or smallest sum of magnitudes
    in a column; inf or -inf, in a row. ValueError for another one (those by singular values are not
    here), RuntimeError for fewer than 2 dimensions.
    """
    if A.ndim < 2 or len(dim) != 2:
        raise RuntimeError(
            f"matrix_norm: expects two of at least 2 dimensions, got shape {tuple(A.shape)}, {dim}"
        )
    if ord == "fro":
        return vector_norm(A, 2, tuple(dim), keepdim, dtype=dtype)
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError(f"matrix_norm: ord expects 'fro', 1, -1, inf or -inf, got {ord!r}")
    rows, columns = axes_of("matrix_norm", tuple(dim), A.ndim)
    added, compared = (rows, columns) if ord in (1, -1) else (columns, rows)
    sums = vector_norm(A, 1, added, True, dtype=dtype)
    y = (functional.amax if ord > 0 else functional.amin)(sums, compared, True)
    return y if keepdim else functional.squeeze(y, (rows, columns))


def norm(
    A: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """The 2-norm of all elements; with `ord`, the vector or matrix norm by the number of dims.

    dim: one number for vector norms, two for matrix norms; None: all dimensions of a tensor that
    has one or two, RuntimeError for one that has others.
    """
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None and A.ndim not in (1, 2):
        raise RuntimeError(
            f"norm: with ord, dim=None expects 1 or 2 dimensions, got shape {tuple(A.shape)}"
        )
    dims = tuple(range(A.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) == 1:
        return vector_norm(A, ord, dims, keepdim, dtype=dtype)
    return matrix_norm(A, ord, dims, keepdim, dtype=dtype)

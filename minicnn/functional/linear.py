"""Products of matrices.

    y[i,k] = sum over j of a[i,j] b[j,k]

The number a[i,j] takes part in every y[i,k], with factor b[j,k]; and b[j,k] in every y[i,k], with
factor a[i,j]. So

    grad_a[i,j] = sum over k of grad_y[i,k] b[j,k]        grad_a = grad_y @ b^T
    grad_b[j,k] = sum over i of a[i,j] grad_y[i,k]        grad_b = a^T @ grad_y

A linear layer has the weight's rows for outputs, N samples, C inputs, F outputs:

    y[n,f] = b[f] + sum over c of x[n,c] w[f,c]           y = x @ w^T + b
    grad_x[n,c] = sum over f of grad_y[n,f] w[f,c]        grad_x = grad_y @ w
    grad_w[f,c] = sum over n of grad_y[n,f] x[n,c]        grad_w = grad_y^T @ x
    grad_b[f] = sum over n of grad_y[n,f]
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from .arithmetic import mul
from .shape import Expand, Permute, Reshape, check_tensors, sum_to, unsqueeze

__all__ = ["addmm", "bmm", "dot", "einsum", "linear", "matmul", "mm", "mv", "outer"]


class MatMul(Function):
    """y = a @ b, the last two dimensions;  grad_a = grad_y @ b^T,  grad_b = a^T @ grad_y."""

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = a.shape, b.shape
        need_a, need_b = self.needs_input_grad
        self.save(a if need_b else None, b if need_a else None)
        return backend.of(a).matmul(a, b) if a.ndim == b.ndim == 2 else np.matmul(a, b)

    def backward(self, grad_y: Any) -> Any:
        a, b = self.saved
        need_a, need_b = self.needs_input_grad
        grad_a = sum_to(MatMul.apply(grad_y, _mt(b)), self.shapes[0]) if need_a else None
        grad_b = sum_to(MatMul.apply(_mt(a), grad_y), self.shapes[1]) if need_b else None
        return grad_a, grad_b


def _mt(x: Any) -> Any:
    """Every matrix of the stack transposed."""
    n = x.ndim
    return Permute.apply(x, dims=(*range(n - 2), n - 1, n - 2))


def _check(function: str, a: Any, b: Any, ranks: tuple[int, int] | None = None) -> None:
    check_tensors(function, a, b)
    shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
    if ranks and (a.ndim, b.ndim) != ranks:
        raise RuntimeError(
            f"{function}: expects tensors of {ranks[0]} and {ranks[1]} dimensions, got {shapes}"
        )
    if a.ndim == 0 or b.ndim == 0:
        raise RuntimeError(f"{function}: expects at least one dimension of each, got {shapes}")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise RuntimeError(f"{function}: the inner sizes differ: {shapes}")
    if a.dtype != b.dtype:
        raise RuntimeError(f"{function}: expects one type, got {a.dtype} and {b.dtype}")


def matmul(input: Any, other: Any) -> Any:
    """The matrix product input @ other, by PyTorch's rules for ranks.

    Vectors count as a row on the left and a column on the right, and that dimension disappears;
    dimensions before the last two are a stack of matrices, and broadcast. Raises RuntimeError,
    naming both, if the inner sizes or the types differ or the stacks do not broadcast.
    """
    _check("matmul", input, other)
    a = Reshape.apply(input, shape=(1, *input.shape)) if input.ndim == 1 else input
    b = Reshape.apply(other, shape=(*other.shape, 1)) if other.ndim == 1 else other
    if b.ndim == 2 and a.ndim > 2:  # one tall product is faster than a stack of small ones
        *lead, j = a.shape
        rows = Reshape.apply(a, shape=(math.prod(lead), j))
        y = Reshape.apply(MatMul.apply(rows, b), shape=(*lead, b.shape[1]))
    else:
        try:
            y = MatMul.apply(a, b)
        except ValueError:
            raise RuntimeError(
                f"matmul: the stacks do not broadcast: {tuple(input.shape)}, {tuple(other.shape)}"
            ) from None
    if input.ndim > 1 and other.ndim > 1:
        return y
    shape = (
        y.shape[:-2]
        + (y.shape[-2:-1] if input.ndim > 1 else ())
        + (y.shape[-1:] if other.ndim > 1 else ())
    )
    return Reshape.apply(y, shape=shape)


def mm(input: Any, mat2: Any) -> Any:
    """The product of two matrices. RuntimeError if they are none, or their sizes do not fit."""
    _check("mm", input, mat2, (2, 2))
    return MatMul.apply(input, mat2)


def bmm(input: Any, mat2: Any) -> Any:
    """The products of two stacks of matrices of equal length: (B,I,J) and (B,J,K) to (B,I,K)."""
    _check("bmm", input, mat2, (3, 3))
    if input.shape[0] != mat2.shape[0]:
        raise RuntimeError(
            f"bmm: the first sizes must be equal, got {tuple(input.shape)} and {tuple(mat2.shape)}"
        )
    return MatMul.apply(input, mat2)


def mv(input: Any, vec: Any) -> Any:
    """The product of a matrix and a vector."""
    _check("mv", input, vec, (2, 1))
    return matmul(input, vec)


def dot(input: Any, tensor: Any) -> Any:
    """The sum of the products of two vectors' elements."""
    _check("dot", input, tensor, (1, 1))
    return matmul(input, tensor)


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta * input + alpha * (mat1 @ mat2)."""
    y = mm(mat1, mat2)
    return (input if beta == 1 else input * beta) + (y if alpha == 1 else y * alpha)


def outer(input: Any, vec2: Any) -> Any:
    """y[i,j] = input[i] * vec2[j]."""
    check_tensors("outer", input, vec2)
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(
            f"outer: expects two vectors, got {tuple(input.shape)} and {tuple(vec2.shape)}"
        )
    return mul(unsqueeze(input, 1), vec2)


# ---------------------------------------------------------------------- the linear layer


class Linear(Function):
    """y = x @ w^T + b;  grad_x = grad_y @ w,  grad_w = grad_y^T @ x,  grad_b = sum_n grad_y.

    x has shape (N,C), w (F,C), b (F) or None.
    """

    def forward(self, x: Any, w: Any, b: Any) -> Any:
        need_x, need_w, _ = self.needs_input_grad
        self.save(x if need_w else None, w if need_x else None)
        y = backend.of(x).matmul(x, w.T)
        if b is not None:
            y += b
        return y

    def backward(self, grad_y: Any) -> Any:
        x, w = self.saved
        need_x, need_w, need_b = self.needs_input_grad
        grad_x = MatMul.apply(grad_y, w) if need_x else None
        grad_w = MatMul.apply(_mt(grad_y), x) if need_w else None
        grad_b = sum_to(grad_y, grad_y.shape[1:]) if need_b else None
        return grad_x, grad_w, grad_b


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """y[..., f] = bias[f] + sum over c of input[..., c] * weight[f, c].

    Args: input of shape (..., C), weight (F, C) or (C), bias (F), (1) or None.
    Returns shape (..., F), or (...) for a weight of one dimension. RuntimeError if C differs, the
    bias does not fit, or the types differ.
    """
    check_tensors("linear", input, weight, *(() if bias is None else (bias,)))
    if weight.ndim == 1:
        y = matmul(input, weight)
        return y if bias is None else y + bias
    _check_linear(input, weight, bias)
    *lead, c = input.shape
    x = input if input.ndim == 2 else Reshape.apply(input, shape=(math.prod(lead), c))
    if bias is not None and bias.shape != weight.shape[:1]:
        bias = Expand.apply(bias, shape=tuple(weight.shape[:1]))
    y = Linear.apply(x, weight, bias)
    return y if input.ndim == 2 else Reshape.apply(y, shape=(*lead, weight.shape[0]))


def _check_linear(x: Any, w: Any, b: Any) -> None:
    shapes = f"x {tuple(x.shape)}, weight {tuple(w.shape)}"
    if w.ndim != 2 or x.ndim == 0:
        raise RuntimeError(f"linear: expects x (..., C) and weight (F, C) or (C), got {shapes}")
    if x.shape[-1] != w.shape[1]:
        raise RuntimeError(
            f"linear: weight expects {w.shape[1]} input features, x has {x.shape[-1]}: {shapes}"
        )
    if b is not None and tuple(b.shape) not in ((w.shape[0],), (1,), ()):
        raise RuntimeError(
            f"linear: bias expects shape ({w.shape[0]},), got {tuple(b.shape)}: {shapes}"
        )
    if x.dtype != w.dtype or (b is not None and b.dtype != w.dtype):
        bias = "" if b is None else f", bias {b.dtype}"
        raise RuntimeError(f"linear: expects one type, got x {x.dtype}, weight {w.dtype}{bias}")


# ---------------------------------------------------------------------- einsum


class Einsum(Function):
    """y = the sum over all letters that the output lacks of the product of all operands.

    The gradient of one operand is such a sum itself: of grad_y and all other operands, for the
    letters of that operand. Letters that stand in it alone were summed: there it is repeated.
    """

    def forward(self, *operands: Any, terms: tuple[str, ...], out: str) -> Any:
        self.terms, self.out = terms, out
        self.save(*operands)
        return np.einsum(f"{','.join(terms)}->{out}", *operands)

    def backward(self, grad_y: Any) -> Any:
        operands = self.saved
        return tuple(
            [
                self._gradient(i, grad_y, operands) if need else None
                for i, need in enumerate(self.needs_input_grad)
            ]
        )

    def _gradient(self, i: int, grad_y: Any, operands: Any) -> Any:
        rest = [k for k in range(len(operands)) if k != i]
        terms = (self.out, *[self.terms[k] for k in rest])
        known = "".join([c for c in self.terms[i] if any(c in term for term in terms)])
        g = Einsum.apply(grad_y, *[operands[k] for k in rest], terms=terms, out=known)
        x = operands[i]
        sizes = dict(zip(self.terms[i], x.shape, strict=True))
        kept = tuple([sizes[c] if c in known else 1 for c in self.terms[i]])
        return Expand.apply(Reshape.apply(g, shape=kept), shape=tuple(x.shape))


def einsum(equation: str, *operands: Any) -> Any:
    """Sums of products in Einstein's notation: `einsum("nc,fc->nf", x, w)`.

    Letters are dimensions; those that the output lacks are summed over. Without "->" the output has
    the letters that occur once, sorted. RuntimeError for letters that repeat within an operand, for
    "...", and for sizes that differ.
    """
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    left, arrow, out = equation.replace(" ", "").partition("->")
    terms = tuple(left.split(","))
    if not arrow:
        out = "".join(sorted(c for c in set(left) - {","} if left.count(c) == 1))
    repeated = any(len(set(term)) != len(term) for term in (*terms, out))
    if repeated or "." in equation or not set(out) <= set(left):
        raise RuntimeError(
            f"einsum: letters once in a term, and no '...', are supported: {equation!r}"
        )
    sizes: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=False):
        same = [sizes.setdefault(c, n) == n for c, n in zip(term, x.shape, strict=False)]
        if len(term) != x.ndim or not all(same) or len(terms) != len(operands):
            shapes = ", ".join([str(tuple(x.shape)) for x in operands])
            raise RuntimeError(f"einsum: {equation!r} does not fit operands of shapes {shapes}")
    return Einsum.apply(*operands, terms=terms, out=out)

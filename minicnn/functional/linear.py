"""Products of matrices.

(1)  y[i,k] = sum over j of a[i,j] b[j,k]                 y = a @ b

The number a[i,j] takes part in every y[i,k], with factor b[j,k]; and b[j,k] in every y[i,k], with
factor a[i,j]. So

(2)  grad_a[i,j] = sum over k of grad_y[i,k] b[j,k]       grad_a = grad_y @ b^T
(3)  grad_b[j,k] = sum over i of a[i,j] grad_y[i,k]       grad_b = a^T @ grad_y

A linear layer has the weight's rows for outputs, N samples, C inputs, F outputs:

(4)  y[n,f] = b[f] + sum over c of x[n,c] w[f,c]          y = x @ w^T + b
(5)  grad_x[n,c] = sum over f of grad_y[n,f] w[f,c]       grad_x = grad_y @ w
(6)  grad_w[f,c] = sum over n of grad_y[n,f] x[n,c]       grad_w = grad_y^T @ x
(7)  grad_b[f] = sum over n of grad_y[n,f]

By hand: for x = (1, 2), b = (1, 0) and w with the rows (3, 4) and (5, 6), y = (1 + 3 + 8, 5 + 12).
For grad_y = (1, 10): grad_x = (3 + 50, 4 + 60), grad_w has the rows (1, 2) and (10, 20), grad_b is
grad_y.

Einstein's sums, `einsum`, are all of these and more: "nc,fc->nf" is (4) without b. Every operand's
gradient is such a sum again, of grad_y and the other operands: (5) is "nf,fc->nc".
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from .arithmetic import mul
from .diagonals import Diagonal
from .operands import into, zero_gradient
from .shape import (
    Expand,
    Permute,
    Reshape,
    axes_of,
    broadcast_shapes,
    check_tensors,
    sum_to,
    unsqueeze,
)

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "dot",
    "einsum",
    "ger",
    "inner",
    "kron",
    "linear",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "vdot",
]


def _product(a: Any, b: Any) -> Any:
    """a (*,M,K) @ b (*,K,N). Of integers and bools by NumPy's or CuPy's own function."""
    return backend.of(a).matmul(a, b) if a.dtype.kind == "f" else np.matmul(a, b)


class MatMul(Function):
    """y = a @ b, the last two dimensions;  grad_a = grad_y @ b^T,  grad_b = a^T @ grad_y."""

    function = "matmul"

    def forward(self, a: Any, b: Any) -> Any:
        self.shapes = a.shape, b.shape
        need_a, need_b = self.needs_input_grad
        self.save(a if need_b else None, b if need_a else None)
        return _product(a, b)

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


def matmul(input: Any, other: Any, *, out: Any = None) -> Any:
    """The matrix product input @ other, by PyTorch's rules for ranks.

    Vectors count as a row on the left and a column on the right, and that dimension disappears;
    dimensions before the last two are a stack of matrices, and broadcast. Raises RuntimeError,
    naming both, if the inner sizes or the types differ or the stacks do not broadcast. Written into
    `out`, if given.
    """
    if out is not None:
        return into(out, matmul(input, other), "matmul")
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


def mm(input: Any, mat2: Any, *, out: Any = None) -> Any:
    """The product of two matrices. RuntimeError if they are none, or their sizes do not fit."""
    _check("mm", input, mat2, (2, 2))
    return into(out, MatMul.apply(input, mat2), "mm")


def bmm(input: Any, mat2: Any, *, out: Any = None) -> Any:
    """The products of two stacks of matrices of equal length: (B,I,J) and (B,J,K) to (B,I,K)."""
    _check("bmm", input, mat2, (3, 3))
    if input.shape[0] != mat2.shape[0]:
        raise RuntimeError(
            f"bmm: the first sizes must be equal, got {tuple(input.shape)} and {tuple(mat2.shape)}"
        )
    return into(out, MatMul.apply(input, mat2), "bmm")


def mv(input: Any, vec: Any) -> Any:
    """The product of a matrix and a vector."""
    _check("mv", input, vec, (2, 1))
    return matmul(input, vec)


def dot(input: Any, tensor: Any) -> Any:
    """The sum of the products of two vectors' elements."""
    _check("dot", input, tensor, (1, 1))
    return matmul(input, tensor)


vdot = dot


def outer(input: Any, vec2: Any) -> Any:
    """y[i,j] = input[i] * vec2[j]."""
    check_tensors("outer", input, vec2)
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(
            f"outer: expects two vectors, got {tuple(input.shape)} and {tuple(vec2.shape)}"
        )
    return mul(unsqueeze(input, 1), vec2)


ger = outer


def inner(input: Any, other: Any) -> Any:
    """y[...,i,j...] = sum over c of input[...,c] * other[...,c]; a number is a factor."""
    if input.ndim == 0 or other.ndim == 0:
        return mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            f"inner: the last sizes differ: {tuple(input.shape)} and {tuple(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """The sum over pairs of dimensions: the last `dims` of a with the first of b, or two lists.

    What is left of a comes before what is left of b. RuntimeError for sizes that differ.
    """
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise RuntimeError(
                f"tensordot: dims expects 0 to {min(a.ndim, b.ndim)} for shapes {tuple(a.shape)} "
                f"and {tuple(b.shape)}, got {dims}"
            )
        dims = tuple(range(a.ndim - dims, a.ndim)), tuple(range(dims))
    first, second = [
        axes_of("tensordot", tuple(d), x.ndim) if len(d) else ()
        for d, x in zip(dims, (a, b), strict=True)
    ]
    inner_a, inner_b = [tuple([x.shape[i] for i in d]) for x, d in ((a, first), (b, second))]
    if inner_a != inner_b or a.dtype != b.dtype:
        raise RuntimeError(
            f"tensordot: sizes and types are to agree, got {tuple(a.shape)} {a.dtype} over "
            f"{first} and {tuple(b.shape)} {b.dtype} over {second}"
        )
    rest_a = tuple([i for i in range(a.ndim) if i not in first])
    rest_b = tuple([i for i in range(b.ndim) if i not in second])
    out = [a.shape[i] for i in rest_a], [b.shape[i] for i in rest_b]
    n = math.prod(inner_a)
    left = Reshape.apply(Permute.apply(a, dims=rest_a + first), shape=(math.prod(out[0]), n))
    right = Reshape.apply(Permute.apply(b, dims=second + rest_b), shape=(n, math.prod(out[1])))
    return Reshape.apply(MatMul.apply(left, right), shape=(*out[0], *out[1]))


def kron(input: Any, other: Any) -> Any:
    """Kronecker's product: every element of `input` times the whole of `other`, as blocks."""
    ndim = max(input.ndim, other.ndim)
    a, b = [(1,) * (ndim - x.ndim) + tuple(x.shape) for x in (input, other)]
    left = Reshape.apply(input, shape=tuple([s for n in a for s in (n, 1)]))
    right = Reshape.apply(other, shape=tuple([s for n in b for s in (1, n)]))
    return Reshape.apply(mul(left, right), shape=tuple([n * m for n, m in zip(a, b, strict=True)]))


# ---------------------------------------------------------------------- products added


def _plus(function: str, input: Any, y: Any, beta: float, alpha: float) -> Any:
    """beta * input + alpha * y; with beta = 0 nothing of `input` arrives, not even NaN."""
    if input.dtype != y.dtype:
        raise RuntimeError(f"{function}: expects one type, got {input.dtype} and {y.dtype}")
    if math.prod(broadcast_shapes(tuple(input.shape), tuple(y.shape))) != math.prod(y.shape):
        raise RuntimeError(
            f"{function}: input of shape {tuple(input.shape)} does not broadcast to "
            f"{tuple(y.shape)}, the shape of the product"
        )
    if y.dtype.kind in "biu":  # as in PyTorch, factors of integers are integers
        beta, alpha = int(beta), int(alpha)
    scaled = zero_gradient(input) if beta == 0 else input if beta == 1 else input * beta
    return scaled + (y if alpha == 1 else y * alpha)


def addmm(input: Any, mat1: Any, mat2: Any, *old: Any, beta: float = 1, alpha: float = 1) -> Any:
    """beta * input + alpha * (mat1 @ mat2). RuntimeError for shapes or types that do not fit.

    addmm(beta, alpha, mat1, mat2), the form before PyTorch 1.5, is understood, with a warning.
    """
    if len(old) > 2:
        raise TypeError(f"addmm: expects two matrices, got {len(old) + 2} arguments")
    if old:
        warnings.warn("addmm: addmm(beta, alpha, a, b) is old; write addmm(a, b, beta=, alpha=)")
        *factors, mat1, mat2 = mat1, mat2, *old
        beta, alpha = (*factors, alpha)[:2]
    return _plus("addmm", input, mm(mat1, mat2), beta, alpha)


def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta * input + alpha * (mat @ vec)."""
    return _plus("addmv", input, mv(mat, vec), beta, alpha)


def addr(input: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta * input[i,j] + alpha * vec1[i] * vec2[j]."""
    return _plus("addr", input, outer(vec1, vec2), beta, alpha)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta * input[n] + alpha * (batch1[n] @ batch2[n]), for each n."""
    return _plus("baddbmm", input, bmm(batch1, batch2), beta, alpha)


def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta * input + alpha * sum over n of batch1[n] @ batch2[n]."""
    y = bmm(batch1, batch2)
    return _plus("addbmm", input, sum_to(y, (1, *y.shape[1:])).reshape(y.shape[1:]), beta, alpha)


# ---------------------------------------------------------------------- the linear layer


class Linear(Function):
    """y = x @ w^T + b;  grad_x = grad_y @ w,  grad_w = grad_y^T @ x,  grad_b = sum_n grad_y.

    x has shape (N,C), w (F,C), b (F) or None. grad_x gets the memory order of x: images that were
    computed with N innermost are such columns once they are flat, and what made them goes on in
    that order.
    """

    def forward(self, x: Any, w: Any, b: Any) -> Any:
        need_x, need_w, _ = self.needs_input_grad
        self.save(x if need_w else None, w if need_x else None)
        self.columns_first = x.flags.f_contiguous and not x.flags.c_contiguous
        y = _product(x, w.T)
        if b is not None:
            y += b
        return y

    def backward(self, grad_y: Any) -> Any:
        x, w = self.saved
        need_x, need_w, need_b = self.needs_input_grad
        grad_x = None
        if need_x and self.columns_first:
            grad_x = _mt(MatMul.apply(_mt(w), _mt(grad_y)))
        elif need_x:
            grad_x = MatMul.apply(grad_y, w)
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

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


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


def einsum(equation: Any, *operands: Any) -> Any:
    """Sums of products in Einstein's notation: `einsum("nc,fc->nf", x, w)`.

    Letters are dimensions; those that the output lacks are summed over. Without "->" the output has
    the letters that occur once, sorted. "..." stands for dimensions that broadcast; a letter twice
    in one operand takes its diagonal. Numbers may stand for letters, in lists after the operands:
    `einsum(x, [0, 1], w, [2, 1], [0, 2])`. RuntimeError for what is none of this, or sizes that
    differ.
    """
    if not isinstance(equation, str):
        equation, operands = _in_letters(equation, *operands)
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    terms, out = _letters(equation, operands)
    parts = [_each_letter_once(term, x) for term, x in zip(terms, operands, strict=True)]
    sizes: dict[str, int] = {}
    for term, x in parts:
        for c, n in zip(term, x.shape, strict=True):
            if sizes.setdefault(c, n) == 1:
                sizes[c] = n
    for k, (term, x) in enumerate(parts):
        wrong = [c for c, n in zip(term, x.shape, strict=True) if n not in (1, sizes[c])]
        if wrong:
            raise _does_not_fit(equation, operands)
        kept = [(c, n) for c, n in zip(term, x.shape, strict=True) if n == sizes[c]]
        if len(kept) < x.ndim:  # sizes of 1 broadcast: they are left out
            parts[k] = (
                "".join([c for c, _ in kept]),
                Reshape.apply(x, shape=tuple([n for _, n in kept])),
            )
    return Einsum.apply(*[x for _, x in parts], terms=tuple([t for t, _ in parts]), out=out)


def _in_letters(*alternating: Any) -> tuple[str, tuple[Any, ...]]:
    """`einsum(x, [0, 1], w, [2, 1], [0, 2])`, numbers for letters, as an equation and operands."""

    def letters(numbers: Any) -> str:
        wrong = [n for n in numbers if n is not ... and n not in range(52)]
        if wrong:
            raise RuntimeError(f"einsum: dimensions are numbered 0 to 51, got {wrong[0]}")
        return "".join(["..." if n is ... else _ALPHABET[n] for n in numbers])

    pairs = len(alternating) // 2
    terms = ",".join([letters(t) for t in alternating[1 : 2 * pairs : 2]])
    out = "->" + letters(alternating[-1]) if len(alternating) % 2 else ""
    return terms + out, alternating[: 2 * pairs : 2]


def _does_not_fit(equation: str, operands: Any) -> RuntimeError:
    shapes = ", ".join([str(tuple(x.shape)) for x in operands])
    return RuntimeError(f"einsum: {equation!r} does not fit operands of shapes {shapes}")


def _letters(equation: str, operands: Any) -> tuple[list[str], str]:
    """The letters of each operand and of the output, those that "..." stands for among them."""
    left, arrow, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    bare = [term.replace("...", "", 1) for term in (*terms, out)]
    if any(not (t.isascii() and t.isalpha()) for t in bare if t):
        raise RuntimeError(f"einsum: expects letters, ',', '...' and '->', got {equation!r}")
    spare = [c for c in _ALPHABET if c not in equation]
    full, most = [], 0
    for k, x in enumerate(operands if len(operands) == len(terms) else ()):
        extra = x.ndim - len(bare[k])
        if extra < 0 or (extra and "..." not in terms[k]):
            break
        most = max(most, extra)
        full.append(terms[k].replace("...", "".join(spare[:extra][::-1])))
    if len(full) != len(terms) or not len(terms) == len(operands):
        raise _does_not_fit(equation, operands)
    dots = "".join(spare[:most][::-1])
    if not arrow:
        count = "".join(bare[:-1])
        out = "..." + "".join(sorted(c for c in set(count) if count.count(c) == 1))
    if len(set(bare[-1])) != len(bare[-1]) or not set(bare[-1]) <= set(left):
        raise RuntimeError(
            f"einsum: letters of the output stand there once, and in an operand: {equation!r}"
        )
    return full, out.replace("...", dots)


def _each_letter_once(term: str, x: Any) -> tuple[str, Any]:
    """The diagonal of dimensions that have the same letter: "ii" becomes "i"."""
    while len(set(term)) != len(term):
        c = next(c for c in term if term.count(c) > 1)
        i = term.index(c)
        j = term.index(c, i + 1)
        if x.shape[i] != x.shape[j]:
            raise RuntimeError(f"einsum: {c!r} has two sizes in shape {tuple(x.shape)}: {term!r}")
        x = Diagonal.apply(x, offset=0, axes=(i, j))
        term = term[:i] + term[i + 1 : j] + term[j + 1 :] + c
    return term, x

"""Known-wrong backwards of the tensor operations: gradcheck must reject every one.

A mutant is the shipped Function with another backward: the mistakes are those one makes.
"""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.autograd import GradcheckError, Tensor, gradcheck
from minicnn.functional.arithmetic import Div, Lerp, Mul, Pow
from minicnn.functional.choice import Clamp, Maximum
from minicnn.functional.cumulative import Cumsum
from minicnn.functional.diagonals import AddWindows, OnDiagonal, Triangle, Windows
from minicnn.functional.embedding import Embedding
from minicnn.functional.exponential import Log, LogAddExp, Rsqrt
from minicnn.functional.index import AddAt, Gather, IndexPut, Take
from minicnn.functional.linear import Einsum, Linear, MatMul
from minicnn.functional.reduce import Amax, LogSumExp, MaxAlong, Norm2, Std, Var
from minicnn.functional.shape import Cat, Expand, Permute, Reshape
from minicnn.functional.trigonometry import Atan2

RNG = np.random.default_rng(11)
A, B = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))
ROW = RNG.standard_normal((1, 4))
POSITIVE = np.abs(A) + 0.5
K = np.array([2, 0, 2, 1])
ROWS = {"axes": (1,), "keepdim": False}
WINDOWS = {"axis": 1, "size": 3, "step": 1}


def mean_not_subtracted(node, g):
    (x,) = node.saved
    return g[:, None] * 2 * x / node.n


def without_correction(node, g):
    return Var.backward(node, g) * node.n / 4


def overwritten(node, g):
    y = np.zeros(node.x_shape)
    y[node.index] = g
    return y


def windows_overwritten(node, g):
    y = np.zeros(node.x_shape)
    for i in range(g.shape[1]):
        y[:, i : i + 3] = g[:, i]
    return y


def table_overwritten(node, g):
    y = np.zeros(node.w_shape)
    y[node.index] = g
    return y


# name: (Function, inputs, options, the wrong backward of (node, grad_y))
MUTANTS = {
    "product: factors exchanged": (
        Mul, [A, B], {}, lambda n, g: (g * A, g * B)),
    "product: a broadcast row gets one line": (
        Mul, [A, ROW], {}, lambda n, g: (g * ROW, (g * A)[:1])),
    "quotient: without the minus": (
        Div, [A, POSITIVE], {},
        lambda n, g: (g / POSITIVE, g * A / POSITIVE**2)),
    "power: exponent not lowered": (
        Pow, [POSITIVE, B], {}, lambda n, g: (g * B * POSITIVE**B, Pow.backward(n, g)[1])),
    "power: log of the exponent": (
        Pow, [POSITIVE, 0 * POSITIVE + 2], {},
        lambda n, g: (Pow.backward(n, g)[0], g * POSITIVE**2 * np.log(2 * POSITIVE))),
    "lerp: ends exchanged": (
        Lerp, [A, B, POSITIVE], {},
        lambda n, g: (g * n.saved[2], g * (1 - n.saved[2]), Lerp.backward(n, g)[2])),
    "maximum: to both": (Maximum, [A, B], {}, lambda n, g: (g, g)),
    "clamp: outside too": (
        Clamp, [A, B - 1, B + 1], {}, lambda n, g: (g, *Clamp.backward(n, g)[1:])),
    "log: times x": (Log, [POSITIVE], {}, lambda n, g: g * n.saved[0]),
    "rsqrt: square for cube": (Rsqrt, [POSITIVE], {}, lambda n, g: -g * n.saved[0] ** 2 / 2),
    "logaddexp: shares exchanged": (
        LogAddExp, [A, B], {}, lambda n, g: LogAddExp.backward(n, g)[::-1]),
    "atan2: arguments exchanged": (Atan2, [A, B], {}, lambda n, g: Atan2.backward(n, g)[::-1]),
    "var: mean not subtracted": (Var, [A], {**ROWS, "correction": 1}, mean_not_subtracted),
    "var: divided by n for n - 1": (Var, [A], {**ROWS, "correction": 1}, without_correction),
    "std: the gradient of var": (
        Std, [A], {**ROWS, "correction": 1},
        lambda n, g: g[:, None] * 2 * (n.saved[0] - n.saved[0].mean(1, keepdims=True)) / n.n),
    "amax: to everyone": (Amax, [A], ROWS, lambda n, g: np.repeat(g[:, None], 4, 1)),
    "max: to the first place": (
        MaxAlong, [A], {"axis": 1, "keepdim": False},
        lambda n, g, _: np.concatenate([g[:, None], np.zeros((3, 3))], 1)),
    "logsumexp: not normalised": (
        LogSumExp, [A], ROWS, lambda n, g: g[:, None] * np.exp(n.saved[0])),
    "norm: not divided by y": (Norm2, [A], ROWS, lambda n, g: g[:, None] * n.saved[0]),
    "cumsum: forwards again": (Cumsum, [A], {"axis": 1}, lambda n, g: np.cumsum(g, 1)),
    "matmul: b not transposed": (
        MatMul, [A[:, :3], B[:, :3]], {},
        lambda n, g: (g @ n.saved[1], MatMul.backward(n, g)[1])),
    "linear: bias averaged": (
        Linear, [A, B[:2], ROW[0, :2]], {},
        lambda n, g: (*Linear.backward(n, g)[:2], g.mean(0))),
    "einsum: summed letters not repeated": (
        Einsum, [A, B], {"terms": ("ij", "ik"), "out": "i"},
        lambda n, g: (Einsum.backward(n, g)[0] / 4, Einsum.backward(n, g)[1])),
    "permute: the same order again": (
        Permute, [RNG.standard_normal((2, 2, 2))], {"dims": (1, 2, 0)},
        lambda n, g: g.transpose(1, 2, 0)),
    "reshape: in the other memory order": (
        Reshape, [A], {"shape": (2, 6)}, lambda n, g: g.reshape((3, 4), order="F")),
    "expand: one copy's gradient": (Expand, [ROW], {"shape": (3, 4)}, lambda n, g: g[:1]),
    "cat: parts exchanged": (
        Cat, [A, B], {"dim": 1}, lambda n, g: (g[:, 4:].copy(), g[:, :4].copy())),
    "index: = for +=": (Take, [A], {"index": (K,)}, overwritten),
    "add at: not gathered": (
        AddAt, [B[:, :1].repeat(2, 1)], {"index": (np.array([2, 0, 2]),), "shape": (3, 2)},
        lambda n, g: g),
    "gather: spread along the wrong dimension": (
        Gather, [A[:, :3]], {"index": np.array([[0, 2, 1], [1, 1, 0], [2, 0, 0]]), "axis": 1},
        lambda n, g: Gather.backward(n, g.T.copy()).T),
    "put: what was written over keeps its gradient": (
        IndexPut, [A, ROW], {"index": (np.array([1]),)},
        lambda n, g: (g, IndexPut.backward(n, g)[1])),
    "triangle: the other one": (
        Triangle, [A], {"diagonal": 0, "lower": True}, lambda n, g: np.triu(g)),
    "diagonal: one place beside": (
        OnDiagonal, [A[0]], {"offset": 0, "axes": (0, 1), "shape": (4, 4)},
        lambda n, g: np.append(np.diagonal(g, 1), 0.0)),
    "windows: = for +=": (Windows, [A], WINDOWS, windows_overwritten),
    "windows: step forgotten": (
        AddWindows, [RNG.standard_normal((3, 2, 2))], {"axis": 1, "step": 2, "shape": (3, 4)},
        lambda n, g: np.stack([g[:, 0:2], g[:, 1:3]], 1)),
    "embedding: = for +=": (
        Embedding, [A], {"index": K, "padding_idx": None, "by_frequency": False},
        table_overwritten),
}  # fmt: skip


def run(function, inputs, options):
    tensors = [Tensor(a, requires_grad=True) for a in inputs]
    return gradcheck(lambda *xs: function.apply(*xs, **options), tensors)


@pytest.mark.parametrize("name", MUTANTS)
def test_the_shipped_one_passes_and_the_mutant_does_not(name):
    function, inputs, options, wrong = MUTANTS[name]
    assert run(function, inputs, options)
    mutant = type("Mutant", (function,), {"backward": wrong})
    with pytest.raises(GradcheckError, match="wrong backward"):
        run(mutant, inputs, options)

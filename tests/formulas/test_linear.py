"""The formulas of functional/linear.py, each evaluated as displayed, against the code."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import minicnn
from minicnn import functional as F
from minicnn.autograd import Function

RNG = np.random.default_rng(3)
A, B = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 4))
X, W, BIAS = RNG.standard_normal((4, 3)), RNG.standard_normal((2, 3)), RNG.standard_normal(2)


def loops(term, shape):
    """A tensor of this shape from term(*indices)."""
    return np.array([term(*index) for index in np.ndindex(shape)]).reshape(shape)


@pytest.mark.parametrize("function", [F.matmul, F.mm, lambda a, b: F.einsum("ij,jk->ik", a, b)])
def test_1_and_2_and_3_matrix_product(formula, function):
    formula(
        function,
        [A, B],
        lambda a, b: loops(lambda i, k: sum(a[i, j] * b[j, k] for j in range(3)), (2, 4)),
        lambda g, a, b: loops(lambda i, j: sum(g[i, k] * b[j, k] for k in range(4)), (2, 3)),
        lambda g, a, b: loops(lambda j, k: sum(a[i, j] * g[i, k] for i in range(2)), (3, 4)),
    )
    formula(function, [A, B], lambda a, b: a @ b, lambda g, a, b: g @ b.T, lambda g, a, b: a.T @ g)


def test_4_and_5_and_6_and_7_linear(formula):
    N, C, G = 4, 3, 2
    formula(
        F.linear,
        [X, W, BIAS],
        lambda x, w, b: loops(lambda n, f: b[f] + sum(x[n, c] * w[f, c] for c in range(C)), (N, G)),
        lambda g, x, w, b: loops(lambda n, c: sum(g[n, f] * w[f, c] for f in range(G)), (N, C)),
        lambda g, x, w, b: loops(lambda f, c: sum(g[n, f] * x[n, c] for n in range(N)), (G, C)),
        lambda g, x, w, b: loops(lambda f: sum(g[n, f] for n in range(N)), (G,)),
    )
    formula(
        F.linear,
        [X, W, BIAS],
        lambda x, w, b: x @ w.T + b,
        lambda g, x, w, b: g @ w,
        lambda g, x, w, b: g.T @ x,
        lambda g, x, w, b: g.sum(0),
    )


def test_einsum_has_einsums_for_gradients(formula):
    """ "nc,fc->nf" is (4) without b, and (5) is "nf,fc->nc"."""
    formula(
        lambda x, w: F.einsum("nc,fc->nf", x, w),
        [X, W],
        lambda x, w: x @ w.T,
        lambda g, x, w: np.einsum("nf,fc->nc", g, w),
        lambda g, x, w: np.einsum("nf,nc->fc", g, x),
    )
    # A letter that stands in one operand alone: its gradient is repeated.
    formula(
        lambda x, w: F.einsum("nc,fd->nf", x, w),
        [X, W],
        lambda x, w: np.einsum("nc,fd->nf", x, w),
        lambda g, x, w: np.repeat(np.einsum("nf,fd->n", g, w)[:, None], 3, 1),
        lambda g, x, w: np.repeat(np.einsum("nf,nc->f", g, x)[:, None], 3, 1),
    )


def test_by_hand():
    x = minicnn.tensor([[1.0, 2.0]], requires_grad=True)
    w = minicnn.tensor([[3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    b = minicnn.tensor([1.0, 0.0], requires_grad=True)
    y = F.linear(x, w, b)
    assert y.tolist() == [[1 + 3 + 8, 5 + 12]]
    y.backward(minicnn.tensor([[1.0, 10.0]]))
    assert x.grad.tolist() == [[3 + 50, 4 + 60]]
    assert w.grad.tolist() == [[1, 2], [10, 20]]
    assert b.grad.tolist() == [1, 10]


def test_no_function_is_missing():
    """Every Function of the file is one that the tests above call."""
    found = {
        name
        for name, value in vars(importlib.import_module("minicnn.functional.linear")).items()
        if isinstance(value, type)
        and issubclass(value, Function)
        and value.__module__ == "minicnn.functional.linear"
    }
    assert found == {"MatMul", "Linear", "Einsum"}

"""The formulas of functional/shape.py, each evaluated as displayed, against the code."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Function
from minicnn.functional.arrange import Flip
from minicnn.functional.shape import (
    Cat,
    Clone,
    Expand,
    Permute,
    Reshape,
    Slice,
    SumTo,
    Unslice,
)

RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 3, 4))

# Function: (options, s: which index of x stands at index i of y). Each line is the class's formula.
MOVES = {
    Reshape: ({"shape": (4, 6)}, lambda i, j: np.unravel_index(i * 6 + j, (2, 3, 4))),
    Permute: ({"dims": (2, 0, 1)}, lambda a, b, c: (b, c, a)),
    Expand: ({"shape": (5, 2, 3, 4)}, lambda n, a, b, c: (a, b, c)),
    Slice: ({"index": (1, slice(0, 2), None, Ellipsis)}, lambda b, n, c: (1, b, c)),
    Clone: ({}, lambda a, b, c: (a, b, c)),
    Flip: ({"dims": (0, 2)}, lambda a, b, c: (2 - 1 - a, b, 4 - 1 - c)),
}


@pytest.mark.parametrize("function", MOVES, ids=lambda f: f.__name__)
def test_1_and_2_rearranged(function, formula):
    options, s = MOVES[function]
    shape = function.apply(X, **options).shape

    def y(x):
        return np.array([x[s(*i)] for i in np.ndindex(shape)]).reshape(shape)

    def grad_x(g, x):
        grad = np.zeros_like(x)
        for i in np.ndindex(shape):
            grad[s(*i)] += g[i]
        return grad

    formula(lambda t: function.apply(t, **options), [X], y, grad_x)


def test_the_inverse_orders_undo():
    """Permute's gradient is in the inverse order, Reshape's in the shape of x, Flip's a Flip."""
    for dims in ((2, 0, 1), (1, 0, 2), (0, 2, 1)):
        y = Permute.apply(X, dims=dims)
        x = minicnn.tensor(X, requires_grad=True)
        Permute.apply(x, dims=dims).backward(minicnn.tensor(y.copy()))
        np.testing.assert_array_equal(x.grad.array, X)


def test_sum_to_is_the_adjoint_of_expand(formula):
    formula(
        lambda t: SumTo.apply(t, shape=(1, 4)),
        [X],
        lambda x: np.array(
            [[sum(x[a, b, c] for a in range(2) for b in range(3)) for c in range(4)]]
        ),
        lambda g, x: np.array([[[g[0, c] for c in range(4)] for _ in range(3)] for _ in range(2)]),
    )
    x, g = RNG.standard_normal((1, 4)), X
    left = (Expand.apply(x, shape=(2, 3, 4)) * g).sum()
    np.testing.assert_allclose(left, (x * SumTo.apply(g, shape=(1, 4))).sum(), rtol=1e-12)


def test_unslice_is_the_adjoint_of_slice(formula):
    index = (slice(0, 2), 1, slice(None, None, 3))

    def spread(g, *_):
        y = np.zeros((2, 3, 4))
        y[index] = g
        return y

    g = RNG.standard_normal((2, 2))
    formula(
        lambda t: Unslice.apply(t, shape=(2, 3, 4), index=index), [g], spread, lambda g, x: g[index]
    )
    left = (Slice.apply(X, index=index) * g).sum()
    right = (X * Unslice.apply(g, shape=(2, 3, 4), index=index)).sum()
    np.testing.assert_allclose(left, right, rtol=1e-12)


def test_cat_gives_each_part_its_part(formula):
    parts = [RNG.standard_normal((2, n)) for n in (1, 3, 2)]
    formula(
        lambda *ts: Cat.apply(*ts, dim=1),
        parts,
        lambda *xs: np.array([[v for x in xs for v in x[r]] for r in range(2)]),
        lambda g, *xs: g[:, 0:1],
        lambda g, *xs: g[:, 1:4],
        lambda g, *xs: g[:, 4:6],
    )


def test_by_hand():
    def back(y, *grad_y):
        x.grad = None
        y.backward(minicnn.tensor(grad_y))
        return x.grad.tolist()

    x = minicnn.tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert x.flip(0).tolist() == [3, 2, 1] and back(x.flip(0), 10.0, 20, 30) == [30, 20, 10]
    assert back(x.repeat(2), 1.0, 2, 3, 10, 20, 30) == [11, 22, 33]
    assert x[1:].tolist() == [2, 3] and back(x[1:], 10.0, 20) == [0, 10, 20]
    assert back(x.expand(2, 3), [1.0, 2, 3], [10.0, 20, 30]) == [11, 22, 33]


def test_no_function_is_missing():
    module = importlib.import_module("minicnn.functional.shape")
    found = {
        v.__name__
        for v in vars(module).values()
        if isinstance(v, type) and issubclass(v, Function) and v.__module__ == module.__name__
    }
    here = {f.__name__ for f in (*MOVES, SumTo, Unslice, Cat)}
    assert found == here - {"Flip"}

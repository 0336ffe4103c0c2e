"""The formulas of functional/index.py, each evaluated as displayed, against the code."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import minicnn
from minicnn import functional as F
from minicnn.autograd import Function
from minicnn.functional.index import (
    AddAt,
    Copy,
    CopyPart,
    Gather,
    IndexPut,
    Scatter,
    ScatterAdd,
    Take,
)

RNG = np.random.default_rng(3)
X = RNG.standard_normal((3, 4))
V = RNG.standard_normal(5)
ROWS, COLUMNS = np.array([2, 0, 2, 1, 2]), np.array([1, 3, 1, 0, 2])  # (2, 1) twice
S = list(zip(ROWS.tolist(), COLUMNS.tolist(), strict=True))
ONCE = np.array([2, 0, 1, 1, 2]), np.array([1, 3, 2, 0, 2])
K = np.array([[0, 0, 3], [1, 2, 2]])


def collected(g, shape=(3, 4)):
    """grad_x[k] = sum of grad_y[i] over all i with s(i) = k."""
    return np.array(
        [sum(g[i] for i in range(5) if S[i] == k) * 1.0 for k in np.ndindex(shape)]
    ).reshape(shape)


@pytest.mark.parametrize(
    "choose",
    [
        lambda x: x[minicnn.tensor(ROWS), minicnn.tensor(COLUMNS)],
        lambda x: Take.apply(x, index=(ROWS, COLUMNS)),
        lambda x: F.take(x, minicnn.tensor(ROWS * 4 + COLUMNS)),
    ],
)
def test_1_and_2_chosen_elements(formula, choose):
    formula(choose, [X], lambda x: np.array([x[k] for k in S]), lambda g, x: collected(g))


def test_add_at_is_the_adjoint_of_take(formula):
    formula(
        lambda t: AddAt.apply(t, index=(ROWS, COLUMNS), shape=(3, 4)),
        [V],
        collected,
        lambda g, x: np.array([g[k] for k in S]),
    )
    left = (Take.apply(X, index=(ROWS, COLUMNS)) * V).sum()
    right = (X * AddAt.apply(V, index=(ROWS, COLUMNS), shape=(3, 4))).sum()
    np.testing.assert_allclose(left, right, rtol=1e-12)


def test_3_and_4_gather(formula):
    def grad_x(g, x):
        return np.array(
            [
                [sum(g[i, j] for j in range(3) if i < 2 and K[i, j] == k) * 1.0 for k in range(4)]
                for i in range(3)
            ]
        )

    def y(x):
        return np.array([[x[i, K[i, j]] for j in range(3)] for i in range(2)])

    formula(lambda t: F.gather(t, 1, minicnn.tensor(K)), [X], y, grad_x)
    formula(lambda t: Gather.apply(t, index=K, axis=1), [X], y, grad_x)
    g = RNG.standard_normal((2, 3))
    formula(
        lambda t: ScatterAdd.apply(t, index=K, axis=1, shape=(3, 4)),
        [g],
        lambda g: grad_x(g, X),
        lambda g, x: np.array([[g[i, K[i, j]] for j in range(3)] for i in range(2)]),
    )


def test_5_put(formula):
    places = list(zip(*[k.tolist() for k in ONCE], strict=True))

    def y(x, v):
        y = x.copy()
        for i in range(5):
            y[places[i]] = v[i]
        return y

    def grad_x(g, x, v):
        return np.array([0 if k in places else g[k] for k in np.ndindex(3, 4)]).reshape(3, 4)

    def grad_v(g, x, v):
        return np.array([g[places[i]] for i in range(5)])

    def put(x, v):
        x = x * 1
        x[minicnn.tensor(ONCE[0]), minicnn.tensor(ONCE[1])] = v
        return x

    formula(put, [X, V], y, grad_x, grad_v)
    formula(lambda x, v: IndexPut.apply(x, v, index=ONCE), [X, V], y, grad_x, grad_v)


def test_5_scatter(formula):
    k = np.array([[0, 2, 3], [1, 3, 0]])
    v = RNG.standard_normal((2, 3))
    places = {(i, k[i, j]): (i, j) for i in range(2) for j in range(3)}
    formula(
        lambda x, v: Scatter.apply(x, v, index=k, axis=1),
        [X, v],
        lambda x, v: np.array(
            [v[places[p]] if p in places else x[p] for p in np.ndindex(3, 4)]
        ).reshape(3, 4),
        lambda g, x, v: np.array([0 if p in places else g[p] for p in np.ndindex(3, 4)]).reshape(
            3, 4
        ),
        lambda g, x, v: np.array([[g[i, k[i, j]] for j in range(3)] for i in range(2)]),
    )


def test_6_add(formula):
    def y(x, v):
        y = x.copy()
        for i in range(5):
            y[S[i]] += v[i]
        return y

    def add(x, v):
        indices = (minicnn.tensor(ROWS), minicnn.tensor(COLUMNS))
        return F.index_put(x, indices, v, accumulate=True)

    formula(add, [X, V], y, lambda g, x, v: g, lambda g, x, v: np.array([g[k] for k in S]))


def test_copy_keeps_nothing_of_what_was_there(formula):
    b = RNG.standard_normal(4)
    formula(
        lambda a, b: Copy.apply(a, b),
        [X, b],
        lambda a, b: np.array([list(b)] * 3),
        lambda g, a, b: np.zeros((3, 4)),
        lambda g, a, b: np.array([sum(g[i, j] for i in range(3)) for j in range(4)]),
    )

    def whole(x, v):
        x = x * 1
        x[1:] = v  # CopyPart writes into a part; the rest of x carries its gradient on
        return x

    formula(
        whole,
        [X, b],
        lambda x, v: np.array([list(x[0]), list(v), list(v)]),
        lambda g, x, v: np.array([list(g[0]), [0] * 4, [0] * 4]),
        lambda g, x, v: g[1] + g[2],
    )


def test_by_hand():
    x = minicnn.tensor([5.0, 6.0, 7.0], requires_grad=True)
    y = x[minicnn.tensor([2, 0, 2])]
    assert y.tolist() == [7, 5, 7]
    y.backward(minicnn.tensor([1.0, 10.0, 100.0]))
    assert x.grad.tolist() == [10, 0, 101]


def test_no_function_is_missing():
    module = importlib.import_module("minicnn.functional.index")
    found = {
        v
        for v in vars(module).values()
        if isinstance(v, type) and issubclass(v, Function) and v.__module__ == module.__name__
    }
    assert found == {AddAt, Copy, CopyPart, Gather, IndexPut, Scatter, ScatterAdd, Take}

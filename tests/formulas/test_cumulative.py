"""The formulas of functional/cumulative.py, each evaluated as displayed, against the code."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest

from minicnn import functional as F
from minicnn.autograd import Function

X = np.random.default_rng(3).standard_normal(5)
ZEROS = np.where(np.arange(5) % 3 == 1, 0.0, X)  # two factors of 0
N = range(5)


def test_1_cumsum(formula):
    formula(
        lambda t: F.cumsum(t, 0),
        [X],
        lambda x: np.array([sum(x[: i + 1]) for i in N]),
        lambda g, x: np.array([sum(g[i] for i in N if i >= k) for k in N]),
    )


@pytest.mark.parametrize("x", [X, ZEROS, ZEROS * (np.arange(5) != 4)], ids=["", "0s", "more 0s"])
def test_2_cumprod(formula, x):
    def P(x, i, k):
        return math.prod(x[j] for j in range(i + 1) if j != k)

    formula(
        lambda t: F.cumprod(t, 0),
        [x],
        lambda x: np.array([math.prod(x[: i + 1]) for i in N]),
        lambda g, x: np.array([sum(g[i] * P(x, i, k) for i in N if i >= k) for k in N]),
    )


@pytest.mark.parametrize("function, best", [(F.cummax, max), (F.cummin, min)])
def test_3_cummax(formula, function, best):
    x = np.array([1.0, 3, 2, 3, 0, 0, 4, 4])

    def j(x, i):
        return max(k for k in range(i + 1) if x[k] == best(x[: i + 1]))

    formula(
        lambda t: function(t, 0).values,
        [x],
        lambda x: np.array([x[j(x, i)] for i in range(8)]),
        lambda g, x: np.array(
            [sum(g[i] for i in range(8) if j(x, i) == k) * 1.0 for k in range(8)]
        ),
    )


def test_4_diff(formula):
    def at(g, i):
        return g[i] if 0 <= i < 4 else 0.0

    formula(
        F.diff,
        [X],
        lambda x: np.array([x[i + 1] - x[i] for i in range(4)]),
        lambda g, x: np.array([at(g, k - 1) - at(g, k) for k in N]),
    )


def test_no_function_is_missing():
    """Every Function of the file is one that the tests above call."""
    found = {
        name
        for name, value in vars(importlib.import_module("minicnn.functional.cumulative")).items()
        if isinstance(value, type)
        and issubclass(value, Function)
        and value.__module__ == "minicnn.functional.cumulative"
    }
    assert found == {"Cumsum"}


def test_by_hand():
    for function, values, grad in (
        (F.cumsum, [2, 5, 5], [3, 2, 1]),
        (F.cumprod, [2, 6, 0], [1 + 3 + 0, 2 + 0, 6]),
    ):
        x = F.tensor([2.0, 3.0, 0.0], requires_grad=True)
        y = function(x, 0)
        assert y.tolist() == values
        y.sum().backward()
        assert x.grad.tolist() == grad

"""The formulas of functional/reduce.py, each evaluated as it is displayed, against the code."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest

import minicnn
from minicnn import functional as F
from minicnn.autograd import Function

RNG = np.random.default_rng(3)
X = RNG.standard_normal(6)
N = 6


def along_rows(f, grad):
    """The formulas for one vector, applied to each row of a matrix."""

    def y(x):
        return np.array([f(row) for row in x])

    def gradient(grad_y, x):
        return np.array([grad(g, row, f(row)) for g, row in zip(grad_y, x, strict=True)])

    return y, gradient


def check(formula, function, f, grad):
    """Over all elements, along rows, and over two dimensions at once."""
    formula(function, [X], f, lambda g, x: grad(g, x, f(x)))
    y, gradient = along_rows(f, grad)
    formula(lambda t: function(t, 1), [RNG.standard_normal((3, 5))], y, gradient)
    formula(
        lambda t: function(t, (0, 2)),
        [RNG.standard_normal((2, 3, 4))],
        lambda x: y(x.swapaxes(0, 1).reshape(3, 8)),
        lambda g, x: gradient(g, x.swapaxes(0, 1).reshape(3, 8)).reshape(3, 2, 4).swapaxes(0, 1),
    )


def test_1_sum(formula):
    check(formula, F.sum, lambda x: sum(x), lambda g, x, y: np.array([g for _ in x]))


def test_2_mean(formula):
    check(
        formula,
        F.mean,
        lambda x: sum(x) / len(x),
        lambda g, x, y: np.array([g / len(x) for _ in x]),
    )


@pytest.mark.parametrize("c", [0, 1, 2])
def test_3_var(formula, c):
    def m(x):
        return sum(x) / len(x)

    check(
        formula,
        lambda t, dim=None: F.var(t, dim, correction=c),
        lambda x: sum((x_k - m(x)) ** 2 for x_k in x) / (len(x) - c),
        lambda g, x, y: np.array([g * 2 * (x_k - m(x)) / (len(x) - c) for x_k in x]),
    )


@pytest.mark.parametrize("c", [0, 1])
def test_4_std(formula, c):
    def m(x):
        return sum(x) / len(x)

    check(
        formula,
        lambda t, dim=None: F.std(t, dim, correction=c),
        lambda x: math.sqrt(sum((x_k - m(x)) ** 2 for x_k in x) / (len(x) - c)),
        lambda g, x, y: np.array([g * (x_k - m(x)) / ((len(x) - c) * y) for x_k in x]),
    )


def first(x, best):
    """j, where the largest (smallest) stands first."""
    return next(k for k in range(len(x)) if x[k] == best(x))


@pytest.mark.parametrize("function, best", [(F.max, max), (F.min, min)])
def test_5_max_along_a_dimension(formula, function, best):
    x = np.array([[1.0, 3, 3, 2], [5, 1, 1, 5], [2, 2, 2, 2]])
    formula(
        lambda t: function(t, 1).values,
        [x],
        lambda x: np.array([row[first(row, best)] for row in x]),
        lambda g, x: np.array(
            [
                [g[i] if k == first(row, best) else 0 for k in range(4)]
                for i, row in enumerate(x.tolist())
            ]
        ),
    )


@pytest.mark.parametrize("function, best", [(F.amax, max), (F.amin, min)])
def test_6_amax(formula, function, best):
    x = np.array([[1.0, 3, 3, 2], [5, 1, 1, 5], [2, 2, 2, 2]])
    y, gradient = along_rows(
        best,
        lambda g, x, y: np.array([g / list(x).count(y) if x_k == y else 0 for x_k in x]),
    )
    formula(lambda t: function(t, 1), [x], y, gradient)


def test_7_logsumexp(formula):
    check(
        formula,
        lambda t, dim=0: F.logsumexp(t, dim),
        lambda x: math.log(sum(math.exp(x_k) for x_k in x)),
        lambda g, x, y: np.array([g * math.exp(x_k - y) for x_k in x]),
    )


@pytest.mark.parametrize("p", [2, 1, 3, 2.5, -1.5])
def test_8_norm(formula, p):
    check(
        formula,
        lambda t, dim=None: F.norm(t, p, dim),
        lambda x: sum(abs(x_k) ** p for x_k in x) ** (1 / p),
        lambda g, x, y: np.array(
            [g * (abs(x_k) / y) ** (p - 1) * math.copysign(1, x_k) for x_k in x]
        ),
    )


def test_var_sees_the_mean_in_its_second_derivative():
    """sum (x_k - m) * dm/dx = 0 in the first; d2y/dx_k dx_l = 2 ((k = l) - 1/n) / (n - c)."""
    x = minicnn.tensor(X, requires_grad=True)
    (g,) = minicnn.autograd.grad(F.var(x), [x], create_graph=True)
    rows = [minicnn.autograd.grad(g[k], [x], retain_graph=True)[0].array for k in range(N)]
    np.testing.assert_allclose(rows, 2 * (np.eye(N) - 1 / N) / (N - 1), atol=1e-12)


def test_by_hand():
    x = minicnn.tensor([1.0, 2.0, 6.0], requires_grad=True)
    assert (x.sum().item(), x.mean().item(), x.var().item()) == (9, 3, 7)
    x.var().backward()
    assert x.grad.tolist() == [-2, -1, 3]
    x.grad = None
    x.max().backward()
    assert x.max().item() == 6 and x.grad.tolist() == [0, 0, 1]


def test_no_function_is_missing():
    """Every Function of the file is one that the tests above call."""
    found = {
        name
        for name, value in vars(importlib.import_module("minicnn.functional.reduce")).items()
        if isinstance(value, type)
        and issubclass(value, Function)
        and value.__module__ == "minicnn.functional.reduce"
    }
    assert found == {
        "Sum",
        "Mean",
        "Var",
        "Std",
        "Amax",
        "Amin",
        "MaxAlong",
        "MinAlong",
        "LogSumExp",
        "Norm2",
        "PNorm",
    }

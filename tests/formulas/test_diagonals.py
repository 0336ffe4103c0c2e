"""The formulas of functional/diagonals.py, each evaluated as displayed, against the code."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import minicnn
from minicnn import functional as F
from minicnn.autograd import Function
from minicnn.functional.diagonals import (
    AddWindows,
    Diagonal,
    OnDiagonal,
    Triangle,
    Windows,
)

RNG = np.random.default_rng(3)
X = RNG.standard_normal((3, 4))


@pytest.mark.parametrize("k", [-2, -1, 0, 1, 3])
def test_1_diagonal(formula, k):
    length = min(3 + min(k, 0), 4 - max(k, 0))

    def y(x):
        return np.array([x[i - min(k, 0), i + max(k, 0)] for i in range(length)])

    def grad_x(g, x):
        grad = np.zeros_like(x)
        for i in range(length):
            grad[i - min(k, 0), i + max(k, 0)] = g[i]
        return grad

    formula(lambda t: F.diagonal(t, k), [X], y, grad_x)
    g = RNG.standard_normal(length)
    on = OnDiagonal.apply(g, offset=k, axes=(0, 1), shape=(3, 4))
    np.testing.assert_array_equal(on, grad_x(g, X))
    np.testing.assert_array_equal(Diagonal.apply(on, offset=k, axes=(0, 1)), g)


@pytest.mark.parametrize("k", [-2, 0, 1])
def test_2_triangle(formula, k):
    for function, inside in ((F.tril, lambda d: d <= k), (F.triu, lambda d: d >= k)):

        def kept(x, inside=inside):
            return np.array([[x[i, j] if inside(j - i) else 0 for j in range(4)] for i in range(3)])

        formula(lambda t, f=function: f(t, k), [X], kept, lambda g, x, kept=kept: kept(g))
    np.testing.assert_array_equal(Triangle.apply(X, diagonal=k, lower=True), np.tril(X, k))


@pytest.mark.parametrize("K, S", [(3, 1), (2, 2), (2, 3), (1, 1), (7, 2)])
def test_3_window(formula, K, S):
    x = RNG.standard_normal(7)
    count = (7 - K) // S + 1

    def y(x):
        return np.array([[x[i * S + p] for p in range(K)] for i in range(count)])

    def grad_x(g, x):
        grad = np.zeros(7)
        for h in range(7):
            grad[h] = sum(g[i, p] for i in range(count) for p in range(K) if i * S + p == h)
        return grad

    formula(lambda t: t.unfold(0, K, S), [x], y, grad_x)
    g = RNG.standard_normal((count, K))
    back = AddWindows.apply(g, axis=0, step=S, shape=(7,))
    windows = Windows.apply(x, axis=0, size=K, step=S)
    np.testing.assert_allclose((windows * g).sum(), (x * back).sum(), rtol=1e-12)  # adjoint


def test_windows_of_an_image_are_views():
    x = minicnn.arange(2 * 3 * 6 * 5, dtype=minicnn.float64).reshape(2, 3, 6, 5)
    y = x.unfold(2, 2, 2).unfold(3, 3, 1)
    assert y.shape == (2, 3, 3, 3, 2, 3)
    assert y[1, 2, 1, 2, 1, 0].item() == x[1, 2, 3, 2].item()
    assert np.shares_memory(x.numpy(), y.numpy())


def test_no_function_is_missing():
    """Every Function of the file is one that the tests above call."""
    found = {
        name
        for name, value in vars(importlib.import_module("minicnn.functional.diagonals")).items()
        if isinstance(value, type)
        and issubclass(value, Function)
        and value.__module__ == "minicnn.functional.diagonals"
    }
    assert found == {"Diagonal", "OnDiagonal", "Triangle", "Windows", "AddWindows"}


def test_by_hand():
    x = minicnn.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x.unfold(0, 2, 1)
    assert y.tolist() == [[1, 2], [2, 3]]
    y.sum().backward()
    assert x.grad.tolist() == [1, 2, 1]

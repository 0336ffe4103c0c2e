"""Unit vectors and the angle between two, formula by formula."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F

RNG = np.random.default_rng(0)
X, Z = RNG.normal(size=(2, 3, 4))


def length(x, p=2):
    """|x|, with the axis kept."""
    return np.einsum("nc->n", abs(x) ** p)[:, None] ** (1 / p)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("eps", [1e-12, 2.0])
def test_1_normalize(formula, p, eps):
    def unit(x):
        return x / np.maximum(length(x, p), eps)

    formula(lambda x: F.normalize(x, p, 1, eps), [X], unit, None)


def test_2_gradient_of_normalize(formula):
    def unit(x):
        return x / length(x)

    def by_slopes(grad_y, x):
        y = unit(x)
        slopes = (np.eye(4) - y[:, :, None] * y[:, None, :]) / length(x)[:, :, None]
        return np.einsum("nk,nkc->nc", grad_y, slopes)

    def compact(grad_y, x):
        y = unit(x)
        return (grad_y - y * np.einsum("nk,nk->n", grad_y, y)[:, None]) / length(x)

    formula(F.normalize, [X], unit, by_slopes)
    formula(F.normalize, [X], unit, compact)


def test_2_below_eps(formula):
    formula(
        lambda x: F.normalize(x, eps=10.0),
        [X],
        lambda x: x / 10,
        lambda grad_y, x: grad_y / 10,
    )


def cosine(x1, x2, eps=1e-8):
    """(3)"""
    a, b = x1 / np.maximum(length(x1), eps), x2 / np.maximum(length(x2), eps)
    return np.einsum("nc,nc->n", a, b)


def test_3_and_4_cosine_similarity(formula):
    def gradient(grad_y, x, other):
        a, b, y = x / length(x), other / length(other), cosine(x, other)[:, None]
        return grad_y[:, None] * (b - y * a) / length(x)

    formula(
        F.cosine_similarity,
        [X, Z],
        cosine,
        lambda grad_y, x1, x2: gradient(grad_y, x1, x2),
        lambda grad_y, x1, x2: gradient(grad_y, x2, x1),
    )


def test_3_below_eps(formula):
    eps = 1e3
    formula(
        lambda x1, x2: F.cosine_similarity(x1, x2, eps=eps),
        [X, Z],
        lambda x1, x2: cosine(x1, x2, eps),
        lambda grad_y, x1, x2: grad_y[:, None] * (x2 / eps) / eps,
        lambda grad_y, x1, x2: grad_y[:, None] * (x1 / eps) / eps,
    )


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_5_and_6_pairwise_distance(formula, p, eps):
    def u(x1, x2):
        return x1 - x2 + eps

    def gradient(grad_y, x1, x2):
        d = length(u(x1, x2), p)
        return grad_y[:, None] * np.sign(u(x1, x2)) * (abs(u(x1, x2)) / d) ** (p - 1)

    formula(
        lambda x1, x2: F.pairwise_distance(x1, x2, p, eps),
        [X, Z],
        lambda x1, x2: length(u(x1, x2), p)[:, 0],
        gradient,
        lambda *args: -gradient(*args),
    )


def test_by_hand():
    x = minicnn.tensor([[3.0, 4.0]], dtype=minicnn.float64, requires_grad=True)
    y = F.normalize(x)
    y.backward(minicnn.tensor([[1.0, 0.0]], dtype=minicnn.float64))
    np.testing.assert_allclose(y.tolist(), [[0.6, 0.8]], rtol=1e-15)
    np.testing.assert_allclose(x.grad.tolist(), [[0.128, -0.096]], rtol=1e-13)
    x.grad = None
    y = F.cosine_similarity(x, minicnn.tensor([[5.0, 0.0]], dtype=minicnn.float64))
    y.backward(minicnn.ones(1, dtype=minicnn.float64))
    np.testing.assert_allclose(y.tolist(), [0.6], rtol=1e-15)
    np.testing.assert_allclose(x.grad.tolist(), [[0.128, -0.096]], rtol=1e-13)
    x.grad = None
    y = F.pairwise_distance(x, minicnn.zeros(1, 2), eps=0.0)
    y.backward(minicnn.ones(1, dtype=minicnn.float64))
    np.testing.assert_allclose(y.tolist(), [5], rtol=1e-15)
    np.testing.assert_allclose(x.grad.tolist(), [[0.6, 0.8]], rtol=1e-15)

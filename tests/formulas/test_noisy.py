"""The activations that draw random numbers, formula by formula, for the numbers that were drawn."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F

X = np.random.default_rng(0).normal(size=(3, 4, 50))


def test_1_rrelu_in_training():
    x = minicnn.tensor(X, requires_grad=True)
    y = F.rrelu(x, 0.2, 0.6, training=True)
    a = y.detach().numpy() / X
    assert np.allclose(a[X > 0], 1)
    a = a[X <= 0]
    assert 0.2 <= a.min() < 0.22 and 0.58 < a.max() <= 0.6 and abs(a.mean() - 0.4) < 0.02
    grad_y = np.random.default_rng(1).normal(size=X.shape)
    y.backward(minicnn.tensor(grad_y))
    slope = np.where(X > 0, 1, y.detach().numpy() / X)
    np.testing.assert_allclose(x.grad.numpy(), slope * grad_y, rtol=1e-12)


def test_1_rrelu_in_evaluation(formula):
    formula(
        lambda x: F.rrelu(x, 0.2, 0.6),
        [X],
        lambda x: np.where(x > 0, x, 0.4 * x),
        lambda grad_y, x: np.where(x > 0, 1, 0.4) * grad_y,
    )


@pytest.mark.parametrize("tau", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("hard", [False, True])
def test_2_and_3_gumbel_softmax(tau, hard):
    minicnn.manual_seed(5)
    noise = F.gumbel_softmax(np.zeros(X.shape), 1.0)  # softmax(n), so that n is its logarithm
    e = np.exp((X + np.log(noise)) / tau)
    y = e / np.einsum("...c->...", e)[..., None]
    x = minicnn.tensor(X, requires_grad=True)
    minicnn.manual_seed(5)
    found = F.gumbel_softmax(x, tau, hard)
    wanted = (y == y.max(-1, keepdims=True)) if hard else y
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-12, atol=1e-15)
    grad_y = np.random.default_rng(1).normal(size=X.shape)
    found.backward(minicnn.tensor(grad_y))
    along = np.einsum("...b,...b->...", grad_y, y)[..., None]
    np.testing.assert_allclose(x.grad.numpy(), y * (grad_y - along) / tau, rtol=1e-10, atol=1e-15)


def test_2_draws_each_class_with_its_probability():
    p = np.array([0.6, 0.3, 0.1])
    drawn = F.gumbel_softmax(np.tile(np.log(p), (20000, 1)), hard=True)
    assert set(np.unique(drawn)) == {0, 1}
    np.testing.assert_allclose(drawn.mean(0), p, atol=0.015)


def test_by_hand():
    x = minicnn.tensor([-2.0, 3.0], requires_grad=True)
    y = F.rrelu(x, 0, 1 / 2)
    y.backward(minicnn.ones(2))
    assert y.tolist() == [-1 / 2, 3] and x.grad.tolist() == [1 / 4, 1]

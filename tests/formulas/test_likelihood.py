"""The negative log-likelihoods, formula by formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F

exp, log = np.exp, np.log
RNG = np.random.default_rng(0)
X, COUNTS = RNG.normal(size=(3, 4)), RNG.integers(0, 6, (3, 4)).astype(float)


def test_1_poisson(formula):
    formula(
        lambda x, t: F.poisson_nll_loss(x, t, reduction="none"),
        [X, COUNTS],
        lambda x, t: exp(x) - t * x,
        lambda g, x, t: g * (exp(x) - t),
        lambda g, x, t: -g * x,
    )


@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_2_of_the_rate(formula, eps):
    formula(
        lambda x, t: F.poisson_nll_loss(x, t, log_input=False, eps=eps, reduction="none"),
        [exp(X), COUNTS],
        lambda x, t: x - t * log(x + eps),
        lambda g, x, t: g * (1 - t / (x + eps)),
        lambda g, x, t: -g * log(x + eps),
    )


def test_3_stirling(formula):
    many = COUNTS > 1
    T = np.where(many, COUNTS, 1)

    def added(t):
        return np.where(many, T * log(T) - T + log(2 * math.pi * T) / 2, 0)

    formula(
        lambda x, t: F.poisson_nll_loss(x, t, full=True, reduction="none"),
        [X, COUNTS],
        lambda x, t: exp(x) - t * x + added(t),
        lambda g, x, t: g * (exp(x) - t),
        lambda g, x, t: g * (-x + np.where(many, log(T) + 1 / (2 * T), 0)),
    )
    exact = np.array([[math.lgamma(n + 1) for n in row] for row in COUNTS])
    assert np.max(abs(added(COUNTS) - exact)[many]) < 0.05


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("eps", [1e-6, 0.8])
def test_4_gaussian(formula, full, eps):
    def v(var):
        return np.maximum(var, eps)

    formula(
        lambda x, t, var: F.gaussian_nll_loss(x, t, var, full, eps, "none"),
        [X, RNG.normal(size=X.shape), RNG.uniform(0.3, 2, X.shape)],
        lambda x, t, var: (log(v(var)) + (x - t) ** 2 / v(var)) / 2 + full * log(2 * math.pi) / 2,
        lambda g, x, t, var: g * (x - t) / v(var),
        lambda g, x, t, var: -g * (x - t) / v(var),
        lambda g, x, t, var: g * (1 - (x - t) ** 2 / v(var)) / (2 * v(var)),
    )


def test_by_hand():
    x = minicnn.tensor([0.0], dtype=minicnn.float64, requires_grad=True)
    two = minicnn.tensor([2.0], dtype=minicnn.float64)
    y = F.poisson_nll_loss(x, two)
    y.backward()
    assert y.item() == 1 and x.grad.item() == -1
    assert round(F.poisson_nll_loss(x, two, full=True).item() - 1, 3) == 0.652
    x = minicnn.tensor([3.0], dtype=minicnn.float64, requires_grad=True)
    var = minicnn.tensor([2.0], dtype=minicnn.float64, requires_grad=True)
    y = F.gaussian_nll_loss(x, minicnn.ones(1), var)
    y.backward()
    np.testing.assert_allclose(y.item(), (log(2) + 2) / 2, rtol=1e-15)
    np.testing.assert_allclose([x.grad.item(), var.grad.item()], [1, -1 / 4], rtol=1e-15)

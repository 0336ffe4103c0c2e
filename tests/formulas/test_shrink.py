"""The shrinking activations, formula by formula."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F

where = np.where
X = np.random.default_rng(0).normal(0, 1, (2, 3, 4, 5))


@pytest.fixture
def element(formula):
    """y = f(x), grad_x = f'(x) * grad_y."""

    def check(function, f, slope):
        formula(function, [X], f, lambda grad_y, x: slope(x) * grad_y)

    return check


def test_1_threshold(element):
    T, v = 0.3, -7.0
    element(
        lambda x: F.threshold(x, T, v),
        lambda x: where(x > T, x, v),
        lambda x: where(x > T, 1, 0),
    )


@pytest.mark.parametrize("lam", [0.5, 0.1])
def test_2_hardshrink(element, lam):
    element(
        lambda x: F.hardshrink(x, lam),
        lambda x: where((-lam <= x) & (x <= lam), 0, x),
        lambda x: where((-lam <= x) & (x <= lam), 0, 1),
    )


@pytest.mark.parametrize("lam", [0.5, 0.1])
def test_3_softshrink(element, lam):
    element(
        lambda x: F.softshrink(x, lam),
        lambda x: where(x > lam, x - lam, where(x < -lam, x + lam, 0)),
        lambda x: where((-lam <= x) & (x <= lam), 0, 1),
    )


def test_3_softshrink_minimises_the_distance_with_a_penalty():
    y = np.linspace(-3, 3, 60001)
    for x in (-1.7, -0.2, 0.0, 0.4, 2.1):
        cost = (x - y) ** 2 / 2 + 0.5 * abs(y)
        assert abs(y[cost.argmin()] - F.softshrink(np.array(x))) < 1e-4


def test_4_tanhshrink(element):
    element(F.tanhshrink, lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2)


def test_jumps():
    """At T, -l and l the slope is 0; NaN stays, and its gradient passes."""
    for function in (
        lambda x: F.threshold(x, 0.5, 1.0),
        lambda x: F.threshold(x, -0.5, 1.0),
        F.hardshrink,
        F.softshrink,
    ):
        x = minicnn.tensor([-0.5, 0.5, np.nan], requires_grad=True)
        y = function(x)
        y.backward(minicnn.ones(3))
        assert 0 in x.grad.tolist()[:2] and x.grad[2].item() == 1 and np.isnan(y[2].item())


def test_by_hand():
    x = minicnn.tensor([-2.0, 0.25, 1.0], requires_grad=True)
    wanted = {
        F.softshrink: ([-1.5, 0, 0.5], [1, 0, 1]),
        F.hardshrink: ([-2, 0, 1], [1, 0, 1]),
    }
    for function, (values, slopes) in wanted.items():
        x.grad = None
        y = function(x)
        y.backward(minicnn.ones(3))
        assert y.tolist() == values and x.grad.tolist() == slopes
    x.grad = None
    y = F.threshold(x, 0.5, 7.0)
    y.backward(minicnn.ones(3))
    assert y.tolist() == [7, 7, 1] and x.grad.tolist() == [0, 0, 1]

"""Huber's loss and smooth l1, formula by formula."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F

RNG = np.random.default_rng(0)
X, T = RNG.normal(0, 2, (2, 3, 4))


def cut(d, D):
    """c"""
    return np.minimum(np.maximum(d, -D), D)


def pieces(d, D):
    """(1), first form"""
    return np.where(abs(d) <= D, d**2 / 2, D * (abs(d) - D / 2))


@pytest.mark.parametrize("D", [0.5, 1.0, 3.0])
def test_1_and_3_huber(formula, D):
    d = X - T
    np.testing.assert_allclose(cut(d, D) * (d - cut(d, D) / 2), pieces(d, D), rtol=1e-13)
    formula(
        lambda x, t: F.huber_loss(x, t, "none", D),
        [X, T],
        lambda x, t: pieces(x - t, D),
        lambda g, x, t: g * cut(x - t, D),
        lambda g, x, t: -g * cut(x - t, D),
    )


@pytest.mark.parametrize("B", [0.5, 1.0, 3.0])
def test_2_and_3_smooth_l1(formula, B):
    d = X - T
    displayed = np.where(abs(d) < B, d**2 / (2 * B), abs(d) - B / 2)
    np.testing.assert_allclose(displayed, pieces(d, B) / B, rtol=1e-13)
    formula(
        lambda x, t: F.smooth_l1_loss(x, t, reduction="none", beta=B),
        [X, T],
        lambda x, t: displayed,
        lambda g, x, t: g * cut(x - t, B) / B,
        lambda g, x, t: -g * cut(x - t, B) / B,
    )


def test_by_hand():
    x = minicnn.tensor([0.5, 3.0], requires_grad=True)
    y = F.huber_loss(x, minicnn.zeros(2), "none", 1.0)
    y.backward(minicnn.ones(2))
    assert y.tolist() == [0.125, 2.5] and x.grad.tolist() == [0.5, 1]
    x.grad = None
    y = F.smooth_l1_loss(x, minicnn.zeros(2), reduction="none", beta=2.0)
    y.backward(minicnn.ones(2))
    assert y.tolist() == [0.0625, 2] and x.grad.tolist() == [0.25, 1]

"""Root mean square norm, formula by formula."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F

EPS = 0.1
RNG = np.random.default_rng(0)
N, C = 4, 3
X, W = RNG.normal(size=(N, C)), RNG.normal(size=C)


def derived(x):
    """r and x_hat."""
    q = np.einsum("nc->n", x**2) / C + EPS  # (1)
    r = 1 / np.sqrt(q)  # (2)
    return r, x * r[:, None]  # (3)


def norm(x, w):
    return F.rms_norm(x, (C,), w, EPS)


def output(x, w):
    """(4)"""
    return w * derived(x)[1]


def test_1_and_2_and_3_and_4_output(formula):
    formula(norm, [X, W], output, None, None)


def test_5_weight_gradient(formula):
    def gradient(grad_y, x, w):
        return np.einsum("nc,nc->c", grad_y, derived(x)[1])

    formula(norm, [X, W], output, None, gradient)


def test_6_and_7_and_8_input_gradient(formula):
    def by_7(grad_y, x, w):
        r, x_hat = derived(x)
        g = w * grad_y  # (6)
        # (7), as [n, c, d]
        slopes = np.eye(C) - x_hat[:, :, None] * x_hat[:, None, :] / C
        return np.einsum("nc,n,ncd->nd", g, r, slopes)

    def by_8(grad_y, x, w):
        r, x_hat = derived(x)
        g = w * grad_y
        along = np.einsum("nc,nc->n", g, x_hat)[:, None]
        return r[:, None] * (g - x_hat * along / C)

    formula(norm, [X, W], output, by_7, None)
    formula(norm, [X, W], output, by_8, None)


def test_8_is_orthogonal_to_x():
    x = minicnn.tensor(X, requires_grad=True)
    F.rms_norm(x, (C,), eps=0.0).backward(minicnn.tensor(RNG.normal(size=X.shape)))
    np.testing.assert_allclose(np.einsum("nc,nc->n", X, x.grad.array), 0, atol=1e-14)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    x = minicnn.tensor([1.0, 7.0], dtype=minicnn.float64, requires_grad=True)
    w = minicnn.ones(2, dtype=minicnn.float64, requires_grad=True)
    with minicnn.use_backend(backend):
        y = F.rms_norm(x, (2,), w, 0.0)
        y.backward(minicnn.tensor([1.0, 0.0], dtype=minicnn.float64))
    np.testing.assert_allclose(y.tolist(), [1 / 5, 7 / 5], rtol=1e-15)
    np.testing.assert_allclose(w.grad.tolist(), [1 / 5, 0], rtol=1e-15)
    np.testing.assert_allclose(x.grad.tolist(), [0.196, -0.028], rtol=1e-14)
    np.testing.assert_allclose(1 * 0.196 - 7 * 0.028, 0, atol=1e-15)

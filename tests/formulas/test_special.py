"""The error function, formula by formula."""

from __future__ import annotations

import math

import numpy as np

import minicnn

X = np.random.default_rng(0).normal(0, 2, (2, 3, 4))


def integral(x):
    """2 / sqrt(pi) * integral from 0 to x of e^(-t^2) dt, by Gauss's rule with 60 points."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    t = x[..., None] / 2 * (nodes + 1)
    return 2 / math.sqrt(math.pi) * x / 2 * np.einsum("...k,k->...", np.exp(-(t**2)), weights)


def test_1_and_2_erf_and_erfc(formula):
    def slope(grad_y, x):
        return grad_y * 2 / math.sqrt(math.pi) * np.exp(-(x**2))

    formula(minicnn.erf, [X], integral, slope)
    formula(minicnn.erfc, [X], lambda x: 1 - integral(x), lambda g, x: -slope(g, x))


def test_3_symmetries():
    assert np.array_equal(minicnn.erf(-X), -minicnn.erf(X))
    np.testing.assert_allclose(minicnn.erfc(-X), 2 - minicnn.erfc(X), atol=1e-15)


def test_by_hand():
    x = minicnn.tensor([0.0], requires_grad=True, dtype=minicnn.float64)
    y = minicnn.erf(x)
    y.backward(minicnn.ones(1, dtype=minicnn.float64))
    assert y.item() == 0 and x.grad.item() == 2 / math.sqrt(math.pi)
    assert minicnn.erfc(x).item() == 1
    np.testing.assert_allclose(minicnn.erfc(np.array([10.0])), 2.0884875837625446e-45, rtol=1e-13)

"""The activations x * g(x), formula by formula: f' = g(x) + x * g'(x)."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F

exp, tanh, where = np.exp, np.tanh, np.where

X = np.random.default_rng(0).normal(0, 3, (2, 3, 4, 5))


def s(x):
    return 1 / (1 + exp(-x))


@pytest.fixture
def gated(formula):
    """y = x * g(x) and grad_x = (g(x) + x * g'(x)) * grad_y."""

    def check(function, g, slope_of_g):
        formula(
            function,
            [X],
            lambda x: x * g(x),
            lambda grad_y, x: (g(x) + x * slope_of_g(x)) * grad_y,
        )

    return check


def test_1_gelu(gated):
    erfc = np.vectorize(math.erfc)
    erf = np.vectorize(math.erf)

    def slope(x):
        return exp(-(x**2) / 2) / math.sqrt(2 * math.pi)

    gated(F.gelu, lambda x: erfc(-x / math.sqrt(2)) / 2, slope)
    gated(F.gelu, lambda x: (1 + erf(x / math.sqrt(2))) / 2, slope)


def test_2_gelu_by_tanh(gated):
    k, c = math.sqrt(2 / math.pi), 0.044715

    def u(x):
        return k * (x + c * x**3)

    def slope(x):
        return s(2 * u(x)) * (1 - s(2 * u(x))) * 2 * k * (1 + 3 * c * x**2)

    gated(lambda x: F.gelu(x, "tanh"), lambda x: (1 + tanh(u(x))) / 2, slope)
    gated(lambda x: F.gelu(x, "tanh"), lambda x: s(2 * u(x)), slope)
    difference = F.gelu(np.linspace(-9, 9, 9999)) - F.gelu(np.linspace(-9, 9, 9999), "tanh")
    assert 4e-4 < np.abs(difference).max() < 5e-4


def test_3_mish(gated):
    def t(x):
        return tanh(np.log(1 + exp(x)))

    gated(F.mish, t, lambda x: (1 - t(x) ** 2) * s(x))


def test_4_hardswish(gated, formula):
    def g(x):
        return np.minimum(np.maximum(x + 3, 0), 6) / 6

    gated(F.hardswish, g, lambda x: where((x > -3) & (x < 3), 1 / 6, 0))
    formula(
        F.hardswish,
        [X],
        lambda x: x * g(x),
        lambda grad_y, x: grad_y * where(x <= -3, 0, where(x < 3, x / 3 + 1 / 2, 1)),
    )
    x = minicnn.tensor([-3.0, 3.0], requires_grad=True)
    F.hardswish(x).backward(minicnn.ones(2))
    assert x.grad.tolist() == [0, 1]
    assert np.isnan(F.hardswish(minicnn.tensor([-np.inf])).item())


@pytest.mark.parametrize("axis", [1, -1])
def test_5_glu(formula, axis):
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 6))

    def halves(x):
        return np.split(x, 2, axis)

    def gradient(grad_y, x):
        a, b = halves(x)
        grad_a = grad_y * s(b)
        grad_b = grad_y * a * s(b) * (1 - s(b))
        return np.concatenate([grad_a, grad_b], axis)

    formula(lambda x: F.glu(x, axis), [x], lambda x: halves(x)[0] * s(halves(x)[1]), gradient)


def test_by_hand():
    x = minicnn.tensor([4.0, 0.0], requires_grad=True)
    y = F.glu(x)
    y.backward(minicnn.ones(1))
    assert y.tolist() == [2] and x.grad.tolist() == [0.5, 1]
    x = minicnn.tensor([-4.0, 0.0, 1.0, 4.0], requires_grad=True)
    y = F.hardswish(x)
    y.backward(minicnn.ones(4))
    np.testing.assert_allclose(y.tolist(), [0, 0, 2 / 3, 4], rtol=1e-6)
    np.testing.assert_allclose(x.grad.tolist(), [0, 1 / 2, 5 / 6, 1], rtol=1e-6)

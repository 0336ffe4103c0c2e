"""The activations' table and the softmax's derivation, formula by formula."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F
from minicnn.functional.activation import PReLU

exp, log, where = np.exp, np.log, np.where

X = np.random.default_rng(0).normal(0, 4, (2, 3, 4, 5))  # no kink within 1e-3


def s(x):
    return 1 / (1 + exp(-x))


@pytest.fixture
def element(formula):
    """y = f(x), grad_x = f'(x) * grad_y."""

    def check(function, f, slope):
        formula(function, [X], f, lambda grad_y, x: slope(x) * grad_y)

    return check


def test_1_relu(element):
    element(F.relu, lambda x: np.maximum(x, 0), lambda x: where(F.relu(x) > 0, 1, 0))


@pytest.mark.parametrize("slope", [0.01, 0.5, 3.0, -0.2, 0.0])
def test_2_leaky_relu(element, slope):
    element(
        lambda x: F.leaky_relu(x, slope),
        lambda x: where(x > 0, x, slope * x),
        lambda x: where(x > 0, 1, slope),
    )


def test_3_prelu(formula):
    w = np.array([0.3, -0.2, 2.0])[:, None, None]
    formula(
        PReLU.apply,
        [X, w],
        lambda x, w: where(x > 0, x, w * x),
        lambda grad_y, x, w: where(x > 0, 1, w) * grad_y,
        # grad_w[c] = sum over n,i,j of grad_y[n,c,i,j] * min(x[n,c,i,j], 0)
        lambda grad_y, x, w: np.einsum("ncij,ncij->c", grad_y, np.minimum(x, 0))[:, None, None],
    )
    formula(
        lambda x, w: F.prelu(x, w),
        [X, w.ravel()],
        lambda x, w_: where(x > 0, x, w * x),
        lambda grad_y, x, w_: where(x > 0, 1, w) * grad_y,
        lambda grad_y, x, w_: np.einsum("ncij,ncij->c", grad_y, np.minimum(x, 0)),
    )


def test_4_sigmoid(element):
    element(F.sigmoid, lambda x: 1 / (1 + exp(-x)), lambda x: exp(-x) / (1 + exp(-x)) ** 2)
    element(F.sigmoid, s, lambda x: s(x) * (1 - s(x)))


def test_5_logsigmoid(element):
    element(F.logsigmoid, lambda x: log(1 / (1 + exp(-x))), lambda x: 1 - s(x))
    element(F.logsigmoid, lambda x: log(s(x)), lambda x: s(-x))


def test_6_tanh(element):
    def tanh(x):
        return (exp(x) - exp(-x)) / (exp(x) + exp(-x))

    element(F.tanh, tanh, lambda x: 1 - tanh(x) ** 2)


def test_7_softsign(element):
    element(F.softsign, lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2)


def test_8_silu(element):
    element(F.silu, lambda x: x * s(x), lambda x: s(x) + x * s(x) * (1 - s(x)))
    element(F.silu, lambda x: x * s(x), lambda x: s(x) * (1 + x * (1 - s(x))))


def elu(x, a):
    return where(x > 0, x, a * (exp(x) - 1))


def slope_of_elu(x, a):
    return where(x > 0, 1, a * exp(x))


@pytest.mark.parametrize("a", [1.0, 0.4, -0.7])
def test_9_elu(element, a):
    element(lambda x: F.elu(x, a), lambda x: elu(x, a), lambda x: slope_of_elu(x, a))


@pytest.mark.parametrize("a", [1.0, 0.4, -3.0])
def test_10_celu(element, a):
    element(
        lambda x: F.celu(x, a),
        lambda x: where(x > 0, x, a * (exp(x / a) - 1)),
        lambda x: where(x > 0, 1, exp(x / a)),
    )


def test_11_selu(element):
    r, a = 1.0507009873554805, 1.6732632423543772
    element(F.selu, lambda x: r * elu(x, a), lambda x: r * slope_of_elu(x, a))


def test_11_selu_keeps_mean_0_and_variance_1():
    x = np.random.default_rng(0).normal(size=2_000_000)
    y = F.selu(x)
    assert abs(y.mean()) < 2e-3 and abs(y.var() - 1) < 3e-3


@pytest.mark.parametrize("t", [1.0, 0.5, 2.0])
def test_12_softplus(element, t):
    element(
        lambda x: F.softplus(x, t, 100),
        lambda x: log(1 + exp(t * x)) / t,
        lambda x: exp(t * x) / (1 + exp(t * x)),
    )
    element(lambda x: F.softplus(x, t), lambda x: log(1 + exp(t * x)) / t, lambda x: s(t * x))


@pytest.mark.parametrize(("lo", "hi"), [(-1.0, 1.0), (0.5, 3.0)])
def test_13_hardtanh(element, lo, hi):
    element(
        lambda x: F.hardtanh(x, lo, hi),
        lambda x: np.minimum(np.maximum(x, lo), hi),
        lambda x: where((lo < x) & (x < hi), 1, 0),
    )


def test_13_relu6(element):
    element(
        F.relu6,
        lambda x: np.minimum(np.maximum(x, 0), 6),
        lambda x: where((x > 0) & (x < 6), 1, 0),
    )


def test_14_hardsigmoid(element):
    element(
        F.hardsigmoid,
        lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6,
        lambda x: where((x > -3) & (x < 3), 1 / 6, 0),
    )


def test_kinks():
    """The derivatives that the table leaves open, as the sentence below it says."""
    slopes = [
        (F.relu, 0, 0),
        (lambda x: F.leaky_relu(x, 0.2), 0, 0.2),
        (lambda x: F.prelu(x, minicnn.tensor([0.3])), 0, np.float32(0.3)),
        (lambda x: F.elu(x, 0.7), 0, 0.7),
        (F.selu, 0, 1.0507009873554805 * 1.6732632423543772),
        (F.hardtanh, -1, 0),
        (F.hardtanh, 1, 0),
        (F.hardsigmoid, -3, 0),
        (F.hardsigmoid, 3, 0),
    ]
    for function, kink, slope in slopes:
        x = minicnn.tensor([float(kink)], requires_grad=True)
        function(x).backward(minicnn.ones(1))
        np.testing.assert_allclose(x.grad.item(), slope, rtol=1e-6)
    for function, slope in ((F.relu, 1), (F.hardtanh, 0), (F.hardsigmoid, 0)):
        x = minicnn.tensor([np.nan], requires_grad=True)
        y = function(x)
        y.backward(minicnn.ones(1))
        assert np.isnan(y.item()) and x.grad.item() == slope


def softmax(x):
    """(15) along the last axis."""
    Z = np.einsum("...b->...", exp(x))
    return exp(x) / Z[..., None]


def jacobian(y):
    """dy[b]/dx[a] = y[b] * ((a = b) - y[a]), as [..., a, b]."""
    equal = np.eye(y.shape[-1])
    return y[..., None, :] * (equal - y[..., :, None])


def test_15_softmax(formula):
    formula(lambda x: F.softmax(x, -1), [X], softmax, None)


def test_16_gradient_of_softmax(formula):
    def by_jacobian(grad_y, x):
        return np.einsum("...b,...ab->...a", grad_y, jacobian(softmax(x)))

    def compact(grad_y, x):
        y = softmax(x)
        return y * (grad_y - np.einsum("...b,...b->...", grad_y, y)[..., None])

    formula(lambda x: F.softmax(x, -1), [X], softmax, by_jacobian)
    formula(lambda x: F.softmax(x, -1), [X], softmax, compact)
    turned = X.transpose(0, 3, 1, 2)
    formula(
        lambda x: F.softmax(x, 1),
        [turned],
        lambda x: softmax(X).transpose(0, 3, 1, 2),
        lambda grad_y, x: compact(grad_y.transpose(0, 2, 3, 1), X).transpose(0, 3, 1, 2),
    )


def test_16_the_gradient_sums_to_zero_and_equal_gradients_vanish():
    for grad_y in (np.random.default_rng(1).normal(size=X.shape), np.ones(X.shape)):
        x = minicnn.tensor(X, requires_grad=True)
        F.softmax(x, -1).backward(minicnn.tensor(grad_y))
        np.testing.assert_allclose(x.grad.array.sum(-1), 0, atol=1e-14)
    np.testing.assert_allclose(x.grad.array, 0, atol=1e-14)


def test_17_and_18_log_softmax(formula):
    def log_softmax(x):
        return x - log(np.einsum("...b->...", exp(x)))[..., None]

    def gradient(grad_y, x):
        return grad_y - exp(log_softmax(x)) * np.einsum("...b->...", grad_y)[..., None]

    formula(lambda x: F.log_softmax(x, -1), [X], log_softmax, gradient)
    # (17)'s derivative, summed over b by hand.
    slope = np.eye(5) - softmax(X)[..., :, None]
    formula(
        lambda x: F.log_softmax(x, -1),
        [X],
        log_softmax,
        lambda grad_y, x: np.einsum("...b,...ab->...a", grad_y, slope),
    )


def test_softmin_is_the_softmax_of_minus_x(formula):
    formula(lambda x: F.softmin(x, -1), [X], lambda x: softmax(-x), None)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    x = minicnn.tensor([0, np.log(3)], dtype=minicnn.float64, requires_grad=True)
    with minicnn.use_backend(backend):
        y = F.softmax(x, 0)
        y.backward(minicnn.tensor([1.0, 0.0], dtype=minicnn.float64))
    np.testing.assert_allclose(y.detach().array, [1 / 4, 3 / 4], rtol=1e-15)
    np.testing.assert_allclose(x.grad.array, [3 / 16, -3 / 16], rtol=1e-14)

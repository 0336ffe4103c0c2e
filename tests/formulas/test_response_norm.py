"""Local response norm, formula by formula, with loops over channels."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F
from minicnn.functional.response_norm import ChannelSums

RNG = np.random.default_rng(0)
ALPHA, BETA, K = 0.7, 0.6, 1.5
SIZES = [1, 2, 3, 4, 5, 8]
each_size = pytest.mark.parametrize("size", SIZES)
C = 5
X = RNG.normal(size=(2, C, 3, 2))


def R(c, size):
    """(1)"""
    return [d for d in range(C) if c - size // 2 <= d <= c + (size - 1) // 2]


def scale(x, size):
    """q: (2)"""
    q = np.empty_like(x)
    for c in range(C):
        q[:, c] = K + ALPHA / size * sum(x[:, d] ** 2 for d in R(c, size))
    return q


def output(size):
    """(3)"""
    return lambda x: x * scale(x, size) ** -BETA


def norm(size):
    return lambda x: F.local_response_norm(x, size, ALPHA, BETA, K)


@each_size
def test_1_and_2_and_3_output(formula, size):
    formula(norm(size), [X], output(size), None)


@each_size
def test_1_the_window_of_an_even_size_has_one_more_before(size):
    middle = R(2, size) if size <= C else range(size)
    assert len(middle) == size
    if size == 4:
        assert R(2, size) == [0, 1, 2, 3]


@each_size
def test_4_every_slope(formula, size):
    def gradient(grad_y, x):
        q, grad_x = scale(x, size), np.zeros_like(x)
        for d in range(C):
            for c in range(C):
                slope = np.zeros_like(x[:, c])
                if c == d:
                    slope += q[:, c] ** -BETA
                if d in R(c, size):
                    power = BETA * q[:, c] ** (-BETA - 1)
                    slope -= x[:, c] * power * 2 * ALPHA / size * x[:, d]
                grad_x[:, d] += grad_y[:, c] * slope
        return grad_x

    formula(norm(size), [X], output(size), gradient)


@each_size
def test_5_and_6_input_gradient(formula, size):
    def looks(c, d):
        """(6)"""
        return d - (size - 1) // 2 <= c <= d + size // 2

    for c, d in np.ndindex(C, C):
        assert looks(c, d) == (d in R(c, size))

    def gradient(grad_y, x):
        q, grad_x = scale(x, size), np.empty_like(x)
        for d in range(C):
            seen = sum(
                grad_y[:, c] * x[:, c] * q[:, c] ** (-BETA - 1) for c in range(C) if looks(c, d)
            )
            grad_x[:, d] = grad_y[:, d] * q[:, d] ** -BETA
            grad_x[:, d] -= 2 * ALPHA * BETA / size * x[:, d] * seen
        return grad_x

    formula(norm(size), [X], output(size), gradient)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (2, 1), (0, 3), (7, 7)])
def test_channel_sums(formula, before, after):
    """y[c] = sum of x[d] over c - before <= d <= c + after, and its adjoint."""

    def sums(x, before, after):
        y = np.zeros_like(x)
        for c, d in np.ndindex(C, C):
            if c - before <= d <= c + after:
                y[:, c] += x[:, d]
        return y

    formula(
        lambda x: ChannelSums.apply(x, before=before, after=after),
        [X],
        lambda x: sums(x, before, after),
        lambda grad_y, x: sums(grad_y, after, before),
    )


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    x = minicnn.tensor([[[1.0], [2.0]]], dtype=minicnn.float64, requires_grad=True)
    with minicnn.use_backend(backend):
        y = F.local_response_norm(x, 2, alpha=2, beta=1, k=1)
        y.backward(minicnn.tensor([[[0.0], [1.0]]], dtype=minicnn.float64))
    np.testing.assert_allclose(y.detach().array.ravel(), [1 / 2, 1 / 3], rtol=1e-15)
    np.testing.assert_allclose(x.grad.array.ravel(), [-1 / 9, -1 / 18], rtol=1e-14)

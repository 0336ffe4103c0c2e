"""The losses that ask for a margin, formula by formula."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F

RNG = np.random.default_rng(0)
N, C = 5, 4
X1, X2, X3 = RNG.normal(size=(3, N, C))
T = np.where(RNG.random((N, C)) < 0.5, 1.0, -1.0)
t = minicnn.tensor(T)


def plus(z):
    """[z]"""
    return np.maximum(z, 0)


def s(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("m", [0.0, 0.5])
def test_1_margin_ranking(formula, m):
    def grad_x1(g, x1, x2):
        return np.where(-T * (x1 - x2) + m > 0, -g * T, 0)

    formula(
        lambda x1, x2: F.margin_ranking_loss(x1, x2, t, m, reduction="none"),
        [X1, X2],
        lambda x1, x2: plus(-T * (x1 - x2) + m),
        grad_x1,
        lambda *args: -grad_x1(*args),
    )


@pytest.mark.parametrize("m", [1.0, 0.3])
def test_2_hinge_embedding(formula, m):
    formula(
        lambda x: F.hinge_embedding_loss(x, t, m, reduction="none"),
        [X1],
        lambda x: np.where(T == 1, x, plus(m - x)),
        lambda g, x: np.where(T == 1, g, np.where(x < m, -g, 0)),
    )


@pytest.mark.parametrize("m", [0.0, 0.3])
def test_3_cosine_embedding(formula, m):
    e = 1e-12
    signs = T[:, 0]

    def norm(x):
        return np.sqrt(np.einsum("nc->n", x**2) + e)

    def cosine(x1, x2):
        return np.einsum("nc,nc->n", x1, x2) / np.sqrt(norm(x1) ** 2 * norm(x2) ** 2)

    def gradient(g, x, other):
        y = cosine(x, other)
        grad_y = np.where(signs == 1, -g, np.where(y > m, g, 0))
        a, b = x / norm(x)[:, None], other / norm(other)[:, None]
        return grad_y[:, None] * (b - y[:, None] * a) / norm(x)[:, None]

    formula(
        lambda x1, x2: F.cosine_embedding_loss(x1, x2, minicnn.tensor(signs), m, reduction="none"),
        [X1, X2],
        lambda x1, x2: np.where(signs == 1, 1 - cosine(x1, x2), plus(cosine(x1, x2) - m)),
        gradient,
        lambda g, x1, x2: gradient(g, x2, x1),
        rtol=1e-11,
    )


def test_4_soft_margin(formula):
    formula(
        lambda x: F.soft_margin_loss(x, t, reduction="none"),
        [X1],
        lambda x: np.log(1 + np.exp(-T * x)),
        lambda g, x: -g * T * s(-T * x),
    )
    np.testing.assert_allclose(np.log(1 + np.exp(-T * X1)), -np.log(s(T * X1)), rtol=1e-13)


def distance(x, y):
    return np.sqrt(np.einsum("nc->n", (x - y + 1e-6) ** 2))


def slope(x, y):
    """The gradient of distance(x, y) for x; for y it is minus that."""
    return (x - y + 1e-6) / distance(x, y)[:, None]


@pytest.mark.parametrize("swap", [False, True])
def test_5_triplet_margin(formula, swap):
    m = 0.5

    def far(a, p, n):
        return np.minimum(distance(a, n), distance(p, n)) if swap else distance(a, n)

    def loss(a, p, n):
        return plus(distance(a, p) - far(a, p, n) + m)

    def grads(g, a, p, n):
        g = (g * (loss(a, p, n) > 0))[:, None]
        grad_a, grad_p, grad_n = g * slope(a, p), -g * slope(a, p), np.zeros_like(n)
        from_a = (distance(a, n) <= far(a, p, n))[:, None]
        grad_a -= g * from_a * slope(a, n)
        grad_n += g * from_a * slope(a, n)
        grad_p -= g * ~from_a * slope(p, n)
        grad_n += g * ~from_a * slope(p, n)
        return grad_a, grad_p, grad_n

    for function in (F.triplet_margin_loss, F.triplet_margin_with_distance_loss):
        formula(
            lambda a, p, n, function=function: function(
                a, p, n, margin=m, swap=swap, reduction="none"
            ),
            [X1, X2, X3],
            loss,
            lambda *args: grads(*args)[0],
            lambda *args: grads(*args)[1],
            lambda *args: grads(*args)[2],
        )


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_6_multi_margin(formula, p, weighted):
    m, labels = 0.7, np.array([0, 3, 1, 1, 2])
    W = RNG.uniform(0.5, 2, C) if weighted else np.ones(C)

    def loss(x):
        y = np.zeros(N)
        for n, c in np.ndindex(N, C):
            if c != labels[n]:
                y[n] += W[labels[n]] * plus(m - x[n, labels[n]] + x[n, c]) ** p / C
        return y

    def gradient(g, x):
        grad_x = np.zeros((N, C))
        for n, c in np.ndindex(N, C):
            k = labels[n]
            z = m - x[n, k] + x[n, c]
            if c != k and z > 0:
                grad_x[n, c] = g[n] * W[k] * p * plus(z) ** (p - 1) / C
        for n in range(N):
            grad_x[n, labels[n]] = -sum(grad_x[n])
        return grad_x

    formula(
        lambda x: F.multi_margin_loss(
            x, minicnn.tensor(labels), p, m, minicnn.tensor(W) if weighted else None,
            reduction="none",
        ),
        [X1],
        loss,
        gradient,
    )  # fmt: skip


def test_7_multilabel_margin(formula):
    listed = np.array([[0, 2, -1, 1], [3, -1, -1, -1], [-1, 0, 1, 2], [0, 1, 2, 3], [1, 0, 3, -1]])
    sets = [[0, 2], [3], [], [0, 1, 2, 3], [1, 0, 3]]

    def loss(x):
        y = np.zeros(N)
        for n, T in enumerate(sets):
            y[n] = sum(plus(1 - x[n, j] + x[n, c]) / C for j in T for c in range(C) if c not in T)
        return y

    def gradient(g, x):
        grad_x = np.zeros((N, C))
        for n, T in enumerate(sets):
            for c in set(range(C)) - set(T):
                grad_x[n, c] = g[n] / C * sum(1 - x[n, j] + x[n, c] > 0 for j in T)
            for j in T:
                others = set(range(C)) - set(T)
                grad_x[n, j] = -g[n] / C * sum(1 - x[n, j] + x[n, c] > 0 for c in others)
        return grad_x

    formula(
        lambda x: F.multilabel_margin_loss(x, minicnn.tensor(listed), reduction="none"),
        [X1],
        loss,
        gradient,
    )


def test_8_multilabel_soft_margin(formula):
    W, there = RNG.uniform(0.5, 2, C), (T + 1) / 2

    def loss(x):
        each = there * np.log(s(x)) + (1 - there) * np.log(s(-x))
        return -np.einsum("c,nc->n", W, each) / C

    formula(
        lambda x: F.multilabel_soft_margin_loss(
            x, minicnn.tensor(there), minicnn.tensor(W), reduction="none"
        ),
        [X1],
        loss,
        lambda g, x: g[:, None] * W * (s(x) - there) / C,
    )


@pytest.mark.parametrize(
    ("p", "loss", "grad_x"), [(1, 1 / 2, [-1 / 3, 1 / 3, 0]), (2, 3 / 4, [-1, 1, 0])]
)
def test_by_hand(p, loss, grad_x):
    x = minicnn.tensor([1.0, 1.5, -1.0], requires_grad=True)
    y = F.multi_margin_loss(x, minicnn.tensor(0), p)
    y.backward()
    np.testing.assert_allclose(y.item(), loss, rtol=1e-6)
    np.testing.assert_allclose(x.grad.tolist(), grad_x, rtol=1e-6)

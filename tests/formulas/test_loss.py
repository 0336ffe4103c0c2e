"""The losses' derivation, formula by formula."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F

RNG = np.random.default_rng(0)
N, C = 5, 3
X, T = RNG.normal(0, 2, (N, C)), np.array([2, 0, 1, 1, 2])
W = RNG.uniform(0.5, 2, C)
IGNORED = 1  # ignore_index: samples 2 and 3
REDUCTIONS = ["none", "sum", "mean"]
LABELS = {
    "plain": {},
    "weighted": {"weight": W},
    "ignored": {"ignore_index": IGNORED},
    "both": {"weight": W, "ignore_index": IGNORED},
}
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
each_kind = pytest.mark.parametrize("kind", LABELS)


def counts(weight=None, ignore_index=-100):
    """v[n] = W[t[n]], or 0 where n is ignored."""
    weight = np.ones(C) if weight is None else weight
    return np.array([0 if t == ignore_index else weight[t] for t in T])


def reduced(loss, reduction, M):
    """(2)"""
    return {"none": loss, "sum": sum(loss), "mean": sum(loss) / M}[reduction]


def reaching(grad_y, reduction, M):
    """g[n]: what reaches loss[n]."""
    return grad_y if reduction == "none" else np.full(N, grad_y / {"sum": 1, "mean": M}[reduction])


def softmax(x):
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


@each_reduction
@each_kind
def test_1_and_2_and_3_negative_log_likelihood(formula, kind, reduction):
    v = counts(**LABELS[kind])
    M = sum(v)  # not the number of samples

    def output(log_p):
        loss = np.array([-v[n] * log_p[n, T[n]] for n in range(N)])  # (1)
        return reduced(loss, reduction, M)

    def gradient(grad_y, log_p):
        g, grad = reaching(grad_y, reduction, M), np.empty((N, C))
        for n, c in np.ndindex(N, C):
            grad[n, c] = -g[n] * v[n] * (c == T[n])  # (3)
        return grad

    options = {**LABELS[kind], "reduction": reduction}
    formula(lambda x: F.nll_loss(x, T, **options), [np.log(softmax(X))], output, gradient)


def targets(kind, s):
    """q and Q of (4)."""
    q, Q = np.empty((N, C)), np.empty((N, C))
    weight = LABELS[kind].get("weight", np.ones(C))
    for n, c in np.ndindex(N, C):
        q[n, c] = (1 - s) * (c == T[n]) + s / C
        Q[n, c] = 0 if T[n] == LABELS[kind].get("ignore_index") else weight[c] * q[n, c]
    return q, Q


@each_reduction
@each_kind
@pytest.mark.parametrize("s", [0.0, 0.3, 1.0])
def test_4_and_5_cross_entropy(formula, kind, s, reduction):
    M = sum(counts(**LABELS[kind]))
    _, Q = targets(kind, s)

    def output(x):
        loss = -np.einsum("nc,nc->n", Q, np.log(softmax(x)))  # (4)
        return reduced(loss, reduction, M)

    def gradient(grad_y, x):
        g = reaching(grad_y, reduction, M)
        share = softmax(x) * np.einsum("nc->n", Q)[:, None] - Q
        return g[:, None] * share  # (5)

    options = {**LABELS[kind], "reduction": reduction, "label_smoothing": s}
    formula(lambda x: F.cross_entropy(x, T, **options), [X], output, gradient)


def test_5_the_step_before_it():
    """d log p[n,c] / d x[n,a] = (a = c) - p[n,a], by central differences."""
    h = 1e-6
    for a in range(C):
        e = h * np.eye(C)[a]
        slope = (np.log(softmax(X + e)) - np.log(softmax(X - e))) / (2 * h)
        wanted = np.eye(C)[a] - softmax(X)[:, a, None]
        np.testing.assert_allclose(slope, wanted, atol=1e-8)


def test_5_for_plain_labels():
    """grad_x = (p - onehot(t)) / N with 'mean'."""
    x = minicnn.tensor(X, requires_grad=True)
    F.cross_entropy(x, T).backward()
    np.testing.assert_allclose(x.grad.array, (softmax(X) - np.eye(C)[T]) / N, atol=1e-15)


@each_reduction
@pytest.mark.parametrize("weight", [None, W])
@pytest.mark.parametrize("s", [0.0, 0.3])
def test_4_with_distributions(formula, weight, s, reduction):
    """q <- (1 - s) * q + s / C, and M = N; the gradient of q is W * (1 - s) * -log p."""
    weights = np.ones(C) if weight is None else weight

    def output(x, q):
        loss = -np.einsum("nc,nc->n", weights * ((1 - s) * q + s / C), np.log(softmax(x)))
        return reduced(loss, reduction, N)

    def grad_x(grad_y, x, q):
        Q = weights * ((1 - s) * q + s / C)
        share = softmax(x) * Q.sum(1, keepdims=True) - Q
        return reaching(grad_y, reduction, N)[:, None] * share

    def grad_q(grad_y, x, q):
        return reaching(grad_y, reduction, N)[:, None] * -weights * (1 - s) * np.log(softmax(x))

    formula(
        lambda x, q: F.cross_entropy(x, q, weight, reduction=reduction, label_smoothing=s),
        [X, RNG.dirichlet(np.ones(C), N)],
        output,
        grad_x,
        grad_q,
    )


def test_3_and_5_with_positions():
    """Further axes are more samples."""
    x, t = RNG.normal(size=(2, C, 2, 3)), RNG.integers(0, C, (2, 2, 3))
    rows, labels = x.transpose(0, 2, 3, 1).reshape(-1, C), t.ravel()
    for loss in (F.nll_loss, F.cross_entropy):
        leaves = [minicnn.tensor(a, requires_grad=True) for a in (x, rows)]
        a, b = loss(leaves[0], t, W), loss(leaves[1], labels, W)
        np.testing.assert_allclose(a.item(), b.item(), rtol=1e-14)
        a.backward()
        b.backward()
        moved = leaves[0].grad.array.transpose(0, 2, 3, 1).reshape(-1, C)
        np.testing.assert_allclose(moved, leaves[1].grad.array, rtol=1e-13)


@each_reduction
@pytest.mark.parametrize(
    ("loss", "value", "slope"),
    [
        (F.mse_loss, lambda d: d**2, lambda d: 2 * d),
        (F.l1_loss, abs, np.sign),
    ],
)
def test_6_and_7_squared_and_absolute_error(formula, loss, value, slope, reduction):
    x, t = RNG.normal(size=(2, 3, 4))
    t[0, 0] = x[0, 0]  # the slope of l1 is 0 there
    count = {"none": 1, "sum": 1, "mean": x.size}[reduction]

    def output(x, t):
        return value(x - t) if reduction == "none" else value(x - t).sum() / count

    def grad_x(grad_y, x, t):
        return grad_y / count * slope(x - t)

    formula(
        lambda x, t: loss(x, t, reduction=reduction),
        [x, t],
        output,
        grad_x,
        lambda *args: -grad_x(*args),
    )


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize(
    ("s", "loss", "grad_x"),
    [
        (0.0, np.log(4), [-3 / 4, 3 / 4]),
        (0.5, np.log(4) - np.log(3) / 4, [-1 / 2, 1 / 2]),
    ],
)
def test_by_hand(s, loss, grad_x, backend):
    x = minicnn.tensor([[0, np.log(3)]], dtype=minicnn.float64, requires_grad=True)
    with minicnn.use_backend(backend):
        y = F.cross_entropy(x, minicnn.tensor([0]), label_smoothing=s)
        y.backward()
    np.testing.assert_allclose(y.item(), loss, rtol=1e-14)
    np.testing.assert_allclose(x.grad.array, [grad_x], rtol=1e-14)

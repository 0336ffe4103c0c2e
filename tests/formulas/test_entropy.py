"""The losses between probabilities, formula by formula."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F

log, exp = np.log, np.exp
RNG = np.random.default_rng(0)
SHAPE = (2, 3, 4)
W = RNG.uniform(0.5, 2, SHAPE)


def s(z):
    return 1 / (1 + exp(-z))


def probabilities():
    return RNG.uniform(0.1, 0.9, SHAPE)


def test_1_and_2_binary_cross_entropy(formula):
    def loss(x, t):
        return -W * (t * log(x) + (1 - t) * log(1 - x))

    def check(grad_x):
        formula(
            lambda x, t: F.binary_cross_entropy(x, t, minicnn.tensor(W), reduction="none"),
            [probabilities(), probabilities()],
            loss,
            grad_x,
            lambda g, x, t: g * W * (log(1 - x) - log(x)),
        )

    check(lambda g, x, t: -g * W * (t / x - (1 - t) / (1 - x)))
    check(lambda g, x, t: g * W * (x - t) / (x * (1 - x)))


def test_3_and_4_with_logits(formula):
    P = RNG.uniform(0.5, 2, 4)

    def loss(z, t, P):
        return -W * (P * t * log(s(z)) + (1 - t) * log(s(-z)))

    formula(
        lambda z, t, P: F.binary_cross_entropy_with_logits(
            z, t, minicnn.tensor(W), reduction="none", pos_weight=P
        ),
        [RNG.normal(0, 2, SHAPE), probabilities(), P],
        loss,
        lambda g, z, t, P: -g * W * (P * t * s(-z) - (1 - t) * s(z)),
        lambda g, z, t, P: -g * W * (P * log(s(z)) - log(s(-z))),
        lambda g, z, t, P: (-g * W * t * log(s(z))).sum((0, 1)),
    )


def test_4_without_pos_weight(formula):
    formula(
        lambda z, t: F.binary_cross_entropy_with_logits(z, t, reduction="none"),
        [RNG.normal(0, 2, SHAPE), probabilities()],
        lambda z, t: -(t * log(s(z)) + (1 - t) * log(s(-z))),
        lambda g, z, t: g * (s(z) - t),
        lambda g, z, t: -g * z,
    )


def test_5_divergence(formula):
    formula(
        lambda x, t: F.kl_div(x, t, reduction="none"),
        [log(probabilities()), probabilities()],
        lambda x, t: t * (log(t) - x),
        lambda g, x, t: -g * t,
        lambda g, x, t: g * (log(t) + 1 - x),
    )


def test_6_divergence_of_logarithms(formula):
    formula(
        lambda x, t: F.kl_div(x, t, reduction="none", log_target=True),
        [log(probabilities()), log(probabilities())],
        lambda x, t: exp(t) * (t - x),
        lambda g, x, t: -g * exp(t),
        lambda g, x, t: g * exp(t) * (t - x + 1),
    )


@pytest.mark.parametrize(("reduction", "count"), [("mean", 24), ("batchmean", 2), ("sum", 1)])
@pytest.mark.filterwarnings("ignore:kl_div")
def test_what_a_mean_divides_by(formula, reduction, count):
    formula(
        lambda x, t: F.kl_div(x, t, reduction=reduction),
        [log(probabilities()), probabilities()],
        lambda x, t: (t * (log(t) - x)).sum() / count,
        lambda g, x, t: -g * t / count,
        None,
    )
    if reduction != "batchmean":
        x, t = probabilities(), probabilities()
        y = F.binary_cross_entropy(x, t, W, reduction=reduction)
        wanted = -(W * (t * log(x) + (1 - t) * log(1 - x))).sum() / count
        np.testing.assert_allclose(y, wanted, rtol=1e-13)


def test_by_hand():
    x = minicnn.tensor([0.25], dtype=minicnn.float64, requires_grad=True)
    y = F.binary_cross_entropy(x, minicnn.ones(1, dtype=minicnn.float64))
    y.backward()
    np.testing.assert_allclose([y.item(), x.grad.item()], [log(4), -4], rtol=1e-14)
    z = minicnn.tensor([-log(3)], dtype=minicnn.float64, requires_grad=True)
    y = F.binary_cross_entropy_with_logits(z, minicnn.ones(1, dtype=minicnn.float64))
    y.backward()
    np.testing.assert_allclose([y.item(), z.grad.item()], [log(4), -3 / 4], rtol=1e-14)
    x = minicnn.tensor([-log(2), -log(2)], dtype=minicnn.float64, requires_grad=True)
    y = F.kl_div(x, minicnn.tensor([1.0, 0.0], dtype=minicnn.float64), reduction="sum")
    y.backward()
    np.testing.assert_allclose(y.item(), log(2), rtol=1e-14)
    assert x.grad.tolist() == [-1, 0]

"""Losses between probabilities: formulas, derivatives, extremes, parity, errors."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.functional.entropy import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    kl_div,
)

bce, logits = binary_cross_entropy, binary_cross_entropy_with_logits
log, exp = np.log, np.exp


def leaf(array):
    return Tensor(np.array(array, float), requires_grad=True)


def probabilities(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape)


def scores(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 2, shape)


def s(z):
    return 1 / (1 + exp(-z))


def check(loss, inputs, value, slopes):
    """The loss, its gradients for random cotangents, and both derivatives by differences."""
    leaves = [leaf(a) for a in inputs]
    y = loss(*leaves)
    g = np.random.default_rng(5).normal(size=y.shape)
    np.testing.assert_allclose(y.detach().array, value, rtol=1e-12)
    y.backward(Tensor(g))
    for x, slope in zip(leaves, slopes, strict=True):
        wanted = g * slope
        while wanted.ndim > x.ndim:
            wanted = wanted.sum(0)
        np.testing.assert_allclose(x.grad.array, wanted, rtol=1e-11)
    assert gradcheck(loss, leaves) and gradgradcheck(loss, leaves)


def test_formulas_1_and_2():
    x, t, W = probabilities(3, 4), probabilities(3, 4, seed=1), probabilities(4)
    check(
        lambda x, t: bce(x, t, W, reduction="none"),
        (x, t),
        -W * (t * log(x) + (1 - t) * log(1 - x)),
        (-W * (t / x - (1 - t) / (1 - x)), W * (log(1 - x) - log(x))),
    )


def test_formulas_3_and_4():
    z, t, W, P = scores(3, 4), probabilities(3, 4), probabilities(3, 1), probabilities(4) + 1
    check(
        lambda z, t, P: logits(z, t, W, reduction="none", pos_weight=P),
        (z, t, P),
        -W * (P * t * log(s(z)) + (1 - t) * log(s(-z))),
        (
            -W * (P * t * s(-z) - (1 - t) * s(z)),
            -W * (P * log(s(z)) - log(s(-z))),
            -W * t * log(s(z)),
        ),
    )
    check(
        lambda z, t: logits(z, t, reduction="none"),
        (z, t),
        bce(s(z), t, reduction="none"),
        (s(z) - t, -z),
    )


def test_formulas_5_and_6():
    x, t = -probabilities(3, 4), probabilities(3, 4, seed=1)
    check(
        lambda x, t: kl_div(x, t, reduction="none"),
        (x, t),
        t * (log(t) - x),
        (-t, log(t) + 1 - x),
    )
    check(
        lambda x, t: kl_div(x, t, reduction="none", log_target=True),
        (x, t),
        exp(t) * (t - x),
        (-exp(t), exp(t) * (t - x + 1)),
    )


def test_the_divergence_of_equals_is_zero():
    p = probabilities(3, 4)
    p /= p.sum(1, keepdims=True)
    assert abs(kl_div(log(p), p, reduction="batchmean")) < 1e-15
    q = p[:, ::-1]
    value = (q * log(q / p)).sum(1).mean()
    np.testing.assert_allclose(kl_div(log(p), q, reduction="batchmean"), value, rtol=1e-12)


def test_probabilities_of_0_and_1_stay_finite(parity):
    x, t = np.array([0, 0, 1, 1, 0.5]), np.array([0, 1, 1, 0, 0.5])
    assert bce(x, t, reduction="none").tolist() == pytest.approx([0, 100, 0, 100, log(2)])
    tx, tt = leaf(x), leaf(t)
    bce(tx, tt).backward()
    assert np.isfinite(tx.grad.array).all() and np.isfinite(tt.grad.array).all()
    # In values: where it stops the divisor, PyTorch's gradient holds 1e-12 rounded to float32.
    parity(lambda lib, x: lib.nn.functional.binary_cross_entropy(x, lib.tensor(t)), x, grads=False)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_of_any_size(dtype):
    z = leaf(0)
    z.array = np.array([1e4, 1e4, -1e4, -1e4, np.finfo(dtype).max], dtype)
    t = np.array([0, 1, 0, 1, 0], dtype)
    y = logits(z, t, reduction="none")
    y.backward(Tensor(np.ones(5, dtype)))
    assert y.tolist() == [1e4, 0, 0, 1e4, np.finfo(dtype).max] and y.dtype == dtype
    assert z.grad.tolist() == [1, 0, 0, -1, 1]


def test_a_target_of_0_adds_nothing_to_the_divergence():
    x, t = leaf([-1.0, -2.0]), np.array([0, 1.0])
    y = kl_div(x, t, reduction="none")
    y.backward(Tensor(np.ones(2)))
    assert y.tolist() == [0, 2] and x.grad.tolist() == [0, -1]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_parity(reduction, weighted, parity):
    x, t, z = probabilities(3, 4), probabilities(3, 4, seed=1), scores(3, 4)
    more = {"reduction": reduction}

    def weights(lib):
        return {"weight": lib.tensor(x[:, :1])} if weighted else {}

    parity(lambda lib, x, t: lib.nn.functional.binary_cross_entropy(x, t, **weights(lib), **more),
           x, t)  # fmt: skip
    parity(lambda lib, z, t: lib.nn.functional.binary_cross_entropy_with_logits(
        z, t, pos_weight=lib.tensor(3 * x[0]) if weighted else None, **weights(lib), **more
    ), z, t)  # fmt: skip


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "batchmean", "mean"])
@pytest.mark.filterwarnings("ignore:kl_div. reduction='mean'")
def test_parity_of_the_divergence(reduction, log_target, parity):
    options = {"reduction": reduction, "log_target": log_target}
    x, t = scores(3, 4), probabilities(4)
    parity(lambda lib, x, t: lib.nn.functional.kl_div(x, t, **options), x, t)


def test_the_mean_of_a_divergence_warns():
    p = probabilities(2, 3)
    with pytest.warns(UserWarning, match="kl_div: reduction='mean' divides by") as caught:
        y = kl_div(log(p), p[::-1])
    assert caught[0].filename == __file__
    np.testing.assert_allclose(y * 3, kl_div(log(p), p[::-1], reduction="batchmean"))


x23 = np.full((2, 3), 0.5)


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (RuntimeError, r"binary_cross_entropy: input expects probabilities, 0 to 1, got 1.5 at "
         r"index \(0, 0\)", lambda: bce(3 * x23, x23)),
        (RuntimeError, "binary_cross_entropy: target expects probabilities, 0 to 1, got nan",
         lambda: bce(x23, x23 * np.nan)),
        (ValueError, r"binary_cross_entropy: target expects input's shape \(2, 3\), got \(3,\)",
         lambda: bce(x23, x23[0])),
        (TypeError, "binary_cross_entropy: target expects input's type float64, got float32",
         lambda: bce(x23, x23.astype("f"))),
        (TypeError, "binary_cross_entropy_with_logits: target expects a floating type, got int64",
         lambda: logits(x23, x23.astype(int))),
        (ValueError, r"with_logits: weight expects a shape that broadcasts to input's \(2, 3\), "
         r"got \(2, 1, 1\)", lambda: logits(x23, x23, np.ones((2, 1, 1)))),
        (ValueError, r"with_logits: pos_weight expects a shape that broadcasts .* got \(2,\)",
         lambda: logits(x23, x23, pos_weight=np.ones(2))),
        (RuntimeError, r"kl_div: expects shapes that broadcast: input \(2, 3\), target \(2,\)",
         lambda: kl_div(x23, x23[:, 0], reduction="sum")),
        (TypeError, "kl_div: target expects a floating type, got int64",
         lambda: kl_div(x23, x23.astype(int), reduction="sum")),
        (ValueError, "kl_div: reduction expects 'none', 'mean', 'sum' or 'batchmean', got 'avg'",
         lambda: kl_div(x23, x23, reduction="avg")),
    ],
)  # fmt: skip
def test_errors(error, text, call):
    with pytest.raises(error, match=text):
        call()


def test_a_weight_of_another_type_leaves_the_loss_its_own(parity):
    x, t, w = probabilities(3, 4), probabilities(3, 4, seed=1), probabilities(4, seed=2)
    for dtype, rtol in (("float32", 1e-6), ("float16", 4e-3)):
        narrow = x.astype(dtype), t.astype(dtype)
        for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits"):
            parity(
                lambda lib, x, t, name=name: getattr(lib.nn.functional, name)(x, t, lib.tensor(w)),
                *narrow,
                rtol=rtol,
            )


def test_types_meet():
    x = minicnn.ones(2, dtype=minicnn.float32) * 0.5
    assert logits(x, x.double()).dtype == np.float64
    assert kl_div(x, x, reduction="sum").dtype == np.float32


def test_a_weight_that_is_no_tensor_is_refused():
    with pytest.raises(TypeError, match=r"binary_cross_entropy: .*list"):
        bce(x23, x23, [1.0])
    with pytest.raises(TypeError, match=r"binary_cross_entropy_with_logits: .*float"):
        logits(x23, x23, pos_weight=2.0)

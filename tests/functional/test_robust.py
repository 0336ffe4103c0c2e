"""Huber's loss and smooth l1: formulas, the kink of the gradient, extremes, parity, errors."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.autograd import GradcheckError, Tensor, gradcheck, gradgradcheck
from minicnn.functional.loss import l1_loss
from minicnn.functional.robust import huber_loss, smooth_l1_loss


def leaf(array):
    return Tensor(np.array(array, float), requires_grad=True)


def pair(seed=0):
    return np.random.default_rng(seed).normal(0, 2, (2, 3, 4))


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_formulas_1_to_3(reduction):
    x, t = pair()
    d, D = x - t, 0.7
    squared = abs(d) <= D
    huber = np.where(squared, d**2 / 2, D * (abs(d) - D / 2))
    slope = np.where(squared, d, D * np.sign(d))
    for loss, value, slope_ in (
        (lambda x, t: huber_loss(x, t, reduction, D), huber, slope),
        (
            lambda x, t: smooth_l1_loss(x, t, reduction=reduction, beta=D),
            np.where(squared, d**2 / (2 * D), abs(d) - D / 2),
            slope / D,
        ),
    ):
        tx, tt = leaf(x), leaf(t)
        y = loss(tx, tt)
        wanted = {"none": value, "sum": value.sum(), "mean": value.mean()}[reduction]
        np.testing.assert_allclose(y.detach().array, wanted, rtol=1e-12)
        y.backward(Tensor(np.ones(y.shape)))
        g = 1 / d.size if reduction == "mean" else 1
        np.testing.assert_allclose(tx.grad.array, g * slope_, rtol=1e-12)
        np.testing.assert_allclose(tt.grad.array, -g * slope_, rtol=1e-12)
        assert gradcheck(loss, (tx, tt)) and gradgradcheck(loss, (tx, tt))


@pytest.mark.parametrize("loss", [huber_loss, smooth_l1_loss])
def test_the_gradient_has_a_kink_and_no_jump(loss):
    x, t = leaf([1.0, -1.0]), np.zeros(2)
    assert gradcheck(lambda x: loss(x, t, reduction="none"), x)
    with pytest.raises(GradcheckError):
        gradgradcheck(lambda x: loss(x, t, reduction="none"), x)
    loss(x, t, reduction="sum").backward()
    assert x.grad.tolist() == [1, -1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_without_warnings(dtype):
    largest = np.finfo(dtype).max
    x = leaf(0)
    x.array = np.array([largest, -largest, np.inf, 0], dtype)
    for loss in (huber_loss, smooth_l1_loss):
        y = loss(x, Tensor(-x.array), reduction="none")
        (grad_x,) = minicnn.autograd.grad(y, x, Tensor(np.ones(4, dtype)))
        assert y.dtype == dtype and y.tolist()[2:] == [np.inf, 0]
        assert grad_x.tolist() == [1, -1, 1, 0]


def test_smooth_l1_without_rounding_is_l1(parity):
    x, t = pair()
    assert np.array_equal(smooth_l1_loss(x, t, beta=0), l1_loss(x, t))
    parity(lambda lib, x, t: lib.nn.functional.smooth_l1_loss(x, t, beta=0), x, t)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_parity(reduction, parity):
    x, t, w = [*pair(), np.abs(pair(1)[0])]
    parity(lambda lib, x, t: lib.nn.functional.huber_loss(x, t, reduction, 1.5), x, t)
    parity(lambda lib, x, t, w: lib.nn.functional.huber_loss(x, t, reduction, 1.5, w), x, t, w)
    parity(
        lambda lib, x, t: lib.nn.functional.smooth_l1_loss(x, t, reduction=reduction, beta=2), x, t
    )


x23 = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("text", "call"),
    [
        (
            "huber_loss: delta expects a positive number, got 0",
            lambda: huber_loss(x23, x23, delta=0),
        ),
        (
            "smooth_l1_loss: beta expects at least 0, got -1",
            lambda: smooth_l1_loss(x23, x23, beta=-1),
        ),
        (
            r"huber_loss: weight expects input's shape \(2, 3\), got \(3,\)",
            lambda: huber_loss(x23, x23, weight=x23[0]),
        ),
        (
            r"huber_loss: expects shapes that broadcast: input \(2, 3\), target \(2,\)",
            lambda: huber_loss(x23, x23[:, 0]),
        ),
        (
            "huber_loss: reduction expects 'none', 'mean' or 'sum', got 'batchmean'",
            lambda: huber_loss(x23, x23, "batchmean"),
        ),
    ],
)
def test_errors(text, call):
    with pytest.raises(ValueError, match=text):
        call()


def test_shapes_that_differ_broadcast_with_a_warning():
    with pytest.warns(UserWarning, match="huber_loss: the shapes differ") as caught:
        huber_loss(x23, x23[0])
    assert caught[0].filename == __file__


def test_a_weight_that_is_no_tensor_is_refused():
    with pytest.raises(TypeError, match=r"huber_loss: .*float"):
        huber_loss(x23, x23, weight=1.0)

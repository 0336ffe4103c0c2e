"""Power-average pooling: derivatives, zeros and negative numbers, shapes, parity, errors."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import functional as F
from minicnn.autograd import Tensor, gradcheck, gradgradcheck

INF = float("inf")


def lp_pool(dims):
    return lambda lib, x, *options: getattr(lib.nn.functional, f"lp_pool{dims}d")(x, *options)


def values(*shape, low=-1.0):
    x = np.random.default_rng(0).uniform(0.3, 2, shape)
    return x * np.where(np.arange(x.size).reshape(shape) % 3 == 0, low, 1)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("p", [1, 2, 4, -2, 2.5, 0.5, INF])
@pytest.mark.slow
def test_derivatives(p, dims, backend):
    size = (5, 4, 3) if backend == "cpu" else (3, 2, 2)
    x = values(2, 1, *size[:dims], low=-1 if isinstance(p, int) else 1)

    def pool(x):
        return lp_pool(dims)(minicnn, x, p, 2, 1, True)

    with minicnn.use_backend(backend):
        assert gradcheck(pool, Tensor(x, requires_grad=True))
        assert gradgradcheck(pool, Tensor(x, requires_grad=True))


def test_a_window_of_zeros_has_no_gradient():
    x = Tensor(np.array([[[0.0, 0, 3, 4]]]), requires_grad=True)
    y = F.lp_pool1d(x, 2, 2)
    y.backward(Tensor(np.array([[[1.0, 10]]])))
    assert y.detach().array.tolist() == [[[0, 5]]]
    np.testing.assert_allclose(x.grad.array, [[[0, 0, 6, 8]]], rtol=1e-14)
    (grad,) = minicnn.autograd.grad(F.lp_pool1d(x, 2, 2).sum(), x, create_graph=True)
    grad.sum().backward()
    assert np.isfinite(x.grad.array).all()


def test_of_float16_the_powers_are_taken_in_float32():
    x = np.array([[[300.0, 400]]], np.float16)
    y = F.lp_pool1d(Tensor(x, requires_grad=True), 2, 2)  # squares are beyond float16
    assert y.dtype == np.float16
    assert y.item() == 500


@pytest.mark.parametrize("p", [1, 2, 3, 0.5, 2.5, -1, -2, INF, -INF])
@pytest.mark.parametrize(
    "x", [[-1.0, -2, 3, 0], [-1.0, -2, -3, 0], [0.0, 0, 0, 0], [np.inf, 1, 0, 2]], ids=str
)
def test_what_pytorch_makes_of_negative_numbers_and_zeros(parity, x, p):
    parity(lp_pool(1), np.array([[x]]), p, 4)
    parity(lp_pool(1), np.array([[x]]), p, 2, 1)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_parity_of_windows_that_hang_over(parity, dims):
    x = values(2, 2, *(5, 4, 6)[:dims])
    for single in (x, x[0]):
        parity(lp_pool(dims), single, 2, 3, 2, True)
        parity(lp_pool(dims), single, 2.0, 2, None, False)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_refused_here_and_in_pytorch(refuses, dims):
    x = np.ones((1, 1, *[4] * dims))
    pool, name = lp_pool(dims), f"^lp_pool{dims}d: "
    refuses(pool, x, "2", 2, match=name + "norm_type expects a number, got '2'")
    refuses(pool, x, 2, 5, match=name + "kernel_size .* more than the padded input")
    refuses(pool, x, 2, 2, 0, match=name + "stride expects positive")
    refuses(pool, x[0, 0], 2, 2, match=name + "x expects")
    with pytest.raises(ValueError, match=name + "norm_type expects a number other than 0"):
        pool(minicnn, x, 0, 2)
    with pytest.raises(TypeError, match=name + "x expects a floating type, got int64"):
        pool(minicnn, x.astype(np.int64), 2, 2)


@pytest.mark.parametrize("number", [np.int64(2), np.float32(2), np.float64(2)])
def test_the_norm_may_be_a_numpy_number(parity, number):
    x = values(2, 2, 5, 4).astype(np.float32)
    parity(lp_pool(2), x, number, 2, rtol=1e-5)
    assert np.array_equal(F.lp_pool2d(x, number, 2), F.lp_pool2d(x, 2, 2))


def test_no_rows():
    x = Tensor(np.zeros((0, 2, 4, 4)), requires_grad=True)
    y = F.lp_pool2d(x, 2, 2)
    y.sum().backward()
    assert y.shape == (0, 2, 2, 2)
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("p", [1, 2, 3])
def test_a_window_whose_sum_is_zero_has_no_gradient(parity, p):
    """Though for p = 1 it is no corner: 0 as in PyTorch."""
    x = Tensor(np.array([[[-3.0, 3, 1, 2]]]) if p % 2 else np.array([[[0.0, 0, 1, 2]]]))
    x.requires_grad_()
    F.lp_pool1d(x, p, 2).sum().backward()
    assert np.array_equal(x.grad.array[0, 0, :2], [0, 0]) and x.grad.array[0, 0, 2:].all()
    parity(lp_pool(1), x.detach().array, p, 2)

"""Each formula of functional/lp_pool.py, evaluated as it stands there, against the code."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import functional as F
from minicnn.autograd import Tensor

INF = float("inf")


@st.composite
def problems(draw):
    """x's shape and the windows; strides shorter than the kernel let them overlap."""
    dims = draw(st.integers(1, 3))
    kernel = tuple([draw(st.integers(1, 3)) for _ in range(dims)])
    options = {
        "kernel_size": kernel if dims > 1 else kernel[0],
        "stride": tuple([draw(st.integers(1, 3)) for _ in kernel]),
        "ceil_mode": draw(st.booleans()),
    }
    return (2, 2, *[k + draw(st.integers(0, 3)) for k in kernel]), options


def windows(shape, out_size, kernel_size, stride, ceil_mode):
    """Every window with its R."""
    kernel = (kernel_size,) if isinstance(kernel_size, int) else kernel_size
    for o in np.ndindex(*out_size):
        rows = [
            [h for h in range(i * S, i * S + K) if h < H]
            for i, K, S, H in zip(o, kernel, stride, shape[2:], strict=True)
        ]
        yield o, list(product(*rows))


def lp_pool(x, p, options):
    return getattr(F, f"lp_pool{x.ndim - 2}d")(x, p, **options)


def random(shape, positive):
    x = np.random.default_rng(0).normal(size=shape)
    return np.abs(x) + 0.1 if positive else x


@given(problems(), st.sampled_from([1, 2, 4, 0.5, 2.5, -1]))
def test_1_2_5_forward_and_backward(problem, p):
    shape, options = problem
    x = Tensor(random(shape, positive=p not in (2, 4)), requires_grad=True)
    y = lp_pool(x, p, options)
    grad_y = np.random.default_rng(1).normal(size=y.shape)
    y.backward(Tensor(grad_y))
    K = prod(np.atleast_1d(options["kernel_size"]).tolist())
    s, sums = np.zeros(y.shape), np.zeros(shape)
    for o, R in windows(shape, y.shape[2:], **options):
        for place in R:
            s[:, :, *o] += K / len(R) * x.array[:, :, *place] ** p
        for place in R:
            power = s[:, :, *o] ** (1 / p - 1)
            sums[:, :, *place] += K / len(R) * power * grad_y[:, :, *o]
    np.testing.assert_allclose(y.detach().array, s ** (1 / p), rtol=1e-12)
    grad_x = x.array ** (p - 1) * sums
    np.testing.assert_allclose(x.grad.array, grad_x, rtol=1e-11, atol=1e-12)


@given(problems())
def test_3_4_the_ends_of_the_scale(problem):
    shape, options = problem
    x = random(shape, positive=False)
    for p, choose in ((INF, max), (-INF, min)):
        leaf = Tensor(x, requires_grad=True)
        y = lp_pool(leaf, p, options)
        grad_y = np.random.default_rng(1).normal(size=y.shape)
        y.backward(Tensor(grad_y))
        wanted, grad_x = np.zeros(y.shape), np.zeros(shape)
        for o, R in windows(shape, y.shape[2:], **options):
            for n, c in np.ndindex(2, 2):
                a = choose(R, key=lambda place, n=n, c=c: abs(x[n, c, *place]))
                wanted[n, c, *o] = abs(x[n, c, *a])
                grad_x[n, c, *a] += np.sign(x[n, c, *a]) * grad_y[n, c, *o]
        assert np.array_equal(y.detach().array, wanted)
        np.testing.assert_allclose(leaf.grad.array, grad_x, rtol=1e-12, atol=1e-14)


def test_between_the_sum_and_the_maximum():
    x = np.array([[[1.0, 2, 4]]])
    ys = [F.lp_pool1d(x, p, 3).item() for p in (1, 2, 8, 64, INF)]
    assert ys[0] == 7
    assert ys == sorted(ys, reverse=True)
    assert ys[-2] == pytest.approx(4, rel=1e-9)
    # s is the largest value's p-th power times a number from 1 to K.
    for p in (1, 2, 8):
        assert 4 <= F.lp_pool1d(x, p, 3).item() <= 4 * 3 ** (1 / p)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    x = Tensor(np.array([[[[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]]]), requires_grad=True)
    with minicnn.use_backend(backend):
        y = F.lp_pool2d(x, 2, 2, 1)
        y.backward(Tensor(np.array([[[[5.0, 10], [15, 20]]]])))
    assert y.detach().array.tolist() == [[[[5, 5], [5, 5]]]]
    wanted = [[[[1, 6, 2], [8, 40, 12], [3, 14, 4]]]]
    np.testing.assert_allclose(x.grad.array, wanted, rtol=1e-14)

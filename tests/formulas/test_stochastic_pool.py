"""Each formula of functional/stochastic_pool.py, evaluated as it stands there, against the code."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import functional as F
from minicnn.autograd import Tensor
from minicnn.backend import PoolGeometry
from minicnn.functional.stochastic_pool import StochasticPool


@st.composite
def problems(draw):
    """Small integers, so that running sums are exact, half of them 0; and the windows."""
    kernel = tuple(draw(st.integers(1, 3)) for _ in "hw")
    options = {
        "kernel_size": kernel,
        "stride": tuple(draw(st.integers(1, 3)) for _ in "hw"),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }
    size = [k + draw(st.integers(0, 3)) for k in kernel]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return np.maximum(rng.integers(-3, 5, (2, 2, *size)), 0).astype(float), options


def windows(x, out_size, kernel_size, stride, padding, ceil_mode):
    """Every window with its R, in reading order."""
    H, W = x.shape[2:]
    (KH, KW), (S, T), (P, Q) = kernel_size, stride, padding
    for i, j in np.ndindex(*out_size):
        rows = [h for h in range(i * S - P, i * S - P + KH) if 0 <= h < H]
        columns = [k for k in range(j * T - Q, j * T - Q + KW) if 0 <= k < W]
        yield (i, j), list(product(rows, columns))


def drawn(x, u, options):
    """y and its positions with given u, and the gradient of a cotangent."""
    leaf = Tensor(x, requires_grad=True)
    geometry = PoolGeometry.of(x.shape, **options)
    y, indices = StochasticPool.apply(leaf, u=u, geometry=geometry)
    grad_y = np.random.default_rng(7).normal(size=y.shape)
    y.backward(Tensor(grad_y))
    return y.detach().array, indices.array, grad_y, leaf.grad.array


def out_size(x, options):
    return PoolGeometry.of(x.shape, **options).out_size


@given(problems())
def test_1_3_4_5_training(problem):
    x, options = problem
    rng = np.random.default_rng(1)
    u = rng.choice([0, 0.25, 0.5, 0.9, 1 - 2**-53], (2, 2, *out_size(x, options)))
    y, indices, grad_y, grad = drawn(x, u, options)
    wanted, grad_x = np.zeros(y.shape), np.zeros(x.shape)
    for o, R in windows(x, y.shape[2:], **options):
        for n, c in np.ndindex(2, 2):
            s = sum(x[n, c, *place] for place in R)
            if s == 0:
                continue
            running = np.cumsum([x[n, c, *place] for place in R])
            a = R[np.flatnonzero(running > u[n, c, *o] * s)[0]]
            wanted[n, c, *o] = x[n, c, *a]
            grad_x[n, c, *a] += grad_y[n, c, *o]
            assert indices[n, c, *o] == a[0] * x.shape[3] + a[1]
    assert np.array_equal(y, wanted)
    np.testing.assert_allclose(grad, grad_x, rtol=1e-12, atol=1e-14)


@given(problems())
def test_2_the_probabilities(problem):
    """u on a grid whose step divides every s: each pixel is drawn in exactly its share of cases."""
    x, options = problem
    x = x[:1, :1]
    size = out_size(x, options)
    y = np.zeros((1, 1, *size))
    for o, R in windows(x, size, **options):
        s = int(sum(x[0, 0, *place] for place in R))
        counts = dict.fromkeys(R, 0)
        for t in range(s):
            u = np.full(y.shape, (t + 0.5) / s)
            _, indices, _, _ = drawn(x, u, options)
            counts[divmod(int(indices[0, 0, *o]), x.shape[3])] += 1
        for place in R:
            assert counts[place] == x[0, 0, *place]  # P * s


@given(problems())
def test_6_7_evaluation(problem):
    x, options = problem
    leaf = Tensor(x, requires_grad=True)
    y = F.stochastic_pool2d(leaf, **options, training=False)
    grad_y = np.random.default_rng(1).normal(size=y.shape)
    y.backward(Tensor(grad_y))
    wanted, grad_x = np.zeros(y.shape), np.zeros(x.shape)
    for o, R in windows(x, y.shape[2:], **options):
        for n, c in np.ndindex(2, 2):
            s = sum(x[n, c, *place] for place in R)
            if s == 0:
                continue
            P = {place: x[n, c, *place] / s for place in R}
            wanted[n, c, *o] = sum(P[place] * x[n, c, *place] for place in R)
            q = sum(x[n, c, *place] ** 2 for place in R)
            assert q / s == pytest.approx(wanted[n, c, *o], rel=1e-12)
            for place in R:
                share = (2 * x[n, c, *place] - wanted[n, c, *o]) / s
                grad_x[n, c, *place] += share * grad_y[n, c, *o]
    np.testing.assert_allclose(y.detach().array, wanted, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(leaf.grad.array, grad_x, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    x = np.array([[[[1.0, 0, 0], [2, 1, 0], [0, 0, 0]]]])
    eight = Tensor(np.full((1, 1, 1, 1), 8.0))
    with minicnn.use_backend(backend):
        leaf = Tensor(x, requires_grad=True)
        u = np.full((1, 1, 1, 1), 0.5)
        y, _ = StochasticPool.apply(leaf, u=u, geometry=PoolGeometry.of(x.shape, 3))
        y.backward(eight)
        assert y.item() == 2
        assert leaf.grad.array.tolist() == [[[[0, 0, 0], [8, 0, 0], [0, 0, 0]]]]
        leaf = Tensor(x, requires_grad=True)
        y = F.stochastic_pool2d(leaf, 3, training=False)
        y.backward(eight)
    assert y.item() == 1.5
    assert leaf.grad.array.tolist() == [[[[1, -3, -3], [5, 1, -3], [-3, -3, -3]]]]

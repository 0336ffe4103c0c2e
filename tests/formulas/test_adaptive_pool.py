"""Each formula of functional/adaptive_pool.py, evaluated as it stands there, against the code."""

from __future__ import annotations

from itertools import pairwise, product
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import functional as F
from minicnn.autograd import Tensor
from minicnn.backend.geometry import adaptive_windows
from minicnn.functional.adaptive_pool import AdaptiveAvgPoolAdjoint


def lines(H, OH):
    """Formula (1) along one axis: the rows of every window."""
    return [range(floor(i * H / OH), ceil((i + 1) * H / OH)) for i in range(OH)]


def windows(size, out_size):
    """Every window and its R."""
    axes = [lines(H, OH) for H, OH in zip(size, out_size, strict=True)]
    for o in np.ndindex(*out_size):
        yield o, list(product(*[axis[i] for axis, i in zip(axes, o, strict=True)]))


sizes = st.integers(1, 3).flatmap(
    lambda dims: st.tuples(*[st.tuples(*[st.integers(1, 5)] * dims)] * 2)
)


def pool(name, size):
    return getattr(F, f"adaptive_{name}_pool{len(size)}d")


def distinct(shape):
    return np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape).astype(float)


def integers(seed, shape):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(float)


def leaf(array):
    return Tensor(np.array(array, float), requires_grad=True)


def test_1_the_windows():
    for H, OH in product(range(1, 12), repeat=2):
        rows = lines(H, OH)
        assert [(w.start, w.stop) for w in rows] == list(adaptive_windows(H, OH))
        assert set().union(*rows) == set(range(H))
        if OH <= H:
            shared = [len(set(a) & set(b)) for a, b in pairwise(rows)]
            assert shared == [int((i + 1) * H % OH != 0) for i in range(OH - 1)]
            assert H % OH or (not any(shared) and {len(w) for w in rows} == {H // OH})


@given(sizes)
def test_2_3_the_average_and_its_gradient(case):
    size, out_size = case
    x = leaf(distinct((2, 2, *size)))
    y = pool("avg", size)(x, out_size)
    grad_y = integers(1, y.shape)
    y.backward(Tensor(grad_y))
    wanted, grad_x = np.zeros(y.shape), np.zeros(x.shape)
    for o, R in windows(size, out_size):
        for place in R:
            wanted[:, :, *o] += x.array[:, :, *place] / len(R)
            grad_x[:, :, *place] += grad_y[:, :, *o] / len(R)
    np.testing.assert_allclose(y.detach().array, wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(x.grad.array, grad_x, rtol=1e-12, atol=1e-12)


@given(sizes)
def test_2_is_the_adjoint_of_3(case):
    size, out_size = case
    x, g = integers(2, (2, 2, *size)), integers(3, (2, 2, *out_size))
    grad_x = AdaptiveAvgPoolAdjoint.apply(g, x_shape=x.shape)
    y = pool("avg", size)(x, out_size)
    np.testing.assert_allclose((y * g).sum(), (x * grad_x).sum(), rtol=1e-12, atol=1e-12)


@given(sizes)
def test_4_5_the_maximum_and_its_gradient(case):
    size, out_size = case
    x = leaf(distinct((2, 2, *size)))
    y, indices = pool("max", size)(x, out_size, return_indices=True)
    grad_y = integers(1, y.shape)
    y.backward(Tensor(grad_y))
    wanted, grad_x = np.zeros(y.shape), np.zeros(x.shape)
    for o, R in windows(size, out_size):
        for n, c in np.ndindex(2, 2):
            a = max(R, key=lambda place, n=n, c=c: x.array[n, c, *place])
            wanted[n, c, *o] = x.array[n, c, *a]
            grad_x[n, c, *a] += grad_y[n, c, *o]
            assert indices.array[n, c, *o] == np.ravel_multi_index(a, size)
    assert np.array_equal(y.detach().array, wanted)
    assert np.array_equal(x.grad.array, grad_x)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    g = Tensor(np.array([[[[1.0, 2], [3, 4]]]]))
    with minicnn.use_backend(backend):
        x = leaf([[[[1, 2, 3], [4, 9, 6], [7, 8, 5]]]])
        y = F.adaptive_avg_pool2d(x, 2)
        y.backward(g)
        assert (y.detach().array * 4).tolist() == [[[[16, 20], [28, 28]]]]
        assert (x.grad.array * 4).tolist() == [[[[1, 3, 2], [4, 10, 6], [3, 7, 4]]]]
        x = leaf([[[[1, 2, 3], [4, 9, 6], [7, 8, 5]]]])
        y = F.adaptive_max_pool2d(x, 2)
        y.backward(g)
        assert y.detach().array.tolist() == [[[[9, 9], [9, 9]]]]
        assert x.grad.array.tolist() == [[[[0, 0, 0], [0, 10, 0], [0, 0, 0]]]]
        y = F.adaptive_avg_pool2d(x.detach(), (2, 1))
        np.testing.assert_allclose(y.array * 6, [[[[25], [39]]]], rtol=1e-15)

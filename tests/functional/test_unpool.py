"""Unpooling: derivatives, places named twice, round trips, parity, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import functional as F
from minicnn.autograd import Tensor, gradcheck, gradgradcheck


def unpool(dims):
    return lambda lib, x, *options, **named: getattr(lib.nn.functional, f"max_unpool{dims}d")(
        x, *options, **named
    )


def pooled(dims, K=2, S=None, P=0):
    x = np.random.default_rng(0).normal(size=(2, 2, *(6, 5, 7)[:dims]))
    return x, *getattr(F, f"max_pool{dims}d")(x, K, S, P, return_indices=True)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_derivatives_where_places_are_named_twice(dims, backend):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 1, *(3, 2, 3)[:dims]))
    indices = rng.integers(0, 3, x.shape)

    def fn(x):
        return unpool(dims)(minicnn, x, indices, 2, 1)

    with minicnn.use_backend(backend):
        assert gradcheck(fn, Tensor(x, requires_grad=True))
        assert gradgradcheck(fn, Tensor(x, requires_grad=True))
        assert gradgradcheck(lambda x: fn(x * x), Tensor(x, requires_grad=True))


def test_the_last_value_stays_and_gets_the_gradient():
    x = Tensor(np.array([[[1.0, 2, 3, np.nan]]]), requires_grad=True)
    y = F.max_unpool1d(x, np.array([[[0, 5, 5, 7]]]), 2)
    y.backward(Tensor(np.arange(8.0).reshape(1, 1, 8)))
    np.testing.assert_array_equal(y.detach().array, [[[1, 0, 0, 0, 0, 3, 0, np.nan]]])
    assert x.grad.array.tolist() == [[[0, 0, 5, 7]]]
    # One that is written over leaves no trace, whatever it was.
    y = F.max_unpool1d(np.array([[[np.nan, np.inf, 3]]]), np.array([[[1, 1, 1]]]), 1)
    assert y.tolist() == [[[0, 3, 0]]]


@pytest.mark.parametrize("dims", [1, 2, 3])
@given(st.sampled_from([(2, 2, 0), (3, 3, 1), (2, 3, 0), (3, 2, 1)]))
def test_there_and_back(dims, options):
    """Pooling what was unpooled gives the maxima again: the zeros do not beat positive numbers."""
    x, y, indices = pooled(dims, *options)
    shape = x.shape
    x, y = np.exp(x), np.exp(y)
    z = unpool(dims)(minicnn, y, indices, *options, output_size=shape)
    assert z.shape == shape
    assert np.isin(z, [0.0, *y.ravel()]).all() and np.array_equal(z[z != 0], x[z != 0])
    again = getattr(F, f"max_pool{dims}d")(z, *options)
    assert np.array_equal(again, y)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_parity(parity, dims):
    for K, S, P in [(2, None, 0), (3, 3, 1), (2, 3, 0)]:
        x, y, indices = pooled(dims, K, S, P)
        for dtype in (np.float64, np.float32):
            small = y.astype(dtype)
            parity(unpool(dims), small, indices, K, S, P, x.shape)
            parity(unpool(dims), small, indices, K, S, P, list(x.shape[2:]))
            parity(unpool(dims), small[0], indices[0], K, S, P, x.shape[2:])
    x, y, indices = pooled(dims)
    fits = unpool(dims)(minicnn, y, indices * 0, 2).shape[2:]
    few = np.arange(y[0, 0].size).reshape(y.shape[2:]) % np.prod(fits)
    parity(unpool(dims), y, np.broadcast_to(few, y.shape).copy(), 2)
    # After overlapping windows a place is named by equal values: only gradients differ.
    x, y, indices = pooled(dims, 3, 1, 1)
    parity(unpool(dims), y, indices, 3, 1, 1, grads=False)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_refused_here_and_in_pytorch(refuses, dims):
    x, y, indices = pooled(dims)
    name = f"^max_unpool{dims}d: "
    plane = int(np.prod([n // 2 * 2 for n in x.shape[2:]]))
    for wrong in (plane, -1):
        bad = indices * 0
        bad[1, 1, ..., -1] = wrong
        match = name + rf"indices expects 0 to {plane - 1} in an output of .*, got {wrong};"
        refuses(unpool(dims), y, bad, 2, match=match)
    refuses(unpool(dims), y, indices.astype(np.int32), 2, match=name + "indices expects int64")
    refuses(unpool(dims), y, indices[:1], 2, match=name + "indices expects the shape of x")
    one = (0,) * dims
    refuses(unpool(dims), y[0][one], indices[0][one], 2, match=name + "x expects")
    size = [2 * n for n in y.shape[2:]]
    for change in (2, -2):
        wrong = (*size[:-1], size[-1] + change)
        refuses(unpool(dims), y, indices, 2, None, 0, wrong, match=name + "output_size expects")
    refuses(unpool(dims), y, indices, 2, None, 0, (*size, 1), match=name + "output_size expects")
    refuses(unpool(dims), y.astype(int), indices, 2, match=name + "x expects a floating type")
    with pytest.raises(TypeError, match=name + "indices expects int64, got list"):
        unpool(dims)(minicnn, y, indices.tolist(), 2)
    for option, value in (("kernel_size", 0), ("stride", 0), ("padding", -1)):
        options = {"kernel_size": 2, option: value}
        with pytest.raises(ValueError, match=f"{option} expects"):
            unpool(dims)(minicnn, y, indices, **options)


def test_no_rows():
    x = Tensor(np.zeros((0, 2, 2, 3)), requires_grad=True)
    y = F.max_unpool2d(x, np.zeros((0, 2, 2, 3), np.int64), 2)
    y.sum().backward()
    assert y.shape == (0, 2, 4, 6)
    assert x.grad.shape == x.shape


def test_places_that_change_before_backward_are_noticed():
    indices = minicnn.tensor([[[0, 2]]])
    x = minicnn.tensor([[[1.0, 2]]], requires_grad=True)
    y = F.max_unpool1d(x, indices, 2)
    indices.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()

"""local_response_norm: the derivation against the code, derivatives, types, parity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.functional import local_response_norm
from minicnn.functional.response_norm import ChannelSums

few = settings(max_examples=15)
sizes = st.integers(1, 8)  # of windows: wider than all channels too
shapes = st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 3)).flatmap(
    lambda shape: st.sampled_from([shape, (*shape, 2), (*shape, 2, 1)])
)


def leaf(array):
    return Tensor(np.array(array), requires_grad=True)


def values(*shapes, seed=0):
    r = np.random.default_rng(seed)
    return [r.normal(size=shape) for shape in shapes]


def result(grad_y, x, *args, **options):
    """y and grad_x."""
    x = x if isinstance(x, Tensor) else leaf(x)
    y = local_response_norm(x, *args, **options)
    y.backward(Tensor(np.array(grad_y)))
    return y.detach().array, x.grad.array


def window(c, size, C):
    """R(c): formula (1)."""
    return [d for d in range(c - size // 2, c + (size - 1) // 2 + 1) if 0 <= d < C]


@few
@given(shapes, sizes)
def test_formulas(shape, size):
    C, alpha, beta, k = shape[1], 0.7, 0.6, 1.5
    x, grad_y = values(shape, shape)
    y, grad_x = result(grad_y, x, size, alpha, beta, k)
    q = np.empty(shape)
    for c in range(C):
        looked_at = sum(x[:, d] ** 2 for d in window(c, size, C))
        q[:, c] = k + alpha / size * looked_at  # (2)
    np.testing.assert_allclose(y, x * q**-beta, rtol=1e-12)  # (3)
    by_4, by_5 = np.zeros(shape), grad_y * q**-beta
    for d in range(C):
        for c in range(C):
            looks = d in window(c, size, C)
            assert looks == (d - (size - 1) // 2 <= c <= d + size // 2)  # (6)
            slope = (c == d) * q[:, c] ** -beta  # (4)
            if looks:
                power = q[:, c] ** (-beta - 1)
                slope = slope - x[:, c] * beta * power * 2 * alpha / size * x[:, d]
                by_5[:, d] -= 2 * alpha * beta / size * x[:, d] * grad_y[:, c] * x[:, c] * power
            by_4[:, d] += grad_y[:, c] * slope
    np.testing.assert_allclose(grad_x, by_4, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(grad_x, by_5, rtol=1e-10, atol=1e-12)


@few
@given(shapes, st.integers(0, 7), st.integers(0, 7))
def test_the_sums_and_their_adjoint(shape, before, after):
    x, g = [np.round(4 * a) for a in values(shape, shape)]
    y = ChannelSums.apply(x, before=before, after=after)
    for c in range(shape[1]):
        assert np.array_equal(y[:, c], x[:, max(0, c - before) : c + after + 1].sum(1))
    assert (y * g).sum() == (x * ChannelSums.apply(g, before=after, after=before)).sum()


@few
@given(shapes, sizes, st.sampled_from([0.5, 0.75, 2.0]), st.integers(0, 99))
def test_derivatives(shape, size, beta, seed):
    x = leaf(values(shape, seed=seed)[0])
    assert gradcheck(lambda x: local_response_norm(x, size, 1.0, beta, 2.0), x, directions=1)
    assert gradgradcheck(lambda x: local_response_norm(x, size, 1.0, beta, 2.0), x, directions=1)


def test_memory_order_does_not_matter():
    x, grad_y = values((2, 5, 3, 4), (2, 5, 3, 4))
    wanted = result(grad_y, x, 4, 0.5)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for array in (last, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        before = array.copy()
        got = result(grad_y, Tensor(array, requires_grad=True), 4, 0.5)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)
        assert np.array_equal(array, before)


def test_float16_is_computed_in_float32():
    x = (300 * values((2, 5, 3))[0]).astype(np.float16)  # squares beyond float16
    y, grad_x = result(np.ones(x.shape, np.float16), x, 5)
    assert y.dtype == grad_x.dtype == np.float16
    wanted = local_response_norm(x.astype(float), 5)
    np.testing.assert_allclose(y.astype(float), wanted, rtol=1e-3, atol=1e-7)


def test_nothing_over_nothing_is_nan():
    """k = 0 and channels of 0, as in PyTorch; and no warning."""
    y, grad_x = result(np.ones((1, 3, 1)), np.array([[[0.0], [0], [2]]]), 1, k=0.0)
    assert np.isnan(y[0, :2]).all() and np.isfinite(y[0, 2]).all()
    assert np.isnan(grad_x[0, :2]).all() and np.isfinite(grad_x[0, 2]).all()


def test_empty_batches_and_images():
    for shape in ((0, 3, 2, 2), (2, 3, 0), (2, 0, 3)):
        y, grad_x = result(np.zeros(shape), np.zeros(shape), 5)
        assert y.shape == grad_x.shape == shape


@pytest.mark.parametrize(
    ("error", "text", "args"),
    [
        (ValueError, r"x expects .* at least 3 axes, got \(2, 3\)", (np.ones((2, 3)), 5)),
        (ValueError, "size expects a positive integer, got 0", (np.ones((2, 3, 4)), 0)),
        (TypeError, "size expects an integer, got 2.5", (np.ones((2, 3, 4)), 2.5)),
        (TypeError, "x expects a floating type, got int64", (np.ones((2, 3, 4), np.int64), 5)),
    ],
)
def test_errors(error, text, args):
    with pytest.raises(error, match="local_response_norm: " + text):
        local_response_norm(*args)


@few
@given(shapes, sizes, st.integers(0, 99))
def test_parity(parity, shape, size, seed):
    def both(lib, x):
        norm = lib.nn.functional.local_response_norm
        return norm(x, size), norm(x, size, 0.8, 0.5, 2.0)

    (x,) = values(shape, seed=seed)
    parity(both, x, rtol=1e-10)
    parity(both, x.astype("float32"), rtol=1e-5)

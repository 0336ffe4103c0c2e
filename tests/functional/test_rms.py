"""rms_norm: the derivation against the code, derivatives, types, parity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.functional import layer_norm, rms_norm

few = settings(max_examples=15)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def leaf(array):
    return Tensor(np.array(array), requires_grad=True)


def values(*shapes, seed=0):
    r = np.random.default_rng(seed)
    return [r.normal(1, 2, shape) for shape in shapes]


def gradients(fn, grad_y, *arrays):
    """y, and the gradients of all inputs."""
    leaves = [leaf(a) for a in arrays]
    y = fn(*leaves)
    y.backward(Tensor(np.array(grad_y)))
    return [y.detach().array, *(t.grad.array for t in leaves)]


def agree(results, wanted):
    for a, b in zip(results, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@few
@given(shapes, st.data())
def test_formulas(shape, data):
    trailing = shape[-data.draw(st.integers(1, len(shape))) :]
    C = int(np.prod(trailing))
    x, grad_y, w = values(shape, shape, trailing)
    X, gy, W = x.reshape(-1, C), grad_y.reshape(-1, C), w.ravel()
    q = (X**2).sum(1, keepdims=True) / C + 0.01  # (1)
    r = 1 / np.sqrt(q)  # (2)
    x_hat = X * r  # (3)
    grad_w = (gy * x_hat).sum(0)  # (5)
    g = W * gy  # (6)
    jacobian = [r[n] * (np.eye(C) - np.outer(x_hat[n], x_hat[n]) / C) for n in range(len(X))]  # (7)
    grad_x = r * (g - x_hat * (g * x_hat).sum(1, keepdims=True) / C)  # (8)
    np.testing.assert_allclose(np.einsum("nc,ncd->nd", g, jacobian), grad_x, atol=1e-11)
    wanted = (W * x_hat).reshape(shape), grad_x.reshape(shape), grad_w.reshape(trailing)  # (4)
    agree(gradients(lambda x, w: rms_norm(x, trailing, w, 0.01), grad_y, x, w), wanted)


def test_it_is_layer_norm_where_the_mean_is_zero():
    x = values((3, 4, 5))[0]
    x -= x.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(rms_norm(x, (4, 5), eps=0.1), layer_norm(x, (4, 5), eps=0.1))


@few
@given(shapes, st.booleans(), st.integers(0, 99), st.data())
def test_derivatives(shape, weighted, seed, data):
    trailing = shape[-data.draw(st.integers(1, len(shape))) :]
    inputs = [leaf(a) for a in values(shape, trailing, seed=seed)]
    inputs = inputs if weighted else inputs[:1]
    assert gradcheck(lambda x, *w: rms_norm(x, trailing, *w, eps=0.1), inputs, directions=1)
    assert gradgradcheck(lambda x, *w: rms_norm(x, trailing, *w, eps=0.1), inputs, directions=1)


def test_memory_order_does_not_matter():
    x, w = values((3, 4, 5), 5)
    wanted = gradients(lambda x, w: rms_norm(x, (5,), w), x, x, w)
    for array in (np.asfortranarray(x), np.repeat(x, 2, axis=2)[..., ::2]):
        tx, tw = Tensor(array, requires_grad=True), leaf(w)
        y = rms_norm(tx, (5,), tw)
        y.backward(Tensor(x))
        agree([y.detach().array, tx.grad.array, tw.grad.array], wanted)


@pytest.mark.parametrize("weights", [np.float16, np.float32])
def test_float16_is_computed_in_float32(weights):
    x, w = values((2, 300), 300)
    x, w = (200 * x).astype(np.float16), w.astype(weights)  # squares beyond float16
    y, *grads = gradients(lambda x, w: rms_norm(x, (300,), w), np.ones(x.shape, np.float16), x, w)
    assert [y.dtype, *(g.dtype for g in grads)] == [np.float16, np.float16, weights]
    wanted = rms_norm(x.astype(float), (300,), w.astype(float))
    np.testing.assert_allclose(y.astype(float), wanted, rtol=1e-3, atol=1e-7)


def test_eps_none_is_that_of_the_type_computed_in():
    for dtype, like in (("float64", "float64"), ("float32", "float32"), ("float16", "float32")):
        x = np.full((1, 4), 1e-3, dtype)
        wanted = x.astype(float) / np.sqrt(x.astype(float) ** 2 + np.finfo(like).eps)
        rtol = 1e-3 if dtype == "float16" else 1e-6
        np.testing.assert_allclose(rms_norm(x, (4,)).astype(float), wanted, rtol=rtol)


def test_empty_batches_and_sets():
    for shape, trailing in (((0, 3), (3,)), ((3, 0), (0,)), ((2, 0, 3), (3,))):
        x = np.zeros(shape)
        results = gradients(lambda x, w, t=trailing: rms_norm(x, t, w), x, x, np.ones(trailing))
        assert [r.shape for r in results] == [shape, shape, trailing]
        assert not results[2].any()


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (
            ValueError,
            r"normalized_shape expects the last axes of x \(2, 3\), got \(2,\)",
            lambda x: rms_norm(x, (2,)),
        ),
        (ValueError, "normalized_shape .* at least one axis", lambda x: rms_norm(x, ())),
        (TypeError, "normalized_shape expects a tuple .* got 3", lambda x: rms_norm(x, 3)),
        (
            ValueError,
            r"weight expects normalized_shape \(3,\), got \(2,\)",
            lambda x: rms_norm(x, (3,), np.ones(2)),
        ),
        (
            TypeError,
            "weight expects x's type float64, got float32",
            lambda x: rms_norm(x, (3,), np.ones(3, np.float32)),
        ),
        (TypeError, "x expects a floating type", lambda x: rms_norm(x.astype(int), (3,))),
    ],
)
def test_errors(error, text, call):
    with pytest.raises(error, match="rms_norm: " + text):
        call(np.ones((2, 3)))


@few
@given(shapes, st.integers(0, 99), st.data())
def test_parity(parity, shape, seed, data):
    trailing = shape[-data.draw(st.integers(1, len(shape))) :]
    parity(
        lambda lib, x, w: lib.nn.functional.rms_norm(x, trailing, w, 1e-2),
        *values(shape, trailing, seed=seed),
    )


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-5)])
def test_parity_of_the_defaults(parity, dtype, rtol):
    x, w = [a.astype(dtype) for a in values((5, 4, 30), (4, 30))]
    parity(lambda lib, x, w: lib.nn.functional.rms_norm(x, (4, 30), w), x, w, rtol=rtol)
    parity(lambda lib, x: lib.nn.functional.rms_norm(x, (30,)), 1e-4 * x, rtol=rtol)

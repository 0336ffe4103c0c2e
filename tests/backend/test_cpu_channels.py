"""Batch norm and ReLU of the CPU, cut into small blocks: beside the reference, in any memory order,
on any number of threads, fused and not."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import minicnn
from minicnn.backend import cpu, reference
from minicnn.backend.cpu import channels, elementwise

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
given = hypothesis.given

ORDERS = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 2, 3, 1), "CHWN": (1, 2, 3, 0), "other": (2, 0, 3, 1)}
TOLERANCE = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-12}
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(list(TOLERANCE))
orders = st.sampled_from(list(ORDERS))
shapes = st.tuples(st.integers(0, 6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 4))
# Entries of: a block, a short run, one short for products, a row, what is summed at once.
cuts = st.tuples(*[st.sampled_from(sizes) for sizes in ([7, 60, 4096], [1, 6], [1, 4], [8], [3])])


def laid_out(x, order):
    axes = ORDERS[order]
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


@contextlib.contextmanager
def cut(block, short, short_product, row, summed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channels, "BLOCK", block)
        patch.setattr(channels, "_SHORT", short)
        patch.setattr(channels, "_SHORT_PRODUCT", short_product)
        patch.setattr(channels, "_ROW", row)
        patch.setattr(channels, "_SUMMED", summed)
        patch.setattr(elementwise, "SMALL", 1)
        patch.setattr(elementwise, "PIECE", block)
        yield


@contextlib.contextmanager
def on_threads(number):
    before = minicnn.get_num_threads()
    minicnn.set_num_threads(number)
    try:
        yield
    finally:
        minicnn.set_num_threads(before)


def close(results, wanted, dtype, scale=1.0):
    for found, want in zip(results, wanted, strict=True):
        assert found.dtype == want.dtype and found.shape == want.shape
        np.testing.assert_allclose(
            found.astype(float),
            want.astype(float),
            rtol=TOLERANCE[dtype],
            atol=scale * TOLERANCE[dtype],
        )


def random(seed, shape, dtype, offset=0.0):
    """x and a gradient; half of the channels are `offset` deviations away from zero."""
    rng = np.random.default_rng(seed)
    x, grad_y = rng.standard_normal((2, *shape))
    x[:, ::2] += offset
    affine = [rng.standard_normal(shape[1]).astype(dtype) for _ in range(2)]
    return x.astype(dtype), grad_y.astype(dtype), *affine


@given(shapes, dtypes, orders, orders, cuts, st.sampled_from([0, 1, 3, 60]), st.booleans(), seeds)
def test_batch_norm_is_the_references(shape, dtype, order, order_g, sizes, offset, relu, seed):
    x, grad_y, w, b = random(seed, shape, dtype, offset)
    wanted = reference.batch_norm_forward(x, w, b, 0.1, relu)
    wide = wanted[2].astype(float)
    mean, inv_std = wanted[1], ((wide + 0.1) ** -0.5).astype(wanted[2].dtype)
    y = wanted[0] if relu else None
    with cut(*sizes):
        found = cpu.batch_norm_forward(laid_out(x, order), w, b, 0.1, relu)
        close(found, wanted, dtype, 1 + offset)
        given_y = None if y is None else laid_out(y, order_g)
        arrays = laid_out(grad_y, order_g), laid_out(x, order)
        found = cpu.batch_norm_backward(*arrays, w, mean, inv_std, given_y)
    wanted = reference.batch_norm_backward(grad_y, x, w, mean, inv_std, y)
    close(found, wanted, dtype, (4 + offset) * (1 + x.size // shape[1]) ** 0.5)


@given(shapes, dtypes, orders, cuts, st.sampled_from([0, 60]), seeds)
def test_inference_is_the_references(shape, dtype, order, sizes, offset, seed):
    x, _, w, b = random(seed, shape, dtype, offset)
    mean, var = [np.linspace(*ends, shape[1]).astype(dtype) for ends in ((offset, 0), (0.5, 2))]
    wanted = reference.batch_norm_inference(x, w, b, mean, var, 0.1)
    with cut(*sizes):
        found = cpu.batch_norm_inference(laid_out(x, order), w, b, mean, var, 0.1)
    close([found], [wanted], dtype, 1 + abs(wanted.astype(float)).max(initial=0))


@given(shapes, dtypes, orders, orders, cuts, st.sampled_from([0, 60]), seeds)
def test_with_relu_it_is_the_two_of_them_to_the_bit(
    shape, dtype, order, order_g, sizes, offset, seed
):
    x, grad_z, w, b = random(seed, shape, dtype, offset)
    x, grad_z = laid_out(x, order), laid_out(grad_z, order_g)
    with cut(*sizes):
        y, mean, var = cpu.batch_norm_forward(x, w, b, 0.1)
        z, *statistics = cpu.batch_norm_forward(x, w, b, 0.1, True)
        for found, wanted in zip((z, *statistics), (cpu.relu_forward(y), mean, var), strict=True):
            assert np.array_equal(found, wanted) and found.dtype == wanted.dtype
        inv_std = ((var + 0.1) ** -0.5).astype(var.dtype)
        one = cpu.batch_norm_backward(grad_z, x, w, mean, inv_std, z)
        two = cpu.batch_norm_backward(cpu.relu_backward(grad_z, z), x, w, mean, inv_std)
    assert all(np.array_equal(p, q) for p, q in zip(one, two, strict=True))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("offset", [0, 60])
@pytest.mark.parametrize("shape", [(8, 6, 16, 16), (32, 40, 3, 3)])
def test_the_same_bits_on_any_number_of_threads(order, offset, shape):
    x, grad_y, w, b = random(0, shape, "float32", offset)
    x, grad_y = laid_out(x, order), laid_out(grad_y, order)
    found = []
    for number in (1, 2, 3):
        with on_threads(number), cut(2048, 64, 32, 256, 100):
            y, mean, var = cpu.batch_norm_forward(x, w, b, 1e-5, True)
            grads = cpu.batch_norm_backward(grad_y, x, w, mean, (var + 1e-5) ** -0.5, y)
            found.append([y, mean, var, *grads, cpu.relu_forward(x), cpu.relu_backward(grad_y, y)])
    for others in found[1:]:
        assert all(np.array_equal(p, q) for p, q in zip(found[0], others, strict=True))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("offset", [0.0, 1.9, 2.1, 1e3, 1e5])
def test_large_means_take_no_digits(order, offset):
    """However large the mean: within 2e-6 of what float64 makes of the same float32 numbers."""
    x, grad_y, *_ = random(1, (32, 5, 9, 8), "float32", offset)
    wide = x.astype(float)
    mean, var = wide.mean(axis=(0, 2, 3)), wide.var(axis=(0, 2, 3))
    y, mu, v = cpu.batch_norm_forward(laid_out(x, order), None, None, 1e-5)
    wanted = (wide - mean[:, None, None]) / np.sqrt(var + 1e-5)[:, None, None]
    np.testing.assert_allclose(y, wanted, atol=2e-6)
    np.testing.assert_allclose(mu, mean, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(v, var, rtol=1e-6)
    inv_std = ((v.astype(float) + 1e-5) ** -0.5).astype(np.float32)
    wide = [a.astype(float) for a in (grad_y, x)]
    wanted = reference.batch_norm_backward(*wide, None, mu.astype(float), inv_std.astype(float))
    found = cpu.batch_norm_backward(grad_y, laid_out(x, order), None, mu, inv_std)
    np.testing.assert_allclose(found[0], wanted[0], atol=2e-6)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-5, atol=1e-3)


def test_what_is_not_finite_is_not_spread_to_other_channels():
    x, grad_y, w, b = random(2, (4, 3, 5, 5), "float32")
    wanted = cpu.batch_norm_forward(x, w, b, 1e-5)[0]
    x[0, 1, 2, 2], x[0, 2] = np.inf, 1e30
    y, mean, var = cpu.batch_norm_forward(x, w, b, 1e-5)
    np.testing.assert_allclose(y[:, 0], wanted[:, 0], atol=2e-6)
    assert np.isnan(y[:, 1]).all() and np.isposinf(mean[1]) and np.isnan(var[1])
    assert np.isposinf(var[2]) and np.allclose(y[:, 2], b[2])
    grad_x = cpu.batch_norm_backward(grad_y, x, w, mean, (var + 1e-5) ** -0.5)[0]
    assert np.isfinite(grad_x[:, 0]).all()


@given(shapes, dtypes, orders, orders, st.sampled_from([1, 7, 1000]), seeds)
def test_relu_is_the_references(shape, dtype, order, order_g, piece, seed):
    x, grad_y, *_ = random(seed, shape, dtype)
    x.ravel()[::7], x.ravel()[1::7], x.ravel()[2::7] = np.nan, -0.0, np.inf
    y = reference.relu_forward(x)
    with cut(piece, 1, 1, 8, 3):
        found = cpu.relu_forward(laid_out(x, order))
        grad_x = cpu.relu_backward(laid_out(grad_y, order_g), laid_out(y, order))
        over = laid_out(x, order)
        assert cpu.relu_forward(over, True) is over
    for result in (found, over):
        assert np.array_equal(result, y, equal_nan=True) and result.dtype == dtype
        assert np.array_equal(np.signbit(result), np.signbit(y))
    assert np.array_equal(grad_x, reference.relu_backward(grad_y, y)) and grad_x.dtype == dtype


@pytest.mark.parametrize("order", ORDERS)
def test_large_arrays_keep_their_memory_order(order):
    shape = (8, 16, 64, 65)
    x, grad_y = np.random.default_rng(3).standard_normal((2, *shape)).astype(np.float32)
    ours, g = laid_out(x, order), laid_out(grad_y, "NCHW")
    y = cpu.relu_forward(ours)
    assert np.array_equal(y, np.maximum(x, 0)) and y.strides == ours.strides
    grad_x = cpu.relu_backward(g, y)
    assert np.array_equal(grad_x, grad_y * (x > 0)) and grad_x.strides == y.strides
    gaps = np.zeros((8, 16, 64, 130), np.float32)[..., ::2]
    gaps[...] = x
    assert np.array_equal(cpu.relu_forward(gaps, True), y) and (gaps >= 0).all()
    steps = (x * 100).astype(np.int16)
    assert np.array_equal(cpu.relu_forward(steps), np.maximum(steps, 0))


@given(shapes, dtypes, orders, orders, st.sampled_from([1, 7, 1000]), seeds)
def test_sums_are_numpys(shape, dtype, order, other, piece, seed):
    a, b, *_ = random(seed, shape, dtype)
    a.ravel()[::7], b.ravel()[1::7], a.ravel()[2::7] = np.nan, -0.0, np.inf
    with cut(piece, 1, 1, 8, 3):
        for threads in (1, 2, 3):
            with on_threads(threads):
                y = elementwise.add(laid_out(a, order), laid_out(b, other))
            assert np.array_equal(y, a + b, equal_nan=True) and y.dtype == dtype
        assert np.array_equal(elementwise.add(a, b[:, :1]), a + b[:, :1], equal_nan=True)
        assert np.array_equal(elementwise.add(a, 2), a + 2, equal_nan=True)


@pytest.mark.parametrize("order", ORDERS)
def test_large_sums_lie_as_their_first_summand(order):
    a, b = np.random.default_rng(5).standard_normal((2, 8, 16, 64, 65)).astype(np.float32)
    ours = laid_out(a, order)
    y = elementwise.add(ours, b)
    assert np.array_equal(y, a + b)
    assert order == "other" or y.strides == ours.strides
    assert np.array_equal(elementwise.add(ours, np.broadcast_to(b[:, :1], a.shape)), a + b[:, :1])


def test_the_callers_numpy_settings_stay():
    before = np.getbufsize(), np.geterr()
    x, grad_y, w, b = random(4, (4, 3, 5, 5), "float32")
    _, mean, var = cpu.batch_norm_forward(x, w, b, 1e-5)
    cpu.batch_norm_backward(grad_y, x, w, mean, var)
    cpu.relu_forward(np.zeros(1 << 19, np.float32))
    assert (np.getbufsize(), np.geterr()) == before

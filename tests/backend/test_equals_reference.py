"""Every executor beside the loops: bit for bit on small integers, else to a few last places.

Sums of small integers are exact in whatever order they are taken: so any wrong index shows, and
rounding never does. The shapes are awkward: nothing divides, axes of size 1, empty batches.
"""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend import cpu, reference
from minicnn.backend.geometry import AdaptiveGeometry, ConvGeometry, PoolGeometry
from minicnn.backend.taps import Taps

# Convolution. x, weight, stride, padding, dilation, groups
RECTANGULAR = ((2, 3, 7, 5), (4, 3, 3, 2), 2, ((1, 1), (0, 2)), (1, 2), 1)
MORE = {
    "empty batch": ((0, 3, 4, 4), (2, 3, 3, 3), 1, 1, 1, 1),
    "ones": ((2, 1, 1, 1), (1, 1, 1, 1), 1, 0, 1, 1),
    "left over": ((1, 2, 6, 4), (6, 1, 3, 3), 3, 2, 1, 2),
    "depthwise": ((2, 3, 5, 7), (6, 1, 3, 3), 2, 1, 1, 3),
    "depthwise, large kernel": ((2, 2, 9, 9), (2, 1, 9, 9), 1, 4, 1, 2),
    "depthwise signal, dilated": ((2, 5, 11), (5, 1, 3), 1, 2, 2, 5),
}


def geometry_of(case):
    x, w, *options = case
    return ConvGeometry.of(x, w, None, *options, function=f"conv{len(x) - 2}d")


def check_convolution(both, integers, geometry):
    x, w = integers(geometry.x_shape), integers(geometry.w_shape)
    [y] = both.equal("conv_forward", x, w, integers(geometry.out_channels), geometry)
    grad_y = integers(y.shape)
    both.equal("conv_grad_input", grad_y, w, geometry)
    both.equal("conv_grad_weight", x, grad_y, geometry)
    [cols] = both.equal("im2col", x, geometry)
    both.equal("col2im", integers(cols.shape), geometry)


def test_convolution(both, integers, convolution):
    check_convolution(both, integers, convolution)


@pytest.mark.parametrize("case", MORE.values(), ids=MORE)
def test_more_convolutions(both, integers, case):
    check_convolution(both, integers, geometry_of(case))


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_convolution_in_other_dtypes(both, integers, dtype):
    geometry = ConvGeometry.of((2, 2, 4, 5), (4, 2, 3, 3), None, 1, 1)
    x, w = integers(geometry.x_shape, dtype), integers(geometry.w_shape, dtype)
    [y] = both.equal("conv_forward", x, w, None, geometry)
    both.equal("conv_grad_input", y, w, geometry)
    both.equal("conv_grad_weight", x, integers(y.shape, dtype), geometry)
    [cols] = both.equal("im2col", x, geometry)
    both.equal("col2im", cols, geometry)


@pytest.mark.parametrize("order", ["NHWC", "CHWN", "reversed", "gaps"])
def test_memory_orders(both, integers, laid_out, order):
    geometry = geometry_of(RECTANGULAR)
    x, w = (laid_out(integers(s), order) for s in (geometry.x_shape, geometry.w_shape))
    [y] = both.equal("conv_forward", x, w, None, geometry)
    grad_y = laid_out(integers(y.shape), order)
    both.equal("conv_grad_input", grad_y, w, geometry)
    both.equal("conv_grad_weight", x, grad_y, geometry)
    x = laid_out(integers((2, 4, 7, 7)), order)
    y, indices = both.equal("max_pool_forward", x, OVERLAPPING)
    both.equal("max_pool_backward", laid_out(y, order), laid_out(indices, order), x.shape)
    both.close("batch_norm_forward", x, None, None, 1e-5)
    both.close("softmax_forward", x, 1)


# Pooling

OVERLAPPING = PoolGeometry.of((2, 4, 7, 7), 3, 1, 1)
ADAPTIVE = {
    "uneven": ((2, 3, 7, 5), (3, 2)),
    "more than there are": ((2, 2, 4), (7,)),
    "volume": ((1, 2, 4, 5, 3), (2, 5, 1)),
    "empty batch": ((0, 2, 4, 4), (2, 2)),
}


def test_max_pooling(both, integers, pooling):
    for N in (2, 0):
        x = integers((N, 4, *pooling.size))
        x.reshape(-1)[1::7] = np.nan
        y, indices = both.equal("max_pool_forward", x, pooling)
        both.equal("max_pool_backward", integers(y.shape), indices, x.shape, pooling)
        both.equal("max_pool_gather", x, indices)
        u = np.random.default_rng(0).random(y.shape)
        both.equal("stochastic_pool_forward", np.abs(integers(x.shape)), u, pooling)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_max_pooling_in_other_dtypes(both, integers, dtype):
    x = integers((2, 4, 7, 7), dtype)
    y, indices = both.equal("max_pool_forward", x, OVERLAPPING)
    both.equal("max_pool_backward", y, indices, x.shape, OVERLAPPING)


def test_indices_of_unknown_windows(both, integers, pooling):
    rng = np.random.default_rng(0)
    x_shape, y_shape = (2, 4, *pooling.size), (2, 4, *pooling.out_size)
    indices = rng.integers(0, np.prod(x_shape[2:]), y_shape)
    both.equal("max_pool_backward", integers(y_shape), indices, x_shape)
    both.equal("max_unpool_forward", integers(y_shape), indices, x_shape[2:])
    both.equal("max_unpool_backward", integers(x_shape), indices)


# x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override
AVERAGES = {
    "overlapping": ((2, 3, 7, 5), 3, 2, 1, False, True, None),
    "signal": ((2, 2, 9), 3, 1, 1, False, False, None),
    "volume": ((1, 2, 4, 5, 3), 2, 1, 1, True, True, -3),
    "gaps": ((2, 1, 5, 7), 2, 3, 1, True, False, None),
    "ceil": ((2, 3, 7, 6), (3, 2), (2, 3), (1, 0), True, True, None),
}


@pytest.mark.parametrize("case", AVERAGES.values(), ids=AVERAGES)
def test_average_pooling(both, integers, case):
    x_shape, kernel, stride, padding, ceil_mode, *options = case
    function = f"avg_pool{len(x_shape) - 2}d"
    geometry = PoolGeometry.of(x_shape, kernel, stride, padding, 1, ceil_mode, function)
    [y] = both.equal("avg_pool_forward", integers(x_shape), geometry, *options)
    both.close("avg_pool_backward", integers(y.shape), x_shape, geometry, *options)


@pytest.mark.parametrize("case", ADAPTIVE.values(), ids=ADAPTIVE)
def test_adaptive_pooling(both, integers, case):
    x, out_size = integers(case[0]), case[1]
    [y] = both.equal("adaptive_avg_pool_forward", x, out_size)
    both.close("adaptive_avg_pool_backward", integers(y.shape), x.shape)
    y, indices = both.equal("adaptive_max_pool_forward", x, out_size)
    windows = AdaptiveGeometry(x.shape[2:], out_size)
    both.equal("max_pool_backward", integers(y.shape), indices, x.shape, windows)


# Normalisation

SHAPES = [(3, 4, 5, 2), (7, 3), (2, 5, 1), (0, 3, 2, 2), (5, 2, 150), (2, 1, 2, 3, 2)]


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(both, normal, shape, affine):
    x, grad_y, C = normal(shape) + 3, normal(shape), shape[1]
    weight, bias = (normal(C), normal(C)) if affine else (None, None)
    _, mean, var = both.close("batch_norm_forward", x, weight, bias, 1e-5)
    both.close("batch_norm_inference", x, weight, bias, mean, var, 1e-5, ulps=64)
    inv_std = 1 / np.sqrt(var + np.float32(1e-5))
    both.close("batch_norm_backward", grad_y, x, weight, mean, inv_std, ulps=64)


def test_batch_norm_in_double(both, normal):
    x, grad_y = normal((4, 3, 5), np.float64), normal((4, 3, 5), np.float64)
    _, mean, var = both.close("batch_norm_forward", x, None, None, 1e-5)
    both.close("batch_norm_backward", grad_y, x, None, mean, 1 / np.sqrt(var + 1e-5), ulps=64)


def test_statistics_of_half_precision_are_single(both, normal):
    x = normal((4, 3, 5), np.float16)
    results, wanted = both("batch_norm_forward", x, None, None, 1e-5)
    assert [r.dtype for r in results] == [np.float16, np.float32, np.float32]
    np.testing.assert_allclose(results[0], wanted[0], atol=2e-3)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (0, 4)])
def test_rms_norm(both, normal, shape, affine):
    x, weight = normal(shape), normal(shape[1]) if affine else None
    _, r = both.close("rms_norm_forward", x, weight, 1e-6)
    both.close("rms_norm_backward", normal(shape), x, weight, r, ulps=64)


def test_channel_sums(both, integers):
    both.equal("channel_sums", integers((2, 5, 3, 2)), 1, 2)
    both.equal("channel_sums", integers((2, 2, 3)), 4, 3)


# Softmax

LINES = [((5, 10), 1), ((5, 10), 0), ((2, 3, 4), 1), ((0, 4), 1), ((4, 0), 1), ((1,), 0)]
LINES += [((7, 2), -1), ((9, 33), 1)]


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(("shape", "axis"), LINES)
def test_softmax(both, normal, name, shape, axis):
    [y] = both.close(f"{name}_forward", normal(shape) * 5, axis)
    both.close(f"{name}_backward", normal(shape), y, axis, ulps=32)


@pytest.mark.parametrize("name", ["softmax_forward", "log_softmax_forward"])
@pytest.mark.parametrize("axis", [0, 1])
def test_softmax_of_infinities_and_nan(both, normal, name, axis):
    x = normal((6, 6)) * 100
    x[0, 1], x[1, :], x[2, 3], x[4, 5] = -np.inf, -np.inf, np.inf, np.nan
    both.close(name, x, axis)


def test_softmax_in_double(both, normal):
    [y] = both.close("softmax_forward", normal((3, 40), np.float64), 1)
    both.close("softmax_backward", normal((3, 40), np.float64), y, 1)


# Dropout

MASKED = [((3, 5), (3, 5)), ((5000,), (5000,)), ((2, 3, 4, 4), (2, 3, 1, 1)), ((0, 3), (0, 3))]
MASKED += [((2, 3), (1, 3))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize(("shape", "mask_shape"), MASKED)
def test_dropout(primitives, normal, shape, mask_shape, dtype):
    """The masks of every backend are the same; what is kept is rounded as the fast one does."""
    for p, key in ((0.0, 0), (0.3, 2**64 - 1), (0.5, 0x0123456789ABCDEF), (1.0, 7)):
        x = normal(shape, dtype)
        y, wanted = (m.dropout(x, p, key, mask_shape) for m in (primitives, cpu))
        assert (y.dtype, y.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_array_equal(y != 0, wanted != 0)
        ulps = 2 if primitives is reference else 0
        np.testing.assert_allclose(y, wanted, rtol=ulps * np.finfo(dtype).eps)


def test_dropout_of_integers(both, integers):
    both.equal("dropout", integers((4, 33)), 0.5, 12345, (4, 33))


# Others


def test_error_functions(both, normal):
    both.close("erf", normal((3, 50)) * 2, ulps=4)
    both.close("erfc", normal((3, 50)) * 2, ulps=4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_products(both, integers, dtype):
    both.equal("matmul", integers((5, 7), dtype), integers((7, 3), dtype))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_resampling(both, integers, dtype, axis):
    shape = [3, 4, 5]
    rng, n = np.random.default_rng(0), shape[axis]
    rows, columns = rng.integers(0, 6, 9), rng.integers(0, n, 9)
    copies = Taps.of((6, n), rows, columns, np.ones(9))
    copies = Taps(copies.shape, copies.rows, copies.columns, None)
    x = integers(shape, dtype)
    [y] = both.equal("resample", x, copies, axis)
    both.equal("resample", y, copies.transposed, axis)
    if dtype == np.float32:
        weighted = Taps(copies.shape, copies.rows, copies.columns, np.arange(len(copies.rows)) / 4)
        both.equal("resample", x, weighted, axis)

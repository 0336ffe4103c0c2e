"""Winograd's convolution: its matrices in exact arithmetic, its results against the loops."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from minicnn.backend import reference
from minicnn.backend.cpu import conv, layout, scratch, threads, winograd, winograd_matrices
from minicnn.backend.geometry import ConvGeometry

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
given, settings = hypothesis.given, hypothesis.settings

sizes_m = pytest.mark.parametrize("m", [2, 4])
sizes_r = pytest.mark.parametrize("r", [3, 5])
ORDERS = [layout.NCHW, layout.NHWC, layout.CHWN]


def geometry_of(N, C, F, size, padding, r=3):
    return ConvGeometry.of((N, C, *size), (F, C, r, r), (F,), 1, padding)


def error_of(geometry, m):
    return winograd.ERROR[m + geometry.kernel[0] - 1]


few_channels = st.sampled_from([1, 2, 3, 5])


@st.composite
def geometries(draw, channels=few_channels, taps=(3, 5)):
    sizes, paddings, r = [], [], draw(st.sampled_from(taps))
    for _ in range(2):
        low, high = draw(st.integers(0, r)), draw(st.integers(0, r))
        sizes.append(draw(st.integers(max(1, r - low - high), 11)))
        paddings.append((low, high))
    N = draw(st.sampled_from([0, 1, 1, 2, 3]))
    return geometry_of(N, draw(channels), draw(channels), sizes, paddings, r)


def arrays_of(geometry, seed, dtype, order=layout.NCHW):
    """x, w, b, grad_y, with the images in a memory order."""
    rng = np.random.default_rng(seed)

    def images(shape):
        array = layout.empty(shape, order, np.dtype(dtype))
        array[...] = rng.standard_normal(shape)
        return array

    w = rng.standard_normal(geometry.w_shape).astype(dtype)
    b = rng.standard_normal(geometry.out_channels).astype(dtype)
    return images(geometry.x_shape), w, b, images(geometry.y_shape)


def results_of(x, w, b, grad_y, geometry, m):
    y = winograd.forward(x, w, b, geometry, m)
    return y, *winograd.backward(x, w, grad_y, geometry, m)


def wanted_of(x, w, b, grad_y, geometry, oracle=reference):
    """From the loops, or from im2col, which is tested against them, for many channels."""
    return (
        oracle.conv_forward(x, w, b, geometry),
        oracle.conv_grad_input(grad_y, w, geometry),
        oracle.conv_grad_weight(x, grad_y, geometry),
    )


def assert_near(results, arrays, geometry, error, oracle=conv):
    """The rms of the difference to float64, relative to the rms that random signs would give.

    Which is that of the root of the sum of all products' squares. A result may be smaller, where
    its products happen to cancel, and no error of theirs is.
    """
    doubles = [a if a is None else a.astype(np.float64) for a in arrays]
    wanted = wanted_of(*doubles, geometry, oracle)
    squares = wanted_of(doubles[0] ** 2, doubles[1] ** 2, None, doubles[3] ** 2, geometry, oracle)
    for result, want, square in zip(results, wanted, squares, strict=True):
        assert result.shape == want.shape
        assert np.linalg.norm(result - want) <= error * np.sqrt(square.sum())


@contextlib.contextmanager
def cut_into(tiles, few_weights):
    """Pieces of few tiles and features, and work cut by tiles up to so many weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "_FEW_WEIGHTS", few_weights)
        if tiles is not None:
            patch.setattr(winograd, "_PIECE", 36 * tiles)
            patch.setattr(winograd, "_RUN", 4 * 36 * tiles)
            patch.setattr(winograd, "_LEAST", tiles)
            patch.setattr(winograd, "_FEATURES", 2)
            patch.setattr(winograd, "SMALL_PRODUCT", 100)
        yield


cuts = st.tuples(st.sampled_from([None, 1, 2, 5]), st.sampled_from([0, 10**6]))
seeds = st.integers(0, 2**32 - 1)


# ---------------------------------------------------------------- the matrices, exactly


@sizes_m
@sizes_r
def test_matrices_compute_the_convolution_exactly(m, r):
    """y[i] = sum over q of w[q] d[i+q]: the product of the three has 1 at (i, q, i+q), else 0."""
    AT, BT, G = winograd_matrices.winograd_1d(m, r)
    n = m + r - 1
    for i in range(m):
        for q in range(r):
            for j in range(n):
                total = sum(AT[i][k] * G[k][q] * BT[k][j] for k in range(n))
                assert total == (j == i + q)


@pytest.mark.parametrize("n", winograd_matrices.POINTS)
def test_interpolation_undoes_evaluation(n):
    points = winograd_matrices.POINTS[n]
    V = winograd_matrices.evaluation(points, n)
    inverse = winograd_matrices.interpolation(points)
    for i, row in enumerate(inverse):
        for j in range(n):
            assert sum(entry * V[k][j] for k, entry in enumerate(row)) == (i == j)


@sizes_m
@sizes_r
def test_what_float32_holds_exactly(m, r):
    """All but the kernel's matrix, whose entries have a 3 below the line for n of 6 and more."""
    exact = winograd_matrices.transforms(m, r, np.dtype(np.float64))
    rounded = winograd_matrices.transforms(m, r, np.dtype(np.float32))
    assert np.array_equal(exact.data, rounded.data)
    assert np.array_equal(exact.output, rounded.output)
    assert np.array_equal(exact.weight, rounded.weight) == (m + r - 1 == 4)


@sizes_m
@sizes_r
def test_one_point_reaches_every_output_once(m, r):
    matrices = winograd_matrices.transforms(m, r, np.dtype(np.float64))
    assert np.all(matrices.output[:, matrices.constant] == 1)


# ---------------------------------------------------------------- against the loops


@given(geometries(), st.sampled_from([2, 4]), cuts, st.sampled_from(ORDERS), seeds)
@settings(max_examples=60, deadline=None)
def test_float64_is_the_loops(geometry, m, cut, order, seed):
    arrays = arrays_of(geometry, seed, np.float64, order)
    with cut_into(*cut):
        results = results_of(*arrays, geometry, m)
    assert_near(results, arrays, geometry, 1e-13, reference)


@given(geometries(taps=(3,)), cuts, seeds)
@settings(max_examples=40, deadline=None)
def test_small_integers_are_exact_with_m_2(geometry, cut, seed):
    rng = np.random.default_rng(seed)
    arrays = [
        rng.integers(-4, 5, a.shape).astype(np.float32) for a in arrays_of(geometry, 0, np.float32)
    ]
    with cut_into(*cut):
        results = results_of(*arrays, geometry, 2)
    for result, want in zip(results, wanted_of(*arrays, geometry), strict=True):
        assert result.dtype == np.float32
        assert np.array_equal(result, want)


@given(geometries(st.integers(1, 70)), st.sampled_from([2, 4]), st.sampled_from([0, 10**6]), seeds)
@settings(max_examples=40, deadline=None)
def test_float32_is_within_the_stated_error(geometry, m, few_weights, seed):
    arrays = arrays_of(geometry, seed, np.float32)
    with cut_into(None, few_weights):
        results = results_of(*arrays, geometry, m)
    assert all(result.dtype == np.float32 for result in results)
    assert_near(results, arrays, geometry, error_of(geometry, m))


@pytest.mark.parametrize(("C", "F", "size"), [(70, 64, 9), (130, 150, 5), (64, 256, 2)])
@sizes_m
@sizes_r
def test_many_channels_are_within_the_stated_error(C, F, size, m, r):
    """Blocks of features that are full and not."""
    geometry = geometry_of(3, C, F, (size, size), r // 2, r)
    arrays = arrays_of(geometry, 0, np.float32)
    doubles = [a.astype(np.float64) for a in arrays]
    assert_near(results_of(*doubles, geometry, m), arrays, geometry, 1e-13)
    assert_near(results_of(*arrays, geometry, m), arrays, geometry, error_of(geometry, m))


def test_half_precision_is_computed_in_single():
    geometry = geometry_of(2, 3, 4, (6, 5), 1)
    arrays = [a.astype(np.float16) for a in arrays_of(geometry, 0, np.float32)]
    results = results_of(*arrays, geometry, 4)
    assert all(result.dtype == np.float16 for result in results)
    assert_near(results, arrays, geometry, 1e-3)


# ---------------------------------------------------------------- parts of it, and the contracts


@given(geometries(), st.sampled_from([2, 4]), cuts, seeds)
@settings(max_examples=20, deadline=None)
def test_gradients_come_alone_or_together(geometry, m, cut, seed):
    x, w, _, grad_y = arrays_of(geometry, seed, np.float32)
    with cut_into(*cut):
        grad_x, grad_w = winograd.backward(x, w, grad_y, geometry, m)
        only_x = winograd.backward(x, w, grad_y, geometry, m, need_w=False)
        only_w = winograd.backward(x, w, grad_y, geometry, m, need_x=False)
        neither = winograd.backward(x, w, grad_y, geometry, m, need_x=False, need_w=False)
        assert np.array_equal(winograd.grad_input(grad_y, w, geometry, m), only_x[0])
        assert np.array_equal(winograd.grad_weight(x, grad_y, geometry, m), grad_w)
    assert only_x[1] is None
    assert only_w[0] is None
    assert neither == (None, None)
    assert np.array_equal(only_w[1], grad_w)
    # Tiles for grad_x alone may be cut into other pieces.
    y = winograd.forward(x, w, None, geometry, m)
    for each in (grad_x, only_x[0]):
        assert_near([y, each, grad_w], (x, w, None, grad_y), geometry, error_of(geometry, m))


@sizes_m
@pytest.mark.parametrize("few_weights", [0, 10**6])
def test_bias_and_relu_on_the_way(m, few_weights):
    geometry = geometry_of(2, 3, 70, (7, 6), 1)
    x, w, b, _ = arrays_of(geometry, 0, np.float64)
    with cut_into(2, few_weights):
        plain = winograd.forward(x, w, None, geometry, m)
        both = winograd.forward(x, w, b, geometry, m, relu=True)
    want = np.maximum(plain + b[:, None, None], 0)
    assert np.allclose(both, want, rtol=0, atol=1e-12)


@sizes_m
@pytest.mark.parametrize("few_weights", [0, 10**6])
def test_the_same_bits_on_any_number_of_threads(m, few_weights):
    geometry = geometry_of(5, 9, 7, (13, 10), 1)
    arrays = arrays_of(geometry, 0, np.float32)
    before = threads.get_num_threads()
    try:
        with cut_into(3, few_weights):
            results = []
            for number in (1, 2, 3):
                threads.set_num_threads(number)
                results.append(results_of(*arrays, geometry, m))
    finally:
        threads.set_num_threads(before)
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            assert one.tobytes() == other.tobytes()


@sizes_m
@pytest.mark.parametrize("few_weights", [0, 10**6])
def test_nothing_depends_on_what_scratch_held(m, few_weights, monkeypatch):
    geometry = geometry_of(3, 5, 6, (9, 7), ((2, 0), (1, 3)))
    arrays = arrays_of(geometry, 0, np.float32)
    take = scratch.take

    def poisoned(role, shape, dtype):
        buffer = take(role, shape, dtype)
        buffer[...] = np.nan
        return buffer

    monkeypatch.setattr(scratch, "take", poisoned)
    with cut_into(None, few_weights):
        results = results_of(*arrays, geometry, m)
    assert_near(results, arrays, geometry, error_of(geometry, m))


def test_arguments_stay_as_they_are():
    geometry = geometry_of(2, 3, 4, (6, 6), 1)
    arrays = arrays_of(geometry, 0, np.float32)
    copies = [a.copy() for a in arrays]
    results_of(*arrays, geometry, 4)
    assert all(np.array_equal(a, copy) for a, copy in zip(arrays, copies, strict=True))


def test_what_it_computes():
    assert winograd.supports(geometry_of(1, 2, 3, (5, 5), ((0, 2), (1, 4))))
    assert winograd.supports(geometry_of(1, 2, 3, (5, 5), ((0, 2), (1, 4)), 5))
    shape = (1, 4, 9, 9)
    for w_shape, stride, padding, dilation, groups in [
        ((4, 4, 4, 4), 1, 1, 1, 1),
        ((4, 4, 5, 3), 1, 1, 1, 1),
        ((4, 4, 3, 1), 1, 1, 1, 1),
        ((4, 4, 3, 3), 2, 1, 1, 1),
        ((4, 4, 3, 3), 1, 1, 2, 1),
        ((4, 2, 3, 3), 1, 1, 1, 2),
    ]:
        geometry = ConvGeometry.of(shape, w_shape, None, stride, padding, dilation, groups)
        assert not winograd.supports(geometry)
        assert winograd.worthwhile(geometry) == 0


@pytest.mark.parametrize(
    ("N", "C", "F", "size", "r", "m"),
    [
        (64, 3, 64, 32, 3, 0),  # few channels
        (32, 64, 64, 32, 3, 4),
        (32, 512, 512, 4, 3, 4),
        (64, 512, 512, 2, 3, 2),  # tiles of four would be three quarters empty
        (1, 512, 512, 7, 3, 2),  # more weights than tiles to use them on
        (64, 512, 512, 1, 3, 0),  # a single tap is not in the padding
        (0, 64, 64, 8, 3, 2),
        (16, 64, 192, 27, 5, 4),
        (256, 6, 16, 14, 5, 0),
    ],
)
def test_worthwhile_follows_what_was_measured(N, C, F, size, r, m):
    assert winograd.worthwhile(geometry_of(N, C, F, (size, size), r // 2, r)) == m


@pytest.mark.parametrize(
    ("m", "value"), [(2, np.nan), (2, np.inf), (4, np.nan), (4, np.inf), (4, 3e38)]
)
def test_what_is_not_finite_stays_in_the_tiles_that_read_it(m, value):
    """Those of all features are NaN as a whole; nothing else is touched, and nobody is warned."""
    geometry = geometry_of(2, 16, 5, (17, 18), ((1, 1), (1, 1)))
    x, w, b, grad_y = arrays_of(geometry, 0, np.float32)
    wanted = winograd.forward(x, w, b, geometry, m)
    x[1, 3, 8, 9] = value
    y = winograd.forward(x, w, b, geometry, m)
    touched = np.zeros(y.shape, bool)
    rows, columns = (slice((k - 1) // m * m, (k + 1) // m * m + m) for k in (8, 9))
    touched[1, :, rows, columns] = True
    np.testing.assert_array_equal(np.isnan(y), touched)
    np.testing.assert_array_equal(y[~touched], wanted[~touched])
    grad_y[0, 2, 3, 4] = value
    for gradient in results_of(x, w, b, grad_y, geometry, m)[1:]:
        assert np.isnan(gradient).any()

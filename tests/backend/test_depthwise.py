"""Depthwise convolution on the CPU: both ways of computing it, and when each is chosen."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from minicnn.backend import cpu, reference
from minicnn.backend.cpu import banded, depthwise, layout, reorder, threads
from minicnn.backend.geometry import ConvGeometry

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
given, settings = hypothesis.given, hypothesis.settings

orders = st.sampled_from(["NCHW", "NHWC", "CHWN", "reversed", "gaps"])


@contextlib.contextmanager
def always_banded(rows=16):
    """Products for every geometry that they can do, however small; the calls that were finite."""
    finite = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "_ROWS": rows,
            "_MIN_BATCH": 1,
            "_SMALL": 0,
            "_COLUMNS": 1 << 30,
            "_COLUMNS_OF_SUMS": 1 << 30,
            "_TABLE": 1 << 30,
            "_PARTS": 500,
        }.items():
            patch.setattr(banded, name, value)
        for name in ("forward", "grad_input", "grad_weight"):
            patch.setattr(banded, name, noted(getattr(banded, name), finite))
        forget_plans()
        yield finite
    forget_plans()


def forget_plans():
    banded._forward_plan.cache_clear()
    banded._adjoint_plan.cache_clear()


def noted(function, results):
    def call(*arguments):
        results.append(function(*arguments))
        return results[-1]

    return call


@st.composite
def geometries(draw, multiplied=False):
    channels = draw(st.integers(2, 4))
    options = []
    for _ in range(2):
        kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 3))
        low, high = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        smallest = max(1, dilation * (kernel - 1) + 1 - low - high)
        size = draw(st.integers(smallest, smallest + 8))
        options.append((size, kernel, draw(st.integers(1, 3)), (low, high), dilation))
    sizes, kernels, strides, paddings, dilations = zip(*options, strict=True)
    features = channels * (draw(st.integers(1, 3)) if multiplied else 1)
    return ConvGeometry.of(
        (draw(st.integers(1, 4)), channels, *sizes),
        (features, 1, *kernels),
        (features,),
        strides,
        paddings,
        dilations,
        channels,
    )


def arguments(g, seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    shapes = (g.x_shape, g.w_shape, (g.out_channels,), g.y_shape)
    return [rng.integers(-4, 5, shape).astype(dtype) for shape in shapes]


def all_three(primitives, x, w, b, grad_y, g):
    return (
        primitives.conv_forward(x, w, b, g),
        primitives.conv_grad_input(grad_y, w, g),
        primitives.conv_grad_weight(x, grad_y, g),
    )


@settings(max_examples=80)
@given(geometries(), st.booleans(), orders, orders, st.sampled_from([1, 6, 16]), st.integers(0, 99))
def test_banded_products(laid_out, g, with_bias, order_x, order_y, rows, seed):
    """Sums of small integers are exact: a wrong entry of a band shows, and rounding does not."""
    x, w, b, grad_y = arguments(g, seed)
    b = b if with_bias else None
    wanted = all_three(reference, x, w, b, grad_y, g)
    with always_banded(rows) as finite:
        results = all_three(cpu, laid_out(x, order_x), w, b, laid_out(grad_y, order_y), g)
    assert finite == [True] * 3
    for result, want in zip(results, wanted, strict=True):
        assert result.dtype == want.dtype
        assert np.array_equal(result, want)


@settings(max_examples=60)
@given(
    geometries(multiplied=True),
    st.sampled_from([np.float32, np.float64, np.float16]),
    orders,
    st.sampled_from([1, 40, 1 << 18]),
    st.integers(0, 99),
)
def test_tap_by_tap(laid_out, g, dtype, order, block, seed):
    x, w, b, grad_y = arguments(g, seed, dtype)
    wanted = all_three(reference, x, w, b, grad_y, g)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depthwise, "_BLOCK", block)
        results = all_three(cpu, laid_out(x, order), w, b, laid_out(grad_y, order), g)
    for result, want in zip(results, wanted, strict=True):
        assert result.dtype == want.dtype
        assert np.array_equal(result, want)


@np.errstate(invalid="ignore")
@pytest.mark.parametrize("size", [8, 40])
def test_an_infinity_shows_where_a_window_reads_it_and_nowhere_else(size):
    """With products and tap by tap."""
    g = ConvGeometry.of((8, 4, size, size), (4, 1, 3, 3), None, 1, 1, 1, 4)
    x, w, _, grad_y = arguments(g, 0)
    w[w == 0] = 1
    x[3, 1, 5, 2], grad_y[2, 0, 4, 4] = np.inf, np.nan
    seen = ~np.isfinite(cpu.conv_forward(x, w, None, g))
    assert seen.sum() == 9 and seen[3, 1, 4:7, 1:4].all()
    seen = ~np.isfinite(cpu.conv_grad_input(grad_y, w, g))
    assert seen.sum() == 9 and seen[2, 0, 3:6, 3:6].all()
    grad_w = cpu.conv_grad_weight(x, grad_y, g)
    assert np.isfinite(grad_w[2:]).all() and np.isnan(grad_w[0]).all()


SHAPES = [
    ((64, 32, 16, 16), 3, 1),
    ((64, 32, 16, 16), 3, 2),
    ((16, 8, 64, 64), 3, 1),
    ((9, 70, 5, 7), 5, 1),
]


@pytest.mark.parametrize(("shape", "kernel", "stride"), SHAPES, ids=str)
def test_in_floating_point_with_any_number_of_threads(shape, kernel, stride, monkeypatch):
    """Within a few roundings of the sums in float64, and the same bits."""
    C = shape[1]
    g = ConvGeometry.of(shape, (C, 1, kernel, kernel), None, stride, kernel // 2, 1, C)
    rng = np.random.default_rng(0)
    x, w, grad_y = (
        rng.standard_normal(s).astype(np.float32) for s in (g.x_shape, g.w_shape, g.y_shape)
    )
    exact = all_three(cpu, *[a.astype(np.float64) for a in (x, w)], None, grad_y.astype(float), g)
    found = []
    for number in (1, 2, 3):
        monkeypatch.setattr(threads, "_count", number)
        found.append(all_three(cpu, x, w, None, grad_y, g))
    for name, result, *others, want in zip(("y", "x", "w"), *found, exact, strict=True):
        assert np.abs(result - want).max() < 1e-6 * np.abs(want).max(), name
        assert all(np.array_equal(result, other) for other in others), name


def test_the_choice():
    """Products where images are narrow, many and in float32."""

    def geometry(N, size, kernel=3, multiplier=1):
        shape = (N, 32, size, size)
        return ConvGeometry.of(shape, (32 * multiplier, 1, kernel, kernel), None, 1, 1, 1, 32)

    single, double = np.dtype(np.float32), np.dtype(np.float64)
    assert banded.suits(geometry(64, 16), single)
    assert not banded.suits(geometry(64, 16), double)
    assert not banded.suits(geometry(64, 112), single)
    assert not banded.suits(geometry(2, 16), single)
    assert not banded.suits(geometry(64, 16, multiplier=2), single)
    assert not banded.suits(geometry(64, 32), single, grad_weight=True)


@pytest.mark.parametrize("order", ["NCHW", "NHWC", "CHWN", "reversed", "gaps"])
@pytest.mark.parametrize("shape", [(16, 3, 5, 7), (64, 40, 33, 2), (300, 500, 2, 1), (1, 6, 4, 5)])
def test_batch_last(laid_out, order, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        y = reorder.batch_last(laid_out(x, order), dtype)
        assert y.dtype == dtype and y.transpose(layout.CHWN).flags.c_contiguous
        assert np.array_equal(y, x)
        assert reorder.batch_last(y, dtype) is y


@pytest.mark.parametrize("other", ["NCHW", "NHWC", "CHWN"])
@pytest.mark.parametrize("order", ["NCHW", "NHWC", "CHWN", "reversed", "gaps"])
@pytest.mark.parametrize("shape", [(64, 40, 33, 2), (300, 7, 2, 9), (9, 70, 1, 1), (0, 6, 4, 5)])
def test_as_other(laid_out, order, other, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    like = laid_out(np.zeros_like(x), other)
    y = reorder.as_other(laid_out(x, order), like)
    assert np.array_equal(y, x) and y.dtype == x.dtype
    if min(shape) > 1:
        assert y.strides == like.strides
    assert reorder.as_other(like, like) is like

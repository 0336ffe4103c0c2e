"""The fast versions against the loops, bit for bit on small integers, over generated geometries.

Sums of small integers are exact in float32, in whatever order they are taken: so any wrong index
shows, and rounding never does. What cuts work into pieces is set small here, so that small arrays
are cut too.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from minicnn.backend import cpu, reference
from minicnn.backend.cpu import channels, chunks, columns, depthwise, scratch, windows
from minicnn.backend.geometry import ConvGeometry, PoolGeometry

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
given, settings = hypothesis.given, hypothesis.settings


def integers(rng, shape, dtype):
    return rng.integers(-4, 5, shape).astype(dtype)


def assert_same(results, wanted):
    if not isinstance(results, tuple):
        results, wanted = (results,), (wanted,)
    for result, want in zip(results, wanted, strict=True):
        if want is None:
            assert result is None
            continue
        assert result.dtype == want.dtype
        assert result.shape == want.shape
        assert np.array_equal(result, want, equal_nan=want.dtype.kind == "f")


@contextlib.contextmanager
def cut_into(pieces):
    """Work cut into pieces of about so many entries; None leaves the usual sizes."""
    with pytest.MonkeyPatch.context() as patch:
        if pieces is not None:
            patch.setattr(chunks, "_AIM", pieces)
            patch.setattr(chunks, "_LEAST", pieces)
            patch.setattr(chunks, "_POSITIONS", 1)
            patch.setattr(scratch, "COLUMN_LIMIT", 8 * pieces)
            patch.setattr(columns, "_PIECE", pieces)
            patch.setattr(columns, "_SMALL_PRODUCT", 1024)
            patch.setattr(depthwise, "_BLOCK", pieces)
            patch.setattr(channels, "BLOCK", pieces)
            patch.setattr(windows, "_SLAB", pieces)
        yield


dtypes = st.sampled_from([np.float32, np.float64])
pieces = st.sampled_from([None, 1, 30, 200, 1000])
seeds = st.integers(0, 2**32 - 1)


@st.composite
def convolutions(draw, dims=2):
    groups = draw(st.integers(1, 3))
    # Now and then enough channels for N,H,W,C order.
    per_group = draw(st.sampled_from([1, 2, 3, 33] if dims < 3 else [1, 2]))
    features = groups * draw(st.integers(1, 3))
    options = []
    for _ in range(dims):
        kernel, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        low, high = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        smallest = max(1, dilation * (kernel - 1) + 1 - low - high)
        size = draw(st.integers(smallest, smallest + (5 if dims < 3 else 2)))
        options.append((size, kernel, draw(st.integers(1, 3)), (low, high), dilation))
    sizes, kernels, strides, paddings, dilations = zip(*options, strict=True)
    return ConvGeometry.of(
        (draw(st.integers(0, 3)), groups * per_group, *sizes),
        (features, per_group, *kernels),
        (features,),
        strides,
        paddings,
        dilations,
        groups,
        f"conv{dims}d",
    )


@st.composite
def transposed(draw, dims=2):
    """The geometries of transposed convolutions: more rows may be left over than a stride."""
    groups = draw(st.integers(1, 2))
    options = []
    for _ in range(dims):
        kernel, stride, dilation = (draw(st.integers(1, 3)) for _ in range(3))
        rest, size = draw(st.integers(0, max(stride, dilation) - 1)), draw(st.integers(1, 4))
        out = (size - 1) * stride + dilation * (kernel - 1) + 1 + rest
        options.append((size, kernel, stride, draw(st.integers(0, (out - 1) // 2)), rest, dilation))
    sizes, kernels, strides, paddings, rests, dilations = zip(*options, strict=True)
    channels = groups * draw(st.integers(1, 2))
    return ConvGeometry.of_transposed(
        (draw(st.integers(0, 2)), channels, *sizes),
        (channels, draw(st.integers(1, 2)), *kernels),
        None,
        strides,
        paddings,
        rests,
        groups,
        dilations,
        f"conv_transpose{dims}d",
    )


@st.composite
def pointwise(draw):
    """1x1, stride 1, no padding: a product without columns. Or a padding that adds up to none."""
    groups = draw(st.integers(1, 2))
    size = draw(st.sampled_from([(1, 1), (3, 2), (4, 40)]))
    shape, moved = (draw(st.integers(0, 3)), 2 * groups, *size), draw(st.sampled_from([0, 0, 1]))
    return ConvGeometry(
        shape[0], shape[1], 3 * groups, size, (1, 1), (1, 1), ((moved, -moved),) * 2, (3, 3), groups
    )


@st.composite
def pools(draw, dilated):
    options = []
    dims = draw(st.integers(1, 3))
    for _ in range(dims):
        kernel = draw(st.integers(1, 4 if dims < 3 else 3))
        dilation = draw(st.integers(1, 3 if dims < 3 else 2)) if dilated else 1
        span = dilation * (kernel - 1) + 1
        # With padding the first tap inside is at most D-1: an input of 3 is never stepped over.
        size = draw(st.integers(max(3, span), span + (6 if dims < 3 else 2)))
        padding = draw(st.integers(0, kernel // 2))
        options.append((size, kernel, draw(st.integers(1, 5)), padding, dilation))
    sizes, *rest = zip(*options, strict=True)
    x_shape = (draw(st.integers(0, 2)), draw(st.integers(1, 3)), *sizes)
    options = {"ceil_mode": draw(st.booleans()), "function": f"max_pool{dims}d"}
    return x_shape, PoolGeometry.of(x_shape, *rest, **options)


orders = st.sampled_from(["NCHW", "NHWC", "CHWN", "reversed", "gaps"])


def check_convolution(laid_out, g, with_bias, dtype, order_x, order_y, size, seed):
    rng = np.random.default_rng(seed)
    x, grad_y = (integers(rng, shape, dtype) for shape in (g.x_shape, g.y_shape))
    w, b = integers(rng, g.w_shape, dtype), integers(rng, (g.out_channels,), dtype)
    b = b if with_bias else None
    x2, grad_y2, w2 = laid_out(x, order_x), laid_out(grad_y, order_y), laid_out(w, order_x)
    with cut_into(size):
        assert_same(cpu.conv_forward(x2, w2, b, g), reference.conv_forward(x, w, b, g))
        wanted = reference.conv_grad_input(grad_y, w, g)
        assert_same(cpu.conv_grad_input(grad_y2, w2, g), wanted)
        wanted = reference.conv_grad_weight(x, grad_y, g)
        assert_same(cpu.conv_grad_weight(x2, grad_y2, g), wanted)
        for needs in ((True, True, True), (False, True, True), (True, False, False)):
            wanted = reference.conv_backward(grad_y, x, w, g, needs)
            assert_same(cpu.conv_backward(grad_y2, x2, w2, g, needs), wanted)


@settings(max_examples=120)
@given(
    convolutions() | pointwise() | transposed() | convolutions(1),
    st.booleans(),
    dtypes,
    orders,
    orders,
    pieces,
    seeds,
)
def test_convolution(laid_out, g, with_bias, dtype, order_x, order_y, size, seed):
    check_convolution(laid_out, g, with_bias, dtype, order_x, order_y, size, seed)


@given(convolutions(3) | transposed(3), st.booleans(), dtypes, orders, orders, pieces, seeds)
def test_convolution_of_volumes(laid_out, g, with_bias, dtype, order_x, order_y, size, seed):
    check_convolution(laid_out, g, with_bias, dtype, order_x, order_y, size, seed)
    rng = np.random.default_rng(seed)
    x = integers(rng, g.x_shape, dtype)
    cols = reference.im2col(x, g)
    with cut_into(size):
        assert_same(cpu.im2col(laid_out(x, order_x), g), cols)
        assert_same(cpu.col2im(cols, g), reference.col2im(cols, g))


@settings(max_examples=40)
@given(convolutions(), dtypes, orders, seeds)
def test_im2col_and_col2im(laid_out, g, dtype, order, seed):
    rng = np.random.default_rng(seed)
    x = integers(rng, g.x_shape, dtype)
    cols = reference.im2col(x, g)
    assert_same(cpu.im2col(laid_out(x, order), g), cols)
    other = integers(rng, cols.shape, dtype)
    assert_same(cpu.col2im(other[:, ::-1][:, ::-1], g), reference.col2im(other, g))


@settings(max_examples=80)
@given(pools(dilated=True), dtypes, orders, orders, pieces, st.integers(0, 9), seeds)
def test_max_pooling(laid_out, case, dtype, order_x, order_y, size, odd, seed):
    x_shape, g = case
    rng = np.random.default_rng(seed)
    x = integers(rng, x_shape, dtype)  # of nine values: many ties
    if odd < 4:
        x[rng.random(x_shape) < 0.3] = (-np.inf, np.inf, np.nan, np.nan)[odd]
    y, indices = reference.max_pool_forward(x, g)
    grad_y = integers(rng, y.shape, dtype)
    x2, grad_y2, indices2 = (
        laid_out(x, order_x),
        laid_out(grad_y, order_y),
        laid_out(indices, order_x),
    )
    with cut_into(size):
        assert_same(cpu.max_pool_forward(x2, g), (y, indices))
        wanted = reference.max_pool_backward(grad_y, indices, x_shape)
        assert_same(cpu.max_pool_backward(grad_y2, indices2, x_shape), wanted)
        assert_same(cpu.max_pool_gather(x2, indices2), y)
        check_taps(laid_out, x2, grad_y2, order_y, g, y, wanted)


def check_taps(laid_out, x, grad_y, order, g, y, wanted):
    """The numbers of the winning taps lead to the same gradients, in every backend."""
    result, taps = cpu.max_pool_forward(x, g, positions=False)
    assert taps.dtype == np.uint8
    assert np.array_equal(result, y, equal_nan=True)
    for primitives in (cpu, reference):
        for winners in (taps, laid_out(taps, order)):
            assert_same(primitives.max_pool_backward(grad_y, winners, x.shape, g), wanted)
            assert_same(primitives.max_pool_gather(x, winners, g), y)


@settings(max_examples=60)
@given(
    pools(dilated=False), st.booleans(), st.sampled_from([None, None, 3, -2]), orders, pieces, seeds
)
def test_average_pooling(laid_out, case, count_include_pad, divisor, order, size, seed):
    """The sums are exact and the quotient is the same rounding of the same number."""
    x_shape, g = case
    rng = np.random.default_rng(seed)
    x = integers(rng, x_shape, np.float32)
    options = (g, count_include_pad, divisor)
    y = reference.avg_pool_forward(x, *options)
    grad_y = 144 * integers(rng, y.shape, np.float32)  # so that every usual count divides it
    with cut_into(size):
        assert_same(cpu.avg_pool_forward(laid_out(x, order), *options), y)
        result = cpu.avg_pool_backward(laid_out(grad_y, order), x_shape, *options)
        wanted = reference.avg_pool_backward(grad_y, x_shape, *options)
        assert np.allclose(result, wanted, rtol=1e-6, atol=1e-3)


@st.composite
def adaptive_pools(draw):
    dims = draw(st.integers(1, 3))
    largest = 9 if dims < 3 else 5
    size, out_size = (
        tuple(draw(st.integers(1, most)) for _ in range(dims)) for most in (largest, largest + 1)
    )
    return (draw(st.integers(0, 2)), draw(st.integers(1, 3)), *size), out_size


@settings(max_examples=80)
@given(adaptive_pools(), orders, st.booleans(), seeds)
def test_adaptive_pooling(laid_out, case, order, nan, seed):
    x_shape, out_size = case
    rng = np.random.default_rng(seed)
    x = integers(rng, x_shape, np.float32)
    assert_same(
        cpu.adaptive_avg_pool_forward(laid_out(x, order), out_size),
        reference.adaptive_avg_pool_forward(x, out_size),
    )
    grad_y = integers(rng, (*x_shape[:2], *out_size), np.float32)
    result = cpu.adaptive_avg_pool_backward(laid_out(grad_y, order), x_shape)
    assert np.allclose(result, reference.adaptive_avg_pool_backward(grad_y, x_shape), atol=1e-5)
    if nan:
        x[rng.random(x_shape) < 0.2] = np.nan
    assert_same(
        cpu.adaptive_max_pool_forward(laid_out(x, order), out_size),
        reference.adaptive_max_pool_forward(x, out_size),
    )


@settings(max_examples=60)
@given(adaptive_pools(), dtypes, orders, orders, seeds)
def test_unpooling(laid_out, case, dtype, order_x, order_y, seed):
    """With places that several values name, and places that none does."""
    y_shape, size = case
    rng = np.random.default_rng(seed)
    x_shape = (*y_shape[:2], *size)
    x, grad_y = integers(rng, x_shape, dtype), integers(rng, y_shape, dtype)
    indices = rng.integers(0, np.prod(y_shape[2:]), x_shape)
    x2, grad_y2 = laid_out(x, order_x), laid_out(grad_y, order_y)
    for places in (indices, laid_out(indices, order_y)):
        wanted = reference.max_unpool_forward(x, indices, y_shape[2:])
        assert_same(cpu.max_unpool_forward(x2, places, y_shape[2:]), wanted)
        wanted = reference.max_unpool_backward(grad_y, indices)
        assert_same(cpu.max_unpool_backward(grad_y2, places), wanted)


@settings(max_examples=60)
@given(pools(dilated=True), dtypes, orders, seeds)
def test_stochastic_pooling(laid_out, case, dtype, order, seed):
    """Running sums of small integers are exact, so the same u draws the same pixel."""
    x_shape, g = case
    rng = np.random.default_rng(seed)
    x = np.maximum(integers(rng, x_shape, dtype), 0)  # half are zero, and whole windows
    u = rng.choice([0.0, 0.25, 0.5, 1 - 2**-53], (*x_shape[:2], *g.out_size))
    wanted = reference.stochastic_pool_forward(x, u, g)
    assert_same(cpu.stochastic_pool_forward(laid_out(x, order), laid_out(u, order), g), wanted)


@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=5),
    st.booleans(),
    st.booleans(),
    st.permutations(range(5)),
    pieces,
    seeds,
)
def test_batch_norm(shape, with_weight, with_bias, axes, size, seed):
    rng = np.random.default_rng(seed)
    x, grad_y = rng.standard_normal((2, *shape))
    axes = [axis for axis in axes if axis < x.ndim]
    back = np.argsort(axes)
    x2 = np.ascontiguousarray(x.transpose(axes)).transpose(back)
    w = rng.standard_normal(shape[1]) if with_weight else None
    b = rng.standard_normal(shape[1]) if with_bias else None
    wanted = reference.batch_norm_forward(x, w, b, 0.1)
    _, mean, var = wanted
    inv_std = 1 / np.sqrt(var + 0.1)
    with cut_into(size):
        results = cpu.batch_norm_forward(x2, w, b, 0.1)
        for result, want in zip(results, wanted, strict=True):
            assert np.allclose(result, want, rtol=1e-12, atol=1e-12)
        results = cpu.batch_norm_backward(grad_y, x2, w, mean, inv_std)
        wanted = reference.batch_norm_backward(grad_y, x, w, mean, inv_std)
        for result, want in zip(results, wanted, strict=True):
            assert np.allclose(result, want, rtol=1e-12, atol=1e-12)
        result = cpu.batch_norm_inference(x2, w, b, mean, var, 0.1)
        wanted = reference.batch_norm_inference(x, w, b, mean, var, 0.1)
        assert np.allclose(result, wanted, rtol=1e-12, atol=1e-12)


@given(
    st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 2)),
    st.lists(st.integers(0, 4), max_size=3),
    st.booleans(),
    st.booleans(),
    orders,
    orders,
    seeds,
)
def test_group_norm(laid_out, sizes, size, with_weight, with_bias, order_x, order_y, seed):
    N, groups, channels = sizes
    C = groups * channels
    rng = np.random.default_rng(seed)
    x, grad_y = rng.standard_normal((2, N, C, *size))
    x2, grad_y2 = (laid_out(x, order_x), laid_out(grad_y, order_y)) if size else (x, grad_y)
    w = rng.standard_normal(C) if with_weight else None
    b = rng.standard_normal(C) if with_bias else None
    wanted = reference.group_norm_forward(x, w, b, groups, 0.1)
    _, mean, var = wanted
    inv_std = 1 / np.sqrt(var + 0.1)
    results = cpu.group_norm_forward(x2, w, b, groups, 0.1)
    results += (cpu.group_norm_grad_input(grad_y2, x2, w, mean, inv_std),)
    wanted += (reference.group_norm_grad_input(grad_y, x, w, mean, inv_std),)
    results += cpu.group_norm_grad_affine(grad_y2, x2, mean, inv_std)
    wanted += reference.group_norm_grad_affine(grad_y, x, mean, inv_std)
    for result, want in zip(results, wanted, strict=True):
        assert (result.dtype, result.shape) == (want.dtype, want.shape)
        assert np.allclose(result, want, rtol=1e-12, atol=1e-12)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 3), seeds)
def test_softmax(shape, axis, seed):
    axis %= len(shape)
    rng = np.random.default_rng(seed)
    x, grad_y = 20 * rng.standard_normal((2, *shape))
    for name in ("softmax", "log_softmax"):
        y = getattr(cpu, f"{name}_forward")(x, axis)
        wanted = getattr(reference, f"{name}_forward")(x, axis)
        assert np.allclose(y, wanted, rtol=1e-12, atol=1e-12)
        grad_x = getattr(cpu, f"{name}_backward")(grad_y, y, axis)
        wanted = getattr(reference, f"{name}_backward")(grad_y, y, axis)
        assert np.allclose(grad_x, wanted, rtol=1e-11, atol=1e-11)


@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.booleans(),
    st.sampled_from([None, 0, -100]),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.booleans(),
    orders,
    seeds,
)
def test_cross_entropy(laid_out, shape, weighted, ignored, smooth, one, order, seed):
    rng = np.random.default_rng(seed)
    x = 20 * rng.standard_normal(shape)
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    if ignored is not None:
        target[rng.random(target.shape) < 0.3] = ignored
    weight = rng.random(shape[1]) if weighted else None
    options = (ignored, smooth)
    wanted = reference.cross_entropy_forward(x, target, weight, *options)
    x2 = laid_out(x, order) if x.ndim > 2 else x
    for result, want in zip(
        cpu.cross_entropy_forward(x2, target, weight, *options), wanted, strict=True
    ):
        assert np.allclose(result, want, rtol=1e-12, atol=1e-12)
    g = np.asarray(rng.standard_normal(() if one else target.shape))
    arguments = (target, weight, *wanted[1:], *options)
    result = cpu.cross_entropy_backward(g, x2, *arguments)
    want = reference.cross_entropy_backward(g, x, *arguments)
    assert np.allclose(result, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("position_major", [False, True])
@pytest.mark.parametrize("shape", [(1, 2, 3, 700), (2, 3, 4, 101), (1, 4, 40, 90), (1, 1, 1, 2000)])
def test_a_sum_over_positions_in_pieces(shape, position_major):
    """A product cut into small ones, with what is left over, is the product."""
    G, R, T, M = shape
    rng = np.random.default_rng(0)
    a, b = (integers(rng, (G, rows, M), np.float32) for rows in (R, T))
    if position_major:
        a, b = (np.ascontiguousarray(m.swapaxes(1, 2)).swapaxes(1, 2) for m in (a, b))
    with cut_into(1):
        total = columns.product_sum(a, b)
    assert np.array_equal(total, np.einsum("grm,gtm->grt", a, b))


@pytest.mark.parametrize("channels", [(3, 8), (40, 48)], ids=str)
def test_convolution_in_floating_point(channels):
    """Sums of many products, in float32: within a few roundings of the exact sums."""
    C, F = channels
    g = ConvGeometry.of((2, C, 9, 8), (F, C, 3, 3), (F,), (1, 2), 1)
    rng = np.random.default_rng(0)
    x, w, b, grad_y = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in (g.x_shape, g.w_shape, (F,), g.y_shape)
    )
    for name, arrays in (
        ("conv_forward", (x, w, b)),
        ("conv_grad_input", (grad_y, w)),
        ("conv_grad_weight", (x, grad_y)),
    ):
        result = getattr(cpu, name)(*arrays, g)
        exact = getattr(cpu, name)(*[a.astype(np.float64) for a in arrays], g)
        assert np.abs(result - exact).max() < 1e-6 * np.abs(exact).max(), name


def test_complex_numbers_pass_through():
    """The complex step needs them: the derivative of an analytic function without a difference."""
    g = ConvGeometry.of((2, 2, 5, 5), (3, 2, 3, 3), None, 2, 1)
    rng = np.random.default_rng(0)
    x, w, grad_y = (
        integers(rng, s, np.complex128) + 1j * integers(rng, s, np.complex128)
        for s in (g.x_shape, g.w_shape, g.y_shape)
    )
    assert_same(cpu.conv_forward(x, w, None, g), reference.conv_forward(x, w, None, g))
    assert_same(cpu.conv_grad_input(grad_y, w, g), reference.conv_grad_input(grad_y, w, g))
    assert_same(cpu.conv_grad_weight(x, grad_y, g), reference.conv_grad_weight(x, grad_y, g))
    for result, want in zip(
        cpu.batch_norm_forward(x, None, None, 0.1),
        reference.batch_norm_forward(x, None, None, 0.1),
        strict=True,
    ):
        assert np.allclose(result, want, rtol=1e-12)


def test_the_average_of_a_large_image_is_right_to_a_few_units():
    """A million numbers added up one row after the other would round many times as much."""
    x = np.random.default_rng(0).uniform(1, 2, (1, 2, 1000, 1000)).astype(np.float32)
    y = cpu.adaptive_avg_pool_forward(x, (1, 1))
    assert y.dtype == np.float32 and y.shape == (1, 2, 1, 1)
    np.testing.assert_allclose(y[0, :, 0, 0], x.mean((0, 2, 3), np.float64), rtol=2.5e-7)

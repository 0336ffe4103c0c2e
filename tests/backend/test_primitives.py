"""What holds for the primitives of every backend, on generated shapes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minicnn.backend.geometry import ConvGeometry, PoolGeometry

C = 4


def inner(a, b):
    return float((a.astype(np.float64) * b).sum())


def tensors(seed, *shapes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def test_convolution_gradients_are_its_adjoints(primitives, convolution, integers):
    """Exactly: sums of small integers are not rounded."""
    g = convolution
    x, w, grad_y = integers(g.x_shape), integers(g.w_shape), integers(g.y_shape)
    wanted = inner(primitives.conv_forward(x, w, None, g), grad_y)
    assert inner(x, primitives.conv_grad_input(grad_y, w, g)) == wanted
    assert inner(w, primitives.conv_grad_weight(x, grad_y, g)) == wanted


def test_im2col_and_col2im_are_adjoint(primitives, convolution, integers):
    x = integers(convolution.x_shape)
    cols = primitives.im2col(x, convolution)
    other = integers(cols.shape)
    back = primitives.col2im(other, convolution)
    assert back.shape == x.shape
    assert inner(x, back) == inner(cols, other)


def test_convolution_is_a_product_with_the_columns(primitives, convolution, integers):
    g = convolution
    if g.groups > 1:
        pytest.skip("the product is per group")
    F = g.out_channels
    x, w, b = integers(g.x_shape), integers(g.w_shape), integers(F)
    y = w.reshape(F, -1) @ primitives.im2col(x, g) + b[:, None]
    assert np.array_equal(primitives.conv_forward(x, w, b, g), y.reshape(g.y_shape))


def test_pooling_gradients_are_adjoints(primitives, pooling, integers):
    x_shape = (2, 4, *pooling.size)
    x = integers(x_shape)
    y, indices = primitives.max_pool_forward(x, pooling)
    assert np.array_equal(primitives.max_pool_gather(x, indices), y)
    other, grad_y = integers(x_shape), integers(y.shape)
    grad_x = primitives.max_pool_backward(grad_y, indices, x_shape)
    assert inner(other, grad_x) == inner(primitives.max_pool_gather(other, indices), grad_y)


@pytest.mark.parametrize("options", [(True, None), (False, None), (True, 7)])
def test_average_pooling_gradients_are_adjoints(primitives, options):
    g = PoolGeometry.of((2, C, 7, 8), (3, 2), (1, 3), (1, 0), 1, True)
    x, grad_y = tensors(4, (2, C, *g.size), (2, C, *g.out_size))
    y = primitives.avg_pool_forward(x, g, *options)
    grad_x = primitives.avg_pool_backward(grad_y, x.shape, g, *options)
    assert inner(x, grad_x) == pytest.approx(inner(y, grad_y), rel=1e-12)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_unpooling_is_linear_with_its_adjoint(primitives, dims):
    size, out_size = (3, 2, 4)[:dims], (4, 3, 5)[:dims]
    x, grad_y = tensors(7, (2, C, *size), (2, C, *out_size))
    # More values than places at first: most are written over.
    indices = np.random.default_rng(8).integers(0, 1 + np.prod(out_size) // 2, x.shape)
    y = primitives.max_unpool_forward(x, indices, out_size)
    grad_x = primitives.max_unpool_backward(grad_y, indices)
    assert inner(y, grad_y) == pytest.approx(inner(x, grad_x), rel=1e-12)


@pytest.mark.parametrize("out_size", [(1, 1), (4, 5), (8, 3), (4,), (4, 9, 2)])
def test_adaptive_pooling_gradient_is_its_adjoint(primitives, out_size):
    x_shape = (2, C, 6, 9, 4)[: 2 + len(out_size)]
    x, grad_y = tensors(6, x_shape, (2, C, *out_size))
    y = primitives.adaptive_avg_pool_forward(x, out_size)
    grad_x = primitives.adaptive_avg_pool_backward(grad_y, x_shape)
    assert inner(x, grad_x) == pytest.approx(inner(y, grad_y), rel=1e-12)


def central_difference(f, x, direction, grad_y, h=1e-5):
    return inner(f(x + h * direction) - f(x - h * direction), grad_y) / (2 * h)


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2), (2, 3, 4, 5)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_gradients(primitives, shape, affine):
    x, grad_y, direction = tensors(7, shape, shape, shape)
    w, b, dw, db = tensors(8, *[(3,)] * 4)
    eps = 0.1
    weight, bias = (w, b) if affine else (None, None)
    _, mean, var = primitives.batch_norm_forward(x, weight, bias, eps)
    inv_std = 1 / np.sqrt(var + eps)
    grad_x, grad_w, grad_b = primitives.batch_norm_backward(grad_y, x, weight, mean, inv_std)

    def y_of(values, w_=weight, b_=bias):
        return primitives.batch_norm_forward(values, w_, b_, eps)[0]

    slope = central_difference(y_of, x, direction, grad_y)
    assert inner(grad_x, direction) == pytest.approx(slope, rel=1e-7)
    if affine:
        slope = central_difference(lambda v: y_of(x, v, b), w, dw, grad_y)
        assert inner(grad_w, dw) == pytest.approx(slope, rel=1e-7)
        slope = central_difference(lambda v: y_of(x, w, v), b, db, grad_y)
        assert inner(grad_b, db) == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_gradients(primitives, name, axis):
    forward = getattr(primitives, f"{name}_forward")
    backward = getattr(primitives, f"{name}_backward")
    x, grad_y, direction = tensors(9, *[(3, 4, 5)] * 3)
    grad_x = backward(grad_y, forward(x, axis), axis)
    slope = central_difference(lambda v: forward(v, axis), x, direction, grad_y)
    assert inner(grad_x, direction) == pytest.approx(slope, rel=1e-7)


# Numerics


@pytest.mark.parametrize("offset", [1e3, -1e4, 1e6])
def test_batch_norm_under_a_large_offset(primitives, offset):
    """E[x^2] - E[x]^2 has no digit left: float32 carries 7, E[x^2] is up to 1e10 variances."""
    rng = np.random.default_rng(0)
    spread = rng.integers(-8, 9, (4, 2, 3, 3)).astype(np.float32)
    x = spread + np.float32(offset)  # exact in float32
    exact = spread.astype(np.float64)
    wanted = exact - exact.mean(axis=(0, 2, 3), keepdims=True)
    wanted /= np.sqrt((wanted**2).mean(axis=(0, 2, 3), keepdims=True) + 1e-5)
    y, mean, var = primitives.batch_norm_forward(x, None, None, 1e-5)
    assert y.dtype == mean.dtype == var.dtype == np.float32
    step = abs(offset) * 1.2e-7  # the mean itself is rounded to float32
    assert np.allclose(y, wanted, rtol=1e-5, atol=1e-5 + 0.5 * step)


def test_batch_norm_of_constants_is_the_bias(primitives):
    x = np.full((4, 2, 3, 3), 0.1, np.float32)
    y, _, var = primitives.batch_norm_forward(x, None, np.array([1, 2], np.float32), 1e-5)
    assert np.allclose(y, np.array([1, 2]).reshape(1, 2, 1, 1), atol=1e-4)
    assert ((var >= 0) & (var < 1e-10)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_huge_logits(primitives, dtype):
    x = np.array([[1e30, 1e30, -1e30], [-1e30, 0, -5], [700, 800, 900]], dtype)
    y = primitives.softmax_forward(x, 1)
    assert np.allclose(
        y, [[0.5, 0.5, 0], [0, 1 / (1 + np.exp(-5)), 1 / (1 + np.exp(5))], [0, 0, 1]]
    )
    log_y = primitives.log_softmax_forward(x, 1)
    assert np.allclose(log_y[2], [-200, -100, 0])
    assert np.isfinite(log_y).all()


def test_softmax_with_infinities(primitives):
    x = np.array([[-np.inf, 0.0, 0.0], [-np.inf, -np.inf, -np.inf], [np.inf, 0.0, 0.0]])
    y = primitives.softmax_forward(x, 1)
    assert y[0].tolist() == [0, 0.5, 0.5]
    assert np.isnan(y[1]).all()
    assert np.isnan(y[2]).any()
    with np.errstate(divide="ignore"):
        assert primitives.log_softmax_forward(x, 1)[0, 0] == -np.inf


# Dtypes, empty batches, inputs


def calls(p, dtype, n=2):
    """(name, function of the arrays, the arrays): every primitive on a small example."""
    conv = ConvGeometry.of((n, 2, 4, 5), (4, 2, 3, 3), (4,), 1, 1)
    strided = ConvGeometry.of((n, 2, 4, 5), (4, 2, 3, 3), (4,), 2, 1)
    point = ConvGeometry.of((n, 2, 4, 5), (4, 2, 1, 1), (4,))
    depth = ConvGeometry.of((n, 2, 4, 5), (4, 1, 3, 3), (4,), 1, 1, 1, 2)
    pool = PoolGeometry.of((n, 2, 4, 5), 2, ceil_mode=True)
    rng = np.random.default_rng(0)

    def make(*shapes):
        return [rng.standard_normal(shape).astype(dtype) for shape in shapes]

    line = ConvGeometry.of((n, 2, 5), (4, 2, 3), (4,), 1, 1, function="conv1d")
    volume = ConvGeometry.of((n, 2, 3, 4, 2), (4, 2, 2, 3, 2), (4,), 1, 1, function="conv3d")
    for name, g in (
        ("", conv),
        (" strided", strided),
        (" 1x1", point),
        (" depthwise", depth),
        (" 1d", line),
        (" 3d", volume),
    ):
        x, w, b, grad_y = make(g.x_shape, g.w_shape, (4,), g.y_shape)
        yield "conv_forward" + name, lambda x, w, b, g=g: p.conv_forward(x, w, b, g), (x, w, b)
        yield "conv_grad_input" + name, lambda d, w, g=g: p.conv_grad_input(d, w, g), (grad_y, w)
        yield "conv_grad_weight" + name, lambda x, d, g=g: p.conv_grad_weight(x, d, g), (x, grad_y)
        for k, kind in enumerate(("input", "weight", "bias")):
            yield (
                f"conv_grad_{kind} together" + name,
                lambda d, x, w, g=g, k=k: p.conv_backward(d, x, w, g, (True, True, True))[k],
                (grad_y, x, w),
            )
    x, cols, grad_y = make((n, 2, 4, 5), (n, 18, 20), (n, 2, 2, 3))
    _, indices = p.max_pool_forward(x, pool)
    yield "im2col", lambda x: p.im2col(x, conv), (x,)
    yield "col2im", lambda c: p.col2im(c, conv), (cols,)
    wide, wide_cols = make(volume.x_shape, (n, 24, 48))
    yield "im2col 3d", lambda x: p.im2col(x, volume), (wide,)
    yield "col2im 3d", lambda c: p.col2im(c, volume), (wide_cols,)
    yield "max_pool_forward", lambda x: p.max_pool_forward(x, pool)[0], (x,)
    yield "max_pool_backward", lambda d: p.max_pool_backward(d, indices, x.shape), (grad_y,)
    yield "max_pool_gather", lambda x: p.max_pool_gather(x, indices), (x,)
    yield "avg_pool_forward", lambda x: p.avg_pool_forward(x, pool), (x,)
    yield "avg_pool_backward", lambda d: p.avg_pool_backward(d, x.shape, pool), (grad_y,)
    yield "adaptive_avg_pool_forward", lambda x: p.adaptive_avg_pool_forward(x, (2, 3)), (x,)
    yield (
        "adaptive_avg_pool_backward",
        lambda d: p.adaptive_avg_pool_backward(d, x.shape),
        (grad_y,),
    )
    yield "adaptive_max_pool_forward", lambda x: p.adaptive_max_pool_forward(x, (3, 2))[0], (x,)
    yield "max_unpool_forward", lambda y: p.max_unpool_forward(y, indices, (4, 5)), (grad_y,)
    yield "max_unpool_backward", lambda d: p.max_unpool_backward(d, indices), (x,)
    u = rng.random(grad_y.shape)
    yield (
        "stochastic_pool_forward",
        lambda x: p.stochastic_pool_forward(x, u, pool)[0],
        (np.abs(x),),
    )
    w, b, grad_y = make((2,), (2,), x.shape)
    var = np.abs(w)
    yield "batch_norm_forward", lambda x, w, b: p.batch_norm_forward(x, w, b, 0.1)[0], (x, w, b)
    yield (
        "batch_norm_inference",
        lambda x, w, b, m, v: p.batch_norm_inference(x, w, b, m, v, 0.1),
        (x, w, b, b, var),
    )
    yield (
        "batch_norm_backward",
        lambda d, x, w, m, s: p.batch_norm_backward(d, x, w, m, s)[0],
        (grad_y, x, w, b, var),
    )
    yield "group_norm_forward", lambda x, w, b: p.group_norm_forward(x, w, b, 2, 0.1)[0], (x, w, b)
    m, s = make((n, 2), (n, 2))
    yield (
        "group_norm_grad_input",
        lambda d, x, w: p.group_norm_grad_input(d, x, w, m, s),
        (grad_y, x, w),
    )
    for name in ("softmax", "log_softmax"):
        forward, backward = getattr(p, f"{name}_forward"), getattr(p, f"{name}_backward")
        yield f"{name}_forward", lambda x, f=forward: f(x, 1), (x,)
        yield f"{name}_backward", lambda d, y, f=backward: f(d, y, 1), (grad_y, -np.abs(x))
    target = rng.integers(0, 3, (n, 4, 5))
    _, m, total = p.cross_entropy_forward(x, target, None, 2)
    yield (
        "cross_entropy_forward",
        lambda x, w: p.cross_entropy_forward(x, target, w, 2, 0.1)[0],
        (x, var),
    )
    yield (
        "cross_entropy_backward",
        lambda g, x, w: p.cross_entropy_backward(g, x, target, w, m, total, 2, 0.1),
        (grad_y[:, 0], x, var),
    )


@pytest.mark.parametrize("dtypes", [(np.float32, np.float32), (np.float64, np.complex128)])
def test_the_type_of_a_product(dtypes, primitives):
    a, b = np.ones((2, 3), dtypes[0]), np.ones((3, 2), dtypes[1])
    assert primitives.matmul(a, b).dtype == np.result_type(*dtypes)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_are_kept_and_half_precision_is_summed_in_single(primitives, dtype):
    for name, function, arrays in calls(primitives, dtype):
        result = function(*arrays)
        assert result.dtype == dtype, name
        exact = function(*[a.astype(np.float64) for a in arrays])
        assert result.shape == exact.shape, name
        # One rounding of the result, where sums in float16 would make several.
        tolerance = {np.float16: 6e-4, np.float32: 2e-6, np.float64: 1e-14}[dtype]
        scale = np.abs(exact).max()
        assert np.allclose(result, exact, rtol=tolerance, atol=tolerance * scale), name


def test_inputs_are_not_changed(primitives, laid_out, memory_orders):
    for order in memory_orders:
        for name, function, arrays in calls(primitives, np.float32):
            arrays = [laid_out(a, order) if a.ndim >= 3 else a for a in arrays]
            copies = [a.copy() for a in arrays]
            for a in arrays:
                a.setflags(write=False)
            result = function(*arrays)
            for a, copy in zip(arrays, copies, strict=True):
                assert np.array_equal(a, copy), (name, order)
                assert not np.may_share_memory(result, a), (name, order)


def test_results_are_the_callers_own(primitives):
    """A later call must not write into an earlier result: nothing is handed out of scratch."""
    for name, function, arrays in calls(primitives, np.float32):
        first = function(*arrays)
        kept = first.copy()
        second = function(*[a + 1 for a in arrays])
        assert np.array_equal(first, kept), name
        assert first.flags.writeable, name
        assert not np.may_share_memory(first, second), name


def test_empty_batches(primitives):
    filled = {
        name: function(*arrays).shape for name, function, arrays in calls(primitives, np.float32)
    }
    for name, function, arrays in calls(primitives, np.float32, n=0):
        result = function(*arrays)
        assert result.dtype == np.float32, name
        if name.startswith(("conv_grad_weight", "conv_grad_bias")):
            assert result.shape == filled[name]
            assert not result.any()
        else:
            assert result.shape == (0, *filled[name][1:]), name


def test_batch_norm_of_an_empty_batch(primitives):
    x = np.zeros((0, 3, 4, 4), np.float32)
    y, mean, var = primitives.batch_norm_forward(x, None, None, 0.25)
    assert mean.tolist() == var.tolist() == [0, 0, 0]
    _, grad_w, grad_b = primitives.batch_norm_backward(y, x, None, mean, var + 2)
    assert grad_w.tolist() == grad_b.tolist() == [0, 0, 0]


def test_broadcast_gradients(primitives):
    """The gradient of a sum is one number with strides 0; that of a sum over n, one image."""
    for x_shape, features in (((3, 2, 4, 5), 4), ((3, 2, 1, 6), 1), ((1, 2, 1, 1), 1)):
        for axes in itertools.product([0, 1], repeat=4):
            g = ConvGeometry.of(x_shape, (features, 2, 3, 3), None, 1, 1)
            shape = [1 if axis else n for n, axis in zip(g.y_shape, axes, strict=True)]
            x, w, grad_y = tensors(10, g.x_shape, g.w_shape, shape)
            broadcast = np.broadcast_to(grad_y, g.y_shape)
            whole = broadcast.copy()
            for one, other in (
                (
                    primitives.conv_grad_input(broadcast, w, g),
                    primitives.conv_grad_input(whole, w, g),
                ),
                (
                    primitives.conv_grad_weight(x, broadcast, g),
                    primitives.conv_grad_weight(x, whole, g),
                ),
            ):
                assert np.allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_softmax_sums_to_one_and_ignores_a_shift(primitives, seed, axis):
    [x] = tensors(seed, (3, 4, 2))
    y = primitives.softmax_forward(10 * x, axis)
    assert np.allclose(y.sum(axis=axis), 1, rtol=1e-13)
    assert np.allclose(primitives.softmax_forward(10 * x + 1000, axis), y, rtol=1e-9)
    assert np.allclose(np.exp(primitives.log_softmax_forward(10 * x, axis)), y, rtol=1e-12)

"""Which algorithm a convolution on the CPU takes, and that each gives the same sums."""

from __future__ import annotations

import threading
import tracemalloc
from functools import cache

import numpy as np
import pytest

import minicnn
from minicnn.backend import cpu, reference
from minicnn.backend.cpu import (
    algorithm,
    chunks,
    columns,
    conv,
    elementwise,
    layout,
    rows,
    scratch,
    threads,
    turned,
    winograd,
)
from minicnn.backend.geometry import ConvGeometry

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
assume, given, settings = hypothesis.assume, hypothesis.given, hypothesis.settings

# The largest error, relative to the largest entry of the result.
ERROR = dict.fromkeys(algorithm.NAMES, 2e-6) | {"winograd4": 3e-5, "auto": 3e-5}

GEOMETRIES = {
    "3x3": ConvGeometry.of((2, 8, 9, 7), (6, 8, 3, 3), None, 1, 1),
    "strided": ConvGeometry.of((2, 16, 7, 6), (33, 16, 3, 3), None, 2, 1),
    "1x1": ConvGeometry.of((3, 40, 6, 5), (33, 40, 1, 1)),
    "1x1 strided": ConvGeometry.of((3, 40, 6, 5), (33, 40, 1, 1), None, 2),
    "depthwise": ConvGeometry.of((2, 6, 8, 7), (6, 1, 3, 3), None, 1, 1, groups=6),
    "few channels": ConvGeometry.of((3, 2, 9, 8), (7, 2, 5, 4), None, (2, 1), 2, (1, 2)),
    "first": ConvGeometry.of((1, 3, 15, 15), (33, 3, 7, 7), None, 4, 2),
    "row": ConvGeometry.of((2, 4, 30), (8, 4, 5), None, 1, 2, function="conv1d"),
    "volume": ConvGeometry.of((1, 4, 4, 5, 6), (5, 4, 3, 3, 3), None, 1, 1, function="conv3d"),
}


def arrays(g, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (g.x_shape, g.w_shape, (g.out_channels,), g.y_shape)
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


def everything(primitives, g, x, w, b, grad_y):
    return (
        primitives.conv_forward(x, w, b, g),
        primitives.conv_forward(x, w, b, g, relu=True),
        primitives.conv_grad_input(grad_y, w, g),
        primitives.conv_grad_weight(x, grad_y, g),
        *primitives.conv_backward(grad_y, x, w, g, (True, True, True)),
    )


@cache
def looped(geometry):
    g = GEOMETRIES[geometry]
    return everything(reference, g, *arrays(g))


@pytest.mark.parametrize("name", algorithm.NAMES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_algorithm_gives_the_same_sums(geometry, name):
    g = GEOMETRIES[geometry]
    case = arrays(g)
    wanted = looped(geometry)
    with minicnn.backends.cpu.use_conv_algorithm(name):
        for result, want in zip(everything(cpu, g, *case), wanted, strict=True):
            assert result.dtype == np.float32
            assert np.abs(result - want).max() <= ERROR[name] * np.abs(want).max()


@st.composite
def strided(draw):
    """Strides, dilations and paddings of which some pixels are read by no tap, some by several."""
    axes = []
    for _ in range(2):
        kernel, stride, dilation = (draw(st.integers(1, most)) for most in (5, 4, 4))
        low, high = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        smallest = max(1, dilation * (kernel - 1) + 1 - low - high)
        size = smallest + draw(st.integers(0, 6))
        axes.append((size, kernel, stride, (low, high), dilation))
    sizes, kernels, strides, paddings, dilations = zip(*axes, strict=True)
    groups = draw(st.integers(1, 2))
    return ConvGeometry.of(
        (draw(st.integers(1, 2)), 2 * groups, *sizes),
        (3 * groups, 2, *kernels),
        None,
        strides,
        paddings,
        dilations,
        groups,
    )


@settings(max_examples=150)
@given(strided(), st.integers(0, 99))
def test_the_gradient_as_convolutions_of_the_gradient(g, seed):
    """`turned` for strides and dilations of every kind, where the sizes would not choose it."""
    rng = np.random.default_rng(seed)
    w, grad_y = (rng.integers(-4, 5, s).astype(np.float32) for s in (g.w_shape, g.y_shape))
    wanted = reference.conv_grad_input(grad_y, w, g)
    assert np.array_equal(turned.grad_input(grad_y, w, g, np.dtype(np.float32)), wanted)
    result = columns.grad_input(grad_y, w, g, np.dtype(np.float32))
    assert np.array_equal(result, wanted)


@settings(max_examples=150)
@given(strided(), st.booleans(), st.integers(0, 99), st.sampled_from([1, 60, 1 << 19]))
def test_columns_along_the_rows_alone(g, with_bias, seed, aim):
    """`rows` for all that it serves, in chunks of one output row and of many."""
    f4 = np.dtype(np.float32)
    assume(rows.serves(g, f4))
    rng = np.random.default_rng(seed)
    x, w, b, grad_y = (
        rng.integers(-4, 5, s).astype(f4) for s in (g.x_shape, g.w_shape, g.out_channels, g.y_shape)
    )
    b = b if with_bias else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_AIM", aim)
        y = rows.forward(x, w, b, g, f4)
        assert np.array_equal(y, reference.conv_forward(x, w, b, g))
        assert np.array_equal(rows.forward(x, w, b, g, f4, relu=True), np.maximum(y, 0))
        grad_w, grad_b = rows.grad_weight(x, grad_y, g, f4, with_bias)
        assert np.array_equal(grad_w, reference.conv_grad_weight(x, grad_y, g))
        assert grad_w.flags.c_contiguous and grad_w.base is None
        assert (grad_b is not None) == with_bias
        if with_bias:
            assert np.array_equal(grad_b, grad_y.sum(axis=(0, 2, 3)))
        if rows.gives_gradient(g, f4):
            grad_x = rows.grad_input(grad_y, w, g, f4)
            assert np.array_equal(grad_x, reference.conv_grad_input(grad_y, w, g))


def test_small_products_over_long_rows():
    """LeNet's second convolution on a large batch, whose products are cut, with a rest."""
    g = ConvGeometry.of((150, 6, 14, 14), (16, 6, 5, 5))
    pieces, step = columns.small_products(16, 155, 10 * 150)
    assert pieces > 1 and pieces * step < 10 * 150
    rng = np.random.default_rng(0)
    x, w, grad_y = (
        rng.integers(-2, 3, s).astype(np.float32) for s in (g.x_shape, g.w_shape, g.y_shape)
    )
    f4 = np.dtype(np.float32)
    y = rows.forward(x, w, None, g, f4)
    assert np.array_equal(y, columns.forward(x, w, None, g, f4))
    wanted = columns.grad_weight(x, grad_y, g, f4)[0]
    assert np.array_equal(rows.grad_weight(x, grad_y, g, f4)[0], wanted)
    wanted = columns.grad_input(grad_y, w, g, f4)
    assert np.array_equal(rows.grad_input(grad_y, w, g, f4), wanted)


def test_a_handful_of_channels_has_columns_along_the_rows_alone(monkeypatch):
    """LeNet's convolutions; not dilated down the columns, of many channels, or too large."""
    f4 = np.dtype(np.float32)
    lenet = ConvGeometry.of((2, 6, 14, 14), (16, 6, 5, 5))
    assert rows.serves(lenet, f4) and rows.gives_gradient(lenet, f4)
    assert not rows.serves(ConvGeometry.of((2, 3, 32, 32), (64, 3, 3, 3), None, 1, 1), f4)
    assert not rows.serves(ConvGeometry.of((2, 6, 14, 14), (16, 6, 5, 5), None, 1, 0, (2, 1)), f4)
    strided = ConvGeometry.of((2, 6, 14, 14), (16, 6, 5, 5), None, (2, 1))
    assert rows.serves(strided, f4) and not rows.gives_gradient(strided, f4)
    monkeypatch.setattr(scratch, "COLUMN_LIMIT", 5 * (6 * 5 + 1) * 10 * 2 * 4)
    assert rows.serves(lenet, f4)
    monkeypatch.setattr(scratch, "COLUMN_LIMIT", scratch.COLUMN_LIMIT - 1)
    assert not rows.serves(lenet, f4)


def test_a_stride_beyond_all_sizes():
    """Down the columns of the image too: of the first row of outputs there is no next."""
    for dtype in (np.float32, np.float64):
        g = ConvGeometry.of((2, 1, 5, 5), (2, 1, 3, 3), None, (2**62, 1))
        case = arrays(g, dtype)
        pairs = zip(everything(cpu, g, *case), everything(reference, g, *case), strict=True)
        for result, want in pairs:
            np.testing.assert_allclose(result, want, rtol=0, atol=1e-5)


def test_the_gradient_of_weights_from_a_narrow_image_takes_little_memory():
    """A product for each of 20,000 rows of outputs, 880 numbers each: 70 MB side by side."""
    g = ConvGeometry.of((1, 4, 20_000, 1), (16, 4, 11, 1))
    f4 = np.dtype(np.float32)
    assert rows.serves(g, f4)
    x, _, _, grad_y = arrays(g)
    tracemalloc.start()
    try:
        grad_w, _ = rows.grad_weight(x, grad_y, g, f4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6
    wanted, _ = columns.grad_weight(x, grad_y, g, f4)
    np.testing.assert_allclose(grad_w, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_from_one_tap_to_the_next_is_an_odd_number_of_cache_lines():
    for positions in (1, 16, 1000, 1024, 4096):
        for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
            matrix = columns.by_tap((2, 3, positions), dtype)
            assert matrix.shape == (2, 3, positions)
            assert matrix.strides[1] // 64 % 2 == 1 and matrix.strides[1] % 64 == 0


@pytest.mark.parametrize("geometry", [name for name, g in GEOMETRIES.items() if len(g.size) == 2])
@pytest.mark.parametrize("order", [layout.NCHW, layout.NHWC, layout.CHWN])
def test_operands_with_gaps_that_must_be_copied(geometry, order):
    """Every second column of wider images: no matrix as they lie, neither x nor grad_y."""

    def gappy(a):
        wide = layout.empty((*a.shape[:-1], 2 * a.shape[-1]), order, a.dtype)
        wide[...] = np.nan
        wide[..., ::2] = a
        return wide[..., ::2]

    g = GEOMETRIES[geometry]
    x, w, b, grad_y = arrays(g)
    results = everything(cpu, g, gappy(x), w, b, gappy(grad_y))
    for found, want in zip(results, looped(geometry), strict=True):
        np.testing.assert_allclose(found, want, atol=ERROR["im2col"] * abs(want).max())


@pytest.mark.parametrize("name", ["im2col", "auto"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_same_bits_on_any_number_of_threads(geometry, name, monkeypatch):
    monkeypatch.setattr(chunks, "_AIM", 500)
    monkeypatch.setattr(chunks, "_LEAST", 100)
    monkeypatch.setattr(chunks, "_POSITIONS", 1)
    monkeypatch.setattr(columns, "_PIECE", 100)
    monkeypatch.setattr(rows, "_AIM", 100)
    g = GEOMETRIES[geometry]
    case = arrays(g)
    before, found = threads.get_num_threads(), []
    try:
        with algorithm.use(name):
            for number in (1, 2, 3):
                threads.set_num_threads(number)
                found.append(everything(cpu, g, *case))
    finally:
        threads.set_num_threads(before)
    for others in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize("name", algorithm.NAMES)
def test_double_precision_is_exact_whatever_is_named(name):
    g = ConvGeometry.of((2, 64, 8, 8), (64, 64, 3, 3), None, 1, 1)
    x, w, _, _ = arrays(g, np.float64)
    with algorithm.use("im2col"):
        wanted = cpu.conv_forward(x, w, None, g)
    with algorithm.use(name):
        assert np.array_equal(cpu.conv_forward(x, w, None, g), wanted)


def taken(g, name, dtype=np.float32):
    with algorithm.use(name):
        return conv._algorithm(np.zeros(g.x_shape, dtype), g, np.dtype(dtype))


def test_what_cannot_serve_is_replaced_by_what_is_exact():
    assert taken(GEOMETRIES["3x3"], "winograd2") == "winograd2"
    assert taken(GEOMETRIES["3x3"], "winograd4") == "winograd4"
    assert taken(GEOMETRIES["3x3"], "winograd4", np.float64) == "im2col"
    assert taken(GEOMETRIES["3x3"], "auto", np.float64) == "im2col"
    assert taken(GEOMETRIES["3x3"], "pointwise") == "im2col"
    assert taken(GEOMETRIES["strided"], "winograd4") == "im2col"
    assert taken(GEOMETRIES["depthwise"], "winograd2") == "direct"
    assert taken(GEOMETRIES["depthwise"], "im2col") == "im2col"
    large = ConvGeometry.of((3, 40, 16, 8), (33, 40, 1, 1))
    assert taken(large, "auto") == taken(large, "direct") == "pointwise"


def test_the_switch_of_the_program():
    backends = minicnn.backends.cpu
    assert backends.conv_algorithm == "auto"
    try:
        backends.conv_algorithm = "im2col"
        assert algorithm.chosen() == backends.conv_algorithm == "im2col"
        with backends.use_conv_algorithm("winograd2"):
            assert backends.conv_algorithm == "winograd2"
            with backends.use_conv_algorithm("auto"):
                assert backends.conv_algorithm == "auto"
            assert backends.conv_algorithm == "winograd2"
        assert backends.conv_algorithm == "im2col"
        with pytest.raises(ValueError, match=r"expects one of 'auto', 'im2col'.*got 'fft'"):
            backends.conv_algorithm = "fft"
        assert backends.conv_algorithm == "im2col"
    finally:
        backends.conv_algorithm = "auto"
    with (
        pytest.raises(ValueError, match=r"use_conv_algorithm: expects one of.*got None"),
        backends.use_conv_algorithm(None),
    ):
        pass
    with pytest.raises(KeyError), backends.use_conv_algorithm("im2col"):
        raise KeyError("in the block")
    assert backends.conv_algorithm == "auto"


def test_the_block_holds_in_its_thread_and_in_its_backward(monkeypatch):
    """Two threads at once, each with its own algorithm; what is noted is who computed."""
    seen = []
    for name, module in (("im2col", rows), ("winograd", winograd)):
        for function in ("forward", "grad_weight", "backward"):
            if not hasattr(module, function):
                continue
            original = getattr(module, function)

            def noted(*args, name=name, original=original, **options):
                seen.append((threading.get_ident(), name))
                return original(*args, **options)

            monkeypatch.setattr(module, function, noted)
    rng = np.random.default_rng(0)
    start = threading.Barrier(2)

    def train(name):
        x = minicnn.tensor(rng.standard_normal((2, 8, 6, 6)).astype(np.float32))
        w = minicnn.tensor(rng.standard_normal((8, 8, 3, 3)).astype(np.float32))
        x.requires_grad = w.requires_grad = True
        start.wait()
        with minicnn.backends.cpu.use_conv_algorithm(name):
            for _ in range(5):
                minicnn.nn.functional.conv2d(x, w, padding=1).sum().backward()
        found[name] = {who for thread, who in seen if thread == threading.get_ident()}

    found = {}
    workers = [threading.Thread(target=train, args=(name,)) for name in ("im2col", "winograd4")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == {"im2col": {"im2col"}, "winograd4": {"winograd"}}


def test_a_gradient_keeps_no_other_memory_alive():
    """A view of the sums of a whole layer would, as long as somebody has its bias's gradient."""
    for g in (GEOMETRIES["first"], GEOMETRIES["strided"]):
        x, _, _, grad_y = arrays(g)
        _, grad_w, grad_b = conv.conv_backward(grad_y, x, None, g, (False, True, True))
        for gradient in (grad_w, grad_b):
            owner = gradient if gradient.base is None else gradient.base
            assert owner.nbytes == gradient.nbytes


def test_all_operands_decide_on_the_type_to_compute_in(monkeypatch):
    """Where one of them is of double precision, none of the gradients is Winograd's."""
    monkeypatch.setattr(winograd, "backward", None)
    g = GEOMETRIES["3x3"]
    x, w, _, grad_y = arrays(g)
    with algorithm.use("winograd4"):
        grad_x, grad_w, _ = conv.conv_backward(
            grad_y, x.astype(np.float64), w, g, (True, True, False)
        )
    wanted = reference.conv_grad_weight(x.astype(np.float64), grad_y, g)
    np.testing.assert_allclose(grad_w, wanted, rtol=0, atol=1e-12)
    assert grad_x.dtype == np.float32


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "padding"),
    [
        ((8, 1, 28, 28), (6, 1, 5, 5), 2),  # LeNet's two, in several chunks: parts with gaps
        ((64, 6, 14, 14), (16, 6, 5, 5), 0),
        ((40, 3, 64, 64), (40, 3, 3, 3), 1),  # rows that are longer than what is kept of zeros
        ((16, 64, 24, 24), (48, 64, 3, 3), 1),
        ((16, 64, 24, 24), (48, 64, 1, 1), 0),
        ((16, 64, 24, 24), (64, 1, 3, 3), 1),
    ],
)
@pytest.mark.parametrize("algorithm", ["auto", "im2col"])
def test_what_a_relu_behind_makes_of_it(x_shape, w_shape, padding, algorithm):
    rng = np.random.default_rng(0)
    geometry = ConvGeometry.of(
        x_shape, w_shape, w_shape[:1], 1, padding, 1, x_shape[1] // w_shape[1]
    )
    x, w = (rng.standard_normal(s, np.float32) for s in (x_shape, w_shape))
    b = rng.standard_normal(w_shape[0], np.float32)
    for order in ((0, 1, 2, 3), (0, 2, 3, 1), (1, 2, 3, 0)):
        ordered = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
        with minicnn.backends.cpu.use_conv_algorithm(algorithm):
            y = cpu.conv_forward(ordered, w, b, geometry)
            z = cpu.conv_forward(ordered, w, b, geometry, relu=True)
        np.testing.assert_array_equal(z, np.maximum(y, 0))


@pytest.mark.parametrize("shape", [(5,), (3, 7), (4, 9000), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_positive_part_of_arrays_with_gaps(shape, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal([2 * n for n in shape]).astype(dtype)
    before, part = x.copy(), tuple(slice(1, None, 2) for _ in shape)
    elementwise.positive_part(x[part], x[part])
    np.testing.assert_array_equal(x[part], np.maximum(before[part], 0))
    x[part] = before[part]
    np.testing.assert_array_equal(x, before)  # nothing in between was written

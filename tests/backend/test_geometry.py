"""Window arithmetic: sizes against brute force, every refusal with its text, receptive fields."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minicnn.backend.geometry import (
    ConvGeometry,
    PoolGeometry,
    ReceptiveField,
    adaptive_out_size,
    adaptive_windows,
)

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
given = hypothesis.given


@given(
    size=st.integers(1, 12),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    low=st.integers(0, 3),
    high=st.integers(0, 3),
    dilation=st.integers(1, 3),
)
def test_conv_out_size_counts_the_windows_that_fit(size, kernel, stride, low, high, dilation):
    span = dilation * (kernel - 1) + 1
    starts = [s for s in range(-low, size + high) if s + span <= size + high][::stride]
    arguments = ((2, 1, size, 9), (1, 1, kernel, 1), None)
    options = ((stride, 1), ((low, high), (0, 0)), (dilation, 1))
    if not starts:
        with pytest.raises(ValueError, match="more than the padded input"):
            ConvGeometry.of(*arguments, *options)
    else:
        geometry = ConvGeometry.of(*arguments, *options)
        assert geometry.out_size == (len(starts), 9)
        assert geometry.y_shape == (2, 1, len(starts), 9)


@given(
    size=st.integers(1, 12),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 6),
    padding=st.integers(0, 2),
)
def test_pool_out_size_with_ceil_mode(size, kernel, stride, padding):
    if 2 * padding > kernel:
        return
    end = size + padding
    inside = [s for s in range(-padding, end, stride) if s + kernel <= end]
    # Ceil mode: one window more if the one before it (there, or a stride before the first) leaves
    # inputs over, and if it begins before the padding behind the input.
    after = -padding + len(inside) * stride
    reached = after - stride + kernel
    wanted = len(inside) + (1 if reached < end and after < size else 0)
    shape = (1, 1, size, 3)
    options = ((kernel, 1), (stride, 1), (padding, 0))
    if inside:
        assert PoolGeometry.of(shape, *options).out_size == (len(inside), 3)
    if wanted:
        assert PoolGeometry.of(shape, *options, ceil_mode=True).out_size == (wanted, 3)


def test_same_padding_puts_the_odd_rest_on_the_high_side():
    geometry = ConvGeometry.of((1, 1, 9, 9), (1, 1, 4, 3), None, 1, "same", (1, 2))
    assert geometry.padding == ((1, 2), (2, 2))
    assert geometry.out_size == (9, 9)


def test_valid_padding_is_none():
    assert ConvGeometry.of((1, 1, 9, 9), (1, 1, 4, 3), padding="valid").padding == ((0, 0), (0, 0))


def test_options_come_as_integers_sequences_and_numpy_integers():
    one = ConvGeometry.of((2, 4, 9, 9), (6, 2, 3, 3), (6,), 2, 1, 1, 2)
    others = [
        ((2, 2), (1, 1), (1, 1), 2),
        ([2], [1], [1], np.int32(2)),
        (np.int64(2), (np.uint8(1), 1), np.array(1), 2),
        (2, ((1, 1), [1, 1]), 1, 2),
    ]
    for stride, padding, dilation, groups in others:
        other = ConvGeometry.of((2, 4, 9, 9), (6, 2, 3, 3), (6,), stride, padding, dilation, groups)
        assert other == one
        assert hash(other) == hash(one)
        assert all(type(s) is int for s in (*other.stride, *other.padding[0], other.groups))


def test_equal_arguments_give_the_same_object():
    make = lambda: ConvGeometry.of((2, 3, 8, 8), (4, 3, 3, 3), None, 1, 1)  # noqa: E731
    assert make() is make()
    assert PoolGeometry.of((1, 1, 4, 4), 2) is PoolGeometry.of((1, 1, 4, 4), (2, 2))


def test_a_geometry_cannot_be_changed():
    geometry = ConvGeometry.of((2, 3, 8, 8), (4, 3, 3, 3))
    with pytest.raises(AttributeError):
        geometry.stride = (2, 2)


def test_one_and_three_dimensions():
    line = ConvGeometry.of((2, 3, 10), (4, 3, 3), None, 2, 1, function="conv1d")
    assert line.y_shape == (2, 4, 5)
    volume = ConvGeometry.of((1, 2, 5, 6, 7), (3, 2, 2, 2, 2), padding="same", function="conv3d")
    assert volume.y_shape == (1, 3, 5, 6, 7)
    assert PoolGeometry.of((2, 3, 10), 3, function="max_pool1d").out_size == (3,)


@pytest.mark.parametrize("rest", range(4))
def test_the_geometry_of_a_transposed_convolution_is_the_convolutions(rest):
    """Up to one row less than the stride is left over; from there on a window is kept out."""
    x, w = (2, 6, 5, 7), (6, 4, 3, 1)
    g = ConvGeometry.of_transposed(x, w, (8,), 2, (2, 0), (rest, 0), 2, (4, 1))
    assert g.x_shape == (2, 8, 4 * 2 - 4 + 9 + rest, 13)
    assert g.w_shape == w and g.y_shape == x
    assert g.padding == ((2, 2 - rest // 2 * 2), (0, 0))
    if rest < 2:
        assert g == ConvGeometry.of(g.x_shape, w, None, 2, (2, 0), (4, 1), 2)
    else:
        longer = ConvGeometry.of(g.x_shape, w, None, 2, (2, 0), (4, 1), 2)
        assert longer.out_size == (6, 7)


def test_windows_and_columns_agree():
    g = ConvGeometry.of_windows((2, 3, 7, 6), (2, 3), (3, 1), (1, 0), (2, 1))
    assert g.w_shape == (1, 3, 2, 3) and g.out_size == (3, 4)
    assert g == ConvGeometry.of((2, 3, 7, 6), (1, 3, 2, 3), None, (2, 1), (1, 0), (3, 1))
    assert g == ConvGeometry.of_columns((2, 18, 12), (7, 6), (2, 3), (3, 1), (1, 0), (2, 1))


X, W = (8, 4, 32, 32), (16, 4, 5, 5)
CONV_ERRORS = [
    # x, weight, bias, options, the error, its text
    (
        X,
        (16, 3, 5, 5),
        None,
        {},
        ValueError,
        "conv2d: weight expects 3 input channels (groups=1), x has 4: "
        "x (8, 4, 32, 32), weight (16, 3, 5, 5)",
    ),
    (
        X,
        (16, 4, 5, 5),
        None,
        {"groups": 2},
        ValueError,
        "conv2d: weight expects 8 input channels (groups=2), x has 4: "
        "x (8, 4, 32, 32), weight (16, 4, 5, 5)",
    ),
    (
        X,
        (15, 2, 5, 5),
        None,
        {"groups": 2},
        ValueError,
        "conv2d: groups=2 does not divide the 15 output channels: "
        "x (8, 4, 32, 32), weight (15, 2, 5, 5)",
    ),
    (
        X,
        W,
        (15,),
        {},
        ValueError,
        "conv2d: bias expects shape (16,), got (15,): x (8, 4, 32, 32), weight (16, 4, 5, 5)",
    ),
    (
        (4, 32, 32),
        W,
        None,
        {},
        ValueError,
        "conv2d: x expects 4 axes (N, C, H, W), got 3: x (4, 32, 32)",
    ),
    (
        X,
        (16, 4, 5),
        None,
        {},
        ValueError,
        "conv2d: weight expects 4 axes (F, C/groups, KH, KW), got 3: weight (16, 4, 5)",
    ),
    (
        (8, 4, 3, 9),
        W,
        None,
        {},
        ValueError,
        "conv2d: kernel (5, 5) with dilation (1, 1) spans (5, 5), more than the padded input "
        "(3, 9): x (8, 4, 3, 9), weight (16, 4, 5, 5), padding ((0, 0), (0, 0))",
    ),
    (
        (8, 4, 9, 9),
        W,
        None,
        {"dilation": 3, "padding": 1},
        ValueError,
        "conv2d: kernel (5, 5) with dilation (3, 3) spans (13, 13), more than the padded input "
        "(11, 11): x (8, 4, 9, 9), weight (16, 4, 5, 5), padding ((1, 1), (1, 1))",
    ),
    (
        (8, 4, 0, 32),
        W,
        None,
        {},
        ValueError,
        "conv2d: x expects no empty axis but the batch, got (8, 4, 0, 32)",
    ),
    (
        X,
        (0, 4, 5, 5),
        None,
        {},
        ValueError,
        "conv2d: weight expects no empty axis, got (0, 4, 5, 5)",
    ),
    (X, W, None, {"stride": 0}, ValueError, "conv2d: stride expects positive integers, got 0"),
    (
        X,
        W,
        None,
        {"stride": (1, -2)},
        ValueError,
        "conv2d: stride expects positive integers, got (1, -2)",
    ),
    (X, W, None, {"dilation": 0}, ValueError, "conv2d: dilation expects positive integers, got 0"),
    (X, W, None, {"groups": 0}, ValueError, "conv2d: groups expects positive integers, got 0"),
    (
        X,
        W,
        None,
        {"padding": -1},
        ValueError,
        "conv2d: padding expects non-negative integers, got -1",
    ),
    (
        X,
        W,
        None,
        {"padding": "full"},
        ValueError,
        "conv2d: padding expects 'same', 'valid', an integer or a tuple of 2, got 'full'",
    ),
    (
        X,
        W,
        None,
        {"padding": "same", "stride": 2},
        ValueError,
        "conv2d: padding='same' expects stride 1, got stride (2, 2)",
    ),
    (
        X,
        W,
        None,
        {"padding": ((1, 2), 3)},
        ValueError,
        "conv2d: padding expects a (low, high) pair of integers for each of 2 axes, "
        "got ((1, 2), 3)",
    ),
    (
        X,
        W,
        None,
        {"stride": (1, 1, 1)},
        ValueError,
        "conv2d: stride expects an integer or a tuple of 2 integers, got (1, 1, 1)",
    ),
    (
        X,
        W,
        None,
        {"stride": True},
        TypeError,
        "conv2d: stride expects an integer or a tuple of 2 integers, got True",
    ),
    (
        X,
        W,
        None,
        {"stride": (1.0, 1)},
        TypeError,
        "conv2d: stride expects an integer or a tuple of 2 integers, got 1.0",
    ),
    (
        X,
        W,
        None,
        {"padding": 0.0},
        TypeError,
        "conv2d: padding expects an integer or a tuple of 2 integers, got 0.0",
    ),
    (
        X,
        W,
        None,
        {"dilation": np.True_},
        TypeError,
        "conv2d: dilation expects an integer or a tuple of 2 integers, got np.True_",
    ),
    (X, W, None, {"groups": 1.0}, TypeError, "conv2d: groups expects an integer, got 1.0"),
    (X, W, None, {"groups": None}, TypeError, "conv2d: groups expects an integer, got None"),
]


@pytest.mark.parametrize(
    ("x", "weight", "bias", "options", "error", "text"),
    CONV_ERRORS,
    ids=[e[-1] for e in CONV_ERRORS],
)
def test_conv_refusals(x, weight, bias, options, error, text):
    ConvGeometry.of(X, W)  # a cached equal (1 == 1.0 == True) must not let a bad one through
    with pytest.raises(error) as raised:
        ConvGeometry.of(x, weight, bias, **options)
    assert str(raised.value) == text


def test_errors_begin_with_the_function():
    with pytest.raises(ValueError, match=r"^conv1d: x expects 3 axes \(N, C, L\), got 4"):
        ConvGeometry.of((1, 2, 3, 4), (1, 2, 3), function="conv1d")


POOL_ERRORS = [
    # x, options, the error, its text
    (
        (4, 32, 32),
        {"kernel_size": 2},
        ValueError,
        "max_pool2d: x expects 4 axes (N, C, H, W), got 3: x (4, 32, 32)",
    ),
    (
        X,
        {"kernel_size": 0},
        ValueError,
        "max_pool2d: kernel_size expects positive integers, got 0",
    ),
    (
        X,
        {"kernel_size": 2, "stride": -1},
        ValueError,
        "max_pool2d: stride expects positive integers, got -1",
    ),
    (
        X,
        {"kernel_size": 2, "dilation": 0},
        ValueError,
        "max_pool2d: dilation expects positive integers, got 0",
    ),
    (
        X,
        {"kernel_size": 2, "padding": -1},
        ValueError,
        "max_pool2d: padding expects non-negative integers, got -1",
    ),
    (
        X,
        {"kernel_size": 3, "padding": 2},
        ValueError,
        "max_pool2d: padding expects at most half of kernel_size (3, 3), got (2, 2): "
        "dilation (1, 1)",
    ),
    (
        X,
        {"kernel_size": 2, "padding": (1, 2), "dilation": 3},
        ValueError,
        "max_pool2d: padding expects at most half of kernel_size (2, 2), got (1, 2): "
        "dilation (3, 3)",
    ),
    (
        (1, 1, 2, 2),
        {"kernel_size": 3, "stride": 2},
        ValueError,
        "max_pool2d: kernel_size (3, 3) with dilation (1, 1) spans (3, 3), more than the padded "
        "input (2, 2): x (1, 1, 2, 2), padding (0, 0)",
    ),
    (
        (1, 1, 1, 1),
        {"kernel_size": 2, "padding": 1, "dilation": 2},
        ValueError,
        "max_pool2d: the first window reads nothing but padding: x (1, 1, 1, 1), "
        "kernel_size (2, 2), dilation (2, 2), padding (1, 1)",
    ),
    (
        (1, 0, 4, 4),
        {"kernel_size": 2},
        ValueError,
        "max_pool2d: x expects no empty axis but the batch, got (1, 0, 4, 4)",
    ),
    (
        X,
        {"kernel_size": 2.0},
        TypeError,
        "max_pool2d: kernel_size expects an integer or a tuple of 2 integers, got 2.0",
    ),
    (
        X,
        {"kernel_size": (1, 2, 3)},
        ValueError,
        "max_pool2d: kernel_size expects an integer or a tuple of 2 integers, got (1, 2, 3)",
    ),
    (
        X,
        {"kernel_size": 2, "ceil_mode": 1},
        TypeError,
        "max_pool2d: ceil_mode expects True or False, got 1",
    ),
]


@pytest.mark.parametrize(("x", "options", "error", "text"), POOL_ERRORS)
def test_pool_refusals(x, options, error, text):
    with pytest.raises(error) as raised:
        PoolGeometry.of(x, **options)
    assert str(raised.value) == text


def test_ceil_mode_allows_a_kernel_larger_than_the_input():
    assert PoolGeometry.of((1, 1, 2, 2), 3, 2, ceil_mode=True).out_size == (1, 1)


@pytest.mark.parametrize("stride", [None, (), []])
def test_pool_stride_is_the_kernel_by_default(stride):
    assert PoolGeometry.of((1, 1, 9, 9), (2, 3), stride).stride == (2, 3)


def test_adaptive_out_size():
    assert adaptive_out_size((2, 3, 8, 9), 4) == (4, 4)
    assert adaptive_out_size((2, 3, 8, 9), (None, 5)) == (8, 5)
    assert adaptive_out_size((2, 3, 8, 9), None) == (8, 9)
    assert adaptive_out_size((2, 3, 8), [np.int64(4)], "adaptive_avg_pool1d") == (4,)


@pytest.mark.parametrize(
    ("shape", "size", "error", "text"),
    [
        ((1, 1, 4, 4), 0, ValueError, "output_size expects positive integers, got 0"),
        ((1, 1, 4, 4), (1, 2, 3), ValueError, "integer or a tuple of 2 integers, got (1, 2, 3)"),
        ((1, 1, 4, 4), 2.5, TypeError, "integer or a tuple of 2 integers, got 2.5"),
        ((1, 4, 4), 2, ValueError, "x expects 4 axes (N, C, H, W), got 3: x (1, 4, 4)"),
        ((1, 1, 0, 4), 2, ValueError, "x expects no empty axis but the batch, got (1, 1, 0, 4)"),
    ],
)
def test_adaptive_refusals(shape, size, error, text):
    with pytest.raises(error) as raised:
        adaptive_out_size(shape, size)
    assert str(raised.value).startswith("adaptive_avg_pool2d: ")
    assert text in str(raised.value)


@pytest.mark.parametrize(("size", "out"), list(itertools.product([1, 5, 7, 8], [1, 2, 3, 7, 9])))
def test_adaptive_windows_cover_everything_and_none_is_empty(size, out):
    windows = adaptive_windows(size, out)
    assert len(windows) == out
    assert all(0 <= start < stop <= size for start, stop in windows)
    assert set().union(*(range(*window) for window in windows)) == set(range(size))


def test_receptive_field_against_marked_pixels():
    """What a stack sees, found by asking which inputs each output reads, layer by layer."""
    layers = [
        ConvGeometry.of((1, 1, 40, 40), (1, 1, 5, 3), None, (2, 1), (2, 1)),
        PoolGeometry.of((1, 1, 20, 40), (3, 2), (2, 2), 1),
        ConvGeometry.of((1, 1, 10, 21), (1, 1, 3, 3), None, 1, ((0, 1), (2, 0)), 2),
    ]
    field = ReceptiveField.input()
    for layer in layers:
        field = field.then(layer)
    for axis, unit in ((0, 2), (1, 5)):
        seen = {unit}
        for layer in reversed(layers):
            low = layer.padding[axis]
            low = low if isinstance(low, int) else low[0]
            seen = {
                i * layer.stride[axis] + p * layer.dilation[axis] - low
                for i in seen
                for p in range(layer.kernel[axis])
            }
        assert min(seen) == field.start[axis] + unit * field.jump[axis]
        assert max(seen) - min(seen) + 1 == field.size[axis]


class TestFrozen:
    """Geometries are values: compared and hashed by their fields, and never changed."""

    def test_equal_fields_are_equal_and_hash_alike(self):
        one, two = ReceptiveField((1, 1), (1, 1), (0, 0)), ReceptiveField.input()
        other = ReceptiveField(size=(3, 3), jump=(1, 1), start=(0, 0))
        assert one == two
        assert hash(one) == hash(two)
        assert one != other
        assert one != ((1, 1), (1, 1), (0, 0))
        assert repr(other) == "ReceptiveField(size=(3, 3), jump=(1, 1), start=(0, 0))"

    def test_a_computed_property_changes_neither(self):
        a, b = (ConvGeometry.of.__func__(ConvGeometry, (1, 1, 5, 5), (1, 1, 3, 3)) for _ in "ab")
        fresh = ConvGeometry(*a._values())
        assert a.out_size == (3, 3)
        assert fresh == a == b
        assert hash(fresh) == hash(a)

    def test_nothing_can_be_set_or_deleted(self):
        geometry = ReceptiveField.input()
        with pytest.raises(AttributeError, match="frozen"):
            geometry.size = (2, 2)
        with pytest.raises(AttributeError, match="frozen"):
            del geometry.size

    @pytest.mark.parametrize(
        "values, named",
        [(((1,),), {}), (((1,), (1,), (0,), (0,)), {}), (((1,), (1,)), {"size": (1,)}),
         (((1,), (1,)), {"other": (1,)})],
    )  # fmt: skip
    def test_fields_are_given_once_each(self, values, named):
        with pytest.raises(TypeError, match="ReceptiveField"):
            ReceptiveField(*values, **named)

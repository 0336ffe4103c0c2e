"""Convolution kernels against the loops, exact on small integers, at awkward sizes."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend import cpu, cuda
from minicnn.backend.cuda import conv, gemm
from minicnn.backend.geometry import ConvGeometry

# x, weight, stride, padding, dilation, groups
CASES = {
    "rectangular": ((2, 3, 7, 5), (4, 3, 3, 2), 2, ((1, 1), (0, 2)), (1, 2), 1),
    "signal": ((2, 4, 6), (4, 2, 3), 2, 1, 2, 2),
    "volume": ((1, 2, 3, 4, 5), (2, 2, 2, 1, 3), (1, 2, 2), (1, 0, 1), 1, 1),
    "empty batch": ((0, 3, 4, 4), (2, 3, 3, 3), 1, 1, 1, 1),
    "ones": ((2, 1, 1, 1), (1, 1, 1, 1), 1, 0, 1, 1),
    "left over": ((1, 2, 6, 4), (6, 1, 3, 3), 3, 2, 1, 2),
}
PRODUCTS = {
    "pointwise": ((3, 19, 5, 7), (37, 19, 1, 1), 1, 0, 1, 1),
    "several tiles": ((2, 20, 5, 8), (70, 20, 3, 3), 1, 1, 1, 1),
}
DEPTHWISE = {
    "multiplier": ((2, 3, 5, 7), (6, 1, 3, 3), 2, 1, 1, 3),
    "large kernel": ((2, 2, 9, 9), (2, 1, 9, 9), 1, 4, 1, 2),
    "signal, dilated": ((2, 5, 11), (5, 1, 3), 1, 2, 2, 5),
}


def geometry_of(case):
    x, w, *options = case
    return ConvGeometry.of(x, w, None, *options, function=f"conv{len(x) - 2}d")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_columns_and_back(both, integers, case):
    geometry = geometry_of(case)
    [cols] = both.equal("im2col", integers(geometry.x_shape), geometry)
    both.equal("col2im", integers(cols.shape), geometry)


def check(both, integers, geometry, dtype=np.float32):
    x, w = integers(geometry.x_shape, dtype), integers(geometry.w_shape, dtype)
    [y] = both.equal("conv_forward", x, w, integers(geometry.out_channels, dtype), geometry)
    grad_y = integers(y.shape, dtype)
    both.equal("conv_grad_input", grad_y, w, geometry)
    both.equal("conv_grad_weight", x, grad_y, geometry)


@pytest.fixture
def implicit():
    """The kernels of convolution also where the default would be a plain product."""
    with cuda.conv_algorithm("implicit"):
        yield


@pytest.mark.usefixtures("implicit")
@pytest.mark.parametrize("case", [*CASES.values(), *DEPTHWISE.values()], ids=[*CASES, *DEPTHWISE])
def test_convolution(both, integers, case):
    check(both, integers, geometry_of(case))


@pytest.mark.usefixtures("implicit")
@pytest.mark.parametrize(("blocks", "few"), [(512, 128), (512, 1), (1, 1)])  # ever larger tiles
@pytest.mark.parametrize("case", PRODUCTS.values(), ids=PRODUCTS)
def test_convolution_of_several_tiles(both, integers, case, blocks, few, monkeypatch):
    monkeypatch.setattr(conv, "_BLOCKS", blocks)
    monkeypatch.setattr(conv, "_FEW", few)
    geometry = geometry_of(case)
    x, w = integers(geometry.x_shape), integers(geometry.w_shape)
    y = cpu.conv_forward(x, w, None, geometry)
    grad_y = integers(y.shape)
    [found] = both.on_device(cuda.conv_forward, x, w, None, geometry)
    np.testing.assert_array_equal(found, y)
    [found] = both.on_device(cuda.conv_grad_input, grad_y, w, geometry)
    np.testing.assert_array_equal(found, cpu.conv_grad_input(grad_y, w, geometry))
    [found] = both.on_device(cuda.conv_grad_weight, x, grad_y, geometry)
    np.testing.assert_array_equal(found, cpu.conv_grad_weight(x, grad_y, geometry))


@pytest.mark.parametrize("case", [CASES["rectangular"], DEPTHWISE["multiplier"]])
def test_weight_gradient_in_parts(both, integers, case, monkeypatch):
    monkeypatch.setattr(conv, "_CHUNK", 3)
    geometry = geometry_of(case)
    both.equal("conv_grad_weight", integers(geometry.x_shape), integers(geometry.y_shape), geometry)


@pytest.mark.parametrize("case", [CASES["rectangular"], DEPTHWISE["multiplier"]])
def test_relu_with_the_convolution(both, integers, case):
    geometry = geometry_of(case)
    x, w = integers(geometry.x_shape), integers(geometry.w_shape)
    x[0, 0, 0, 0] = np.nan
    [y] = both.equal("conv_forward", x, w, integers(geometry.out_channels), geometry, True)
    assert np.isnan(y).any()
    assert (y == 0).any()
    with cuda.conv_algorithm("im2col"):
        both.equal("conv_forward", x, w, integers(geometry.out_channels), geometry, True)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_dtypes(both, integers, dtype):
    geometry = geometry_of(CASES["rectangular"])
    check(both, integers, geometry, dtype)
    [cols] = both.equal("im2col", integers(geometry.x_shape, dtype), geometry)
    both.equal("col2im", cols, geometry)


POINTWISE = {
    "image": ((3, 4, 3, 5), (6, 4, 1, 1), 1, 0, 1, 1),
    "groups, dilation": ((2, 6, 4), (4, 3, 1), 1, 0, 5, 2),
    "of each channel": ((2, 3, 4, 2), (6, 1, 1, 1), 1, 0, 1, 3),
    "empty batch": ((0, 4, 3, 5), (6, 4, 1, 1), 1, 0, 1, 1),
}
PADDED = ((2, 3, 4, 3), (2, 3, 1, 1), 1, 1, 1, 1)
STRIDED = ((2, 3, 4, 3), (2, 3, 1, 1), 2, 0, 1, 1)


@pytest.mark.parametrize("entries", [2**28, 1])  # with 1, an image at a time
@pytest.mark.parametrize(
    "case", [*CASES.values(), *DEPTHWISE.values(), PADDED], ids=[*CASES, *DEPTHWISE, "padded"]
)
def test_convolution_by_columns(both, integers, case, entries, monkeypatch):
    monkeypatch.setattr(gemm, "_ENTRIES", entries)
    monkeypatch.setattr(conv, "launch", None)  # the kernels of the implicit product
    with cuda.conv_algorithm("im2col"):
        check(both, integers, geometry_of(case))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("case", POINTWISE.values(), ids=POINTWISE)
def test_windows_of_one_pixel_are_plain_products(both, integers, case, dtype, monkeypatch):
    geometry = geometry_of(case)
    assert gemm.is_pointwise(geometry)
    with cuda.conv_algorithm("implicit"):
        check(both, integers, geometry, dtype)
    monkeypatch.setattr(conv, "launch", None)
    monkeypatch.setattr(gemm, "launch", None)
    check(both, integers, geometry, dtype)


def test_the_choice_of_algorithm():
    assert not gemm.is_pointwise(geometry_of(PADDED))
    assert not gemm.is_pointwise(geometry_of(STRIDED))
    image, square = geometry_of(POINTWISE["image"]), geometry_of(CASES["rectangular"])
    assert [conv._by_columns(g) for g in (image, square)] == [True, False]
    with cuda.conv_algorithm("im2col"):
        assert [conv._by_columns(g) for g in (image, square)] == [True, True]
        with cuda.conv_algorithm("implicit"):
            assert [conv._by_columns(g) for g in (image, square)] == [False, False]
        assert conv._by_columns(square)
    with (
        pytest.raises(ValueError, match=r"conv_algorithm: name expects .*winograd"),
        cuda.conv_algorithm("winograd"),
    ):
        raise AssertionError


# x, weight, stride, padding, output_padding, groups, dilation
TRANSPOSED = {
    "plain": ((2, 4, 3, 2), (4, 3, 3, 3), 1, 0, 0, 1, 1),
    "strided, groups": ((2, 4, 3, 2), (4, 2, 3, 2), 2, 1, 1, 2, 1),
    "behind the windows": ((1, 2, 3), (2, 3, 2), 1, 1, 2, 1, 3),
    "volume": ((1, 2, 2, 3, 2), (2, 1, 2, 2, 3), 2, 1, 1, 2, 1),
    "depthwise": ((2, 3, 3, 4), (3, 1, 3, 3), 2, 1, 1, 3, 1),
    "one pixel": ((2, 3, 2, 2), (3, 4, 1, 1), 1, 0, 0, 1, 1),
}


@pytest.mark.parametrize("algorithm", ["auto", "im2col"])
@pytest.mark.parametrize("case", TRANSPOSED.values(), ids=TRANSPOSED)
def test_transposed_convolution_runs_through_the_same_kernels(both, integers, case, algorithm):
    x, w, *options = case
    function = f"conv_transpose{len(x) - 2}d"
    geometry = ConvGeometry.of_transposed(x, w, None, *options, function)
    with cuda.conv_algorithm(algorithm):
        check(both, integers, geometry)

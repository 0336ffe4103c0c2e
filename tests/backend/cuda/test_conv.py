"""Convolution kernels against the loops, exact on small integers, at awkward sizes."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend import cpu, cuda, reference
from minicnn.backend.cuda import conv
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


@pytest.mark.parametrize("case", [*CASES.values(), *DEPTHWISE.values()], ids=[*CASES, *DEPTHWISE])
def test_convolution(both, integers, case):
    geometry = geometry_of(case)
    x, w = integers(geometry.x_shape), integers(geometry.w_shape)
    [y] = both.equal("conv_forward", x, w, integers(geometry.out_channels), geometry)
    grad_y = integers(y.shape)
    both.equal("conv_grad_input", grad_y, w, geometry)
    both.equal("conv_grad_weight", x, grad_y, geometry)


@pytest.mark.parametrize("blocks", [512, 1])  # with 1, the largest tiles
@pytest.mark.parametrize("case", PRODUCTS.values(), ids=PRODUCTS)
def test_convolution_of_several_tiles(both, integers, case, blocks, monkeypatch):
    monkeypatch.setattr(conv, "_BLOCKS", blocks)
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
    [y] = both.on_device(cuda.conv_forward, x, w, None, geometry, relu=True)
    wanted = np.maximum(reference.conv_forward(x, w, None, geometry), 0)
    np.testing.assert_array_equal(y, wanted)
    assert np.isnan(y).any()


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_dtypes(both, integers, dtype):
    geometry = geometry_of(CASES["rectangular"])
    x, w = integers(geometry.x_shape, dtype), integers(geometry.w_shape, dtype)
    [y] = both.equal("conv_forward", x, w, None, geometry)
    both.equal("conv_grad_input", y, w, geometry)
    both.equal("conv_grad_weight", x, integers(y.shape, dtype), geometry)
    [cols] = both.equal("im2col", x, geometry)
    both.equal("col2im", cols, geometry)

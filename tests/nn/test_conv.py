"""Convolution layers: sizes that are asked for, lazy channels, padding, first values, errors."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.nn import functional as F

LAZY = [  # lazy layer, what it becomes, the shape of its input, the shape of its weight
    (nn.LazyConv1d, nn.Conv1d, (2, 4, 7), (6, 2, 3)),
    (nn.LazyConv2d, nn.Conv2d, (4, 7, 6), (6, 2, 3, 3)),
    (nn.LazyConv3d, nn.Conv3d, (1, 4, 5, 6, 7), (6, 2, 3, 3, 3)),
    (nn.LazyConvTranspose1d, nn.ConvTranspose1d, (4, 7), (4, 3, 3)),
    (nn.LazyConvTranspose2d, nn.ConvTranspose2d, (2, 4, 7, 6), (4, 3, 3, 3)),
    (nn.LazyConvTranspose3d, nn.ConvTranspose3d, (1, 4, 2, 3, 4), (4, 3, 3, 3, 3)),
]


@pytest.mark.parametrize(("lazy", "becomes", "x_shape", "w_shape"), LAZY)
def test_lazy_layers_read_their_channels_off_the_first_input(lazy, becomes, x_shape, w_shape):
    layer = lazy(6, 3, groups=2)
    waiting = copy.deepcopy(layer)
    y = layer(minicnn.ones(*x_shape))
    assert type(layer) is becomes and layer.in_channels == 4
    assert layer.weight.shape == w_shape and layer.bias.shape == (6,)
    assert 0 < abs(layer.weight.array).max() <= 1 / math.sqrt(math.prod(w_shape[1:]))
    assert y.shape[len(x_shape) - len(w_shape) + 1] == 6
    waiting.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(waiting(minicnn.ones(*x_shape)).array, y.array)
    assert type(waiting) is becomes and waiting.in_channels == 4


def test_lazy_layers_refuse_what_has_no_channels():
    with pytest.raises(RuntimeError, match=r"LazyConvTranspose2d: expects 3 or 4 dimensions"):
        nn.LazyConvTranspose2d(4, 3)(minicnn.ones(3, 3))
    with pytest.raises(ValueError, match=r"LazyConv1d: the input's 3 channels .* 2 groups"):
        nn.LazyConv1d(4, 3, groups=2)(minicnn.ones(3, 5))


def test_a_lazy_transposed_layer_takes_an_output_size():
    up = nn.LazyConvTranspose2d(3, 3, 2)
    assert up(minicnn.ones(1, 2, 4, 5), output_size=(10, 11)).shape[2:] == (10, 11)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_size_that_a_convolution_shrank_can_be_asked_for(stride):
    """The point of output_size: each H that leads to the same OH is reached again."""
    down = nn.Conv2d(2, 3, 3, stride, padding=1)
    up = nn.ConvTranspose2d(3, 2, 3, stride, padding=1)
    for size in ((7, 8), (8, 9), (9, 7)):
        x = minicnn.randn(2, 2, *size)
        y = down(x)
        assert up(y, output_size=size).shape == x.shape
        assert up(y, output_size=list(x.shape)).shape == x.shape
        assert up(y[0], output_size=x.shape[1:]).shape == x.shape[1:]


def test_output_size_is_the_same_as_output_padding():
    up = nn.ConvTranspose1d(3, 2, 4, 3, dilation=2)
    x = minicnn.randn(2, 3, 5)
    wanted = F.conv_transpose1d(x, up.weight, up.bias, 3, output_padding=2, dilation=2)
    np.testing.assert_array_equal(up(x, (21,)).array, wanted.array)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ((8, 8), r"sizes from \(9, 9\) to \(10, 10\) .* shape \(1, 2, 4, 4\), got \(8, 8\)"),
        ((11, 9), r"sizes from .* got \(11, 9\)"),
        ((9,), r"output_size expects 2 or 4 sizes .* got \(9,\)"),
    ],
)
def test_sizes_that_cannot_be(size, text):
    with pytest.raises(ValueError, match="ConvTranspose2d: .*" + text):
        nn.ConvTranspose2d(2, 3, 3, 2)(minicnn.ones(1, 2, 4, 4), size)


def test_an_output_size_is_a_sequence():
    with pytest.raises(TypeError, match=r"ConvTranspose2d: output_size expects a seq.* got 9"):
        nn.ConvTranspose2d(2, 3, 3, 2)(minicnn.ones(1, 2, 4, 4), 9)


def test_settings_are_checked_when_built():
    with pytest.raises(ValueError, match="ConvTranspose3d: padding_mode expects 'zeros', got 'ref"):
        nn.ConvTranspose3d(2, 3, 3, padding_mode="reflect")
    with pytest.raises(TypeError, match="ConvTranspose1d: padding expects numbers, got 'same'"):
        nn.ConvTranspose1d(2, 3, 3, padding="same")
    with pytest.raises(ValueError, match="LazyConv3d: out_channels must be divisible by groups"):
        nn.LazyConv3d(3, 2, groups=2)
    with pytest.raises(TypeError, match=r"Conv2d: kernel_size expects .* 2 of.* got \(3, 2, 1\)"):
        nn.Conv2d(2, 3, (3, 2, 1))
    with pytest.raises(TypeError, match=r"Conv1d: kernel_size expects an integer, got \(2.0,\)"):
        nn.Conv1d(2, 3, 2.0)
    with pytest.raises(ValueError, match="Conv2d: in_channels expects 0 or more, got -2"):
        nn.Conv2d(-2, 3, 1)
    with pytest.raises(TypeError, match="LazyConvTranspose2d: out_channels expects an integer"):
        nn.LazyConvTranspose2d(3.0, 1)
    with pytest.raises(ValueError, match="Conv2d: groups expects 1 or more, got 0"):
        nn.Conv2d(2, 3, 1, groups=0)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_padding_modes(mode, dims):
    layer = getattr(nn, f"Conv{dims}d")(2, 3, 3, padding=1, padding_mode=mode)
    convolve = getattr(F, f"conv{dims}d")
    x = minicnn.randn(2, *range(4, 4 + dims))  # without a batch
    padded = F.pad(x, (1, 1) * dims, mode=mode)
    y = layer(x)
    assert y.shape == (3, *x.shape[1:])
    np.testing.assert_array_equal(y.array, convolve(padded, layer.weight, layer.bias).array)


def test_parameters_start_within_the_fan_in():
    layer = nn.ConvTranspose2d(8, 600, 3, groups=2)
    bound = 1 / math.sqrt(300 * 9)
    assert 0.9 * bound < abs(layer.bias.array).max() <= bound
    assert 0.9 * bound < abs(layer.weight.array).max() <= bound


def test_fold_and_unfold_call_the_functions():
    assert not isinstance(nn.Fold((6, 5), 2), nn.Unfold)
    x = minicnn.randn(2, 3, 6, 5)
    cols = nn.Unfold(2, padding=1, stride=2)(x)
    np.testing.assert_array_equal(cols.array, F.unfold(x, 2, padding=1, stride=2).array)
    y = nn.Fold((6, 5), 2, padding=1, stride=2)(cols)
    np.testing.assert_array_equal(y.array, F.fold(cols, (6, 5), 2, padding=1, stride=2).array)


def test_shuffles_and_back():
    x = minicnn.randn(2, 8, 3, 4)
    y = nn.PixelShuffle(2)(x)
    assert y.shape == (2, 2, 6, 8)
    np.testing.assert_array_equal(nn.PixelUnshuffle(2)(y).array, x.array)
    np.testing.assert_array_equal(nn.ChannelShuffle(4)(nn.ChannelShuffle(2)(x)).array, x.array)

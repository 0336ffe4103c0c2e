"""The blocks that networks share: torchvision's keys, numbers and errors."""

from __future__ import annotations

import numpy as np
import pytest
from same import compare, images, load_from_torch, same_keys, stir
from torchvision_here import torchvision

import minicnn
from minicnn import nn
from minicnn.autograd import gradcheck
from minicnn.models import blocks


def ops():
    return torchvision().ops


# ---------------------------------------------------------------------- Conv2dNormActivation


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel_size": 5, "stride": 2, "dilation": 2},
        {"kernel_size": (3, 5), "dilation": (2, 1), "groups": 2},
        {"kernel_size": 1, "activation_layer": None},
        {"norm_layer": None},
        {"norm_layer": None, "bias": False, "inplace": None},
        {"padding": 0, "bias": True, "activation_layer": "SiLU", "inplace": False},
        {"norm_layer": "InstanceNorm2d", "activation_layer": "Hardswish"},
    ],
)
def test_conv_norm_activation(options):
    torch = pytest.importorskip("torch")

    def of(package):
        return {k: getattr(package, v) if isinstance(v, str) else v for k, v in options.items()}

    oracle = ops().Conv2dNormActivation(4, 6, **of(torch.nn))
    block = blocks.Conv2dNormActivation(4, 6, **of(nn))
    same_keys(block, oracle)
    stir(oracle)
    load_from_torch(block, oracle)
    assert block.out_channels == oracle.out_channels == 6
    for training in (False, True):
        compare(block, oracle, images(3, 4, 13), rtol=1e-11, training=training)


def test_conv_norm_activation_is_cut_as_a_sequential():
    block = blocks.Conv2dNormActivation(3, 8)
    assert isinstance(block[:2], nn.Sequential) and len(block[:2]) == 2
    assert isinstance(block[-1], nn.ReLU) and block[0].bias is None
    assert block[:2](minicnn.zeros(1, 3, 5, 5)).shape == (1, 8, 5, 5)
    with pytest.raises(IndexError):
        block[3]


def test_conv_norm_activation_refuses_what_its_convolution_refuses():
    with pytest.raises(ValueError, match="Conv2d: out_channels must be divisible by groups"):
        blocks.Conv2dNormActivation(4, 6, groups=4)


# ---------------------------------------------------------------------- SqueezeExcitation


@pytest.mark.parametrize("activations", [(), ("SiLU", "Hardsigmoid")])
def test_squeeze_excitation(activations):
    torch = pytest.importorskip("torch")
    oracle = ops().SqueezeExcitation(6, 2, *(getattr(torch.nn, a) for a in activations))
    block = blocks.SqueezeExcitation(6, 2, *(getattr(nn, a) for a in activations))
    same_keys(block, oracle)
    load_from_torch(block, oracle)
    # PyTorch's hardsigmoid multiplies its gradient by 1/6 in float32, also in float64.
    compare(block, oracle, images(3, 6, 5), rtol=1e-7 if activations else 1e-12)


def test_squeeze_excitation_by_hand():
    """One channel of ones: z = 1, s = sigmoid(2 * relu(3 * 1 + 1) - 1) = sigmoid(7)."""
    block = blocks.SqueezeExcitation(1, 1).double()
    for parameter, value in zip(block.parameters(), (3, 1, 2, -1), strict=True):
        nn.init.constant_(parameter, value)
    y = block(minicnn.ones(1, 1, 2, 2, dtype=minicnn.float64))
    np.testing.assert_allclose(y.array, np.full((1, 1, 2, 2), 1 / (1 + np.exp(-7))), rtol=1e-15)


def test_squeeze_excitation_gradient():
    block = blocks.SqueezeExcitation(3, 2, nn.SiLU).double()
    assert gradcheck(block, (minicnn.Tensor(images(2, 3, 4)).requires_grad_(),))


# ---------------------------------------------------------------------- stochastic depth


@pytest.mark.parametrize("p", [0.2, 0.5])
@pytest.mark.parametrize("mode", ["row", "batch"])
def test_stochastic_depth_keeps_or_drops_whole_samples(mode, p):
    x = minicnn.Tensor(images(64, 2, 3)).requires_grad_()
    y = blocks.stochastic_depth(x, p, mode)
    kept = np.array([bool(image.any()) for image in y.array])
    expected = kept[:, None, None, None] * x.array / (1 - p)
    np.testing.assert_allclose(y.array, expected, rtol=1e-15)
    assert 0 < kept.sum() < 64 if mode == "row" else kept.sum() in (0, 64)
    cotangent = images(64, 2, 3, seed=1)
    y.backward(minicnn.Tensor(cotangent))
    same_mask = kept[:, None, None, None] * cotangent / (1 - p)
    np.testing.assert_allclose(x.grad.array, same_mask, rtol=1e-15)


@pytest.mark.parametrize("mode", ["row", "batch"])
def test_stochastic_depth_has_the_expectation_and_rate_of_torchvisions(mode):
    """Of 4,000 draws a share p is dropped, within five standard deviations; so is torchvision's."""
    torch = pytest.importorskip("torch")
    minicnn.manual_seed(1)
    torch.manual_seed(1)
    p, n = 0.3, 4000
    shape, times = ((n, 1), 1) if mode == "row" else ((1, 1), n)

    def shares(function, ones):
        return np.concatenate([np.asarray(function(ones, p, mode)).ravel() for _ in range(times)])

    ours = shares(blocks.stochastic_depth, minicnn.ones(*shape))
    theirs = shares(ops().stochastic_depth, torch.ones(*shape))
    for values in (ours, theirs):
        assert set(np.round(values, 5)) == {0, np.float32(round(1 / (1 - p), 5))}
        assert abs((values == 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / n)
        assert abs(values.mean() - 1) < 5 * np.sqrt(p / (1 - p) / n)


def test_stochastic_depth_at_its_ends():
    x = minicnn.Tensor(images(3, 2, 2))
    assert blocks.stochastic_depth(x, 0.9, "row", training=False) is x
    assert blocks.stochastic_depth(x, 0.0, "row") is x
    assert not blocks.stochastic_depth(x, 1.0, "row").array.any()
    layer = blocks.StochasticDepth(0.5, "row")
    assert repr(layer) == "StochasticDepth(p=0.5, mode=row)"
    assert layer.eval()(x) is x and layer.train()(x) is not x


def test_stochastic_depth_follows_the_seed():
    x, drawn = minicnn.ones(32, 1), []
    for seed in (3, 3, 4):
        minicnn.manual_seed(seed)
        drawn.append(blocks.stochastic_depth(x, 0.5, "row").array)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


@pytest.mark.parametrize("make", [blocks.StochasticDepth, None])
def test_stochastic_depth_refuses(make):
    make = make or (lambda p, mode: blocks.stochastic_depth(minicnn.ones(2, 1), p, mode))
    name = "StochasticDepth|stochastic_depth"
    with pytest.raises(ValueError, match=f"({name}): mode expects 'row' or 'batch', got 'column'"):
        make(0.5, "column")
    with pytest.raises(ValueError, match=f"({name}): p expects a probability from 0 to 1, got 1.5"):
        make(1.5, "row")
    with pytest.raises(TypeError, match=f"({name}): p expects a probability"):
        make("half", "row")


# ---------------------------------------------------------------------- Permute, LayerNorm2d


def test_permute():
    x = images(2, 3, 4)
    layer = blocks.Permute([0, 2, 3, 1])
    np.testing.assert_array_equal(layer(minicnn.Tensor(x)).array, x.transpose(0, 2, 3, 1))
    assert repr(layer) == "Permute(dims=[0, 2, 3, 1])"


def test_layer_norm_2d():
    torchvision()
    from torchvision.models.convnext import LayerNorm2d

    oracle, layer = LayerNorm2d(6, eps=1e-6), blocks.LayerNorm2d(6, eps=1e-6)
    same_keys(layer, oracle)
    rng = np.random.default_rng(0)
    for parameter in oracle.parameters():
        parameter.data.copy_(parameter.data.new_tensor(rng.normal(size=6)))
    load_from_torch(layer, oracle)
    compare(layer, oracle, images(2, 6, 4), rtol=1e-11)


def test_layer_norm_2d_normalises_each_place():
    y = blocks.LayerNorm2d(8).double()(minicnn.Tensor(images(2, 8, 3))).array
    np.testing.assert_allclose(y.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(1), 1, atol=1e-3)
    with pytest.raises(ValueError, match="layer_norm"):
        blocks.LayerNorm2d(5)(minicnn.zeros(1, 8, 3, 3))


# ---------------------------------------------------------------------- sizes


@pytest.mark.parametrize("divisor", [1, 4, 8, 20])
def test_make_divisible_is_torchvisions(divisor):
    torchvision()
    from torchvision.models._utils import _make_divisible

    for value in (0.5, 3, 7.9, 8, 11, 12, 16.5, 23, 90, 96.4, 1280, 1279.6):
        assert blocks.make_divisible(value, divisor) == _make_divisible(value, divisor)
        assert blocks.make_divisible(value, divisor, 12) == _make_divisible(value, divisor, 12)


@pytest.mark.parametrize("side", range(1, 300, 7))
def test_strides_leave_three_places_where_they_can(side):
    strides = blocks.strides_for("net", side, [2, 1, 2, 2, 2, 1, 2])
    left = side
    for stride in strides:
        left = -(-left // stride)
    assert left >= min(side, 3)
    halved = [s for i, s in enumerate(strides) if i not in (1, 5)]
    assert halved == sorted(halved)  # the first ones are 1
    if 1 in halved:  # one halving more would leave fewer than three
        assert -(-left // 2) < 3
    assert halved == [2] * 5 or side <= 64


def test_strides_for_the_papers_size():
    assert blocks.strides_for("net", None, [2, 1, 2]) == [2, 1, 2]
    for side, halvings in ((28, 3), (32, 3), (64, 4), (96, 5), (224, 5)):
        assert sum(s == 2 for s in blocks.strides_for("net", side, [2] * 5)) == halvings


@pytest.mark.parametrize("size", [0, -1, 28.0, True, "32"])
def test_sizes_that_are_refused(size):
    with pytest.raises(ValueError, match="net: image_size expects a positive integer or None, got"):
        blocks.strides_for("net", size, [2])


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), True, "1"])
def test_scales_that_are_refused(scale):
    with pytest.raises(ValueError, match=r"net: width_mult expects a .*number above 0, got"):
        blocks.check_scale("net", "width_mult", scale)

"""Squeeze-and-excitation and CBAM: the papers' counts and equations, alone and in ResNets."""

from __future__ import annotations

import numpy as np
import pytest
from same import compare, count, images, load_from_torch, same_keys, stir
from torchvision_here import torchvision

import minicnn
from minicnn import models
from minicnn.autograd import gradcheck
from minicnn.models.attention import ChannelAttention, SpatialAttention

MODULES = {"se": models.SqueezeExcite, "cbam": models.CBAM}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mlp(layer, z):
    hidden = np.maximum(z @ layer.fc1.weight.array.T + layer.fc1.bias.array, 0)
    return hidden @ layer.fc2.weight.array.T + layer.fc2.bias.array


def test_squeeze_excite_is_its_equations():
    se = models.SqueezeExcite(8, reduction=4).double()
    x = images(2, 8, 5)
    factors = sigmoid(mlp(se, x.mean((2, 3))))
    y = se(minicnn.Tensor(x)).array
    np.testing.assert_allclose(y, x * factors[:, :, None, None], rtol=1e-12)


def test_channel_attention_is_equation_2():
    layer = ChannelAttention(8, reduction=4).double()
    x = images(2, 8, 5)
    factors = sigmoid(mlp(layer, x.mean((2, 3))) + mlp(layer, x.max((2, 3))))
    y = layer(minicnn.Tensor(x)).array
    np.testing.assert_allclose(y, x * factors[:, :, None, None], rtol=1e-12)


def test_spatial_attention_is_equation_3():
    layer = SpatialAttention(3).double()
    x = images(2, 4, 6)
    described = np.pad(np.stack([x.mean(1), x.max(1)], 1), ((0, 0), (0, 0), (1, 1), (1, 1)))
    logits = np.zeros((2, 6, 6))
    for c, p, q in np.ndindex(2, 3, 3):
        logits += layer.conv.weight.array[0, c, p, q] * described[:, c, p : p + 6, q : q + 6]
    y = layer(minicnn.Tensor(x)).array
    np.testing.assert_allclose(y, x * sigmoid(logits)[:, None], rtol=1e-12)


def test_cbam_looks_at_channels_first():
    cbam = models.CBAM(8, reduction=4).double()
    x = minicnn.Tensor(images(2, 8, 9))
    np.testing.assert_array_equal(cbam(x).array, cbam.spatial(cbam.channel(x)).array)


@pytest.mark.parametrize("layer", [models.SqueezeExcite, models.CBAM])
def test_gradients(layer):
    net = layer(6, reduction=2).double()
    assert gradcheck(net, (minicnn.Tensor(images(2, 6, 5)).requires_grad_(),))


def test_parameters_of_a_module():
    assert count(models.SqueezeExcite(64)) == 2 * 64 * 4 + 64 + 4
    assert count(models.SqueezeExcite(64, bias=False)) == 2 * 64 * 4
    assert count(models.CBAM(64)) == 2 * 64 * 4 + 64 + 4 + 2 * 49
    assert count(models.SqueezeExcite(4)) == 2 * 4 * 1 + 4 + 1  # one hidden unit at least


# Table 4 of the CBAM paper, in millions: network, with SE, with CBAM.
TABLE_4 = [
    ("resnet18", 11.78, 11.78),
    ("resnet34", 21.96, 21.96),
    ("resnet50", 28.09, 28.09),
    ("resnet101", 49.33, 49.33),
    ("resnext50_32x4d", 27.56, 27.56),
]


@pytest.mark.parametrize(("name", "se", "cbam"), TABLE_4)
def test_published_counts(name, se, cbam, unfilled):
    assert round(count(models.create(name, attention="se")) / 1e6, 2) == se
    assert round(count(models.create(name, attention="cbam")) / 1e6, 2) == cbam


@pytest.mark.parametrize("name", ["se_resnet18", "se_resnet50", "cbam_resnet18", "cbam_resnet50"])
def test_registered_networks(name, unfilled):
    net = models.create(name)
    assert count(net) == models.info(name).parameters
    kind, base = name.split("_")
    assert list(net.state_dict()) == list(models.create(base, attention=kind).state_dict())
    with pytest.raises(ValueError, match=f"{name}: attention is '{kind}' here, got None"):
        models.create(name, attention=None)


def test_without_attention_nothing_changes(unfilled):
    assert list(models.resnet18(attention=None).state_dict()) == list(
        models.resnet18().state_dict()
    )


def oracle_attention(kind, channels, reduction=16):
    """The same modules in PyTorch, with our names."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    class Channel(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = torch.nn.Linear(channels, channels // reduction)
            self.fc2 = torch.nn.Linear(channels // reduction, channels)

        def forward(self, x):
            logits = self.fc2(self.fc1(x.mean((2, 3))).relu())
            if kind == "cbam":
                logits = logits + self.fc2(self.fc1(x.amax((2, 3))).relu())
            return x * logits.sigmoid()[:, :, None, None]

    class Spatial(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(2, 1, 7, padding=3, bias=False)

        def forward(self, x):
            places = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
            return x * self.conv(places).sigmoid()

    if kind == "se":
        return Channel()
    net = torch.nn.Sequential()
    net.add_module("channel", Channel())
    net.add_module("spatial", Spatial())
    return net


@pytest.mark.parametrize("kind", ["se", "cbam"])
def test_modules_are_pytorchs_forward_and_backward(kind):
    theirs = oracle_attention(kind, 32)
    ours = MODULES[kind](32)
    same_keys(ours, theirs)
    load_from_torch(ours, theirs)
    compare(ours, theirs, images(2, 32, 9), rtol=1e-9)


@pytest.mark.parametrize("kind", ["se", "cbam"])
@pytest.mark.parametrize(("block", "norm"), [("BasicBlock", "bn2"), ("Bottleneck", "bn3")])
def test_it_stands_behind_the_last_norm_before_the_sum(kind, block, norm):
    oracle_block = getattr(torchvision().models.resnet, block)
    import torch

    theirs = oracle_block(32, 32 // oracle_block.expansion)
    stir(theirs)
    attention = oracle_attention(kind, 32)
    ours = getattr(models, block)(32, 32 // oracle_block.expansion, attention=MODULES[kind])
    state = {**theirs.state_dict(prefix=""), **attention.state_dict(prefix="attention.")}
    ours.load_state_dict({key: value.numpy() for key, value in state.items()})
    setattr(theirs, norm, torch.nn.Sequential(getattr(theirs, norm), attention))
    x = images(2, 32, 9)
    expected = theirs.double().eval()(torch.from_numpy(x)).detach().numpy()
    y = ours.double().eval()(minicnn.Tensor(x)).array
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["se", "cbam", lambda c: models.SqueezeExcite(c, 4)])
@pytest.mark.parametrize("side", [28, 32, 96])
def test_small_images_train(kind, side):
    net = models.ResNet(
        models.BasicBlock, [1, 1, 1, 1], 5, in_channels=1, image_size=side, attention=kind
    )
    net(minicnn.Tensor(images(2, 1, side, np.float32))).sum().backward()
    assert all(p.grad is not None and np.isfinite(p.grad.array).all() for p in net.parameters())


def test_the_resnets_for_cifar_take_it_too():
    plain, se = models.resnet20(), models.resnet20(attention="se")
    assert count(se) - count(plain) == 3 * sum(
        2 * c * (c // 16) + c + c // 16 for c in (16, 32, 64)
    )
    assert se(minicnn.Tensor(images(2, 3, 16, np.float32))).shape == (2, 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: models.resnet18(attention="sae"),
            "ResNet: attention expects 'se', 'cbam', a callable .*, or None, got 'sae'",
        ),
        (lambda: models.resnet20(attention=16), "CifarResNet: attention expects .* got 16"),
        (
            lambda: models.SqueezeExcite(0),
            "SqueezeExcite: channels expects a positive integer, got 0",
        ),
        (
            lambda: models.CBAM(8, reduction=0),
            "ChannelAttention: reduction expects a positive integer, got 0",
        ),
        (
            lambda: models.CBAM(8, kernel_size=4),
            "SpatialAttention: kernel_size expects an odd one, got 4",
        ),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""EfficientNet: published counts, torchvision's numbers, compound scaling, small images."""

from __future__ import annotations

import numpy as np
import pytest
from measure import multiply_adds, sees
from same import compare, count, images, load_from_torch, same_keys, same_start, stir, weightless
from torchvision_here import torchvision

import minicnn
from minicnn import models, nn
from minicnn.models import blocks
from minicnn.models.efficientnet import MBConv, MBConvConfig

PUBLISHED = {
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
}
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in list(PUBLISHED)[3:]]


def narrow(**options):
    """A network of EfficientNet's kind with the same kinds of blocks, but few and thin ones."""
    stages = [
        MBConvConfig(1, 3, 1, 16, 8, 1),
        MBConvConfig(6, 5, 2, 8, 16, 2, depth_mult=1.1),
        MBConvConfig(6, 3, 1, 16, 24, 1),
    ]
    return models.EfficientNet(stages, **{"dropout": 0.0, "num_classes": 4, **options})


# ---------------------------------------------------------------------- what is published


@pytest.mark.parametrize("name", [*list(PUBLISHED)[:3], *LARGE])
def test_parameters_and_keys(name, unfilled):
    net = models.create(name)
    assert count(net) == models.info(name).parameters == PUBLISHED[name]
    same_keys(net, weightless(getattr(torchvision().models, name)))


def test_multiply_adds():
    assert multiply_adds(models.efficientnet_b0(), 224) / 1e9 == pytest.approx(0.39, abs=0.005)


@pytest.mark.parametrize(("stages", "side", "field"), [(2, 24, 7), (3, 48, 19), (4, 160, 67)])
def test_receptive_fields(stages, side, field):
    """As the docstring states them; squeeze and excitation, which sees all, is taken out."""
    features = models.efficientnet_b0().features[:stages]
    for block in (m for m in features.modules() if isinstance(m, MBConv)):
        block.block[-2] = nn.Identity()
    assert sees(features, side) == (field, field)


# ---------------------------------------------------------------------- torchvision's


def test_initial_values():
    same_start(models.efficientnet_b0(), torchvision().models.efficientnet_b0())


@pytest.mark.parametrize("training", [False, True])
def test_equals_torchvision(training):
    options = {"num_classes": 7, "dropout": 0.0, "stochastic_depth_prob": 0.0}
    oracle = torchvision().models.efficientnet_b0(**options)
    net = models.efficientnet_b0(**options)
    stir(oracle)
    load_from_torch(net, oracle)
    side, rtol = (65, 1e-7) if training else (33, 1e-9)
    compare(net, oracle, images(2, 3, side), rtol, training)


@pytest.mark.parametrize("name", ["efficientnet_b1", "efficientnet_b3"])
def test_depth_and_norms_are_torchvisions(name, unfilled):
    """Probabilities of being left out, and the settings of batch norm, which no key shows."""

    def settings(net):
        for module in net.modules():
            if hasattr(module, "mode"):
                yield round(module.p, 12), module.mode
            elif hasattr(module, "running_mean"):
                yield module.eps, module.momentum
            elif hasattr(module, "p"):
                yield module.p, module.inplace

    ours = list(settings(models.create(name)))
    assert ours == list(settings(weightless(getattr(torchvision().models, name))))
    assert len(ours) > 80


# ---------------------------------------------------------------------- stochastic depth, scaling


def test_blocks_are_left_out_more_often_the_deeper_they_stand():
    layers = [
        m for m in models.efficientnet_b0().modules() if isinstance(m, blocks.StochasticDepth)
    ]
    assert [layer.p for layer in layers] == [0.2 * i / 16 for i in range(16)]


def test_a_block_that_is_left_out_hands_its_input_on():
    block = MBConv(MBConvConfig(6, 3, 1, 8, 8, 1), 1.0, nn.BatchNorm2d)
    x = minicnn.Tensor(images(2, 8, 4, np.float32))
    np.testing.assert_array_equal(block(x).array, x.array)
    assert (block.eval()(x).array != x.array).any()


def test_a_network_of_ones_own():
    net = narrow(last_channel=40, in_channels=2)
    assert [len(stage) for stage in net.features] == [3, 1, 3, 1, 3]
    assert net.classifier[1].in_features == 40
    assert net(minicnn.Tensor(images(2, 2, 32, np.float32))).shape == (2, 4)


def test_scaled_stages():
    stage = MBConvConfig(6, 5, 2, 40, 80, 3, width_mult=1.4, depth_mult=1.8)
    assert (stage.input_channels, stage.out_channels, stage.num_layers) == (56, 112, 6)


# ---------------------------------------------------------------------- small images


@pytest.mark.parametrize(("side", "left"), [(28, 4), (32, 4), (96, 3)])
def test_small_images(side, left):
    net = models.efficientnet_b0(num_classes=4, in_channels=1, image_size=side)
    maps = []
    net.features.register_forward_hook(lambda m, x, y: maps.append(y.shape[2:]))
    y = net(minicnn.Tensor(images(2, 1, side, np.float32)))
    y.sum().backward()
    assert y.shape == (2, 4) and maps == [(left, left)]
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.slow
def test_learns_a_batch():
    minicnn.manual_seed(0)
    net = narrow()
    optimizer = minicnn.optim.AdamW(net.parameters(), lr=1e-2)
    x, labels = minicnn.Tensor(images(8, 3, 32, np.float32)), minicnn.Tensor(np.arange(8) % 4)
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes expects a positive integer, got 0"),
        ({"in_channels": 1.5}, "in_channels expects a positive integer, got 1.5"),
        ({"image_size": 0}, "efficientnet_b0: image_size expects a positive integer or None"),
        ({"stochastic_depth_prob": 20}, "p expects a probability"),
        ({"dropout": -1}, "p expects a probability"),
    ],
)
def test_refuses(options, message, unfilled):
    with pytest.raises(ValueError, match=message):
        models.efficientnet_b0(**options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        models.efficientnet_b0(colour="red")


def test_refuses_settings():
    with pytest.raises(ValueError, match="inverted_residual_setting expects one stage or more"):
        models.EfficientNet([], 0.2)
    with pytest.raises(TypeError, match="expects a list of MBConvConfig, got"):
        models.EfficientNet([(6, 3)], 0.2)
    with pytest.raises(ValueError, match="MBConv: stride expects 1 or 2, got 3"):
        MBConv(MBConvConfig(6, 3, 3, 8, 8, 1), 0.0, nn.BatchNorm2d)

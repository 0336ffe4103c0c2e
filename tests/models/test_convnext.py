"""ConvNeXt: published counts, torchvision's numbers, small images."""

from __future__ import annotations

import numpy as np
import pytest
from measure import multiply_adds, sees
from same import compare, count, images, load_from_torch, same_keys, same_start, weightless
from torchvision_here import torchvision

import minicnn
from minicnn import models, nn
from minicnn.models import blocks
from minicnn.models.convnext import CNBlock, CNBlockConfig

THIN = ((8, 16, 1), (16, 24, 2), (24, None, 1))


def thin(**options):
    """A ConvNeXt with few and thin stages."""
    return models.ConvNeXt([CNBlockConfig(*row) for row in THIN], **{"num_classes": 4, **options})


def thin_oracle(**options):
    module = torchvision().models.convnext
    rows = [module.CNBlockConfig(*row) for row in THIN]
    return module.ConvNeXt(rows, **{"num_classes": 4, **options})


# ---------------------------------------------------------------------- what is published


def test_parameters_and_keys(unfilled):
    net = models.convnext_tiny()
    assert count(net) == models.info("convnext_tiny").parameters == 28_589_128
    same_keys(net, weightless(torchvision().models.convnext_tiny))


@pytest.mark.slow
def test_multiply_adds():
    assert multiply_adds(models.convnext_tiny(), 224) / 1e9 == pytest.approx(4.5, abs=0.05)


@pytest.mark.parametrize(("layers", "side", "field"), [(1, 20, 4), (2, 192, 76), (3, 192, 80)])
def test_receptive_fields(layers, side, field, unfilled):
    """As the docstring states them, of thinner layers with the same kernels."""
    minicnn.manual_seed(0)
    net = models.ConvNeXt([CNBlockConfig(2, 2, 3), CNBlockConfig(2, None, 1)], layer_scale=1.0)
    rng = np.random.default_rng(0)
    for parameter in net.parameters():
        parameter.array[...] = rng.normal(size=parameter.shape)
    assert sees(net.features[:layers], side) == (field, field)


# ---------------------------------------------------------------------- torchvision's


def test_initial_values():
    same_start(
        models.ConvNeXt([CNBlockConfig(96, None, 2)]),
        torchvision().models.ConvNeXt([torchvision().models.convnext.CNBlockConfig(96, None, 2)]),
    )


@pytest.mark.parametrize("training", [False, True])
def test_equals_torchvision(training):
    """A layer scale of 1 instead of 1e-6, so that the blocks count."""
    oracle = thin_oracle(layer_scale=1.0)
    net = load_from_torch(thin(layer_scale=1.0), oracle)
    same_keys(net, oracle)
    compare(net, oracle, images(2, 3, 37), rtol=1e-9, training=training)


@pytest.mark.slow
def test_tiny_equals_torchvision():
    oracle = torchvision().models.convnext_tiny(num_classes=7)
    net = load_from_torch(models.convnext_tiny(num_classes=7), oracle)
    compare(net, oracle, images(1, 3, 32), rtol=1e-9)


def test_depth_and_norms_are_torchvisions(unfilled):
    """Probabilities of being left out and the norms' eps, which no key shows."""

    def settings(net):
        for module in net.modules():
            if hasattr(module, "mode"):
                yield round(module.p, 12), module.mode
            elif hasattr(module, "normalized_shape"):
                yield module.eps

    ours = list(settings(models.convnext_tiny()))
    assert ours == list(settings(weightless(torchvision().models.convnext_tiny)))
    assert len(ours) == 18 + 18 + 4 + 1


# ---------------------------------------------------------------------- the block


def test_a_new_block_is_almost_nothing():
    block = CNBlock(8, 1e-6, 0.0)
    x = minicnn.Tensor(images(2, 8, 5, np.float32))
    np.testing.assert_allclose(block(x).array, x.array, atol=2e-5)
    assert block.layer_scale.shape == (8, 1, 1)


def test_a_block_that_is_left_out_hands_its_input_on():
    block = CNBlock(8, 1.0, 1.0)
    x = minicnn.Tensor(images(2, 8, 5, np.float32))
    np.testing.assert_array_equal(block(x).array, x.array)
    assert (block.eval()(x).array != x.array).any()


def test_blocks_are_left_out_more_often_the_deeper_they_stand(unfilled):
    net = thin(stochastic_depth_prob=0.3)
    layers = [m for m in net.modules() if isinstance(m, blocks.StochasticDepth)]
    assert [layer.p for layer in layers] == pytest.approx([0, 0.1, 0.2, 0.3])
    (only,) = models.ConvNeXt([CNBlockConfig(4, None, 1)], 0.3).features[1]
    assert only.stochastic_depth.p == 0


# ---------------------------------------------------------------------- small images


@pytest.mark.parametrize(
    ("side", "strides", "left"),
    [
        (28, [2, 2, 2, 1], 3),
        (32, [2, 2, 2, 1], 4),
        (48, [2, 2, 2, 2], 3),
        (64, [2, 2, 2, 2], 4),
        (96, [4, 2, 2, 2], 3),
        (8, [2, 1, 1, 1], 4),
    ],
)
def test_small_images(side, strides, left, unfilled):
    net = models.convnext_tiny(num_classes=4, in_channels=1, image_size=side)
    convs = [net.features[0][0], *(net.features[i][1] for i in (2, 4, 6))]
    assert [conv.stride for conv in convs] == [conv.kernel_size for conv in convs]
    assert [conv.stride[0] for conv in convs] == strides
    for stride in strides:
        side //= stride
    assert side == left


@pytest.mark.parametrize(
    "side", [28, *[pytest.param(side, marks=pytest.mark.slow) for side in (32, 96)]]
)
def test_small_images_pass_both_ways(side):
    net = models.convnext_tiny(num_classes=4, in_channels=1, image_size=side)
    y = net(minicnn.Tensor(images(1, 1, side, np.float32)))
    y.sum().backward()
    assert y.shape == (1, 4)
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.slow
def test_learns_a_batch():
    minicnn.manual_seed(0)
    net = thin(layer_scale=0.1)
    optimizer = minicnn.optim.AdamW(net.parameters(), lr=1e-2)
    x, labels = minicnn.Tensor(images(8, 3, 32, np.float32)), minicnn.Tensor(np.arange(8) % 4)
    for _ in range(40):
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
        ({"in_channels": None}, "in_channels expects a positive integer, got None"),
        (
            {"image_size": 1},
            "convnext_tiny: image_size expects an integer from 2 up or None, got 1",
        ),
        ({"stochastic_depth_prob": 2}, "p expects a probability"),
    ],
)
def test_refuses(options, message, unfilled):
    with pytest.raises(ValueError, match=message):
        models.convnext_tiny(**options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        models.convnext_tiny(colour="red")


def test_refuses_settings():
    with pytest.raises(ValueError, match="block_setting expects one stage or more"):
        models.ConvNeXt([])
    with pytest.raises(TypeError, match="block_setting expects a list of CNBlockConfig, got"):
        models.ConvNeXt([(96, 192, 3)])
    with pytest.raises(ValueError, match="ConvNeXt: strides expects 3 numbers, got"):
        thin(strides=(4, 2))

"""ResNet: published counts, torchvision's keys and numbers, small images, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from same import compare, count, images, load_from_torch, same_keys, stir
from torchvision_here import torchvision

import minicnn
from minicnn import models, nn

PUBLISHED = {  # torchvision's documentation, "Num. Params"
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}
LARGE = {"resnet101", "resnet152"}
EACH = [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in PUBLISHED]


@pytest.fixture
def unfilled(monkeypatch):
    """Initial values of millions of weights take seconds; these tests look at none of them."""
    for fill in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_", "constant_"):
        monkeypatch.setattr(nn.init, fill, lambda x, *args, **kwargs: x)


@pytest.mark.parametrize("name", EACH)
def test_parameter_counts(name, unfilled):
    net = models.create(name)
    assert count(net) == PUBLISHED[name] == models.info(name).parameters
    stages = [len(getattr(net, f"layer{i}")) for i in (1, 2, 3, 4)]
    convolutions = 2 if name in ("resnet18", "resnet34") else 3
    assert sum(stages) * convolutions + 2 == int(name.removeprefix("resnet"))


@pytest.mark.parametrize("name", EACH)
def test_keys_are_torchvisions(name, unfilled):
    oracle = torchvision().models
    import torch

    with torch.device("meta"):
        same_keys(models.create(name), getattr(oracle, name)())


def test_the_text_is_torchvisions():
    oracle = torchvision().models.resnet50()
    assert repr(models.resnet50(num_classes=1000)) == repr(oracle)


OPTIONS = [
    ("BasicBlock", [2, 1, 1, 1], {}),
    ("Bottleneck", [1, 2, 1, 1], {"zero_init_residual": True}),
    ("Bottleneck", [1, 1, 1, 1], {"groups": 4, "width_per_group": 8}),
    pytest.param(
        *("Bottleneck", [1, 2, 2, 2], {"replace_stride_with_dilation": [False, True, True]}),
        marks=pytest.mark.slow,
    ),
    ("Bottleneck", [1, 2, 1, 1], {"replace_stride_with_dilation": [True, False, True]}),
]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("block", "layers", "options"), OPTIONS)
def test_outputs_and_gradients_are_torchvisions(block, layers, options, training):
    oracle_of = torchvision().models.resnet
    oracle = oracle_of.ResNet(getattr(oracle_of, block), layers, num_classes=7, **options)
    net = models.ResNet(getattr(models, block), layers, num_classes=7, **options)
    same_keys(net, oracle)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(2, 3, 33), rtol=1e-9, training=training)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_whole_networks_are_torchvisions(name):
    oracle = getattr(torchvision().models, name)()
    net = models.create(name)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(2, 3, 64), rtol=1e-8)


def test_other_norms_are_torchvisions():
    oracle_of = torchvision().models.resnet
    import torch

    oracle = oracle_of.ResNet(
        oracle_of.BasicBlock,
        [1, 1, 1, 1],
        zero_init_residual=True,
        norm_layer=lambda c: torch.nn.GroupNorm(8, c),
    )
    net = models.ResNet(
        models.BasicBlock,
        [1, 1, 1, 1],
        zero_init_residual=True,
        norm_layer=lambda c: nn.GroupNorm(8, c),
    )
    same_keys(net, oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(1, 3, 33), rtol=1e-9)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, lambda c: nn.GroupNorm(8, c)])
def test_initial_values(norm):
    net = models.ResNet(models.Bottleneck, [1, 1, 1, 1], zero_init_residual=True, norm_layer=norm)
    for conv in (net.conv1, net.layer3[0].conv2, net.layer4[0].conv3):
        fan_out = conv.weight.shape[0] * math.prod(conv.weight.shape[2:])
        assert conv.weight.array.std() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
    assert np.abs(net.fc.weight.array).max() == pytest.approx(2048**-0.5, rel=0.01)
    assert not net.layer1[0].bn3.weight.array.any()
    assert (net.layer1[0].bn2.weight.array == 1).all()


def test_a_block_without_its_branch_is_the_identity():
    """Factor 0 in the last norm: what the stage adds is nothing, as relu(x) = x after a ReLU."""
    net = models.ResNet(models.BasicBlock, [2, 1, 1, 1], zero_init_residual=True).eval()
    x = minicnn.Tensor(np.abs(images(2, 64, 8, np.float32)))
    np.testing.assert_array_equal(net.layer1(x).array, x.array)


@pytest.mark.parametrize(
    ("side", "maps"), [(16, 2), (28, 4), (32, 4), (64, 8), (96, 3), (224, 7), (None, 7)]
)
def test_maps_of_small_images(side, maps, unfilled):
    net = models.ResNet(
        models.BasicBlock, [1, 1, 1, 1], num_classes=5, in_channels=1, image_size=side
    )
    for value in net.state_dict().values():
        value.array.fill(0)
    sides = []
    net.layer4.register_forward_hook(lambda m, x, y: sides.append(y.shape[2:]))
    x = minicnn.Tensor(images(1, 1, side or 224, np.float32))
    assert net.eval()(x).shape == (1, 5) and sides == [(maps, maps)]


@pytest.mark.parametrize("side", [28, 32, 96])
def test_small_images_train(side):
    net = models.ResNet(models.Bottleneck, [1, 1, 1, 1], 5, in_channels=2, image_size=side)
    net(minicnn.Tensor(images(2, 2, side, np.float32))).sum().backward()
    assert all(p.grad is not None and np.isfinite(p.grad.array).all() for p in net.parameters())


def test_the_small_stem_keeps_the_keys(unfilled):
    assert list(models.resnet18(image_size=32).state_dict()) == list(models.resnet18().state_dict())
    assert models.resnet18(image_size=32).conv1.weight.shape == (64, 3, 3, 3)
    assert models.resnet18(in_channels=1, num_classes=4).conv1.weight.shape == (64, 1, 7, 7)


STAGES = ["maxpool", "layer1", "layer2", "layer3", "layer4"]
SEES = {
    "resnet18": [11, 43, 99, 211, 435],
    "resnet34": [11, 59, 179, 547, 899],
    "resnet50": [11, 35, 91, 267, 427],
    "resnet101": [11, 35, 91, 811, 971],
    "resnet152": [11, 35, 155, 1291, 1451],
}


@pytest.mark.parametrize("name", EACH)
def test_receptive_fields_of_the_table(name, unfilled):
    """Each k x k convolution on the main path adds (k - 1) jumps; strides multiply the jump."""
    net, size, jump, found = models.create(name), 1, 1, []
    for path, layer in net.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)) and "downsample" not in path:
            kernel, stride = (np.max(v) for v in (layer.kernel_size, layer.stride))
            size, jump = size + (kernel - 1) * jump, jump * stride
        found.append((path.split(".")[0], size))
    assert [dict(found)[stage] for stage in STAGES] == SEES[name]


def test_a_gradient_reaches_the_receptive_field():
    net = models.ResNet(models.BasicBlock, [2, 1, 1, 1]).double().eval()
    for value in net.parameters():  # no cancelling, no dead ReLU
        value.array[...] = np.abs(value.array)
    x = minicnn.Tensor(np.abs(images(1, 3, 128))).requires_grad_()
    net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x)))))[0, :, 16, 16].sum().backward()
    touched = np.argwhere(x.grad.array[0, 0])
    assert (touched.max(0) - touched.min(0) + 1).tolist() == [43, 43]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "ResNet: num_classes expects a positive integer, got 0"),
        ({"in_channels": 1.5}, "ResNet: in_channels expects a positive integer, got 1.5"),
        ({"image_size": -1}, "ResNet: image_size expects a positive integer or None, got -1"),
        ({"zero_init_residual": 1}, "ResNet: zero_init_residual expects True or False, got 1"),
        ({"replace_stride_with_dilation": [True]}, r"dilation expects three flags.*got \[True\]"),
        ({"groups": 2}, "BasicBlock: groups and base_width expect 1 and 64, got 2 and 64"),
    ],
)
def test_resnet_refuses(options, message, unfilled):
    with pytest.raises(ValueError, match=message):
        models.resnet18(**options)


def test_resnet_refuses_other_things(unfilled):
    with pytest.raises(NotImplementedError, match="BasicBlock: dilation expects 1, got 2"):
        models.resnet18(replace_stride_with_dilation=(False, True, False))
    with pytest.raises(ValueError, match=r"ResNet: layers expects 4 numbers of blocks, got \[1\]"):
        models.ResNet(models.BasicBlock, [1])
    with pytest.raises(ValueError, match="ResNet: layers expects a positive integer, got 0"):
        models.ResNet(models.BasicBlock, [1, 0, 1, 1])
    with pytest.raises(TypeError, match="colour"):
        models.resnet18(colour="red")

"""MobileNet v1, v2 and v3: published counts, torchvision's numbers, small images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from measure import multiply_adds, sees
from same import compare, count, images, load_from_torch, same_keys, same_start, stir, weightless
from torchvision_here import torchvision

import minicnn
from minicnn import models, nn
from minicnn.models import mobilenetv2, mobilenetv3

NAMES = ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]
FROM_TORCHVISION = NAMES[1:]

# PyTorch's hardsigmoid multiplies its gradient by 1/6 rounded to float32, in float64 too.
CLOSE = {"mobilenet_v2": 1e-9, "mobilenet_v3_large": 1e-7, "mobilenet_v3_small": 1e-7}


# ---------------------------------------------------------------------- what is published


@pytest.mark.parametrize("name", NAMES)
def test_parameters(name, unfilled):
    assert count(models.create(name)) == models.info(name).parameters
    published = (4_231_976, 3_504_872, 5_483_032, 2_542_856)
    assert models.info(name).parameters == published[NAMES.index(name)]


@pytest.mark.parametrize(
    ("width", "parameters"), [(0.75, 2.6e6), (0.5, 1.3e6), (0.25, 0.5e6)]
)  # table 6
def test_v1_widths(width, parameters, unfilled):
    assert count(models.mobilenet_v1(width_mult=width)) == pytest.approx(parameters, abs=0.05e6)


@pytest.mark.parametrize(
    ("options", "side", "millions"),
    [
        ({}, 224, 569),  # tables 6 and 7
        ({"width_mult": 0.75}, 224, 325),
        ({"width_mult": 0.5}, 224, 149),
        ({"width_mult": 0.25}, 224, 41),
        ({}, 192, 418),
        ({}, 160, 290),
        ({}, 128, 186),
    ],
)
def test_v1_multiply_adds(options, side, millions):
    net = models.mobilenet_v1(**options)
    assert multiply_adds(net, side) / 1e6 == pytest.approx(millions, abs=1)


@pytest.mark.parametrize(("name", "millions"), [(NAMES[1], 300), (NAMES[2], 219), (NAMES[3], 56)])
def test_multiply_adds(name, millions):
    assert multiply_adds(models.create(name), 224) / 1e6 == pytest.approx(millions, rel=0.015)


@pytest.mark.parametrize(
    ("name", "layers", "side", "field"),
    [
        ("mobilenet_v1", 1, 16, 3),
        ("mobilenet_v1", 4, 48, 19),
        ("mobilenet_v1", 6, 96, 43),
        ("mobilenet_v2", 2, 24, 7),
        ("mobilenet_v2", 4, 48, 19),
        ("mobilenet_v2", 7, 128, 59),
        ("mobilenet_v3_large", 4, 48, 19),
        ("mobilenet_v3_small", 4, 80, 31),
    ],
)
def test_receptive_fields(name, layers, side, field):
    """As the docstrings state them; squeeze and excitation, which sees all, is taken out."""
    features = models.create(name).features[:layers]
    for path, module in list(features.named_modules()):
        if type(module).__name__ == "SqueezeExcitation":
            parent, _, child = path.rpartition(".")
            setattr(features.get_submodule(parent), child, nn.Identity())
    assert sees(features, side) == (field, field)


# ---------------------------------------------------------------------- torchvision's


@pytest.mark.parametrize("name", FROM_TORCHVISION)
def test_keys(name, unfilled):
    same_keys(models.create(name), weightless(getattr(torchvision().models, name)))


@pytest.mark.parametrize("name", FROM_TORCHVISION)
def test_initial_values(name):
    same_start(models.create(name), getattr(torchvision().models, name)())


@pytest.mark.parametrize("name", FROM_TORCHVISION)
def test_equals_torchvision(name):
    oracle = getattr(torchvision().models, name)(num_classes=7)
    net = models.create(name, num_classes=7)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(2, 3, 33), rtol=CLOSE[name])


@pytest.mark.parametrize("name", FROM_TORCHVISION)
def test_equals_torchvision_in_training(name):
    oracle = getattr(torchvision().models, name)(num_classes=7, dropout=0.0)
    net = models.create(name, num_classes=7, dropout=0.0)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(3, 3, 65), rtol=1e-6, training=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mobilenet_v2", {"width_mult": 0.35}),
        ("mobilenet_v2", {"width_mult": 1.4, "round_nearest": 4}),
        ("mobilenet_v2", {"inverted_residual_setting": [[1, 16, 1, 1], [4, 24, 2, 2]]}),
        ("mobilenet_v3_large", {"width_mult": 0.5}),
        ("mobilenet_v3_large", {"reduced_tail": True, "dilated": True}),
        ("mobilenet_v3_small", {"reduced_tail": True}),
        ("mobilenet_v3_small", {"dilated": True, "width_mult": 0.5}),
    ],
)
def test_options_equal_torchvisions(name, options):
    oracle = getattr(torchvision().models, name)(num_classes=5, **options)
    net = models.create(name, num_classes=5, **options)
    same_keys(net, oracle)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(2, 3, 40), rtol=CLOSE[name])


def test_published_files_without_counts_of_batches_load():
    net = models.mobilenet_v2(width_mult=0.25, num_classes=3)
    state = {k: v.array + 1 for k, v in net.state_dict().items() if "num_batches" not in k}
    net.load_state_dict(state)
    np.testing.assert_array_equal(net.classifier[1].bias.array, np.ones(3, np.float32))


# ---------------------------------------------------------------------- v1, written again


def plain_v1(torch, num_classes):
    """The paper's table 1 in PyTorch, with the names of ours."""

    def layer(C, F, K, S, G):
        conv = torch.nn.Conv2d(C, F, K, S, K // 2, groups=G, bias=False)
        return torch.nn.Sequential(conv, torch.nn.BatchNorm2d(F), torch.nn.ReLU())

    rows = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    rows += [(512, 512, 1)] * 5 + [(512, 1024, 2), (1024, 1024, 1)]
    blocks = [torch.nn.Sequential(layer(C, C, 3, S, C), layer(C, F, 1, 1, 1)) for C, F, S in rows]
    net = torch.nn.Module()
    net.features = torch.nn.Sequential(layer(3, 32, 3, 2, 1), *blocks)
    net.classifier = torch.nn.Sequential(torch.nn.Dropout(0), torch.nn.Linear(1024, num_classes))
    net.forward = lambda x: net.classifier(net.features(x).mean((2, 3)))
    return net


@pytest.mark.parametrize("training", [False, True])
def test_v1_equals_its_table(training):
    oracle = plain_v1(pytest.importorskip("torch"), 7)
    net = models.mobilenet_v1(num_classes=7)
    same_keys(net, oracle)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(2, 3, 65 if training else 33), 1e-6 if training else 1e-9, training)


# ---------------------------------------------------------------------- small images


@pytest.mark.parametrize(("side", "left"), [(28, 4), (32, 4), (64, 4), (96, 3)])
@pytest.mark.parametrize("name", NAMES)
def test_small_images(name, side, left):
    net = models.create(name, num_classes=4, in_channels=1, image_size=side, width_mult=0.25)
    x = minicnn.Tensor(images(2, 1, side, np.float32))
    maps = []
    net.features.register_forward_hook(lambda m, x, y: maps.append(y.shape[2:]))
    y = net(x)
    y.sum().backward()
    assert y.shape == (2, 4) and maps == [(left, left)]
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_small_networks_have_the_weights_of_large_ones(name, unfilled):
    small = {k: v.shape for k, v in models.create(name, image_size=32).state_dict().items()}
    assert small == {k: v.shape for k, v in models.create(name).state_dict().items()}


@pytest.mark.parametrize(("side", "momentum"), [(32, 0.1), (95, 0.1), (96, 0.01), (None, 0.01)])
def test_v3_averages_move_faster_for_small_images(side, momentum, unfilled):
    net = models.mobilenet_v3_small(image_size=side)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(0.001, momentum)}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_learns_a_batch(name):
    minicnn.manual_seed(0)
    net = models.create(name, num_classes=4, image_size=32, width_mult=0.25, dropout=0.0)
    optimizer = minicnn.optim.AdamW(net.parameters(), lr=3e-3)
    x, labels = minicnn.Tensor(images(8, 3, 32, np.float32)), minicnn.Tensor(np.arange(8) % 4)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        losses.append(nn.functional.cross_entropy(net(x), labels))
        losses[-1].backward()
        optimizer.step()
    assert losses[0].item() == pytest.approx(math.log(4), abs=0.3)
    assert losses[-1].item() < 0.1


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes expects a positive integer, got 0"),
        ({"in_channels": 1.5}, "in_channels expects a positive integer, got 1.5"),
        ({"image_size": 0}, "image_size expects a positive integer or None, got 0"),
        ({"width_mult": 0}, "width_mult expects a finite number above 0, got 0"),
        ({"dropout": 2}, "p expects a probability"),
    ],
)
def test_refuses(name, options, message, unfilled):
    with pytest.raises(ValueError, match=message):
        models.create(name, **options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        models.create(name, colour="red")


@pytest.mark.parametrize("setting", [[], [[1, 16, 1]], [6, 24, 2, 2]])
def test_v2_refuses_rows(setting):
    with pytest.raises(ValueError, match=r"inverted_residual_setting expects rows \(t, c, n, s\)"):
        models.mobilenet_v2(inverted_residual_setting=setting)


def test_blocks_refuse():
    with pytest.raises(ValueError, match="InvertedResidual: stride expects 1 or 2, got 3"):
        mobilenetv2.InvertedResidual(8, 8, 3, 6)
    with pytest.raises(ValueError, match="activation expects 'HS' or 'RE', got 'GELU'"):
        mobilenetv3.InvertedResidualConfig(16, 3, 16, 16, True, "GELU", 1, 1, 1.0)
    with pytest.raises(ValueError, match="InvertedResidual: stride expects 1 or 2, got 4"):
        row = mobilenetv3.InvertedResidualConfig(16, 3, 16, 16, True, "RE", 4, 1, 1.0)
        mobilenetv3.InvertedResidual(row, nn.BatchNorm2d)


def test_v3_refuses_settings():
    with pytest.raises(ValueError, match="inverted_residual_setting expects one block or more"):
        models.MobileNetV3([], 1280)
    with pytest.raises(TypeError, match="expects a list of InvertedResidualConfig, got"):
        models.MobileNetV3([(16, 3)], 1280)


def test_v1_refuses_strides():
    with pytest.raises(ValueError, match=r"MobileNetV1: strides expects 14, got \[2\]"):
        models.MobileNetV1(strides=[2])

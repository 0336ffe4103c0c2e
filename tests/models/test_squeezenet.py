"""SqueezeNet 1.0 and 1.1: torchvision's keys, initial values and results; small images."""

from __future__ import annotations

import numpy as np
import pytest
from same import compare, count, images, load_from_torch, same_keys, same_start, weightless
from torchvision_here import torchvision

import minicnn
from minicnn import models, nn
from minicnn.nn import functional as F

NAMES = {"squeezenet1_0": 1_248_424, "squeezenet1_1": 1_235_496}


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_shapes(name):
    net = models.create(name).eval()
    assert count(net) == models.info(name).parameters == NAMES[name]
    x = minicnn.Tensor(np.zeros((1, 3, 224, 224), np.float32))
    assert net.features(x).shape == (1, 512, 13, 13)  # the paper's table 1


@pytest.mark.parametrize("name", NAMES)
def test_computes_what_torchvisions_does(name):
    make = getattr(torchvision().models, name)
    same_keys(models.create(name), weightless(make))
    oracle = make(num_classes=9, dropout=0)
    net = models.create(name, num_classes=9, dropout=0)
    same_start(net, oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(2, 3, 65), 1e-9)
    compare(net, oracle, images(2, 3, 51), 1e-9, training=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("side", "pooled"), [(28, 3), (32, 4), (64, 8), (96, 5)])
def test_small_images(name, side, pooled):
    net = models.create(name, num_classes=4, in_channels=1, image_size=side)
    x = minicnn.Tensor(images(2, 1, side, np.float32))
    assert net.features(x).shape == (2, 512, pooled, pooled)
    F.cross_entropy(net(x), minicnn.Tensor(np.array([0, 3]))).backward()
    assert all(np.isfinite(p.grad.array).all() for p in net.parameters())
    assert list(net.state_dict()) == list(models.create(name).state_dict())


def test_work_of_the_two():
    """1.1 needs 2.4 times fewer multiply-adds, say the authors."""
    x = minicnn.Tensor(images(1, 3, 224, np.float32))
    work = {}
    for name in NAMES:
        net, products = models.create(name).eval(), []
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(
                    lambda m, x, y, products=products: products.append(
                        y.numel() * m.weight[0].numel()
                    )
                )
        net(x)
        work[name] = sum(products)
    assert work["squeezenet1_0"] / work["squeezenet1_1"] == pytest.approx(2.4, abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "2_0"}, "SqueezeNet: version expects one of 1_0, 1_1, got '2_0'"),
        ({"num_classes": 1.0}, "SqueezeNet: num_classes expects a positive integer, got 1.0"),
        ({"image_size": 7}, "SqueezeNet: image_size expects at least 8 or None, got 7"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        models.SqueezeNet(**options)


def test_the_name_says_the_version():
    with pytest.raises(ValueError, match="squeezenet1_1: version is '1_1' here, got '1_0'"):
        models.squeezenet1_1(version="1_0")

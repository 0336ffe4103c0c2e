"""VGG against torchvision; what it is by itself is tested in test_models.py."""

from __future__ import annotations

import numpy as np
import pytest
from same import compare, images, load_from_torch, same_keys, stir, weightless
from torchvision_here import torchvision

import minicnn
from minicnn import models, nn
from minicnn.nn import functional as F

NAMES = [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_torchvisions(name, unfilled):
    same_keys(models.create(name), weightless(getattr(torchvision().models, name)))


def oracle_of(name):
    """torchvision's, with narrow dense layers: the real ones hold 120 million of VGG's numbers."""
    oracle = weightless(getattr(torchvision().models, name), dropout=0, init_weights=False)
    import torch

    with torch.device("meta"):
        oracle.classifier[0], oracle.classifier[3] = (
            torch.nn.Linear(25088, 16),
            torch.nn.Linear(16, 16),
        )
        oracle.classifier[6] = torch.nn.Linear(16, 5)
    oracle.to_empty(device="cpu")
    torch.manual_seed(0)
    for p in oracle.parameters():
        torch.nn.init.normal_(p, 0, 0.05)
    stir(oracle)
    return oracle


@pytest.mark.parametrize(("name", "column"), [("vgg11", "A"), ("vgg13_bn", "B")])
@pytest.mark.slow
def test_computes_what_torchvisions_does(name, column):
    oracle = oracle_of(name)
    kinds = {"A": (1, 1, 2, 2, 2), "B": (2, 2, 2, 2, 2)}[column]  # of the paper's table 1
    widths = zip((64, 128, 256, 512, 512), kinds, strict=True)
    layers = [x for width, n in widths for x in [*[width] * n, "M"]]
    features = models.vgg.make_layers(layers, batch_norm="bn" in name)
    net = models.VGG(features, num_classes=5, dropout=0, init_weights=False, hidden=16)
    load_from_torch(net, oracle)
    compare(net, oracle, images(2, 3, 32), 1e-9)
    compare(net, oracle, images(3, 3, 64), 1e-8, training=True)


def test_refuses():
    for name in ("num_classes", "in_channels"):
        with pytest.raises(ValueError, match=f"vgg11: {name} expects a positive integer, got 0"):
            models.vgg11(**{name: 0})


@pytest.mark.parametrize("side", [28, 32, 96])
@pytest.mark.slow
def test_small_images_learn(side):
    net = models.vgg11_bn(num_classes=4, in_channels=1, image_size=side)
    F.cross_entropy(
        net(minicnn.Tensor(images(2, 1, side, np.float32))), minicnn.Tensor(np.array([0, 3]))
    ).backward()
    assert all(np.isfinite(p.grad.array).all() for p in net.parameters())
    assert isinstance(net.avgpool, nn.AdaptiveAvgPool2d)

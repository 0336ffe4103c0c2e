"""AlexNet: torchvision's network and the paper's, their counts, shapes, and what they compute."""

from __future__ import annotations

import numpy as np
import pytest
from same import compare, count, images, load_from_torch, same_keys, same_start, weightless
from torchvision_here import torchvision

import minicnn
from minicnn import models, nn
from minicnn.nn import functional as F


def narrow(net, linear):
    """The dense layers hold 54 million of its numbers, and nothing that narrower ones have not."""
    net.classifier[1], net.classifier[4] = linear(9216, 32), linear(32, 32)
    net.classifier[6] = linear(32, net.classifier[6].out_features)
    return net


def test_parameters(unfilled):
    assert count(models.alexnet()) == models.info("alexnet").parameters == 61_100_840
    assert count(models.alexnet_paper()) == models.info("alexnet_paper").parameters == 60_965_224
    # A column of the paper sees half of the maps: half the weights of conv2, conv4 and conv5.
    whole = count(models.alexnet(filters=96))
    assert whole - 60_965_224 == 25 * 48 * 256 + 9 * 192 * 384 + 9 * 192 * 256


def test_keys_are_torchvisions(unfilled):
    oracle = weightless(torchvision().models.alexnet)
    same_keys(models.alexnet(), oracle)
    assert list(models.alexnet(lrn=True, image_size=32).state_dict()) == list(oracle.state_dict())


def test_computes_what_torchvisions_does():
    oracle = torchvision().models.AlexNet(7, dropout=0)
    import torch

    net = models.AlexNet(7, dropout=0)
    same_start(net, oracle)
    narrow(oracle, torch.nn.Linear)
    load_from_torch(narrow(net, nn.Linear), oracle)
    compare(net, oracle, images(2, 3, 63), 1e-9)
    compare(net, oracle, images(2, 3, 80), 1e-9, training=True)


def test_the_papers_network_against_plain_layers():
    """Two columns that meet in conv3, each computed by itself, and LRN from its formula."""
    net = models.alexnet_paper(num_classes=5, image_size=63).double().eval()
    conv1, conv2, conv3, conv4, conv5 = (net.features[i] for i in (0, 3, 6, 8, 10))

    def normalised(x):
        squares = np.pad(x.array**2, ((0, 0), (2, 2), (0, 0), (0, 0)))
        total = sum(squares[:, i : i + x.shape[1]] for i in range(5))
        return minicnn.Tensor(x.array / (2 + 1e-4 * total) ** 0.75)

    def column(layer, x, which, padding):
        half = layer.out_channels // 2
        chosen = slice(which * half, (which + 1) * half)
        return F.relu(F.conv2d(x, layer.weight[chosen], layer.bias[chosen], padding=padding))

    x = minicnn.Tensor(50 * images(2, 3, 63))  # so large that the normalisation divides by 3 to 4
    with minicnn.no_grad():
        y = F.max_pool2d(normalised(F.relu(conv1(x))), 3, 2)
        columns = [column(conv2, y[:, i * 48 : (i + 1) * 48], i, 2) for i in range(2)]
        y = F.max_pool2d(normalised(minicnn.cat(columns, 1)), 3, 2)
        y = F.relu(conv3(y))
        columns = [column(conv4, y[:, i * 192 : (i + 1) * 192], i, 1) for i in range(2)]
        columns = [column(conv5, columns[i], i, 1) for i in range(2)]
        y = F.max_pool2d(minicnn.cat(columns, 1), 3, 2)
        np.testing.assert_allclose(net.features(x).array, y.array, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", [models.alexnet, models.alexnet_paper])
@pytest.mark.parametrize(("side", "pooled"), [(28, 2), (32, 3), (64, 6), (96, 2)])
def test_small_images(make, side, pooled):
    net = make(num_classes=4, in_channels=1, image_size=side)
    x = minicnn.Tensor(images(2, 1, side, np.float32))
    assert net.avgpool(net.features(x)).shape == (2, 256, pooled, pooled)
    F.cross_entropy(net(x), minicnn.Tensor(np.array([0, 3]))).backward()
    assert all(np.isfinite(p.grad.array).all() and p.grad.array.any() for p in net.parameters())


def test_every_size_has_a_map_left(unfilled):
    for side in (16, 17, 33, 64, 65, 100, 223):
        net = models.alexnet(image_size=side)
        for p in net.parameters():
            p.array.fill(0)
        shape = net.features(minicnn.Tensor(np.zeros((1, 3, side, side), np.float32))).shape
        assert shape[2:] == net.avgpool.output_size or min(shape[2:]) > 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 48}, "AlexNet: filters expects one of 64, 96, got 48"),
        ({"groups": 3}, "AlexNet: groups expects one of 1, 2, got 3"),
        ({"lrn": 1}, "AlexNet: lrn expects True or False, got 1"),
        ({"image_size": 15}, "AlexNet: image_size expects at least 16 or None, got 15"),
        ({"num_classes": 0}, "AlexNet: num_classes expects a positive integer, got 0"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        models.alexnet(**options)


def test_the_paper_has_96_filters():
    with pytest.raises(ValueError, match="alexnet_paper: filters is 96 here, got 64"):
        models.alexnet_paper(filters=64)
    with pytest.raises(TypeError, match="colour"):
        models.alexnet_paper(colour="red")

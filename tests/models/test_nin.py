"""Network in Network: the paper's networks for CIFAR-10 and ImageNet, against PyTorch's layers."""

from __future__ import annotations

import numpy as np
import pytest
from same import compare, count, images, load_from_torch

import minicnn
from minicnn import models, nn
from minicnn.nn import functional as F


def test_parameters(unfilled):
    assert count(models.nin()) == models.info("nin").parameters == 7_595_176
    cifar = models.nin(num_classes=10, image_size=32)
    assert count(cifar) == 966_986  # of the authors' Caffe network
    blocks = [count(m) for m in cifar.features if isinstance(m, nn.Sequential)]
    assert blocks == [60_928, 535_104, 370_954]


def test_maps():
    net = models.nin(image_size=224).eval()
    shapes = []
    for layer in net.features:
        layer.register_forward_hook(lambda m, x, y: shapes.append(y.shape[1:]))
    assert net(minicnn.Tensor(np.zeros((1, 3, 224, 224), np.float32))).shape == (1, 1000)
    assert shapes[0] == (96, 55, 55) and shapes[2] == (256, 27, 27)
    assert shapes[4] == (384, 13, 13) and shapes[-1] == (1000, 6, 6)


def in_pytorch(layers):
    """The same network of PyTorch's layers: (in, out, kernel, stride, padding), or a pooling."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    class Oracle(torch.nn.Module):
        def __init__(self):
            super().__init__()
            blocks = [
                self.mlpconv(*layer) if isinstance(layer, tuple) else layer for layer in layers
            ]
            self.features = torch.nn.Sequential(*blocks)

        @staticmethod
        def mlpconv(c, widths, kernel, stride, padding, last=False):
            inside = []
            for f, k, s, p in zip(
                widths, (kernel, 1, 1), (stride, 1, 1), (padding, 0, 0), strict=True
            ):
                inside += [torch.nn.Conv2d(c, f, k, s, p), torch.nn.ReLU()]
                c = f
            return torch.nn.Sequential(*inside[: -1 if last else None])

        def forward(self, x):
            return self.features(x).mean((2, 3))

    return Oracle()


def test_cifar_network_computes_what_its_layers_do():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    oracle = in_pytorch(
        [
            (3, (192, 160, 96), 5, 1, 2),
            torch.nn.MaxPool2d(3, 2, ceil_mode=True),
            torch.nn.Identity(),
            (96, (192, 192, 192), 5, 1, 2),
            torch.nn.AvgPool2d(3, 2, ceil_mode=True),
            torch.nn.Identity(),
            (192, (192, 192, 10), 3, 1, 1, True),
        ]
    )
    net = load_from_torch(models.nin(num_classes=10, image_size=32, dropout=0), oracle)
    compare(net, oracle, images(2, 3, 17), 1e-9, training=True)


def test_imagenet_network_computes_what_its_layers_do():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    oracle = in_pytorch(
        [
            (3, (96, 96, 96), 11, 4, 2),
            torch.nn.MaxPool2d(3, 2),
            (96, (256, 256, 256), 5, 1, 2),
            torch.nn.MaxPool2d(3, 2),
            (256, (384, 384, 384), 3, 1, 1),
            torch.nn.MaxPool2d(3, 2),
            torch.nn.Identity(),
            (384, (1024, 1024, 6), 3, 1, 1, True),
        ]
    )
    net = load_from_torch(models.nin(num_classes=6, dropout=0), oracle)
    compare(net, oracle, images(2, 3, 67), 1e-9, training=True)


@pytest.mark.parametrize(("side", "pooled"), [(28, 7), (32, 8), (64, 16), (96, 2)])
def test_small_images(side, pooled):
    net = models.nin(num_classes=4, in_channels=1, image_size=side)
    x = minicnn.Tensor(images(2, 1, side, np.float32))
    assert net.features(x).shape == (2, 4, pooled, pooled)
    F.cross_entropy(net(x), minicnn.Tensor(np.array([0, 3]))).backward()
    assert all(np.isfinite(p.grad.array).all() for p in net.parameters())


def test_initial_values_keep_the_signal():
    """He's: the size of the maps stays what it was, to a factor of 3 (the last has but 10 maps)."""
    net = models.nin(num_classes=10, image_size=32).eval()
    maps = []
    for block in net.features:
        block.register_forward_hook(lambda m, x, y: maps.append(np.square(y.array).mean() ** 0.5))
    net(minicnn.Tensor(images(2, 3, 32, np.float32)))
    assert all(1 / 3 < size < 3 for size in maps[:-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 7}, "NiN: image_size expects at least 8 or None, got 7"),
        ({"image_size": "32"}, "NiN: image_size expects at least 8 or None, got '32'"),
        ({"in_channels": 0}, "NiN: in_channels expects a positive integer, got 0"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        models.nin(**options)

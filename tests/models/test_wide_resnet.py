"""Wide ResNet for small images: the paper's counts, and the same network in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from same import compare, count, images, load_from_torch, same_keys, seen_by_the_middle, stir

import minicnn
from minicnn import models, nn


@pytest.mark.parametrize(
    ("depth", "k", "millions"),  # table 4 of the paper
    [(16, 4, 2.7), (40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (16, 8, 11.0), (28, 10, 36.5)],
)
def test_published_counts(depth, k, millions, unfilled):
    net = models.WideResNet(depth, k)
    assert round(count(net) / 1e6, 1) == millions
    convolutions = [m for p, m in net.named_modules() if isinstance(m, nn.Conv2d)]
    projections = [p for p, _ in net.named_modules() if p.endswith("downsample")]
    assert len(convolutions) - len(projections) == depth - 3  # d counts the three projections


@pytest.mark.parametrize(
    ("name", "parameters"), [("wrn_16_4", 2_748_890), ("wrn_28_10", 36_479_194)]
)
def test_registered_networks(name, parameters, unfilled):
    assert count(models.create(name)) == parameters == models.info(name).parameters


def oracle(depth, k):
    """The paper's network in PyTorch, with our names."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tn = torch.nn

    class Block(tn.Module):
        def __init__(self, c, f, stride):
            super().__init__()
            self.bn1 = tn.BatchNorm2d(c)
            self.conv1 = tn.Conv2d(c, f, 3, stride, 1, bias=False)
            self.bn2 = tn.BatchNorm2d(f)
            self.conv2 = tn.Conv2d(f, f, 3, 1, 1, bias=False)
            if c != f:
                self.downsample = tn.Conv2d(c, f, 1, stride, bias=False)

        def forward(self, x):
            y = self.bn1(x).relu()
            z = self.conv2(self.bn2(self.conv1(y)).relu())
            return z + (self.downsample(y) if hasattr(self, "downsample") else x)

    class Net(tn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = tn.Conv2d(3, 16, 3, 1, 1, bias=False)
            n = (depth - 4) // 6
            for i, (c, f) in enumerate([(16, 16 * k), (16 * k, 32 * k), (32 * k, 64 * k)]):
                blocks = [Block(c, f, 2 if i else 1), *[Block(f, f, 1) for _ in range(n - 1)]]
                setattr(self, f"layer{i + 1}", tn.Sequential(*blocks))
            self.bn1 = tn.BatchNorm2d(64 * k)
            self.fc = tn.Linear(64 * k, 10)

        def forward(self, x):
            x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
            return self.fc(self.bn1(x).relu().mean((2, 3)))

    return Net()


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("depth", "k"), [(16, 2), (10, 1)])
def test_it_is_the_papers_network(depth, k, training):
    theirs = oracle(depth, k)
    net = models.WideResNet(depth, k)
    same_keys(net, theirs)
    stir(theirs)
    load_from_torch(net, theirs)
    compare(net, theirs, images(2, 3, 15), rtol=1e-9, training=training)


def test_initial_values():
    net = models.WideResNet(10, 8)
    assert net.layer3[0].conv2.weight.array.std() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.02)
    assert not net.fc.bias.array.any()


@pytest.mark.parametrize(("side", "maps"), [(16, 4), (28, 7), (32, 8), (96, 24)])
def test_image_sizes(side, maps):
    net = models.WideResNet(10, 1, num_classes=4, in_channels=1, image_size=side)
    sides = []
    net.layer3.register_forward_hook(lambda m, x, y: sides.append(y.shape[1:]))
    y = net(minicnn.Tensor(images(2, 1, side, np.float32)))
    y.sum().backward()
    assert y.shape == (2, 4) and sides == [(64, maps, maps)]
    assert all(np.isfinite(p.grad.array).all() for p in net.parameters())


@pytest.mark.parametrize(("layer", "side"), [("layer1", 11), ("layer2", 25), ("layer3", 53)])
def test_receptive_fields_of_the_table(layer, side):
    layers = ("conv1", "layer1", "layer2", "layer3")[: int(layer[-1]) + 1]
    assert seen_by_the_middle(models.WideResNet(16, 1), layers, 72) == [side, side]


def test_dropout_stands_between_the_convolutions():
    net = models.wrn_16_4(dropout=0.3)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.3] * 6
    block = models.WideResNet(10, 1, dropout=1.0).layer1[0].train()
    x = minicnn.Tensor(images(2, 16, 8, np.float32))
    np.testing.assert_array_equal(block(x).array, x.array)  # 16 to 16 channels: shortcut alone


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.WideResNet(28.0), r"WideResNet: depth expects 6n \+ 4, from 10 up, got 28"),
        (lambda: models.WideResNet(20), r"WideResNet: depth expects 6n \+ 4, from 10 up, got 20"),
        (lambda: models.WideResNet(16, 0), "widen_factor expects a positive integer, got 0"),
        (lambda: models.wrn_16_4(widen_factor=8), "wrn_16_4: widen_factor is 4 here, got 8"),
        (lambda: models.wrn_16_4(dropout=1.5), "Dropout: p expects a probability"),
        (lambda: models.wrn_16_4(image_size="32"), "image_size expects a positive integer or None"),
    ],
)
def test_it_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_it_refuses_unknown_options():
    with pytest.raises(TypeError, match="colour"):
        models.wrn_16_4(colour="red")

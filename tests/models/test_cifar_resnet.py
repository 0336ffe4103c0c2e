"""The ResNets for CIFAR-10: the paper's counts, both shortcuts, and the same network in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from same import compare, count, images, load_from_torch, same_keys, seen_by_the_middle, stir

import minicnn
from minicnn import models
from minicnn.nn import functional as F

# Table 6 of the paper says 0.27, 0.46, 0.66, 0.85 and 1.7 million.
PUBLISHED = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}


@pytest.mark.parametrize("depth", PUBLISHED)
def test_parameter_counts(depth):
    name = f"resnet{depth}"
    net = models.create(name)
    assert count(net) == PUBLISHED[depth] == models.info(name).parameters
    assert count(models.create(name, shortcut="none")) == PUBLISHED[depth]
    assert count(models.create(name, shortcut="B")) == PUBLISHED[depth] + 2_752
    layers = [m for m in net.modules() if isinstance(m, (minicnn.nn.Conv2d, minicnn.nn.Linear))]
    assert len(layers) == depth


def oracle(depth, shortcut):
    """The paper's section 4.2 in PyTorch, with the names of torchvision's ResNet."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tn = torch.nn

    class Zeros(tn.Module):
        def forward(self, x):
            x = x[:, :, ::2, ::2]
            return torch.cat([x, torch.zeros_like(x)], 1)

    class Block(tn.Module):
        def __init__(self, c, f, stride):
            super().__init__()
            self.conv1 = tn.Conv2d(c, f, 3, stride, 1, bias=False)
            self.bn1 = tn.BatchNorm2d(f)
            self.conv2 = tn.Conv2d(f, f, 3, 1, 1, bias=False)
            self.bn2 = tn.BatchNorm2d(f)
            self.downsample = tn.Identity()
            if stride == 2 and shortcut == "A":
                self.downsample = Zeros()
            if stride == 2 and shortcut == "B":
                self.downsample = tn.Sequential(
                    tn.Conv2d(c, f, 1, 2, bias=False), tn.BatchNorm2d(f)
                )

        def forward(self, x):
            y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return y.relu() if shortcut == "none" else (y + self.downsample(x)).relu()

    class Net(tn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = tn.Conv2d(3, 16, 3, 1, 1, bias=False)
            self.bn1 = tn.BatchNorm2d(16)
            n = (depth - 2) // 6
            for i, (c, f) in enumerate([(16, 16), (16, 32), (32, 64)]):
                blocks = [Block(c, f, 2 if i else 1), *[Block(f, f, 1) for _ in range(n - 1)]]
                setattr(self, f"layer{i + 1}", tn.Sequential(*blocks))
            self.fc = tn.Linear(64, 10)

        def forward(self, x):
            x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)).relu())))
            return self.fc(x.mean((2, 3)))

    return Net()


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("shortcut", ["A", "B", "none"])
def test_it_is_the_papers_network(shortcut, training):
    theirs = oracle(14, shortcut)
    net = models.CifarResNet(14, shortcut=shortcut)
    same_keys(net, theirs)
    stir(theirs)
    load_from_torch(net, theirs)
    compare(net, theirs, images(2, 3, 15), rtol=1e-9, training=training)


def test_option_a_takes_every_second_pixel_and_adds_zeros():
    x = minicnn.Tensor(images(2, 3, 5)).requires_grad_()
    y = models.cifar_resnet.PaddedShortcut(3, 7, 2)(x)
    assert y.shape == (2, 7, 3, 3)
    np.testing.assert_array_equal(y.array[:, :3], x.array[:, :, ::2, ::2])
    assert not y.array[:, 3:].any()
    y.sum().backward()
    taken = np.zeros((5, 5))
    taken[::2, ::2] = 1
    np.testing.assert_array_equal(x.grad.array, np.broadcast_to(taken, x.shape))


@pytest.mark.parametrize(("side", "maps"), [(16, 4), (28, 7), (32, 8), (96, 24)])
def test_image_sizes(side, maps):
    net = models.resnet20(num_classes=4, in_channels=1, image_size=side)
    sides = []
    net.layer3.register_forward_hook(lambda m, x, y: sides.append(y.shape[1:]))
    y = net(minicnn.Tensor(images(2, 1, side, np.float32)))
    y.sum().backward()
    assert y.shape == (2, 4) and sides == [(64, maps, maps)]
    assert all(np.isfinite(p.grad.array).all() for p in net.parameters())


@pytest.mark.parametrize(("layer", "side"), [("layer1", 15), ("layer2", 37), ("layer3", 81)])
def test_receptive_fields_of_the_table(layer, side):
    layers = ("conv1", "layer1", "layer2", "layer3")[: int(layer[-1]) + 1]
    assert seen_by_the_middle(models.resnet20(), layers, 100) == [side, side]


def test_it_learns_a_batch():
    minicnn.manual_seed(0)
    net = models.resnet20(image_size=8)
    optimizer = minicnn.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    x = minicnn.Tensor(images(8, 3, 8, np.float32))
    y = minicnn.Tensor(np.arange(8))
    for _ in range(25):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shortcut": "C"}, "CifarResNet: shortcut expects one of A, B, none, got 'C'"),
        ({"shortcut": None}, "CifarResNet: shortcut expects one of A, B, none, got None"),
        ({"depth": 32}, "resnet20: depth is 20 here, got 32"),
        ({"num_classes": True}, "CifarResNet: num_classes expects a positive integer, got True"),
        ({"image_size": 0}, "CifarResNet: image_size expects a positive integer or None, got 0"),
    ],
)
def test_it_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        models.resnet20(**options)


@pytest.mark.parametrize("depth", [2, 18, 21, 20.0, "20"])
def test_it_refuses_depths(depth):
    with pytest.raises(ValueError, match=r"CifarResNet: depth expects 6n \+ 2, from 8 up, got"):
        models.CifarResNet(depth)


def test_it_refuses_unknown_options():
    with pytest.raises(TypeError, match="colour"):
        models.resnet20(colour="red")

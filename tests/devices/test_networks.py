"""Whole training steps on a device against the same steps on the CPU."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F
from minicnn import backend, nn
from minicnn.datasets import Digits

STEPS = 3
# Relative to the largest of a tensor's numbers: some roundings of each step, none of them amplified
# much in so few. In float32 2e-6 was seen at most.
BOUNDS = {np.float32: 1e-5, np.float64: 1e-13}


def lenet():
    """LeNet-5 for images of 28x28, with dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def vgg():
    """Three 3x3 convolutions with batch norm, two poolings, dropout: for images of 8x8."""
    layers = []
    for channels, features, pooled in ((3, 8, True), (8, 16, False), (16, 16, True)):
        layers += [nn.Conv2d(channels, features, 3, padding=1), nn.BatchNorm2d(features), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pooled else []
    dense = [nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10)]
    return nn.Sequential(*layers, nn.Flatten(), *dense)


class Block(nn.Module):
    """relu(F(x) + x) with two convolutions in F; where the shape changes, a 1x1 one beside it."""

    def __init__(self, channels, features, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, features, 3, stride, 1, bias=False),
            nn.BatchNorm2d(features),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, 1, 1, bias=False),
            nn.BatchNorm2d(features),
        )
        self.shortcut = nn.Sequential()
        if (channels, stride) != (features, 1):
            convolution = nn.Conv2d(channels, features, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(features))

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


def resnet():
    """Two residual blocks, one of which halves the image: for images of 8x8."""
    stem = [nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    blocks = [Block(8, 8, 1), Block(8, 16, 2)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


NETWORKS = {lenet: (8, 1, 28, 28), vgg: (6, 3, 8, 8), resnet: (6, 3, 8, 8)}

# Of the images. With others a small network may meet an activation that is zero but for rounding,
# and from there on two right results part: vgg's 0 has one of -3e-7, its 9 none within 5e-5.
SEEDS = {lenet: 0, vgg: 9, resnet: 0}


def train(network, device, dtype=np.float32, steps=STEPS):
    """The losses, and all that the network then holds by name, after some steps of SGD."""
    rng = np.random.default_rng(SEEDS[network])
    minicnn.manual_seed(0)
    net = network().to(device, dtype)
    minicnn.manual_seed(1)  # the CPU's generator has drawn the weights: begin anew for the masks
    losses = []
    for _ in range(steps):
        x = minicnn.tensor(rng.standard_normal(NETWORKS[network]), dtype=dtype, device=device)
        target = minicnn.tensor(rng.integers(0, 10, len(x)), device=device)
        loss = F.cross_entropy(net(x), target)
        net.zero_grad()
        loss.backward()
        with minicnn.no_grad():
            for p in net.parameters():
                p -= 0.1 * p.grad
        losses.append(loss.item())
    return losses, {name: t.cpu().numpy() for name, t in net.state_dict().items()}


def assert_agree(found, wanted, bound):
    np.testing.assert_allclose(found[0], wanted[0], rtol=bound)
    assert found[1].keys() == wanted[1].keys()
    for name, value in wanted[1].items():
        scale = np.abs(value).max() if value.size else 1
        np.testing.assert_allclose(found[1][name], value, rtol=0, atol=bound * scale, err_msg=name)


def assert_same_bits(found, wanted):
    assert found[0] == wanted[0]
    for name, value in wanted[1].items():
        np.testing.assert_array_equal(found[1][name], value, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "dtype"), [*[(n, np.float32) for n in NETWORKS], (resnet, np.float64)]
)
def test_steps_are_those_of_the_cpu(gpu, network, dtype):
    wanted = train(network, "cpu", dtype)
    assert wanted[0][-1] != pytest.approx(wanted[0][0], rel=1e-3)  # it does learn
    assert_agree(train(network, gpu, dtype), wanted, BOUNDS[dtype])


@contextlib.contextmanager
def emulated(**options):
    if (reason := backend.why_not("emulator")) is not None:
        pytest.skip(reason)
    from minicnn.backend.emulator import emulation

    with emulation(**options):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_the_order_of_threads_changes_no_bit(network):
    with emulated():
        wanted = train(network, "emulator", steps=1)
    for options in ({"order": "reversed"}, {"order": "shuffled", "seed": 1}):
        with emulated(**options):
            assert_same_bits(train(network, "emulator", steps=1), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_a_checked_step_finds_nothing(network):
    with emulated():
        wanted = train(network, "emulator", steps=1)
    with emulated(checked=True):  # raises what it finds
        assert_same_bits(train(network, "emulator", steps=1), wanted)


def loss_curve(device, count, epochs):
    """The loss of each batch while LeNet-5 learns some of the digits."""
    minicnn.manual_seed(0)
    digits = Digits(train=True)
    wide = np.kron(digits.data.numpy()[:count], np.ones((3, 3), np.uint8))  # 24x24
    images = np.pad(wide, ((0, 0), (2, 2), (2, 2)))[:, None].astype(np.float32) / 255
    data = minicnn.data.TensorDataset(minicnn.tensor(images), digits.targets[:count])
    loader = minicnn.data.DataLoader(data, batch_size=32, shuffle=True)
    net = minicnn.models.LeNet5(batch_norm=True).to(device)
    optimizer = minicnn.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(epochs):
        for x, target in loader:
            loss = F.cross_entropy(net(x.to(device)), target.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.slow
def test_lenet_on_digits_follows_the_cpu(gpu):
    wanted = loss_curve("cpu", 256, 2)
    assert wanted[-1] < 0.7 * wanted[0]
    np.testing.assert_allclose(loss_curve(gpu, 256, 2), wanted, rtol=1e-5)

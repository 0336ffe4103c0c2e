"""The paper's LeNet-5: its counts, its table of connections, its equations."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from same import compare, count, images, load_from_torch, same_keys

import minicnn
from minicnn import models, nn
from minicnn.nn import functional as F

file = sys.modules["minicnn.models.lenet_classic"]  # its maker has the same name


def test_it_has_the_papers_parameters():
    net = models.lenet_classic()
    layers = [net.c1, net.s2, net.c3, net.s4, net.c5, net.f6, net.output]
    assert [count(layer) for layer in layers] == [156, 12, 1_516, 32, 48_120, 10_164, 0]
    assert count(net) == 60_000 == models.info("lenet_classic").parameters
    assert count(models.lenet_classic(output="dense")) == 60_850
    assert count(models.lenet_classic(image_size=28)) == 60_000


def test_it_has_the_papers_connections():
    """Each output of a layer counts its weights and its bias; distances count their codes."""
    net, total, outputs = models.lenet_classic(), 0, {}
    for name, layer in net.named_children():
        layer.register_forward_hook(lambda m, x, y, name=name: outputs.update({name: y}))
    net(minicnn.Tensor(images(1, 1, 32, np.float32)))
    for name in ("c1", "c3", "c5", "f6"):
        places = outputs[name].shape[2:] or (1,)
        total += count(getattr(net, name)) * int(np.prod(places))
    for name in ("s2", "s4"):
        total += outputs[name].numel() * 5  # four numbers and an offset
    assert total + 84 * 10 == 340_908


def test_table_1_is_drawn_as_it_is_used():
    """A cross of row c stands under the number of each map of C3 that sees map c of S2."""
    lines = file.__doc__.split("\n")
    start = next(i for i, line in enumerate(lines) if "C3's map  0  1" in line)
    head, *rows = (line.ljust(80) for line in lines[start : start + 7])
    columns = [head.index(f" {f} ") + len(str(f)) for f in range(16)]
    for c, row in enumerate(rows):
        drawn = [row[column] == "x" for column in columns]
        assert drawn == [c in maps for maps in file.TABLE_I]


def test_a_partial_convolution_is_a_masked_one():
    layer = models.lenet_classic().c3.double()
    mask, kernels = np.zeros((16, 6)), np.zeros((16, 6, 5, 5))
    pairs = [(f, c) for f, maps in enumerate(file.TABLE_I) for c in maps]
    for k, (f, c) in enumerate(pairs):
        mask[f, c], kernels[f, c] = 1, layer.weight.array[k]
    assert mask.sum() == 60
    x = minicnn.Tensor(images(2, 6, 9)).requires_grad_()
    y = layer(x)
    full = minicnn.Tensor(kernels).requires_grad_()
    expected = F.conv2d(x, full, layer.bias)
    np.testing.assert_array_equal(y.array, expected.array)
    y.sum().backward()
    expected.sum().backward()
    for k, (f, c) in enumerate(pairs):
        np.testing.assert_array_equal(layer.weight.grad.array[k], full.grad.array[f, c])


def test_subsampling_adds_four():
    layer = file.Subsampling(2)
    layer.weight.data.array[:, 0, 0] = (0.5, 2)
    layer.bias.data.array[:, 0, 0] = (1, -1)
    y = layer(minicnn.Tensor(np.ones((1, 2, 5, 5), np.float32)))
    np.testing.assert_array_equal(y.array[0, 0], np.full((2, 2), 0.5 * 4 + 1))
    np.testing.assert_array_equal(y.array[0, 1], np.full((2, 2), 2 * 4 - 1))


def test_the_squashing_function_leaves_plus_and_minus_one():
    y = file.scaled_tanh(minicnn.Tensor(np.array([-1.0, 0.0, 1.0])))
    np.testing.assert_allclose(y.array, [-1, 0, 1], atol=1e-4)


def test_outputs_are_distances_to_the_codes():
    layer = file.Distances(10)
    codes = layer.codes.array
    assert codes.shape == (10, 84) and set(np.unique(codes)) == {-1, 1}
    y = layer(minicnn.Tensor(codes)).array
    expected = -((codes[:, None] - codes[None]) ** 2).sum(2)
    np.testing.assert_array_equal(y, expected)
    assert (np.diag(y) == 0).all() and (y.argmax(1) == np.arange(10)).all()
    apart = -expected[~np.eye(10, dtype=bool)]
    assert apart.min() >= 4 * 6  # every two drawings differ in six pixels at least


def test_codes_of_other_numbers_of_classes():
    assert file.digit_codes(3).shape == (3, 84)
    many = file.digit_codes(100)
    assert many.shape == (100, 84) and len(np.unique(many, axis=0)) == 100
    np.testing.assert_array_equal(many, file.digit_codes(100))
    assert models.lenet_classic(num_classes=100)(minicnn.zeros(1, 1, 32, 32)).shape == (1, 100)


def test_cross_entropy_is_equation_9():
    distances = np.abs(images(4, 1, 3)).reshape(4, 9)
    d = np.array([0, 3, 8, 1])
    expected = distances[np.arange(4), d] + np.log(np.exp(-distances).sum(1))
    loss = F.cross_entropy(minicnn.Tensor(-distances), minicnn.Tensor(d))
    assert loss.item() == pytest.approx(expected.mean(), rel=1e-12)


def oracle():
    """The network in PyTorch: C3's kernels masked, the rest as the paper says."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tn = torch.nn

    class Pair(tn.Module):
        def __init__(self, *shape, offsets=None):
            super().__init__()
            self.weight = tn.Parameter(torch.randn(*shape) / 5)
            self.bias = tn.Parameter(torch.randn(*(offsets or shape)) / 5)

    class Codes(tn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("codes", torch.from_numpy(file.digit_codes()))

    class Net(tn.Module):
        def __init__(self):
            super().__init__()
            self.c1, self.s2 = tn.Conv2d(1, 6, 5), Pair(6, 1, 1)
            self.c3, self.s4 = Pair(60, 5, 5, offsets=(16,)), Pair(16, 1, 1)
            place = torch.from_numpy(models.lenet_classic().c3.place.array)
            self.c3.register_buffer("place", place, persistent=False)  # ours has it
            self.c5, self.f6, self.output = tn.Conv2d(16, 120, 5), tn.Linear(120, 84), Codes()

        def forward(self, x):
            def f(a):
                return 1.7159 * torch.tanh(2 / 3 * a)

            def subsampled(x, pair):
                total = sum(x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1))
                return f(pair.weight * total + pair.bias)

            x = subsampled(f(self.c1(x)), self.s2)
            maps, start = [], 0
            for o, seen in enumerate(file.TABLE_I):
                kernel = self.c3.weight[start : start + len(seen)][None]
                maps.append(tn.functional.conv2d(x[:, list(seen)], kernel, self.c3.bias[o, None]))
                start += len(seen)
            x = subsampled(f(torch.cat(maps, 1)), self.s4)
            x = f(self.f6(f(self.c5(x)).flatten(1)))
            return -((x[:, None] - self.output.codes) ** 2).sum(2)

    return Net()


def test_it_is_the_same_network_in_pytorch():
    theirs, net = oracle(), models.lenet_classic()
    same_keys(net, theirs)
    load_from_torch(net, theirs)
    compare(net, theirs, images(2, 1, 32), rtol=1e-9)


def test_initial_values():
    net = models.lenet_classic()
    for value, inputs in (
        (net.c1.weight, 25),
        (net.s2.weight, 4),
        (net.c5.weight, 400),
        (net.f6.weight, 120),
        (net.c3.weight[:18], 75),
        (net.c3.weight[-6:], 150),
    ):
        largest = np.abs(value.array).max()
        assert 0.5 * 2.4 / inputs < largest <= 2.4 / inputs


@pytest.mark.parametrize(("side", "layer"), [(5, "c1"), (6, "s2"), (14, "c3"), (16, "s4")])
def test_receptive_fields_of_the_table(side, layer):
    net = models.lenet_classic().double()
    x = minicnn.Tensor(images(1, 1, 32)).requires_grad_()
    y = x
    for name in ("c1", "s2", "c3", "s4"):
        y = file.scaled_tanh(getattr(net, name)(y))
        if name == layer:
            break
    y[0, :, 2, 2].sum().backward()
    touched = np.argwhere(x.grad.array[0, 0])
    assert (touched.max(0) - touched.min(0) + 1).tolist() == [side, side]


@pytest.mark.parametrize("side", [16, 28, 32, 96])
def test_image_sizes(side):
    net = models.lenet_classic(num_classes=4, in_channels=3, image_size=side)
    y = net(minicnn.Tensor(images(2, 3, side, np.float32)))
    F.cross_entropy(y, minicnn.Tensor(np.array([0, 3]))).backward()
    assert y.shape == (2, 4)
    assert all(np.isfinite(p.grad.array).all() for p in net.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "rbf"}, "LeNetClassic: output expects one of distances, dense, got 'rbf'"),
        ({"image_size": 15}, "LeNetClassic: image_size expects at least 16, got 15"),
        ({"num_classes": 0}, "LeNetClassic: num_classes expects a positive integer, got 0"),
    ],
)
def test_it_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        models.lenet_classic(**options)


def test_modern_and_classic_are_two_networks():
    assert isinstance(models.lenet(), models.LeNet5)
    assert isinstance(models.lenet_classic(), models.LeNetClassic)
    assert not [m for m in models.lenet_classic().modules() if isinstance(m, nn.MaxPool2d)]

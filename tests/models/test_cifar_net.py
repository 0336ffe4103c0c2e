"""The networks of PyTorch's and Caffe's CIFAR-10 tutorials, beside PyTorch's layers."""

from __future__ import annotations

import numpy as np
import pytest
from same import compare, count, images, load_from_torch, same_keys

import minicnn
from minicnn import models
from minicnn.nn import functional as F


def tutorial_net():
    """The network of PyTorch's tutorial "Training a Classifier"."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tn, relu = torch.nn, torch.nn.functional.relu

    class Net(tn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = tn.Conv2d(3, 6, 5)
            self.pool = tn.MaxPool2d(2, 2)
            self.conv2 = tn.Conv2d(6, 16, 5)
            self.fc1 = tn.Linear(400, 120)
            self.fc2 = tn.Linear(120, 84)
            self.fc3 = tn.Linear(84, 10)

        def forward(self, x):
            x = self.pool(relu(self.conv2(self.pool(relu(self.conv1(x))))))
            return self.fc3(relu(self.fc2(relu(self.fc1(x.flatten(1))))))

    return Net()


def quick_net():
    """Caffe's cifar10_quick. Its mean pooling divides a window at the edge by what it has there."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tn = torch.nn

    class Net(tn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = tn.Conv2d(3, 32, 5, padding=2)
            self.conv2 = tn.Conv2d(32, 32, 5, padding=2)
            self.conv3 = tn.Conv2d(32, 64, 5, padding=2)
            self.ip1 = tn.Linear(1024, 64)
            self.ip2 = tn.Linear(64, 10)

        def forward(self, x):
            def mean(x):
                ones = torch.ones_like(x[:1, :1])
                pool = tn.AvgPool2d(3, 2, padding=0, divisor_override=1)
                x, ones = (tn.functional.pad(v, (0, 1, 0, 1)) for v in (x, ones))
                return pool(x) / pool(ones)

            x = tn.functional.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True).relu()
            x = mean(self.conv3(mean(self.conv2(x).relu())).relu())
            return self.ip2(self.ip1(x.flatten(1)))

    return Net()


@pytest.mark.parametrize(
    ("name", "oracle"), [("cifar_net", tutorial_net), ("cifar_quick", quick_net)]
)
def test_they_are_pytorchs(name, oracle):
    theirs, net = oracle(), models.create(name)
    same_keys(net, theirs)
    load_from_torch(net, theirs)
    compare(net, theirs, images(2, 3, 32), rtol=1e-9)


@pytest.mark.parametrize(("name", "parameters"), [("cifar_net", 62_006), ("cifar_quick", 145_578)])
def test_published_counts(name, parameters):
    assert count(models.create(name)) == parameters == models.info(name).parameters


@pytest.mark.parametrize("name", ["cifar_net", "cifar_quick"])
@pytest.mark.parametrize("side", [16, 17, 28, 32, 33, 96])
def test_sizes_are_computed(name, side):
    net = models.create(name, num_classes=4, in_channels=1, image_size=side)
    y = net(minicnn.Tensor(images(2, 1, side, np.float32)))
    F.cross_entropy(y, minicnn.Tensor(np.array([0, 3]))).backward()
    assert y.shape == (2, 4)
    assert all(np.isfinite(p.grad.array).all() for p in net.parameters())


FIELDS = [
    ("cifar_net", "conv1", 5),
    ("cifar_net", "conv2", 14),
    ("cifar_quick", "pool1", 7),
    ("cifar_quick", "conv2", 15),
    ("cifar_quick", "pool2", 19),
    ("cifar_quick", "conv3", 35),
    ("cifar_quick", "pool3", 43),
]


@pytest.mark.parametrize(("name", "layer", "side"), FIELDS)
def test_receptive_fields_of_the_tables(name, layer, side):
    """Maxima choose one number of their window, so here they are sums of all, by mean pooling."""
    net = models.create(name, image_size=96).double()
    for value in net.parameters():
        value.array[...] = np.abs(value.array)
    for key, module in list(net.named_children()):
        if isinstance(module, minicnn.nn.MaxPool2d):
            pool = minicnn.nn.AvgPool2d(module.kernel_size, module.stride, ceil_mode=True)
            setattr(net, key, pool)
    found = []
    getattr(net, layer).register_forward_hook(lambda m, x, y: found.append(y))
    x = minicnn.Tensor(np.abs(images(1, 3, 96))).requires_grad_()
    net(x)
    middle = found[0].shape[-1] // 2
    found[0][0, :, middle, middle].sum().backward()
    touched = np.argwhere(x.grad.array[0, 0])
    assert (touched.max(0) - touched.min(0) + 1).tolist() == [side, side]


@pytest.mark.parametrize("name", ["CifarNet", "CifarQuick"])
def test_they_refuse(name):
    make = getattr(models, name)
    with pytest.raises(ValueError, match=f"{name}: image_size expects at least 16, got 15"):
        make(image_size=15)
    with pytest.raises(ValueError, match=f"{name}: num_classes expects a positive integer, got 0"):
        make(num_classes=0)
    with pytest.raises(TypeError, match="colour"):
        make(colour="red")

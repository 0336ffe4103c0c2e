"""The network of five heads: shapes, counts, the summed loss, and that it learns to read."""

from __future__ import annotations

import numpy as np
import pytest
from same import compare, count, images, load_from_torch, same_keys, stir

import minicnn
from minicnn import models, nn
from minicnn.nn import functional as F


@pytest.fixture
def unfilled(monkeypatch):
    """Initial values of millions of weights take seconds; these tests look at none of them."""
    for fill in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_", "constant_"):
        monkeypatch.setattr(nn.init, fill, lambda x, *args, **kwargs: x)


def test_counts(unfilled):
    net = models.svhn_digits()
    assert count(net) == 3_476_839 == models.info("svhn_digits").parameters
    assert len(net.heads) == 5
    large = models.svhn_digits(image_size=54)
    widths = [m.out_channels for m in large.features if isinstance(m, nn.Conv2d)]
    assert widths == [48, 64, 128, 160, 192, 192, 192, 192]  # section 5.1
    assert [m.out_features for m in large.hidden if isinstance(m, nn.Linear)] == [3072, 3072]


@pytest.mark.parametrize(("side", "maps"), [(28, 3), (32, 4), (40, 5), (54, 3), (96, 6)])
def test_shapes(side, maps, unfilled):
    net = models.svhn_digits(image_size=side, in_channels=1)
    for value in net.state_dict().values():
        value.array.fill(0)
    sides = []
    net.features.register_forward_hook(lambda m, x, y: sides.append(y.shape[2:]))
    outputs = net.eval()(minicnn.Tensor(images(2, 1, side, np.float32)))
    assert isinstance(outputs, tuple) and [y.shape for y in outputs] == [(2, 11)] * 5
    assert sides == [(maps, maps)]


def test_other_numbers_of_heads_and_classes():
    outputs = models.svhn_digits(digits=2, num_classes=27)(minicnn.zeros(2, 3, 32, 32))
    assert [y.shape for y in outputs] == [(2, 27)] * 2


def test_a_pooling_of_stride_1_keeps_the_size():
    net = models.svhn_digits(image_size=54)
    x = minicnn.Tensor(np.abs(images(1, 64, 7, np.float32)))
    padding, pool = net.features[7], net.features[8]
    y = pool(padding(x)).array
    padded = np.pad(x.array, ((0, 0), (0, 0), (0, 1), (0, 1)))
    shifted = [padded[:, :, i : i + 7, j : j + 7] for i in (0, 1) for j in (0, 1)]
    np.testing.assert_array_equal(y, np.maximum.reduce(shifted))


def oracle():
    """The small backbone in PyTorch."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tn = torch.nn

    class Net(tn.Module):
        def __init__(self):
            super().__init__()
            layers, c = [], 3
            for f in (48, 64, 128, 160):
                layers += [tn.Conv2d(c, f, 5, padding=2, bias=False), tn.BatchNorm2d(f), tn.ReLU()]
                layers += [tn.MaxPool2d(2)] if f < 160 else []
                c = f
            self.features = tn.Sequential(*layers)
            self.hidden = tn.Sequential(tn.Linear(160 * 9, 1024), tn.ReLU())
            self.heads = tn.ModuleList(tn.Linear(1024, 11) for _ in range(5))

        def forward(self, x):
            x = self.hidden(self.features(x).flatten(1))
            return tuple(head(x) for head in self.heads)

    return Net()


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_it_is_the_same_network_in_pytorch(training):
    theirs, net = oracle(), models.svhn_digits(image_size=28, dropout=0.0)
    same_keys(net, theirs)
    stir(theirs)
    load_from_torch(net, theirs)
    compare(net, theirs, images(2, 3, 28), rtol=1e-9, training=training)


@pytest.mark.parametrize(("layer", "side"), [(3, 6), (7, 16), (11, 36), (14, 68)])
def test_receptive_fields_of_the_table(layer, side):
    net = models.svhn_digits(image_size=40).double().eval().features[: layer + 1]
    for i, module in enumerate(net):
        for value in module.parameters():
            value.array[...] = np.abs(value.array)
        if isinstance(module, nn.MaxPool2d):  # a maximum chooses one number, a mean takes all
            net[i] = nn.AvgPool2d(module.kernel_size, module.stride)
    x = minicnn.Tensor(np.abs(images(1, 3, 80))).requires_grad_()
    y = net(x)
    middle = y.shape[-1] // 2
    y[0, :, middle, middle].sum().backward()
    touched = np.argwhere(x.grad.array[0, 0])
    assert (touched.max(0) - touched.min(0) + 1).tolist() == [side, side]


def test_the_loss_is_the_numbers_log_probability():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 3, 11))
    targets = rng.integers(0, 11, (3, 5))
    p = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    of_numbers = [np.prod([p[k, n, targets[n, k]] for k in range(5)]) for n in range(3)]
    loss = models.digits_loss([minicnn.Tensor(y) for y in logits], minicnn.Tensor(targets))
    assert loss.item() == pytest.approx(-np.mean(np.log(of_numbers)), rel=1e-12)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (5, 3, 5)])
def test_the_loss_refuses_targets(shape):
    outputs = [minicnn.zeros(3, 11) for _ in range(5)]
    with pytest.raises(ValueError, match=r"digits_loss: targets expects \(N, 5\), a column for ea"):
        models.digits_loss(outputs, minicnn.zeros(*shape, dtype=minicnn.int64))


@pytest.mark.slow
def test_it_learns_a_batch():
    minicnn.manual_seed(0)
    net = models.svhn_digits(image_size=16, dropout=0.0)
    optimizer = minicnn.optim.AdamW(net.parameters(), lr=1e-3)
    x = minicnn.Tensor(images(8, 3, 16, np.float32))
    targets = minicnn.Tensor(np.random.default_rng(0).integers(0, 11, (8, 5)))
    for _ in range(12):
        optimizer.zero_grad()
        loss = models.digits_loss(net(x), targets)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5
    with minicnn.no_grad():
        read = np.stack([y.array.argmax(1) for y in net.train()(x)], 1)
    np.testing.assert_array_equal(read, targets.array)


def test_every_head_sends_its_gradient_into_the_backbone():
    net = models.svhn_digits(image_size=16, dropout=0.0)
    x = minicnn.Tensor(images(2, 3, 16, np.float32))
    for head in range(5):
        net.zero_grad()
        F.cross_entropy(net(x)[head], minicnn.Tensor(np.array([1, 2]))).backward()
        assert net.features[0].weight.grad.array.any()
        others = [h.weight.grad for k, h in enumerate(net.heads) if k != head]
        assert others == [None] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"digits": 0}, "SVHNDigits: digits expects a positive integer, got 0"),
        ({"image_size": 15}, "SVHNDigits: image_size expects at least 16, got 15"),
        ({"num_classes": 11.0}, "SVHNDigits: num_classes expects a positive integer, got 11.0"),
    ],
)
def test_it_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        models.svhn_digits(**options)

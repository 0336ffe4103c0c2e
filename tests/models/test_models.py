"""The networks: parameter counts, shapes, keys, initial values, and the registry."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn import models, nn
from minicnn.autograd import gradcheck
from minicnn.nn import functional as F


def count(model):
    return sum(p.numel() for p in model.parameters())


def images(n, channels, side, dtype=np.float32):
    return minicnn.Tensor(
        np.random.default_rng(0).normal(size=(n, channels, side, side)).astype(dtype)
    )


# ---------------------------------------------------------------------- LeNet-5


def test_lenet_is_the_papers():
    net = models.lenet()
    assert count(net) == 61_706
    assert [count(m) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))] == [
        156, 2_416, 48_120, 10_164, 850,
    ]  # fmt: skip
    assert count(models.lenet(image_size=32)) == 61_706
    assert count(models.lenet(batch_norm=True)) == 61_706 + 2 * (6 + 16)


@pytest.mark.parametrize(("side", "size"), [(28, 28), (32, 32), (16, 16), (47, 47)])
@pytest.mark.parametrize(
    "options", [{}, {"pooling": "avg", "activation": "tanh"}, {"activation": "sigmoid"}]
)
def test_lenet_shapes(side, size, options):
    net = models.lenet(num_classes=7, in_channels=3, image_size=size, **options)
    assert net(images(2, 3, side)).shape == (2, 7)


def test_lenet_feature_maps():
    shapes = []
    net = models.lenet()
    for layer in net.features:
        layer.register_forward_hook(lambda m, x, y: shapes.append(y.shape[1:]))
    net(images(1, 1, 28))
    assert shapes[0] == (6, 28, 28) and shapes[2] == (6, 14, 14)
    assert shapes[3] == (16, 10, 10) and shapes[5] == (16, 5, 5)


def test_lenet_options_change_the_network():
    kinds = {type(m) for m in models.lenet(pooling="avg", activation="tanh").modules()}
    assert nn.AvgPool2d in kinds and nn.Tanh in kinds
    assert not kinds & {nn.MaxPool2d, nn.ReLU, nn.Sigmoid, nn.BatchNorm2d}


def test_lenet_equals_its_formula():
    """Padding a 28x28 image by 2 is the 32x32 network on the padded image."""
    small, large = models.lenet(), models.lenet(image_size=32)
    large.load_state_dict(small.state_dict())
    x = images(2, 1, 28)
    padded = minicnn.Tensor(np.pad(x.array, ((0, 0), (0, 0), (2, 2), (2, 2))))
    np.testing.assert_array_equal(small(x).array, large(padded).array)


@pytest.mark.parametrize(
    ("side", "units"), [(5, ("conv", 0)), (6, ("pool", 0)), (14, ("conv", 1)), (16, ("pool", 1))]
)
def test_lenet_receptive_fields(side, units):
    """One unit's gradient reaches exactly the square that the docstring states."""
    net = models.lenet(image_size=32, pooling="avg", activation="tanh").double()
    layer = {("conv", 0): 0, ("pool", 0): 2, ("conv", 1): 3, ("pool", 1): 5}[units]
    x = images(1, 1, 32, np.float64).requires_grad_()
    y = net.features[: layer + 1](x)
    y[0, :, 2, 2].sum().backward()
    touched = np.argwhere(x.grad.array[0, 0])
    assert (touched.max(0) - touched.min(0) + 1).tolist() == [side, side]


def test_lenet_gradients():
    net = models.lenet(activation="tanh", pooling="avg", image_size=16).double()
    y = minicnn.Tensor(np.array([3, 1]))
    assert gradcheck(
        lambda x: F.cross_entropy(net(x), y), (images(2, 1, 16, np.float64).requires_grad_(),)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "sum"}, "LeNet5: pooling expects one of avg, max, got 'sum'"),
        (
            {"activation": "gelu"},
            "LeNet5: activation expects one of sigmoid, tanh, relu, got 'gelu'",
        ),
        ({"image_size": 15}, "LeNet5: image_size expects at least 16, got 15"),
        ({"image_size": 28.0}, "LeNet5: image_size expects at least 16, got 28.0"),
        ({"num_classes": 0}, "LeNet5: num_classes expects a positive integer, got 0"),
        ({"num_classes": -1}, "LeNet5: num_classes expects a positive integer, got -1"),
        ({"in_channels": "3"}, "LeNet5: in_channels expects a positive integer, got '3'"),
        ({"batch_norm": "no"}, "LeNet5: batch_norm expects True or False, got 'no'"),
        ({"pooling": ["max"]}, "pooling expects one of avg, max, got"),
    ],
)
def test_lenet_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        models.lenet(**options)


# ---------------------------------------------------------------------- VGG

PUBLISHED = {
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_vgg_parameter_counts(name, unfilled):
    assert count(models.create(name, init_weights=False)) == PUBLISHED[name]


def small(name, **options):
    return models.create(name, **{"num_classes": 10, "image_size": 32, **options})


@pytest.mark.parametrize("side", [28, 32, 64])
@pytest.mark.slow
def test_vgg_for_small_images(side, unfilled):
    net = small("vgg11_bn", image_size=side, in_channels=1).eval()
    for value in net.state_dict().values():
        value.array.fill(0)
    assert net(images(2, 1, side)).shape == (2, 10)
    assert net.features(images(2, 1, side)).shape == (
        2,
        512,
        max(1, side // 32),
        max(1, side // 32),
    )


def test_a_pooling_left_out_keeps_the_keys(unfilled):
    names = [list(small("vgg13_bn", image_size=side).state_dict()) for side in (8, 28, 32)]
    assert names[0] == names[1] == names[2]
    kinds = [type(m) for m in small("vgg11", image_size=28).features]
    assert kinds.count(nn.MaxPool2d) == 4 and kinds.count(nn.Identity) == 1


def test_vgg_keys_are_torchvisions(unfilled):
    keys = list(small("vgg11").state_dict())
    convolutions = [0, 3, 6, 8, 11, 13, 16, 18]
    expected = [f"features.{i}.{p}" for i in convolutions for p in ("weight", "bias")]
    expected += [f"classifier.{i}.{p}" for i in (0, 3, 6) for p in ("weight", "bias")]
    assert keys == expected
    batch_norms = [k for k in small("vgg16_bn").state_dict() if k.endswith("num_batches_tracked")]
    assert batch_norms[:3] == [f"features.{i}.num_batches_tracked" for i in (1, 4, 8)]
    assert batch_norms[-1] == "features.41.num_batches_tracked"


def test_vgg_initial_values():
    net = models.VGG(models.vgg.make_layers([64, "M", 512]), num_classes=10, pooled_size=1)
    first, last = net.features[0], net.features[3]
    for conv in (first, last):
        fan_out = conv.out_channels * 9
        assert conv.weight.array.std() == pytest.approx(math.sqrt(2 / fan_out), rel=0.1)
        assert not conv.bias.array.any()
    assert net.classifier[0].weight.array.std() == pytest.approx(0.01, rel=0.01)
    assert not net.classifier[6].bias.array.any()
    narrow = models.VGG(models.vgg.make_layers([512]), num_classes=10, pooled_size=1, hidden=512)
    assert narrow.classifier[3].weight.array.std() == pytest.approx(math.sqrt(2 / 512), rel=0.02)


def test_vgg_options(unfilled):
    assert small("vgg11", dropout=0.25).classifier[2].p == 0.25
    assert small("vgg11", in_channels=2).features[0].weight.shape == (64, 2, 3, 3)
    with pytest.raises(
        ValueError, match="vgg11: image_size expects a positive integer or None, got 0"
    ):
        models.vgg11(image_size=0)


@pytest.mark.slow
def test_vgg_learns_a_batch():
    net = small("vgg11_bn", dropout=0.0, image_size=8)
    optimizer = minicnn.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    x, y = images(4, 3, 8), minicnn.Tensor(np.arange(4))
    for _ in range(12):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


# ---------------------------------------------------------------------- the registry


def test_registry():
    infos = models.available()
    assert {"lenet", *[f"vgg{d}{b}" for d in (11, 13, 16, 19) for b in ("", "_bn")]} <= set(infos)
    assert models.list_models() == sorted(infos)
    assert all(info.name == name and info.description for name, info in infos.items())
    for name in ("lenet", "LeNet"):
        assert isinstance(models.get_model(name, num_classes=4), models.LeNet5)
    infos.clear()
    assert models.available()


def test_registry_refuses():
    with pytest.raises(
        ValueError, match=r"no network 'vgg12', there are .*lenet, .*did you mean 'vgg1"
    ):
        models.create("vgg12")
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        models.create("lenet", colour="red")
    with pytest.raises(TypeError):
        models.create("vgg11", image_size=32, colour="red")

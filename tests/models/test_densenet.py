"""DenseNet: torchvision's keys, initial values and results, older files, the network for CIFAR."""

from __future__ import annotations

import numpy as np
import pytest
from same import (
    compare,
    count,
    images,
    load_from_torch,
    same_keys,
    same_start,
    stir,
    weightless,
)
from torchvision_here import torchvision

import minicnn
from minicnn import models, nn
from minicnn.nn import functional as F

NAMES = {
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
}


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_keys(name, unfilled):
    net = models.create(name)
    assert count(net) == models.info(name).parameters == NAMES[name]
    same_keys(net, weightless(getattr(torchvision().models, name)))


def test_the_network_for_cifar():
    """769,162 parameters is what its authors' program counts; 100 layers."""
    net = models.densenet_bc_100()
    assert count(net) == models.info("densenet_bc_100").parameters == 769_162
    assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in net.modules()) == 100
    shapes = []
    for block in (net.features.denseblock1, net.features.denseblock2, net.features.denseblock3):
        block.register_forward_hook(lambda m, x, y: shapes.append(y.shape[1:]))
    net.eval()(minicnn.Tensor(images(1, 3, 32, np.float32)))
    assert shapes == [(216, 32, 32), (300, 16, 16), (342, 8, 8)]


@pytest.mark.slow
def test_computes_what_torchvisions_does():
    oracle = torchvision().models.densenet121(num_classes=7)
    net = models.densenet121(num_classes=7)
    same_start(net, oracle)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(1, 3, 33), 1e-9)
    compare(net, oracle, images(3, 3, 64), 1e-8, training=True)


@pytest.mark.parametrize("name", ["densenet161", "densenet169", "densenet201"])
@pytest.mark.slow
def test_the_deeper_ones_compute_what_torchvisions_do(name):
    oracle = getattr(torchvision().models, name)(num_classes=7)
    net = models.create(name, num_classes=7)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(1, 3, 32), 1e-9)


def test_a_small_one_computes_what_torchvisions_does():
    options = {
        "growth_rate": 6, "block_config": (2, 3, 1), "num_init_features": 10, "bn_size": 2,
        "num_classes": 5, "memory_efficient": False,
    }  # fmt: skip
    oracle, net = torchvision().models.DenseNet(**options), models.DenseNet(**options)
    same_keys(net, oracle)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(3, 3, 40), 1e-9)
    compare(net, oracle, images(3, 3, 40), 1e-8, training=True)


def small(**options):
    sizes = {"growth_rate": 4, "block_config": (2, 2), "num_init_features": 8, "num_classes": 5}
    return models.DenseNet(**{**sizes, **options})


def with_old_keys(state):
    """The keys of files from 2017: a dot in the layers' names, and no num_batches_tracked."""
    old = {}
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        head, dot, tail = key.partition(".denselayer")
        for name in ("norm1", "norm2", "conv1", "conv2"):
            tail = tail.replace(f".{name}.", f".{name[:4]}.{name[4]}.")
        old[head + dot + tail] = value
    return old


def test_files_with_the_old_keys_load():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = small()
    old = with_old_keys(net.state_dict())
    assert "features.denseblock1.denselayer2.norm.1.running_var" in old
    assert "features.denseblock2.denselayer1.conv.2.weight" in old
    given = dict(old)
    again = small()
    again.load_state_dict(old)
    assert old == given  # the caller's dict stays as it was
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[key].array, value.array)
    as_tensors = {k: torch.from_numpy(v.array.copy()) for k, v in old.items()}
    wrapped = nn.Sequential(small())  # and as a part of another network
    wrapped.load_state_dict({f"0.{k}": v for k, v in as_tensors.items()})
    key = "0.features.denseblock1.denselayer1.conv2.weight"
    np.testing.assert_array_equal(wrapped.state_dict()[key].array, net.state_dict()[key[2:]].array)


def test_an_old_key_that_fits_nothing_is_an_error():
    net = small()
    old = with_old_keys(net.state_dict())
    old["features.denseblock1.denselayer1.norm.3.weight"] = np.zeros(3)
    del old["features.denseblock1.denselayer1.conv.1.weight"]
    before = {k: v.array.copy() for k, v in net.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"norm\.3\.weight") as caught:
        net.load_state_dict(old)
    assert "denselayer1.conv1.weight" in str(caught.value)  # is missing
    assert all((net.state_dict()[k].array == v).all() for k, v in before.items())


@pytest.mark.parametrize(
    ("make", "side", "pooled"),
    [
        (models.densenet121, 28, 3),
        (models.densenet121, 32, 4),
        (models.densenet121, 96, 3),
        (models.densenet_bc_100, 28, 7),
    ],
)
@pytest.mark.slow
def test_small_images(make, side, pooled):
    net = make(num_classes=4, in_channels=1, image_size=side)
    x = minicnn.Tensor(images(2, 1, side, np.float32))
    assert net.eval().features(x).shape[2:] == (pooled, pooled)
    F.cross_entropy(net.train()(x), minicnn.Tensor(np.array([0, 3]))).backward()
    assert all(np.isfinite(p.grad.array).all() for p in net.parameters())


def test_keys_stay_at_every_size(unfilled):
    assert list(models.densenet121(image_size=28).state_dict()) == list(
        models.densenet121().state_dict()
    )


def test_dropout_is_behind_each_layer():
    net = small(drop_rate=1.0)
    x = minicnn.Tensor(images(2, 3, 32, np.float32))
    shapes = []
    block = net.features.denseblock1
    block.register_forward_hook(lambda m, args, y: shapes.append((args[0], y)))
    net(x)
    given, result = shapes[0]
    assert not result.array[:, given.shape[1] :].any()
    net.eval()(x)
    assert shapes[1][1].array[:, given.shape[1] :].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"growth_rate": 0}, "DenseNet: growth_rate expects a positive integer, got 0"),
        ({"block_config": 6}, "DenseNet: block_config expects the layers of each block, got 6"),
        ({"block_config": (6, 0)}, "DenseNet: block_config expects the layers of each block"),
        ({"drop_rate": 2}, "DenseNet: drop_rate expects a number from 0 to 1, got 2"),
        ({"memory_efficient": 1}, "DenseNet: memory_efficient expects True or False, got 1"),
        ({"stem": "wide"}, "DenseNet: stem expects one of imagenet, cifar, got 'wide'"),
        ({"image_size": 7}, "DenseNet: image_size expects at least 8 or None, got 7"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        models.DenseNet(**options)


def test_the_name_says_the_growth_rate():
    with pytest.raises(ValueError, match="densenet121: growth_rate is 32 here, got 12"):
        models.densenet121(growth_rate=12)

"""GoogLeNet: torchvision's keys, initial values and results, its three heads, small images."""

from __future__ import annotations

import warnings

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
from minicnn import models
from minicnn.models import weights as published_weights
from minicnn.models.googlenet import BasicConv2d, Inception, InceptionAux
from minicnn.nn import functional as F


def test_parameters(unfilled):
    assert count(models.googlenet(aux_logits=False)) == 6_624_904
    assert count(models.googlenet()) == 13_004_888
    net = models.googlenet()
    assert count(net.inception3a) == 155_872 and count(net.inception5b) == 1_347_040


def oracle_of(**options):
    return torchvision().models.GoogLeNet(init_weights=False, **options)


def test_keys_are_torchvisions(unfilled):
    torchvision()
    same_keys(models.googlenet(), weightless(oracle_of))
    same_keys(models.googlenet(aux_logits=False), weightless(oracle_of, aux_logits=False))


@pytest.mark.slow
def test_computes_what_torchvisions_does():
    oracle = oracle_of(num_classes=7, aux_logits=False, dropout=0)
    net = models.googlenet(num_classes=7, aux_logits=False, dropout=0, init_weights=False)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(2, 3, 32), 1e-9)
    compare(net, oracle, images(3, 3, 64), 1e-8, training=True)


@pytest.mark.slow
def test_three_heads_and_transformed_input():
    options = {"num_classes": 5, "dropout": 0, "dropout_aux": 0, "transform_input": True}
    oracle, net = oracle_of(**options), models.googlenet(init_weights=False, **options)
    load_from_torch(net, oracle)
    compare(net, oracle, images(3, 3, 64), 1e-8, training=True)
    compare(net, oracle, images(1, 3, 32), 1e-9)
    x = minicnn.Tensor(images(2, 3, 64))
    result = net.train()(x)
    assert type(result) is models.GoogLeNetOutputs
    assert result._fields == ("logits", "aux_logits2", "aux_logits1")
    assert all(y.shape == (2, 5) for y in result)
    assert net.eval()(x).shape == (2, 5)


@pytest.mark.slow
def test_initial_values_are_torchvisions():
    oracle = torchvision().models.GoogLeNet(num_classes=9, init_weights=True)
    same_start(models.googlenet(num_classes=9), oracle)


@pytest.mark.parametrize(("side", "pooled"), [(28, 4), (32, 4), (64, 8), (96, 3)])
@pytest.mark.slow
def test_small_images(side, pooled):
    net = models.googlenet(num_classes=4, in_channels=1, image_size=side)
    maps = []
    net.inception5b.register_forward_hook(lambda m, x, y: maps.append(y.shape))
    logits, aux2, aux1 = net(minicnn.Tensor(images(2, 1, side, np.float32)))
    assert maps == [(2, 1024, pooled, pooled)]
    labels = minicnn.Tensor(np.array([0, 3]))
    sum(F.cross_entropy(y, labels) for y in (logits, aux2, aux1)).backward()
    assert all(np.isfinite(p.grad.array).all() for p in net.parameters())


def test_blocks_of_your_own(unfilled):
    kinds = []

    class Conv(BasicConv2d):
        def __init__(self, *args, **kwargs):
            kinds.append("conv")
            super().__init__(*args, **kwargs)

    models.googlenet(blocks=[Conv, Inception, InceptionAux])
    assert kinds == ["conv"] * 3


@pytest.fixture
def published(monkeypatch, unfilled):
    """weights="IMAGENET1K_V1" loads the values of a network that was made here."""
    state = {k: np.full(v.shape, 0.25) for k, v in models.googlenet().state_dict().items()}
    monkeypatch.setattr(
        published_weights.WeightsEnum, "get_state_dict", lambda *args, **kwargs: state
    )


def test_published_weights_drop_the_heads(published):
    net = models.googlenet(weights="IMAGENET1K_V1")
    assert net.transform_input and not net.aux_logits and net.aux1 is None and net.aux2 is None
    assert count(net) == 6_624_904
    assert all((p.array == 0.25).all() for p in net.parameters())
    assert list(net.children())[-3:] == [net.avgpool, net.dropout, net.fc]
    assert not models.googlenet(weights="IMAGENET1K_V1", transform_input=False).transform_input


def test_published_weights_with_heads(published):
    with pytest.warns(UserWarning, match="googlenet: the auxiliary heads .* are not trained"):
        net = models.googlenet(weights="IMAGENET1K_V1", aux_logits=True)
    assert count(net) == 13_004_888 and net.aux_logits
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models.googlenet(aux_logits=True)


def test_weights_of_your_own_change_nothing(tmp_path):
    """A file that is not the published one is for images as they are, and for all heads."""
    net = models.googlenet(num_classes=3, in_channels=1, image_size=28, init_weights=False)
    path = tmp_path / "mine.safetensors"
    minicnn.save(net.state_dict(), path)
    again = models.googlenet(weights=path, num_classes=3, in_channels=1, image_size=28)
    assert again.aux_logits and not again.transform_input
    np.testing.assert_array_equal(again.fc.weight.array, net.fc.weight.array)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aux_logits": 1}, "GoogLeNet: aux_logits expects True or False, got 1"),
        (
            {"transform_input": True, "in_channels": 1},
            r"GoogLeNet: transform_input expects in_channels 3 \(red, green, blue\), got 1",
        ),
        ({"blocks": [1]}, "GoogLeNet: blocks expects the classes of convolution, module and head"),
        ({"image_size": -1}, "GoogLeNet: image_size expects a positive integer or None, got -1"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        models.googlenet(**options)

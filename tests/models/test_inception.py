"""Inception v3: torchvision's keys, initial values and results, its other head, small images."""

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
from minicnn.models import inception
from minicnn.models import weights as published_weights
from minicnn.nn import functional as F


def test_parameters(unfilled):
    net = models.inception_v3()
    assert count(net) == models.info("inception_v3").parameters == 27_161_264
    assert count(net.AuxLogits) == 3_326_696
    assert count(models.inception_v3(aux_logits=False)) == 23_834_568


def oracle_of(**options):
    return torchvision().models.Inception3(init_weights=False, **options)


def test_keys_are_torchvisions(unfilled):
    torchvision()
    same_keys(models.inception_v3(), weightless(oracle_of))


@pytest.mark.slow
def test_computes_what_torchvisions_does():
    options = {"num_classes": 7, "dropout": 0, "transform_input": True}
    oracle, net = oracle_of(**options), models.inception_v3(init_weights=False, **options)
    stir(oracle)
    load_from_torch(net, oracle)
    # The other head is for images of 299x299; it is compared by itself. What it is given is not.
    oracle.AuxLogits = torch_mean()
    net.AuxLogits = Mean()
    compare(net, oracle, images(1, 3, 75), 1e-9)
    compare(net, oracle, images(3, 3, 107), 1e-8, training=True)


class Mean(nn.Module):
    """A head without parameters."""

    def forward(self, x):
        return x.mean((2, 3))


def torch_mean():
    import torch

    class TorchMean(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    return TorchMean()


@pytest.mark.slow
def test_the_other_head_computes_what_torchvisions_does():
    torchvision()
    from torchvision.models.inception import InceptionAux

    oracle, net = InceptionAux(768, 5), inception.InceptionAux(768, 5)
    same_keys(net, oracle)
    stir(oracle)
    load_from_torch(net, oracle)
    x = np.random.default_rng(0).normal(size=(3, 768, 20, 20))
    compare(net, oracle, x[..., :17, :17], 1e-9)
    compare(net, oracle, x, 1e-8, training=True)


@pytest.mark.slow
def test_initial_values_are_torchvisions():
    oracle = torchvision().models.Inception3(num_classes=9, init_weights=True)
    same_start(models.inception_v3(num_classes=9), oracle)


@pytest.mark.parametrize(("side", "pooled"), [(28, 2), (32, 3), (96, 5), (299, 8)])
@pytest.mark.slow
def test_sizes(side, pooled):
    net = models.inception_v3(num_classes=4, in_channels=1, image_size=side).eval()
    maps = []
    net.Mixed_7c.register_forward_hook(lambda m, x, y: maps.append(y.shape))
    with minicnn.no_grad():
        assert net(minicnn.Tensor(images(1, 1, side, np.float32))).shape == (1, 4)
    assert maps == [(1, 2048, pooled, pooled)]


@pytest.mark.slow
def test_small_images_train_both_heads():
    net = models.inception_v3(num_classes=4, in_channels=1, image_size=28)
    result = net(minicnn.Tensor(images(3, 1, 28, np.float32)))
    assert type(result) is models.InceptionOutputs and result._fields == ("logits", "aux_logits")
    labels = minicnn.Tensor(np.array([0, 3, 1]))
    sum(F.cross_entropy(y, labels) for y in result).backward()
    assert all(np.isfinite(p.grad.array).all() for p in net.parameters())


@pytest.fixture
def published(monkeypatch, unfilled):
    """weights="IMAGENET1K_V1" loads the values of a network that was made here."""
    state = {k: np.full(v.shape, 0.25) for k, v in models.inception_v3().state_dict().items()}
    monkeypatch.setattr(
        published_weights.WeightsEnum, "get_state_dict", lambda *args, **kwargs: state
    )


def test_published_weights(published):
    net = models.inception_v3(weights="IMAGENET1K_V1")
    assert net.transform_input and net.aux_logits and count(net) == 27_161_264
    assert all((p.array == 0.25).all() for p in net.parameters())
    net = models.inception_v3(weights="IMAGENET1K_V1", aux_logits=False, transform_input=False)
    assert not net.transform_input and not net.aux_logits and net.AuxLogits is None
    assert count(net) == 23_834_568


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aux_logits": None}, "Inception3: aux_logits expects True or False, got None"),
        ({"transform_input": True, "in_channels": 4}, "Inception3: transform_input expects"),
        ({"inception_blocks": []}, "Inception3: inception_blocks expects the classes of conv"),
        ({"image_size": 15}, "Inception3: image_size expects at least 16 or None, got 15"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        models.inception_v3(**options)

"""ResNeXt and the wide ResNets for ImageNet: counts, torchvision's keys and numbers."""

from __future__ import annotations

import pytest
from same import compare, count, images, load_from_torch, same_keys, stir
from torchvision_here import torchvision

from minicnn import models, nn

PUBLISHED = {  # torchvision's documentation, "Num. Params"
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    "resnext101_64x4d": 83_455_272,
    "wide_resnet50_2": 68_883_240,
    "wide_resnet101_2": 126_886_696,
}


@pytest.fixture
def unfilled(monkeypatch):
    """Initial values of millions of weights take seconds; these tests look at none of them."""
    for fill in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_", "constant_"):
        monkeypatch.setattr(nn.init, fill, lambda x, *args, **kwargs: x)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_and_keys(name, unfilled):
    net = models.create(name)
    assert count(net) == PUBLISHED[name] == models.info(name).parameters
    oracle = torchvision().models
    import torch

    with torch.device("meta"):
        same_keys(net, getattr(oracle, name)())


@pytest.mark.slow
def test_a_whole_network_is_torchvisions(unfilled):
    oracle = torchvision().models.resnext50_32x4d(num_classes=10)
    net = models.resnext50_32x4d(num_classes=10)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(2, 3, 33), rtol=1e-8)


def test_branches_are_groups(unfilled):
    """Figure 3: branches side by side, summed by the last 1x1, are one grouped bottleneck."""
    block = models.resnext50_32x4d().layer1[0]
    assert block.conv2.groups == 32 and block.conv2.weight.shape == (128, 4, 3, 3)
    weights = sum(getattr(block, f"conv{i}").weight.numel() for i in (2, 3))
    weights += block.conv1.weight.numel() * 256 // 64  # drawn with 256 channels coming in
    assert weights == 70_144


def test_the_makers_keep_what_they_are(unfilled):
    assert models.wide_resnet50_2(width_per_group=128, num_classes=2).base_width == 128
    with pytest.raises(ValueError, match="wide_resnet50_2: width_per_group is 128 here, got 64"):
        models.wide_resnet50_2(width_per_group=64)
    with pytest.raises(ValueError, match="resnext50_32x4d: groups is 32 here, got 1"):
        models.resnext50_32x4d(groups=1)

"""ShuffleNet v1 and v2: published counts, torchvision's numbers, small images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from measure import multiply_adds, sees
from same import compare, count, images, load_from_torch, same_keys, same_start, stir, weightless
from torchvision_here import torchvision

import minicnn
from minicnn import models, nn
from minicnn.models import shufflenetv1, shufflenetv2

V2 = [f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0")]
NAMES = ["shufflenet_v1", *V2]


# ---------------------------------------------------------------------- what is published


@pytest.mark.parametrize(
    ("name", "parameters"),
    [*zip(V2, (1_366_792, 2_278_604, 3_503_624, 7_393_996), strict=True)],
)
def test_v2_parameters(name, parameters, unfilled):
    assert count(models.create(name)) == models.info(name).parameters == parameters


@pytest.mark.parametrize(
    ("groups", "millions", "parameters"),
    # Table 1 of the paper, which leaves the dense layer out; the parameters are those that
    # github.com/osmr/imgclsmob lists.
    [
        (1, 143, 1_531_936),
        (2, 140, 1_733_848),
        (3, 137, 1_865_728),
        (4, 133, 1_968_344),
        (8, 137, 2_434_768),
    ],
)
def test_v1_counts(groups, millions, parameters):
    net = models.shufflenet_v1(groups=groups)
    assert count(net) == parameters
    assert multiply_adds(net, 224, dense=False) / 1e6 == pytest.approx(millions, abs=0.6)
    assert models.info("shufflenet_v1").parameters == count(models.shufflenet_v1())


@pytest.mark.parametrize(("name", "millions"), [*zip(V2, (41, 146, 299, 591), strict=True)])
def test_v2_multiply_adds(name, millions):
    """Table 8 of the paper counts poolings too: up to 1.5% more."""
    assert multiply_adds(models.create(name), 224) / 1e6 == pytest.approx(millions, rel=0.015)


@pytest.mark.parametrize(
    ("name", "stage", "side", "field"),
    [
        ("shufflenet_v1", "conv1", 16, 3),
        ("shufflenet_v1", "maxpool", 32, 7),
        ("shufflenet_v1", "stage2", 128, 63),
        ("shufflenet_v2_x1_0", "maxpool", 32, 7),
        ("shufflenet_v2_x1_0", "stage2", 128, 63),
    ],
)
def test_receptive_fields(name, stage, side, field):
    """As the docstrings state them; averages in place of maxima, whose gradient goes one way."""
    net = models.create(name)
    net.maxpool = nn.AvgPool2d(3, 2, padding=1)
    layers = list(net.named_children())
    end = [name for name, _ in layers].index(stage) + 1
    assert sees(nn.Sequential(*[layer for _, layer in layers[:end]]), side) == (field, field)


# ---------------------------------------------------------------------- torchvision's v2


@pytest.mark.parametrize("name", V2)
def test_keys(name, unfilled):
    same_keys(models.create(name), weightless(getattr(torchvision().models, name)))


def test_initial_values():
    same_start(models.shufflenet_v2_x0_5(), torchvision().models.shufflenet_v2_x0_5())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", V2[:2])
def test_v2_equals_torchvision(name, training):
    oracle = getattr(torchvision().models, name)(num_classes=7)
    net = models.create(name, num_classes=7)
    stir(oracle)
    load_from_torch(net, oracle)
    side, rtol = (65, 1e-7) if training else (33, 1e-9)
    compare(net, oracle, images(2, 3, side), rtol, training)


# ---------------------------------------------------------------------- v1, written again


def plain_v1(torch, groups, channels, num_classes):
    """The paper's table 1 and figure 2 in PyTorch, with the names of ours."""

    def conv(C, F, K, S, G):
        layer = torch.nn.Conv2d(C, F, K, S, K // 2, groups=G, bias=False)
        return [layer, torch.nn.BatchNorm2d(F)]

    class Unit(torch.nn.Module):
        def __init__(self, C, F, S, first):
            super().__init__()
            B, self.S = F // 4, S
            self.reduce = torch.nn.Sequential(*conv(C, B, 1, 1, first), torch.nn.ReLU())
            self.depthwise = torch.nn.Sequential(*conv(B, B, 3, S, B))
            self.expand = torch.nn.Sequential(*conv(B, F if S == 1 else F - C, 1, 1, groups))

        def forward(self, x):
            y = self.reduce(x)
            dealt = [y[:, g :: y.shape[1] // groups] for g in range(y.shape[1] // groups)]
            y = self.expand(self.depthwise(torch.cat(dealt, 1)))
            if self.S == 1:
                return (x + y).relu()
            pooled = torch.nn.functional.avg_pool2d(x, 3, 2, 1)
            return torch.cat([pooled, y], 1).relu()

    net = torch.nn.Module()
    net.conv1 = torch.nn.Sequential(*conv(3, 24, 3, 2, 1), torch.nn.ReLU())
    C, F = 24, channels
    for stage, repeats in ((2, 4), (3, 8), (4, 4)):
        units = [Unit(C, F, 2, 1 if stage == 2 else groups)]
        units += [Unit(F, F, 1, groups) for _ in range(repeats - 1)]
        net.add_module(f"stage{stage}", torch.nn.Sequential(*units))
        C, F = F, 2 * F
    net.fc = torch.nn.Linear(C, num_classes)

    def forward(x):
        y = torch.nn.functional.max_pool2d(net.conv1(x), 3, 2, 1)
        return net.fc(net.stage4(net.stage3(net.stage2(y))).mean((2, 3)))

    net.forward = forward
    return net


@pytest.mark.parametrize(("groups", "channels"), [(1, 144), (2, 200), (3, 240), (4, 272), (8, 384)])
def test_v1_equals_its_figures(groups, channels):
    oracle = plain_v1(pytest.importorskip("torch"), groups, channels, 5)
    net = models.shufflenet_v1(num_classes=5, groups=groups)
    same_keys(net, oracle)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(2, 3, 33), rtol=1e-9)
    if groups == 3:
        compare(net, oracle, images(2, 3, 65), rtol=1e-7, training=True)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("width", [0.25, 0.5, 1.5, 2.0])
def test_v1_widths_suit_their_groups(groups, width, unfilled):
    net = models.shufflenet_v1(groups=groups, width_mult=width, num_classes=2)
    for unit in (m for m in net.modules() if isinstance(m, shufflenetv1.ShuffleUnit)):
        assert unit.reduce[0].out_channels % groups == 0
    assert net.fc.in_features == pytest.approx(
        4 * width * {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}[groups], rel=0.06
    )


def test_the_shuffle_lets_groups_meet():
    """Without it the first channels of the output depend on the first group of the input alone."""
    unit = shufflenetv1.ShuffleUnit(72, 72, 1, 3).double().eval()
    x = minicnn.Tensor(images(1, 72, 5)).requires_grad_()
    (unit.expand(unit.depthwise(unit.reduce(x))))[:, :24].sum().backward()
    assert np.abs(x.grad.array[0]).sum((1, 2)).nonzero()[0].tolist() == list(range(24))
    x.grad = None
    unit(x)[:, :24].sum().backward()
    assert (np.abs(x.grad.array[0]).sum((1, 2)) > 0).all()


# ---------------------------------------------------------------------- small images


@pytest.mark.parametrize(("side", "left"), [(28, 4), (32, 4), (64, 4), (96, 3)])
@pytest.mark.parametrize("name", ["shufflenet_v1", "shufflenet_v2_x0_5"])
def test_small_images(name, side, left):
    net = models.create(name, num_classes=4, in_channels=1, image_size=side)
    maps = []
    net.stage4.register_forward_hook(lambda m, x, y: maps.append(y.shape[2:]))
    y = net(minicnn.Tensor(images(2, 1, side, np.float32)))
    y.sum().backward()
    assert y.shape == (2, 4) and maps == [(left, left)]
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_small_networks_have_the_weights_of_large_ones(name, unfilled):
    small = {k: v.shape for k, v in models.create(name, image_size=28).state_dict().items()}
    assert small == {k: v.shape for k, v in models.create(name).state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shufflenet_v1", "shufflenet_v2_x0_5"])
def test_learns_a_batch(name):
    minicnn.manual_seed(0)
    net = models.create(name, num_classes=4, image_size=32)
    optimizer = minicnn.optim.AdamW(net.parameters(), lr=3e-3)
    x, labels = minicnn.Tensor(images(8, 3, 32, np.float32)), minicnn.Tensor(np.arange(8) % 4)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(nn.functional.cross_entropy(net(x), labels))
        losses[-1].backward()
        optimizer.step()
    assert losses[0].item() == pytest.approx(math.log(4), abs=1)
    assert losses[-1].item() < 0.1


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("name", NAMES[:2])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes expects a positive integer, got 0"),
        ({"in_channels": "3"}, "in_channels expects a positive integer, got '3'"),
        ({"image_size": -1}, "image_size expects a positive integer or None, got -1"),
    ],
)
def test_refuses(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, **options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        models.create(name, colour="red")


@pytest.mark.parametrize("groups", [0, 5, 3.0, True])
def test_v1_refuses_groups(groups):
    message = "ShuffleNetV1: groups expects one of 1, 2, 3, 4, 8, got"
    with pytest.raises(ValueError, match=message):
        models.shufflenet_v1(groups=groups)


def test_v2_refuses_sizes():
    with pytest.raises(ValueError, match=r"stages_repeats expects 3 numbers, got \[4, 8\]"):
        models.ShuffleNetV2([4, 8], [24, 48, 96, 192, 1024])
    with pytest.raises(ValueError, match=r"stages_out_channels expects 5 numbers, got \[24\]"):
        models.ShuffleNetV2([4, 8, 4], [24])
    with pytest.raises(ValueError, match="stride expects 1, 2 or 3, got 4"):
        shufflenetv2.InvertedResidual(24, 48, 4)
    for sizes in ((24, 48, 1), (24, 47, 2)):
        with pytest.raises(ValueError, match="oup expects an even number of channels, inp itself"):
            shufflenetv2.InvertedResidual(*sizes)

"""Receptive fields: by hand, from papers, and against the pixels that have a gradient."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import minicnn
from minicnn import models, nn
from minicnn.autograd import grad
from minicnn.explain import effective_receptive_field, receptive_field, receptive_fields
from minicnn.explain.rules import ELEMENTWISE, RULES
from minicnn.functional.pad import Pad

# ---------------------------------------------------------------------- pixels that have a gradient


def positive(model):
    """`model` in float64, in evaluation mode, its maxima made averages, its weights positive.

    Their sums over a kernel are below 1, so that no activation saturates and every path counts.
    """
    model = model.double().eval()
    rng = np.random.default_rng(0)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, average(child))
    for name, value in model.state_dict().items():
        if value.dtype != np.float64:
            continue
        if name.endswith("running_var"):
            value.array[...] = 1
        elif value.ndim > 1:
            fan = max(2, value.array[0].size)
            value.array[...] = rng.uniform(0.2, 1, value.shape) / fan
        else:
            value.array[...] = 1 if name.endswith("weight") else 0
    return model


def average(pool):
    assert pool.dilation in (1, (1, 1))
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)


def boxes(model, size, layers, units, seed=0):
    """{(layer, unit): the box of the pixels with a gradient}, for the units of `units(shape)`.

    A box is (first, one past the last) along each axis; (0, 0) for nothing at all.
    """
    rng = np.random.default_rng(seed)
    x = minicnn.Tensor(rng.uniform(0.1, 1, (1, *size))).requires_grad_()
    outputs, handles = {}, []
    modules = dict(model.named_modules())

    def keep(name):
        def hook(module, inputs, output):
            outputs[name] = output
            return output.clone()

        return hook

    for name in layers:
        handles.append(modules[name].register_forward_hook(keep(name)))
    model(x)
    for handle in handles:
        handle.remove()
    found = {}
    for name in layers:
        y = outputs[name]
        for unit in units(y.shape):
            seed_grad = np.zeros(y.shape)
            seed_grad[(0, slice(None), *unit[: y.ndim - 2])] = rng.uniform(0.5, 1, y.shape[1])
            (slope,) = grad(
                y, x, minicnn.Tensor(seed_grad), retain_graph=True, materialize_grads=True
            )
            found[name, unit] = box(slope.array[0])
    return found


def box(slope):
    touched = np.argwhere(np.abs(slope).sum(0))
    if not len(touched):
        return ((0, 0),) * (slope.ndim - 1)
    ends = zip(touched.min(0), touched.max(0), strict=True)
    return tuple((int(low), int(high) + 1) for low, high in ends)


def some_units(shape):
    """The corners, the centre and their neighbours; () of what has no place."""
    sizes = shape[2:]
    chosen = [{0, 1, n // 3, n // 2, n - 2, n - 1} & set(range(n)) for n in sizes]
    if not sizes:
        return [()]
    rows = [sorted(c) for c in chosen]
    longest = max(map(len, rows))
    diagonal = {tuple(row[min(k, len(row) - 1)] for row in rows) for k in range(longest)}
    return sorted(diagonal | {tuple(row[-1 if k else 0] for k, row in enumerate(rows))})


def check(model, size, layers=None, units=some_units, mirrored=False):
    """Every layer's region, of the units chosen, is the box of the pixels with a gradient."""
    model = positive(model)
    theory = receptive_fields(model, size)
    assert None not in theory.values(), [name for name, f in theory.items() if f is None]
    layers = list(theory) if layers is None else layers
    found = boxes(model, size, layers, units)
    for (name, unit), seen in found.items():
        field = theory[name]
        full = unit if len(unit) == len(size) - 1 else (0,) * (len(size) - 1)
        if len(unit) < len(size) - 1 and not all(n == 1 for n in field.units):
            continue  # flattened: its elements are units of several places
        assert field.region(*full) == seen, (name, unit)
        if mirrored:  # what padding reflects lies inside, where the theory has no image
            continue
        outer = field.region(*full, clipped=False)
        for (low, high), (first, stop) in zip(outer, seen, strict=True):
            assert (low <= first and stop <= high) or first == stop == 0, (name, unit)
    return theory


class Branches(nn.Module):
    """An Inception block: four ways side by side."""

    def __init__(self, channels):
        super().__init__()
        self.one = nn.Conv2d(channels, 2, 1)
        self.three = nn.Sequential(
            nn.Conv2d(channels, 2, 1),
            nn.Conv2d(2, 3, (1, 7), padding=(0, 3)),
            nn.Conv2d(3, 3, (7, 1), padding=(3, 0)),
        )
        self.five = nn.Conv2d(channels, 2, 5, padding=2)
        self.pool = nn.MaxPool2d(3, 1, padding=1, ceil_mode=True)

    def forward(self, x):
        return minicnn.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class Residual(nn.Module):
    def __init__(self, channels, out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.short = nn.Conv2d(channels, out, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.conv2(self.relu(self.bn1(self.conv1(x))))
        y += self.short(x)
        return self.relu(y)


class Dense(nn.Module):
    def __init__(self, channels, growth, layers):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(channels + k * growth, growth, 3, padding=1) for k in range(layers)
        )

    def forward(self, x):
        for layer in self.layers:
            x = minicnn.cat([x, layer(x)], 1)
        return x


class Gate(nn.Module):
    """Squeeze and excitation: each pixel times a number that all pixels made."""

    def __init__(self, channels):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, 2), nn.Linear(2, channels)

    def forward(self, x):
        gate = minicnn.sigmoid(self.fc2(minicnn.relu(self.fc1(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class Spatial(nn.Module):
    """CBAM's spatial attention: a factor for each pixel, made from the channels around it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x):
        mean, most = x.mean(1, keepdim=True), x.sum(1, keepdim=True)
        return x * minicnn.sigmoid(self.conv(minicnn.cat([mean, most], 1)))


class ChannelsLast(nn.Module):
    """A ConvNeXt block: norm and dense layers over the last axis."""

    def __init__(self, channels):
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.up, self.down = nn.Linear(channels, 8), nn.Linear(8, channels)

    def forward(self, x):
        y = self.norm(self.mix(x).permute(0, 2, 3, 1))
        return x + self.down(minicnn.relu(self.up(y))).permute(0, 3, 1, 2)


class Shuffle(nn.Module):
    """ShuffleNet's split, grouped convolution and shuffle by reshapes."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels // 2, channels // 2, 3, padding=1)

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        y = minicnn.cat([a, self.conv(b)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def test_by_hand():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.Conv2d(2, 2, (5, 1), dilation=2)
    )
    field = receptive_field(net, (1, 40, 40), "1")
    assert field.size == (3 + 8 * 2, 3) and field.jump == (2, 2) and field.start == (-1, -1)
    assert field.units == (12, 20) and field.region(0, 0) == ((0, 18), (0, 2))
    assert field.region(0, 0, clipped=False) == ((-1, 18), (-1, 2))
    assert field.region(3, 4) == ((5, 24), (7, 10))
    assert field.describe() == ("19x3", "2", "-1") and not field.sees_all
    assert repr(field) == "ReceptiveField(size=(19, 3), jump=(2, 2), start=(-1, -1))"
    with pytest.raises(ValueError, match=r"region: unit expects places below \(12, 20\), got \(12"):
        field.region(12, 0)
    with pytest.raises(ValueError, match=r"region: unit expects places below"):
        field.region(1)


def test_published_sizes():
    """VGG-16's pool5 sees 212 (Simonyan and Zisserman's net D, as Araujo et al. 2019 count it)."""
    vgg = models.vgg16(image_size=32)
    assert receptive_field(vgg, (3, 32, 32), "features.30").size == (212, 212)
    alexnet = nn.Sequential(
        nn.Conv2d(3, 4, 11, 4, padding=2), nn.MaxPool2d(3, 2), nn.Conv2d(4, 4, 5, padding=2),
        nn.MaxPool2d(3, 2), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    found = receptive_fields(alexnet, (3, 224, 224))
    sizes = [found[str(k)].size[0] for k in range(8)]
    assert sizes == [11, 19, 51, 67, 99, 131, 163, 195] and found["7"].jump == (32, 32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [("alexnet", 195), ("mobilenet_v1", 315), ("inception_v3", 1311)],
)
def test_sizes_in_the_literature(name, size):
    """The last maps of networks that Araujo et al. 2019 list with the same layers."""
    if name not in models.list_models():
        pytest.skip(f"{name} is not among the networks")
    info = models.info(name)
    field = receptive_field(models.create(name), info.input_size, info.cam)
    assert field.size == (size, size)


def test_lenet_all_units():
    theory = check(models.lenet(), (1, 28, 28), ["features.0", "features.3", "features.5", ""])
    assert theory["features.5"].size == (16, 16) and theory[""].sees_all
    assert theory["classifier"].describe() == ("all", "-", "-")
    assert theory["classifier"].region(0, 0) == ((0, 28), (0, 28))


NETWORKS = {
    "rectangular": [
        nn.Conv2d(2, 3, (3, 5), stride=(2, 3), padding=(0, 2), dilation=(2, 1)),
        nn.ReLU(),
        nn.MaxPool2d((3, 2), (2, 1), padding=1),
        nn.Conv2d(3, 2, 3, padding=1),
    ],
    "behind-the-end": [
        nn.Conv2d(2, 3, 1, stride=2),
        nn.Conv2d(3, 3, 3, padding=1),
        nn.Conv2d(3, 3, 3, padding=2),
    ],
    "ceil": [
        nn.Conv2d(2, 3, 2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(3, 2, ceil_mode=True),
    ],
    "same-reflect": [
        nn.Conv2d(2, 3, 4, padding="same"),
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
        nn.ReflectionPad2d(2),
        nn.Conv2d(3, 2, 3),
    ],
    "inception": [Branches(2), nn.MaxPool2d(3, 2), Branches(9)],
    "resnet": [nn.Conv2d(2, 4, 7, 2, padding=3), Residual(4, 4), Residual(4, 6, 2), Residual(6, 6)],
    "densenet": [Dense(2, 2, 3), nn.Conv2d(8, 4, 1), nn.AvgPool2d(2, 2), Dense(4, 2, 2)],
    "se": [nn.Conv2d(2, 4, 3), Gate(4), nn.Conv2d(4, 2, 3)],
    "cbam-global": [
        nn.Conv2d(2, 4, 3, stride=2),
        Spatial(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    ],
    "convnext": [nn.Conv2d(2, 4, 4, 4), ChannelsLast(4), nn.Conv2d(4, 4, 2, 2), ChannelsLast(4)],
    "shufflenet": [
        nn.Conv2d(2, 4, 3),
        Shuffle(4),
        Shuffle(4),
        nn.ChannelShuffle(2),
        nn.Dropout2d(0.5),
    ],
    "adaptive": [nn.Conv2d(2, 3, 3, stride=2), nn.AdaptiveAvgPool2d((4, 5)), nn.Conv2d(3, 2, 2)],
    "lrn-groupnorm": [nn.Conv2d(2, 3, 3), nn.LocalResponseNorm(3), nn.GroupNorm(1, 3)],
    "rows-flattened": [nn.Conv2d(2, 3, 3, stride=4), nn.Flatten(2), nn.Linear(48, 4), nn.ReLU()],
    "flattened-and-back": [
        nn.Conv2d(2, 3, 3, stride=4),
        nn.Flatten(),
        nn.Linear(144, 12),
        nn.Unflatten(1, (3, 2, 2)),
        nn.Conv2d(3, 3, 1),
    ],
    "transposed": [
        nn.Conv2d(2, 8, 3, stride=2),
        nn.ConvTranspose2d(8, 4, 3, 2, padding=1, output_padding=1),
        nn.Conv2d(4, 2, 3),
    ],
    "nearest": [
        nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(2, 2, 3),
        nn.Conv2d(2, 2, 1, 3),
    ],
    "bilinear": [nn.MaxPool2d(3), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(2, 2, 3)],
    "pixelshuffle": [
        nn.Conv2d(2, 8, 3, 2),
        nn.PixelShuffle(2),
        nn.Conv2d(2, 2, 3),
        nn.ZeroPad2d((1, 0, 2, -1)),
    ],
    "pixelunshuffle": [
        nn.ZeroPad2d((1, 0, 1, 0)),
        nn.PixelUnshuffle(2),
        nn.Conv2d(8, 2, 3, groups=2),
    ],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_against_gradients(name):
    # Inside a ConvNeXt block the channels come last, and units have other places.
    layers = ["", *map(str, range(len(NETWORKS[name])))]
    net = nn.Sequential(*NETWORKS[name])
    check(net, (2, 23, 31), layers, mirrored=name == "same-reflect")


def test_one_and_three_dimensions():
    line = nn.Sequential(nn.Conv1d(2, 3, 5, 2, padding=1), nn.AvgPool1d(3), nn.Conv1d(3, 3, 2))
    assert check(line, (2, 40))["2"].size == (15,)
    solid = nn.Sequential(nn.Conv3d(1, 2, (1, 3, 2), padding=(0, 1, 0)), nn.AvgPool3d(2))
    assert check(solid, (1, 6, 7, 8))["1"].size == (2, 4, 3)
    dense = nn.Sequential(nn.Linear(5, 4), nn.ReLU())
    assert receptive_fields(dense, (5,)) == {}


def test_moves_of_the_image():
    class Moves(nn.Module):
        def forward(self, x):
            a = x[:, :, 2:, ::2].flip(2)
            b = minicnn.cat([a, a], 3).transpose(2, 3)
            return b[:, [1, 0]], x[:, 0, 3], x.softmax(3), x[:, None, ..., 1:]

    class Part(nn.Module):
        def __init__(self, part):
            super().__init__()
            self.part, self.moves = part, Moves()

        def forward(self, x):
            return self.moves(x)[self.part]

    for part in (0, 2):
        net = Part(part).double()
        field = receptive_field(net, (2, 8, 10), "")
        seen = boxes(net, (2, 8, 10), [""], some_units)
        for (_, (i, j)), pixels in seen.items():
            # Part 0 is transposed: its rows go along the image's columns.
            unit = (j, i) if part == 0 else (i, j)
            assert field.region(*unit) == pixels, unit
    row = receptive_field(Part(1), (2, 8, 10), "")
    assert row.region(0, 4) == ((3, 4), (4, 5)) and row.units == (1, 10)
    behind = receptive_field(Part(3), (2, 8, 10), "")
    assert behind.region(2, 0) == ((2, 3), (1, 2))


def test_upsampling_has_a_jump_below_one():
    net = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3, padding=1))
    found = receptive_fields(net, (1, 8, 8))
    assert found["0"].size == (1, 1) and found["0"].jump == (Fraction(1, 2),) * 2
    assert found["1"].size == (2, 2) and found["1"].describe() == ("2x2", "1/2", "-1")


def test_two_pixels_repeated_are_upsampling_not_padding():
    for factor in (2, 3):
        net = nn.Sequential(nn.AvgPool2d(4), nn.Upsample(scale_factor=factor))
        found = check(net, (1, 8, 8))["1"]
        assert found.jump == (Fraction(4, factor),) * 2
    padded = receptive_field(nn.ReplicationPad2d((1, 0, 2, 2)), (1, 8, 8), "")
    assert padded.jump == (1, 1) and padded.start == (-2, -1)


def test_maps_without_a_unit():
    """A map cut to nothing and padded again: its units see nothing."""
    net = nn.Sequential(nn.AvgPool2d(4), nn.ZeroPad2d(-1), nn.ZeroPad2d(1))
    found = receptive_fields(net, (1, 8, 8))
    assert found["1"].units == (0, 0) and found["2"].region(0, 1) == ((0, 0), (0, 0))


def test_unknown_operations_are_not_guessed():
    class Sorted(nn.Module):
        def forward(self, x):
            return x.cumsum(2)

    net = nn.Sequential(nn.Conv2d(1, 1, 3), Sorted(), nn.Conv2d(1, 1, 1))
    found = receptive_fields(net, (1, 8, 8))
    assert found["0"].size == (3, 3) and found["1"] is found["2"] is None
    with pytest.raises(RuntimeError, match=r"what Cumsum sees, which ran in '1' before '2'"):
        receptive_field(net, (1, 8, 8), "2")


def test_errors_name_the_layers():
    net = models.lenet()
    with pytest.raises(ValueError, match=r"no layer 'features.9', there are features, features.0,"):
        receptive_field(net, (1, 28, 28), "features.9")
    with pytest.raises(ValueError, match=r"layer expects a module of this network, or one of"):
        receptive_field(net, (1, 28, 28), nn.ReLU())
    with pytest.raises(ValueError, match=r"input_size expects positive integers, got \(1, 0, 28\)"):
        receptive_field(net, (1, 0, 28), "features")
    assert receptive_field(net, (1, 28, 28), net.features[0]).size == (5, 5)
    net.unused = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="the network does not call 'unused'"):
        receptive_field(net, (1, 28, 28), "unused")


def test_elementwise_functions_are_elementwise():
    """Of those with one input: an output's gradient has one element that is not zero."""
    checked = 0
    for function in ELEMENTWISE:
        x = minicnn.rand(2, 3, 4, 5).requires_grad_()
        try:
            y = function.apply(x)
            y[1, 2, 0, 3].backward()
        except (TypeError, RuntimeError, AttributeError, ValueError, IndexError):
            continue  # takes more than x, or has no gradient
        touched = np.argwhere(np.nan_to_num(x.grad.array))
        assert touched.tolist() in ([[1, 2, 0, 3]], []), function
        checked += 1
    assert checked > 30 and Pad not in ELEMENTWISE and set(RULES) > ELEMENTWISE


def test_a_max_pooling_sees_all_of_its_window():
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(3, 2, dilation=2)).double()
    field = receptive_field(net, (1, 16, 16), "1")
    slopes = 0
    for _ in range(60):
        x = minicnn.randn(1, 1, 16, 16, dtype=minicnn.float64).requires_grad_()
        net(x)[0, 0, 1, 2].backward()
        slopes = slopes + np.abs(x.grad.array[0])
    assert box(slopes) == field.region(1, 2) == ((2, 9), (4, 11))


# ---------------------------------------------------------------------- the effective field


def test_effective_field_of_a_stack_is_a_gaussian():
    """n layers of 3x3 with equal weights: a sum of n uniform steps, variance 2n/3 (Luo et al.)."""
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(6)))
    for layer in net:
        layer.weight.array[...] = 1 / 9
    found = effective_receptive_field(net, "5", input_size=(1, 33, 33), samples=1)
    assert found.deviation == pytest.approx((2.0, 2.0), abs=1e-5)
    assert found.unit == (16, 16) and found.values.max() == 1 == found.values[16, 16]
    assert found.theory.size == (13, 13) and 5 < found.size < 13
    assert np.count_nonzero(found.values) == 13 * 13 and found.area(0) == 33 * 33


def test_effective_field_leaves_no_trace(tmp_path):
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(True), nn.Dropout(0.5))
    net.requires_grad_(False)
    before = {k: v.array.copy() for k, v in net.state_dict().items()}
    found = effective_receptive_field(net, net[2], input_size=(2, 9, 12), samples=2, unit=(0, 9))
    assert found.theory.region(0, 9) == ((0, 3), (9, 12))
    assert box(found.values[None]) == ((0, 3), (9, 12))
    assert net.training and all(p.grad is None and not p.requires_grad for p in net.parameters())
    assert all((v.array == before[k]).all() for k, v in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())
    given = effective_receptive_field(net, "0", minicnn.rand(3, 2, 9, 12))
    given.save(tmp_path / "field.png")
    assert (tmp_path / "field.png").read_bytes() == given.png()
    with pytest.raises(ValueError, match=r"unit expects a place in \(7, 10\), got \(7, 0\)"):
        effective_receptive_field(net, "0", input_size=(2, 9, 12), unit=(7, 0))
    with pytest.raises(ValueError, match=r"'classifier' has the shape .* without height and width"):
        effective_receptive_field(models.lenet(), "classifier", input_size=(1, 28, 28))
    with pytest.raises(ValueError, match="needs images, or input_size"):
        effective_receptive_field(net, "0")
    with pytest.raises(ValueError, match="samples expects an integer of at least 1, got 0"):
        effective_receptive_field(net, "0", input_size=(2, 9, 12), samples=0)
    solid = effective_receptive_field(nn.Conv3d(1, 1, 3), "", input_size=(1, 5, 5, 5), samples=1)
    with pytest.raises(ValueError, match="a picture has two axes, this field 3"):
        solid.figure()


# ---------------------------------------------------------------------- networks of the registry

# The smallest network of every family: its larger ones are more of the same.
SMALLEST = sorted(
    min(infos, key=lambda info: info.parameters).name
    for infos in (
        [info for info in models.available().values() if info.family == family]
        for family in {info.family for info in models.available().values()}
    )
)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_registered_networks(name):
    """The map that Grad-CAM looks at: the unit's region is where its gradient is."""
    info = models.info(name)
    side = info.image_sizes[0]
    size = (info.input_size[0], side, side)
    model = models.create(name, image_size=side, in_channels=size[0], num_classes=4)
    theory = receptive_fields(model, size)
    assert None not in theory.values(), name
    check(model, size, [info.cam])

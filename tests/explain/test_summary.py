"""summary: counts by hand, the tree, and no trace left."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import models, nn
from minicnn.explain import summary


def test_lenet_by_hand():
    found = summary(models.lenet(), (1, 28, 28))
    assert found.total_parameters == found.trainable_parameters == 61_706
    assert found["features.0"].multiply_adds == 6 * 28 * 28 * 25
    assert found["features.3"].multiply_adds == 16 * 10 * 10 * 6 * 25
    assert found["classifier.0"].multiply_adds == 400 * 120
    assert found.total_multiply_adds == 117_600 + 240_000 + 48_000 + 10_080 + 840
    assert found["features"].output_shape == (1, 16, 5, 5) and found.output_shape == (1, 10)
    assert found["features"].parameters == 156 + 2_416 and found["features"].own_parameters == 0
    assert [layer.depth for layer in found.layers[:3]] == [0, 1, 2]


def test_a_transposed_convolution_lays_its_kernel_on_every_input():
    net = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2))
    assert summary(net, (4, 5, 7)).total_multiply_adds == 4 * 5 * 7 * (3 * 3 * 3)


def test_vgg11s_published_multiply_adds():
    # The paper's network at 224x224 needs 7.6 billion; a quarter of the side, a sixteenth of them.
    net = models.vgg11(image_size=64)
    found = summary(net, (3, 64, 64))
    assert found["features"].multiply_adds * (224 / 64) ** 2 == pytest.approx(7.485e9, rel=1e-3)


def test_text():
    text = str(summary(models.lenet(), (1, 28, 28)))
    lines = text.splitlines()
    head = ["layer", "output", "parameters", "multiply-adds", "sees", "jump", "start"]
    assert lines[0].split() == head
    assert lines[2].split() == ["LeNet5", "1x10", "61,706", "416,520", "all", "-", "-"]
    assert lines[7].split()[-3:] == lines[8].split()[-3:] == ["14x14", "2", "-2"]
    assert lines[3].startswith("├─ features: Sequential")
    assert (
        lines[4].startswith("│  ├─ 0: Conv2d") and "1x6x28x28" in lines[4] and "117,600" in lines[4]
    )
    assert lines[9].startswith("│  └─ 5: MaxPool2d")
    assert lines[10].startswith("└─ classifier") and lines[15].startswith("   └─ 4: Linear")
    assert "parameters         61,706, 247 kB" in text and "fixed" not in text


def test_batches():
    one, four = (summary(models.lenet(), (1, 28, 28), batch_size=n) for n in (1, 4))
    assert four.total_multiply_adds == 4 * one.total_multiply_adds
    assert four.output_shape == (4, 10)
    assert summary(models.lenet(), (4, 1, 28, 28)).input_shape == (4, 1, 28, 28)
    x = minicnn.Tensor(np.zeros((2, 1, 28, 28), np.float32))
    assert summary(models.lenet(), input_data=x).output_shape == (2, 10)


def test_groups_and_transposed_axes():
    net = nn.Sequential(
        nn.Conv2d(4, 8, (3, 2), groups=2, stride=2, bias=False), nn.Flatten(), nn.Linear(8 * 12, 5)
    )
    found = summary(net, (4, 9, 7))
    assert found["0"].output_shape == (1, 8, 4, 3)
    assert found["0"].multiply_adds == 8 * 4 * 3 * (2 * 3 * 2)
    assert found["2"].multiply_adds == 5 * 96


def test_products_of_ones_own_count_where_they_run():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = nn.Parameter(minicnn.rand(6, 2, 3, 3))
            self.inner = nn.Conv2d(6, 5, 1)

        def forward(self, x):
            y = self.inner(nn.functional.conv2d(x, self.kernel, groups=2)).flatten(2)
            return minicnn.einsum("nci,ndi->ncd", y, y) @ minicnn.ones(5, 4)

    found = summary(nn.Sequential(Own()), (4, 7, 8))
    assert found["0.inner"].multiply_adds == 5 * 30 * 6
    own = 6 * 30 * 2 * 9 + 5 * 5 * 30 + 5 * 4 * 5
    assert found["0"].multiply_adds == own + 5 * 30 * 6 == found.total_multiply_adds


def test_lazy_layers_have_sizes_afterwards():
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    found = summary(net, (3, 8, 8))
    assert found["0"].parameters == 4 * 3 * 9 + 4 and found["3"].parameters == 144 * 5 + 5
    assert found["0"].kind == "Conv2d" and found.total_multiply_adds == 4 * 36 * 27 + 144 * 5
    assert found.parameter_bytes == 4 * found.total_parameters


def test_fixed_and_shared_parameters():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.second = nn.Linear(3, 3)
            self.second.weight = self.first.weight
            self.unused = nn.Linear(3, 1)

        def forward(self, x):
            return self.second(self.first(self.first(x)))

    net = Twice()
    net.unused.requires_grad_(False)
    found = summary(net, (3,))
    assert found.total_parameters == 9 + 3 + 3 + 4 and found.trainable_parameters == 15
    assert found["first"].calls == 2 and found["first"].multiply_adds == 18
    assert found["second"].parameters == 3 and found["second"].multiply_adds == 9
    assert found["unused"].output_shape is None and found["unused"].calls == 0
    assert ("of them fixed", "4") in found.totals()


def test_several_outputs():
    class Two(nn.Module):
        def forward(self, x):
            return (x.flatten(1), x), {"x": x}

    assert summary(Two(), (2, 3, 4)).output_shape == (1, 24)


def test_no_trace_is_left():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5)).double()
    net[1].eval()
    before = {k: v.array.copy() for k, v in net.state_dict().items()}
    random = minicnn.backend.random.default_generator().get_state()
    summary(net, (1, 8, 8))
    assert [m.training for m in net.modules()] == [True, True, False, True]
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.array, before[name])
    np.testing.assert_array_equal(minicnn.backend.random.default_generator().get_state(), random)
    assert not any(m._forward_hooks for m in net.modules())
    with pytest.raises(ValueError):
        summary(net, (3, 8, 8))  # too many channels
    assert net.training and not any(m._forward_hooks for m in net.modules())


def test_inputs_may_be_arrays_and_lists():
    net, x = models.lenet(), np.zeros((2, 1, 28, 28), np.float32)
    for given in (x, [x], (minicnn.Tensor(x),)):
        found = summary(net, input_data=given)
        assert found.output_shape == (2, 10) and found.input_bytes == x.nbytes


@pytest.mark.parametrize("size", [None, (1, 0, 8), (1, 8.0, 8), (-1,)])
def test_wrong_sizes(size):
    with pytest.raises(
        ValueError, match=r"summary: (needs input_size|input_size and batch_size expect positive)"
    ):
        summary(models.lenet(), size)
    with pytest.raises(ValueError, match=r"expect positive integers, got \(1, 28, 28\) and 0"):
        summary(models.lenet(), (1, 28, 28), batch_size=0)
    with pytest.raises(KeyError, match="no layer 'x'"):
        summary(models.lenet(), (1, 28, 28))["x"]


def test_memory_by_hand():
    """LeNet keeps: what its ReLUs gave, whose maximum won each window, what its layers were fed."""
    found = summary(models.lenet(), (1, 28, 28))
    relus = 4 * (6 * 28 * 28 + 16 * 10 * 10 + 120 + 84)
    windows = 6 * 14 * 14 + 16 * 5 * 5  # a byte for each
    inputs = 4 * (6 * 14 * 14 + 16 * 5 * 5)  # of the second convolution and the first dense layer
    assert found.kept_bytes == relus + windows + inputs
    assert found.input_bytes == 4 * 28 * 28 and found.parameter_bytes == 4 * 61_706
    assert found.training_bytes == 4 * 28 * 28 + 8 * 61_706 + found.kept_bytes
    frozen = models.lenet()
    frozen.requires_grad_(False)
    assert summary(frozen, (1, 28, 28)).kept_bytes == 0
    assert all(p.grad is None for p in frozen.parameters())


def test_receptive_fields_in_the_table():
    found = summary(models.lenet(), (1, 28, 28))
    assert found["features.3"].receptive_field.size == (14, 14)
    assert found["classifier"].receptive_field.sees_all
    assert summary(nn.Sequential(nn.Linear(3, 2)), (3,))["0"].receptive_field is None

    class Sums(nn.Module):
        def forward(self, x):
            return x.cumsum(3)

    net = nn.Sequential(nn.Conv2d(1, 2, 3), Sums(), nn.ReLU())
    found = summary(net, (1, 8, 9))
    assert found["1"].receptive_field is None and found["2"].blind_to == "Cumsum"
    assert found.rows()[1][4] == "3x3" and found.rows()[3][4:] == ("?", "?", "?")
    assert str(found).endswith("?                  nothing is known of what Cumsum sees")


def test_networks_that_cannot_be_followed_have_a_summary():
    class InPlace(nn.Module):
        def forward(self, x):
            y = x * 1
            part = y[:, :1]
            y += 1
            return part + y

    net = nn.Sequential(nn.Conv2d(1, 2, 3), InPlace(), nn.Conv2d(2, 2, 1))
    found = summary(net.requires_grad_(False), (1, 8, 8))
    assert found["0"].multiply_adds == 2 * 36 * 9 and found["2"].calls == 1
    assert found.kept_bytes is found.training_bytes is None
    assert "kept" not in str(found) and found.rows()[1][4:] == ("-", "-", "-")


def test_a_view_that_is_changed_in_place_can_be_followed():
    """As behind every Flatten: nobody uses the maps themselves any more."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.ReLU(True), nn.Linear(72, 3))
    found = summary(net, (1, 8, 8))
    # What the ReLU computed, and the maps that it was written into, which the dense layer was fed.
    assert found.kept_bytes == 2 * 4 * 72 and found["3"].receptive_field.sees_all


def block():
    return nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU())


def test_depth_and_repetition():
    net = nn.Sequential(*(block() for _ in range(9)), nn.Conv2d(2, 1, 1), nn.Conv2d(1, 1, 1))
    found = summary(net, (2, 8, 8))
    names = [row[0] for row in found.rows()]
    assert names[:5] == ["Sequential", "├─ 0: Sequential", "│  ├─ 0: Conv2d",
                         "│  ├─ 1: BatchNorm2d", "│  └─ 2: ReLU"]  # fmt: skip
    assert names[5:] == ["├─ 1 … 8: Sequential, 8 more alike", "├─ 9: Conv2d", "└─ 10: Conv2d"]
    repeated = found.rows()[5]
    assert repeated[2] == str(8 * (2 * 2 * 9 + 2 + 4)) and repeated[4:] == ("19x19", "1", "-9")
    assert [row[0] for row in found.rows(1)] == [names[0], names[1], *names[5:]]
    assert "not shown          27 modules deeper than 1, down to 2" in found.text(1)
    assert len(found.rows(0)) == 1


def test_large_networks_fit_on_a_screen():
    """Blocks that all differ, four levels deep: without a depth, what 80 lines hold."""

    def stage(width):
        inner = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())
        return nn.Sequential(nn.Sequential(nn.Conv2d(width, width, 1), inner))

    layers = [nn.Conv2d(1, 1, 1)]
    for width in range(1, 25):
        layers += [stage(width), nn.Conv2d(width, width + 1, 1)]
    found = summary(nn.Sequential(*layers), (1, 4, 4))
    lines = str(found).splitlines()
    assert len(lines) < 90 and "down to 4" in lines[-1] and len(found.rows()) > 140
    assert len(found.text(4).splitlines()) > 150

"""Layers: settings, errors, lazy ones, batch norm's statistics, losses. Values: test_parity.py."""

import copy
import pickle

import numpy as np
import pytest

import minicnn
from minicnn import nn, optim
from minicnn.nn import functional as F


def test_layers_call_the_function_of_their_name():
    x = minicnn.randn(2, 4, 6, 6)
    pairs = [
        (nn.MaxPool2d(2, 1, 1, ceil_mode=True), F.max_pool2d(x, 2, 1, 1, ceil_mode=True)),
        (nn.AvgPool2d(3, padding=1), F.avg_pool2d(x, 3, padding=1)),
        (nn.AdaptiveAvgPool2d((1, None)), F.adaptive_avg_pool2d(x, (1, None))),
        (nn.AdaptiveMaxPool2d(2), F.adaptive_max_pool2d(x, 2)),
        (nn.LeakyReLU(0.3), F.leaky_relu(x, 0.3)),
        (nn.Hardsigmoid(), F.hardsigmoid(x)),
        (nn.GELU("tanh"), F.gelu(x, approximate="tanh")),
        (nn.Softmax(1), F.softmax(x, 1)),
        (nn.LogSoftmax(-1), F.log_softmax(x, -1)),
        (nn.Sigmoid(), F.sigmoid(x)),
        (nn.ReflectionPad2d((1, 2, 0, 1)), F.pad(x, (1, 2, 0, 1), mode="reflect")),
        (nn.ZeroPad2d(1), F.pad(x, (1, 1, 1, 1))),
        (nn.ConstantPad2d(1, 3.0), F.pad(x, (1, 1, 1, 1), value=3.0)),
        (nn.Identity(1, key=2), x),
        (nn.Flatten(), x.reshape(2, 144)),
        (nn.Flatten(0, 1), x.reshape(8, 6, 6)),
        (nn.Unflatten(1, (2, 2)), x.reshape(2, 2, 2, 6, 6)),
    ]
    for layer, y in pairs:
        np.testing.assert_array_equal(layer(x).array, y.array, err_msg=repr(layer))
    y, where = nn.MaxPool2d(2, return_indices=True)(x)
    assert where.dtype == minicnn.int64 and y.shape == where.shape == (2, 4, 3, 3)
    assert len(nn.AdaptiveMaxPool2d(2, return_indices=True)(x)) == 2


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_conv_padding_modes_pad_and_convolve(mode):
    x = minicnn.randn(1, 2, 5, 6)
    conv = nn.Conv2d(2, 3, (3, 2), padding=(1, 0), padding_mode=mode)
    padded = F.pad(x, (0, 0, 1, 1), mode=mode)
    np.testing.assert_array_equal(conv(x).array, F.conv2d(padded, conv.weight, conv.bias).array)
    same = nn.Conv2d(2, 3, (3, 4), padding="same", padding_mode=mode)
    padded = F.pad(x, (1, 2, 1, 1), mode=mode)  # the odd one behind
    np.testing.assert_array_equal(same(x).array, F.conv2d(padded, same.weight, same.bias).array)
    assert f"padding=same, padding_mode={mode}" in repr(same)


def test_conv_settings_are_checked_when_built():
    for arguments, text in (
        ({"groups": 0}, "groups"),
        ({"groups": 3}, "in_channels.*divisible by groups"),
        ({"groups": 4}, "out_channels.*divisible"),
        ({"padding": "full"}, "'full'"),
        ({"padding": "same", "stride": 2}, "same.*stride"),
        ({"padding_mode": "mirror"}, "'mirror'"),
    ):
        with pytest.raises(ValueError, match=f"Conv2d: .*{text}"):
            nn.Conv2d(4, 6, 3, **arguments)


def test_dtype_and_device_arguments():
    for layer in (
        nn.Linear(2, 3, dtype=minicnn.float64, device="cpu"),
        nn.Conv2d(1, 2, 3, dtype=minicnn.float64, device="cpu"),
        nn.BatchNorm2d(2, dtype=minicnn.float64, device=minicnn.device("cpu")),
        nn.InstanceNorm2d(2, affine=True, dtype=minicnn.float64, device="cpu"),
        nn.GroupNorm(1, 2, dtype=minicnn.float64, device="cpu"),
        nn.LayerNorm(2, dtype=minicnn.float64, device="cpu"),
        nn.RMSNorm(2, dtype=minicnn.float64, device="cpu"),
    ):
        assert {p.dtype for p in layer.parameters()} == {minicnn.float64}
    assert nn.Linear(2, 3, bias=False).bias is None
    assert [n for n, _ in nn.Conv2d(1, 1, 1, bias=False).named_parameters()] == ["weight"]


def test_dropout_only_drops_in_training():
    x = minicnn.ones(100, 100)
    layer = nn.Dropout(0.25)
    y = layer(x).array
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)} and 0.2 < (y == 0).mean() < 0.3
    assert layer.eval()(x).array is x.array or (layer(x).array == 1).all()
    planes = nn.Dropout2d(0.5)(minicnn.ones(20, 30, 2, 2)).array.reshape(600, 4)
    assert (planes == planes[:, :1]).all() and 0.4 < (planes[:, 0] == 0).mean() < 0.6
    rows = nn.Dropout1d(0.5)(minicnn.ones(20, 30, 4)).array.reshape(600, 4)
    assert (rows == rows[:, :1]).all() and 0.4 < (rows[:, 0] == 0).mean() < 0.6
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match="Dropout2d: p"):
            nn.Dropout2d(p)


def test_relu_in_place_overwrites():
    x = minicnn.tensor([-1.0, 2.0])
    y = nn.ReLU(inplace=True)(x)
    assert y is x and x.tolist() == [0, 2]


@pytest.mark.parametrize(
    "name", ["ReLU6", "SiLU", "ELU", "SELU", "CELU", "Mish", "Hardswish", "Hardsigmoid"]
)
def test_activations_in_place_overwrite(name):
    x = minicnn.tensor([-1.0, 2.0])
    wanted = getattr(nn, name)()(x).tolist()
    y = getattr(nn, name)(inplace=True)(x)
    assert y is x and x.tolist() == wanted != [-1, 2]


def test_prelu_starts_at_init():
    layer = nn.PReLU(3, init=0.5, dtype=minicnn.float64)
    assert layer.weight.tolist() == [0.5] * 3 and layer.weight.dtype == minicnn.float64
    layer.weight.data.fill_(7)
    layer.reset_parameters()
    assert layer.weight.tolist() == [0.5] * 3


# ---------------------------------------------------------------------- batch norm


def test_running_statistics():
    norm = nn.BatchNorm2d(2, momentum=0.2)
    x = minicnn.randn(3, 2, 4, 4)
    norm(x)
    m = x.array.mean((0, 2, 3))
    v = x.array.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(norm.running_mean.array, 0.2 * m, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.array, 0.8 + 0.2 * v, rtol=1e-5)
    assert norm.num_batches_tracked.item() == 1
    before = norm.running_mean.array.copy()
    norm.eval()(x)
    np.testing.assert_array_equal(norm.running_mean.array, before)
    assert norm.num_batches_tracked.item() == 1
    norm.reset_running_stats()
    assert norm.running_mean.array.any() == 0 and (norm.running_var.array == 1).all()
    assert norm.num_batches_tracked.item() == 0


def test_momentum_none_is_the_mean_over_all_batches():
    norm = nn.BatchNorm1d(2, momentum=None)
    xs = [minicnn.randn(5, 2) for _ in range(4)]
    for x in xs:
        norm(x)
    means = np.mean([x.array.mean(0) for x in xs], axis=0)
    np.testing.assert_allclose(norm.running_mean.array, means, rtol=1e-4, atol=1e-6)


def test_without_running_statistics_evaluation_uses_the_batch():
    norm = nn.BatchNorm2d(2, track_running_stats=False, affine=False).eval()
    y = norm(3 + 2 * minicnn.randn(8, 2, 5, 5)).array
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-5)
    assert not list(norm.state_dict())
    assert [n for n, _ in nn.BatchNorm2d(2, bias=False).named_parameters()] == ["weight"]


def test_batch_norm_refuses_other_ranks_and_counts_nothing_then():
    for layer, shape in (
        (nn.BatchNorm1d(2), (3, 2, 4, 4)),
        (nn.BatchNorm2d(2), (3, 2)),
        (nn.BatchNorm3d(2), (3, 2, 4, 4)),
        (nn.BatchNorm2d(2), (3, 5, 4, 4)),
        (nn.BatchNorm2d(2), (1, 2, 1, 1)),
    ):
        with pytest.raises(ValueError, match=r"\(" + ", ".join(map(str, shape))):
            layer(minicnn.randn(*shape))
        assert layer.num_batches_tracked.item() == 0
        assert not layer.running_mean.array.any()


# ---------------------------------------------------------------------- other normalisations


def test_instance_norm_refuses_other_ranks_and_channels():
    tracked = nn.InstanceNorm2d(2, track_running_stats=True)
    for layer, shape, text in (
        (nn.InstanceNorm1d(2), (2,), "expects 2 or 3 dimensions"),
        (nn.InstanceNorm2d(2), (3, 2), "expects 3 or 4 dimensions"),
        (nn.InstanceNorm3d(2), (3, 2, 4), "expects 4 or 5 dimensions"),
        (nn.InstanceNorm2d(2, affine=True), (3, 5, 4, 4), r"expects 2 channels .* got 5"),
        (tracked, (5, 4, 4), r"expects 2 channels .* got 5"),
    ):
        with pytest.raises(ValueError, match=rf"{type(layer).__name__}: {text}.*\({shape[0]},"):
            layer(minicnn.randn(*shape))
    assert not tracked.running_mean.array.any()
    with pytest.warns(UserWarning, match=r"expects 2 channels \(num_features\), got 5"):
        assert nn.InstanceNorm2d(2)(minicnn.randn(3, 5, 4, 4)).shape == (3, 5, 4, 4)


def test_instance_norm_counts_no_batches():
    norm = nn.InstanceNorm1d(2, track_running_stats=True)
    norm(minicnn.randn(3, 2, 4))
    assert norm.running_mean.array.any() and norm.num_batches_tracked.item() == 0  # as PyTorch's
    norm.reset_running_stats()
    assert not norm.running_mean.array.any() and (norm.running_var.array == 1).all()
    assert not list(nn.InstanceNorm1d(2).state_dict())


def test_settings_of_layer_and_group_norm():
    for groups, channels in ((3, 4), (0, 4)):
        with pytest.raises(ValueError, match=rf"num_channels \({channels}\) must be divisible"):
            nn.GroupNorm(groups, channels)
    for layer in (nn.LayerNorm, nn.RMSNorm):
        for bad in (2.5, (2, 2.5), None, "34"):
            with pytest.raises(TypeError, match=f"{layer.__name__}: normalized_shape expects"):
                layer(bad)
    assert nn.LayerNorm(np.int64(3)).normalized_shape == (3,)
    for layer in (nn.LayerNorm(3), nn.GroupNorm(1, 3), nn.RMSNorm(3)):
        for p in layer.parameters():
            minicnn.nn.init.constant_(p, 5.0)
        layer.reset_parameters()
        assert (layer.weight.array == 1).all()
        assert "bias" not in layer._parameters or not layer.bias.array.any()


# ---------------------------------------------------------------------- lazy layers


def lazy_net():
    return nn.Sequential(
        nn.LazyConv2d(4, 3, groups=2),
        nn.LazyBatchNorm2d(),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def test_lazy_layers_learn_their_sizes_from_the_first_input():
    net = lazy_net()
    assert net[0].has_uninitialized_params()
    assert repr(net[3].weight) == "<UninitializedParameter>"
    with pytest.raises(RuntimeError, match="no shape yet"):
        net[3].weight.shape  # noqa: B018
    with pytest.raises(RuntimeError, match="no shape yet"):
        sum(p.numel() for p in net.parameters())
    params = list(net.parameters())
    net.double()
    net(minicnn.randn(2, 6, 5, 5).double())
    assert [type(m) for m in net] == [nn.Conv2d, nn.BatchNorm2d, nn.Flatten, nn.Linear]
    assert all(p is q for p, q in zip(params, net.parameters(), strict=True))
    assert {type(p) for p in params} == {nn.Parameter}
    assert {p.dtype for p in params} == {minicnn.float64}
    assert net[0].in_channels == 6 and net[0].weight.shape == (4, 3, 3, 3)
    assert net[1].num_features == 4 and (net[1].running_var.array > 0).all()
    assert net[3].in_features == 36 and "in_features=36" in repr(net)
    assert 0 < abs(net[3].weight.array).max() <= 1 / 6


def test_lazy_layers_load_a_state_dict():
    built = lazy_net()
    x = minicnn.randn(2, 6, 5, 5)
    built(x)
    net = lazy_net()
    net.load_state_dict(built.state_dict())
    np.testing.assert_array_equal(net.eval()(x).array, built.eval()(x).array)
    assert net[3].in_features == 36 and net[0].in_channels == 6 and net[1].num_features == 4


def test_lazy_layers_are_copied_and_refuse_what_does_not_fit():
    net = copy.deepcopy(pickle.loads(pickle.dumps(lazy_net())))
    with pytest.raises(ValueError, match=r"5 channels.*2 groups"):
        net(minicnn.randn(2, 5, 5, 5))
    assert net[0].has_uninitialized_params()
    with pytest.raises(RuntimeError, match="dimensions"):
        net(minicnn.randn(5, 5))
    net(minicnn.randn(2, 4, 5, 5))


# ---------------------------------------------------------------------- losses and training


def test_loss_reductions_and_weights():
    x, t = minicnn.randn(4, 3), minicnn.tensor([0, 2, 1, 2])
    w = minicnn.tensor([1.0, 2.0, 3.0])
    loss = nn.CrossEntropyLoss(w, ignore_index=1, label_smoothing=0.1, reduction="sum")
    np.testing.assert_array_equal(
        loss(x, t).array,
        F.cross_entropy(x, t, w, ignore_index=1, label_smoothing=0.1, reduction="sum").array,
    )
    assert list(loss.state_dict()) == ["weight"]
    assert nn.NLLLoss(reduction="none")(F.log_softmax(x, 1), t).shape == (4,)
    assert nn.MSELoss(size_average=False).reduction == "sum"
    assert nn.MSELoss(reduce=False).reduction == "none"
    a, b = minicnn.randn(3), minicnn.randn(3)
    np.testing.assert_allclose(nn.L1Loss()(a, b).item(), abs(a.array - b.array).mean(), rtol=1e-6)
    with pytest.raises(ValueError, match="reduction"):
        nn.MSELoss(reduction="average")(a, b)


def test_one_batch_is_overfitted():
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(72, 10),
    )  # fmt: skip
    x, t = minicnn.randn(16, 1, 8, 8), minicnn.arange(16) % 10
    opt = optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), t)
        loss.backward()
        opt.step()
    assert loss.item() < 0.01


def test_unflatten_and_padding_arguments():
    with pytest.raises(TypeError, match="dim"):
        nn.Unflatten("a", (1, 2))
    with pytest.raises(TypeError, match="unflattened_size"):
        nn.Unflatten(1, 3)
    with pytest.raises(ValueError, match="ZeroPad2d"):
        nn.ZeroPad2d((1, 2))
    with pytest.raises(ValueError, match="Hardtanh"):
        nn.Hardtanh(1, 1)


def test_functional_names_are_pytorchs():
    from minicnn import functional

    for name in F.__all__:
        assert getattr(F, name) is getattr(functional, name)

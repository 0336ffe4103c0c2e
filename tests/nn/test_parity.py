"""Layers against PyTorch: texts, keys, values, gradients."""

import re

import numpy as np
import pytest

import minicnn
from minicnn import nn

pytestmark = pytest.mark.slow  # a sweep: each is quick, all of them are not

torch = pytest.importorskip("torch")
tnn = torch.nn

X = (3, 4, 7, 8)
LAYERS = [  # (how to build it from either nn, the shape of its input)
    (lambda nn: nn.Linear(8, 5), (3, 2, 8)),
    (lambda nn: nn.Linear(8, 5, bias=False), (8,)),
    (lambda nn: nn.Conv2d(4, 6, 3), X),
    (lambda nn: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), bias=False), X),
    (lambda nn: nn.Conv2d(4, 6, 3, padding="same", dilation=2, groups=2), X),
    (lambda nn: nn.Conv2d(4, 6, (2, 4), padding="same"), X),
    (lambda nn: nn.Conv2d(4, 4, 3, padding=1, groups=4), X[1:]),
    (lambda nn: nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"), X),
    (lambda nn: nn.Conv2d(4, 6, (2, 3), padding="same", padding_mode="replicate"), X),
    (lambda nn: nn.Conv2d(4, 6, 3, stride=2, padding=(2, 1), padding_mode="circular"), X),
    (lambda nn: nn.Conv1d(4, 6, 3, 2, padding=1, groups=2), (2, 4, 9)),
    (lambda nn: nn.Conv1d(4, 6, 3, padding=2, dilation=2, padding_mode="reflect"), (2, 4, 9)),
    (lambda nn: nn.Conv1d(4, 6, 2, padding="same", padding_mode="circular", bias=False), (4, 9)),
    (lambda nn: nn.Conv3d(2, 3, (1, 2, 3), padding=1), (2, 2, 3, 4, 5)),
    (lambda nn: nn.Conv3d(2, 4, 2, groups=2, padding="same"), (2, 3, 4, 5)),
    (lambda nn: nn.Conv3d(2, 3, 3, 2, (1, 0, 1), padding_mode="replicate"), (1, 2, 3, 4, 5)),
    (lambda nn: nn.Conv3d(2, 3, 2, padding=1, padding_mode="circular"), (1, 2, 3, 4, 5)),
    (lambda nn: nn.ConvTranspose1d(4, 6, 3, 2, output_padding=1), (2, 4, 5)),
    (lambda nn: nn.ConvTranspose2d(4, 6, 3), X),
    (lambda nn: nn.ConvTranspose2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 0), 2, False), X),
    (lambda nn: nn.ConvTranspose2d(4, 4, 2, 2, output_padding=2, dilation=3, groups=4), X[1:]),
    (lambda nn: nn.ConvTranspose3d(2, 3, 2, 2, padding=(0, 1, 0)), (1, 2, 3, 2, 3)),
    (lambda nn: nn.Unfold((2, 3), dilation=2, padding=1, stride=(1, 2)), X),
    (lambda nn: nn.Unfold(3), X[1:]),
    (lambda nn: nn.Fold((5, 4), 2, padding=1, stride=(2, 1)), (2, 12, 15)),
    (lambda nn: nn.Fold(4, (2, 1)), (4, 12)),
    (lambda nn: nn.ChannelShuffle(2), X),
    (lambda nn: nn.PixelShuffle(2), X),
    (lambda nn: nn.PixelUnshuffle(2), (2, 3, 6, 4)),
    (lambda nn: nn.MaxPool2d(2), X),
    (lambda nn: nn.MaxPool2d((3, 2), stride=2, padding=1, dilation=(1, 2), ceil_mode=True), X),
    (lambda nn: nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False), X),
    (lambda nn: nn.AvgPool2d((2, 3), divisor_override=5), X),
    (lambda nn: nn.AdaptiveAvgPool2d((3, None)), X),
    (lambda nn: nn.AdaptiveAvgPool2d(1), X),
    (lambda nn: nn.AdaptiveMaxPool2d((2, 3)), X),
    (lambda nn: nn.BatchNorm1d(4), (5, 4)),
    (lambda nn: nn.BatchNorm1d(4, momentum=None), (5, 4, 3)),
    (lambda nn: nn.BatchNorm2d(4, eps=1e-3, momentum=0.3), X),
    (lambda nn: nn.BatchNorm2d(4, affine=False), X),
    (lambda nn: nn.BatchNorm2d(4, track_running_stats=False), X),
    (lambda nn: nn.BatchNorm2d(4).eval(), X),
    (lambda nn: nn.BatchNorm3d(4), (2, 4, 2, 3, 3)),
    (lambda nn: nn.LayerNorm(8), X),
    (lambda nn: nn.LayerNorm((7, 8), eps=1e-3, bias=False), X),
    (lambda nn: nn.LayerNorm([4, 7, 8], elementwise_affine=False), X),
    (lambda nn: nn.GroupNorm(2, 4), X),
    (lambda nn: nn.GroupNorm(1, 4, eps=1e-3, bias=False), (5, 4)),
    (lambda nn: nn.GroupNorm(4, 4, affine=False), (2, 4, 9)),
    (lambda nn: nn.InstanceNorm1d(4), (5, 4, 9)),
    (lambda nn: nn.InstanceNorm1d(4, affine=True), (4, 9)),
    (lambda nn: nn.InstanceNorm2d(4, eps=1e-3, affine=True, track_running_stats=True), X),
    (lambda nn: nn.InstanceNorm2d(4, momentum=None, track_running_stats=True), X),
    (lambda nn: nn.InstanceNorm2d(4, affine=True, track_running_stats=True).eval(), X[1:]),
    (lambda nn: nn.InstanceNorm2d(4, affine=True, bias=False).eval(), X),
    (lambda nn: nn.InstanceNorm3d(4), (2, 4, 2, 3, 3)),
    (lambda nn: nn.RMSNorm(8), X),
    (lambda nn: nn.RMSNorm((7, 8), eps=1e-3), X),
    (lambda nn: nn.RMSNorm([7, 8], elementwise_affine=False), X),
    (lambda nn: nn.LocalResponseNorm(5), X),
    (lambda nn: nn.LocalResponseNorm(2, alpha=0.5, beta=0.5, k=2.0), X),
    (lambda nn: nn.Dropout(0.3).eval(), X),
    (lambda nn: nn.Dropout1d(0.3, inplace=True).eval(), X[1:]),
    (lambda nn: nn.Dropout2d(0.3).eval(), X),
    (lambda nn: nn.Dropout3d(0.3).eval(), (2, 4, 2, 3, 3)),
    (lambda nn: nn.AlphaDropout(0.3).eval(), X),
    (lambda nn: nn.FeatureAlphaDropout(0.3, inplace=True).eval(), X),
    (lambda nn: nn.ReLU(), X),
    (lambda nn: nn.Sequential(nn.Tanh(), nn.Softplus(), nn.ReLU(inplace=True)), X),
    (lambda nn: nn.ReLU6(), X),
    (lambda nn: nn.SiLU(), X),
    (lambda nn: nn.ELU(0.7), X),
    (lambda nn: nn.Hardtanh(-0.5, 0.7), X),
    (lambda nn: nn.Softplus(2, 10), X),
    (lambda nn: nn.LeakyReLU(0.2), X),
    (lambda nn: nn.PReLU(), X),
    (lambda nn: nn.PReLU(4, init=0.1), X),
    (lambda nn: nn.Sequential(nn.SELU(), nn.SELU(inplace=True)), X),
    (lambda nn: nn.CELU(0.5), X),
    (lambda nn: nn.GELU(), X),
    (lambda nn: nn.GELU("tanh"), X),
    (lambda nn: nn.Sequential(nn.Mish(), nn.CELU(2.0, inplace=True)), X),
    (lambda nn: nn.Hardswish(), X),
    (lambda nn: nn.LogSigmoid(), X),
    (lambda nn: nn.Softsign(), X),
    (lambda nn: nn.Sequential(nn.Tanhshrink(), nn.Mish(inplace=True)), X),
    (lambda nn: nn.Softshrink(0.3), X),
    (lambda nn: nn.Hardshrink(), X),
    (lambda nn: nn.Threshold(0.2, -1.5), X),
    (lambda nn: nn.Sequential(nn.Softsign(), nn.Threshold(0.2, 3, inplace=True)), X),
    (lambda nn: nn.GLU(dim=1), X),
    (lambda nn: nn.Softmin(dim=1), X),
    (lambda nn: nn.Sigmoid(), X),
    (lambda nn: nn.Tanh(), X),
    (lambda nn: nn.Softmax(dim=1), X),
    (lambda nn: nn.LogSoftmax(dim=-1), X),
    (lambda nn: nn.Identity(), X),
    (lambda nn: nn.Flatten(), X),
    (lambda nn: nn.Flatten(0, 2), X),
    (lambda nn: nn.Unflatten(1, (2, 2)), X),
    (lambda nn: nn.Upsample(scale_factor=2), X),
    (lambda nn: nn.Upsample((9, 5), mode="bicubic", align_corners=True), X),
    (lambda nn: nn.Upsample(scale_factor=(1.5, 2), mode="bilinear"), X),
    (lambda nn: nn.Upsample(None, 1.3, "linear", recompute_scale_factor=True), (2, 4, 9)),
    (lambda nn: nn.UpsamplingNearest2d(scale_factor=3), X),
    (lambda nn: nn.UpsamplingBilinear2d(size=12), X),
    (lambda nn: nn.ZeroPad2d(1), X),
    (lambda nn: nn.ConstantPad2d((1, 0, 2, 1), 3.5), X),
    (lambda nn: nn.ReflectionPad2d((1, 2, 0, 1)), X),
    (lambda nn: nn.ReplicationPad2d(2), X),
    (lambda nn: nn.CircularPad2d((1, 2, 3, 0)), X),
    (lambda nn: nn.ConstantPad1d((2, -1), -1.5), (2, 4, 9)),
    (lambda nn: nn.ConstantPad3d(1, 2.0), (2, 4, 2, 3, 3)),
    (lambda nn: nn.ZeroPad1d(3), (4, 9)),
    (lambda nn: nn.ZeroPad3d((1, 2, 0, 1, 2, 0)), (2, 4, 2, 3, 3)),
    (lambda nn: nn.ReflectionPad1d(3), (2, 4, 9)),
    (lambda nn: nn.ReflectionPad3d((1, 2, 1, 0, 1, 1)), (2, 4, 2, 3, 3)),
    (lambda nn: nn.ReplicationPad1d((0, 5)), (4, 9)),
    (lambda nn: nn.ReplicationPad3d(3), (4, 2, 3, 3)),
    (lambda nn: nn.CircularPad1d((9, 1)), (2, 4, 9)),
    (lambda nn: nn.CircularPad3d((3, 0, 1, 1, 2, 2)), (2, 4, 2, 3, 3)),
]
PAIR_LOSSES = [  # of an input and a target between 0 and 1
    lambda nn, w: nn.MSELoss(),
    lambda nn, w: nn.SmoothL1Loss(beta=0.3),
    lambda nn, w: nn.HuberLoss("sum", 0.2),
    lambda nn, w: nn.BCELoss(w),
    lambda nn, w: nn.BCELoss(reduction="none"),
    lambda nn, w: nn.BCEWithLogitsLoss(w, pos_weight=w + 1),
    lambda nn, w: nn.BCEWithLogitsLoss(reduction="sum"),
    lambda nn, w: nn.KLDivLoss(reduction="batchmean"),
    lambda nn, w: nn.KLDivLoss(reduction="sum", log_target=True),
    lambda nn, w: nn.CosineSimilarity(dim=0),
]
LOSSES = [
    lambda nn, w: nn.CrossEntropyLoss(),
    lambda nn, w: nn.CrossEntropyLoss(w, ignore_index=2, label_smoothing=0.1),
    lambda nn, w: nn.CrossEntropyLoss(w, reduction="none"),
    lambda nn, w: nn.NLLLoss(w, reduction="sum"),
    lambda nn, w: nn.NLLLoss(ignore_index=1),
]


def text(module):
    """repr, without what PyTorch before 2.13 does not show of batch norm."""
    return re.sub(r", bias=(True|False)(?=, track)", "", repr(module))


def copied(theirs, ours, dtype):
    """Random values in PyTorch's module, loaded into ours as arrays."""
    theirs.to(getattr(torch, dtype))
    with torch.no_grad():
        for name, t in theirs.state_dict().items():
            if t.is_floating_point():
                t.copy_(torch.rand_like(t) + (0.5 if "var" in name else -0.5))
    ours.to(np.dtype(dtype)).load_state_dict(theirs.state_dict())


def equal(ours, theirs, tolerance):
    a, b = ours.array, theirs.detach().numpy()
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("i", range(len(LAYERS)))
def test_layer(i, dtype, tolerance):
    build, shape = LAYERS[i]
    torch.manual_seed(i)
    ours, theirs = build(nn), build(tnn)
    assert text(ours) == text(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    copied(theirs, ours, dtype)
    x = torch.randn(shape, dtype=getattr(torch, dtype), requires_grad=True)
    ours_x = minicnn.tensor(x.detach().numpy(), requires_grad=True)
    for _ in range(2):  # twice: running statistics, accumulated gradients
        y, ours_y = theirs(x), ours(ours_x)
        equal(ours_y, y, tolerance)
        g = torch.randn_like(y)
        y.backward(g)
        ours_y.backward(minicnn.tensor(g.numpy()))
    equal(ours_x.grad, x.grad, 10 * tolerance)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        equal(p.grad, q.grad, 10 * tolerance)
    for p, q in zip(ours.buffers(), theirs.buffers(), strict=True):
        equal(p, q, tolerance)


@pytest.mark.parametrize(
    "name, x_shape, size",
    [
        ("ConvTranspose1d", (2, 3, 5), (19,)),
        ("ConvTranspose1d", (3, 5), (3, 18)),
        ("ConvTranspose2d", (2, 3, 5, 4), (19, 17)),  # too large
        ("ConvTranspose2d", (2, 3, 5, 4), (18, 15)),
        ("ConvTranspose2d", (2, 3, 5, 4), (2, 9, 17, 16)),
        ("ConvTranspose3d", (3, 2, 1, 3), (10, 5, 12)),
    ],
)
def test_output_size_of_transposed_convolutions(name, x_shape, size):
    options = {"stride": 3, "padding": 1, "dilation": 2}
    ours, theirs = (getattr(m, name)(3, 4, 4, **options) for m in (nn, tnn))
    copied(theirs, ours, "float64")
    x = torch.randn(x_shape, dtype=torch.float64)
    ours_x = minicnn.tensor(x.numpy())
    try:
        y = theirs(x, output_size=size)
    except ValueError:
        with pytest.raises(ValueError, match="output_size"):
            ours(ours_x, output_size=size)
    else:
        equal(ours(ours_x, output_size=size), y, 1e-10)


@pytest.mark.parametrize("i", range(len(LOSSES)))
def test_classification_loss(i):
    x = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    t = torch.tensor([0, 1, 2, 3, 2, 0])
    w = torch.rand(4, dtype=torch.float64)
    ours_x = minicnn.tensor(x.detach().numpy(), requires_grad=True)
    theirs, ours = LOSSES[i](tnn, w), LOSSES[i](nn, minicnn.tensor(w.numpy()))
    assert repr(theirs) == repr(ours)
    y, ours_y = theirs(x, t), ours(ours_x, minicnn.tensor(t.numpy()))
    equal(ours_y, y, 1e-10)
    y.sum().backward(), ours_y.sum().backward()
    equal(ours_x.grad, x.grad, 1e-10)


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_regression_loss(name, reduction):
    x, t = torch.randn(3, 4), torch.randn(3, 4)
    theirs, ours = getattr(tnn, name)(reduction=reduction), getattr(nn, name)(reduction=reduction)
    assert repr(theirs) == repr(ours)
    equal(ours(minicnn.tensor(x.numpy()), minicnn.tensor(t.numpy())), theirs(x, t), 1e-6)


def mixed(nn, base):
    class Mixed(base):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
                nn.MaxPool2d(2), nn.Dropout(0.0),
            )  # fmt: skip
            self.branches = nn.ModuleList(nn.Conv2d(8, 4, 1) for _ in range(2))
            self.heads = nn.ModuleDict({"a": nn.Linear(8, 2), "b": nn.Linear(8, 3)})
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, x):
            x = self.features(x)
            x = self.branches[0](x), self.branches[1](x)
            x = [self.pool(part).flatten(1) for part in x]
            both = x[0].repeat(1, 2) + x[1].repeat(1, 2)
            return self.heads["a"](both).sum(1) + self.heads["b"](both).sum(1)

    return Mixed()


def test_a_mixed_network_travels_both_ways():
    ours, theirs = mixed(nn, nn.Module), mixed(tnn, tnn.Module)
    assert text(ours) == text(theirs)
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    x = torch.randn(4, 3, 8, 8)
    equal(ours(minicnn.tensor(x.numpy())), theirs(x), 1e-5)
    again = mixed(nn, nn.Module)
    again.load_state_dict(theirs.state_dict())
    equal(again.eval()(minicnn.tensor(x.numpy())), theirs.eval()(x), 1e-5)


def test_messages_have_pytorchs_layout():
    ours, theirs = mixed(nn, nn.Module), mixed(tnn, tnn.Module)
    bad = {k: v.numpy() for k, v in theirs.state_dict().items() if k != "heads.a.bias"}
    bad["heads.b.bias"], bad["more"] = np.zeros(7, "float32"), np.zeros(1, "float32")
    messages = []
    for module, state in (
        (ours, bad),
        (theirs, {k: torch.tensor(v) for k, v in bad.items()}),
    ):
        with pytest.raises(RuntimeError) as error:
            module.load_state_dict(state)
        messages.append(re.sub(r"torch\.Size\(\[(\d+)\]\)", r"(\1,)", str(error.value)))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    "name",
    [
        "LazyLinear(3)",
        "LazyConv2d(3, 2)",
        "LazyBatchNorm2d()",
        "LazyLinear(3, bias=False)",
        "LazyConv1d(4, 3, padding='same')",
        "LazyConv3d(4, (1, 2, 3), groups=2, bias=False)",
        "LazyConvTranspose1d(4, 3, 2, output_padding=1)",
        "LazyConvTranspose2d(4, 3, dilation=2)",
        "LazyConvTranspose3d(4, 3, groups=2, bias=False)",
    ],
)
def test_lazy_texts(name):
    ours, theirs = eval(f"nn.{name}"), eval(f"tnn.{name}")
    assert text(ours) == text(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("i", range(len(PAIR_LOSSES)))
def test_losses_of_pairs(i, dtype, tolerance):
    x, t = np.random.default_rng(i).uniform(0.05, 0.95, (2, 4, 3)).astype(dtype)
    w = np.array([0.5, 2, 1], dtype)
    theirs, ours = PAIR_LOSSES[i](tnn, torch.tensor(w)), PAIR_LOSSES[i](nn, minicnn.tensor(w))
    assert repr(theirs) == repr(ours)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    x1, t1 = (torch.tensor(a, requires_grad=True) for a in (x, t))
    x2, t2 = (minicnn.tensor(a, requires_grad=True) for a in (x, t))
    y, ours_y = theirs(x1, t1), ours(x2, t2)
    equal(ours_y, y, tolerance)
    y.sum().backward()
    ours_y.sum().backward()
    equal(x2.grad, x1.grad, tolerance)
    equal(t2.grad, t1.grad, tolerance)


def test_default_initialisation_has_pytorchs_distribution():
    for build in (
        lambda nn: nn.Linear(300, 200),
        lambda nn: nn.Conv2d(30, 40, 5, groups=2),
        lambda nn: nn.ConvTranspose2d(20, 60, 5, groups=2),
    ):
        p = np.sort(build(nn).weight.array.ravel())
        q = np.sort(build(tnn).weight.detach().numpy().ravel())
        assert abs(p - q).max() < 0.05 * q.max()  # quantile by quantile


def test_gains_are_pytorchs():
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(name) == pytest.approx(tnn.init.calculate_gain(name))


@pytest.mark.parametrize("shape, groups", [((4, 3, 3, 2), 1), ((6, 2, 4), 3), ((3, 5, 1, 2, 3), 1)])
def test_dirac(shape, groups):
    ours = nn.init.dirac_(minicnn.ones(*shape), groups)
    np.testing.assert_array_equal(ours.array, tnn.init.dirac_(torch.ones(shape), groups).numpy())


def hook_record(nn, tensor, base):
    """What all kinds of hooks see of one network, as nested lists."""
    log = []

    def numbers(values):
        values = values if isinstance(values, tuple) else (values,)
        return [v.detach().numpy().round(5).tolist() if hasattr(v, "detach") else v for v in values]

    class Inner(base):
        def forward(self, a, n, b):
            return a * b, n, a + b

    class Net(base):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def forward(self, a):
            p, _, s = self.inner(a, 7, a * 2)
            return p * 3 + s

    net = Net()
    for name, m in net.named_modules():
        m.register_forward_pre_hook(lambda m, x, n=name: log.append([n, "pre", numbers(x)]))
        m.register_forward_hook(lambda m, x, y, n=name: log.append([n, "post", numbers(y)]))
        m.register_full_backward_pre_hook(lambda m, g, n=name: log.append([n, "gpre", numbers(g)]))
        m.register_full_backward_hook(
            lambda m, gi, go, n=name: log.append([n, "gpost", numbers(gi), numbers(go)])
        )
    x = tensor([1.0, 2.0], requires_grad=True)
    net(x).sum().backward()
    return [*log, numbers(x.grad)]


def test_hooks_see_what_pytorchs_see_in_the_same_order():
    ours = hook_record(nn, minicnn.tensor, nn.Module)
    assert ours == hook_record(tnn, torch.tensor, tnn.Module)

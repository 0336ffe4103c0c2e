"""Neighbours in a Sequential that are computed as one: the same bits, and nobody can tell."""

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.autograd import detect_anomaly, gradcheck, gradgradcheck
from minicnn.functional.conv import conv_relu
from minicnn.functional.norm import BatchNorm
from minicnn.nn.trace import trace


class Apart(nn.Sequential):
    """The modules one by one."""

    def forward(self, input):
        for module in self:
            input = module(input)
        return input


def networks(*layers):
    """A Sequential, and the same layers one by one, with parameters and buffers of their own."""
    minicnn.manual_seed(0)
    fused, apart = nn.Sequential(*[make() for make in layers]), Apart(*[make() for make in layers])
    apart.load_state_dict(fused.state_dict())
    return fused, apart


def functions(y):
    """The names of the nodes behind y."""
    seen, todo = [], [y.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.append(node)
            todo += [n for n, _ in node.next_functions]
    return [node.name for node in seen]


def assert_same(fused, apart, x, **options):
    results = []
    for net in (fused, apart):
        leaf = x.clone().requires_grad_()
        y = net(leaf)
        (y * minicnn.linspace(-1, 1, y.numel()).reshape(y.shape)).sum().backward(**options)
        tensors = [y, leaf.grad, *[p.grad for p in net.parameters()], *net.buffers()]
        results.append([t.array for t in tensors])
    for found, wanted in zip(*results, strict=True):
        np.testing.assert_array_equal(found, wanted)


CASES = {
    "batch norm": (lambda: nn.BatchNorm2d(4), (3, 4, 5, 6)),
    "batch norm, no weights": (lambda: nn.BatchNorm2d(4, affine=False), (3, 4, 5, 6)),
    "batch norm, no statistics": (
        lambda: nn.BatchNorm2d(4, track_running_stats=False),
        (3, 4, 5, 6),
    ),
    "batch norm, plain mean": (lambda: nn.BatchNorm1d(4, momentum=None), (6, 4)),
    "batch norm 3d": (lambda: nn.BatchNorm3d(4), (2, 4, 3, 3, 3)),
    "convolution": (lambda: nn.Conv2d(4, 3, 3, padding=1), (2, 4, 5, 5)),
    "convolution of one image": (lambda: nn.Conv2d(4, 3, 3), (4, 5, 5)),
    "linear": (lambda: nn.Linear(4, 3), (5, 4)),
    "linear of a stack": (lambda: nn.Linear(4, 3), (2, 5, 4)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_the_same_bits(case, inplace, training):
    make, shape = CASES[case]
    fused, apart = networks(make, lambda: nn.ReLU(inplace))
    x = minicnn.randn(*shape)
    for net in (fused, apart):
        net.train()(x + 1)
        net.train(training)
    assert_same(fused, apart, x)
    with minicnn.no_grad():
        np.testing.assert_array_equal(fused(x).array, apart(x).array)


def test_batch_norm_and_relu_are_one_node_in_training():
    fused, apart = networks(lambda: nn.BatchNorm2d(2), nn.ReLU)
    x = minicnn.randn(2, 2, 3, 3, requires_grad=True)
    assert "ReLUBackward" not in functions(fused(x))
    assert "ReLUBackward" in functions(apart(x))


@pytest.mark.parametrize("make", [lambda: nn.Conv1d(2, 3, 3), lambda: nn.Conv2d(2, 3, 3)])
def test_convolution_and_relu_are_one_node(make):
    fused, apart = networks(make, nn.ReLU)
    x = minicnn.randn(2, 2, *(5,) * fused[0].dims, requires_grad=True)
    assert "ConvReLUBackward" in functions(fused(x)) and "ReLUBackward" not in functions(fused(x))
    assert "ReLUBackward" in functions(apart(x))
    assert_same(fused, apart, x.detach(), create_graph=True)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 2, "ceil_mode": True},
        {"kernel_size": 2, "stride": 1, "dilation": 2},
    ],
)
def test_relu_and_max_pooling_change_places(options, inplace):
    """On whole numbers, so that there are zeros, and windows with several winners."""
    fused, apart = networks(
        lambda: nn.Conv2d(2, 3, 3),
        lambda: nn.ReLU(inplace),
        lambda: nn.MaxPool2d(**options),
        lambda: nn.Conv2d(3, 2, 1),
    )
    for net in (fused, apart):
        for p in net[0].parameters():
            p.array[...] = np.random.default_rng(0).integers(-1, 2, p.shape)
    x = minicnn.tensor(np.random.default_rng(1).integers(-1, 2, (4, 2, 9, 7)).astype(np.float32))
    before = fused[0](x).array
    assert (before == 0).any() and (before < 0).any() and (before > 0).any()
    assert_same(fused, apart, x)
    assert_same(fused, apart, x[0])
    names = functions(fused(x.requires_grad_()))
    assert names.index("ReLUBackward") < names.index("MaxPoolBackward")
    assert_same(fused, apart, x.detach(), create_graph=True)


def test_relu_stays_before_a_pooling_that_is_asked_for_its_winners():
    fused, apart = networks(
        lambda: nn.Conv2d(1, 1, 1), nn.ReLU, lambda: nn.MaxPool2d(2, return_indices=True)
    )
    for net in (fused, apart):
        net[0].weight.array[...], net[0].bias.array[...] = 1, 0
    x = minicnn.arange(-16.0, 0).reshape(1, 1, 4, 4)  # the last of each window is the largest
    assert apart(x)[1].tolist() == [[[[0, 2], [8, 10]]]]
    for found, wanted in zip(fused(x), apart(x), strict=True):
        np.testing.assert_array_equal(found.array, wanted.array)


def test_convolution_and_relu_may_be_differentiated_twice():
    minicnn.manual_seed(0)
    shapes = (2, 2, 5, 5), (3, 2, 3, 3), (3,)
    x, w, b = (minicnn.randn(*s, dtype=minicnn.float64, requires_grad=True) for s in shapes)
    assert gradcheck(lambda x, w, b: conv_relu(2, x, w, b, 1, 1, 1, 1), (x, w, b))
    assert gradgradcheck(lambda x, w, b: conv_relu(2, x, w, b, 1, 1, 1, 1), (x, w, b))


def test_an_empty_batch():
    fused, apart = networks(lambda: nn.BatchNorm2d(2), nn.ReLU)
    assert_same(fused, apart, minicnn.zeros(0, 2, 3, 3))


def test_a_whole_stack():
    layers = (
        lambda: nn.Conv2d(2, 4, 3),
        lambda: nn.BatchNorm2d(4),
        lambda: nn.ReLU(True),
        lambda: nn.Conv2d(4, 4, 3),
        nn.ReLU,
        nn.ReLU,
        nn.Flatten,
        lambda: nn.Linear(36, 3),
        nn.ReLU,
    )
    fused, apart = networks(*layers)
    assert_same(fused, apart, minicnn.randn(5, 2, 7, 7))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)
def test_hooks_see_each_module(which, register):
    for make in (lambda: nn.BatchNorm1d(3), lambda: nn.Linear(3, 3)):
        net, seen = nn.Sequential(make(), nn.ReLU()), []
        getattr(net[which], register)(lambda *args, seen=seen: seen.append(args[0]))
        net(minicnn.randn(4, 3, requires_grad=True)).sum().backward()
        assert seen == [net[which]]


def test_what_a_hook_kept_is_not_written_over():
    net, kept = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), []
    net[0].register_forward_hook(lambda module, args, result: kept.append(result))
    net(minicnn.randn(8, 3))
    assert (kept[0].array < 0).any()


def test_a_forward_of_its_own_is_called():
    class Doubled(nn.BatchNorm1d):
        def forward(self, input):
            return 2 * super().forward(input)

    x, calls = minicnn.randn(4, 3), []
    doubled, plain = (
        nn.Sequential(Doubled(3), nn.ReLU()),
        nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()),
    )
    np.testing.assert_array_equal(doubled(x).array, 2 * plain(x).array)
    relu = plain[1].forward
    plain[1].forward = lambda input: calls.append(1) or relu(input)
    plain(x)
    assert calls == [1]


def test_a_trace_has_every_call():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.ReLU()
    )
    record = trace(net.eval(), minicnn.randn(1, 1, 5, 5))
    names = [call.function.__name__ for call in record.calls]
    assert names == ["Conv", "BatchNormInference", "ReLU", "Conv", "ReLU"]
    assert [call.path for call in record.module_calls] == ["", "0", "1", "2", "3", "4"]
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    record = trace(net.eval(), minicnn.randn(1, 1, 6, 6))
    assert [call.function.__name__ for call in record.calls] == ["Conv", "ReLU", "MaxPool"]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_hooks_see_the_modules_around_a_relu_that_would_move(which):
    net, seen = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.MaxPool2d(2)), []
    net[which].register_forward_hook(lambda module, args, result: seen.append(result))
    x = minicnn.randn(2, 1, 4, 4)
    net(x)
    wanted = x
    for module in list(net)[: which + 1]:
        wanted = module.forward(wanted)
    np.testing.assert_array_equal(seen[0].array, wanted.array)


def test_anomaly_mode_names_the_op_that_made_the_nan():
    net = nn.Sequential(nn.BatchNorm1d(2), nn.ReLU())
    with detect_anomaly(), pytest.raises(RuntimeError, match="BatchNorm"):
        net(minicnn.tensor([[np.inf, 1.0], [1.0, 2.0]]))
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    with detect_anomaly(), pytest.raises(RuntimeError, match=r"\bConv\b"):
        net(minicnn.full((1, 1, 2, 2), np.nan))


def test_second_derivatives():
    fused, apart = networks(lambda: nn.BatchNorm1d(3), nn.ReLU)
    for net in (fused, apart):
        net.double()
    x = minicnn.randn(5, 3, dtype=minicnn.float64)
    v = minicnn.randn(5, 3, dtype=minicnn.float64)
    results = []
    for net in (fused, apart):
        leaf = x.clone().requires_grad_()
        (first,) = minicnn.autograd.grad((net(leaf) * v).sum(), leaf, create_graph=True)
        (second,) = minicnn.autograd.grad((first * first).sum(), leaf)
        results.append((first.detach().array, second.array))
    for found, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)
    assert abs(results[0][1]).max() > 1e-3


def test_the_fused_gradient_is_the_derivative():
    x = minicnn.randn(4, 2, 3, 3, dtype=minicnn.float64, requires_grad=True)
    w, b = [minicnn.randn(2, dtype=minicnn.float64, requires_grad=True) for _ in range(2)]

    def fused(x, w, b):
        return BatchNorm.apply(x, w, b, eps=1e-2, relu=True)[0]

    assert minicnn.autograd.gradcheck(fused, (x, w, b))


def test_a_result_that_is_changed_is_noticed():
    x = minicnn.randn(4, 3, requires_grad=True)
    for first in (nn.BatchNorm1d(3), nn.Linear(3, 3)):
        y = nn.Sequential(first, nn.ReLU())(x)
        y.add_(1)
        with pytest.raises(RuntimeError, match="changed in place by add_"):
            y.sum().backward()


def test_relu_in_place_writes_over_its_input():
    x = minicnn.randn(3, 4, requires_grad=True)
    z = x * 2
    memory = z.array
    y = nn.ReLU(inplace=True)(z)
    assert y is z and np.shares_memory(y.grad_fn._saved[0], memory)
    np.testing.assert_array_equal(memory, np.maximum(2 * x.array, 0))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, 2.0 * (x.array > 0))


def test_relu_in_place_of_a_view_and_what_comes_after():
    x = minicnn.randn(3, 4, requires_grad=True)
    z = x * 1
    z[:, :2].relu_()
    (z * z).sum().backward()
    wanted = 2 * x.array
    wanted[:, :2] *= x.array[:, :2] > 0
    np.testing.assert_array_equal(x.grad.array, wanted)
    y = (x * 1).relu_()
    y.mul_(3)
    with pytest.raises(RuntimeError, match=r"ReLUBackward.*changed in place by mul_"):
        y.sum().backward()


def test_a_module_may_replace_the_one_behind_it():
    class Replacing(nn.Module):
        def forward(self, input):
            nets[0][1] = nn.Identity()
            return input

    nets = [nn.Sequential(Replacing(), nn.ReLU())]
    x = minicnn.tensor([-1.0, 1.0])
    assert nets[0](x).tolist() == [-1.0, 1.0]
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    net[0].register_forward_hook(lambda *args: net.__setitem__(1, nn.Identity()))
    np.testing.assert_array_equal(net(x).array, net[0].forward(x).array)


@pytest.mark.parametrize(
    ("kind", "method", "calls"),
    [
        (nn.ReLU, "forward", 2),
        (nn.BatchNorm1d, "forward", 1),
        (nn.Linear, "forward", 1),
        (nn.Module, "__call__", 5),
    ],
)
def test_methods_that_were_replaced_are_called(kind, method, calls, monkeypatch):
    """As profilers and mocks do."""
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.BatchNorm1d(3), nn.ReLU())
    own, seen = getattr(kind, method), []

    def watched(self, *args):
        seen.append(self)
        return own(self, *args)

    monkeypatch.setattr(kind, method, watched)
    net(minicnn.randn(4, 3))
    assert len(seen) == calls

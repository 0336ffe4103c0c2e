"""Tensors on a device: how they get there, what they do there, what is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import minicnn
from minicnn import backend


@pytest.fixture
def x():
    minicnn.manual_seed(0)
    return minicnn.randn(2, 3, requires_grad=True)


def test_there_and_back(gpu, x):
    there = x.to(gpu)
    assert there.device == minicnn.device(gpu, 0)
    assert str(there.device) == f"{gpu}:0"
    assert there.cpu().device == minicnn.device("cpu")
    np.testing.assert_array_equal(there.detach().cpu().numpy(), x.detach().numpy())
    assert there.to(gpu) is there
    assert there.to(f"{gpu}:0") is there
    assert there.data_ptr() != x.data_ptr()


def test_gradients_come_back(gpu, x):
    y = (x.to(gpu) * 3).sum().cpu()
    y.backward()
    assert x.grad.device.type == "cpu"
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 3, np.float32))


def test_second_derivatives_cross_devices(gpu, x):
    (g,) = minicnn.autograd.grad((x.to(gpu) ** 3).sum(), x, create_graph=True)
    g.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * x.detach().numpy(), rtol=1e-6)


def test_type_and_device_at_once(gpu, x):
    assert x.to(gpu, minicnn.float64).dtype == minicnn.float64
    assert x.to(x.to(gpu)).device.type == gpu
    assert x.detach().to(gpu, copy=True).device.type == gpu


def test_made_on_the_device(gpu):
    for t in (
        minicnn.zeros(2, device=gpu),
        minicnn.tensor([1.0, 2.0], device=gpu),
        minicnn.as_tensor(np.ones(2), device=gpu),
        minicnn.arange(3, device=gpu),
        minicnn.randn(2, device=gpu),
        minicnn.zeros_like(minicnn.zeros(2), device=gpu),
        minicnn.zeros_like(minicnn.zeros(2, device=gpu)),
        minicnn.zeros(2, device=gpu).new_zeros(3),
    ):
        assert t.device.type == gpu


def test_devices_do_not_mix(gpu, x):
    there = minicnn.ones(2, 3, device=gpu)
    for op in (
        lambda: x + there,
        lambda: there * x,
        lambda: minicnn.where(there > 0, x, there),
        lambda: minicnn.cat([there, x]),
        lambda: there @ x.T,
        lambda: minicnn.nn.functional.linear(x, there),
        lambda: minicnn.nn.functional.cross_entropy(there, minicnn.tensor([0, 1])),
        lambda: minicnn.add(there, 1, out=minicnn.ones(2, 3)),
    ):
        with pytest.raises(RuntimeError, match=f"expects all tensors on one device.*{gpu}:0"):
            op()


def test_messages_name_the_function(gpu):
    F = minicnn.nn.functional
    x, labels = minicnn.ones(2, 3, 4, 4), minicnn.tensor([0, 1])
    there, scores = x.to(gpu), minicnn.ones(2, 3, device=gpu)
    whole = minicnn.ones(2, 3, dtype=minicnn.int64)
    for name, op in {
        "matmul": lambda: scores @ minicnn.ones(3, 2),
        "equal": lambda: minicnn.equal(x, there),
        "isclose": lambda: minicnn.isclose(there, x),
        "allclose": lambda: minicnn.allclose(there, x),
        "isin": lambda: minicnn.isin(there, x),
        "bitwise_and": lambda: whole & whole.to(gpu),
        "searchsorted": lambda: minicnn.searchsorted(scores[0], minicnn.ones(3)),
        "batch_norm": lambda: F.batch_norm(there, minicnn.zeros(3), minicnn.ones(3)),
        "group_norm": lambda: F.group_norm(there, 1, minicnn.ones(3)),
        "layer_norm": lambda: F.layer_norm(x, [4], minicnn.ones(4, device=gpu)),
        "prelu": lambda: F.prelu(there, minicnn.ones(3)),
        "mse_loss": lambda: F.mse_loss(there, x),
        "multi_margin_loss": lambda: F.multi_margin_loss(scores, labels),
        "conv_transpose": lambda: F.conv_transpose2d(there, minicnn.ones(3, 1, 2, 2)),
    }.items():
        with pytest.raises(RuntimeError, match=f"^{name}.*: expects all tensors on one device"):
            op()
    with pytest.raises(RuntimeError, match=f"index expects a tensor on the CPU, got one on {gpu}"):
        x[labels.to(gpu)]


def test_batch_norm_keeps_its_statistics_where_one_is_elsewhere(gpu):
    norm = minicnn.nn.BatchNorm2d(3).to(gpu)
    norm.running_var = norm.running_var.cpu()
    with pytest.raises(RuntimeError, match="batch_norm: expects all tensors on one device"):
        norm(minicnn.randn(2, 3, 4, 4, device=gpu))
    assert norm.running_mean.tolist() == [0, 0, 0]
    assert norm.num_batches_tracked.item() == 0


class WrongPlace(minicnn.autograd.Function):
    """y = x, with a gradient on the CPU."""

    def forward(self, x):
        return x.copy()

    def backward(self, grad_y):
        return minicnn.backend.to_numpy(getattr(grad_y, "array", grad_y))


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_are_where_their_tensors_are(gpu, x, create_graph):
    there = x.detach().to(gpu).requires_grad_()
    ones = minicnn.ones(2, 3)
    for y, g in ((there * 1, ones), (x * 1, ones.to(gpu))):
        with pytest.raises(RuntimeError, match=r"the gradient given for it.*: expects all tensors"):
            y.backward(g, create_graph=create_graph)
    with pytest.raises(RuntimeError, match=f"WrongPlaceBackward: .* on cpu for input 0.*{gpu}:0"):
        WrongPlace.apply(there).sum().backward(create_graph=create_graph)
    y = there * 1
    y.register_hook(lambda g: g.cpu())
    with pytest.raises(RuntimeError, match=r"MulBackward: a hook's gradient .*one device"):
        y.sum().backward(create_graph=create_graph)
    assert x.grad is None
    assert there.grad is None
    (there * 1).backward(ones.to(gpu), create_graph=create_graph)
    (there.sum() * 1).backward(minicnn.tensor(1.0), create_graph=create_graph)  # a number is moved
    assert there.grad.device == there.device


def test_a_gradient_left_elsewhere_is_named(gpu, x):
    there = x.detach().to(gpu).requires_grad_()
    there.grad = minicnn.ones(2, 3)
    with pytest.raises(RuntimeError, match=rf"leaf's \.grad.*got cpu and {gpu}:0"):
        there.sum().backward()
    there.grad = None
    there.sum().backward()
    there.data = there.data.cpu()
    there.grad = None
    there.sum().backward()
    assert there.grad.device.type == "cpu"


def test_from_one_kind_of_device_to_another(gpu, x):
    if (reason := backend.why_not("emulator")) is not None:
        pytest.skip(reason)
    there = x.detach().to(gpu)
    assert there.to("emulator:1").device == minicnn.device("emulator", 1)
    assert there.to("emulator:1").to(gpu).tolist() == x.tolist()
    assert x.detach().type_as(there).device == there.device
    assert (there.get_device(), x.get_device()) == (0, -1)


def test_names_of_devices():
    for name in (-1, "cuda:-1", "cpu:x", None):
        with pytest.raises(RuntimeError, match=r"^device: "):
            minicnn.device(name)
    with pytest.raises(RuntimeError, match="index expects 0 or more, got -1"):
        minicnn.device("emulator", -1)
    with pytest.raises(TypeError, match=r"to: expects a type, or a device \(cpu, .*'gpu'"):
        minicnn.ones(1).to("gpu")
    with pytest.raises(RuntimeError, match="cuda: device expects a GPU, got 'cpu'"):
        minicnn.ones(1).cuda("cpu")
    assert minicnn.device("cuda:1") == "cuda:1"
    assert minicnn.device("cpu") != "mps"  # no device here, and nothing is equal to it


def test_numbers_without_dimensions_go_with_every_device(gpu):
    there = minicnn.ones(2, device=gpu)
    factor = minicnn.tensor(3.0, requires_grad=True)
    y = there * factor + minicnn.tensor(1.0)
    assert y.device.type == gpu
    y.sum().backward()
    assert factor.grad.item() == 2
    assert factor.grad.device.type == "cpu"


def test_numpy_is_for_the_cpu(gpu):
    there = minicnn.ones(2, device=gpu)
    with pytest.raises(TypeError, match=rf"on {gpu}:0; use \.cpu\(\)\.numpy\(\)"):
        there.numpy()
    with pytest.raises(TypeError):
        np.asarray(there)
    assert there.tolist() == [1, 1]
    assert there.sum().item() == 2


def test_copies_and_text(gpu):
    there = minicnn.ones(2, device=gpu)
    assert repr(there) == f"tensor([1., 1.], device='{gpu}:0')"
    assert copy.copy(there).data_ptr() == there.data_ptr()
    twin = copy.deepcopy(there)
    assert twin.device == there.device
    twin.zero_()
    assert there.tolist() == [1, 1]
    there.copy_(minicnn.tensor([5.0, 6.0]))
    assert there.tolist() == [5, 6]
    assert minicnn.zeros(2).copy_(there).tolist() == [5, 6]


def test_every_new_array_is_on_the_device_of_its_inputs():
    if (reason := backend.why_not("emulator")) is not None:
        pytest.skip(reason)
    second = minicnn.device("emulator", 1)
    nn = minicnn.nn
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).to(second)
    x = minicnn.randn(2, 2, 4, 4, device=second)
    nn.functional.cross_entropy(net(x), minicnn.tensor([0, 1], device=second)).backward()
    assert all(p.grad.device == second for p in net.parameters())
    with pytest.raises(RuntimeError, match="got emulator:1 and emulator:0"):
        x + minicnn.ones(2, 2, 4, 4, device="emulator:0")
    with pytest.raises(RuntimeError, match="the emulated devices are 0 to 1"):
        minicnn.zeros(1, device="emulator:2")


def test_the_seed_gives_the_same_numbers_on_each_device(gpu):
    minicnn.manual_seed(3)
    here = minicnn.nn.functional.dropout(minicnn.ones(100))
    there = minicnn.nn.functional.dropout(minicnn.ones(100, device=gpu))
    assert here.tolist() == there.tolist()


def test_other_backends_compute_for_the_device(gpu):
    x = minicnn.randn(1, 1, 4, 4, device=gpu)
    with minicnn.use_backend("reference"):
        y = minicnn.nn.functional.max_pool2d(x, 2)
    assert y.device.type == gpu
    assert y.tolist() == minicnn.nn.functional.max_pool2d(x.cpu(), 2).tolist()
    with minicnn.use_backend(gpu):
        assert minicnn.nn.functional.max_pool2d(x.cpu(), 2).device.type == "cpu"
        scores = minicnn.zeros(1, 2, requires_grad=True)
        minicnn.nn.functional.cross_entropy(scores, minicnn.tensor([1])).backward()
    assert scores.grad.tolist() == [[0.5, -0.5]]


def test_no_gpu():
    if minicnn.cuda.is_available():
        pytest.skip("there is a GPU")
    assert minicnn.cuda.device_count() == minicnn.cuda.memory_allocated() == 0
    with pytest.raises(RuntimeError, match="no GPU can be used") as error:
        minicnn.ones(1).cuda()
    assert minicnn.cuda.why_unavailable() in str(error.value)
    for function in (minicnn.cuda.current_device, minicnn.cuda.get_device_name):
        with pytest.raises(RuntimeError, match="no GPU can be used"):
            function()
    minicnn.cuda.synchronize()
    minicnn.cuda.manual_seed(1)
    minicnn.cuda.empty_cache()
    assert not minicnn.accelerator.is_available()
    assert minicnn.accelerator.current_accelerator() is None

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
    ):
        with pytest.raises(RuntimeError, match=f"expects all tensors on one device.*{gpu}:0"):
            op()


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

"""A device's tensors as Python objects, in gradcheck, in anomaly mode; and what indexes them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minicnn
from minicnn import backend


def on(device, *values, **options):
    return minicnn.tensor(*values, device=device, **options)


def test_copies_stay_on_their_device_and_pickles_come_home(gpu):
    x = on(gpu, [1.0, 2.0], requires_grad=True)
    stays, comes = copy.deepcopy(x), pickle.loads(pickle.dumps(x))
    assert stays.device == x.device
    assert comes.device.type == "cpu"  # a machine without the device can read it
    for twin in (stays, comes):
        assert twin.requires_grad
        assert twin.tolist() == [1, 2]
        assert twin.data_ptr() != x.data_ptr()


def test_a_second_device():
    if (reason := backend.why_not("emulator")) is not None:
        pytest.skip(reason)
    x = on("emulator:1", [1.0, 2.0])
    assert str(copy.deepcopy(x).device) == "emulator:1"
    assert 2.0 in x
    assert str(minicnn.isnan(x).device) == "emulator:1"


def test_contains_iteration_length_numbers(gpu):
    x = on(gpu, [[1.0, 2.0], [3.0, 4.0]])
    assert 3 in x
    assert minicnn.tensor(3.0) in x
    assert on(gpu, 3.0) in x
    assert 5 not in x
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert all(row.device == x.device for row in x)
    assert len(x) == 2
    assert (float(x[1, 1]), int(x[1, 1]), bool(x[0, 0])) == (4, 4, True)
    assert f"{x.sum():.1f}" == "10.0"
    assert [10, 20, 30][on(gpu, 2)] == 30
    assert "device='" in repr(x[0, 0])


def test_numpy_s_functions_on_tensors_of_a_device(gpu):
    x = on(gpu, [1.0, 2.0])
    with pytest.raises(TypeError, match=r"use \.cpu\(\)\.numpy\(\)"):
        np.exp(x)
    assert (x.array * x).tolist() == [1, 4]
    assert (x * x.array).device == x.device


@pytest.mark.parametrize("there", ["cpu", "gpu"])
def test_indices_of_the_cpu_index_every_tensor(gpu, there):
    k = on(gpu if there == "gpu" else "cpu", [2, 0, 2])
    x = on(gpu, [5.0, 6.0, 7.0], requires_grad=True)
    here = minicnn.tensor([5.0, 6.0, 7.0], requires_grad=True)
    c = k.cpu()
    for a, b in [
        (x[k], here[c]),
        (x[k > 0], here[c > 0]),
        (x.gather(0, k), here.gather(0, c)),
        (x.take(k), here.take(c)),
        (x.index_select(0, k), here.index_select(0, c)),
        (x.index_add(0, k, x), here.index_add(0, c, here)),
        (x.masked_select(k > 0), here.masked_select(c > 0)),
    ]:
        assert a.device == x.device
        assert a.tolist() == b.tolist()
        a.sum().backward()
        b.sum().backward()
    assert x.grad.tolist() == here.grad.tolist()
    assert x[[0, 2]].tolist() == [5, 7]
    assert x.detach()[np.array([0, 2])].tolist() == [5, 7]


def test_assignment_moves_the_value(gpu):
    x = on(gpu, np.zeros((2, 3)))
    x[0] = minicnn.tensor([1.0, 2.0, 3.0])
    x[1, [0, 2]] = 7
    x[:, 1] = np.array([8.0, 9.0])
    assert x.tolist() == [[1, 8, 3], [7, 9, 7]]
    assert x.device.type == gpu


def test_an_index_that_is_outside_is_found_on_the_device(gpu):
    x = on(gpu, [5.0, 6.0, 7.0])
    for k in ([0, 3], [-4, 0]):
        with pytest.raises(IndexError, match=r"size 3.*the tensor has shape \(3,\)"):
            x[on(gpu, k)]
        with pytest.raises(IndexError):
            x[on(gpu, k)] = 1.0
    assert x.tolist() == [5, 6, 7]
    with pytest.raises(RuntimeError, match="index expects a tensor on the CPU, got"):
        x.cpu()[on(gpu, [0, 1])]


def test_repeated_places_add_up_in_the_same_order_each_time(gpu):
    rng = np.random.default_rng(0)
    k, g = rng.integers(0, 7, 1000), rng.standard_normal((1000, 3)).astype(np.float32)

    def add(device):
        y = minicnn.zeros(9, 3, device=device)
        return y.index_add(0, on(device, k), on(device, g)).cpu().numpy()

    found = add(gpu)
    np.testing.assert_array_equal(found, add(gpu))
    exact = np.zeros((9, 3))
    np.add.at(exact, k, g.astype(np.float64))
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


def test_anomaly_mode_names_the_op_on_the_device(gpu):
    x = on(gpu, [1.0, -1.0], requires_grad=True)
    with (
        minicnn.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match=r"Log: the forward made nan at index \(1,\)"),
    ):
        x.log()


def test_gradcheck_on_the_device(gpu):
    x = on(gpu, np.random.default_rng(0).standard_normal((2, 3)), requires_grad=True)
    w = on(gpu, np.ones(3))  # is not differentiated, and stays where it is
    assert minicnn.autograd.gradcheck(lambda x: (x * w).exp(), x)
    assert minicnn.autograd.gradgradcheck(lambda x: (x * w).exp(), x)
    places = set()

    class Wrong(minicnn.autograd.Function):
        def forward(self, x):
            places.add(backend.place(x)[0])
            return x * 2

        def backward(self, grad_y):
            return grad_y * 3

    with pytest.raises(minicnn.autograd.GradcheckError, match="wrong backward"):
        minicnn.autograd.gradcheck(Wrong.apply, x)
    assert places == {gpu}


def test_functions_in_pytorch_s_form(gpu):
    class Double(minicnn.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, grad_y, grad_z):
            (x,) = ctx.saved_tensors
            assert x.device == grad_y.device == grad_z.device
            return grad_y * 2 + grad_z * 3

    x = on(gpu, [1.0, 2.0], requires_grad=True)
    Double.apply(x)[1].sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_random_numbers_come_from_the_device_s_generator(gpu):
    minicnn.manual_seed(4)
    here = minicnn.rand(3), minicnn.zeros(3).normal_()
    there = minicnn.rand(3, device=gpu), minicnn.zeros(3, device=gpu).normal_()
    for a, b in zip(here, there, strict=True):
        assert a.tolist() == b.tolist()
    own = minicnn.Generator(gpu).manual_seed(1)
    cpu = minicnn.Generator().manual_seed(1)
    assert (
        minicnn.rand(3, device=gpu, generator=own).tolist()
        == minicnn.rand(3, device=gpu, generator=cpu).tolist()
    )
    with pytest.raises(RuntimeError, match=f"generator expects one of the CPU, got one of {gpu}:0"):
        minicnn.rand(3, generator=own)

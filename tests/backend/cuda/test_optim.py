"""Multi-tensor optimizer kernels against minicnn.optim."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.backend.cuda.optim import MultiTensor
from minicnn.optim import SGD, Adam, AdamW

SHAPES = [(3, 4), (1,), (0, 2), (70, 61), (5,)]  # one of two chunks


def of(device, arrays):
    return [device.asarray(a.copy()) for a in arrays]


def back(x):
    return np.asarray(x.get() if hasattr(x, "get") else x).view(np.ndarray)


def steps(optimizer, arrays, gradients, **options):
    """The arrays after the optimizer of minicnn.optim has had the gradients."""
    params = [minicnn.tensor(a.copy(), requires_grad=True) for a in arrays]
    method = optimizer(params, **options)
    for grads in gradients:
        for p, g in zip(params, grads, strict=True):
            p.grad = minicnn.tensor(g)
        method.step()
    return [p.detach().numpy() for p in params]


@pytest.fixture
def arrays(normal):
    return [normal(s) for s in SHAPES], [[normal(s) for s in SHAPES] for _ in range(3)]


def assert_close(found, wanted):
    for x, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(back(x), want, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True},
    ],
)
def test_sgd(device, arrays, options):
    start, gradients = arrays
    params = of(device, start)
    velocities = [device.empty(p.shape, p.dtype) for p in params]  # set by the first step
    method = MultiTensor(params, momenta=velocities)
    for i, grads in enumerate(gradients):
        method.sgd(of(device, grads), first=i == 0, **options)
    assert_close(params, steps(SGD, start, gradients, **options))


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("optimizer", [Adam, AdamW])
def test_adam(device, arrays, optimizer, amsgrad):
    start, gradients = arrays
    params = of(device, start)
    names = ["momenta", "squares", "largest"][: 3 if amsgrad else 2]
    states = {name: [device.zeros(p.shape, p.dtype) for p in params] for name in names}
    method = MultiTensor(params, **states)
    options = {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1}
    for i, grads in enumerate(gradients):
        method.adam(of(device, grads), step=i + 1, decoupled=optimizer is AdamW, **options)
    assert_close(params, steps(optimizer, start, gradients, amsgrad=amsgrad, **options))


@pytest.mark.parametrize("max_norm", [0.5, 1e4])
def test_clipping_by_norm(device, arrays, max_norm):
    start, [grads, *_] = arrays
    params, there = of(device, start), of(device, grads)
    method = MultiTensor(params)
    norm, clip = method.clip_coefficient(there, max_norm)
    exact = np.sqrt(sum((g.astype(float) ** 2).sum() for g in grads))
    np.testing.assert_allclose(back(norm), [exact], rtol=1e-6)
    np.testing.assert_allclose(back(clip), [min(1, max_norm / (exact + 1e-6))], rtol=1e-6)
    scaled = [g * back(clip) for g in grads]
    copies = of(device, grads)
    MultiTensor(copies).scale(clip)
    assert_close(copies, scaled)
    method.sgd(there, lr=1, clip=clip)
    assert_close(params, [p - g for p, g in zip(start, scaled, strict=True)])


def test_arrays_that_do_not_go_together(device):
    params = [device.zeros((2, 3), np.float32)]
    with pytest.raises(ValueError, match=r"momenta\[0\] expects shape"):
        MultiTensor(params, momenta=[device.zeros((3, 2), np.float32)])
    with pytest.raises(TypeError, match=r"grads\[0\] expects float32, got float64"):
        MultiTensor(params).sgd([device.zeros((2, 3), np.float64)], lr=1)
    with pytest.raises(ValueError, match="grads expects 1 arrays, got 0"):
        MultiTensor(params).sgd([], lr=1)

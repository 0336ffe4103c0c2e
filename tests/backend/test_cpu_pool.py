"""Pooling on the CPU: threads, memory orders, and the winners that are kept as taps."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F
from minicnn.backend import cpu, reference
from minicnn.backend.cpu import threads, windows
from minicnn.backend.geometry import PoolGeometry

WINDOWS = [(2, 2, 0), (3, 2, 0), (3, 2, 1), ((1, 3), 3, 0), (3, 3, 0)]  # kernel, stride, padding


@pytest.mark.parametrize("order", ["NCHW", "NHWC", "CHWN", "gaps"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_same_bits_with_any_number_of_threads(laid_out, window, order, monkeypatch):
    monkeypatch.setattr(windows, "_SLAB", 200)
    rng = np.random.default_rng(0)
    x = laid_out(rng.standard_normal((5, 6, 13, 11)).astype(np.float32), order)
    g = PoolGeometry.of(x.shape, *window)
    grad_y = rng.standard_normal((5, 6, *g.out_size)).astype(np.float32)
    found = []
    for number in (1, 2, 3):
        monkeypatch.setattr(threads, "_count", number)
        y, taps = cpu.max_pool_forward(x, g, positions=False)
        grad_x = cpu.max_pool_backward(grad_y, taps, x.shape, g)
        average = cpu.avg_pool_forward(x, g), cpu.avg_pool_backward(grad_y, x.shape, g)
        found.append((y, taps, grad_x, *average))
    for first, *others in zip(*found, strict=True):
        assert all(np.array_equal(first, other) for other in others)
    y, indices = reference.max_pool_forward(x, g)
    assert np.array_equal(found[0][0], y)
    wanted = reference.max_pool_backward(grad_y, indices, x.shape)
    assert np.allclose(found[0][2], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_who_wins_nothing_gets_a_plain_zero(window):
    """Whatever the gradient: no -0 of a negative one, no NaN of an infinite one."""
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 9)).astype(np.float32)
    g = PoolGeometry.of(x.shape, *window)
    y, taps = cpu.max_pool_forward(x, g, positions=False)
    for value in (-1, -np.inf, np.nan):
        grad_x = cpu.max_pool_backward(np.full_like(y, value), taps, x.shape, g)
        losers = grad_x == 0
        assert losers.any() and not np.signbit(grad_x[losers]).any()
        assert len(np.unique(np.nonzero(~losers)[0])) == 2
        assert (~losers).sum() <= y.size


def test_a_kernel_of_more_taps_than_a_byte_counts():
    x = np.random.default_rng(0).standard_normal((1, 2, 20, 20))
    g = PoolGeometry.of(x.shape, 17, 1)
    y, indices = cpu.max_pool_forward(x, g, positions=False)
    assert indices.dtype == np.int64
    assert np.array_equal(indices, reference.max_pool_forward(x, g)[1])
    grad_x = cpu.max_pool_backward(np.ones_like(y), indices, x.shape, g)
    assert grad_x.sum() == y.size


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_backward_may_run_in_another_backend(window):
    x = minicnn.tensor(np.random.default_rng(0).standard_normal((2, 3, 9, 9)), requires_grad=True)
    grads = []
    for name in ("cpu", "reference"):
        y = F.max_pool2d(x, *window)
        with minicnn.use_backend(name):
            [grad_x] = minicnn.autograd.grad(y.sum(), x)
        grads.append(grad_x.numpy())
    assert np.array_equal(*grads)
    assert grads[0].sum() == y.numel()

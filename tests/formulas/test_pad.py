"""The numbered formulas of functional/pad.py, evaluated as they stand there."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.nn import functional as F

WIDTHS = [(0, 0), (2, 1), (0, 3), (3, 3), (-1, 2), (2, -2), (-1, -1)]
N = 4


def s_reflect(j, lo, n):
    """(4)"""
    return abs(j - lo) if j - lo < n else 2 * (n - 1) - (j - lo)


def s_replicate(j, lo, n):
    """(5)"""
    return min(max(j - lo, 0), n - 1)


def s_circular(j, lo, n):
    """(6)"""
    return (j - lo) % n


FORMULAS = {"reflect": s_reflect, "replicate": s_replicate, "circular": s_circular}


def run(x, widths, mode, value=None):
    """y, grad_y and grad_x."""
    t = minicnn.tensor(x, requires_grad=True)
    y = F.pad(t, widths, mode, value)
    grad_y = np.random.default_rng(1).standard_normal(tuple(y.shape))
    y.backward(minicnn.tensor(grad_y))
    return y.detach().numpy(), grad_y, t.grad.numpy()


def by_copies(mode, lo, hi, x, grad_y):
    """(3) and (7)."""
    n, length = x.shape[-1], lo + x.shape[-1] + hi
    y, grad_x = np.empty((*x.shape[:-1], length)), np.zeros(x.shape)
    for j in range(length):
        i = FORMULAS[mode](j, lo, n)
        if 0 <= j - lo < n:
            assert i == j - lo  # inside, all of them are the identity
        y[..., j] = x[..., i]
        grad_x[..., i] += grad_y[..., j]
    return y, grad_x


@pytest.mark.parametrize("lo, hi", WIDTHS)
@pytest.mark.parametrize("value", [0, 1.5])
def test_1_and_2_constant(lo, hi, value):
    x = np.random.default_rng(0).standard_normal((2, 3, N))
    y, grad_y, grad_x = run(x, (lo, hi), "constant", value)
    for b, c in np.ndindex(2, 3):
        for j in range(lo + N + hi):
            assert y[b, c, j] == (x[b, c, j - lo] if 0 <= j - lo < N else value)
        for i in range(N):
            inside = 0 <= i + lo < lo + N + hi  # what was cut away has no gradient
            assert grad_x[b, c, i] == (grad_y[b, c, i + lo] if inside else 0)


@pytest.mark.parametrize("lo, hi", WIDTHS)
@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_3_4_5_and_7_reflect_and_replicate(mode, lo, hi):
    x = np.random.default_rng(0).standard_normal((2, 3, N))
    y, grad_y, grad_x = run(x, (lo, hi), mode)
    wanted_y, wanted = by_copies(mode, lo, hi, x, grad_y)
    assert np.array_equal(y, wanted_y)
    np.testing.assert_allclose(grad_x, wanted, atol=1e-14)


@pytest.mark.parametrize("lo, hi", WIDTHS)
def test_3_6_and_7_circular(lo, hi):
    """Negative widths cut first."""
    x = np.random.default_rng(0).standard_normal((2, 3, N))
    first, last = max(-lo, 0), N - max(-hi, 0)
    lo, hi = min(max(lo, 0), last - first), min(max(hi, 0), last - first)
    widths = (lo or -first, hi or last - N)
    y, grad_y, grad_x = run(x, widths, "circular")
    wanted_y, wanted = by_copies("circular", lo, hi, x[..., first:last], grad_y)
    assert np.array_equal(y, wanted_y)
    np.testing.assert_allclose(grad_x[..., first:last], wanted, atol=1e-14)
    assert not grad_x[..., :first].any() and not grad_x[..., last:].any()


@pytest.mark.parametrize("mode", FORMULAS)
def test_3_and_7_images_are_one_axis_after_the_other(mode):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    y, grad_y, grad_x = run(x, (1, 3, 2, 1), mode)
    s, wanted = FORMULAS[mode], np.zeros(x.shape)
    for i, j in np.ndindex(7, 9):
        h, k = s(i, 2, 4), s(j, 1, 5)
        assert np.array_equal(y[:, :, i, j], x[:, :, h, k])
        wanted[:, :, h, k] += grad_y[:, :, i, j]
    np.testing.assert_allclose(grad_x, wanted, atol=1e-14)


def test_by_hand():
    wanted = {
        "constant": ([0, 0, 1, 2, 3, 0], [3, 4, 5]),
        "reflect": ([3, 2, 1, 2, 3, 2], [3, 12, 6]),
        "replicate": ([1, 1, 1, 2, 3, 3], [6, 4, 11]),
        "circular": ([2, 3, 1, 2, 3, 1], [9, 5, 7]),
    }
    for mode, (y, grad_x) in wanted.items():
        t = minicnn.tensor(np.array([[1.0, 2, 3]]), requires_grad=True)
        out = F.pad(t, (2, 1), mode)
        out.backward(minicnn.tensor(np.arange(1.0, 7)[None]))
        assert out[0].tolist() == y and t.grad[0].tolist() == grad_x
    t = minicnn.tensor(np.arange(1.0, 10).reshape(1, 1, 3, 3), requires_grad=True)
    y = F.pad(t, (1, 1, 1, 1), "reflect")
    y.backward(minicnn.ones_like(y))
    corners = y.detach().numpy()[0, 0, ::4, ::4]
    assert corners.tolist() == [[5, 5], [5, 5]]
    assert t.grad[0, 0].tolist() == [[1, 3, 1], [3, 9, 3], [1, 3, 1]]

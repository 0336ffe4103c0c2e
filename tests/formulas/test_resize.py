"""The numbered formulas of functional/resize.py, evaluated as they stand there."""

from __future__ import annotations

from math import ceil, floor, pi, sin

import numpy as np
import pytest

import minicnn
from minicnn.functional.resize import resize_taps
from minicnn.nn import functional as F

SIZES = [(n, m) for n in (1, 2, 3, 5, 8) for m in (1, 2, 3, 4, 7, 11)]
ALIGN = [False, True]


def matrix(kind, n, m, align_corners=False, antialias=False, scale_factor=None):
    """A as the code has it, dense."""
    dtype = np.dtype(np.float64)
    taps = resize_taps(kind, n, m, scale_factor, align_corners, antialias, dtype)
    dense = np.zeros((m, n))
    dense[taps.rows, taps.columns] = 1 if taps.weights is None else taps.weights
    return dense


def formula(entry, n, m):
    return np.array([[entry(j, i) for i in range(n)] for j in range(m)], float)


def step(n, m, align_corners=False):
    """(5)"""
    if align_corners:
        return (n - 1) / (m - 1) if m > 1 else 0.0
    return n / m


def position(j, n, m, align_corners=False):
    """(6)"""
    s = step(n, m, align_corners)
    return j * s if align_corners else (j + 1 / 2) * s - 1 / 2


def K(t, a):
    """(10)"""
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def gradients(x, size, mode, **options):
    """y, grad_y and grad_x of one call."""
    t = minicnn.tensor(x, requires_grad=True)
    y = F.interpolate(t, size=size, mode=mode, **options)
    grad_y = np.random.default_rng(9).standard_normal(tuple(y.shape))
    y.backward(minicnn.tensor(grad_y))
    return y.detach().numpy(), grad_y, t.grad.numpy()


LINES = [("nearest", "nearest"), ("nearest-exact", "nearest-exact"), ("linear", "linear")]


@pytest.mark.parametrize("mode, kind", [*LINES, ("area", "area")])
@pytest.mark.parametrize("n, m", [(3, 5), (5, 3), (4, 1), (1, 4)])
def test_1_and_2_one_axis(mode, kind, n, m):
    x = np.random.default_rng(0).standard_normal((2, 3, n))
    y, grad_y, grad_x = gradients(x, m, mode)
    A = matrix(kind, n, m)
    for b, c in np.ndindex(2, 3):
        for j in range(m):
            wanted = sum(A[j, i] * x[b, c, i] for i in range(n))
            assert y[b, c, j] == pytest.approx(wanted, rel=1e-12, abs=1e-14)
        for i in range(n):
            wanted = sum(A[j, i] * grad_y[b, c, j] for j in range(m))
            assert grad_x[b, c, i] == pytest.approx(wanted, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("mode, kind", [("bilinear", "linear"), ("bicubic", "cubic"), LINES[0]])
def test_3_and_4_images(mode, kind):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 7))
    y, grad_y, grad_x = gradients(x, (6, 3), mode)
    A_H, A_W = matrix(kind, 4, 6), matrix(kind, 7, 3)
    np.testing.assert_allclose(y, np.einsum("ih,jk,nchk->ncij", A_H, A_W, x), atol=1e-12)
    wanted = np.einsum("ih,jk,ncij->nchk", A_H, A_W, grad_y)
    np.testing.assert_allclose(grad_x, wanted, atol=1e-12)
    np.testing.assert_allclose(y, A_H @ x @ A_W.T, atol=1e-12)
    np.testing.assert_allclose(grad_x, A_H.T @ grad_y @ A_W, atol=1e-12)


@pytest.mark.parametrize("align_corners", ALIGN)
@pytest.mark.parametrize("n, m", SIZES)
def test_5_and_6_positions(n, m, align_corners):
    """Linear interpolation of x[i] = i shows the position, within the image."""
    y = matrix("linear", n, m, align_corners) @ np.arange(n)
    wanted = [min(max(position(j, n, m, align_corners), 0), n - 1) for j in range(m)]
    np.testing.assert_allclose(y, wanted, atol=1e-13)


@pytest.mark.parametrize("recompute", [False, True])
def test_5_with_a_scale_factor(recompute):
    x = np.arange(7.0).reshape(1, 1, 7)
    y = F.interpolate(x, scale_factor=1.5, mode="linear", recompute_scale_factor=recompute)
    m = floor(7 * 1.5)
    s = 7 / m if recompute else 1 / 1.5
    wanted = [min(max((j + 1 / 2) * s - 1 / 2, 0), 6) for j in range(m)]
    np.testing.assert_allclose(y[0, 0], wanted, atol=1e-13)


@pytest.mark.parametrize("n, m", SIZES)
def test_7_nearest(n, m):
    s = step(n, m)
    wanted = formula(lambda j, i: i == min(floor(j * s), n - 1), n, m)
    assert np.array_equal(matrix("nearest", n, m), wanted)


@pytest.mark.parametrize("n, m", SIZES)
def test_8_nearest_exact(n, m):
    s = step(n, m)
    wanted = formula(lambda j, i: i == min(floor((j + 1 / 2) * s), n - 1), n, m)
    assert np.array_equal(matrix("nearest-exact", n, m), wanted)


@pytest.mark.parametrize("align_corners", ALIGN)
@pytest.mark.parametrize("n, m", SIZES)
def test_9_linear(n, m, align_corners):
    def entry(j, i):
        v = min(max(position(j, n, m, align_corners), 0), n - 1)
        return max(0, 1 - abs(v - i))

    np.testing.assert_allclose(
        matrix("linear", n, m, align_corners), formula(entry, n, m), atol=1e-13
    )


@pytest.mark.parametrize("a", [-0.75, -0.5])
def test_10_keys_kernel(a):
    from minicnn.functional.resize import _keys

    t = np.linspace(-2.5, 2.5, 101)
    np.testing.assert_allclose(_keys(t, a), [K(v, a) for v in t], atol=1e-14)
    assert [K(v, a) for v in (-2, -1, 0, 1, 2)] == [0, 0, 1, 0, 0]
    for kink in (1, 2):  # the slope is the same from both sides
        slopes = [(K(kink + h, a) - K(kink, a)) / h for h in (-1e-6, 1e-6)]
        assert slopes[0] == pytest.approx(slopes[1], abs=1e-5)


@pytest.mark.parametrize("align_corners", ALIGN)
@pytest.mark.parametrize("n, m", SIZES)
def test_11_cubic(n, m, align_corners):
    def entry(j, i):
        u = position(j, n, m, align_corners)
        q = [q for q in (-1, 0, 1, 2) if min(max(floor(u) + q, 0), n - 1) == i]
        return sum(K(u - floor(u) - k, -3 / 4) for k in q)

    np.testing.assert_allclose(
        matrix("cubic", n, m, align_corners), formula(entry, n, m), atol=1e-12
    )


@pytest.mark.parametrize("n, m", SIZES)
def test_12_area(n, m):
    def entry(j, i):
        a, b = floor(j * n / m), ceil((j + 1) * n / m)
        return 1 / (b - a) if a <= i < b else 0

    np.testing.assert_allclose(matrix("area", n, m), formula(entry, n, m), atol=1e-14)
    x = np.random.default_rng(0).standard_normal((2, 1, n, n))
    y = F.interpolate(x, (m, m), mode="area")
    np.testing.assert_allclose(y, F.adaptive_avg_pool2d(x, (m, m)), atol=1e-13)


@pytest.mark.parametrize("align_corners", ALIGN)
@pytest.mark.parametrize("kind", ["linear", "cubic", "lanczos"])
@pytest.mark.parametrize("n, m", SIZES)
def test_13_antialias(kind, n, m, align_corners):
    s = step(n, m, align_corners)
    r = max(1, s)

    def sinc(t):
        return sin(pi * t) / (pi * t) if t else 1.0

    def k(j, i):
        t = (i + 1 / 2 - (j + 1 / 2) * s) / r
        if kind == "lanczos":
            return sinc(t) * sinc(t / 3) if abs(t) < 3 else 0.0
        return max(0, 1 - abs(t)) if kind == "linear" else K(t, -1 / 2)

    wanted = formula(lambda j, i: k(j, i) / sum(k(j, h) for h in range(n)), n, m)
    np.testing.assert_allclose(matrix(kind, n, m, align_corners, True), wanted, atol=1e-12)


def test_by_hand():
    x, grad_y = np.array([[[0.0, 4, 8]]]), np.arange(1.0, 7).reshape(1, 1, 6)
    wanted = {
        "nearest": ([0, 0, 4, 4, 8, 8], [3, 7, 11]),
        "linear": ([0, 1, 3, 5, 7, 8], [13 / 4, 7, 43 / 4]),
    }
    for mode, (y, grad_x) in wanted.items():
        t = minicnn.tensor(x, requires_grad=True)
        out = F.interpolate(t, 6, mode=mode)
        out.backward(minicnn.tensor(grad_y))
        assert out[0, 0].tolist() == y and t.grad[0, 0].tolist() == grad_x
    assert [position(j, 3, 6) for j in range(6)] == [-1 / 4, 1 / 4, 3 / 4, 5 / 4, 7 / 4, 9 / 4]
    image = np.array([[0.0, 4, 8], [4, 8, 12], [8, 12, 16]]).reshape(1, 1, 3, 3)
    r = np.array([0.0, 1, 3, 5, 7, 8])
    y = F.interpolate(image, (6, 6), mode="bilinear")
    assert np.array_equal(y[0, 0], r[:, None] + r)
    assert np.array_equal(F.interpolate(image, scale_factor=2, mode="bilinear"), y)

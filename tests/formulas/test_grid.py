"""The numbered formulas of functional/grid.py, evaluated as they stand there."""

from __future__ import annotations

from math import floor

import numpy as np
import pytest

import minicnn
from minicnn.nn import functional as F

ALIGN = [False, True]
PADDINGS = ["zeros", "border", "reflection"]
rng = np.random.default_rng(12)


def u_of(g, S, align):
    """(1)"""
    return (g + 1) * (S - 1) / 2 if align else ((g + 1) * S - 1) / 2


def v_of(u, S, padding, align):
    """(2) and (3)"""
    if padding == "zeros":
        return u
    if padding == "border":
        return min(max(u, 0), S - 1)
    e, L = (0, S - 1) if align else (-1 / 2, S)
    if L == 0:
        return 0
    t = abs(u - e) % (2 * L)
    return min(max(e + min(t, 2 * L - t), 0), S - 1)


def slope_of(u, S, padding, align):
    """(4)"""
    if padding == "zeros":
        return 1
    v = v_of(u, S, padding, align)
    if v in (0, S - 1):
        return 0
    if padding == "border":
        return 1
    e, L = (0, S - 1) if align else (-1 / 2, S)
    sign = 1 if u > e else -1
    return -sign if abs(u - e) % (2 * L) > L else sign


def linear(t):
    """(6)"""
    return max(0, 1 - abs(t))


def nearest(v, h):
    """(7)"""
    return 1 if h == np.rint(v) else 0


def K(t, a=-3 / 4):
    """(10) of resize.py"""
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0


def shares(g, S, mode, padding, align):
    """f(v - h) for h = 0 .. S-1."""
    u = u_of(g, S, align)
    v = v_of(u, S, padding, align)
    if mode == "bilinear":
        return [linear(v - h) for h in range(S)]
    if mode == "nearest":
        return [nearest(v, h) for h in range(S)]
    f = [0.0] * S
    for q in range(floor(u) - 1, floor(u) + 3):  # (8)
        h = v_of(q, S, padding, align)
        if 0 <= h < S:
            f[int(h)] += K(u - q)
    return f


def drawn():
    """Images, places within and beyond them, and the gradient of what is read."""
    x, g = rng.standard_normal((2, 3, 4, 5)), rng.uniform(-3, 3, (2, 3, 2, 2))
    return x, g, rng.standard_normal((2, 3, 3, 2))


def run(x, g, grad_y, **options):
    a, b = minicnn.tensor(x, requires_grad=True), minicnn.tensor(g, requires_grad=True)
    y = F.grid_sample(a, b, **options)
    y.backward(minicnn.tensor(grad_y))
    return y.detach().numpy(), a.grad.numpy(), b.grad.numpy()


@pytest.mark.parametrize("align", ALIGN)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_1_and_2_and_3_and_5_and_6_and_7_and_8_and_9(mode, padding, align):
    x, g, grad_y = drawn()
    got, grad_x, _ = run(x, g, grad_y, mode=mode, padding_mode=padding, align_corners=align)
    y, wanted = np.zeros_like(got), np.zeros_like(x)
    for n, a, b in np.ndindex(2, 3, 2):
        fx = shares(g[n, a, b, 0], 5, mode, padding, align)
        fy = shares(g[n, a, b, 1], 4, mode, padding, align)
        for c, h, k in np.ndindex(3, 4, 5):
            y[n, c, a, b] += fy[h] * fx[k] * x[n, c, h, k]
            wanted[n, c, h, k] += fy[h] * fx[k] * grad_y[n, c, a, b]
    np.testing.assert_allclose(got, y, atol=1e-13)
    np.testing.assert_allclose(grad_x, wanted, atol=1e-13)


def slopes(g, S, mode, padding, align):
    """f'(v - h) du/dg dv/du for h = 0 .. S-1."""
    u = u_of(g, S, align)
    du = (S - 1) / 2 if align else S / 2
    if mode == "nearest":
        return [0.0] * S
    if mode == "bilinear":
        v = v_of(u, S, padding, align)
        left = floor(v)
        each = [(h == left + 1) - 1.0 * (h == left) for h in range(S)]
        return [slope_of(u, S, padding, align) * du * f for f in each]
    f, step = [0.0] * S, 1e-5
    for q in range(floor(u) - 1, floor(u) + 3):
        h = v_of(q, S, padding, align)
        if 0 <= h < S:
            f[int(h)] += du * (K(u - q + step) - K(u - q - step)) / (2 * step)
    return f


@pytest.mark.parametrize("align", ALIGN)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_4_and_10(mode, padding, align):
    x, g, grad_y = drawn()
    _, _, got = run(x, g, grad_y, mode=mode, padding_mode=padding, align_corners=align)
    wanted = np.zeros_like(g)
    for n, a, b in np.ndindex(2, 3, 2):
        gx, gy = g[n, a, b]
        fx, fy = shares(gx, 5, mode, padding, align), shares(gy, 4, mode, padding, align)
        dx, dy = slopes(gx, 5, mode, padding, align), slopes(gy, 4, mode, padding, align)
        for c, h, k in np.ndindex(3, 4, 5):
            wanted[n, a, b, 0] += fy[h] * dx[k] * x[n, c, h, k] * grad_y[n, c, a, b]
            wanted[n, a, b, 1] += dy[h] * fx[k] * x[n, c, h, k] * grad_y[n, c, a, b]
    np.testing.assert_allclose(got, wanted, atol=1e-8)


@pytest.mark.parametrize("align", ALIGN)
def test_11_affine_grids(align):
    for sizes in ((3, 5), (1, 4), (2, 3, 4)):
        d = len(sizes)
        theta = rng.standard_normal((2, d, d + 1))
        got = F.affine_grid(minicnn.tensor(theta), (2, 7, *sizes), align).numpy()
        assert got.shape == (2, *sizes, d)

        def p(j, S):
            if align:
                return 2 * j / (S - 1) - 1 if S > 1 else 0
            return (2 * j + 1) / S - 1

        for n, *place in np.ndindex(2, *sizes):
            point = [p(j, S) for j, S in zip(place[::-1], sizes[::-1], strict=True)]
            np.testing.assert_allclose(got[(n, *place)], theta[n] @ [*point, 1], atol=1e-14)


@pytest.mark.parametrize("align", ALIGN)
@pytest.mark.parametrize("sizes", [(4, 5), (2, 3, 4), (1, 1)])
def test_the_identity_reads_the_image_as_it_is(sizes, align):
    x = rng.standard_normal((2, 3, *sizes))
    d = len(sizes)
    theta = minicnn.tensor(np.broadcast_to(np.eye(d, d + 1), (2, d, d + 1)).copy())
    grid = F.affine_grid(theta, x.shape, align)
    modes = ["bilinear", "nearest"] if d == 3 else ["bilinear", "nearest", "bicubic"]
    for mode in modes:
        y = F.grid_sample(minicnn.tensor(x), grid, mode, align_corners=align)
        np.testing.assert_allclose(y.numpy(), x, atol=1e-13)


@pytest.mark.parametrize("padding", ["border", "reflection"])
def test_4_at_the_outer_pixels_v_stands_still(padding):
    x = np.arange(12.0).reshape(1, 1, 3, 4) ** 2
    g = np.array([[[[-1.0, 0.3], [1.0, 0.3], [0.3, -1.0], [0.3, 1.0]]]])
    _, _, got = run(x, g, np.ones((1, 1, 1, 4)), padding_mode=padding, align_corners=True)
    assert (got[0, 0, [0, 1, 2, 3], [0, 0, 1, 1]] == 0).all()
    assert (got[0, 0, [0, 1, 2, 3], [1, 1, 0, 0]] != 0).all()


def test_7_ties_go_to_the_even_pixel():
    x = np.arange(5.0).reshape(1, 1, 1, 5)
    u = np.array([0.5, 1.5, 2.5, 3.5])
    g = np.stack([2 * u / 4 - 1, np.zeros(4)], axis=-1).reshape(1, 1, 4, 2)
    y, _, _ = run(x, g, np.ones((1, 1, 1, 4)), mode="nearest", align_corners=True)
    assert y.ravel().tolist() == [0, 2, 2, 4]


def test_by_hand():
    x, g = np.array([[[[0.0, 4, 8]]]]), np.array([[[[0.5, 0.0]]]])
    y, grad_x, grad_g = run(x, g, np.ones((1, 1, 1, 1)))
    assert (y.item(), grad_x.ravel().tolist(), grad_g.ravel()[0]) == (7, [0, 0.25, 0.75], 6)


def test_places_that_are_not_finite_read_nothing_outside():
    x = np.ones((1, 1, 3, 3))
    g = np.array([[[[np.inf, 0], [0, -np.inf], [np.nan, 0], [0, 0]]]])
    for mode in ("bilinear", "nearest"):
        y, grad_x, _ = run(x, g, np.ones((1, 1, 1, 4)), mode=mode)
        assert y.ravel().tolist() == [0, 0, 0, 1] and grad_x.sum() == 1
    y, _, grad_g = run(x, g, np.ones((1, 1, 1, 4)), padding_mode="border")
    assert y.ravel().tolist() == [1, 1, 1, 1] and np.isfinite(grad_g).all()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x, g: F.grid_sample(x, g, "cubic"), ValueError, "mode expects one of"),
        (lambda x, g: F.grid_sample(x, g, padding_mode=0), ValueError, "padding_mode expects one"),
        (lambda x, g: F.grid_sample(x, g[..., :1]), RuntimeError, r"got \(1, 2, 3, 3\) and"),
        (lambda x, g: F.grid_sample(x[0], g), RuntimeError, "expects input"),
        (lambda x, g: F.grid_sample(minicnn.cat([x, x]), g), RuntimeError, "one grid for each"),
        (lambda x, g: F.grid_sample(x[:, :, :0], g), RuntimeError, "inputs with pixels"),
        (lambda x, g: F.grid_sample(x.double(), g), RuntimeError, "one dtype"),
        (lambda x, g: F.grid_sample(x.long(), g.long()), TypeError, "floating"),
        (
            lambda x, g: F.grid_sample(x[None], minicnn.zeros(1, 1, 1, 1, 3), "bicubic"),
            ValueError,
            "bicubic",
        ),
        (lambda x, g: F.affine_grid(g[0, :2, :3], (1, 1, 2, 2)), RuntimeError, r"\(1, 2, 3\)"),
        (lambda x, g: F.affine_grid(g, (1, 1, 0, 2)), ValueError, "positive"),
        (lambda x, g: F.affine_grid(g.long(), (1, 1, 2, 2)), TypeError, "floating"),
    ],
)
def test_what_cannot_be(call, error, text):
    with pytest.raises(error, match=text):
        call(minicnn.ones(1, 2, 3, 3), minicnn.zeros(1, 3, 2, 2))

"""The formulas of functional/conv_transpose.py, each evaluated as displayed, against the code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minicnn
from minicnn import Tensor
from minicnn.backend import ConvGeometry
from minicnn.functional.conv import ConvGradWeight, conv2d
from minicnn.functional.conv_transpose import conv_transpose2d

# x's size, kernel and options; S, P, D, R and G are what the formulas call them
CASES = {
    "plain": ((2, 3), (2, 3), {}),
    "stride": ((2, 3), (2, 2), {"stride": (3, 2)}),
    "padding": ((3, 3), (3, 2), {"stride": 2, "padding": (1, 0)}),
    "output padding": ((2, 3), (3, 2), {"stride": (3, 2), "padding": 1, "output_padding": (2, 1)}),
    "dilation": ((3, 2), (2, 3), {"dilation": (2, 1)}),
    "groups": ((2, 2), (2, 2), {"stride": 2, "groups": 2}),
    "more output padding than stride": (
        (3, 2),
        (2, 3),
        {"stride": (2, 1), "padding": (1, 2), "output_padding": (3, 2), "dilation": (4, 3)},
    ),
    "everything": (
        (3, 2),
        (3, 2),
        {"stride": (2, 3), "padding": 1, "output_padding": 1, "dilation": (1, 2), "groups": 2},
    ),
}


class Example:
    """Arrays for one case, and what the code makes of them."""

    def __init__(self, size, kernel, options):
        rng = np.random.default_rng(0)
        G = self.G = options.get("groups", 1)
        self.C, self.F = 2 * G, 3 * G
        self.size, self.kernel, self.options = size, kernel, options
        self.x = rng.standard_normal((2, self.C, *size))
        self.w = rng.standard_normal((self.C, self.F // G, *kernel))
        self.b = rng.standard_normal(self.F)
        x, w, b = (Tensor(a, requires_grad=True) for a in (self.x, self.w, self.b))
        y = conv_transpose2d(x, w, b, **options)
        self.grad_y = rng.standard_normal(y.shape)
        y.backward(Tensor(self.grad_y))
        self.y, self.grads = y.detach().array, [t.grad.array for t in (x, w, b)]

    def option(self, name, default):
        value = self.options.get(name, default)
        return value if isinstance(value, tuple) else (value, value)

    @property
    def S(self):
        return self.option("stride", 1)

    @property
    def P(self):
        return self.option("padding", 0)

    @property
    def D(self):
        return self.option("dilation", 1)

    @property
    def R(self):
        return self.option("output_padding", 0)

    def at(self, i, j, p, q):
        """(h, k) = (i*S + p*D - P, j*S + q*D - P)."""
        (S, Sk), (P, Pk), (D, Dk) = self.S, self.P, self.D
        return i * S + p * D - P, j * Sk + q * Dk - Pk

    def of_group(self, c, f):
        """The output channel that f of w[c,f,p,q] stands for: (c // (C/G)) * (F/G) + f."""
        return c // (self.C // self.G) * (self.F // self.G) + f

    def pixel(self, n, f, h, k):
        """grad_y[n,f,h,k], zero outside of y."""
        H, W = self.grad_y.shape[2:]
        return self.grad_y[n, f, h, k] if 0 <= h < H and 0 <= k < W else 0.0


@pytest.fixture(params=CASES, ids=str)
def e(request):
    return Example(*CASES[request.param])


def everywhere(*sizes):
    return itertools.product(*map(range, sizes))


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_1_size(e):
    for axis, H in enumerate(e.size):
        S, P, D, R, KH = (values[axis] for values in (e.S, e.P, e.D, e.R, e.kernel))
        assert e.y.shape[2 + axis] == (H - 1) * S + D * (KH - 1) + 1 - 2 * P + R


def test_2_forward(e):
    (H, W), (KH, KW) = e.size, e.kernel
    y = np.zeros(e.y.shape)
    for n, f, h, k in everywhere(*y.shape):
        y[n, f, h, k] = e.b[f] + sum(
            e.w[c, fw, p, q] * e.x[n, c, i, j]
            for c, fw in everywhere(*e.w.shape[:2])
            if e.of_group(c, fw) == f
            for i, p in everywhere(H, KH)
            for j, q in everywhere(W, KW)
            if e.at(i, j, p, q) == (h, k)
        )
    close(e.y, y)


def test_3_bias_gradient(e):
    close(e.grads[2], np.einsum("nfhk->f", e.grad_y))


def test_4_input_gradient(e):
    grad_x = np.zeros(e.x.shape)
    for n, c, i, j in everywhere(*grad_x.shape):
        grad_x[n, c, i, j] = sum(
            e.w[c, f, p, q] * e.pixel(n, e.of_group(c, f), *e.at(i, j, p, q))
            for f, p, q in everywhere(*e.w.shape[1:])
        )
    close(e.grads[0], grad_x)


def test_5_weight_gradient(e):
    N, _, H, W = e.x.shape
    grad_w = np.zeros(e.w.shape)
    for c, f, p, q in everywhere(*grad_w.shape):
        grad_w[c, f, p, q] = sum(
            e.x[n, c, i, j] * e.pixel(n, e.of_group(c, f), *e.at(i, j, p, q))
            for n, i, j in everywhere(N, H, W)
        )
    close(e.grads[1], grad_w)


def test_6_output_padding_is_the_rows_left_over(e):
    for axis, H in enumerate(e.size):
        S, P, D, R, KH = (values[axis] for values in (e.S, e.P, e.D, e.R, e.kernel))
        assert e.y.shape[2 + axis] + 2 * P - D * (KH - 1) - 1 - (H - 1) * S == R
    # No window reads them: what (4) and (5) read ends R rows before the end of the padded y.
    last, _ = e.at(e.size[0] - 1, 0, e.kernel[0] - 1, 0)
    assert last == e.y.shape[2] + e.P[0] - 1 - e.R[0]


def test_7_less_padding_behind_keeps_further_windows_out(e):
    geometry = ConvGeometry.of_transposed(e.x.shape, e.w.shape, **e.options)
    for axis, H in enumerate(e.size):
        S, P, D, R, KH = (values[axis] for values in (e.S, e.P, e.D, e.R, e.kernel))
        behind = P - S * (R // S)
        OH = e.y.shape[2 + axis]
        assert (OH + P + behind - D * (KH - 1) - 1) // S + 1 == H
        assert geometry.padding[axis] == (P, behind)
    assert geometry.out_size == e.size and geometry.size == e.y.shape[2:]


def test_it_is_the_gradient_of_a_convolution(e):
    """y is grad_x of the convolution, grad_x its output, grad_w its weight gradient at (grad_y, x).

    Only where output_padding is less than the stride does y's shape alone lead to x's.
    """
    if any(R >= S for R, S in zip(e.R, e.S, strict=True)):
        pytest.skip("the convolution of y has more windows than x has pixels")
    options = {k: v for k, v in e.options.items() if k != "output_padding"}
    image = Tensor(e.grad_y, requires_grad=True)
    shrunk = conv2d(image, e.w, **options)
    assert shrunk.shape == e.x.shape
    close(shrunk.detach().array, e.grads[0])
    shrunk.backward(Tensor(e.x))
    close(image.grad.array, e.y - e.b[:, None, None])
    geometry = ConvGeometry.of(e.grad_y.shape, e.w.shape, **options)
    close(ConvGradWeight.apply(e.grad_y, e.x, geometry=geometry), e.grads[1])


def test_it_multiplies_by_the_transposed_matrix():
    options = {"stride": 2, "padding": 1, "dilation": (1, 2)}
    w = np.random.default_rng(0).standard_normal((2, 3, 3, 2))
    pixels = np.eye(3 * 7 * 6).reshape(-1, 3, 7, 6)
    A = conv2d(pixels, w, **options).reshape(len(pixels), -1).T
    OH, OW = ConvGeometry.of((1, 3, 7, 6), w.shape, **options).out_size
    pixels = np.eye(2 * OH * OW).reshape(-1, 2, OH, OW)
    y = conv_transpose2d(pixels, w, output_padding=(0, 1), **options)
    close(y.reshape(len(pixels), -1), A)


def test_rows_that_output_padding_adds_are_the_first_of_those_cut_off():
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s) for s in ((1, 2, 3, 3), (2, 1, 4, 4), (1,)))
    full = conv_transpose2d(x, w, b, stride=2)
    assert full.shape[2:] == (8, 8)
    cut = conv_transpose2d(x, w, b, stride=2, padding=2, output_padding=1)
    close(cut, full[:, :, 2:7, 2:7])
    wider = conv_transpose2d(x, w, b, stride=2, output_padding=1)
    close(wider[:, :, :8, :8], full)
    assert np.all(wider[:, :, 8] == b) and np.all(wider[:, :, :, 8] == b)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    x = Tensor(np.array([[[[1.0, 2], [3, 4]]]]), requires_grad=True)
    w = Tensor(np.array([[[[1.0, 0], [0, -1]]]]), requires_grad=True)
    b = Tensor(np.array([0.0]), requires_grad=True)
    with minicnn.use_backend(backend):
        y = conv_transpose2d(x, w, b)
        y.backward(Tensor(np.arange(1.0, 10).reshape(1, 1, 3, 3)))
    assert y.tolist() == [[[[1, 2, 0], [3, 3, -2], [0, -3, -4]]]]
    assert b.grad.tolist() == [45]
    assert x.grad.tolist() == [[[[-4, -4], [-4, -4]]]]
    assert w.grad.tolist() == [[[[37, 47], [67, 77]]]]

"""The formulas of functional/conv.py, each evaluated as it is displayed, against the code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minicnn
from minicnn import Tensor
from minicnn.backend import ConvGeometry, cpu
from minicnn.functional.conv import Conv, ConvGradInput, ConvGradWeight, conv1d, conv2d, conv3d

GEOMETRIES = {
    "plain": {"size": (4, 5), "kernel": (2, 3)},
    "stride, with rows left over": {"size": (6, 8), "kernel": (3, 2), "stride": (2, 3)},
    "padding": {"size": (3, 4), "kernel": (3, 2), "padding": ((2, 2), (1, 1))},
    "padding on one side": {"size": (4, 4), "kernel": (2, 3), "padding": ((0, 1), (2, 0))},
    "dilation": {"size": (6, 5), "kernel": (3, 2), "dilation": (2, 3)},
    "groups": {"size": (3, 4), "kernel": (2, 2), "groups": 2},
    "everything": {
        "size": (7, 6),
        "kernel": (2, 3),
        "stride": (3, 2),
        "padding": ((1, 2), (0, 3)),
        "dilation": (2, 1),
        "groups": 2,
    },
}


@pytest.fixture(params=GEOMETRIES, ids=str)
def g(request):
    options = dict(GEOMETRIES[request.param])
    G = options.get("groups", 1)
    x, w = (2, 2 * G, *options.pop("size")), (3 * G, 2, *options.pop("kernel"))
    return ConvGeometry.of(x, w, None, **options)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def gradients(g, x, w, b, grad_y):
    """y and the gradients, of the public function."""
    x, w, b = (Tensor(a, requires_grad=True) for a in (x, w, b))
    y = Conv.apply(x, w, b, geometry=g)
    y.backward(Tensor(grad_y))
    return y.detach().array, x.grad.array, w.grad.array, b.grad.array


def pixel(x, n, c, h, k):
    """x[n,c,h,k], zero outside of 0 <= h < H, 0 <= k < W."""
    H, W = x.shape[2:]
    return x[n, c, h, k] if 0 <= h < H and 0 <= k < W else 0.0


def at(g, i, j, p, q):
    """(h, k) = (i*S + p*D - P, j*S + q*D - P)."""
    S, D, P = g.stride, g.dilation, [low for low, _ in g.padding]
    return i * S[0] + p * D[0] - P[0], j * S[1] + q * D[1] - P[1]


def of_group(g, f, c):
    """The input channel that c of w[f,c,p,q] stands for: (f // (F/G)) * (C/G) + c."""
    C, F, G = g.in_channels, g.out_channels, g.groups
    return f // (F // G) * (C // G) + c


def everywhere(*sizes):
    return itertools.product(*map(range, sizes))


def sample(g):
    shapes = g.x_shape, g.w_shape, (g.out_channels,), g.y_shape
    return [normal(seed, *shape) for seed, shape in enumerate(shapes)]


def test_1_forward(g):
    x, w, b, grad_y = sample(g)
    y = np.zeros(g.y_shape)
    for n, f, i, j in everywhere(*g.y_shape):
        y[n, f, i, j] = b[f] + sum(
            w[f, c, p, q] * pixel(x, n, of_group(g, f, c), *at(g, i, j, p, q))
            for c, p, q in everywhere(*g.w_shape[1:])
        )
    close(gradients(g, x, w, b, grad_y)[0], y)


def test_2_bias_gradient(g):
    x, w, b, grad_y = sample(g)
    close(gradients(g, x, w, b, grad_y)[3], np.einsum("nfij->f", grad_y))


def test_3_weight_gradient(g):
    x, w, b, grad_y = sample(g)
    N, _, OH, OW = g.y_shape
    grad_w = np.zeros(g.w_shape)
    for f, c, p, q in everywhere(*g.w_shape):
        grad_w[f, c, p, q] = sum(
            grad_y[n, f, i, j] * pixel(x, n, of_group(g, f, c), *at(g, i, j, p, q))
            for n, i, j in everywhere(N, OH, OW)
        )
    close(gradients(g, x, w, b, grad_y)[2], grad_w)


def test_4_input_gradient(g):
    x, w, b, grad_y = sample(g)
    (KH, KW), (OH, OW) = g.kernel, g.out_size
    C, F = g.in_channels // g.groups, g.out_channels // g.groups
    grad_x = np.zeros(g.x_shape)
    for n, c, h, k in everywhere(*g.x_shape):
        group = c // C
        grad_x[n, c, h, k] = sum(
            w[f, c - group * C, p, q] * grad_y[n, f, i, j]
            for f in range(group * F, (group + 1) * F)
            for i, p in everywhere(OH, KH)
            for j, q in everywhere(OW, KW)
            if at(g, i, j, p, q) == (h, k)
        )
    close(gradients(g, x, w, b, grad_y)[1], grad_x)


def test_5_one_form_three_functions(g):
    x, w, _, grad_y = sample(g)
    T = sum(
        grad_y[n, f, i, j] * w[f, c, p, q] * pixel(x, n, of_group(g, f, c), *at(g, i, j, p, q))
        for n, f, i, j in everywhere(*g.y_shape)
        for c, p, q in everywhere(*g.w_shape[1:])
    )
    close((Conv.apply(x, w, geometry=g) * grad_y).sum(), T)
    close((x * ConvGradInput.apply(grad_y, w, geometry=g)).sum(), T)
    close((w * ConvGradWeight.apply(x, grad_y, geometry=g)).sum(), T)


@pytest.mark.parametrize("function", [Conv, ConvGradInput, ConvGradWeight])
def test_5_the_family_is_closed(g, function, monkeypatch):
    """Each one's derivatives are the other two, and no other Function runs.

    On Tensors: on arrays Conv's two are one primitive, so that they may share work.
    """
    x, w, _, grad_y = sample(g)
    inputs = {Conv: (x, w), ConvGradInput: (grad_y, w), ConvGradWeight: (x, grad_y)}[function]
    inputs = [Tensor(a, requires_grad=True) for a in inputs]
    ran, apply = set(), minicnn.autograd.Function.apply.__func__

    def noting(cls, *args, **options):
        ran.add(cls)
        return apply(cls, *args, **options)

    out = function.apply(*inputs, geometry=g)
    v = Tensor(np.ones(out.shape))
    monkeypatch.setattr(minicnn.autograd.Function, "apply", classmethod(noting))
    minicnn.autograd.grad([out], inputs, [v], create_graph=True)
    assert ran == {Conv, ConvGradInput, ConvGradWeight} - {function}


def test_6_matrix_products(g):
    """Inside each group, whose columns are a run of the rows of cols."""
    x, w, _, grad_y = sample(g)
    N, F, G = g.batch, g.out_channels, g.groups
    cols = np.zeros((N, g.in_channels, *g.kernel, *g.out_size))
    for n, c, p, q, i, j in everywhere(*cols.shape):
        cols[n, c, p, q, i, j] = pixel(x, n, c, *at(g, i, j, p, q))
    close(cpu.im2col(x, g), cols.reshape(N, -1, np.prod(g.out_size)))
    cols = cols.reshape(N, G, -1, np.prod(g.out_size))
    W, GY = w.reshape(G, F // G, -1), grad_y.reshape(N, G, F // G, -1)
    y = np.einsum("gft,ngtm->ngfm", W, cols)
    grad_w = np.einsum("ngfm,ngtm->gft", GY, cols)
    grad_cols = np.einsum("gft,ngfm->ngtm", W, GY)
    close(Conv.apply(x, w, geometry=g), y.reshape(g.y_shape))
    close(ConvGradWeight.apply(x, grad_y, geometry=g), grad_w.reshape(g.w_shape))
    grad_x = cpu.col2im(grad_cols.reshape(N, -1, np.prod(g.out_size)), g)
    close(ConvGradInput.apply(grad_y, w, geometry=g), grad_x)


def test_col2im_is_the_transpose_of_im2col_and_not_its_inverse():
    g = ConvGeometry.of((1, 2, 4, 5), (1, 2, 3, 2), None, (2, 1), 1)
    pixels = np.eye(40).reshape(40, 1, 2, 4, 5)
    E = np.stack([cpu.im2col(pixel, g).ravel() for pixel in pixels], axis=1)
    assert set(np.unique(E)) == {0, 1}
    assert E.sum(axis=1).max() == 1  # a row copies one pixel
    assert E.sum(axis=1).min() == 0  # or none
    assert E.sum(axis=0).max() > 1  # a pixel is read by several windows
    c, x = normal(0, E.shape[0]), normal(1, 1, 2, 4, 5)
    back = cpu.col2im(c.reshape(1, 12, -1), g)
    close(back.ravel(), E.T @ c)
    close((cpu.im2col(x, g).ravel() * c).sum(), (x * back).sum())
    count = E.sum(axis=0).reshape(x.shape)
    close(cpu.col2im(cpu.im2col(x, g), g), count * x)


def left_over(g):
    """R of formula (8), for each axis."""
    axes = zip(g.padded_size, g.dilation, g.kernel, g.out_size, g.stride, strict=True)
    return [padded - D * (KH - 1) - 1 - (OH - 1) * S for padded, D, KH, OH, S in axes]


def test_the_weight_gradient_is_a_convolution_with_stride_and_dilation_exchanged(g):
    if g.groups > 1:
        pytest.skip("groups: each would be a convolution of its own")
    x, _, _, grad_y = sample(g)
    (KH, KW), D = g.kernel, g.dilation
    wide = ConvGeometry.of(
        (g.in_channels, g.batch, *g.size),
        (g.out_channels, g.batch, *g.out_size),
        None,
        stride=D,
        padding=g.padding,
        dilation=g.stride,
    )
    wide_w = Conv.apply(x.swapaxes(0, 1), grad_y.swapaxes(0, 1), geometry=wide)
    R = left_over(g)
    assert wide_w.shape[2:] == (KH + R[0] // D[0], KW + R[1] // D[1])
    grad_w = wide_w[:, :, :KH, :KW].swapaxes(0, 1)
    close(ConvGradWeight.apply(x, grad_y, geometry=g), grad_w)


def test_7_and_8_stride_in_the_forward_is_dilation_in_the_backward(g):
    """u with holes, padded by D*(KH-1) - P in front and D*(KH-1) - P' + R behind."""
    _, w, _, grad_y = sample(g)
    C, F, G = g.in_channels // g.groups, g.out_channels // g.groups, g.groups
    (S, Sk), (D, Dk), (KH, KW) = g.stride, g.dilation, g.kernel
    (P, P_), (Q, Q_) = g.padding
    (R, Rk), (H, W), (OH, OW) = left_over(g), g.size, g.out_size
    assert 0 <= R < S and 0 <= Rk < Sk
    u = np.zeros((*grad_y.shape[:2], (OH - 1) * S + 1, (OW - 1) * Sk + 1))
    u[:, :, ::S, ::Sk] = grad_y
    # as long as x has rows: what is in front and behind is zero
    assert u.shape[2] + D * (KH - 1) - P + D * (KH - 1) - P_ + R == H + D * (KH - 1)
    assert u.shape[3] + Dk * (KW - 1) - Q + Dk * (KW - 1) - Q_ + Rk == W + Dk * (KW - 1)
    grad_x = np.zeros(g.x_shape)
    for n, c, h, k in everywhere(*g.x_shape):
        group = c // C
        grad_x[n, c, h, k] = sum(
            w[f, c - group * C, KH - 1 - p, KW - 1 - q]
            * pixel(u, n, f, h + p * D - (D * (KH - 1) - P), k + q * Dk - (Dk * (KW - 1) - Q))
            for f in range(group * F, (group + 1) * F)
            for p, q in everywhere(KH, KW)
        )
    assert grad_x.shape[1] == C * G
    close(ConvGradInput.apply(grad_y, w, geometry=g), grad_x)


def test_8_rows_left_over_have_gradient_zero():
    x, w = (Tensor(normal(s, 1, 1, n, n), requires_grad=True) for s, n in ((0, 8), (1, 3)))
    y = conv2d(x, w, stride=3)
    g = ConvGeometry.of(x.shape, w.shape, None, 3)
    assert left_over(g) == [2, 2] and y.shape == (1, 1, 2, 2)
    y.backward(Tensor(np.ones(y.shape)))
    grad_x = x.grad.array[0, 0]
    assert np.all(grad_x[6:] == 0) and np.all(grad_x[:, 6:] == 0)
    assert np.all(grad_x[:6, :6] != 0)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    x = Tensor(np.arange(1.0, 10).reshape(1, 1, 3, 3), requires_grad=True)
    w = Tensor(np.array([[[[1.0, 0], [0, -1]]]]), requires_grad=True)
    b = Tensor(np.array([0.0]), requires_grad=True)
    with minicnn.use_backend(backend):
        y = conv2d(x, w, b)
        y.backward(Tensor(np.array([[[[1.0, 2], [3, 4]]]])))
    assert y.tolist() == [[[[-4, -4], [-4, -4]]]]
    assert b.grad.tolist() == [10]
    assert w.grad.tolist() == [[[[37, 47], [67, 77]]]]
    assert x.grad.tolist() == [[[[1, 2, 0], [3, 3, -2], [0, -3, -4]]]]


def test_one_axis_and_three():
    """The axes never mix: a kernel that is a product of three is three convolutions of one axis."""
    x, a, b, c = normal(0, 1, 1, 5, 6, 7), normal(1, 2), normal(2, 3), normal(3, 2)
    w = np.einsum("r,p,q->rpq", a, b, c)[None, None]
    y = conv3d(x, w, stride=(1, 2, 1), padding=(1, 0, 2), dilation=(2, 1, 3))
    rows = conv1d(x.transpose(0, 2, 3, 1, 4).reshape(30, 1, 7), c[None, None], None, 1, 2, 3)
    along_w = rows.reshape(5, 6, -1)
    columns = conv1d(along_w.swapaxes(1, 2).reshape(-1, 1, 6), b[None, None], None, 2)
    along_h = columns.reshape(5, along_w.shape[2], -1).swapaxes(1, 2)
    depths = conv1d(along_h.transpose(1, 2, 0).reshape(-1, 1, 5), a[None, None], None, 1, 1, 2)
    close(y[0, 0], depths.reshape(*along_h.shape[1:], -1).transpose(2, 0, 1))

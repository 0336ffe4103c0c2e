"""conv1d, conv2d, conv3d over many geometries: derivatives, parity, memory, errors.

The formulas of the derivation are evaluated one by one in tests/formulas/test_conv.py.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.backend import ConvGeometry, cpu, reference
from minicnn.functional.conv import (
    Conv,
    ConvGradInput,
    ConvGradWeight,
    conv1d,
    conv2d,
    conv3d,
)

BACKENDS = {"cpu": cpu, "reference": reference}
few = settings(max_examples=20, deadline=None, derandomize=True)


def leaf(array):
    return Tensor(np.array(array), requires_grad=True)


def rng(seed=0):
    return np.random.default_rng(seed)


def integers(seed, *shape):
    return rng(seed).integers(-4, 5, shape).astype(np.float64)


CONVOLVE = {3: conv1d, 4: conv2d, 5: conv3d}  # by the axes of x


@st.composite
def problems(draw, groups=(1, 2, 3), dims=(2,)):
    """x, w, b shapes and options of a small convolution."""
    G, axes = draw(st.sampled_from(groups)), range(draw(st.sampled_from(dims)))
    C, F = G * draw(st.integers(1, 2)), G * draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in axes]
    dilation = [draw(st.integers(1, 2)) for _ in axes]
    stride = [draw(st.integers(1, 3)) for _ in axes]
    if draw(st.booleans()):
        padding, stride = draw(st.sampled_from(["same", "valid"])), [1 for _ in axes]
    else:
        padding = tuple(draw(st.integers(0, 2)) for _ in axes)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [span + draw(st.integers(0, 3 if len(axes) < 3 else 1)) for span in spans]
    N = draw(st.integers(1, 2))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": G}
    return (N, C, *size), (F, C // G, *kernel), options


def geometry_of(problem):
    x, w, options = problem
    return ConvGeometry.of(x, w, None, **options)


def terms(g):
    """Every (n, f, c of x, c of w, p, q, i, j, h, k) of formula (1), the padding left out."""
    G = g.groups
    C, F = g.in_channels // G, g.out_channels // G
    (P, _), (Q, _) = g.padding
    indices = itertools.product(
        range(g.batch), range(G * F), range(C), *map(range, g.kernel), *map(range, g.out_size)
    )
    for n, f, c, p, q, i, j in indices:
        h = i * g.stride[0] + p * g.dilation[0] - P
        k = j * g.stride[1] + q * g.dilation[1] - Q
        if 0 <= h < g.size[0] and 0 <= k < g.size[1]:
            yield n, f, f // F * C + c, c, p, q, i, j, h, k


# ---------------------------------------------------------------------- the derivation


@few
@given(problems())
def test_formulas_1_to_5_term_by_term(problem):
    g = geometry_of(problem)
    x, w, b = integers(0, *g.x_shape), integers(1, *g.w_shape), integers(2, g.out_channels)
    grad_y = integers(3, *g.y_shape)
    y = np.zeros(g.y_shape) + b[:, None, None]
    grad_x, grad_w, T = np.zeros_like(x), np.zeros_like(w), 0.0
    for n, f, cx, cw, p, q, i, j, h, k in terms(g):
        y[n, f, i, j] += w[f, cw, p, q] * x[n, cx, h, k]
        grad_w[f, cw, p, q] += grad_y[n, f, i, j] * x[n, cx, h, k]
        grad_x[n, cx, h, k] += w[f, cw, p, q] * grad_y[n, f, i, j]
        T += grad_y[n, f, i, j] * w[f, cw, p, q] * x[n, cx, h, k]
    tx, tw, tb = leaf(x), leaf(w), leaf(b)
    ty = conv2d(tx, tw, tb, **problem[2])
    ty.backward(Tensor(grad_y))
    assert np.array_equal(ty.detach().array, y)
    assert np.array_equal(tb.grad.array, np.einsum("nfij->f", grad_y))
    assert np.array_equal(tw.grad.array, grad_w)
    assert np.array_equal(tx.grad.array, grad_x)
    assert (Conv.apply(x, w, geometry=g) * grad_y).sum() == T
    assert (x * ConvGradInput.apply(grad_y, w, geometry=g)).sum() == T
    assert (w * ConvGradWeight.apply(x, grad_y, geometry=g)).sum() == T


@few
@given(problems(groups=(1,)))
def test_stride_in_the_forward_is_dilation_in_the_backward(problem):
    g = geometry_of(problem)
    x, w, grad_y = integers(0, *g.x_shape), integers(1, *g.w_shape), integers(2, *g.y_shape)
    (KH, KW), (S, D) = g.kernel, (g.stride, g.dilation)
    # (3): x * grad_y with stride and dilation exchanged, and the batch summed over
    wide = conv2d(x.swapaxes(0, 1), grad_y.swapaxes(0, 1), stride=D, padding=g.padding, dilation=S)
    R = [
        h - d * (k - 1) - 1 - (o - 1) * s
        for h, d, k, o, s in zip(g.padded_size, D, g.kernel, g.out_size, S, strict=True)
    ]
    assert wide.shape[2:] == (KH + R[0] // D[0], KW + R[1] // D[1])
    grad_w = wide[:, :, :KH, :KW].swapaxes(0, 1)
    assert np.array_equal(grad_w, ConvGradWeight.apply(x, grad_y, geometry=g))
    # (7): grad_y with holes, the kernel flipped, stride 1, and (8) R more rows behind
    holes = np.zeros(
        (*grad_y.shape[:2], *[(o - 1) * s + 1 for o, s in zip(g.out_size, S, strict=True)])
    )
    holes[:, :, :: S[0], :: S[1]] = grad_y
    around = [
        (d * (k - 1) - low, d * (k - 1) - high + r)
        for d, k, (low, high), r in zip(D, g.kernel, g.padding, R, strict=True)
    ]
    u = np.pad(holes, [(0, 0), (0, 0), *[(max(lo, 0), max(hi, 0)) for lo, hi in around]])
    cut = [slice(max(-lo, 0), hi if hi < 0 else None) for lo, hi in around]
    flipped = w[:, :, ::-1, ::-1].swapaxes(0, 1)
    grad_x = conv2d(u[:, :, cut[0], cut[1]], flipped, dilation=D)
    assert np.array_equal(grad_x, ConvGradInput.apply(grad_y, w, geometry=g))


# ---------------------------------------------------------------------- derivatives


@few
@given(problems(dims=(1, 2, 3)), st.booleans())
def test_gradcheck(problem, with_bias):
    x, w, options = problem
    r = rng()
    inputs = [leaf(r.normal(size=x)), leaf(r.normal(size=w))]
    if with_bias:
        inputs.append(leaf(r.normal(size=w[0])))
    assert gradcheck(lambda *a: CONVOLVE[len(x)](*a, **options), inputs)


@settings(few, max_examples=8)
@given(problems(groups=(1, 2), dims=(1, 2, 3)))
def test_second_derivatives(problem):
    x, w, options = problem
    r = rng()
    inputs = [leaf(r.normal(size=s)) for s in (x, w, w[:1])]
    assert gradgradcheck(lambda *a: CONVOLVE[len(x)](*a, **options), inputs)


@pytest.mark.parametrize("function", [ConvGradInput, ConvGradWeight])
def test_the_family_is_closed(function):
    g = ConvGeometry.of((2, 4, 6, 5), (2, 2, 3, 2), None, (2, 1), ((1, 2), (0, 1)), (1, 2), 2)
    shapes = {ConvGradInput: (g.y_shape, g.w_shape), ConvGradWeight: (g.x_shape, g.y_shape)}
    r = rng()
    inputs = [leaf(r.normal(size=s)) for s in shapes[function]]
    assert gradcheck(lambda a, b: function.apply(a, b, geometry=g), inputs)
    assert gradgradcheck(lambda a, b: function.apply(a, b, geometry=g), inputs)


def test_complex_step():
    """Re-derived without differences: conv(x + i*h*v) = conv(x) + i*h*conv'(x) v, exactly."""
    r, h = rng(), 1e-30
    x, v, w = r.normal(size=(2, 3, 5, 6)), r.normal(size=(2, 3, 5, 6)), r.normal(size=(4, 3, 3, 2))
    with minicnn.use_backend("reference"):
        slope = conv2d(x + 1j * h * v, w.astype(complex), stride=2, padding=1).imag / h
        tx = leaf(x)
        y = conv2d(tx, Tensor(w), stride=2, padding=1)
        u = r.normal(size=y.shape)
        y.backward(Tensor(u))
    np.testing.assert_allclose((u * slope).sum(), (tx.grad.array * v).sum(), rtol=1e-12)


def test_a_first_layer_computes_no_grad_x(monkeypatch):
    def refuse(self, *args, **options):
        raise AssertionError("grad_x was computed although nobody needs it")

    monkeypatch.setattr(ConvGradInput, "forward", refuse)
    x, w = Tensor(rng().normal(size=(2, 3, 6, 6))), leaf(rng(1).normal(size=(4, 3, 3, 3)))
    conv2d(x, w).backward(Tensor(np.ones((2, 4, 4, 4))))
    assert w.grad.shape == w.shape and x.grad is None


def test_what_no_gradient_needs_is_not_saved():
    x, w = Tensor(np.ones((1, 1, 3, 3))), leaf(np.ones((1, 1, 2, 2)))
    assert [a is None for a in conv2d(x, w).grad_fn._saved] == [False, True]
    x, w = leaf(np.ones((1, 1, 3, 3))), Tensor(np.ones((1, 1, 2, 2)))
    assert [a is None for a in conv2d(x, w).grad_fn._saved] == [True, False]


# ---------------------------------------------------------------------- shapes, memory, types


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_memory_order_gives_the_same(dtype):
    x = rng().integers(-3, 4, (2, 3, 6, 7)).astype(dtype)
    w = rng(1).integers(-3, 4, (4, 3, 3, 3)).astype(dtype)
    g = rng(2).integers(-3, 4, (2, 4, 4, 5)).astype(dtype)
    wanted = None
    for order in itertools.permutations(range(4)):
        back = np.argsort(order)
        px = np.ascontiguousarray(x.transpose(order)).transpose(back)
        pg = np.ascontiguousarray(g.transpose(order)).transpose(back)
        tx, tw = leaf(0.0), leaf(w[:, :, ::-1][:, :, ::-1])
        tx.array = px
        y = conv2d(tx, tw)
        y.backward(Tensor(pg))
        got = [a.detach().array for a in (y, tx.grad, tw.grad)]
        assert all(a.dtype == dtype for a in got)
        wanted = wanted or got
        assert all(np.array_equal(a, b) for a, b in zip(got, wanted, strict=True))
    strided = np.zeros((4, 3, 6, 14), dtype)
    strided[::2, :, :, ::2] = x
    assert np.array_equal(conv2d(strided[::2, :, :, ::2], w), wanted[0])


def test_a_single_image_needs_no_batch_axis():
    x, w, b = rng().normal(size=(3, 6, 5)), rng(1).normal(size=(4, 3, 3, 3)), np.ones(4)
    assert gradcheck(lambda *a: conv2d(*a, padding=1), (leaf(x), leaf(w), leaf(b)))
    assert np.array_equal(conv2d(x, w, b), conv2d(x[None], w, b)[0])


def test_a_single_sequence_and_a_single_volume():
    for convolve, size in ((conv1d, (5,)), (conv3d, (3, 4, 5))):
        x, w = rng().normal(size=(2, *size)), rng(1).normal(size=(4, 2, *[2 for _ in size]))
        y = convolve(x, w, np.ones(4), padding=1)
        assert y.ndim == len(size) + 1
        assert np.array_equal(y, convolve(x[None], w, np.ones(4), padding=1)[0])


def test_an_empty_batch():
    x, w, b = leaf(np.zeros((0, 3, 6, 6))), leaf(np.ones((4, 3, 3, 3))), leaf(np.ones(4))
    y = conv2d(x, w, b, padding=1)
    assert y.shape == (0, 4, 6, 6)
    y.backward(Tensor(np.zeros(y.shape)))
    assert x.grad.shape == x.shape
    assert not w.grad.array.any() and not b.grad.array.any() and b.grad.shape == (4,)


def test_raw_arrays_give_raw_arrays():
    y = conv2d(np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 2, 2), np.float32))
    assert type(y) is np.ndarray and y.dtype == np.float32 and y[0, 0, 0, 0] == 4


def test_same_padding_puts_an_odd_rest_behind():
    x = np.arange(1.0, 5).reshape(1, 1, 1, 4)
    y = conv2d(x, np.array([[[[1.0, 10]]]]), padding="same")
    assert y.ravel().tolist() == [21, 32, 43, 4]


F64, F32 = np.float64, np.float32


@pytest.mark.parametrize(
    ("error", "text", "args"),
    [
        (
            ValueError,
            r"conv2d: weight expects 3 input channels \(groups=1\), x has 4: "
            r"x \(8, 4, 32, 32\), weight \(16, 3, 5, 5\)",
            (np.zeros((8, 4, 32, 32)), np.zeros((16, 3, 5, 5))),
        ),
        (
            ValueError,
            r"conv2d: bias expects shape \(2,\), got \(3,\)",
            (np.zeros((1, 1, 4, 4)), np.zeros((2, 1, 3, 3)), np.zeros(3)),
        ),
        (
            ValueError,
            r"conv2d: kernel \(5, 5\).* more than the padded input \(4, 4\)",
            (np.zeros((1, 1, 4, 4)), np.zeros((2, 1, 5, 5))),
        ),
        (
            ValueError,
            "conv2d: stride expects positive integers, got 0",
            (np.zeros((1, 1, 4, 4)), np.zeros((2, 1, 3, 3)), None, 0),
        ),
        (
            ValueError,
            "conv2d: padding='same' expects stride 1",
            (np.zeros((1, 1, 4, 4)), np.zeros((2, 1, 3, 3)), None, 2, "same"),
        ),
        (
            ValueError,
            "conv2d: x expects 4 axes",
            (np.zeros((4, 4)), np.zeros((2, 1, 3, 3))),
        ),
        (
            TypeError,
            r"conv2d: weight expects x's type float32, got float64: convert one",
            (np.zeros((1, 1, 4, 4), F32), np.zeros((2, 1, 3, 3))),
        ),
        (
            TypeError,
            r"conv2d: bias expects x's type float64, got float32",
            (np.zeros((1, 1, 4, 4)), np.zeros((2, 1, 3, 3)), np.zeros(2, F32)),
        ),
        (
            TypeError,
            "conv2d: x expects a floating type, got int64",
            (np.zeros((1, 1, 4, 4), int), np.zeros((2, 1, 3, 3))),
        ),
        (
            TypeError,
            "conv2d: weight expects a Tensor or an array, got NoneType",
            (np.zeros((1, 1, 4, 4)), None),
        ),
        (
            ValueError,
            r"conv1d: x expects 3 axes \(N, C, L\) or 2 \(C, L\), got 4: x \(1, 1, 4, 4\)",
            (np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 2))),
        ),
        (
            ValueError,
            r"conv3d: kernel \(3, 1, 1\).* more than the padded input \(2, 4, 4\)",
            (np.zeros((1, 1, 2, 4, 4)), np.zeros((2, 1, 3, 1, 1))),
        ),
        (
            ValueError,
            r"conv3d: stride expects an integer or a tuple of 3 integers, got \(1, 2\)",
            (np.zeros((1, 1, 2, 4, 4)), np.zeros((2, 1, 1, 1, 1)), None, (1, 2)),
        ),
    ],
)
def test_errors_say_what_came_and_what_would_be_right(refuses, error, text, args):
    convolve = {"conv1d": conv1d, "conv2d": conv2d, "conv3d": conv3d}[text[:6]]
    with pytest.raises(error, match=text):
        convolve(*args)
    refuses(lambda lib, *a: getattr(lib.nn.functional, text[:6])(*a), *args, match=text)


# ---------------------------------------------------------------------- parity


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")  # PyTorch's own, on speed
@settings(few, max_examples=15)
@given(problems(dims=(1, 2, 3)), st.sampled_from(["float64", "float32"]), st.booleans())
def test_parity_with_pytorch(problem, dtype, with_bias):
    torch = pytest.importorskip("torch")
    xs, ws, options = problem
    r = rng()
    arrays = [r.normal(size=s).astype(dtype) for s in (xs, ws, ws[:1])][: 2 + with_bias]
    ours, theirs = [leaf(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    convolve = CONVOLVE[len(xs)]
    y = convolve(*ours, **options)
    ty = getattr(torch.nn.functional, convolve.__name__)(*theirs, **options)
    g = r.normal(size=tuple(ty.shape)).astype(dtype)
    y.backward(Tensor(g))
    ty.backward(torch.tensor(g))
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    for a, b in [(y, ty), *((a.grad, b.grad) for a, b in zip(ours, theirs, strict=True))]:
        b = b.detach().numpy()
        scale = np.abs(b).max(initial=1.0)
        np.testing.assert_allclose(
            a.detach().array, b, rtol=tolerance, atol=tolerance * scale, strict=True
        )


def test_padding_in_front_and_behind():
    """A pair for each axis, which PyTorch does not take, is padding with zeros beforehand."""
    x, w = np.arange(20.0).reshape(1, 1, 4, 5), np.arange(6.0).reshape(1, 1, 2, 3)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 0), (0, 2)])
    assert np.array_equal(conv2d(x, w, padding=((1, 0), (0, 2))), conv2d(padded, w))
    with pytest.raises(ValueError, match=r"conv2d: padding expects a \(low, high\) pair .* 2 axes"):
        conv2d(x, w, padding=((1, 0),))


@pytest.mark.parametrize("option", ["stride", "dilation"])
def test_steps_too_large_for_any_image(option, parity):
    """One window, or one tap: the step is never taken, and its size does not matter."""
    x, w = np.arange(32.0).reshape(1, 2, 4, 4), np.ones((3, 2, *([3, 3], [1, 1])[option[0] == "d"]))
    options = {"stride": 3, option: 2**62}
    parity(lambda lib, *a: lib.nn.functional.conv2d(*a, **options), x, w)
    kernel, dilation = w.shape[2:], options.get("dilation", 1)
    parity(lambda lib, a: lib.nn.functional.unfold(a, kernel, dilation, 0, options["stride"]), x)

"""conv_transpose1d/2d/3d: the adjoint of convolution, over many geometries; types, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.functional.conv import conv1d, conv2d, conv3d
from minicnn.functional.conv_transpose import (
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)

PAIRS = {
    1: (conv1d, conv_transpose1d),
    2: (conv2d, conv_transpose2d),
    3: (conv3d, conv_transpose3d),
}


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def leaf(seed, *shape):
    return Tensor(normal(seed, *shape), requires_grad=True)


@st.composite
def problems(draw, most=None):
    """The shapes of x and w, and the options that PyTorch takes (most="stride": that invert)."""
    G, axes = draw(st.integers(1, 2)), range(draw(st.integers(1, 3)))
    C, F = G * draw(st.integers(1, 2)), draw(st.integers(1, 2))
    size, kernel, stride, dilation, padding, rest = [], [], [], [], [], []
    for _ in axes:
        H, K, S, D = (draw(st.integers(1, 3)) for _ in range(4))
        R = draw(st.integers(0, (S if most == "stride" else max(S, D)) - 1))
        out = (H - 1) * S + D * (K - 1) + 1 + R
        P = draw(st.integers(0, min(2, (out - 1) // 2)))
        for values, value in zip(
            (size, kernel, stride, dilation, padding, rest), (H, K, S, D, P, R), strict=True
        ):
            values.append(value)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": G}
    N = draw(st.integers(1, 2))
    return (N, C, *size), (C, F, *kernel), options | {"output_padding": rest}


@given(problems(most="stride"))
def test_adjoint_of_the_convolution_with_the_same_options(problem):
    """<conv(v), x> = <v, conv_transpose(x)>, with the same weight and options."""
    x_shape, w_shape, options = problem
    conv, transposed = PAIRS[len(x_shape) - 2]
    x, w = normal(0, *x_shape), normal(1, *w_shape)
    y = transposed(x, w, **options)
    v = normal(2, *y.shape)
    del options["output_padding"]
    wanted = (conv(v, w, **options) * x).sum()
    assert (y * v).sum() == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@settings(max_examples=8)
@given(problems(), st.booleans())
def test_derivatives(problem, with_bias):
    x, w, options = problem
    F = w[1] * options["groups"]
    inputs = [leaf(0, *x), leaf(1, *w), *([leaf(2, F)] if with_bias else [])]
    transposed = PAIRS[len(x) - 2][1]
    assert gradcheck(lambda *a: transposed(*a, **options), inputs)
    assert gradgradcheck(lambda *a: transposed(*a, **options), inputs, directions=1)


@settings(max_examples=15)
@given(problems(), st.sampled_from(["float32", "float64"]))
def test_backends_agree_bit_for_bit(problem, dtype):
    """On small integers, whose sums are exact; values and gradients."""
    x_shape, w_shape, options = problem
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-4, 5, s).astype(dtype) for s in (x_shape, w_shape))
    results = []
    for backend in ("cpu", "reference"):
        with minicnn.use_backend(backend):
            tx, tw = (Tensor(a, requires_grad=True) for a in (x, w))
            y = PAIRS[len(x_shape) - 2][1](tx, tw, **options)
            y.backward(Tensor((np.arange(y.numel()) % 5).reshape(y.shape).astype(dtype)))
            results.append([y.detach().array, tx.grad.array, tw.grad.array])
    assert all(
        np.array_equal(a, b) and a.dtype == b.dtype == dtype for a, b in zip(*results, strict=True)
    )


@settings(max_examples=15)
@given(problems(), st.sampled_from(["float64", "float32"]), st.booleans())
def test_parity(parity, problem, dtype, with_bias):
    x, w, options = problem
    arrays = [normal(0, *x), normal(1, *w), normal(2, w[1] * options["groups"])][: 2 + with_bias]

    def fn(lib, *tensors):
        return getattr(lib.nn.functional, f"conv_transpose{len(x) - 2}d")(*tensors, **options)

    rtol = 1e-10 if dtype == "float64" else 2e-5
    parity(fn, *[a.astype(dtype) for a in arrays], rtol=rtol)


@pytest.mark.parametrize("dims", PAIRS)
def test_positional_arguments_are_in_pytorchs_order(dims, parity):
    """stride, padding, output_padding, groups, dilation: not conv2d's order."""
    name, size = f"conv_transpose{dims}d", (3, 2, 2)[:dims]
    x, w, b = normal(0, 1, 2, *size), normal(1, 2, 2, *[3 for _ in size]), normal(2, 4)
    parity(lambda lib, *a: getattr(lib.nn.functional, name)(*a, 2, 1, 1, 2, 3), x, w, b)


def test_a_single_image_needs_no_batch_axis():
    for dims, (_, transposed) in PAIRS.items():
        x, w, b = normal(0, 2, *(3, 4, 2)[:dims]), normal(1, 2, 3, *(2, 2, 2)[:dims]), normal(2, 3)
        y = transposed(x, w, b, 2)
        assert y.ndim == dims + 1 and np.array_equal(y, transposed(x[None], w, b, 2)[0])


def test_an_empty_batch():
    x, w, b = leaf(0, 0, 2, 3, 3), leaf(1, 2, 4, 2, 2), leaf(2, 4)
    y = conv_transpose2d(x, w, b, stride=2)
    assert y.shape == (0, 4, 6, 6)
    y.backward(Tensor(np.zeros(y.shape)))
    assert x.grad.shape == x.shape and not w.grad.array.any() and not b.grad.array.any()


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (1, 2, 3, 0)])
def test_output_padding_that_makes_up_for_padding_still_moves_the_image(parity, order):
    """K = S = 1, P = 1, R = 2: y has the size of x, but y[h] = w * x[h+1]."""
    x, w = normal(0, 2, 3, 12, 13), normal(1, 3, 2, 1, 1)
    options = {"padding": 1, "output_padding": 2, "dilation": 3}
    in_order = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    y = conv_transpose2d(in_order, w, **options)
    wanted = np.einsum("cf,nchk->nfhk", w[:, :, 0, 0], x)
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y[:, :, :-1, :-1], wanted[:, :, 1:, 1:], rtol=1e-12, atol=1e-12)
    assert not y[:, :, -1].any() and not y[:, :, :, -1].any()
    parity(lambda lib, *a: lib.nn.functional.conv_transpose2d(*a, **options), x, w)


def test_checkerboard_of_a_kernel_that_the_stride_does_not_divide():
    """What is known of generated images: pixels get different numbers of terms (Odena, 2016)."""
    counts = conv_transpose2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3)), stride=2)[0, 0]
    assert counts[2:5, 2:5].tolist() == [[4, 2, 4], [2, 1, 2], [4, 2, 4]]
    counts = conv_transpose2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 4, 4)), stride=2)[0, 0]
    assert np.all(counts[2:-2, 2:-2] == 4)


def test_only_what_a_gradient_needs_is_computed(monkeypatch):
    from minicnn.functional.conv import Conv

    def refuse(self, *args, **options):
        raise AssertionError("grad_x was computed although nobody needs it")

    monkeypatch.setattr(Conv, "forward", refuse)
    w = leaf(1, 2, 3, 2, 2)
    y = conv_transpose2d(Tensor(normal(0, 1, 2, 3, 3)), w)
    y.backward(Tensor(np.ones(y.shape)))
    assert w.grad.shape == w.shape


ONE, PAIR = np.zeros((1, 1, 4, 4)), np.zeros((1, 2, 4, 4))


@pytest.mark.parametrize(
    ("text", "args", "options"),
    [
        (
            r"weight expects 3 input channels, x has 2: x \(1, 2, 4, 4\), weight \(3, 1, 2, 2\)",
            (PAIR, np.zeros((3, 1, 2, 2))),
            {},
        ),
        ("groups=3 does not divide the 2 input", (PAIR, np.zeros((2, 1, 2, 2))), {"groups": 3}),
        (
            r"bias expects shape \(6,\), got \(3,\)",
            (PAIR, np.zeros((2, 3, 2, 2)), np.zeros(3)),
            {"groups": 2},
        ),
        (
            r"output_padding expects less than stride \(2, 2\) or dilation \(1, 1\), got \(2, 0\)",
            (ONE, np.zeros((1, 1, 2, 2))),
            {"stride": 2, "output_padding": (2, 0)},
        ),
        (
            "output_padding expects non-negative integers, got -1",
            (ONE, np.zeros((1, 1, 2, 2))),
            {"output_padding": -1},
        ),
        (
            r"padding \(3, 3\) leaves an output of size \(-1, -1\)",
            (ONE, np.zeros((1, 1, 2, 2))),
            {"padding": 3},
        ),
        ("stride expects positive", (ONE, np.zeros((1, 1, 2, 2))), {"stride": 0}),
        ("dilation expects positive", (ONE, np.zeros((1, 1, 2, 2))), {"dilation": 0}),
        ("padding expects non-negative", (ONE, np.zeros((1, 1, 2, 2))), {"padding": -1}),
        (
            "padding expects an integer or a tuple",
            (ONE, np.zeros((1, 1, 2, 2))),
            {"padding": "same"},
        ),
        ("stride expects an integer or a tuple", (ONE, np.zeros((1, 1, 2, 2))), {"stride": 1.5}),
        ("x expects 4 axes", (np.zeros((4, 4)), np.zeros((1, 1, 2, 2))), {}),
        ("weight expects 4 axes", (ONE, np.zeros((1, 1, 2))), {}),
        ("weight expects x's type float64, got float32", (ONE, np.zeros((1, 1, 2, 2), "f")), {}),
        ("x expects a floating type, got int64", (ONE.astype(int), np.zeros((1, 1, 2, 2))), {}),
    ],
)
def test_errors_say_what_came_and_what_would_be_right(refuses, text, args, options):
    def call(lib, *tensors):
        return lib.nn.functional.conv_transpose2d(*tensors, **options)

    refuses(call, *args, match="conv_transpose2d: " + text)

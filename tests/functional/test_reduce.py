"""Reductions: values, gradients, ties and types, beside finite differences and PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minicnn
from minicnn.autograd import gradcheck, gradgradcheck
from minicnn.functional.reduce import LogSumExp, Std, Var

MANY = ["sum", "mean", "var", "std", "amax", "amin", "logsumexp", "norm"]  # take several dims
ONE = ["max", "min", "prod"]
QUESTIONS = ["any", "all", "argmax", "argmin", "count_nonzero"]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def leaf(array):
    return minicnn.tensor(array, requires_grad=True)


@st.composite
def shapes_and_dims(draw):
    shape = draw(array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=4))
    dims = draw(
        st.one_of(
            st.none(),
            st.integers(-len(shape), len(shape) - 1),
            st.sets(st.integers(0, len(shape) - 1), min_size=1).map(tuple),
        )
    )
    return shape, dims, draw(st.booleans())


def call(lib, name, x, dim, keepdim):
    if name == "norm":
        return lib.norm(x, 2, dim, keepdim)
    if dim is None and name == "logsumexp":
        dim = tuple(range(x.ndim))
    if dim is None:
        return getattr(lib, name)(x)
    return getattr(lib, name)(x, dim, keepdim=keepdim)


@pytest.mark.parametrize("name", MANY)
@given(case=shapes_and_dims())
@settings(max_examples=8)
def test_derivatives(name, case):
    shape, dim, keepdim = case
    x = leaf(numbers(*shape))
    assert gradcheck(lambda t: call(minicnn, name, t, dim, keepdim), x)
    assert gradgradcheck(lambda t: call(minicnn, name, t, dim, keepdim), x)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "amax", "amin", "norm"])
@given(case=shapes_and_dims())
def test_values(name, case):
    shape, dim, keepdim = case
    x = numbers(*shape)
    y = call(minicnn, name, minicnn.tensor(x), dim, keepdim and dim is not None).numpy()
    kept = {"axis": dim, "keepdims": keepdim and dim is not None}
    if name in ("var", "std"):
        expected = getattr(np, name)(x, ddof=1, **kept)
    elif name == "norm":
        expected = np.sqrt((x**2).sum(**kept))
    else:
        expected = getattr(np, name)(x, **kept)
    np.testing.assert_allclose(y, expected, rtol=1e-12)


@pytest.mark.parametrize("name", [*MANY, *QUESTIONS])
@given(case=shapes_and_dims())
@settings(max_examples=10)
def test_parity(name, case, parity):
    shape, dim, keepdim = case
    if name in QUESTIONS and isinstance(dim, tuple):
        dim = dim[0]
    x = numbers(*shape)
    if name == "count_nonzero":
        parity(lambda lib, t: lib.count_nonzero(t > 0, dim), x)
        return
    parity(lambda lib, t: call(lib, name, t, dim, keepdim), x)
    parity(lambda lib, t: call(lib, name, t, dim, keepdim), x.astype("f"), rtol=1e-5)
    if x.ndim == 2:
        parity(lambda lib, t: call(lib, name, t.t(), dim, keepdim), x)


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("dim", [None, 0, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_one_dimension(name, dim, keepdim, parity):
    def fn(lib, t):
        y = call(lib, name, t, dim, keepdim)
        return y if isinstance(y, lib.Tensor) else tuple(y)

    x = numbers(3, 5)
    parity(fn, x)
    parity(fn, np.array([[1, 3, 3], [2, 2, 0]]))
    assert gradcheck(lambda t: fn(minicnn, t), leaf(x))
    assert gradgradcheck(lambda t: fn(minicnn, t), leaf(x))


def test_values_and_indices():
    y = minicnn.tensor([[1.0, 5.0], [7.0, 2.0]]).max(1)
    assert y.values.tolist() == [5, 7]
    assert y.indices.tolist() == [1, 0]
    _values, indices = y
    assert indices.dtype == minicnn.int64
    assert not indices.requires_grad


def test_ties(parity):
    """Over all the maxima share the gradient; along a dim the first one gets it."""
    x = np.array([[1.0, 3.0, 3.0], [3.0, 0.0, 0.0]])
    for name in ("max", "min", "amax", "amin"):
        parity(lambda lib, t, n=name: getattr(lib, n)(t), x)
        parity(lambda lib, t, n=name: tuple(lib.amax(t, 1) for _ in [n]), x)
    for name in ("max", "min"):
        parity(lambda lib, t, n=name: tuple(getattr(lib, n)(t, 1)), x)
    parity(lambda lib, t: lib.argmax(t), x)
    parity(lambda lib, t: lib.argmin(t, 1), x)


def test_nan(parity):
    x = np.array([[1.0, np.nan, 2.0], [1.0, 5.0, 0.0]])
    for fn in (
        lambda lib, t: t.max(),
        lambda lib, t: tuple(t.max(1)),
        lambda lib, t: tuple(t.min(0)),
        lambda lib, t: t.argmax(1),
        lambda lib, t: t.argmin(),
        lambda lib, t: t.sum(1),
        lambda lib, t: t.logsumexp(0),
    ):
        parity(fn, x)


def test_max_of_two_tensors(parity):
    parity(lambda lib, s, t: lib.max(s, t), numbers(3), numbers(3, seed=1))
    parity(lambda lib, s, t: s.min(t), numbers(3), numbers(1, seed=1))


@pytest.mark.parametrize("name", ["var", "std"])
def test_corrections(name, parity):
    x = numbers(3, 4)
    for fn in (
        lambda lib, t: getattr(lib, name)(t, 1, unbiased=False),
        lambda lib, t: getattr(lib, name)(t, 0, False),
        lambda lib, t: getattr(lib, name)(t, unbiased=False),
        lambda lib, t: getattr(lib, name)(t, False),
        lambda lib, t: getattr(t, name)(dim=(0, 1), correction=0, keepdim=True),
        lambda lib, t: getattr(lib, name)(t, 1, correction=2),
        lambda lib, t: getattr(lib, name + "_mean")(t, 1, keepdim=True),
        lambda lib, t: getattr(lib, name + "_mean")(t),
        lambda lib, t: getattr(lib, name)(t[:1], 0),
    ):
        parity(fn, x, grads=True)
    constant = np.ones((2, 3))
    parity(lambda lib, t: getattr(lib, name)(t, 1), constant)


@pytest.mark.parametrize("function", [Var, Std])
@pytest.mark.parametrize("correction", [0, 1])
def test_variance_by_the_complex_step(function, correction):
    x, h, v = numbers(6), 1e-200, numbers(6, seed=1)
    t, options = leaf(x), {"axes": (0,), "keepdim": False, "correction": correction}
    function.apply(t, **options).backward()
    slope = function.apply(x + 1j * h * v, **options).imag / h
    np.testing.assert_allclose((t.grad.numpy() * v).sum(), slope, rtol=1e-12)


def test_variance_is_stable():
    """Two passes: a large mean costs no digits of a small variance."""
    x = minicnn.tensor(np.float32(10000) + np.array([0, 1, 2], "f"))
    assert abs(x.var().item() - 1) < 1e-6


def test_logsumexp_does_not_overflow(parity):
    parity(lambda lib, t: lib.logsumexp(t, 1), np.array([[1000.0, 1000.0], [-1000.0, -1000.0]]))
    parity(lambda lib, t: lib.logsumexp(t, 0), np.array([-np.inf, 0.0, 1.0]))
    parity(lambda lib, t: lib.logsumexp(t, 0), np.array([-np.inf, -np.inf]))
    parity(lambda lib, t: lib.logsumexp(t, 0), np.array([np.inf, 0.0]), grads=False)
    parity(lambda lib, t: lib.logsumexp(t, 0), np.array([1, 2, 3]), rtol=1e-6)
    x = numbers(4)
    assert LogSumExp.apply(x, axes=(0,), keepdim=False) == pytest.approx(np.log(np.exp(x).sum()))


@pytest.mark.parametrize("p", [0, 1, 2, 3, 0.5, math.inf, -math.inf, "fro", 2.5])
@pytest.mark.parametrize("dim", [None, 0, (0, 1)])
def test_norms(p, dim, parity):
    x = numbers(3, 4)
    parity(lambda lib, t: lib.norm(t, p, dim=dim), x, grads=p != 0)
    if p != 0:
        assert gradcheck(lambda t: minicnn.norm(t, p, dim, True), leaf(x))


def test_norm_at_zero(parity):
    parity(lambda lib, t: lib.norm(t, dim=1), np.array([[0.0, 0.0], [3.0, 4.0]]))
    for p in (1, 0.5, 1.5, 3, -1, math.inf):
        parity(lambda lib, t, p=p: t.norm(p), np.array([0.0, 1.0]))
        parity(lambda lib, t, p=p: t.norm(p), np.array([0.0, 0.0]))
        assert gradgradcheck(lambda t, p=p: t.norm(p), leaf(np.array([2.0, -3.0, 0.5])))


@pytest.mark.parametrize("p", [1, 2, 3, 0.5, math.inf])
def test_norms_of_halves_whose_squares_no_half_holds(p, parity):
    x = np.array([300.0, -0.5, 4.0], np.float16)
    parity(lambda lib, t: t.norm(p), x, rtol=1e-3, grads=p in (1, 2))


def test_a_norm_that_no_half_holds_is_infinite():
    x = minicnn.tensor(np.full(10, 6e4, np.float16))
    assert [float(x.norm(p)) for p in (1, 2, 3)] == [np.inf] * 3


def test_products_with_zeros(parity):
    for x in ([1.0, 2.0, 3.0], [0.0, 2.0, 3.0], [0.0, 0.0, 3.0]):
        parity(lambda lib, t: lib.prod(t), np.array(x))
        assert gradgradcheck(minicnn.prod, leaf(np.array(x)))
    parity(lambda lib, t: t.prod(1), numbers(2, 0))
    parity(lambda lib, t: t.prod(1, keepdim=True), np.array([[True, False], [True, True]]))


def test_cumsum(parity):
    parity(lambda lib, t: t.cumsum(1), numbers(2, 5))
    parity(lambda lib, t: lib.cumsum(t, 0), np.array([True, False, True]))
    assert gradgradcheck(lambda t: t.cumsum(-1) ** 2, leaf(numbers(2, 3)))


def test_types(parity):
    for dtype in ("bool", "uint8", "int32", "int64", "float16", "float32"):
        x = np.array([[1, 0], [1, 1]], dtype)
        for name in ("sum", "prod", "amax", "argmax", "any", "all", "count_nonzero"):
            if (name, dtype) == ("argmax", "bool"):
                continue
            parity(lambda lib, t, n=name: getattr(lib, n)(t), x)
    parity(lambda lib, t: lib.sum(t, dtype=lib.float64), np.array([1, 2]))
    parity(lambda lib, t: lib.mean(t, dtype=lib.float64), np.array([1, 2]))
    parity(lambda lib, t: lib.mean(t, 0), np.full((5000, 2), 30, "float16"))
    parity(lambda lib, t: lib.sum(t, 0), np.full((5000, 2), 1, "float16"))


def test_empty(parity):
    x = numbers(0, 3)
    for fn in (
        lambda lib, t: t.sum(),
        lambda lib, t: t.sum(0),
        lambda lib, t: t.mean(),
        lambda lib, t: t.mean(0),
        lambda lib, t: t.mean(1),
        lambda lib, t: t.var(0),
        lambda lib, t: t.prod(),
        lambda lib, t: t.any(),
        lambda lib, t: t.all(0),
        lambda lib, t: tuple(t.max(1)),
        lambda lib, t: t.amax(1),
        lambda lib, t: t.logsumexp(0),
        lambda lib, t: t.norm(),
        lambda lib, t: t.argmax(1),
    ):
        parity(fn, x)
    for fn in (
        lambda lib, t: t.max(),
        lambda lib, t: t.max(0),
        lambda lib, t: t.amax(),
        lambda lib, t: t.argmin(),
        lambda lib, t: t.argmin(0),
    ):
        parity.raises(fn, x, match="element|of no elements there is none")


def test_zero_dimensions(parity):
    x = np.array(2.0)
    for name in ("sum", "mean", "amax", "prod", "norm", "cumsum", "argmax", "any", "std", "max"):
        if name == "norm":
            parity(lambda lib, t: t.norm(), x)
        elif name == "max":
            parity(lambda lib, t: t.max(), x)
            parity(lambda lib, t: tuple(t.max(0)), x)
        else:
            parity(lambda lib, t, n=name: getattr(t, n)(0), x)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda lib, t: t.sum(2), "sum: dim expects -2 to 1 for a tensor of 2 dimensions, got 2"),
        (lambda lib, t: t.sum((0, 0)), r"sum: dim \(0, 0\) names a dimension twice"),
        (lambda lib, t: t.sum((0, -2)), "names a dimension twice"),
        (lambda lib, t: t.max(-3), "max: dim expects"),
        (lambda lib, t: t.long().mean(), "mean: expects a floating type, got int64"),
        (lambda lib, t: t.long().var(), "var: expects a floating type"),
        (lambda lib, t: t.long().norm(), "norm: expects a floating type"),
        (lambda lib, t: t.norm("max"), "norm: p expects"),
        (lambda lib, t: t.sum("0"), "sum: dim expects an integer, got '0'"),
        (lambda lib, t: t.argmax(5), "argmax: dim expects"),
        (lambda lib, t: t.prod(3), "prod: dim expects"),
    ],
)
def test_errors(fn, message, refuses):
    refuses(fn, numbers(2, 3), match=message)


def test_numpy_names():
    """axis= and keepdims= work, and so do NumPy's functions on tensors."""
    x = numbers(2, 3)
    t = minicnn.tensor(x)
    np.testing.assert_allclose(
        minicnn.sum(t, axis=1, keepdims=True).numpy(), x.sum(1, keepdims=True)
    )
    for name in ("sum", "mean", "max", "min", "prod", "std", "var", "any", "argmax"):
        fn = getattr(np, name)
        np.testing.assert_allclose(np.asarray(fn(t)), fn(x))
        if name not in ("max", "min"):
            np.testing.assert_allclose(np.asarray(fn(t, axis=0)), fn(x, axis=0))


def test_raw_arrays_give_raw_arrays():
    x = numbers(2, 3)
    for name in (*MANY, "prod", "argmax", "any"):
        y = call(minicnn, name, x, 0, False)
        assert isinstance(y, np.ndarray), name
        np.testing.assert_array_equal(y, call(minicnn, name, minicnn.tensor(x), 0, False).numpy())


def test_the_mean_s_own_rounding_does_not_look_like_variance():
    """A constant far from zero: its float32 mean may be off by one unit, which is not a spread."""
    x = minicnn.full((15,), 1e10)
    assert x.var().item() == 0
    assert x.std().item() == 0
    shifted = minicnn.tensor([0.25, -0.5, 1.0, 0.75, -0.25]) + 1e5
    expected = shifted.numpy().astype(np.float64).var(ddof=1)
    np.testing.assert_allclose(shifted.var().item(), expected, rtol=1e-6)


def test_what_is_no_tensor_and_what_is_no_dimension():
    with pytest.raises(TypeError, match="sum: expects Tensors or arrays, got list"):
        minicnn.sum([1.0])
    with pytest.raises(IndexError, match="cumsum: dim expects -1 to 0"):
        minicnn.tensor(1.0).cumsum(2)
    assert minicnn.tensor(2.0).cumsum(0).item() == 2

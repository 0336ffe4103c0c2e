"""Arithmetic: values, gradients, types and kinks, beside finite differences and PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import minicnn
from minicnn.autograd import gradcheck, gradgradcheck
from minicnn.functional.arithmetic import Div, Mul, Pow
from minicnn.functional.exponential import Exp, Expm1, Log, Log1p, Sqrt
from minicnn.functional.trigonometry import Cos, Sin

# name -> where the function is smooth: (low, high)
UNARY = {
    "abs": (0.2, 2),
    "ceil": (0.1, 0.9),
    "cos": (-2, 2),
    "exp": (-2, 2),
    "expm1": (-2, 2),
    "floor": (0.1, 0.9),
    "log": (0.3, 3),
    "log1p": (-0.5, 2),
    "log2": (0.3, 3),
    "log10": (0.3, 3),
    "neg": (-2, 2),
    "reciprocal": (0.5, 2),
    "round": (0.6, 1.4),
    "rsqrt": (0.5, 2),
    "sign": (0.2, 2),
    "sin": (-2, 2),
    "sqrt": (0.3, 3),
    "square": (-2, 2),
    "trunc": (0.1, 0.9),
}
FLAT = ["ceil", "floor", "round", "sign", "trunc"]  # the gradient is a constant zero
BINARY = ["add", "sub", "mul", "div", "pow", "maximum", "minimum"]
SHAPES = mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)


def uniform(shape, low=0.5, high=2.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, shape)


def leaf(array):
    return minicnn.tensor(array, requires_grad=True)


# ---------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("shape", [(), (2, 3), (0, 2)])
def test_unary_derivatives(name, shape):
    low, high = UNARY[name]
    x = leaf(uniform(shape, low, high))
    fn = getattr(minicnn, name)
    assert gradcheck(fn, x)
    if name not in FLAT:
        assert gradgradcheck(fn, x)


@pytest.mark.parametrize("name", BINARY)
@given(shapes=SHAPES)
@settings(max_examples=8)
def test_binary_derivatives(name, shapes):
    a, b = (leaf(uniform(s, seed=k)) for k, s in enumerate(shapes.input_shapes))
    fn = getattr(minicnn, name)
    assert gradcheck(fn, (a, b))
    assert gradgradcheck(fn, (a, b))


@given(shapes=mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3))
@settings(max_examples=10)
def test_where_and_clamp_derivatives(shapes):
    a, b, c = (uniform(s, seed=k) for k, s in enumerate(shapes.input_shapes))
    choose = minicnn.tensor(c > 1.2)
    assert gradcheck(lambda p, q: minicnn.where(choose, p, q), (leaf(a), leaf(b)))
    if a.shape == shapes.result_shape:
        bounds = leaf(b - 0.4), leaf(c + 0.4)
        assert gradcheck(minicnn.clamp, (leaf(a), *bounds))
        assert gradgradcheck(minicnn.clamp, (leaf(a), *bounds))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.5, -1, -2.5])
def test_pow_with_a_number(exponent, parity):
    x = uniform((2, 3))
    assert gradcheck(lambda t: t**exponent, leaf(x))
    assert gradgradcheck(lambda t: t**exponent, leaf(x))
    parity(lambda lib, t: t**exponent, x)
    parity(lambda lib, t: exponent**t if exponent > 0 else t, x)


@pytest.mark.parametrize("function", [Exp, Expm1, Log, Log1p, Sin, Cos, Sqrt])
def test_analytic_functions_by_the_complex_step(function):
    """f'(x) = Im f(x + ih) / h has no cancellation: equal to the last digits."""
    x, h = uniform((5,)), 1e-200
    t = leaf(x)
    y = function.apply(t)
    y.backward(minicnn.ones_like(y))
    slope = function.apply(x + 1j * h).imag / h
    np.testing.assert_allclose(t.grad.numpy(), slope, rtol=1e-14)


@pytest.mark.parametrize("function", [Mul, Div, Pow])
def test_analytic_products_by_the_complex_step(function):
    a, b, h = uniform((5,)), uniform((5,), seed=1), 1e-200
    s, t = leaf(a), leaf(b)
    function.apply(s, t).sum().backward()
    np.testing.assert_allclose(
        s.grad.numpy(), function.apply(a + 1j * h, b.astype(complex)).imag / h, rtol=1e-13
    )
    np.testing.assert_allclose(
        t.grad.numpy(), function.apply(a.astype(complex), b + 1j * h).imag / h, rtol=1e-13
    )


# ---------------------------------------------------------------------- NumPy and PyTorch


@pytest.mark.parametrize("name", sorted(set(UNARY) - {"rsqrt", "neg"}))
def test_unary_values(name):
    x = uniform((3, 4), *UNARY[name])
    y = getattr(minicnn, name)(minicnn.tensor(x))
    np.testing.assert_allclose(y.numpy(), getattr(np, name)(x), rtol=1e-14)


@pytest.mark.parametrize("name", BINARY)
@given(shapes=SHAPES)
@settings(max_examples=10)
def test_binary_values(name, shapes):
    a, b = (uniform(s, seed=k) for k, s in enumerate(shapes.input_shapes))
    expected = getattr(np, {"sub": "subtract", "mul": "multiply", "div": "divide"}.get(name, name))
    y = getattr(minicnn, name)(minicnn.tensor(a), minicnn.tensor(b))
    np.testing.assert_array_equal(y.numpy(), expected(a, b))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UNARY)
def test_unary_parity(name, dtype, parity):
    low, high = UNARY[name]
    x = uniform((3, 4), low, high).astype(dtype)
    rtol = 1e-10 if dtype == "float64" else 1e-5
    parity(lambda lib, t: getattr(lib, name)(t), x, rtol=rtol)
    parity(lambda lib, t: getattr(t.t(), name)(), x, rtol=rtol)


@pytest.mark.parametrize("name", BINARY)
@given(shapes=SHAPES)
@settings(max_examples=10)
def test_binary_parity(name, shapes, parity):
    a, b = (uniform(s, seed=k) for k, s in enumerate(shapes.input_shapes))
    parity(lambda lib, s, t: getattr(lib, name)(s, t), a, b)


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "abs", "rsqrt", "reciprocal", "sign"])
def test_special_values(name, parity):
    """Zeros, infinities and NaN: the same values and gradients, and no warning."""
    x = np.array([0.0, -0.0, 1.0, np.inf, np.nan, -np.inf, 1e300])
    parity(lambda lib, t: getattr(lib, name)(t), x)


def test_pow_at_zero(parity):
    base, exponent = (g.ravel() for g in np.meshgrid([0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 0.5, -1.0]))
    parity(lambda lib, a, b: a**b, base, exponent)
    for n in (0, 1, 2, 0.5):
        parity(lambda lib, a, n=n: a**n, base)
        parity(lambda lib, b, n=n: n**b, exponent)


def test_ties_share_the_gradient(parity):
    a, b = np.array([1.0, 2.0, 3.0, np.nan]), np.array([1.0, 3.0, 2.0, 1.0])
    parity(lambda lib, s, t: lib.maximum(s, t), a, b)
    parity(lambda lib, s, t: lib.minimum(s, t), a, b)
    x = leaf(np.array([1.0]))
    minicnn.maximum(x, minicnn.tensor([1.0], dtype=minicnn.float64)).backward()
    assert x.grad.item() == 0.5


def test_clamp(parity):
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, np.nan])
    parity(lambda lib, t: lib.clamp(t, -1, 1), x)
    parity(lambda lib, t: t.clamp(min=0.0), x)
    parity(lambda lib, t: t.clip(max=0.0), x)
    parity(lambda lib, t: t.clamp(1.0, -1.0), x)
    lo, hi = np.array([[-1.0], [1.0]]), np.array([[0.0], [-1.0]])
    parity(lambda lib, t, p, q: lib.clamp(t, p, q), np.stack([x, x + 0.1]), lo, hi)
    parity(lambda lib, t: lib.clamp(t, 0.5), np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="clamp: expects min, max or both"):
        minicnn.clamp(minicnn.ones(2))


def test_where(parity):
    c, a, b = np.array([True, False]), uniform((3, 2)), uniform((3, 1))
    parity(lambda lib, k, s, t: lib.where(k, s, t), c, a, b)
    parity(lambda lib, k, s: lib.where(k, s, 0.0), c, a.astype("f"))
    parity(lambda lib, k: lib.where(k, 1.0, 2.0), c)
    parity(lambda lib, k: lib.where(k, 1, 2), c)
    parity(lambda lib, k: lib.where(k), c)
    parity(lambda lib, k, s: s.where(k, s * 2), c, a, grads=False)


@pytest.mark.parametrize("mode", [None, "floor", "trunc"])
def test_division_and_its_remainders(mode, parity):
    a, b = np.array([7.0, -7.0, 7.5, -0.5]), np.array([2.0, 2.0, -2.0, 1.0])
    parity(lambda lib, s, t: lib.div(s, t, rounding_mode=mode), a, b, grads=mode is None)
    ints = a.astype(int), np.array([2, 2, -2, 1])
    parity(lambda lib, s, t: lib.div(s, t, rounding_mode=mode), *ints)
    parity(lambda lib, s, t: s % t, *ints)
    parity(lambda lib, s, t: lib.fmod(s, t), *ints)
    parity(lambda lib, s: s % 2 + s // 2 + 7 // s, a, grads=False)
    parity(lambda lib, s: lib.remainder(s, 3) * lib.fmod(s, 2.0), a)
    bools = np.array([True, False, True, True])
    parity(lambda lib, s, t: s % t, bools, ints[1])
    with np.errstate(all="ignore"):
        edges = np.array([1e20, -1e20, np.inf, 5.0, -5.0]), np.array([3.0, 7.0, 2.0, np.inf, 0.0])
    parity(lambda lib, s, t: lib.div(s, t, rounding_mode=mode), *edges, grads=False)
    parity(lambda lib, s, t: s % t, *edges, grads=False)
    parity(lambda lib, s, t: lib.fmod(s, t), *edges, grads=False)


def test_remainders_are_exact_and_say_what_is_wrong():
    x = minicnn.tensor([1e10, -1e10])
    np.testing.assert_array_equal((x % 3.0).numpy(), [1, 2])
    np.testing.assert_array_equal(minicnn.fmod(x, 3.0).numpy(), [1, -1])
    with pytest.raises(RuntimeError, match="remainder: an integer divided by zero"):
        minicnn.tensor([1]) % 0
    with pytest.raises(RuntimeError, match="fmod: expects numbers, got bools"):
        minicnn.fmod(minicnn.tensor([True]), True)
    with pytest.raises(RuntimeError, match=r"remainder: shapes \(2,\) and \(3,\)"):
        x % minicnn.ones(3)


def test_power_zero_has_no_slope_anywhere():
    x = minicnn.tensor([0.0, np.inf, -np.inf, np.nan, 2.0], requires_grad=True)
    (x**0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(5))


def test_operands_of_other_types_are_named():
    with pytest.raises(TypeError, match="expects tensors or numbers, got object"):
        np.array([1, "a"], dtype=object) * minicnn.ones(2)
    with pytest.raises(RuntimeError, match="where: condition expects bools, got list"):
        minicnn.where([True], minicnn.ones(1), minicnn.ones(1))


# ---------------------------------------------------------------------- types

DTYPES = ["bool", "uint8", "int32", "int64", "float16", "float32", "float64"]


def outcome(fn):
    try:
        return str(fn().dtype).removeprefix("torch.")
    except (RuntimeError, TypeError):
        return "error"


@pytest.mark.parametrize("ndims", [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_types_that_meet(ndims, parity):
    torch = parity.torch
    ops = ["add", "sub", "mul", "div", "pow", "maximum", "floor_divide", "eq", "logical_and"]
    for p, q, op in itertools.product(DTYPES, DTYPES, ops):
        if op in ("pow", "floor_divide") and {p, q} & {"bool", "float16"}:
            continue  # PyTorch's CPU has no such kernels
        a, b = np.ones((2,) * ndims[0], p), np.ones((2,) * ndims[1], q)
        mine = outcome(lambda a=a, b=b, op=op: getattr(minicnn, op)(*map(minicnn.tensor, (a, b))))
        theirs = outcome(lambda a=a, b=b, op=op: getattr(torch, op)(*map(torch.tensor, (a, b))))
        assert mine == theirs, (op, p, q)


@pytest.mark.parametrize("number", [True, 2, 2.0, np.float64(2), np.float32(2), np.int64(2)])
def test_numbers_do_not_promote(number, parity):
    torch = parity.torch
    plain = number.item() if isinstance(number, np.generic) else number
    for dtype, op in itertools.product(DTYPES, ["add", "mul", "truediv", "rmul", "rtruediv", "lt"]):
        array = np.ones(2, dtype)
        mine = outcome(lambda a=array, f=f"__{op}__": getattr(minicnn.tensor(a), f)(number))
        theirs = outcome(lambda a=array, f=f"__{op}__": getattr(torch.tensor(a), f)(plain))
        assert mine == theirs, (op, dtype)


@pytest.mark.parametrize(
    "name", ["exp", "sqrt", "log", "sin", "reciprocal", "neg", "abs", "square"]
)
def test_integers_in_functions(name, parity):
    for dtype in ("int32", "int64", "float16"):
        parity(lambda lib, t: getattr(lib, name)(t), np.array([1, 2], dtype), rtol=1e-3)


def test_small_integers_wrap_around(parity):
    x = np.array([0, 1, 255], "uint8")
    parity(lambda lib, t: t + 1, x)
    parity(lambda lib, t: t - 1, x)
    parity(lambda lib, t: t * -1, x)
    parity(lambda lib, t: -t, x)


def test_gradients_have_the_type_of_their_input(parity):
    a, b = uniform((2, 3)).astype("f"), uniform((3,))
    parity(lambda lib, s, t: s * t, a, b, rtol=1e-6)
    parity(lambda lib, s, t: s / t, a, b, rtol=1e-6)
    parity(lambda lib, s, t: lib.where(s > 1, s, t), a, b, rtol=1e-6)
    x = leaf(a)
    (x.double() ** 2).sum().backward()
    assert x.grad.dtype == minicnn.float32


def test_second_derivatives_through_mixed_types():
    a, b = leaf(uniform((3,)).astype("f")), leaf(uniform((3,)))
    y = (a * b * b).sum()
    (g,) = minicnn.autograd.grad(y, b, create_graph=True)
    (h,) = minicnn.autograd.grad(g.sum(), a)
    np.testing.assert_allclose(h.numpy(), 2 * b.detach().numpy(), rtol=1e-6)
    assert h.dtype == minicnn.float32


# ---------------------------------------------------------------------- questions


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_comparisons(name, parity):
    a, b = np.array([[1.0, 2.0, np.nan]]), np.array([[1.0], [3.0]])
    parity(lambda lib, s, t: getattr(lib, name)(s, t), a, b)
    parity(lambda lib, s: getattr(s, f"__{name}__")(2), a)
    parity(lambda lib, s: getattr(lib, name)(s, 1.5), np.array([1, 2]))


def test_other_questions(parity):
    x = np.array([0.0, 1.0, np.nan, np.inf, -np.inf])
    for name in ("isnan", "isinf", "isfinite", "logical_not"):
        parity(lambda lib, t, n=name: getattr(lib, n)(t), x)
    for name in ("logical_and", "logical_or", "logical_xor"):
        parity(lambda lib, t, n=name: getattr(lib, n)(t, t - 1), x)
    parity(lambda lib, t: lib.isclose(t, t + 1e-9, equal_nan=True), x)
    a = minicnn.tensor([1.0, 2.0])
    assert minicnn.allclose(a, a + 1e-7) is True
    assert minicnn.allclose(a, a + 1e-2) is False
    assert minicnn.equal(a, a.clone()) is True
    assert minicnn.equal(a, a[:1]) is False


def test_equality_with_what_is_no_number():
    assert (minicnn.ones(2) == None) is False  # noqa: E711
    assert (minicnn.ones(2) != "abc") is True


# ---------------------------------------------------------------------- errors and raw arrays


@pytest.mark.parametrize("name", [*BINARY, "eq", "floor_divide"])
def test_shapes_that_do_not_broadcast(name):
    a, b = minicnn.ones(2, 3), minicnn.ones(4)
    with pytest.raises(RuntimeError, match=rf"{name}: shapes \(2, 3\) and \(4,\) do not broadcast"):
        getattr(minicnn, name)(a, b)


def test_errors():
    x, flags = minicnn.ones(2), minicnn.tensor([True, False])
    with pytest.raises(TypeError, match="add: expects tensors or numbers, got list"):
        minicnn.add(x, [1, 2])
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = x + "a"
    with pytest.raises(RuntimeError, match="sub: bools cannot be subtracted"):
        flags - flags
    with pytest.raises(RuntimeError, match="neg: a bool"):
        _ = -flags
    with pytest.raises(RuntimeError, match="pow: integers to negative"):
        minicnn.tensor([2]) ** -1
    with pytest.raises(RuntimeError, match="floor_divide: an integer divided by zero"):
        minicnn.tensor([2]) // 0
    with pytest.raises(ValueError, match="div: rounding_mode expects"):
        minicnn.div(x, x, rounding_mode="up")
    with pytest.raises(RuntimeError, match="where: condition expects bools, got float32"):
        minicnn.where(x, x, x)
    with pytest.raises(RuntimeError, match=r"where: shapes \(2,\), \(3,\) and \(2,\)"):
        minicnn.where(flags, minicnn.ones(3), x)


@given(name=st.sampled_from([*BINARY, "eq", "logical_or"]))
def test_raw_arrays_give_raw_arrays(name):
    a, b = uniform((2, 3)), uniform((3,), seed=1)
    y = getattr(minicnn, name)(a, b)
    assert type(y) is np.ndarray
    tensors = getattr(minicnn, name)(minicnn.tensor(a), minicnn.tensor(b))
    np.testing.assert_array_equal(y, tensors.numpy())


def test_inputs_stay_as_they_are():
    a, b = uniform((2, 3)), uniform((2, 3), seed=1)
    for name in BINARY:
        s, t = leaf(a), leaf(b)
        getattr(minicnn, name)(s, t).sum().backward()
        np.testing.assert_array_equal(s.detach().numpy(), a)
        np.testing.assert_array_equal(t.detach().numpy(), b)


def test_alpha():
    a, b = minicnn.tensor([1.0]), minicnn.tensor([3.0])
    assert minicnn.add(a, b, alpha=2).item() == 7
    assert a.sub(b, alpha=2).item() == -5

"""Activations: every formula against the code, derivatives, kinks, extremes, parity, errors."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import minicnn
from minicnn.autograd import GradcheckError, Tensor, gradcheck, gradgradcheck
from minicnn.functional.activation import (
    celu,
    elu,
    hardsigmoid,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softsign,
    tanh,
)
from minicnn.functional.gate import gelu, glu, hardswish, mish
from minicnn.functional.shrink import hardshrink, softshrink, tanhshrink, threshold
from minicnn.functional.special import erf, erfc

BACKENDS = ["cpu", "reference"]
exp, where = np.exp, np.where


def leaf(array):
    return Tensor(np.array(array, float), requires_grad=True)


def second_derivatives(fn, *inputs):
    """gradgradcheck, and: the gradient that can be differentiated again is the ordinary one."""
    assert gradgradcheck(fn, inputs)
    y = fn(*inputs)
    u = Tensor(np.random.default_rng(9).normal(size=y.shape))
    plain = minicnn.autograd.grad(y, inputs, u, retain_graph=True)
    graph = minicnn.autograd.grad(y, inputs, u, create_graph=True)
    for a, b in zip(plain, graph, strict=True):
        np.testing.assert_allclose(a.array, b.detach().array, rtol=1e-11, atol=1e-13)


R, A = 1.0507009873554805, 1.6732632423543772  # selu's r and a
K, C = math.sqrt(2 / math.pi), 0.044715
Phi = np.vectorize(lambda x: math.erfc(-x / math.sqrt(2)) / 2, otypes=[float])


def s(x):
    return 1 / (1 + exp(-x))


def mish_gate(x):
    return np.tanh(np.log(1 + exp(x)))


# name: (function, the formula of y, the formula of f')
FORMULAS = {
    "relu": (relu, lambda x: where(x > 0, x, 0), lambda x: where(x > 0, 1, 0)),
    "leaky_relu": (
        lambda x: leaky_relu(x, 0.2),
        lambda x: where(x > 0, x, 0.2 * x),
        lambda x: where(x > 0, 1, 0.2),
    ),
    "leaky_relu steep": (
        lambda x: leaky_relu(x, 3),
        lambda x: where(x > 0, x, 3 * x),
        lambda x: where(x > 0, 1, 3),
    ),
    "leaky_relu negative": (
        lambda x: leaky_relu(x, -0.5),
        lambda x: where(x > 0, x, -0.5 * x),
        lambda x: where(x > 0, 1, -0.5),
    ),
    "leaky_relu flat": (
        lambda x: leaky_relu(x, 0),
        lambda x: where(x > 0, x, 0),
        lambda x: where(x > 0, 1, 0),
    ),
    "sigmoid": (
        sigmoid,
        lambda x: 1 / (1 + exp(-x)),
        lambda x: exp(-x) / (1 + exp(-x)) ** 2,
    ),
    "tanh": (
        tanh,
        lambda x: (exp(x) - exp(-x)) / (exp(x) + exp(-x)),
        lambda x: 1 - np.tanh(x) ** 2,
    ),
    "silu": (
        silu,
        lambda x: x / (1 + exp(-x)),
        lambda x: 1 / (1 + exp(-x)) * (1 + x * (1 - 1 / (1 + exp(-x)))),
    ),
    "elu": (
        lambda x: elu(x, 1.5),
        lambda x: where(x > 0, x, 1.5 * (exp(x) - 1)),
        lambda x: where(x > 0, 1, 1.5 * exp(x)),
    ),
    "softplus": (
        lambda x: softplus(x, 2.0),
        lambda x: np.log(1 + exp(2 * x)) / 2,
        lambda x: exp(2 * x) / (1 + exp(2 * x)),
    ),
    "hardtanh": (
        lambda x: hardtanh(x, -0.5, 0.8),
        lambda x: np.minimum(np.maximum(x, -0.5), 0.8),
        lambda x: where((x > -0.5) & (x < 0.8), 1, 0),
    ),
    "relu6": (
        relu6,
        lambda x: np.minimum(np.maximum(x, 0), 6),
        lambda x: where((x > 0) & (x < 6), 1, 0),
    ),
    "prelu": (
        lambda x: prelu(x, np.array([0.3], x.dtype)),
        lambda x: where(x > 0, x, 0.3 * x),
        lambda x: where(x > 0, 1, 0.3),
    ),
    "logsigmoid": (logsigmoid, lambda x: np.log(s(x)), lambda x: s(-x)),
    "softsign": (softsign, lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2),
    "celu": (
        lambda x: celu(x, 1.5),
        lambda x: where(x > 0, x, 1.5 * (exp(x / 1.5) - 1)),
        lambda x: where(x > 0, 1, exp(x / 1.5)),
    ),
    "selu": (
        selu,
        lambda x: R * where(x > 0, x, A * (exp(x) - 1)),
        lambda x: R * where(x > 0, 1, A * exp(x)),
    ),
    "hardsigmoid": (
        hardsigmoid,
        lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6,
        lambda x: where((x > -3) & (x < 3), 1 / 6, 0),
    ),
    "gelu": (
        gelu,
        lambda x: x * Phi(x),
        lambda x: Phi(x) + x * exp(-x * x / 2) / math.sqrt(2 * math.pi),
    ),
    "gelu by tanh": (
        lambda x: gelu(x, "tanh"),
        lambda x: x * s(2 * K * (x + C * x**3)),
        lambda x: (
            s(2 * K * (x + C * x**3))
            + x
            * s(2 * K * (x + C * x**3))
            * s(-2 * K * (x + C * x**3))
            * 2
            * K
            * (1 + 3 * C * x * x)
        ),
    ),
    "mish": (
        mish,
        lambda x: x * mish_gate(x),
        lambda x: mish_gate(x) + x * (1 - mish_gate(x) ** 2) * s(x),
    ),
    "hardswish": (
        hardswish,
        lambda x: x * np.minimum(np.maximum(x + 3, 0), 6) / 6,
        lambda x: where(x >= 3, 1, where(x > -3, x / 3 + 1 / 2, 0)),
    ),
    "threshold": (
        lambda x: threshold(x, 0.8, 0.25),
        lambda x: where(x > 0.8, x, 0.25),
        lambda x: where(x > 0.8, 1, 0),
    ),
    "hardshrink": (
        hardshrink,
        lambda x: where(abs(x) > 0.5, x, 0),
        lambda x: where(abs(x) > 0.5, 1, 0),
    ),
    "softshrink": (
        softshrink,
        lambda x: where(x > 0.5, x - 0.5, where(x < -0.5, x + 0.5, 0)),
        lambda x: where(abs(x) > 0.5, 1, 0),
    ),
    "tanhshrink": (tanhshrink, lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2),
    "erf": (
        erf,
        lambda x: 1 - np.vectorize(math.erfc, otypes=[float])(x),
        lambda x: 2 / math.sqrt(math.pi) * exp(-x * x),
    ),
    "erfc": (
        erfc,
        np.vectorize(math.erfc, otypes=[float]),
        lambda x: -2 / math.sqrt(math.pi) * exp(-x * x),
    ),
}


def away_from_kinks(shape=(3, 4, 5)):
    """Both signs, also beyond 6, and nothing within 0.1 of a kink."""
    x = np.random.default_rng(0).normal(0, 3, shape)
    for kink in (-3, -0.5, 0, 0.5, 0.8, 3, 6):
        x = where(abs(x - kink) < 0.1, kink + 0.15, x)
    return x


@pytest.mark.parametrize("name", FORMULAS)
def test_element_by_element(name):
    function, formula, slope = FORMULAS[name]
    x = leaf(away_from_kinks())
    y = function(x)
    grad_y = np.random.default_rng(1).normal(size=x.shape)
    y.backward(Tensor(grad_y))
    np.testing.assert_allclose(y.detach().array, formula(x.array), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(x.grad.array, slope(x.array) * grad_y, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", FORMULAS)
def test_derivatives(name):
    function = FORMULAS[name][0]
    for shape in ((3, 4), (), (0, 2)):
        x = leaf(away_from_kinks(shape))
        assert gradcheck(function, x)
        second_derivatives(function, x)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_complex_step(name):
    x, h = away_from_kinks(), 1e-30
    function, _, slope = FORMULAS[name]
    np.testing.assert_allclose(function(x + 1j * h).imag / h, slope(x), atol=1e-15)


@pytest.mark.parametrize(
    ("function", "kink", "slope"),
    [
        (relu, 0.0, 0.0),
        (lambda x: leaky_relu(x, 0.2), 0.0, 0.2),
        (lambda x: elu(x, 1.5), 0.0, 1.5),
        (hardtanh, -1.0, 0.0),
        (hardtanh, 1.0, 0.0),
        (relu6, 0.0, 0.0),
        (relu6, 6.0, 0.0),
        (lambda x: prelu(x, np.array([0.3])), 0.0, 0.3),
        (selu, 0.0, R * A),
        (hardsigmoid, -3.0, 0.0),
        (hardsigmoid, 3.0, 0.0),
        (hardswish, -3.0, 0.0),
        (hardswish, 3.0, 1.0),
        (softshrink, -0.5, 0.0),
        (softshrink, 0.5, 0.0),
    ],
)
def test_kinks_follow_the_documented_convention(function, kink, slope):
    x = leaf([kink])
    function(x).backward(Tensor(np.ones(1)))
    assert x.grad.array[0] == slope
    with pytest.raises(GradcheckError, match="kink or tie"):
        gradcheck(function, x)


@pytest.mark.parametrize(
    ("function", "jump"),
    [(hardshrink, -0.5), (hardshrink, 0.5), (lambda x: threshold(x, 1.0, 7.0), 1.0)],
)
def test_jumps_have_the_gradient_zero_and_are_no_derivatives(function, jump):
    x = leaf([jump])
    y = function(x)
    assert y.item() in (0, 7)
    y.backward(Tensor(np.ones(1)))
    assert x.grad.array[0] == 0
    with pytest.raises(GradcheckError):
        gradcheck(function, x)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", FORMULAS)
def test_extremes_have_gradients_without_warnings(name, dtype):
    largest = np.finfo(dtype).max
    x = leaf(0)
    x.array = np.array([-largest, -1e4, -100, -20, 0, 20, 100, 1e4, largest], dtype)
    y, ones = FORMULAS[name][0](x), Tensor(np.ones(9, dtype))
    (grad_x,) = minicnn.autograd.grad(y, x, ones, retain_graph=True)
    assert np.isfinite(grad_x.array).all() and grad_x.dtype == dtype
    (again,) = minicnn.autograd.grad(y, x, ones, create_graph=True)
    np.testing.assert_allclose(again.detach().array, grad_x.array, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", FORMULAS)
def test_extremes_without_warnings(name, dtype):
    function = FORMULAS[name][0]
    largest = np.finfo(dtype).max
    x = np.array([-largest, -1e4, -100, 100, 1e4, largest, np.nan], dtype)
    y = function(x)
    assert y.dtype == dtype
    assert np.isnan(y[-1]) and not np.isnan(y[:-1]).any()
    at_infinity = function(np.array([np.inf], dtype))[0]
    if name == "softsign":  # infinity / infinity, as in PyTorch
        return
    assert at_infinity in (np.inf, function(np.array([1e4], dtype))[0])


def test_sigmoid_keeps_its_digits_far_out():
    x = np.array([-700.0, -30.0, 30.0])
    np.testing.assert_allclose(sigmoid(x), [exp(-700), exp(-30) / (1 + exp(-30)), 1], rtol=1e-13)


@pytest.mark.parametrize("name", FORMULAS)
def test_memory_order_is_kept(name):
    function = FORMULAS[name][0]
    x = leaf(0)
    x.array = away_from_kinks((2, 3, 4, 5)).transpose(0, 3, 1, 2)
    y = function(x)
    y.backward(Tensor(np.ones(x.shape)))
    assert y.stride() == x.stride()
    assert np.array_equal(y.detach().array, function(x.array.copy()))


def test_relu_saves_its_output_alone():
    x = leaf(away_from_kinks())
    y = relu(x)
    assert [a is y.array for a in y.grad_fn._saved] == [True]


INPLACE = [
    *(relu, leaky_relu, elu, hardtanh, relu6, silu),
    *(selu, celu, mish, hardswish, hardsigmoid),
]


@pytest.mark.parametrize(
    "function", ["leaky_relu", "hardtanh", "relu6", "elu", "silu", "hardswish"]
)
def test_the_output_may_be_changed_in_place(function, parity):
    """`x = leaky_relu(conv(x)); x += shortcut`."""

    def residual(lib, x):
        y = getattr(lib.nn.functional, function)(x * 3)
        y += x
        return y

    parity(residual, np.array([-3.0, -0.7, 0.2, 0.3, 1.9]))


@pytest.mark.parametrize("function", INPLACE)
def test_inplace(function):
    x = leaf(away_from_kinks())
    wanted = function(x)
    wanted.backward(Tensor(np.cos(x.array)))
    wanted_grad, x.grad = x.grad, None
    middle = x * 1.0
    memory = middle.array
    y = function(middle, inplace=True)
    assert y is middle and y.array is memory
    y.backward(Tensor(np.cos(x.array)))
    assert np.array_equal(memory, wanted.detach().array)
    assert np.array_equal(x.grad.array, wanted_grad.array)
    raw = x.array.copy()
    assert function(raw, inplace=True) is raw and np.array_equal(raw, memory)
    with pytest.raises(RuntimeError, match=f"{function.__name__}_: a leaf"):
        function(x, inplace=True)


def in_place_forms(lib):
    F = lib.nn.functional
    return [
        *(F.relu_, F.elu_, F.selu_, F.celu_, F.leaky_relu_, F.hardtanh_),
        *(lambda x: F.elu_(x, 1.5), lambda x: F.leaky_relu_(x, 2.0), lambda x: F.celu_(x, 2.0)),
        *(lambda x: F.hardtanh_(x, -0.5, 0.8), lambda x: F.threshold_(x, 0.1, 20.0)),
        *(lib.relu_, lib.selu_, lib.celu_, lambda x: lib.threshold_(x, 0.1, 20.0)),
    ]


@pytest.mark.parametrize("number", range(len(in_place_forms(minicnn))))
def test_in_place_forms(number, parity):
    """After a product, which can do without its result; the leaf itself is refused."""

    def after_a_product(lib, x):
        middle = x * 2
        y = in_place_forms(lib)[number](middle)
        assert y is middle
        return y

    function = in_place_forms(minicnn)[number]
    parity(after_a_product, np.array([-3.0, -0.7, 0.2, 0.3, 0.9]))
    with pytest.raises(RuntimeError, match="_: a leaf that requires a gradient cannot"):
        function(leaf([1.0]))
    raw = np.array([-2.0, 1.0])
    assert function(raw) is raw


@pytest.mark.parametrize("number", range(len(in_place_forms(minicnn))))
def test_a_value_that_another_op_saved_is_not_lost_in_silence(number):
    """exp needs its own result; relu needs what it gave, which the second change spoils."""
    x = leaf([-1.0, 0.5])
    y = in_place_forms(minicnn)[number](x.exp())
    with pytest.raises(RuntimeError, match=r"ExpBackward: .* changed in place by"):
        y.sum().backward()
    y = relu(x * 1.0)
    in_place_forms(minicnn)[number](y)
    with pytest.raises(RuntimeError, match=r"ReLUBackward: .* changed in place by"):
        y.sum().backward()


INTEGERS = np.array([[-9, -1, 0], [1, 3, 9]])


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8"])
@pytest.mark.parametrize("name", ["relu", "relu6", "tanhshrink", "softsign", "sigmoid", "tanh"])
def test_integers(name, dtype, parity):
    """relu and relu6 keep them, the others make them floats of the default type."""
    x = np.abs(INTEGERS).astype(dtype) if dtype == "uint8" else INTEGERS.astype(dtype)
    parity(lambda lib, x: getattr(lib.nn.functional, name)(x), x, grads=False, rtol=1e-6)


def test_bounds_of_integers(parity, refuses):
    x = INTEGERS
    parity(lambda lib, x: lib.nn.functional.hardtanh(x, -2, 5), x)
    parity(lambda lib, x: lib.nn.functional.threshold(x, 2, 7), x)
    parity(lambda lib, x: lib.nn.functional.threshold(x, 0.5, 7.9), x)  # rounded towards 0
    small = np.array([1, 2], "uint8")
    text = "threshold: value expects a number that x's type uint8 holds, got -1"
    with pytest.raises(RuntimeError, match=text):  # PyTorch makes it 255
        threshold(small, 1, -1)
    text = "hardtanh: a bound expects a number that x's type uint8 holds"
    refuses(lambda lib, x: lib.nn.functional.hardtanh(x), small, match=text)
    for name in ("relu", "relu6", "hardtanh"):
        text = f"{name}: x expects a floating type, got bool"
        refuses(lambda lib, x, n=name: getattr(lib.nn.functional, n)(x), small > 1, match=text)


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="elu: x expects a floating type, got int64"):
        elu(np.array([1]))
    with pytest.raises(TypeError, match="softmax: x expects a floating type, got int64"):
        softmax(np.array([1]), 0)
    assert erf(Tensor(np.array([1]))).dtype == np.float32
    with pytest.raises(ValueError, match="hardtanh: min_val expects at most max_val=0"):
        hardtanh(np.ones(1), 1, 0)
    for function in (relu, tanh):
        text = f"{function.__name__}: x expects a Tensor or an array, got list"
        with pytest.raises(TypeError, match=text):
            function([1.0])


def test_the_gradient_of_nan_passes_relu(parity):
    parity(lambda lib, x: lib.nn.functional.relu(x), np.array([np.nan, 1.0, -1.0]))


@pytest.mark.parametrize("name", FORMULAS)
def test_half_precision_is_rounded_once(name):
    """What float32 gives, rounded: forward and backward."""
    half = np.random.default_rng(0).normal(0, 3, 200).astype(np.float16)
    narrow, wide = Tensor(half, requires_grad=True), Tensor(half.astype("f"), requires_grad=True)
    y, z = FORMULAS[name][0](narrow), FORMULAS[name][0](wide)
    y.backward(minicnn.ones_like(y))
    z.backward(minicnn.ones_like(z))
    assert y.dtype == narrow.grad.dtype == np.float16
    exact = name.startswith("prelu")  # which has no number to round but the product
    tolerance = 2e-3 if exact else 0
    for a, b in ((y.detach(), z.detach()), (narrow.grad, wide.grad)):
        np.testing.assert_allclose(a.array, b.array.astype(np.float16), rtol=tolerance, strict=True)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", ["silu", "mish", "gelu", "hardswish"])
def test_minus_infinity_makes_a_gate_nan_without_a_warning(name, dtype, parity):
    x = np.array([-np.inf, 1.0], dtype)
    parity(lambda lib, x: getattr(lib.nn.functional, name)(x), x, rtol=1e-3)


def test_threshold_in_place():
    x = minicnn.tensor([-1.0, 2.0])
    assert minicnn.nn.functional.threshold(x, 1, 5, True) is x and x.tolist() == [5, 2]


def test_the_error_function_to_the_last_digit():
    """Beside the C library's, also next to where one formula hands over to another."""
    x = np.concatenate([np.linspace(-27, 27, 4001), [0.46875, 4, np.nextafter(4, 5)]])
    wanted = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(erf(x), wanted, rtol=1e-15)
    np.testing.assert_allclose(erf(x.astype("f")), wanted, rtol=5e-6, atol=2e-7)
    wanted = np.array([math.erfc(v) for v in x])
    seen = wanted > 1e-300
    assert np.max((abs(erfc(x) - wanted) / wanted / (1 + x * x))[seen]) < 1e-15
    at = np.array([np.inf, -np.inf, 1e308, -0.0])
    assert erf(at).tolist() == [1, -1, 1, 0] and np.signbit(erf(at)[-1])
    assert erfc(at).tolist() == [0, 2, 0, 1] and np.isnan(erf(np.array(np.nan)))
    assert erf(np.zeros((0, 3))).shape == (0, 3)


def test_gelu_keeps_its_digits_far_out():
    for approximate, value in (("none", -30 * math.erfc(30 / math.sqrt(2)) / 2), ("tanh", 0)):
        np.testing.assert_allclose(gelu(np.array([-30.0]), approximate), [value], rtol=1e-12)
    x = np.linspace(-5, 5, 1001)
    assert 1e-4 < np.abs(gelu(x) - gelu(x, "tanh")).max() < 5e-4


@pytest.mark.parametrize(
    ("shape", "weights"),
    [((2, 3, 2, 2), 3), ((2, 3, 2), 1), ((4, 3), 3), ((5,), 1), ((2, 3), None), ((0, 3), 3)],
)
def test_prelu(shape, weights, parity):
    r = np.random.default_rng(0)
    x, w = r.normal(size=shape), r.normal(size=() if weights is None else weights)
    parity(lambda lib, x, w: lib.nn.functional.prelu(x, w), x, w)
    tx, tw = leaf(x), leaf(w)
    assert gradcheck(prelu, (tx, tw))
    second_derivatives(prelu, tx, tw)
    if len(shape) == 4:  # by formula (2a), index by index
        g = r.normal(size=shape)
        prelu(tx, tw).backward(Tensor(g))
        wanted = np.einsum("ncij,ncij->c", g, np.minimum(x, 0))
        np.testing.assert_allclose(tw.grad.array, wanted, rtol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_glu(axis, parity):
    r = np.random.default_rng(0)
    x = r.normal(size=(2, 4, 6))
    parity(lambda lib, x: lib.nn.functional.glu(x, axis), x)
    assert gradcheck(lambda x: glu(x, axis), leaf(x))
    second_derivatives(lambda x: glu(x, axis), leaf(x))
    tx = leaf(x)
    y = glu(tx, axis)
    g = r.normal(size=y.shape)
    y.backward(Tensor(g))
    a, b = np.split(x, 2, axis)
    np.testing.assert_allclose(y.detach().array, a * s(b), rtol=1e-12)
    wanted = np.concatenate([g * s(b), g * a * s(b) * (1 - s(b))], axis)
    np.testing.assert_allclose(tx.grad.array, wanted, rtol=1e-12)


x23 = np.ones((2, 3))


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (RuntimeError, r"prelu: weight expects shape \(1,\) or \(3,\), one for each channel of x "
         r"\(2, 3\), got \(2,\)", lambda: prelu(x23, np.ones(2))),
        (RuntimeError, r"prelu: weight expects .* got \(1, 3\)", lambda: prelu(x23, x23[:1])),
        (RuntimeError, r"prelu: weight expects .* or \(1,\)", lambda: prelu(x23[0], x23[0])),
        (TypeError, "prelu: weight expects x's type float64, got float32",
         lambda: prelu(x23, np.ones(3, "f"))),
        (TypeError, "prelu: weight expects a Tensor or an array, got float",
         lambda: prelu(x23, 0.25)),
        (ValueError, "celu: alpha expects a number other than 0", lambda: celu(x23, 0)),
        (ValueError, "gelu: approximate expects 'none' or 'tanh', got 'erf'",
         lambda: gelu(x23, "erf")),
        (ValueError, "softshrink: lambd expects at least 0, got -1", lambda: softshrink(x23, -1)),
        (RuntimeError, r"glu: x expects an even size along dim=-1, got 3: x \(2, 3\)",
         lambda: glu(x23)),
        (RuntimeError, r"glu: x expects at least one axis", lambda: glu(np.array(1.0))),
        (IndexError, "glu: dim expects -2 to 1", lambda: glu(x23, 2)),
        (TypeError, "gelu: x expects a floating type, got int64", lambda: gelu(np.array([1]))),
        (TypeError, "softmin: x expects a floating type, got int64",
         lambda: softmin(np.array([1]), 0)),
        (TypeError, "erf: expects tensors or numbers, got list", lambda: erf([1.0])),
    ],
)  # fmt: skip
def test_errors(error, text, call):
    with pytest.raises(error, match=text):
        call()


# ---------------------------------------------------------------------- along an axis


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_softmax_derivatives(function, backend):
    with minicnn.use_backend(backend):
        for shape, axis in (((2, 3), 1), ((2, 3, 2), 0), ((3, 2, 2, 2), 1), ((), 0), ((4,), -1)):
            x = leaf(np.random.default_rng(0).normal(size=shape))
            assert gradcheck(lambda x, a=axis: function(x, a), x)
            second_derivatives(lambda x, a=axis: function(x, a), x)


def test_softmax_complex_step():
    h, r = 1e-30, np.random.default_rng(0)
    X, v, u = r.normal(size=(3, 4)), r.normal(size=(3, 4)), r.normal(size=(3, 4))
    e = exp(X + 1j * h * v)
    slope = (e / e.sum(1, keepdims=True)).imag / h
    x = leaf(X)
    softmax(x, 1).backward(Tensor(u))
    np.testing.assert_allclose((x.grad.array * v).sum(), (u * slope).sum(), rtol=1e-12)


def test_a_sum_over_softmax_has_no_gradient():
    x = leaf(np.random.default_rng(0).normal(size=(2, 5)))
    softmax(x, 1).sum().backward()
    np.testing.assert_allclose(x.grad.array, 0, atol=1e-15)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_extremes(backend, dtype):
    x = np.array([[1e4, 0, -1e4], [-np.inf, 0, 0]], dtype)
    with minicnn.use_backend(backend):
        assert softmax(x, 1).tolist() == [[1, 0, 0], [0, 0.5, 0.5]]
        y = log_softmax(x, 1)
        assert y[0].tolist() == [0, -1e4, -2e4] and y[1, 0] == -np.inf
        assert softmax(np.zeros((0, 3), dtype), 1).shape == (0, 3)
        assert y.dtype == dtype
        assert np.isnan(softmax(np.array([[np.nan, 1]], dtype), 1)).all()


def test_dim_is_guessed_with_a_warning():
    for shape, axis in (((3,), 0), ((3, 4), 1), ((3, 4, 5), 0), ((2, 3, 4, 5), 1)):
        x = np.random.default_rng(0).normal(size=shape)
        for function in (softmax, log_softmax, softmin):
            with pytest.warns(UserWarning, match=f"^{function.__name__}: dim was not given"):
                y = function(x)
            assert np.array_equal(y, function(x, axis))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        softmax(np.ones(3))
    assert caught[0].filename == __file__


def test_softmax_arguments():
    with pytest.raises(IndexError, match=r"softmax: dim expects -2 to 1 .* got 2"):
        softmax(np.ones((2, 3)), 2)
    y = softmax(Tensor(np.array([1, 2])), 0, dtype=minicnn.float64)
    assert y.dtype == np.float64
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert np.array_equal(softmax(x[:, ::2, ::-1], 2), softmax(x[:, ::2, ::-1].copy(), 2))


# ---------------------------------------------------------------------- parity


def torch_function(name):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    return {
        "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
        "leaky_relu steep": lambda x: F.leaky_relu(x, 3.0),
        "leaky_relu negative": lambda x: F.leaky_relu(x, -0.5),
        "leaky_relu flat": lambda x: F.leaky_relu(x, 0.0),
        "elu": lambda x: F.elu(x, 1.5),
        "softplus": lambda x: F.softplus(x, 2.0),
        "hardtanh": lambda x: F.hardtanh(x, -0.5, 0.8),
        "prelu": lambda x: F.prelu(x, torch.tensor([0.3], dtype=x.dtype)),
        "celu": lambda x: F.celu(x, 1.5),
        "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
        "threshold": lambda x: F.threshold(x, 0.8, 0.25),
        "erf": torch.erf,
        "erfc": torch.erfc,
        "softmin": lambda x: F.softmin(x, 1),
        "softmax": lambda x: F.softmax(x, 1),
        "log_softmax": lambda x: F.log_softmax(x, 1),
    }.get(name) or getattr(F, name)


ALL = {name: function for name, (function, _, _) in FORMULAS.items()}
ALL |= {"softmax": lambda x: softmax(x, 1), "log_softmax": lambda x: log_softmax(x, 1)}
ALL |= {"softmin": lambda x: softmin(x, 1)}
COARSE = {"celu", "hardsigmoid"}  # where PyTorch rounds 1/alpha and 1/6 to float32


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("name", ALL)
@pytest.mark.filterwarnings("ignore:nn.functional.(tanh|sigmoid) is deprecated")
def test_parity_with_pytorch(name, dtype, tolerance):
    torch = pytest.importorskip("torch")
    r = np.random.default_rng(0)
    x, g = r.normal(0, 5, (4, 6, 5)).astype(dtype), r.normal(size=(4, 6, 5)).astype(dtype)
    x[0, 0, 0] = x[1, 1, 1] = 0  # the kink
    tx, cx = leaf(0), torch.tensor(x, requires_grad=True)
    tx.array = x
    y, ty = ALL[name](tx), torch_function(name)(cx)
    y.backward(Tensor(g))
    ty.backward(torch.tensor(g))
    for a, b in ((y.detach(), ty.detach()), (tx.grad, cx.grad)):
        # Relative to each value, not to the largest: also exp(-30) must be right.
        atol = 1e-6 if dtype == "float32" else 1e-7 if name in COARSE else 1e-14
        np.testing.assert_allclose(a.array, b.numpy(), rtol=tolerance, atol=atol, strict=True)

"""The element-wise Functions: the formulas in their docstrings, read and evaluated as they stand.

"y = a^b;  grad_a = grad_y * b a^(b-1)" is translated into Python and computed with NumPy. So a
formula that says something else than the code under it fails here.
"""

from __future__ import annotations

import importlib
import inspect
import re

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Function
from minicnn.functional.arithmetic import Abs, Add, Cast, Div, Lerp, Move, Mul, Neg, Pow, Sub
from minicnn.functional.choice import Clamp, Maximum, Minimum, Where
from minicnn.functional.exponential import (
    Exp,
    Exp2,
    Expm1,
    Log,
    Log1p,
    Log2,
    Log10,
    LogAddExp,
    Logit,
    Rsqrt,
    Sqrt,
    XLogY,
)
from minicnn.functional.operands import Zero
from minicnn.functional.rounding import Frac, Remainder, RoundedDiv, Step
from minicnn.functional.trigonometry import (
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atan2,
    Atanh,
    Cos,
    Cosh,
    Hypot,
    Sin,
    Sinh,
    Tan,
)

FAMILIES = ("arithmetic", "choice", "exponential", "operands", "rounding", "trigonometry")
RNG = np.random.default_rng(5)
ANY = RNG.standard_normal((3, 4))
OTHER = RNG.standard_normal((3, 4))
THIRD = RNG.standard_normal((3, 4))
POSITIVE = np.abs(ANY) + 0.3
SMALL = RNG.uniform(0.1, 0.9, (3, 4))
STEPS = ANY * 3
MASK = RNG.random((3, 4)) < 0.5

NAMES = {
    name: getattr(np, name)
    for name in ["log", "sqrt", "sin", "cos", "sinh", "cosh", "trunc", "sign", "abs"]
}
NAMES |= {"e": np.e, "max": np.maximum, "min": np.minimum}

# Function: (inputs, options, what the words of a docstring mean)
TABLE = {
    Cast: ([ANY], {"dtype": np.dtype("float64")}, {"y": "x", "grad_x": "grad_y"}),
    Move: ([ANY], {"to": ("cpu", None)}, {"y": "x", "grad_x": "grad_y"}),
    Add: ([ANY, OTHER], {}, {}),
    Sub: ([ANY, OTHER], {}, {}),
    Mul: ([ANY, OTHER], {}, {}),
    Div: ([ANY, OTHER], {}, {}),
    Pow: ([POSITIVE, OTHER], {}, {}),
    Neg: ([ANY], {}, {}),
    Abs: ([ANY], {}, {}),
    Lerp: ([ANY, OTHER, THIRD], {}, {}),
    RoundedDiv: ([STEPS, OTHER], {"mode": "floor"}, {"y": "np.floor(a / b)"}),
    Remainder: ([STEPS, OTHER], {"mode": "trunc"}, {"q": "trunc(a / b)"}),
    Step: ([STEPS], {"step": np.ceil}, {"y": "np.ceil(x)"}),
    Frac: ([STEPS], {}, {}),
    Maximum: (
        [ANY, OTHER],
        {},
        {"grad_a": "np.where(a > b, grad_y, 0)", "grad_b": "np.where(b > a, grad_y, 0)"},
    ),
    Minimum: (
        [ANY, OTHER],
        {},
        {"grad_a": "np.where(a < b, grad_y, 0)", "grad_b": "np.where(b < a, grad_y, 0)"},
    ),
    Where: ([MASK, ANY, OTHER], {}, {}),
    Clamp: (
        [ANY, OTHER - 1, OTHER + 1],
        {},
        {
            "grad_x": "np.where((lo <= x) & (x <= hi), grad_y, 0)",
            "grad_lo": "np.where(x < lo, grad_y, 0)",
            "grad_hi": "np.where(x > hi, grad_y, 0)",
        },
    ),
    Exp: ([ANY], {}, {}),
    Exp2: ([ANY], {}, {}),
    Expm1: ([ANY], {}, {}),
    Log: ([POSITIVE], {}, {}),
    Log1p: ([POSITIVE], {}, {}),
    Log2: ([POSITIVE], {}, {}),
    Log10: ([POSITIVE], {}, {}),
    Sqrt: ([POSITIVE], {}, {}),
    Rsqrt: ([POSITIVE], {}, {}),
    LogAddExp: ([ANY, OTHER], {}, {}),
    Logit: ([SMALL], {"eps": None}, {}),
    XLogY: ([ANY, POSITIVE], {}, {}),
    Sin: ([ANY], {}, {}),
    Cos: ([ANY], {}, {}),
    Tan: ([SMALL], {}, {"y": "sin(x) / cos(x)"}),
    # An angle is the right one if its sine is x.
    Asin: ([SMALL], {}, {"x": "sin(y)"}),
    Acos: ([SMALL], {}, {"x": "cos(y)"}),
    Atan: ([ANY], {}, {"x": "sin(y) / cos(y)"}),
    Atan2: ([ANY, OTHER], {}, {"a / b": "sin(y) / cos(y)"}),
    Hypot: ([ANY, OTHER], {}, {}),
    Sinh: ([ANY], {}, {}),
    Cosh: ([ANY], {}, {}),
    Asinh: ([ANY], {}, {}),
    Acosh: ([POSITIVE + 1], {}, {}),
    Atanh: ([SMALL], {}, {}),
    Zero: ([ANY], {}, {}),
}


def shown(doc):
    """{"y": text, "grad_a": text, ...}: what stands behind the equals signs of a docstring."""
    found = {}
    for match in re.finditer(r"\b(y|q|grad_\w+) = ", doc):
        depth, end = 0, match.end()
        while end < len(doc):
            depth += {"(": 1, ")": -1}.get(doc[end], 0)
            if not depth and re.match(r"[;:\n]|[.,](\s|$)", doc[end:]):
                break
            end += 1
        found.setdefault(match[1], doc[match.end() : end])
    return found


def python(text):
    """A formula as Python: e^x is e**x, |x| abs(x), log x log(x), 2 y 2 * y."""
    text = text.replace("^-", "**-").replace("^", "**")
    text = re.sub(r"\|(\w+)\|", r"abs(\1)", text)
    text = re.sub(r"\b(log|sqrt|sin|cos|sinh|cosh|trunc) (\w+)", r"\1(\2)", text)
    chosen = re.fullmatch(r"(\w+) where (\w+) else (\w+)", text)
    if chosen:
        return "np.where({1}, {0}, {2})".format(*chosen.groups())
    return re.sub(r"([\w)]) (?=[\w(])", r"\1 * ", text)


def test_the_reader_of_formulas():
    doc = (
        "y = max(a, b), of two;  grad_a = grad_y * b a^(b-1),  grad_b = -grad_y / (2 y): infinite."
    )
    texts = shown(doc)
    assert texts == {
        "y": "max(a, b)",
        "grad_a": "grad_y * b a^(b-1)",
        "grad_b": "-grad_y / (2 y)",
    }
    assert python(texts["grad_a"]) == "grad_y * b * a**(b-1)"
    assert python("x (1 - x) log x") == "x * (1 - x) * log(x)"
    assert python("(e^x - e^-x) / 2") == "(e**x - e**-x) / 2"


@pytest.mark.parametrize("function", TABLE, ids=lambda f: f.__name__)
def test_the_formulas_displayed(function):
    inputs, options, words = TABLE[function]
    names = list(inspect.signature(function.forward).parameters)[1 : 1 + len(inputs)]
    tensors = [minicnn.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    y = function.apply(*tensors, **options)
    grad_y = RNG.standard_normal(y.shape)
    y.backward(minicnn.tensor(grad_y))
    values = {**NAMES, "np": np, **dict(zip(names, inputs, strict=True))}
    values |= {"grad_y": grad_y, "y": y.detach().array}
    texts = shown(inspect.getdoc(function))

    def check(name, text, result):
        expected = np.broadcast_to(eval(text, dict(values)), result.shape)
        np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-12, err_msg=name)

    for name, text in words.items():
        if name == "q":
            values["q"] = eval(text, dict(values))
        elif name not in ("y", *[f"grad_{n}" for n in names]):  # y is told by what it undoes
            check(name, text, eval(name, dict(values)))
    if not {"x", "a / b"} & words.keys():
        check("y", words.get("y") or python(texts["y"]), y.detach().array)
    for name, tensor in zip(names, tensors, strict=True):
        if tensor.requires_grad:
            text = words.get(f"grad_{name}") or python(texts[f"grad_{name}"])
            check(f"grad_{name}", text, tensor.grad.array)


def test_no_function_is_missing():
    found = set()
    for family in FAMILIES:
        module = importlib.import_module(f"minicnn.functional.{family}")
        found |= {
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, Function)
            and value.__module__ == module.__name__
        }
    assert found == TABLE.keys()


@pytest.mark.parametrize("name", ["add", "mul", "div", "pow", "maximum", "where", "lerp", "atan2"])
def test_a_number_used_many_times_collects_the_sum(name):
    """The gradient of what was broadcast is that of the full tensor, summed."""
    slim, full = POSITIVE[:1], OTHER
    grads = []
    for a in (slim, np.repeat(slim, 3, 0)):
        a, b = minicnn.tensor(a, requires_grad=True), minicnn.tensor(full)
        first = (minicnn.tensor(MASK),) if name == "where" else ()
        last = (0.3,) if name == "lerp" else ()
        y = getattr(minicnn, name)(*first, a, b, *last)
        minicnn.nansum(y * minicnn.tensor(THIRD)).backward()
        grads.append(a.grad.array)
    np.testing.assert_allclose(grads[0], grads[1].sum(0, keepdims=True), rtol=1e-12)


def test_conventions_at_kinks():
    def gradient(fn, *values):
        xs = [minicnn.tensor(v, requires_grad=True) for v in values]
        fn(*xs).backward()
        return [x.grad.item() for x in xs]

    assert gradient(minicnn.abs, 0.0) == [0.0]
    assert gradient(minicnn.maximum, 2.0, 2.0) == [0.5, 0.5]
    assert gradient(minicnn.minimum, 2.0, 2.0) == [0.5, 0.5]
    assert gradient(lambda x: minicnn.clamp(x, 0, 1), 1.0) == [1.0]
    assert gradient(lambda x: minicnn.clamp(x, 0, 1), 0.0) == [1.0]
    assert gradient(lambda x: x**0, 0.0) == [0.0]
    assert gradient(minicnn.pow, 0.0, 2.0) == [0.0, 0.0]
    assert gradient(minicnn.xlogy, 0.0, -1.0)[0] == 0.0
    assert gradient(minicnn.sqrt, 0.0) == [np.inf]
    assert gradient(lambda x: minicnn.logit(x, 0.1), 0.05) == [0.0]

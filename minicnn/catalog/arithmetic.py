"""Arithmetic, rounding, choices, exponentials and trigonometry: element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import Case, Draw, alias, entered, entry, op

Values = Callable[[Draw, tuple[int, ...]], np.ndarray]


def normal(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Any numbers."""
    return draw.normal(*shape)


def positive(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of 0.5 and more."""
    return draw.positive(*shape)


def nonzero(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of 0.3 and more, of either sign."""
    return draw.away(0.0, shape=shape, by=0.15)


def within_one(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers between -0.9 and 0.9."""
    return draw.rng.uniform(-0.9, 0.9, shape)


def between_steps(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers at least 0.1 away from whole and half ones."""
    whole = draw.integers(-6, 6, *shape) / 2
    return whole + draw.rng.uniform(0.1, 0.4, shape)


def unary(name: str, section: str, values: Values = normal) -> None:
    """A function of one tensor."""

    def make(draw: Draw) -> Case:
        return Case(name, values(draw, draw.shape(draw.integer(0, 4))))

    make.__module__ = __name__
    entry(name, make, section=section, count=8)


for name, section, values in (
    ("neg", "Neg", normal),
    ("abs", "Abs", nonzero),
    ("square", "Pow", normal),
    ("reciprocal", "Div", nonzero),
    ("exp", "Exp", normal),
    ("exp2", "Exp2", normal),
    ("expm1", "Expm1", normal),
    ("log", "Log", positive),
    ("log2", "Log2", positive),
    ("log10", "Log10", positive),
    ("log1p", "Log1p", positive),
    ("sqrt", "Sqrt", positive),
    ("rsqrt", "Rsqrt", positive),
    ("sin", "Sin", normal),
    ("cos", "Cos", normal),
    ("tan", "Tan", within_one),
    ("asin", "Asin", within_one),
    ("acos", "Acos", within_one),
    ("atan", "Atan", normal),
    ("sinh", "Sinh", normal),
    ("cosh", "Cosh", normal),
    ("asinh", "Asinh", normal),
    ("atanh", "Atanh", within_one),
    ("erfinv", "Erfinv", within_one),
    ("sign", "Step", between_steps),
    ("floor", "Step", between_steps),
    ("ceil", "Step", between_steps),
    ("trunc", "Step", between_steps),
    ("frac", "Frac", between_steps),
):
    unary(name, section, values)

unary("acosh", "Acosh", lambda draw, shape: 1.2 + np.abs(draw.normal(*shape)))


def two(draw: Draw, name: str, values: Values = normal, others: Values = normal) -> Case:
    """A function of two tensors that broadcast, or of a tensor and a number."""
    shape = draw.shape(draw.integer(0, 4))
    a, b = values(draw, draw.broadcast(shape)), others(draw, draw.broadcast(shape))
    return Case(name, a, draw.choice(b, b, b, float(b.flat[0])))


def tensors(draw: Draw, name: str, values: Values = normal, others: Values = normal) -> Case:
    """A function of two tensors that broadcast."""
    shape = draw.shape(draw.integer(0, 4))
    return Case(name, values(draw, draw.broadcast(shape)), others(draw, draw.broadcast(shape)))


def scaled(draw: Draw, name: str) -> Case:
    """The same with alpha."""
    case = two(draw, name)
    if draw.boolean():
        case.options["alpha"] = draw.choice(2, -0.5)
    return case


add = entry("add", lambda draw: scaled(draw, "add"), section="Add")
sub = entry("sub", lambda draw: scaled(draw, "sub"), section="Sub")
entry("rsub", lambda draw: scaled(draw, "rsub"), section="Sub")
mul = entry("mul", lambda draw: two(draw, "mul"), section="Mul")
entry("atan2", lambda draw: tensors(draw, "atan2", nonzero, nonzero), section="Atan2")
entry("hypot", lambda draw: tensors(draw, "hypot", nonzero, nonzero), section="Hypot")
entry("logaddexp", lambda draw: tensors(draw, "logaddexp"), section="LogAddExp")
entry("xlogy", lambda draw: two(draw, "xlogy", nonzero, positive), section="XLogY")


entry("true_divide", lambda draw: two(draw, "true_divide", normal, nonzero), section="Div")


@op(section="Div", count=20)
def div(draw: Draw) -> Case:
    """Also rounded, away from the steps."""
    mode = draw.choice(None, None, "floor", "trunc")
    if mode is None:
        return two(draw, "div", normal, nonzero)
    return Case("div", between_steps(draw, (3, 2)), draw.choice(1.0, -0.5, -1), rounding_mode=mode)


def rounded(draw: Draw, name: str) -> Case:
    """Quotients between whole numbers: a = (q + r) * b."""
    shape = draw.shape(draw.integer(1, 3))
    b = nonzero(draw, draw.broadcast(shape))
    a = (draw.integers(-3, 3, *shape) + draw.rng.uniform(0.2, 0.8, shape)) * b
    return Case(name, a, b)


entry(
    "floor_divide",
    lambda draw: rounded(draw, "floor_divide"),
    section="RoundedDiv",
    gradient=False,
)
entry("remainder", lambda draw: rounded(draw, "remainder"), section="Remainder")
entry("fmod", lambda draw: rounded(draw, "fmod"), section="Remainder")


@op(section="Pow", count=20)
def pow(draw: Draw) -> Case:
    """Tensors, whole and broken powers, powers of a number."""
    kind = draw.choice("tensors", "whole", "broken", "of a number")
    shape = draw.shape(draw.integer(0, 3))
    if kind == "tensors":
        return tensors(draw, "pow", positive)
    if kind == "whole":
        return Case("pow", nonzero(draw, shape), draw.choice(-2, -1, 0, 1, 2, 3))
    if kind == "broken":
        return Case("pow", positive(draw, shape), draw.choice(-0.5, 0.5, 1.7))
    return Case("pow", draw.choice(0.5, 2.0, 3), draw.normal(*shape))


@op(section="Lerp")
def lerp(draw: Draw) -> Case:
    """Weights: a number or a tensor, also outside 0 to 1."""
    shape = draw.shape(draw.integer(0, 3))
    w = draw.normal(*draw.broadcast(shape))
    a, b = draw.normal(*shape), draw.normal(*draw.broadcast(shape))
    return Case("lerp", a, b, draw.choice(w, float(w.flat[0])))


def three(draw: Draw, name: str, others: Values) -> Case:
    """Three tensors that broadcast, and `value`."""
    shape = draw.shape(draw.integer(0, 3))
    a, b = draw.normal(*draw.broadcast(shape)), draw.normal(*draw.broadcast(shape))
    return Case(name, a, b, others(draw, draw.broadcast(shape)), value=draw.choice(1, -0.7, 2))


entry("addcmul", lambda draw: three(draw, "addcmul", normal), section="Mul")
entry("addcdiv", lambda draw: three(draw, "addcdiv", nonzero), section="Div")
entry("positive", lambda draw: Case("positive", draw.normal(2, 3)), count=4)


@op(section="Step")
def round(draw: Draw) -> Case:
    """Whole numbers, tenths, tens."""
    x, decimals = between_steps(draw, draw.shape(2)), draw.choice(0, 1, -1)
    return Case("round", (x + 0.013) / 10.0**decimals, decimals=decimals)


@op(section="Logit")
def logit(draw: Draw) -> Case:
    """Probabilities; with eps also outside of it."""
    eps = draw.choice(None, 0.1)
    x = draw.rng.uniform(0.12, 0.88, draw.shape(draw.integer(0, 3)))
    return Case("logit", np.where(draw.mask(*x.shape) & (eps is not None), x * 2 - 1.1, x), eps=eps)


def degrees(name: str) -> None:
    """deg2rad and rad2deg: a factor."""
    entry(name, lambda draw: Case(name, draw.normal(*draw.shape(2))), section="Mul", count=4)


degrees("deg2rad")
degrees("rad2deg")

# ---------------------------------------------------------------------- choices


def untied(draw: Draw, name: str) -> Case:
    """Two tensors without equal elements."""
    shape = draw.shape(draw.integer(1, 3))
    values = draw.distinct(2, *shape)
    slim = draw.broadcast(shape)
    other = values[1].reshape(-1)[: int(np.prod(slim))].reshape(slim)
    return Case(name, values[0], other)


entry("maximum", lambda draw: untied(draw, "maximum"), section="Maximum")
entry("minimum", lambda draw: untied(draw, "minimum"), section="Minimum")


@op(section="Where", count=15)
def where(draw: Draw) -> Case:
    """Tensors and numbers; the condition broadcasts too."""
    shape = draw.shape(draw.integer(1, 3))
    a, b = draw.normal(*draw.broadcast(shape)), draw.normal(*draw.broadcast(shape))
    mask = draw.mask(*draw.broadcast(shape))
    return Case("where", mask, *draw.choice((a, b), (a, b), (a, 0.5), (-1.0, b)))


@op(section="Clamp", count=20)
def clamp(draw: Draw) -> Case:
    """Bounds: numbers, tensors, one of them, crossed ones."""
    shape = draw.shape(draw.integer(1, 3))
    x = draw.away(-0.5, 0.5, 1.0, -1.0, shape=shape)
    lo, hi = draw.choice((-0.5, 0.5), (None, 0.5), (-0.5, None), (1.0, -1.0))
    if draw.boolean():
        return Case("clamp", x, min=lo, max=hi)
    values = draw.distinct(3, *shape)
    return Case("clamp", *draw.choice(values, (values[0], values[1], None)))


entry(
    "clamp_min",
    lambda draw: Case("clamp_min", draw.away(0.5, shape=draw.shape(2)), 0.5),
    section="Clamp",
)
entry(
    "clamp_max",
    lambda draw: Case("clamp_max", draw.away(0.5, shape=draw.shape(2)), 0.5),
    section="Clamp",
)


@op(section="Where")
def nan_to_num(draw: Draw) -> Case:
    """What is not finite stands in the tensor beside the one that is differentiated."""
    shape = draw.shape(2)
    odd = draw.choice(np.nan, np.inf, -np.inf)
    mask = draw.mask(*shape)
    options = {"nan": draw.choice(0.0, 2.0), "posinf": 3.0, "neginf": draw.choice(0.0, -1.0)}

    def call(library: Any, x: Any, mask: Any) -> Any:
        return library.nan_to_num(library.where(mask, odd, x), **options)

    return Case(call, draw.normal(*shape), mask)


@op(gradient=False)
def heaviside(draw: Draw) -> Case:
    """Numbers, zeros among them."""
    shape = draw.shape(2)
    x = draw.integers(-1, 1, *shape).astype(float)
    return Case("heaviside", x, draw.normal(*draw.broadcast(shape)))


# ---------------------------------------------------------------------- other names

for new, old in {
    "absolute": "abs", "multiply": "mul", "subtract": "sub", "negative": "neg", "divide": "div",
    "clip": "clamp", "fix": "trunc", "sgn": "sign", "arcsin": "asin",
    "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh",
}.items():  # fmt: skip
    alias(new, entered(old))

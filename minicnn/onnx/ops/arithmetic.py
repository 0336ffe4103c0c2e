"""Element by element: arithmetic, choices, exponentials, angles, rounding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...autograd.trace import Value
from ...functional.arithmetic import Abs, Add, Cast, Div, Lerp, Move, Mul, Neg, Pow, Sub
from ...functional.choice import Clamp, Maximum, Minimum, Where
from ...functional.exponential import Exp, Exp2, Expm1, Log, Log1p, Log2, Log10, Rsqrt, Sqrt
from ...functional.loss import AbsoluteError, SquaredError
from ...functional.operands import Zero
from ...functional.rounding import Frac, Step
from ...functional.special import Erf, Erfc
from ...functional.trigonometry import (
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Cos,
    Cosh,
    Sin,
    Sinh,
    Tan,
)
from ..graph import Graph, label, maps

_TWO = {
    Add: "Add",
    Sub: "Sub",
    Mul: "Mul",
    Div: "Div",
    Pow: "Pow",
    Maximum: "Max",
    Minimum: "Min",
}
_ONE = {
    Neg: "Neg",
    Abs: "Abs",
    Exp: "Exp",
    Log: "Log",
    Sqrt: "Sqrt",
    Erf: "Erf",
    Sin: "Sin",
    Cos: "Cos",
    Tan: "Tan",
    Asin: "Asin",
    Acos: "Acos",
    Atan: "Atan",
    Sinh: "Sinh",
    Cosh: "Cosh",
    Asinh: "Asinh",
    Acosh: "Acosh",
    Atanh: "Atanh",
}


@maps(*_TWO)
def of_two(graph: Graph, call: Any) -> str:
    """Of two operands, which broadcast as NumPy's do, in the type of the result."""
    if call.outputs[0].dtype == np.bool_:
        raise NotImplementedError(
            f"onnx.export: {label(call)}: of bools it has no form in ONNX; make numbers of them"
        )
    return graph.node(_TWO[call.function], *graph.operands(call))


@maps(*_ONE)
def of_one(graph: Graph, call: Any) -> str:
    """Of one operand, in the type of the result."""
    return graph.node(_ONE[call.function], *graph.operands(call))


@maps(Cast)
def cast(graph: Graph, call: Any) -> str:
    """Cast."""
    (x,) = graph.inputs(call)
    return graph.cast(x, call.inputs[0].dtype, call.outputs[0].dtype)


@maps(Move)
def move(graph: Graph, call: Any) -> str:
    """Nothing: which device computes is not the graph's business."""
    return graph.inputs(call)[0]


@maps(Lerp)
def lerp(graph: Graph, call: Any) -> str:
    """a + w (b - a)."""
    a, b, w = graph.operands(call)
    return graph.node("Add", a, graph.node("Mul", w, graph.node("Sub", b, a)))


@maps(Zero)
def zero(graph: Graph, call: Any) -> str:
    """x - x would be NaN for infinite x: a zero, expanded to the shape of x."""
    (x,), y = graph.inputs(call), call.outputs[0]
    return graph.node("Expand", graph.constant(0, y.dtype), graph.node("Shape", x))


@maps(Where)
def where(graph: Graph, call: Any) -> str:
    """Where."""
    condition, a, b = call.inputs
    dtype = call.outputs[0].dtype
    asked = graph.operand(condition, np.bool_)
    return graph.node("Where", asked, graph.operand(a, dtype), graph.operand(b, dtype))


@maps(Clamp)
def clamp(graph: Graph, call: Any) -> str:
    """Clip between numbers; Max and Min with tensors."""
    x, lo, hi = call.inputs
    dtype = call.outputs[0].dtype
    y = graph.operand(x, dtype)
    bounds = [None if bound is None else graph.operand(bound, dtype) for bound in (lo, hi)]
    if not any(isinstance(bound, Value) for bound in (lo, hi)):
        return graph.node("Clip", y, *bounds)
    for op, bound in zip(("Max", "Min"), bounds, strict=True):
        y = y if bound is None else graph.node(op, y, bound)
    return y


# ---------------------------------------------------------------------- exponentials

_SCALED_LOGS = {Log2: 1 / math.log(2), Log10: 1 / math.log(10)}


@maps(*_SCALED_LOGS)
def scaled_log(graph: Graph, call: Any) -> str:
    """log(x) / log(base)."""
    y = graph.node("Log", *graph.operands(call))
    return graph.node("Mul", y, graph.constant(_SCALED_LOGS[call.function], call.outputs[0].dtype))


@maps(Exp2)
def exp2(graph: Graph, call: Any) -> str:
    """2 to the power of x."""
    return graph.node("Pow", graph.constant(2, call.outputs[0].dtype), *graph.operands(call))


@maps(Rsqrt)
def rsqrt(graph: Graph, call: Any) -> str:
    """1 / sqrt(x)."""
    return graph.node("Reciprocal", graph.node("Sqrt", *graph.operands(call)))


@maps(Log1p)
def log1p(graph: Graph, call: Any) -> str:
    """log(1 + x), as exact as the sum is."""
    (one,) = graph.scalars(call.outputs[0].dtype, 1)
    return graph.node("Log", graph.node("Add", *graph.operands(call), one))


@maps(Expm1)
def expm1(graph: Graph, call: Any) -> str:
    """exp(x) - 1: Elu below 0, where exactness is at stake."""
    (x,) = graph.operands(call)
    one, zero = graph.scalars(call.outputs[0].dtype, 1, 0)
    straight = graph.node("Sub", graph.node("Exp", x), one)
    return graph.node("Where", graph.node("Less", x, zero), graph.node("Elu", x), straight)


@maps(Erfc)
def erfc(graph: Graph, call: Any) -> str:
    """1 - erf(x), as exact as the difference is."""
    (one,) = graph.scalars(call.outputs[0].dtype, 1)
    return graph.node("Sub", one, graph.node("Erf", *graph.operands(call)))


# ---------------------------------------------------------------------- rounding

_STEPS = {np.floor: "Floor", np.ceil: "Ceil"}


@maps(Step)
def step(graph: Graph, call: Any) -> str:
    """Floor, Ceil, Sign; trunc is made of the first and the last."""
    (x,), step = graph.inputs(call), call.options["step"]
    if step in _STEPS:
        return graph.node(_STEPS[step], x)
    if step is np.trunc:
        return _truncated(graph, x)
    if step.__name__ == "_sign":
        return graph.node("Sign", x)
    raise NotImplementedError(
        f"onnx.export: {label(call)}: round has no form in ONNX here; use floor(x + 0.5)"
    )


def _truncated(graph: Graph, x: str) -> str:
    return graph.node("Mul", graph.node("Sign", x), graph.node("Floor", graph.node("Abs", x)))


@maps(Frac)
def frac(graph: Graph, call: Any) -> str:
    """x - trunc x."""
    (x,) = graph.inputs(call)
    return graph.node("Sub", x, _truncated(graph, x))


# ---------------------------------------------------------------------- differences


@maps(SquaredError)
def squared_error(graph: Graph, call: Any) -> str:
    """(x - t)^2."""
    d = graph.node("Sub", *graph.operands(call))
    return graph.node("Mul", d, d)


@maps(AbsoluteError)
def absolute_error(graph: Graph, call: Any) -> str:
    """|x - t|."""
    return graph.node("Abs", graph.node("Sub", *graph.operands(call)))

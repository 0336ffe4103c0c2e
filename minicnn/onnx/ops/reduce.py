"""Sums, means, extremes and norms along axes."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...functional.cumulative import Cumsum
from ...functional.reduce import (
    Amax,
    Amin,
    LogSumExp,
    MaxAlong,
    Mean,
    MinAlong,
    Norm2,
    PNorm,
    Std,
    Sum,
    Var,
)
from ..graph import Graph, maps

_PLAIN = {
    Sum: "ReduceSum",
    Mean: "ReduceMean",
    Amax: "ReduceMax",
    Amin: "ReduceMin",
    LogSumExp: "ReduceLogSumExp",
    Norm2: "ReduceL2",
}


@maps(*_PLAIN)
def plain(graph: Graph, call: Any) -> str:
    """Those that ONNX has."""
    (x,), o = graph.operands(call), call.options
    return graph.reduce(_PLAIN[call.function], x, o["axes"], o["keepdim"])


@maps(MaxAlong, MinAlong)
def along(graph: Graph, call: Any) -> Any:
    """The values, and where they are: ArgMax takes the first, as PyTorch does."""
    (x,), axis, keepdim = graph.inputs(call), call.options["axis"], call.options["keepdim"]
    kind = "Max" if call.function is MaxAlong else "Min"
    values = graph.reduce(f"Reduce{kind}", x, (axis,), keepdim)
    return values, graph.node(f"Arg{kind}", x, axis=axis, keepdims=int(keepdim))


@maps(Var, Std)
def var(graph: Graph, call: Any) -> str:
    """sum of (x - mean)^2 / (n - correction), and its root."""
    (x,), o, dtype = graph.inputs(call), call.options, call.outputs[0].dtype
    n = prod([call.inputs[0].shape[axis] for axis in o["axes"]])
    d = graph.node("Sub", x, graph.reduce("ReduceMean", x, o["axes"], True))
    squares = graph.node("Mul", d, d)
    y = graph.reduce("ReduceMean", squares, o["axes"], o["keepdim"])
    if o["correction"]:
        count = max(n - o["correction"], 0)
        factor = np.divide(float(n), count) if count else np.inf
        y = graph.node("Mul", y, graph.constant(factor, dtype))
    return graph.node("Sqrt", y) if call.function is Std else y


@maps(PNorm)
def p_norm(graph: Graph, call: Any) -> str:
    """(sum of |x|^p)^(1/p)."""
    (x,), o = graph.inputs(call), call.options
    p, root = graph.scalars(call.outputs[0].dtype, o["p"], 1 / o["p"])
    powers = graph.node("Pow", graph.node("Abs", x), p)
    return graph.node("Pow", graph.reduce("ReduceSum", powers, o["axes"], o["keepdim"]), root)


@maps(Cumsum)
def cumsum(graph: Graph, call: Any) -> str:
    """CumSum."""
    return graph.node("CumSum", *graph.inputs(call), graph.constant(call.options["axis"], np.int64))

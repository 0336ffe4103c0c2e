"""Activations."""

from __future__ import annotations

import math
from typing import Any

from ...functional.activation import (
    ELU,
    Hardsigmoid,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from ...functional.dropout import Dropout
from ...functional.gate import GELU, GLU, Hardswish, Mish, TanhGELU
from ...functional.shrink import Hardshrink, Softshrink, Tanhshrink, Threshold
from ..graph import Graph, label, maps

_PLAIN = {
    ReLU: "Relu",
    Sigmoid: "Sigmoid",
    Tanh: "Tanh",
    Softsign: "Softsign",
    PReLU: "PRelu",
    Hardswish: "HardSwish",
}


@maps(*_PLAIN)
def plain(graph: Graph, call: Any) -> str:
    """Those that ONNX has under a name of its own."""
    return graph.node(_PLAIN[call.function], *graph.inputs(call))


@maps(LeakyReLU)
def leaky_relu(graph: Graph, call: Any) -> str:
    """LeakyRelu."""
    return graph.node("LeakyRelu", *graph.inputs(call), alpha=float(call.options["slope"]))


@maps(Hardsigmoid)
def hardsigmoid(graph: Graph, call: Any) -> str:
    """HardSigmoid is clip(alpha x + beta, 0, 1)."""
    return graph.node("HardSigmoid", *graph.inputs(call), alpha=1 / 6, beta=0.5)


@maps(Hardtanh)
def hardtanh(graph: Graph, call: Any) -> str:
    """Clip; relu6 is one as well."""
    lo, hi = graph.scalars(call.outputs[0].dtype, call.options["lo"], call.options["hi"])
    return graph.node("Clip", *graph.inputs(call), lo, hi)


@maps(Softmax)
def softmax(graph: Graph, call: Any) -> str:
    """Softmax."""
    return graph.node("Softmax", *graph.inputs(call), axis=call.options["axis"])


@maps(LogSoftmax)
def log_softmax(graph: Graph, call: Any) -> str:
    """LogSoftmax."""
    return graph.node("LogSoftmax", *graph.inputs(call), axis=call.options["axis"])


@maps(LogSigmoid)
def log_sigmoid(graph: Graph, call: Any) -> str:
    """-softplus(-x)."""
    return _negative(graph, graph.node("Softplus", _negative(graph, *graph.inputs(call))))


def _negative(graph: Graph, x: str) -> str:
    return graph.node("Neg", x)


@maps(SiLU)
def silu(graph: Graph, call: Any) -> str:
    """x sigmoid(x)."""
    (x,) = graph.inputs(call)
    return graph.node("Mul", x, graph.node("Sigmoid", x))


@maps(ELU)
def elu(graph: Graph, call: Any) -> str:
    """scale * (x, or alpha (exp(rate x) - 1) below 0): Elu, Selu, or Elu of a stretched x."""
    (x,), dtype = graph.inputs(call), call.outputs[0].dtype
    alpha, scale, rate = [float(call.options.get(name, 1.0)) for name in ("alpha", "scale", "rate")]
    if rate == 1 and scale == 1:
        return graph.node("Elu", x, alpha=alpha)
    if rate == 1:
        return graph.node("Selu", x, alpha=alpha, gamma=scale)
    # Above 0, Elu(rate x) is rate x: scale / rate makes it scale x.
    stretched = graph.node("Mul", x, graph.constant(rate, dtype))
    y = graph.node("Elu", stretched, alpha=alpha * rate)
    return graph.node("Mul", y, graph.constant(scale / rate, dtype))


@maps(Softplus)
def softplus(graph: Graph, call: Any) -> str:
    """log(1 + exp(beta x)) / beta, and x itself above a threshold."""
    (x,), dtype = graph.inputs(call), call.outputs[0].dtype
    beta, threshold = graph.scalars(dtype, call.options["beta"], call.options["threshold"])
    scaled = x if call.options["beta"] == 1 else graph.node("Mul", x, beta)
    y = graph.node("Softplus", scaled)
    y = y if scaled == x else graph.node("Div", y, beta)
    return graph.node("Where", graph.node("Greater", scaled, threshold), x, y)


@maps(GELU)
def gelu(graph: Graph, call: Any) -> str:
    """x (1 + erf(x / sqrt 2)) / 2."""
    (x,) = graph.inputs(call)
    root, one, half = graph.scalars(call.outputs[0].dtype, math.sqrt(0.5), 1, 0.5)
    inner = graph.node("Add", graph.node("Erf", graph.node("Mul", x, root)), one)
    return graph.node("Mul", x, graph.node("Mul", inner, half))


@maps(TanhGELU)
def tanh_gelu(graph: Graph, call: Any) -> str:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    (x,) = graph.inputs(call)
    root, c, one, half = graph.scalars(
        call.outputs[0].dtype, math.sqrt(2 / math.pi), 0.044715, 1, 0.5
    )
    cubic = graph.node("Mul", graph.node("Mul", graph.node("Mul", x, x), x), c)
    inner = graph.node("Mul", graph.node("Add", x, cubic), root)
    share = graph.node("Mul", graph.node("Add", graph.node("Tanh", inner), one), half)
    return graph.node("Mul", x, share)


@maps(Mish)
def mish(graph: Graph, call: Any) -> str:
    """x tanh(softplus(x))."""
    (x,) = graph.inputs(call)
    return graph.node("Mul", x, graph.node("Tanh", graph.node("Softplus", x)))


@maps(GLU)
def glu(graph: Graph, call: Any) -> str:
    """The first half times the sigmoid of the second."""
    (x,), axis = graph.inputs(call), call.options["axis"]
    half = call.inputs[0].shape[axis] // 2
    a, b = graph.node("Split", x, graph.ints(half, half), count=2, axis=axis)
    return graph.node("Mul", a, graph.node("Sigmoid", b))


@maps(Hardshrink)
def hardshrink(graph: Graph, call: Any) -> str:
    """Shrink with no bias."""
    return graph.node("Shrink", *graph.inputs(call), lambd=float(call.options["lambd"]))


@maps(Softshrink)
def softshrink(graph: Graph, call: Any) -> str:
    """Shrink by lambd."""
    lambd = float(call.options["lambd"])
    return graph.node("Shrink", *graph.inputs(call), lambd=lambd, bias=lambd)


@maps(Tanhshrink)
def tanhshrink(graph: Graph, call: Any) -> str:
    """x - tanh x."""
    (x,) = graph.inputs(call)
    return graph.node("Sub", x, graph.node("Tanh", x))


@maps(Threshold)
def threshold(graph: Graph, call: Any) -> str:
    """x where it is above the threshold, else a value."""
    (x,), o = graph.inputs(call), call.options
    limit, value = graph.scalars(call.outputs[0].dtype, o["threshold"], o["value"])
    return graph.node("Where", graph.node("Greater", x, limit), x, value)


@maps(Dropout)
def dropped(graph: Graph, call: Any) -> str:
    """Dropout that runs in evaluation mode was asked for in forward itself."""
    raise NotImplementedError(
        f"onnx.export: {label(call)} draws random numbers in evaluation mode too; call it with "
        "training=self.training"
    )

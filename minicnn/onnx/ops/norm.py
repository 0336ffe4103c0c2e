"""Normalisation, with the statistics that evaluation uses."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...functional.norm import BatchNorm, BatchNormInference
from ...functional.response_norm import LocalResponseNorm
from ...functional.rms import RMSNorm
from ...functional.sample_norm import SampleNorm
from ..graph import Graph, maps


@maps(BatchNormInference)
def batch_norm(graph: Graph, call: Any) -> str:
    """BatchNormalization by the running statistics."""
    x, w, b = graph.inputs(call)
    C = call.inputs[0].shape[1]
    mean, var = [graph.array(call.options[name]) for name in ("mean", "var")]
    dtype = call.options["mean"].dtype
    w = w or graph.constant(np.ones(C), dtype)
    b = b or graph.constant(np.zeros(C), dtype)
    return graph.node("BatchNormalization", x, w, b, mean, var, epsilon=call.options["eps"])


@maps(BatchNorm)
def batch_norm_of_batch(graph: Graph, call: Any) -> Any:
    """Without running statistics the batch's own are used in evaluation, too."""
    (x, *_), axes = graph.inputs(call), (0, *range(2, len(call.inputs[0].shape)))
    (eps,) = graph.scalars(call.inputs[0].dtype, call.options["eps"])
    d = graph.node("Sub", x, graph.reduce("ReduceMean", x, axes, True))
    var = graph.reduce("ReduceMean", graph.node("Mul", d, d), axes, True)
    y = graph.node("Div", d, graph.node("Sqrt", graph.node("Add", var, eps)))
    return _scaled(graph, call, y), None, None


def _scaled(graph: Graph, call: Any, y: str) -> str:
    """y times each channel's w, plus its b."""
    value, *parameters = call.inputs
    per_channel = (value.shape[1],) + (1,) * (len(value.shape) - 2)
    for op, parameter in zip(("Mul", "Add"), parameters, strict=True):
        if parameter is not None:
            numbers = graph.operand(parameter, value.dtype)
            y = graph.node(op, y, graph.reshape(numbers, per_channel))
    return y


@maps(SampleNorm)
def sample_normalisation(graph: Graph, call: Any) -> Any:
    """LayerNormalization where a sample is one row, else groups of channels."""
    if len(call.options["shape"]) == 2:
        return _layer_norm(graph, call), None, None
    return _group_norm(graph, call), None, None


def _layer_norm(graph: Graph, call: Any) -> str:
    (x, *_), (value, w, b) = graph.inputs(call), call.inputs
    C, eps, dtype = call.options["shape"][1], call.options["eps"], value.dtype
    axis = len(value.shape) - 1
    while prod(value.shape[axis:]) < C:
        axis -= 1
    if w is not None:
        axis = len(value.shape) - len(w.shape)
    weight = (
        graph.constant(np.ones(value.shape[axis:]), dtype) if w is None else graph.operand(w, dtype)
    )
    bias = None if b is None else graph.operand(b, dtype)
    return graph.node("LayerNormalization", x, weight, bias, axis=axis, epsilon=eps)


def _group_norm(graph: Graph, call: Any) -> str:
    """InstanceNormalization of (N, groups, all the rest), then each channel's w and b.

    ONNX's GroupNormalization came in version 18 and changed its meaning in 21.
    """
    (x, *_), value = graph.inputs(call), call.inputs[0]
    N, C, places = call.options["shape"]
    G, dtype = call.options["groups"], value.dtype
    ones, zeros = graph.constant(np.ones(G), dtype), graph.constant(np.zeros(G), dtype)
    groups = graph.reshape(x, (N, G, C // G * places))
    y = graph.node("InstanceNormalization", groups, ones, zeros, epsilon=call.options["eps"])
    return _scaled(graph, call, graph.reshape(y, value.shape, of=x))


@maps(RMSNorm)
def rms_norm(graph: Graph, call: Any) -> Any:
    """x / sqrt(mean of squares + eps) * w."""
    (x, w), dtype = graph.inputs(call), call.inputs[0].dtype
    (eps,) = graph.scalars(dtype, call.options["eps"])
    mean = graph.reduce("ReduceMean", graph.node("Mul", x, x), (1,), True)
    y = graph.node("Div", x, graph.node("Sqrt", graph.node("Add", mean, eps)))
    return (y if w is None else graph.node("Mul", y, graph.operand(call.inputs[1], dtype))), None


@maps(LocalResponseNorm)
def local_response_norm(graph: Graph, call: Any) -> str:
    """LRN for images and a window with a middle (onnxruntime has no other), else written out."""
    (x,), o = graph.inputs(call), call.options
    if o["size"] % 2 and len(call.inputs[0].shape) == 4:
        return graph.node("LRN", x, size=o["size"], alpha=o["alpha"], beta=o["beta"], bias=o["k"])
    value = call.inputs[0]
    N, C = value.shape[:2]
    before, after = o["size"] // 2, (o["size"] - 1) // 2
    alpha, k, beta = graph.scalars(value.dtype, o["alpha"], o["k"], o["beta"])
    squares = graph.reshape(graph.node("Mul", x, x), (N, 1, C, prod(value.shape[2:])), of=x)
    widths = graph.ints(0, 0, before, 0, 0, 0, after, 0)
    padded = graph.node("Pad", squares, widths)
    means = graph.node("AveragePool", padded, kernel_shape=(o["size"], 1), strides=(1, 1))
    means = graph.reshape(means, value.shape, of=x)
    scale = graph.node("Add", graph.node("Mul", means, alpha), k)
    return graph.node("Div", x, graph.node("Pow", scale, beta))

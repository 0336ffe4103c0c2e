"""Pooling.

ONNX's own ceil_mode has meant different windows in different versions. So the padding behind is
written out: as wide as the last window needs, which says the same everywhere.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...backend.geometry import adaptive_windows
from ...functional.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool
from ...functional.lp_pool import LpPool
from ...functional.pool import AvgPool, MaxPool
from ..graph import Graph, maps
from .resize import along_axis


def _pads(geometry: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The padding in front and behind of each axis with which `out_size` windows fit exactly."""
    g, ends = geometry, []
    for size, P, out, S, span in zip(g.size, g.padding, g.out_size, g.stride, g.span, strict=True):
        ends.append(max((out - 1) * S + span - size - P, 0) if g.ceil_mode else P)
    return tuple(g.padding), tuple(ends)


def _windows(graph: Graph, x: str, geometry: Any, fill: float, dtype: Any) -> tuple[str, Any]:
    """x, and the attributes of its windows; padding as wide as the kernel, which onnxruntime
    refuses, is put on by a node of its own, with `fill`.
    """
    lows, highs = _pads(geometry)
    named = {"kernel_shape": geometry.kernel, "strides": geometry.stride}
    if any(p >= k for p, k in zip(lows + highs, geometry.kernel * 2, strict=True)):
        widths = (0, 0, *lows, 0, 0, *highs)
        return graph.node("Pad", x, graph.ints(*widths), graph.constant(fill, dtype)), named
    return x, {**named, "pads": lows + highs}


@maps(MaxPool)
def max_pool(graph: Graph, call: Any) -> Any:
    """MaxPool; its indices, counted through the whole tensor, are not PyTorch's."""
    (x,), g = graph.inputs(call), call.options["geometry"]
    x, windows = _windows(graph, x, g, -np.inf, call.outputs[0].dtype)
    return graph.node("MaxPool", x, **windows, dilations=g.dilation), None


@maps(AvgPool)
def avg_pool(graph: Graph, call: Any) -> str:
    """AveragePool, which divides by the kernel or by what lies in the image.

    PyTorch's other divisors (its own number, or padding counted but not what hangs over the end)
    are made of the former by a factor for each place.
    """
    (x,), g, dtype = graph.inputs(call), call.options["geometry"], call.outputs[0].dtype
    override = call.options.get("divisor_override")
    if override is None and not call.options.get("count_include_pad", True):
        x, windows = _windows(graph, x, g, 0, dtype)
        return graph.node("AveragePool", x, **windows, count_include_pad=0)
    return _averages(graph, x, g, override, dtype)


def _averages(graph: Graph, x: str, geometry: Any, override: int | None, dtype: Any) -> str:
    """Sums of the windows, divided by the size of the kernel, times what that was wrong by."""
    x, windows = _windows(graph, x, geometry, 0, dtype)
    y = graph.node("AveragePool", x, **windows, count_include_pad=1)
    factors = _factors(geometry, override)
    if (factors == 1).all():
        return y
    return graph.node("Mul", y, graph.constant(factors, dtype))


def _factors(geometry: Any, override: int | None) -> Any:
    """Kernel size over divisor: one number, or one for each place where windows hang over."""
    g = geometry
    if override is not None:
        return np.asarray(prod(g.kernel) / override)
    if not g.ceil_mode:
        return np.ones(())
    factors = np.ones(())
    for size, P, out, S, K in zip(g.size, g.padding, g.out_size, g.stride, g.kernel, strict=True):
        starts = np.arange(out) * S - P
        counted = np.minimum(starts + K, size + P) - starts
        factors = np.multiply.outer(factors, K / counted)
    return np.ones(()) if (factors == 1).all() else factors


@maps(LpPool)
def lp_pool_(graph: Graph, call: Any) -> str:
    """(K * average of x^p)^(1/p)."""
    (x,), g, dtype = graph.inputs(call), call.options["geometry"], call.outputs[0].dtype
    p, root, K = graph.scalars(dtype, call.options["p"], 1 / call.options["p"], prod(g.kernel))
    averages = _averages(graph, graph.node("Pow", x, p), g, None, dtype)
    return graph.node("Pow", graph.node("Mul", averages, K), root)


# ---------------------------------------------------------------------- adaptive


def _adaptive(graph: Graph, call: Any, whole: str, parts: str) -> str | None:
    """One window for all, or windows of one size side by side; None where they are neither."""
    (x,), out = graph.inputs(call), call.options["out_size"]
    size = call.inputs[0].shape[2:]
    if set(out) == {1}:
        return graph.node(whole, x)
    if out == size:
        return x
    if any(h % o for h, o in zip(size, out, strict=True)):
        return None
    kernel = tuple([h // o for h, o in zip(size, out, strict=True)])
    return graph.node(parts, x, kernel_shape=kernel, strides=kernel)


@maps(AdaptiveAvgPool)
def adaptive_avg_pool(graph: Graph, call: Any) -> str:
    """GlobalAveragePool, AveragePool, or else a matrix of averages along each axis."""
    found = _adaptive(graph, call, "GlobalAveragePool", "AveragePool")
    if found is not None:
        return found
    (y,), (x_value,) = graph.inputs(call), call.inputs
    for axis, (n, m) in enumerate(
        zip(x_value.shape[2:], call.options["out_size"], strict=True), start=2
    ):
        matrix = np.zeros((m, n))
        for row, (start, stop) in enumerate(adaptive_windows(n, m)):
            matrix[row, start:stop] = 1 / (stop - start)
        y = along_axis(graph, y, matrix, axis, x_value)
    return y


@maps(AdaptiveMaxPool)
def adaptive_max_pool(graph: Graph, call: Any) -> Any:
    """GlobalMaxPool, MaxPool, or else the windows' maxima one by one, axis after axis."""
    found = _adaptive(graph, call, "GlobalMaxPool", "MaxPool")
    if found is not None:
        return found, None
    (y,), size = graph.inputs(call), call.inputs[0].shape[2:]
    for axis, (n, m) in enumerate(zip(size, call.options["out_size"], strict=True), start=2):
        parts = []
        for start, stop in adaptive_windows(n, m):
            limits = [graph.ints(k) for k in (start, stop, axis)]
            part = graph.node("Slice", y, *limits)
            parts.append(graph.reduce("ReduceMax", part, (axis,), True))
        y = graph.node("Concat", *parts, axis=axis)
    return y, None

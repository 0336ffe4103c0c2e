"""What multiplies one axis by a matrix: resizing, reflected padding, uneven averages.

minicnn knows a resized axis as a sparse matrix (functional/resize.py), whatever the mode. It stays
one here: Gather where it copies, MatMul where it mixes. ONNX's Resize has a mode for most, but not
for all, and rounds differently.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...functional.resize import Resample
from ..graph import Graph, maps


@maps(Resample)
def resample(graph: Graph, call: Any) -> str:
    """y = A x along the axis."""
    (x,), taps, axis = graph.inputs(call), call.options["taps"], call.options["axis"]
    m = taps.shape[0]
    if taps.weights is None and np.array_equal(taps.rows, np.arange(m)):
        return graph.node("Gather", x, graph.ints(*map(int, taps.columns)), axis=axis)
    matrix = np.zeros(taps.shape)
    matrix[taps.rows, taps.columns] = 1 if taps.weights is None else taps.weights
    return along_axis(graph, x, matrix, axis, call.inputs[0])


def along_axis(graph: Graph, x: str, matrix: Any, axis: int, like: Any) -> str:
    """matrix (m, n) times the axis of x, which has as many axes as the Value `like`, and its type.

    MatMul works on the last axes: on the last one from the right, on that before it from the left.
    """
    ndim, dtype = len(like.shape), like.dtype
    if axis == ndim - 1:
        return graph.node("MatMul", x, graph.constant(matrix.T, dtype))
    if axis == ndim - 2:
        return graph.node("MatMul", graph.constant(matrix, dtype), x)
    order = [*range(axis), *range(axis + 1, ndim), axis]
    last = graph.node("Transpose", x, perm=tuple(order))
    y = graph.node("MatMul", last, graph.constant(matrix.T, dtype))
    return graph.node("Transpose", y, perm=tuple(map(int, np.argsort(order))))

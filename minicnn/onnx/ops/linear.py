"""Products of matrices."""

from __future__ import annotations

from typing import Any

from ...functional.linear import Einsum, Linear, MatMul
from ..graph import Graph, maps


@maps(Linear)
def dense(graph: Graph, call: Any) -> str:
    """Gemm: x w^T + b."""
    return graph.node("Gemm", *graph.inputs(call), transB=1)


@maps(MatMul)
def matmul(graph: Graph, call: Any) -> str:
    """MatMul."""
    return graph.node("MatMul", *graph.inputs(call))


@maps(Einsum)
def einsum(graph: Graph, call: Any) -> str:
    """Einsum."""
    equation = f"{','.join(call.options['terms'])}->{call.options['out']}"
    return graph.node("Einsum", *graph.inputs(call), equation=equation)

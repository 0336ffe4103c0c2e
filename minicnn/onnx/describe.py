"""`describe`: an ONNX file as text."""

from __future__ import annotations

import os
from typing import Any

from .arguments import need_onnx


def describe(path: str | os.PathLike[str]) -> str:
    """Inputs, nodes with their tensors and shapes, and outputs of the ONNX file `path`, by lines.

    A size without a number is one that may change. Raises ImportError where onnx is not installed,
    OSError and ValueError for what is no ONNX file.
    """
    need_onnx("describe")
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return text_of(onnx.load(os.fspath(path), load_external_data=False))
    except (DecodeError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"onnx.describe: {path} is no ONNX file, or damaged: {error}") from None


def text_of(model: Any) -> str:
    """The same of an onnx.ModelProto."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model).graph
    known = {info.name: _shape(info) for info in (*graph.value_info, *graph.output)}
    held = {t.name: f"{t.name} {tuple(t.dims)}" for t in graph.initializer}
    rows = [("input", f"{info.name} {_shape(info)}", "") for info in graph.input]
    for node in graph.node:
        made = ", ".join([f"{name} {known.get(name, '')}".strip() for name in node.output])
        used = ", ".join([held.get(name, name) for name in node.input if name])
        rows.append((node.op_type, made, used))
    rows += [("output", f"{info.name} {_shape(info)}", "") for info in graph.output]
    wide = [max([len(row[column]) for row in rows]) for column in (0, 1)]
    lines = [f"{op:{wide[0]}}  {made:{wide[1]}}  {used}".rstrip() for op, made, used in rows]
    return "\n".join(lines)


def _shape(info: Any) -> str:
    sizes = info.type.tensor_type.shape.dim
    texts = [d.dim_param or (str(d.dim_value) if d.HasField("dim_value") else "?") for d in sizes]
    return f"({', '.join(texts)})"

"""`export`: a network as an ONNX file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import Tensor, no_grad
from ..autograd.trace import StaleView, tensors_in
from ..backend import arrays as backend
from ..interop.files import write_bytes
from ..nn import Module
from ..nn.parameter import is_lazy
from ..nn.trace import ModuleTrace, trace
from ..version import __version__
from . import ops  # noqa: F401  (fills the table of mappings)
from .arguments import (
    Axes,
    Symbols,
    metadata_of,
    names_of,
    need_onnx,
    opset_of,
    samples_of,
    symbols_of,
    target,
)
from .check import check_model
from .describe import text_of
from .graph import Graph
from .merge import Merged

_MOST = 2**31 - 2**20  # bytes; protobuf allows 2 GiB for a message
_IR = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10}  # the file format that came with each version
_SEED = 0


def export(
    model: Any,
    args: Any,
    f: Any,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    dynamic_axes: Axes | None = None,
    export_params: bool = True,
    do_constant_folding: bool = True,
    verbose: bool = False,
    dynamo: bool = False,
    metadata: Mapping[str, str] | None = None,
    check: bool = True,
) -> None:
    """Writes `model` as an ONNX file, as it computes in evaluation mode.

    The model is run twice, with 2 and with 5 samples (see merge.py), once more with one of them for
    the check, and is then as it was: the mode of each module, buffers, hooks. Parameters and
    buffers keep their names of the state_dict. What is computed from parameters alone is computed
    here, once. What Python or NumPy decides by the input's values (an `if`, .item(), an index by
    argmax) is noticed, and refused, only where the runs differ in it.

    Args:
        model: a Module.
        args: an input for it, or a tuple of inputs: Tensors or arrays.
        f: a path, or a binary file that is open for writing. A path is written atomically.
        input_names, output_names: default "input" ("input_1", ...) and "output" ("output_1", ...).
        opset_version: of ONNX's operators, 17 to 21; None: 17.
        dynamic_axes: which sizes may change: for the name of an input a list of axes, or a dict
            from axis to the name of the size. None: axis 0 of every input, as "batch"; {}: none.
            Entries for outputs are allowed, and follow from the inputs'.
        export_params, do_constant_folding: True; accepted for code that was written for PyTorch, as
            `dynamo` is, which changes nothing.
        verbose: print the graph, as `describe` tells it.
        metadata: strings to keep in the file, by name.
        check: let onnx's checker look at the result, and compare what it computes with the model's
            own results, by onnxruntime if that is installed, else by onnx's own evaluator, which is
            slow. Where the number of samples may change, a single one is compared as well. Nothing
            is written if it fails.

    Raises:
        ImportError: the package onnx is not installed.
        OSError: the folder of `f` does not exist, or `f` cannot be written there.
        TypeError: a model that is no Module, inputs that are no arrays, other wrong types.
        NotImplementedError: an operation that has no form in ONNX, with its module.
        ValueError: options that do not fit; a result that depends on the input in a way that was
            not recorded; a size that cannot be dynamic; a model of more than 2 GB.
        RuntimeError: the check failed.
    """
    need_onnx("export")
    if not isinstance(model, Module):
        raise TypeError(f"onnx.export: model expects a Module, got {type(model).__name__}")
    if not (export_params and do_constant_folding):
        raise ValueError(
            "onnx.export: parameters are always written, and what comes of them alone is always "
            "computed; export_params and do_constant_folding expect True"
        )
    opset, out, kept = opset_of(opset_version), target(f), metadata_of(metadata)
    samples = samples_of(args)
    names = names_of("input_names", input_names, "input", len(samples), _state(model))
    symbols = symbols_of(names, samples, dynamic_axes, output_names)
    first, second, results = _two_graphs(model, samples, names, output_names, symbols, opset)
    proto = _proto(model, Merged(first, second, names), results, symbols, opset, kept)
    content = proto.SerializeToString()
    if check:
        check_model(content, [*results, *_single(model, samples, symbols)], names)
    if verbose:
        print(text_of(proto))
    if isinstance(out, Path):
        write_bytes(out, content)
    else:
        out.write(content)


def _state(model: Any) -> dict[str, Any]:
    """Parameters and buffers by name, those of the state_dict and others."""
    return dict([*model.named_parameters(), *model.named_buffers()])


# ---------------------------------------------------------------------- traces


def _inputs(samples: list[Any], symbols: Symbols, which: int) -> list[Tensor]:
    """Inputs of the sizes of trace `which`: the samples repeated; in the second one with another
    sign, in another order, and with noise, so that what depends on values is seen.
    """
    rng, tensors = np.random.default_rng(_SEED), []
    for number, sample in enumerate(samples):
        shape = [
            symbols[number, axis].sizes[which] if (number, axis) in symbols else size
            for axis, size in enumerate(sample.shape)
        ]
        values = backend.to_numpy(sample)
        x = np.resize(values, shape) if values.shape != tuple(shape) else values.copy()
        if which:
            x = rng.permutation(x.ravel()).reshape(shape)
            if x.dtype.kind == "f":
                x = (rng.standard_normal(shape) - x).astype(x.dtype)
        tensors.append(Tensor(backend.like(sample, np.array(x, order="C"))))
    return tensors


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """The model in evaluation mode; afterwards modes and buffers are as they were.

    What a lazy layer has not made yet stays as its first run makes it.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module._buffers, name, buffer, backend.copy(buffer.array))
        for module, _ in modes
        for name, buffer in module._buffers.items()
        if buffer is not None and not is_lazy(buffer)
    ]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for place, name, buffer, values in buffers:
            place[name] = buffer
            if backend.is_writeable(buffer.array):  # others cannot have changed
                with backend.on_device_of(buffer.array):
                    buffer.array[...] = values


Results = list[tuple[list[np.ndarray], list[np.ndarray]]]  # of each trace: inputs, outputs


def _two_graphs(
    model: Any,
    samples: list[Any],
    names: list[str],
    output_names: Sequence[str] | None,
    symbols: Symbols,
    opset: int,
) -> tuple[Graph, Graph, Results]:
    graphs, results = [], []
    state = _state(model)
    with _evaluating(model):
        for which in (0, 1):
            inputs = _inputs(samples, symbols, which)
            kept = [backend.to_numpy(x.array).copy() for x in inputs]
            record = _traced(model, inputs, symbols)
            count = len(record.outputs)
            outputs = names_of("output_names", output_names, "output", count, {*names, *state})
            graphs.append(Graph(record, names, outputs, state, opset))
            results.append((kept, [backend.to_numpy(value.array) for value in record.outputs]))
    return graphs[0], graphs[1], results


def _traced(model: Any, inputs: list[Tensor], symbols: Symbols) -> ModuleTrace:
    """The trace of one run. ValueError for a model that does not run, or returns no tensor."""
    try:
        record = trace(model, *inputs)
    except StaleView as error:
        raise ValueError(f"onnx.export: {error}") from error
    except (ValueError, RuntimeError, TypeError, IndexError) as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        hint = "; dynamic_axes says which sizes may change" if symbols else ""
        raise ValueError(
            f"onnx.export: the model does not run on an input of shape {shapes}: {error}{hint}"
        ) from error
    if not record.outputs:
        raise ValueError("onnx.export: the model returned no tensor")
    return record


def _single(model: Any, samples: list[Any], symbols: Symbols) -> Results:
    """What comes of one sample, where the number of samples may change: no trace was made of it,
    and to some code (squeeze, an `if`) it is a special case. Nothing of a model that refuses it.
    """
    if not any(axis == 0 for _, axis in symbols):
        return []
    inputs = _inputs(samples, symbols, 2)
    kept = [backend.to_numpy(x.array).copy() for x in inputs]
    with _evaluating(model), no_grad():
        try:
            found = model(*inputs)
        except (ValueError, RuntimeError, TypeError, IndexError):
            return []
    return [(kept, [backend.to_numpy(y.array) for y in tensors_in(found)])]


# ---------------------------------------------------------------------- ONNX's own objects


def _proto(
    model: Any,
    merged: Merged,
    results: Results,
    symbols: Symbols,
    opset: int,
    metadata: dict[str, str],
) -> Any:
    """The ModelProto. ValueError if it would be larger than such a file may be."""
    from onnx import helper

    if (size := sum([a.nbytes for a in merged.constants.values()])) > _MOST:
        raise ValueError(
            f"onnx.export: the parameters take {size:,} bytes, an ONNX file holds {_MOST:,} at most"
        )
    outputs = merged.first.output_names
    (x, y), (x2, y2) = results
    graph = helper.make_graph(
        _node_protos(merged, outputs),
        type(model).__name__,
        [_info(n, a, b, symbols) for n, a, b in zip(merged.inputs, x, x2, strict=True)],
        [_info(n, a, b, symbols) for n, a, b in zip(outputs, y, y2, strict=True)],
    )
    proto = helper.make_model(
        graph,
        producer_name="minicnn",
        producer_version=__version__,
        doc_string=(type(model).__doc__ or "").partition("\n")[0],
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=_IR[opset],
    )
    for name, array in merged.constants.items():
        _put(proto.graph.initializer.add(), name, array)
    if metadata:
        helper.set_model_props(proto, metadata)
    return proto


def _put(tensor: Any, name: str, array: np.ndarray) -> None:
    """Numbers into a TensorProto in its place; onnx's helpers would copy them five times."""
    from onnx import helper

    tensor.name, tensor.data_type = name, helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.dims.extend(array.shape)
    tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _node_protos(merged: Merged, outputs: list[str]) -> list[Any]:
    """The nodes, those that make the outputs under the outputs' names."""
    from onnx import helper

    made = {name for node in merged.nodes for name in node.outputs}
    renamed: dict[str, str] = {}
    copies = []
    for name, wanted in zip(merged.outputs, outputs, strict=True):
        if name in made and name not in renamed:
            renamed[name] = wanted
        else:
            copies.append(helper.make_node("Identity", [renamed.get(name, name)], [wanted]))
    protos = []
    for node in merged.nodes:
        protos.append(
            helper.make_node(
                node.op,
                [renamed.get(name, name) for name in node.inputs],
                [renamed.get(name, name) for name in node.outputs],
                name=node.name,
                **{key: _attribute(value) for key, value in node.attributes.items()},
            )
        )
    return protos + copies


def _attribute(value: Any) -> Any:
    from onnx import helper

    if isinstance(value, np.dtype):
        return helper.np_dtype_to_tensor_dtype(value)
    return list(map(int, value)) if isinstance(value, tuple) else value


def _info(name: str, a: np.ndarray, b: np.ndarray, symbols: Symbols) -> Any:
    """Name, type and shape of an input or output; a size that changes has a name."""
    from onnx import helper

    by_sizes = {symbol.sizes[:2]: symbol.name for symbol in symbols.values()}
    shape: list[int | str] = []
    for axis, pair in enumerate(zip(a.shape, b.shape, strict=True)):
        known = by_sizes.get(pair, f"{name}_axis{axis}")
        shape.append(int(pair[0]) if pair[0] == pair[1] else known)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), shape)

"""`export`: a network as an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import arrays as backend
from ..interop.files import write_bytes
from ..nn import Module
from ..nn.trace import trace
from ..version import __version__
from . import ops  # noqa: F401  (fills the table of mappings)
from .check import check_model
from .graph import Graph
from .merge import Merged

OPSETS = (17, 21)  # the oldest and the newest version of ONNX's operators that is written
_MOST = 2**31 - 2**20  # bytes; protobuf allows 2 GiB for a message
_IR = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10}  # the file format that came with each version
_SEED = 0

Axes = Mapping[str, Any]


def export(
    model: Any,
    args: Any,
    f: Any,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int = 17,
    dynamic_axes: Axes | None = None,
    export_params: bool = True,
    do_constant_folding: bool = True,
    metadata: Mapping[str, str] | None = None,
    check: bool = True,
) -> None:
    """Writes `model` as an ONNX file, as it computes in evaluation mode.

    The model is run twice, with as many samples as `args` never had (see merge.py), and is then as
    it was: the mode of each module, buffers, hooks. Parameters and buffers keep their names of the
    state_dict. What is computed from parameters alone is computed here, once.

    Args:
        model: a Module.
        args: an input for it, or a tuple of inputs: Tensors or arrays.
        f: a path, or a binary file that is open for writing. A path is written atomically.
        input_names, output_names: default "input" ("input_1", ...) and "output" ("output_1", ...).
        opset_version: of ONNX's operators, 17 to 21.
        dynamic_axes: which sizes may change: for the name of an input a list of axes, or a dict
            from axis to the name of the size. None: axis 0 of every input, as "batch"; {}: none.
            Entries for outputs are allowed, and follow from the inputs'.
        export_params, do_constant_folding: True; accepted for code that was written for PyTorch.
        metadata: strings to keep in the file, by name.
        check: let onnx's checker look at the result, and compare what it computes with the model's
            own results, by onnxruntime if that is installed, else by onnx's own evaluator, which is
            slow. Nothing is written if it fails.

    Raises:
        ImportError: the package onnx is not installed.
        TypeError: a model that is no Module, inputs that are no arrays.
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
    opset = _opset(opset_version)
    samples = [_array(x) for x in (args if isinstance(args, (tuple, list)) else (args,))]
    names = _names("input_names", input_names, "input", len(samples))
    symbols = _symbols(names, samples, dynamic_axes, output_names)
    first, second, results = _two_graphs(model, samples, names, symbols, opset)
    merged = Merged(first, second, names)
    outputs = _names("output_names", output_names, "output", len(first.outputs))
    proto = _proto(model, merged, outputs, results, symbols, opset, dict(metadata or {}))
    content = proto.SerializeToString()
    if check:
        check_model(content, results, names)
    if hasattr(f, "write"):
        f.write(content)
    else:
        write_bytes(os.fspath(f), content)


# ---------------------------------------------------------------------- arguments


def need_onnx(function: str) -> None:
    """ImportError, which says what to install, where onnx is not."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ImportError(
            f"onnx.{function} needs the package onnx: pip install 'minicnn[onnx]'"
        ) from None


def _opset(version: Any) -> int:
    if type(version) is not int or not OPSETS[0] <= version <= OPSETS[1]:
        raise ValueError(
            f"onnx.export: opset_version expects {OPSETS[0]} to {OPSETS[1]}, got {version!r}"
        )
    return version


def _array(x: Any) -> Any:
    array = getattr(x, "array", x)
    if not backend.is_array(array):
        raise TypeError(f"onnx.export: args expects Tensors or arrays, got {type(x).__name__}")
    return array


def _names(option: str, given: Sequence[str] | None, base: str, count: int) -> list[str]:
    if given is None:
        return [base] if count == 1 else [f"{base}_{k + 1}" for k in range(count)]
    names = [given] if isinstance(given, str) else list(given)
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"onnx.export: {option} expects {count} different names, got {names}")
    return names


class Symbol:
    """A size that may change: its name, and what it is in the first trace and in the second."""

    def __init__(self, name: str, sizes: tuple[int, int]) -> None:
        self.name, self.sizes = name, sizes


Symbols = dict[tuple[int, int], Symbol]  # by number of the input, and axis


def _symbols(
    names: list[str], samples: list[Any], axes: Axes | None, outputs: Sequence[str] | None
) -> Symbols:
    """The dynamic axes of all inputs. Each size gets two values that no other one has."""
    if axes is None:
        axes = {name: {0: "batch"} for name, x in zip(names, samples, strict=True) if x.ndim}
    known = {*names, *(outputs or ["output"])}
    if strange := [name for name in axes if name not in known and not name.startswith("output")]:
        raise ValueError(f"onnx.export: dynamic_axes names {strange[0]!r}, there are {names}")
    found: Symbols = {}
    made: dict[str, Symbol] = {}
    for number, (name, x) in enumerate(zip(names, samples, strict=True)):
        listed = axes.get(name, ())
        if not isinstance(listed, Mapping):
            listed = {axis: f"{name}_axis{axis}" for axis in listed}
        for given, symbol in listed.items():
            if type(given) is not int or not -x.ndim <= given < x.ndim:
                raise ValueError(
                    f"onnx.export: dynamic_axes of {name!r} expects axes of {tuple(x.shape)}, "
                    f"got {given!r}"
                )
            axis = given % x.ndim
            if symbol not in made:
                made[symbol] = Symbol(symbol, _sizes(x.shape[axis], axis, len(made)))
            found[number, axis] = made[symbol]
    return found


def _sizes(size: int, axis: int, count: int) -> tuple[int, int]:
    """What a dynamic size is in the traces: few samples; of an image the size, and a multiple."""
    return (2 + count, 3 + count) if axis == 0 else (size, size * (2 + count))


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


# ---------------------------------------------------------------------- traces


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """The model in evaluation mode; afterwards each module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


Results = list[tuple[list[np.ndarray], list[np.ndarray]]]  # of each trace: inputs, outputs


def _two_graphs(
    model: Any, samples: list[Any], names: list[str], symbols: Symbols, opset: int
) -> tuple[Graph, Graph, Results]:
    graphs, results = [], []
    with _evaluating(model):
        for which in (0, 1):
            inputs = _inputs(samples, symbols, which)
            kept = [backend.to_numpy(x.array).copy() for x in inputs]
            try:
                record = trace(model, *inputs)
            except (ValueError, RuntimeError, TypeError, IndexError) as error:
                shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
                raise ValueError(
                    f"onnx.export: the model does not run on an input of shape {shapes}: {error}; "
                    "dynamic_axes says which sizes may change"
                ) from error
            if not record.outputs:
                raise ValueError("onnx.export: the model returned no tensor")
            state = dict([*model.named_parameters(), *model.named_buffers()])
            graphs.append(Graph(record, names, state, opset))
            outputs = [backend.to_numpy(value.array) for value in record.outputs]
            results.append((kept, outputs))
    return graphs[0], graphs[1], results


# ---------------------------------------------------------------------- ONNX's own objects


def _proto(
    model: Any,
    merged: Merged,
    outputs: list[str],
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
    nodes = _node_protos(merged, outputs)
    (x, y), (x2, y2) = results
    graph = helper.make_graph(
        nodes,
        type(model).__name__,
        [_info(n, a, b, symbols) for n, a, b in zip(merged.inputs, x, x2, strict=True)],
        [_info(n, a, b, symbols) for n, a, b in zip(outputs, y, y2, strict=True)],
        [_tensor(name, array) for name, array in merged.constants.items()],
    )
    proto = helper.make_model(
        graph,
        producer_name="minicnn",
        producer_version=__version__,
        doc_string=(type(model).__doc__ or "").partition("\n")[0],
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=_IR[opset],
    )
    if metadata:
        helper.set_model_props(proto, metadata)
    return proto


def _tensor(name: str, array: np.ndarray) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array(array, order="C"), name)


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

    by_sizes = {symbol.sizes: symbol.name for symbol in symbols.values()}
    shape: list[int | str] = []
    for axis, pair in enumerate(zip(a.shape, b.shape, strict=True)):
        known = by_sizes.get(pair, f"{name}_axis{axis}")
        shape.append(int(pair[0]) if pair[0] == pair[1] else known)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), shape)

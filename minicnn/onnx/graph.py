"""Graph: the nodes that the calls of one trace become, before they are written as ONNX.

A mapping (see ops/) says what one Function is in ONNX, and builds it here:

    @maps(activation.ELU)
    def elu(graph, call):
        (x,) = graph.inputs(call)
        return graph.node("Elu", x, alpha=call.options["alpha"])

Tensors are known by their names. Sizes are not written as numbers but as `Sizes`, because some of
them follow from the sizes of the input; merge.py finds out which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..autograd.trace import Call, Trace, Value
from ..backend import arrays as backend
from ..functional.shape import Expand

Mapping = Callable[["Graph", Call], Any]
_mappings: dict[type, Mapping] = {}


def maps(*functions: type) -> Callable[[Mapping], Mapping]:
    """Decorator: `mapping(graph, call)` writes calls of these Functions as ONNX nodes.

    It returns the name of the tensor that stands for the call's output, or a tuple with one for
    each output, None for those that ONNX does not have. A mapping of your own for a Function of
    your own is found by `export` as minicnn's are.
    """

    def enter(mapping: Mapping) -> Mapping:
        for function in functions:
            _mappings[function] = mapping
        return mapping

    return enter


def mapped() -> frozenset[type]:
    """The Functions that have a mapping."""
    return frozenset(_mappings)


class Sizes(NamedTuple):
    """A shape as an operand. `of` is a tensor from whose shape the changing sizes may be read."""

    values: tuple[int, ...]
    of: str


class Node(NamedTuple):
    """One node to be. Inputs are names, Sizes, or "" for one that is left out."""

    op: str
    name: str
    inputs: tuple[Any, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    call: Call | None


def label(call: Call | None) -> str:
    """What an error says of a call: conv2d in module 'features.0'."""
    if call is None:
        return "the network"
    module = f"module {call.module!r}" if call.module else "the network's own forward"
    return f"{call.node.op_name} in {module}"


class Graph:
    """The nodes of `trace`, for ONNX of version `opset`.

    `state` has the network's parameters and buffers by name, `names` and `output_names` are what
    inputs and outputs are to be called.
    Attributes: `nodes`; `constants`, arrays by name, and which of them are `parameters` (or
    buffers); `shapes` of tensors by name; `outputs`, names.

    Raises NotImplementedError for a Function without a mapping, ValueError for a tensor that hangs
    on the input in a way that was not recorded, and what a mapping raises.
    """

    def __init__(
        self,
        trace: Trace,
        names: Iterable[str],
        output_names: list[str],
        state: dict[str, Any],
        opset: int,
    ) -> None:
        self.trace, self.output_names, self.opset = trace, output_names, opset
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.parameters: set[str] = set()
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._names: dict[Value, str] = {}
        self._taken = {*state, *output_names}
        self._state: dict[Value, str] = {}
        self._call: Call | None = None
        self._varying = set(trace.inputs)
        for name, value in zip(names, trace.inputs, strict=True):
            self._remember(value, self.fresh(name))
        for name, tensor in state.items():
            self._state.setdefault(trace.value(tensor), name)
        for call in self._needed():
            self._write(call)
        self._call = None
        self.outputs = [self.name(value) for value in trace.outputs]

    # ------------------------------------------------------------------ what has to be written

    def _needed(self) -> list[Call]:
        """The calls that the outputs depend on, without those that compute from constants alone.

        Their results are constants as well. Expand is kept: it may repeat one for each sample.
        """
        calls = []
        for call in self.trace.calls:
            used = [*[x for x in call.inputs if isinstance(x, Value)], *self._in_options(call)]
            if any(map(self._varies, used)) or call.function is Expand:
                self._varying.update(call.outputs)
                calls.append(call)
        wanted, needed = set(self.trace.outputs), []
        for call in reversed(calls):
            if wanted.intersection(call.outputs):
                wanted.update([x for x in call.inputs if isinstance(x, Value)])
                wanted.update(self._in_options(call))
                needed.append(call)
        return needed[::-1]

    def _varies(self, value: Value) -> bool:
        """Whether it depends on the inputs, by calls or in an unrecorded way."""
        return value in self._varying or any(map(self._varies, value.sources))

    def _in_options(self, call: Call) -> list[Value]:
        """Arrays among the options, such as running statistics or the indices of an embedding."""
        options = [o if isinstance(o, tuple) else (o,) for o in call.options.values()]
        return [self.trace.value(a) for parts in options for a in parts if backend.is_array(a)]

    def _write(self, call: Call) -> None:
        mapping = _mappings.get(call.function)
        if mapping is None:
            raise NotImplementedError(
                f"onnx.export: {label(call)} has no form in ONNX here; compute it outside of the "
                f"network, or write a mapping: @minicnn.onnx.maps({call.function.__name__})"
            )
        self._call = call
        results = mapping(self, call)
        results = results if isinstance(results, tuple) else (results,)
        for value, name in zip(call.outputs, results, strict=False):
            if name is not None:
                self._remember(value, name)

    # ------------------------------------------------------------------ names

    def name(self, value: Value) -> str:
        """The name of what is known of a tensor; one that no node makes becomes a constant."""
        if value not in self._names:
            if value.call is not None and any(y in self._names for y in value.call.outputs):
                index = value.call.outputs.index(value)
                raise NotImplementedError(
                    f"onnx.export: output {index} of {label(value.call)} has no form in ONNX "
                    "here, and it is used"
                )
            if self._varies(value) and value.sources:
                raise ValueError(
                    f"onnx.export: {label(self._call)} uses a tensor that was computed from the "
                    "input in a way that is not recorded: by argmax, a comparison, or other "
                    "functions without gradient; compute it from the network's outputs"
                )
            name = self._state.get(value) or self.fresh("constant")
            if value in self._state:
                self.parameters.add(name)
            self.constants[name] = backend.to_numpy(value.array)
            self._remember(value, name)
        return self._names[value]

    def inputs(self, call: Call) -> list[Any]:
        """For each input of the call the tensor's name, or what was given instead of a tensor."""
        return [self.name(x) if isinstance(x, Value) else x for x in call.inputs]

    def array(self, array: Any) -> str:
        """The name of an array among a call's options."""
        return self.name(self.trace.value(array))

    def _remember(self, value: Value, name: str) -> None:
        self._names[value] = name
        self.shapes.setdefault(name, tuple(value.shape))

    def fresh(self, base: str) -> str:
        """A name that nothing has yet, `base` or one like it."""
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name

    # ------------------------------------------------------------------ what mappings build with

    def node(self, op: str, *inputs: Any, count: int = 1, **attributes: Any) -> Any:
        """Adds a node. Returns its output's name, or with `count` > 1 a list of names.

        Inputs are names, Sizes or None (left out); attributes that are None are left out.
        """
        path = self._call.module if self._call is not None else ""
        outputs = tuple([self.fresh(f"{path}/{op}" if path else op) for _ in range(count)])
        given = ["" if x is None else x for x in inputs]
        while given and given[-1] == "":
            given.pop()
        kept = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(Node(op, outputs[0], tuple(given), outputs, kept, self._call))
        return outputs[0] if count == 1 else list(outputs)

    def constant(self, values: Any, dtype: Any) -> str:
        """The name of a constant tensor."""
        name = self.fresh("constant")
        self.constants[name] = np.asarray(values, dtype)
        return name

    def ints(self, *values: int) -> str:
        """A vector of int64, as which ONNX takes axes and such."""
        return self.constant(values, np.int64)

    def cast(self, x: str, before: Any, after: Any) -> str:
        """x in the type `after`; `before` is the one it has."""
        same = np.dtype(before) == np.dtype(after)
        return x if same else self.node("Cast", x, to=np.dtype(after))

    def operands(self, call: Call, dtype: Any = None) -> list[str]:
        """The inputs, tensors and numbers, as names of tensors of one type: the output's."""
        dtype = call.outputs[0].dtype if dtype is None else dtype
        return [self.operand(x, dtype) for x in call.inputs]

    def operand(self, x: Any, dtype: Any) -> str:
        """One of a call's inputs, a Value or a number, as a tensor of the type."""
        if isinstance(x, Value):
            return self.cast(self.name(x), x.dtype, dtype)
        if backend.is_array(x):
            return self.cast(self.array(x), x.dtype, dtype)
        return self.constant(x, dtype)

    def reshape(self, x: str, shape: Iterable[int], of: str | None = None) -> str:
        """x in another shape; `of` names the tensor that sizes come from, if it is not x."""
        return self.node("Reshape", x, Sizes(tuple(map(int, shape)), of or x))

    def reduce(self, op: str, x: str, axes: Iterable[int], keepdim: bool) -> str:
        """A reduction; the axes were an attribute in older versions of ONNX."""
        axes = tuple(axes)
        if not axes:  # ONNX would take none for all
            return x
        if op == "ReduceSum" or self.opset >= 18:
            return self.node(op, x, self.ints(*axes), keepdims=int(keepdim))
        return self.node(op, x, axes=axes, keepdims=int(keepdim))

    def scalars(self, dtype: Any, *values: float) -> list[str]:
        """Numbers as constants of a type."""
        return [self.constant(value, dtype) for value in values]

"""The layers of a network: output shapes, parameters, multiply-adds, memory, what their units see.

A multiply-add is one product and one addition, `sum += w * x`. A convolution needs, for each
element of its output, one for each tap that it reads; a transposed one, for each element of its
input, one for each place it is laid on; and a dense layer one for each input:

    conv       N*F*OH*OW * (C/G * KH*KW)        linear     (elements of y) * in_features
    transposed N*C*H*W * (F/G * KH*KW)

Each is counted where it runs, in the innermost module then, so that products in a `forward` of the
user's own count as well. Bias, normalisation, activation and pooling are left out, as is usual:
they are not where time goes.

Memory is measured, not guessed from output shapes: the forward pass is recorded as for a training
step, and what its operations saved for backward is added up, each piece of memory once, without the
parameters and the input. A training step needs at least

    input + parameters + as much for their gradients + what is kept for backward

and beside that what the optimizer keeps, and results that backward does not need.

What a unit sees (size, jump, start) is explained in receptive_field.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..autograd import Tensor, enable_grad
from ..backend import arrays as backend
from ..functional import zeros
from ..functional.conv import Conv, ConvGradInput
from ..functional.linear import Einsum, Linear, MatMul
from ..nn.trace import Call, ModuleTrace, trace
from ..train.modes import evaluating
from .receptive_field import ReceptiveField, fields
from .rules import Blind

Shape = tuple[int, ...]

_MOST_LINES = 80  # of a table whose depth nobody has chosen
_HEAD = ("layer", "output", "parameters", "multiply-adds", "sees", "jump", "start")


@dataclass
class LayerSummary:
    """One module: `name` is its path in the network ("" for the network), `depth` counts the dots.

    `output_shape` is None for a module that was not called and for outputs that are no tensor; of
    several outputs it is the first one's. `parameters` counts what the module itself and its
    children hold, `own_parameters` only what it holds itself; parameters that occur twice are
    counted where they occur first. `multiply_adds` sums over its calls and its children.
    `receptive_field` is None where nothing of the input's height and width is seen, and where it
    is not known: behind `blind_to`, an operation without a rule.
    """

    name: str
    kind: str
    depth: int
    output_shape: Shape | None = None
    parameters: int = 0
    own_parameters: int = 0
    trainable_parameters: int = 0
    multiply_adds: int = 0
    calls: int = 0
    receptive_field: ReceptiveField | None = None
    blind_to: str | None = None


@dataclass
class Summary:
    """What `summary` found; `str()` and `print` give the table, `layers` the rows.

    `input_bytes`, `parameter_bytes` and `kept_bytes` (what backward needs) are explained above;
    kept_bytes is None if the network does what cannot be followed: changes views in place.
    """

    input_shape: Shape
    layers: list[LayerSummary] = field(default_factory=list)
    input_bytes: int = 0
    parameter_bytes: int = 0
    kept_bytes: int | None = None

    @property
    def total_parameters(self) -> int:
        """Parameters of the whole network, shared ones counted once."""
        return self.layers[0].parameters

    @property
    def trainable_parameters(self) -> int:
        """Those that require a gradient."""
        return self.layers[0].trainable_parameters

    @property
    def total_multiply_adds(self) -> int:
        """Multiply-adds of one forward pass of the whole input."""
        return self.layers[0].multiply_adds

    @property
    def output_shape(self) -> Shape | None:
        """The shape of what the network returns."""
        return self.layers[0].output_shape

    @property
    def training_bytes(self) -> int | None:
        """What a training step needs at least; None where kept_bytes is."""
        if self.kept_bytes is None:
            return None
        return self.input_bytes + 2 * self.parameter_bytes + self.kept_bytes

    def __getitem__(self, name: str) -> LayerSummary:
        """The layer of that name. KeyError if there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"summary: no layer {name!r}")

    def rows(self, depth: int | None = None) -> list[tuple[str, ...]]:
        """The table's cells: the tree, output shape, parameters, multiply-adds, sees, jump, start.

        Modules deeper than `depth` (1: the network's own children) have no row; their numbers are
        in their parents'. Neighbours that are equal, block by block, share one row.
        """
        return tree_rows(self.layers, math.inf if depth is None else depth)

    def totals(self) -> list[tuple[str, str]]:
        """The lines below the table: label and value."""
        fixed = self.total_parameters - self.trainable_parameters
        kept, least = self.kept_bytes, self.training_bytes
        return [
            ("input", f"{'x'.join(map(str, self.input_shape))}, {_size(self.input_bytes)}"),
            ("parameters", f"{self.total_parameters:,}, {_size(self.parameter_bytes)}"),
            *([("of them fixed", f"{fixed:,}")] if fixed else []),
            ("multiply-adds", f"{self.total_multiply_adds:,}"),
            *([("kept for backward", _size(kept))] if kept is not None else []),
            *([("a training step", f"at least {_size(least)}")] if least is not None else []),
        ]

    def text(self, depth: int | None = None) -> str:
        """The table with rows to `depth`; without it, as deep as fits in 80 lines."""
        deepest = max(layer.depth for layer in self.layers)
        if depth is None:
            depth = next((d for d in range(deepest, 1, -1) if len(self.rows(d)) <= _MOST_LINES), 1)
        rows = self.rows(depth)
        table = [_HEAD, *rows]
        widths = [max(len(row[k]) for row in table) for k in range(len(_HEAD))]
        lines = [
            "  ".join(
                f"{cell:{'<' if k < 2 else '>'}{width}}"
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        rule = "-" * max(map(len, lines))
        below = [*self.totals(), *self._notes(depth, deepest)]
        label = max(len(name) for name, _ in below)
        return "\n".join(
            [lines[0], rule, *lines[1:], rule, *(f"{a:{label}}  {b}" for a, b in below)]
        )

    def _notes(self, depth: int, deepest: int) -> list[tuple[str, str]]:
        """What is not shown, and what could not be found out."""
        notes = []
        if depth < deepest:
            hidden = sum(layer.depth > depth for layer in self.layers)
            notes.append(("not shown", f"{hidden} modules deeper than {depth}, down to {deepest}"))
        if blind := {layer.blind_to for layer in self.layers if layer.blind_to}:
            notes.append(("?", f"nothing is known of what {', '.join(sorted(blind))} sees"))
        return notes

    def __str__(self) -> str:
        return self.text()


def summary(
    model: Any, input_size: Sequence[int] | None = None, batch_size: int = 1, input_data: Any = None
) -> Summary:
    """The layers of `model`, found by sending zeros through it and noting every operation.

    Args:
        input_size: the shape of one sample, (C, H, W) for an image network. Four numbers are taken
            as a batch, (N, C, H, W).
        batch_size: samples in the batch; output shapes and multiply-adds are those of the batch.
        input_data: a Tensor or an array to send through instead, or a tuple or list of them.

    The model is run in evaluation mode, and is left as it was: modes, gradients, running
    statistics, hooks and random generators; lazy layers have got their sizes.

    Raises ValueError without an input or with sizes below 1, and what the model raises.
    """
    several = input_data if isinstance(input_data, (tuple, list)) else (input_data,)
    if input_data is None:
        several = (_zeros(model, input_size, batch_size),)
    inputs = tuple(x if isinstance(x, Tensor) else Tensor(x) for x in several)
    layers = [
        LayerSummary(name, "", name.count(".") + 1 if name else 0)
        for name, _ in model.named_modules()
    ]
    with evaluating(model), enable_grad():
        record = trace(model, *inputs, graph=True, strict=False)
    _read(layers, model, record)
    result = Summary(tuple(inputs[0].shape), layers)
    parameters = [p.array for p in model.parameters()]
    result.input_bytes = sum(x.array.nbytes for x in inputs)
    result.parameter_bytes = sum(array.nbytes for array in parameters)
    if not record.lost:
        buffers = [b.array for b in model.buffers()]
        result.kept_bytes = _kept(record, [*parameters, *buffers, *(x.array for x in inputs)])
        _look(layers, record)
    _sum_up(layers)
    return result


def _read(layers: list[LayerSummary], model: Any, record: ModuleTrace) -> None:
    """Output shapes, calls, multiply-adds and parameters: lazy layers have them by now."""
    named = {layer.name: layer for layer in layers}
    for call in record.module_calls:
        layer = named[call.path]
        layer.calls += 1
        layer.output_shape = next((tuple(y.shape) for y in call.outputs), None)
    for function in record.calls:
        count = _MULTIPLY_ADDS.get(function.function)
        if count is not None:
            named[function.module].multiply_adds += count(function)
    seen = set()
    for name, module in model.named_modules():
        layer = named[name]
        layer.kind = type(module).__name__
        for parameter in module.parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                layer.own_parameters += parameter.numel()
                layer.trainable_parameters += parameter.numel() * parameter.requires_grad
        layer.parameters = layer.own_parameters


def _look(layers: list[LayerSummary], record: ModuleTrace) -> None:
    found = fields(record, len(record.inputs[0].shape) - 2)
    for layer in layers:
        seen = found.get(layer.name)
        if isinstance(seen, Blind):
            layer.blind_to = seen.function
        else:
            layer.receptive_field = seen


def _kept(record: ModuleTrace, others: list[Any]) -> int:
    """Bytes that the calls saved for backward, without `others`; shared memory counts once."""
    saved = [
        array
        for call in record.calls
        if call.node.edges
        for array in call.node._saved or ()
        if backend.is_array(array) and array.nbytes
    ]
    known = _pieces(others)
    return sum(stop - start for start, stop in _pieces([*saved, *others])) - sum(
        stop - start for start, stop in known
    )


def _pieces(arrays: list[Any]) -> list[tuple[int, int]]:
    """The memory of the arrays as disjoint intervals of addresses."""
    merged: list[tuple[int, int]] = []
    begins = ((backend.address(a), a.nbytes) for a in arrays)
    for start, size in sorted(begins):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], start + size))
        else:
            merged.append((start, start + size))
    return merged


def _zeros(model: Any, input_size: Sequence[int] | None, batch_size: int) -> Tensor:
    if input_size is None:
        raise ValueError("summary: needs input_size, such as (1, 28, 28), or input_data")
    shape = tuple(input_size) if len(input_size) == 4 else (batch_size, *input_size)
    if any(type(n) is not int or n < 1 for n in shape):
        raise ValueError(
            f"summary: input_size and batch_size expect positive integers, got {tuple(input_size)} "
            f"and {batch_size}"
        )
    first = next(iter(model.parameters()), None)
    if first is None:
        return zeros(shape)
    return zeros(shape, dtype=first.dtype, device=first.device)


def _taps_of_outputs(call: Call) -> int:
    """A convolution: for each element of y, those that the weight reads."""
    return math.prod(call.outputs[0].shape) * math.prod(call.inputs[1].shape[1:])


def _taps_of_inputs(call: Call) -> int:
    """A transposed convolution: for each element of x, those that the weight is laid on."""
    return math.prod(call.inputs[0].shape) * math.prod(call.inputs[1].shape[1:])


def _row_by_column(call: Call) -> int:
    """A product of matrices: for each element of y, the length of a row of the first one."""
    return math.prod(call.outputs[0].shape) * call.inputs[0].shape[-1]


def _letters(call: Call) -> int:
    """A sum of products over letters: each combination of all of them, once."""
    sizes: dict[str, int] = {}
    for term, value in zip(call.options["terms"], call.inputs, strict=True):
        sizes.update(zip(term, value.shape, strict=True))
    return math.prod(sizes.values()) * (len(call.inputs) - 1)


_MULTIPLY_ADDS: dict[Any, Callable[[Call], int]] = {
    Conv: _taps_of_outputs,
    ConvGradInput: _taps_of_inputs,
    Linear: _row_by_column,
    MatMul: _row_by_column,
    Einsum: _letters,
}


def _sum_up(layers: list[LayerSummary]) -> None:
    """Adds each layer to its parent, the last ones first, so that sums arrive complete."""
    parents = {layer.name: layer for layer in layers}
    for layer in reversed(layers[1:]):
        parent = parents[layer.name.rpartition(".")[0]]
        parent.parameters += layer.parameters
        parent.trainable_parameters += layer.trainable_parameters
        parent.multiply_adds += layer.multiply_adds


# ---------------------------------------------------------------------- the table


def tree_rows(layers: list[LayerSummary], depth: float) -> list[tuple[str, ...]]:
    """The rows of the tree down to `depth`, equal neighbours in one."""
    children: dict[str, list[LayerSummary]] = {layer.name: [] for layer in layers}
    for layer in layers[1:]:
        children[layer.name.rpartition(".")[0]].append(layer)
    rows = [(layers[0].kind, *_cells(layers[:1]))]

    def below(parent: LayerSummary, indent: str) -> None:
        groups = _groups(children[parent.name], children, depth)
        for n, group in enumerate(groups):
            last = n == len(groups) - 1
            rows.append((indent + ("└─ " if last else "├─ ") + _title(group), *_cells(group)))
            if len(group) == 1 and group[0].depth < depth:
                below(group[0], indent + ("   " if last else "│  "))

    if depth >= 1:
        below(layers[0], "")
    return rows


def _groups(
    layers: list[LayerSummary], children: dict[str, list[LayerSummary]], depth: float
) -> list[list[LayerSummary]]:
    """Neighbours, each alone, but those that repeat the one before them, where that saves lines."""
    groups: list[list[LayerSummary]] = []
    k = 0
    while k < len(layers):
        like, first = k + 1, _likeness(layers[k], children)
        while like < len(layers) and _likeness(layers[like], children) == first:
            like += 1
        lines = _lines(layers[k], children, depth)
        groups.append([layers[k]])
        rest = layers[k + 1 : like]
        groups += [rest] if len(rest) * lines > 3 and len(rest) > 1 else [[x] for x in rest]
        k = like
    return groups


def _likeness(layer: LayerSummary, children: dict[str, list[LayerSummary]]) -> Any:
    """Equal for layers of equal kinds, shapes and numbers, down to the last child."""
    numbers = (layer.kind, layer.output_shape, layer.parameters, layer.multiply_adds, layer.calls)
    return (*numbers, tuple(_likeness(child, children) for child in children[layer.name]))


def _lines(layer: LayerSummary, children: dict[str, list[LayerSummary]], depth: float) -> int:
    if layer.depth >= depth:
        return 1
    return 1 + sum(_lines(child, children, depth) for child in children[layer.name])


def _title(group: list[LayerSummary]) -> str:
    first, last = (layer.name.rpartition(".")[2] for layer in (group[0], group[-1]))
    if len(group) == 1:
        return f"{first}: {group[0].kind}"
    return f"{first} … {last}: {group[0].kind}, {len(group)} more alike"


def _cells(group: list[LayerSummary]) -> tuple[str, ...]:
    """Of several layers, sums, and what the last one sees."""
    last = group[-1]
    shape = "x".join(map(str, last.output_shape)) if last.output_shape is not None else "-"
    sees = ("?", "?", "?") if last.blind_to else ("-", "-", "-")
    if last.receptive_field is not None:
        sees = last.receptive_field.describe()
    return (
        shape,
        _count(sum(layer.parameters for layer in group)),
        _count(sum(layer.multiply_adds for layer in group)),
        *sees,
    )


def _count(n: int) -> str:
    return f"{n:,}" if n else "-"


def _size(n: int) -> str:
    """Bytes with the unit that suits them: 1 MB is 10^6 bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= scale:
            return f"{n / scale:.3g} {unit}" if n < 999.5 * scale else f"{n / scale:,.0f} {unit}"
    return f"{n} bytes"

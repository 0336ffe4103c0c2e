"""The layers of a network: output shapes, parameters, multiply-adds.

A multiply-add is one product and one addition, `sum += w * x`. A convolution needs, for each
element of its output, one for each tap that it reads; a transposed one, for each element of its
input, one for each place it is laid on; and a dense layer one for each input:

    conv       N*F*OH*OW * (C/G * KH*KW)        linear     (elements of y) * in_features
    transposed N*C*H*W * (F/G * KH*KW)

Bias, normalisation, activation and pooling are left out, as is usual: they are not where time goes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..autograd import Tensor
from ..functional import zeros
from ..train.modes import evaluating

Shape = tuple[int, ...]


@dataclass
class LayerSummary:
    """One module: `name` is its path in the network ("" for the network), `depth` counts the dots.

    `output_shape` is None for a module that was not called and for outputs that are no tensor; of
    several outputs it is the first one's. `parameters` counts what the module itself and its
    children hold, `own_parameters` only what it holds itself; parameters that occur twice are
    counted where they occur first. `multiply_adds` sums over its calls and its children.
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


@dataclass
class Summary:
    """What `summary` found; `str()` and `print` give the table, `layers` the rows."""

    input_shape: Shape
    layers: list[LayerSummary] = field(default_factory=list)

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

    def __getitem__(self, name: str) -> LayerSummary:
        """The layer of that name. KeyError if there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"summary: no layer {name!r}")

    def rows(self) -> list[tuple[str, str, str, str]]:
        """The table's cells: the tree, output shape, parameters, multiply-adds."""
        return [
            (
                _branch(self.layers, i),
                _shape(layer),
                _count(layer.parameters),
                _count(layer.multiply_adds),
            )
            for i, layer in enumerate(self.layers)
        ]

    def totals(self) -> list[tuple[str, str]]:
        """The lines below the table: label and value."""
        fixed = self.total_parameters - self.trainable_parameters
        return [
            ("input", "x".join(map(str, self.input_shape))),
            ("parameters", f"{self.total_parameters:,}"),
            *([("of them fixed", f"{fixed:,}")] if fixed else []),
            ("multiply-adds", f"{self.total_multiply_adds:,}"),
        ]

    def __str__(self) -> str:
        table = [("layer", "output", "parameters", "multiply-adds"), *self.rows()]
        widths = [max(len(row[k]) for row in table) for k in range(4)]
        lines = [
            f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip()
            for a, b, c, d in table
        ]
        rule = "-" * max(map(len, lines))
        label = max(len(name) for name, _ in self.totals())
        return "\n".join(
            [lines[0], rule, *lines[1:], rule, *(f"{a:{label}}  {b}" for a, b in self.totals())]
        )


def summary(
    model: Any, input_size: Sequence[int] | None = None, batch_size: int = 1, input_data: Any = None
) -> Summary:
    """The layers of `model`, found by sending zeros through it and listening with forward hooks.

    Args:
        input_size: the shape of one sample, (C, H, W) for an image network. Four numbers are taken
            as a batch, (N, C, H, W).
        batch_size: samples in the batch; output shapes and multiply-adds are those of the batch.
        input_data: a Tensor, or a tuple of them, to send through instead.

    The model is run in evaluation mode without a graph, and is left as it was: modes, running
    statistics, hooks and random generators.

    Raises ValueError without an input or with sizes below 1, and what the model raises.
    """
    inputs = input_data if isinstance(input_data, tuple) else (input_data,)
    if input_data is None:
        inputs = (_zeros(model, input_size, batch_size),)
    result = Summary(tuple(inputs[0].shape), _tree(model))
    layers = dict(zip((m for _, m in model.named_modules()), result.layers, strict=True))
    handles = [m.register_forward_hook(_listener(layer)) for m, layer in layers.items()]
    try:
        with evaluating(model):
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    _sum_up(result.layers)
    return result


def _zeros(model: Any, input_size: Sequence[int] | None, batch_size: int) -> Tensor:
    if input_size is None:
        raise ValueError("summary: needs input_size, such as (1, 28, 28), or input_data")
    shape = tuple(input_size) if len(input_size) == 4 else (batch_size, *input_size)
    if any(type(n) is not int or n < 1 for n in shape):
        raise ValueError(f"summary: input_size expects positive integers, got {tuple(input_size)}")
    first = next(iter(model.parameters()), None)
    if first is None:
        return zeros(shape)
    return zeros(shape, dtype=first.dtype, device=first.device)


def _tree(model: Any) -> list[LayerSummary]:
    layers, seen = [], set()
    for name, module in model.named_modules():
        layer = LayerSummary(name, type(module).__name__, name.count(".") + 1 if name else 0)
        for parameter in module.parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                layer.own_parameters += parameter.numel()
                layer.trainable_parameters += parameter.numel() * parameter.requires_grad
        layer.parameters = layer.own_parameters
        layers.append(layer)
    return layers


def _listener(layer: LayerSummary) -> Any:
    def listen(module: Any, inputs: Any, output: Any) -> None:
        layer.calls += 1
        while isinstance(output, (tuple, list)) and output:
            output = output[0]
        if isinstance(output, Tensor):
            layer.output_shape = tuple(output.shape)
            layer.multiply_adds += _multiply_adds(module, inputs, output)

    return listen


def _multiply_adds(module: Any, inputs: Any, output: Tensor) -> int:
    """By what the module has, not by its class: layers of the user's own count too."""
    weight = getattr(module, "weight", None)
    if hasattr(module, "kernel_size") and hasattr(module, "groups") and weight is not None:
        elements = inputs[0] if getattr(module, "transposed", False) and inputs else output
        return elements.numel() * math.prod(weight.shape[1:])
    if hasattr(module, "in_features") and weight is not None:
        return output.numel() * module.in_features
    return 0


def _sum_up(layers: list[LayerSummary]) -> None:
    """Adds each layer to its parent, the last ones first, so that sums arrive complete."""
    parents = {layer.name: layer for layer in layers}
    for layer in reversed(layers[1:]):
        parent = parents[layer.name.rpartition(".")[0]]
        parent.parameters += layer.parameters
        parent.trainable_parameters += layer.trainable_parameters
        parent.multiply_adds += layer.multiply_adds


def _branch(layers: list[LayerSummary], i: int) -> str:
    """The tree's drawing in front of layer i, and its name."""
    layer = layers[i]
    if layer.depth == 0:
        return layer.kind
    text = ""
    for depth in range(1, layer.depth + 1):
        later = (other.depth for other in layers[i + 1 :])
        follows = next((d for d in later if d <= depth), 0) == depth
        if depth == layer.depth:
            text += "├─ " if follows else "└─ "
        else:
            text += "│  " if follows else "   "
    return f"{text}{layer.name.rpartition('.')[2]}: {layer.kind}"


def _shape(layer: LayerSummary) -> str:
    return "x".join(map(str, layer.output_shape)) if layer.output_shape is not None else "-"


def _count(n: int) -> str:
    return f"{n:,}" if n else "-"

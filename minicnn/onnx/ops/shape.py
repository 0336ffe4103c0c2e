"""Shape: the same numbers under other indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...functional.arrange import Flip
from ...functional.diagonals import Triangle
from ...functional.index import Gather, Take
from ...functional.pad import Pad
from ...functional.shape import Cat, Clone, Expand, Permute, Reshape, Slice, SumTo
from ...functional.shuffle import ChannelShuffle, PixelShuffle, PixelUnshuffle
from ..graph import Graph, Sizes, label, maps

_END = np.iinfo(np.int64).max  # as the stop of a slice: to the end, however long the axis is


@maps(Reshape)
def reshape(graph: Graph, call: Any) -> str:
    """Reshape."""
    (x,) = graph.inputs(call)
    return graph.reshape(x, call.outputs[0].shape)


@maps(Permute)
def permute(graph: Graph, call: Any) -> str:
    """Transpose."""
    (x,), dims = graph.inputs(call), call.options["dims"]
    return graph.node("Transpose", x, perm=dims) if dims else x


@maps(Expand)
def expand(graph: Graph, call: Any) -> str:
    """Expand."""
    (x,) = graph.inputs(call)
    return graph.node("Expand", x, Sizes(tuple(call.outputs[0].shape), x))


@maps(SumTo)
def sum_to(graph: Graph, call: Any) -> str:
    """The sum over the axes that broadcasting would repeat."""
    (x,), small, large = graph.inputs(call), call.options["shape"], call.inputs[0].shape
    lead = len(large) - len(small)
    ones = [i for i in range(lead, len(large)) if small[i - lead] == 1 != large[i]]
    y = graph.reduce("ReduceSum", x, (*range(lead), *ones), True)
    return graph.reshape(y, small, of=x)


@maps(Cat)
def cat(graph: Graph, call: Any) -> str:
    """Concat; the empty vector, which goes with every shape, is left out."""
    names = [
        name
        for name, part in zip(graph.inputs(call), call.inputs, strict=True)
        if tuple(part.shape) != (0,)
    ]
    return graph.node("Concat", *names, axis=call.options["dim"])


@maps(Clone)
def clone(graph: Graph, call: Any) -> str:
    """Nothing: tensors of a graph are never changed."""
    return graph.inputs(call)[0]


@maps(Slice)
def basic_index(graph: Graph, call: Any) -> str:
    """Slice for slices, Gather for integers, Unsqueeze for None."""
    (x,), size = graph.inputs(call), call.inputs[0].shape
    keys = call.options["index"]
    keys = list(keys) if isinstance(keys, tuple) else [keys]
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    used = sum([k is not None and k is not Ellipsis for k in keys])
    at = keys.index(Ellipsis)
    keys[at : at + 1] = [slice(None)] * (len(size) - used)
    cut: list[tuple[int, int, int, int]] = []  # axis, start, stop, step
    picked: list[tuple[int, int]] = []  # axis, place
    added: list[int] = []
    axis = 0
    for k in keys:
        if k is None:
            added.append(axis - len(picked) + len(added))
            continue
        if isinstance(k, slice):
            cut += _limits(axis, k, size[axis])
        else:
            picked.append((axis, int(k)))
        axis += 1
    if cut:
        axes, starts, stops, steps = [graph.ints(*part) for part in zip(*cut, strict=True)]
        x = graph.node("Slice", x, starts, stops, axes, steps)
    for axis, place in reversed(picked):
        x = graph.node("Gather", x, graph.constant(place, np.int64), axis=axis)
    return graph.node("Unsqueeze", x, graph.ints(*added)) if added else x


def _limits(axis: int, k: slice, size: int) -> list[tuple[int, int, int, int]]:
    start, stop, step = k.indices(size)
    if (start, step) == (0, 1) and stop == size:
        return []
    return [(axis, start, _END if stop == size else stop, step)]


@maps(Take)
def take(graph: Graph, call: Any) -> str:
    """Gather by one array of integers."""
    (x,), keys = graph.inputs(call), call.options["index"]
    chosen = [(axis, k) for axis, k in enumerate(keys) if not isinstance(k, slice)]
    if len(chosen) != 1 or chosen[0][1].dtype.kind == "b":
        raise NotImplementedError(
            f"onnx.export: {label(call)}: an index of masks or of several arrays has no form in "
            "ONNX here; index one axis after the other"
        )
    axis, k = chosen[0]
    return graph.node("Gather", x, graph.array(k), axis=axis)


@maps(Gather)
def gather(graph: Graph, call: Any) -> str:
    """GatherElements, of an x cut to the index's size along the other axes."""
    (x,), k, axis = graph.inputs(call), call.options["index"], call.options["axis"]
    sizes = zip(k.shape, call.inputs[0].shape, strict=True)
    short = [i for i, (n, whole) in enumerate(sizes) if i != axis and n < whole]
    if short:
        stops = graph.ints(*[k.shape[i] for i in short])
        x = graph.node("Slice", x, graph.ints(*[0] * len(short)), stops, graph.ints(*short))
    return graph.node("GatherElements", x, graph.array(k), axis=axis)


@maps(Flip)
def flip(graph: Graph, call: Any) -> str:
    """A slice with step -1."""
    (x,), dims = graph.inputs(call), call.options["dims"]
    if not dims:
        return x
    count = len(dims)
    first, last = graph.ints(*[-1] * count), graph.ints(*[-_END] * count)
    return graph.node("Slice", x, first, last, graph.ints(*dims), graph.ints(*[-1] * count))


@maps(Pad)
def constant_pad(graph: Graph, call: Any) -> str:
    """Pad: the widths in front of all axes come first."""
    (x,), y = graph.inputs(call), call.outputs[0]
    lows, highs = zip(*call.options["widths"], strict=True)
    value = graph.constant(call.options["value"] or 0, y.dtype)
    return graph.node("Pad", x, graph.ints(*lows, *highs), value)


@maps(Triangle)
def triangle(graph: Graph, call: Any) -> str:
    """Trilu."""
    (x,), o = graph.inputs(call), call.options
    diagonal = graph.constant(o["diagonal"], np.int64)
    return graph.node("Trilu", x, diagonal, upper=int(not o["lower"]))


# ---------------------------------------------------------------------- shuffles


@maps(ChannelShuffle)
def channel_shuffle(graph: Graph, call: Any) -> str:
    """Channels as a table of groups, turned on its side."""
    (x,), y, G = graph.inputs(call), call.outputs[0], call.options["groups"]
    N, C, *size = y.shape
    table = graph.reshape(x, (N, G, C // G, *size))
    turned = graph.node("Transpose", table, perm=(0, 2, 1, *range(3, 3 + len(size))))
    return graph.reshape(turned, y.shape, of=x)


@maps(PixelShuffle)
def pixel_shuffle(graph: Graph, call: Any) -> str:
    """r*r channels become a block of r x r pixels."""
    (x,), r, y = graph.inputs(call), call.options["factor"], call.outputs[0]
    *lead, channels, H, W = call.inputs[0].shape
    n = len(lead)
    blocks = graph.reshape(x, (*lead, channels // (r * r), r, r, H, W))
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return graph.reshape(graph.node("Transpose", blocks, perm=order), y.shape, of=x)


@maps(PixelUnshuffle)
def pixel_unshuffle(graph: Graph, call: Any) -> str:
    """A block of r x r pixels becomes r*r channels."""
    (x,), r, y = graph.inputs(call), call.options["factor"], call.outputs[0]
    *lead, C, H, W = call.inputs[0].shape
    n = len(lead)
    blocks = graph.reshape(x, (*lead, C, H // r, r, W // r, r))
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return graph.reshape(graph.node("Transpose", blocks, perm=order), y.shape, of=x)

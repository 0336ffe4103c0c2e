"""Convolution, its transpose, and windows written out as columns."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...functional.conv import Conv, ConvGradInput
from ...functional.fold import Im2col
from ..graph import Graph, maps


@maps(Conv)
def convolution(graph: Graph, call: Any) -> str:
    """Conv: the pads of all axes in front come first, then those behind."""
    g = call.options["geometry"]
    lows, highs = zip(*g.padding, strict=True)
    return graph.node(
        "Conv",
        *graph.inputs(call),
        kernel_shape=g.kernel,
        strides=g.stride,
        pads=lows + highs,
        dilations=g.dilation,
        group=g.groups,
    )


@maps(ConvGradInput)
def transposed(graph: Graph, call: Any) -> str:
    """ConvTranspose: (H-1)*S + span rows, P of them cut off in front, behind what is too many.

    Output padding cuts less off behind. Where it wants rows that no window reaches, they are zeros,
    and a Pad cuts and adds. (onnxruntime refuses an output padding of a stride or more, which a
    dilation allows.)
    """
    g = call.options["geometry"]
    lows = tuple([low for low, _ in g.padding])
    sizes = zip(g.size, g.out_size, g.stride, g.span, lows, strict=True)
    cut = [(out - 1) * S + span - P - size for size, out, S, span, P in sizes]
    inside = min(cut) >= 0
    y = graph.node(
        "ConvTranspose",
        *graph.inputs(call),
        kernel_shape=g.kernel,
        strides=g.stride,
        pads=lows + tuple(cut) if inside else (0,) * (2 * len(lows)),
        dilations=g.dilation,
        group=g.groups,
    )
    if inside:
        return y
    widths = [-n for n in (0, 0, *lows, 0, 0, *cut)]
    return graph.node("Pad", y, graph.ints(*widths))


@maps(Im2col)
def columns(graph: Graph, call: Any) -> str:
    """A convolution with weights of one 1 each: it takes every tap of a window to a channel."""
    (x,), g, (y,) = graph.inputs(call), call.options["geometry"], call.outputs
    K, C = prod(g.kernel), g.in_channels
    weight = np.tile(np.eye(K).reshape(K, 1, *g.kernel), (C,) + (1,) * (1 + len(g.kernel)))
    lows, highs = zip(*g.padding, strict=True)
    taps = graph.node(
        "Conv",
        x,
        graph.constant(weight, y.dtype),
        kernel_shape=g.kernel,
        strides=g.stride,
        pads=lows + highs,
        dilations=g.dilation,
        group=C,
    )
    return graph.reshape(taps, y.shape, of=x)

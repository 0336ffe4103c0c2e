"""What each operation reads along the axes of the image: Function -> rule.

    rule(call, sights) -> the sight of the call's first output

A *sight* is a tuple of Spans, one for each spatial axis of the network's input (see spans.py); None
for a tensor that does not depend on the input; or Blind, which names the operation behind which one
cannot see: it has no rule, or moves pixels in a way that no span describes. `sights` has one for
each input of the call. Other outputs (the indices of a max pooling) get the first one's.

Values decide nothing here: a max pooling *can* see its whole window, whichever pixel won.
Normalisation counts: layer norm over (C, H, W), instance and group norm see the whole image,
through mean and variance; batch norm in evaluation mode one pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from importlib import import_module
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Function
from ..backend.geometry import ConvGeometry, adaptive_windows
from ..functional.activation import LogSoftmax, Softmax
from ..functional.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool
from ..functional.arrange import Flip
from ..functional.conv import Conv, ConvGradInput
from ..functional.fold import Im2col
from ..functional.gate import GLU
from ..functional.index import Take
from ..functional.linear import Linear, MatMul
from ..functional.lp_pool import LpPool
from ..functional.norm import BatchNorm, BatchNormInference
from ..functional.pad import Pad
from ..functional.pool import AvgPool, MaxPool
from ..functional.reduce import (
    Amax,
    Amin,
    LogSumExp,
    MaxAlong,
    Mean,
    MinAlong,
    Norm2,
    PNorm,
    Std,
    Sum,
    Var,
)
from ..functional.resize import Resample
from ..functional.response_norm import ChannelSums, LocalResponseNorm
from ..functional.rms import RMSNorm
from ..functional.sample_norm import SampleNorm
from ..functional.shape import Cat, Clone, Expand, Permute, Reshape, Slice
from ..functional.shuffle import ChannelShuffle, PixelShuffle, PixelUnshuffle
from ..functional.stochastic_pool import StochasticPool, StochasticPoolMean
from .spans import Span, Window, joined, listed, spread, strided, union


class Blind(NamedTuple):
    """Nothing is known, because of the operation `function` in the module `module`."""

    function: str
    module: str


Sight = tuple[Span, ...] | Blind | None
Rule = Callable[[Any, list[Sight]], Any]

RULES: dict[type[Function], Rule] = {}


def _rule(*functions: type[Function]) -> Callable[[Rule], Rule]:
    def enter(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(functions, rule))
        return rule

    return enter


def sight_of(call: Any, sights: list[Sight]) -> Sight:
    """What the units of the call's output see, given what those of its inputs see."""
    seeing = [s for s in sights if s is not None]
    blind = next((s for s in seeing if isinstance(s, Blind)), None)
    if blind is not None or not seeing:
        return blind
    rule = RULES.get(call.function)
    found = None if rule is None else rule(call, sights)
    return Blind(call.function.__name__, call.module) if found is None else found


def _only(call: Any, sights: Sequence[Any]) -> Any:
    """The input that sees, and its shape; None if several do."""
    seeing = [(s, call.inputs[i].shape) for i, s in enumerate(sights) if s is not None]
    return seeing[0] if len(seeing) == 1 else None


def _each(call: Any, sights: Any, change: Callable[[Span, Any], Span | None]) -> Any:
    """`change` of each span of the one input that sees; None where it gives None."""
    only = _only(call, sights)
    if only is None:
        return None
    spans = [change(span, only[1]) for span in only[0]]
    return None if any(s is None for s in spans) else tuple(spans)


# ---------------------------------------------------------------------- element by element


def _functions(family: str) -> set[type[Function]]:
    module = import_module(f"..functional.{family}", __package__)
    return {
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Function)
        and value.__module__ == module.__name__
    }


_FAMILIES = (
    "activation arithmetic choice dropout exponential gate inverse_erf noisy rounding shrink "
    "special trigonometry"
)
ELEMENTWISE = {
    *chain.from_iterable(map(_functions, _FAMILIES.split())),
    *(Expand, Clone, BatchNormInference),
} - {Softmax, LogSoftmax, GLU}


@_rule(*ELEMENTWISE)
def _elementwise(call: Any, sights: Any) -> Any:
    """y[i] depends on the x[i], broadcast where x has size 1: a union."""
    out = call.outputs[0].shape
    parts = [
        [_broadcast(span, value.shape, out) for span in sight]
        for value, sight in zip(call.inputs, sights, strict=True)
        if sight is not None
    ]
    spans = [union(along) for along in zip(*parts, strict=True)]
    return None if any(s is None for s in spans) else tuple(spans)


def _broadcast(span: Span, given: tuple[int, ...], out: tuple[int, ...]) -> Span:
    if span.axis is None:
        return span
    axis = span.axis + len(out) - len(given)
    return span.unit(0) if given[span.axis] == 1 != out[axis] else span.at(axis, span.inner)


@_rule(
    ChannelShuffle,
    ChannelSums,
    LocalResponseNorm,
)
def _along_channels(call: Any, sights: Any) -> Any:
    """Mixes axis 1 alone."""
    return _each(call, sights, lambda span, _: None if span.axis == 1 else span)


# ---------------------------------------------------------------------- windows


def _windowed(call: Any, sights: Any, window: Callable[[int, int, int], Window]) -> Any:
    """window(axis of the geometry, units, outputs), for axes 2, 3 ... of the tensor."""
    out = call.outputs[0].shape

    def change(span: Span, given: tuple[int, ...]) -> Span | None:
        if span.axis is None:
            return span
        if span.axis < 2 or not span.fills(given):
            return None
        return span.through(window(span.axis - 2, given[span.axis], out[span.axis]))

    return _each(call, sights, change)


@_rule(
    Conv,
    MaxPool,
    AvgPool,
    LpPool,
    StochasticPool,
    StochasticPoolMean,
)
def _window(call: Any, sights: Any) -> Any:
    """y[j] depends on x[j*S + p*D - P]."""
    g = call.options["geometry"]
    if any(s is not None for s in sights[1:]):  # weights that follow from the image
        return None

    def window(axis: int, n: int, out: int) -> Window:
        padding = g.padding[axis]
        low = padding if isinstance(padding, int) else padding[0]
        return strided(n, out, g.kernel[axis], g.stride[axis], low, g.dilation[axis])

    return _windowed(call, sights, window)


@_rule(ConvGradInput)
def _transposed(call: Any, sights: Any) -> Any:
    """A transposed convolution: y[j] depends on the x[i] with i*S + p*D - P = j."""
    g: ConvGeometry = call.options["geometry"]
    if sights[1] is not None:
        return None

    def window(axis: int, n: int, out: int) -> Window:
        padding, dilation = g.padding[axis][0], g.dilation[axis]
        return spread(n, out, g.kernel[axis], g.stride[axis], padding, dilation)

    return _windowed(call, sights, window)


@_rule(AdaptiveAvgPool, AdaptiveMaxPool)
def _adaptive(call: Any, sights: Any) -> Any:
    """y[j] depends on the x from floor(j*H/OH) to ceil((j+1)*H/OH); of one output: on all."""
    out = call.options["out_size"]

    def change(span: Span, given: tuple[int, ...]) -> Span | None:
        if span.axis is None:
            return span
        if span.axis < 2 or not span.fills(given):
            return None
        n, m = given[span.axis], out[span.axis - 2]
        if m == 1:
            return span.whole()
        rows = [range(*window) for window in adaptive_windows(n, m)]
        return span.through(listed(rows, Fraction(n, m)))

    return _each(call, sights, change)


@_rule(Resample)
def _resampled(call: Any, sights: Any) -> Any:
    """y[j] depends on the x[i] with A[j,i] not 0. Padding by reflection is one of these, too."""
    taps, axis = call.options["taps"], call.options["axis"] % len(call.inputs[0].shape)
    m, n = taps.shape
    starts = np.searchsorted(taps.rows, np.arange(1, m))
    rows = [row.tolist() for row in np.split(taps.columns, starts)]
    window = listed(rows, Fraction(n, m))
    before = _pixels_before(rows, n)
    if before is not None:
        window = Window(Fraction(1), Fraction(-before), Fraction(-before), window.taps)

    def change(span: Span, given: tuple[int, ...]) -> Span | None:
        if span.axis != axis:
            return span
        return span.through(window) if span.fills(given) else None

    return _each(call, sights, change)


def _pixels_before(rows: Sequence[Sequence[int]], n: int) -> int | None:
    """Where padding put the row itself: before it so many pixels. None if it is nowhere whole.

    Two pixels repeated, 0 0 1 1, are taken for upsampling: small maps are enlarged more often than
    padded by their own edge.
    """
    columns = [row[0] if len(row) == 1 else -1 for row in rows]
    if len(rows) >= 2 * n and columns == [j * n // len(rows) for j in range(len(rows))]:
        return None
    places = (j for j, i in enumerate(columns) if i == 0 and columns[j : j + n] == [*range(n)])
    return next(places, None)


@_rule(PixelShuffle)
def _pixel_shuffle(call: Any, sights: Any) -> Any:
    """y[j] depends on x[floor(j / r)]."""
    r, ndim = call.options["factor"], len(call.outputs[0].shape)

    def change(span: Span, given: tuple[int, ...]) -> Span | None:
        if span.axis is None:
            return span
        if span.axis < ndim - 2 or not span.fills(given):
            return None
        rows = [[j // r] for j in range(given[span.axis] * r)]
        return span.through(listed(rows, Fraction(1, r)))

    return _each(call, sights, change)


@_rule(PixelUnshuffle)
def _pixel_unshuffle(call: Any, sights: Any) -> Any:
    """The channels of y[j], together, depend on x[j*r .. j*r + r - 1]."""
    r, ndim = call.options["factor"], len(call.outputs[0].shape)

    def change(span: Span, given: tuple[int, ...]) -> Span | None:
        if span.axis is None:
            return span
        if span.axis < ndim - 2 or not span.fills(given):
            return None
        return span.through(strided(given[span.axis], given[span.axis] // r, r, r, 0, 1))

    return _each(call, sights, change)


@_rule(Pad)
def _padded(call: Any, sights: Any) -> Any:
    """y[j] depends on x[j - low]."""
    widths, out = call.options["widths"], call.outputs[0].shape

    def change(span: Span, given: tuple[int, ...]) -> Span | None:
        axis = span.axis
        if axis is None or not any(widths[axis]):
            return span
        if not span.fills(given):
            return None
        return span.through(strided(given[axis], out[axis], 1, 1, widths[axis][0], 1))

    return _each(call, sights, change)


@_rule(Im2col)
def _columns(call: Any, sights: Any) -> Any:
    """Windows (OH, OW) along one axis of columns; each column sees its window."""
    g, g_out = call.options["geometry"], call.options["geometry"].out_size

    def change(span: Span, given: tuple[int, ...]) -> Span | None:
        if span.axis is None:
            return span
        if span.axis < 2 or not span.fills(given):
            return None
        k = span.axis - 2
        window = strided(
            given[span.axis], g_out[k], g.kernel[k], g.stride[k], g.padding[k][0], g.dilation[k]
        )
        return span.through(window).at(2, math.prod(g_out[k + 1 :]))

    return _each(call, sights, change)


# ---------------------------------------------------------------------- everything along an axis


def _over(axes: Sequence[int]) -> Callable[[Span, Any], Span]:
    return lambda span, _: span.whole() if span.axis in axes else span


@_rule(
    *(Sum, Mean, Var, Std, Amax, Amin),
    *(LogSumExp, Norm2, PNorm, MaxAlong, MinAlong),
)
def _reduced(call: Any, sights: Any) -> Any:
    """Over some axes, which go, or stay with size 1."""
    ndim = len(call.inputs[0].shape)
    axes = call.options["axes"] if "axes" in call.options else (call.options["axis"],)
    axes = sorted({a % ndim for a in axes}) if ndim else []

    def change(span: Span, given: tuple[int, ...]) -> Span:
        if span.axis is None or span.axis in axes:
            return span.whole()
        lost = 0 if call.options["keepdim"] else sum(a < span.axis for a in axes)
        return span.at(span.axis - lost, span.inner)

    return _each(call, sights, change)


@_rule(Softmax, LogSoftmax)
def _softmax(call: Any, sights: Any) -> Any:
    """Each along one axis depends on all along it."""
    axis = call.options["axis"] % max(1, len(call.inputs[0].shape))

    def change(span: Span, given: tuple[int, ...]) -> Span:
        return span.whole() if span.axis == axis else span

    return _each(call, sights, change)


@_rule(Linear)
def _dense(call: Any, sights: Any) -> Any:
    """Each output depends on all along the last axis."""
    return _each(call, [sights[0], None, None], _over([1]))


@_rule(MatMul)
def _product(call: Any, sights: Any) -> Any:
    """a @ b with only a or only b from the image: over the axis that is summed."""
    a, b = (v.shape for v in call.inputs)
    if sights[1] is None:
        return _each(call, sights, _over([len(a) - 1])) if len(a) == len(b) > 1 else None
    return _each(call, sights, _over([len(b) - 2])) if len(a) == len(b) > 1 else None


@_rule(BatchNorm)
def _batch_statistics(call: Any, sights: Any) -> Any:
    """Over all axes but 1."""
    return _each(call, sights, lambda span, _: None if span.axis == 1 else span.whole())


@_rule(SampleNorm)
def _sample_statistics(call: Any, sights: Any) -> Any:
    """Over the last axes (layer norm), or over all behind the channels (group, instance norm)."""
    given, taken = call.inputs[0].shape, call.options["shape"]
    first = 2
    if len(taken) == 2:
        first, rest = len(given), taken[1]
        while rest > 1:
            first -= 1
            rest //= given[first]
    return _each(call, [sights[0], None, None], _over(range(first, len(given))))


@_rule(RMSNorm)
def _rms(call: Any, sights: Any) -> Any:
    """Over the last axis."""
    return _each(call, [sights[0], None], _over([1]))


# ---------------------------------------------------------------------- the same under other axes


@_rule(Reshape)
def _reshaped(call: Any, sights: Any) -> Any:
    """The order in memory stays: units that lie `step` elements apart lie so afterwards."""
    out = call.outputs[0].shape

    def change(span: Span, given: tuple[int, ...]) -> Span | None:
        if span.axis is None:
            return span
        if span.units == 1:
            return span.unit(0)
        step = math.prod(given[span.axis + 1 :]) * span.inner
        for axis in range(len(out)):
            behind = math.prod(out[axis + 1 :])
            holds = step % behind == 0 and step * span.units <= behind * out[axis]
            if holds and behind <= step and out[axis] > 1:
                return span.at(axis, step // behind)
        return None

    return _each(call, sights, change)


@_rule(Permute)
def _permuted(call: Any, sights: Any) -> Any:
    dims = [d % len(call.inputs[0].shape) for d in call.options["dims"]]

    def change(span: Span, given: tuple[int, ...]) -> Span:
        return span if span.axis is None else span.at(dims.index(span.axis), span.inner)

    return _each(call, sights, change)


@_rule(Flip)
def _flipped(call: Any, sights: Any) -> Any:
    dims = {d % len(call.inputs[0].shape) for d in call.options["dims"]}

    def change(span: Span, given: tuple[int, ...]) -> Span | None:
        if span.axis not in dims:
            return span
        if not span.fills(given):
            return None
        rows = [[i] for i in reversed(range(span.units))]
        return span.through(listed(rows, Fraction(-1)))

    return _each(call, sights, change)


@_rule(Cat)
def _concatenated(call: Any, sights: Any) -> Any:
    """Along the channels: a union, since a unit is that of all channels. Along the image: a row."""
    given = [(v.shape, s) for v, s in zip(call.inputs, sights, strict=True) if s is not None]
    dim = call.options["dim"] % len(call.outputs[0].shape)
    result: list[Span] = []
    for parts in zip(*(s for _, s in given), strict=True):
        if all(span.axis != dim for span in parts):
            found = union(parts)
        elif len(given) == len(call.inputs) and all(
            span.axis == dim and span.fills(size)
            for span, (size, _) in zip(parts, given, strict=True)
        ):
            found = joined(parts)
        else:
            found = None
        if found is None:
            return None
        result.append(found)
    return tuple(result)


@_rule(Slice)
def _sliced(call: Any, sights: Any) -> Any:
    """x[index] for integers, slices, None and an Ellipsis."""
    given = call.inputs[0].shape
    entries = call.options["index"]
    entries = entries if isinstance(entries, tuple) else (entries,)
    missing = len(given) - sum(e is not None and e is not Ellipsis for e in entries)
    if Ellipsis not in entries:
        entries = (*entries, Ellipsis)
    places: dict[int, tuple[Any, int]] = {}  # axis of x: its entry, and its axis in y
    axis = out = 0
    for entry in entries:
        for _ in range(missing if entry is Ellipsis else entry is not None):
            places[axis] = (slice(None) if entry is Ellipsis else entry, out)
            axis, out = axis + 1, out + isinstance(places[axis][0], slice)
        out += entry is None

    def change(span: Span, given: tuple[int, ...]) -> Span | None:
        if span.axis is None:
            return span
        entry, where = places[span.axis]
        if entry == slice(None):
            return span.at(where, span.inner)
        if not span.fills(given):
            return None
        if not isinstance(entry, slice):
            return span.unit(int(entry) % span.units)
        units = range(span.units)[entry]
        window = strided(span.units, len(units), 1, units.step, -units.start, 1)
        return span.through(window).at(where)

    return _each(call, sights, change)


@_rule(Take)
def _taken(call: Any, sights: Any) -> Any:
    """x[:, numbers]: one axis in another order."""
    entries = call.options["index"]
    arrays = [axis for axis, entry in enumerate(entries) if not isinstance(entry, slice)]
    if len(arrays) != 1 or np.ndim(entries[arrays[0]]) != 1:
        return None
    return _each(call, sights, lambda span, _: None if span.axis == arrays[0] else span)


__all__ = ["ELEMENTWISE", "RULES", "Blind", "Sight", "sight_of"]

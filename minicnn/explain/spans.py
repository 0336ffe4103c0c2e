"""Which pixels the units along one axis see: the arithmetic of receptive fields.

Let `i` number the units of a layer along one axis of the image. Two descriptions go side by side.

The theory, for an image without borders: unit i sees the pixels between

(1)  a*i + lo   and   a*i + hi                       jump a, start lo, size floor(hi - lo) + 1

The truth inside the image of n pixels: for every unit the first and the last pixel that it sees,

(2)  first[i], last[i]                               first[i] > last[i]: none at all

They differ at borders, and not by clipping alone: what a unit would see through padding, it does
not see. (A unit whose window hangs over the end of a map of stride 2 lacks a whole unit of it.)

An operation that moves along the axis reads, for its output j, the units from s*j + p to s*j + q:
a *window* with stride s. Put into (1), for a >= 0,

(3)  a' = a*s        lo' = lo + a*p        hi' = hi + a*q

For a convolution, s = S, p = -P and q = D*(K-1) - P, so that the size r = hi - lo + 1 grows as is
usual: r' = r + D*(K-1)*a. For (2) it reads the taps of the window that are units, and

(4)  first'[j] = min over its taps i of first[i]     last'[j] = max over its taps i of last[i]

Upsampling has s < 1, and p and q need not be whole: for a window known by its taps alone, as a
resized map's or a transposed convolution's, s is the ratio of the sizes, p the least of i - s*j
over all taps and q the largest. Where maps meet (a sum, a concatenation of channels), a unit sees
what any of the parts sees:

(5)  a' = a          lo' = min of the lo           hi' = max of the hi         (the same jump)

A part that sees the whole image whatever i is (a pooled one, behind squeeze-and-excitation) has the
jump 0, and makes 0 of the jump of the sum. Jumps that differ otherwise are drawn to one of them, so
widely that every unit is covered.

Sources of (3): V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
arXiv:1603.07285; A. Araujo, W. Norris, J. Sim, "Computing receptive fields of convolutional neural
networks", Distill 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """What the outputs along an axis read: the theory (stride, low, high), and their taps.

    `taps` is (outputs, taps of each): the numbers of the units, -1 for a tap that is none.
    """

    stride: Fraction
    low: Fraction
    high: Fraction
    taps: np.ndarray


def strided(n: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> Window:
    """The window of a convolution or pooling: output j reads j*S + p*D - P, p = 0 .. K-1."""
    taps = np.arange(out)[:, None] * stride + np.arange(kernel) * dilation - padding
    high = dilation * (kernel - 1) - padding
    inside = np.where((taps >= 0) & (taps < n), taps, -1)
    return Window(Fraction(stride), Fraction(-padding), Fraction(high), inside)


def spread(n: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> Window:
    """The window of a transposed convolution: output j reads the i with i*S + p*D - P = j."""
    places = np.arange(out)[:, None] + padding - np.arange(kernel) * dilation
    units, rest = np.divmod(places, stride)
    taps = np.where((rest == 0) & (units >= 0) & (units < n), units, -1)
    low, high = padding - dilation * (kernel - 1), padding
    return Window(Fraction(1, stride), Fraction(low, stride), Fraction(high, stride), taps)


def listed(rows: Sequence[Sequence[int]], stride: Fraction) -> Window:
    """The window whose output j reads the units rows[j], as tightly as `stride` allows."""
    width = max((len(row) for row in rows), default=0)
    taps = np.full((len(rows), max(width, 1)), -1)
    for j, row in enumerate(rows):
        taps[j, : len(row)] = row
    lows = [min(row) - stride * j for j, row in enumerate(rows) if len(row)]
    highs = [max(row) - stride * j for j, row in enumerate(rows) if len(row)]
    zero = Fraction(0)
    return Window(stride, min(lows, default=zero), max(highs, default=zero), taps)


@dataclass(frozen=True, eq=False)
class Span:
    """What the units of a tensor see along one axis of the image, formulas (1) and (2).

    `extent` is the image's size along it. `axis` is the axis of the tensor along which the units
    are numbered, None if all its elements see the same. Where a reshape has merged axes, unit i has
    the places t of the merged axis with floor(t / inner) mod len(first) = i.
    """

    extent: int
    axis: int | None
    jump: Fraction
    low: Fraction
    high: Fraction
    first: np.ndarray
    last: np.ndarray
    inner: int = 1

    @classmethod
    def of_image(cls, extent: int, axis: int) -> Span:
        """The image itself: every pixel sees itself."""
        one, zero, places = Fraction(1), Fraction(0), np.arange(extent)
        return cls(extent, axis, one, zero, zero, places, places)

    @property
    def units(self) -> int:
        """How many units there are along the axis; 1 if all see the same."""
        return len(self.first)

    @property
    def size(self) -> int:
        """How many pixels a unit sees in theory, along this axis; where the jump is broken, the
        most that any unit sees."""
        return math.floor(self.high - self.low) + 1

    @property
    def sees_all(self) -> bool:
        """True if each unit sees the whole image."""
        whole = (self.first == 0).all() and (self.last == self.extent - 1).all()
        return bool(self.jump == 0 and whole)

    def fills(self, shape: tuple[int, ...]) -> bool:
        """True if the axis of a tensor of that shape holds these units and nothing else."""
        return self.axis is None or (self.inner == 1 and shape[self.axis] == self.units)

    def through(self, window: Window) -> Span:
        """What the outputs of an operation with this window see: (3) and (4)."""
        if self.axis is None:
            return self
        taps, ends = window.taps, (self.jump * window.low, self.jump * window.high)
        # A tap of -1 reads the number that is put at the end: it sees nothing.
        first = np.append(self.first, self.extent)[taps].min(1, initial=self.extent)
        last = np.append(self.last, -1)[taps].max(1, initial=-1)
        return replace(
            self,
            jump=self.jump * window.stride,
            low=self.low + min(ends),
            high=self.high + max(ends),
            first=first,
            last=last,
        )

    def whole(self) -> Span:
        """What an operation over all units sees, as a global pooling."""
        low, high = self.first.min(initial=self.extent), self.last.max(initial=-1)
        ends = Fraction(int(low)), Fraction(int(high))
        return self._alike(*ends, np.array([low]), np.array([high]))

    def at(self, axis: int | None, inner: int = 1) -> Span:
        """The same along another axis of the tensor."""
        return replace(self, axis=axis, inner=inner)

    def unit(self, i: int) -> Span:
        """What unit i sees, without an axis."""
        ends = self.low + self.jump * i, self.high + self.jump * i
        return self._alike(*ends, self.first[i : i + 1], self.last[i : i + 1])

    def _alike(self, low: Fraction, high: Fraction, first: np.ndarray, last: np.ndarray) -> Span:
        """A span of units that all see the same."""
        return Span(self.extent, None, Fraction(0), low, high, first, last)


def union(spans: Sequence[Span]) -> Span | None:
    """What the sum of parts sees, formula (5). None if they run along different axes."""
    if len(spans) == 1:
        return spans[0]
    spans = [s.unit(0) if s.axis is not None and s.units == 1 else s for s in spans]
    places = {(s.axis, s.inner, s.units) for s in spans if s.axis is not None}
    if len(places) > 1:
        return None
    first, last = spans[0].first, spans[0].last
    for span in spans[1:]:
        first, last = np.minimum(first, span.first), np.maximum(last, span.last)
    axis, inner, units = next(iter(places), (None, 1, 1))
    jump, low, high = _hull([(s.jump, s.low, s.high, 0, units) for s in spans])
    if jump == 0 and axis is not None:
        low, high = Fraction(int(first.min())), Fraction(int(last.max()))
    return Span(spans[0].extent, axis, jump, low, high, first, last, inner)


def joined(spans: Sequence[Span]) -> Span:
    """The units of parts one after the other along the image's axis."""
    ends = np.cumsum([0, *(s.units for s in spans)])
    pieces = [(s.jump, s.low, s.high, int(e), s.units) for s, e in zip(spans, ends, strict=False)]
    jump, low, high = _hull(pieces)
    first, last = (np.concatenate(x) for x in ([s.first for s in spans], [s.last for s in spans]))
    return replace(spans[0], jump=jump, low=low, high=high, first=first, last=last)


Piece = tuple[Fraction, Fraction, Fraction, int, int]  # jump, low, high, first unit, units


def _hull(pieces: Sequence[Piece]) -> tuple[Fraction, Fraction, Fraction]:
    """One (jump, low, high) that covers all pieces, with the jump that makes it tightest."""
    found = []
    jumps = {piece[0] for piece in pieces}
    for jump in [Fraction(0)] if 0 in jumps else sorted(jumps):
        lows, highs = [], []
        for a, low, high, begin, units in pieces:
            for i in (0, max(units - 1, 0)):
                lows.append(low + a * i - jump * (begin + i))
                highs.append(high + a * i - jump * (begin + i))
        found.append((max(highs) - min(lows), jump, min(lows), max(highs)))
    return min(found)[1:]

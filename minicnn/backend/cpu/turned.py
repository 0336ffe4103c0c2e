"""grad_x of a convolution as convolutions of grad_y: one at stride 1, S*S small ones at stride S.

Along one axis, pixel h is read by output i through tap p where h = i*S + p*D - P:

    grad_x[h] = sum over the (i,p) with i*S + p*D - P = h of w[p] * grad_y[i]

**Stride 1.** Then i = h - p*D + P, and with the kernel turned around, r = KH-1-p,

    grad_x[h] = sum over r of w[KH-1-r] * grad_y[h + r*D - (D*(KH-1) - P)]

which is the convolution of grad_y with the kernel turned around, its F and C exchanged, and padding
D*(KH-1) - P.

**Stride S.** The pixels fall into S classes, by the rest R of h + P divided by S. A tap reads
pixels of one class only, that with p*D = R modulo S. Let z be the greatest common divisor of S and
D: then the taps of a class, if there are any, are p = p0, p0 + S/z, p0 + 2*S/z ... With the pixels
of the class numbered, h = h0 + a*S, and its taps, p = p0 + t*S/z,

    i = (h + P - p*D) / S = a - t*D/z + e       e = (h0 + P - p0*D) / S

so each class is a convolution of stride 1 and dilation D/z, from grad_y to every S-th pixel of
grad_x, with the K taps of the class turned around, and padding (K-1)*D/z - e in front. All classes
together use each tap once: no product with a zero, and no sum of overlapping windows. A class
without taps is zero.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from ..geometry import ConvGeometry
from . import layout, threads
from .chunks import Chunk, order_for
from .columns import chunks_of, forward_chunk, padded, weight_matrix


class _Class(NamedTuple):
    """Every S-th pixel along an axis: which, through which taps, from which outputs."""

    pixels: slice
    taps: slice
    kernel: int  # 0: no tap reads them
    dilation: int
    padding: tuple[int, int]


def classes(size: int, out: int, K: int, S: int, P: int, D: int) -> list[_Class]:
    """The pixels along an axis by the rest of h + P divided by S: S classes, or one a pixel."""
    classes = []
    z = gcd(S, D)
    for h0 in range(min(S, size)):
        count = -(-(size - h0) // S)
        first = next((p for p in range(min(K, S // z)) if (h0 + P - p * D) % S == 0), None)
        taps = slice(K, K) if first is None else slice(first, K, S // z)
        kernel = len(range(K)[taps])
        reach = (kernel - 1) * (D // z)
        low = 0 if first is None else reach - (h0 + P - first * D) // S
        padding = (low, count + reach - out - low)
        classes.append(_Class(slice(h0, None, S), taps, kernel, D // z, padding))
    return classes


class _Part(NamedTuple):
    """The pixels of a class along each axis, and the convolution that makes them (None: zeros)."""

    pixels: tuple[slice, slice]
    taps: tuple[slice, slice]
    geometry: ConvGeometry | None


@lru_cache(maxsize=1024)
def _parts(geometry: ConvGeometry) -> tuple[_Part, ...]:
    g = geometry
    rows, columns = (
        classes(H, OH, K, S, P, D)
        for H, OH, K, S, (P, _), D in zip(
            g.size, g.out_size, g.kernel, g.stride, g.padding, g.dilation, strict=True
        )
    )
    return tuple(
        _Part((a.pixels, b.pixels), (a.taps, b.taps), _convolution(g, a, b))
        for a in rows
        for b in columns
    )


def _convolution(g: ConvGeometry, a: _Class, b: _Class) -> ConvGeometry | None:
    if a.kernel == 0 or b.kernel == 0:
        return None
    return ConvGeometry(
        g.batch,
        g.out_channels,
        g.in_channels,
        g.out_size,
        (a.kernel, b.kernel),
        (1, 1),
        (a.padding, b.padding),
        (a.dilation, b.dilation),
        g.groups,
    )


def turned_weight(w: ndarray, groups: int) -> ndarray:
    """(F,C/G,KH,KW) with the kernel turned around and F, C exchanged: (C,F/G,KH,KW)."""
    F, C, KH, KW = w.shape
    turned = w[:, :, ::-1, ::-1].reshape(groups, F // groups, C, KH, KW).swapaxes(1, 2)
    return turned.reshape(groups * C, F // groups, KH, KW)


def grad_input(grad_y: ndarray, w: ndarray, geometry: ConvGeometry, dtype: np.dtype) -> ndarray:
    """The adjoint of x -> y: (N,C,H,W) of `dtype`."""
    G = geometry.groups
    order = order_for(max(geometry.in_channels, geometry.out_channels) // G)
    grad_x = layout.empty(geometry.x_shape, order, dtype)
    work, zeros = [], []
    for (h, k), (p, q), convolution in _parts(geometry):
        pixels = grad_x[:, :, h, k]
        if convolution is None:
            zeros += [pixels[n] for n in threads.pieces(len(pixels), pixels.size)]
            continue
        weight = weight_matrix(turned_weight(w[:, :, p, q], G), None, G, order, dtype)
        source = (grad_y, convolution)
        if geometry.stride == (1, 1):  # one part
            source = padded(grad_y, convolution, order, dtype)
        work += [(*source, weight, pixels, c) for c in chunks_of(source[1], order, dtype)]

    def run(item: tuple[ndarray, ConvGeometry, ndarray, ndarray, Chunk]) -> None:
        source, convolution, weight, pixels, chunk = item
        forward_chunk(source, weight, pixels, convolution, chunk, order, False)

    threads.each(lambda pixels: pixels.fill(0), zeros)
    threads.each(run, work)
    return grad_x

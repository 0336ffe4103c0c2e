"""grad_x of a convolution with few channels: turned along the rows, col2im down the columns.

Pixel (h,k) is read by output (i,j) through tap (p,q) where h = i*S + p*D - P and k = j + q*D - P.
col2im (see `columns`) adds up C*KH*KW numbers for each output; the convolution of grad_y with the
kernel turned around (see `turned`) copies F*KH*KW for each pixel. For a handful of channels either
takes several times as long as the products of matrices. So one axis is done in either way:

    r[c,p,i,k]     = sum over f,q of w[f,c,p,KW-1-q] * grad_y[f, i, k + q*D - (D*(KW-1) - P)]
    grad_x[c,h,k]  = sum over the (i,p) with i*S + p*D - P = h of r[c,p,i,k]

The first is a convolution with a kernel of one row and with C*KH channels of outputs; the second
adds up C*KH whole rows. With KH = KW = K, W columns and OW = W about, that is F*K numbers copied
and C*K added where it was C*K*K.

The stride along a row is 1. Rows that no window reads get zero.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np
from numpy import ndarray

from ..geometry import ConvGeometry
from . import layout, scratch, threads
from .chunks import Chunk, order_for
from .columns import by_tap, chunks_of, forward_chunk, padded
from .layout import CHWN
from .taps import axis_taps
from .turned import classes

# Entries of r that a piece adds up.
_PIECE = 1 << 18


def suits(geometry: ConvGeometry, dtype: np.dtype) -> bool:
    """Whether this is quicker than col2im, and r within the limit of what columns may take."""
    (KH, KW), G = geometry.kernel, geometry.groups
    C, F = geometry.in_channels // G, geometry.out_channels // G
    if geometry.stride[1] != 1 or KH == 1 or order_for(max(C, F)) != CHWN or F > KW * C:
        return False
    return prod(_along_rows(geometry).y_shape) * dtype.itemsize <= scratch.COLUMN_LIMIT


@lru_cache(maxsize=1024)
def _along_rows(geometry: ConvGeometry) -> ConvGeometry:
    """The convolution of grad_y that makes r, (N, C*KH, OH, W)."""
    g = geometry
    (KH, KW), (P, _) = g.kernel, g.padding[1]
    (along,) = classes(g.size[1], g.out_size[1], KW, 1, P, g.dilation[1])
    return ConvGeometry(
        g.batch,
        g.out_channels,
        g.in_channels * KH,
        g.out_size,
        (1, KW),
        (1, 1),
        ((0, 0), along.padding),
        (1, g.dilation[1]),
        g.groups,
    )


def grad_input(grad_y: ndarray, w: ndarray, geometry: ConvGeometry, dtype: np.dtype) -> ndarray:
    """The adjoint of x -> y, for a stride of 1 along the rows: (N,C,H,W) of `dtype`."""
    along, G = _along_rows(geometry), geometry.groups
    F, C, KH, KW = w.shape
    weight = w[..., ::-1].reshape(G, F // G, C, KH, KW).transpose(0, 2, 3, 1, 4)
    weight = weight.reshape(G, C * KH, F // G * KW).astype(dtype, copy=False)
    N, channels, OH, W = along.y_shape
    rows = by_tap((1, channels, OH * W * N), dtype, "rows").reshape(channels, OH, W, N)
    rows = rows.transpose(layout.inverse(CHWN))
    source, without = padded(grad_y, along, CHWN, dtype)

    def run(chunk: Chunk) -> None:
        forward_chunk(source, weight, rows, without, chunk, CHWN, False)

    threads.each(run, chunks_of(without, CHWN, dtype))
    return _added(rows, geometry)


def _added(rows: ndarray, geometry: ConvGeometry) -> ndarray:
    """grad_x of r, in C,H,W,N order: a few channels at a time."""
    N, C, H, W = geometry.x_shape
    KH, OH = geometry.kernel[0], geometry.out_size[0]
    grad_x = layout.empty(geometry.x_shape, CHWN, rows.dtype)
    by_tap = rows.reshape(N, C, KH, OH, W)
    taps = axis_taps(H, KH, geometry.stride[0], geometry.padding[0][0], geometry.dilation[0], 0, OH)

    def add(c: slice) -> None:
        grad_x[:, c] = 0
        for p, (i, h) in enumerate(taps):
            pixels = grad_x[:, c, h]
            pixels += by_tap[:, c, p, i]

    threads.each(add, threads.pieces(C, rows.size, _PIECE))
    return grad_x

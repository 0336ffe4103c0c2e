"""Convolution with columns that are spread out along the rows of the image alone.

im2col writes every pixel KH*KW times. KW times is enough: spread out along k only, and with rows h
that are counted from the first of the padding,

    u[h, (c,q), (j,n)] = x[n, c, h - P, j*S + q*D - P]        (zero in the padding)

and in memory the rows (c,q) of image row h are followed by those of row h+1. So the KH*C*KW rows
that output row i reads, t = (p,c,q) with h = i*S + p, lie one behind the other, at equal distances:
the matrix of columns of an output row is a part of u as it lies there,

    cols_i[(p,c,q), (j,n)] = u[i*S + p, (c,q), (j,n)]

and those of i and i+1 share most of their memory. One product for each output row,

    y[:, i, (j,n)]  = W cols_i                                Y_i = W X_i
    grad_w[f, t]    = sum over i of grad_Y_i X_i^T

**grad_x.** Pixel (h,k), here of x itself, is read by the output rows i = h + P - p. With grad_y
lying as u does, row by row with all channels, v[i, f, (j,n)], the rows that h needs lie one behind
the other too, and

    r[h, (c,q), (j,n)] = sum over p,f of w[f,c,p,q] * v[h + P - p, f, (j,n)]
    grad_x[c,h,k]      = sum over the (j,q) with j*S + q*D - P = k of r[h, (c,q), (j,n)]

a product for each h, and col2im along the row. It takes a stride of 1 from one row to the next.

KW numbers are copied for each pixel instead of KH*KW: a step of LeNet-5 became a fifth shorter.

The rows of the image must follow each other in the window: a dilation of 1 along the columns of the
image; along its rows anything goes. In C,H,W,N order, so for few channels, where the copies take as
long as the products.

**Bias.** As in `columns`: behind the rows of each h comes one of ones, and the first of the KH that
an output row reads has b for its weights, the others zeros.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from ..geometry import ConvGeometry
from . import layout, scratch, threads
from .chunks import load, scratch_in_order, summed
from .columns import by_tap, order_of, padded, product, product_sum
from .elementwise import positive_part
from .layout import CHWN
from .taps import axis_taps

# Entries of u that a chunk of output rows aims at. (A quarter would stay in the inner cache, but
# with two threads there must not be too many calls of NumPy: see `chunks`.)
_AIM = 1 << 19


def serves(geometry: ConvGeometry, dtype: np.dtype) -> bool:
    """Whether the windows are of that kind, and what an output row reads of u, and x with its
    padding, are within the limit of what columns may take."""
    if geometry.kernel[0] == 1 or geometry.dilation[0] != 1 or order_of(geometry) != CHWN:
        return False
    if min(map(min, geometry.padding)) < 0:
        return False
    entries = geometry.kernel[0] * _entries(geometry)
    whole = geometry.batch * geometry.in_channels * prod(geometry.padded_size)
    return max(entries, whole) * dtype.itemsize <= scratch.COLUMN_LIMIT


def _entries(geometry: ConvGeometry) -> int:
    """The entries of u for one row of the images."""
    taps = geometry.in_channels * geometry.kernel[1] + geometry.groups
    return taps * geometry.out_size[1] * geometry.batch


def _runs(geometry: ConvGeometry, least: int = 0) -> list[slice]:
    """The rows of the outputs in chunks. least: entries that each takes beside those of u."""
    OH, stride = geometry.out_size[0], geometry.stride[0]
    return threads.pieces(OH, OH * max(least, stride * _entries(geometry)), _AIM)


def _columns(x: ndarray, geometry: ConvGeometry, rows: slice, ones: bool) -> ndarray:
    """cols_i of those output rows, (G, rows, KH*(C*KW + ones), OW*N), as a view of u in scratch.

    x: padded, in C,H,W,N order.
    """
    G, N, OW = geometry.groups, geometry.batch, geometry.out_size[1]
    (KH, KW), (S, SW), DW = geometry.kernel, geometry.stride, geometry.dilation[1]
    C = geometry.in_channels // G
    count = rows.stop - rows.start
    height = (count - 1) * S + KH
    sn, sc, sh, sw = x.strides
    windows = as_strided(
        x[:, :, rows.start * S :],
        (G, height, C, KW, OW, N),
        (sc * C, sh, sc, sw * min(DW, x.shape[3]), sw * min(SW, x.shape[3]), sn),
        writeable=False,
    )
    taps = C * KW + ones
    u = by_tap((G, height * taps, OW * N), x.dtype)
    by_row = u.reshape(G, height, taps, OW * N)
    np.copyto(by_row[:, :, : C * KW].reshape(windows.shape), windows)
    by_row[:, :, C * KW :] = 1
    sg, step, sm = u.strides
    # A stride that leads out of the image, perhaps so large that it would overflow, is never taken.
    distance = min(S, height) * taps * step
    return as_strided(u, (G, count, KH * taps, OW * N), (sg, distance, step, sm))


def _weight_matrix(w: ndarray, b: ndarray | None, groups: int, dtype: np.dtype) -> ndarray:
    """w (F,C/G,KH,KW) as (G, 1, F/G, KH*(C*KW + 1)): the last of each KH is b once, then 0."""
    F, C, KH, KW = w.shape
    matrix = np.zeros((F, KH, C * KW + (b is not None)), dtype)
    matrix[:, :, : C * KW].reshape(F, KH, C, KW)[...] = w.transpose(0, 2, 1, 3)
    if b is not None:
        matrix[:, 0, -1] = b
    return matrix.reshape(groups, 1, F // groups, -1)


def _by_row(y: ndarray, groups: int) -> ndarray:
    """y (N,F,i,j) in C,H,W,N order as (G, i, F/G, j*N)."""
    N, F, rows, columns = y.shape
    return y.transpose(CHWN).reshape(groups, F // groups, rows, columns * N).swapaxes(1, 2)


# y[n,f,i,j] = b[f] + sum over c,p,q of w[f,c,p,q] * x[n,c,i*S+p-P,j*S+q*D-P]


def forward(
    x: ndarray,
    w: ndarray,
    b: ndarray | None,
    geometry: ConvGeometry,
    dtype: np.dtype,
    relu: bool = False,
) -> ndarray:
    """y = x * w + b, or max(0, that) with `relu`: (N,F,OH,OW) of `dtype`."""
    weight = _weight_matrix(w, b, geometry.groups, dtype)
    y = layout.empty(geometry.y_shape, CHWN, dtype)
    source, geometry = padded(x, geometry, CHWN, dtype)

    def run(rows: slice) -> None:
        part = y[:, :, rows]
        product(
            weight, _columns(source, geometry, rows, b is not None), _by_row(part, geometry.groups)
        )
        if relu:
            positive_part(part.transpose(CHWN), part.transpose(CHWN))

    threads.each(run, _runs(geometry), load(geometry))
    return y


# grad_x[n,c,h,k] = sum over f,p,q,i,j that read (h,k) of w[f,c,p,q] * grad_y[n,f,i,j]


def gives_gradient(geometry: ConvGeometry, dtype: np.dtype) -> bool:
    """Whether `grad_input` can serve: stride 1 from row to row, and what an image row
    reads of v within the limit."""
    if geometry.stride[0] != 1 or not serves(geometry, dtype):
        return False
    row = geometry.out_channels * geometry.out_size[1] * geometry.batch
    return geometry.kernel[0] * row * dtype.itemsize <= scratch.COLUMN_LIMIT


def grad_input(grad_y: ndarray, w: ndarray, geometry: ConvGeometry, dtype: np.dtype) -> ndarray:
    """The adjoint of x -> y for a stride of 1 down the columns: (N,C,H,W) of `dtype`."""
    G, (F, C, KH, KW) = geometry.groups, w.shape
    turned = w[:, :, ::-1].reshape(G, 1, F // G, C, KH, KW).transpose(0, 1, 3, 5, 4, 2)
    weight = turned.reshape(G, 1, C * KW, KH * (F // G)).astype(dtype, copy=False)
    grad_x = layout.empty(geometry.x_shape, CHWN, dtype)

    def run(rows: slice) -> None:
        v = _read_by(grad_y, geometry, rows, dtype)
        products = by_tap((G, v.shape[1] * C * KW, v.shape[3]), dtype, "rows")
        products = products.reshape(G, v.shape[1], C * KW, v.shape[3])
        product(weight, v, products)
        _add_up(products, grad_x[:, :, rows], geometry)

    entries = max(F, G * C * KW) * geometry.out_size[1] * geometry.batch
    H = geometry.size[0]
    threads.each(run, threads.pieces(H, H * entries, _AIM), load(geometry))
    return grad_x


def _read_by(grad_y: ndarray, geometry: ConvGeometry, rows: slice, dtype: np.dtype) -> ndarray:
    """v_h = v[h + P - p, f, (j,n)] for those image rows, (G, rows, KH*F/G, OW*N), p from KH-1 down.

    v is grad_y with rows of zeros where there are no outputs.
    """
    G, KH, (OH, OW) = geometry.groups, geometry.kernel[0], geometry.out_size
    N, F = grad_y.shape[:2]
    start = rows.start + geometry.padding[0][0] - (KH - 1)
    count = rows.stop - rows.start
    height = count + KH - 1
    v = by_tap((G, height * (F // G), OW * N), dtype)
    by_row = v.reshape(G, height, F // G, OW, N)
    first, last = min(max(0, -start), height), max(min(height, OH - start), 0)
    last = max(first, last)
    by_row[:, :first] = 0
    by_row[:, last:] = 0
    inside = grad_y[:, :, start + first : start + last].transpose(CHWN)
    inside = inside.reshape(G, F // G, *inside.shape[1:])
    np.copyto(by_row[:, first:last], inside.swapaxes(1, 2))
    sg, step, sm = v.strides
    shape = (G, count, KH * (F // G), OW * N)
    return as_strided(v, shape, (sg, F // G * step, step, sm), writeable=False)


def _add_up(products: ndarray, pixels: ndarray, geometry: ConvGeometry) -> None:
    """pixels[n,c,h,k] = the sum of products[g,h,(c,q),(j,n)] over j*S + q*D - P = k."""
    N, _, rows, W = pixels.shape
    G, (_, KW), (_, OW) = geometry.groups, geometry.kernel, geometry.out_size
    by_tap = products.reshape(G, rows, -1, KW, OW, N)
    target = pixels.transpose(CHWN).reshape(G, -1, rows, W, N).swapaxes(1, 2)
    target[...] = 0
    (P, _), S, D = geometry.padding[1], geometry.stride[1], geometry.dilation[1]
    for q, (j, k) in enumerate(axis_taps(W, KW, S, P, D, 0, OW)):
        read = target[:, :, :, k]
        read += by_tap[:, :, :, q, j]


# grad_w[f,c,p,q] = sum over n,i,j of x[n,c,i*S+p-P,j*S+q*D-P] * grad_y[n,f,i,j]


def grad_weight(
    x: ndarray, grad_y: ndarray, geometry: ConvGeometry, dtype: np.dtype, bias: bool = False
) -> tuple[ndarray, ndarray | None]:
    """The adjoint of w -> y, and with `bias` that of b -> y: (F,C/G,KH,KW) and (F,)."""
    source, geometry = padded(x, geometry, CHWN, dtype)
    F, C, KH, KW = geometry.w_shape
    lies = layout.order_of(grad_y) == CHWN and grad_y.dtype == dtype

    def term(rows: slice) -> ndarray:
        """The sum over i of grad_Y_i X_i^T, (G, F/G, KH*(C*KW + bias))."""
        g = grad_y[:, :, rows]
        if not lies:
            g = scratch_in_order("operand", g.shape, CHWN, dtype)
            np.copyto(g, grad_y[:, :, rows])
        cols = _columns(source, geometry, rows, bias)
        return product_sum(_by_row(g, geometry.groups), cols).sum(axis=1)

    # The products of all rows of a chunk stand side by side before they are added up: of narrow
    # images they are larger than u.
    entries = prod(geometry.w_shape)
    total = summed(term, _runs(geometry, entries), entries, load(geometry))
    by_tap = total.reshape(F, KH, C * KW + bias)
    grad_w = np.ascontiguousarray(by_tap[:, :, : C * KW].reshape(F, KH, C, KW).swapaxes(1, 2))
    return grad_w, by_tap[:, 0, -1].copy() if bias else None

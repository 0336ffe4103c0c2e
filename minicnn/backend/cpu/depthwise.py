"""Depthwise convolution: each channel has a kernel of its own, and nothing is summed over channels.

Whole arrays are multiplied and added, tap by tap:

    y[n,f,i,j]       = b[f] + sum over p,q of w[f,0,p,q] * x[n,c,h,k]
    grad_x[n,c,h,k] += w[f,0,p,q] * grad_y[n,f,i,j]
    grad_w[f,0,p,q]  = sum over n,i,j of x[n,c,h,k] * grad_y[n,f,i,j]

with h = i*S + p*D - P, k = j*S + q*D - P and c = f // (F/C). Channels have a second axis m below,
for the F/C outputs of one input. Where images are narrow, `banded` does it with matrix products.

The memory order is C,H,W,N: a channel's image is one run of memory, and what a tap reads of a row
is one run of it. The work is cut into blocks of channels and of rows that fit in the cache of a
core, so that main memory is read and written once and not once a tap. Each block is a piece for a
thread and writes rows of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from ..geometry import ConvGeometry
from . import banded, layout, scratch, threads
from .reorder import batch_last
from .taps import axis_taps

# Entries of y that are worked on at a time.
_BLOCK = 1 << 18


class Tap(NamedTuple):
    """One tap of the kernel, as indices of the last axes of arrays (n,C,m,h,w)."""

    place: tuple  # (p, q) in the kernel
    outputs: tuple  # that it serves
    inputs: tuple  # that they read


def _with_outputs(array: ndarray, channels: int) -> ndarray:
    """(n,F,h,w) as a view (n,C,F/C,h,w)."""
    n, F, h, w = array.shape
    sn, sf, sh, sw = array.strides
    m = F // channels
    return as_strided(array, (n, channels, m, h, w), (sn, sf * m, sf, sh, sw))


def _kernel(w: ndarray, geometry: ConvGeometry) -> ndarray:
    """w (F,1,KH,KW) as (C,F/C,1,1,KH,KW)."""
    return w.reshape(geometry.in_channels, -1, 1, 1, *geometry.kernel)


def _taps(geometry: ConvGeometry, rows: slice) -> Iterator[Tap]:
    """The taps that serve these rows of outputs. Those that serve all of them come first."""
    down, along = (
        axis_taps(H, K, S, low, D, begin, end)
        for H, K, S, (low, _), D, (begin, end) in zip(
            geometry.size,
            geometry.kernel,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            ((rows.start, rows.stop), (0, geometry.out_size[1])),
            strict=True,
        )
    )
    taps = [
        ((p, q), (i, j), (h, k)) for p, (i, h) in enumerate(down) for q, (j, k) in enumerate(along)
    ]
    sizes = [(i.stop - i.start) * (j.stop - j.start) for _, (i, j), _ in taps]
    for number in sorted(range(len(taps)), key=lambda t: -sizes[t]):
        if sizes[number]:
            place, outputs, inputs = taps[number]
            yield Tap((..., *place), (..., *outputs), (..., *inputs))


def _blocks(shape: tuple[int, ...], channels: int, cut_rows: bool) -> list[tuple[slice, slice]]:
    """Runs of channels, or of rows of one channel, with about `_BLOCK` entries of y (N,F,OH,OW)."""
    N, F, OH, OW = shape
    row = max(1, N * F // channels * OW)
    step = max(1, _BLOCK // (row * OH))
    rows = max(1, _BLOCK // row) if cut_rows and step == 1 else OH
    return [
        (slice(c, min(c + step, channels)), slice(i, min(i + rows, OH)))
        for c in range(0, channels, step)
        for i in range(0, OH, rows)
    ]


def _product(like: ndarray) -> ndarray:
    """Scratch for the products of a block (n,C,m,i,j), in the memory order of the block."""
    n, C, m, i, j = like.shape
    return scratch.take("product", (C, m, i, j, n), like.dtype).transpose(4, 0, 1, 2, 3)


# y[n,f,i,j] = b[f] + sum over p,q of w[f,0,p,q] * x[n,c,h,k]


def depthwise_forward(
    x: ndarray, w: ndarray, b: ndarray | None, geometry: ConvGeometry, dtype: np.dtype
) -> ndarray:
    """y (N,F,OH,OW) from x (N,C,H,W) and w (F,1,KH,KW), where G = C."""
    x = batch_last(x, dtype)
    y = layout.empty(geometry.y_shape, layout.CHWN, dtype)
    bias = None if b is None else b.astype(dtype, copy=False)
    w = w.astype(dtype, copy=False)
    if banded.suits(geometry, dtype) and banded.forward(
        x.transpose(layout.CHWN), w, bias, y.transpose(layout.CHWN), geometry
    ):
        return y
    source, target = x[:, :, None], _with_outputs(y, geometry.in_channels)
    kernel = _kernel(w, geometry)

    def block(piece: tuple[slice, slice]) -> None:
        c, rows = piece
        part = target[:, c, :, rows]
        _add_taps(source[:, c], kernel[c], part, _taps(geometry, rows))
        if bias is not None:
            part += bias.reshape(-1, target.shape[2], 1, 1)[c]

    threads.each(block, _blocks(geometry.y_shape, geometry.in_channels, True))
    return y


def _add_taps(source: ndarray, kernel: ndarray, target: ndarray, taps: Iterator[Tap]) -> None:
    """target[outputs] = sum over taps of kernel[tap] * source[inputs]."""
    product = _product(target)
    begun = False
    for place, outputs, inputs in taps:
        sums = target[outputs]
        if not begun:
            begun = True
            if sums.shape == target.shape:
                np.multiply(source[inputs], kernel[place], out=sums)
                continue
            target[...] = 0
        term = product[outputs]
        np.multiply(source[inputs], kernel[place], out=term)
        sums += term
    if not begun:
        target[...] = 0


# grad_x[n,c,h,k] = sum over f,p,q,i,j that read (h,k) of w[f,0,p,q] * grad_y[n,f,i,j]


def depthwise_grad_input(
    grad_y: ndarray, w: ndarray, geometry: ConvGeometry, dtype: np.dtype
) -> ndarray:
    """grad_x (N,C,H,W) from grad_y (N,F,OH,OW) and w (F,1,KH,KW)."""
    grad_y = batch_last(grad_y, dtype)
    grad_x = layout.empty(geometry.x_shape, layout.CHWN, dtype)
    w = w.astype(dtype, copy=False)
    if banded.suits(geometry, dtype) and banded.grad_input(
        grad_y.transpose(layout.CHWN), w, grad_x.transpose(layout.CHWN), geometry
    ):
        return grad_x
    g, kernel = _with_outputs(grad_y, geometry.in_channels), _kernel(w, geometry)

    def block(piece: tuple[slice, slice]) -> None:
        c, rows = piece
        source, target = g[:, c], grad_x[:, c]
        target[...] = 0
        product = _product(source)
        for place, outputs, inputs in _taps(geometry, rows):
            term = product[outputs]
            np.multiply(source[outputs], kernel[c][place], out=term)
            pixels = target[inputs]
            pixels += term[:, :, 0] if term.shape[2] == 1 else term.sum(axis=2)

    # Neighbouring rows of grad_y add to the same rows of grad_x: only channels are cut.
    threads.each(block, _blocks(geometry.y_shape, geometry.in_channels, False))
    return grad_x


# grad_w[f,0,p,q] = sum over n,i,j of x[n,c,h,k] * grad_y[n,f,i,j]


def depthwise_grad_weight(
    x: ndarray, grad_y: ndarray, geometry: ConvGeometry, dtype: np.dtype
) -> ndarray:
    """grad_w (F,1,KH,KW) from x (N,C,H,W) and grad_y (N,F,OH,OW)."""
    C = geometry.in_channels
    x, grad_y = batch_last(x, dtype), batch_last(grad_y, dtype)
    grad_w = np.empty((C, geometry.out_channels // C, *geometry.kernel), dtype)
    sums = grad_w.reshape(C, -1)
    if banded.suits(geometry, dtype, grad_weight=True) and banded.grad_weight(
        x.transpose(layout.CHWN), grad_y.transpose(layout.CHWN), sums, geometry
    ):
        return grad_w.reshape(geometry.w_shape)
    source, g = x[:, :, None], _with_outputs(grad_y, C)
    blocks = _blocks(geometry.y_shape, C, True)
    parts: list = [None] * len(blocks)

    def block(number: int) -> None:
        c, rows = blocks[number]
        parts[number] = _inner_products(source[:, c], g[:, c, :, rows], geometry, rows)

    threads.each(block, range(len(blocks)))
    grad_w[...] = 0
    for (c, _), part in zip(blocks, parts, strict=True):
        grad_w[c] += part
    return grad_w.reshape(geometry.w_shape)


def _inner_products(source: ndarray, g: ndarray, geometry: ConvGeometry, rows: slice) -> ndarray:
    """What a block adds to grad_w: (C,m,KH,KW), from source (n,C,1,H,W) and g (n,C,m,i,j)."""
    sums = np.zeros((*g.shape[1:3], *geometry.kernel), g.dtype)
    product = _product(g)
    for place, outputs, inputs in _taps(geometry, rows):
        a, b = source[inputs], g[outputs]
        if g.dtype.kind == "f" and geometry.stride[1] == 1:
            products = np.matmul(_lines(a)[..., None, :], _lines(b)[..., None])
            sums[place] = products.sum(axis=(2, 3, 4))
        else:
            term = np.multiply(a, b, out=product[outputs])
            sums[place] = term.sum(axis=(0, 3, 4))
    return sums


def _lines(array: ndarray) -> ndarray:
    """(n,C,m,i,j), with j and n one run of memory, as a view (C,m,i,j*n): rows for BLAS."""
    n, C, m, i, j = array.shape
    _, sc, sm, si, _ = array.strides
    return as_strided(array, (C, m, i, j * n), (sc, sm, si, array.itemsize))

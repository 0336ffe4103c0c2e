"""Depthwise convolution: each channel has a kernel of its own, and nothing is summed over channels.

A matrix product would have a single row, so whole arrays are multiplied and added, tap by tap:

    y[n,f,i,j]       = b[f] + sum over p,q of w[f,0,p,q] * x[n,c,h,k]
    grad_x[n,c,h,k] += w[f,0,p,q] * grad_y[n,f,i,j]
    grad_w[f,0,p,q]  = sum over n,i,j of x[n,c,h,k] * grad_y[n,f,i,j]

with h = i*S + p*D - P, k = j*S + q*D - P and c = f // (F/C). Channels have a second axis m below,
for the F/C outputs of one input. The memory order is C,H,W,N. A few channels at a time, so that the
arrays stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
from numpy import ndarray

from ..geometry import ConvGeometry
from . import layout, scratch
from .taps import axis_taps

# Entries of y that are worked on at a time.
_BLOCK = 1 << 17


def _in_order(x: ndarray, dtype: np.dtype) -> ndarray:
    """x itself, or a copy in C,H,W,N order."""
    if layout.order_of(x) == layout.CHWN and x.dtype == dtype:
        return x
    copy = layout.empty(x.shape, layout.CHWN, dtype)
    np.copyto(copy, x)
    return copy


def _with_outputs(array: ndarray, channels: int) -> ndarray:
    """(n,F,h,w) as a view (n,C,F/C,h,w)."""
    n, F, h, w = array.shape
    sn, sf, sh, sw = array.strides
    m = F // channels
    return np.lib.stride_tricks.as_strided(array, (n, channels, m, h, w), (sn, sf * m, sf, sh, sw))


def _taps(geometry: ConvGeometry) -> Iterator[tuple[tuple, tuple, tuple]]:
    """For each tap its place (p, q) in the kernel, the outputs that it serves and their inputs."""
    rows, columns = (
        axis_taps(H, K, S, low, D, 0, OH)
        for H, K, S, (low, _), D, OH in zip(
            geometry.size,
            geometry.kernel,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            geometry.out_size,
            strict=True,
        )
    )
    for p, (i, h) in enumerate(rows):
        for q, (j, k) in enumerate(columns):
            yield (..., p, q), (..., i, j), (..., h, k)


def _blocks(geometry: ConvGeometry) -> list[tuple[slice, slice]]:
    """Runs of channels: pieces (n,C,...) that are contiguous in memory."""
    C = geometry.in_channels
    step = max(1, _BLOCK * C // max(1, prod(geometry.y_shape)))
    return [(slice(None), slice(s, min(s + step, C))) for s in range(0, C, step)]


def _product(like: ndarray) -> ndarray:
    """Scratch for the products of a block (n,C,m,i,j), in the memory order of the block."""
    n, C, m, i, j = like.shape
    return scratch.take("product", (C, m, i, j, n), like.dtype).transpose(4, 0, 1, 2, 3)


def depthwise_forward(
    x: ndarray, w: ndarray, b: ndarray | None, geometry: ConvGeometry, dtype: np.dtype
) -> ndarray:
    """y (N,F,OH,OW) from x (N,C,H,W) and w (F,1,KH,KW), where G = C."""
    C = geometry.in_channels
    source = _in_order(x, dtype)[:, :, None]
    result = layout.empty(geometry.y_shape, layout.CHWN, dtype)
    result[...] = 0 if b is None else b.reshape(-1, 1, 1)
    y = _with_outputs(result, C)
    kernel = w.astype(dtype, copy=False).reshape(C, -1, 1, 1, *geometry.kernel)
    for block in _blocks(geometry):
        product = _product(y[block])
        for tap, outputs, inputs in _taps(geometry):
            term = product[outputs]
            np.multiply(source[block][inputs], kernel[block[1]][tap], out=term)
            sums = y[block][outputs]
            sums += term
    return result


def depthwise_grad_input(
    grad_y: ndarray, w: ndarray, geometry: ConvGeometry, dtype: np.dtype
) -> ndarray:
    """grad_x (N,C,H,W) from grad_y (N,F,OH,OW) and w (F,1,KH,KW)."""
    C = geometry.in_channels
    g = _with_outputs(_in_order(grad_y, dtype), C)
    grad_x = layout.empty(geometry.x_shape, layout.CHWN, dtype)
    grad_x[...] = 0
    kernel = w.astype(dtype, copy=False).reshape(C, -1, 1, 1, *geometry.kernel)
    for block in _blocks(geometry):
        product = _product(g[block])
        for tap, outputs, inputs in _taps(geometry):
            term = product[outputs]
            np.multiply(g[block][outputs], kernel[block[1]][tap], out=term)
            pixels = grad_x[block][inputs]
            pixels += term[:, :, 0] if term.shape[2] == 1 else term.sum(axis=2)
    return grad_x


def depthwise_grad_weight(
    x: ndarray, grad_y: ndarray, geometry: ConvGeometry, dtype: np.dtype
) -> ndarray:
    """grad_w (F,1,KH,KW) from x (N,C,H,W) and grad_y (N,F,OH,OW)."""
    C = geometry.in_channels
    source = _in_order(x, dtype)[:, :, None]
    g = _with_outputs(_in_order(grad_y, dtype), C)
    grad_w = np.zeros((C, g.shape[2], *geometry.kernel), dtype)
    for block in _blocks(geometry):
        product = _product(g[block])
        for tap, outputs, inputs in _taps(geometry):
            term = product[outputs]
            np.multiply(source[block][inputs], g[block][outputs], out=term)
            grad_w[block[1]][tap] += term.sum(axis=(0, 3, 4))
    return grad_w.reshape(geometry.w_shape)

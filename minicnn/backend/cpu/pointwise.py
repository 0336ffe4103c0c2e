"""1x1 convolution at stride 1: a product of matrices, without columns.

    y[n,f,i,j]      = b[f] + sum over c of w[f,c] * x[n,c,i,j]           Y = W X + b
    grad_x[n,c,i,j] = sum over f of w[f,c] * grad_y[n,f,i,j]             grad_X = W^T grad_Y
    grad_w[f,c]     = sum over n,i,j of grad_y[n,f,i,j] * x[n,c,i,j]     grad_W = grad_Y X^T

The columns of im2col would be x itself, in whatever memory order it lies: the result gets the same.
In N,H,W,C and C,H,W,N order all positions are one axis of a matrix (see `chunks`), which is cut.
In N,C,H,W order every image is a matrix of its own.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy import ndarray

from ..geometry import ConvGeometry
from . import layout, threads
from .chunks import Chunk, cut, operand, summed, write
from .columns import product_sum
from .layout import NCHW


def serves(x: ndarray, geometry: ConvGeometry) -> bool:
    """Whether columns would be x itself (for grad_x: grad_y), in matrices large enough."""
    if geometry.kernel != (1, 1) or geometry.stride != (1, 1):
        return False
    # A padding of (1, -1) keeps the size, and yet moves every pixel.
    if any(pair != (0, 0) for pair in geometry.padding):
        return False
    # In N,C,H,W order each image is a product of its own, too small a one where the image is.
    return layout.order_of(x) != NCHW or prod(geometry.size) >= 128


def _chunks(x: ndarray, geometry: ConvGeometry, dtype: np.dtype) -> list[Chunk]:
    column = max(geometry.in_channels, geometry.out_channels)
    order = layout.order_of(x)
    if order != NCHW:
        return cut(geometry, order, column, dtype.itemsize)
    entries = column * geometry.batch * prod(geometry.size)
    whole = [slice(0, size) for size in geometry.size]
    return [Chunk(n, *whole) for n in threads.pieces(geometry.batch, entries)]


def forward(
    x: ndarray,
    w: ndarray,
    b: ndarray | None,
    geometry: ConvGeometry,
    dtype: np.dtype,
    relu: bool = False,
) -> ndarray:
    """y = x * w + b, or max(0, that) with `relu`: (N,F,H,W) of `dtype`, in x's memory order."""
    F, G = geometry.out_channels, geometry.groups
    bias = None if b is None else b.reshape(G, F // G, 1).astype(dtype, copy=False)
    weight = w.reshape(G, F // G, -1).astype(dtype, copy=False)
    return _product(x, weight, bias, geometry, dtype, relu)


def grad_input(grad_y: ndarray, w: ndarray, geometry: ConvGeometry, dtype: np.dtype) -> ndarray:
    """The adjoint of x -> y: (N,C,H,W) of `dtype`, in grad_y's memory order."""
    F, G = geometry.out_channels, geometry.groups
    weight = w.reshape(G, F // G, -1).astype(dtype, copy=False).transpose(0, 2, 1)
    return _product(grad_y, weight, None, geometry, dtype, False)


def _product(
    x: ndarray,
    weight: ndarray,
    bias: ndarray | None,
    geometry: ConvGeometry,
    dtype: np.dtype,
    relu: bool,
) -> ndarray:
    """weight (G, F/G, C/G) times x (N,C,H,W), plus bias (G, F/G, 1)."""
    order, G, rows = layout.order_of(x), weight.shape[0], weight.shape[1]
    y = layout.empty((x.shape[0], G * rows, *x.shape[2:]), order, dtype)

    def finish(product: ndarray) -> None:
        if bias is not None:
            product += bias
        if relu:
            np.maximum(product, 0, out=product)

    def run(chunk: Chunk) -> None:
        a, target = chunk.of(x), chunk.of(y)
        if order == NCHW:
            images = np.ascontiguousarray(a, dtype).reshape(len(a), G, -1, prod(a.shape[2:]))
            product = target.reshape(len(a), G, rows, -1)
            finish(np.matmul(weight, images, out=product))
        else:
            matrix = operand(a, G, order, dtype)
            write(lambda out: finish(np.matmul(weight, matrix, out=out)), target, G, order)

    threads.each(run, _chunks(x, geometry, dtype))
    return y


def grad_weight(x: ndarray, grad_y: ndarray, geometry: ConvGeometry, dtype: np.dtype) -> ndarray:
    """The adjoint of w -> y: (F,C/G,1,1) of `dtype`."""
    order, G = layout.order_of(x), geometry.groups

    def term(chunk: Chunk) -> ndarray:
        a, g = chunk.of(x), chunk.of(grad_y)
        if order != NCHW:
            return product_sum(operand(g, G, order, dtype), operand(a, G, order, dtype, "columns"))
        # One image after the other: their products side by side would take the room of all.
        total = np.zeros((G, geometry.out_channels // G, a.shape[1] // G), dtype)
        for image, g_image in zip(a, g, strict=True):
            columns = np.ascontiguousarray(image, dtype).reshape(G, -1, prod(geometry.size))
            total += np.ascontiguousarray(g_image, dtype).reshape(
                G, -1, prod(geometry.size)
            ) @ columns.transpose(0, 2, 1)
        return total

    return summed(term, _chunks(x, geometry, dtype), prod(geometry.w_shape)).reshape(
        geometry.w_shape
    )

"""Windows as columns, and convolution as a product with them: kernels/im2col.cu and cuBLAS.

With cols[n, (c,p,q), (i,j)] = x[n,c,h,k] convolution is one product of matrices for each image (and
group), and its gradients are two more:

    y[n] = w cols[n]        grad_cols[n] = w^T grad_y[n]        grad_w = sum over n of
    grad_x = col2im(grad_cols)                                  grad_y[n] cols[n]^T

w being taken as (F, C*KH*KW). The product is the library's own: cuBLAS on a GPU. The columns take
KH*KW/S^2 times the memory of x, so they are made for a few images at a time. Where a window is one
pixel, x itself is its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from ..geometry import ConvGeometry
from .launcher import device_of, launch, prepared, scalar, windows

_ENTRIES = 2**28  # of columns at a time, but for a single image that has more


def im2col(x: Any, geometry: ConvGeometry) -> Any:
    """cols[n, (c,p,q), (i,j)] = x[n,c,h,k], zero in the padding.

    x (N,C,H,W); result (N, C*KH*KW, OH*OW).
    """
    dtype = x.dtype
    [x] = prepared("im2col", x=(x, geometry.x_shape))
    return _columns(device_of(x), x, geometry).astype(dtype, copy=False)


def col2im(cols: Any, geometry: ConvGeometry) -> Any:
    """x[n,c,h,k] = sum of cols[n, (c,p,q), (i,j)] over every (p,q,i,j) that reads (h,k).

    cols (N, C*KH*KW, OH*OW); result (N,C,H,W).
    """
    dtype, (N, C) = cols.dtype, geometry.x_shape[:2]
    shape = (N, C * prod(geometry.kernel), prod(geometry.out_size))
    [cols] = prepared("col2im", cols=(cols, shape))
    return _added(device_of(cols), cols, geometry).astype(dtype, copy=False)


def _columns(device: Any, x: Any, geometry: ConvGeometry) -> Any:
    """im2col of any number of images, in x's dtype and order."""
    N, C = x.shape[:2]
    cols = device.empty((N, C * prod(geometry.kernel), prod(geometry.out_size)), x.dtype)
    constants = {**scalar(x.dtype), **windows(geometry)}
    count = cols.size
    launch(device, "im2col.cu", "im2col", constants, threads=count, x=x, cols=cols, count=count)
    return cols


def _added(device: Any, cols: Any, geometry: ConvGeometry) -> Any:
    """col2im of any number of images."""
    x = device.empty((cols.shape[0], *geometry.x_shape[1:]), cols.dtype)
    constants = {**scalar(x.dtype), **windows(geometry)}
    count = x.size
    launch(device, "im2col.cu", "col2im", constants, threads=count, cols=cols, x=x, count=count)
    return x


# Convolution. The arrays come as `prepared` gives them.


def is_pointwise(geometry: ConvGeometry) -> bool:
    """Whether each output reads one pixel, its own: then x itself is the columns."""
    ones, none = set(geometry.kernel + geometry.stride), set(geometry.padding)
    return ones == {1} and none == {(0, 0)}


def _sizes(geometry: ConvGeometry) -> tuple[int, int, int, int]:
    """G, F/G, C/G*KH*KW, OH*OW."""
    F, G = geometry.out_channels, geometry.groups
    return G, F // G, prod(geometry.w_shape[1:]), prod(geometry.out_size)


def _pieces(geometry: ConvGeometry) -> Iterator[slice]:
    """The images whose columns are made at a time; one piece at least."""
    G, _, K, places = _sizes(geometry)
    images = geometry.batch if is_pointwise(geometry) else _ENTRIES // (G * K * places)
    images = max(images, 1)
    for n in range(0, max(geometry.batch, 1), images):
        yield slice(n, n + images)


def _joined(device: Any, pieces: list[Any]) -> Any:
    return pieces[0] if len(pieces) == 1 else device.xp.concatenate(pieces)


def _read(device: Any, x: Any, geometry: ConvGeometry) -> Any:
    """The columns (n, G, C/G*KH*KW, OH*OW) of some images."""
    cols = x if is_pointwise(geometry) else _columns(device, x, geometry)
    G, _, K, places = _sizes(geometry)
    return cols.reshape(x.shape[0], G, K, places)


def _product(device: Any, a: Any, b: Any) -> Any:
    """a @ b for each group; for a single one without the batch, which would copy a transpose."""
    if a.shape[0] == b.shape[0] == 1:
        return device.xp.matmul(a[0], b[0])[None]
    return device.xp.matmul(a, b)


def forward(device: Any, x: Any, w: Any, b: Any | None, geometry: ConvGeometry, relu: bool) -> Any:
    """conv_forward, as w cols."""
    xp, (G, F, K, _) = device.xp, _sizes(geometry)
    weight = w.reshape(G, F, K)
    pieces = [xp.matmul(weight, _read(device, x[n], geometry)) for n in _pieces(geometry)]
    y = _joined(device, pieces)
    if b is not None:
        y += b.reshape(G, F, 1)
    if relu:
        y = xp.maximum(y, 0)
    return y.reshape(geometry.y_shape)


def grad_input(device: Any, grad_y: Any, w: Any, geometry: ConvGeometry) -> Any:
    """conv_grad_input, as col2im(w^T grad_y)."""
    xp, (G, F, K, places) = device.xp, _sizes(geometry)
    transposed = w.reshape(G, F, K).swapaxes(1, 2)
    grad_y = grad_y.reshape(grad_y.shape[0], G, F, places)
    pieces = []
    for n in _pieces(geometry):
        cols = xp.matmul(transposed, grad_y[n])
        if not is_pointwise(geometry):
            cols = _added(device, cols.reshape(cols.shape[0], G * K, places), geometry)
        pieces.append(cols)
    return _joined(device, pieces).reshape(geometry.x_shape)


def grad_weight(device: Any, x: Any, grad_y: Any, geometry: ConvGeometry) -> Any:
    """conv_grad_weight, as grad_y cols^T; (n,i,j) become one axis, so that it is one product."""
    G, F, K, places = _sizes(geometry)
    grad_w = device.zeros((G, F, K), x.dtype)
    for n in _pieces(geometry):
        cols = _read(device, x[n], geometry).transpose(1, 2, 0, 3).reshape(G, K, -1)
        slopes = grad_y[n].reshape(-1, G, F, places).transpose(1, 2, 0, 3).reshape(G, F, -1)
        grad_w += _product(device, slopes, cols.swapaxes(1, 2))
    return grad_w.reshape(geometry.w_shape)

"""Convolution along one, two or three axes: the fast one is two-dimensional, and serves them all.

**One.** A row of pixels is an image of height 1: conv1d is conv2d with H = KH = 1, on views.

**Three.** Let o count the depths of the output, r the depth taps and d the depths of x, and take
the sum over r out of the formula:

    y[n,f,o,i,j] = sum over c,r of (sum over p,q of w[f,c,r,p,q] * x[n,c, o*S + r*D - P, h, k])

The bracket is a two-dimensional convolution, and (c,r) are summed like channels. So write out, for
each output depth, the KD depths that it reads, side by side as channels: this is im2col along one
axis,

    u[(n,o), (c,r), h, k] = x[n,c, o*S + r*D - P, h, k]        (zero in the padding)

and y[n,f,o] is the two-dimensional convolution of u[(n,o)] with w, whose axes c and r are taken as
one (they lie side by side in memory, and a group's channels stay together). u takes KD times the
memory of x, so it is made for a few images or depths at a time, in a buffer that is kept.

Backward, the gradient of w is that of the two-dimensional convolution, summed over the pieces. The
gradient of x goes through u: of the two maps x -> u -> y the adjoints run the other way round,

    grad_x[n,c,d,h,k] = sum over the (o,r) with o*S + r*D - P = d of grad_u[(n,o), (c,r), h, k]

and depths that several outputs read get the sum, depths that none reads get zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod

import numpy as np
from numpy import ndarray

from ..geometry import ConvGeometry
from . import columns, conv, scratch
from .precision import working, working_dtype
from .taps import axis_taps

# One axis


@lru_cache(maxsize=4096)
def _flat(g: ConvGeometry) -> ConvGeometry:
    """The same convolution with an axis of height 1 in front."""
    return ConvGeometry(
        g.batch,
        g.in_channels,
        g.out_channels,
        (1, *g.size),
        (1, *g.kernel),
        (1, *g.stride),
        ((0, 0), *g.padding),
        (1, *g.dilation),
        g.groups,
    )


# Three axes


class _Piece:
    """Output depths o of the images n, and the two-dimensional convolution that makes them."""

    def __init__(self, n: slice, depths: slice, geometry: ConvGeometry) -> None:
        g = geometry
        self.n, self.o = n, depths
        self.images, self.depths = n.stop - n.start, depths.stop - depths.start
        self.kernel_depth = g.kernel[0]
        # For each depth tap r: the outputs o that read a depth of x through it, and these depths.
        self.taps = axis_taps(
            g.size[0],
            g.kernel[0],
            g.stride[0],
            g.padding[0][0],
            g.dilation[0],
            depths.start,
            depths.stop,
        )
        self.geometry = ConvGeometry(
            self.images * self.depths,
            g.in_channels * g.kernel[0],
            g.out_channels,
            g.size[1:],
            g.kernel[1:],
            g.stride[1:],
            g.padding[1:],
            g.dilation[1:],
            g.groups,
        )

    def unrolled(self, x: ndarray, dtype: np.dtype) -> ndarray:
        """u ((n,o), (c,r), H, W), in scratch."""
        C, (H, W) = x.shape[1], x.shape[3:]
        u = scratch.take("depths", (self.images, self.depths, C, self.kernel_depth, H, W), dtype)
        for r, (o, d) in enumerate(self.taps):
            u[:, : o.start, :, r] = 0
            u[:, o.stop :, :, r] = 0
            u[:, o, :, r] = x[self.n, :, d].swapaxes(1, 2)
        return u.reshape(self.geometry.x_shape)

    def add(self, u: ndarray, x: ndarray) -> None:
        """The adjoint: adds u to the depths of x that it was copied from."""
        C, (H, W) = x.shape[1], x.shape[3:]
        u = u.reshape(self.images, self.depths, C, self.kernel_depth, H, W)
        for r, (o, d) in enumerate(self.taps):
            part = x[self.n, :, d]
            part += u[:, o, :, r].swapaxes(1, 2)

    def of(self, y: ndarray) -> ndarray:
        """This part of y (N,F,OD,OH,OW), as images ((n,o), F, OH, OW)."""
        part = y[self.n, :, self.o].swapaxes(1, 2)
        return part.reshape(self.images * self.depths, *part.shape[2:])

    def put(self, part: ndarray, y: ndarray) -> None:
        """Writes ((n,o), F, OH, OW) where `of` reads it."""
        part = part.reshape(self.images, self.depths, *part.shape[1:])
        y[self.n, :, self.o] = part.swapaxes(1, 2)


def _pieces(g: ConvGeometry, itemsize: int) -> Iterator[_Piece]:
    """Cuts the output so that u stays within the limit (but for a single depth that does not)."""
    OD = g.out_size[0]
    depth = g.in_channels * g.kernel[0] * prod(g.size[1:]) * itemsize
    room = max(1, scratch.COLUMN_LIMIT // depth)
    images, depths = max(1, room // OD), min(OD, room)
    for n in range(0, g.batch, images):
        for o in range(0, OD, depths):
            yield _Piece(slice(n, min(n + images, g.batch)), slice(o, min(o + depths, OD)), g)


def _merged(w: ndarray, dtype: np.dtype) -> ndarray:
    """w (F, C/G, KD, KH, KW) as (F, (c,r), KH, KW)."""
    F, C, KD, KH, KW = w.shape
    return w.astype(dtype, copy=False).reshape(F, C * KD, KH, KW)


def _volume_forward(
    x: ndarray, w: ndarray, b: ndarray | None, g: ConvGeometry, relu: bool
) -> ndarray:
    dtype = working_dtype(x.dtype, w.dtype)
    weight, y = _merged(w, dtype), np.empty(g.y_shape, np.result_type(x, w))
    for piece in _pieces(g, dtype.itemsize):
        u = piece.unrolled(x, dtype)
        piece.put(conv.conv_forward(u, weight, b, piece.geometry, relu), y)
    return y


def _volume_grad_input(grad_y: ndarray, w: ndarray, g: ConvGeometry) -> ndarray:
    dtype = working_dtype(grad_y.dtype, w.dtype)
    weight, grad_x = _merged(w, dtype), np.zeros(g.x_shape, dtype)
    for piece in _pieces(g, dtype.itemsize):
        grad_u = conv.conv_grad_input(working(piece.of(grad_y)), weight, piece.geometry)
        piece.add(grad_u, grad_x)
    return grad_x.astype(np.result_type(grad_y, w), copy=False)


def _volume_grad_weight(x: ndarray, grad_y: ndarray, g: ConvGeometry) -> ndarray:
    dtype = working_dtype(x.dtype, grad_y.dtype)
    F, C, KD, KH, KW = g.w_shape
    grad_w = np.zeros((F, C * KD, KH, KW), dtype)
    for piece in _pieces(g, dtype.itemsize):
        u = piece.unrolled(x, dtype)
        grad_w += conv.conv_grad_weight(u, working(piece.of(grad_y)), piece.geometry)
    return grad_w.reshape(g.w_shape).astype(np.result_type(x, grad_y), copy=False)


def _volume_im2col(x: ndarray, g: ConvGeometry) -> ndarray:
    cols = np.empty((g.batch, x.shape[1] * prod(g.kernel), *g.out_size), x.dtype)
    for piece in _pieces(g, x.itemsize):
        part = columns.im2col(piece.unrolled(x, x.dtype), piece.geometry)
        piece.put(part.reshape(*part.shape[:2], *g.out_size[1:]), cols)
    return cols.reshape(*cols.shape[:2], prod(g.out_size))


def _volume_col2im(cols: ndarray, g: ConvGeometry) -> ndarray:
    cols = working(cols).reshape(*cols.shape[:2], *g.out_size)
    x = np.zeros(g.x_shape, cols.dtype)
    for piece in _pieces(g, cols.itemsize):
        part = piece.of(cols)
        piece.add(
            columns.col2im(part.reshape(*part.shape[:2], prod(g.out_size[1:])), piece.geometry), x
        )
    return x


# The primitives


def conv_forward(
    x: ndarray, w: ndarray, b: ndarray | None, geometry: ConvGeometry, relu: bool = False
) -> ndarray:
    """y = x * w + b, or max(0, that) with `relu` (see `reference.conv_forward`).

    x (N,C,*size), w (F,C/G,*kernel), b (F,) or None; result (N,F,*out) in any memory order.
    """
    dims = len(geometry.size)
    if dims == 2:
        return conv.conv_forward(x, w, b, geometry, relu)
    if dims == 1:
        return conv.conv_forward(x[:, :, None], w[:, :, None], b, _flat(geometry), relu)[:, :, 0]
    return _volume_forward(x, w, b, geometry, relu)


def conv_grad_input(grad_y: ndarray, w: ndarray, geometry: ConvGeometry) -> ndarray:
    """The adjoint of x -> y (see `reference.conv_grad_input`).

    grad_y (N,F,*out), w (F,C/G,*kernel); result (N,C,*size) in any memory order.
    """
    dims = len(geometry.size)
    if dims == 2:
        return conv.conv_grad_input(grad_y, w, geometry)
    if dims == 1:
        return conv.conv_grad_input(grad_y[:, :, None], w[:, :, None], _flat(geometry))[:, :, 0]
    return _volume_grad_input(grad_y, w, geometry)


def conv_grad_weight(x: ndarray, grad_y: ndarray, geometry: ConvGeometry) -> ndarray:
    """The adjoint of w -> y (see `reference.conv_grad_weight`).

    x (N,C,*size), grad_y (N,F,*out); result (F,C/G,*kernel).
    """
    dims = len(geometry.size)
    if dims == 2:
        return conv.conv_grad_weight(x, grad_y, geometry)
    if dims == 1:
        return conv.conv_grad_weight(x[:, :, None], grad_y[:, :, None], _flat(geometry))[:, :, 0]
    return _volume_grad_weight(x, grad_y, geometry)


def conv_backward(
    grad_y: ndarray,
    x: ndarray | None,
    w: ndarray | None,
    geometry: ConvGeometry,
    needs: tuple[bool, bool, bool],
) -> tuple[ndarray | None, ndarray | None, ndarray | None]:
    """(grad_x, grad_w, grad_b), None where `needs` says so (see `reference.conv_backward`).

    grad_y (N,F,*out); x (N,C,*size) and w (F,C/G,*kernel), or None where nothing needs them.
    """
    dims = len(geometry.size)
    if dims == 2:
        return conv.conv_backward(grad_y, x, w, geometry, needs)
    if dims == 1:
        x, w = (None if a is None else a[:, :, None] for a in (x, w))
        grad_x, grad_w, grad_b = conv.conv_backward(
            grad_y[:, :, None], x, w, _flat(geometry), needs
        )
        grad_x, grad_w = (None if a is None else a[:, :, 0] for a in (grad_x, grad_w))
        return grad_x, grad_w, grad_b
    grad_x = grad_w = grad_b = None
    if needs[0]:
        assert w is not None
        grad_x = _volume_grad_input(grad_y, w, geometry)
    if needs[1]:
        assert x is not None
        grad_w = _volume_grad_weight(x, grad_y, geometry)
    if needs[2]:
        grad_b = working(grad_y).sum(axis=(0, 2, 3, 4)).astype(grad_y.dtype, copy=False)
    return grad_x, grad_w, grad_b


def im2col(x: ndarray, geometry: ConvGeometry) -> ndarray:
    """The windows of x (N,C,*size) as columns (N, C*taps, outputs) (see `reference.im2col`)."""
    dims = len(geometry.size)
    if dims == 2:
        return columns.im2col(x, geometry)
    return (
        columns.im2col(x[:, :, None], _flat(geometry)) if dims == 1 else _volume_im2col(x, geometry)
    )


def col2im(cols: ndarray, geometry: ConvGeometry) -> ndarray:
    """The adjoint of `im2col`: columns (N, C*taps, outputs) added up to (N,C,*size)."""
    dims = len(geometry.size)
    if dims == 2:
        return columns.col2im(cols, geometry)
    if dims == 1:
        return columns.col2im(cols, _flat(geometry))[:, :, 0]
    return _volume_col2im(cols, geometry).astype(cols.dtype, copy=False)

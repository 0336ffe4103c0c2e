"""Convolution as im2col and one matrix product, a chunk of the output at a time.

**Columns.** Write out every window as a column: with m = (n,i,j) for an output position and
t = (c,p,q) for a tap,

    cols[t, m] = x[n, c, i*S + p*D - P, j*S + q*D - P]        (zero in the padding)

and the convolution is a matrix product, its gradients two more:

    y[f, m]         = sum over t of w[f, t] * cols[t, m]       Y = W X_cols
    grad_w[f, t]    = sum over m of grad_y[f, m] * cols[t, m]  grad_W = grad_Y X_cols^T
    grad_cols[t, m] = sum over f of w[f, t] * grad_y[f, m]     grad_X_cols = W^T grad_Y

**col2im.** im2col is linear, cols = A x, and each row of A holds a single 1: at the pixel that
this entry copies (or none, in the padding). Its adjoint A^T sends an entry of grad_cols back to
the pixel it was copied from, and where several entries were copied from one pixel, because windows
overlap, their gradients *add*: <A x, g> = <x, A^T g>. A^T is no inverse: A^T A x is x times the
number of windows over each pixel, and a pixel that no window reads (in the rows that the stride
leaves over at the end, or between the taps of a dilated kernel) gets zero.

**Stride 1.** There grad_x is a convolution itself. Pixel h is read by output i through tap p where
h = i + p*D - P, so that

    grad_x[h] = sum over p of w[p] * grad_y[h - p*D + P]
              = sum over r of w[KH-1-r] * grad_y[h + r*D - (D*(KH-1) - P)]       (r = KH-1-p)

the convolution of grad_y with the kernel turned around, its F and C exchanged, and padding
D*(KH-1) - P. (A larger stride would put S-1 zeros between the rows of grad_y.)

**Chunks.** Columns take KH*KW times the memory of x. They are made for a chunk of outputs at a
time, in a buffer that is kept (see `scratch`), used at once, and made anew in the backward: to copy
them again costs less than to keep them. Chunks are rectangles of (n,i,j), so the limit holds for
one huge image as well. Each is one call of a `_*_chunk` function.

**Memory order** (see `layout`). C,H,W,N for few channels, where t = (c,p,q) and m = (i,j,n);
N,H,W,C for many, where t = (p,q,c), m = (n,i,j) and the matrices are stored transposed. The same
lines serve both, since np.matmul takes a transposed view as it is.
"""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from ..geometry import ConvGeometry, Ints
from . import layout, scratch
from .depthwise import depthwise_forward, depthwise_grad_input, depthwise_grad_weight
from .layout import CHWN, NCHW, NHWC, Order
from .matmul import SMALL_PRODUCT
from .precision import working, working_dtype
from .taps import axis_taps

# Entries of the partial sums that the pieces of one sum may leave.
_PARTS = 1 << 19

# Positions that a piece has at least; thicker products are left whole, to BLAS and its threads.
_SMALL_STEP = 16

# Entries of the column buffer that a chunk aims at. Thin products are quickest while the columns
# are in the cache; whole ones when there are few of them.
_THIN_CHUNK = 1 << 19
_LARGE_CHUNK = 1 << 22


class Chunk(NamedTuple):
    """A rectangle of output positions: images, rows and columns of y."""

    n: slice
    i: slice
    j: slice

    @property
    def size(self) -> tuple[int, int, int]:
        """(images, rows, columns)."""
        n, i, j = self
        return n.stop - n.start, i.stop - i.start, j.stop - j.start

    def of(self, y: ndarray) -> ndarray:
        """This part of an array (N,F,OH,OW)."""
        return y[self.n, :, self.i, self.j]


# Plans


def _is_thin(geometry: ConvGeometry) -> bool:
    """Whether the product with the weights of a group is cut into small ones."""
    return prod(geometry.w_shape) // geometry.groups * _SMALL_STEP <= SMALL_PRODUCT


def _order(geometry: ConvGeometry) -> Order:
    """The memory order to compute in, for the operands and for the result."""
    per_group = max(geometry.in_channels, geometry.out_channels) // geometry.groups
    return NHWC if per_group >= 32 else CHWN


def _is_pointwise(x: ndarray, geometry: ConvGeometry) -> bool:
    """A 1x1 convolution whose columns are x itself (or y's, for the gradients)."""
    if geometry.kernel != (1, 1) or geometry.stride != (1, 1):
        return False
    # A padding of (1, -1) keeps the size, and yet moves every pixel.
    if any(pair != (0, 0) for pair in geometry.padding):
        return False
    # In N,C,H,W order each image is a product of its own, too small a one where the image is.
    return layout.order_of(x) != NCHW or prod(geometry.size) >= 128


def _is_depthwise(geometry: ConvGeometry) -> bool:
    return geometry.groups == geometry.in_channels > 1


def _chunks(geometry: ConvGeometry, order: Order, itemsize: int) -> list[Chunk]:
    """Cuts the output so that the columns of a chunk stay within the aim and within the limit."""
    N, (OH, OW) = geometry.batch, geometry.out_size
    # What a position takes: its column, or its share of the padded copy of x if that is more.
    position = geometry.in_channels * max(prod(geometry.kernel), prod(geometry.stride))
    aim = _THIN_CHUNK if _is_thin(geometry) else _LARGE_CHUNK
    room = max(1, min(aim, scratch.COLUMN_LIMIT // itemsize) // position)  # positions in a chunk
    if order == NHWC:
        steps = _steps((N, OH, OW), room)
    else:
        i, n, j = _steps((OH, N, OW), room)
        steps = (n, i, j)
    return [
        Chunk(n, i, j)
        for n in _ranges(N, steps[0])
        for i in _ranges(OH, steps[1])
        for j in _ranges(OW, steps[2])
    ]


def _steps(sizes: tuple[int, int, int], room: int) -> tuple[int, int, int]:
    """The largest steps along three nested axes, the outermost cut first, with product <= room."""
    outer, middle, inner = sizes
    if middle * inner <= room:
        return min(outer, room // (middle * inner)), middle, inner
    if inner <= room:
        return 1, room // inner, inner
    return 1, 1, room


def _ranges(total: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, total)) for start in range(0, total, step)]


# Matrices


def _columns(x: ndarray, geometry: ConvGeometry, chunk: Chunk, order: Order, dtype) -> ndarray:
    """The windows of a chunk as (G, taps, positions), in scratch. One copy, whatever the kernel."""
    G = geometry.groups
    (n, i, j), (KH, KW) = chunk.size, geometry.kernel
    C = geometry.in_channels // G
    patch = _patch(x, geometry, chunk, order, dtype)
    (SH, SW), (DH, DW) = _within(patch, geometry.stride), _within(patch, geometry.dilation)
    sn, sc, sh, sw = patch.strides
    windows = as_strided(
        patch,
        (n, G, C, KH, KW, i, j),
        (sn, sc * C, sc, sh * DH, sw * DW, sh * SH, sw * SW),
        writeable=False,
    )
    if order == CHWN:
        cols = scratch.take("columns", (G, C, KH, KW, i, j, n), dtype)
        np.copyto(cols, windows.transpose(1, 2, 3, 4, 5, 6, 0))
        return cols.reshape(G, C * KH * KW, i * j * n)
    cols = scratch.take("columns", (G, n, i, j, KH, KW, C), dtype)
    np.copyto(cols, windows.transpose(1, 0, 5, 6, 3, 4, 2))
    return cols.reshape(G, n * i * j, KH * KW * C).transpose(0, 2, 1)


def _patch(x: ndarray, geometry: ConvGeometry, chunk: Chunk, order: Order, dtype) -> ndarray:
    """The inputs that a chunk reads, padding included: a view of x where that will do."""
    inside: list[slice] = []  # of x
    place: list[slice] = []  # of the patch
    extent: list[int] = []
    for axis, outputs in enumerate((chunk.i, chunk.j)):
        S, low = geometry.stride[axis], geometry.padding[axis][0]
        start = outputs.start * S - low
        length = (outputs.stop - 1 - outputs.start) * S + geometry.span[axis]
        first, last = max(start, 0), min(start + length, geometry.size[axis])
        last = max(first, last)
        inside.append(slice(first, last))
        place.append(slice(first - start, last - start))
        extent.append(length)
    part = x[chunk.n, :, inside[0], inside[1]]
    whole = part.shape[2:] == tuple(extent)
    if whole and x.dtype == dtype and (prod(geometry.kernel) == 1 or layout.order_of(x) == order):
        return part
    patch = _scratch_in_order("patch", (*part.shape[:2], *extent), order, dtype)
    if not whole:
        rows, columns = place
        patch[:, :, : rows.start] = 0
        patch[:, :, rows.stop :] = 0
        patch[:, :, rows, : columns.start] = 0
        patch[:, :, rows, columns.stop :] = 0
    np.copyto(patch[:, :, place[0], place[1]], part)
    return patch


def _within(patch: ndarray, steps: Ints) -> Ints:
    """Steps as they are, but for those that lead out of a patch: so large that they may overflow.

    Such a step is never taken: there is one window along its axis, or one tap.
    """
    return tuple([min(step, size) for step, size in zip(steps, patch.shape[2:], strict=True)])


def _scratch_in_order(role: str, shape: tuple[int, ...], order: Order, dtype) -> ndarray:
    """Scratch of shape (N,C,H,W), contiguous in `order`."""
    array = scratch.take(role, tuple([shape[axis] for axis in order]), dtype)
    return array.transpose(layout.inverse(order))


def _weight_matrix(w: ndarray, geometry: ConvGeometry, order: Order, dtype) -> ndarray:
    """w as (G, F/G, taps), the taps in the order of the columns."""
    F, C, KH, KW = w.shape
    G = geometry.groups
    if order == CHWN:
        return w.reshape(G, F // G, C * KH * KW).astype(dtype, copy=False)
    matrix = scratch.take("weight", (F, KH, KW, C), dtype)
    np.copyto(matrix, w.transpose(0, 2, 3, 1))
    return matrix.reshape(G, F // G, KH * KW * C)


def _from_weight_matrix(matrix: ndarray, geometry: ConvGeometry, order: Order) -> ndarray:
    """(G, F/G, taps) as (F,C/G,KH,KW) in memory order, so that optimizers run over one order."""
    F, C, KH, KW = geometry.w_shape
    if order == CHWN:
        return np.ascontiguousarray(matrix).reshape(F, C, KH, KW)
    return np.ascontiguousarray(matrix.reshape(F, KH, KW, C).transpose(0, 3, 1, 2))


def _position_matrix(y: ndarray, groups: int, order: Order) -> ndarray | None:
    """y (n,F,i,j) as a view (G, F/G, positions) that BLAS takes, or None where there is none."""
    F = y.shape[1]
    axes = order[1:] if order == CHWN else order[:3]
    step = None  # from one position to the next
    count = 1
    for axis in reversed(axes):
        if y.shape[axis] == 1:
            continue
        if step is None:
            step = y.strides[axis]
        elif y.strides[axis] != step * count:
            return None
        count *= y.shape[axis]
    step = y.itemsize if step is None else step
    channel = y.strides[1] if F > 1 else count * y.itemsize
    by_channel = step == y.itemsize and channel >= count * step
    by_position = channel == y.itemsize and step >= F * channel
    if not by_channel and not by_position:
        return None
    return as_strided(y, (groups, F // groups, count), (F // groups * channel, channel, step))


def _operand(y: ndarray, groups: int, order: Order, dtype, role: str = "operand") -> ndarray:
    """y (n,F,i,j) as (G, F/G, positions), copied to scratch if it must be."""
    matrix = _position_matrix(y, groups, order) if y.dtype == dtype else None
    if matrix is None:
        copy = _scratch_in_order(role, y.shape, order, dtype)
        np.copyto(copy, y)
        matrix = _position_matrix(copy, groups, order)
        assert matrix is not None
    return matrix


def _matmul(a: ndarray, b: ndarray, out: ndarray) -> None:
    """out[g] = a[g] @ b[g] for a (G,R,T), b (G,T,M), out (G,R,M): M cut into small products."""
    G, R, T = a.shape
    M = b.shape[2]
    step = SMALL_PRODUCT // (R * T)
    if step < _SMALL_STEP or step >= M:
        np.matmul(a, b, out=out)
        return
    if b.strides[1] == b.itemsize != a.strides[1]:
        # BLAS will take both transposed; a product of the two as they lie is twice as fast.
        a = np.ascontiguousarray(a.transpose(0, 2, 1)).transpose(0, 2, 1)
    step &= -_SMALL_STEP
    pieces = M // step
    cut = pieces * step
    (bg, bt, bm), (og, orow, om) = b.strides, out.strides
    np.matmul(
        a[:, None],
        as_strided(b, (G, pieces, T, step), (bg, step * bm, bt, bm)),
        out=as_strided(out, (G, pieces, R, step), (og, step * om, orow, om)),
    )
    if cut < M:
        np.matmul(a, b[:, :, cut:], out=out[:, :, cut:])


def _matmul_sum(a: ndarray, b: ndarray) -> ndarray:
    """a[g] @ b[g].T for a (G,R,M), b (G,T,M): the sum over M, as a sum of small products.

    Taken as the transpose of b @ a.T, which OpenBLAS does twice as fast where R is small.
    """
    G, R, M = a.shape
    T = b.shape[1]
    step = SMALL_PRODUCT // (R * T)
    # Each piece leaves a matrix (T,R) to add up: fewer than 64 positions are not worth one.
    if step < 64 or step >= M:
        return np.matmul(b, a.transpose(0, 2, 1)).transpose(0, 2, 1)
    step &= -_SMALL_STEP
    pieces = M // step
    if pieces * R * T > _PARTS:
        runs = _ranges(M, step * max(1, _PARTS // (R * T)))
        return reduce(np.add, (_matmul_sum(a[:, :, run], b[:, :, run]) for run in runs))
    cut = pieces * step
    (ag, ar, am), (bg, bt, bm) = a.strides, b.strides
    total = np.matmul(
        as_strided(b, (G, pieces, T, step), (bg, step * bm, bt, bm)),
        as_strided(a, (G, pieces, step, R), (ag, step * am, am, ar)),
    ).sum(axis=1)
    if cut < M:
        total += np.matmul(b[:, :, cut:], a[:, :, cut:].transpose(0, 2, 1))
    return total.transpose(0, 2, 1)


# y[n,f,i,j] = b[f] + sum over c,p,q of w[f,c,p,q] * x[n,c,i*S+p*D-P,j*S+q*D-P]


def conv_forward(x: ndarray, w: ndarray, b: ndarray | None, geometry: ConvGeometry) -> ndarray:
    """y = x * w + b (see `reference.conv_forward`).

    x (N,C,H,W), w (F,C/G,KH,KW), b (F,) or None; result (N,F,OH,OW) in a memory order of its own.
    """
    dtype = working_dtype(x.dtype, w.dtype)
    if geometry.batch == 0:
        y = np.zeros(geometry.y_shape, dtype)
    elif _is_depthwise(geometry):
        y = depthwise_forward(x, w, b, geometry, dtype)
    elif _is_pointwise(x, geometry):
        y = _pointwise(x, w.reshape(w.shape[:2]), b, geometry.groups, dtype)
    else:
        y = _columns_forward(x, w, b, geometry, dtype)
    return y.astype(np.result_type(x, w), copy=False)


def _columns_forward(x, w, b, geometry: ConvGeometry, dtype) -> ndarray:
    order = _order(geometry)
    weight = _weight_matrix(w, geometry, order, dtype)
    bias = None if b is None else b.reshape(geometry.groups, -1, 1).astype(dtype, copy=False)
    y = layout.empty(geometry.y_shape, order, dtype)
    for chunk in _chunks(geometry, order, dtype.itemsize):
        _forward_chunk(x, weight, bias, y, geometry, chunk, order)
    return y


def _forward_chunk(x, weight, bias, y, geometry: ConvGeometry, chunk: Chunk, order: Order) -> None:
    """Y = W X_cols + b, for the outputs of a chunk."""
    cols = _columns(x, geometry, chunk, order, y.dtype)
    target = chunk.of(y)
    matrix = _position_matrix(target, geometry.groups, order)
    detour = None
    if matrix is None:
        detour = _scratch_in_order("result", target.shape, order, y.dtype)
        matrix = _position_matrix(detour, geometry.groups, order)
        assert matrix is not None
    _matmul(weight, cols, matrix)
    if bias is not None:
        matrix += bias
    if detour is not None:
        np.copyto(target, detour)


def _pointwise(x: ndarray, w: ndarray, b: ndarray | None, groups: int, dtype) -> ndarray:
    """y[n,f,i,j] = b[f] + sum over c of w[f,c] * x[n,c,i,j], in x's memory order.

    Also grad_x, with grad_y for x and the transposed weights.
    """
    N, C, H, W = x.shape
    F = w.shape[0]
    order = layout.order_of(x)
    y = layout.empty((N, F, H, W), order, dtype)
    weight = w.reshape(groups, F // groups, -1).astype(dtype, copy=False)
    if order == NCHW:
        images = np.ascontiguousarray(x, dtype).reshape(N, groups, C // groups, H * W)
        matrix = y.reshape(N, groups, F // groups, H * W)
        np.matmul(weight, images, out=matrix)
    else:
        view = _position_matrix(y, groups, order)
        assert view is not None
        matrix = view
        _matmul(weight, _operand(x, groups, order, dtype), matrix)
    if b is not None:
        matrix += b.reshape(groups, -1, 1).astype(dtype, copy=False)
    return y


# grad_x[n,c,h,k] = sum over f,p,q,i,j that read (h,k) of w[f,c,p,q] * grad_y[n,f,i,j]


def conv_grad_input(grad_y: ndarray, w: ndarray, geometry: ConvGeometry) -> ndarray:
    """The adjoint of x -> y (see `reference.conv_grad_input`).

    grad_y (N,F,OH,OW), w (F,C/G,KH,KW); result (N,C,H,W) in a memory order of its own.
    """
    dtype = working_dtype(grad_y.dtype, w.dtype)
    if geometry.batch == 0:
        grad_x = np.zeros(geometry.x_shape, dtype)
    elif _is_depthwise(geometry):
        grad_x = depthwise_grad_input(grad_y, w, geometry, dtype)
    elif _is_pointwise(grad_y, geometry):
        turned = _turned_weight(w, geometry)
        grad_x = _pointwise(grad_y, turned.reshape(turned.shape[:2]), None, geometry.groups, dtype)
    elif (turned_geometry := _turned_geometry(geometry)) is not None:
        turned = _turned_weight(w, geometry)
        grad_x = _columns_forward(grad_y, turned, None, turned_geometry, dtype)
    else:
        grad_x = _columns_grad_input(grad_y, w, geometry, dtype)
    return grad_x.astype(np.result_type(grad_y, w), copy=False)


def _turned_weight(w: ndarray, geometry: ConvGeometry) -> ndarray:
    """(F,C/G,KH,KW) with the kernel turned around and F, C exchanged: (C,F/G,KH,KW)."""
    F, C, KH, KW = w.shape
    G = geometry.groups
    turned = w[:, :, ::-1, ::-1].reshape(G, F // G, C, KH, KW).swapaxes(1, 2)
    return turned.reshape(G * C, F // G, KH, KW)


def _turned_geometry(geometry: ConvGeometry) -> ConvGeometry | None:
    """The convolution from grad_y to grad_x at stride 1, where it is one and the cheaper way.

    It copies columns of F*KH*KW entries; the way by grad_cols makes and adds up C*KH*KW.
    """
    if any(s != 1 for s in geometry.stride) or geometry.out_channels > 2 * geometry.in_channels:
        return None
    pairs = [
        (span - 1 - low, span - 1 - high)
        for span, (low, high) in zip(geometry.span, geometry.padding, strict=True)
    ]
    if min(min(pair) for pair in pairs) < 0:
        return None
    return ConvGeometry(
        geometry.batch,
        geometry.out_channels,
        geometry.in_channels,
        geometry.out_size,
        geometry.kernel,
        geometry.stride,
        tuple(pairs),
        geometry.dilation,
        geometry.groups,
    )


def _columns_grad_input(grad_y, w, geometry: ConvGeometry, dtype) -> ndarray:
    order = _order(geometry)
    weight = _weight_matrix(w, geometry, order, dtype).transpose(0, 2, 1)
    grad_x = layout.empty(geometry.x_shape, order, dtype)
    grad_x[...] = 0
    for chunk in _chunks(geometry, order, dtype.itemsize):
        _grad_input_chunk(grad_y, weight, grad_x, geometry, chunk, order)
    return grad_x


def _grad_input_chunk(grad_y, weight, grad_x, geometry, chunk: Chunk, order: Order) -> None:
    """grad_X += A^T W^T grad_Y: the products first, then col2im."""
    G, (n, i, j), (KH, KW) = geometry.groups, chunk.size, geometry.kernel
    C = geometry.in_channels // G
    g = _operand(chunk.of(grad_y), G, order, grad_x.dtype)
    if order == CHWN:
        cols = scratch.take("columns", (G, C, KH, KW, i, j, n), grad_x.dtype)
        _matmul(weight, g, cols.reshape(G, C * KH * KW, i * j * n))
        entries = cols.reshape(G * C, KH, KW, i, j, n).transpose(5, 0, 1, 2, 3, 4)
    else:
        cols = scratch.take("columns", (G, n, i, j, KH, KW, C), grad_x.dtype)
        _matmul(weight, g, cols.reshape(G, n * i * j, KH * KW * C).transpose(0, 2, 1))
        # (n,G,C,KH,KW,i,j), where G and C merge only if one of them is 1: so grad_x is split.
        entries = cols.transpose(1, 0, 6, 4, 5, 2, 3)
    _add_columns(entries, grad_x, geometry, chunk)


def _add_columns(entries: ndarray, x: ndarray, geometry: ConvGeometry, chunk: Chunk) -> None:
    """x[n,c,h,k] += entries[n,c,p,q,i,j] for each tap: what several windows read gets their sum.

    entries (n,C,KH,KW,i,j), or (n,G,C/G,KH,KW,i,j), holds the chunk alone. An entry that belongs to
    the padding is left out.
    """
    rows, columns = (
        axis_taps(H, K, S, low, D, outputs.start, outputs.stop)
        for H, K, S, (low, _), D, outputs in zip(
            geometry.size,
            geometry.kernel,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            (chunk.i, chunk.j),
            strict=True,
        )
    )
    part = x[chunk.n]
    if entries.ndim == 7:
        part = part.reshape(part.shape[0], *entries.shape[1:3], *part.shape[2:])
        assert np.may_share_memory(part, x)
    for p, (i, h) in enumerate(rows):
        for q, (j, k) in enumerate(columns):
            pixels = part[..., h, k]
            pixels += entries[..., p, q, i, j]


# grad_w[f,c,p,q] = sum over n,i,j of x[n,c,i*S+p*D-P,j*S+q*D-P] * grad_y[n,f,i,j]


def conv_grad_weight(x: ndarray, grad_y: ndarray, geometry: ConvGeometry) -> ndarray:
    """The adjoint of w -> y (see `reference.conv_grad_weight`).

    x (N,C,H,W), grad_y (N,F,OH,OW); result (F,C/G,KH,KW).
    """
    dtype = working_dtype(x.dtype, grad_y.dtype)
    if geometry.batch == 0:
        grad_w = np.zeros(geometry.w_shape, dtype)
    elif _is_depthwise(geometry):
        grad_w = depthwise_grad_weight(x, grad_y, geometry, dtype)
    elif _is_pointwise(x, geometry) and layout.order_of(x) != NCHW:
        order, G = layout.order_of(x), geometry.groups
        cols = _operand(x, G, order, dtype, "columns")
        total = _matmul_sum(_operand(grad_y, G, order, dtype), cols)
        grad_w = total.reshape(geometry.w_shape)
    else:
        order = _order(geometry)
        parts = (
            _grad_weight_chunk(x, grad_y, geometry, chunk, order, dtype)
            for chunk in _chunks(geometry, order, dtype.itemsize)
        )
        grad_w = _from_weight_matrix(reduce(np.add, parts), geometry, order)
    return grad_w.astype(np.result_type(x, grad_y), copy=False)


def _grad_weight_chunk(x, grad_y, geometry, chunk: Chunk, order: Order, dtype) -> ndarray:
    """grad_W = grad_Y X_cols^T, over the outputs of a chunk."""
    cols = _columns(x, geometry, chunk, order, dtype)
    return _matmul_sum(_operand(chunk.of(grad_y), geometry.groups, order, dtype), cols)


# im2col and col2im by themselves


def im2col(x: ndarray, geometry: ConvGeometry) -> ndarray:
    """cols[n, (c,p,q), (i,j)] = x[n,c,h,k], zero in the padding. Result (N, C*KH*KW, OH*OW)."""
    N, C = x.shape[:2]
    (KH, KW), (OH, OW) = geometry.kernel, geometry.out_size
    cols = np.empty((N, C, KH, KW, OH, OW), x.dtype)
    for n in range(N):
        image = Chunk(slice(n, n + 1), slice(0, OH), slice(0, OW))
        patch = _patch(x, geometry, image, NCHW, x.dtype)
        (SH, SW), (DH, DW) = _within(patch, geometry.stride), _within(patch, geometry.dilation)
        _, sc, sh, sw = patch.strides
        windows = as_strided(
            patch,
            cols.shape[1:],
            (sc, sh * DH, sw * DW, sh * SH, sw * SW),
            writeable=False,
        )
        np.copyto(cols[n], windows)
    return cols.reshape(N, C * KH * KW, OH * OW)


def col2im(cols: ndarray, geometry: ConvGeometry) -> ndarray:
    """The adjoint of `im2col`: adds each entry to its pixel.

    cols (N, C*KH*KW, OH*OW); result (N,C,H,W).
    """
    N, C = geometry.x_shape[:2]
    (OH, OW) = geometry.out_size
    entries = working(cols).reshape(N, C, *geometry.kernel, OH, OW)
    x = np.zeros(geometry.x_shape, entries.dtype)
    _add_columns(entries, x, geometry, Chunk(slice(0, N), slice(0, OH), slice(0, OW)))
    return x.astype(cols.dtype, copy=False)

"""Convolution as im2col and one matrix product, a chunk of the output at a time.

**Columns.** Write out every window as a column: with m = (n,i,j) for an output position and
t = (c,p,q) for a tap,

    cols[t, m] = x[n, c, i*S + p*D - P, j*S + q*D - P]        (zero in the padding)

and the convolution is a matrix product, its gradients two more:

    y[f, m]         = sum over t of w[f, t] * cols[t, m]       Y = W X_cols
    grad_w[f, t]    = sum over m of grad_y[f, m] * cols[t, m]  grad_W = grad_Y X_cols^T
    grad_cols[t, m] = sum over f of w[f, t] * grad_y[f, m]     grad_X_cols = W^T grad_Y

**Bias.** b[f] is the weight of a tap that reads 1 everywhere: one more column of W and one more row
of X_cols, and the product adds it. In the same way grad_b comes as one more column of grad_W.

**col2im.** im2col is linear, cols = A x, and each row of A holds a single 1: at the pixel that
this entry copies (or none, in the padding). Its adjoint A^T sends an entry of grad_cols back to
the pixel it was copied from, and where several entries were copied from one pixel, because windows
overlap, their gradients *add*: <A x, g> = <x, A^T g>. A^T is no inverse: A^T A x is x times the
number of windows over each pixel, and a pixel that no window reads (in the rows that the stride
leaves over at the end, or between the taps of a dilated kernel) gets zero. Where there are many
channels, grad_x is better taken as a convolution of grad_y (see `turned`).

**Chunks.** Columns take KH*KW times the memory of x. They are made for a chunk of outputs at a
time, in a buffer that each thread keeps (see `scratch`), used at once, and made anew in the
backward: to copy them again costs less than to keep them. Chunks are rectangles of (n,i,j), so the
limit holds for one huge image as well. Each is one call of a `_*_chunk` function.

**Memory order** (see `layout`). C,H,W,N for few channels, where t = (c,p,q) and m = (i,j,n);
N,H,W,C for many, where t = (p,q,c), m = (n,i,j) and the matrices are stored transposed: then a row
of the kernel is one run of KW*C numbers, in x as in the columns.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from ..geometry import ConvGeometry, Ints
from . import layout, scratch, threads
from .chunks import Chunk, cut, load, operand, order_for, scratch_in_order, summed, write
from .elementwise import positive_part
from .layout import CHWN, NCHW, Order
from .precision import working
from .taps import axis_taps

# Entries that are copied or added up at a time.
_PIECE = 1 << 18

# Multiply-adds up to which OpenBLAS multiplies without packing the matrices first. Where one of
# them is thin, a large product spends most of its time on that: one for LeNet's layers, cut into
# small ones, takes half as long.
_SMALL_PRODUCT = 10**6
_STEP = 128  # positions that a small product has at least

_LINE = 64  # bytes of a cache line


def order_of(geometry: ConvGeometry) -> Order:
    """The memory order to compute in, for the operands and for the result."""
    return order_for(max(geometry.in_channels, geometry.out_channels) // geometry.groups)


def chunks_of(geometry: ConvGeometry, order: Order, dtype: np.dtype) -> list[Chunk]:
    """The outputs cut by the room that their columns take."""
    # What a position takes: its column, or its share of the padded copy of x if that is more.
    position = geometry.in_channels * max(prod(geometry.kernel), prod(geometry.stride))
    return cut(geometry, order, position, dtype.itemsize)


# Columns


def padded(
    x: ndarray, geometry: ConvGeometry, order: Order, dtype: np.dtype
) -> tuple[ndarray, ConvGeometry]:
    """x in C,H,W,N order with its padding, and the geometry that needs none.

    In this order chunks are rows of all images: each would copy the rows around its own again. As
    they are where the chunks may be cut out of x itself, and where the copy would exceed the limit.
    """
    ready = not any(map(any, geometry.padding))
    if order != CHWN or (ready and _lies_in(x, order) and x.dtype == dtype):
        return x, geometry
    size = geometry.padded_size
    entries = prod(x.shape[:2]) * prod(size)
    if min(map(min, geometry.padding)) < 0 or entries * dtype.itemsize > scratch.COLUMN_LIMIT:
        return x, geometry
    copy = scratch_in_order("padded", (*x.shape[:2], *size), order, dtype)
    (top, _), (left, _) = geometry.padding
    H, W = geometry.size

    def fill(rows: slice) -> None:
        first = min(max(rows.start, top), rows.stop)
        inside = slice(first, max(first, min(rows.stop, top + H)))
        copy[:, :, rows.start : inside.start] = 0
        copy[:, :, inside.stop : rows.stop] = 0
        copy[:, :, inside, :left] = 0
        copy[:, :, inside, left + W :] = 0
        rows_of_x = slice(inside.start - top, inside.stop - top)
        _copy(x[:, :, rows_of_x], copy[:, :, inside, left : left + W])

    threads.each(fill, threads.pieces(size[0], entries, _PIECE), entries)
    return copy, _without_padding(geometry)


@lru_cache(maxsize=4096)
def _without_padding(geometry: ConvGeometry) -> ConvGeometry:
    g = geometry
    return ConvGeometry(
        g.batch,
        g.in_channels,
        g.out_channels,
        g.padded_size,
        g.kernel,
        g.stride,
        ((0, 0), (0, 0)),
        g.dilation,
        g.groups,
    )


def _columns(
    x: ndarray, geometry: ConvGeometry, chunk: Chunk, order: Order, dtype: np.dtype, ones: bool
) -> ndarray:
    """The windows of a chunk as (G, taps, positions), in scratch. One copy, whatever the kernel.

    ones: with one more tap in each group, which reads 1.
    """
    G = geometry.groups
    (n, i, j), (KH, KW) = chunk.size, geometry.kernel
    C = geometry.in_channels // G
    T = C * KH * KW
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
        cols = by_tap((G, T + ones, i * j * n), dtype)
        entries = cols[:, :T].reshape(G, C, KH, KW, i, j, n)
        np.copyto(entries, windows.transpose(1, 2, 3, 4, 5, 6, 0))
    else:
        by_position = scratch.take("columns", (G, n * i * j, T + ones), dtype)
        entries = by_position[..., :T].reshape(G, n, i, j, KH, KW, C)
        np.copyto(entries, windows.transpose(1, 0, 5, 6, 3, 4, 2))
        cols = by_position.transpose(0, 2, 1)
    cols[:, T:] = 1
    return cols


def by_tap(shape: tuple[int, int, int], dtype: np.dtype, role: str = "columns") -> ndarray:
    """Scratch (G, taps, positions), one tap's entries side by side.

    From one tap to the next it is an odd number of cache lines. Batches are mostly powers of two:
    the entries of one position would else share a few sets of the cache, and a product with thin
    matrices would take twice as long.
    """
    G, taps, positions = shape
    step = (-(-positions * dtype.itemsize // _LINE) | 1) * _LINE // dtype.itemsize
    return scratch.take(role, (G, taps, step), dtype)[:, :, :positions]


def _patch(
    x: ndarray, geometry: ConvGeometry, chunk: Chunk, order: Order, dtype: np.dtype
) -> ndarray:
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
    if whole and x.dtype == dtype and (prod(geometry.kernel) == 1 or _lies_in(x, order)):
        return part
    patch = scratch_in_order("patch", (*part.shape[:2], *extent), order, dtype)
    if not whole:
        rows, columns = place
        patch[:, :, : rows.start] = 0
        patch[:, :, rows.stop :] = 0
        patch[:, :, rows, : columns.start] = 0
        patch[:, :, rows, columns.stop :] = 0
    _copy(part, patch[:, :, place[0], place[1]])
    return patch


def _lies_in(x: ndarray, order: Order) -> bool:
    """Whether x lies in `order`. A single image lies in N,C,H,W and in C,H,W,N order at once."""
    found = layout.order_of(x)
    return found == order or (found == NCHW and order == CHWN and len(x) == 1)


def _copy(source: ndarray, target: ndarray) -> None:
    """target[...] = source, images (n,C,h,w). NumPy's inner loop runs along the target's innermost
    axis: a few channels there would be a loop of a few steps."""
    if source.shape[1] > 4 or target.strides[1] != target.itemsize:
        np.copyto(target, source)
        return
    for c in range(source.shape[1]):
        np.copyto(target[:, c], source[:, c])


def _within(patch: ndarray, steps: Ints) -> Ints:
    """Steps as they are, but for those that lead out of a patch: so large that they may overflow.

    Such a step is never taken: there is one window along its axis, or one tap.
    """
    return tuple([min(step, size) for step, size in zip(steps, patch.shape[2:], strict=True)])


# Weights


def weight_matrix(
    w: ndarray, b: ndarray | None, groups: int, order: Order, dtype: np.dtype
) -> ndarray:
    """w (F,C/G,KH,KW) as (G, F/G, taps), in the order of the columns, b as one more tap."""
    F, C, KH, KW = w.shape
    T = C * KH * KW
    if order == CHWN and b is None:
        return w.reshape(groups, F // groups, T).astype(dtype, copy=False)
    matrix = np.empty((F, T + (b is not None)), dtype)
    taps = matrix[:, :T]
    by_order = (0, 1, 2, 3) if order == CHWN else (0, 2, 3, 1)
    taps = taps.reshape([w.shape[axis] for axis in by_order])
    source = w.transpose(by_order)

    def fill(part: slice) -> None:
        taps[part] = source[part]

    threads.each(fill, threads.pieces(F, w.size, _PIECE), w.size)
    if b is not None:
        matrix[:, T] = b
    return matrix.reshape(groups, F // groups, -1)


def _from_weight_matrix(matrix: ndarray, geometry: ConvGeometry, order: Order) -> ndarray:
    """(G, F/G, taps) as (F,C/G,KH,KW) in memory order, so that optimizers run over one order."""
    F, C, KH, KW = geometry.w_shape
    taps = matrix.reshape(F, -1)[:, : C * KH * KW]
    w = np.empty(geometry.w_shape, matrix.dtype)
    if order == CHWN:
        w[...] = taps.reshape(w.shape)
        return w
    source = taps.reshape(F, KH, KW, C).transpose(0, 3, 1, 2)

    def fill(part: slice) -> None:
        w[part] = source[part]

    threads.each(fill, threads.pieces(F, w.size, _PIECE), w.size)
    return w


# y[n,f,i,j] = b[f] + sum over c,p,q of w[f,c,p,q] * x[n,c,i*S+p*D-P,j*S+q*D-P]


def forward(
    x: ndarray,
    w: ndarray,
    b: ndarray | None,
    geometry: ConvGeometry,
    dtype: np.dtype,
    relu: bool = False,
) -> ndarray:
    """y = x * w + b, or max(0, that) with `relu`: (N,F,OH,OW) of `dtype`."""
    order = order_of(geometry)
    weight = weight_matrix(w, b, geometry.groups, order, dtype)
    y = layout.empty(geometry.y_shape, order, dtype)
    source, without = padded(x, geometry, order, dtype)

    def run(chunk: Chunk) -> None:
        forward_chunk(source, weight, y, without, chunk, order, b is not None)
        if relu:
            part = chunk.of(y).transpose(order)
            positive_part(part, part)

    threads.each(run, chunks_of(without, order, dtype), load(geometry))
    return y


def forward_chunk(
    x: ndarray,
    weight: ndarray,
    y: ndarray,
    geometry: ConvGeometry,
    chunk: Chunk,
    order: Order,
    bias: bool,
) -> None:
    """Y = W X_cols, for the outputs of a chunk; bias: b is among the weights."""
    cols = _columns(x, geometry, chunk, order, y.dtype, bias)
    write(lambda out: product(weight, cols, out), chunk.of(y), geometry.groups, order)


# grad_x[n,c,h,k] = sum over f,p,q,i,j that read (h,k) of w[f,c,p,q] * grad_y[n,f,i,j]


def grad_input(grad_y: ndarray, w: ndarray, geometry: ConvGeometry, dtype: np.dtype) -> ndarray:
    """The adjoint of x -> y by col2im, in C,H,W,N order: (N,C,H,W) of `dtype`.

    A few channels of x at a time: theirs are pixels that no other thread adds to.
    """
    G = geometry.groups
    C, taps = geometry.in_channels // G, prod(geometry.kernel)
    weight = weight_matrix(w, None, G, CHWN, dtype).transpose(0, 2, 1)
    grad_x = layout.empty(geometry.x_shape, CHWN, dtype)
    entries = geometry.in_channels * taps * geometry.batch * prod(geometry.out_size)

    def run(part: slice) -> None:
        """Groups, or the channels of a single one."""
        group, c = (part, slice(0, C)) if G > 1 else (slice(0, 1), part)
        rows = weight[group, c.start * taps : c.stop * taps]
        pixels = grad_x[:, group.start * C + c.start : (group.stop - 1) * C + c.stop]
        pixels[...] = 0
        outputs = grad_y[:, group.start * rows.shape[2] : group.stop * rows.shape[2]]
        for chunk in cut(geometry, CHWN, pixels.shape[1] * taps, dtype.itemsize):
            _grad_input_chunk(outputs, rows, pixels, geometry, chunk)

    threads.each(run, threads.pieces(G if G > 1 else C, entries, 8 * _PIECE))
    return grad_x


def _grad_input_chunk(
    grad_y: ndarray, weight: ndarray, grad_x: ndarray, geometry: ConvGeometry, chunk: Chunk
) -> None:
    """grad_X += A^T W^T grad_Y, for weights (G, taps, F/G): the products first, then col2im."""
    G, rows, _ = weight.shape
    n, i, j = chunk.size
    g = operand(chunk.of(grad_y), G, CHWN, grad_x.dtype)
    cols = by_tap((G, rows, i * j * n), grad_x.dtype)
    product(weight, g, cols)
    entries = cols.reshape(-1, *geometry.kernel, i, j, n).transpose(5, 0, 1, 2, 3, 4)
    _add_columns(entries, grad_x, geometry, chunk)


def _add_columns(entries: ndarray, x: ndarray, geometry: ConvGeometry, chunk: Chunk) -> None:
    """x[n,c,h,k] += entries[n,c,p,q,i,j] for each tap: what several windows read gets their sum.

    entries (n,C,KH,KW,i,j) holds the chunk alone. An entry that belongs to the padding is left out.
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
    for p, (i, h) in enumerate(rows):
        for q, (j, k) in enumerate(columns):
            pixels = part[:, :, h, k]
            pixels += entries[:, :, p, q, i, j]


# grad_w[f,c,p,q] = sum over n,i,j of x[n,c,i*S+p*D-P,j*S+q*D-P] * grad_y[n,f,i,j]


def grad_weight(
    x: ndarray, grad_y: ndarray, geometry: ConvGeometry, dtype: np.dtype, bias: bool = False
) -> tuple[ndarray, ndarray | None]:
    """The adjoint of w -> y, and with `bias` that of b -> y: (F,C/G,KH,KW) and (F,)."""
    order = order_of(geometry)
    source, without = padded(x, geometry, order, dtype)

    def term(chunk: Chunk) -> ndarray:
        """grad_W = grad_Y X_cols^T, over the outputs of a chunk."""
        cols = _columns(source, without, chunk, order, dtype, bias)
        g = operand(chunk.of(grad_y), geometry.groups, order, dtype)
        return product_sum(g, cols)

    chunks = chunks_of(without, order, dtype)
    total = summed(term, chunks, prod(geometry.w_shape), load(geometry))
    # A copy: a view would keep all of the sums in memory as long as somebody has the gradient.
    grad_b = total[..., -1].flatten() if bias else None
    return _from_weight_matrix(total, geometry, order), grad_b


# Products


def small_products(R: int, T: int, M: int) -> tuple[int, int]:
    """How many small products over how many positions each; (0, 0): one large one."""
    step = _SMALL_PRODUCT // (R * T) & -16
    return (0, 0) if step < _STEP or step >= M else (M // step, step)


def product(a: ndarray, b: ndarray, out: ndarray) -> None:
    """out = a @ b, for a (*,R,T), b (*,T,M), out (*,R,M)."""
    M = b.shape[-1]
    pieces, step = _steps(a, b)
    done = pieces * step
    if pieces:
        np.matmul(a[..., None, :, :], _cut(b, pieces, step), out=_cut(out, pieces, step))
    if done < M:
        np.matmul(a, b[..., done:], out=out[..., done:])


def product_sum(a: ndarray, b: ndarray) -> ndarray:
    """a @ b^T, for a (*,R,M), b (*,T,M): a sum over M."""
    pieces, step = _steps(a, b)
    done = pieces * step
    if not pieces:
        return np.matmul(b, a.swapaxes(-2, -1)).swapaxes(-2, -1)
    parts = np.matmul(_cut(b, pieces, step), _cut(a, pieces, step).swapaxes(-2, -1))
    total = parts.sum(axis=-3)
    if done < b.shape[-1]:
        total += np.matmul(b[..., done:], a[..., done:].swapaxes(-2, -1))
    return total.swapaxes(-2, -1)


def _steps(a: ndarray, b: ndarray) -> tuple[int, int]:
    """`small_products`, where the positions of b lie side by side."""
    T, M = b.shape[-2:]
    return small_products(a.shape[-2], T, M) if b.strides[-1] == b.itemsize else (0, 0)


def _cut(x: ndarray, pieces: int, step: int) -> ndarray:
    """(*,R,M) as (*,pieces,R,step), without what is left over: a view, as an axis is cut in two."""
    x = x[..., : pieces * step]
    return x.reshape(*x.shape[:-1], pieces, step).swapaxes(-3, -2)


# im2col and col2im by themselves


def im2col(x: ndarray, geometry: ConvGeometry) -> ndarray:
    """cols[n, (c,p,q), (i,j)] = x[n,c,h,k], zero in the padding. Result (N, C*KH*KW, OH*OW)."""
    N, C = x.shape[:2]
    (KH, KW), (OH, OW) = geometry.kernel, geometry.out_size
    cols = np.empty((N, C, KH, KW, OH, OW), x.dtype)

    def copy(images: slice) -> None:
        for n in range(images.start, images.stop):
            image = Chunk(slice(n, n + 1), slice(0, OH), slice(0, OW))
            patch = _patch(x, geometry, image, NCHW, x.dtype)
            (SH, SW), (DH, DW) = _within(patch, geometry.stride), _within(patch, geometry.dilation)
            _, sc, sh, sw = patch.strides
            steps = (sc, sh * DH, sw * DW, sh * SH, sw * SW)
            np.copyto(cols[n], as_strided(patch, cols.shape[1:], steps, writeable=False))

    threads.each(copy, threads.pieces(N, cols.size, _PIECE))
    return cols.reshape(N, C * KH * KW, OH * OW)


def col2im(cols: ndarray, geometry: ConvGeometry) -> ndarray:
    """The adjoint of `im2col`: adds each entry to its pixel.

    cols (N, C*KH*KW, OH*OW); result (N,C,H,W).
    """
    N, C = geometry.x_shape[:2]
    OH, OW = geometry.out_size
    entries = working(cols).reshape(N, C, *geometry.kernel, OH, OW)
    x = np.zeros(geometry.x_shape, entries.dtype)

    def add(images: slice) -> None:
        _add_columns(entries[images], x, geometry, Chunk(images, slice(0, OH), slice(0, OW)))

    threads.each(add, threads.pieces(N, entries.size, _PIECE))
    return x.astype(cols.dtype, copy=False)

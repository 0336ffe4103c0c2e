"""Depthwise convolution as matrix products: a banded matrix for each channel.

Along one axis a convolution is a product with a matrix. With A_p[i,h] = 1 where output i reads
input h through tap p, that is where h = i*S + p*D - P, and 0 elsewhere,

    y[i] = sum over p of w[p] * x[i*S + p*D - P] = sum over p, h of w[p] * A_p[i,h] * x[h]

and along both axes of a channel, with pixels (h,k) and (i,j) as single indices, it is

    y[c] = T[c] x[c]        T[c] = sum over p,q of w[c,p,q] * E_pq,    E_pq = A_p (x) A_q

where (x) is Kronecker's product. The gradients are those of any product: with sums over the images

    grad_x[c] = T[c]^T grad_y[c]
    grad_T[c] = grad_y[c] x[c]^T        grad_w[c,p,q] = sum over all entries of E_pq * grad_T[c]

Most of T[c] is zeros. So it is not applied to whole images but to a band of them: R rows of outputs
read (R-1)*S + D*(KH-1) + 1 rows of inputs, and all such blocks of rows do it with one and the same
small matrix; those at the rim have a part of its columns. In C,H,W,N order the rows that a block
reads are a matrix (rows*W, N) as they lie, so nothing is copied and no padding is ever made.

That takes 2*KH*W multiply-adds for the KH*KW that count. BLAS does them in less time than NumPy's
2*KH*KW passes through the cache as long as W is no more than some fifteen times KW: half of it at
16 columns, a tenth at 4.

A zero of T times an infinity is a NaN, where a convolution would not have looked at all. So each
function returns whether its results are finite; where they are not, they are to be made otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from ..geometry import ConvGeometry
from . import scratch, threads

# Rows of the matrix of a block, at least, where the image has as many pixels.
_ROWS = 16

# Columns of T for each tap up to which BLAS is quicker than two passes a tap, and up to which it is
# quicker than the inner products of grad_w where the stride is 1.
_COLUMNS = 16
_COLUMNS_OF_SUMS = 4

# Images below which the products are too thin for BLAS.
_MIN_BATCH = 8

# Entries of the table E of a geometry, at most.
_TABLE = 1 << 19

# Entries of grad_T that are held at a time.
_PARTS = 1 << 17

# Multiply-adds in all below which the tables cost more than they save.
_SMALL = 1 << 16


class Band(NamedTuple):
    """Blocks of rows that one matrix serves, or that one part of its columns serves."""

    target: int  # the first block's first row of the target
    rows: int  # in a block
    source: int  # the first block's first row of the source
    taken: int  # rows of the source that a block reads
    skip: int  # rows at the window's beginning that lie outside of the source
    blocks: int  # how many

    def columns(self, width: int) -> slice:
        """Of the matrix, for a source that is `width` wide."""
        return slice(self.skip * width, (self.skip + self.taken) * width)


class Plan(NamedTuple):
    """How to take the rows of a source to the rows of a target."""

    bands: tuple[Band, ...]
    rows: int  # of the target, in a block
    step: int  # rows of the source from one block to the next
    table: ndarray  # E, (KH*KW, rows*width of the target, window*width of the source)


def suits(geometry: ConvGeometry, dtype: np.dtype, *, grad_weight: bool = False) -> bool:
    """Whether products are the quicker way.

    Not in float64, which stays with the plain sums: it is there to check others.
    """
    taps, S = prod(geometry.kernel), geometry.stride
    W, OW = geometry.size[1], geometry.out_size[1]
    columns = ((_block_rows(geometry) - 1) * S[0] + geometry.span[0]) * W
    most = _COLUMNS_OF_SUMS if grad_weight and S[1] == 1 else _COLUMNS * S[1]
    return (
        dtype == np.float32
        and geometry.out_channels == geometry.in_channels
        and geometry.batch >= _MIN_BATCH
        and prod(geometry.x_shape) * taps >= _SMALL
        and columns <= most * taps
        and taps * _block_rows(geometry) * OW * columns <= _TABLE
    )


def _block_rows(geometry: ConvGeometry) -> int:
    """R, rows of outputs in a block."""
    OH, OW = geometry.out_size
    return min(OH, -(-_ROWS // OW))


# Plans


@lru_cache(maxsize=64)
def _forward_plan(geometry: ConvGeometry) -> Plan:
    """From x to y: output row i reads the rows that begin at i*S - P."""
    OH, rows = geometry.out_size[0], _block_rows(geometry)
    S, P = geometry.stride[0], geometry.padding[0][0]
    window = (rows - 1) * S + geometry.span[0]
    starts = [first * S - P for first in range(0, OH, rows)]
    bands = _bands(OH, rows, starts, window, geometry.size[0])
    targets, sources = np.arange(rows), np.arange(window) - P
    return Plan(bands, rows, rows * S, _table(geometry, sources, targets))


@lru_cache(maxsize=64)
def _adjoint_plan(geometry: ConvGeometry) -> Plan:
    """From grad_y to grad_x: row h is read by the rows i = (h + P - p*D) / S.

    A block has a multiple of S rows, so that the next one finds its i the same way.
    """
    H, W = geometry.size
    S, P, reach = geometry.stride[0], geometry.padding[0][0], geometry.span[0] - 1
    steps = min(-(-H // S), -(-_ROWS // (S * W)))
    rows = steps * S
    first, last = -((reach - P) // S), (rows - 1 + P) // S
    starts = [first + block * steps for block in range(-(-H // rows))]
    window = max(0, last + 1 - first)
    bands = _bands(H, rows, starts, window, geometry.out_size[0])
    table = _table(geometry, np.arange(rows), np.arange(window) + first).transpose(0, 2, 1)
    return Plan(bands, rows, steps, np.ascontiguousarray(table))


def _bands(
    length: int, rows: int, starts: Sequence[int], window: int, source: int
) -> tuple[Band, ...]:
    """Blocks of `rows` of a target of `length`, as runs of blocks that are alike.

    Block number b reads `window` rows from starts[b] on, as far as the source has them.
    """
    bands: list[Band] = []
    for block, start in enumerate(starts):
        low = min(max(start, 0), source)
        taken = max(0, min(start + window, source) - low)
        target = block * rows
        band = Band(target, min(rows, length - target), low, taken, low - start, 1)
        if bands and bands[-1][1:2] + bands[-1][3:5] == band[1:2] + band[3:5]:
            bands[-1] = bands[-1]._replace(blocks=bands[-1].blocks + 1)
        else:
            bands.append(band)
    return tuple(bands)


def _table(geometry: ConvGeometry, inputs: ndarray, outputs: ndarray) -> ndarray:
    """E_pq = A_p (x) A_q as (KH*KW, outputs*OW, inputs*W), for those rows and for all columns."""
    (W, OW) = geometry.size[1], geometry.out_size[1]
    down = _axis_matrices(geometry, 0, inputs, outputs)
    along = _axis_matrices(geometry, 1, np.arange(W), np.arange(OW))
    table = np.einsum("pih,qjk->pqijhk", down, along)
    return table.reshape(prod(geometry.kernel), len(outputs) * OW, len(inputs) * W)


def _axis_matrices(geometry: ConvGeometry, axis: int, inputs: ndarray, outputs: ndarray) -> ndarray:
    """A_p[i,h] for each tap p along an axis: 1 where h = i*S + p*D - P."""
    S, D, P = geometry.stride[axis], geometry.dilation[axis], geometry.padding[axis][0]
    taps = np.arange(geometry.kernel[axis])[:, None, None]
    read = outputs[:, None] * S + taps * D - P
    return (read == inputs).astype(np.float32)


# Views of arrays (C,H,W,N), contiguous


def _blocks(array: ndarray, start: int, rows: int, step: int, count: int) -> ndarray:
    """(C, count, rows*W, N): blocks of rows, each `step` rows behind the one before."""
    C, H, W, N = array.shape
    row = W * N * array.itemsize
    return as_strided(
        array[:, start:],
        (C, count, rows * W, N),
        (H * row, step * row, N * array.itemsize, array.itemsize),
    )


def _sources(array: ndarray, band: Band, plan: Plan) -> ndarray:
    return _blocks(array, band.source, band.taken, plan.step, band.blocks)


def _targets(array: ndarray, band: Band, plan: Plan) -> ndarray:
    return _blocks(array, band.target, band.rows, plan.rows, band.blocks)


# Products


def forward(x: ndarray, w: ndarray, b: ndarray | None, y: ndarray, geometry: ConvGeometry) -> bool:
    """y[c] = T[c] x[c] + b[c] for x (C,H,W,N), w (C,1,KH,KW), y (C,OH,OW,N); whether all finite."""
    return _apply(x, w, b, y, _forward_plan(geometry))


def grad_input(grad_y: ndarray, w: ndarray, grad_x: ndarray, geometry: ConvGeometry) -> bool:
    """grad_x[c] = T[c]^T grad_y[c] for grad_y (C,OH,OW,N), grad_x (C,H,W,N); whether all finite."""
    return _apply(grad_y, w, None, grad_x, _adjoint_plan(geometry))


def _apply(source: ndarray, w: ndarray, b: ndarray | None, target: ndarray, plan: Plan) -> bool:
    C, _, width, _ = source.shape
    taps, rows, columns = plan.table.shape
    table = plan.table.reshape(taps, rows * columns)
    kernel = w.reshape(C, taps)
    finite = []

    def piece(c: slice) -> None:
        matrices = scratch.take("matrices", (c.stop - c.start, 1, rows, columns), source.dtype)
        np.matmul(kernel[c], table, out=matrices.reshape(-1, rows * columns))
        for band in plan.bands:
            out = _targets(target[c], band, plan)
            part = matrices[:, :, : out.shape[2], band.columns(width)]
            np.matmul(part, _sources(source[c], band, plan), out=out)
        result = target[c]
        if b is not None:
            result += b[c].reshape(-1, 1, 1, 1)
        finite.append(np.isfinite(result.sum()))

    with np.errstate(all="ignore"):
        threads.each(piece, threads.pieces(C, max(source.size, target.size)))
    return all(finite)


def grad_weight(x: ndarray, grad_y: ndarray, grad_w: ndarray, geometry: ConvGeometry) -> bool:
    """grad_w[c,p,q] = <E_pq, grad_y[c] x[c]^T>, for grad_w (C,KH*KW); whether all finite."""
    plan = _forward_plan(geometry)
    C, W, OW = len(x), x.shape[2], grad_y.shape[2]
    taps, rows, columns = plan.table.shape
    table = plan.table.reshape(taps, rows * columns)
    most = max(band.blocks * band.rows * OW * band.taken * W for band in plan.bands)
    step = max(1, _PARTS // max(1, most))

    def some(c: slice) -> None:
        total = scratch.take("matrices", (c.stop - c.start, rows, columns), x.dtype)
        total[...] = 0
        for band in plan.bands:
            g = _targets(grad_y[c], band, plan)
            inputs = _sources(x[c], band, plan).swapaxes(2, 3)
            parts = scratch.take("parts", (*g.shape[:3], inputs.shape[3]), x.dtype)
            np.matmul(g, inputs, out=parts)
            total[:, : g.shape[2], band.columns(W)] += parts.sum(axis=1)
        np.matmul(total.reshape(-1, rows * columns), table.T, out=grad_w[c])

    def piece(c: slice) -> None:
        for start in range(c.start, c.stop, step):
            some(slice(start, min(start + step, c.stop)))

    with np.errstate(all="ignore"):
        threads.each(piece, threads.pieces(C, max(x.size, grad_y.size)))
    return bool(np.isfinite(grad_w).all())

"""Winograd's convolution for 3x3 kernels at stride 1: a quarter of the products.

DOC
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from ..geometry import ConvGeometry
from . import layout, scratch, threads
from .precision import working_dtype
from .winograd_matrices import TAPS, Transforms, transforms

# Entries of the transformed tiles that a piece of work holds: what stays in the cache.
_PIECE = 1 << 18
# Entries of the transformed tiles that are kept for all pieces at a time.
_RUN = 1 << 22
# Features that a piece of work holds where it has all tiles.
_FEATURES = 64
# Fewer tiles than this are not shared out: the weights are.
_FEW_TILES = 300
_LEAST = 32
_GROUPS = 8
_LINE = 16
SMALL_PRODUCT = 10**6


@dataclass(frozen=True)
class _Part:
    """Tiles that are worked on together: rows of tiles of some images."""

    n: slice
    rows: slice

    @property
    def images(self) -> int:
        return self.n.stop - self.n.start

    @property
    def height(self) -> int:
        return self.rows.stop - self.rows.start


@dataclass(frozen=True)
class _Tiling:
    """How a target (N,.,OH,OW) is cut into tiles of m x m, each from a window of n x n of a source.

    target[i] reads source[i - P] to source[i - P + 2], along each axis.
    """

    m: int
    batch: int
    source: tuple[int, ...]
    target: tuple[int, ...]
    padding: tuple[int, ...]

    @property
    def n(self) -> int:
        return self.m + TAPS - 1

    @property
    def points(self) -> int:
        return self.n**2

    @property
    def rows(self) -> int:
        return -(-self.target[0] // self.m)

    @property
    def columns(self) -> int:
        return -(-self.target[1] // self.m)

    def count(self, part: _Part) -> int:
        return part.images * part.height * self.columns

    def within(self, whole: _Part, part: _Part) -> slice:
        """Which of the tiles of `whole` are those of `part`."""
        row = (part.n.start - whole.n.start) * whole.height + part.rows.start - whole.rows.start
        return slice(row * self.columns, row * self.columns + self.count(part))

    @property
    def whole(self) -> _Part:
        return _Part(slice(0, self.batch), slice(0, self.rows))

    def parts(self, whole: _Part, most: int) -> list[_Part]:
        """Cuts `whole` into parts of about `most` tiles."""
        image = whole.height * self.columns
        if image <= most:
            cuts = threads.pieces(whole.images, whole.images * image, most)
            return [_Part(_shifted(cut, whole.n.start), whole.rows) for cut in cuts]
        rows = threads.pieces(whole.height, image, most)
        return [
            _Part(slice(n, n + 1), _shifted(cut, whole.rows.start))
            for n in range(whole.n.start, whole.n.stop)
            for cut in rows
        ]


def _shifted(cut: slice, start: int) -> slice:
    return slice(cut.start + start, cut.stop + start)


def _forward_tiling(geometry: ConvGeometry, m: int) -> _Tiling:
    low = tuple([low for low, _ in geometry.padding])
    return _Tiling(m, geometry.batch, geometry.size, geometry.out_size, low)


def _backward_tiling(geometry: ConvGeometry, m: int) -> _Tiling:
    """grad_x[i] reads grad_y[i + P - 2] to grad_y[i + P], with the kernel turned around."""
    low = tuple([TAPS - 1 - low for low, _ in geometry.padding])
    return _Tiling(m, geometry.batch, geometry.out_size, geometry.size, low)


# ---------------------------------------------------------------- tiles


def _windows(source: ndarray, tiling: _Tiling, part: _Part, out: ndarray) -> None:
    """out[t] = B^T d B for the window d of each tile t of the part, over all channels.

    source (N,C,H,W); out (tiles, points, C).
    """
    m, n, columns = tiling.m, tiling.n, tiling.columns
    C = source.shape[1]
    patch = _patch(source, tiling, part, out.dtype)
    sn, sh, sw, sc = patch.strides
    shape = (part.images, part.height, columns, n, n, C)
    windows = as_strided(patch, shape, (sn, m * sh, m * sw, sh, sw, sc), writeable=False)
    d = scratch.take("winograd_tiles", shape, out.dtype)
    np.copyto(d, windows)
    tiles = d.reshape(tiling.count(part), n * n, C)
    np.matmul(transforms(m, out.dtype).data, tiles, out=out.transpose(1, 0, 2))


def _patch(source: ndarray, tiling: _Tiling, part: _Part, dtype: np.dtype) -> ndarray:
    """What the part's windows read, (images, rows, columns, C), zero where there is padding."""
    m, C = tiling.m, source.shape[1]
    shape = (part.images, m * part.height + 2, m * tiling.columns + 2, C)
    patch = scratch.take("winograd_patch", shape, dtype)
    start = (m * part.rows.start - tiling.padding[0], -tiling.padding[1])
    inside, within = [], []
    for first, length, size in zip(start, shape[1:3], tiling.source, strict=True):
        low, high = max(0, first), max(0, min(size, first + length))
        high = max(low, high)
        within.append(slice(low, high))
        inside.append(slice(low - first, high - first))
    rows, columns = inside
    patch[:, : rows.start] = 0
    patch[:, rows.stop :] = 0
    patch[:, rows, : columns.start] = 0
    patch[:, rows, columns.stop :] = 0
    np.copyto(patch[:, rows, columns], source[part.n, :, within[0], within[1]].transpose(0, 2, 3, 1))
    return patch


def _blocks(tiling: _Tiling, part: _Part) -> Iterator[tuple[tuple, tuple]]:
    """The tiles' entries that lie within the target, and where.

    Tiles that lie within it whole; those that reach over its right or lower edge; the corner.
    """
    m = tiling.m
    axes = []
    for size, tiles in zip(tiling.target, (part.rows, slice(0, tiling.columns)), strict=True):
        full = min(size // m, tiles.stop)
        cuts = [(tiles.start, full, m), (full, tiles.stop, size % m)]
        axes.append([(a, b, rest) for a, b, rest in cuts if b > a])
    for i, i_stop, height in axes[0]:
        for j, j_stop, width in axes[1]:
            tiles = (
                slice(None),
                slice(i - part.rows.start, i_stop - part.rows.start),
                slice(j, j_stop),
                slice(0, height),
                slice(0, width),
            )
            pixels = (
                slice(m * i, m * i + (i_stop - i) * height),
                slice(m * j, m * j + (j_stop - j) * width),
            )
            yield tiles, pixels


def _pairs(tiles: ndarray, target: ndarray, tiling: _Tiling, part: _Part):
    """Views of equal shape of tiles (tiles, m*m, C) and of the target, block by block."""
    m, C = tiling.m, tiles.shape[2]
    grid = tiles.reshape(part.images, part.height, tiling.columns, m, m, C)
    for entries, (rows, columns) in _blocks(tiling, part):
        block = grid[entries].transpose(0, 1, 3, 2, 4, 5)
        pixels = target[part.n, :, rows, columns].transpose(0, 2, 3, 1)
        yield block, pixels.reshape(block.shape)


def _to_target(
    products: ndarray, target: ndarray, tiling: _Tiling, part: _Part, b: ndarray | None, relu: bool
) -> None:
    """target = A^T M A + b for the products M (tiles, points, F) of the part."""
    m = tiling.m
    matrices = transforms(m, products.dtype)
    if b is not None:
        products[matrices.constant] += b
    shape = (products.shape[1], m * m, products.shape[2])
    tiles = scratch.take("winograd_tiles", shape, products.dtype)
    np.matmul(matrices.output, products.transpose(1, 0, 2), out=tiles)
    if relu:
        np.maximum(tiles, 0, out=tiles)
    for block, pixels in _pairs(tiles, target, tiling, part):
        np.copyto(pixels, block)


def _from_target(target: ndarray, tiling: _Tiling, part: _Part, out: ndarray) -> None:
    """out[t] = A g A^T for each tile g of the target, zero beyond its edges."""
    m = tiling.m
    tiles = scratch.take("winograd_tiles", (out.shape[1], m * m, out.shape[2]), out.dtype)
    if any(size % m for size in tiling.target):
        tiles[...] = 0
    for block, pixels in _pairs(tiles, target, tiling, part):
        np.copyto(block, pixels)
    np.matmul(transforms(m, out.dtype).output.T, tiles, out=out.transpose(1, 0, 2))


# ---------------------------------------------------------------- weights


@dataclass(frozen=True)
class _Weights:
    """A kernel w (F,C,3,3), to be transformed for the forward convolution or for the turned one.

    `turned` has the inputs F, the outputs C, and the taps in reverse.
    """

    w: ndarray
    turned: bool

    @property
    def inputs(self) -> int:
        return self.w.shape[0 if self.turned else 1]

    @property
    def outputs(self) -> int:
        return self.w.shape[1 if self.turned else 0]

    def transform(self, m: int, outputs: slice, out: ndarray) -> None:
        """out[:,i,o] = G w G^T for some of the outputs and all inputs."""
        F, C = self.w.shape[:2]
        width = out.shape[2]
        if self.turned:
            taps = scratch.take("winograd_taps", (F, TAPS**2, width), out.dtype)
            some = self.w.reshape(F, C, TAPS**2)[:, outputs]
            for tap in range(TAPS**2):
                np.copyto(taps[:, tap], some[:, :, -1 - tap])
        else:
            taps = scratch.take("winograd_taps", (C, TAPS**2, width), out.dtype)
            columns, rows = taps.reshape(-1, width), self.w.reshape(F, -1)[outputs]
            for f in range(0, width, _LINE):
                np.copyto(columns[:, f : f + _LINE], rows[f : f + _LINE].T)
        np.matmul(transforms(m, out.dtype).weight, taps, out=out.transpose(1, 0, 2))


def _by_point(role: str, points: int, rows: int, columns: int, dtype: np.dtype) -> ndarray:
    """Scratch (points, rows, columns). A row more for each point keeps points off one cache set."""
    return scratch.take(role, (points, rows + 1, columns), dtype)[:, :rows]


def _blocks_of(features: int) -> list[slice]:
    return [slice(f, min(f + _FEATURES, features)) for f in range(0, features, _FEATURES)]


def _multiply(a: ndarray, b: ndarray, out: ndarray) -> None:
    """out[p] = a[p] @ b[p] with a few rows at a time: see `SMALL_PRODUCT`."""
    P, R, K = a.shape
    S = b.shape[2]
    rows = SMALL_PRODUCT // (K * S) & -_LINE
    if not 0 < rows < R:
        np.matmul(a, b, out=out)
        return
    cut = R // rows * rows
    np.matmul(_cut(a, rows), b[:, None], out=_cut(out, rows))
    if cut < R:
        np.matmul(a[:, cut:], b, out=out[:, cut:])


def _cut(a: ndarray, rows: int) -> ndarray:
    """a (P,R,K) as a view (P, R // rows, rows, K)."""
    P, R, K = a.shape
    p, r, k = a.strides
    return as_strided(a, (P, R // rows, rows, K), (p, rows * r, r, k))


# ---------------------------------------------------------------- convolutions


def _by_tiles(tiling: _Tiling) -> bool:
    return tiling.batch * tiling.rows * tiling.columns > _FEW_TILES


def _tiles_a_piece(P, C, F):
    return max(_LEAST, _PIECE // (P * max(C, F)))


def _all_weights(weights: _Weights, m: int, dtype: np.dtype) -> list[ndarray]:
    P = (m + TAPS - 1) ** 2
    blocks = _blocks_of(weights.outputs)
    shape = (len(blocks), P, weights.inputs + 1, min(_FEATURES, weights.outputs))
    U = scratch.take("winograd_all_weights", shape, dtype)
    results = [
        U[k, :, :-1, : block.stop - block.start] for k, block in enumerate(blocks)
    ]

    def fill(number: int) -> None:
        weights.transform(m, blocks[number], results[number])

    threads.each(fill, range(len(blocks)))
    return results


def _convolve(source, weights: _Weights, target, tiling: _Tiling, b=None, relu=False) -> None:
    if _by_tiles(tiling):
        _convolve_by_tiles(source, weights, target, tiling, b, relu)
    else:
        _convolve_by_features(source, weights, target, tiling, b, relu)


def _convolve_by_tiles(source, weights, target, tiling: _Tiling, b, relu) -> None:
    dtype, P = target.dtype, tiling.points
    C, F = weights.inputs, weights.outputs
    U = _all_weights(weights, tiling.m, dtype)

    def work(part: _Part) -> None:
        V = _by_point("winograd_data", P, tiling.count(part), C, dtype)
        _windows(source, tiling, part, V)
        _project_part(V, U, target, tiling, part, b, relu)

    threads.each(work, tiling.parts(tiling.whole, _tiles_a_piece(P, C, min(F, _FEATURES))))


def _project_part(V, U, target, tiling, part, b, relu):
    for block, weights in zip(_blocks_of(target.shape[1]), U, strict=True):
        M = _by_point("winograd_products", len(V), V.shape[1], weights.shape[2], V.dtype)
        _multiply(V, weights, M)
        _to_target(M, target[:, block], tiling, part, None if b is None else b[block], relu)


def _convolve_by_features(source, weights, target, tiling: _Tiling, b, relu) -> None:
    P, C = tiling.points, source.shape[1]
    whole = tiling.whole
    V = _by_point("winograd_all", P, tiling.count(whole), C, target.dtype)

    def fill(part: _Part) -> None:
        _windows(source, tiling, part, V[:, tiling.within(whole, part)])

    threads.each(fill, tiling.parts(whole, _tiles_a_piece(P, C, 1)))
    _project(V, weights, target, tiling, b, relu)


def _project(V, weights, target, tiling: _Tiling, b, relu) -> None:
    dtype, P = target.dtype, tiling.points
    whole = tiling.whole

    def work(block: slice) -> None:
        width = block.stop - block.start
        U = _by_point("winograd_weights", P, weights.inputs, width, dtype)
        M = _by_point("winograd_products", P, V.shape[1], width, dtype)
        weights.transform(tiling.m, block, U)
        _multiply(V, U, M)
        _to_target(M, target[:, block], tiling, whole, None if b is None else b[block], relu)

    threads.each(work, _blocks_of(weights.outputs))


def forward(x, w, b, geometry: ConvGeometry, m: int, *, relu: bool = False) -> ndarray:
    dtype = working_dtype(x.dtype, w.dtype)
    y = layout.empty(geometry.y_shape, layout.NHWC, dtype)
    if geometry.batch:
        weights = _Weights(np.ascontiguousarray(w, dtype), turned=False)
        bias = None if b is None else b.astype(dtype, copy=False)
        _convolve(x, weights, y, _forward_tiling(geometry, m), bias, relu)
    return y.astype(np.result_type(x, w), copy=False)


def grad_input(grad_y, w, geometry: ConvGeometry, m: int) -> ndarray:
    dtype = working_dtype(grad_y.dtype, w.dtype)
    grad_x = layout.empty(geometry.x_shape, layout.NHWC, dtype)
    if geometry.batch:
        weights = _Weights(np.ascontiguousarray(w, dtype), turned=True)
        _convolve(grad_y, weights, grad_x, _backward_tiling(geometry, m))
    return grad_x.astype(np.result_type(grad_y, w), copy=False)


def grad_weight(x, grad_y, geometry: ConvGeometry, m: int) -> ndarray:
    return backward(x, None, grad_y, geometry, m, False, True)[1]


def backward(x, w, grad_y, geometry, m, need_x, need_w):
    if not need_w:
        return (grad_input(grad_y, w, geometry, m) if need_x else None), None
    dtype = working_dtype(x.dtype, grad_y.dtype)
    grad_w = np.zeros(geometry.w_shape, dtype)
    grad_x = layout.empty(geometry.x_shape, layout.NHWC, dtype) if need_x else None
    if geometry.batch:
        weights = _Weights(np.ascontiguousarray(w, dtype), turned=True) if need_x else None
        tiling = _backward_tiling(geometry, m)
        way = _backward_by_tiles if _by_tiles(tiling) else _backward_by_features
        way(x, weights, grad_y, grad_x, grad_w, tiling)
    return grad_x, grad_w


def _backward_by_tiles(x, weights, grad_y, grad_x, grad_w, tiling):
    dtype, P = grad_w.dtype, tiling.points
    F, C = grad_w.shape[:2]
    U = None if weights is None else _all_weights(weights, tiling.m, dtype)
    parts = tiling.parts(tiling.whole, _tiles_a_piece(P, C, F))
    groups = [parts[cut] for cut in threads.pieces(len(parts), 1 << 30, (1 << 30) // _GROUPS)]
    sums = scratch.take("winograd_sums", (len(groups), P, F + 1, C), dtype)[:, :, :F]

    def work(number: int) -> None:
        total = sums[number]
        for part in groups[number]:
            count = tiling.count(part)
            E = _by_point("winograd_data", P, count, F, dtype)
            X = _by_point("winograd_x", P, count, C, dtype)
            _windows(grad_y, tiling, part, E)
            _from_target(x, tiling, part, X)
            if part is groups[number][0]:
                np.matmul(E.transpose(0, 2, 1), X, out=total)
            else:
                dU = _by_point("winograd_grad", P, F, C, dtype)
                np.matmul(E.transpose(0, 2, 1), X, out=dU)
                total += dU
            if U is not None:
                _project_part(E, U, grad_x, tiling, part, None, False)

    threads.each(work, range(len(groups)))

    def reduce(features: slice) -> None:
        dU = sums[0, :, features]
        for more in sums[1:, :, features]:
            dU += more
        _grad_from(dU, tiling.m, grad_w[features])

    threads.each(reduce, threads.pieces(F, sums.size))


def _grad_from(dU, m, grad_w) -> None:
    """grad_w = G^T dU G (turned around); dU (points, F, C), grad_w (F,C,3,3)."""
    _, F, C = dU.shape
    taps = scratch.take("winograd_taps", (F, TAPS**2, C), dU.dtype)
    np.matmul(transforms(m, dU.dtype).weight.T, dU.transpose(1, 0, 2), out=taps)
    results = grad_w.reshape(F, C, TAPS**2)
    for tap in range(TAPS**2):
        np.copyto(results[:, :, -1 - tap], taps[:, tap])


def _backward_by_features(x, weights, grad_y, grad_x, grad_w, tiling):
    dtype, P = grad_w.dtype, tiling.points
    F, C = grad_w.shape[:2]
    whole = tiling.whole
    E = _by_point("winograd_all", P, tiling.count(whole), F, dtype)
    X = _by_point("winograd_x", P, tiling.count(whole), C, dtype)

    def fill(part: _Part) -> None:
        some = tiling.within(whole, part)
        _windows(grad_y, tiling, part, E[:, some])
        _from_target(x, tiling, part, X[:, some])

    threads.each(fill, tiling.parts(whole, _tiles_a_piece(P, C, F)))
    if weights is not None:
        _project(E, weights, grad_x, tiling, None, False)

    def work(features: slice) -> None:
        dU = _by_point("winograd_grad", P, features.stop - features.start, C, dtype)
        np.matmul(E[:, :, features].transpose(0, 2, 1), X, out=dU)
        _grad_from(dU, tiling.m, grad_w[features])

    threads.each(work, threads.pieces(F, F, _FEATURES))


def supports(geometry: ConvGeometry) -> bool:
    return (
        geometry.kernel == (TAPS, TAPS)
        and geometry.stride == (1, 1)
        and geometry.dilation == (1, 1)
        and geometry.groups == 1
        and all(min(pair) >= 0 for pair in geometry.padding)
    )


def worthwhile(geometry: ConvGeometry) -> int:
    return 4

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
    np.matmul(transforms(m, out.dtype).data, d.reshape(out.shape), out=out)


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
        products[:, matrices.constant] += b
    shape = (products.shape[0], m * m, products.shape[2])
    tiles = scratch.take("winograd_tiles", shape, products.dtype)
    np.matmul(matrices.output, products, out=tiles)
    if relu:
        np.maximum(tiles, 0, out=tiles)
    for block, pixels in _pairs(tiles, target, tiling, part):
        np.copyto(pixels, block)


def _from_target(target: ndarray, tiling: _Tiling, part: _Part, out: ndarray) -> None:
    """out[t] = A g A^T for each tile g of the target, zero beyond its edges."""
    m = tiling.m
    tiles = scratch.take("winograd_tiles", (out.shape[0], m * m, out.shape[2]), out.dtype)
    if any(size % m for size in tiling.target):
        tiles[...] = 0
    for block, pixels in _pairs(tiles, target, tiling, part):
        np.copyto(block, pixels)
    np.matmul(transforms(m, out.dtype).output.T, tiles, out=out)


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

    def transform(self, G: ndarray, inputs: slice, outputs: slice, out: ndarray) -> None:
        """out[i,:,o] = G w G^T, for some of the inputs and outputs. out (inputs, points, outputs)."""
        F, C = self.w.shape[:2]
        if self.turned:
            taps = self.w[inputs, outputs].reshape(out.shape[0], out.shape[2], TAPS**2)
            np.matmul(G[:, ::-1], taps.transpose(0, 2, 1), out=out)
            return
        rows = self.w.reshape(F, C * TAPS**2)[:, TAPS**2 * inputs.start : TAPS**2 * inputs.stop]
        taps = scratch.take("winograd_taps", (rows.shape[1], out.shape[2]), out.dtype)
        for f in range(0, out.shape[2], 16):  # a cache line at a time
            some = rows[outputs][f : f + 16]
            np.copyto(taps[:, f : f + 16], some.T)
        np.matmul(G, taps.reshape(out.shape[0], TAPS**2, out.shape[2]), out=out)


def _multiply(data: ndarray, weights: ndarray, out: ndarray) -> None:
    """out[:,p] = data[:,p] @ weights[:,p] at each point: (T,P,C), (C,P,F) -> (T,P,F)."""
    np.matmul(data.transpose(1, 0, 2), weights.transpose(1, 0, 2), out=out.transpose(1, 0, 2))


# ---------------------------------------------------------------- convolutions


def _by_tiles(tiling: _Tiling) -> bool:
    return tiling.batch * tiling.rows * tiling.columns > _FEW_TILES


def _whole_weights(weights: _Weights, m: int, dtype: np.dtype) -> ndarray:
    G = transforms(m, dtype).weight
    shape = (weights.inputs, len(G), weights.outputs)
    U = scratch.take("winograd_weights", shape, dtype)

    def fill(inputs: slice) -> None:
        weights.transform(G, inputs, slice(0, weights.outputs), U[inputs])

    threads.each(fill, threads.pieces(weights.inputs, U.size))
    return U


def _convolve(source, weights: _Weights, target, tiling: _Tiling, b=None, relu=False) -> None:
    if _by_tiles(tiling):
        _convolve_by_tiles(source, weights, target, tiling, b, relu)
    else:
        _convolve_by_features(source, weights, target, tiling, b, relu)


def _convolve_by_tiles(source, weights, target, tiling: _Tiling, b, relu) -> None:
    dtype, P = target.dtype, tiling.points
    C, F = weights.inputs, weights.outputs
    U = _whole_weights(weights, tiling.m, dtype)

    def work(part: _Part) -> None:
        count = tiling.count(part)
        V = scratch.take("winograd_data", (count, P, C), dtype)
        M = scratch.take("winograd_products", (count, P, F), dtype)
        _windows(source, tiling, part, V)
        _multiply(V, U, M)
        _to_target(M, target, tiling, part, b, relu)

    threads.each(work, tiling.parts(tiling.whole, max(1, _PIECE // (P * max(C, F)))))


def _convolve_by_features(source, weights, target, tiling: _Tiling, b, relu) -> None:
    V = _all_windows(source, tiling, target.dtype)
    _project(V, weights, target, tiling, b, relu)


def _all_windows(source, tiling: _Tiling, dtype) -> ndarray:
    P, C = tiling.points, source.shape[1]
    whole = tiling.whole
    per_image = tiling.rows * tiling.columns
    V = scratch.take("winograd_all", (tiling.count(whole), P, C), dtype)

    def fill(part: _Part) -> None:
        _windows(source, tiling, part, V[part.n.start * per_image : part.n.stop * per_image])

    cuts = threads.pieces(tiling.batch, V.size)
    threads.each(fill, [_Part(cut, whole.rows) for cut in cuts])
    return V


def _project(V, weights, target, tiling: _Tiling, b, relu) -> None:
    dtype, P = target.dtype, tiling.points
    C = weights.inputs
    G = transforms(tiling.m, dtype).weight
    whole = tiling.whole

    def work(outputs: slice) -> None:
        width = outputs.stop - outputs.start
        U = scratch.take("winograd_weights", (C, P, width), dtype)
        M = scratch.take("winograd_products", (V.shape[0], P, width), dtype)
        weights.transform(G, slice(0, C), outputs, U)
        _multiply(V, U, M)
        _to_target(M, target[:, outputs], tiling, whole, None if b is None else b[outputs], relu)

    threads.each(work, threads.pieces(weights.outputs, weights.outputs, _FEATURES))


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
    tiling = _backward_tiling(geometry, m)
    grad_w = np.zeros(geometry.w_shape, dtype)
    grad_x = None
    weights = U = None
    by_tiles = _by_tiles(tiling)
    P, C, F = tiling.points, geometry.in_channels, geometry.out_channels
    if need_x:
        grad_x = layout.empty(geometry.x_shape, layout.NHWC, dtype)
        weights = _Weights(np.ascontiguousarray(w, dtype), turned=True)
        if by_tiles:
            U = _whole_weights(weights, m, dtype)
    G = transforms(m, dtype).weight
    whole = tiling.whole
    runs = tiling.parts(whole, max(1, _RUN // (P * max(C, F)))) if by_tiles else [whole]
    for k, run in enumerate(runs if geometry.batch else []):
        count = tiling.count(run)
        E = scratch.take("winograd_all", (count, P, F), dtype)
        X = scratch.take("winograd_x", (count, P, C), dtype)

        def fill(part: _Part) -> None:
            start = (part.n.start - run.n.start) * run.height + part.rows.start - run.rows.start
            some = slice(start * tiling.columns, start * tiling.columns + tiling.count(part))
            _windows(grad_y, tiling, part, E[some])
            _from_target(x, tiling, part, X[some])
            if U is not None:
                M = scratch.take("winograd_products", (tiling.count(part), P, C), dtype)
                _multiply(E[some], U, M)
                _to_target(M, grad_x, tiling, part, None, False)

        threads.each(fill, tiling.parts(run, max(1, _PIECE // (P * max(C, F)))))
        if need_x and not by_tiles:
            _project(E, weights, grad_x, tiling, None, False)

        def gather(features: slice) -> None:
            width = features.stop - features.start
            dU = scratch.take("winograd_grad", (width, P, C), dtype)
            np.matmul(E[:, :, features].transpose(1, 2, 0), X.transpose(1, 0, 2), out=dU.transpose(1, 0, 2))
            part = np.matmul(dU.transpose(0, 2, 1), G[:, ::-1])
            grad_w[features] += part.reshape(width, C, TAPS, TAPS)

        threads.each(gather, threads.pieces(F, F, min(_FEATURES, F // 2)))
    return grad_x, grad_w


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

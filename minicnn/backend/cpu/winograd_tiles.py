"""Tiles for Winograd's convolution: cut out of images, transformed, and put together again.

The target of a convolution (N,.,OH,OW) is cut into tiles of m x m, and each is computed from a
window of n x n of the source, n = m+r-1 for r x r taps, which overlaps its neighbours by r-1 rows
and columns. Transformed tiles lie as (points, tiles, channels), one matrix for each of the n*n
points: what the products over the channels want. The transforms themselves are one small matrix
product for each tile, with all of the tile's channels as its columns; NumPy runs them as one call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from ..geometry import ConvGeometry
from . import scratch, threads
from .winograd_matrices import Transforms, transforms


@dataclass(frozen=True)
class Part:
    """Tiles that are worked on together: some images, and of each the same rows of tiles."""

    images: slice
    rows: slice

    @property
    def shape(self) -> tuple[int, int]:
        return self.images.stop - self.images.start, self.rows.stop - self.rows.start


@dataclass(frozen=True)
class Tiling:
    """target[i] reads source[i-P] to source[i-P+taps-1] along each axis, where P is `padding`.

    What lies outside of the source is zero. P may be negative.
    """

    m: int
    taps: int
    batch: int
    source: tuple[int, ...]
    target: tuple[int, ...]
    padding: tuple[int, ...]

    @classmethod
    def forward(cls, geometry: ConvGeometry, m: int) -> Tiling:
        """From x to y: y[i] = sum over p of w[p] * x[i+p-P]."""
        low = tuple([low for low, _ in geometry.padding])
        return cls(m, geometry.kernel[0], geometry.batch, geometry.size, geometry.out_size, low)

    @classmethod
    def backward(cls, geometry: ConvGeometry, m: int) -> Tiling:
        """From grad_y to grad_x: grad_x[h] = sum over q of w[r-1-q] * grad_y[h+q-(r-1-P)]."""
        taps = geometry.kernel[0]
        low = tuple([taps - 1 - low for low, _ in geometry.padding])
        return cls(m, taps, geometry.batch, geometry.out_size, geometry.size, low)

    @property
    def window(self) -> int:
        """n: what a tile reads along an axis."""
        return self.m + self.taps - 1

    @property
    def points(self) -> int:
        return self.window**2

    def transforms(self, dtype: np.dtype) -> Transforms:
        return transforms(self.m, self.taps, dtype)

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.target[1] // self.m)

    @property
    def whole(self) -> Part:
        return Part(slice(0, self.batch), slice(0, -(-self.target[0] // self.m)))

    def count(self, part: Part) -> int:
        """Tiles of the part."""
        images, rows = part.shape
        return images * rows * self.columns

    def parts(self, whole: Part, most: int) -> list[Part]:
        """Cuts `whole` into parts of about `most` tiles: of some images each, or of one."""
        images, rows = whole.shape
        if rows * self.columns <= most:
            cuts = threads.pieces(images, self.count(whole), most)
            return [Part(_moved(cut, whole.images), whole.rows) for cut in cuts]
        cuts = threads.pieces(rows, rows * self.columns, most)
        return [
            Part(slice(n, n + 1), _moved(cut, whole.rows))
            for n in range(whole.images.start, whole.images.stop)
            for cut in cuts
        ]

    def within(self, whole: Part, part: Part) -> slice:
        """Which of the tiles of `whole` are those of `part`."""
        row = (part.images.start - whole.images.start) * whole.shape[1]
        row += part.rows.start - whole.rows.start
        return slice(row * self.columns, row * self.columns + self.count(part))


def _moved(cut: slice, within: slice) -> slice:
    return slice(cut.start + within.start, cut.stop + within.start)


# ---------------------------------------------------------------- windows of the source


def windows(source: ndarray, tiling: Tiling, part: Part, out: ndarray) -> None:
    """out[:,t] = B^T d B for the window d that tile t of the part reads.

    source (N,C,H,W); out (points, tiles, C).
    """
    m, n, C = tiling.m, tiling.window, source.shape[1]
    patch = _patch(source, tiling, part, out.dtype)
    sn, sh, sw, sc = patch.strides
    shape = (*part.shape, tiling.columns, n, n, C)
    views = as_strided(patch, shape, (sn, m * sh, m * sw, sh, sw, sc), writeable=False)
    tiles = scratch.take("winograd_tiles", shape, out.dtype)
    np.copyto(tiles, views)
    tiles = tiles.reshape(out.shape[1], n * n, C)
    np.matmul(tiling.transforms(out.dtype).data, tiles, out=out.transpose(1, 0, 2))


def _patch(source: ndarray, tiling: Tiling, part: Part, dtype: np.dtype) -> ndarray:
    """What the part's windows read, (images, rows, columns, C), zero outside of the source."""
    m, (images, height) = tiling.m, part.shape
    overlap = tiling.taps - 1
    size = (m * height + overlap, m * tiling.columns + overlap)
    patch = scratch.take("winograd_patch", (images, *size, source.shape[1]), dtype)
    firsts = (m * part.rows.start - tiling.padding[0], -tiling.padding[1])
    (h, rows), (k, columns) = map(_overlap, firsts, size, tiling.source)
    patch[:, : rows.start] = 0
    patch[:, rows.stop :] = 0
    patch[:, rows, : columns.start] = 0
    patch[:, rows, columns.stop :] = 0
    np.copyto(patch[:, rows, columns], source[part.images, :, h, k].transpose(0, 2, 3, 1))
    return patch


def _overlap(first: int, length: int, size: int) -> tuple[slice, slice]:
    """Which of `length` entries from `first` on an axis of `size` has: there, and counted here."""
    low = min(max(first, 0), size)
    high = max(low, min(first + length, size))
    start = min(max(low - first, 0), length)
    return slice(low, high), slice(start, start + high - low)


# ---------------------------------------------------------------- tiles of the target


def to_target(
    products: ndarray,
    target: ndarray,
    tiling: Tiling,
    part: Part,
    bias: ndarray | None = None,
    relu: bool = False,
) -> None:
    """target = A^T M A + b for the tiles of the part, and what is below zero is cut off if asked.

    products M (points, tiles, F), which are changed; target (N,F,OH,OW); bias b (F,).
    """
    m, (_, count, F) = tiling.m, products.shape
    matrices = tiling.transforms(products.dtype)
    if bias is not None:
        products[matrices.constant] += bias
    tiles = scratch.take("winograd_tiles", (count, m * m, F), products.dtype)
    np.matmul(matrices.output, products.transpose(1, 0, 2), out=tiles)
    if relu:
        np.maximum(tiles, 0, out=tiles)
    for entries, pixels in _pairs(tiles, target, tiling, part):
        np.copyto(pixels, entries)


def from_target(target: ndarray, tiling: Tiling, part: Part, out: ndarray) -> None:
    """out[:,t] = A g A^T for tile t of the part, where g is zero beyond the target's edges.

    target (N,C,OH,OW); out (points, tiles, C).
    """
    m, (_, count, C) = tiling.m, out.shape
    tiles = scratch.take("winograd_tiles", (count, m * m, C), out.dtype)
    if any(size % m for size in tiling.target):
        tiles[...] = 0
    for entries, pixels in _pairs(tiles, target, tiling, part):
        np.copyto(entries, pixels)
    np.matmul(tiling.transforms(out.dtype).output.T, tiles, out=out.transpose(1, 0, 2))


def _pairs(
    tiles: ndarray, target: ndarray, tiling: Tiling, part: Part
) -> Iterator[tuple[ndarray, ndarray]]:
    """Views of one shape on tiles (tiles, m*m, C) and on the target: first the tiles within it.

    Then those that reach over its right edge, over its lower edge, and over both.
    """
    m, F = tiling.m, tiles.shape[2]
    grid = tiles.reshape(*part.shape, tiling.columns, m, m, F)
    every = slice(0, tiling.columns)
    for i, height in _full_and_rest(part.rows, m, tiling.target[0]):
        for j, width in _full_and_rest(every, m, tiling.target[1]):
            rows = slice(i.start - part.rows.start, i.stop - part.rows.start)
            entries = grid[:, rows, j, :height, :width].transpose(0, 1, 3, 2, 4, 5)
            h = slice(m * i.start, m * i.start + (i.stop - i.start) * height)
            k = slice(m * j.start, m * j.start + (j.stop - j.start) * width)
            pixels = target[part.images, :, h, k].transpose(0, 2, 3, 1)
            yield entries, pixels.reshape(entries.shape)  # splits axes: a view


def _full_and_rest(tiles: slice, m: int, size: int) -> Iterator[tuple[slice, int]]:
    """The tiles that lie within an axis of `size`, then a last one; how far into it they reach."""
    full = min(size // m, tiles.stop)
    if full > tiles.start:
        yield slice(tiles.start, full), m
    if full < tiles.stop:
        yield slice(full, tiles.stop), size % m

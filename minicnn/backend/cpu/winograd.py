"""Winograd's convolution: a 3x3 or 5x5 kernel at stride 1 with a quarter of the products or less.

`winograd_matrices` derives, for one channel, r x r taps and a tile Y of m x m outputs,

    Y = A^T [ (G w G^T) * (B^T d B) ] A

where d is the window of n x n inputs that the tile reads, n = m+r-1, and * goes entry by entry. The
sum over channels can be taken before A is applied. So with U = G w G^T, V = B^T d B, at each of
the n*n points p and for each tile t,

    forward:  M[p,t,f] = sum over c of V[p,t,c] * U[p,c,f]       Y = A^T M A + b

which is a matrix product for each point. It takes n^2 / m^2 products for an output, a channel and a
feature, where the taps take r^2. For r = 3, instead of 9, that is 4 with m = 2 and 2.25 with m = 4;
for r = 5, instead of 25, 9 and 4.

**Backward.** With stride 1, grad_x is a convolution of grad_y by the kernel turned around, w':
grad_x[h] = sum over q of w'[q] * grad_y[h+q-(r-1-P)], w'[q] = w[r-1-q] along each axis. So with the
windows e of grad_y, E = B^T e B and U' = G w' G^T,

    grad_x:   M[p,t,c] = sum over f of E[p,t,f] * U'[p,f,c]      grad_x tile = A^T M A

Exactly the same windows give the gradient of the weights. The scalar <x, conv(grad_y, w')> is
<grad_w', w'>, since it is also <conv(x, w), grad_y>. It is linear in w', so with the tiles x_t of
x, X = A x_t A^T, and each factor above transposed,

    grad_w:   dU'[p,f,c] = sum over t of E[p,t,f] * X[p,t,c]     grad_w' = G^T dU' G

grad_y is transformed once for both. (To take the adjoint of the forward algorithm instead would
cut windows out of x, and add up overlapping tiles of grad_x: more copies and more arithmetic.)

**Which work is cut out.** Few weights, many tiles: the weights are transformed once, then each
piece is some tiles, and everything from the window to the output happens while they are in the
cache. Many weights: the tiles are transformed first, then each piece is some features, whose
weights are transformed, used and forgotten while in the cache.

**Rounding.** The transforms add and subtract numbers larger than their result. In float32, against
float64, on normally distributed numbers with 64 to 512 channels, the rms of the error relative to
that of the result is

                   forward, grad_x      grad_w
    m = 2, r = 3   3e-7 to 8e-7         2e-7 to 4e-7
    m = 4, r = 3   1e-6 to 4e-6         9e-7 to 2e-6
    m = 2, r = 5   1e-6 to 3e-6         1e-6 to 3e-6
    m = 4, r = 5   3e-6 to 9e-6         3e-6 to 6e-6
    im2col         3e-7 to 4e-7         1e-7 to 4e-7

The tests hold it to `ERROR`. In float64 it is that of any other way, some 1e-15.

Of an infinity, or of numbers near the largest, all that the tile gives becomes NaN, in silence: the
transforms subtract infinities where the convolution has none to subtract.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from ..geometry import ConvGeometry
from . import layout, scratch, threads
from .precision import working_dtype
from .winograd_matrices import transforms
from .winograd_tiles import Part, Tiling, from_target, to_target, windows

# The largest error in float32 for each n, as above.
ERROR = {4: 2e-6, 6: 1e-5, 8: 2e-5}

# Products of matrices with fewer multiply-adds than this run on OpenBLAS's path for small ones,
# which copies nothing: 240 GFLOP/s where others reach 180.
SMALL_PRODUCT = 10**6

# With fewer channels the transforms take longer than the products that they save.
_CHANNELS = 16
# To transform a weight takes as long as multiplying it by so many tiles; to copy it into im2col's
# order, by so many positions.
_WEIGHT = 25
_IM2COL_WEIGHT = 50

# Entries of transformed tiles that a piece of work holds: what fits into the cache of a core.
_PIECE = 1 << 18
# Tiles that a piece has at least, where it multiplies them by weights.
_LEAST = 64
# Entries of transformed tiles, or of sums over them, that all pieces hold together.
_RUN = 1 << 22
# Features that a piece works on.
_FEATURES = 64
# Up to so many weights C*F, work is cut by tiles, above by features.
_FEW_WEIGHTS = 128 * 128
# Sums over tiles that are taken side by side and added up at the end.
_SUMS = 8
# Numbers in a cache line, and in a register.
_LINE = 16


def supports(geometry: ConvGeometry) -> bool:
    """Whether this is a convolution that Winograd's algorithm computes: 3x3 or 5x5, stride 1."""
    return (
        geometry.kernel in ((3, 3), (5, 5))
        and geometry.stride == (1, 1)
        and geometry.dilation == (1, 1)
        and geometry.groups == 1
        and all(min(pair) >= 0 for pair in geometry.padding)
    )


def worthwhile(geometry: ConvGeometry) -> int:
    """The m whose F(m x m, r x r) is fastest in float32, 2 or 4, or 0 where im2col is.

    Compares how many products an input channel and an output channel take. Preparing a weight
    counts as some more: that decides on small images, whose weights are used a few times each.
    """
    if not supports(geometry) or min(geometry.in_channels, geometry.out_channels) < _CHANNELS:
        return 0
    positions = geometry.batch * prod(geometry.out_size)
    costs = {0: prod(geometry.kernel) * (positions + _IM2COL_WEIGHT)}
    for m in (2, 4):
        tiling = Tiling.forward(geometry, m)
        costs[m] = tiling.points * (tiling.count(tiling.whole) + _WEIGHT)
    return min(costs, key=lambda m: costs[m])


# ---------------------------------------------------------------- the convolution and its adjoints


@np.errstate(over="ignore", invalid="ignore")
def forward(
    x: ndarray,
    w: ndarray,
    b: ndarray | None,
    geometry: ConvGeometry,
    m: int,
    *,
    relu: bool = False,
) -> ndarray:
    """y = x * w + b (see `reference.conv_forward`), or max(y, 0) if `relu`.

    x (N,C,H,W), w (F,C,r,r), b (F,) or None; result (N,F,OH,OW) in N,H,W,C order.
    """
    dtype = working_dtype(x.dtype, w.dtype)
    y = layout.empty(geometry.y_shape, layout.NHWC, dtype)
    bias = None if b is None else b.astype(dtype, copy=False)
    weights = _Weights(np.ascontiguousarray(w, dtype), turned=False)
    _convolve(x, weights, _Result(y, Tiling.forward(geometry, m), bias, relu))
    return y.astype(np.result_type(x, w), copy=False)


@np.errstate(over="ignore", invalid="ignore")
def grad_input(grad_y: ndarray, w: ndarray, geometry: ConvGeometry, m: int) -> ndarray:
    """The adjoint of x -> y: grad_y (N,F,OH,OW), w (F,C,r,r) to (N,C,H,W) in N,H,W,C order."""
    dtype = working_dtype(grad_y.dtype, w.dtype)
    grad_x = layout.empty(geometry.x_shape, layout.NHWC, dtype)
    weights = _Weights(np.ascontiguousarray(w, dtype), turned=True)
    _convolve(grad_y, weights, _Result(grad_x, Tiling.backward(geometry, m)))
    return grad_x.astype(np.result_type(grad_y, w), copy=False)


@np.errstate(over="ignore", invalid="ignore")
def grad_weight(x: ndarray, grad_y: ndarray, geometry: ConvGeometry, m: int) -> ndarray:
    """The adjoint of w -> y: x (N,C,H,W), grad_y (N,F,OH,OW) to (F,C,r,r), contiguous."""
    dtype = working_dtype(x.dtype, grad_y.dtype)
    grad_w = np.empty(geometry.w_shape, dtype)
    _backward(x, grad_y, grad_w, Tiling.backward(geometry, m), None, None)
    return grad_w.astype(np.result_type(x, grad_y), copy=False)


@np.errstate(over="ignore", invalid="ignore")
def backward(
    x: ndarray,
    w: ndarray,
    grad_y: ndarray,
    geometry: ConvGeometry,
    m: int,
    need_x: bool = True,
    need_w: bool = True,
) -> tuple[ndarray | None, ndarray | None]:
    """(grad_x, grad_w), None for what is not needed. grad_y is transformed once for both."""
    if not need_w:
        return (grad_input(grad_y, w, geometry, m) if need_x else None), None
    if not need_x:
        return None, grad_weight(x, grad_y, geometry, m)
    dtype = working_dtype(x.dtype, w.dtype, grad_y.dtype)
    tiling = Tiling.backward(geometry, m)
    grad_x = layout.empty(geometry.x_shape, layout.NHWC, dtype)
    grad_w = np.empty(geometry.w_shape, dtype)
    weights = _Weights(np.ascontiguousarray(w, dtype), turned=True)
    _backward(x, grad_y, grad_w, tiling, weights, _Result(grad_x, tiling))
    return (
        grad_x.astype(np.result_type(grad_y, w), copy=False),
        grad_w.astype(np.result_type(x, grad_y), copy=False),
    )


# ---------------------------------------------------------------- weights, products, results


@dataclass(frozen=True)
class _Weights:
    """A kernel w (F,C,r,r): from C inputs to F outputs, or `turned` around, from F to C."""

    w: ndarray
    turned: bool

    @property
    def inputs(self) -> int:
        return self.w.shape[0 if self.turned else 1]

    @property
    def outputs(self) -> int:
        return self.w.shape[1 if self.turned else 0]

    def transform(self, m: int, outputs: slice, out: ndarray) -> None:
        """out (points, inputs, outputs) = G w G^T, of some outputs."""
        F, C, r, _ = self.w.shape
        T = r * r
        taps = scratch.take("winograd_taps", (out.shape[1], T, out.shape[2]), out.dtype)
        if self.turned:
            some = self.w.reshape(F, C, T)[:, outputs]
            for tap in range(T):
                np.copyto(taps[:, tap], some[:, :, -1 - tap])
        else:
            columns = taps.reshape(C * T, out.shape[2])
            rows = self.w.reshape(F, C * T)[outputs]
            for f in range(0, len(rows), _LINE):  # lines of the cache are written whole
                np.copyto(columns[:, f : f + _LINE], rows[f : f + _LINE].T)
        np.matmul(transforms(m, r, out.dtype).weight, taps, out=out.transpose(1, 0, 2))


@dataclass(frozen=True)
class _Result:
    """Where outputs go, and what is done to them on the way."""

    target: ndarray
    tiling: Tiling
    bias: ndarray | None = None
    relu: bool = False

    def multiply(self, V: ndarray, U: ndarray, part: Part, features: slice) -> None:
        """target = A^T (V U) A for a part's tiles V (points, tiles, C) and U (points, C, F)."""
        M = _take("winograd_products", (len(V), V.shape[1], U.shape[2]), V.dtype)
        _matmul(V, U, M)
        bias = None if self.bias is None else self.bias[features]
        to_target(M, self.target[:, features], self.tiling, part, bias, self.relu)


def _take(role: str, shape: tuple[int, ...], dtype: np.dtype) -> ndarray:
    """Scratch (..., points, rows, columns).

    A row more for each point keeps the points apart in the cache, where distances that are powers
    of two would put them all into one place.
    """
    *points, rows, columns = shape
    return scratch.take(role, (*points, rows + 1, columns), dtype)[..., :rows, :]


def _matmul(a: ndarray, b: ndarray, out: ndarray) -> None:
    """out[p] = a[p] @ b[p], some rows at a time: small products (see `SMALL_PRODUCT`)."""
    R = a.shape[1]
    rows = SMALL_PRODUCT // (b.shape[1] * b.shape[2]) & -_LINE
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


def _blocks(features: int) -> list[slice]:
    return [slice(f, min(f + _FEATURES, features)) for f in range(0, features, _FEATURES)]


def _grad(dU: ndarray, m: int, grad_w: ndarray, add: bool = False) -> None:
    """grad_w (F,C,r,r) = G^T dU' G turned around, or += if `add`, for dU' (points, F, C)."""
    F, C, r, _ = grad_w.shape
    T = r * r
    taps = scratch.take("winograd_taps", (F, T, C), dU.dtype)
    np.matmul(transforms(m, r, dU.dtype).weight.T, dU.transpose(1, 0, 2), out=taps)
    results = grad_w.reshape(F, C, T)
    for tap in range(T):
        result = results[:, :, -1 - tap]
        if add:
            result += taps[:, tap]
        else:
            np.copyto(result, taps[:, tap])


# ---------------------------------------------------------------- forward, and grad_x alone


def _by_tiles(channels: int, features: int) -> bool:
    return channels * features <= _FEW_WEIGHTS


def _tiles_a_piece(points: int, channels: int) -> int:
    return max(1, _PIECE // (points * channels))


def _runs(tiling: Tiling, channels: int) -> list[Part]:
    """Parts whose transformed tiles may all lie in memory at a time."""
    return tiling.parts(tiling.whole, max(1, _RUN // (tiling.points * channels)))


def _convolve(source: ndarray, weights: _Weights, result: _Result) -> None:
    if len(source) == 0:
        return
    if _by_tiles(weights.inputs, weights.outputs):
        _convolve_by_tiles(source, weights, result)
    else:
        _convolve_by_features(source, weights, result)


def _convolve_by_tiles(source: ndarray, weights: _Weights, result: _Result) -> None:
    tiling, dtype, C = result.tiling, result.target.dtype, weights.inputs
    U = _transformed(weights, tiling, dtype)

    def work(part: Part) -> None:
        V = _take("winograd_data", (tiling.points, tiling.count(part), C), dtype)
        windows(source, tiling, part, V)
        for features, some in U:
            result.multiply(V, some, part, features)

    most = max(_LEAST, _tiles_a_piece(tiling.points, C))
    threads.each(work, tiling.parts(tiling.whole, most))


def _transformed(weights: _Weights, tiling: Tiling, dtype: np.dtype) -> list[tuple[slice, ndarray]]:
    """All weights, transformed: (features, U (points, inputs, features)) for each block."""
    blocks = _blocks(weights.outputs)
    shape = (len(blocks), tiling.points, weights.inputs, min(_FEATURES, weights.outputs))
    U = _take("winograd_all_weights", shape, dtype)
    results = [
        (block, u[..., : block.stop - block.start]) for block, u in zip(blocks, U, strict=True)
    ]
    threads.each(lambda some: weights.transform(tiling.m, *some), results)
    return results


def _convolve_by_features(source: ndarray, weights: _Weights, result: _Result) -> None:
    tiling, dtype, C = result.tiling, result.target.dtype, weights.inputs
    most = _tiles_a_piece(tiling.points, C)
    for run in _runs(tiling, C):
        V = _take("winograd_all", (tiling.points, tiling.count(run), C), dtype)

        def fill(part: Part, run: Part = run, V: ndarray = V) -> None:
            windows(source, tiling, part, V[:, tiling.within(run, part)])

        threads.each(fill, tiling.parts(run, most))
        _multiply_by_features(V, weights, result, run)


def _multiply_by_features(V: ndarray, weights: _Weights, result: _Result, run: Part) -> None:
    m = result.tiling.m

    def work(features: slice) -> None:
        width = features.stop - features.start
        U = _take("winograd_weights", (len(V), weights.inputs, width), V.dtype)
        weights.transform(m, features, U)
        result.multiply(V, U, run, features)

    threads.each(work, _blocks(weights.outputs))


# ---------------------------------------------------------------- backward: grad_w, and grad_x too


def _backward(
    x: ndarray,
    grad_y: ndarray,
    grad_w: ndarray,
    tiling: Tiling,
    weights: _Weights | None,
    result: _Result | None,
) -> None:
    """Fills grad_w (F,C,r,r), and the result if there are (turned) weights for it."""
    if len(x) == 0:
        grad_w[...] = 0
        return
    if _by_tiles(*grad_w.shape[:2]):
        _backward_by_tiles(x, grad_y, grad_w, tiling, weights, result)
    else:
        _backward_by_features(x, grad_y, grad_w, tiling, weights, result)


def _backward_by_tiles(x, grad_y, grad_w, tiling: Tiling, weights, result) -> None:
    dtype, P, (F, C) = grad_w.dtype, tiling.points, grad_w.shape[:2]
    U = [] if weights is None else _transformed(weights, tiling, dtype)
    parts = tiling.parts(tiling.whole, max(_LEAST, _tiles_a_piece(P, max(C, F))))
    count = max(2, min(_SUMS, _RUN // (P * C * F)))
    groups = [parts[cut] for cut in threads.pieces(len(parts), count, 1)]
    sums = _take("winograd_all", (len(groups), P, F, C), dtype)

    def work(number: int) -> None:
        for k, part in enumerate(groups[number]):
            tiles = tiling.count(part)
            E = _take("winograd_data", (P, tiles, F), dtype)
            X = _take("winograd_x", (P, tiles, C), dtype)
            windows(grad_y, tiling, part, E)
            from_target(x, tiling, part, X)
            dU = _take("winograd_grad", (P, F, C), dtype) if k else sums[number]
            _matmul(E.transpose(0, 2, 1), X, dU)
            if k:
                sums[number] += dU
            for channels, some in U:
                result.multiply(E, some, part, channels)

    threads.each(work, range(len(groups)))

    def finish(features: slice) -> None:
        dU = sums[0, :, features]
        for more in sums[1:, :, features]:
            dU += more
        _grad(dU, tiling.m, grad_w[features])

    threads.each(finish, threads.pieces(F, sums.size))


def _backward_by_features(x, grad_y, grad_w, tiling: Tiling, weights, result) -> None:
    dtype, P, (F, C) = grad_w.dtype, tiling.points, grad_w.shape[:2]
    most = _tiles_a_piece(P, max(C, F))
    for k, run in enumerate(_runs(tiling, max(C, F))):
        E = _take("winograd_all", (P, tiling.count(run), F), dtype)
        X = _take("winograd_all_x", (P, tiling.count(run), C), dtype)

        def fill(part: Part, run: Part = run, E: ndarray = E, X: ndarray = X) -> None:
            some = tiling.within(run, part)
            windows(grad_y, tiling, part, E[:, some])
            from_target(x, tiling, part, X[:, some])

        threads.each(fill, tiling.parts(run, most))
        if weights is not None:
            _multiply_by_features(E, weights, result, run)
        _sum_by_features(E, X, tiling.m, grad_w, add=k > 0)


def _sum_by_features(E: ndarray, X: ndarray, m: int, grad_w: ndarray, add: bool) -> None:
    """grad_w from the sums over the tiles of E (points, tiles, F) and X (points, tiles, C)."""

    def work(features: slice) -> None:
        rows = E[:, :, features].transpose(0, 2, 1)
        for channels in _blocks(X.shape[2]):
            columns = X[:, :, channels]
            dU = _take("winograd_grad", (len(E), rows.shape[1], columns.shape[2]), E.dtype)
            _matmul(rows, columns, dU)
            _grad(dU, m, grad_w[features, channels], add)

    threads.each(work, _blocks(E.shape[2]))

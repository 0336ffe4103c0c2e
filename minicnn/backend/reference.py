"""The primitives as plain loops: what they mean, and the oracle for every faster version.

One loop for each index of the formula, one name for each of its symbols, nothing clever:

    x input   w weight   b bias   y output   grad_x, grad_w, grad_y: derivatives of the loss
    N batch   C input channels   F output channels   H, W input size   KH, KW kernel
    OH, OW output size   S stride   P padding   D dilation   G groups
    n, c, f, (h, k), (p, q), (i, j) run over N, C, F, (H, W), (KH, KW), (OH, OW)

Every sum is taken in float64 and rounded to the result's dtype once, at the end. Inputs are never
changed. The faster versions with the same names stand in the folders beside this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from numpy import ndarray

from .geometry import AdaptiveGeometry, ConvGeometry, Ints, PoolGeometry, adaptive_windows
from .taps import Taps


def _wide(*arrays: ndarray) -> list[ndarray]:
    """The arrays in the precision that sums are taken in: float64 (or complex128)."""
    return [a.astype(np.result_type(a.dtype, np.float64)) for a in arrays]


# Convolution
#
# The formula of this whole section; h and k are the input row and column under tap (p, q):
#
#     y[n,f,i,j] = b[f] + sum over c,p,q of w[f,c,p,q] * x[n,c,h,k]
#     h = i*S + p*D - P        k = j*S + q*D - P
#
# With G groups the channels are cut into G equal runs, and output channel f of group
# g = f // (F/G) sees the input channels g*(C/G) + c for c = 0 .. C/G - 1 alone.
#
# A place in an image is a pair, and the loops take it as one: ij is (i, j), pq is (p, q), hk is
# (h, k), and y[n, f, *ij] is y[n, f, i, j]. So the same loops serve conv1d, where each of them is a
# single number, and conv3d, where it is three.


def _taps(geometry: ConvGeometry):
    """Every (ij, pq, hk) whose place hk is inside the image, not in the padding.

    Along each axis h = i*S + p*D - P.
    """
    S, D = geometry.stride, geometry.dilation
    P = [low for low, _ in geometry.padding]  # only the padding in front moves windows
    axes = range(len(geometry.size))
    for ij in np.ndindex(*geometry.out_size):
        for pq in np.ndindex(*geometry.kernel):
            hk = tuple([ij[a] * S[a] + pq[a] * D[a] - P[a] for a in axes])
            if all(0 <= hk[a] < geometry.size[a] for a in axes):
                yield ij, pq, hk


def im2col(x: ndarray, geometry: ConvGeometry) -> ndarray:
    """cols[n, (c,p,q), (i,j)] = x[n,c,h,k], zero in the padding.

    Every window, laid out as a column. x (N,C,H,W); result (N, C*KH*KW, OH*OW).
    """
    N, C = x.shape[:2]
    cols = np.zeros((N, C, *geometry.kernel, *geometry.out_size), x.dtype)
    for ij, pq, hk in _taps(geometry):
        for n, c in np.ndindex(N, C):
            cols[n, c, *pq, *ij] = x[n, c, *hk]
    return cols.reshape(N, C * prod(geometry.kernel), prod(geometry.out_size))


def col2im(cols: ndarray, geometry: ConvGeometry) -> ndarray:
    """x[n,c,h,k] = sum of cols[n, (c,p,q), (i,j)] over every (p,q,i,j) that reads (h,k).

    The adjoint of `im2col`, not its inverse: a pixel that several windows read gets their sum, and
    a pixel that none reads gets zero. cols (N, C*KH*KW, OH*OW); result (N,C,H,W).
    """
    N, C = geometry.x_shape[:2]
    [entries] = _wide(cols)
    entries = entries.reshape(N, C, *geometry.kernel, *geometry.out_size)
    x = np.zeros(geometry.x_shape, entries.dtype)
    for ij, pq, hk in _taps(geometry):
        for n, c in np.ndindex(N, C):
            x[n, c, *hk] += entries[n, c, *pq, *ij]
    return x.astype(cols.dtype)


def conv_forward(
    x: ndarray, w: ndarray, b: ndarray | None, geometry: ConvGeometry, relu: bool = False
) -> ndarray:
    """y[n,f,i,j] = b[f] + sum over c,p,q of w[f,c,p,q] * x[n,c,h,k]; max(0, that) with `relu`.

    x (N,C,H,W), w (F,C/G,KH,KW), b (F,) or None; result (N,F,OH,OW).
    """
    N, C = geometry.x_shape[:2]
    F, G = geometry.out_channels, geometry.groups
    X, Wt = _wide(x, w)
    y = np.zeros(geometry.y_shape, np.result_type(X, Wt))
    if b is not None:
        for f in range(F):
            y[:, f] = b[f]
    for ij, pq, hk in _taps(geometry):
        for n, f, c in np.ndindex(N, F, C // G):
            g = f // (F // G)
            y[n, f, *ij] += Wt[f, c, *pq] * X[n, g * (C // G) + c, *hk]
    if relu:
        y = np.maximum(y, 0)  # NaN stays
    return y.astype(np.result_type(x, w))


def conv_grad_input(grad_y: ndarray, w: ndarray, geometry: ConvGeometry) -> ndarray:
    """grad_x[n,c,h,k] = sum over f,p,q,i,j that read (h,k) of w[f,c,p,q] * grad_y[n,f,i,j].

    y is linear in x, and d y[n,f,i,j] / d x[n,c,h,k] is the weight by which the one multiplies the
    other: so each term of the forward is walked again, and sends w * grad_y back to its pixel.
    grad_y (N,F,OH,OW), w (F,C/G,KH,KW); result (N,C,H,W).
    """
    N, C = geometry.x_shape[:2]
    F, G = geometry.out_channels, geometry.groups
    GY, Wt = _wide(grad_y, w)
    grad_x = np.zeros(geometry.x_shape, np.result_type(GY, Wt))
    for ij, pq, hk in _taps(geometry):
        for n, f, c in np.ndindex(N, F, C // G):
            g = f // (F // G)
            grad_x[n, g * (C // G) + c, *hk] += Wt[f, c, *pq] * GY[n, f, *ij]
    return grad_x.astype(np.result_type(grad_y, w))


def conv_grad_weight(x: ndarray, grad_y: ndarray, geometry: ConvGeometry) -> ndarray:
    """grad_w[f,c,p,q] = sum over n,i,j of x[n,c,h,k] * grad_y[n,f,i,j].

    One weight is used at every output position of every image; its derivative is the sum over them.
    x (N,C,H,W), grad_y (N,F,OH,OW); result (F,C/G,KH,KW).
    """
    N, C = geometry.x_shape[:2]
    F, G = geometry.out_channels, geometry.groups
    X, GY = _wide(x, grad_y)
    grad_w = np.zeros(geometry.w_shape, np.result_type(X, GY))
    for ij, pq, hk in _taps(geometry):
        for n, f, c in np.ndindex(N, F, C // G):
            g = f // (F // G)
            grad_w[f, c, *pq] += X[n, g * (C // G) + c, *hk] * GY[n, f, *ij]
    return grad_w.astype(np.result_type(x, grad_y))


def conv_backward(
    grad_y: ndarray,
    x: ndarray | None,
    w: ndarray | None,
    geometry: ConvGeometry,
    needs: tuple[bool, bool, bool],
) -> tuple[ndarray | None, ndarray | None, ndarray | None]:
    """(grad_x, grad_w, grad_b) of a convolution, each None unless `needs` says that it is needed.

    grad_b[f] = sum over n,i,j of grad_y[n,f,i,j]; the other two as above. x may be None if grad_w
    is not needed, w if grad_x is not. A fast backend may share work between the two.
    """
    need_x, need_w, need_b = needs
    grad_x = grad_w = grad_b = None
    if need_x:
        assert w is not None
        grad_x = conv_grad_input(grad_y, w, geometry)
    if need_w:
        assert x is not None
        grad_w = conv_grad_weight(x, grad_y, geometry)
    if need_b:
        [g] = _wide(grad_y)
        grad_b = np.zeros(geometry.out_channels, g.dtype)
        for n, *ij in np.ndindex(geometry.batch, *geometry.out_size):
            grad_b += g[n, :, *ij]
        grad_b = grad_b.astype(grad_y.dtype)
    return grad_x, grad_w, grad_b


# Pooling
#
# The formulas are those of two dimensions, y[n,c,i,j] of x[n,c,h,k]; the loops are for any number.
# They take a place in an image as one: ij is (i, j), pq is (p, q), hk is (h, k), and y[n, c, *ij]
# is y[n, c, i, j]. With axes D, H, W each of them is three numbers, and a place (d, h, k) has the
# number (d*H + h)*W + k where the formulas say h*W + k.


def _pool_taps(geometry: PoolGeometry):
    """Every (ij, hk) where window ij reads a place inside the image, not in the padding.

    Along each axis h = i*S + p*D - P.
    """
    S, P, D = geometry.stride, geometry.padding, geometry.dilation
    axes = range(len(geometry.size))
    for ij in np.ndindex(*geometry.out_size):
        for pq in np.ndindex(*geometry.kernel):
            hk = tuple([ij[a] * S[a] + pq[a] * D[a] - P[a] for a in axes])
            if all(0 <= hk[a] < geometry.size[a] for a in axes):
                yield ij, hk


def _adaptive_taps(size: Ints, out_size: Ints):
    """Every (ij, hk) where window ij, rows floor(i*H/OH) .. ceil((i+1)*H/OH) - 1, reads a place.

    Columns likewise.
    """
    for ij in np.ndindex(*out_size):
        window = [adaptive_windows(H, OH)[i] for H, OH, i in zip(size, out_size, ij, strict=True)]
        for pq in np.ndindex(*[stop - start for start, stop in window]):
            yield ij, tuple([start + step for (start, _), step in zip(window, pq, strict=True)])


def _number(hk: Ints, size: Ints) -> int:
    """h*W + k."""
    return int(np.ravel_multi_index(hk, size))


def _place(number: int, size: Ints) -> Ints:
    """(h, k) of the number h*W + k."""
    return tuple(map(int, np.unravel_index(int(number), size)))


# Max pooling


def _maxima(x: ndarray, out_size: Ints, taps) -> tuple[ndarray, ndarray]:
    """The largest value that each window's taps read, and the number of its place."""
    N, C = x.shape[:2]
    size = x.shape[2:]
    y = np.empty((N, C, *out_size), x.dtype)
    indices = np.full(y.shape, -1, np.int64)
    for ij, hk in taps:
        for n, c in np.ndindex(N, C):
            first = indices[n, c, *ij] < 0
            value = x[n, c, *hk]
            if first or value > y[n, c, *ij] or value != value:
                y[n, c, *ij] = value
                indices[n, c, *ij] = _number(hk, size)
    return y, indices


def max_pool_forward(
    x: ndarray, geometry: PoolGeometry, positions: bool = True
) -> tuple[ndarray, ndarray]:
    """y[n,c,i,j] = max over p,q of x[n,c,h,k]; indices[n,c,i,j] = h*W + k of the winner.

    Of equal values the first in reading order wins. NaN beats every number, and the last NaN of a
    window is the winner, as in PyTorch. Padding never wins. x (N,C,H,W); results (N,C,OH,OW), the
    second int64. With positions=False a backend may give the winning taps' numbers p*KW + q
    instead, as uint8: for the backward and the gather, which take either. This one does not.
    """
    return _maxima(x, geometry.out_size, _pool_taps(geometry))


def max_pool_backward(
    grad_y: ndarray,
    indices: ndarray,
    x_shape: Ints,
    geometry: PoolGeometry | AdaptiveGeometry | None = None,
) -> ndarray:
    """grad_x[n,c,h,k] = sum of grad_y[n,c,i,j] over the (i,j) with indices[n,c,i,j] = h*W + k.

    Only the winner of a window moves its maximum; one pixel may win several overlapping windows.
    grad_y and indices (N,C,OH,OW); result (N,C,H,W). The geometry says that each index lies in its
    window, for those who look for the windows over a pixel. These loops need it for uint8 indices
    alone, which are numbers of taps.
    """
    indices = _positions(indices, geometry)
    [GY] = _wide(grad_y)
    grad_x = np.zeros(x_shape, GY.dtype)
    for n, c, *ij in np.ndindex(*grad_y.shape):
        hk = _place(indices[n, c, *ij], x_shape[2:])
        grad_x[n, c, *hk] += GY[n, c, *ij]
    return grad_x.astype(grad_y.dtype)


def _positions(indices: ndarray, geometry: PoolGeometry | AdaptiveGeometry | None) -> ndarray:
    """h*W + k, also where the indices are numbers of taps."""
    if indices.dtype != np.uint8:
        return indices
    assert isinstance(geometry, PoolGeometry)
    return geometry.positions(indices, np)


def max_pool_gather(
    x: ndarray, indices: ndarray, geometry: PoolGeometry | AdaptiveGeometry | None = None
) -> ndarray:
    """y[n,c,i,j] = x[n,c,h,k] where indices[n,c,i,j] = h*W + k: the adjoint of the backward.

    x (N,C,H,W), indices (N,C,OH,OW), with the geometry as in the backward; result (N,C,OH,OW).
    """
    indices = _positions(indices, geometry)
    y = np.empty(indices.shape, x.dtype)
    for n, c, *ij in np.ndindex(*indices.shape):
        hk = _place(indices[n, c, *ij], x.shape[2:])
        y[n, c, *ij] = x[n, c, *hk]
    return y


def adaptive_max_pool_forward(x: ndarray, out_size: Ints) -> tuple[ndarray, ndarray]:
    """Max pooling whose window (i, j) covers rows floor(i*H/OH) .. ceil((i+1)*H/OH) - 1.

    Columns likewise; values, winners and indices as in `max_pool_forward`. x (N,C,H,W); results
    (N,C,OH,OW).
    """
    return _maxima(x, out_size, _adaptive_taps(x.shape[2:], out_size))


def max_unpool_forward(x: ndarray, indices: ndarray, out_size: Ints) -> ndarray:
    """y[n,c,h,k] = x[n,c,i,j] for the last (i,j) with indices[n,c,i,j] = h*W + k; 0 if none has.

    The last in reading order: a later one writes over an earlier one. x and indices (N,C,OH,OW);
    result (N,C,H,W) with out_size (H,W).
    """
    y = np.zeros((*x.shape[:2], *out_size), x.dtype)
    for n, c, *ij in np.ndindex(*x.shape):
        hk = _place(indices[n, c, *ij], out_size)
        y[n, c, *hk] = x[n, c, *ij]
    return y


def max_unpool_backward(grad_y: ndarray, indices: ndarray) -> ndarray:
    """grad_x[n,c,i,j] = grad_y[n,c,h,k] where (i,j) is the last with the number h*W + k, else 0.

    What was written over did not reach y. grad_y (N,C,H,W), indices (N,C,OH,OW); result like those.
    """
    last = {}
    for n, c, *ij in np.ndindex(*indices.shape):
        last[n, c, int(indices[n, c, *ij])] = ij
    grad_x = np.zeros(indices.shape, grad_y.dtype)
    for (n, c, number), ij in last.items():
        hk = _place(number, grad_y.shape[2:])
        grad_x[n, c, *ij] = grad_y[n, c, *hk]
    return grad_x


# Stochastic pooling


def stochastic_pool_forward(
    x: ndarray, u: ndarray, geometry: PoolGeometry
) -> tuple[ndarray, ndarray]:
    """y[n,c,i,j] = x[n,c,h,k], where the pixel (h,k) of the window is drawn with u[n,c,i,j].

        s = sum over the window of x        P(h,k) = x[n,c,h,k] / s

    The drawn pixel is the first in reading order at which the running sum of x exceeds u*s; u is
    uniform in 0 <= u < 1, so each pixel is drawn with its P. In a window of zeros the first pixel
    counts as drawn. x (N,C,H,W), not negative; u float64 (N,C,OH,OW); results like u, y of x's type
    and indices[n,c,i,j] = h*W + k, int64.
    """
    N, C = x.shape[:2]
    size = x.shape[2:]
    [X] = _wide(x)
    s = np.zeros(u.shape)
    indices = np.full(u.shape, -1, np.int64)
    for ij, hk in _pool_taps(geometry):
        for n, c in np.ndindex(N, C):
            s[n, c, *ij] += X[n, c, *hk]
            if indices[n, c, *ij] < 0:
                indices[n, c, *ij] = _number(hk, size)
    running = np.zeros(u.shape)
    drawn = np.zeros(u.shape, bool)
    for ij, hk in _pool_taps(geometry):
        for n, c in np.ndindex(N, C):
            running[n, c, *ij] += X[n, c, *hk]
            if not drawn[n, c, *ij] and running[n, c, *ij] > u[n, c, *ij] * s[n, c, *ij]:
                drawn[n, c, *ij] = True
                indices[n, c, *ij] = _number(hk, size)
    return max_pool_gather(x, indices), indices


# Average pooling


def _divisor(
    ij: Sequence[int], geometry: PoolGeometry, count_include_pad: bool, override: int | None
) -> int:
    """What the sum of window ij is divided by.

    The padding counts or not; what a `ceil_mode` window has beyond the padding never counts.
    """
    if override is not None:
        return override
    count = 1
    for axis, i in enumerate(ij):
        H, K = geometry.size[axis], geometry.kernel[axis]
        S, P = geometry.stride[axis], geometry.padding[axis]
        start = i * S - P
        stop = min(start + K, H + P)
        if not count_include_pad:
            start, stop = max(start, 0), min(stop, H)
        count *= stop - start
    return count


def avg_pool_forward(
    x: ndarray,
    geometry: PoolGeometry,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> ndarray:
    """y[n,c,i,j] = (sum over p,q of x[n,c,h,k]) / divisor(i,j). x (N,C,H,W); result (N,C,OH,OW)."""
    N, C = x.shape[:2]
    [X] = _wide(x)
    y = np.zeros((N, C, *geometry.out_size), X.dtype)
    for ij, hk in _pool_taps(geometry):
        for n, c in np.ndindex(N, C):
            y[n, c, *ij] += X[n, c, *hk]
    for n, c, *ij in np.ndindex(*y.shape):
        y[n, c, *ij] /= _divisor(ij, geometry, count_include_pad, divisor_override)
    return y.astype(x.dtype)


def avg_pool_backward(
    grad_y: ndarray,
    x_shape: Ints,
    geometry: PoolGeometry,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> ndarray:
    """grad_x[n,c,h,k] = sum of grad_y[n,c,i,j] / divisor(i,j) over the (i,j) that read (h,k).

    grad_y (N,C,OH,OW); result (N,C,H,W).
    """
    N, C = x_shape[:2]
    [GY] = _wide(grad_y)
    grad_x = np.zeros(x_shape, GY.dtype)
    for ij, hk in _pool_taps(geometry):
        divisor = _divisor(ij, geometry, count_include_pad, divisor_override)
        for n, c in np.ndindex(N, C):
            grad_x[n, c, *hk] += GY[n, c, *ij] / divisor
    return grad_x.astype(grad_y.dtype)


def _adaptive_divisor(ij: Sequence[int], size: Ints, out_size: Ints) -> int:
    """How many pixels the adaptive window ij covers."""
    count = 1
    for H, OH, i in zip(size, out_size, ij, strict=True):
        start, stop = adaptive_windows(H, OH)[i]
        count *= stop - start
    return count


def adaptive_avg_pool_forward(x: ndarray, out_size: Ints) -> ndarray:
    """y[n,c,i,j] = mean of x over rows floor(i*H/OH) .. ceil((i+1)*H/OH) - 1, columns likewise.

    x (N,C,H,W); result (N,C,OH,OW).
    """
    N, C = x.shape[:2]
    size = x.shape[2:]
    [X] = _wide(x)
    y = np.zeros((N, C, *out_size), X.dtype)
    for ij, hk in _adaptive_taps(size, out_size):
        for n, c in np.ndindex(N, C):
            y[n, c, *ij] += X[n, c, *hk]
    for n, c, *ij in np.ndindex(*y.shape):
        y[n, c, *ij] /= _adaptive_divisor(ij, size, out_size)
    return y.astype(x.dtype)


def adaptive_avg_pool_backward(grad_y: ndarray, x_shape: Ints) -> ndarray:
    """grad_x[n,c,h,k] = sum over the windows (i,j) over (h,k) of grad_y[n,c,i,j] / (window's size).

    grad_y (N,C,OH,OW); result (N,C,H,W).
    """
    N, C = x_shape[:2]
    size, out_size = x_shape[2:], grad_y.shape[2:]
    [GY] = _wide(grad_y)
    grad_x = np.zeros(x_shape, GY.dtype)
    for ij, hk in _adaptive_taps(size, out_size):
        divisor = _adaptive_divisor(ij, size, out_size)
        for n, c in np.ndindex(N, C):
            grad_x[n, c, *hk] += GY[n, c, *ij] / divisor
    return grad_x.astype(grad_y.dtype)


# The rectifier


def relu_forward(x: ndarray, over: bool = False) -> ndarray:
    """y = max(x, 0); NaN stays. y like x: a new array, or x itself, written over, if `over`."""
    return np.maximum(x, 0, out=x if over else None)


def relu_backward(grad_y: ndarray, y: ndarray) -> ndarray:
    """grad_x = grad_y * (1 where y != 0, else 0). Where y is NaN, grad_y passes."""
    return grad_y * (y != 0)


# Batch normalisation. M = N*H*W values stand in each channel; "over c" means over all of them.


@np.errstate(all="ignore")
def batch_norm_forward(
    x: ndarray, weight: ndarray | None, bias: ndarray | None, eps: float, relu: bool = False
) -> tuple[ndarray, ndarray, ndarray]:
    """Normalises each channel over the batch and the positions, then scales and shifts it.

        mean[c] = (sum over c of x) / M
        var[c]  = (sum over c of (x - mean[c])^2) / M        (biased)
        y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c]

    x (N,C,*), weight and bias (C,) or None for 1 and 0; results y like x, mean (C,), var (C,).
    An empty channel has mean 0 and variance 0. (Ioffe and Szegedy 2015, algorithm 1.) With `relu`
    y is max(0, that).
    """
    [X] = _wide(x)
    C = x.shape[1]
    mean = np.zeros(C, X.dtype)
    var = np.zeros(C, X.dtype)
    for c in range(C):
        values = X[:, c].ravel()
        M = max(values.size, 1)
        for value in values:
            mean[c] += value / M
        for value in values:
            var[c] += (value - mean[c]) ** 2 / M
    y = np.empty_like(X)
    for c in range(C):
        x_hat = (X[:, c] - mean[c]) / np.sqrt(var[c] + eps)
        y[:, c] = x_hat * (1 if weight is None else weight[c]) + (0 if bias is None else bias[c])
    if relu:
        y = relu_forward(y)
    statistics = np.result_type(x.dtype, np.float32)
    return y.astype(x.dtype), mean.astype(statistics), var.astype(statistics)


@np.errstate(all="ignore")
def batch_norm_inference(
    x: ndarray,
    weight: ndarray | None,
    bias: ndarray | None,
    mean: ndarray,
    var: ndarray,
    eps: float,
) -> ndarray:
    """y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c].

    x (N,C,*); the given mean and var, and weight and bias or None, (C,); result like x.
    """
    [X] = _wide(x)
    y = np.empty_like(X)
    for c in range(x.shape[1]):
        x_hat = (X[:, c] - mean[c]) / np.sqrt(np.float64(var[c]) + eps)
        y[:, c] = x_hat * (1 if weight is None else weight[c]) + (0 if bias is None else bias[c])
    return y.astype(x.dtype)


@np.errstate(all="ignore")
def batch_norm_backward(
    grad_y: ndarray,
    x: ndarray,
    weight: ndarray | None,
    mean: ndarray,
    inv_std: ndarray,
    y: ndarray | None = None,
) -> tuple[ndarray, ndarray, ndarray]:
    """The gradients of `batch_norm_forward`, where x reaches y on three paths: itself, mean, var.

        inv_std[c] = 1 / sqrt(var[c] + eps)                  (given)
        x_hat = (x - mean[c]) * inv_std[c]
        grad_b[c] = sum over c of grad_y
        grad_w[c] = sum over c of grad_y * x_hat
        grad_x = weight[c] * inv_std[c] * (grad_y - grad_b[c]/M - x_hat * grad_w[c]/M)

    The second term comes by way of the mean, the third by way of the variance. grad_y and x
    (N,C,*); results like x, (C,) and (C,), the latter two also where there is no weight. Given y,
    the result of the forward with `relu`, grad_y goes through relu first.
    """
    GY, X = _wide(grad_y if y is None else relu_backward(grad_y, y), x)
    C = x.shape[1]
    grad_x = np.empty_like(GY)
    grad_w = np.zeros(C, GY.dtype)
    grad_b = np.zeros(C, GY.dtype)
    for c in range(C):
        M = max(X[:, c].size, 1)
        x_hat = (X[:, c] - mean[c]) * inv_std[c]
        for g, v in zip(GY[:, c].ravel(), x_hat.ravel(), strict=True):
            grad_b[c] += g
            grad_w[c] += g * v
        scale = inv_std[c] * (1 if weight is None else weight[c])
        grad_x[:, c] = scale * (GY[:, c] - grad_b[c] / M - x_hat * grad_w[c] / M)
    statistics = np.result_type(x.dtype, np.float32)
    return grad_x.astype(x.dtype), grad_w.astype(statistics), grad_b.astype(statistics)


# Group normalisation, and with it layer and instance normalisation. Each sample's C channels are
# cut into G groups of neighbours, and the M = C/G*H*W values of one group are a set, normalised by
# itself; "over the set" means over all of them. Layer norm is G = 1 of rows (N,C): each column a
# channel of one value. Instance norm is G = C.


@np.errstate(all="ignore")
def group_norm_forward(
    x: ndarray, weight: ndarray | None, bias: ndarray | None, groups: int, eps: float
) -> tuple[ndarray, ndarray, ndarray]:
    """Normalises each group of each sample, then scales and shifts each channel.

        mean[n,g] = (sum over the set of x) / M
        var[n,g]  = (sum over the set of (x - mean[n,g])^2) / M        (biased)
        y = (x - mean[n,g]) / sqrt(var[n,g] + eps) * weight[c] + bias[c]

    x (N,C,*), weight and bias (C,) or None for 1 and 0; results y like x, mean and var (N,G). An
    empty set has mean 0 and variance 0. (Wu and He 2018.)
    """
    [X] = _wide(x)
    N, C = x.shape[:2]
    mean, var = np.zeros((N, groups), X.dtype), np.zeros((N, groups), X.dtype)
    y = np.empty_like(X)
    for n, g in np.ndindex(N, groups):
        channels = range(g * C // groups, (g + 1) * C // groups)
        values = np.array([X[n, c] for c in channels]).ravel()
        M = max(values.size, 1)
        for value in values:
            mean[n, g] += value / M
        for value in values:
            var[n, g] += (value - mean[n, g]) ** 2 / M
        for c in channels:
            x_hat = (X[n, c] - mean[n, g]) / np.sqrt(var[n, g] + eps)
            w, b = 1 if weight is None else weight[c], 0 if bias is None else bias[c]
            y[n, c] = x_hat * w + b
    statistics = np.result_type(x.dtype, np.float32)
    return y.astype(x.dtype), mean.astype(statistics), var.astype(statistics)


@np.errstate(all="ignore")
def group_norm_grad_input(
    grad_y: ndarray, x: ndarray, weight: ndarray | None, mean: ndarray, inv_std: ndarray
) -> ndarray:
    """The gradient by x, which reaches y on three paths: itself, mean, var.

        x_hat = (x - mean[n,g]) * inv_std[n,g]        u = weight[c] * grad_y
        grad_x = inv_std[n,g] * (u - (sum over the set of u) / M
                                   - x_hat * (sum over the set of u * x_hat) / M)

    grad_y and x (N,C,*), mean and inv_std = 1 / sqrt(var + eps) (N,G); result like x.
    """
    GY, X = _wide(grad_y, x)
    N, C = x.shape[:2]
    groups = mean.shape[1]
    grad_x = np.empty_like(GY)
    for n, g in np.ndindex(N, groups):
        first, stop = g * C // groups, (g + 1) * C // groups
        x_hat = (X[n, first:stop] - mean[n, g]) * inv_std[n, g]
        u = np.empty_like(x_hat)
        for c in range(first, stop):
            u[c - first] = GY[n, c] * (1 if weight is None else weight[c])
        sum_u = sum_u_x_hat = 0.0
        for a, b in zip(u.ravel(), x_hat.ravel(), strict=True):
            sum_u += a
            sum_u_x_hat += a * b
        M = max(u.size, 1)
        grad_x[n, first:stop] = inv_std[n, g] * (u - sum_u / M - x_hat * sum_u_x_hat / M)
    return grad_x.astype(x.dtype)


@np.errstate(all="ignore")
def group_norm_grad_affine(
    grad_y: ndarray, x: ndarray, mean: ndarray, inv_std: ndarray
) -> tuple[ndarray, ndarray]:
    """grad_w[c] = sum over n,h,k of grad_y * x_hat, grad_b[c] = sum over n,h,k of grad_y.

    x_hat = (x - mean[n,g]) * inv_std[n,g]. Arguments as in `group_norm_grad_input`; results (C,).
    """
    GY, X = _wide(grad_y, x)
    N, C = x.shape[:2]
    groups = mean.shape[1]
    grad_w, grad_b = np.zeros(C, GY.dtype), np.zeros(C, GY.dtype)
    for n, c in np.ndindex(N, C):
        g = c // (C // groups)
        x_hat = (X[n, c] - mean[n, g]) * inv_std[n, g]
        for a, b in zip(GY[n, c].ravel(), x_hat.ravel(), strict=True):
            grad_w[c] += a * b
            grad_b[c] += a
    statistics = np.result_type(x.dtype, np.float32)
    return grad_w.astype(statistics), grad_b.astype(statistics)


# Root mean square and local response normalisation.


@np.errstate(all="ignore")
def rms_norm_forward(x: ndarray, weight: ndarray | None, eps: float) -> tuple[ndarray, ndarray]:
    """Scales each row to mean square 1, then each column by its weight.

        r[n] = 1 / sqrt((sum over c of x[n,c]^2) / C + eps)
        y[n,c] = weight[c] * x[n,c] * r[n]

    x (N,C), weight (C,) or None for 1; results y like x, r (N,). (Zhang and Sennrich 2019.)
    """
    [X] = _wide(x)
    N, C = x.shape
    y, r = np.empty_like(X), np.empty(N, X.dtype)
    for n in range(N):
        square = 0.0
        for c in range(C):
            square += X[n, c] * X[n, c] / C
        r[n] = (square + eps) ** -0.5
        for c in range(C):
            y[n, c] = X[n, c] * r[n] * (1 if weight is None else weight[c])
    return y.astype(x.dtype), r.astype(np.result_type(x.dtype, np.float32))


@np.errstate(all="ignore")
def rms_norm_backward(
    grad_y: ndarray, x: ndarray, weight: ndarray | None, r: ndarray
) -> tuple[ndarray, ndarray]:
    """The gradients of `rms_norm_forward`, where x reaches y on two paths: itself, and r.

        x_hat[n,c] = x[n,c] * r[n]          g[n,c] = weight[c] * grad_y[n,c]
        grad_w[c] = sum over n of grad_y[n,c] * x_hat[n,c]
        grad_x[n,c] = r[n] * (g[n,c] - x_hat[n,c] * (sum over d of g[n,d] * x_hat[n,d]) / C)

    grad_y and x (N,C), r (N,); results like x and (C,), the latter also where there is no weight.
    """
    GY, X = _wide(grad_y, x)
    N, C = x.shape
    grad_x, grad_w = np.empty_like(GY), np.zeros(C, GY.dtype)
    for n in range(N):
        along = 0.0
        for c in range(C):
            x_hat = X[n, c] * r[n]
            grad_w[c] += GY[n, c] * x_hat
            along += GY[n, c] * (1 if weight is None else weight[c]) * x_hat / C
        for c in range(C):
            g = GY[n, c] * (1 if weight is None else weight[c])
            grad_x[n, c] = r[n] * (g - X[n, c] * r[n] * along)
    return grad_x.astype(x.dtype), grad_w.astype(np.result_type(x.dtype, np.float32))


def channel_sums(x: ndarray, before: int, after: int) -> ndarray:
    """y[n,c,i,j] = sum of x[n,d,i,j] over c - before <= d <= c + after, 0 <= d < C.

    x (N,C,*); y like x. The adjoint is the same sum with before and after exchanged: d is seen by
    the c with d - after <= c <= d + before.
    """
    [X] = _wide(x)
    C = x.shape[1]
    y = np.zeros_like(X)
    for c in range(C):
        for d in range(max(0, c - before), min(C, c + after + 1)):
            y[:, c] += X[:, d]
    return y.astype(x.dtype)


# Softmax. The formulas are for one line of x along `axis`, whose entries a and b count.


def _lines(axis: int, *arrays: ndarray):
    """The arrays' lines along `axis`, as matching 1-D views to read and write."""
    moved = [np.moveaxis(a, axis, -1) for a in arrays]
    for place in np.ndindex(*moved[0].shape[:-1]):
        yield tuple([m[place] for m in moved])


def softmax_forward(x: ndarray, axis: int) -> ndarray:
    """y[a] = exp(x[a] - m) / sum over b of exp(x[b] - m), with m = max x: exp stays below 1."""
    [X] = _wide(x)
    y = np.empty_like(X)
    with np.errstate(invalid="ignore"):  # a line of -inf, or one with inf, is NaN, as in PyTorch
        for x_line, y_line in _lines(axis, X, y):
            e = np.exp(x_line - x_line.max(initial=-np.inf))
            y_line[:] = e / e.sum()
    return y.astype(x.dtype)


def softmax_backward(grad_y: ndarray, y: ndarray, axis: int) -> ndarray:
    """grad_x[a] = y[a] * (grad_y[a] - sum over b of grad_y[b] * y[b]).

    Because d y[b] / d x[a] = y[b] * ((a == b) - y[a]).
    """
    GY, Y = _wide(grad_y, y)
    grad_x = np.empty_like(GY)
    for g, y_line, out in _lines(axis, GY, Y, grad_x):
        out[:] = y_line * (g - (g * y_line).sum())
    return grad_x.astype(y.dtype)


def log_softmax_forward(x: ndarray, axis: int) -> ndarray:
    """y[a] = (x[a] - m) - log(sum over b of exp(x[b] - m)), with m = max x."""
    [X] = _wide(x)
    y = np.empty_like(X)
    with np.errstate(invalid="ignore", divide="ignore"):  # log 0 on an empty line
        for x_line, y_line in _lines(axis, X, y):
            shifted = x_line - x_line.max(initial=-np.inf)
            y_line[:] = shifted - np.log(np.exp(shifted).sum())
    return y.astype(x.dtype)


def log_softmax_backward(grad_y: ndarray, y: ndarray, axis: int) -> ndarray:
    """grad_x[a] = grad_y[a] - exp(y[a]) * sum over b of grad_y[b].

    Because d y[b] / d x[a] = (a == b) - softmax(x)[a], and softmax(x) = exp(y).
    """
    GY, Y = _wide(grad_y, y)
    grad_x = np.empty_like(GY)
    for g, y_line, out in _lines(axis, GY, Y, grad_x):
        out[:] = g - np.exp(y_line) * g.sum()
    return grad_x.astype(y.dtype)


# Cross-entropy. The labels' distributions q and what they weigh, for s = label_smoothing:
#
#     q[n,c] = (1 - s) * (c = t[n]) + s / C
#     Q[n,c] = weight[c] * q[n,c]
#
# A sample is an n together with a place in the axes after C. One with t[n] = ignore_index, if that
# is not None, has loss and gradient 0.


def _target(t: int, C: int, weight: ndarray | None, s: float) -> list[float]:
    """Q[n,c] of one sample, for c = 0 .. C-1."""
    W = [1.0] * C if weight is None else [float(w) for w in weight]
    return [W[c] * ((1 - s) * (c == t) + s / C) for c in range(C)]


@np.errstate(all="ignore")
def cross_entropy_forward(
    x: ndarray,
    target: ndarray,
    weight: ndarray | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> tuple[ndarray, ndarray, ndarray]:
    """The loss of each sample, and what the backward takes besides x:

        m[n] = max over c of x[n,c]        total[n] = sum over c of exp(x[n,c] - m[n])
        log p[n,c] = x[n,c] - m[n] - log total[n]
        loss[n] = -sum over c of Q[n,c] * log p[n,c]

    x (N,C,*), target (N,*) labels 0 .. C-1 or ignore_index, weight (C,) or None for 1; results
    (N,*), the loss of x's type, m and total in float32 at least.
    """
    [X] = _wide(x)
    C = x.shape[1]
    loss, m, total = [np.zeros(target.shape, X.dtype) for _ in range(3)]
    for n, *ij in np.ndindex(*target.shape):
        scores = [X[n, c, *ij] for c in range(C)]
        m[n, *ij] = np.max(scores)
        for c in range(C):
            total[n, *ij] += np.exp(scores[c] - m[n, *ij])
        t = target[n, *ij]
        Q = _target(t, C, weight, label_smoothing)
        for c in range(C):
            if t != ignore_index and (c == t or label_smoothing != 0):  # the others may be infinite
                loss[n, *ij] -= Q[c] * (scores[c] - m[n, *ij] - np.log(total[n, *ij]))
    wide = np.result_type(x.dtype, np.float32)
    return loss.astype(x.dtype), m.astype(wide), total.astype(wide)


@np.errstate(all="ignore")
def cross_entropy_backward(
    g: ndarray,
    x: ndarray,
    target: ndarray,
    weight: ndarray | None,
    m: ndarray,
    total: ndarray,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> ndarray:
    """grad_x[n,c] = g[n] * (p[n,c] * (sum over d of Q[n,d]) - Q[n,c]).

    Because d log p[n,d] / d x[n,c] = (d == c) - p[n,c]. p[n,c] = exp(x[n,c] - m[n]) / total[n], and
    g[n] is the gradient that reaches loss[n]: (N,*), or () for one number that reaches all. An
    ignored sample has gradient 0, whatever reaches it. The others as in the forward; result like x.
    """
    GY, X = _wide(np.broadcast_to(g, target.shape), x)
    C = x.shape[1]
    grad_x = np.zeros_like(X)
    for n, *ij in np.ndindex(*target.shape):
        ignored = target[n, *ij] == ignore_index
        Q = _target(target[n, *ij], C, weight, label_smoothing)
        for c in range(C):
            p = np.exp(X[n, c, *ij] - m[n, *ij]) / total[n, *ij]
            grad_x[n, c, *ij] = (0 if ignored else GY[n, *ij]) * (p * sum(Q) - Q[c])
    return grad_x.astype(x.dtype)


# The error function. Python's own, number by number.


def erf(x: ndarray) -> ndarray:
    """y[i] = 2 / sqrt(pi) * integral from 0 to x[i] of e^(-t^2) dt; y like x."""
    return _number_by_number(math.erf, x)


def erfc(x: ndarray) -> ndarray:
    """y[i] = 1 - erf(x[i]), with the digits that the difference loses; y like x."""
    return _number_by_number(math.erfc, x)


def _number_by_number(function: Callable[[float], float], x: ndarray) -> ndarray:
    y = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        y[place] = function(float(x[place]))
    return y.astype(x.dtype)


# Matrices


def matmul(a: ndarray, b: ndarray) -> ndarray:
    """y[m,n] = sum over k of a[m,k] * b[k,n].  a (M,K), b (K,N); result (M,N).

    Or so for every pair of matrices of two stacks (*,M,K) and (*,K,N), which broadcast.
    """
    A, B = _wide(a, b)
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    A, B = [np.broadcast_to(x, (*stack, *x.shape[-2:])) for x in (A, B)]
    M, K, N = *A.shape[-2:], B.shape[-1]
    y = np.zeros((*stack, M, N), np.result_type(A, B))
    for *at, m, n, k in np.ndindex(*stack, M, N, K):
        y[*at, m, n] += A[*at, m, k] * B[*at, k, n]
    return y.astype(np.result_type(a, b))


# Dropout
#
# The mask is not stored but computed, again each time it is needed, by a generator whose block
# number t is a function of t and of a key alone: Philox 4x64-10 (Salmon et al., "Parallel random
# numbers: as easy as 1, 2, 3", SC 2011). Ten rounds mix the 256 bits of the counter by products of
# 64-bit numbers, of which both halves are kept; between two rounds the key moves on.

_M0, _M1 = 0xD2E7470EE14C6C93, 0xCA5A826395121157  # what the counter's words are multiplied by
_W0, _W1 = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B  # what is added to the key's words
_LOW = 2**64 - 1


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Four 64-bit numbers, random to look at, that `counter` and `key` (64-bit numbers) determine.

    One round turns (c0, c1, c2, c3) into (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1,
    lo(M0 c0)), where hi and lo are the upper and lower 64 bits of a product of 128.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (b >> 64) ^ c1 ^ k0, b & _LOW, (a >> 64) ^ c3 ^ k1, a & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


def dropout_word(key: int, e: int) -> int:
    """The 32 random bits that decide on element e: word e % 8 of block e // 8.

    The block is philox((e // 8, 0, 0, 0), (key, 1)); each of its 64-bit numbers makes two words,
    the lower half first. A generator's own stream has 0 where this key has 1, so that no mask
    repeats a part of it.
    """
    number = philox((e // 8, 0, 0, 0), (key, 1))[e % 8 // 2]
    return number >> 32 if e % 2 else number & 0xFFFFFFFF


def dropout(x: ndarray, p: float, key: int, mask_shape: tuple[int, ...]) -> ndarray:
    """y = m * x / (1 - p), m of `mask_shape` broadcast to x; y like x.

    Entry number e of m, counted in the order of its indices whatever lies where in memory, is 1
    where dropout_word(key, e) >= round(p * 2^32), else 0. With p = 1 all of m is 0, and so is y.
    """
    [X] = _wide(x)
    scale = 1 / (1 - p) if p < 1 else 0.0
    m = np.zeros(mask_shape)
    for e, place in enumerate(np.ndindex(*mask_shape)):
        m[place] = dropout_word(key, e) >= round(p * 2**32)
    return (X * m * scale).astype(x.dtype)


# A sparse matrix along one axis: resizing and padding


def resample(x: ndarray, taps: Taps, axis: int) -> ndarray:
    """y[..., j, ...] = sum over i of A[j,i] * x[..., i, ...]: A's product with each line of x.

    `taps` lists the entries of A (m, n) that are not zero. The axis has n entries in x and m in y.
    With taps.transposed in place of taps it is the adjoint.
    """
    m = taps.shape[0]
    y_shape = [m if a == axis else size for a, size in enumerate(x.shape)]
    [X] = _wide(x) if x.dtype.kind in "fc" else [x]
    y = np.zeros(y_shape, X.dtype)
    weights = [1] * len(taps.rows) if taps.weights is None else taps.weights
    for x_line, y_line in _lines(axis, X, y):
        for j, i, weight in zip(taps.rows, taps.columns, weights, strict=True):
            y_line[j] += weight * x_line[i]
    return y.astype(x.dtype)

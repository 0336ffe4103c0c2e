"""What `compiled.py` puts in place of minicnn's NumPy: loops that Numba compiles.

Depthwise kernels and those of batch norm by channels work on C,H,W,N, with channels begin .. end-1
in a call; pooling on (A,H,W,B) with one of N,H,W,C and C,H,W,N behind it. They let go of the GIL,
and run on minicnn's own threads. Sums are taken in float32 over a row or `_RUN` entries, and those
sums in float64. Tap times zero stands for what lies beyond an edge: so an infinity at the border of
an image becomes NaN, which minicnn's own primitives avoid.
"""

from __future__ import annotations

import numpy as np
from llvmlite import binding
from numba import njit

# Vectorised loops with a dozen rows need this many comparisons of where the rows lie.
binding.set_option("", "--runtime-memory-check-threshold=64")
compiled = njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})

_RUN = 4096


# ---------------------------------------------------------------- depthwise, 3x3, padding 1


@compiled
def depthwise(x, w, y, N, begin, end):
    """Stride 1: y[c,i,(j,n)] = sum over p,q of w[c,p,q] * x[c,i+p-1,(j+q-1,n)]; all (C,H,W*N)."""
    H, none = x.shape[1], np.zeros(3, np.float32)
    for c in range(begin, end):
        for i in range(H):
            above, below = max(i - 1, 0), min(i + 1, H - 1)
            u, v = w[c, 0] if i > 0 else none, w[c, 2] if i < H - 1 else none
            _row(x[c, above], x[c, i], x[c, below], u, w[c, 1], v, y[c, i], N)


@compiled
def _row(a, b, c, u, v, w, y, N):
    """A row of y from three of x, whose taps are u, v and w."""
    u0, u1, u2 = u[0], u[1], u[2]
    v0, v1, v2 = v[0], v[1], v[2]
    w0, w1, w2 = w[0], w[1], w[2]
    last = len(y) - N
    if last == 0:
        for n in range(N):
            y[n] = u1 * a[n] + v1 * b[n] + w1 * c[n]
        return
    a1, b1, c1, y1 = a[N:], b[N:], c[N:], y[N:]
    a2, b2, c2 = a1[N:], b1[N:], c1[N:]
    for n in range(N):
        y[n] = u1 * a[n] + u2 * a1[n] + v1 * b[n] + v2 * b1[n] + w1 * c[n] + w2 * c1[n]
    for t in range(last - N):
        above = u0 * a[t] + u1 * a1[t] + u2 * a2[t]
        here = v0 * b[t] + v1 * b1[t] + v2 * b2[t]
        y1[t] = above + here + (w0 * c[t] + w1 * c1[t] + w2 * c2[t])
    a, b, c, y = a[last - N :], b[last - N :], c[last - N :], y[last:]
    a1, b1, c1 = a[N:], b[N:], c[N:]
    for n in range(N):
        y[n] = u0 * a[n] + u1 * a1[n] + v0 * b[n] + v1 * b1[n] + w0 * c[n] + w1 * c1[n]


@compiled
def depthwise_weight(x, g, grad_w, N, begin, end):
    """Stride 1: grad_w[c,p,q] = sum over i,j,n of x[c,i+p-1,(j+q-1,n)] * g[c,i,(j,n)]."""
    H = x.shape[1]
    sums = np.empty((3, 3))
    for c in range(begin, end):
        sums[:] = 0
        for i in range(H):
            for p in range(3):
                if 0 <= i + p - 1 < H:
                    left, middle, right = _row_products(x[c, i + p - 1], g[c, i], N)
                    sums[p, 0] += left
                    sums[p, 1] += middle
                    sums[p, 2] += right
        grad_w[c] = sums


@compiled
def _row_products(a, g, N):
    left = middle = right = np.float32(0)
    last = len(a) - N
    a1, g1 = a[N:], g[N:]
    for t in range(last):
        left += a[t] * g1[t]
        middle += a[t] * g[t]
        right += a1[t] * g[t]
    for t in range(last, len(a)):
        middle += a[t] * g[t]
    return left, middle, right


@compiled
def depthwise_halving(x, w, y, begin, end):
    """Stride 2: y[c,i,j,n] from x (C,2*OH,OW,2,N)."""
    none = np.zeros(3, np.float32)
    for c in range(begin, end):
        for i in range(y.shape[1]):
            a = x[c, max(2 * i - 1, 0)]
            u = w[c, 0] if i > 0 else none
            _halve(a, x[c, 2 * i], x[c, 2 * i + 1], u, w[c, 1], w[c, 2], y[c, i])


@compiled
def _halve(a, b, c, u, v, w, y):
    """A row of y (OW,N) from three of x (OW,2,N): of the pair on the left its second pixel."""
    OW, N = y.shape
    u1, u2, v1, v2, w1, w2 = u[1], u[2], v[1], v[2], w[1], w[2]
    for j in range(OW):
        k, edge = max(j - 1, 0), np.float32(j > 0)
        u0, v0, w0 = u[0] * edge, v[0] * edge, w[0] * edge
        for n in range(N):
            above = u0 * a[k, 1, n] + u1 * a[j, 0, n] + u2 * a[j, 1, n]
            here = v0 * b[k, 1, n] + v1 * b[j, 0, n] + v2 * b[j, 1, n]
            y[j, n] = above + here + (w0 * c[k, 1, n] + w1 * c[j, 0, n] + w2 * c[j, 1, n])


@compiled
def depthwise_halving_input(g, w, grad_x, begin, end):
    """Stride 2: grad_x (C,2*OH,OW,2,N) from g (C,OH,OW,N)."""
    OH, none = g.shape[1], np.zeros(3, np.float32)
    for c in range(begin, end):
        for i in range(OH):
            _double(g[c, i], g[c, i], w[c, 1], none, grad_x[c, 2 * i])
            below = w[c, 0] if i + 1 < OH else none
            _double(g[c, i], g[c, min(i + 1, OH - 1)], w[c, 2], below, grad_x[c, 2 * i + 1])


@compiled
def _double(a, b, v, w, x):
    """x[j,(even,odd)]: even pixels get tap 1 of j, odd ones tap 2 of j and tap 0 of j + 1."""
    OW, N = a.shape
    for j in range(OW):
        k, edge = min(j + 1, OW - 1), np.float32(j + 1 < OW)
        v0, v1, v2, w0, w1, w2 = v[0] * edge, v[1], v[2], w[0] * edge, w[1], w[2]
        for n in range(N):
            x[j, 0, n] = v1 * a[j, n] + w1 * b[j, n]
        for n in range(N):
            x[j, 1, n] = v2 * a[j, n] + v0 * a[k, n] + w2 * b[j, n] + w0 * b[k, n]


@compiled
def depthwise_halving_weight(x, g, grad_w, begin, end):
    """Stride 2: grad_w[c,p,q] from x (C,2*OH,OW,2,N) and g (C,OH,OW,N)."""
    OH, OW, N = g.shape[1:]
    sums = np.empty((3, 3))
    for c in range(begin, end):
        sums[:] = 0
        for i in range(OH):
            for p in range(3):
                if i + p > 0:
                    a = x[c, 2 * i + p - 1]
                    left = middle = right = np.float32(0)
                    for j in range(OW):
                        even, odd = a[j, 0], a[j, 1]
                        own, after = g[c, i, j], g[c, i, min(j + 1, OW - 1)]
                        edge = np.float32(j + 1 < OW)
                        for n in range(N):
                            left += odd[n] * (after[n] * edge)
                            middle += even[n] * own[n]
                            right += odd[n] * own[n]
                    sums[p, 0] += left
                    sums[p, 1] += middle
                    sums[p, 2] += right
        grad_w[c] = sums


# ---------------------------------------------------------------- batch norm, with ReLU or without


@compiled
def norm_channels(x, weight, bias, eps, relu, y, mean, var, begin, end):
    """Batch norm's forward where x (C,M) has each channel in one run."""
    M = x.shape[1]
    for c in range(begin, end):
        u, total, square = x[c, 0], 0.0, 0.0
        for start in range(0, M, _RUN):
            run = x[c, start : start + _RUN]
            s = q = np.float32(0)
            for t in range(len(run)):
                d = run[t] - u
                s += d
                q += d * d
            total += s
            square += q
        mean[c], var[c] = u + total / M, max(square / M - (total / M) ** 2, 0.0)
        _scale(x[c], mean[c], weight[c] / np.sqrt(var[c] + eps), bias[c], relu, y[c])


@compiled
def _scale(x, mean, scale, bias, relu, y):
    u, a = np.float32(mean), np.float32(scale)
    b = np.float32(bias - (mean - u) * scale)
    low = np.float32(0 if relu else -np.inf)
    for t in range(len(x)):
        v = (x[t] - u) * a + b
        y[t] = low if v < low else v


@compiled
def norm_channels_back(g, x, y, a, mean, inv_std, grad_x, grad_w, grad_b, begin, end):
    """Its backward, a = weight * inv_std; g counts where y is not 0, everywhere if y is None."""
    M = x.shape[1]
    for c in range(begin, end):
        total, product = 0.0, 0.0
        for start in range(0, M, _RUN):
            cut = slice(start, start + _RUN)
            own = None if y is None else y[c, cut]
            s, q = _products(g[c, cut], x[c, cut], own, mean[c])
            total += s
            product += q
        grad_b[c], grad_w[c] = total, product * inv_std[c]
        b, k = np.float32(-a[c] * inv_std[c] * grad_w[c] / M), np.float32(-a[c] * total / M)
        own = None if y is None else y[c]
        _combine(g[c], x[c], own, mean[c], a[c], b, k, grad_x[c])


@compiled
def _products(g, x, y, u):
    s = q = np.float32(0)
    for t in range(len(x)):
        v = g[t]
        if y is not None:
            v *= np.float32(y[t] != 0)
        s += v
        q += v * (x[t] - u)
    return s, q


@compiled
def _combine(g, x, y, u, a, b, k, grad_x):
    for t in range(len(x)):
        v = g[t]
        if y is not None:
            v *= np.float32(y[t] != 0)
        grad_x[t] = a * v + (b * (x[t] - u) + k)


@compiled
def moments_rows(x, u, sums, begin, end):
    """Adds the sums of x - u and (x - u)^2 over rows begin .. end-1 of x (M,C) to sums (2,C)."""
    C = x.shape[1]
    for start in range(begin, end, 256):
        part = np.zeros((2, C), np.float32)
        s, q = part[0], part[1]
        for m in range(start, min(start + 256, end)):
            row = x[m]
            for c in range(C):
                d = row[c] - u[c]
                s[c] += d
                q[c] += d * d
        sums += part


@compiled
def scale_rows(x, u, a, b, relu, y, begin, end):
    """y = (x - u) * a + b, or max(0, that), for those rows."""
    low = np.float32(0 if relu else -np.inf)
    for m in range(begin, end):
        for c in range(x.shape[1]):
            v = (x[m, c] - u[c]) * a[c] + b[c]
            y[m, c] = low if v < low else v


@compiled
def products_rows(g, x, y, u, sums, begin, end):
    """Adds the sums of g and g * (x - u) over those rows to sums (2,C)."""
    C = x.shape[1]
    for start in range(begin, end, 256):
        part = np.zeros((2, C), np.float32)
        s, q = part[0], part[1]
        for m in range(start, min(start + 256, end)):
            for c in range(C):
                v = g[m, c]
                if y is not None:
                    v *= np.float32(y[m, c] != 0)
                s[c] += v
                q[c] += v * (x[m, c] - u[c])
        sums += part


@compiled
def combine_rows(g, x, y, u, a, b, k, grad_x, begin, end):
    """grad_x = a * g + b * (x - u) + k for those rows."""
    for m in range(begin, end):
        for c in range(x.shape[1]):
            v = g[m, c]
            if y is not None:
                v *= np.float32(y[m, c] != 0)
            grad_x[m, c] = a[c] * v + (b[c] * (x[m, c] - u[c]) + k[c])


# ---------------------------------------------------------------- pooling, 2x2 at stride 2


@compiled
def max_pool_back(g, taps, grad_x, begin, end):
    """grad_x (A,2*OH,2*OW,B) from g and the winners (A,OH,OW,B)."""
    OH, OW, B = g.shape[1:]
    zero = np.float32(0)
    for a in range(begin, end):
        for i in range(OH):
            for j in range(OW):
                for p in range(2):
                    for q in range(2):
                        own, won, out = g[a, i, j], taps[a, i, j], grad_x[a, 2 * i + p, 2 * j + q]
                        t = np.uint8(2 * p + q)
                        for k in range(B):
                            out[k] = own[k] if won[k] == t else zero


@compiled
def avg_pool_back(g, grad_x, begin, end):
    """The same for the mean of the four."""
    OH, OW, B = g.shape[1:]
    for a in range(begin, end):
        for i in range(OH):
            for j in range(OW):
                for k in range(B):
                    v = g[a, i, j, k] * np.float32(0.25)
                    grad_x[a, 2 * i, 2 * j, k] = v
                    grad_x[a, 2 * i, 2 * j + 1, k] = v
                    grad_x[a, 2 * i + 1, 2 * j, k] = v
                    grad_x[a, 2 * i + 1, 2 * j + 1, k] = v

"""The formulas of functional/fold.py, each evaluated as it is displayed, against the code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import minicnn
from minicnn import Tensor
from minicnn.functional.fold import fold, unfold

CASES = {  # size, kernel, dilation, padding, stride
    "overlapping": ((4, 5), (2, 3), (1, 1), (0, 0), (1, 1)),
    "tiling": ((4, 6), (2, 3), (1, 1), (0, 0), (2, 3)),
    "everything": ((6, 5), (2, 3), (3, 1), (1, 2), (2, 1)),
    "gaps": ((5, 7), (1, 2), (1, 2), (0, 0), (3, 2)),
}
N, C = 2, 3


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return CASES[request.param]


def everywhere(*sizes):
    return itertools.product(*map(range, sizes))


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def windows(case):
    """(OH, OW), those of a convolution."""
    return tuple(
        (H + 2 * P - D * (K - 1) - 1) // S + 1 for H, K, D, P, S in zip(*case, strict=True)
    )


def at(case, i, j, p, q):
    """(h, k) = (i*S + p*D - P, j*S + q*D - P)."""
    _, _, D, P, S = case
    return i * S[0] + p * D[0] - P[0], j * S[1] + q * D[1] - P[1]


def gathered(case, x):
    """The right side of (1) and of (4)."""
    (H, W), (KH, KW) = case[:2]
    OH, OW = windows(case)
    cols = np.zeros((N, C * KH * KW, OH * OW))
    for n, c, p, q, i, j in everywhere(N, C, KH, KW, OH, OW):
        h, k = at(case, i, j, p, q)
        if 0 <= h < H and 0 <= k < W:
            cols[n, (c * KH + p) * KW + q, i * OW + j] = x[n, c, h, k]
    return cols


def spread(case, cols):
    """The right side of (2) and of (3)."""
    size, (KH, KW) = case[:2]
    OH, OW = windows(case)
    x = np.zeros((N, C, *size))
    for n, c, h, k in everywhere(*x.shape):
        x[n, c, h, k] = sum(
            cols[n, (c * KH + p) * KW + q, i * OW + j]
            for i, p in everywhere(OH, KH)
            for j, q in everywhere(OW, KW)
            if at(case, i, j, p, q) == (h, k)
        )
    return x


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_1_and_2_unfold(case):
    size, *options = case
    x = Tensor(normal(0, N, C, *size), requires_grad=True)
    cols = unfold(x, *options)
    close(cols.detach().array, gathered(case, x.array))
    grad_cols = normal(1, *cols.shape)
    cols.backward(Tensor(grad_cols))
    close(x.grad.array, spread(case, grad_cols))


def test_3_and_4_fold(case):
    size, *options = case
    OH, OW = windows(case)
    cols = Tensor(normal(0, N, C * np.prod(options[0]), OH * OW), requires_grad=True)
    x = fold(cols, size, *options)
    close(x.detach().array, spread(case, cols.array))
    grad_x = normal(1, *x.shape)
    x.backward(Tensor(grad_x))
    close(cols.grad.array, gathered(case, grad_x))


def test_5_not_each_others_inverse(case):
    size, *options = case
    x = normal(0, N, C, *size)

    def there_and_back(a):
        return fold(unfold(a, *options), size, *options)

    m = there_and_back(np.ones_like(x))
    assert np.all(m == np.round(m))
    close(there_and_back(x), m * x)
    if case is CASES["tiling"]:
        assert np.all(m == 1)
        cols = normal(1, *unfold(x, *options).shape)
        close(unfold(fold(cols, size, *options), *options), cols)
    if case is CASES["gaps"]:
        assert m.min() == 0


def test_5_entries_in_the_padding_are_dropped():
    """Windows side by side, each of which hangs over the border: there unfold(fold(cols)) is 0."""
    cols = np.ones((1, 4, 4))
    back = unfold(fold(cols, 2, 2, padding=1, stride=2), 2, padding=1, stride=2)
    assert back.tolist() == np.eye(4)[::-1].reshape(1, 4, 4).tolist()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    with minicnn.use_backend(backend):
        cols = unfold(x, 2)
        assert cols.tolist() == [[[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]]
        assert fold(cols, 3, 2).tolist() == [[[[1, 4, 3], [8, 20, 12], [7, 16, 9]]]]
        m = fold(unfold(np.ones_like(x), 2), 3, 2)
    assert m.tolist() == [[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]]

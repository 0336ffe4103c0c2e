"""normalize and cosine_similarity: formulas, short vectors, parity, errors."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.functional.similarity import cosine_similarity, normalize


def leaf(array):
    return Tensor(np.array(array, float), requires_grad=True)


def vectors(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_formulas_1_and_2():
    x, g = vectors(3, 4), vectors(3, 4, seed=1)
    tx = leaf(x)
    y = normalize(tx)
    y.backward(Tensor(g))
    m = np.sqrt((x * x).sum(1, keepdims=True))
    np.testing.assert_allclose(y.detach().array, x / m, rtol=1e-12)
    unit = x / m
    wanted = (g - unit * (g * unit).sum(1, keepdims=True)) / m
    np.testing.assert_allclose(tx.grad.array, wanted, rtol=1e-11, atol=1e-14)


def test_formulas_3_and_4():
    x, z, g = vectors(3, 4), vectors(3, 4, seed=1), vectors(3, seed=2)
    tx, tz = leaf(x), leaf(z)
    y = cosine_similarity(tx, tz)
    y.backward(Tensor(g))
    m, n = np.linalg.norm(x, axis=1)[:, None], np.linalg.norm(z, axis=1)[:, None]
    cosine = np.einsum("nc,nc->n", x, z)[:, None] / m / n
    np.testing.assert_allclose(y.detach().array, cosine[:, 0], rtol=1e-12)
    g = g[:, None]
    np.testing.assert_allclose(tx.grad.array, g * (z / n - cosine * x / m) / m, rtol=1e-11)
    np.testing.assert_allclose(tz.grad.array, g * (x / m - cosine * z / n) / n, rtol=1e-11)


@pytest.mark.parametrize("p", [1, 2.0, 3, float("inf")])
@pytest.mark.parametrize("dim", [0, -1, (0, 2), None])
def test_normalize(p, dim, parity):
    x = vectors(3, 4, 2)
    parity(lambda lib, x: lib.nn.functional.normalize(x, p, dim), x)
    assert gradcheck(lambda x: normalize(x, p, dim), leaf(x))
    assert gradgradcheck(lambda x: normalize(x, p, dim), leaf(x))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cosine_similarity(dim, parity):
    x, z = vectors(3, 4, 2), vectors(3, 4, 2, seed=1)
    parity(lambda lib, x, z: lib.nn.functional.cosine_similarity(x, z, dim), x, z)
    assert gradcheck(lambda x, z: cosine_similarity(x, z, dim), (leaf(x), leaf(z)))
    assert gradgradcheck(lambda x, z: cosine_similarity(x, z, dim), (leaf(x), leaf(z)))
    shared = vectors(2, seed=1)  # broadcasts over the first two axes
    parity(lambda lib, x, z: lib.nn.functional.cosine_similarity(x, z, -1), x, shared)


@pytest.mark.parametrize("length", [0.0, 1e-13])
def test_short_vectors_are_divided_by_eps(length, parity):
    x, z = np.full((2, 3), length), vectors(2, 3)
    parity(lambda lib, x: lib.nn.functional.normalize(x), x)
    parity(lambda lib, x, z: lib.nn.functional.cosine_similarity(x, z), x, z, grads=length == 0)
    ta = leaf(x)
    cosine_similarity(ta, z).backward(Tensor(np.ones(2)))
    b = z / np.linalg.norm(z, axis=1)[:, None]
    np.testing.assert_allclose(ta.grad.array, b / 1e-8, rtol=1e-12)
    tx = leaf(x)
    normalize(tx).backward(Tensor(z))
    np.testing.assert_allclose(tx.grad.array, z / 1e-12, rtol=1e-12)


def test_types_and_out():
    x = minicnn.ones(2, 3)
    assert cosine_similarity(x, x.double()).dtype == np.float64
    assert cosine_similarity(x, x.long()).dtype == np.float32
    out = minicnn.empty(2, 3)
    assert normalize(x, out=out) is out and out.tolist() == normalize(x).tolist()


x23 = np.ones((2, 3))


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (IndexError, "normalize: dim expects -1 to 0", lambda: normalize(x23[0])),
        (TypeError, "normalize: x expects a floating type", lambda: normalize(x23.astype(int))),
        (IndexError, "cosine_similarity: dim expects", lambda: cosine_similarity(x23, x23, 2)),
        (RuntimeError, r"cosine_similarity: shapes \(2, 3\) and \(2,\) do not broadcast",
         lambda: cosine_similarity(x23, x23[:, 0])),
        (TypeError, "cosine_similarity: one of the inputs expects a floating type, got int64",
         lambda: cosine_similarity(x23.astype(int), x23.astype(int))),
    ],
)  # fmt: skip
def test_errors(error, text, call):
    with pytest.raises(error, match=text):
        call()


def test_lists_are_refused():
    with pytest.raises(TypeError, match=r"cosine_similarity: .*list"):
        cosine_similarity([[1.0]], x23)

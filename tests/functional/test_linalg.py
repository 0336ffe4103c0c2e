"""Norms under the names of torch.linalg."""

import itertools
import math

import numpy as np
import pytest

import minicnn

x = np.random.default_rng(0).standard_normal((3, 4, 5))


@pytest.mark.parametrize("ord", [2, 1, 0, 3, 2.5, -2, math.inf, -math.inf])
@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2), (1,)])
def test_vector_norms_are_pytorchs(parity, ord, dim):
    for keepdim in (False, True):
        parity(lambda t, x: t.linalg.vector_norm(x, ord, dim, keepdim), x, grads=ord != 0)  # noqa: B023


@pytest.mark.parametrize("ord", ["fro", 1, -1, math.inf, -math.inf])
@pytest.mark.parametrize("dim", [(-2, -1), (0, 1), (2, 0)])
def test_matrix_norms_are_pytorchs(parity, ord, dim):
    for keepdim in (False, True):
        parity(lambda t, x: t.linalg.matrix_norm(x, ord, dim, keepdim), x)  # noqa: B023


def test_norm_takes_vectors_matrices_or_everything(parity):
    parity(lambda t, x: t.linalg.norm(x), x)
    parity(lambda t, x: t.linalg.norm(x, dim=(0, 1)), x)
    for ord, dim in itertools.product((1, math.inf, -1), (1, (1, 2), (2, 0))):
        parity(lambda t, x: t.linalg.norm(x, ord, dim, True), x)  # noqa: B023
    parity(lambda t, x: t.linalg.norm(x[0], 1), x)
    parity(lambda t, x: t.linalg.norm(x[0], "fro"), x)
    parity(lambda t, x: t.linalg.norm(x[0, 0], 3), x)
    parity(lambda t, x: t.linalg.norm(x.float(), dtype=t.float64), x, rtol=1e-6)


def test_what_is_no_norm_is_refused():
    t = minicnn.from_numpy(x)
    with pytest.raises(ValueError, match="vector_norm: ord expects a number, got 'fro'"):
        minicnn.linalg.vector_norm(t, "fro")
    with pytest.raises(ValueError, match="matrix_norm: ord expects 'fro', 1, -1, inf or -inf"):
        minicnn.linalg.matrix_norm(t, "nuc")
    with pytest.raises(RuntimeError, match="matrix_norm: expects two"):
        minicnn.linalg.matrix_norm(t[0, 0])
    with pytest.raises(RuntimeError, match=r"norm: with ord, dim=None .* \(3, 4, 5\)"):
        minicnn.linalg.norm(t, 1)
    with pytest.raises(RuntimeError, match="norm: expects a floating type, got int64"):
        minicnn.linalg.norm(minicnn.arange(3))

"""The product of two matrices: exact on integers in every backend, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import backend
from minicnn.backend.cpu.matmul import SMALL_PRODUCT, matmul

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
example, given = hypothesis.example, hypothesis.given

sizes = st.integers(0, 5)


@given(M=sizes, K=sizes, N=sizes, seed=st.integers(0, 99))
def test_cpu_and_reference_agree_on_integers(M, K, N, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-9, 10, (M, K)) * 1.0, rng.integers(-9, 10, (N, K)).T * 1.0
    expected = np.einsum("mk,kn->mn", a, b)
    for module in (backend.reference, backend.cpu):
        y = module.matmul(a, b)
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == np.float64


@given(
    st.sampled_from([1, 2, 31, 64, 100, 333]),
    st.sampled_from([1, 33, 400, 1000]),
    st.sampled_from([1, 10, 84, 120, 500]),
    st.booleans(),
    st.booleans(),
)
@example(32, 400, 120, False, True)
@example(2, 1 << 17, 3, False, False)  # one row is more than a piece
def test_cut_products_are_exact(M, K, N, a_turned, b_turned):
    rng = np.random.default_rng(M + K + N)
    a, b = (rng.integers(-3, 4, shape).astype(np.float32) for shape in [(M, K), (K, N)])
    if a_turned:
        a = np.asfortranarray(a)
    if b_turned:
        b = np.asfortranarray(b)
    np.testing.assert_array_equal(matmul(a, b), a.astype(np.int64) @ b.astype(np.int64))


def test_pieces_stay_below_the_size_at_which_blas_wakes_its_threads(monkeypatch):
    seen = []
    whole = np.matmul

    def watched(a, b, **options):
        seen.append(a.shape[-2] * a.shape[-1] * b.shape[-1])
        return whole(a, b, **options)

    monkeypatch.setattr(np, "matmul", watched)
    for M, K, N in [(256, 400, 120), (64, 512, 500), (120, 64, 400)]:
        matmul(np.ones((M, K), np.float32), np.ones((K, N), np.float32))
    assert len(seen) >= 3
    assert max(seen) <= SMALL_PRODUCT

"""The product of two matrices: exact on integers in every backend, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from thread_counts import on_threads
from threadpoolctl import threadpool_limits

from minicnn import backend
from minicnn.backend.cpu import threads
from minicnn.backend.cpu.matmul import LARGE_PRODUCT, matmul

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


VECTORS = [(1, 1 << 18, 1), (64, 4000, 1), (1, 4000, 60)]


@pytest.mark.parametrize(("M", "K", "N"), VECTORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bits_do_not_depend_on_the_threads_of_blas(M, K, N, dtype):
    """OpenBLAS splits products with vectors that are far smaller than matrices that it splits."""
    rng = np.random.default_rng(M)
    a, b = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((K, N)).astype(dtype)
    results = []
    for number in (1, 2, 3):
        with threadpool_limits(number, user_api="blas"):
            results.append(matmul(a, b))
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


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


LARGE = [(16, 3000, 800), (800, 16, 3000), (3000, 90, 200), (300, 400, 300), (2, 1 << 22, 9)]


@pytest.mark.parametrize(("M", "K", "N"), [(64, 400, 120), *LARGE])
def test_the_bits_do_not_depend_on_the_number_of_threads(M, K, N):
    rng = np.random.default_rng(M)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in [(M, K), (N, K)])
    first, *others = on_threads(lambda: matmul(a, b.T))
    for y in others:
        np.testing.assert_array_equal(y, first)
    size = np.abs(a.astype(np.float64)) @ np.abs(b.T.astype(np.float64))
    error = np.abs(first - a.astype(np.float64) @ b.T.astype(np.float64))
    assert (error <= 1e-5 * size).all()


@pytest.mark.parametrize(("M", "K", "N"), [(64, 400, 120), *VECTORS, *LARGE])
def test_blas_keeps_to_one_thread_where_it_would_split(M, K, N, monkeypatch):
    seen = []
    whole = np.matmul

    def watched(a, b, **options):
        seen.append(threads.one_blas_thread._users)
        return whole(a, b, **options)

    monkeypatch.setattr(np, "matmul", watched)
    matmul(np.ones((M, K), np.float32), np.ones((K, N), np.float32))
    assert len(seen) >= (1 if M * K * N <= LARGE_PRODUCT else 2)
    assert min(seen) >= 1


@given(
    st.sampled_from([(), (3,), (1,), (0,), (2, 3), (3, 1)]),
    st.sampled_from([(), (3,), (1,), (2, 1)]),
    st.tuples(sizes, sizes, sizes),
    st.booleans(),
)
def test_stacks_agree_with_the_reference(left, right, shape, turned):
    M, K, N = shape
    rng = np.random.default_rng(M + K + N)
    a, b = rng.integers(-9, 10, (*left, M, K)) * 1.0, rng.integers(-9, 10, (*right, K, N)) * 1.0
    if turned:
        a = np.asfortranarray(a)
    try:
        expected = np.einsum("...mk,...kn->...mn", a, b)
    except ValueError:
        for module in (backend.reference, backend.cpu):
            with pytest.raises(ValueError, match="broadcast"):
                module.matmul(a, b)
        return
    for module in (backend.reference, backend.cpu):
        np.testing.assert_array_equal(module.matmul(a, b), expected)


@pytest.mark.parametrize(
    ("left", "right"), [((40,), (40,)), ((40,), ()), ((), (40,)), ((2, 1), (40,)), ((40, 1), (2,))]
)
def test_large_stacks_have_the_same_bits_on_any_number_of_threads(left, right):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, (*stack, 80, 80)).astype(np.float32) for stack in (left, right))
    for y in on_threads(lambda: matmul(a, b)):
        np.testing.assert_array_equal(y, a.astype(np.int64) @ b.astype(np.int64))


def test_half_precision_is_summed_in_single():
    a = np.ones((1, 4096), np.float16)
    y = matmul(a, a.T)
    assert y.dtype == np.float16
    assert y[0, 0] == 4096  # in half precision the sum would stay at 2048

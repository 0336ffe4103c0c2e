"""A sparse matrix along one axis: every backend, every memory order, adjoints, no lost entries."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend import cpu, reference
from minicnn.backend.taps import Taps

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
given, settings = hypothesis.given, hypothesis.settings


def dense(taps):
    A = np.zeros(taps.shape)
    A[taps.rows, taps.columns] = 1 if taps.weights is None else taps.weights
    return A


@st.composite
def matrices(draw):
    """Any entries, some rows and columns empty, some crowded; weights are small integers."""
    m, n = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    count = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns = rng.integers(0, m, count), rng.integers(0, n, count)
    weights = rng.integers(-3, 4, count).astype(float)
    taps = Taps.of((m, n), rows, columns, weights)
    if draw(st.booleans()):  # numbers are copied: each row reads one column
        rows = np.unique(rows)
        taps = Taps((m, n), rows, rng.integers(0, n, len(rows)), None)
    return taps


@settings(max_examples=150)
@given(
    taps=matrices(),
    axis=st.integers(0, 3),
    order=st.sampled_from(["NCHW", "NHWC", "CHWN", "reversed", "gaps"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 1000),
)
def test_the_backends_agree_to_the_bit(laid_out, taps, axis, order, dtype, seed):
    rng = np.random.default_rng(seed)
    for A in (taps, taps.transposed):
        shape = [int(k) for k in rng.integers(0, 4, 4)]
        shape[axis] = A.shape[1]
        x = rng.integers(-9, 10, shape).astype(dtype)
        wanted = reference.resample(x, A, axis)
        y = cpu.resample(laid_out(x, order), A, axis)
        assert y.dtype == wanted.dtype == dtype and np.array_equal(y, wanted)
        moved = np.tensordot(dense(A), x, (1, axis))
        assert np.array_equal(np.moveaxis(moved, 0, axis), wanted)


@given(taps=matrices(), seed=st.integers(0, 1000))
def test_transposed_is_the_adjoint(taps, seed):
    """<A x, g> = <x, A^T g>, exactly, on integers."""
    m, n = taps.shape
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 10, (2, n, 3)).astype(float)
    g = rng.integers(-9, 10, (2, m, 3)).astype(float)
    left = (cpu.resample(x, taps, 1) * g).sum()
    assert left == (x * cpu.resample(g, taps.transposed, 1)).sum()
    assert taps.transposed.transposed is taps
    assert np.array_equal(dense(taps.transposed), dense(taps).T)


def test_entries_of_one_place_are_added():
    taps = Taps.of((2, 3), [1, 0, 1, 1], [2, 0, 2, 1], np.array([1.0, 2, 3, 0]))
    assert dense(taps).tolist() == [[2, 0, 0], [0, 0, 4]]
    assert len(taps.rows) == 2  # a weight of zero is no entry


def test_a_nan_reaches_those_that_read_it_alone():
    taps = Taps.of((3, 3), [0, 1, 1, 2], [0, 0, 1, 2], np.array([1.0, 2, 3, 4]))
    x = np.array([np.nan, 1, 1])
    for module in (cpu, reference):
        assert np.isnan(module.resample(x, taps, 0)).tolist() == [True, True, False]


@pytest.mark.parametrize("count", [3, 30])
def test_half_precision_is_summed_in_single(count):
    """2048 + 1 is 2048 in float16: only a sum that is rounded once comes out right."""
    x = np.ones(count, np.float16)
    x[0] = 2048
    taps = Taps((1, count), np.zeros(count, int), np.arange(count), None)
    for module in (cpu, reference):
        y = module.resample(x, taps, 0)
        assert y.dtype == np.float16 and y[0] == np.float16(2047 + count)


def test_inputs_are_not_changed_and_the_memory_order_is_kept():
    x = np.asfortranarray(np.random.default_rng(0).standard_normal((3, 4, 5)))
    before = x.copy()
    identity = Taps((4, 4), np.arange(4), np.arange(4), None)
    assert identity.is_identity
    y = cpu.resample(x, identity, 1)
    assert np.array_equal(x, before) and np.array_equal(y, x)
    assert y.flags.f_contiguous and not np.shares_memory(x, y)

"""The error function: cpu beside the reference loops, in every type and order in memory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minicnn.backend import cpu, reference

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
given = hypothesis.given

NAMES = ["erf", "erfc"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_digits(name, dtype):
    """Relative to the value; erfc's error grows with x^2, that of e^(-x^2)."""
    x = np.concatenate([np.linspace(-6, 6, 1501), np.geomspace(1e-30, 27, 500)]).astype(dtype)
    wanted = np.array([getattr(math, name)(v) for v in x.tolist()])
    seen = np.abs(wanted) > np.finfo(dtype).tiny
    error = np.abs(getattr(cpu, name)(x)[seen] / wanted[seen] - 1)
    bound = 3 if name == "erf" else 3 * (1 + x[seen].astype(float) ** 2)
    assert np.all(error <= bound * np.finfo(dtype).eps)


@pytest.mark.parametrize("backend", [cpu, reference])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_extremes(backend, dtype):
    x = np.array([0, -0.0, np.inf, -np.inf, np.finfo(dtype).max, np.nan], dtype)
    erf, erfc = backend.erf(x), backend.erfc(x)
    assert erf.dtype == erfc.dtype == dtype
    assert erf[:5].tolist() == [0, 0, 1, -1, 1] and np.isnan(erf[5]) and np.signbit(erf[1])
    assert erfc[:5].tolist() == [1, 1, 0, 2, 0] and np.isnan(erfc[5])


@pytest.mark.parametrize("name", NAMES)
@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    seed=st.integers(0, 99),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    data=st.data(),
)
def test_cpu_is_the_reference(name, shape, seed, dtype, data):
    x = np.random.default_rng(seed).normal(0, 2, shape).astype(dtype)
    x = x.transpose(data.draw(st.permutations(range(x.ndim))))
    for axis in range(x.ndim):
        x = np.flip(x, axis) if data.draw(st.booleans()) else x
    if x.ndim and data.draw(st.booleans()):
        x = np.broadcast_to(x[..., :1], x.shape) if x.shape[-1] else x
    before = x.copy()
    y = getattr(cpu, name)(x)
    assert np.array_equal(x, before) and y.dtype == dtype and y.shape == x.shape
    wanted = getattr(reference, name)(x)
    np.testing.assert_allclose(y, wanted, rtol=200 * np.finfo(dtype).eps)


def test_blocks_join():
    x = np.random.default_rng(0).normal(size=(3, 12345)).T
    assert np.array_equal(cpu.erf(x)[7000:], cpu.erf(x[7000:]))
    assert cpu.erf(x).strides == x.strides  # the order in memory is kept

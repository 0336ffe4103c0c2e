"""Root mean square norm and the sums of local response norm: cpu beside the reference loops."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F
from minicnn.backend import cpu, reference

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
given = hypothesis.given

BACKENDS = pytest.mark.parametrize("backend", [cpu, reference])
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(["float16", "float32", "float64"])
shapes = st.lists(st.integers(0, 5), min_size=2, max_size=5)


def laid_out(x, data):
    """x itself, in another order in memory."""
    axes = data.draw(st.permutations(range(x.ndim)))
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


@given(shapes, st.integers(0, 6), st.integers(0, 6), dtypes, seeds, st.data())
def test_channel_sums_bit_for_bit(shape, before, after, dtype, seed, data):
    rng = np.random.default_rng(seed)
    x, g = rng.integers(-9, 10, (2, *shape)).astype(dtype)
    kept = x.copy()
    y = cpu.channel_sums(laid_out(x, data), before, after)
    assert np.array_equal(y, reference.channel_sums(x, before, after)) and y.dtype == dtype
    assert np.array_equal(x, kept)
    # The adjoint is the same with the window's ends exchanged.
    adjoint = cpu.channel_sums(g, after, before)
    wide = [a.astype(float) for a in (y, g, x, adjoint)]
    assert (wide[0] * wide[1]).sum() == (wide[2] * wide[3]).sum()


@BACKENDS
def test_channel_sums_by_hand(backend):
    x = np.array([[[1.0], [2], [4], [8]]])
    assert backend.channel_sums(x, 1, 0).ravel().tolist() == [1, 3, 6, 12]
    assert backend.channel_sums(x, 0, 2).ravel().tolist() == [7, 14, 12, 8]
    assert backend.channel_sums(x, 9, 9).ravel().tolist() == [15] * 4


@given(st.integers(0, 5), st.integers(0, 6), st.booleans(), dtypes, seeds, st.data())
def test_rms_norm(N, C, weighted, dtype, seed, data):
    rng = np.random.default_rng(seed)
    x, grad_y = rng.normal(size=(2, N, C)).astype(dtype)
    w = rng.normal(size=C).astype(dtype) if weighted else None
    tolerance = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-12}[dtype]

    def same(found, wanted):
        for a, b in zip(found, wanted, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)

    wanted = reference.rms_norm_forward(x, w, 0.1)
    same(cpu.rms_norm_forward(laid_out(x, data), w, 0.1), wanted)
    r = wanted[1]
    wanted = reference.rms_norm_backward(grad_y, x, w, r)
    same(cpu.rms_norm_backward(laid_out(grad_y, data), laid_out(x, data), w, r), wanted)


@BACKENDS
def test_rms_norm_by_hand(backend):
    y, r = backend.rms_norm_forward(np.array([[1.0, 7.0]]), None, 0.0)
    np.testing.assert_allclose(y, [[0.2, 1.4]], rtol=1e-15)
    np.testing.assert_allclose(r, [0.2], rtol=1e-15)
    grads = backend.rms_norm_backward(np.array([[1.0, 0.0]]), np.array([[1.0, 7.0]]), None, r)
    np.testing.assert_allclose(grads[0], [[0.196, -0.028]], rtol=1e-14)
    np.testing.assert_allclose(grads[1], [0.2, 0], rtol=1e-15)


@BACKENDS
@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_rms_norm_is_silent(backend, eps):
    x = np.array([[0.0, 0], [np.inf, 1], [np.nan, 1], [1e200, 1e200], [1e-200, 0]])
    y, _ = backend.rms_norm_forward(x, np.ones(2), eps)
    assert np.isnan(y[1:3, 0]).all() and np.array_equal(y[3], [0, 0])


def by_loops(x, sets, eps):
    """Each set of places in x, normalised: one number after the other."""
    y = np.empty_like(x)
    for places in sets:
        M = len(places)
        mean = sum(x[place] for place in places) / M
        var = sum((x[place] - mean) ** 2 for place in places) / M
        for place in places:
            y[place] = (x[place] - mean) / (var + eps) ** 0.5
    return y


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_layer_group_and_instance_norm_beside_plain_loops(backend):
    """They run on group norm's primitives; their sets are cut out here place by place."""
    N, C, H, W, G = 2, 4, 3, 2, 2
    x = np.random.default_rng(0).normal(1, 2, (N, C, H, W))
    layer, group, instance = {}, {}, {}
    for n, c, i, j in np.ndindex(x.shape):
        layer.setdefault(n, []).append((n, c, i, j))
        group.setdefault((n, c // (C // G)), []).append((n, c, i, j))
        instance.setdefault((n, c), []).append((n, c, i, j))
    with minicnn.use_backend(backend):
        found = F.layer_norm(x, (C, H, W)), F.group_norm(x, G), F.instance_norm(x)
    for y, sets in zip(found, (layer, group, instance), strict=True):
        np.testing.assert_allclose(y, by_loops(x, sets.values(), 1e-5), rtol=1e-12)

"""Each formula of functional/pool.py, evaluated as it stands there, against the code."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import functional as F
from minicnn.autograd import Tensor
from minicnn.functional.pool import AvgPool, AvgPoolAdjoint, MaxPoolGather, MaxPoolScatter


@st.composite
def problems(draw, dilated=True):
    """x's shape (N, C, L), (N, C, H, W) or (N, C, D, H, W), and the windows."""
    dims = draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(dims)]
    D = [draw(st.integers(1, 2)) if dilated else 1 for _ in kernel]
    options = {
        "kernel_size": tuple(kernel),
        "stride": tuple([draw(st.integers(1, 3)) for _ in kernel]),
        "padding": tuple([draw(st.integers(0, k // 2)) for k in kernel]),
        "ceil_mode": draw(st.booleans()),
    }
    if dilated:
        options["dilation"] = tuple(D)
    # At least 2: a dilated window can step over an input of one pixel.
    size = [
        max(2, d * (k - 1) + 1) + draw(st.integers(0, 2)) for k, d in zip(kernel, D, strict=True)
    ]
    return (2, 2, *size), options


def windows(shape, out_size, kernel_size, stride, padding, ceil_mode, dilation=None):
    """Formula (1): every window with its R, and how many places it has with the padding."""
    dims = range(len(out_size))
    K, S, P, D = kernel_size, stride, padding, dilation or [1] * len(out_size)
    for o in np.ndindex(*out_size):
        lines = [[o[a] * S[a] + p * D[a] - P[a] for p in range(K[a])] for a in dims]
        inside = [place for place in product(*lines) if is_inside(place, shape[2:])]
        padded = np.prod([sum(h < shape[2 + a] + P[a] for h in lines[a]) for a in dims])
        yield o, inside, int(padded)


def is_inside(place, size):
    return all(0 <= h < H for h, H in zip(place, size, strict=True))


def pool(name, shape):
    return getattr(F, f"{name}_pool{len(shape) - 2}d")


def distinct(shape):
    return np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape).astype(float)


def integers(seed, shape):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(float)


def leaf(array):
    return Tensor(np.array(array, float), requires_grad=True)


@given(problems())
def test_1_where_windows_look(problem):
    """One pixel is set at a time: the windows that see it are those whose R it is in."""
    shape, options = problem
    y = pool("max", shape)(np.zeros(shape), **options)
    R = {o: inside for o, inside, _ in windows(shape, y.shape[2:], **options)}
    for place in np.ndindex(*shape[2:]):
        x = np.zeros(shape)
        x[:, :, *place] = 1
        y = pool("max", shape)(x, **options)
        for o in np.ndindex(*y.shape[2:]):
            assert (y[0, 0, *o] == 1) == (place in R[o])


@given(problems())
def test_the_number_of_windows(problem):
    shape, options = problem
    y = pool("max", shape)(np.zeros(shape), **options)
    K, S, P, D = [options[name] for name in ("kernel_size", "stride", "padding", "dilation")]
    for a, OH in enumerate(y.shape[2:]):
        room, H = shape[2 + a] + 2 * P[a] - D[a] * (K[a] - 1) - 1, shape[2 + a]
        # The last window lies in the padded input whole, or, with ceil_mode, begins in or before x.
        starts = range(-P[a], room - P[a] + 1, S[a])
        if options["ceil_mode"]:
            hanging = room - P[a] + S[a] - 1
            starts = [h for h in range(-P[a], hanging + 1, S[a]) if h < H]
        assert len(starts) == OH


@given(problems())
def test_2_3_the_maximum_and_its_gradient(problem):
    shape, options = problem
    x = leaf(distinct(shape))
    y, indices = pool("max", shape)(x, **options, return_indices=True)
    grad_y = integers(1, y.shape)
    y.backward(Tensor(grad_y))
    wanted, grad_x = np.zeros(y.shape), np.zeros(shape)
    for o, inside, _ in windows(shape, y.shape[2:], **options):
        for n, c in np.ndindex(*shape[:2]):
            a = max(inside, key=lambda place, n=n, c=c: x.array[n, c, *place])
            wanted[n, c, *o] = x.array[n, c, *a]
            grad_x[n, c, *a] += grad_y[n, c, *o]
            assert indices.array[n, c, *o] == np.ravel_multi_index(a, shape[2:])
    assert np.array_equal(y.detach().array, wanted)
    assert np.array_equal(x.grad.array, grad_x)


@given(problems())
def test_4_scatter_and_gather(problem):
    shape, options = problem
    y, indices = pool("max", shape)(distinct(shape), **options, return_indices=True)
    v, g = integers(2, shape), integers(3, y.shape)
    gathered = MaxPoolGather.apply(v, indices)
    for n, c, *o in np.ndindex(*y.shape):
        a = np.unravel_index(indices[n, c, *o], shape[2:])
        assert gathered[n, c, *o] == v[n, c, *a]
    scattered = MaxPoolScatter.apply(g, indices, x_shape=shape)
    assert (scattered * v).sum() == (g * gathered).sum()


@given(problems(dilated=False), st.booleans(), st.sampled_from([None, None, 3, -2]))
def test_5_6_the_average_and_its_gradient(problem, count_include_pad, override):
    shape, options = problem
    more = {"count_include_pad": count_include_pad}
    if len(shape) > 3:
        more["divisor_override"] = override
    x = leaf(distinct(shape))
    y = pool("avg", shape)(x, **options, **more)
    grad_y = integers(1, y.shape)
    y.backward(Tensor(grad_y))
    wanted, grad_x = np.zeros(y.shape), np.zeros(shape)
    for o, inside, padded in windows(shape, y.shape[2:], **options):
        d = more.get("divisor_override") or (padded if count_include_pad else len(inside))
        for place in inside:
            wanted[:, :, *o] += x.array[:, :, *place] / d
            grad_x[:, :, *place] += grad_y[:, :, *o] / d
    np.testing.assert_allclose(y.detach().array, wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(x.grad.array, grad_x, rtol=1e-12, atol=1e-12)


@given(problems(dilated=False))
def test_5_is_the_adjoint_of_6(problem):
    shape, options = problem
    geometry = minicnn.backend.PoolGeometry.of(
        shape, **options, function=f"avg_pool{len(shape) - 2}d"
    )
    x = integers(2, shape)
    y = AvgPool.apply(x, geometry=geometry)
    g = integers(3, y.shape)
    grad_x = AvgPoolAdjoint.apply(g, x_shape=shape, geometry=geometry)
    np.testing.assert_allclose((y * g).sum(), (x * grad_x).sum(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    g = Tensor(np.array([[[[1.0, 2], [3, 4]]]]))
    with minicnn.use_backend(backend):
        x = leaf([[[[1, 2, 3], [4, 9, 6], [7, 8, 5]]]])
        y = F.max_pool2d(x, 2, 1)
        y.backward(g)
        assert y.detach().array.tolist() == [[[[9, 9], [9, 9]]]]
        assert x.grad.array.tolist() == [[[[0, 0, 0], [0, 1 + 2 + 3 + 4, 0], [0, 0, 0]]]]
        x = leaf([[[[1, 2, 3], [4, 9, 6], [7, 8, 5]]]])
        y = F.avg_pool2d(x, 2, 1)
        y.backward(g)
        assert (y.detach().array * 4).tolist() == [[[[16, 20], [28, 28]]]]
        assert (x.grad.array * 4).tolist() == [[[[1, 3, 2], [4, 10, 6], [3, 7, 4]]]]

"""Pooling: every formula of its derivation against the code, derivatives, ties, parity, errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn.autograd import GradcheckError, Tensor, gradcheck, gradgradcheck
from minicnn.functional import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    max_pool2d,
)
from minicnn.functional.pool import MaxPoolGather, MaxPoolScatter

few = settings(max_examples=25, deadline=None, derandomize=True)
BACKENDS = ["cpu", "reference"]


def leaf(array):
    return Tensor(np.array(array, float), requires_grad=True)


def distinct(seed, shape):
    """Values all at least 1 apart, so that no small step changes a maximum."""
    values = np.random.default_rng(seed).permutation(math.prod(shape))
    return values.reshape(shape).astype(np.float64)


@st.composite
def problems(draw, dilation=True):
    """x's shape and the windows' options."""
    kernel = tuple(draw(st.integers(1, 3)) for _ in "hw")
    D = tuple(draw(st.integers(1, 2)) for _ in "hw") if dilation else (1, 1)
    options = {
        "kernel_size": kernel,
        "stride": draw(st.sampled_from([None, 1, 2, 3, (1, 2)])),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }
    if dilation:
        options["dilation"] = D
    size = [d * (k - 1) + 1 + draw(st.integers(0, 4)) for k, d in zip(kernel, D, strict=True)]
    return (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *size), options


def windows(shape, out_size, options):
    """R(i,j) of formula (1) for every (i,j), and how many places it has, padding included."""
    KH, KW = options["kernel_size"]
    S = options["stride"] or (KH, KW)
    S = (S, S) if isinstance(S, int) else S
    (P, Q), (D, E) = options["padding"], options.get("dilation", (1, 1))
    H, W = shape[2:]
    for i, j in np.ndindex(*out_size):
        rows = [i * S[0] + p * D - P for p in range(KH)]
        columns = [j * S[1] + q * E - Q for q in range(KW)]
        inside = [(h, k) for h in rows for k in columns if 0 <= h < H and 0 <= k < W]
        padded = sum(h < H + P for h in rows) * sum(k < W + Q for k in columns)
        yield i, j, inside, padded


def adaptive(H, OH):
    """Formula (7)."""
    return [range(math.floor(i * H / OH), math.ceil((i + 1) * H / OH)) for i in range(OH)]


# ---------------------------------------------------------------------- the derivation


@pytest.mark.parametrize("backend", BACKENDS)
def test_example_by_hand(backend):
    g = Tensor(np.array([[[[1.0, 2], [3, 4]]]]))
    with minicnn.use_backend(backend):
        x = leaf([[[[1, 2, 3], [4, 9, 6], [7, 8, 5]]]])
        y = max_pool2d(x, 2, 1)
        y.backward(g)
        assert y.detach().array.tolist() == [[[[9, 9], [9, 9]]]]
        assert x.grad.array.tolist() == [[[[0, 0, 0], [0, 10, 0], [0, 0, 0]]]]
        x = leaf([[[[1, 2, 3], [4, 9, 6], [7, 8, 5]]]])
        y = avg_pool2d(x, 2, 1)
        y.backward(g)
        assert (y.detach().array * 4).tolist() == [[[[16, 20], [28, 28]]]]
        assert (x.grad.array * 4).tolist() == [[[[1, 3, 2], [4, 10, 6], [3, 7, 4]]]]


@few
@given(problems())
def test_max_formulas_2_to_4(problem):
    shape, options = problem
    x = leaf(distinct(0, shape))
    y, indices = max_pool2d(x, **options, return_indices=True)
    grad_y = np.random.default_rng(1).integers(-4, 5, y.shape).astype(float)
    y.backward(Tensor(grad_y))
    wanted, grad_x = np.zeros(y.shape), np.zeros(shape)
    for i, j, inside, _ in windows(shape, y.shape[2:], options):
        for n, c in np.ndindex(*shape[:2]):
            h, k = max(inside, key=lambda place, n=n, c=c: x.array[n, c, *place])
            wanted[n, c, i, j] = x.array[n, c, h, k]
            assert indices.array[n, c, i, j] == h * shape[3] + k
            grad_x[n, c, h, k] += grad_y[n, c, i, j]
    assert np.array_equal(y.detach().array, wanted)
    assert np.array_equal(x.grad.array, grad_x)
    v = np.random.default_rng(2).integers(-4, 5, shape).astype(float)
    gathered = MaxPoolGather.apply(v, indices.array)
    flat = v.reshape(*shape[:2], -1)
    taken = np.take_along_axis(flat, indices.array.reshape(*shape[:2], -1), 2)
    assert np.array_equal(gathered, taken.reshape(y.shape))
    scattered = MaxPoolScatter.apply(grad_y, indices.array, x_shape=shape)
    assert (scattered * v).sum() == (grad_y * gathered).sum()


@few
@given(problems(dilation=False), st.booleans(), st.sampled_from([None, 3, -2]))
def test_average_formulas_5_and_6(problem, count_include_pad, override):
    shape, options = problem
    more = {"count_include_pad": count_include_pad, "divisor_override": override}
    x = leaf(distinct(0, shape))
    y = avg_pool2d(x, **options, **more)
    grad_y = np.random.default_rng(1).integers(-4, 5, y.shape).astype(float)
    y.backward(Tensor(grad_y))
    wanted, grad_x = np.zeros(y.shape), np.zeros(shape)
    for i, j, inside, padded in windows(shape, y.shape[2:], options):
        d = override or (padded if count_include_pad else len(inside))
        for h, k in inside:
            wanted[:, :, i, j] += x.array[:, :, h, k] / d
            grad_x[:, :, h, k] += grad_y[:, :, i, j] / d
    np.testing.assert_allclose(y.detach().array, wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(x.grad.array, grad_x, rtol=1e-12, atol=1e-12)


def test_what_the_divisor_counts():
    x = np.ones((1, 1, 3, 3))
    ninths = avg_pool2d(x, 3, 2, 1)[0, 0] * 9
    np.testing.assert_allclose(ninths, [[4, 4], [4, 4]])  # the padding counts
    assert np.all(avg_pool2d(x, 3, 2, 1, count_include_pad=False) == 1)
    hanging = avg_pool2d(x, 2, 2, ceil_mode=True)
    assert np.all(hanging == 1)  # what hangs over the end never counts
    assert avg_pool2d(x, 2, 2, divisor_override=1).item() == 4


@few
@given(*[st.integers(1, 7)] * 2, *[st.integers(1, 5)] * 2)
def test_adaptive_formula_7(H, W, OH, OW):
    shape = (2, 2, H, W)
    x, z = leaf(distinct(0, shape)), leaf(distinct(0, shape))
    mean, largest = adaptive_avg_pool2d(x, (OH, OW)), adaptive_max_pool2d(z, (OH, OW))
    grad_y = np.random.default_rng(1).integers(-4, 5, mean.shape).astype(float)
    mean.backward(Tensor(grad_y))
    largest.backward(Tensor(grad_y))
    grad_mean, grad_largest = np.zeros(shape), np.zeros(shape)
    for i, rows in enumerate(adaptive(H, OH)):
        for j, columns in enumerate(adaptive(W, OW)):
            window = np.ix_(range(2), range(2), rows, columns)
            part = x.array[window]
            np.testing.assert_allclose(mean.detach().array[:, :, i, j], part.mean(axis=(2, 3)))
            assert np.array_equal(largest.detach().array[:, :, i, j], part.max(axis=(2, 3)))
            g = grad_y[:, :, i : i + 1, j : j + 1]
            grad_mean[window] += g / (len(rows) * len(columns))
            grad_largest[window] += g * (part == part.max(axis=(2, 3), keepdims=True))
    np.testing.assert_allclose(x.grad.array, grad_mean, rtol=1e-12, atol=1e-12)
    assert np.array_equal(z.grad.array, grad_largest)


def test_adaptive_windows_cover_every_row():
    for H in range(1, 12):
        for OH in range(1, 12):
            rows = [set(w) for w in adaptive(H, OH)]
            assert set.union(*rows) == set(range(H))
            if OH <= H:
                shared = [len(a & b) for a, b in itertools.pairwise(rows)]
                assert max(shared, default=0) <= 1
                assert H % OH or not any(shared)


# ---------------------------------------------------------------------- derivatives

CASES = {
    "max": lambda x: max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max overlapping, dilated": lambda x: max_pool2d(x, (2, 3), 1, (0, 1), (2, 1)),
    "avg": lambda x: avg_pool2d(x, 3, 2, 1, True, False),
    "avg overlapping": lambda x: avg_pool2d(x, (3, 2), 1, divisor_override=5),
    "adaptive avg": lambda x: adaptive_avg_pool2d(x, (3, None)),
    "adaptive max": lambda x: adaptive_max_pool2d(x, (4, 2)),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_gradcheck(name, backend):
    shape = (2, 2, 6, 5) if backend == "cpu" else (1, 1, 6, 5)
    with minicnn.use_backend(backend):
        # Divided: gradcheck's largest step moves values by about a sixth of their size.
        assert gradcheck(CASES[name], leaf(distinct(0, shape)))


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives(name):
    x = leaf(distinct(0, (2, 2, 6, 5)))
    assert gradgradcheck(CASES[name], x)
    assert gradgradcheck(lambda x: CASES[name](x * x * 0.01), x)  # one that is not zero


def test_ties_go_to_the_first_in_reading_order():
    x = leaf(np.ones((1, 1, 3, 3)))
    y, indices = max_pool2d(x, 2, 1, return_indices=True)
    assert indices.array.tolist() == [[[[0, 1], [3, 4]]]]
    y.backward(Tensor(np.array([[[[1.0, 2], [3, 4]]]])))
    assert x.grad.array.tolist() == [[[[1, 2, 0], [3, 4, 0], [0, 0, 0]]]]
    with pytest.raises(GradcheckError, match="kink or tie"):
        gradcheck(lambda x: max_pool2d(x, 2, 1), x)


def test_nan_and_infinity():
    x = np.array([[[[1.0, np.nan], [5, 2]]]])
    y, indices = max_pool2d(x, 2, return_indices=True)
    assert np.isnan(y[0, 0, 0, 0]) and indices[0, 0, 0, 0] == 1
    x = np.full((1, 1, 2, 2), -np.inf)
    y, indices = max_pool2d(x, 2, 2, 1, return_indices=True)
    assert np.all(y == -np.inf)
    assert indices.ravel().tolist() == [0, 1, 2, 3]  # a pixel wins, not the padding
    assert np.isnan(avg_pool2d(np.array([[[[1.0, np.nan]]]]), (1, 2))).all()


# ---------------------------------------------------------------------- shapes and types


@pytest.mark.parametrize("name", CASES)
def test_shapes_types_and_memory_orders(name):
    pool, x = CASES[name], distinct(0, (2, 3, 6, 5))
    assert np.array_equal(pool(x[0]), pool(x)[0])
    assert gradcheck(pool, leaf(x[0]))
    assert pool(x.astype(np.float32)).dtype == np.float32
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(pool(channels_last), pool(x))
    assert np.array_equal(pool(np.repeat(x, 2, axis=3)[:, :, :, ::2]), pool(x))
    empty = leaf(np.zeros((0, 3, 6, 5)))
    y = pool(empty)
    assert y.shape == (0, *pool(x).shape[1:])
    y.backward(Tensor(np.zeros(y.shape)))
    assert empty.grad.shape == empty.shape


def test_return_indices_of_a_single_image():
    x = distinct(0, (2, 4, 4))
    for pool in (max_pool2d, adaptive_max_pool2d):
        y, indices = pool(Tensor(x), 2, return_indices=True)
        assert y.shape == indices.shape == (2, 2, 2)
        assert indices.dtype == np.int64 and not indices.requires_grad
        flat = np.take_along_axis(x.reshape(2, -1), indices.array.reshape(2, -1), 1)
        assert np.array_equal(flat.reshape(2, 2, 2), y.array)


def test_the_input_is_not_kept_for_max_pooling():
    y = max_pool2d(leaf(distinct(0, (1, 1, 4, 4))), 2)
    assert [a.dtype.kind for a in y.grad_fn._saved] == ["i"]


x4 = np.zeros((1, 1, 4, 4))


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (ValueError, "max_pool2d: padding expects at most half", lambda: max_pool2d(x4, 2, 1, 2)),
        (ValueError, "avg_pool2d: .*more than the padded input", lambda: avg_pool2d(x4, 5)),
        (ValueError, "max_pool2d: kernel_size expects positive", lambda: max_pool2d(x4, 0)),
        (ValueError, "max_pool2d: stride expects positive", lambda: max_pool2d(x4, 2, 0)),
        (ValueError, "avg_pool2d: x expects 4 axes", lambda: avg_pool2d(x4[0, 0], 2)),
        (TypeError, "max_pool2d: ceil_mode expects True", lambda: max_pool2d(x4, 2, ceil_mode=1)),
        (TypeError, "avg_pool2d: x expects a floating", lambda: avg_pool2d(x4.astype(int), 2)),
        (TypeError, "max_pool2d: x expects a Tensor", lambda: max_pool2d([[1.0]], 2)),
        (
            ValueError,
            "avg_pool2d: divisor_override expects an integer other than 0, got 0",
            lambda: avg_pool2d(x4, 2, divisor_override=0),
        ),
        (
            TypeError,
            "avg_pool2d: divisor_override expects an integer or None, got 1.5",
            lambda: avg_pool2d(x4, 2, divisor_override=1.5),
        ),
        (
            ValueError,
            "adaptive_avg_pool2d: output_size expects positive",
            lambda: adaptive_avg_pool2d(x4, 0),
        ),
        (
            ValueError,
            "adaptive_max_pool2d: x expects 4 axes",
            lambda: adaptive_max_pool2d(x4[0, 0], 2),
        ),
    ],
)
def test_errors(error, text, call):
    with pytest.raises(error, match=text):
        call()


# ---------------------------------------------------------------------- parity


def same(ours, theirs, x, tolerance):
    torch = pytest.importorskip("torch")
    tx, cx = leaf(0), torch.tensor(x, requires_grad=True)
    tx.array = x
    y, ty = ours(tx), theirs(cx)
    if isinstance(y, tuple):
        assert np.array_equal(y[1].array, ty[1].numpy())
        y, ty = y[0], ty[0]
    g = np.random.default_rng(5).normal(size=y.shape).astype(x.dtype)
    y.backward(Tensor(g))
    ty.backward(torch.tensor(g))
    for a, b in ((y.detach(), ty.detach()), (tx.grad, cx.grad)):
        np.testing.assert_allclose(a.array, b.numpy(), rtol=tolerance, atol=tolerance, strict=True)


@few
@given(problems(), problems(dilation=False), st.booleans(), st.sampled_from([1, 0]))
def test_parity_with_pytorch(max_problem, avg_problem, include, single):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    dtype, tolerance = (np.float32, 1e-5) if single else (np.float64, 1e-10)
    shape, options = max_problem
    x = np.random.default_rng(0).integers(-3, 4, shape).astype(dtype)  # with ties
    options["return_indices"] = True
    same(lambda x: max_pool2d(x, **options), lambda x: F.max_pool2d(x, **options), x, tolerance)
    shape, options = avg_problem
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    options["count_include_pad"] = include
    same(lambda x: avg_pool2d(x, **options), lambda x: F.avg_pool2d(x, **options), x, tolerance)
    size = (avg_problem[1]["kernel_size"][0] + 1, None)
    same(
        lambda x: adaptive_avg_pool2d(x, size),
        lambda x: F.adaptive_avg_pool2d(x, size),
        x,
        tolerance,
    )
    same(
        lambda x: adaptive_max_pool2d(x, size, True),
        lambda x: F.adaptive_max_pool2d(x, size, True),
        x,
        tolerance,
    )

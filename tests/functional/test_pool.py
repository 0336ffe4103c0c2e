"""Pooling: derivatives, ties, shapes and types, parity, errors. Formulas: tests/formulas."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn import functional
from minicnn.autograd import GradcheckError, Tensor, gradcheck, gradgradcheck
from minicnn.backend import cpu
from minicnn.functional import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)

few = settings(max_examples=25, deadline=None, derandomize=True)
BACKENDS = ["cpu", "reference"]


def leaf(array):
    return Tensor(np.array(array, float), requires_grad=True)


def distinct(seed, shape):
    """Values all at least 1 apart, so that no small step changes a maximum."""
    values = np.random.default_rng(seed).permutation(math.prod(shape))
    return values.reshape(shape).astype(np.float64)


def of(name, dims):
    """The function of that name in 1, 2 or 3 dimensions."""
    return getattr(functional, name.replace("#", f"{dims}d"))


@st.composite
def problems(draw, dilation=True):
    """x's shape and the windows' options."""
    dims = draw(st.integers(1, 3))
    kernel = tuple([draw(st.integers(1, 3)) for _ in range(dims)])
    D = tuple([draw(st.integers(1, 2)) for _ in kernel]) if dilation else (1,) * dims
    options = {
        "kernel_size": kernel,
        "stride": draw(st.sampled_from([None, 1, 2, 3])),
        "padding": tuple([draw(st.integers(0, k // 2)) for k in kernel]),
        "ceil_mode": draw(st.booleans()),
    }
    if dilation:
        options["dilation"] = D
    rest = st.integers(0, 4 if dims < 3 else 1)
    size = [d * (k - 1) + 1 + draw(rest) for k, d in zip(kernel, D, strict=True)]
    return (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *size), options


def test_what_the_divisor_counts():
    x = np.ones((1, 1, 3, 3))
    ninths = avg_pool2d(x, 3, 2, 1)[0, 0] * 9
    np.testing.assert_allclose(ninths, [[4, 4], [4, 4]])  # the padding counts
    assert np.all(avg_pool2d(x, 3, 2, 1, count_include_pad=False) == 1)
    hanging = avg_pool2d(x, 2, 2, ceil_mode=True)
    assert np.all(hanging == 1)  # what hangs over the end never counts
    assert avg_pool2d(x, 2, 2, divisor_override=1).item() == 4


# ---------------------------------------------------------------------- derivatives

CASES = {
    "max": lambda x: max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max overlapping, dilated": lambda x: max_pool2d(x, (2, 3), 1, (0, 1), (2, 1)),
    "avg": lambda x: avg_pool2d(x, 3, 2, 1, True, False),
    "max 1d": lambda x: max_pool1d(x.reshape(-1, 6, 5), 3, 2, 1, 1, True),
    "max 3d": lambda x: max_pool3d(x.reshape(1, -1, 3, 2, 5), (2, 1, 3), 1, (1, 0, 1), (1, 1, 2)),
    "avg 1d": lambda x: avg_pool1d(x.reshape(-1, 6, 5), 3, 2, 1, True, False),
    "avg 3d": lambda x: avg_pool3d(x.reshape(1, -1, 3, 2, 5), (2, 2, 3), 1, (1, 0, 1)),
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

EVERY = [
    ("max_pool#", (3, 2, 1, 1, True)),
    ("max_pool#", (2, 1, 0, 2)),
    ("avg_pool#", (3, 2, 1, True, False)),
    ("adaptive_avg_pool#", (3,)),
    ("adaptive_max_pool#", (4,)),
]


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("name", "options"), EVERY)
def test_shapes_types_and_memory_orders(name, options, dims):
    x = distinct(0, (2, 3, *(6, 5, 4)[:dims]))

    def pool(x):
        return of(name, dims)(x, *options)

    assert np.array_equal(pool(x[0]), pool(x)[0])
    assert gradcheck(pool, leaf(x[0]))
    assert pool(x.astype(np.float32)).dtype == np.float32
    channels_last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    assert np.array_equal(pool(np.moveaxis(channels_last, -1, 1)), pool(x))
    assert np.array_equal(pool(np.repeat(x, 2, axis=-1)[..., ::2]), pool(x))
    empty = leaf(np.zeros((0, *x.shape[1:])))
    y = pool(empty)
    assert y.shape == (0, *pool(x).shape[1:])
    y.backward(Tensor(np.zeros(y.shape)))
    assert empty.grad.shape == empty.shape


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", ["max_pool#", "adaptive_max_pool#"])
def test_return_indices(name, dims):
    x = distinct(0, (2, *[4] * dims))
    y, indices = of(name, dims)(Tensor(x), 2, return_indices=True)
    assert y.shape == indices.shape == (2, *[2] * dims)
    assert indices.dtype == np.int64 and not indices.requires_grad
    flat = np.take_along_axis(x.reshape(2, -1), indices.array.reshape(2, -1), 1)
    assert np.array_equal(flat.reshape(y.shape), y.array)
    assert np.array_equal(of(name, dims)(x, 2), y.array)
    for requested in (True, False):
        pair = of(name + "_with_indices", dims)(x, 2, return_indices=requested)
        assert [np.array_equal(a, b.array) for a, b in zip(pair, (y, indices), strict=True)]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_constant_axis_is_left_alone(dims):
    """Pooling in fewer dimensions is pooling with windows of one pixel along the others."""
    x = distinct(0, (2, 2, *(5, 6, 4)[:dims]))
    for name, options in (("max_pool#", (3, 2, 1)), ("avg_pool#", (2, 1, 0))):
        y = of(name, dims)(x, *options)
        if dims < 3:
            K, S, P = [(1 if k < 2 else 0, *[value] * dims) for k, value in enumerate(options)]
            assert np.array_equal(of(name, dims + 1)(x[:, :, None], K, S, P), y[:, :, None])


def test_separable():
    """A maximum over a box is one along each axis after the other; so is a sum."""
    x = distinct(0, (2, 2, 5, 6, 4))
    y = max_pool2d(x.reshape(2, 10, 6, 4), (3, 2), 1).reshape(2, 2, 5, 4, 3)
    y = max_pool1d(np.moveaxis(y, 2, -1).reshape(2, -1, 5), 2, 1)
    assert np.array_equal(max_pool3d(x, (2, 3, 2), 1), np.moveaxis(y.reshape(2, 2, 4, 3, 4), -1, 2))


@pytest.mark.parametrize(
    "pooling",
    [
        lambda x: max_pool2d(x, 3, 2, 1),
        lambda x: adaptive_max_pool2d(x, (3, 4)),
        lambda x: functional.lp_pool2d(x, math.inf, 2),
        lambda x: functional.stochastic_pool2d(x, 2),
    ],
)
def test_the_backward_knows_the_windows(pooling, monkeypatch):
    """Without them a GPU could not look from a pixel into the windows over it."""
    plain, seen = cpu.max_pool_backward, []

    def noted(grad_y, indices, x_shape, geometry=None):
        seen.append((geometry.size, geometry.out_size))
        return plain(grad_y, indices, x_shape, geometry)

    monkeypatch.setattr(cpu, "max_pool_backward", noted)
    x = leaf(distinct(0, (1, 2, 5, 6)))
    y = pooling(x)
    v = Tensor(np.ones(y.shape), requires_grad=True)
    [grad_x] = minicnn.autograd.grad(y, x, v, create_graph=True)
    [grad_v] = minicnn.autograd.grad(grad_x, v, grad_x, create_graph=True)
    minicnn.autograd.grad(grad_v, v, v, allow_unused=True)
    assert len(seen) > 1
    assert set(seen) == {((5, 6), y.shape[2:])}


def test_the_input_is_not_kept_for_max_pooling():
    y = max_pool2d(leaf(distinct(0, (1, 1, 4, 4))), 2)
    assert [a.dtype.kind for a in y.grad_fn._saved] == ["u"]


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
            r"adaptive_max_pool2d: x expects 4 axes \(N, C, H, W\) or 3 \(C, H, W\), got 2",
            lambda: adaptive_max_pool2d(x4[0, 0], 2),
        ),
    ],
)
def test_errors(error, text, call):
    with pytest.raises(error, match=text):
        call()


# ---------------------------------------------------------------------- parity


@few
@given(problems(), problems(dilation=False), st.booleans(), st.sampled_from([1, 0]))
@pytest.mark.slow
def test_parity(parity, max_problem, avg_problem, include, single):
    dtype, rtol = (np.float32, 1e-5) if single else (np.float64, 1e-10)
    shape, options = max_problem
    dims = len(shape) - 2
    x = np.random.default_rng(0).integers(-3, 4, shape).astype(dtype)  # with ties
    options["return_indices"] = True

    def call(name, **options):
        return lambda lib, x: getattr(lib.nn.functional, name)(x, **options)

    parity(call(f"max_pool{dims}d", **options), x, rtol=rtol)
    shape, options = avg_problem
    dims = len(shape) - 2
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    options["count_include_pad"] = include
    parity(call(f"avg_pool{dims}d", **options), x, rtol=rtol)
    size = tuple([k + 1 for k in options["kernel_size"]])
    parity(call(f"adaptive_avg_pool{dims}d", output_size=size), x, rtol=rtol)
    x = np.round(2 * x)
    options = {"output_size": size, "return_indices": True}
    parity(call(f"adaptive_max_pool{dims}d", **options), x, rtol=rtol)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_parity_of_special_values(parity, dims, special):
    rng = np.random.default_rng(0)
    for share in (0.2, 0.6):
        x = rng.normal(size=(2, 2, *(7, 6, 5)[:dims]))
        x[rng.random(x.shape) < share] = special
        for name, options in (
            ("max_pool", (3, 2, 1)),
            ("max_pool", (2, 1, 1, 2, True)),
            ("adaptive_max_pool", (4,)),
            ("adaptive_max_pool", (1,)),
        ):
            name = f"{name}{dims}d_with_indices"
            parity(lambda lib, x: getattr(lib.nn.functional, name)(x, *options), x)  # noqa: B023


def test_signatures_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    for name in ("max_pool#_with_indices", "adaptive_max_pool#_with_indices"):
        for dims in (1, 2, 3):
            theirs = getattr(torch.nn.functional, name.replace("#", f"{dims}d"))
            ours = inspect.signature(of(name, dims)).parameters.values()
            wanted = inspect.signature(theirs).parameters.values()
            assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in wanted]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_refused_here_and_in_pytorch(refuses, dims):
    x = np.zeros((1, 1, *[4] * dims))

    def call(name, *args, **options):
        name = name.replace("#", f"{dims}d")
        return lambda lib, x: getattr(lib.nn.functional, name)(x, *args, **options)

    for name in ("max_pool#", "avg_pool#"):
        refuses(call(name, 2, 1, 2), x, match=f"^{name[:3]}_pool{dims}d: padding expects at most")
        refuses(call(name, 5), x, match="more than the padded input")
        refuses(call(name, 2, 0), x, match="stride expects positive")
        refuses(call(name, 2, padding=-1), x, match="padding expects non-negative")
        refuses(call(name, (2, 2, 2, 2)), x, match="kernel_size expects")
        refuses(call(name, 2, ceil_mode=2), x, match="ceil_mode expects True or False")
        refuses(call(name, 2), np.zeros((1, 0, *[4] * dims)), match="no empty axis but the batch")
        refuses(call(name, 2), np.zeros((1, 1, 1, *[4] * dims)), match="x expects")
    refuses(call("max_pool#", 2, dilation=0), x, match="dilation expects positive")
    # Half of the kernel, not of what it spans.
    wide = np.zeros((1, 1, *[9] * dims))
    refuses(call("max_pool#", 3, 1, 2, 2), wide, match="padding expects at most half")
    for name in ("adaptive_avg_pool#", "adaptive_max_pool#"):
        refuses(call(name, (2,) * (dims + 1)), x, match="output_size expects")
        refuses(call(name, -1), x, match="output_size expects positive")
        refuses(call(name, 1.5), x, match="output_size expects")
        refuses(call(name, 2), np.zeros((1, 1, 0, *[4] * (dims - 1))), match="no empty axis")

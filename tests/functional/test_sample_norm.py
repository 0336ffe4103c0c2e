"""layer_norm, group_norm, instance_norm: the derivation against the code, derivatives, parity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.functional import batch_norm, group_norm, instance_norm, layer_norm

BACKENDS = ["cpu", "reference"]
few = settings(max_examples=15)


def leaf(array):
    return Tensor(np.array(array), requires_grad=True)


def values(*shapes, seed=0):
    r = np.random.default_rng(seed)
    return [r.normal(1, 2, shape) for shape in shapes]


def gradients(fn, grad_y, *arrays):
    """y, and the gradients of all inputs."""
    leaves = [leaf(a) for a in arrays]
    y = fn(*leaves)
    y.backward(Tensor(np.array(grad_y)))
    return [y.detach().array, *(t.grad.array for t in leaves)]


def agree(results, wanted, tolerance=1e-11):
    for a, b in zip(results, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@st.composite
def groups(draw):
    """(G, shape): a shape (N, C, ...) whose C is a multiple of G, with more than one value each."""
    G, each = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    spatial = draw(st.lists(st.integers(1, 3), max_size=3))
    last = [] if each > 1 and not spatial else [2]
    return G, (draw(st.integers(1, 3)), G * each, *spatial, *last)


@st.composite
def layers(draw):
    """(how many of the last axes, shape)"""
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    return draw(st.integers(1, len(shape) + 1)), (*shape, 3)


# ---------------------------------------------------------------------- the derivation


def formulas(x, W, B, grad_y, members, eps):
    """(1) to (10) by loops over sets. W, B are of x's shape; grad_w, grad_b before summing."""
    y, grad_x, grad_w = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    for m in members:
        X, M = x[m], x[m].size
        mean = X.sum() / M  # (1)
        var = ((X - mean) ** 2).sum() / M  # (2)
        r = 1 / np.sqrt(var + eps)  # (3)
        x_hat = (X - mean) * r  # (4)
        y[m] = W[m] * x_hat + B[m]  # (5)
        grad_w[m] = grad_y[m] * x_hat  # (7), to be summed
        g = (W[m] * grad_y[m]).ravel()  # (8)
        flat = x_hat.ravel()
        jacobian = r * (np.eye(M) - 1 / M - np.outer(flat, flat) / M)  # (9)
        compact = r * (g - g.sum() / M - flat * (g * flat).sum() / M)  # (10)
        np.testing.assert_allclose(g @ jacobian, compact, rtol=1e-9, atol=1e-11)
        grad_x[m] = compact.reshape(X.shape)
    return y, grad_x, grad_w, grad_y


@few
@given(groups())
def test_formulas_of_group_norm(case):
    G, shape = case
    N, C = shape[:2]
    x, grad_y, w, b = values(shape, shape, C, C)
    per_channel = (C,) + (1,) * (len(shape) - 2)
    W, B = [np.broadcast_to(t.reshape(per_channel), shape) for t in (w, b)]
    each = C // G
    members = [np.s_[n, k * each : (k + 1) * each] for n in range(N) for k in range(G)]
    wanted = formulas(x, W, B, grad_y, members, 0.01)
    axes = (0, *range(2, len(shape)))  # n,i,j
    wanted = *wanted[:2], wanted[2].sum(axes), wanted[3].sum(axes)
    agree(gradients(lambda *a: group_norm(a[0], G, *a[1:], 0.01), grad_y, x, w, b), wanted)
    if G == C:
        got = gradients(
            lambda x, w, b: instance_norm(x, weight=w, bias=b, eps=0.01), grad_y, x, w, b
        )
        agree(got, wanted)


@few
@given(layers())
def test_formulas_of_layer_norm(case):
    last, shape = case
    trailing, before = shape[-last:], shape[:-last]
    x, grad_y, w, b = values(shape, shape, trailing, trailing)
    W, B = [np.broadcast_to(t, shape) for t in (w, b)]
    wanted = formulas(x, W, B, grad_y, list(np.ndindex(before)), 0.01)
    axes = tuple(range(len(before)))
    wanted = *wanted[:2], wanted[2].sum(axes), wanted[3].sum(axes)
    agree(gradients(lambda *a: layer_norm(a[0], trailing, *a[1:], 0.01), grad_y, x, w, b), wanted)


def test_they_are_batch_norm_of_other_sets():
    x = values((3, 4, 2, 5))[0]
    turned = batch_norm(x.swapaxes(0, 1), None, None, training=True).swapaxes(0, 1)
    alone = batch_norm(x.reshape(1, 12, 2, 5), None, None, training=True).reshape(x.shape)
    np.testing.assert_allclose(group_norm(x, 1), layer_norm(x, (4, 2, 5)), rtol=1e-12)
    np.testing.assert_allclose(group_norm(x, 1), turned, rtol=1e-12)
    np.testing.assert_allclose(group_norm(x, 4), alone, rtol=1e-12)
    np.testing.assert_allclose(instance_norm(x), alone, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_formula_11_running_statistics(backend):
    x = values((3, 2, 2, 2))[0]
    mean, var = Tensor(np.array([1.0, 2])), Tensor(np.array([3.0, 4]))
    place, version = mean.array, mean._version[0]
    with minicnn.use_backend(backend):
        instance_norm(Tensor(x), mean, var, momentum=0.3)
    assert mean.array is place and mean._version[0] > version
    wanted = 0.7 * np.array([1.0, 2]) + 0.3 * x.mean((2, 3)).mean(0)
    np.testing.assert_allclose(mean.array, wanted, rtol=1e-12)
    unbiased = x.reshape(3, 2, 4).var(2, ddof=1)
    np.testing.assert_allclose(
        var.array, 0.7 * np.array([3.0, 4]) + 0.3 * unbiased.mean(0), rtol=1e-12
    )
    before = mean.array.copy()
    y = instance_norm(x, mean, var, use_input_stats=False)
    assert np.array_equal(mean.array, before)
    np.testing.assert_array_equal(y, batch_norm(x, mean, var))


# ---------------------------------------------------------------------- derivatives


@few
@given(groups(), st.sampled_from(BACKENDS), st.integers(0, 99), st.booleans())
def test_derivatives_of_group_norm(case, backend, seed, affine):
    G, shape = case
    x, w, b = [leaf(a) for a in values(shape, shape[1], shape[1], seed=seed)]
    inputs = (x, w, b) if affine else (x,)
    with minicnn.use_backend(backend):
        assert gradcheck(lambda x, *wb: group_norm(x, G, *wb, eps=0.1), inputs, directions=1)
        assert gradgradcheck(lambda x, *wb: group_norm(x, G, *wb, eps=0.1), inputs, directions=1)


@few
@given(layers(), st.sampled_from(BACKENDS), st.integers(0, 99), st.booleans())
def test_derivatives_of_layer_norm(case, backend, seed, affine):
    last, shape = case
    trailing = shape[-last:]
    x, w, b = [leaf(a) for a in values(shape, trailing, trailing, seed=seed)]
    inputs = (x, w, b) if affine else (x,)

    def fn(x, *wb):
        return layer_norm(x, trailing, *wb, eps=0.1)

    with minicnn.use_backend(backend):
        assert gradcheck(fn, inputs, directions=1)
        assert gradgradcheck(fn, inputs, directions=1)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("frozen", [(), ("weight",), ("input", "bias")])
def test_derivatives_of_instance_norm(own, frozen):
    x, w, b = [leaf(a) for a in values((2, 3, 2, 2), 3, 3)]
    for name, t in zip(("input", "weight", "bias"), (x, w, b), strict=True):
        t.requires_grad_(name not in frozen)

    def fn(x, w, b):
        mean, var = np.linspace(0, 1, 3), np.linspace(1, 2, 3)
        return instance_norm(x, mean, var, w, b, own, eps=0.1)

    assert gradcheck(fn, (x, w, b))
    assert gradgradcheck(fn, (x, w, b))


# ---------------------------------------------------------------------- types and shapes


FUNCTIONS = {
    "layer": (lambda x, w, b: layer_norm(x, (4,), w, b), 4),
    "group": (lambda x, w, b: group_norm(x, 2, w, b), 6),
    "instance": (lambda x, w, b: instance_norm(x, None, None, w, b), 6),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_memory_order_does_not_matter(name):
    fn, n = FUNCTIONS[name]
    x, grad_y, w, b = values((2, 6, 3, 4), (2, 6, 3, 4), n, n)
    wanted = gradients(fn, grad_y, x, w, b)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for array in (last, np.repeat(x, 2, axis=2)[:, :, ::2], x[::-1, ::-1].copy()[::-1, ::-1]):
        tx, tw, tb = Tensor(array, requires_grad=True), leaf(w), leaf(b)
        assert tx.array.strides == array.strides
        y = fn(tx, tw, tb)
        y.backward(Tensor(grad_y))
        agree([y.detach().array, tx.grad.array, tw.grad.array, tb.grad.array], wanted)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("parameters", [np.float16, np.float32])
def test_float16_is_computed_in_float32(name, parameters):
    fn, n = FUNCTIONS[name]
    x, w, b = values((2, 6, 3, 4), n, n)
    x = (100 * x).astype(np.float16)  # its squares add up to more than float16 holds
    w, b = w.astype(parameters), b.astype(parameters)
    grad_y = np.ones(x.shape, np.float16)
    y, *grads = gradients(fn, grad_y, x, w, b)
    assert [y.dtype, *(g.dtype for g in grads)] == [np.float16, np.float16, parameters, parameters]
    wide = [a.astype(np.float64) for a in (x, w, b)]
    np.testing.assert_allclose(y.astype(float), fn(*wide), atol=4e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_batches_and_images(backend):
    mean, var = np.ones(4), np.full(4, 2.0)
    w, b = np.ones(4), np.zeros(4)
    with minicnn.use_backend(backend):
        for shape in ((0, 4, 3), (2, 4, 0)):
            x = np.zeros(shape)
            for fn in (
                lambda x, w, b: group_norm(x, 2, w, b),
                lambda x, w, b: instance_norm(x, mean, var, w, b),
            ):
                y, grad_x, grad_w, grad_b = gradients(fn, x, x, w, b)
                assert y.shape == grad_x.shape == shape
                assert (
                    not grad_w.any() and not grad_b.any() and grad_w.shape == grad_b.shape == (4,)
                )
        assert mean.tolist() == [1] * 4 and var.tolist() == [2] * 4
        for shape, trailing in (((0, 3), (3,)), ((3, 0), (0,)), ((2, 0, 3), (3,))):
            t = np.ones(trailing)
            results = gradients(
                lambda *a, s=trailing: layer_norm(a[0], s, *a[1:]),
                np.zeros(shape),
                np.zeros(shape),
                t,
                t,
            )
            assert [r.shape for r in results] == [shape, shape, trailing, trailing]
            assert not results[2].any()


def test_a_set_of_one_value_becomes_the_bias():
    x, w, b = values((2, 3, 1), 1, 1)
    y, grad_x, grad_w, _ = gradients(lambda *a: layer_norm(a[0], (1,), *a[1:]), x, x, w, b)
    assert (y == b).all() and not grad_x.any() and not grad_w.any()
    assert not group_norm(np.ones((2, 2, 1)), 2).any()  # PyTorch refuses this for one sample only


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (
            ValueError,
            r"layer_norm: normalized_shape expects the last axes of x \(2, 3\), got \(4,\)",
            lambda x: layer_norm(x[..., 0], (4,)),
        ),
        (
            ValueError,
            r"layer_norm: normalized_shape expects the last axes of x \(2,\), got \(1, 2\)",
            lambda x: layer_norm(x[:, 0, 0], (1, 2)),
        ),
        (ValueError, "layer_norm: normalized_shape .* at least one", lambda x: layer_norm(x, ())),
        (TypeError, "layer_norm: normalized_shape .* got 4", lambda x: layer_norm(x, 4)),
        (
            ValueError,
            r"layer_norm: weight expects normalized_shape \(4,\), got \(1,\)",
            lambda x: layer_norm(x, (4,), np.ones(1)),
        ),
        (
            TypeError,
            "layer_norm: bias expects x's type float64, got float32",
            lambda x: layer_norm(x, (4,), None, np.ones(4, np.float32)),
        ),
        (TypeError, "layer_norm: x expects a floating", lambda x: layer_norm(x.astype(int), (4,))),
        (
            ValueError,
            r"group_norm: num_groups expects a divisor of the 3 channels of x \(2, 3, 4\), got 2",
            lambda x: group_norm(x, 2),
        ),
        (ValueError, "group_norm: num_groups .* got 0", lambda x: group_norm(x, 0)),
        (TypeError, "group_norm: num_groups .* got 1.5", lambda x: group_norm(x, 1.5)),
        (ValueError, r"group_norm: x expects \(N, C\)", lambda x: group_norm(x[0, 0], 1)),
        (
            ValueError,
            r"group_norm: weight expects shape \(3,\), .* got \(4,\)",
            lambda x: group_norm(x, 3, np.ones(4)),
        ),
        (
            ValueError,
            r"group_norm: Expected more than 1 value per channel .* \(1, 3, 1\) in 3 groups",
            lambda x: group_norm(x[:1, :, :1], 3),
        ),
        (TypeError, "instance_norm: x expects a Tensor or an array", lambda x: instance_norm([1])),
        (ValueError, r"instance_norm: x expects \(N, C\)", lambda x: instance_norm(x[0, 0])),
        (
            ValueError,
            r"instance_norm: Expected more than 1 spatial element .* \(2, 3, 1\)",
            lambda x: instance_norm(x[:, :, :1]),
        ),
        (
            ValueError,
            "instance_norm: use_input_stats=False expects running_mean and running_var",
            lambda x: instance_norm(x, np.zeros(3), use_input_stats=False),
        ),
        (
            RuntimeError,
            "instance_norm: running_var is a statistic",
            lambda x: instance_norm(x, np.zeros(3), leaf(np.ones(3))),
        ),
    ],
)
def test_errors(error, text, call):
    with pytest.raises(error, match=text):
        call(values((2, 3, 4))[0])


def test_errors_leave_the_statistics_alone():
    x, mean = values((2, 3, 4))[0], np.zeros(3)
    for bad in (None, np.ones(4)):
        with pytest.raises(ValueError, match="running_var"):
            instance_norm(x, mean, bad)
    assert not mean.any()


# ---------------------------------------------------------------------- parity


@few
@given(groups(), st.integers(0, 99))
def test_parity_of_group_norm(parity, case, seed):
    G, shape = case
    if shape[0] * np.prod(shape[1:]) == G:
        return
    arrays = values(shape, shape[1], shape[1], seed=seed)
    parity(lambda lib, x, w, b: lib.nn.functional.group_norm(x, G, w, b, eps=1e-2), *arrays)


@few
@given(layers(), st.integers(0, 99))
def test_parity_of_layer_norm(parity, case, seed):
    last, shape = case
    trailing = shape[-last:]
    arrays = values(shape, trailing, trailing, seed=seed)
    parity(lambda lib, x, w, b: lib.nn.functional.layer_norm(x, trailing, w, b, eps=1e-2), *arrays)


def test_parity_in_float32(parity):
    """Of sets large enough that the gradient (10) is no difference of nearly equal numbers."""
    x, w, b, u, v = [a.astype("float32") for a in values((3, 6, 4, 5), 6, 6, (4, 5), (4, 5))]
    parity(lambda lib, *a: lib.nn.functional.group_norm(a[0], 2, *a[1:]), x, w, b, rtol=1e-5)
    parity(lambda lib, *a: lib.nn.functional.layer_norm(a[0], (4, 5), *a[1:]), x, u, v, rtol=1e-5)
    parity(lambda lib, a: lib.nn.functional.layer_norm(a, (6, 4, 5)), x + 100, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 2, 3, 4), (2, 3, 2, 3, 2)])
def test_parity_of_instance_norm_over_several_steps(parity, shape, dtype, rtol):
    def fn(lib, x, mean, var, w, b):
        mean, var = mean.detach(), var.detach() ** 2
        results = [
            lib.nn.functional.instance_norm(x * step, mean, var, w, b, step != 2, 0.2, 1e-3)
            for step in (1, 2, 3)
        ]
        return [*results, mean, var]

    C = shape[1]
    parity(fn, *[a.astype(dtype) for a in values(shape, C, C, C, C)], rtol=rtol)

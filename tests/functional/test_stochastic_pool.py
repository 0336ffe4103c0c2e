"""Stochastic pooling: what is drawn and how often, derivatives, zeros, shapes, errors."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.functional import avg_pool2d, stochastic_pool2d

BACKENDS = ["cpu", "reference"]


def positive(seed, shape):
    return np.random.default_rng(seed).uniform(0.2, 2, shape)


def drawn(x, *options, seed=0, **named):
    return stochastic_pool2d(x, *options, generator=minicnn.Generator().manual_seed(seed), **named)


# ---------------------------------------------------------------------- what is drawn


def test_frequencies_are_the_probabilities():
    """Pearson's chi-square of 40,000 draws from each of four overlapping windows."""
    x = np.array([[3.0, 0, 1], [2, 5, 0.5], [0.25, 1.5, 4]])
    draws = 40_000
    y = drawn(np.broadcast_to(x, (draws, 1, 3, 3)), 2, 1)
    for i, j in np.ndindex(2, 2):
        window = x[i : i + 2, j : j + 2].ravel()
        counts = np.array([(y[:, 0, i, j] == value).sum() for value in window])
        assert counts.sum() == draws
        expected = draws * window / window.sum()
        likely = expected > 0
        assert not counts[~likely].any()
        chi_square = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
        # 16.3 is exceeded once in a thousand seeds with three degrees of freedom; this seed is not.
        assert chi_square < 16.3, (i, j, counts, expected)


def test_windows_channels_and_images_are_drawn_independently():
    """Two draws agree as often as independent ones do: half of the time with two equal pixels."""
    x = np.broadcast_to(np.array([[1.0, 1 + 1e-9]]), (10_000, 2, 1, 2)).copy()
    y = drawn(np.concatenate([x, x], axis=3), (1, 2)) > 1
    pairs = [(y[:-1, 0, 0, 0], y[1:, 0, 0, 0]), (y[:, 0], y[:, 1]), (y[..., 0], y[..., 1])]
    for a, b in pairs:
        share = (a == b).mean()
        assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(a.size)


def test_the_mean_of_the_draws_is_the_evaluation():
    x = positive(0, (1, 2, 4, 5))
    mean = stochastic_pool2d(x, 3, 1, 1, training=False)
    many = drawn(np.repeat(x, 20_000, axis=0), 3, 1, 1)
    deviation = many.std(axis=0) / np.sqrt(20_000)
    assert (np.abs(many.mean(axis=0) - mean[0]) < 5 * deviation).all()


def test_the_seed_decides():
    x = positive(0, (2, 3, 8, 8))
    minicnn.manual_seed(5)
    first, second = stochastic_pool2d(x, 2), stochastic_pool2d(x, 2)
    assert not np.array_equal(first, second)
    minicnn.manual_seed(5)
    assert np.array_equal(stochastic_pool2d(x, 2), first)
    assert np.array_equal(drawn(x, 2, seed=5), first)
    before = minicnn.get_rng_state()
    drawn(x, 2)
    stochastic_pool2d(x, 2, training=False)
    assert np.array_equal(minicnn.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_same_seed_draws_the_same_on_every_backend_and_in_every_memory_order(dtype):
    x = np.random.default_rng(0).integers(0, 5, (2, 3, 6, 5)).astype(dtype)
    results = []
    for backend in BACKENDS:
        with minicnn.use_backend(backend):
            results.append(drawn(x, 3, 2, 1, True))
            channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
            results.append(drawn(channels_last, 3, 2, 1, True))
    assert all(np.array_equal(results[0], y) and y.dtype == dtype for y in results)


# ---------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.slow
def test_derivatives(training, backend):
    shape = (2, 1, 4, 4) if backend == "cpu" else (1, 1, 3, 3)
    x = Tensor(positive(1, shape), requires_grad=True)

    def fn(x):
        return drawn(x, 3, 1, 1, True, training)

    with minicnn.use_backend(backend):
        assert gradcheck(fn, x)
        assert gradgradcheck(fn, x)
        assert gradgradcheck(lambda x: fn(x * x), x)


def test_the_gradient_of_a_draw_on_average():
    """P * grad_y: what (7) has besides is the change of the probabilities."""
    x = Tensor(np.broadcast_to([[1.0, 3], [0, 4]], (20_000, 1, 2, 2)).copy(), requires_grad=True)
    drawn(x, 2).sum().backward()
    mean = x.grad.array.mean(axis=(0, 1))
    np.testing.assert_allclose(mean, np.array([[1, 3], [0, 4]]) / 8, atol=0.02)


@pytest.mark.parametrize("training", [True, False])
def test_windows_of_zeros(training):
    x = Tensor(np.array([[[[0.0, 0, 1, 1], [0, 0, 1, 1]]]]), requires_grad=True)
    y = drawn(x, 2, training=training)
    y.backward(Tensor(np.array([[[[5.0, 4]]]])))
    assert y.detach().array.tolist() == [[[[0, 1]]]]
    assert not x.grad.array[..., :2].any()
    assert x.grad.array.sum() == 4
    y = drawn(x, 2, training=training)
    (grad,) = minicnn.autograd.grad((y * y).sum(), x, create_graph=True)
    (grad * grad).sum().backward()
    assert np.isfinite(x.grad.array).all()


# ---------------------------------------------------------------------- shapes, types, errors


@pytest.mark.parametrize("training", [True, False])
def test_shapes_and_types(training):
    x = positive(2, (2, 3, 5, 6))
    y = drawn(x, 2, ceil_mode=True, training=training)
    assert y.shape == avg_pool2d(x, 2, ceil_mode=True).shape
    one = drawn(x[0], 2, ceil_mode=True, training=training)
    assert np.array_equal(one, drawn(x[:1], 2, ceil_mode=True, training=training)[0])
    for dtype in (np.float16, np.float32):
        assert drawn(x.astype(dtype), 2, training=training).dtype == dtype
    empty = Tensor(np.zeros((0, 3, 4, 4)), requires_grad=True)
    y = drawn(empty, 2, training=training)
    y.sum().backward()
    assert y.shape == (0, 3, 2, 2)
    assert empty.grad.shape == empty.shape


def test_padding_is_never_drawn():
    x = np.full((50, 1, 2, 2), 0.5)
    assert (drawn(x, 2, 2, 1) == 0.5).all()
    assert (stochastic_pool2d(x, 2, 2, 1, training=False) == 0.5).all()


def test_of_float16_the_squares_are_taken_in_float32():
    x = Tensor(np.full((1, 1, 2, 2), 300, np.float16), requires_grad=True)
    y = stochastic_pool2d(x, 2, training=False)
    y.backward()
    assert y.item() == 300 and (x.grad.array == 0.25).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("wrong", "range"),
    [(-0.5, "-0.5 to 2.0"), (np.nan, "nan to nan"), (np.inf, "1.0 to inf")],
)
def test_numbers_without_probabilities_are_refused(wrong, range, training):
    x = np.array([[[[1.0, wrong], [2, 1]]]])
    state = minicnn.get_rng_state()
    match = rf"^stochastic_pool2d: x expects finite numbers >= 0, .* got {range}$"
    with pytest.raises(ValueError, match=match):
        stochastic_pool2d(x, 2, training=training)
    assert np.array_equal(minicnn.get_rng_state(), state)


def test_errors():
    x = np.ones((1, 1, 4, 4))
    with pytest.raises(ValueError, match="stochastic_pool2d: padding expects at most half"):
        stochastic_pool2d(x, 2, 1, 2)
    with pytest.raises(ValueError, match="stochastic_pool2d: x expects 4 axes"):
        stochastic_pool2d(x[0, 0], 2)
    with pytest.raises(TypeError, match="stochastic_pool2d: x expects a floating type, got int64"):
        stochastic_pool2d(x.astype(int), 2)
    with pytest.raises(TypeError, match="stochastic_pool2d: ceil_mode expects True or False"):
        stochastic_pool2d(x, 2, ceil_mode=1)

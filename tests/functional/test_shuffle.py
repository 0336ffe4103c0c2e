"""channel_shuffle, pixel_shuffle, pixel_unshuffle: permutations of any type; errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.functional.shuffle import channel_shuffle, pixel_shuffle, pixel_unshuffle


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


leads = st.lists(st.integers(0, 2), max_size=2).map(tuple)
sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(leads, st.integers(1, 2), sizes, st.integers(1, 3))
def test_unshuffle_undoes_shuffle(lead, C, size, r):
    x = normal(0, *lead, C * r * r, *size)
    y = pixel_shuffle(x, r)
    assert y.shape == (*lead, C, size[0] * r, size[1] * r)
    assert np.array_equal(pixel_unshuffle(y, r), x)
    assert np.array_equal(np.sort(y, axis=None), np.sort(x, axis=None))  # a permutation


@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_channel_shuffle_is_undone_by_the_other_factor(G, per_group, size):
    x = normal(0, 2, G * per_group, *size)
    y = channel_shuffle(x, G)
    assert np.array_equal(channel_shuffle(y, per_group), x)
    assert {tuple(c.ravel()) for c in y[0]} == {tuple(c.ravel()) for c in x[0]}


@pytest.mark.parametrize(
    ("function", "shape", "n"),
    [
        (channel_shuffle, (2, 6, 2), 3),
        (pixel_shuffle, (8, 2, 3), 2),
        (pixel_unshuffle, (1, 2, 4, 2), 2),
    ],
)
def test_derivatives(function, shape, n):
    x = Tensor(normal(0, *shape), requires_grad=True)
    assert gradcheck(lambda x: function(x, n), x)
    assert gradgradcheck(lambda x: function(x, n) ** 2, x)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "complex64"])
def test_any_type(dtype, parity):
    x = np.arange(72).reshape(1, 4, 3, 6).astype(dtype)
    for name, a in (("channel_shuffle", x), ("pixel_shuffle", x), ("pixel_unshuffle", x[:, :, :2])):
        parity(lambda lib, a, name=name: getattr(lib.nn.functional, name)(a, 2), a, grads=False)


def test_the_result_is_a_copy_also_where_nothing_moves():
    for function in (channel_shuffle, pixel_shuffle, pixel_unshuffle):
        x = minicnn.ones(1, 2, 3, 3)
        function(x, 1).mul_(2)
        assert (x.array == 1).all()


def test_no_channels_and_no_images(parity):
    """Where PyTorch 2.13 can be compared: of gradients and of pixel_unshuffle it cannot."""

    def shuffle(lib, x):
        return lib.nn.functional.channel_shuffle(x, 2)

    for shape in ((2, 0, 3), (0, 4, 3)):
        parity(shuffle, np.zeros(shape), grads=False)
        x = minicnn.zeros(*shape, requires_grad=True)
        channel_shuffle(x, 2).backward(minicnn.zeros(*shape))
        assert x.grad.shape == shape
    x = np.zeros((0, 4, 2, 2))
    parity(lambda lib, x: lib.nn.functional.pixel_shuffle(x, 2), x, grads=False)
    assert pixel_unshuffle(x, 2).shape == (0, 16, 1, 1)


X = np.zeros((1, 6, 3, 4))


@pytest.mark.parametrize(
    ("name", "x", "n", "text"),
    [
        ("channel_shuffle", X[0, 0], 2, r"x expects \(N, C, \*\) .*, got \(3, 4\)"),
        ("channel_shuffle", X, 4, "groups expects a divisor of 6 channels, got 4: x"),
        ("channel_shuffle", X, 0, "groups expects a positive integer, got 0"),
        ("channel_shuffle", X, 2.0, "groups expects a positive integer, got 2.0"),
        ("pixel_shuffle", X[0, 0], 2, r"x expects \(\*, C, H, W\), got \(3, 4\)"),
        ("pixel_shuffle", X, 2, "a multiple of 4 channels for upscale_factor 2, got 6"),
        ("pixel_shuffle", X, -1, "upscale_factor expects a positive integer, got -1"),
        ("pixel_unshuffle", X[0, 0], 2, r"x expects \(\*, C, H, W\), got \(3, 4\)"),
        ("pixel_unshuffle", X, 2, r"downscale_factor 2 divides, got \(3, 4\)"),
        ("pixel_unshuffle", X, 0, "downscale_factor expects a positive integer, got 0"),
    ],
)
def test_errors(refuses, name, x, n, text):
    refuses(lambda lib, x: getattr(lib.nn.functional, name)(x, n), x, match=f"{name}: .*{text}")


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match="pixel_shuffle: expects Tensors or arrays, got list"):
        pixel_shuffle([1.0], 2)

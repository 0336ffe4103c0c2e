"""The formulas of functional/shuffle.py, each evaluated as it is displayed, against the code."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import Tensor
from minicnn.functional.shuffle import channel_shuffle, pixel_shuffle, pixel_unshuffle


def run(function, shape, *args):
    """x, y, grad_y and grad_x."""
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal(shape), requires_grad=True)
    y = function(x, *args)
    grad_y = rng.standard_normal(y.shape)
    y.backward(Tensor(grad_y))
    return x.array, y.detach().array, grad_y, x.grad.array


@pytest.mark.parametrize(("G", "C"), [(1, 4), (2, 6), (3, 6), (4, 4)])
def test_1_and_2_channel_shuffle(G, C):
    x, y, grad_y, grad_x = run(channel_shuffle, (2, C, 2, 3), G)
    for g in range(G):
        for c in range(C // G):
            assert np.array_equal(y[:, c * G + g], x[:, g * (C // G) + c])
            assert np.array_equal(grad_x[:, g * (C // G) + c], grad_y[:, c * G + g])


@pytest.mark.parametrize("r", [1, 2, 3])
def test_3_and_4_pixel_shuffle(r):
    N, C, H, W = 2, 2, 2, 3
    x, y, grad_y, grad_x = run(pixel_shuffle, (N, C * r * r, H, W), r)
    small, large = (N, C * r * r, H, W), (N, C, H * r, W * r)
    assert x.shape == grad_x.shape == small and y.shape == large
    wide, _, grad_small, grad_wide = run(pixel_unshuffle, large, r)
    unshuffled = pixel_unshuffle(wide, r)
    for n, c, h, k, p, q in np.ndindex(N, C, H, W, r, r):
        at, to = (n, (c * r + p) * r + q, h, k), (n, c, h * r + p, k * r + q)
        assert y[to] == x[at] and grad_x[at] == grad_y[to]
        assert unshuffled[at] == wide[to] and grad_wide[to] == grad_small[at]


def test_by_hand():
    channels = np.arange(6.0).reshape(1, 6, 1)
    assert channel_shuffle(channels, 2).ravel().tolist() == [0, 3, 1, 4, 2, 5]
    a, b, c, d = pixel = [1.0, 2.0, 3.0, 4.0]
    assert pixel_shuffle(np.reshape(pixel, (4, 1, 1)), 2).tolist() == [[[a, b], [c, d]]]

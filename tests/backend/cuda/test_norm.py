"""Batch normalisation kernels against the loops, and where E[x^2] - E[x]^2 would fail."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend import cuda, reference
from minicnn.backend.cuda import norm

SHAPES = [(3, 4, 5, 2), (7, 3), (2, 5, 1), (0, 3, 2, 2), (5, 2, 150), (2, 1, 2, 3, 2)]


@pytest.mark.parametrize("chunk", [8192, 64])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(both, normal, shape, affine, chunk, monkeypatch):
    monkeypatch.setattr(norm, "_CHUNK", chunk)
    x, grad_y, C = normal(shape) + 3, normal(shape), shape[1]
    weight, bias = (normal(C), normal(C)) if affine else (None, None)
    _, mean, var = both.close("batch_norm_forward", x, weight, bias, 1e-5)
    both.close("batch_norm_inference", x, weight, bias, mean, var, 1e-5, ulps=64)
    inv_std = 1 / np.sqrt(var + np.float32(1e-5))
    both.close("batch_norm_backward", grad_y, x, weight, mean, inv_std, ulps=64)


def test_in_double(both, normal):
    x, grad_y = normal((4, 3, 5), np.float64), normal((4, 3, 5), np.float64)
    _, mean, var = both.close("batch_norm_forward", x, None, None, 1e-5)
    both.close("batch_norm_backward", grad_y, x, None, mean, 1 / np.sqrt(var + 1e-5), ulps=64)


def test_statistics_of_half_precision_are_single(both, normal):
    x = normal((4, 3, 5), np.float16)
    results, wanted = both("batch_norm_forward", x, None, None, 1e-5)
    assert [r.dtype for r in results] == [np.float16, np.float32, np.float32]
    np.testing.assert_allclose(results[0], wanted[0], atol=2e-3)


def test_a_large_mean_does_not_drown_the_variance(both, normal):
    x = normal((8, 2, 200)) + np.float32(3000)
    _, _, var = both.on_device(cuda.batch_norm_forward, x, None, None, 1e-5)
    _, _, exact = reference.batch_norm_forward(x, None, None, 1e-5)
    np.testing.assert_allclose(var, exact, rtol=1e-4)
    by_squares = (x * x).mean((0, 2)) - x.mean((0, 2)) ** 2
    assert np.abs(by_squares - exact).max() > 0.1  # what single precision would make of it


def test_the_same_bits_each_time(both, normal):
    x = normal((6, 2, 300))
    first = both.on_device(cuda.batch_norm_forward, x, None, None, 1e-5)
    for result, again in zip(
        first, both.on_device(cuda.batch_norm_forward, x, None, None, 1e-5), strict=True
    ):
        np.testing.assert_array_equal(result, again)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (0, 4)])
def test_rms_norm(both, normal, shape, affine):
    x, weight = normal(shape), normal(shape[1]) if affine else None
    _, r = both.close("rms_norm_forward", x, weight, 1e-6)
    both.close("rms_norm_backward", normal(shape), x, weight, r, ulps=64)


def test_channel_sums(both, integers):
    both.equal("channel_sums", integers((2, 5, 3, 2)), 1, 2)
    both.equal("channel_sums", integers((2, 2, 3)), 4, 3)

"""Batch normalisation kernels that join parts, where E[x^2] - E[x]^2 would fail too."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend import cuda, reference
from minicnn.backend.cuda import norm


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(5, 2, 150), (7, 3), (40, 3, 5)])
def test_batch_norm_in_parts(both, normal, shape, affine, monkeypatch):
    monkeypatch.setattr(norm, "_CHUNK", 64)
    x, grad_y, C = normal(shape) + 3, normal(shape), shape[1]
    weight, bias = (normal(C), normal(C)) if affine else (None, None)
    _, mean, var = both.close("batch_norm_forward", x, weight, bias, 1e-5)
    both.close("batch_norm_inference", x, weight, bias, mean, var, 1e-5, ulps=64)
    inv_std = 1 / np.sqrt(var + np.float32(1e-5))
    both.close("batch_norm_backward", grad_y, x, weight, mean, inv_std, ulps=64)


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

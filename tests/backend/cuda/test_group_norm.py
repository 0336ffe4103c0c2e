"""Group normalisation kernels against the loops, in the layouts of layer and instance norm too."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend import cuda, reference
from minicnn.backend.cuda import group_norm

# x, groups
CASES = {
    "images": ((3, 4, 5, 2), 2),
    "rows": ((5, 70), 1),
    "short rows": ((3, 1), 1),
    "each channel": ((2, 3, 9), 3),
    "narrow": ((4, 6, 3), 2),
    "many rows": ((300, 3), 1),
    "empty batch": ((0, 4, 3), 2),
    "empty images": ((2, 4, 0), 2),
}


def check(both, x, grad_y, weight, bias, groups):
    _, mean, var = both.close("group_norm_forward", x, weight, bias, groups, 1e-5)
    inv_std = 1 / np.sqrt(var + var.dtype.type(1e-5))
    both.close("group_norm_grad_input", grad_y, x, weight, mean, inv_std, ulps=64)
    both.close("group_norm_grad_affine", grad_y, x, mean, inv_std, ulps=64)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_group_norm(both, normal, case, affine):
    shape, groups = case
    weight, bias = (normal(shape[1]), normal(shape[1])) if affine else (None, None)
    check(both, normal(shape) + 3, normal(shape), weight, bias, groups)


@pytest.mark.parametrize("case", [((3, 4, 37, 2), 2), ((6, 300), 1)])
def test_a_block_for_each_set_and_parts_of_a_channel(both, normal, case, monkeypatch):
    monkeypatch.setattr(group_norm, "_LONG", 100)
    monkeypatch.setattr(group_norm, "_CHUNK", 64)
    shape, groups = case
    check(both, normal(shape), normal(shape), normal(shape[1]), normal(shape[1]), groups)


def test_in_double(both, normal):
    shape = (2, 4, 5)
    options = [normal(shape[1], np.float64) for _ in range(2)]
    check(both, normal(shape, np.float64), normal(shape, np.float64), *options, 2)


def test_statistics_of_half_precision_are_single(both, normal):
    x = normal((4, 6, 5), np.float16)
    arguments = (x, normal(6), normal(6), 3, 1e-5)  # the parameters in float32
    results, wanted = both("group_norm_forward", *arguments)
    assert [r.dtype for r in results] == [np.float16, np.float32, np.float32]
    np.testing.assert_allclose(results[0], wanted[0], atol=4e-3)
    results, wanted = both("group_norm_grad_affine", x, x, *results[1:])
    assert [r.dtype for r in results] == [np.float32, np.float32]
    np.testing.assert_allclose(results, wanted, atol=1e-4)


def test_a_large_mean_does_not_drown_the_variance(both, normal):
    x = normal((8, 2, 200)) + np.float32(3000)
    _, _, var = both.on_device(cuda.group_norm_forward, x, None, None, 1, 1e-5)
    _, _, exact = reference.group_norm_forward(x, None, None, 1, 1e-5)
    np.testing.assert_allclose(var, exact, rtol=1e-4)
    by_squares = (x * x).mean((1, 2)) - x.mean((1, 2)) ** 2
    assert np.abs(by_squares - exact[:, 0]).max() > 0.1


def test_errors(device):
    x = device.zeros((2, 4, 3), np.float32)
    with pytest.raises(ValueError, match=r"group_norm_forward: weight expects shape \(4,\)"):
        cuda.group_norm_forward(x, x[0, 0], None, 2, 1e-5)
    statistics = device.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match="group_norm_grad_input: grad_y expects shape"):
        cuda.group_norm_grad_input(x[:1], x, None, statistics, statistics)

"""Pooling kernels against the loops."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend.geometry import AdaptiveGeometry, PoolGeometry

# x, kernel, stride, padding, dilation, ceil_mode
WINDOWS = {
    "overlapping": ((2, 3, 7, 5), 3, 2, 1, 1, False),
    "dilated, ceil": ((2, 3, 7, 6), (3, 2), (2, 3), (1, 0), (2, 1), True),
    "signal": ((2, 2, 9), 3, 1, 1, 2, False),
    "volume": ((1, 2, 4, 5, 3), 2, 1, 1, 1, True),
    "empty batch": ((0, 2, 4, 4), 2, 2, 0, 1, False),
    "ones": ((1, 1, 1, 1), 1, 1, 0, 1, False),
    "gaps": ((2, 1, 5, 7), 2, 3, 1, 1, True),
}
ADAPTIVE = {
    "uneven": ((2, 3, 7, 5), (3, 2)),
    "more than there are": ((2, 2, 4), (7,)),
    "volume": ((1, 2, 4, 5, 3), (2, 5, 1)),
    "empty batch": ((0, 2, 4, 4), (2, 2)),
}


def geometry_of(case):
    x, *options = case
    return PoolGeometry.of(x, *options, function=f"max_pool{len(x) - 2}d")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", WINDOWS.values(), ids=WINDOWS)
def test_max_pooling(both, integers, case, dtype):
    geometry, x = geometry_of(case), integers(case[0], dtype)
    x.reshape(-1)[1::7] = np.nan
    y, indices = both.equal("max_pool_forward", x, geometry)
    grad_y = integers(y.shape, dtype)
    both.equal("max_pool_backward", grad_y, indices, x.shape, geometry)
    both.equal("max_pool_gather", x, indices)
    u = np.random.default_rng(0).random(y.shape)
    both.equal("stochastic_pool_forward", np.abs(integers(x.shape, dtype)), u, geometry)


@pytest.mark.parametrize("case", [WINDOWS["overlapping"], WINDOWS["volume"]])
def test_indices_of_unknown_windows(both, integers, case):
    rng, geometry = np.random.default_rng(0), geometry_of(case)
    x_shape, y_shape = case[0], (*case[0][:2], *geometry.out_size)
    indices = rng.integers(0, np.prod(x_shape[2:]), y_shape)
    both.equal("max_pool_backward", integers(y_shape), indices, x_shape)
    both.equal("max_unpool_forward", integers(y_shape), indices, x_shape[2:])
    both.equal("max_unpool_backward", integers(x_shape), indices)


@pytest.mark.parametrize("options", [(True, None), (False, None), (True, -3)])
@pytest.mark.parametrize("name", ["overlapping", "signal", "volume", "gaps"])
def test_average_pooling(both, integers, name, options):
    geometry, x = geometry_of(WINDOWS[name]), integers(WINDOWS[name][0])
    [y] = both.equal("avg_pool_forward", x, geometry, *options)
    both.close("avg_pool_backward", integers(y.shape), x.shape, geometry, *options)


@pytest.mark.parametrize("case", ADAPTIVE.values(), ids=ADAPTIVE)
def test_adaptive_pooling(both, integers, case):
    x, out_size = integers(case[0]), case[1]
    [y] = both.equal("adaptive_avg_pool_forward", x, out_size)
    both.close("adaptive_avg_pool_backward", integers(y.shape), x.shape)
    y, indices = both.equal("adaptive_max_pool_forward", x, out_size)
    windows = AdaptiveGeometry(x.shape[2:], out_size)
    both.equal("max_pool_backward", integers(y.shape), indices, x.shape, windows)


def test_half_precision_is_computed_in_single(both, integers):
    geometry = geometry_of(WINDOWS["overlapping"])
    x = integers(WINDOWS["overlapping"][0], np.float16)
    y, indices = both.equal("max_pool_forward", x, geometry)
    both.equal("max_pool_backward", y, indices, x.shape, geometry)

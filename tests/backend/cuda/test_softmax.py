"""Softmax kernels against the loops."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend.cuda import softmax

CASES = [((5, 10), 1), ((5, 10), 0), ((2, 3, 4), 1), ((0, 4), 1), ((4, 0), 1), ((1,), 0)]
CASES += [((7, 2), -1), ((9, 33), 1)]


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(("shape", "axis"), CASES)
def test_lines(both, normal, name, shape, axis):
    [y] = both.close(f"{name}_forward", normal(shape) * 5, axis)
    both.close(f"{name}_backward", normal(shape), y, axis, ulps=32)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_block_for_each_line(both, normal, name, monkeypatch):
    monkeypatch.setattr(softmax, "_LONG", 100)
    [y] = both.close(f"{name}_forward", normal((3, 300)), 1)
    both.close(f"{name}_backward", normal((3, 300)), y, 1, ulps=64)


@pytest.mark.parametrize("name", ["softmax_forward", "log_softmax_forward"])
@pytest.mark.parametrize("axis", [0, 1])
def test_infinities_and_nan(both, normal, name, axis):
    x = normal((6, 6)) * 100
    x[0, 1], x[1, :], x[2, 3], x[4, 5] = -np.inf, -np.inf, np.inf, np.nan
    both.close(name, x, axis)


def test_in_double(both, normal):
    [y] = both.close("softmax_forward", normal((3, 40), np.float64), 1)
    both.close("softmax_backward", normal((3, 40), np.float64), y, 1)

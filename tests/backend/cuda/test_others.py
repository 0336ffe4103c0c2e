"""The names of the reference, and the primitives that have no family of their own."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from minicnn.backend import cpu, cuda, reference
from minicnn.backend.taps import Taps


def test_the_names_and_arguments_of_the_reference():
    assert sorted(cuda.__all__) == sorted([*cpu.__all__, "conv_algorithm"])
    for name in cpu.__all__:
        wanted, *others = [
            [(p.name, p.default) for p in inspect.signature(getattr(m, name)).parameters.values()]
            for m in (reference, cpu, cuda)
        ]
        assert others == [wanted, wanted], name


def test_error_functions(both, normal):
    both.close("erf", normal((3, 50)) * 2, ulps=4)
    both.close("erfc", normal((3, 50)) * 2, ulps=4)
    [y] = both.on_device(cuda.erfc, np.array([8.0], np.float32))
    np.testing.assert_allclose(y, [1.1224297e-29], rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_products(both, integers, dtype):
    both.equal("matmul", integers((5, 7), dtype), integers((7, 3), dtype))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_resampling(both, integers, dtype, axis):
    shape = [3, 4, 5]
    rng, n = np.random.default_rng(0), shape[axis]
    rows, columns = rng.integers(0, 6, 9), rng.integers(0, n, 9)
    copies = Taps.of((6, n), rows, columns, np.ones(9))
    copies = Taps(copies.shape, copies.rows, copies.columns, None)
    x = integers(shape, dtype)
    [y] = both.equal("resample", x, copies, axis)
    both.equal("resample", y, copies.transposed, axis)
    if dtype == np.float32:
        weighted = Taps(copies.shape, copies.rows, copies.columns, np.arange(len(copies.rows)) / 4)
        both.equal("resample", x, weighted, axis)

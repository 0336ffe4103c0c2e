"""The dropout kernel has the masks of every other backend, and rounds as the fast one does."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend import cpu, cuda

SHAPES = [((3, 5), (3, 5)), ((5000,), (5000,)), ((2, 3, 4, 4), (2, 3, 1, 1)), ((0, 3), (0, 3))]
SHAPES += [((2, 3), (1, 3))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize(("shape", "mask_shape"), SHAPES)
def test_masks(both, normal, shape, mask_shape, dtype):
    for p, key in ((0.0, 0), (0.3, 2**64 - 1), (0.5, 0x0123456789ABCDEF), (1.0, 7)):
        x = normal(shape, dtype)
        [y] = both.on_device(cuda.dropout, x, p, key, mask_shape)
        wanted = cpu.dropout(x, p, key, mask_shape)
        assert y.dtype == wanted.dtype
        np.testing.assert_array_equal(y, wanted)


def test_values_of_the_loops(both, integers):
    both.equal("dropout", integers((4, 33)), 0.5, 12345, (4, 33))

"""The names of the reference, and digits that a smaller type would lose."""

from __future__ import annotations

import inspect

import numpy as np

from minicnn.backend import cpu, cuda, reference


def test_the_names_and_arguments_of_the_reference():
    assert sorted(cuda.__all__) == sorted([*cpu.__all__, "conv_algorithm"])
    for name in cpu.__all__:
        wanted, *others = [
            [(p.name, p.default) for p in inspect.signature(getattr(m, name)).parameters.values()]
            for m in (reference, cpu, cuda)
        ]
        assert others == [wanted, wanted], name


def test_small_values_of_erfc_keep_their_digits(both):
    [y] = both.on_device(cuda.erfc, np.array([8.0], np.float32))
    np.testing.assert_allclose(y, [1.1224297e-29], rtol=1e-5)

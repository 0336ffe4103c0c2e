"""What the backend tests share: every backend in turn, and arrays in awkward memory orders."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import backend

MEMORY_ORDERS = ("NCHW", "NHWC", "CHWN", "reversed", "gaps")


@pytest.fixture(scope="session", params=backend.available())
def primitives(request):
    """The module of each backend: a test that takes it runs once for each."""
    return getattr(backend, request.param)


@pytest.fixture(scope="session")
def memory_orders():
    """The names that `laid_out` takes."""
    return MEMORY_ORDERS


@pytest.fixture(scope="session")
def laid_out():
    """A function (array, order) -> an equal array (N, C, *size) that lies otherwise in memory."""

    def lay_out(array, order):
        if order == "reversed":
            backwards = (slice(None, None, -1),) * array.ndim
            return np.ascontiguousarray(array[backwards])[backwards]
        if order == "gaps":
            every_other = (slice(None, None, 2),) * array.ndim
            wide = np.full([2 * n for n in array.shape], 99, array.dtype)
            wide[every_other] = array
            return wide[every_other]
        size = range(2, array.ndim)
        axes = {"NCHW": [0, 1, *size], "NHWC": [0, *size, 1], "CHWN": [1, *size, 0]}[order]
        return np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes))

    return lay_out

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
    """A function (array, order) -> an equal array (N,C,H,W) that lies otherwise in memory."""

    def lay_out(array, order):
        if order == "reversed":
            return np.ascontiguousarray(array[::-1, ::-1, ::-1, ::-1])[::-1, ::-1, ::-1, ::-1]
        if order == "gaps":
            wide = np.full([2 * n for n in array.shape], 99, array.dtype)
            wide[::2, ::2, ::2, ::2] = array
            return wide[::2, ::2, ::2, ::2]
        axes = ["NCHW".index(axis) for axis in order]
        return np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes))

    return lay_out

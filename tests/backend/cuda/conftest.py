"""Tests of the kernels alone: on the emulator in each order, on the one that checks, on a GPU."""

from __future__ import annotations

import pytest

from minicnn import backend


@pytest.fixture
def device(executor):
    """A device that runs kernels, as minicnn/backend/cuda/launcher.py describes it."""
    if executor.name == "cuda":
        yield backend.arrays.kernel_device("cuda")
        return
    with executor.running() as emulated:
        yield emulated


@pytest.fixture
def both(device, both):
    """The kernels beside the reference, on `device`."""
    return both

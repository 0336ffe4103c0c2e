"""Devices other than the CPU that this machine has: the emulator everywhere a compiler is, GPUs."""

from __future__ import annotations

import pytest

from minicnn import backend


@pytest.fixture(params=["emulator", "cuda"])
def gpu(request):
    """The name of a device that runs kernels."""
    if (reason := backend.why_not(request.param)) is not None:
        pytest.skip(reason)
    return request.param

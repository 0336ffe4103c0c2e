"""The cases of `benchmarks.gpu` reach every kernel that there is: told before anything runs."""

from __future__ import annotations

import pytest

from benchmarks.gpu.cases import cases, every_kernel, recorded
from benchmarks.gpu.device import Emulated
from minicnn.backend import emulator

pytestmark = pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler")


def test_the_cases_launch_every_kernel(monkeypatch):
    device = Emulated()
    monkeypatch.setattr(type(device.kernels), "kernel", lambda *_: lambda *args, **options: None)
    with recorded(device.kernels) as launches:
        for case in cases(small=True):
            case.make(device)()
    assert {launch.kernel for launch in launches} == every_kernel()

"""The tests of devices again, on "cuda", with a stand-in for CuPy that emulates kernels.

So what Python does on the way to a GPU is run on every machine (tests/cupy_stand_in.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minicnn import backend

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["tests/devices", "tests/backend/cuda"])
def test_on_a_stand_in_for_cupy(folder):
    if os.environ.get("MINICNN_TESTS_CUPY"):
        pytest.skip("this is that run")
    if (reason := backend.why_not("emulator")) is not None:
        pytest.skip(reason)
    command = [sys.executable, "-m", "pytest", "-q", "-k", "cuda and not emulator", folder]
    environment = {**os.environ, "MINICNN_TESTS_CUPY": "stand-in", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
    assert " passed" in run.stdout

"""The stages on `Gpu` itself, CuPy being a stand-in: what only CuPy's arrays would refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks.gpu.cases import every_kernel
from minicnn.backend import emulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler"),
]


@pytest.mark.parametrize("name", ["versions", "machine", "kernels", "training", "steps-lenet5"])
def test_a_stage(root, tmp_path, name):
    file = tmp_path / "notes.json"
    command = [sys.executable, "tests/benchmarks/stage_on_stand_in.py", name, "--device", "cuda"]
    command += ["--quick", "--seconds", "300", "--file", str(file)]
    env = {key: value for key, value in os.environ.items() if key != "MINICNN_TESTS_CUPY"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    notes = json.loads(file.read_text(encoding="utf-8"))
    assert notes["finished"] and not notes["failed"], notes["failed"]
    results = notes["results"]
    if name == "versions":
        assert results["gpu"] == "stand-in"
        assert results["clock_khz"] == 13
    elif name == "machine":
        assert {entry["kind"] for entry in results["matmul"]} == {"fp32", "tf32", "fp64"}
        assert len(results["host_copies"]) == 4
    elif name == "kernels":
        assert {entry["kernel"] for entry in results["kernels"]} == every_kernel()
        assert {entry["launched"] for entry in results["kernels"]} == {"graph"}
    elif name == "training":
        assert results["small_vgg"]["last_loss"] < results["small_vgg"]["first_loss"]
    else:
        assert results["steps"][0]["who"] == "minicnn"
        assert results["steps"][0]["peak_bytes"] == 0

"""Kernels that crash or never end, in both modes: a report comes, and the process goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minicnn.backend import emulator

pytestmark = pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler")

FILE = Path(__file__).parent / "kernels" / "crashes.cu"

CRASHES = {
    "divides": ("arithmetic", "divides an integer by zero"),
    "takes_remainders": ("arithmetic", "divides an integer by zero"),
    "follows_a_number": ("out of bounds", ""),
    "leaps": ("out of bounds", ""),
    "recurses": ("failure", "has filled its stack of 64 KiB"),
    "has_large_arrays": ("failure", "has filled its stack of 64 KiB"),
    "turns_for_ever": ("endless", "is still running at the end of the launch's time"),
    "meets_for_ever": ("endless", "is still running at the end of the launch's time"),
}


def launch(device, name, blocks=1):
    x, y = device.zeros(4, np.int32), device.zeros(4, np.int32)
    device.kernel(FILE, name)((blocks,), (4,), (x, y))
    return y


@pytest.mark.parametrize("checked", [False, True], ids=["unchecked", "checked"])
@pytest.mark.parametrize("name", CRASHES)
def test_a_launch_that_cannot_go_on_ends_with_a_report(name, checked):
    kind, words = CRASHES[name]
    device = emulator.Device(checked=checked, seconds=0.2)
    with pytest.raises(emulator.KernelError) as caught:
        launch(device, name)
    report = caught.value.reports[0]
    assert report.kind == kind and words in report.text
    assert report.file == str(FILE) and report.block == (0, 0, 0)
    body = "deep" if name == "recurses" else name
    lines = FILE.read_text().splitlines()
    begin = next(i for i, line in enumerate(lines, 1) if f" {body}(" in line)
    end = next(i for i, line in enumerate(lines[begin - 1 :], begin) if line.endswith("}"))
    assert begin <= report.line <= end
    assert (launch(emulator.Device(checked=checked), "copies") == 0).all()


def test_every_worker_is_stopped():
    start = time.monotonic()
    with pytest.raises(emulator.KernelError):
        launch(emulator.Device(workers=3, seconds=0.2), "turns_for_ever", blocks=300)
    assert time.monotonic() - start < 30


def test_the_portable_switch_survives_too(monkeypatch):
    monkeypatch.setenv("MINICNN_EMULATOR_UCONTEXT", "1")
    for name in ("divides", "turns_for_ever"):
        code = (
            "import numpy as np; from minicnn.backend import emulator as e; "
            f"d = e.Device(seconds=0.2); k = d.kernel({str(FILE)!r}, {name!r}); "
            "z = d.zeros(4, np.int32); k((1,), (4,), (z, z))"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.returncode == 1 and f"kernel {name}:" in run.stderr


def test_a_crash_outside_of_kernels_is_left_to_others():
    code = (
        "import ctypes, faulthandler, numpy as np; faulthandler.enable(); "
        "from minicnn.backend import emulator as e; d = e.Device(); z = d.zeros(4, np.int32); "
        f"d.kernel({str(FILE)!r}, 'copies')((1,), (4,), (z, z)); ctypes.string_at(0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == -11 and "Segmentation fault" in run.stderr

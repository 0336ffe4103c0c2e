"""Each thing that can be wrong with CuPy, the driver or the toolkit has its paragraph."""

from __future__ import annotations

import re
import sys

import pytest

import minicnn
from minicnn.backend.cuda import compiler, diagnosis
from minicnn.backend.cuda.diagnosis import Machine, reason

TWELVE, THIRTEEN = {"cupy-cuda12x": "14.2.0"}, {"cupy-cuda13x": "14.2.0"}


class Fake(Machine):
    """A machine on which everything is right but what is said."""

    platform = "linux"

    def __init__(self, **changed):
        right = {"packages": THIRTEEN, "driver": 13000, "runtime": 13020, "nvrtc": 13, "gpus": 1}
        self.answers = {**right, "cupy": None, **changed}
        for name in self.answers:
            setattr(self, name, lambda name=name: self.answer(name))

    def answer(self, name):
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


MISSING = ModuleNotFoundError("No module named 'cupy'")
PIP12, PIP13 = [f"pip install 'cupy-cuda{n}x[ctk]>=14,<15'" for n in (12, 13)]


@pytest.mark.parametrize(
    "machine",
    [
        Fake(),
        Fake(driver=13020),
        Fake(driver=13000, packages=TWELVE, runtime=12090, nvrtc=12),  # newer drivers run older
        Fake(driver=12020, packages=TWELVE, runtime=12090, nvrtc=12),  # of one major version
        Fake(packages={"cupy": "14.0.0"}),  # from conda
        Fake(packages={}),  # from a source tree
    ],
)
def test_nothing_is_wrong(machine):
    assert reason(machine) is None


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (
            Fake(packages={}, cupy=MISSING),
            f"CuPy is not installed. For this driver (CUDA 13.0): {PIP13}",
        ),
        (
            Fake(packages={}, cupy=MISSING, driver=12080),
            f"CuPy is not installed. For this driver (CUDA 12.8): {PIP12}",
        ),
        (
            Fake(packages={}, cupy=MISSING, driver=11040),
            "CuPy is not installed. For this driver (CUDA 11.4): install a driver from 525 on, "
            f"then {PIP12}",
        ),
        (
            Fake(packages={}, cupy=MISSING, driver=None),
            "CuPy is not installed, and no driver of an NVIDIA GPU is found. Where there is a GPU: "
            f"{PIP13} (drivers from 580 on) or {PIP12} (drivers from 525 on). Without a GPU, the "
            'device "emulator" runs the same kernels on the CPU.',
        ),
        (
            Fake(packages={**TWELVE, **THIRTEEN}),
            "cupy-cuda12x 14.2.0 and cupy-cuda13x 14.2.0 are installed, and spoil each other. "
            f"pip uninstall -y cupy-cuda12x cupy-cuda13x, then {PIP13}",
        ),
        (
            Fake(packages={**TWELVE, **THIRTEEN}, driver=None),
            "cupy-cuda12x 14.2.0 and cupy-cuda13x 14.2.0 are installed, and spoil each other. "
            "pip uninstall -y cupy-cuda12x cupy-cuda13x, then "
            f"{PIP13} (drivers from 580 on) or {PIP12} (drivers from 525 on)",
        ),
        (
            Fake(packages={"cupy-cuda12x": "13.6.0"}, driver=12080),
            "cupy-cuda12x 13.6.0 is too old, minicnn needs CuPy 14. "
            f"pip uninstall -y cupy-cuda12x, then {PIP12}",
        ),
        (
            Fake(
                cupy=ImportError(
                    "\n=====\nFailed to import CuPy.\n\nOriginal error:\n  ImportError: "
                    "libcudart.so.13: cannot open shared object file\n=====\n"
                )
            ),
            "CuPy does not load: ImportError: libcudart.so.13: cannot open shared object file. "
            f"pip uninstall -y cupy-cuda13x, then {PIP13}",
        ),
        (
            Fake(driver=None),
            "CuPy is installed, but no driver of an NVIDIA GPU is found. Where there is a GPU, "
            "nvidia-smi lists it; a container must be started with access to it. Without a GPU, "
            'the device "emulator" runs the same kernels on the CPU.',
        ),
        (
            Fake(driver=12040),
            "The driver is for CUDA 12.4, and CuPy (cupy-cuda13x) for CUDA 13. Install a driver "
            f"from 580 on, or: pip uninstall -y cupy-cuda13x, then {PIP12}",
        ),
        (
            Fake(driver=11080),
            "The driver is for CUDA 11.8, and CuPy (cupy-cuda13x) for CUDA 13. Install a driver "
            "from 580 on, or: pip uninstall -y cupy-cuda13x, then install a driver from 525 on, "
            f"then {PIP12}",
        ),
        (
            Fake(gpus=RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")),
            "The driver (for CUDA 13.0) finds no GPU: cudaErrorNoDevice: no CUDA-capable device is "
            'detected. Without a GPU, the device "emulator" runs the same kernels on the CPU.',
        ),
        (
            Fake(nvrtc=RuntimeError('Failure finding "libnvrtc.so.13 or libnvrtc.so.12"\n')),
            "NVRTC, which compiles the kernels, is not found (Failure finding "
            f'"libnvrtc.so.13 or libnvrtc.so.12"): {PIP13} brings it.',
        ),
        (
            Fake(nvrtc=12, packages={}),
            "NVRTC, which compiles the kernels, is of CUDA 12, and CuPy (cupy) of CUDA 13. "
            f"pip uninstall -y cupy, then {PIP13}",
        ),
        (
            Fake(nvrtc=12),
            "NVRTC, which compiles the kernels, is of CUDA 12, and CuPy (cupy-cuda13x) of CUDA 13. "
            f"pip uninstall -y cupy-cuda13x, then {PIP13}",
        ),
    ],
)
def test_each_has_its_paragraph(machine, expected, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert reason(machine) == expected


def test_gpus_that_are_hidden(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "it lists none. CUDA_VISIBLE_DEVICES is ''." in reason(Fake(gpus=0))


def test_macos():
    machine = Fake()
    machine.platform = "darwin"
    assert reason(machine).startswith("CUDA does not exist for macOS")


def test_this_machine():
    """Without CuPy, without a driver, or with both: what is said holds."""
    found = compiler.unavailable()
    assert minicnn.cuda.is_available() == (found is None)
    if found is None:
        assert compiler.device(0).index == 0
        return
    with pytest.raises(RuntimeError, match=re.escape(f"cuda:0 cannot be used: {found}")):
        compiler.device(0)
    if "CuPy is installed, but no driver" in found:
        assert Machine().packages() and Machine().driver() is None


def test_cupy_is_not_imported_where_the_packages_are_wrong(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it fails
    assert "too old" in reason(Fake(packages={"cupy": "13.0.0"}))
    assert diagnosis.reason(Machine()) is not None


def test_cupy_is_not_imported_without_a_driver():
    assert "no driver" in reason(Fake(driver=None, cupy=AssertionError("imported")))
    assert "no driver" in reason(Fake(driver=None, packages={}))  # one from a source tree

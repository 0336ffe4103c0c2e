"""Why no GPU can be used here, in a paragraph that says what to do about it.

Three things must fit together: the driver of the GPU, which is for a version of CUDA and runs
programs of that and all earlier ones; CuPy, whose package is for one major version; and NVIDIA's
libraries of that version, among them NVRTC, which compiles the kernels. pip installs the last two.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import sys
from functools import cache
from typing import Any

OLDEST_CUPY = 14
# For each major version of CUDA that CuPy has packages for, the first driver that runs it:
# NVIDIA's CUDA release notes, table "minimum required driver version for minor version
# compatibility", for Linux.
DRIVERS = {13: 580, 12: 525}
_PACKAGES = ("cupy", "cupy-cuda11x", *[f"cupy-cuda{major}x" for major in DRIVERS])
_EMULATOR = 'Without a GPU, the device "emulator" runs the same kernels on the CPU.'
_NO_DRIVER = (
    "CuPy is installed, but no driver of an NVIDIA GPU is found. Where there is a GPU, nvidia-smi "
    f"lists it; a container must be started with access to it. {_EMULATOR}"
)


class Machine:
    """What the diagnosis asks; a test gives other answers."""

    platform = sys.platform

    def packages(self) -> dict[str, str]:
        """The packages of CuPy that are installed, with their versions."""
        from importlib.metadata import PackageNotFoundError, version

        found = {}
        for name in _PACKAGES:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
        return found

    def driver(self) -> int | None:
        """The version of CUDA that the driver is for, 13000 for 13.0; None without a driver."""
        version = ctypes.c_int()
        try:
            library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
            failed = library.cuDriverGetVersion(ctypes.byref(version))
        except (OSError, AttributeError):
            return None
        return None if failed else version.value

    def cupy(self) -> Any:
        """The module, imported now. Raises what the import raises."""
        return importlib.import_module("cupy")

    def runtime(self) -> int:
        """The version of CUDA that CuPy is built with."""
        return self.cupy().cuda.runtime.runtimeGetVersion()

    def nvrtc(self) -> int:
        """The major version of NVRTC. Raises RuntimeError if it is not found."""
        return self.cupy().cuda.nvrtc.getVersion()[0]

    def gpus(self) -> int:
        """How many there are. Raises RuntimeError if the driver cannot say."""
        return self.cupy().cuda.runtime.getDeviceCount()


@cache
def unavailable() -> str | None:
    """Why no GPU can be used, and what to do; None if one can.

    Asked once. It imports CuPy if a driver is there to run it.
    """
    return reason(Machine())


def reason(machine: Machine) -> str | None:
    """The same for a machine."""
    if machine.platform == "darwin":
        return f"CUDA does not exist for macOS. {_EMULATOR}"
    packages, driver = machine.packages(), machine.driver()
    if (problem := _wrong_packages(packages, driver)) is not None:
        return problem
    if driver is None and packages:
        return _NO_DRIVER
    try:
        machine.cupy()
    except (ImportError, OSError, RuntimeError) as error:
        if not packages:
            return _not_installed(driver)
        return f"CuPy does not load: {_last_line(error)}. {_again(packages, driver)}"
    if driver is None:
        return _NO_DRIVER
    return _wrong_driver(machine, packages, driver) or _wrong_libraries(machine, packages, driver)


def _suitable(driver: int | None) -> str:
    """The line for pip that suits a driver."""
    if driver is None:
        return " or ".join(f"{_pip(major)} (drivers from {DRIVERS[major]} on)" for major in DRIVERS)
    for major in DRIVERS:
        if driver >= major * 1000:
            return _pip(major)
    oldest = min(DRIVERS)
    return f"install a driver from {DRIVERS[oldest]} on, then {_pip(oldest)}"


def _not_installed(driver: int | None) -> str:
    if driver is None:
        return (
            "CuPy is not installed, and no driver of an NVIDIA GPU is found. Where there is a GPU: "
            f"{_suitable(driver)}. {_EMULATOR}"
        )
    return f"CuPy is not installed. For this driver (CUDA {_dotted(driver)}): {_suitable(driver)}"


def _wrong_packages(packages: dict[str, str], driver: int | None) -> str | None:
    if len(packages) > 1:
        names = " and ".join(f"{name} {version}" for name, version in packages.items())
        return f"{names} are installed, and spoil each other. {_again(packages, driver)}"
    for name, version in packages.items():
        if int(re.split(r"\D", version)[0]) < OLDEST_CUPY:
            return (
                f"{name} {version} is too old, minicnn needs CuPy {OLDEST_CUPY}. "
                f"{_again(packages, driver)}"
            )
    return None


def _wrong_driver(machine: Machine, packages: dict[str, str], driver: int) -> str | None:
    major = machine.runtime() // 1000
    if driver < major * 1000:
        newer = f"Install a driver from {DRIVERS[major]} on, or: " if major in DRIVERS else ""
        return (
            f"The driver is for CUDA {_dotted(driver)}, and CuPy ({_names(packages)}) for CUDA "
            f"{major}. {newer}{_again(packages, driver)}"
        )
    try:
        count, problem = machine.gpus(), "it lists none"
    except RuntimeError as error:
        count, problem = 0, str(error)
    if count == 0:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hidden = "" if visible is None else f" CUDA_VISIBLE_DEVICES is {visible!r}."
        return (
            f"The driver (for CUDA {_dotted(driver)}) finds no GPU: {problem}.{hidden} {_EMULATOR}"
        )
    return None


def _wrong_libraries(machine: Machine, packages: dict[str, str], driver: int) -> str | None:
    major = machine.runtime() // 1000
    try:
        found = machine.nvrtc()
    except RuntimeError as error:
        return (
            f"NVRTC, which compiles the kernels, is not found ({_last_line(error)}): "
            f"{_pip(major)} brings it."
        )
    if found != major:
        return (
            f"NVRTC, which compiles the kernels, is of CUDA {found}, and CuPy "
            f"({_names(packages)}) of CUDA {major}. {_again(packages, driver)}"
        )
    return None


def _again(packages: dict[str, str], driver: int | None) -> str:
    """What removes CuPy and installs the one that suits the driver."""
    return f"pip uninstall -y {_names(packages)}, then {_suitable(driver)}"


def _names(packages: dict[str, str]) -> str:
    return " ".join(packages) or "cupy"  # which may come without a package, from a source tree


def _pip(major: int) -> str:
    """What the extra of that name asks for: right also where minicnn is not installed by pip."""
    return f"pip install 'cupy-cuda{major}x[ctk]>={OLDEST_CUPY},<{OLDEST_CUPY + 1}'"


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _last_line(error: Exception) -> str:
    """Of an error's text, the line that says most: CuPy frames it with advice of its own."""
    lines = [line.strip(" =") for line in str(error).splitlines()]
    return next(filter(None, reversed(lines)), type(error).__name__)

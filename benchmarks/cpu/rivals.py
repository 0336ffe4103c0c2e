"""The libraries that minicnn is measured against, each in an environment made for it.

An environment is a venv in a cache folder (MINICNN_RIVALS, or ~/.cache/minicnn/rivals), made when
first needed by the Python that runs or by one that the library's pinned versions still know. What
cannot be installed is no error: `Missing` says why.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATIENCE = 900  # seconds for pip


class Missing(Exception):
    """The rival cannot run here, for this reason."""


@dataclass(frozen=True)
class Rival:
    """A library with the versions that are pinned.

    Args:
        title: its name in the report.
        workers: names of worker.py that run it, with what the report says of each.
        packages: what pip installs.
        pythons: the oldest and the newest minor version of Python 3 that they work on.
        module: if the running interpreter can import it, that is taken instead.
        env: environment variables of the process; {threads} is filled in.
        pinned: whether the process is kept to as many cores as threads, for want of a setting.
        only: if given, the beginnings of the names of the steps that it takes part in,
        why_only: and why not in the others.
    """

    title: str
    workers: dict[str, str]
    packages: tuple[str, ...]
    pythons: tuple[int, int]
    module: str = ""
    env: dict[str, str] = field(default_factory=dict)
    pinned: bool = False
    only: tuple[str, ...] = ()
    why_only: str = ""

    def left_out(self, step: str) -> str:
        """Why it does not take part in this step; empty if it does."""
        return "" if not self.only or step.startswith(self.only) else self.why_only


RIVALS = {
    "torch": Rival(
        "PyTorch",
        {"torch": "PyTorch", "torch-channels_last": "PyTorch, channels_last"},
        ("torch==2.13.0", "numpy==2.4.6"),
        (11, 14),
        module="torch",
    ),
    # Chainer 7.8.1 uses names that NumPy 1.24 took away, and imports pkg_resources.
    "chainer": Rival(
        "Chainer",
        {"chainer": "Chainer"},
        ("chainer==7.8.1", "numpy==1.23.5", "setuptools==65.5.0", "six"),
        (8, 11),
        env={"CHAINER_PYTHON_350_FORCE": "1"},
    ),
    # DeZero too; its import wants Matplotlib, of the time of that NumPy, and Pillow.
    "dezero": Rival(
        "DeZero",
        {"dezero": "DeZero"},
        ("dezero==0.0.13", "numpy==1.23.5", "matplotlib==3.7.5", "contourpy<1.1", "pillow"),
        (8, 11),
    ),
    # tinygrad calls clang; where there is none, that of the Zig compiler's package.
    "tinygrad": Rival(
        "tinygrad",
        {"tinygrad": "tinygrad"},
        ("tinygrad==0.14.0", "numpy==2.4.6", "ziglang"),
        (11, 14),
        env={"DEV": "CPU", "TRAINING": "1", "NUM_CPU_THREADS": "{threads}"},
        pinned=True,
        only=("lenet5", "vgg11-bn"),
        why_only="it would compile for minutes and take some 10 s a step, as with VGG-11-BN",
    ),
    "jax": Rival(
        "JAX", {"jax": "JAX"}, ("jax==0.10.2", "numpy==2.4.6"), (11, 14), pinned=True
    ),
}  # fmt: skip


def interpreter(name: str) -> Path:
    """The Python that has the rival; its environment is made if there is none.

    Raises:
        Missing: it cannot be installed here.
    """
    rival = RIVALS[name]
    if rival.module and importlib.util.find_spec(rival.module) is not None:
        return Path(sys.executable)
    key = hashlib.sha256(repr((rival.packages, rival.pythons)).encode()).hexdigest()[:8]
    folder = cache() / f"{name}-{key}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "complete").exists():
        _install(rival, folder, python)
        (folder / "complete").touch()
    return python


def cache() -> Path:
    """The folder of all environments."""
    return Path(os.environ.get("MINICNN_RIVALS") or Path.home() / ".cache" / "minicnn" / "rivals")


def _install(rival: Rival, folder: Path, python: Path) -> None:
    base = _base(rival.pythons)
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {rival.title} into {folder}", flush=True)
    _run([base, "-m", "venv", str(folder)], f"{base} -m venv failed")
    _run([str(python), "-m", "pip", "install", "-q", *rival.packages], "pip failed")
    if "ziglang" in rival.packages and shutil.which("clang") is None:
        clang = python.with_name("clang")
        clang.write_text(f'#!/bin/sh\nexec "{python}" -m ziglang clang "$@"\n')
        clang.chmod(0o755)


def _base(pythons: tuple[int, int]) -> str:
    """A Python between the two versions: the running one before others on the PATH."""
    least, most = pythons
    if least <= sys.version_info[1] <= most:
        return getattr(sys, "_base_executable", sys.executable)
    for minor in range(most, least - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:
            return found
    raise Missing(f"needs a Python from 3.{least} to 3.{most}, and none is on the PATH")


def _run(command: list[str], failure: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{failure}: {error}") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        said = [line for line in lines if line.startswith("ERROR")] or lines
        raise Missing(f"{failure}: {said[-1]}")

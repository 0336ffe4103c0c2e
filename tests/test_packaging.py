"""What an installation from a wheel must have; .ci/run builds one, installs it and uses it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from minicnn.backend import kernel_source
from minicnn.backend.cuda import diagnosis, sources

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def kernels(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*.cu*")}


def test_the_build_copies_every_kernel_into_the_package(tmp_path):
    pytest.importorskip("setuptools", minversion="77")  # as pyproject.toml asks of a build
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "lib")]
    command += ["egg_info", "--egg-base", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    package = tmp_path / "lib" / "minicnn"
    assert kernels(package / "kernels") == kernels(ROOT / "kernels") != {}
    assert (package / "backend" / "emulator" / "host" / "cuda.h").is_file()


def test_kernels_of_the_package_come_first(tmp_path, monkeypatch):
    checkout = sources.folder()
    assert checkout == ROOT / "kernels"
    inside = tmp_path / "minicnn" / "kernels"
    inside.mkdir(parents=True)
    (inside / "common.cuh").write_text("")
    monkeypatch.setattr(kernel_source, "_FOLDERS", (inside, checkout))
    assert sources.folder.__wrapped__() == inside
    monkeypatch.setattr(kernel_source, "_FOLDERS", (tmp_path / "nothing",))
    with pytest.raises(FileNotFoundError, match=r"no kernels in .*nothing: reinstall minicnn"):
        sources.folder.__wrapped__()


def test_everything_in_the_package_that_is_no_module_is_shipped():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["minicnn"]
    package = ROOT / "minicnn"
    for path in package.rglob("*"):
        name = path.relative_to(package).as_posix()
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            assert any(fnmatch(name, pattern) for pattern in patterns), name


def test_the_extras_for_a_gpu_ask_for_the_same_cupy():
    extras = PROJECT["project"]["optional-dependencies"]
    [version] = {extras[f"cuda{n}"][0].removeprefix(f"cupy-cuda{n}x[ctk]") for n in (12, 13)}
    assert f"cupy-cuda13x{version}" in [line.partition(";")[0] for line in extras["test"]]
    for n in (12, 13):  # and so does the advice where something is missing
        assert diagnosis._pip(n) == f"pip install {extras[f'cuda{n}'][0]!r}"

"""Every kernel compiles for every architecture with no register spilled to memory."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from minicnn.backend.cuda import sources
from minicnn.backend.cuda.instances import ARCHITECTURES, instances

NVCC = shutil.which("nvcc")
SHARED_LIMIT = 48 * 1024
USED = re.compile(
    r"Compiling entry function '(?P<kernel>\w+)'.*?(?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers"
    r"(?:[^\n]*?(?P<shared>\d+) bytes smem)?",
    re.DOTALL,
)


def test_every_file_has_an_instance():
    assert {file for file, _, _ in instances()} == {p.name for p in sources.folder().glob("*.cu")}


@pytest.mark.slow
@pytest.mark.skipif(NVCC is None, reason="no nvcc")
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_no_spills(arch, tmp_path):
    for file, word, constants in instances():
        options = [f"-D{name}={value}" for name, value in constants.items()]
        command = [NVCC, "-cubin", f"-arch={arch}", "-std=c++17", *options, "--ptxas-options=-v"]
        command += ["-Werror", "all-warnings", "-o", tmp_path / "out", sources.folder() / file]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, f"{file} ({word}): {run.stderr}"
        found = [match.groupdict(default="0") for match in USED.finditer(run.stderr)]
        assert {entry["kernel"] for entry in found} == set(sources.read(file).kernels)
        for entry in found:
            where = f"{file} ({word}, {arch}): {entry}"
            assert entry["stores"] == entry["loads"] == "0", where
            assert int(entry["shared"]) <= SHARED_LIMIT, where

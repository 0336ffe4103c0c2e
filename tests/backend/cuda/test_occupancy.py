"""Theoretical occupancy: by hand, and against NVIDIA's own calculation where it is installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from minicnn.backend.cuda.instances import ARCHITECTURES
from minicnn.backend.cuda.occupancy import MULTIPROCESSORS, Occupancy, occupancy


@pytest.mark.parametrize(
    ("arch", "threads", "registers", "shared", "expected"),
    [
        ("sm_80", 256, 32, 0, Occupancy(8, 1.0, "threads")),
        ("sm_80", 256, 33, 0, Occupancy(6, 0.75, "registers")),  # 33 are given out as 40
        ("sm_86", 256, 40, 0, Occupancy(6, 1.0, "threads")),
        ("sm_75", 256, 64, 0, Occupancy(4, 1.0, "threads")),
        ("sm_90", 256, 128, 33792, Occupancy(2, 0.25, "registers")),
        ("sm_90", 256, 255, 0, Occupancy(1, 0.125, "registers")),
        ("sm_90", 32, 16, 0, Occupancy(32, 0.5, "blocks")),
        ("sm_80", 1024, 65, 0, Occupancy(0, 0.0, "registers")),
        # A block that takes 48 KiB takes 49 with the system's: 4 in 228, 2 in 100; on Turing 1.
        ("sm_90", 256, 32, 48 << 10, Occupancy(4, 0.5, "shared memory")),
        ("sm_120", 256, 32, 48 << 10, Occupancy(2, 2 / 6, "shared memory")),
        ("sm_75", 256, 32, 48 << 10, Occupancy(1, 0.25, "shared memory")),
        ("sm_75", 100, 32, 1, Occupancy(8, 1.0, "threads")),  # three warps and a bit are four
    ],
)
def test_by_hand(arch, threads, registers, shared, expected):
    assert occupancy(arch, threads, registers, shared) == expected


def test_all_architectures_are_known():
    assert set(MULTIPROCESSORS) == set(ARCHITECTURES)


PROGRAM = """
#include <cstdio>
#include <cuda_occupancy.h>

int main() {
    int major, minor, threads, registers, shared, most, all_shared, reserved;
    while (scanf("%d %d %d %d %d %d %d %d", &major, &minor, &threads, &registers, &shared, &most,
                 &all_shared, &reserved) == 8) {
        cudaOccDeviceProp gpu;
        gpu.computeMajor = major, gpu.computeMinor = minor;
        gpu.maxThreadsPerBlock = 1024, gpu.maxThreadsPerMultiprocessor = most;
        gpu.regsPerBlock = gpu.regsPerMultiprocessor = 65536, gpu.warpSize = 32;
        gpu.sharedMemPerBlock = 48 << 10, gpu.sharedMemPerMultiprocessor = all_shared;
        gpu.numSms = 1, gpu.reservedSharedMemPerBlock = reserved;
        gpu.sharedMemPerBlockOptin = all_shared - reserved;
        cudaOccFuncAttributes kernel;
        kernel.maxThreadsPerBlock = 1024, kernel.numRegs = registers;
        kernel.sharedSizeBytes = shared, kernel.numBlockBarriers = 1;
        cudaOccDeviceState state;
        cudaOccResult result;
        if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &gpu, &kernel, &state, threads, 0))
            return 1;
        printf("%d\\n", result.activeBlocksPerMultiprocessor);
    }
}
"""


def header_folder():
    """Where pip's package of the CUDA runtime has cuda_occupancy.h, or None."""
    spec = importlib.util.find_spec("nvidia")
    roots = spec.submodule_search_locations if spec else []
    found = [path for root in roots or [] for path in Path(root).glob("*/include/cuda_occupancy.h")]
    return found[0].parent if found else None


def test_like_nvidias_own_calculation(tmp_path):
    folder, compiler = header_folder(), shutil.which("g++")
    if folder is None or compiler is None:
        pytest.skip("no cuda_occupancy.h or no g++")
    (tmp_path / "main.cpp").write_text(PROGRAM)
    command = [compiler, "-w", f"-I{folder}", "main.cpp", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    cases = [
        (arch, threads, registers, shared)
        for arch in ARCHITECTURES
        for threads in (32, 96, 128, 256, 512, 1024)
        for registers in (8, 16, 31, 32, 33, 40, 56, 63, 64, 65, 80, 96, 128, 168, 255)
        for shared in (0, 1, 128, 1000, 5120, 17408, 33792, 47 << 10)
    ]
    lines = []
    for arch, *kernel in cases:
        number, has = arch.removeprefix("sm_"), MULTIPROCESSORS[arch]
        values = [number[:-1], number[-1], *kernel, has.threads, has.shared, has.reserved]
        lines.append(" ".join(map(str, values)))
    run = subprocess.run(
        [tmp_path / "main"], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    wanted = [int(line) for line in run.stdout.split()]
    assert [occupancy(*case).blocks for case in cases] == wanted

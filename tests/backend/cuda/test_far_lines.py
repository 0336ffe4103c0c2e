"""Lines and sets of blocks so far on that their threads' numbers take more than 32 bits."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend import emulator
from minicnn.backend.cuda import sources

pytestmark = pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler")

BLOCK = 2**24 + 3  # of 256 threads: the first has the number 2^32 + 768
HEAD = """\
#include "common.cuh"
static const uint3 far_block = {BLOCK, 0, 0};
#define blockIdx far_block  // for all that follows
"""
LINES = """\
#include "lines.cuh"
extern "C" __global__ void numbers(unsigned* number, unsigned* first, unsigned lines) {
    Line line(lines, 4, 1);
    number[threadIdx.x] = line.number;
    first[threadIdx.x] = line.first;
}
"""
SETS = """\
extern "C" __global__ void numbers(unsigned* number, unsigned* first, unsigned sets) {
    Set set(sets);
    number[threadIdx.x] = set.number;
    first[threadIdx.x] = set.first;
}
"""


@pytest.mark.parametrize("what", ["lines", "sets"])
def test_numbers_beyond_32_bits(what, tmp_path):
    norm = (sources.folder() / "groupnorm.cu").read_text(encoding="utf-8")
    text = HEAD + (LINES if what == "lines" else norm + SETS)
    (tmp_path / "far.cu").write_text(text, encoding="utf-8")
    device = emulator.Device()
    number, first = [device.empty((256,), np.uint32) for _ in range(2)]
    sizes = {"PLACES": 1, "GROUPS": 1, "GROUP_C": 4, "PER_SET": 32, "COLUMNS": 1}
    constants = {"SCALAR": "float", "BLOCK": BLOCK, "PER_LINE": 32, **sizes}
    kernel = device.kernel(tmp_path / "far.cu", "numbers", constants)
    kernel((1,), (256,), (number, first, np.uint32(2**29)))
    expected = BLOCK * 8 + np.arange(256) // 32  # a warp for each
    np.testing.assert_array_equal(device.asnumpy(number), expected)
    np.testing.assert_array_equal(device.asnumpy(first), expected * 4)

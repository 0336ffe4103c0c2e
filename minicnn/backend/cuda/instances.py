"""For each kernel file constants that it is compiled with when nothing is to run: to check builds.

They are those of ordinary layers, and of each branch that a constant chooses. And how many blocks
of each a multiprocessor must hold at the same time: that is the budget of registers and of shared
memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..geometry import ConvGeometry, PoolGeometry
from .launcher import Constants, adaptive_windows, windows

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")

# How many blocks the registers and the shared memory of a multiprocessor of any architecture must
# be enough for. Of 256 threads, 8 blocks leave 32 registers to a thread, 6: 40, 5: 48, 4: 64,
# 3: 80, 2: 128, 1: all 255.
BLOCKS = {"im2col.cu": 6, "parts.cu": 6, "special.cu": 8}
BLOCKS_OF_OTHERS = 4
# Convolution by the entries of its tile, whose sums a block keeps in registers: 256 to a thread
# would be one block. The pair is for float and for double.
TILE_BLOCKS = {
    16 * 16: (4, 4),
    16 * 64: (4, 3),
    16 * 128: (3, 1),
    64 * 64: (2, 1),
    64 * 128: (2, 1),
    128 * 128: (1, 1),
}
# The tiles of ordinary layers. The other pairs of conv.py's sides lie between them.
SMALL_TILES = ((16, 16), (16, 64), (32, 32), (64, 64))
LARGE_TILES = ((16, 128), (64, 128), (128, 128))
# Depthwise convolution by the taps of its window, which the weight's gradient keeps in registers.
TAP_BLOCKS = {3 * 3: (4, 4), 8 * 8: (2, 1)}


def blocks(file: str, constants: Constants) -> int:
    """How many blocks of an instance a multiprocessor must hold at the same time."""
    is_double = constants["SCALAR"] == "double"
    if file == "conv.cu":
        return TILE_BLOCKS[int(constants["TILE_M"]) * int(constants["TILE_N"])][is_double]
    if file == "depthwise.cu":
        return TAP_BLOCKS[int(constants["KERNEL_H"]) * int(constants["KERNEL_W"])][is_double]
    return BLOCKS.get(file, BLOCKS_OF_OTHERS)


def instances() -> Iterator[tuple[str, str, Constants]]:
    """(file, a word for the instance, constants), in float and in double."""
    for number in ("float", "double"):
        for file, word, constants in _of_one_dtype(number):
            yield file, f"{word}{number}", {"SCALAR": number, **constants}


def _of_one_dtype(number: str) -> Iterator[tuple[str, str, Constants]]:
    conv = windows(ConvGeometry.of((1, 64, 32, 32), (64, 64, 3, 3), padding=1))
    volume = windows(ConvGeometry.of((1, 8, 8, 9, 10), (8, 8, 3, 3, 3), None, 2, 1, 2, 1, "conv3d"))
    yield "im2col.cu", "", conv
    yield "im2col.cu", "3-d, ", volume
    yield "pool.cu", "", windows(PoolGeometry.of((1, 64, 32, 32), 3, 2, 1))
    yield "pool.cu", "adaptive, ", adaptive_windows((10, 10), (7, 7))
    yield "batchnorm.cu", "", {"PLACES": 32 * 32}
    norm = {"PLACES": 32 * 32, "GROUPS": 8, "GROUP_C": 8, "PER_SET": 256, "COLUMNS": 1}
    rows = {"PLACES": 1, "GROUPS": 1, "GROUP_C": 768, "PER_SET": 32, "COLUMNS": 32}
    yield "groupnorm.cu", "", norm
    yield "groupnorm.cu", "rows, ", rows
    for lanes in (1, 32, 256):
        yield "softmax.cu", f"{lanes} a line, ", {"PER_LINE": lanes}
        yield "cross_entropy.cu", f"{lanes} a line, ", {"PER_LINE": lanes, "SMOOTHED": 0}
        yield "cross_entropy.cu", f"{lanes} a line, smoothed, ", {"PER_LINE": lanes, "SMOOTHED": 1}
    yield "dropout.cu", "", {}
    yield "optim.cu", "", {}
    yield "parts.cu", "", {}
    yield "resample.cu", "", {}
    yield "special.cu", "", {}
    channels = {"GROUPS": 1, "GROUP_C": 64, "GROUP_F": 64, "RELU": 1}
    for m, n in SMALL_TILES if number == "double" else SMALL_TILES + LARGE_TILES:
        word = f"tile {m}x{n}, "
        yield "conv.cu", word, {**conv, **channels, "TILE_M": m, "TILE_N": n}
    yield "conv.cu", "3-d, ", {**volume, **channels, "TILE_M": 64, "TILE_N": 64}
    yield "depthwise.cu", "", {**conv, "MULTIPLIER": 1, "RELU": 1}
    eight = windows(ConvGeometry.of((1, 64, 32, 32), (64, 64, 8, 8), padding=3))
    yield "depthwise.cu", "8x8, ", {**eight, "MULTIPLIER": 2, "RELU": 0}

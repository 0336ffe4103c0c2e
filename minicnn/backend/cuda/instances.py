"""For each kernel file constants that it is compiled with when nothing is to run: to check builds.

They are those of ordinary layers, and of each branch that a constant chooses.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..geometry import ConvGeometry, PoolGeometry
from .launcher import Constants, adaptive_windows, windows

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


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
    for lanes in (1, 32, 256):
        yield "softmax.cu", f"{lanes} a line, ", {"PER_LINE": lanes}
    yield "dropout.cu", "", {}
    yield "optim.cu", "", {}
    yield "parts.cu", "", {}
    yield "resample.cu", "", {}
    yield "special.cu", "", {}
    channels = {"GROUPS": 1, "GROUP_C": 64, "GROUP_F": 64, "RELU": 1}
    largest = 128 if number == "float" else 64
    for m, n in ((16, 16), (16, 64), (64, 64), (largest, largest)):
        word = f"tile {m}x{n}, "
        yield "conv.cu", word, {**conv, **channels, "TILE_M": m, "TILE_N": n}
    yield "conv.cu", "3-d, ", {**volume, **channels, "TILE_M": 64, "TILE_N": 64}
    yield "depthwise.cu", "", {**conv, "MULTIPLIER": 1, "RELU": 1}
    eight = windows(ConvGeometry.of((1, 64, 32, 32), (64, 64, 8, 8), padding=3))
    yield "depthwise.cu", "8x8, ", {**eight, "MULTIPLIER": 2, "RELU": 0}

"""The IDX format of MNIST: a magic number, the sizes, the values, all big-endian.

    bytes 0-1   zero
    byte  2     type of the values: 08 uint8, 09 int8, 0B int16, 0C int32, 0D float32, 0E float64
    byte  3     number of dimensions D
    4 D bytes   the sizes, unsigned 32-bit
    the rest    the values, the last dimension running fastest

Files come from anywhere, so nothing in them is believed: sizes are checked against the file's
length and a limit before memory is taken for them, and of a gzip file no more is decompressed than
its header declares, plus one byte to see that it ends there.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DEFLATE_LIMIT = 1032  # deflate never makes its output more than this many times its input
_CHUNK = 1 << 20


class IDXError(ValueError):
    """A file that does not hold the IDX data that was expected."""


def read_idx(
    path: str | os.PathLike,
    dtype: np.dtype | str | None = None,
    shape: tuple[int | None, ...] | None = None,
    max_bytes: int = 1 << 28,
) -> np.ndarray:
    """Reads an IDX file, gzipped or not (told from its first bytes, not its name).

    Args: dtype, what the values must be; shape, what the sizes must be, None for any; max_bytes,
    the most that the values may take.
    Returns an array in native byte order.
    Raises IDXError (a ValueError) for anything wrong with the content, OSError if the file cannot
    be read.
    """
    path = Path(path)
    with open(path, "rb") as raw:
        length = os.fstat(raw.fileno()).st_size
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            if not zipped:
                return _read(raw, path, length, False, dtype, shape, max_bytes)
            with gzip.open(raw, "rb") as stream:
                return _read(stream, path, length, True, dtype, shape, max_bytes)  # type: ignore[arg-type]
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise IDXError(f"read_idx: {path}: broken gzip data: {error}") from error


def _read(
    stream: BinaryIO,
    path: Path,
    length: int,
    zipped: bool,
    dtype: np.dtype | str | None,
    shape: tuple[int | None, ...] | None,
    max_bytes: int,
) -> np.ndarray:
    kind, sizes = _read_header(stream, path)
    _check_declared(path, kind, sizes, dtype, shape)
    values = f"{tuple(sizes)} of {kind.newbyteorder('=')}"
    # Sizes of 0 count as 1: (0, 2^32-1, 2^32-1) is no array that NumPy can make.
    if math.prod(max(size, 1) for size in sizes) * kind.itemsize > max_bytes:
        raise IDXError(
            f"read_idx: {path}: declares {values}, more than the {max_bytes} bytes allowed"
        )
    nbytes = math.prod(sizes) * kind.itemsize
    held = length - 4 - 4 * len(sizes)
    too_short = nbytes > _DEFLATE_LIMIT * length if zipped else nbytes > held
    if too_short or (not zipped and nbytes < held):
        raise IDXError(
            f"read_idx: {path}: declares {values}, {nbytes} bytes, but the file of {length} bytes "
            + ("cannot hold that many" if too_short else f"holds {held}: {held - nbytes} too many")
        )
    data = _read_exactly(stream, nbytes, path, values)
    if stream.read(1):
        raise IDXError(f"read_idx: {path}: more data follows after the declared {values}")
    return data.view(kind).reshape(sizes).astype(kind.newbyteorder("="), copy=False)


def _read_header(stream: BinaryIO, path: Path) -> tuple[np.dtype, list[int]]:
    magic = stream.read(4)
    if len(magic) < 4:
        raise IDXError(f"read_idx: {path}: too short for an IDX header, {len(magic)} bytes")
    if magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise IDXError(
            f"read_idx: {path}: not an IDX file: it begins with {magic.hex(' ')}, expected "
            f"00 00, a type (08, 09, 0b, 0c, 0d, 0e) and the number of dimensions"
        )
    packed = stream.read(4 * magic[3])
    if len(packed) < 4 * magic[3]:
        raise IDXError(f"read_idx: {path}: ends within the sizes of its {magic[3]} dimensions")
    return np.dtype(_TYPES[magic[2]]), list(struct.unpack(f">{magic[3]}I", packed))


def _check_declared(
    path: Path,
    kind: np.dtype,
    sizes: list[int],
    dtype: np.dtype | str | None,
    shape: tuple[int | None, ...] | None,
) -> None:
    if dtype is not None and kind.newbyteorder("=") != np.dtype(dtype):
        raise IDXError(
            f"read_idx: {path}: holds {kind.newbyteorder('=')} values, expected {np.dtype(dtype)}"
        )
    if len(sizes) > 64:
        raise IDXError(f"read_idx: {path}: declares {len(sizes)} dimensions, at most 64 can be")
    if shape is None:
        return
    fits = len(shape) == len(sizes) and all(
        want is None or want == size for want, size in zip(shape, sizes, strict=True)
    )
    if not fits:
        wanted = ", ".join("N" if want is None else str(want) for want in shape)
        raise IDXError(
            f"read_idx: {path}: holds {len(sizes)} dimensions of sizes {tuple(sizes)}, "
            f"expected {len(shape)}: ({wanted})"
        )


def _read_exactly(stream: BinaryIO, nbytes: int, path: Path, values: str) -> np.ndarray:
    data = np.empty(nbytes, np.uint8)
    view, done = memoryview(data.data), 0
    while done < nbytes:
        n = stream.readinto(view[done : done + _CHUNK])  # type: ignore[attr-defined]
        if not n:
            raise IDXError(
                f"read_idx: {path}: truncated: declares {values}, {nbytes} bytes, holds {done}"
            )
        done += n
    return data

"""Arrays in MATLAB files of version 5 ("MAT-File Format", MathWorks): as much as SVHN needs.

    bytes 0-127   a text, the version 0x0100, and "IM", which says that numbers are little-endian
    then elements of a tag (uint32 type, uint32 bytes) and that many bytes:
        15  a zlib stream that holds one element of type 14
        14  an array: elements for its flags (6: the class in the lowest byte), its sizes (5), its
            name (1) and its values, the first index running fastest; each padded to 8 bytes
    A tag whose upper 16 bits are not zero is a short one: type and bytes in 16 bits each, then at
    most 4 bytes in the rest of its 8.

Files come from anywhere, so nothing in them is believed: what is declared is checked against the
file's length and a limit before memory is taken for it, and other arrays, of whatever kind, are
passed over unread. (SciPy's reader crashes on some broken files, and Python with it.)
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_DEFLATE_LIMIT = 1032  # deflate never makes its output more than this many times its input
_CHUNK = 1 << 20
_COMPRESSED, _MATRIX, _FLAGS, _SIZES, _NAME = 15, 14, 6, 5, 1
_CLASSES: dict[int, np.dtype] = {6: np.dtype(np.float64), 9: np.dtype(np.uint8)}  # that can be read
_OPAQUE = 17  # the class of MATLAB's own objects, which have no sizes
_VALUES = {2: "u1", 9: "<f8"}  # how they are stored: a double may be, as uint8


class MATError(ValueError):
    """A file that is no MATLAB file, a broken one, or one without the arrays that were expected."""


def read_mat(
    path: str | os.PathLike, names: Collection[str], max_bytes: int
) -> dict[str, np.ndarray]:
    """The arrays of these names, of uint8 or float64, in the order of memory that MATLAB has.

    max_bytes: the most that the values of one array may take.
    Raises MATError (a ValueError), which names the file, for anything wrong with the content;
    OSError if the file cannot be read.
    """
    found: dict[str, np.ndarray] = {}
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        try:
            header = file.read(128)
            if len(header) < 128 or header[124:128] != b"\x00\x01IM":
                raise MATError("no MATLAB file of version 5, little-endian")
            while file.tell() < length and len(found) < len(names):
                kind, size = struct.unpack("<2I", _exactly(file, 8))
                end = file.tell() + size
                if end > length:
                    raise MATError(f"an element declares {size} bytes, more than the file holds")
                if kind in (_MATRIX, _COMPRESSED):
                    found.update(_element(file, kind, size, names, max_bytes))
                file.seek(end)
        except (MATError, zlib.error, struct.error) as error:
            raise MATError(f"{Path(path)}: {error}") from None
    if missing := [name for name in names if name not in found]:
        raise MATError(f"{Path(path)}: it holds no array {' and no '.join(missing)}")
    return found


def _element(
    file: BinaryIO, kind: int, size: int, names: Collection[str], max_bytes: int
) -> dict[str, np.ndarray]:
    """The array of an element, by name; nothing if it is none of `names`."""
    stream: Any = _Limited(file, size)
    held = size
    if kind == _COMPRESSED:
        stream, held = _Inflated(stream), size * _DEFLATE_LIMIT
        inner, _ = struct.unpack("<2I", _exactly(stream, 8))
        if inner != _MATRIX:
            return {}
    flags = _part(stream, _FLAGS, 8)
    if len(flags) != 8:
        raise MATError(f"the flags of an array have {len(flags)} bytes, expected 8")
    if flags[0] == _OPAQUE:
        return {}
    sizes = _part(stream, _SIZES, 4 * 32)
    name = _part(stream, _NAME, 256).decode("latin-1")
    if name not in names:
        return {}
    shape = struct.unpack(f"<{len(sizes) // 4}i", sizes[: len(sizes) // 4 * 4])
    if flags[0] not in _CLASSES or flags[1] & 8 or min(shape, default=-1) < 0:
        raise MATError(f"{name} is no plain array of uint8 or double")
    dtype = _CLASSES[flags[0]]
    values, nbytes, short = _tag(stream)
    if values not in _VALUES or math.prod(shape) * np.dtype(_VALUES[values]).itemsize != nbytes:
        raise MATError(f"{name} declares the sizes {shape}, but {nbytes} bytes of values")
    # Sizes of 0 count as 1: (0, 2^31-1, 2^31-1, 2^31-1) is no array that NumPy can make.
    most = math.prod(max(n, 1) for n in shape) * dtype.itemsize
    if nbytes > held or most > max_bytes:
        raise MATError(
            f"{name} declares the sizes {shape}, more than it can hold or the {max_bytes} bytes "
            "allowed"
        )
    data = _array(stream, nbytes, short)
    stream.finish()
    array = data.view(_VALUES[values]).reshape(shape, order="F")
    return {name: array.astype(dtype, copy=False)}


class _Limited:
    """At most `size` bytes of a file."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._left = file, size

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data

    def finish(self) -> None:
        """Nothing to check at the end."""


class _Inflated:
    """What a zlib stream holds."""

    def __init__(self, packed: _Limited):
        self._packed, self._zlib = packed, zlib.decompressobj()

    def read(self, size: int) -> bytes:
        parts, wanted = [], size
        while wanted and not self._zlib.eof:
            packed = self._zlib.unconsumed_tail or self._packed.read(_CHUNK)
            data = self._zlib.decompress(packed, wanted)
            if not packed and not data:
                break
            parts.append(data)
            wanted -= len(data)
        return b"".join(parts)

    def finish(self) -> None:
        """Reads the padding and the checksum. MATError if there is more, or less."""
        if len(self.read(9)) > 8 or (self.read(1) or not self._zlib.eof):
            raise MATError("a compressed array does not end where it should")


def _exactly(stream: Any, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise MATError("it ends in the middle of an array")
    return data


def _tag(stream: Any) -> tuple[int, int, bytes | None]:
    """Type and bytes of an element, and those bytes themselves where the tag is a short one."""
    first, second = struct.unpack("<I4s", _exactly(stream, 8))
    if first >> 16:
        if first >> 16 > 4:
            raise MATError(f"a short element declares {first >> 16} bytes, more than 4")
        return first & 0xFFFF, first >> 16, second[: first >> 16]
    return first, struct.unpack("<I", second)[0], None


def _part(stream: Any, kind: int, most: int) -> bytes:
    """The bytes of a small element of this type."""
    found, nbytes, short = _tag(stream)
    if found != kind or nbytes > most:
        raise MATError(f"an element of type {found} and {nbytes} bytes where {kind} should be")
    if short is not None:
        return short
    return _exactly(stream, -(-nbytes // 8) * 8)[:nbytes]


def _array(stream: Any, nbytes: int, short: bytes | None) -> np.ndarray:
    if short is not None:
        return np.frombuffer(short, np.uint8)
    data = np.empty(nbytes, np.uint8)
    for k in range(0, nbytes, _CHUNK):
        part = data[k : k + _CHUNK]
        part[:] = np.frombuffer(_exactly(stream, len(part)), np.uint8)
    return data

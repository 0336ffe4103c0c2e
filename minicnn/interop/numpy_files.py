"""NumPy's .npy and .npz files: numbers alone, no pickled objects.

An .npy file is a magic number, a version, and a Python dict as text that gives type, order and
shape; the numbers follow. The text is matched, not evaluated.
The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import math
import re
from typing import Any, BinaryIO

import numpy as np

from .safetensors import FormatError
from .streams import read_into
from .zip_records import Archive

MAGIC = b"\x93NUMPY"
_MAX_HEADER = 1 << 16
_HEADER = re.compile(
    r"\s*\{\s*'descr':\s*'(?P<dtype>[^']{1,8})',\s*'fortran_order':\s*(?P<fortran>True|False),"
    r"\s*'shape':\s*\((?P<shape>[\d\sL,]*)\),?\s*\}\s*"
)
_CODE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16)")


def read_npz(archive: Archive) -> dict[str, np.ndarray]:
    """The arrays of an .npz archive by name, without the ending .npy."""
    return {name.removesuffix(".npy"): _array(archive, name) for name in archive.records}


def _array(archive: Archive, name: str) -> np.ndarray:
    if not name.endswith(".npy"):
        raise FormatError(f"its record {name!a} is no array")
    content = np.empty(archive.records[name].size, np.uint8)
    archive.read_into(name, content.data)
    return decode(content, f"its record {name!a}")


def read_npy(file: BinaryIO, size: int) -> np.ndarray:
    """The array of an .npy file, whose last `size` bytes begin where `file` stands."""
    content = np.empty(size, np.uint8)
    if read_into(file, content.data) != size:
        raise FormatError("the file became shorter while it was read")
    return decode(content, "the file")


def decode(content: np.ndarray, what: str) -> np.ndarray:
    """The array of the bytes of an .npy file, sharing their memory where it can."""
    text, start = _header(bytes(content[: _MAX_HEADER + 12]), what)
    dtype, fortran, shape = _description(text, what)
    body = content[start:]
    if math.prod(shape) * dtype.itemsize != body.size:
        raise FormatError(f"{what} is to hold {shape} of {dtype}, but {body.size} bytes follow")
    if body.ctypes.data % dtype.alignment:
        body = body.copy()
    if dtype.kind == "b" and (body > 1).any():
        raise FormatError(f"{what} holds truth values other than 0 and 1")
    flat = body.view(dtype)
    if not dtype.isnative:
        flat = flat.byteswap(inplace=True).view(dtype.newbyteorder("="))
    try:
        return flat.reshape(shape, order="F" if fortran else "C")
    except (ValueError, OverflowError) as error:  # beyond NumPy, such as 65 dimensions
        raise FormatError(f"{what} of shape {shape}: {error}") from None


def _header(first: bytes, what: str) -> tuple[str, int]:
    """The header's text, and where the numbers begin."""
    if first[:6] != MAGIC or first[6:7] not in (b"\1", b"\2", b"\3"):
        raise FormatError(f"{what} is no .npy file of version 1, 2 or 3")
    begin = 10 if first[6] == 1 else 12
    end = begin + int.from_bytes(first[8:begin], "little")
    if end - begin > _MAX_HEADER or len(first) < end:
        raise FormatError(f"{what} claims a header of {end - begin} bytes")
    return first[begin:end].decode("latin1"), end


def _description(text: str, what: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    found = _HEADER.fullmatch(text)
    if found is None:
        raise FormatError(f"{what} has a header that describes no array of numbers: {text[:80]!a}")
    if not _CODE.fullmatch(found["dtype"]):
        raise FormatError(
            f"{what} is of type {found['dtype']!a}; numbers alone are read, no objects"
        )
    sizes = [part.strip().removesuffix("L") for part in found["shape"].split(",")]
    if sizes[-1] == "":  # (), (3,)
        sizes.pop()
    if not all(size.isdecimal() and len(size) < 20 for size in sizes) or len(sizes) > 64:
        raise FormatError(f"{what} has a shape that is none: {found['shape'][:80]!a}")
    return np.dtype(found["dtype"]), found["fortran"] == "True", tuple(map(int, sizes))

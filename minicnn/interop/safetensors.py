"""The safetensors format: named arrays and a string-to-string table in one file, and nothing else.

    8 bytes      n, the header's length, unsigned, little-endian
    n bytes      the header, JSON: {name: {"dtype": "F32", "shape": [2, 3],
                 "data_offsets": [0, 24]}, ..., "__metadata__": {string: string}}
    the rest     the arrays, row-major, little-endian, one behind the other without a gap

No part of it can run code. What a reader has to guard against is a header that lies: everything is
checked against the file's true size before memory is taken for it. `write` goes array by array and
`read` reads straight into the arrays, so that neither holds the data twice.

The format is described at https://github.com/huggingface/safetensors; files made here and by that
library are the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

_TYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8",
    "C64": "<c8",
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _TYPES.items() if name != "BF16"}
_MAX_HEADER = 100_000_000  # the limit of the safetensors library


class FormatError(ValueError):
    """A file that is not what its format demands: damaged, cut short, or of another kind."""


# Writing


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes `arrays` and `metadata` to the open binary `file`.

    Raises TypeError for a dtype that the format does not have.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    # Widest elements first, so that every array is aligned to its element size, as a memory map
    # of the file wants it.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    end = 0
    for name in names:
        array = arrays[name]
        dtype = _NAMES.get(array.dtype.newbyteorder("<"))
        if dtype is None:
            raise TypeError(
                f"save: {name!r} is of type {array.dtype}, which safetensors does not have"
            )
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise ValueError(f"save: names and numbers take {len(text)} bytes, more than {_MAX_HEADER}")
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for name in names:
        array = arrays[name]
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        file.write(plain.reshape(-1).view(np.uint8).data)


# Reading


def read(file: BinaryIO, size: int, source: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and metadata of the open binary `file`, which has `size` bytes from here on.

    bfloat16 arrays come as float32, which holds their values exactly.

    Raises FormatError, whose message begins with `source`, for anything but a sound file.
    """
    entries, metadata = read_header(file, size, source)
    return {name: _read_array(file, name, *entry, source) for name, entry in entries}, metadata


def read_header(
    file: BinaryIO, size: int, source: str
) -> tuple[list[tuple[str, tuple[str, tuple[int, ...]]]], dict[str, str]]:
    """[(name, (dtype, shape)), ...] in the order of their data, and the metadata. See `read`."""
    if size < 8:
        raise FormatError(
            f"{source}: {size} bytes are too few for a safetensors file; it was cut short"
        )
    length = int.from_bytes(_exactly(file, 8, source), "little")
    if length > min(size - 8, _MAX_HEADER):
        raise FormatError(
            f"{source}: claims a header of {length} bytes in a file of {size}; "
            "it was cut short, or it is no safetensors file"
        )
    header = _parse(_exactly(file, length, source), source)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError(f"{source}: __metadata__ should map strings to strings")
    entries = [(name, _checked_entry(name, entry, source)) for name, entry in header.items()]
    entries.sort(key=lambda item: item[1][2])
    end = 0
    for name, (_, _, offsets) in entries:
        if offsets[0] != end:
            raise FormatError(
                f"{source}: {name!r} begins at byte {offsets[0]} of the data, the array before it "
                f"ends at {end}"
            )
        end = offsets[1]
    if end != size - 8 - length:
        raise FormatError(
            f"{source}: its arrays take {end} bytes, the file holds {size - 8 - length}; "
            "it was cut short or damaged"
        )
    return [(name, (dtype, shape)) for name, (dtype, shape, _) in entries], metadata


def _parse(text: bytes, source: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise FormatError(f"{source}: a name occurs twice in the header")
        return table

    try:
        # A valid header opens with a brace; JSON that begins with spaces is refused by others too.
        header = json.loads(text.decode(), object_pairs_hook=unique) if text[:1] == b"{" else None
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{source}: its header is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise FormatError(f"{source}: is no safetensors file (its header is not a JSON object)")
    return header


def _checked_entry(
    name: str, entry: Any, source: str
) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"{source}: {name!r} should have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _TYPES:
        raise FormatError(f"{source}: {name!r} is of type {dtype!r}; known are {', '.join(_TYPES)}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise FormatError(f"{source}: {name!r} has shape {shape!r} and data_offsets {offsets!r}")
    if len(shape) > 64:
        raise FormatError(f"{source}: {name!r} has {len(shape)} dimensions, NumPy's limit is 64")
    wanted = np.dtype(_TYPES[dtype]).itemsize
    for n in shape:
        wanted *= n
    if offsets[1] - offsets[0] != wanted:
        raise FormatError(
            f"{source}: {name!r}, {dtype} of shape {tuple(shape)}, takes {wanted} bytes, "
            f"its data_offsets {offsets} give {offsets[1] - offsets[0]}"
        )
    return dtype, tuple(shape), (offsets[0], offsets[1])


def _are_sizes(values: Any) -> bool:
    """True for a list of integers that are not negative and fit the machine."""
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**62 for v in values)


def _read_array(
    file: BinaryIO, name: str, dtype: str, shape: tuple[int, ...], source: str
) -> np.ndarray:
    try:
        array = np.empty(shape, _TYPES[dtype])
    except (ValueError, MemoryError) as error:  # (0, 2**61) is sound but NumPy cannot hold it
        raise FormatError(f"{source}: {name!r} of shape {shape}: {error}") from None
    _fill(file, array.reshape(-1).view(np.uint8).data, source)
    if dtype == "BF16":  # the upper half of a float32
        return (array.reshape(-1).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype == "BOOL" and array.size and array.view(np.uint8).max() > 1:
        raise FormatError(f"{source}: {name!r} is of type BOOL and holds bytes other than 0 and 1")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _exactly(file: BinaryIO, n: int, source: str) -> bytes:
    data = bytearray(n)
    _fill(file, memoryview(data), source)
    return bytes(data)


def _fill(file: BinaryIO, target: memoryview, source: str) -> None:
    """Fills `target` from `file`; one call to read may give less than is wanted."""
    done = 0
    while done < len(target):
        chunk = file.read(min(len(target) - done, 1 << 24))
        if not chunk:
            raise FormatError(
                f"{source}: ends {len(target) - done} bytes too early; it was cut short"
            )
        target[done : done + len(chunk)] = chunk
        done += len(chunk)


def remaining_size(file: BinaryIO) -> int:
    """How many bytes a seekable file has from its position on."""
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end - here

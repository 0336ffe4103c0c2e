"""Named arrays and a string-to-string table in a safetensors file, by the `safetensors` library.

No part of the format can run code, and the library holds what a header says against the file's
true size before it takes memory for it. What is added here: open files, bfloat16, the types that
NumPy lacks, and errors that name the file. The format: https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

_CODES = {
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "U32": "<u4",
    "I32": "<i4", "U64": "<u8", "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4",
    "F64": "<f8", "C64": "<c8",
}  # fmt: skip
_MAX_HEADER = 100_000_000  # the library's limit


class FormatError(ValueError):
    """A file that is not what its format demands: damaged, cut short, or of another kind."""


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Writes `arrays` and `metadata` to the open binary `file`.

    The same content gives the same bytes.

    Raises TypeError for a dtype that the format does not have, ValueError for names and metadata
    of more than 100 MB, which no reader takes.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    plain = {}
    for name, array in arrays.items():
        dtype = array.dtype.newbyteorder("<")
        if dtype.str not in _CODES.values():
            raise TypeError(
                f"save: {name!r} is of type {array.dtype}, which safetensors does not have"
            )
        plain[name] = np.asarray(array, dtype, order="C")  # the library ignores strides
    try:
        content = save(plain, metadata)
    except SafetensorError as error:
        raise ValueError(f"save: {error}") from None
    start = 8 + int.from_bytes(content[:8], "little")
    file.write(content[:start] if len(metadata) < 2 else _in_order(content[8:start]))
    file.write(memoryview(content)[start:])


def _in_order(text: bytes) -> bytes:
    """A header and its length, with the metadata sorted: the library's order is a random one."""
    header = json.loads(text)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the numbers behind it stay aligned
    return len(text).to_bytes(8, "little") + text


def read_metadata(file: BinaryIO, size: int, source: str) -> dict[str, str]:
    """The metadata alone: the header is read, the arrays are not. FormatError as for `read`."""
    length = int.from_bytes(file.read(8), "little")
    _check_length(length, size, source)
    try:
        header = json.loads(file.read(length))
        found = header.get("__metadata__", {})
        texts = all(isinstance(value, str) for value in found.values())
    except (ValueError, AttributeError, RecursionError):
        texts = False
    if not texts:
        raise FormatError(f"{source}: has no safetensors header, or a damaged one")
    return found


def _check_length(length: int, size: int, source: str) -> None:
    """FormatError for a header that is longer than the file or than any reader takes."""
    if size >= 8 and length > min(size - 8, _MAX_HEADER):
        raise FormatError(
            f"{source}: claims a header of {length} bytes in a file of {size}; "
            "it was cut short, or it is no safetensors file"
        )


def read(file: BinaryIO, size: int, source: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays, by name, and metadata of the open binary `file`, which ends in `size` bytes.

    bfloat16 arrays come as float32, which holds their values exactly.

    Raises FormatError, whose message begins with `source`, for anything but a sound file.
    """
    from safetensors import SafetensorError, deserialize

    start = file.tell()
    length = int.from_bytes(file.read(8), "little")
    # The library would see this too, but only once a large file of another kind is in memory.
    _check_length(length, size, source)
    file.seek(start)
    try:
        content = file.read(size)  # and no more of a file that grows, or has no end
        entries = sorted(deserialize(content), key=lambda entry: entry[0])  # they come in any order
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__")
    except MemoryError:
        raise FormatError(f"{source}: its {size} bytes do not fit into memory") from None
    except (SafetensorError, ValueError, RecursionError) as error:
        reason = str(error).removeprefix("Error while deserializing: ")
        raise FormatError(
            f"{source}: was cut short or damaged, or is no safetensors file ({reason})"
        ) from None
    return {name: _array(name, entry, source) for name, entry in entries}, metadata or {}


def _array(name: str, entry: dict[str, Any], source: str) -> np.ndarray:
    """The array of an entry that the library has found sound, sharing its memory if it can."""
    dtype, shape = entry["dtype"], entry["shape"]
    if dtype not in _CODES:
        raise FormatError(f"{source}: {name!r} is of type {dtype}, which NumPy does not have")
    flat = np.frombuffer(entry["data"], _CODES[dtype])
    if dtype == "BOOL" and (flat.view(np.uint8) > 1).any():
        raise FormatError(f"{source}: {name!r} is of type BOOL and holds bytes other than 0 and 1")
    if dtype == "BF16":  # the upper half of a float32
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    try:
        return flat.astype(flat.dtype.newbyteorder("="), copy=False).reshape(shape)
    except (ValueError, OverflowError) as error:  # 65 dimensions, (0, 2**63): beyond NumPy
        raise FormatError(f"{source}: {name!r} of shape {shape}: {error}") from None


def remaining_size(file: BinaryIO) -> int:
    """How many bytes a seekable file has from its position on."""
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end - here

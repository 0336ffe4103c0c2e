"""Files out of a .tar.gz archive: only those that are expected, of the sizes that are expected.

Archives come from anywhere, so nothing in them is believed. A member is written only if its whole
name is on the list, it is an ordinary file, and it declares the size that is published. No more is
decompressed than those sizes and a little besides; and the files appear under their names only when
the whole archive was read and its checksum was right.

The headers are read here: Python's tarfile spends hours on some (a size of 2^80 bytes, which it
passes over read by read; a long text of digits, CVE-2024-6232). A header is a block of 512 bytes:

    bytes 0-99     name                       156      type, "0" or zero for an ordinary file
    124-135        size in bytes, octal       257-262  "ustar" and a zero, and then
    148-155        sum of all other bytes,    345-499  what precedes the name, before a slash
                   these being spaces

Then follows the content, filled up to whole blocks; a block of zeros ends the archive. What changes
the name or size of the next member (pax headers, GNU's long names) is passed over like any other
member: the names that are looked for are short.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

_BESIDES = 1 << 24  # bytes of headers, padding and small texts such as a readme
_CHUNK = 1 << 20
_BLOCK = 512
_ORDINARY = (b"0", b"\0")


class ArchiveError(ValueError):
    """An archive that is broken, or does not hold what was expected."""


class _Bounded:
    """A stream that gives no more than `most` bytes."""

    def __init__(self, stream: BinaryIO, most: int):
        self._stream, self._left = stream, most

    def read(self, size: int) -> bytes:
        """So many bytes. ArchiveError if there are fewer, or more than allowed."""
        self._left -= size
        if self._left < 0:
            raise ArchiveError("it holds more than the published one")
        data = self._stream.read(size)
        if len(data) < size:
            raise ArchiveError("it ends in the middle")
        return data

    def copy(self, size: int, out: BinaryIO | None = None) -> None:
        """Takes `size` bytes and what fills them up to whole blocks; writes them to `out`."""
        for k in range(0, size, _CHUNK):
            data = self.read(min(_CHUNK, size - k))
            if out is not None:
                out.write(data)
        self.read(-size % _BLOCK)

    def finish(self) -> None:
        """Reads to the end, where gzip's checksum is."""
        while data := self._stream.read(min(_CHUNK, self._left + 1)):
            self._left -= len(data)
            if self._left < 0:
                raise ArchiveError("it holds more than the published one")


def unpack(archive: Path, members: Mapping[str, int], folder: Path) -> None:
    """Writes the archive's `members`, {name in the archive: bytes}, into `folder`.

    The last part of its name names each file there. Other members are passed over.

    Raises ArchiveError, which names the archive, if it is broken or a member is missing, of another
    size, or no ordinary file (then nothing is written); OSError if a folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder.parent) as temporary:
        try:
            with gzip.open(archive, "rb") as stream:
                bounded = _Bounded(stream, sum(members.values()) + _BESIDES)  # type: ignore[arg-type]
                _write(bounded, members, Path(temporary))
        except (gzip.BadGzipFile, EOFError, zlib.error, ArchiveError) as error:
            raise ArchiveError(f"{archive}: {error}") from error
        folder.mkdir(exist_ok=True)
        for name in members:
            file = Path(name).name
            os.replace(Path(temporary, file), folder / file)


def _write(stream: _Bounded, members: Mapping[str, int], folder: Path) -> None:
    missing = dict(members)
    while any(block := stream.read(_BLOCK)):
        name, kind, declared = _header(block)
        if name not in members:
            stream.copy(declared)
            continue
        size = missing.pop(name, None)
        if size is None:
            raise ArchiveError(f"it holds {name} twice")
        if kind not in _ORDINARY:
            raise ArchiveError(f"{name} is no ordinary file")
        if declared != size:
            raise ArchiveError(f"{name} has {declared} bytes, expected {size}")
        with open(folder / Path(name).name, "xb") as out:
            stream.copy(size, out)
    stream.finish()
    if missing:
        raise ArchiveError(f"it does not hold {', '.join(missing)}")


def _header(block: bytes) -> tuple[str, bytes, int]:
    """Name, type and size of a member. ArchiveError for a broken header."""
    if sum(block) - sum(block[148:156]) + 8 * ord(" ") != _octal(block[148:156]):
        raise ArchiveError("a header's checksum is wrong, or it is no tar archive")
    name = block[:100].split(b"\0")[0]
    before = block[345:500].split(b"\0")[0]
    if block[257:263] == b"ustar\0" and before:
        name = before + b"/" + name
    text = name.decode("latin-1").removeprefix("./").rstrip("/")
    return text, block[156:157], _octal(block[124:136])


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise ArchiveError(f"a header has {field!r} where a number should be")
    return int(digits or b"0", 8)

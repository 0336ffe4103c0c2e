"""The records of a zip archive, every claim of its directory held against the file.

Python's zipfile reads the directory. What it leaves open is checked here before anything is read:
names that lead out of the archive or stand twice, records that overlap or lie beyond the file (a
zip that holds itself), sizes that deflate could not have made of so few bytes. Stored records are
read straight into the array that they fill; every byte goes through the record's checksum.

The format: PKWARE's APPNOTE.TXT, section 4.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import zipfile
import zlib
from typing import BinaryIO, NamedTuple

from .safetensors import FormatError
from .streams import read_into

_LOCAL = struct.Struct("<4s22xHH")  # the header in front of a record: signature, two lengths
_CHUNK = 1 << 20  # small enough that the checksum finds it in the cache
_FREE_SIZE, _MAX_RATIO = 4 << 20, 50  # of an archive with compressed records
_OUTSIDE = re.compile(r"(^|/)\.\.?(/|$)|^/|//|[\\\0]|^[A-Za-z]:|^$")


class Record(NamedTuple):
    """Where a record's bytes stand, and what they must become."""

    name: str
    start: int
    packed: int
    size: int
    deflated: bool
    crc: int


class Archive:
    """The `records` of the zip archive that is `file`, by name, in the order of the file.

    A checksum of 0 is taken for one that was not written, as PyTorch's set_crc32_options(False)
    leaves it. FormatError for an archive that is damaged or lies.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        self.lock = threading.Lock()  # around each seek and what is read there
        infos, end = _directory(file)
        self.records: dict[str, Record] = {}
        for info in sorted(infos, key=lambda info: info.header_offset):
            record = self._record(info)
            if record.name in self.records:
                raise FormatError(f"its record {record.name!a} stands twice")
            self.records[record.name] = record
        self._check_places([*sorted(info.header_offset for info in infos), end][1:])
        self._check_sizes()

    def _record(self, info: zipfile.ZipInfo) -> Record:
        name = info.orig_filename
        if _OUTSIDE.search(name):
            raise FormatError(f"its record {name[:100]!a} has a name that leads out of the archive")
        if info.flag_bits & 0x41:
            raise FormatError(f"its record {name[:100]!a} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FormatError(f"its record {name[:100]!a} is compressed by other than deflate")
        self.file.seek(info.header_offset)
        header = self.file.read(_LOCAL.size)
        if len(header) != _LOCAL.size or header[:4] != b"PK\3\4":
            raise FormatError(f"its record {name[:100]!a} is not where the directory says")
        _, length, extra = _LOCAL.unpack(header)
        encoded = name.encode("utf-8" if info.flag_bits & 0x800 else "cp437", "replace")
        if self.file.read(length) != encoded:
            raise FormatError(f"its record {name[:100]!a} has another name where it stands")
        start = info.header_offset + _LOCAL.size + length + extra
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        return Record(name, start, info.compress_size, info.file_size, deflated, info.CRC)

    def _check_places(self, ends: list[int]) -> None:
        """Every record ends before the next one's header, the last before the directory."""
        for record, end in zip(self.records.values(), ends, strict=True):
            if record.start + record.packed > end:
                raise FormatError(
                    f"its record {record.name!a} of {record.packed} bytes reaches over what "
                    "follows it"
                )

    def _check_sizes(self) -> None:
        total = packed = 0
        for record in self.records.values():
            if not record.deflated and record.size != record.packed:
                raise FormatError(f"its record {record.name!a} is stored, in another size")
            if record.deflated:
                total, packed = total + record.size, packed + record.packed
        if total > _FREE_SIZE + _MAX_RATIO * packed:
            raise FormatError(
                f"its compressed records claim to hold {total} bytes in {packed}; more than "
                f"{_MAX_RATIO} to one (and {_FREE_SIZE >> 20} MB) are not unpacked"
            )

    def read(self, name: str) -> bytes:
        """The bytes of a record, in memory of their own."""
        content = bytearray(self.records[name].size)
        self.read_into(name, memoryview(content))
        return bytes(content)

    def read_into(self, name: str, target: memoryview) -> None:
        """Fills `target`, bytes of the record's size, and checks them. Threads may call it."""
        record = self.records[name]
        crc = (self._inflate if record.deflated else self._copy)(record, target)
        if record.crc and crc != record.crc:
            raise FormatError(f"its record {name!a} is damaged: its checksum is another")

    def _fill(self, position: int, target: memoryview) -> None:
        with self.lock:
            self.file.seek(position)
            if read_into(self.file, target) != len(target):
                raise FormatError("the file became shorter while it was read")

    def _copy(self, record: Record, target: memoryview) -> int:
        crc = 0
        for at in range(0, len(target), _CHUNK):
            chunk = target[at : at + _CHUNK]
            self._fill(record.start + at, chunk)
            crc = zlib.crc32(chunk, crc)
        return crc

    def _inflate(self, record: Record, target: memoryview) -> int:
        crc, at, taken = 0, 0, 0
        stream, waiting = zlib.decompressobj(-zlib.MAX_WBITS), b""
        try:
            while not stream.eof:
                if not waiting:
                    piece = bytearray(min(record.packed - taken, _CHUNK))
                    self._fill(record.start + taken, memoryview(piece))
                    waiting, taken = bytes(piece), taken + len(piece)
                out = stream.decompress(waiting, min(_CHUNK, len(target) - at) + 1)
                if at + len(out) > len(target) or not (out or waiting):
                    break  # it holds more than it says, or has no end
                waiting = stream.unconsumed_tail
                target[at : at + len(out)] = out
                crc = zlib.crc32(out, crc)
                at += len(out)
        except zlib.error as error:
            raise FormatError(f"its record {record.name!a} is damaged ({error})") from None
        if at != len(target) or not stream.eof:
            raise FormatError(f"its record {record.name!a} does not unpack to {record.size} bytes")
        return crc


def _directory(file: BinaryIO) -> tuple[list[zipfile.ZipInfo], int]:
    """The directory's entries, and where it begins."""
    try:
        archive = zipfile.ZipFile(file)
    except (
        zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error,
        LookupError, RuntimeError,
    ) as error:  # fmt: skip
        raise FormatError(f"its zip directory is damaged or missing ({error})") from None
    infos = archive.infolist()
    if not all(0 <= info.header_offset < archive.start_dir for info in infos):
        raise FormatError("its zip directory points before the file or behind its records")
    return infos, archive.start_dir


def whole(file: BinaryIO) -> BinaryIO:
    """`file` from its position on, as a file that begins there (zip counts from its begin)."""
    return file if file.tell() == 0 else io.BytesIO(file.read())

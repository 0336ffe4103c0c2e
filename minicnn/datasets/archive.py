"""Files out of a .tar.gz archive: only those that are expected, of the sizes that are expected.

Archives come from anywhere, so nothing in them is believed. A member is written only if its whole
name is on the list, it is an ordinary file, and it declares the size that is published. No more is
decompressed than those sizes and a little besides; and the files appear under their names only when
the whole archive was read and its checksum was right.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

_BESIDES = 1 << 24  # bytes of headers, padding and small texts such as a readme
_CHUNK = 1 << 20


class ArchiveError(ValueError):
    """An archive that is broken, or does not hold what was expected."""


class _Bounded:
    """A stream that gives no more than `most` bytes."""

    def __init__(self, stream: BinaryIO, most: int):
        self._stream, self._left = stream, most

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ArchiveError("it holds more than the published one")
        return data


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
        except gzip.BadGzipFile as error:
            raise ArchiveError(f"{archive}: {error}") from error
        except (tarfile.TarError, EOFError, zlib.error, ValueError, RecursionError) as error:
            raise ArchiveError(f"{archive}: {error}") from error
        folder.mkdir(exist_ok=True)
        for name in members:
            file = Path(name).name
            os.replace(Path(temporary, file), folder / file)


def _write(stream: _Bounded, members: Mapping[str, int], folder: Path) -> None:
    missing = dict(members)
    with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
        for member in tar:
            name = member.name.removeprefix("./")
            if name not in members:
                continue
            size = missing.pop(name, None)
            if size is None:
                raise ArchiveError(f"it holds {name} twice")
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
                raise ArchiveError(f"{name} is no ordinary file")
            if member.size != size:
                raise ArchiveError(f"{name} has {member.size} bytes, expected {size}")
            with open(folder / Path(name).name, "xb") as out:
                shutil.copyfileobj(tar.extractfile(member), out, _CHUNK)
    while stream.read(_CHUNK):  # to the end, where gzip's checksum is
        pass
    if missing:
        raise ArchiveError(f"it does not hold {', '.join(missing)}")

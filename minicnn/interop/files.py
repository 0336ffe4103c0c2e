"""Files that are either whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_SUFFIX = ".minicnn-tmp"
_MAX_NAME = 40  # characters of the target's name: file systems take 255 bytes


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well, and vanishes when it does not.

    The bytes go to a temporary file in the same folder, reach the disk (fsync), and only then take
    the name, in one step (os.replace). A full disk, an exception or a kill at any moment leaves
    what `path` held before. A link is followed: the file it leads to is replaced. A device or a
    pipe, such as /dev/null or /dev/stdout, is written to.

    Raises OSError as the system words it, with `path` as the file's name.
    """
    target = os.fsdecode(os.path.realpath(path))
    if os.path.exists(target) and not os.path.isfile(target):
        with open(path, "wb") as file:  # there is nothing to lose, and no name to take
            yield file
        return
    folder, name = os.path.split(target)
    writer = f"{os.getpid()}-{threading.get_ident()}"  # others may be writing the same file
    temporary = os.path.join(folder, f".{name[:_MAX_NAME]}.{writer}{_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        # Without a name, as of a full disk, or with one that nobody asked for.
        if isinstance(error, OSError) and error.errno and error.filename in (None, temporary):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        raise
    _sync_folder(folder)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """`data` as the file `path`, atomically."""
    with atomic_write(path) as file:
        file.write(data)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Deletes the temporary files that a killed process left in `folder`."""
    for leftover in Path(folder).glob(f".*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def _sync_folder(folder: str) -> None:
    """Brings the new name itself to the disk. Not every system lets a folder be opened."""
    flags = getattr(os, "O_DIRECTORY", None)
    if flags is None:
        return
    with contextlib.suppress(OSError):
        handle: Any = os.open(folder, os.O_RDONLY | flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

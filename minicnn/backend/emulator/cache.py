"""The folder of built kernels: what was built stays for the next process, and not for ever.

Several processes may use it at once. A library comes there by a rename, so it is whole or not at
all, whoever builds it first. Its time of change says when it was last asked for. Whoever adds one
removes those that nobody asked for in a month, and beyond 1 GiB the longest forgotten; but none of
the last day's, and none that a process has loaded.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOST_BYTES = 1 << 30
DAY = 24 * 3600.0
MOST_DAYS = 30
_LOCK = "lock"


def folder() -> Path:
    """Where built kernels stay: minicnn/emulator in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "minicnn" / "emulator"


def has(library: Path) -> bool:
    """Whether the library is there; then nobody removes it for a day."""
    if not library.exists():
        return False
    try:
        with _locked(alone=False):
            os.utime(library)
    except FileNotFoundError:
        return False
    except OSError:  # a folder that may only be read: nobody removes anything there
        return True
    return True


@contextmanager
def building(library: Path) -> Iterator[Path]:
    """A folder to make library.so in, which then becomes `library`; nothing after an error.

    RuntimeError if the user's cache folder cannot be made or written to.
    """
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=library.parent).close()
    except OSError as error:
        raise RuntimeError(
            f"the emulator keeps the kernels that it builds in {library.parent}, where nothing can "
            f"be written ({error.strerror}); set XDG_CACHE_HOME to a folder of yours"
        ) from None
    with tempfile.TemporaryDirectory(dir=library.parent) as temporary:
        yield Path(temporary)
        os.replace(Path(temporary) / "library.so", library)
    prune()


def prune() -> None:
    """Removes what was forgotten."""
    with _locked(alone=True):
        found = list(_entries())
        total = sum(status.st_size for status, _ in found)
        loaded: set[Path] | None = None
        for status, path in sorted(found, key=lambda entry: entry[0].st_mtime):
            age = (time.time() - status.st_mtime) / DAY
            if age < 1 or (age < MOST_DAYS and total <= MOST_BYTES):
                break
            loaded = _loaded() if loaded is None else loaded
            if path in loaded or path.name == _LOCK:
                continue
            total -= status.st_size
            if path.is_dir():  # of a build that was killed
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _entries() -> Iterator[tuple[os.stat_result, Path]]:
    for path in folder().iterdir():
        with suppress(FileNotFoundError):  # another process has done with its folder
            yield path.stat(), path


@contextmanager
def _locked(alone: bool) -> Iterator[None]:
    """Keeps others out while files are removed: `alone`, or with others that remove nothing."""
    import fcntl  # only where there are kernels to build

    with open(folder() / _LOCK, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield  # closing the file unlocks it


def _loaded() -> set[Path]:
    """The libraries that processes of this user have loaded."""
    found = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            lines = maps.read_text(errors="replace").splitlines()
        except OSError:  # another user's, or gone
            continue
        found |= {Path(line.split(maxsplit=5)[5]) for line in lines if line.endswith(".so")}
    return found

"""Downloads: a file that is whole and has the right hash, or an error that says what to do."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .files import atomic_write

_TIMEOUT = 30  # seconds without an answer
_CHUNK = 1 << 20


class DownloadError(RuntimeError):
    """The file could not be had from its address; `reason` says why, where that is known."""

    def __init__(self, message: str, reason: str = ""):
        super().__init__(message)
        self.reason = reason


class _Checked:
    """A file that hashes what is written to it, and refuses more than `most` bytes."""

    def __init__(self, file: BinaryIO, most: int | None):
        self._file, self._left = file, math.inf if most is None else most
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("it sends more than the published size")
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def has_sha256(path: Path, prefix: str) -> bool:
    """Whether the file is there and its SHA-256 begins with these hexadecimal digits."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(prefix)


def fetch_file(
    url: str, path: Path, prefix: str, most: int | None = None, progress: bool = True
) -> None:
    """Downloads `url` as the file `path`, whose SHA-256 must begin with `prefix`.

    The file takes its name only when it is complete and its hash is right. More than `most` bytes
    are refused. `progress` shows a bar on a terminal.

    Raises DownloadError with the address and the reason, ImportError without pooch, OSError if the
    folder cannot be written.
    """
    try:
        import pooch
        import requests
    except ImportError as error:
        raise ImportError(
            f"downloads need pooch, `pip install pooch`; or put {path.name} into {path.parent} by "
            "hand"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    answers: list[Any] = []  # pooch leaves them open where reading ends early
    try:
        with atomic_write(path) as file, _bar(path.name, progress) as bar:
            checked = _Checked(file, most)
            get = pooch.HTTPDownloader(
                progressbar=bar,
                chunk_size=_CHUNK,
                timeout=_TIMEOUT,
                hooks={"response": lambda answer, **_: answers.append(answer)},
            )
            get(url, checked, None)
            found = checked.sha256.hexdigest()
            if not found.startswith(prefix):
                raise ValueError(f"its SHA-256 is {found}, which does not begin with {prefix}")
    # requests' errors are OSErrors too; those of the disk are handed on as they are.
    except (requests.RequestException, ValueError) as error:
        why = _reason(error)
        raise DownloadError(f"could not download {url}: {why}", why) from None
    finally:
        for answer in answers:
            answer.close()


def _reason(error: BaseException) -> str:
    """The innermost cause, where requests and urllib3 wrap it several times over; in one line.

    What they wrap is the `reason` of the error around it, or its first argument.
    """
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]


class _RichBar:
    """A bar of Rich's as pooch wants it: `total`, update, reset, close."""

    def __init__(self, progress: Any, task: Any):
        self._progress, self._task = progress, task

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "total":
            self._progress.update(self._task, total=value or None)
        else:
            object.__setattr__(self, name, value)

    def update(self, n: int) -> None:
        self._progress.advance(self._task, n)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        self._progress.refresh()


@contextmanager
def _bar(name: str, wanted: bool) -> Iterator[Any]:
    """What pooch shows its progress by; False where nobody looks at it."""
    if not wanted or not sys.stderr.isatty():
        yield False
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _RichBar(progress, progress.add_task(name, total=None))

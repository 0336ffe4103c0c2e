"""Downloads of data files: several mirrors, a hash, and never half a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_TIMEOUT = 30  # seconds without an answer before the next mirror is tried


class DownloadError(RuntimeError):
    """No mirror gave the file."""


def fetch(dataset: str, urls: Sequence[str], path: Path, sha256: str) -> None:
    """Downloads `path` from the first of `urls` that gives content with this SHA-256.

    The file appears under its name only when it is complete and its hash is right (pooch writes to
    a temporary file beside it and renames).

    Raises DownloadError with each address, what went wrong there, and what to do by hand;
    ImportError if pooch is not installed; OSError if the folder cannot be written.
    """
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            f"{dataset}: downloads need pooch, `pip install pooch`; or put {path.name} into "
            f"{path.parent} by hand"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    tried = []
    for url in urls:
        try:
            pooch.retrieve(
                url,
                known_hash=f"sha256:{sha256}",
                fname=path.name,
                path=path.parent,
                downloader=pooch.HTTPDownloader(timeout=_TIMEOUT),
            )
            return
        # requests' errors are OSErrors; a hash that differs is a ValueError.
        except (OSError, ValueError) as error:
            if _is_local(error):
                raise
            tried.append(f"  {url}\n    {_reason(error)}")
    raise DownloadError(
        f"{dataset}: could not download {path.name}. Tried\n" + "\n".join(tried) + "\n"
        f"Without a network: fetch it elsewhere from one of these and put it into {path.parent} "
        f"(SHA-256 {sha256}), or name a folder that has it by root= (--data-dir of the "
        "command). "
        "The data set 'digits' is part of minicnn and needs no download."
    )


def _is_local(error: Exception) -> bool:
    """A full disk or a folder that cannot be written: another mirror would not help."""
    import requests

    return isinstance(error, OSError) and not isinstance(error, requests.RequestException)


def _reason(error: BaseException) -> str:
    """The innermost cause, where requests and urllib3 wrap it several times over; in one line.

    What they wrap is the `reason` of the error around it, or its first argument.
    """
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]

"""Downloads of data files: several mirrors, a hash, and never half a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..interop.download import DownloadError, fetch_file


def fetch(dataset: str, urls: Sequence[str], path: Path, sha256: str) -> None:
    """Downloads `path` from the first of `urls` that gives content with this SHA-256.

    Raises DownloadError with each address, what went wrong there, and what to do by hand;
    ImportError if pooch is not installed; OSError if the folder cannot be written.
    """
    tried = []
    for url in urls:
        try:
            return fetch_file(url, path, sha256)
        except DownloadError as error:
            tried.append(f"  {url}\n    {error.reason}")
    raise DownloadError(
        f"{dataset}: could not download {path.name}. Tried\n" + "\n".join(tried) + "\n"
        f"Without a network: fetch it elsewhere from one of these and put it into {path.parent} "
        f"(SHA-256 {sha256}), or name a folder that has it by root= (--data-dir of the "
        "command). "
        "The data set 'digits' is part of minicnn and needs no download."
    )

"""The kernels' source files as the launcher reads them, and a hash over all of them."""

from __future__ import annotations

import hashlib
from functools import cache

from .. import kernel_source
from ..kernel_source import Parameter, Source, folder

__all__ = ["Parameter", "Source", "folder", "parse", "read", "source_hash"]


@cache
def source_hash() -> str:
    """A hash over all files in the folder: it changes with any of them, headers included."""
    digest = hashlib.sha256()
    for path in sorted(folder().glob("*.cu*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def read(file: str) -> Source:
    """What kernels/`file` declares."""
    return parse((folder() / file).read_text(encoding="utf-8"))


def parse(text: str) -> Source:
    """What a .cu file with this text declares, every word of it understood.

    Raises:
        ValueError: a kernel is declared in a form that the launcher cannot check arguments by.
    """
    source = kernel_source.parse(text)
    count = kernel_source.without_comments(text).count("__global__")
    if len(source.kernels) != count or source.instances:
        raise ValueError(f"some kernel is not a plain __global__ function: {[*source.kernels]}")
    for kernel, parameters in source.kernels.items():
        for p in parameters:
            if p.type == "?":
                raise ValueError(f"{kernel}: cannot read the parameter {p.name!r}")
    return source

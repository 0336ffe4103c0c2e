"""The kernels' source files: where they lie, what they declare, and a hash over all of them.

What a kernel takes is written once, in its .cu file, and read from there:

    extern "C" __global__ void im2col(const scalar* __restrict__ x, scalar* __restrict__ cols,
                                      unsigned count)

declares an array x that is read, an array cols that is written, both of the dtype that the constant
SCALAR names, and a number of 32 bits. A pointer marked OPTIONAL may be null. `scalar* const* p` is
a table of the addresses of arrays.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).resolve()

# A wheel carries the kernels inside the package; a checkout has them beside it.
_FOLDERS = (_HERE.parents[2] / "kernels", _HERE.parents[3] / "kernels")

_KERNEL = re.compile(
    r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(([^)]*)\)\s*\{'
)
_PARAMETER = re.compile(
    r"(?P<const>const )?(?P<type>[a-z ]*?\w)(?P<pointer>\*)?(?P<table> const\*)? (?P<name>\w+)"
)
_CONSTANT = re.compile(r"^constexpr int (\w+) = (\d+);", re.MULTILINE)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


class Parameter(NamedTuple):
    """What a kernel declares for one argument."""

    name: str
    type: str  # of C, or 'scalar', whose type the constant SCALAR names
    is_pointer: bool
    is_table: bool  # of pointers
    is_written: bool
    is_optional: bool


class Source(NamedTuple):
    """What one .cu file declares: its kernels' parameters, and its integer constants."""

    kernels: dict[str, tuple[Parameter, ...]]
    constants: dict[str, int]


@cache
def folder() -> Path:
    """The folder that the kernels lie in.

    Raises:
        FileNotFoundError: this installation has none.
    """
    for place in _FOLDERS:
        if (place / "common.cuh").is_file():
            return place
    raise FileNotFoundError(f"no kernels in {' or '.join(map(str, _FOLDERS))}: reinstall minicnn")


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
    """What a .cu file with this text declares.

    Raises:
        ValueError: a kernel is declared in a form that this does not read.
    """
    text = _COMMENT.sub("", text)
    kernels = {name: _parameters(name, list_) for name, list_ in _KERNEL.findall(text)}
    if len(kernels) != text.count("__global__"):
        raise ValueError(f'some kernel is not written as extern "C" __global__ void: {[*kernels]}')
    constants = {name: int(value) for name, value in _CONSTANT.findall(text)}
    return Source(kernels, constants)


def _parameters(kernel: str, text: str) -> tuple[Parameter, ...]:
    found = []
    for declared in text.split(","):
        words = declared.replace("*", "* ").split()
        is_optional = "OPTIONAL" in words
        plain = " ".join(w for w in words if w not in ("__restrict__", "OPTIONAL"))
        match = _PARAMETER.fullmatch(plain)
        if match is None:
            raise ValueError(f"{kernel}: cannot read the parameter {declared.strip()!r}")
        is_pointer = match["pointer"] is not None
        is_table = match["table"] is not None
        is_written = is_pointer and not is_table and match["const"] is None
        found.append(
            Parameter(match["name"], match["type"], is_pointer, is_table, is_written, is_optional)
        )
    return tuple(found)

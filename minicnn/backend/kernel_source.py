"""CUDA source files: where the project's own lie, and what a file declares.

What a kernel takes is written once, in its .cu file, and read from there:

    extern "C" __global__ void im2col(const scalar* __restrict__ x, scalar* __restrict__ cols,
                                      unsigned count)

declares an array x that is read, an array cols that is written, both of the dtype that the constant
SCALAR names, and a number of 32 bits. A pointer marked OPTIONAL may be null. `scalar* const* p` is
a table of the addresses of arrays.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

_PACKAGE = Path(__file__).resolve().parents[1]

# A wheel carries the kernels inside the package; a checkout has them beside it.
_FOLDERS = (_PACKAGE / "kernels", _PACKAGE.parent / "kernels")

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_KERNEL = re.compile(
    r"""(?P<template> template \s* < [^;{}]*? > \s* )?
        (?: extern \s* "C" \s* )? (?: static \s+ )?
        __global__ \s+ (?: void \s+ )?
        (?: __launch_bounds__ \s* \( (?: [^()] | \([^()]*\) )* \) \s* )? (?: void \s+ )?
        (?P<name> \w+ ) \s* \( (?P<parameters> [^()]* ) \) \s* \{""",
    re.VERBOSE,
)
_PARAMETER = re.compile(
    r"(?P<const>const )?(?P<type>[a-z ]*?\w)(?P<pointer>\*)?(?P<table> const\*)? (?P<name>\w+)"
)
_CONSTANT = re.compile(r"^constexpr int (\w+) = (\d+);", re.MULTILINE)


class Parameter(NamedTuple):
    """What a kernel declares for one argument."""

    name: str
    type: str  # of C, or 'scalar', whose type the constant SCALAR names; '?': not understood
    is_pointer: bool
    is_table: bool  # of pointers
    is_written: bool
    is_optional: bool


class Source(NamedTuple):
    """What one .cu file declares: its kernels' parameters, and its integer constants.

    kernels can be called by their names; instances have to be asked for, name and arguments
    (templates) or namespace and name.
    """

    kernels: dict[str, tuple[Parameter, ...]]
    instances: dict[str, tuple[Parameter, ...]]
    constants: dict[str, int]

    def parameters(self, name: str) -> tuple[Parameter, ...]:
        """Those of a kernel or an instance, "matmul<8, 2>"; none if the file does not have it."""
        plain = name.partition("<")[0].rpartition("::")[2].strip()
        return self.kernels.get(name) or self.instances.get(plain, ())


@cache
def folder() -> Path:
    """The folder that the project's kernels lie in.

    Raises:
        FileNotFoundError: this installation has none.
    """
    for place in _FOLDERS:
        if (place / "common.cuh").is_file():
            return place
    raise FileNotFoundError(f"no kernels in {' or '.join(map(str, _FOLDERS))}: reinstall minicnn")


def find(file: str | Path) -> Path:
    """The path of a .cu file: the project's own of that name, or else the file itself.

    Raises:
        FileNotFoundError: there is none.
    """
    own = folder() / file  # a path that begins at the root is that path
    if own.is_file():
        return own
    if Path(file).is_file():
        return Path(file).resolve()
    raise FileNotFoundError(f"no kernel file {str(file)!r}, in the folder kernels or here")


def without_comments(text: str) -> str:
    """A source text with a space for each comment."""
    return _COMMENT.sub(" ", text)


def parse(text: str) -> Source:
    """What a .cu file with this text declares."""
    text = without_comments(text)
    kernels: dict[str, tuple[Parameter, ...]] = {}
    instances: dict[str, tuple[Parameter, ...]] = {}
    for match in _KERNEL.finditer(text):
        parameters = _parameters(match["parameters"])
        is_instance = match["template"] is not None or _is_enclosed(text[: match.start()])
        (instances if is_instance else kernels)[match["name"]] = parameters
    constants = {name: int(value) for name, value in _CONSTANT.findall(text)}
    return Source(kernels, instances, constants)


def _is_enclosed(before: str) -> bool:
    """Whether what stands after this text is inside braces other than those of extern "C"."""
    braces: list[str] = []
    for brace in re.findall(r'(?:extern\s*"C"\s*)?\{|\}', before):
        if brace != "}":
            braces.append(brace)
        elif braces:
            braces.pop()
    return "{" in braces


def _parameters(text: str) -> tuple[Parameter, ...]:
    return tuple([_parameter(declared) for declared in text.split(",") if declared.strip()])


def _parameter(declared: str) -> Parameter:
    words = re.sub(r"\s*\*", "* ", declared).split()
    is_optional = "OPTIONAL" in words
    plain = " ".join(w for w in words if w not in ("__restrict__", "OPTIONAL"))
    match = _PARAMETER.fullmatch(plain)
    if match is None:
        names = re.findall(r"\w+", declared)
        return Parameter(names[-1] if names else "?", "?", "*" in declared, False, False, False)
    is_pointer = match["pointer"] is not None
    is_table = match["table"] is not None
    is_written = is_pointer and not is_table and match["const"] is None
    return Parameter(match["name"], match["type"], is_pointer, is_table, is_written, is_optional)

"""Compiles kernels for any GPU on a machine that has none, and says what they use.

NVRTC needs no driver, but CuPy's functions that call it ask the driver for the architecture first.
So this goes a step lower, to names that CuPy does not promise to keep; they stand in this file and
nowhere else. The options are those that `cupy.RawModule` passes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from . import compiler, sources
from .instances import instances


class Usage(NamedTuple):
    """What a kernel takes, in ptxas's words."""

    registers: int  # for each thread
    shared: int  # bytes for each block
    stack: int  # bytes of slow memory for each thread: arrays that have no place in registers
    spilled: int  # bytes of registers that every thread stores there and loads from there


class Build(NamedTuple):
    """What came out of compiling a file."""

    kernels: dict[str, Usage]
    remarks: tuple[str, ...]  # whatever else the compiler said: warnings


class CompileError(RuntimeError):
    """A file does not compile; the text is the compiler's."""


@cache
def version() -> str | None:
    """NVRTC's version, such as "13.0"; None without CuPy or NVRTC."""
    try:
        from cupy_backends.cuda.libs import nvrtc

        return ".".join(map(str, nvrtc.getVersion()))
    except (ImportError, RuntimeError):  # a missing library is one of CuPy's RuntimeErrors
        return None


def build(file: str, constants: Mapping[str, int | str], arch: str) -> Build:
    """Compiles kernels/`file` for an architecture such as "sm_90".

    Raises:
        CompileError: it does not compile.
    """
    return build_text((sources.folder() / file).read_text(encoding="utf-8"), file, constants, arch)


def build_all(arch: str) -> dict[tuple[str, str], Build]:
    """Every instance for an architecture, by file and word (see instances.py): some ten seconds."""
    return {(file, word): build(file, constants, arch) for file, word, constants in instances()}


def build_text(text: str, name: str, constants: Mapping[str, int | str], arch: str) -> Build:
    """The same for a file's text."""
    from cupy._core import core
    from cupy.cuda.compiler import CompileException, _NVRTCProgram

    options = core.assemble_cupy_compiler_options(compiler.options(constants))
    options += ("-ftz=true", f"-arch={arch}", "--device-as-default-execution-space")
    log = io.StringIO()
    try:
        program = _NVRTCProgram(text, name, method="cubin")
        program.compile((*options, "--ptxas-options=-v"), log)
    except CompileException as error:
        raise CompileError(f"{name} does not compile for {arch}:\n{error}") from None
    return read_log(log.getvalue())


_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")
_IDLE = re.compile(r"ptxas info +: (\d+ bytes gmem|Function properties|Compile time = )")


def read_log(log: str) -> Build:
    """What ptxas reports with -v, and what else stands in the log."""
    kernels: dict[str, Usage] = {}
    remarks = []
    name = ""
    for line in log.replace("\0", "").splitlines():
        if entry := _ENTRY.search(line):
            name = entry[1]
            kernels[name] = Usage(0, 0, 0, 0)
        elif (frame := _FRAME.search(line)) and name:
            stack, *spilled = map(int, frame.groups())
            so_far = kernels[name]  # functions that were not inlined have lines of their own
            kernels[name] = so_far._replace(
                stack=so_far.stack + stack, spilled=so_far.spilled + sum(spilled)
            )
        elif (used := _USED.search(line)) and name:
            kernels[name] = kernels[name]._replace(registers=int(used[1]), shared=int(used[2] or 0))
        elif line.strip() and not _IDLE.match(line):
            remarks.append(line)
    return Build(kernels, tuple(remarks))

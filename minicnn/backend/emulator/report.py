"""What went wrong in a kernel, in words: the mistakes that `host/` reports, with their places."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

KINDS = {
    1: "divergence",
    2: "failure",
    3: "out of bounds",
    4: "out of index",
    5: "misaligned",
    6: "arithmetic",
    7: "uninitialised",
    8: "race",
    9: "endless",
}
_ACCESSES = (("reads", "read"), ("writes", "wrote"), ("updates atomically", "updated"))
_ATOMIC = 2
_STATICS, _NOTHING, _DYNAMIC = -1, -2, -3  # regions that are no array


@dataclass(frozen=True)
class Report:
    """One mistake of a kernel: its kind (a value of KINDS), where, which thread, and a sentence."""

    kind: str
    file: str
    line: int
    block: tuple[int, int, int]
    thread: tuple[int, int, int]
    text: str

    def __str__(self) -> str:
        where = f"thread {self.thread} of block {self.block}"
        return f"{Path(self.file).name}:{self.line}: {self.kind}: {where} {self.text}"


class KernelError(RuntimeError):
    """A kernel made mistakes; `reports` lists them, the first of each pair of places."""

    def __init__(self, kernel: str, reports: Sequence[Report]) -> None:
        self.reports = tuple(reports)
        lines = "".join(f"\n  {report}" for report in reports)
        super().__init__(f"kernel {kernel}:{lines}")


def translate(found: Any, library: Path, arrays: Sequence[tuple[str, int]]) -> Report:
    """A Report from the structure that host/runtime.h declares.

    arrays: the name and the size in bytes of each region that a report can point into.
    """
    file, line = _place(found.at, library)
    return Report(
        KINDS[found.kind],
        file,
        line,
        _triple(found.at.block),
        _triple(found.at.thread),
        found.text.decode() + _access(found, library, arrays) + _other(found, library),
    )


def _access(found: Any, library: Path, arrays: Sequence[tuple[str, int]]) -> str:
    """What was done to which bytes."""
    if not found.size:
        return ""
    does = _ACCESSES[found.at.access][0]
    text = f"{does} {found.size} byte{'s' * (found.size > 1)}"
    odd = f", and the address is no multiple of {found.size}"
    odd = odd if KINDS[found.kind] == "misaligned" else ""
    if found.region == _NOTHING:
        return f"{text} where no array is{odd}"
    if found.region == _STATICS:
        name, offset, size = _shared_variable(library, found.offset)
    elif found.region == _DYNAMIC:
        name, offset, size = "dynamic shared memory", found.offset, 0
    else:
        (name, size), offset = arrays[found.region], found.offset
    if KINDS[found.kind] != "out of bounds":
        never = ", which nobody has written" if KINDS[found.kind] == "uninitialised" else ""
        return f"{text} at byte {offset} of {name}{never}{odd}"
    if offset < 0:
        return f"{text} that begin {-offset} bytes before {name}"
    has = f", which has {size}" if size else ""
    return f"{text} at byte {offset} of {name}{has}"


def _other(found: Any, library: Path) -> str:
    """The other thread that has a part in it."""
    if not found.live:
        return ""
    other = f"thread {_triple(found.other.thread)}"
    if _triple(found.other.block) != _triple(found.at.block):
        other += f" of block {_triple(found.other.block)}"
    file, line = _place(found.other, library)
    place = f"{Path(file).name}:{line}" if file else ""
    if KINDS[found.kind] == "race":
        did = _ACCESSES[found.other.access][1]
        atomically = " atomically" * (found.other.access == _ATOMIC)
        return f"; {other} {did} it{atomically} at {place}, and nothing orders them"
    if _triple(found.other.thread) == _triple(found.at.thread):
        return ""
    return f": {other} is at {place}" if file else f": {other} has returned or has not come so far"


def _triple(index: Any) -> tuple[int, int, int]:
    return (index.x, index.y, index.z)


def _place(party: Any, library: Path) -> tuple[str, int]:
    """The file and line: told by the emulator, or those of an address in the library."""
    if party.file:
        return party.file.decode(), party.line
    return _line_of(library, party.pc - 1) if party.pc else ("", 0)


@lru_cache(maxsize=1024)
def _line_of(library: Path, address: int) -> tuple[str, int]:
    """Where in the .cu file the instruction is: the innermost line that is not of our header."""
    for line in _output("addr2line", "-i", "-e", str(library), hex(address)).splitlines():
        file, _, number = line.split(" ")[0].rpartition(":")
        if file and not file.startswith("?") and Path(file).name not in ("cuda.h", "kernel.cpp"):
            return file, int(number) if number.isdigit() else 0
    return "?", 0


@lru_cache(maxsize=64)
def _shared_variables(library: Path) -> list[tuple[int, int, str]]:
    """(offset, size, name) of each __shared__ variable of the library."""
    found = []
    for line in _output("readelf", "--demangle", "--wide", "--symbols", str(library)).splitlines():
        words = line.split(maxsplit=7)
        if len(words) == 8 and words[3] == "TLS" and words[6] != "UND":
            found.append((int(words[1], 16), int(words[2], 0), words[7].rpartition("::")[2]))
    return sorted(set(found))


def _shared_variable(library: Path, offset: int) -> tuple[str, int, int]:
    """(name, offset in it, size) of the __shared__ variable at or before this offset."""
    for begin, size, name in reversed(_shared_variables(library)):
        if begin <= offset:
            return name, offset - begin, size
    return "shared memory", offset, 0


def _output(*command: str) -> str:
    """What a tool of binutils prints; nothing where it is not installed."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout
    except OSError:
        return ""

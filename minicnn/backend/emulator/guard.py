"""Copies of a launch's arrays that lie far apart, so that an access beside one of them is seen."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_ZONE = 4096  # bytes at least between two arrays
_ALIGNMENT = 512  # a copy has the same remainder as its original


class Guarded:
    """For the time of a launch, copies of all the arrays that it can reach.

    Arrays that share memory are copied together. On each side of a copy is a zone as large as the
    copy that nothing may touch. At the end the copies are written back, after a mistake too.
    """

    def __init__(self, names: Sequence[str], args: Sequence[Any]) -> None:
        arrays = list(_reachable(names, args))
        self._groups = _groups([(name, *_bounds(a)) for name, a in arrays])
        self._tables = [a for _, a in arrays if getattr(a, "targets", ())]
        room = sum(3 * (end - begin) + 2 * _ZONE + _ALIGNMENT for _, begin, end in self._groups)
        self._memory = np.full(room, 0xFF, np.uint8)
        self._slots: list[int] = []
        at = self._memory.ctypes.data
        for _, begin, end in self._groups:
            zone = max(_ZONE, end - begin)
            at += zone
            at += (begin - at) % _ALIGNMENT
            self._slots.append(at)
            at += end - begin
        self.regions = [
            (name, slot, slot + end - begin)
            for (name, begin, end), slot in zip(self._groups, self._slots, strict=True)
        ]

    def address(self, array: np.ndarray) -> int:
        """Where the copy of the array is."""
        return self._moved(array.ctypes.data)

    def _moved(self, address: int) -> int:
        for (_, begin, end), slot in zip(self._groups, self._slots, strict=True):
            if begin <= address < end:
                return address - begin + slot
        return address

    def __enter__(self) -> Guarded:
        for (_, begin, end), slot in zip(self._groups, self._slots, strict=True):
            ctypes.memmove(slot, begin, end - begin)
        for table in self._tables:
            moved = np.array([self._moved(int(address)) for address in table.ravel()], np.uint64)
            ctypes.memmove(self.address(table), moved.ctypes.data, moved.nbytes)
        return self

    def __exit__(self, *_: object) -> None:
        addresses = [table.copy() for table in self._tables]
        for (_name, begin, end), slot in zip(self._groups, self._slots, strict=True):
            ctypes.memmove(begin, slot, end - begin)
        for table, before in zip(self._tables, addresses, strict=True):
            table[...] = before


def _reachable(names: Sequence[str], args: Sequence[Any]) -> Iterator[tuple[str, np.ndarray]]:
    for i, arg in enumerate(args):
        if not isinstance(arg, np.ndarray) or not arg.size:
            continue
        name = names[i] if i < len(names) else f"argument {i + 1}"
        yield name, arg
        for k, target in enumerate(getattr(arg, "targets", ())):
            if target.size:
                yield f"{name}[{k}]", target


def _bounds(array: np.ndarray) -> tuple[int, int]:
    return np.lib.array_utils.byte_bounds(array)


def _groups(spans: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Spans that overlap made one."""
    groups: list[tuple[str, int, int]] = []
    for name, begin, end in sorted(spans, key=lambda span: span[1]):
        if groups and begin < groups[-1][2]:
            first, start, stop = groups[-1]
            groups[-1] = (f"{first} or {name}" * (first != name) or name, start, max(stop, end))
        else:
            groups.append((name, begin, end))
    return groups

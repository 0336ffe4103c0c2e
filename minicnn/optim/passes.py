"""One pass over all parameters in the CPU's memory, on several threads.

A method says of each parameter how runs of its elements change, by a function of a run of the
parameter and of the same runs of its gradient and of what is remembered of it:

    def change(x, g, v): ...        # in place
    run.add(change, p.array, grad, velocity)

and at the end of the step one call of `threads.each` works it all off. A large parameter is cut, so
that it does not keep one thread busy while the others wait, and small ones go together, since to
hand a piece over costs more than to change a bias.

Every element is changed by itself, so that neither the cutting nor the threads show in the results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..backend.cpu import threads

# Elements of a piece, and of what small parameters are gathered to. A quarter of that would stay in
# a core's own cache, but was slower: threads wait for each other's Python between two calls.
_PIECE = threads.PIECE

Change = Callable[..., None]


class Pass:
    """The changes of one step, as they are collected and then made."""

    def __init__(self) -> None:
        self._pieces: list[list[tuple[Change, tuple[Any, ...]]]] = []
        self._small: list[tuple[Change, tuple[Any, ...]]] = []
        self._small_size = 0
        self._owners: set[int] = set()

    def add(self, change: Change, x: Any, *others: Any) -> None:
        """`change(x, *others)` will be called on runs of these arrays, all of one shape.

        Another change of the same memory, as of a parameter that is listed twice, follows after.
        """
        owner = id(x if x.base is None else x.base)
        if owner in self._owners:
            self.run()
        self._owners.add(owner)
        if x.size < _PIECE:
            self._small.append((change, (x, *others)))
            self._small_size += x.size
            if self._small_size >= _PIECE:
                self._gather()
        else:
            self._pieces += [[(change, runs)] for runs in _cut(x, *others)]

    def run(self) -> None:
        """Makes the changes that were added."""
        self._gather()
        pieces, self._pieces = self._pieces, []
        self._owners.clear()
        if pieces:
            threads.each(_work_off, pieces)

    def _gather(self) -> None:
        if self._small:
            self._pieces.append(self._small)
            self._small, self._small_size = [], 0


def _work_off(piece: list[tuple[Change, tuple[Any, ...]]]) -> None:
    for change, arrays in piece:
        change(*arrays)


def _cut(*arrays: Any) -> Iterator[tuple[Any, ...]]:
    """The arrays, all of one shape, in runs of about _PIECE elements. Each run is a view.

    Where they do not all lie in the order of their indices, runs are cut along the first axis.
    """
    size, length = arrays[0].size, len(arrays[0])
    if all(a.flags.c_contiguous for a in arrays):
        arrays, length = tuple([a.reshape(-1) for a in arrays]), size
    for run in threads.pieces(length, size, _PIECE):
        yield tuple([a[run] for a in arrays])

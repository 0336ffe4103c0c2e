"""Which algorithm a convolution takes, as far as the user wants to say.

    im2col       columns and one product of matrices; serves every convolution
    pointwise    1x1 at stride 1: a product without columns
    direct       depthwise: whole arrays multiplied and added, tap by tap
    winograd2    3x3 and 5x5 at stride 1 by Winograd's algorithm, tiles of 2x2 outputs
    winograd4    the same, tiles of 4x4
    auto         the fastest for the sizes; Winograd in float32 and float16 alone

Where the one that was named cannot serve, by its sizes or its type, the fastest of the first three,
which are exact up to rounding, takes its place.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = ("auto", "im2col", "pointwise", "direct", "winograd2", "winograd4")


class _Within(threading.local):
    """What `use` says in this thread."""

    name: str | None = None


_within = _Within()
_chosen = "auto"


def chosen() -> str:
    """The name that holds in this thread."""
    return _within.name or _chosen


def choose(name: str) -> None:
    """From now on convolutions take the algorithm of that name, in every thread.

    Raises:
        ValueError: there is none of that name.
    """
    global _chosen
    _chosen = _checked("conv_algorithm", name)


@contextmanager
def use(name: str) -> Iterator[None]:
    """In this thread, until the block ends, convolutions take the algorithm of that name.

    Raises:
        ValueError: there is none of that name.
    """
    _checked("use_conv_algorithm", name)
    before = _within.name
    _within.name = name
    try:
        yield
    finally:
        _within.name = before


def _checked(function: str, name: str) -> str:
    if not isinstance(name, str) or name not in NAMES:
        names = ", ".join(map(repr, NAMES))
        raise ValueError(f"{function}: expects one of {names}, got {name!r}")
    return name

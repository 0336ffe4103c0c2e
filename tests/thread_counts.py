"""One computation on 1, 2 and 3 threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicnn.backend.cpu import threads


def on_threads(compute: Callable[[], Any]) -> list[Any]:
    """What `compute` gives on each number of threads."""
    before = threads.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            threads.set_num_threads(number)
            results.append(compute())
    finally:
        threads.set_num_threads(before)
    return results

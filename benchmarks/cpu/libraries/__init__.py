"""One file a library: how it builds a network of nets.py, and takes a training step with it.

Each has `open(threads)`, which imports the library and gives an object with

    version             the library's name and version
    trainer(net, x, target)   an object with `loss()`, one step without dropout, and `step()`, one
                        timed step: seconds of its parts, named by `parts`

They run in the environment that holds the library, which may have neither minicnn nor a new Python.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

LR = 1e-3  # so small that no net learns its one batch by heart while it is timed
MOMENTUM = 0.9
EAGER = ("forward", "backward", "update")  # the parts of a step, where a library keeps them apart
WHOLE = ("step",)  # and where it compiles them into one


def timed(*calls: Any) -> tuple[float, ...]:
    """Seconds of each call, made one after the other."""
    seconds = []
    for call in calls:
        start = perf_counter()
        call()
        seconds.append(perf_counter() - start)
    return tuple(seconds)

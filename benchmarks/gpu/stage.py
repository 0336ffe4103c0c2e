"""Runs one stage, in a process of its own: what breaks in it breaks no other.

__main__.py starts it: `python -m benchmarks.gpu.stage NAME --seconds 60 --file notes.json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .run import Run

Action = Callable[[Run], None]


def action(name: str) -> Action:
    """What the stage of that name does. Imported here: each process loads what it needs."""
    if name in ("versions", "machine"):
        from . import machine

        return getattr(machine, name)
    if name in ("tests", "sanitizer"):
        from . import checks

        return getattr(checks, name)
    if name == "kernels":
        from .kernels import kernels

        return kernels
    if name == "training":
        from .training import training

        return training
    from .steps import steps

    return partial(steps, name=name.removeprefix("steps-"))


def main() -> None:
    """Runs the stage that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data-dir")
    given = parser.parse_args()
    run = Run(given.device, given.seconds, given.file, given.quick, given.data_dir)
    run.attempt(given.name, lambda: action(given.name)(run), seconds=0)
    run.finish()


if __name__ == "__main__":
    main()

"""A process that holds one library, and trains or computes as it is told over a pipe.

It runs in the environment of its library: no minicnn but its own, and Pythons from 3.9 on. A
request and its answer are a line of JSON each:

    {"do": "prepare", "net": ["resnet", {}], "shape": [32, 3, 32, 32], "classes": 10}
    {"do": "prepare", "op": "relu"}
    {"do": "steps", "count": 10}      seconds of every step's parts
    {"do": "memory"}                  bytes of the process, now and at most

Every library has threads, caches and an allocator of its own, so none shares a process with
another.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from typing import Any

from . import nets

# Where each library's `open` is, and how it is called besides the threads.
LIBRARIES = {
    "minicnn": ("with_modules", "open_minicnn", {}),
    "torch": ("with_modules", "open_torch", {}),
    "torch-channels_last": ("with_modules", "open_torch", {"channels_last": True}),
    "chainer": ("with_chainer", "open", {}),
    "dezero": ("with_dezero", "open", {}),
    "tinygrad": ("with_tinygrad", "open", {}),
    "jax": ("with_jax", "open", {}),
}
LOSSES = 2  # first losses, to be compared
_STATUS = "/proc/self/status"


class Worker:
    """The library, and what it works at.

    Args:
        name: of LIBRARIES.
        threads: how many it may compute on.
    """

    def __init__(self, name: str, threads: int) -> None:
        file, function, options = LIBRARIES[name]
        module = importlib.import_module(f"{__package__}.libraries.{file}")
        self.lib = getattr(module, function)(threads, **options)
        self.before: int | None = None
        self.work: Any = None
        # What a library loads or starts at its first step is no part of a net's memory.
        self.prepare(["lenet5", {}], shape=[2, 1, 28, 28], classes=10)
        self.steps(1)

    def hello(self) -> dict[str, Any]:
        """What the library is."""
        return {"version": self.lib.version, "python": sys.version.split()[0]}

    def prepare(self, net: Any = None, op: str = "", **options: Any) -> dict[str, Any]:
        """Builds a net, and gives its first losses; or an op, and the names of its parts."""
        self.work = None
        gc.collect()
        self.before = memory("VmRSS")
        if op:
            self.work = self.lib.op(op, **options)
            self.work.step()
            return {"parts": list(self.work.parts)}
        name, arguments = net
        built = getattr(nets, name)(**arguments)
        x, target = nets.batch(tuple(options["shape"]), options["classes"])
        self.work = self.lib.trainer(built, x, target)
        del x, target
        forget_peak()
        losses = [self.work.loss() for _ in range(LOSSES)]
        return {"parts": list(self.work.parts), "losses": losses}

    def steps(self, count: int) -> dict[str, Any]:
        """Seconds of each step's parts, and of the processor in all."""
        cpu, wall = time.process_time(), time.perf_counter()
        parts = [self.work.step() for _ in range(count)]
        return {
            "parts": parts,
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
        }

    def memory(self) -> dict[str, Any]:
        """Bytes: after the imports; at most since the net was built; None where unknown."""
        return {"before": self.before, "peak": memory("VmHWM")}


def memory(name: str) -> int | None:
    """A figure of this process's memory in bytes: VmRSS, which it holds, or VmHWM, its peak."""
    try:
        with open(_STATUS, encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def forget_peak() -> None:
    """From now on VmHWM is the peak since now (Linux)."""
    try:
        with open("/proc/self/clear_refs", "w") as control:
            control.write("5")
    except OSError:
        pass


def main() -> None:
    """Serves the library that the command line names until the pipe closes."""
    name, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(action: Any) -> Any:
        try:
            told = action()
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(told) + "\n")
        return told

    def begin() -> dict[str, Any]:
        nonlocal worker
        worker = Worker(name, threads)
        return worker.hello()

    worker: Any = None
    answer(begin)
    for line in sys.stdin:
        request = json.loads(line)
        action = getattr(worker, request.pop("do"))
        answer(lambda: action(**request))  # noqa: B023


if __name__ == "__main__":
    main()

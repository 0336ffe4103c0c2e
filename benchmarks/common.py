"""What the benchmarks share: which machine this is, and how two things are timed in turn."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np

import minicnn


def machine() -> str:
    """Processor, cores and versions, in one line."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            name = next(
                line.split(":", 1)[1].strip() for line in f if line.startswith("model name")
            )
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{name}, {cores} cores, {platform.system()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, minicnn {minicnn.__version__}"
    )


def interleaved(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, the contenders taking turns, after one uncounted round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for k in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if k:
                times[name].append(time.perf_counter() - start)
    return times


def report(times: dict[str, list[float]], rival: str, unit: float = 1e3, name: str = "ms") -> None:
    """Prints the medians, and their ratios to the rival's."""
    base = statistics.median(times[rival])
    for who, values in times.items():
        median = statistics.median(values)
        print(f"{who:30} {median * unit:10.2f} {name}   {median / base:6.2f} x {rival}")

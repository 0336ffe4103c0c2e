"""What the benchmarks share: which machine this is, how things are timed in turn, and reports."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minicnn

ROOT = Path(__file__).parents[1]


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


def commit() -> str:
    """The commit of the checkout, and whether files differ from it."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return "unknown: no git checkout"
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode:
        return f"unknown: {head.stderr.strip()}"
    status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    return head.stdout.strip() + (" with changes" if status.stdout.strip() else "")


# ---------------------------------------------------------------- reports


def write_report(report: dict[str, Any], markdown: str, folder: Path, name: str) -> list[Path]:
    """Writes NAME.json and NAME.md into the folder; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain(report), indent=1, allow_nan=False)
    texts = {".json": text + "\n", ".md": markdown}
    paths = []
    for suffix, text in texts.items():
        paths.append(folder / (name + suffix))
        paths[-1].write_text(text, encoding="utf-8")
    return paths


def plain(value: Any) -> Any:
    """The same for JSON, which has no word for infinite numbers and for those that are none."""
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown; None is an empty cell."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(value: Any) -> str:
    """Numbers to three digits, without exponents for the large ones."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    text = "" if value is None else str(value)
    return text.replace("|", "\\|").replace("\n", " ")

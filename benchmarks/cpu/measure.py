"""The parts of the benchmark: each takes a Bench and gives what goes into the report."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import cases, rivals
from .cases import Case
from .contender import Contender, Failed
from .race import Race

OURS = "minicnn"
TORCH = tuple(rivals.RIVALS["torch"].workers.values())
_AGREE = 1e-3  # first losses, relative
_AGREE_LATER = 1e-2  # the next ones, where rounding errors have grown
_PREPARE = 120.0  # seconds to build a net and to take its first steps, compilation included

Start = Callable[[int], Contender]


class Bench:
    """Who takes part, and how long they may take.

    `starts` gives by label what starts a contender with a number of threads; `missing` why a rival
    does not take part.

    Args:
        names: the rivals, of rivals.RIVALS.
        threads: how many each computes on.
        quick: few rounds.
    """

    def __init__(self, names: Iterable[str], threads: int, quick: bool = False) -> None:
        self.threads, self.quick = threads, quick
        self.missing: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.rivals: dict[str, rivals.Rival] = {}  # by label
        self.starts: dict[str, Start] = {OURS: self.start("minicnn", OURS)}
        for name in names:
            try:
                python = rivals.interpreter(name)
            except rivals.Missing as reason:
                self.missing[rivals.RIVALS[name].title] = str(reason)
                continue
            for worker, label in rivals.RIVALS[name].workers.items():
                self.rivals[label] = rivals.RIVALS[name]
                self.starts[label] = self.start(worker, label, rivals.RIVALS[name], python)

    def start(
        self,
        worker: str,
        label: str,
        rival: rivals.Rival | None = None,
        python: Path | str = sys.executable,
    ) -> Start:
        """A function of a number of threads that starts a contender.

        Args:
            worker: of worker.py.
            label: in the report.
            rival: whose environment it is; None for minicnn.
            python: the interpreter that has it.
        """

        def start(threads: int) -> Contender:
            env, cores = None, None
            if rival is not None:
                env = rival.env
                if rival.pinned and hasattr(os, "sched_getaffinity"):
                    cores = set(sorted(os.sched_getaffinity(0))[:threads])
            contender = Contender(worker, label, threads, python, env, cores)
            facts = contender.facts
            self.versions[label] = f"{facts['version']}, Python {facts['python']}"
            return contender

        return start

    @contextmanager
    def started(
        self, labels: Iterable[str], threads: int, absent: dict[str, str]
    ) -> Iterator[list[Contender]]:
        """Processes of those with these labels; `absent` learns who could not be started."""
        contenders: list[Contender] = []
        try:
            for label in labels:
                if label in self.starts:
                    with noted(absent, label):
                        contenders.append(self.starts[label](threads))
            yield contenders
        finally:
            for contender in contenders:
                contender.close()


@contextmanager
def noted(absent: dict[str, str], label: str) -> Iterator[None]:
    """A contender's failure goes into `absent`."""
    try:
        yield
    except Failed as reason:
        absent[label] = str(reason)


# ---------------------------------------------------------------- whole steps


def step(bench: Bench, name: str) -> dict[str, Any]:
    """A case of cases.STEPS, everybody in a fresh process: times, memory, first losses."""
    left_out = {label: rival.left_out(name) for label, rival in bench.rivals.items()}
    absent = {label: reason for label, reason in left_out.items() if reason}
    labels = [label for label in bench.starts if label not in absent]
    with bench.started(labels, bench.threads, absent) as contenders:
        lasting = (4, 5) if bench.quick else (12, 9)
        entry = _raced(cases.STEPS[name], contenders, absent, *lasting)
        for contender in contenders:
            if contender.label in entry["who"]:
                with noted(absent, contender.label):
                    entry["who"][contender.label].update(contender.ask("memory", 10))
    return entry


def _raced(
    case: Case,
    contenders: list[Contender],
    absent: dict[str, str],
    seconds: float,
    rounds: int,
) -> dict[str, Any]:
    """Those that compute the same take turns."""
    ready, told = [], {}
    for contender in contenders:
        with noted(absent, contender.label):
            told[contender.label] = contender.ask("prepare", _PREPARE, **case.request())
            ready.append(contender)
    losses = {label: answer["losses"] for label, answer in told.items()}
    absent.update(disagreeing(losses))
    race = Race([c for c in ready if c.label not in absent])
    race.run(seconds, rounds)
    absent.update(race.failed)
    who = {label: {**told[label], **summary(times)} for label, times in race.times.items()}
    return {"title": case.title, "who": who, "absent": absent, "others": race.others()}


def disagreeing(losses: dict[str, list[float]]) -> dict[str, str]:
    """Those whose first losses are not PyTorch's (or, without it, minicnn's), and by how much."""
    known = next((losses[label] for label in (*TORCH, OURS) if label in losses), [])
    apart = {}
    for label, values in losses.items():
        errors = [abs(a - b) / max(abs(b), 1e-6) for a, b in zip(values, known, strict=True)]
        if not (errors[0] <= _AGREE and max(errors) <= _AGREE_LATER):
            apart[label] = f"computes something else: its first losses are {values}, not {known}"
    return apart


def summary(times: list[list[float]]) -> dict[str, Any]:
    """Median and quartiles of a step's seconds, and the medians of its parts."""
    totals = [sum(parts) for parts in times]
    quartiles = statistics.quantiles(totals, n=4) if len(totals) > 1 else totals * 3
    return {
        "steps": len(totals),
        "median": statistics.median(totals),
        "quartiles": [quartiles[0], quartiles[2]],
        "part_medians": [statistics.median(part) for part in zip(*times, strict=True)],
    }


# ---------------------------------------------------------------- single operations, growth


def ops(bench: Bench, chosen: Sequence[cases.Op] = cases.OPS) -> list[dict[str, Any]]:
    """Every operation, forward and backward: minicnn, each of its algorithms, and PyTorch."""
    algorithms = dict.fromkeys(name for op in chosen for name in op.algorithms)
    for name in algorithms:  # a process each, since the choice holds for a whole process
        bench.starts[name] = bench.start("minicnn", name)
    absent: dict[str, str] = {}
    with bench.started((OURS, *TORCH, *algorithms), bench.threads, absent) as contenders:
        return [_op(op, contenders, dict(absent)) for op in chosen]


def _op(op: cases.Op, contenders: list[Contender], absent: dict[str, str]) -> dict[str, Any]:
    ready, parts = [], []
    for contender in contenders:
        if contender.label not in (OURS, *TORCH, *op.algorithms):
            continue
        named = {"algorithm": contender.label} if contender.label in op.algorithms else {}
        with noted(absent, contender.label):
            parts = contender.ask("prepare", _PREPARE, op=op.title, **named)["parts"]
            ready.append(contender)
    race = Race(ready)
    race.run(1.0, 5)
    absent.update(race.failed)
    who = {label: summary(times) for label, times in race.times.items()}
    told = {"title": op.title, "parts": parts, "who": who, "absent": absent}
    return {**told, "algorithms": op.algorithms, "others": race.others()}


def scaling(bench: Bench) -> dict[str, list[dict[str, Any]]]:
    """Each series of cases.SCALING, minicnn and PyTorch."""
    series: dict[str, list[dict[str, Any]]] = {}
    absent: dict[str, str] = {}
    with bench.started((OURS, *TORCH), bench.threads, absent) as contenders:
        for what, sizes in cases.SCALING.items():
            series[what] = []
            for size, case in sizes.items():
                entry = _raced(case, contenders, dict(absent), 1.5, 4)
                series[what].append({"size": size, **entry})
    return series


def threads(bench: Bench) -> dict[str, list[dict[str, Any]]]:
    """The cases of cases.THREADS with 1, 2, ... threads, minicnn and PyTorch."""
    series: dict[str, list[dict[str, Any]]] = {case.title: [] for case in cases.THREADS}
    for count in sorted({1, 2, bench.threads}):
        absent: dict[str, str] = {}
        with bench.started((OURS, *TORCH), count, absent) as contenders:
            for case in cases.THREADS:
                entry = _raced(case, contenders, dict(absent), 2, 4)
                series[case.title].append({"size": count, **entry})
    return series


# ---------------------------------------------------------------- overhead, import


def overhead(bench: Bench) -> dict[str, Any]:
    """Microseconds an op of 2x2 arrays takes (benchmarks.op_overhead)."""
    return _apart("op_overhead")


def import_time(bench: Bench) -> dict[str, Any]:
    """Seconds of `import minicnn` and `import numpy` (benchmarks.import_time)."""
    return _apart("import_time")


def _apart(name: str) -> dict[str, Any]:
    """What `measured` of that benchmark gives, in a process of its own."""
    code = f"import json; from benchmarks.{name} import measured; print(json.dumps(measured()))"
    env = {**os.environ, "PYTHONPATH": str(rivals.ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=rivals.ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)

"""The report to read, in Markdown, from what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from ..common import table
from ..op_overhead import OPS as CHAIN
from . import cases
from .measure import OURS, TORCH

Report = dict[str, Any]
_BUSY = 0.05  # of all cores: with more work of others than that, the report warns
_MB = 1e6


def markdown(report: Report) -> str:
    """The report."""
    parts = [
        f"# Training on a CPU: {report['processor']}\n",
        f"`{report['command']}`, {report['when']}, {report['seconds']:.0f} s in all.\n",
        *_facts(report),
        *_goals(report),
        *_steps(report["steps"]),
        *_ops(report["parts"].get("ops", [])),
        *_series("How time grows", "", report["parts"].get("scaling", {})),
        *_series("Threads", "threads", report["parts"].get("threads", {})),
        *_small(report["parts"]),
    ]
    return "\n".join(parts)


def _facts(report: Report) -> Iterator[str]:
    """Machine, versions, who is missing, and whether the machine was quiet."""
    versions = ", ".join(sorted(set(report["versions"].values())))
    facts = {
        "machine": report["machine"],
        "threads": report["threads"],
        "contenders": versions,
        "commit": report["commit"],
        "load average before": ", ".join(f"{load:.2f}" for load in report["load"]) or "unknown",
    }
    if report["set_aside"]:  # set on some shared machines; nobody is held back by them here
        aside = ", ".join(f"{name}={value}" for name, value in report["set_aside"].items())
        facts["variables set aside"] = f"{aside}: all contenders use what the processor has"
    yield table(("", ""), facts.items())
    yield (
        "Each contender is a process of its own with so many threads. They take turns of about "
        "0.15 s; figures are medians over steps. All begin with the same weights and batch: who "
        "gives other first losses is left out.\n"
    )
    for title, reason in report["missing"].items():
        yield f"**Not here: {title}**: {reason}.\n"
    for what, error in report["failed"].items():
        yield f"**FAILED: {what}**: {error}.\n"
    busy = {e["title"]: e["others"] for e in _entries(report) if _is_busy(e, report["cores"])}
    if busy:
        worst = max(busy, key=lambda title: busy[title])
        yield (
            f"**The machine was not quiet**: in {len(busy)} of {len(list(_entries(report)))} "
            f"measurements other processes took more than {_BUSY:.0%} of the cores, at most "
            f"{busy[worst]:.2f} of {report['cores']} cores ({worst}). Measure again.\n"
        )


def _entries(report: Report) -> Iterator[dict[str, Any]]:
    yield from report["steps"].values()
    yield from report["parts"].get("ops", [])
    for part in ("scaling", "threads"):
        for entries in report["parts"].get(part, {}).values():
            yield from entries


def _is_busy(entry: dict[str, Any], cores: int) -> bool:
    return entry["others"] > _BUSY * cores


# ---------------------------------------------------------------- goals


def goals(report: Report) -> list[tuple[str, str, float | None, bool | None]]:
    """(what, the goal, what was measured, whether that reaches it); None if not measured."""
    steps = report["steps"]
    rows = []
    for name, most in cases.GOALS.items():
        ratio = against_torch(steps.get(name, {}))
        rows.append((cases.STEPS[name].title, f"at most {most:.2f}", ratio, _most(ratio, most)))
    for key, what in (("net", "of the net and its steps"), ("peak", "of the whole process")):
        ratios = {e["title"]: against_torch(e, key) for e in steps.values()}
        known = {title: ratio for title, ratio in ratios.items() if ratio is not None}
        worst = max(known, key=lambda title: known[title]) if known else ""
        what = f"peak memory {what}, any step" + (f" (most: {worst})" if worst else "")
        ratio = known.get(worst)
        rows.append((what, f"at most {cases.MEMORY_GOAL:.2f}", ratio, _most(ratio, 1.0)))
    for rival in cases.SLOWER:
        for name in cases.FASTER_CASES:
            times = _median(steps.get(name, {}), rival), _median(steps.get(name, {}), OURS)
            ratio = times[0] / times[1] if times[0] and times[1] else None
            what = f"{rival} / minicnn, {cases.STEPS[name].title}"
            reached = None if ratio is None else ratio >= cases.TIMES_FASTER
            rows.append((what, f"at least {cases.TIMES_FASTER:.0f}", ratio, reached))
    return rows


def _most(ratio: float | None, most: float) -> bool | None:
    return None if ratio is None else ratio <= most


def against_torch(entry: dict[str, Any], key: str = "median") -> float | None:
    """minicnn's figure in the smaller one of PyTorch's two layouts."""
    ours, theirs = _figure(entry, OURS, key), [_figure(entry, label, key) for label in TORCH]
    known = [value for value in theirs if value]
    return ours / min(known) if ours is not None and known else None


def _figure(entry: dict[str, Any], label: str, key: str) -> float | None:
    """A median in seconds, or bytes: `peak` of the process, `net` without those before the net."""
    told = entry.get("who", {}).get(label, {})
    if key == "net":
        if told.get("peak") is None or told.get("before") is None:
            return None
        return told["peak"] - told["before"]
    return told.get(key)


def _median(entry: dict[str, Any], label: str) -> float | None:
    return _figure(entry, label, "median")


def _goals(report: Report) -> Iterator[str]:
    if not report.get("steps"):
        return
    word = {True: "yes", False: "no", None: ""}
    rows = []
    for what, goal, ratio, reached in goals(report):
        said = "not measured" if ratio is None else f"{ratio:.2f}"
        rows.append((what, goal, said, word[reached]))
    yield "## Goals\n"
    yield "Ratios of medians to the faster PyTorch layout, unless a line says otherwise.\n"
    yield table(("step", "goal", "measured", "reached"), rows)


# ---------------------------------------------------------------- steps


def _steps(steps: dict[str, Any]) -> Iterator[str]:
    """Times, memory, and where the time goes."""
    if not steps:
        return
    labels = _labels(steps.values())
    yield "## Training steps\n"
    yield "Milliseconds, and the quartiles; *ratio* is minicnn's median to the faster PyTorch's.\n"
    rows = []
    for entry in steps.values():
        times = [_with_quartiles(entry["who"].get(label)) for label in labels]
        rows.append([entry["title"], _two(against_torch(entry)), *times])
    yield table(("step", "ratio", *labels), rows)
    yield "Peak memory in MB: of the net and its steps / of the whole process.\n"
    rows = []
    for entry in steps.values():
        sizes = [_memory(entry, label) for label in labels]
        ratios = [_two(against_torch(entry, key)) for key in ("net", "peak")]
        rows.append([entry["title"], " / ".join(ratios), *sizes])
    yield table(("step", "ratio", *labels), rows)
    yield "Where the time goes, milliseconds:\n"
    rows = []
    for entry in steps.values():
        for label in (OURS, *TORCH):
            if told := entry["who"].get(label):
                rows.append([entry["title"], label, *_ms(told["part_medians"])])
    yield table(("step", "who", "forward and loss", "backward", "update"), rows)
    yield from _absent(steps.values())


def _labels(entries: Iterable[dict[str, Any]]) -> list[str]:
    """Everybody who was measured somewhere, in the order they appear."""
    return list(dict.fromkeys(label for entry in entries for label in entry["who"]))


def _with_quartiles(told: dict[str, Any] | None) -> str:
    if told is None:
        return ""
    low, high = _ms(told["quartiles"])
    return f"{_short(told['median'] * 1e3)} ({_short(low)} to {_short(high)})"


def _memory(entry: dict[str, Any], label: str) -> str:
    net, peak = _figure(entry, label, "net"), _figure(entry, label, "peak")
    return "" if net is None or peak is None else f"{net / _MB:.0f} / {peak / _MB:.0f}"


def _absent(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Who was not measured, why, and where."""
    where: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        for told in entry["absent"].items():
            where.setdefault(told, []).append(entry["title"])
    if where:
        yield "Not measured:\n"
        lines = [f"- {who}: {why} ({'; '.join(titles)})" for (who, why), titles in where.items()]
        yield "\n".join(lines) + "\n"


def _ms(seconds: Iterable[float]) -> list[float]:
    return [s * 1e3 for s in seconds]


def _two(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _short(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


# ---------------------------------------------------------------- operations, growth, overhead


def _ops(ops: list[dict[str, Any]]) -> Iterator[str]:
    if not ops:
        return
    labels = [label for label in _labels(ops) if label in (OURS, *TORCH)]
    yield "## Single operations\n"
    yield (
        "Milliseconds; *ratio* is to the faster PyTorch layout, pass by pass. minicnn chooses its "
        "algorithm itself; the last column has those that it could take.\n"
    )
    rows = []
    for entry in ops:
        for k, part in enumerate(entry["parts"]):
            told = {who: times["part_medians"][k] for who, times in entry["who"].items()}
            known = [told[label] for label in TORCH if label in told]
            ratio = told[OURS] / min(known) if known and OURS in told else None
            times = [told[label] * 1e3 if label in told else None for label in labels]
            named = [f"{n} {_short(told[n] * 1e3)}" for n in entry["algorithms"] if n in told]
            rows.append([entry["title"], part, _two(ratio), *times, ", ".join(named)])
    yield table(("operation", "pass", "ratio", *labels, "by algorithm"), rows)
    yield from _absent(ops)


def _series(title: str, what: str, series: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """A table for each series: the size, milliseconds, the ratio."""
    if not series:
        return
    yield f"## {title}\n"
    for name, entries in series.items():
        labels = _labels(entries)
        rows = []
        for entry in entries:
            times = [_median(entry, label) for label in labels]
            known = [t * 1e3 if t else None for t in times]
            rows.append([entry["size"], _two(against_torch(entry)), *known])
        yield f"{name}, milliseconds:\n"
        yield table((what or name.split(",")[0], "ratio", *labels), rows)
        yield from _absent(entries)


def _small(parts: dict[str, Any]) -> Iterator[str]:
    """Overhead and import."""
    if overhead := parts.get("overhead"):
        rows = []
        for what, times in overhead.items():
            medians = {who: statistics.median(t) / CHAIN * 1e6 for who, t in times.items()}
            theirs = medians.get("torch")
            ratio = medians[OURS] / theirs if theirs else None
            rows.append([what, medians[OURS], theirs, _two(ratio)])
        yield "## Overhead\n"
        yield "Microseconds that a product of two 2x2 tensors takes, on one thread.\n"
        yield table(("", OURS, "PyTorch", "ratio"), rows)
    if times := parts.get("import"):
        medians = {who: statistics.median(values) for who, values in times.items()}
        yield "## Import\n"
        said = [f"`import {who}` {1e3 * seconds:.0f} ms" for who, seconds in medians.items()]
        ratio = medians[OURS] / medians["numpy"]
        yield f"{', '.join(said)}: {ratio:.2f} times. The interpreter's start is not counted.\n"

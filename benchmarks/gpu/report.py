"""The report: one JSON file with everything, one Markdown file to read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..common import cell, table, write_report

Report = dict[str, Any]

TRIED = (
    "**Tried on the emulator.** No figure here says anything about a GPU: times are those of a "
    "CPU playing one, at tiny sizes."
)


def write(report: Report, folder: Path, name: str) -> list[Path]:
    """Writes NAME.json and NAME.md into the folder; gives their paths."""
    return write_report(report, markdown(report), folder, name)


def file_name(gpu: str) -> str:
    """gpu-NAME, of letters, digits and hyphens."""
    return "gpu-" + re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")


def markdown(report: Report) -> str:
    """The report to read."""
    stages = report["stages"]
    versions = stages.get("versions", {}).get("results", {})
    parts = [f"# {versions.get('gpu', 'GPU unknown')}\n"]
    if report["device"] != "cuda":
        parts.append(TRIED + "\n")
    parts.append(f"`{report['command']}`, {report['when']}, {report['seconds']:.0f} s in all.\n")
    parts.append(table(("stage", "result", "seconds", "of at most"), _overview(stages)))
    for name, stage in stages.items():
        write_stage = _WRITERS.get(name.split("-")[0], _facts)
        parts.append(f"## {name}\n")
        parts += write_stage(stage["results"]) if stage["results"] else []
        parts.append(_listed("Not measured", stage["skipped"], "why"))
        parts.append(_listed("FAILED", stage["failed"], "error"))
    return "\n".join(part for part in parts if part)


def _overview(stages: dict[str, Any]) -> Iterable[Sequence[Any]]:
    for name, stage in stages.items():
        yield name, stage["status"], f"{stage['seconds']:.1f}", f"{stage['limit']:.0f}"


def _listed(title: str, entries: list[dict[str, str]], key: str) -> str:
    """A list, the reasons of several lines as code; nothing for none."""
    if not entries:
        return ""
    lines = [f"{title}:\n"]
    for entry in entries:
        reason = entry[key].rstrip()
        first, *rest = reason.splitlines() or [""]
        lines.append(f"- {entry['what']}: {first}")
        if rest:
            lines += ["", "  ```", *[f"  {line}" for line in rest], "  ```", ""]
    return "\n".join(lines) + "\n"


# A stage each


def _facts(results: dict[str, Any]) -> list[str]:
    """Names and values."""
    rows = []
    for name, value in results.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {cell(v)}" for k, v in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value)) or "not installed"
        rows.append((name, value))
    return [table(("what", "found"), rows)]


def _tests(results: dict[str, Any]) -> list[str]:
    counts = ("passed", "failed", "skipped", "deselected", "warnings", "seconds")
    rows = [[results.get(name) for name in counts]]
    parts = [table(counts, rows)]
    for title, key in (("Skipped", "why_skipped"), ("Left out", "left_out")):
        if results.get(key):
            parts.append(f"{title}:\n")
            parts.append("\n".join(f"- {k}: {v}" for k, v in results[key].items()) + "\n")
    return parts


def _training(results: dict[str, Any]) -> list[str]:
    columns = ("data", "images", "epochs", "seconds", "images_per_s", "first_loss", "last_loss")
    head = ("network", *columns, "test_accuracy")
    rows = [[name, *[run.get(c) for c in head[1:]]] for name, run in results.items()]
    return [table(head, rows)]


def _machine(results: dict[str, Any]) -> list[str]:
    copies = [["copy on the device, read and written", results.get("copy_bytes_per_s", 0) / 1e9]]
    copies += [[c["what"], c["gb_per_s"]] for c in results.get("host_copies", [])]
    products = [[m["n"], m["kind"], m["tflop_per_s"]] for m in results.get("matmul", [])]
    warm = results.get("after_the_products", "not asked")
    warm = ", ".join(f"{k} {v}" for k, v in warm.items()) if isinstance(warm, dict) else warm
    return [
        table(("copies", "GB/s"), copies),
        table(("matmul, n x n", "precision", "TFLOP/s"), products),
        f"nvidia-smi right after them: {warm}.\n",
    ]


def _kernels(results: dict[str, Any]) -> list[str]:
    ceilings = results.get("ceilings", {})
    parts = [
        f"Bytes: each operand once, against a copy at "
        f"{ceilings.get('copy_bytes_per_s', 0) / 1e9:.4g} GB/s; operations against a matmul at "
        f"{ceilings.get('fp32_flop_per_s', 0) / 1e12:.4g} TFLOP/s in fp32. *Of limit* is the "
        "larger fraction: 100% is the least time possible. Small arrays lie in the cache, and may "
        "show more than 100%. In float32, without tensor cores; launched from a CUDA graph, "
        "unless a line says otherwise.\n"
    ]
    head = ("kernel", "layer", "µs", "MB", "GFLOP", "of copy", "of matmul", "of limit", "")
    rows = []
    for k in results.get("kernels", []):
        percent = [_percent(k[name]) for name in ("of_copy", "of_matmul", "of_limit")]
        sizes = [k["bytes"] / 1e6, k["flops"] / 1e9 or None]
        said = "" if k["launched"] == "graph" else k["launched"]
        rows.append([k["kernel"], k["case"], k["microseconds"], *sizes, *percent, said])
    return [*parts, table(head, rows), *_two_ways(results.get("two_ways", []))]


def _two_ways(entries: list[dict[str, Any]]) -> list[str]:
    if not entries:
        return []
    head = ("convolution", "pass", "GFLOP", "kernels, µs", "im2col and cuBLAS, µs", "ratio")
    rows = []
    for e in entries:
        times = e["implicit_microseconds"], e["im2col_microseconds"]
        rows.append([e["case"], e["pass"], e["flops"] / 1e9, *times, times[0] / times[1]])
    said = "Whole primitives, launched from Python, which takes some microseconds of each:\n"
    return [said, table(head, rows)]


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.0f}%"


def _steps(results: dict[str, Any]) -> list[str]:
    head = ("batch", "who", "ms a step", "from to", "images/s", "minicnn takes", "peak MB")
    rows = []
    for s in results.get("steps", []):
        spread = " to ".join(f"{t:.3g}" for t in s["from_to_ms"])
        peak = None if s["peak_bytes"] is None else f"{s['peak_bytes'] / 1e6:.0f}"
        times = f"{s['minicnn_takes']:.2f} x"
        rows.append(
            [s["batch"], s["who"], s["milliseconds"], spread, s["images_per_s"], times, peak]
        )
    parts = [
        f"{results.get('precision', '')}. Medians; those who took turns stand under a line of "
        "minicnn's own, which is what the ratio is to.\n",
        table(head, rows),
    ]
    for entry in results.get("losses", []):
        apart = ", ".join(f"{a:.1e}" for a in entry["apart"])
        parts.append(f"Losses of the first steps, batch {entry['batch']}: apart by {apart}.\n")
    return parts


_WRITERS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "tests": _tests,
    "training": _training,
    "machine": _machine,
    "kernels": _kernels,
    "steps": _steps,
}

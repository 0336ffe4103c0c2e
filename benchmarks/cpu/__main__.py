"""How fast minicnn trains on this machine's CPU, beside its rivals, in one run.

python -m benchmarks.cpu            everything: under 25 minutes on two cores
python -m benchmarks.cpu --quick    training steps against PyTorch alone: under 3 minutes

    steps       whole training steps of ten networks: time, peak memory
    ops         single operations, forward and backward
    scaling     how time grows with batch, image size and depth
    threads     and with one and two threads
    overhead    what an operation costs besides its arithmetic
    import      how long `import minicnn` takes

The rivals: PyTorch in both of its memory orders, Chainer, DeZero, tinygrad and JAX. PyTorch is the
running interpreter's, if it has one. The others, and PyTorch where there is none, are installed at
the first run, each into an environment of its own under MINICNN_RIVALS, or ~/.cache/minicnn/rivals.
Who cannot be installed is named in the report.

One JSON and one Markdown file, DATE-cpu, are written under benchmarks/results/, anew after every
measurement. The exit status is 1 if minicnn failed somewhere. Leave the machine alone meanwhile:
the report says so if somebody did not.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import minicnn

from ..common import ROOT, commit, machine, write_report
from . import measure, report, rivals
from .cases import STEPS
from .contender import set_aside
from .measure import OURS, Bench

RESULTS = ROOT / "benchmarks" / "results"
# Besides the steps; the key is the name in the report.
PARTS: dict[str, Callable[[Bench], Any]] = {
    "ops": measure.ops,
    "scaling": measure.scaling,
    "threads": measure.threads,
    "overhead": measure.overhead,
    "import": measure.import_time,
}


def main(arguments: list[str] | None = None) -> int:
    """Measures and writes the report; 1 if minicnn failed somewhere."""
    given = _arguments(arguments)
    began = time.monotonic()
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    bench = Bench(given.rivals, given.threads, given.quick)
    if given.quick and not given.rivals:
        bench.missing["PyTorch"] = "this Python cannot import it, and a quick run installs nothing"
    whole = _header(given, bench, load)

    def write() -> list[Path]:
        whole["seconds"] = time.monotonic() - began
        name = f"{whole['when'][:10]}-cpu"
        return write_report(whole, report.markdown(whole), given.out, name)

    for name in given.steps:
        print(f"{STEPS[name].title}", flush=True)
        entry = _attempt(whole, name, lambda: measure.step(bench, name))  # noqa: B023
        if entry is not None:
            whole["steps"][name] = entry
            _show(entry)
        write()
    for name in given.parts:
        print(name, flush=True)
        result = _attempt(whole, name, lambda: PARTS[name](bench))  # noqa: B023
        if result is not None:
            whole["parts"][name] = result
        write()
    print("\n".join(map(str, write())))
    entries = whole["steps"].values()
    return int(bool(whole["failed"]) or any(OURS in entry["absent"] for entry in entries))


def _header(given: argparse.Namespace, bench: Bench, load: tuple[float, ...]) -> dict[str, Any]:
    """What the report says besides the figures."""
    line = machine()
    can_ask = hasattr(os, "sched_getaffinity")
    return {
        "command": shlex.join(["python", "-m", "benchmarks.cpu", *given.line]),
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": line.split(",")[0],
        "machine": line,
        "cores": len(os.sched_getaffinity(0)) if can_ask else os.cpu_count() or 1,
        "threads": given.threads,
        "commit": commit(),
        "load": load,
        "set_aside": set_aside(),
        "quick": given.quick,
        "seconds": 0.0,
        "versions": bench.versions,
        "missing": bench.missing,
        "failed": {},
        "steps": {},
        "parts": {},
    }


def _attempt(whole: dict[str, Any], what: str, action: Callable[[], Any]) -> Any:
    """What the action gives; None with a note if it raises: the other parts are worth having."""
    try:
        return action()
    except Exception as error:
        traceback.print_exc()
        whole["failed"][what] = f"{type(error).__name__}: {error}"
        return None


def _show(entry: dict[str, Any]) -> None:
    for label, told in entry["who"].items():
        print(f"    {label:24} {told['median'] * 1e3:10.2f} ms")
    for label, reason in entry["absent"].items():
        print(f"    {label:24} {reason}")


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="steps alone, few rounds, PyTorch alone if it is here"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help=f"this alone, or those that begin so; may be repeated: {', '.join([*STEPS, *PARTS])}",
    )
    parser.add_argument("--rivals", help=f"some of {','.join(rivals.RIVALS)}, or none (all)")
    parser.add_argument("--threads", type=int, help="for everybody (as many as there are cores)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a folder (benchmarks/results)")
    given = parser.parse_args(arguments)
    given.line = sys.argv[1:] if arguments is None else arguments
    threads = minicnn.get_num_threads() if given.threads is None else given.threads
    if threads < 1:
        parser.error(f"--threads expects a positive number, got {threads}")
    given.threads = threads
    given.rivals = _rivals(parser, given)
    given.steps, given.parts = _chosen(parser, given)
    return given


def _rivals(parser: argparse.ArgumentParser, given: argparse.Namespace) -> list[str]:
    """The rivals by name. A quick run installs nothing that was not asked for."""
    if given.rivals is None:
        if not given.quick:
            return list(rivals.RIVALS)
        return ["torch"] if importlib.util.find_spec("torch") is not None else []
    names = [] if given.rivals == "none" else given.rivals.split(",")
    for name in names:
        if name not in rivals.RIVALS:
            known = ", ".join(rivals.RIVALS)
            parser.error(f"--rivals expects none or some of {known}, got {name!r}")
    return names


def _chosen(
    parser: argparse.ArgumentParser, given: argparse.Namespace
) -> tuple[list[str], list[str]]:
    """The steps and the other parts that are wanted."""
    steps, parts = list(STEPS), [] if given.quick else list(PARTS)
    if given.only is None:
        return steps, parts
    known = [*steps, *PARTS]
    for only in given.only:
        if only != "steps" and not any(name.startswith(only) for name in known):
            parser.error(f"--only expects steps or one of {', '.join(known)}, got {only!r}")
    wanted = tuple(given.only)
    chosen = [name for name in steps if "steps" in wanted or name.startswith(wanted)]
    return chosen, [name for name in PARTS if name.startswith(wanted)]


if __name__ == "__main__":
    raise SystemExit(main())

"""Everything that there is to measure on a GPU, in one command of at most ten minutes.

python -m benchmarks.gpu

From a checkout, with CuPy, NumPy, pytest and PyTorch installed, and no network:

    versions    the GPU, the driver, the libraries, the commit
    tests       the kernels' tests, on the GPU alone
    sanitizer   memcheck, racecheck, synccheck and initcheck on every kernel, where the tool works
    machine     how fast the machine copies and multiplies
    kernels     every kernel as a fraction of that
    training    LeNet on digits (and MNIST, with --data-dir), a VGG with batch norm
    steps-...   training steps of lenet5, vgg11, vgg11_bn and resnet18 against PyTorch's

Each stage is a process with a time limit: what is left of the minutes, shared out by weight. What
does not fit is skipped, what breaks is noted, and the report says both. One JSON and one Markdown
file named after the GPU are written under benchmarks/results/, anew after every stage. The exit
status is 1 if anything failed.

Without a GPU, `--device emulator` tries the script itself, at tiny sizes. Its figures mean nothing,
and are never written under results/.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import report

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
# Stages in the order they run, with the weights by which they share what is left of the time.
STAGES = {
    "versions": 15,
    "tests": 110,
    "sanitizer": 110,
    "machine": 25,
    "kernels": 100,
    "training": 70,
    "steps-lenet5": 60,
    "steps-vgg11": 70,
    "steps-vgg11_bn": 40,
    "steps-resnet18": 60,
}
_ASKING = 120.0  # seconds for the versions: a cold machine takes long to import what it asks
_LEAST = 3  # seconds: with less a stage does not begin
_TF32_SWITCHES = ("CUPY_TF32", "NVIDIA_TF32_OVERRIDE")  # fp32 is to mean fp32
_TIDY = 0.9  # of its time, after which a stage begins nothing new


def main() -> int:
    """Runs the stages and writes the report; 1 if something failed."""
    given = _arguments()
    stop = time.monotonic() + 60 * given.minutes
    began = time.monotonic()
    whole: dict[str, Any] = {
        "device": given.device,
        "command": shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]]),
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "figures": "measured" if given.device == "cuda" else report.TRIED,
        "quick": given.quick,
        "seconds": 0.0,
        "stages": {},
    }
    paths: list[Path] = []
    for name in STAGES:
        if name != "versions" and not _chosen(name, given.only):
            continue
        limit = _limit(name, given.only, stop - time.monotonic())
        print(f"{name} (at most {limit:.0f} s)", flush=True)
        whole["stages"][name] = stage = _run_stage(name, limit, given)
        whole["seconds"] = time.monotonic() - began
        print(f"    {stage['status']} in {stage['seconds']:.1f} s", flush=True)
        gpu = whole["stages"]["versions"]["results"].get("gpu")
        if gpu is None:
            said = "nothing was told of a GPU. To try the script without one: --device emulator"
            print(said, file=sys.stderr)
            return 1
        paths = report.write(whole, given.out, report.file_name(gpu))
    print("\n".join(map(str, paths)))
    return int(any(stage["failed"] for stage in whole["stages"].values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="for everything (10)")
    parser.add_argument(
        "--only",
        action="append",
        metavar="STAGE",
        help="this stage alone, or those that begin so: steps; may be repeated",
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repetitions")
    parser.add_argument("--device", choices=("cuda", "emulator"), default="cuda")
    parser.add_argument("--out", type=Path, help="a folder (benchmarks/results)")
    parser.add_argument("--data-dir", help="holds mnist/ and cifar-10-batches-bin/, as far as used")
    given = parser.parse_args()
    if given.minutes <= 0:
        parser.error(f"--minutes expects a positive number, got {given.minutes}")
    for only in given.only or ():
        if not any(_chosen(name, [only]) for name in STAGES):
            parser.error(f"--only expects one of {', '.join(STAGES)}, got {only!r}")
    if given.device != "cuda":
        given.out = given.out or Path(tempfile.mkdtemp(prefix="benchmarks-gpu-"))
        if given.out.resolve().is_relative_to(RESULTS):
            parser.error("--out: results/ is for what was measured on a GPU")
    given.out = given.out or RESULTS
    return given


def _chosen(name: str, only: list[str] | None) -> bool:
    return not only or any(name.startswith(word) for word in only)


def _limit(name: str, only: list[str] | None, left: float) -> float:
    """The seconds of a stage: its share of what is left, among the stages from it on."""
    names = list(STAGES)
    coming = [other for other in names[names.index(name) :] if _chosen(other, only)]
    if name == "versions":
        return _ASKING
    return max(left, 0.0) * (STAGES[name] / sum(STAGES[other] for other in coming))


def _run_stage(name: str, limit: float, given: argparse.Namespace) -> dict[str, Any]:
    """What the stage noted, its status among it."""
    stage: dict[str, Any] = {"status": "skipped: no time left", "seconds": 0.0, "limit": limit}
    stage.update(finished=False, results={}, skipped=[], failed=[])
    if limit < _LEAST:
        stage["skipped"].append({"what": name, "why": "no time left"})
        return stage
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "notes.json"
        command = [sys.executable, "-m", "benchmarks.gpu.stage", name, "--file", str(file)]
        command += ["--device", given.device, "--seconds", str(_TIDY * limit)]
        command += ["--quick"] if given.quick else []
        command += ["--data-dir", given.data_dir] if given.data_dir else []
        status, tail = _within(command, limit, Path(folder) / "errors.txt")
        if file.exists():
            stage.update(json.loads(file.read_text(encoding="utf-8")))
    stage["seconds"] = time.monotonic() - began
    if status is None:
        stage["skipped"].append({"what": f"the rest of {name}", "why": "its time ran out"})
    elif status or not stage["finished"]:
        stage["failed"].append({"what": name, "error": f"exit status {status}:\n{tail}"})
    if stage["failed"]:
        stage["status"] = "FAILED"
    elif status is None:
        stage["status"] = "stopped"
    else:
        stage["status"] = "done, with parts skipped" if stage["skipped"] else "done"
    return stage


def _within(command: list[str], seconds: float, errors: Path) -> tuple[int | None, str]:
    """(exit status, None if the time ran out; the end of its standard error)."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(_search_path())}
    for switch in _TF32_SWITCHES:
        env.pop(switch, None)
    with errors.open("w+", encoding="utf-8", errors="replace") as told:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stderr=told, start_new_session=True)
        try:
            status: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
        told.seek(0)
        return status, "\n".join(told.read().rstrip().splitlines()[-8:])


def _search_path() -> list[str]:
    return [p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p]


def _end(process: subprocess.Popen) -> None:
    """Ends the process and those that it started, which are of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    raise SystemExit(main())

"""Stages `tests` and `sanitizer`: whether the kernels are right on this GPU."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ..common import ROOT
from .device import open_device
from .run import LINES, Run, Unavailable

# Where the toolkit, or NVIDIA's packages for pip, put the tool.
_PLACES = (
    "/usr/local/cuda*/bin/compute-sanitizer",
    "/usr/local/cuda*/compute-sanitizer/compute-sanitizer",
    "/opt/cuda/bin/compute-sanitizer",
    f"{sys.prefix}/lib/python*/site-packages/nvidia/**/compute-sanitizer",
)
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
_BROKEN = re.compile(
    "internal sanitizer error|device not supported|no attachable|terminated before|unable to|"
    "failed to (attach|initialize|inject)",
    re.IGNORECASE,
)
_FOUND = 86  # the exit status for findings: none of Python's
# Of the emulator one file and one order of threads, to try the stage itself.
_TRIED = "tests/backend/cuda/test_softmax.py"
_PROCESSES = 14
_EACH_BYTES = 2**30  # of the GPU's memory: CUDA's own part, libraries, and the tests' arrays
# For hundreds of ops CuPy compiles kernels of its own: what is left of the time is theirs.
_LAST = "tests/devices/test_every_op.py"
_NO_TESTS = 5  # pytest's exit status for a share without any
_WORDS = {"cuda": "cuda", "emulator": "emulator-forward"}


def test_files() -> list[str]:
    """The tests that name the GPU, or share a fixture with the others of their folder that does."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        texts = [p for p in (path, path.parent / "conftest.py") if p.exists()]
        if any('"cuda"' in text.read_text(encoding="utf-8") for text in texts):
            found.append(str(path.relative_to(ROOT)))
    found = [name for name in found if not name.startswith("tests/benchmarks")]
    return sorted(found, key=lambda name: (name == _LAST, name))


def tests(run: Run) -> None:
    """Runs the tests of the device alone, in several processes: most of the time compiles."""
    count = _processes(open_device(run.device))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(count + 1) as pool:
        if run.device == "cuda":  # meanwhile, so that the sanitizer finds these kernels compiled
            pool.submit(run_within, _every_kernel(run), _environment(), run.left())
        files = [Path(folder) / f"{k}.json" for k in range(count)]
        shares = [f"{k}/{count}" for k in range(count)]
        ends = [*pool.map(partial(_pytest, run), shares, files)]
        told = [json.loads(f.read_text(encoding="utf-8")) for f in files if f.exists()]
    for name, value in merged(told).items():
        run.note(name, value)
    if any(end["status"] is None for end in ends):
        run.skip("the rest of the tests", "no time left; the counts are of those that ran")
    for end in ends:
        if end["status"] not in (None, 0, 1, _NO_TESTS):
            run.fail("pytest", f"exit status {end['status']}:\n{end['tail']}")
    if not run.results.get("passed"):
        run.fail("tests", f"none passed:\n{ends[0]['tail']}")
    for name, lines in run.results.get("failures", {}).items():
        run.fail(name, lines)


def _processes(device: Any) -> int:
    """How many run at once: as many as there are cores, and memory of the GPU for each."""
    if not device.is_gpu:
        return 2
    return max(1, min(_PROCESSES, os.cpu_count() or 1, device.free_bytes() // _EACH_BYTES))


def _pytest(run: Run, share: str, told: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
    # A warning of CuPy or the driver is no failure: it is counted instead.
    command += ["-p", "benchmarks.gpu.only_device", "-W", "default", "--maxfail=20"]
    command += test_files() if run.device == "cuda" else [_TRIED]
    asked = {"ONLY_DEVICE": _WORDS[run.device], "SHARE": share, "TOLD": str(told)}
    env = {**_environment(), **{f"MINICNN_{name}": value for name, value in asked.items()}}
    return run_within(command, env, run.left())


def merged(told: list[dict[str, Any]]) -> dict[str, Any]:
    """What several processes told, as if one had run all: counts added, lists joined."""
    whole: dict[str, Any] = {}
    for part in told:
        for name, value in part.items():
            if name not in whole:
                whole[name] = value
            elif name == "why_skipped":
                whole[name] = dict(Counter(whole[name]) + Counter(value))
            elif isinstance(value, dict):
                whole[name] = {**whole[name], **value}
            elif name != "deselected":  # which each of them counts
                whole[name] += value
    return whole


def _environment() -> dict[str, str]:
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
    return {**os.environ, "PYTHONPATH": path}


def run_within(command: list[str], env: dict[str, str], seconds: float) -> dict[str, Any]:
    """The exit status of a command, None if its time ran out, and the end of what it printed."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        try:
            status = subprocess.run(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=max(seconds, 1),
            ).returncode
        except subprocess.TimeoutExpired:
            status = None
        output.seek(0)
        text = output.read()
    return {
        "status": status,
        "text": text,
        "tail": "\n".join(text.rstrip().splitlines()[-LINES:]),
    }


def sanitizer(run: Run) -> None:
    """Puts each tool of compute-sanitizer on one run of every kernel."""
    script = _every_kernel(run)
    plain = run_within(script, _environment(), run.left())  # and compiles: into CuPy's cache
    if plain["status"] != 0:
        run.fail("every kernel once", f"exit status {plain['status']}:\n{plain['tail']}")
        return
    told = plain["tail"].splitlines()[-1]
    run.note("script", told)
    if ", not " in told:
        run.fail("every kernel once", told)
    program = _compute_sanitizer()
    if program is None:
        run.skip("compute-sanitizer", "not installed: looked in PATH, CUDA_HOME and beside CUDA")
        return
    version = run_within([program, "--version"], _environment(), 20)
    run.note("program", f"{program}: {version['tail'].splitlines()[-1:]}")
    for done, tool in enumerate(TOOLS):
        seconds = run.left() / (len(TOOLS) - done)  # one that hangs leaves the others their time
        run.attempt(tool, partial(_put_on, run, program, tool, script, seconds), 5)


def _every_kernel(run: Run) -> list[str]:
    return [sys.executable, "-m", "benchmarks.gpu.every_kernel", "--device", run.device]


def _compute_sanitizer() -> str | None:
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    patterns = [f"{home}/{place}/compute-sanitizer" for home in homes for place in ("bin", "*")]
    found = [shutil.which("compute-sanitizer")]
    for pattern in (*patterns, *_PLACES):
        found += [p for p in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(p)]
    return next((program for program in found if program), None)


def _put_on(run: Run, program: str, tool: str, script: list[str], seconds: float) -> None:
    options = ["--tool", tool, "--target-processes", "all", "--print-limit", "20"]
    # What CuPy asks of the driver in vain, to learn what it can, is no fault of a kernel.
    options += ["--report-api-errors", "no"] if tool == "memcheck" else []
    options += ["--error-exitcode", str(_FOUND)]
    told = run_within([program, *options, *script], _environment(), seconds)
    if told["status"] is None:
        raise Unavailable(f"not done after {seconds:.0f} s, its share of the time")
    own = [line for line in told["text"].splitlines() if line.startswith("=====")]
    summary = [line.strip("= ") for line in own if "SUMMARY" in line]
    broken = [line for line in own if _BROKEN.search(line)]
    if told["status"] == _FOUND and summary and not broken:
        run.fail(tool, "\n".join([*own[:LINES], summary[-1]]))
    elif told["status"] != 0 or not summary or broken or "kernels ran" not in told["text"]:
        end = "\n".join(broken) or told["tail"]
        raise Unavailable(f"did not work here (exit status {told['status']}):\n{end}")
    run.note(tool, summary[-1])

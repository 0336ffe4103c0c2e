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
from pathlib import Path
from typing import Any

from .machine import ROOT
from .run import LINES, Run, Unavailable

# Where the toolkit, or NVIDIA's packages for pip, put the tool.
_PLACES = (
    "/usr/local/cuda*/bin/compute-sanitizer",
    "/usr/local/cuda*/compute-sanitizer/compute-sanitizer",
    "/opt/cuda/bin/compute-sanitizer",
    f"{sys.prefix}/lib/python*/site-packages/nvidia/**/compute-sanitizer",
)
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
_FOUND = 86  # the exit status for findings: none of Python's
# Of the emulator one file and one order of threads, to try the stage itself.
_TRIED = "tests/backend/cuda/test_softmax.py"
_WORDS = {"cuda": "cuda", "emulator": "emulator-forward"}


def test_files() -> list[str]:
    """The folder of the kernels' tests, and every other file of tests that runs some on a GPU."""
    folder = "tests/backend/cuda"
    others = {
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if '"cuda"' in path.read_text(encoding="utf-8")
    }
    apart = (folder, "tests/benchmarks")
    return [folder, *sorted(name for name in others if not name.startswith(apart))]


def tests(run: Run) -> None:
    """Runs the tests of the device alone, in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.json"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
        # A warning of CuPy or the driver is no failure: it is counted instead.
        command += ["-p", "benchmarks.gpu.only_device", "-W", "default", "--maxfail=100"]
        command += test_files() if run.device == "cuda" else [_TRIED]
        env = {
            **_environment(),
            "MINICNN_ONLY_DEVICE": _WORDS[run.device],
            "MINICNN_TOLD": str(told),
        }
        output = run_within(command, env, run.left())
        if not told.exists():
            run.fail("pytest", f"it told nothing:\n{output['tail']}")
            return
        for name, value in json.loads(told.read_text(encoding="utf-8")).items():
            run.note(name, value)
    if output["status"] is None:
        run.skip("the rest of the tests", "no time left; the counts are of those that ran")
    elif output["status"] not in (0, 1):
        run.fail("pytest", f"exit status {output['status']}:\n{output['tail']}")
    if not run.results.get("passed"):
        run.fail("tests", "none passed")
    for name, lines in run.results.get("failures", {}).items():
        run.fail(name, lines)


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
    script = [sys.executable, "-m", "benchmarks.gpu.every_kernel", "--device", run.device]
    plain = run_within(script, _environment(), run.left())  # and compiles: into CuPy's cache
    if plain["status"] != 0:
        run.fail("every kernel once", f"exit status {plain['status']}:\n{plain['tail']}")
        return
    run.note("script", plain["tail"].splitlines()[-1])
    program = _compute_sanitizer()
    if program is None:
        run.skip("compute-sanitizer", "not installed: looked in PATH, CUDA_HOME and beside CUDA")
        return
    version = run_within([program, "--version"], _environment(), 20)
    run.note("program", f"{program}: {version['tail'].splitlines()[-1:]}")
    for tool in TOOLS:
        run.attempt(tool, lambda tool=tool: _put_on(run, program, tool, script), 5)


def _compute_sanitizer() -> str | None:
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    patterns = [f"{home}/{place}/compute-sanitizer" for home in homes for place in ("bin", "*")]
    found = [shutil.which("compute-sanitizer")]
    for pattern in (*patterns, *_PLACES):
        found += [p for p in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(p)]
    return next((program for program in found if program), None)


def _put_on(run: Run, program: str, tool: str, script: list[str]) -> None:
    options = ["--tool", tool, "--error-exitcode", str(_FOUND), "--print-limit", "20"]
    told = run_within([program, *options, *script], _environment(), run.left())
    summary = re.findall(r"^=+ ((?:\w+ )?(?:ERROR )?SUMMARY: .*)$", told["text"], re.MULTILINE)
    if told["status"] is None:
        raise Unavailable("no time left while it ran")
    if not summary or "kernels ran" not in told["text"]:
        raise Unavailable(f"did not work here (exit status {told['status']}):\n{told['tail']}")
    run.note(tool, summary[-1])
    if told["status"]:
        first = [line for line in told["text"].splitlines() if line.startswith("=====")]
        run.fail(tool, "\n".join([*first[:LINES], summary[-1]]))

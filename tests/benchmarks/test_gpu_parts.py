"""The parts of `benchmarks.gpu` that need no device: time, notes, the plugin, the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

import minicnn
from benchmarks.common import cell
from benchmarks.gpu import __main__ as whole
from benchmarks.gpu import checks, report, steps
from benchmarks.gpu.nets import lenet5
from benchmarks.gpu.only_device import is_for, missing_imports
from benchmarks.gpu.run import Run, Unavailable
from benchmarks.gpu.steps import WORKLOADS, Problem, agree


@pytest.fixture
def run(tmp_path):
    return Run("emulator", 60, tmp_path / "notes.json")


@pytest.fixture
def notes(tmp_path):
    return lambda: json.loads((tmp_path / "notes.json").read_text(encoding="utf-8"))


def test_notes_are_in_the_file_at_once(run, notes):
    run.note("a", 1)
    run.add("b", 2)
    run.add("b", 3)
    assert notes() == {"finished": False, "results": {"a": 1, "b": [2, 3]}, "skipped": [],
                       "failed": []}  # fmt: skip
    run.finish()
    assert notes()["finished"]


def test_attempts(run, notes):
    def absent():
        raise Unavailable("no such thing")

    assert run.attempt("fine", lambda: 5) == 5
    assert run.attempt("absent", absent) is None
    assert run.attempt("wrong", lambda: 1 // 0) is None
    assert run.attempt("long", lambda: 5, seconds=1000) is None
    absent_one, long = notes()["skipped"]
    assert absent_one == {"what": "absent", "why": "no such thing"}
    assert long["what"] == "long"
    assert "no time left" in long["why"]
    assert "needs 1000" in long["why"]
    [wrong] = notes()["failed"]
    assert "ZeroDivisionError" in wrong["error"]


@pytest.mark.parametrize("only", [None, ["steps"], ["kernels", "training"]])
def test_limits_add_up_to_the_time_there_is(only):
    left = 600.0
    for name in whole.STAGES:
        if name != "versions" and whole._chosen(name, only):
            limit = whole._limit(name, only, left)
            assert 0 < limit <= left
            left -= limit
    assert abs(left) < 1e-6


def test_a_stage_that_takes_too_long_is_ended_with_what_it_started(tmp_path):
    child = "import time; time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    start = time.monotonic()
    errors = tmp_path / "errors.txt"
    assert whole._within([sys.executable, "-c", code], 1.0, errors) == (None, "")
    assert time.monotonic() - start < 30


def test_a_stage_that_dies_is_told_with_its_last_lines(tmp_path):
    code = "import sys; print('it hurts', file=sys.stderr); sys.exit(3)"
    told = whole._within([sys.executable, "-c", code], 60, tmp_path / "errors.txt")
    assert told == (3, "it hurts")


@pytest.mark.parametrize(
    ("gib", "cores", "wanted"), [(139, 16, 14), (139, 2, 2), (6, 16, 6), (0, 8, 1)]
)
def test_as_many_processes_as_the_gpu_has_memory_for(monkeypatch, gib, cores, wanted):
    monkeypatch.setattr(checks.os, "cpu_count", lambda: cores)
    gpu = SimpleNamespace(is_gpu=True, free_bytes=lambda: gib << 30)
    assert checks._processes(gpu) == wanted


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("test_pool[cuda]", True),
        ("test_pool[float32-cuda]", True),
        ("test_pool[cuda-float32-2]", True),
        ("test_pool[emulator-forward]", False),
        ("test_cuda", False),
        ("test_climbs[backend/cuda/pool.py]", False),
    ],
)
def test_the_tests_of_a_device(name, wanted):
    assert is_for(name, "cuda") == wanted


def test_imports_that_are_missing(tmp_path):
    file = tmp_path / "test_x.py"
    file.write_text(
        "import os\nimport numpy.linalg\nfrom nowhere_at_all import x\nfrom . import y\n"
    )
    assert missing_imports(file) == ["nowhere_at_all"]


SOME_TESTS = """
import pytest

@pytest.mark.parametrize("device", ["cuda", "other"])
@pytest.mark.parametrize("what", ["good", "bad", "absent", "alone", "broken"])
def test_it(what, device):
    if what == "absent":
        pytest.skip("it is not here")
    if what == "alone":
        import nowhere_at_all
    if what == "broken":
        import json.nowhere_at_all
    assert what == "good", "a lie"
"""


def test_shares_of_tests_are_told_and_merged(root, tmp_path):
    (tmp_path / "test_some.py").write_text(SOME_TESTS)
    (tmp_path / "test_more.py").write_text("import nowhere_at_all\n")
    told = []
    for share in ("0/2", "1/2"):
        file = tmp_path / "told.json"
        asked = {"ONLY_DEVICE": "cuda", "SHARE": share, "TOLD": str(file)}
        env = {**os.environ, **{f"MINICNN_{k}": v for k, v in asked.items()}}
        env["PYTHONPATH"] = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.gpu.only_device"]
        command += ["-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)]
        subprocess.run(command, env=env, cwd=tmp_path, capture_output=True)
        told.append(json.loads(file.read_text(encoding="utf-8")))
    result = checks.merged(told)
    counts = {name: result[name] for name in ("passed", "failed", "skipped", "deselected")}
    assert counts == {"passed": 1, "failed": 2, "skipped": 2, "deselected": 5}
    assert result["why_skipped"] == {
        "Skipped: it is not here": 1,
        "Skipped: needs nowhere_at_all": 1,
    }
    assert result["left_out"] == {"test_more.py": "needs nowhere_at_all"}
    [(name, lines), (broken, _)] = sorted(result["failures"].items())
    assert "bad" in name
    assert "a lie" in lines
    assert "broken" in broken


def test_the_report_names_what_was_skipped_and_what_failed(tmp_path):
    stage = {"status": "FAILED", "seconds": 1.0, "limit": 2.0, "results": {"gpu": "Some | GPU"}}
    stage["skipped"] = [{"what": "this", "why": "no time"}]
    stage["failed"] = [{"what": "that", "error": "first\nsecond"}]
    told = {"device": "cuda", "command": "c", "when": "now", "seconds": 3.0}
    told["stages"] = {"versions": stage}
    paths = report.write(told, tmp_path / "new", report.file_name("NVIDIA H100 80GB (PCIe)"))
    assert [p.name for p in paths] == [
        f"gpu-nvidia-h100-80gb-pcie{end}" for end in (".json", ".md")
    ]
    assert json.loads(paths[0].read_text(encoding="utf-8")) == told
    text = paths[1].read_text(encoding="utf-8")
    assert "- this: no time" in text
    assert "- that: first\n\n  ```\n  second\n  ```" in text
    assert r"| gpu | Some \| GPU |" in text
    assert "emulator" not in text


@pytest.mark.parametrize("changed", [False, True])
def test_losses_that_differ_are_a_failure(run, changed):
    torch = pytest.importorskip("torch")
    cpu = SimpleNamespace(where="cpu", is_gpu=False)
    minicnn.manual_seed(3)
    start = lenet5(minicnn)
    problem = Problem(cpu, torch, WORKLOADS["lenet5"], start, 4)
    if changed:
        ours = problem.ours()
        ours.net[0].weight.data[0, 0, 0, 0] += 0.5
        problem.ours = lambda: ours
    agree(run, problem)
    assert bool(run.failed) == changed
    [losses] = run.results["losses"]
    assert len(losses["minicnn"]) == len(losses["PyTorch"]) == 4
    assert np.isfinite(losses["minicnn"]).all()


def test_numbers_can_be_read():
    values = [1623.4, 99.94, 0.00012345, float("nan"), float("inf"), 12345, None, "a|b\nc"]
    cells = ["1,623", "99.9", "0.000123", "nan", "inf", "12345", "", r"a\|b c"]
    assert [cell(value) for value in values] == cells


def test_numbers_that_json_lacks_are_written_as_words(tmp_path):
    told = {"device": "cuda", "command": "c", "when": "now", "seconds": 3.0}
    results = {"losses": [{"batch": 2, "apart": [float("nan"), 1.0]}], "most": float("inf")}
    stage = {"status": "FAILED", "seconds": 1.0, "limit": 2.0, "results": results}
    told["stages"] = {"steps-lenet5": {**stage, "skipped": [], "failed": []}}
    text = report.write(told, tmp_path, "x")[0].read_text(encoding="utf-8")

    def refuse(word):
        raise AssertionError(word)

    results = json.loads(text, parse_constant=refuse)["stages"]["steps-lenet5"]["results"]
    assert results == {"losses": [{"batch": 2, "apart": ["nan", 1.0]}], "most": "inf"}


def test_a_rival_is_begun_only_if_there_is_time_for_one_as_slow_as_the_last(run, monkeypatch):
    def step():
        clock[0] += 1e-3

    ours = SimpleNamespace(step=step)
    problem = SimpleNamespace(device=SimpleNamespace(is_gpu=False, synchronize=lambda: None))
    problem.batch = 2

    def made(problem, name, make):
        if name != steps.OURS:
            run._deadline -= 50  # as if it had taken that long
            clock[0] += 50
        return ours, None

    clock = [0.0]
    monkeypatch.setattr(steps, "_made", made)
    monkeypatch.setattr(steps.time, "perf_counter", lambda: clock[0])
    steps._match(run, problem, {steps.OURS: None, "slow": None, "slow too": None})
    assert [entry["who"] for entry in run.results["steps"]] == [steps.OURS, "slow"]
    [skipped] = run.skipped
    assert skipped["what"] == "slow too, batch 2"
    assert "it needs 78" in skipped["why"]


def test_what_runs_without_graphs_is_told(run, monkeypatch):
    torch = pytest.importorskip("torch")
    counters = {"inductor": {"cudagraph_skips": 2}}

    def match(*_):
        counters["inductor"]["cudagraph_skips"] += 3

    monkeypatch.setattr("torch._dynamo.utils.counters", counters)
    monkeypatch.setattr(steps, "_match", match)
    problem = SimpleNamespace(torch=torch, device=SimpleNamespace(is_gpu=True), batch=64)
    problem.ours = problem.theirs = print
    steps._compiled_batch(run, problem)
    [skipped] = run.skipped
    assert skipped["what"] == "CUDA graphs, batch 64"
    assert "3 parts" in skipped["why"]

"""`python -m benchmarks.gpu` on the emulated device: its stages, its report, its dependencies."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks.gpu.__main__ import STAGES
from benchmarks.gpu.cases import every_kernel
from minicnn.backend import emulator

# What a machine with a GPU may lack: importing one of them must not be needed.
ABSENT = ("hypothesis", "typer", "rich", "matplotlib", "PIL", "pooch", "safetensors")
# compute-sanitizer as it is when nothing is found, when something is, and when it does not work.
FAKE_SANITIZER = """#!/bin/sh
[ "$1" = --version ] && { echo "a stand-in"; exit 0; }
tool=$2
while [ "$1" != --error-exitcode ]; do shift; done
shift 2
case $tool in
memcheck) echo "36 kernels ran"; echo "========= ERROR SUMMARY: 0 errors" ;;
racecheck) echo "========= Error: Race reported between two accesses"
    echo "========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)"; exit 86 ;;
synccheck) echo "========= Error: Device not supported"; exit 1 ;;
initcheck) echo "========= Internal Sanitizer Error: it gave up"
    echo "========= ERROR SUMMARY: 0 errors"; exit 0 ;;
esac
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler"),
]


@pytest.fixture(scope="module")
def command(root, tmp_path_factory):
    """A function (arguments) -> finished process, which cannot import the packages of ABSENT."""
    folder = tmp_path_factory.mktemp("absent")
    for name in ABSENT:
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} is not to be needed')\n")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])

    def run(*arguments, **env):
        return subprocess.run(
            [sys.executable, "-m", "benchmarks.gpu", "--device", "emulator", *arguments],
            cwd=root,
            env={**os.environ, "PYTHONPATH": path, **env},
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """(the report as JSON, as Markdown) of a run of all stages."""
    out = tmp_path_factory.mktemp("out")
    done = command("--quick", "--minutes", "60", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    [told], [text] = out.glob("*.json"), out.glob("*.md")
    assert told.stem == text.stem == "gpu-none-emulated-on-the-cpu"
    return json.loads(told.read_text(encoding="utf-8")), text.read_text(encoding="utf-8")


def test_every_stage_ends_and_says_what_it_left_out(whole):
    report, text = whole
    assert next(iter(report["stages"]["versions"]["results"])) == "gpu"  # else there is no report
    assert list(report["stages"]) == list(STAGES)
    for name, stage in report["stages"].items():
        assert stage["finished"] and not stage["failed"], (name, stage["failed"])
        assert stage["status"].startswith("done")
        assert f"## {name}\n" in text
        for left_out in stage["skipped"]:
            assert left_out["why"]
            assert left_out["what"] in text
    assert report["stages"]["sanitizer"]["skipped"]  # it needs a GPU, where there is the tool


def test_it_says_that_its_figures_mean_nothing(whole):
    report, text = whole
    assert "No figure here says anything about a GPU" in report["figures"]
    assert report["figures"] in text


def test_every_kernel_is_measured(whole):
    report, text = whole
    entries = report["stages"]["kernels"]["results"]["kernels"]
    assert {entry["kernel"] for entry in entries} == every_kernel()
    for entry in entries:
        assert entry["microseconds"] > 0
        assert entry["bytes"] > 0
        assert 0 < entry["of_limit"] == max(entry["of_copy"], entry["of_matmul"] or 0)
        assert f"| {entry['kernel']} | {entry['case']} |" in text
    counted = {entry["kernel"] for entry in entries if entry["flops"]}
    assert {"conv_forward", "conv_grad_weight", "depthwise_forward"} <= counted


def test_convolution_is_measured_both_ways(whole):
    report, text = whole
    entries = report["stages"]["kernels"]["results"]["two_ways"]
    assert {entry["pass"] for entry in entries} == {"forward", "grad_input", "grad_weight"}
    for entry in entries:
        assert entry["implicit_microseconds"] > 0
        assert entry["im2col_microseconds"] > 0
        assert f"| {entry['case']} | {entry['pass']} |" in text


def test_tests_ran_on_the_device(whole):
    results = whole[0]["stages"]["tests"]["results"]
    assert results["passed"] >= 2  # in two processes
    assert results["failed"] == 0
    assert results["deselected"] > results["passed"]


def test_networks_learn(whole):
    results = whole[0]["stages"]["training"]["results"]
    assert results["lenet_digits"]["images_per_s"] > 0
    assert 0 <= results["lenet_digits"]["test_accuracy"] <= 1
    assert results["small_vgg"]["last_loss"] < results["small_vgg"]["first_loss"]


@pytest.mark.parametrize("name", [name for name in STAGES if name.startswith("steps-")])
def test_steps_take_turns_with_pytorch(whole, name):
    pytest.importorskip("torch")
    results = whole[0]["stages"][name]["results"]
    who = [entry["who"] for entry in results["steps"]]
    assert who[0] == "minicnn"
    for layout in ("eager", "channels_last"):
        for tf32 in ("off", "on"):
            assert f"PyTorch {layout}, TF32 {tf32}" in who
    assert any("compile" in name for name in who) == (name == "steps-lenet5")
    for entry in results["steps"]:
        assert entry["from_to_ms"][0] <= entry["milliseconds"] <= entry["from_to_ms"][1]
        assert (entry["who"] == "minicnn") == (entry["minicnn_takes"] == 1)
    [losses] = results["losses"]
    assert losses["apart"][0] < 1e-5
    assert "minicnn: fp32 without TF32. PyTorch: as each line says." in whole[1]


def test_what_a_sanitizer_says(command, tmp_path):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(FAKE_SANITIZER)
    tool.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = command("--only", "sanitizer", "--out", str(tmp_path), PATH=path)
    assert done.returncode == 1
    [told] = tmp_path.glob("*.json")
    stage = json.loads(told.read_text(encoding="utf-8"))["stages"]["sanitizer"]
    assert stage["results"]["memcheck"] == "ERROR SUMMARY: 0 errors"
    [found] = stage["failed"]
    assert found["what"] == "racecheck"
    assert "Race reported" in found["error"]
    reasons = {entry["what"]: entry["why"] for entry in stage["skipped"]}
    assert "Device not supported" in reasons["synccheck"]
    assert "it gave up" in reasons["initcheck"]


def test_emulated_figures_are_not_written_among_the_results(command, root):
    for folder in ("benchmarks/results", "benchmarks/results/../results/deeper"):
        done = command("--only", "machine", "--out", str(root / folder))
        assert done.returncode == 2
        assert "measured on a GPU" in done.stderr


def test_a_stage_without_time_is_skipped_and_a_wrong_one_refused(command, tmp_path):
    done = command("--only", "kernels", "--minutes", "0.01", "--out", str(tmp_path))
    [told] = tmp_path.glob("*.json")
    stage = json.loads(told.read_text(encoding="utf-8"))["stages"]["kernels"]
    assert stage["skipped"] == [{"what": "kernels", "why": "no time left"}], done.stdout
    assert "- kernels: no time left" in next(tmp_path.glob("*.md")).read_text(encoding="utf-8")
    assert "expects one of versions" in command("--only", "nothing").stderr

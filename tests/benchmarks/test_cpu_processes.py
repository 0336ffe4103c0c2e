"""`benchmarks.cpu` with processes: a contender, and a whole run of a tiny network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.cpu import __main__ as command
from benchmarks.cpu import cases, measure, rivals
from benchmarks.cpu.contender import Contender, Failed, _environment, set_aside

TINY = cases.Case("tiny", "tiny", (4, 3, 8, 8), 4)


@pytest.fixture(scope="module")
def contender():
    contender = Contender("minicnn", "minicnn", 1)
    yield contender
    contender.close()


def test_a_contender_trains(contender):
    assert contender.facts["version"].startswith("minicnn ")
    told = contender.ask("prepare", 60, **TINY.request())
    assert told["parts"] == ["forward", "backward", "update"]
    assert told["losses"][0] > told["losses"][1] > 0
    steps = contender.ask("steps", 60, count=3)
    assert [len(parts) for parts in steps["parts"]] == [3, 3, 3]
    assert 0 < sum(map(sum, steps["parts"])) <= steps["wall"]
    assert steps["cpu"] >= 0
    memory = contender.ask("memory", 60)
    if sys.platform == "linux":
        assert 10**7 < memory["before"] < memory["peak"] < 10**10


def test_an_error_is_told_and_the_contender_goes_on(contender):
    with pytest.raises(Failed, match=r"AttributeError: .*'nowhere'"):
        contender.ask("prepare", 60, net=["nowhere", {}], shape=[1], classes=2)
    assert contender.ask("prepare", 60, **TINY.request())["losses"]


def test_a_contender_that_dies_or_hangs():
    with pytest.raises(Failed, match=r"^KeyError: 'caffe'$"):
        Contender("caffe", "Caffe", 1)
    contender = Contender("minicnn", "minicnn", 1)
    with pytest.raises(Failed, match="no answer within 0 s"):
        contender.ask("steps", 0.0, count=10**6)
    with pytest.raises(Failed, match="ended with status -9"):
        contender.ask("memory", 60)
    contender.close()


@pytest.mark.slow
def test_a_whole_run(monkeypatch, tmp_path):
    monkeypatch.setattr(cases, "STEPS", {"vgg11-bn": TINY})
    monkeypatch.setattr(command, "STEPS", cases.STEPS)
    monkeypatch.setattr(cases, "FASTER_CASES", ("vgg11-bn",))
    monkeypatch.setattr(cases, "GOALS", {"vgg11-bn": 0.95})
    monkeypatch.setattr(measure, "TORCH", ())
    out = tmp_path / "new"
    assert command.main(["--quick", "--rivals", "none", "--threads", "1", "--out", str(out)]) == 0
    [file] = out.glob("*-cpu.json")
    whole = json.loads(file.read_text())
    told = whole["steps"]["vgg11-bn"]["who"]["minicnn"]
    assert told["steps"] >= 5
    assert told["quartiles"][0] <= told["median"] <= told["quartiles"][1]
    assert whole["threads"] == 1
    text = file.with_suffix(".md").read_text()
    assert "| tiny | at most 0.95 | not measured |" in text
    assert "**Not here: PyTorch**" in text


@pytest.mark.slow
def test_an_environment_that_cannot_be_filled(monkeypatch, tmp_path):
    monkeypatch.setenv("MINICNN_RIVALS", str(tmp_path))
    package = str(tmp_path / "nowhere.whl")
    rival = rivals.Rival("Nowhere", {}, (package,), (sys.version_info[1],) * 2)
    monkeypatch.setitem(rivals.RIVALS, "nowhere", rival)
    for _ in range(2):
        with pytest.raises(rivals.Missing, match=r"pip failed: ERROR: .*nowhere"):
            rivals.interpreter("nowhere")


def test_contenders_are_not_kept_from_what_the_processor_has(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    env = _environment(Path(sys.executable), 2, {"MORE": "{threads}"})
    assert "OPENBLAS_CORETYPE" not in env
    assert (env["OMP_NUM_THREADS"], env["MORE"]) == ("2", "2")
    assert set_aside()["OPENBLAS_CORETYPE"] == "Haswell"

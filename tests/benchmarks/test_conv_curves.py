"""Training curves under each algorithm: runs that are kept, and what is said of them."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import minicnn
from benchmarks import conv_curves

pytest.importorskip("matplotlib")


def images(folder, train):
    rng = np.random.default_rng(int(train))
    return rng.normal(size=(64, 3, 32, 32)).astype(np.float32), rng.integers(0, 10, 64)


@pytest.fixture
def call(monkeypatch, tmp_path):
    """The command on noise, with two algorithms and one seed, writing to tmp_path."""
    monkeypatch.setattr(conv_curves, "_images", images)
    monkeypatch.setattr(conv_curves, "ALGORITHMS", ("im2col", "winograd4"))
    monkeypatch.setattr(conv_curves, "SEEDS", (0, 1))

    def main(*options):
        line = ["conv_curves", "--data-dir", "none", "--out", str(tmp_path), "--epochs", "1"]
        monkeypatch.setattr(sys, "argv", [*line, *options])
        conv_curves.main()

    return main


def invented(algorithm, seed, train, test, epochs):
    made.append((algorithm, seed))
    return {"losses": [2.0] * 40 + [1.0] * 10, "accuracy": 0.5, "seconds": 1.0}


made: list[tuple[str, int]] = []


def test_runs_are_kept_and_reported(call, monkeypatch, tmp_path):
    made.clear()
    monkeypatch.setattr(conv_curves, "training", invented)
    call("--images", "64")
    assert sorted(made) == [("im2col", 0), ("im2col", 1), ("winograd4", 0), ("winograd4", 1)]
    text = (tmp_path / "conv-curves.md").read_text()
    assert "| winograd4 | 2 | 1.000, 1.000 | 50.0%, 50.0% |" in text
    assert (tmp_path / "conv-curves.png").stat().st_size > 5000
    record = json.loads((tmp_path / "conv-curves.json").read_text())
    del record["runs"]["winograd4 1"]
    (tmp_path / "conv-curves.json").write_text(json.dumps(record))
    call("--images", "64")  # only the one that is missing
    assert made[4:] == [("winograd4", 1)]


def test_runs_of_other_settings_are_not_mixed(call, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(conv_curves, "training", invented)
    call("--images", "64")
    before = (tmp_path / "conv-curves.json").read_bytes()
    with pytest.raises(SystemExit):
        call("--images", "32")
    assert "holds runs with {'images': 64" in capsys.readouterr().err
    assert (tmp_path / "conv-curves.json").read_bytes() == before


@pytest.mark.slow
def test_the_algorithm_is_the_one_that_is_named(monkeypatch):
    """The first loss agrees to rounding; the algorithm is in force, and not any more afterwards."""
    chosen, conv_forward = set(), minicnn.backend.cpu.conv_forward

    def noted(*args, **options):
        chosen.add(minicnn.backends.cpu.conv_algorithm)
        return conv_forward(*args, **options)

    monkeypatch.setattr(minicnn.backend.cpu, "conv_forward", noted)
    data = images("none", True)
    runs = [conv_curves.training(name, 0, data, data, 1) for name in ("im2col", "winograd4")]
    assert chosen == {"im2col", "winograd4"}
    assert minicnn.backends.cpu.conv_algorithm == "auto"
    assert runs[0]["losses"] == pytest.approx(runs[1]["losses"], rel=1e-3)
    assert all(0 <= run["accuracy"] <= 1 for run in runs)

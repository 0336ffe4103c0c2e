"""The run folder: what is in it, whose it is, and full disks."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import minicnn
from minicnn.interop import files as files_module
from minicnn.train import CheckpointError, RunFolder
from minicnn.train import run as run_module


def test_what_it_holds(lab, run_dir):
    trainer, loader, val = lab.make_trainer(run_dir, config={"note": "hello"})
    trainer.fit(loader, val, epochs=3)
    assert sorted(p.name for p in run_dir.iterdir()) == [
        "best.safetensors", "config.json", "last.safetensors", "metrics.csv",
    ]  # fmt: skip
    config = json.loads((run_dir / "config.json").read_text())
    assert config["note"] == "hello" and config["optimizer"] == "AdamW"
    assert config["parameters"] == sum(p.numel() for p in trainer.model.parameters())
    with open(run_dir / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == [r["val_loss"] for r in trainer.history]
    best = minicnn.load(run_dir / "best.safetensors")
    assert best["epoch"] == trainer.best_epoch() == len(best["history"])
    assert best["config"] == config


def test_the_best_epoch(lab):
    trainer, _, _ = lab.make_trainer()
    figures = [(0.5, 1.0), (0.9, 0.5), (0.9, 0.4), (0.9, 0.4), (0.8, 0.1)]
    trainer.history = [
        {
            "epoch": i + 1,
            "train_loss": 0.0,
            "train_accuracy": 1.0,
            "val_loss": loss,
            "val_accuracy": a,
        }
        for i, (a, loss) in enumerate(figures)
    ]
    assert trainer.best_epoch() == 5  # the lowest loss
    trainer.monitor = "accuracy"
    assert trainer.best_epoch() == 4  # the highest accuracy, then the lowest loss, then the latest
    for row in trainer.history:
        del row["val_loss"], row["val_accuracy"]
    assert trainer.best_epoch() == 5  # by the training's own figures
    trainer.history = []
    assert trainer.best_epoch() == 0


def test_a_folder_with_another_run_is_refused(lab, run_dir):
    trainer, loader, val = lab.make_trainer(run_dir)
    trainer.fit(loader, val, epochs=1)
    before = {p.name: p.read_bytes() for p in run_dir.iterdir()}
    other, loader, val = lab.make_trainer(run_dir, seed=4)
    with pytest.raises(FileExistsError, match="holds another run; resume it, or choose another"):
        other.fit(loader, val, epochs=1)
    assert {p.name: p.read_bytes() for p in run_dir.iterdir()} == before


@pytest.mark.parametrize("name", ["config.json", "best.safetensors", "curves.png", "result.json"])
def test_nothing_of_others_is_written_over(name, lab, tmp_path):
    (tmp_path / name).write_text("mine")
    (tmp_path / "notes.txt").write_text("not in the way")
    trainer, loader, val = lab.make_trainer(tmp_path)
    with pytest.raises(FileExistsError, match="holds another run"):
        trainer.fit(loader, val, epochs=1)
    assert (tmp_path / name).read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


def test_a_file_in_place_of_the_folder(lab, tmp_path):
    (tmp_path / "x").write_text("mine")
    trainer, loader, val = lab.make_trainer(tmp_path / "x")
    with pytest.raises(NotADirectoryError, match="is a file"):
        trainer.fit(loader, val, epochs=1)
    assert (tmp_path / "x").read_text() == "mine"


def no_space(*args):
    raise OSError(28, "No space left on device")


def test_a_full_disk_in_the_second_epoch(lab, run_dir, monkeypatch):
    trainer, loader, val = lab.make_trainer(run_dir)
    trainer.fit(loader, val, epochs=1)
    before = {p.name: p.read_bytes() for p in run_dir.iterdir()}
    monkeypatch.setattr(files_module.os, "fsync", no_space)
    with pytest.raises(
        CheckpointError, match="No space left on device; the checkpoint before it is unharmed"
    ):
        trainer.fit(loader, val, epochs=2)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in run_dir.iterdir()} == before

    whole, loader, val = lab.make_trainer()
    whole.fit(loader, val, epochs=3)
    resumed, loader, val = lab.make_trainer(run_dir, seed=6)
    resumed.fit(loader, val, epochs=3, resume=True)
    assert lab.bits(resumed.model) == lab.bits(whole.model)


def test_a_full_disk_leaves_no_half_row(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.append_metrics({"epoch": 1, "loss": 0.5})
    before = (tmp_path / "metrics.csv").read_bytes()
    assert before == b"epoch,loss\n1,0.5\n"
    monkeypatch.setattr(run_module.os, "fsync", no_space)
    with pytest.raises(CheckpointError, match=r"cannot write .*metrics.csv: No space left"):
        folder.append_metrics({"epoch": 2, "loss": 0.25})
    assert (tmp_path / "metrics.csv").read_bytes() == before
    monkeypatch.undo()
    folder.append_metrics({"epoch": 2, "loss": 0.25})
    assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,0.5\n2,0.25\n"


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 64 KiB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if (
        sys.platform != "linux"
        or os.geteuid() != 0
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("needs the right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(tiny_disk, lab):
    path = tiny_disk / "x.safetensors"
    minicnn.save({"old": np.arange(3000.0)}, path)
    with pytest.raises(OSError, match="No space left"):
        minicnn.save({"new": np.arange(8000.0)}, path)
    assert minicnn.load(path)["old"][-1] == 2999 and len(list(tiny_disk.iterdir())) == 1

    trainer, loader, val = lab.make_trainer(tiny_disk / "run")
    with pytest.raises(CheckpointError, match="No space left"):
        for epochs in range(1, 200):
            trainer.fit(loader, val, epochs=epochs)
            (tiny_disk / f"ballast{epochs}").write_bytes(bytes(8192))
    saved = minicnn.load(tiny_disk / "run" / "last.safetensors")
    assert saved["epoch"] >= 1 and len(saved["history"]) == saved["epoch"]

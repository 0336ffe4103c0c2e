"""A run that stops, however it stops, goes on to the same bits."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import minicnn
from minicnn.data import DataLoader
from minicnn.train import Callback, CheckpointError, EarlyStopping, Trainer, TrainingInterrupted
from minicnn.train import run as run_module

INTERRUPTIBLE = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")


class CtrlC(Callback):
    """Ctrl-C during the given batch."""

    def __init__(self, epoch, batch):
        self.at = (epoch, batch)

    def on_batch_end(self, trainer):
        if (trainer.epoch, trainer.batch) == self.at:
            signal.raise_signal(signal.SIGINT)


def rows(run_dir):
    with open(run_dir / "metrics.csv") as file:
        return [{k: v for k, v in row.items() if "second" not in k} for row in csv.DictReader(file)]


def saved_bits(run_dir, name="last"):
    """Everything in a checkpoint but times."""

    def flat(value):
        if isinstance(value, dict):
            return {k: flat(v) for k, v in value.items() if "second" not in str(k)}
        if isinstance(value, (list, tuple)):
            return [flat(v) for v in value]
        array = getattr(value, "array", value)
        return array.tobytes() if isinstance(array, np.ndarray) else array

    return flat(minicnn.load(run_dir / f"{name}.safetensors"))


OTHERS = ["adam", "adamax", "nadam", "radam", "rmsprop", "rprop", "adagrad", "adadelta", "lbfgs"]


@INTERRUPTIBLE
@pytest.mark.parametrize(
    ("kind", "at"),
    [
        (kind, at)
        for kind in (("adamw", "onecycle"), ("sgd", "cosine"))
        for at in ((0, 1), (0, 4), (1, 6), (2, 3), (3, 6))
    ]
    + [((name, "plateau"), (2, 3)) for name in OTHERS],
)
def test_ctrl_c_and_resume_give_the_same_bits(at, kind, lab, tmp_path):
    whole, loader, val = lab.make_trainer(tmp_path / "whole", *kind)
    whole.fit(loader, val, epochs=lab.epochs)

    broken, loader, val = lab.make_trainer(tmp_path / "broken", *kind, callbacks=[CtrlC(*at)])
    with pytest.raises(TrainingInterrupted, match="saved to") as caught:
        broken.fit(loader, val, epochs=lab.epochs)
    assert Path(caught.value.checkpoint).is_file()

    # Another seed: all that matters must come from the checkpoint.
    resumed, loader, val = lab.make_trainer(tmp_path / "broken", *kind, seed=99)
    resumed.fit(loader, val, epochs=lab.epochs, resume=True)
    assert lab.bits(resumed.model) == lab.bits(whole.model)
    assert lab.without_times(resumed.history) == lab.without_times(whole.history)
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")
    for name in ("last", "best"):
        assert saved_bits(tmp_path / "broken", name) == saved_bits(tmp_path / "whole", name)


@INTERRUPTIBLE
def test_ctrl_c_during_validation(lab, tmp_path):
    class Slow:
        """A validation loader that shuffles, and that Ctrl-C hits in epoch 2."""

        def __init__(self, data, hit):
            self.loader, self.calls, self.hit = DataLoader(data, batch_size=4, shuffle=True), 0, hit

        def __iter__(self):
            self.calls += 1
            for i, batch in enumerate(self.loader):
                if self.hit and self.calls == 2 and i == 1:
                    signal.raise_signal(signal.SIGINT)
                yield batch

    data = lab.make_data(16, seed=1)
    whole, loader, _ = lab.make_trainer()
    whole.fit(loader, Slow(data, False), epochs=3)
    broken, loader, _ = lab.make_trainer(tmp_path / "run")
    with pytest.raises(TrainingInterrupted, match="epoch 2, batch 6"):
        broken.fit(loader, Slow(data, True), epochs=3)
    resumed, loader, _ = lab.make_trainer(tmp_path / "run", seed=5)
    resumed.fit(loader, Slow(data, False), epochs=3, resume=True)
    assert lab.without_times(resumed.history) == lab.without_times(whole.history)
    assert lab.bits(resumed.model) == lab.bits(whole.model)


@INTERRUPTIBLE
def test_interrupted_twice_and_with_a_generator_of_its_own(lab, tmp_path):
    def loader():
        return DataLoader(
            lab.make_data(),
            batch_size=8,
            shuffle=True,
            generator=minicnn.Generator().manual_seed(7),
        )

    whole, _, val = lab.make_trainer()
    whole.fit(loader(), val, epochs=3)
    run = tmp_path / "run"
    for resume, at in ((False, (1, 2)), (True, (1, 5))):
        trainer, _, val = lab.make_trainer(run, callbacks=[CtrlC(*at)], seed=3 + resume)
        with pytest.raises(TrainingInterrupted):
            trainer.fit(loader(), val, epochs=3, resume=resume)
    trainer, _, val = lab.make_trainer(run, seed=9)
    trainer.fit(loader(), val, epochs=3, resume=True)
    assert lab.bits(trainer.model) == lab.bits(whole.model)


@INTERRUPTIBLE
def test_ctrl_c_without_a_run_folder(lab):
    trainer, loader, val = lab.make_trainer(callbacks=[CtrlC(0, 2)])
    with pytest.raises(TrainingInterrupted) as caught:
        trainer.fit(loader, val, epochs=1)
    assert caught.value.checkpoint is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@INTERRUPTIBLE
def test_a_second_ctrl_c_stops_at_once(lab):
    class Impatient(Callback):
        def on_batch_end(self, trainer):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    trainer, loader, _ = lab.make_trainer(callbacks=[Impatient()])
    with pytest.raises(KeyboardInterrupt) as caught:
        trainer.fit(loader, epochs=1)
    assert not isinstance(caught.value, TrainingInterrupted)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_resume_of_a_finished_run_changes_nothing(lab, run_dir):
    trainer, loader, val = lab.make_trainer(run_dir)
    trainer.fit(loader, val, epochs=2)
    before = saved_bits(run_dir)
    again, loader, val = lab.make_trainer(run_dir, seed=8)
    again.fit(loader, val, epochs=2, resume=True)
    assert saved_bits(run_dir) == before and lab.bits(again.model) == lab.bits(trainer.model)
    assert again.best_epoch() == trainer.best_epoch()


def test_a_run_that_stopped_early_stays_stopped(lab, run_dir):
    def stopping():
        trainer, loader, val = lab.make_trainer(
            run_dir, callbacks=[EarlyStopping("lr", patience=2)]
        )
        return trainer, loader, val  # this schedule's rate is lowest at the beginning

    trainer, loader, val = stopping()
    trainer.fit(loader, val, epochs=lab.epochs)
    assert trainer.epoch == 3
    again, loader, val = stopping()
    again.fit(loader, val, epochs=lab.epochs, resume=True)
    assert again.epoch == 3 and lab.bits(again.model) == lab.bits(trainer.model)


SCRIPT = """
    import sys
    sys.path.insert(0, {folder!r})
    import conftest, minicnn
    from minicnn.train import Callback

    class Tell(Callback):
        def on_batch_end(self, trainer):
            print(f"{{trainer.epoch}}.{{trainer.batch}}", flush=True)
            sys.stdin.readline()  # the test decides when it goes on

    trainer, loader, val = conftest.make_trainer({run!r}, callbacks=[Tell()])
    try:
        trainer.fit(loader, val, epochs=conftest.EPOCHS)
    except KeyboardInterrupt as error:
        print(error)
        sys.exit(130)
"""


def run_until(run, moment, number):
    """Trains in a process of its own until `moment`, then sends it the signal."""
    script = textwrap.dedent(SCRIPT).format(folder=str(Path(__file__).parent), run=str(run))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    for line in process.stdout:
        if line.strip() == moment:
            process.send_signal(number)
            break
        process.stdin.write("\n")
        process.stdin.flush()
    if number == signal.SIGINT:
        process.stdin.write("\n")
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


@INTERRUPTIBLE
@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_a_process_that_is_killed(name, lab, tmp_path):
    whole, loader, val = lab.make_trainer(tmp_path / "whole")
    whole.fit(loader, val, epochs=lab.epochs)
    code, output = run_until(tmp_path / "run", "2.3", getattr(signal, name))
    assert code == (-9 if name == "SIGKILL" else 130), output
    saved = minicnn.load(tmp_path / "run" / "last.safetensors")
    assert (saved["epoch"], saved["batch"]) == ((2, 0) if name == "SIGKILL" else (2, 3))
    resumed, loader, val = lab.make_trainer(tmp_path / "run", seed=50)
    resumed.fit(loader, val, epochs=lab.epochs, resume=True)
    assert saved_bits(tmp_path / "run") == saved_bits(tmp_path / "whole")
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


# ---------------------------------------------------------------------- killed between two files


class Dead(BaseException):
    """As good as a kill: nothing handles it."""


@pytest.mark.parametrize("step", ["best", "last", "row"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_of_saving(step, when, lab, tmp_path, monkeypatch):
    # Epoch 2, in which it dies, is and stays the best one.
    monkeypatch.setattr(Trainer, "best_epoch", lambda self: min(2, self.epoch))
    whole, loader, val = lab.make_trainer(tmp_path / "whole")
    whole.fit(loader, val, epochs=lab.epochs)

    trainer, loader, val = lab.make_trainer(tmp_path / "run")
    folder_class = run_module.RunFolder
    name = "append_metrics" if step == "row" else "save"
    real = getattr(folder_class, name)

    def deadly(self, *args):
        mine = step == "row" or args[0].startswith(step)
        mine = mine and trainer.epoch == 2
        if mine and when == "before":
            raise Dead
        real(self, *args)
        if mine:
            raise Dead

    monkeypatch.setattr(folder_class, name, deadly)
    with pytest.raises(Dead):
        trainer.fit(loader, val, epochs=lab.epochs)
    monkeypatch.setattr(folder_class, name, real)
    resumed, loader, val = lab.make_trainer(tmp_path / "run", seed=1)
    resumed.fit(loader, val, epochs=lab.epochs, resume=True)
    for part in ("last", "best"):
        assert saved_bits(tmp_path / "run", part) == saved_bits(tmp_path / "whole", part)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


@pytest.mark.parametrize("step", ["save", "write_config"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_the_very_beginning(step, when, lab, run_dir, monkeypatch):
    """Either nothing is there and the run can begin again, or it can be resumed."""
    whole, loader, val = lab.make_trainer()
    whole.fit(loader, val, epochs=2)
    real = getattr(run_module.RunFolder, step)

    def deadly(self, *args):
        if when == "after":
            real(self, *args)
        raise Dead

    monkeypatch.setattr(run_module.RunFolder, step, deadly)
    trainer, loader, val = lab.make_trainer(run_dir)
    with pytest.raises(Dead):
        trainer.fit(loader, val, epochs=2)
    monkeypatch.undo()
    begun = run_module.RunFolder(run_dir).holds_run()
    assert begun == ((step, when) != ("save", "before"))
    again, loader, val = lab.make_trainer(run_dir)
    again.fit(loader, val, epochs=2, resume=begun)
    assert lab.bits(again.model) == lab.bits(whole.model)
    assert (run_dir / "config.json").exists() and len(rows(run_dir)) == 2


def test_leftovers_of_a_kill_are_removed(lab, run_dir):
    trainer, loader, val = lab.make_trainer(run_dir)
    trainer.fit(loader, val, epochs=1)
    leftover = run_dir / ".last.safetensors.123.minicnn-tmp"
    leftover.write_bytes(b"half")
    again, loader, val = lab.make_trainer(run_dir)
    again.fit(loader, val, epochs=2, resume=True)
    assert not leftover.exists()


# ---------------------------------------------------------------------- nothing that does not fit


def refused(lab, run_dir, message, trainer, loader, val, error=CheckpointError):
    """A resume that must fail, and change neither trainer nor files."""
    model, files = lab.bits(trainer.model), {p.name: p.read_bytes() for p in run_dir.iterdir()}
    optimizer = repr(trainer.optimizer.state_dict())
    with pytest.raises(error, match=message):
        trainer.fit(loader, val, epochs=3, resume=True)
    assert lab.bits(trainer.model) == model and repr(trainer.optimizer.state_dict()) == optimizer
    assert trainer.epoch == 0 and trainer.history == []
    assert {p.name: p.read_bytes() for p in run_dir.iterdir()} == files


@pytest.fixture
def done(lab, run_dir):
    trainer, loader, val = lab.make_trainer(run_dir)
    trainer.fit(loader, val, epochs=1)
    return run_dir


def test_another_model(lab, done):
    from minicnn import nn
    from minicnn.optim import AdamW

    _, loader, val = lab.make_trainer()
    for model, message in (
        (
            nn.Sequential(nn.Flatten(), nn.Linear(36, 3)),
            r"another model: 0\.weight is not here; .* and 5 more",
        ),
        (lab.make_model().double(), r"0\.weight is float32 \(3, 1, 3, 3\), here float64"),
    ):
        other = Trainer(model, AdamW(model.parameters()), run_dir=done)
        other.scheduler = lab.make_trainer()[0].scheduler
        refused(lab, done, message, other, loader, val)


def test_another_data_set(lab, done):
    trainer, _, val = lab.make_trainer(done)
    other = DataLoader(lab.make_data(seed=8), batch_size=8, shuffle=True)
    refused(lab, done, "other data", trainer, other, val)
    trainer, _, val = lab.make_trainer(done)
    refused(lab, done, "other data", trainer, DataLoader(lab.make_data(), batch_size=4), val)


def test_another_optimizer_or_scheduler(lab, done):
    refused(lab, done, "optimizer AdamW, here it is SGD", *lab.make_trainer(done, "sgd"))
    refused(
        lab,
        done,
        "scheduler OneCycleLR, here it is Cosine",
        *lab.make_trainer(done, "adamw", "cosine"),
    )


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "text"])
def test_a_damaged_checkpoint(damage, lab, done):
    path = done / "last.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    elif damage == "flipped":
        content[20:40] = bytes(20)
    else:
        content = bytearray(b"this is no checkpoint at all")
    path.write_bytes(content)
    refused(
        lab,
        done,
        "damaged checkpoint: .*best.safetensors is there as well",
        *lab.make_trainer(done),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("kind"), "no checkpoint of a run"),
        (lambda s: s.update(version=99), "of version 99, this minicnn reads 1"),
        (lambda s: s.pop("history"), "has no history"),
        (lambda s: s.pop("optimizer"), "is damaged"),
        (lambda s: s.update(batch=-1), "no valid batch number"),
        (lambda s: s.update(batch=2), "is damaged"),
        (lambda s: s["generators"].update(default=np.zeros(3, np.uint8)), "is damaged"),
        (lambda s: s["generators"].pop("default"), "random generators"),
        (lambda s: s.update(sums={"samples": "many"}), "is damaged"),
        (lambda s: s["model"].update({"0.weight": 5}), "0.weight is no tensor"),
        (lambda s: s["optimizer"]["param_groups"][0].pop("lr"), "other options"),
        (
            lambda s: s["optimizer"]["state"][0].update(exp_avg=minicnn.Tensor(np.ones(2))),
            "exp_avg of shape",
        ),
        (
            lambda s: s["optimizer"]["state"].update({77: {"exp_avg": minicnn.Tensor(np.ones(2))}}),
            "damaged",
        ),
    ],
)
def test_a_checkpoint_that_lies(change, message, lab, done):
    state = minicnn.load(done / "last.safetensors")
    change(state)
    minicnn.save(state, done / "last.safetensors")
    refused(lab, done, message, *lab.make_trainer(done))


def test_no_checkpoint(lab, tmp_path):
    trainer, loader, val = lab.make_trainer(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        trainer.fit(loader, val, resume=True)
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no last\.safetensors"):
        trainer.fit(loader, val, resume=True)
    with pytest.raises(ValueError, match="resume needs the run_dir"):
        lab.make_trainer()[0].fit(loader, val, resume=True)

"""Training on devices: the CPU's curve, resumed to the same bits, saved for every device."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

import minicnn
from minicnn import backend, nn, optim
from minicnn.data import DataLoader, TensorDataset
from minicnn.explain import summary
from minicnn.optim.lr_scheduler import OneCycleLR
from minicnn.train import Callback, Trainer, TrainingDiverged, TrainingInterrupted
from minicnn.train.meter import Meter

BATCHES = 4


def make_data(n=8 * BATCHES, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 1, 6, 6)) + y[:, None, None, None]
    return TensorDataset(minicnn.Tensor(x.astype(np.float32)), minicnn.Tensor(y))


def lab(device, run_dir=None, dropout=0.3, optimizer="AdamW", **options):
    """A Trainer and its loaders, always the same."""
    minicnn.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False),  # batch norm would leave its gradient nothing but noise
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(48, 3),
    )
    method = getattr(optim, optimizer)(model.parameters(), lr=1e-2)
    plan = OneCycleLR(method, 2e-2, total_steps=8 * BATCHES) if optimizer == "AdamW" else None
    trainer = Trainer(model, method, scheduler=plan, device=device, run_dir=run_dir, **options)
    loaders = DataLoader(make_data(), 8, shuffle=True), DataLoader(make_data(16, 1), 16)
    return trainer, *loaders


def bits(trainer):
    return {k: v.cpu().numpy().tobytes() for k, v in trainer.model.state_dict().items()}


def curve(history):
    return [[row["train_loss"], row["val_loss"], row["val_accuracy"]] for row in history]


class Stop(Callback):
    """As if somebody pressed Ctrl-C after that many batches."""

    def __init__(self, after):
        self.after = after

    def on_batch_end(self, trainer):
        self.after -= 1
        trainer._interrupt.requested = self.after == 0


@pytest.mark.parametrize("optimizer", ["AdamW", "Adagrad"])
def test_the_curve_of_the_cpu(gpu, optimizer):
    runs = []
    for device in ("cpu", gpu):
        trainer, train, validation = lab(device, dropout=0, optimizer=optimizer)
        runs.append(curve(trainer.fit(train, validation, epochs=2)))
    assert trainer.model[0].weight.device.type == gpu
    np.testing.assert_allclose(runs[1], runs[0], rtol=1e-4)
    found = trainer.evaluate(validation)
    np.testing.assert_allclose(found["loss"], runs[1][-1][1], rtol=1e-6)
    assert trainer.predict(make_data(16, 1).tensors[0]).device.type == gpu


def test_an_optimizer_that_asks_for_the_loss_several_times(gpu):
    losses = []
    for device in ("cpu", gpu):
        trainer, _, _ = lab(device, dropout=0, optimizer="LBFGS")
        trainer.optimizer.param_groups[0]["max_iter"] = 5
        whole = DataLoader(make_data(), 8 * BATCHES)
        losses.append([row["train_loss"] for row in trainer.fit(whole, epochs=2)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert losses[1][1] < losses[1][0]


@pytest.mark.slow
def test_a_resumed_run_gives_the_same_bits(gpu, tmp_path):
    whole, train, validation = lab(gpu)
    whole.fit(train, validation, epochs=3)
    for after in (2, BATCHES + 1, 2 * BATCHES):
        folder = tmp_path / str(after)
        cut, train, validation = lab(gpu, folder, callbacks=[Stop(after)])
        with pytest.raises(TrainingInterrupted):
            cut.fit(train, validation, epochs=3)
        minicnn.rand(7)
        minicnn.rand(7, device=gpu)
        again, train, validation = lab(gpu, folder)
        again.fit(train, validation, epochs=3, resume=True)
        assert bits(again) == bits(whole)
        assert curve(again.history) == curve(whole.history)


@pytest.mark.parametrize("there_and_back", [False, True])
def test_a_run_goes_on_on_another_device(gpu, tmp_path, there_and_back):
    devices = ("cpu", gpu) if there_and_back else (gpu, "cpu")
    trainer, train, validation = lab(devices[0], tmp_path / "run")
    trainer.fit(train, validation, epochs=1)
    other, train, validation = lab(devices[1], tmp_path / "run")
    other.fit(train, validation, epochs=2, resume=True)
    assert other.history[0] == trainer.history[0]
    assert len(other.history) == 2
    assert other.model[0].weight.device.type == minicnn.device(devices[1]).type


def test_losses_are_fetched_together(gpu, monkeypatch):
    fetched = []
    plain = Meter.fetch

    def fetch(self):
        losses = plain(self)
        fetched.append(len(losses))
        return losses

    monkeypatch.setattr(Meter, "fetch", fetch)
    trainer, train, _ = lab(gpu)
    trainer.fit(train, epochs=1)
    assert [n for n in fetched if n] == [BATCHES]


@pytest.mark.parametrize("batch", [2, BATCHES])
def test_a_loss_that_explodes_is_found_where_it_did(gpu, batch):
    count = []

    def loss(outputs, targets):
        count.append(1)
        value = nn.functional.cross_entropy(outputs, targets)
        return value * math.inf if len(count) == batch else value

    trainer, train, _ = lab(gpu, loss=loss)
    with pytest.raises(TrainingDiverged, match=f"the loss became inf in epoch 1, batch {batch} of"):
        trainer.fit(train, epochs=1)
    assert len(count) == BATCHES


def test_weights_that_explode_are_found(gpu):
    class Spoil(Callback):
        def on_batch_end(self, trainer):
            if trainer.batch == BATCHES:
                trainer.model[5].bias.array[0] = np.nan

    trainer, train, _ = lab(gpu, callbacks=[Spoil()])
    with pytest.raises(TrainingDiverged, match=r"5\.bias holds NaN"):
        trainer.fit(train, epochs=1)


def test_an_optimizer_that_remembers_follows_the_model(gpu):
    trainer, train, _ = lab("cpu")
    trainer.fit(train, epochs=1)
    moved = Trainer(trainer.model, trainer.optimizer, device=gpu)
    moved.fit(train, epochs=1)
    state = trainer.optimizer.state[trainer.model[0].weight]
    assert state["exp_avg"].device.type == gpu


def test_a_trainer_stays_where_the_model_is(gpu):
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).to(gpu)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1))
    assert trainer.device == model[1].weight.device == minicnn.device(gpu, 0)
    trainer.fit(DataLoader(make_data(), 8), epochs=1)
    assert Trainer(nn.Flatten(), None).device.type == "cpu"


def test_a_data_set_that_lies_on_the_device(gpu):
    x, y = make_data().tensors
    there = TensorDataset(x.to(gpu), y.to(gpu))
    (a, b), *_ = DataLoader(there, 8, sampler=range(3, 30))
    assert a.device.type == b.device.type == gpu
    assert a.cpu().tolist() == x[3:11].tolist()
    (c, _), *_ = DataLoader([there[i] for i in range(3, 30)], 8)  # sample by sample
    assert c.device.type == gpu
    assert c.tolist() == a.tolist()
    assert b.cpu().tolist() == y[3:11].tolist()
    trainer, *_ = lab(gpu)
    trainer.fit(DataLoader(there, 8, shuffle=True), epochs=1)


# Files


def test_what_is_saved_on_a_device_loads_everywhere(gpu, tmp_path):
    weight = minicnn.arange(6.0, device=gpu).reshape(2, 3)
    path = tmp_path / "x.safetensors"
    minicnn.save({"a": weight, "tied": weight, "raw": weight.array, "t": weight.T}, path)
    here = minicnn.load(path)
    assert here["a"].device.type == "cpu"
    assert here["a"].array is here["tied"].array or here["a"].data_ptr() == here["tied"].data_ptr()
    assert here["t"].tolist() == weight.T.tolist()
    np.testing.assert_array_equal(here["raw"], here["a"].numpy())
    for where in (gpu, minicnn.device(gpu), {"cpu": gpu}, lambda t, place: t.to(gpu)):
        there = minicnn.load(path, map_location=where)
        assert there["a"].device.type == gpu
        assert there["a"].tolist() == weight.tolist()
    assert there["a"] is not there["tied"] or there["a"].device.type == gpu


def test_the_summary_of_a_model_on_a_device(gpu):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 3))
    assert str(summary(model.to(gpu), (1, 6, 6))) == str(summary(model.cpu(), (1, 6, 6)))


def test_pictures_of_what_is_on_a_device(gpu):
    pytest.importorskip("matplotlib")
    from minicnn.explain import draw_arrays, draw_im2col

    x = minicnn.arange(16.0, device=gpu).reshape(1, 4, 4)
    geometry = backend.ConvGeometry.of((1, 1, 4, 4), (1, 1, 2, 2))
    assert len(draw_im2col(x, geometry).axes) == 2
    assert [t.get_text() for t in draw_arrays(x=x[0]).axes[0].texts][:2] == ["0", "1"]


# The command


@pytest.fixture
def call(tmp_path, monkeypatch):
    testing = pytest.importorskip("typer.testing")
    from minicnn.cli import runs
    from minicnn.cli.app import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "report", lambda *args: [])

    def call(*arguments, code=0):
        result = testing.CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == code, (result.output, result.exception)
        return result.output

    return call


TRAIN = ("train", "lenet", "--data", "digits", "--image-size", 16, "--validation", 0.85)


def losses(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [float(row[k]) for row in csv.DictReader(file) for k in ("train_loss", "val_loss")]


@pytest.mark.slow
def test_lenet_follows_the_curve_of_the_cpu(gpu, call, tmp_path):
    for device in ("cpu", gpu):
        call(*TRAIN, "--epochs", 3, "--batch-size", 16, "--out", device, "--device", device)
    there, here = losses(tmp_path / gpu), losses(tmp_path / "cpu")
    assert here[4] < 0.9 * here[0]  # it learns
    np.testing.assert_allclose(there, here, rtol=1e-3)


@pytest.mark.slow
def test_train_evaluate_and_resume(gpu, call):
    options = ("--epochs", 1, "--scheduler", "none", "--batch-size", 64, "--out", "run")
    output = call(*TRAIN, *options, "--device", gpu)
    assert f"computed on {gpu}:0" in output
    for device in (gpu, "cpu"):
        evaluated = call("evaluate", "run", "--device", device)
        accuracy = next(line for line in evaluated.splitlines() if "test accuracy" in line)
        assert accuracy in output
    output = call(*TRAIN[:4], "--out", "run", "--resume", "--epochs", 2, "--device", "cpu")
    assert "resuming lenet on digits: run" in output


@pytest.mark.parametrize("command", [TRAIN, ("evaluate", "run"), ("predict", "run", "x.png")])
def test_a_device_that_cannot_be_used_is_one_line(call, tmp_path, command):
    unusable = {"tpu": "expected one of cpu, cuda", "emulator:5": "the emulated devices are 0 to 1"}
    if (reason := backend.why_not("emulator")) is not None:
        unusable["emulator"] = reason
    if (reason := minicnn.cuda.why_unavailable()) is not None:
        unusable["cuda"] = reason
    for device, text in unusable.items():
        output = call(*command, "--device", device, code=1)
        assert output.startswith(f"minicnn: --device {device}: ")
        assert text in output
        assert output.count("\n") == 1
    assert not (tmp_path / "runs").exists()

"""The loop: what it computes, what it tells its callbacks, and how it ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.data import DataLoader, TensorDataset
from minicnn.nn import functional as F
from minicnn.optim import SGD
from minicnn.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from minicnn.train import (
    Callback,
    EarlyStopping,
    PrintProgress,
    Trainer,
    TrainingDiverged,
    accuracy,
)


def test_it_learns_and_tells(lab):
    trainer, loader, val = lab.make_trainer()
    history = trainer.fit(loader, val, epochs=lab.epochs)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert list(history[0]) == [
        "epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds",
        "images_per_second",
    ]  # fmt: skip
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]
    assert history[-1]["val_accuracy"] > 0.7
    assert trainer.history is history and trainer.epoch == 4 and trainer.batch == 0


def test_the_loop_is_the_textbooks(lab):
    """The same weights, bit for bit, as the loop that everybody writes by hand."""
    trainer, loader, _ = lab.make_trainer(scheduler=None)
    trainer.model.eval()  # fit trains in training mode whatever was before
    trainer.fit(loader, epochs=2)

    other, loader, _ = lab.make_trainer(scheduler=None)
    model, optimizer = other.model, other.optimizer
    model.train()
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert lab.bits(trainer.model) == lab.bits(model)


def test_lbfgs_is_given_a_closure(lab):
    """Also as by hand; the row tells of the loss before each step, once for each batch."""
    trainer, loader, _ = lab.make_trainer(optimizer="lbfgs", scheduler=None)
    trainer.fit(loader, epochs=1)

    other, loader, _ = lab.make_trainer(optimizer="lbfgs", scheduler=None)
    other.model.train()
    losses = []
    for x, y in loader:

        def closure(x=x, y=y):
            other.optimizer.zero_grad()
            loss = F.cross_entropy(other.model(x), y)
            loss.backward()
            return loss

        losses.append(other.optimizer.step(closure).item())
    assert lab.bits(trainer.model) == lab.bits(other.model)
    assert trainer.history[0]["train_loss"] == pytest.approx(np.mean(losses))


def test_evaluate_is_exact_and_leaves_no_trace(lab):
    trainer, loader, _ = lab.make_trainer()
    trainer.fit(loader, epochs=1)
    trainer.model[1].eval()  # a frozen batch norm stays frozen
    modes = [m.training for m in trainer.model.modules()]
    before, state = lab.bits(trainer.model), minicnn.backend.random.default_generator().get_state()
    data = lab.make_data(20, seed=5)
    # Batches of 8, 8 and 4: a mean of batch means would be another number.
    result = trainer.evaluate(DataLoader(data, batch_size=8))
    assert lab.bits(trainer.model) == before
    assert [m.training for m in trainer.model.modules()] == modes
    np.testing.assert_array_equal(minicnn.backend.random.default_generator().get_state(), state)

    x, y = data.tensors
    logits = trainer.predict(x)
    assert logits.shape == (20, 3) and not logits.requires_grad
    assert result["loss"] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)
    assert result["accuracy"] == float((logits.array.argmax(1) == y.array).mean())
    np.testing.assert_allclose(trainer.predict(x, batch_size=3).array, logits.array, rtol=1e-5)
    np.testing.assert_allclose(
        trainer.predict(DataLoader(data, batch_size=8)).array, logits.array, rtol=1e-5, atol=1e-6
    )


def test_training_means_are_weighted_by_batch_size():
    x = minicnn.Tensor(np.array([[0.0], [0.0], [3.0]], np.float32))
    model = nn.Linear(1, 1, bias=False)
    trainer = Trainer(model, SGD(model.parameters(), lr=0.0), loss=F.mse_loss)
    with minicnn.no_grad():
        model.weight.fill_(1.0)
    history = trainer.fit(DataLoader(TensorDataset(x, x * 0), batch_size=2), epochs=1)
    assert history[0]["train_loss"] == pytest.approx((0 + 0 + 9) / 3)
    assert "train_accuracy" not in history[0]  # no class numbers


def test_own_loss_and_metrics(lab):
    trainer, loader, val = lab.make_trainer(
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        metrics={"error": lambda y, t: 1 - accuracy(y, t)},
    )
    row = trainer.fit(loader, val, epochs=1)[0]
    assert set(row) >= {"train_error", "val_error"} and 0 <= row["val_error"] <= 1


def test_epochs_are_counted_altogether(lab):
    trainer, loader, _ = lab.make_trainer(scheduler=None)
    trainer.fit(loader, epochs=1)
    trainer.fit(loader, epochs=3)
    assert [row["epoch"] for row in trainer.history] == [1, 2, 3]
    once, loader, _ = lab.make_trainer(scheduler=None)
    once.fit(loader, epochs=3)
    assert lab.bits(once.model) == lab.bits(trainer.model)


def test_schedulers_step_when_they_should(lab):
    trainer, loader, _ = lab.make_trainer(scheduler="onecycle")
    trainer.fit(loader, epochs=lab.epochs)
    assert trainer.scheduler.last_epoch == lab.epochs * lab.batches

    class Mine(OneCycleLR):
        """One of the user's own."""

    trainer, loader, _ = lab.make_trainer(scheduler=None)
    trainer.scheduler = Mine(trainer.optimizer, max_lr=2e-2, total_steps=2 * lab.batches)
    trainer.fit(loader, epochs=2)
    assert trainer.scheduler.last_epoch == 2 * lab.batches
    model = nn.Linear(2, 2)
    optimizer = SGD(model.parameters(), lr=1.0)
    data = TensorDataset(
        minicnn.Tensor(np.zeros((4, 2), np.float32)), minicnn.Tensor(np.zeros(4, np.int64))
    )
    trainer = Trainer(model, optimizer, scheduler=StepLR(optimizer, 1, gamma=0.1))
    trainer.fit(DataLoader(data, batch_size=2), epochs=3)
    assert [row["lr"] for row in trainer.history] == pytest.approx([1.0, 0.1, 0.01])


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize("monitor, mode", [("loss", "min"), ("accuracy", "max")])
def test_a_plateau_is_told_what_is_monitored(lab, validate, monitor, mode):
    trainer, loader, val = lab.make_trainer(scheduler=None, monitor=monitor)
    plan = ReduceLROnPlateau(trainer.optimizer, mode, patience=0, threshold=0.2)
    trainer.scheduler = plan
    trainer.fit(loader, val if validate else None, epochs=6)
    column = ("val_" if validate else "train_") + monitor
    again = ReduceLROnPlateau(SGD(nn.Linear(1, 1).parameters(), 1e-2), mode, patience=0)
    again.threshold = 0.2
    rates = []
    for row in trainer.history:
        rates += again.get_last_lr()
        again.step(row[column])
    assert [row["lr"] for row in trainer.history] == rates and rates[-1] < rates[0]
    assert plan.state_dict() == again.state_dict() | {"_last_lr": plan.get_last_lr()}


def test_a_plateau_of_something_that_nobody_measures(lab):
    trainer, loader, _ = lab.make_trainer(scheduler=None, monitor="recall")
    trainer.scheduler = ReduceLROnPlateau(trainer.optimizer)
    with pytest.raises(ValueError, match="no column 'train_recall', there are epoch, lr"):
        trainer.fit(loader, epochs=1)


@pytest.mark.parametrize("validate", [False, True])
def test_a_monitor_that_nobody_measures(lab, tmp_path, validate):
    trainer, loader, val = lab.make_trainer(tmp_path / "run", monitor="val_accuracy")
    column = "val_val_accuracy" if validate else "train_val_accuracy"
    with pytest.raises(ValueError, match=f"fit: monitor: no column '{column}', there are epoch"):
        trainer.fit(loader, val if validate else None, epochs=1)
    assert trainer.history == [] and trainer.best_epoch() == 0
    assert not (tmp_path / "run" / "best.safetensors").exists()


def test_a_plateau_goes_on_after_a_resume(lab, tmp_path):
    def trainer(folder):
        made, loader, val = lab.make_trainer(folder, scheduler=None)
        made.scheduler = ReduceLROnPlateau(made.optimizer, patience=0, threshold=0.2)
        return made, loader, val

    whole, *data = trainer(None)
    whole.fit(*data, epochs=4)
    part, *data = trainer(tmp_path)
    part.fit(*data, epochs=2)
    rest, *data = trainer(tmp_path)
    rest.fit(*data, epochs=4, resume=True)
    assert [row["lr"] for row in rest.history] == [row["lr"] for row in whole.history]
    assert rest.scheduler.state_dict() == whole.scheduler.state_dict()
    assert lab.bits(rest.model) == lab.bits(whole.model)


def test_seed(lab):
    states = []
    for _ in range(2):
        trainer, loader, _ = lab.make_trainer(seed=3)
        trainer.seed = 11
        minicnn.manual_seed(len(states))  # what came before does not matter
        trainer.fit(loader, epochs=1)
        states.append(lab.bits(trainer.model))
    assert states[0] == states[1]


# ---------------------------------------------------------------------- callbacks


class Recorder(Callback):
    def __init__(self):
        self.events = []

    def on_fit_start(self, trainer):
        self.events.append("fit")

    def on_epoch_start(self, trainer):
        self.events.append(f"epoch {trainer.epoch}")

    def on_batch_end(self, trainer):
        assert math.isfinite(trainer.running["loss"]) and trainer.samples == 8 * trainer.batch
        self.events.append(f"batch {trainer.epoch}.{trainer.batch}/{trainer.batches}")

    def on_epoch_end(self, trainer):
        self.events.append(f"end {trainer.epoch} {len(trainer.history)}")

    def on_fit_end(self, trainer):
        self.events.append("done")


def test_callbacks_are_called_in_order(lab):
    recorder = Recorder()
    trainer, loader, val = lab.make_trainer(callbacks=[recorder])
    trainer.fit(loader, val, epochs=2)
    batches = [[f"batch {e}.{b}/6" for b in range(1, 7)] for e in range(2)]
    assert recorder.events == [
        "fit", "epoch 0", *batches[0], "end 1 1", "epoch 1", *batches[1], "end 2 2", "done",
    ]  # fmt: skip


def test_fit_end_is_called_after_an_error(lab):
    class Failing(Recorder):
        def on_epoch_end(self, trainer):
            raise KeyError("mine")

    failing = Failing()
    trainer, loader, _ = lab.make_trainer(callbacks=[failing])
    with pytest.raises(KeyError, match="mine"):
        trainer.fit(loader, epochs=1)
    assert failing.events[-1] == "done"


def test_early_stopping(lab):
    trainer, loader, val = lab.make_trainer(callbacks=[EarlyStopping("val_loss", patience=2)])
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.0
    trainer.scheduler = None
    trainer.model[1].momentum = 0.0  # running statistics stay too: nothing improves
    trainer.fit(loader, val, epochs=20)
    assert trainer.epoch == 3
    with pytest.raises(ValueError, match=r"no column 'nothing', there are .*train_loss"):
        lab.make_trainer(callbacks=[EarlyStopping("nothing")])[0].fit(loader, epochs=1)
    with pytest.raises(ValueError, match="mode expects 'min' or 'max'"):
        EarlyStopping(mode="up")


def test_plain_progress(lab, capsys):
    trainer, loader, val = lab.make_trainer(callbacks=[PrintProgress()])
    trainer.fit(loader, val, epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for part in ("epoch 1/2", "train loss", "val accuracy", "images/s", "left"):
        assert part in lines[0]


# ---------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "train_loader gave no samples"),
        ([np.ones(3)], r"should give \(inputs, targets\), got ndarray"),
        ([(1, 2, 3)], r"should give \(inputs, targets\), got 3 parts"),
    ],
)
def test_wrong_loaders(loader, message, lab):
    trainer, _, _ = lab.make_trainer()
    with pytest.raises(ValueError, match=message):
        trainer.fit(loader, epochs=1)
    with pytest.raises(ValueError, match="evaluate: loader gave no samples"):
        trainer.evaluate([])
    with pytest.raises(ValueError, match="gave no batches"):
        trainer.predict([])


def test_arrays(lab):
    """An array will do where it can be told what it is; in pairs it is an error with a name."""
    trainer, _, _ = lab.make_trainer()
    x = np.random.default_rng(0).normal(size=(5, 1, 6, 6)).astype(np.float32)
    outputs = [trainer.predict(inputs, batch_size=2) for inputs in (x, minicnn.Tensor(x))]
    assert outputs[0].shape == (5, 3)
    assert outputs[0].array.tobytes() == outputs[1].array.tobytes()
    with pytest.raises(TypeError, match=r"should give .* as Tensors, got ndarray and Tensor"):
        trainer.fit([(x, minicnn.zeros(5, dtype=minicnn.int64))], epochs=1)


def test_config_must_be_json(lab):
    with pytest.raises(TypeError):
        lab.make_trainer(config={"path": object()})


# ---------------------------------------------------------------------- NaN


class Poison(Callback):
    """Makes the loss of a given batch NaN, or its step spoil a weight."""

    def __init__(self, epoch, batch, where):
        self.at, self.where, self.factor = (epoch, batch), where, 1.0

    def loss(self, y, t):
        return F.cross_entropy(y, t) * self.factor

    def on_batch_end(self, trainer):
        if (trainer.epoch, trainer.batch) == self.at:
            if self.where == "loss":
                self.factor = math.nan
            else:
                trainer.model[-1].bias.array[1] = math.inf


def test_nan_loss_stops_and_keeps_the_last_good_checkpoint(lab, run_dir):
    poison = Poison(1, 3, "loss")
    trainer, loader, val = lab.make_trainer(run_dir, callbacks=[poison], loss=poison.loss)
    with pytest.raises(
        TrainingDiverged, match=r"loss became nan in epoch 2, batch 4 of 6"
    ) as caught:
        trainer.fit(loader, val, epochs=4)
    assert (caught.value.epoch, caught.value.batch) == (2, 4)
    assert "holds the end of epoch 1" in str(caught.value)
    good, loader, val = lab.make_trainer()
    good.fit(loader, val, epochs=1)
    saved = minicnn.load(run_dir / "last.safetensors")
    assert saved["epoch"] == 1
    assert {k: v.array.tobytes() for k, v in saved["model"].items()} == lab.bits(good.model)
    # Nothing that is not finite came into the weights either.
    assert all(np.isfinite(p.array).all() for p in trainer.model.parameters())


def test_a_weight_spoilt_by_the_last_step_is_found_before_it_is_saved(lab, run_dir):
    trainer, loader, val = lab.make_trainer(run_dir, callbacks=[Poison(1, 6, "weight")])
    with pytest.raises(
        TrainingDiverged, match=r"5\.bias holds NaN or infinity in epoch 2, batch 6"
    ):
        trainer.fit(loader, val, epochs=4)
    assert minicnn.load(run_dir / "last.safetensors")["epoch"] == 1
    assert minicnn.load(run_dir / "best.safetensors")["epoch"] == 1


def test_nan_in_validation(lab, run_dir):
    trainer, loader, _ = lab.make_trainer(run_dir)
    x = minicnn.Tensor(np.full((4, 1, 6, 6), np.nan, np.float32))
    bad = DataLoader(TensorDataset(x, minicnn.Tensor(np.zeros(4, np.int64))), batch_size=4)
    with pytest.raises(TrainingDiverged, match="validation loss became nan"):
        trainer.fit(loader, bad, epochs=2)


def test_an_epoch_is_saved_before_callbacks_see_it(tmp_path):
    """A full disk under a log, a closed pipe: what was trained is in the checkpoint already."""

    class Failing(Callback):
        def on_epoch_end(self, trainer):
            raise BrokenPipeError("nobody reads")

    def make(callbacks=()):
        minicnn.manual_seed(0)
        net = nn.Linear(2, 2)
        return Trainer(net, SGD(net.parameters(), lr=0.1), run_dir=tmp_path, callbacks=callbacks)

    batches = [(minicnn.ones(4, 2), minicnn.tensor([0, 1, 0, 1]))]
    with pytest.raises(BrokenPipeError):
        make([Failing()]).fit(batches, epochs=3)
    history = make().fit(batches, epochs=2, resume=True)
    assert [row["epoch"] for row in history] == [1, 2]
    assert "1," in (tmp_path / "metrics.csv").read_text().splitlines()[1]

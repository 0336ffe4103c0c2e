"""Trainer: the loop around a model, with everything a long training needs.

trainer = Trainer(model, optimizer, run_dir="runs/first")
history = trainer.fit(train_loader, val_loader, epochs=10)
print(trainer.evaluate(test_loader))
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..autograd import device as device_type
from ..backend import arrays as backend
from ..backend.random import manual_seed
from ..functional import cat
from ..optim import LBFGS
from ..optim.lr_scheduler import ReduceLROnPlateau
from ..version import __version__
from .callbacks import Callback
from .checkpoint import (
    capture,
    capture_model,
    find_generators,
    fingerprint,
    generator_states,
    restore,
    set_generator_states,
)
from .heads import heads_accuracies, heads_loss, hit_rate
from .interrupt import Interrupt
from .meter import Meter
from .modes import evaluating
from .run import BEST, LAST, RunFolder

_FETCHED = 32  # so many batches' losses are fetched from a GPU at once
_BATCH_SCHEDULERS = ("OneCycleLR", "CyclicLR")  # those that PyTorch steps after every batch


class TrainingDiverged(RuntimeError):
    """The loss or a weight became NaN or infinite, in epoch `epoch` (from 1), batch `batch`."""

    def __init__(self, message: str, epoch: int, batch: int):
        super().__init__(message)
        self.epoch, self.batch = epoch, batch


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during fit, after what had been reached was saved to `checkpoint` (None: nowhere)."""

    def __init__(self, message: str, checkpoint: str | None):
        super().__init__(message)
        self.checkpoint = checkpoint


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """The share of samples whose largest output, of (N, K, ...), is at index `targets` (N, ...)."""
    return float(hit_rate(outputs, targets))


class Trainer:
    """Trains and evaluates `model`.

    Args:
        model: a Module that is called with the inputs of a batch.
        optimizer: of minicnn.optim, over the model's parameters.
        loss: called as loss(outputs, targets); gives the mean over the batch. Default: heads_loss,
            which is cross_entropy for a network with one output.
        scheduler: of minicnn.optim.lr_scheduler, or None. OneCycleLR and CyclicLR are stepped after
            each batch, others after each epoch; ReduceLROnPlateau is told what `monitor` names
            (a metric wants its mode "max").
        device: where the model, what the optimizer remembers and the batches are brought. Default:
            where the model's first parameter is.
        callbacks: Callback objects.
        run_dir: the run folder (see minicnn.train.run); None writes nothing.
        seed: what minicnn.manual_seed is given when a training begins anew; None leaves it.
        metrics: {name: function(outputs, targets) -> mean over the batch}. Default: the accuracy,
            if the targets are class numbers (see minicnn.train.heads for several outputs).
        monitor: what says which epoch was best: "loss", the lowest, or a metric, the highest (of
            equally good epochs the one with the lower loss); of the validation if there is one.
        config: more entries for config.json and the checkpoints; values that JSON has.

    Attributes: epoch (epochs done), batch (batches done in this epoch), history (a dict for each
    epoch: epoch, lr, train_loss, train_accuracy, val_loss, val_accuracy, seconds,
    images_per_second), and those that Callback lists.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        loss: Callable[[Any, Any], Tensor] = heads_loss,
        scheduler: Any = None,
        device: Any = None,
        callbacks: Iterable[Callback] = (),
        run_dir: str | os.PathLike[str] | None = None,
        seed: int | None = None,
        metrics: Mapping[str, Callable[[Any, Any], float]] | None = None,
        monitor: str = "loss",
        config: Mapping[str, Any] | None = None,
    ):
        first = next(iter(model.parameters()), None)
        here = "cpu" if first is None else first.device
        self.device = device_type(here if device is None else device)
        self.model = model.to(self.device)
        self.optimizer = optimizer
        if self.device.type != "cpu" and optimizer is not None and optimizer.state:
            optimizer.load_state_dict(optimizer.state_dict())  # which moves it
        self.loss = loss
        self.scheduler = scheduler
        self.callbacks = list(callbacks)
        self.run = None if run_dir is None else RunFolder(run_dir)
        self.seed = seed
        self.metrics = metrics
        self.monitor = monitor
        self.config = json.loads(json.dumps({**_environment(self), **(config or {})}))
        self.epoch = self.epochs = self.batch = 0
        self.batches: int | None = None
        self.history: list[dict[str, Any]] = []
        self._meter = Meter()
        self._stopped = False
        self._data: dict[str, Any] = {}
        self._generators = find_generators(device=self.device)
        self._epoch_start: dict[str, np.ndarray] | None = None
        self._interrupt = Interrupt()
        self._saved = "nothing"

    # ------------------------------------------------------------------ training

    def fit(
        self, train_loader: Any, val_loader: Any = None, epochs: int = 1, resume: bool = False
    ) -> list[dict[str, Any]]:
        """Trains until `epochs` epochs are done altogether; returns the history.

        Args:
            train_loader, val_loader: iterables of (inputs, targets). Without val_loader the best
                epoch is chosen by the training metrics.
            epochs: the number that shall be done in the end, those before a resume included.
            resume: go on from the checkpoint in run_dir, to the same bits as if the training had
                never stopped. Model, optimizer, scheduler and loaders are made as they were then.

        With a run folder, each epoch ends with its checkpoint. Ctrl-C is heard after the batch that
        is under way: what was reached is saved and TrainingInterrupted raised; a second Ctrl-C
        stops at once.

        Raises:
            TrainingDiverged: the loss or a weight became NaN or infinite. The checkpoint of the
                last good epoch stays. (The losses of a GPU are looked at a few batches later.)
            CheckpointError: the disk refuses a checkpoint, or `resume` finds a damaged one, or one
                of another model, optimizer or data set (then nothing has been changed).
            FileExistsError: run_dir holds a run and `resume` is not set.
            ValueError: no batches, or batches that are not pairs; a `monitor` that nobody measures.
            TypeError: pairs of anything but Tensors.
        """
        self.epochs, self._stopped = epochs, False
        self.batches = len(train_loader) if hasattr(train_loader, "__len__") else None
        self._generators = find_generators(train_loader, val_loader, device=self.device)
        self._data = {"train": fingerprint(train_loader), "validation": fingerprint(val_loader)}
        self._begin(resume)
        self.model.train()
        try:
            # A loss that explodes raises TrainingDiverged; NumPy's warnings would only hide it.
            with self._interrupt, np.errstate(over="ignore", invalid="ignore"):
                self._call("on_fit_start")
                while self.epoch < epochs and not self._stopped:
                    self._run_epoch(train_loader, val_loader)
        finally:
            self._call("on_fit_end")
        return self.history

    def stop(self) -> None:
        """Ends fit after the epoch that is under way. For callbacks."""
        self._stopped = True

    def _begin(self, resume: bool) -> None:
        if resume:
            if self.run is None:
                raise ValueError("fit: resume needs the run_dir of a Trainer")
            restore(self, self.run.load(LAST), str(self.run))
            self._saved = self._position()
            self.run.tidy()
            self.run.write_config(self.config)
            self.run.rewrite_metrics(self.history)
        elif self.epoch == self.batch == 0:
            if self.run is not None:
                self.run.claim()
            if self.seed is not None:
                manual_seed(self.seed)
            # First of all files, so that a run that is killed early can be resumed too.
            self._save(LAST)
            if self.run is not None:
                self.run.write_config(self.config)

    def _run_epoch(self, train_loader: Any, val_loader: Any) -> None:
        began = time.perf_counter()
        batches = self._remaining_batches(train_loader)
        self._call("on_epoch_start")
        self._train(batches, began)
        self._check_weights()
        row = {"epoch": self.epoch + 1, "lr": self._meter.lr, **self._meter.means("train_")}
        seconds = self._meter.seconds + time.perf_counter() - began
        if val_loader is not None:
            row.update(self._validate(val_loader, began))
        row["seconds"] = round(self._meter.seconds + time.perf_counter() - began, 3)
        row["images_per_second"] = round(self._meter.samples / seconds, 1)
        if self.scheduler is not None and not self._steps_each_batch():
            self._step_scheduler(row)
        self._score(row)  # raises, before anything is kept, if nobody measures `monitor`
        self.history.append(row)
        self.epoch, self.batch, self._epoch_start = self.epoch + 1, 0, None
        self._meter = Meter()
        self._save_epoch(row)  # first, so that a callback that fails loses nothing
        self._call("on_epoch_end")
        if self._interrupt.requested:
            self._raise_interrupted()

    def _remaining_batches(self, loader: Any) -> Iterator[Any]:
        """The batches of an epoch; of one that was interrupted, those that are left.

        The loader is given the random state that the epoch began with, so that it shuffles as it
        did, and passes over the batches that were done. Then the state of the interruption returns.
        """
        if self.batch == 0:
            self._epoch_start = generator_states(self._generators)
            self._meter = Meter(self.optimizer.param_groups[0]["lr"])
            return iter(loader)
        now = generator_states(self._generators)
        assert self._epoch_start is not None
        set_generator_states(self._generators, self._epoch_start)
        batches = iter(loader)
        for done in range(self.batch):
            if next(batches, None) is None:
                raise ValueError(
                    f"fit: train_loader ended after {done} batches, {self.batch} were done"
                )
        set_generator_states(self._generators, now)
        return batches

    def _train(self, batches: Iterator[Any], began: float) -> None:
        step_scheduler = self.scheduler.step if self._steps_each_batch() else None
        listeners = self._overriding("on_batch_end")
        for batch in batches:
            x, y = self._pair(batch, "fit: train_loader")
            outputs, value = self._step(x, y)
            if step_scheduler is not None:
                step_scheduler()
            self.batch += 1
            self._meter.add(len(x), value, self._measure(outputs, y))
            if self.device.type == "cpu" or self._meter.waiting >= _FETCHED:
                self._fetch()
            for listener in listeners:
                listener(self)
            if self._interrupt.requested:
                self._meter.seconds += time.perf_counter() - began
                self._fetch()
                self._save(LAST)
                self._raise_interrupted()
        self._fetch()
        if self._meter.samples == 0:
            raise ValueError("fit: train_loader gave no samples")

    def _fetch(self) -> None:
        """Waits for the losses of the last batches, and looks at them."""
        losses = self._meter.fetch()
        for batch, loss in enumerate(losses, self.batch - len(losses) + 1):
            if not math.isfinite(loss):
                self._raise_diverged(f"the loss became {loss}", batch)

    def _step(self, x: Tensor, y: Tensor) -> tuple[Any, Any]:
        """A step of the optimizer; the outputs and the loss before it, as Meter takes it."""
        found: list[Any] = []

        def closure() -> Any:
            self.optimizer.zero_grad()
            outputs = self.model(x)
            loss = self.loss(outputs, y)
            if not found:
                found[:] = outputs, _value(loss)
                if isinstance(found[1], float) and not math.isfinite(found[1]):
                    self._raise_diverged(f"the loss became {found[1]}", self.batch + 1)
            loss.backward()
            return loss

        if isinstance(self.optimizer, LBFGS):  # which asks for the loss at several points
            self.optimizer.step(closure)
        else:
            closure()
            self.optimizer.step()
        return found[0], found[1]

    def _validate(self, loader: Any, began: float) -> dict[str, float]:
        before = generator_states(self._generators)
        try:
            means = self._evaluate(loader, "fit: val_loader").means("val_")
        except _Heard:
            # As if Ctrl-C had come just before the validation, whose loader may have shuffled.
            set_generator_states(self._generators, before)
            self._meter.seconds += time.perf_counter() - began
            self._save(LAST)
            self._raise_interrupted()
        if not math.isfinite(means["val_loss"]):
            self._raise_diverged(f"the validation loss became {means['val_loss']}", self.batch)
        return means

    def _steps_each_batch(self) -> bool:
        return any(kind.__name__ in _BATCH_SCHEDULERS for kind in type(self.scheduler).__mro__)

    def _step_scheduler(self, row: dict[str, Any]) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(self._monitored(row, "ReduceLROnPlateau"))
        else:
            self.scheduler.step()

    @property
    def running(self) -> dict[str, float]:
        """Loss and metrics over the batches of this epoch so far. On a GPU this waits for them."""
        self._fetch()
        return self._meter.means("")

    @property
    def samples(self) -> int:
        """How many samples this epoch has used so far."""
        return self._meter.samples

    # ------------------------------------------------------------------ evaluating

    def evaluate(self, loader: Any) -> dict[str, float]:
        """{"loss": ..., "accuracy": ...}: means over the samples of `loader`.

        In evaluation mode, without a graph; the model is left as it was. ValueError for no samples.
        """
        return self._evaluate(loader, "evaluate: loader").means("")

    def _evaluate(self, loader: Any, source: str) -> Meter:
        meter = Meter()
        with evaluating(self.model):
            for batch in loader:
                x, y = self._pair(batch, source)
                outputs = self.model(x)
                meter.add(len(x), _value(self.loss(outputs, y)), self._measure(outputs, y))
                if meter.waiting >= _FETCHED:
                    meter.fetch()
                if self._interrupt.requested:
                    raise _Heard
        if meter.samples == 0:
            raise ValueError(f"{source} gave no samples")
        return meter

    def predict(self, data: Any, batch_size: int = 256) -> Any:
        """The model's outputs for `data`, in evaluation mode, without a graph: a Tensor, or a tuple
        of them from a model that gives several.

        Args: data, inputs (N, ...) as a Tensor or array, taken `batch_size` at a time; or a loader,
        of inputs or of (inputs, targets), whose targets are passed over.
        """
        if isinstance(data, np.ndarray):
            data = Tensor(data)
        if isinstance(data, Tensor):
            data = [data[i : i + batch_size] for i in range(0, max(1, len(data)), batch_size)]
        outputs = []
        with evaluating(self.model):
            for batch in data:
                x = batch[0] if isinstance(batch, (tuple, list)) else batch
                outputs.append(self.model(x.to(self.device)))
            if not outputs:
                raise ValueError("predict: data gave no batches")
            if isinstance(outputs[0], (tuple, list)):
                return tuple(cat(list(parts), 0) for parts in zip(*outputs, strict=True))
            return cat(outputs, 0)

    def _pair(self, batch: Any, source: str) -> tuple[Tensor, Tensor]:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            found = (
                f"{len(batch)} parts" if isinstance(batch, (tuple, list)) else type(batch).__name__
            )
            raise ValueError(f"{source} should give (inputs, targets), got {found}")
        x, y = batch
        if not isinstance(x, Tensor) or not isinstance(y, Tensor):
            kinds = f"{type(x).__name__} and {type(y).__name__}"
            raise TypeError(f"{source} should give (inputs, targets) as Tensors, got {kinds}")
        if self.device.type == "cpu":
            return x, y
        return x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)

    def _measure(self, outputs: Any, targets: Any) -> dict[str, Any]:
        if self.metrics is not None:
            return {name: float(fn(outputs, targets)) for name, fn in self.metrics.items()}
        return heads_accuracies(outputs, targets)

    # ------------------------------------------------------------------ saving, ending

    def _save_epoch(self, row: dict[str, Any]) -> None:
        if self.run is None:
            return
        if self.best_epoch() == row["epoch"]:
            self.run.save(BEST, capture_model(self))
        self._save(LAST)
        self.run.append_metrics(row)

    def _save(self, name: str) -> None:
        if self.run is not None:
            self.run.save(name, capture(self))
            self._saved = self._position()

    def _position(self) -> str:
        if self.batch:
            return f"epoch {self.epoch + 1}, batch {self.batch}"
        return f"the end of epoch {self.epoch}" if self.epoch else "the beginning"

    def best_epoch(self) -> int:
        """The best epoch so far, from 1; 0 if none is done. See `monitor`."""
        best = max(self.history, key=self._score, default=None)
        return 0 if best is None else best["epoch"]

    def _score(self, row: dict[str, Any]) -> tuple[float, float, int]:
        part = "val_" if "val_loss" in row else "train_"
        measure = 0.0 if self.monitor == "loss" else self._monitored(row, "monitor")
        # Of two epochs that are equal in both, the later one.
        return measure, -row[part + "loss"], row["epoch"]

    def _monitored(self, row: dict[str, Any], who: str) -> float:
        """What `monitor` names. ValueError if nobody measures it."""
        column = ("val_" if "val_loss" in row else "train_") + self.monitor
        if column not in row:
            raise ValueError(f"fit: {who}: no column {column!r}, there are {', '.join(row)}")
        return row[column]

    def _check_weights(self) -> None:
        """The last step of an epoch can spoil the weights without a loss that shows it."""
        for name, parameter in self.model.named_parameters():
            with backend.on_device_of(parameter.array):
                finite = bool(np.isfinite(parameter.array).all())
            if not finite:
                self._raise_diverged(f"{name} holds NaN or infinity", self.batch)

    def _raise_diverged(self, what: str, batch: int) -> None:
        of = f" of {self.batches}" if self.batches else ""
        rate = self.optimizer.param_groups[0]["lr"]
        kept = "" if self.run is None else f"; {self.run.file(LAST)} holds {self._saved}"
        where = f"in epoch {self.epoch + 1}, batch {batch}{of} (learning rate {rate:g})"
        raise TrainingDiverged(
            f"fit: {what} {where}{kept}. A smaller learning rate often helps",
            self.epoch + 1,
            batch,
        )

    def _raise_interrupted(self) -> None:
        path = None if self.run is None else str(self.run.file(LAST))
        saved = "nothing is saved without a run_dir" if path is None else f"saved to {path}"
        raise TrainingInterrupted(f"interrupted at {self._position()}; {saved}", path)

    def _overriding(self, event: str) -> list[Callable[[Trainer], None]]:
        plain = getattr(Callback, event)
        return [
            getattr(c, event) for c in self.callbacks if getattr(type(c), event, None) is not plain
        ]

    def _call(self, event: str) -> None:
        for listener in self._overriding(event):
            listener(self)


def _value(loss: Tensor) -> Any:
    """A loss as a number; on a GPU as an array without dimensions, for which nobody has waited."""
    if type(loss.array) is np.ndarray:
        return loss.item()
    return loss.array.reshape(())


class _Heard(Exception):
    """Ctrl-C came during an evaluation."""


def _environment(trainer: Trainer) -> dict[str, Any]:
    parameters: Sequence[Any] = list(trainer.model.parameters())
    return {
        "minicnn": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "model": type(trainer.model).__name__,
        "parameters": sum(p.numel() for p in parameters),
        "optimizer": type(trainer.optimizer).__name__,
        "device": str(trainer.device),
        "seed": trainer.seed,
    }

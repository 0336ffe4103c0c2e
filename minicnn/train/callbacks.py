"""Callbacks: code of yours at fixed moments of `Trainer.fit`."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """Override what you need. Every method is given the trainer, whose attributes tell the rest:

    trainer.epoch (epochs done), epochs (to be done), batch (batches done in this epoch), batches
    (in an epoch), running (loss and metrics of this epoch so far), history (a row for each epoch
    done), model, optimizer. `trainer.stop()` ends the training after this epoch.

    What a callback remembers is not part of a checkpoint. To survive a resume, derive it from
    `trainer.history`, as EarlyStopping does.
    """

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first batch; after a resume has put everything back."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before an epoch's first batch, and before the rest of an interrupted epoch."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """After each step of the optimizer."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After the validation; `trainer.history[-1]` is this epoch's row, saved already."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """When fit ends, also by an error or Ctrl-C."""


class EarlyStopping(Callback):
    """Ends the training when `monitor` has not improved for `patience` epochs.

    Args: monitor, a column of the history, such as "val_loss" or "val_accuracy"; patience, in
    epochs; min_delta, what counts as an improvement; mode, "min" or "max" (default: "max" for
    names that hold "accuracy", else "min").
    Raises ValueError for other modes, and in training for a column that does not exist.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str | None = None,
    ):
        mode = mode or ("max" if "accuracy" in monitor else "min")
        if mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping: mode expects 'min' or 'max', got {mode!r}")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self._sign = 1 if mode == "min" else -1

    def on_fit_start(self, trainer: Trainer) -> None:
        if trainer.history:  # a resumed run that had been stopped stays so
            self.on_epoch_end(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        best, best_epoch = math.inf, 0
        for row in trainer.history:
            if self.monitor not in row:
                names = ", ".join(k for k in row if k != "epoch")
                raise ValueError(f"EarlyStopping: no column {self.monitor!r}, there are {names}")
            value = self._sign * row[self.monitor]
            if value < best - self.min_delta:
                best, best_epoch = value, row["epoch"]
        if trainer.epoch - best_epoch >= self.patience:
            trainer.stop()


class PrintProgress(Callback):
    """One line for each epoch, for logs and wherever no terminal shows a live display."""

    def on_fit_start(self, trainer: Trainer) -> None:
        self._start, self._done = time.monotonic(), trainer.epoch
        if trainer.epoch or trainer.batch:
            print(f"resuming after epoch {trainer.epoch}, batch {trainer.batch}", flush=True)

    def on_epoch_end(self, trainer: Trainer) -> None:
        seconds = (time.monotonic() - self._start) / (trainer.epoch - self._done)
        left = seconds * (trainer.epochs - trainer.epoch)
        print(f"{describe(trainer.history[-1], trainer.epochs)}  {duration(left)} left", flush=True)


def describe(row: dict[str, Any], epochs: int) -> str:
    """One line of text for a row of the history."""
    width = len(str(epochs))
    parts = [f"epoch {row['epoch']:{width}}/{epochs}"]
    for key, value in row.items():
        if key.endswith("accuracy"):
            parts.append(f"{key.replace('_', ' ')} {value:6.2%}")
        elif key.startswith(("train_", "val_")):
            parts.append(f"{key.replace('_', ' ')} {value:.4f}")
    parts.append(f"{row['images_per_second']:.0f} images/s")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(round(max(0.0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"

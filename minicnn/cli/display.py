"""The live display of a training in a terminal."""

from __future__ import annotations

import sys
import time
from typing import Any

from ..train import Callback, PrintProgress
from ..train.callbacks import describe

_REFRESH = 0.1  # seconds


def progress() -> Callback:
    """A live display if stdout is a terminal and Rich is there, else one line for each epoch."""
    if sys.stdout is not None and sys.stdout.isatty():
        try:
            import rich.progress  # noqa: F401
        except ImportError:
            return PrintProgress()
        return LiveProgress()
    return PrintProgress()


class LiveProgress(Callback):
    """A bar over all epochs with loss, accuracy, images/s and time left; a line for each epoch."""

    def on_fit_start(self, trainer: Any) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        total = trainer.epochs * trainer.batches if trainer.batches else None
        done = trainer.epoch * (trainer.batches or 0) + trainer.batch
        self._task = self._bar.add_task("starting", total=total, completed=done)
        self._bar.start()
        if done:
            self._bar.console.print(f"resuming after epoch {trainer.epoch}, batch {trainer.batch}")

    def on_epoch_start(self, trainer: Any) -> None:
        self._began, self._first, self._shown = time.monotonic(), trainer.samples, 0.0

    def on_batch_end(self, trainer: Any) -> None:
        now = time.monotonic()
        if now - self._shown < _REFRESH and trainer.batch != trainer.batches:
            return
        self._shown = now
        rate = (trainer.samples - self._first) / max(now - self._began, 1e-9)
        running = trainer.running
        parts = [f"epoch {trainer.epoch + 1}/{trainer.epochs}", f"loss {running['loss']:.4f}"]
        if "accuracy" in running:
            parts.append(f"accuracy {running['accuracy']:.1%}")
        done = trainer.epoch * (trainer.batches or 0) + trainer.batch
        text = "  ".join([*parts, f"{rate:.0f} images/s"])
        self._bar.update(self._task, description=text, completed=done)

    def on_epoch_end(self, trainer: Any) -> None:
        line = describe(trainer.history[-1], trainer.epochs)
        self._bar.console.print(line, highlight=False, soft_wrap=True)

    def on_fit_end(self, trainer: Any) -> None:
        if hasattr(self, "_bar"):
            self._bar.stop()

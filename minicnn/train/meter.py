"""Means over the samples of an epoch."""

from __future__ import annotations

from typing import Any


class Meter:
    """Sums of the loss and the metrics over samples; `lr` is the rate that the epoch began with."""

    def __init__(self, lr: float = 0.0) -> None:
        self.lr = lr
        self.samples = 0
        self.seconds = 0.0
        self._sums: dict[str, float] = {}

    def add(self, samples: int, loss: float, metrics: dict[str, float]) -> None:
        """Adds a batch of `samples` with the mean `loss` and mean `metrics`."""
        self.samples += samples
        self._sums["loss"] = self._sums.get("loss", 0.0) + samples * loss
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + samples * value

    def means(self, prefix: str) -> dict[str, float]:
        """The means so far, their names with `prefix`."""
        return {prefix + name: total / self.samples for name, total in self._sums.items()}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "lr": self.lr,
            "samples": self.samples,
            "seconds": self.seconds,
            "sums": dict(self._sums),
        }

    def checked(self, state: dict[str, Any]) -> Meter:
        """A Meter that goes on from `state`. TypeError or KeyError if that is no such thing."""
        meter = Meter(float(state["lr"]))
        meter.samples, meter.seconds = int(state["samples"]), float(state["seconds"])
        meter._sums = {str(name): float(total) for name, total in state["sums"].items()}
        return meter

"""Means over the samples of an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import arrays as backend


class Meter:
    """Sums of the loss and the metrics over samples; `lr` is the rate that the epoch began with.

    Means of batches are numbers, or arrays without dimensions that are still on their way through a
    GPU: those are fetched many at a time, for each fetching waits until the GPU has come so far.
    """

    def __init__(self, lr: float = 0.0) -> None:
        self.lr = lr
        self.samples = 0
        self.seconds = 0.0
        self._sums: dict[str, float] = {}
        self._waiting: list[tuple[int, dict[str, Any]]] = []

    def add(self, samples: int, loss: Any, metrics: dict[str, Any]) -> None:
        """Adds a batch of `samples` with the mean `loss` and mean `metrics`."""
        self.samples += samples
        self._waiting.append((samples, {"loss": loss, **metrics}))

    @property
    def waiting(self) -> int:
        """How many batches were added since `fetch`."""
        return len(self._waiting)

    def fetch(self) -> list[float]:
        """The losses of the batches that were added since the last call."""
        rows, self._waiting = self._waiting, []
        losses: list[float] = []
        for name in {name: None for _, means in rows for name in means}:
            found = _numbers([means.get(name, 0.0) for _, means in rows])
            losses = found if name == "loss" else losses
            for (samples, _), value in zip(rows, found, strict=True):
                self._sums[name] = self._sums.get(name, 0.0) + samples * value
        return losses

    def means(self, prefix: str) -> dict[str, float]:
        """The means so far, their names with `prefix`."""
        self.fetch()
        return {prefix + name: total / self.samples for name, total in self._sums.items()}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        self.fetch()
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


def _numbers(values: list[Any]) -> list[float]:
    """Numbers and arrays without dimensions as numbers, with one copy if all are on one device."""
    places = {backend.place(v) if backend.is_array(v) else None for v in values}
    if len(places) == 1 and places != {None}:
        with backend.on_device_of(values[0]):
            values = backend.to_numpy(np.stack(values)).tolist()
    return [float(v) for v in values]

"""Published weights: what `weights=` takes, and how they come into a network."""

from __future__ import annotations

from typing import Any


class Weights:
    """Weights that were chosen for a network that is about to be made."""

    def __init__(self, name: str, weights: Any):
        self.name = name
        self.weights = weights

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """The options of the network that these weights fit."""
        return given

    def load_into(self, model: Any) -> None:
        """Loads them."""
        raise NotImplementedError


def published(name: str, weights: Any, options: dict[str, Any], progress: bool) -> Weights | None:
    """The weights that `weights` means for the network `name`; None for None."""
    if weights is None:
        return None
    raise ValueError(f"{name}: weights expects None, got {weights!r}: none are published here yet")

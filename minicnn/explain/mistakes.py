"""Where a classifier errs: which classes it mixes up, and on which images it is most wrong.

images, targets = test.data, test.targets
logits = Trainer(model, None).predict(loader).numpy()
confusion(targets, logits, classes).save("confusion.png")
worst_mistakes(images, targets, logits, classes).save("mistakes.png")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..train import plots
from .picture import Picture, at_least_one, on_cpu

__all__ = ["Confusion", "Mistakes", "confusion", "worst_mistakes"]


class Confusion(Picture):
    """`values` (classes, classes): how often class [row] was taken for class [column]."""

    def __init__(self, values: np.ndarray, classes: Sequence[str]):
        super().__init__(values)
        self.classes = tuple(classes)

    @property
    def accuracy(self) -> float:
        """The share on the diagonal."""
        return float(np.trace(self.values) / max(1, self.values.sum()))

    def pairs(self, most: int = 5) -> list[tuple[str, str, int]]:
        """What is taken for what most often: (truth, guess, how often)."""
        wrong = self.values.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        places = zip(*np.unravel_index(order, wrong.shape), strict=True)
        return [
            (self.classes[i], self.classes[j], int(wrong[i, j])) for i, j in places if wrong[i, j]
        ]

    def figure(self) -> Any:
        """Rows are true classes, columns guesses, colours the share of the row."""
        return plots.draw_confusion(self.values, self.classes)


def confusion(targets: Any, guesses: Any, classes: Sequence[str]) -> Confusion:
    """Which classes are mixed up.

    Args: targets (N,), the true classes; guesses (N,), or logits (N, classes), whose largest is the
    guess; classes, their names. Raises ValueError for lengths that differ or a class without name.
    """
    truth, guess = _checked("confusion", targets, guesses, classes)
    matrix = plots.confusion_matrix(truth, guess, len(classes))
    return Confusion(matrix, classes)


class Mistakes(Picture):
    """`values` (K,): which samples are shown, the worst first, of `total` mistakes."""

    def __init__(self, values: np.ndarray, total: int, draw: Any):
        super().__init__(values)
        self.total, self._draw = total, draw

    def figure(self) -> Any:
        """The images, each with its truth and the guess."""
        return self._draw(self.values)


def worst_mistakes(
    images: Any, targets: Any, logits: Any, classes: Sequence[str], count: int = 25
) -> Mistakes:
    """The samples taken for another class whose own class got the least probability.

    Args: images (N, C, H, W) with one or three channels, uint8 or floats in [0, 1]; targets (N,);
    logits (N, classes); classes, their names; count, how many at most.

    Raises ValueError for lengths that differ, a class without name, a count below 1, or images of
    another kind.
    """
    at_least_one("worst_mistakes", "count", count)
    truth, _ = _checked("worst_mistakes", targets, logits, classes)
    shown, scores = on_cpu(images), on_cpu(logits)
    if scores.ndim != 2 or shown.ndim != 4 or shown.shape[1] not in (1, 3):
        raise ValueError(
            "worst_mistakes: expects images (N, C, H, W) with 1 or 3 channels and logits "
            f"(N, classes), got {shown.shape} and {scores.shape}"
        )
    if len(shown) != len(truth):
        raise ValueError(f"worst_mistakes: {len(shown)} images, {len(truth)} targets")
    order = plots.mistakes(truth, scores)

    def draw(worst: np.ndarray) -> Any:
        return plots.draw_mistakes(shown, truth, scores, classes, worst)

    return Mistakes(order[:count], len(order), draw)


def _checked(
    function: str, targets: Any, guesses: Any, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """True and guessed classes as integers (N,)."""
    truth, guess = on_cpu(targets).astype(np.int64), on_cpu(guesses)
    guess = (guess.argmax(1) if guess.ndim == 2 else guess).astype(np.int64)
    if truth.ndim != 1 or truth.shape != guess.shape:
        raise ValueError(f"{function}: {truth.shape} targets, {guess.shape} guesses")
    for name, values in (("targets", truth), ("guesses", guess)):
        if values.size and not 0 <= values.min() <= values.max() < len(classes):
            raise ValueError(
                f"{function}: {name} expects classes below {len(classes)}, got {values.min()} to "
                f"{values.max()}"
            )
    return truth, guess

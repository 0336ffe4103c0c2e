"""Pictures of a run. They open no window and share no Matplotlib state with the user's program."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..interop.files import write_bytes

_BLUE, _ORANGE, _GREY = "#3366aa", "#dd7722", "#888888"


def confusion_matrix(targets: np.ndarray, guesses: np.ndarray, classes: int) -> np.ndarray:
    """int64 (classes, classes): how many samples of class [row] were taken for class [column]."""
    flat = np.asarray(targets, np.int64) * classes + np.asarray(guesses, np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def save_curves(history: Sequence[dict[str, Any]], path: str | os.PathLike[str]) -> None:
    """Loss and accuracy over the epochs of `history`, as a PNG."""
    measures = [m for m in ("loss", "accuracy") if any(f"train_{m}" in row for row in history)]
    figure = _figure(4.8 * max(1, len(measures)), 3.6)
    for k, measure in enumerate(measures):
        axes = figure.add_subplot(1, len(measures), k + 1)
        for part, label, colour in (("train", "training", _BLUE), ("val", "validation", _ORANGE)):
            points = [
                (r["epoch"], r[f"{part}_{measure}"]) for r in history if f"{part}_{measure}" in r
            ]
            if points:
                marker = "o" if len(points) < 30 else None
                axes.plot(
                    *zip(*points, strict=True),
                    color=colour,
                    label=label,
                    marker=marker,
                    markersize=3,
                )
        axes.set_xlabel("epoch")
        axes.set_ylabel(measure)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    _write(figure, path)


def save_confusion(
    matrix: np.ndarray, classes: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """`draw_confusion`, as a PNG."""
    _write(draw_confusion(matrix, classes), path)


def draw_confusion(matrix: np.ndarray, classes: Sequence[str]) -> Any:
    """The confusion matrix: rows are true classes, columns guesses, colours row shares."""
    n = len(classes)
    side = min(14.0, 2.0 + 0.45 * n)
    figure = _figure(side, side)
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, origin="upper")
    axes.set_xticks(range(n), classes, rotation=0 if _short(classes) else 90)
    axes.set_yticks(range(n), classes)
    axes.set_xlabel("guess")
    axes.set_ylabel("truth")
    if n <= 30:
        for i, j in np.argwhere(matrix):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, str(matrix[i, j]), ha="center", va="center", color=colour, fontsize=8)
    axes.set_title(f"{np.trace(matrix) / max(1, matrix.sum()):.2%} right", fontsize=10)
    return figure


def save_mistakes(
    images: np.ndarray,
    targets: np.ndarray,
    logits: np.ndarray,
    classes: Sequence[str],
    path: str | os.PathLike[str],
    count: int = 25,
) -> int:
    """`draw_mistakes` of the worst ones, as a PNG; returns how many mistakes there are in all.

    Args: images (N, C, H, W), uint8 or floats in [0, 1], with C = 1 or 3; targets (N,); logits
    (N, classes); of a network with several heads (N, heads) and (N, heads, classes), where the last
    class stands for nothing there.
    """
    order = mistakes(targets, logits)
    _write(draw_mistakes(images, targets, logits, classes, order[:count]), path)
    return len(order)


def mistakes(targets: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Which samples were taken for another class, the worst first: (M,).

    Arguments as in save_mistakes. Worst is what gave the truth the least probability.
    """
    wrong = (logits.argmax(-1) != targets).reshape(len(targets), -1).any(1)
    rows = np.flatnonzero(wrong)
    return rows[np.argsort(_chances(logits, targets)[rows], kind="stable")]


def _chances(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The probability of these classes, over all heads together: (N,)."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    shares = np.take_along_axis(powers / powers.sum(-1, keepdims=True), classes[..., None], -1)
    return shares.reshape(len(classes), -1).prod(1)


def draw_mistakes(
    images: np.ndarray,
    targets: np.ndarray,
    logits: np.ndarray,
    classes: Sequence[str],
    worst: np.ndarray,
) -> Any:
    """The images whose numbers are in `worst`, each with truth and guess; as in save_mistakes."""
    guesses = logits.argmax(-1)
    guessed = _chances(logits, guesses)
    columns = min(5, max(1, len(worst)))
    rows = max(1, math.ceil(len(worst) / columns))
    figure = _figure(1.8 * columns + 0.4, 2.1 * rows + 0.3)
    for k, i in enumerate(worst):
        axes = figure.add_subplot(rows, columns, k + 1)
        image = np.moveaxis(images[i], 0, -1)
        axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", origin="upper")
        truth, guess = said(targets[i], classes), said(guesses[i], classes)
        gap = " " if _short(classes) and targets.ndim == 1 else "\n"
        text = f"truth {truth}{gap}guess {guess} ({guessed[i]:.0%})"
        axes.set_title(text, fontsize=8)
        axes.axis("off")
    if not len(worst):
        figure.text(0.5, 0.5, "no mistakes", ha="center", va="center", color=_GREY)
    return figure


def said(target: Any, classes: Sequence[str]) -> str:
    """The class of a target as text; of (heads,) targets the classes, but for the last class."""
    numbers = np.atleast_1d(target).tolist()
    if np.ndim(target):
        numbers = [number for number in numbers if number != len(classes) - 1]
    return "".join(classes[number] for number in numbers) or "nothing"


def _short(classes: Sequence[str]) -> bool:
    return max(map(len, classes)) <= 2


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"pictures need Matplotlib: pip install matplotlib ({error})") from None
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _write(figure: Any, path: str | os.PathLike[str]) -> None:
    data = io.BytesIO()
    # Without Software and date the same run gives the same bytes.
    figure.savefig(data, format="png", metadata={"Software": None})
    write_bytes(path, data.getvalue())

"""How a tensor is written out, and `minicnn.set_printoptions`. The layout is PyTorch's.

All numbers of a tensor share one format: as whole numbers with a point ("3."), with `precision`
decimals ("0.2500"), or with an exponent, where the largest is more than 1000 times the smallest, or
above 1e8, or a fraction below 1e-4. Above `threshold` elements only the first and last `edgeitems`
of each dimension are shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

_DEFAULT: dict[str, Any] = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80}
_PROFILES: dict[str, dict[str, Any]] = {
    "default": _DEFAULT,
    "short": {**_DEFAULT, "precision": 2, "edgeitems": 2},
    "full": {**_DEFAULT, "threshold": math.inf},
}
_options = SimpleNamespace(**_DEFAULT, sci_mode=None)


def set_printoptions(precision: int | None = None, threshold: float | None = None,
                     edgeitems: int | None = None, linewidth: int | None = None,
                     profile: str | None = None, sci_mode: bool | None = None) -> None:  # fmt: skip
    """Sets how tensors are printed; what is None stays, but sci_mode=None lets each tensor choose.

    Args: precision: decimals. threshold: the number of elements above which a tensor is summarised,
    with `edgeitems` at either end of each dimension. linewidth: characters. profile: "default",
    "short" or "full" sets the first three. sci_mode: exponents always or never.
    Raises ValueError for an unknown profile.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(
                f"set_printoptions: profile expects one of {', '.join(_PROFILES)}, got {profile!r}"
            )
        vars(_options).update(_PROFILES[profile])
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems,
             "linewidth": linewidth}  # fmt: skip
    vars(_options).update({name: value for name, value in given.items() if value is not None})
    _options.sci_mode = sci_mode


def text_of(array: np.ndarray, notes: list[str]) -> str:
    """`tensor(numbers, note, note)`, the numbers and the notes broken into lines."""
    prefix = "tensor("
    if array.size == 0:
        numbers = "[]"
        notes = notes if array.ndim == 1 else [f"size={array.shape}", *notes]
    else:
        short = array.size > _options.threshold
        write, width = _number_format(_ends(array) if short else array)
        numbers = _nested(array, len(prefix), short, write, width)
    text = prefix + numbers
    column = len(text) - text.rfind("\n") + 1
    for note in notes:
        if column + len(note) + 2 > _options.linewidth:
            text += ",\n" + " " * len(prefix) + note
            column = len(prefix) + len(note)
        else:
            text += ", " + note
            column += len(note) + 2
    return text + ")"


def _ends(array: np.ndarray) -> np.ndarray:
    """The elements that a summary shows."""
    n = _options.edgeitems
    for axis, size in enumerate(array.shape):
        if size > 2 * n:
            array = array.take([*range(n), *range(size - n, size)], axis)
    return array


def _number_format(array: np.ndarray) -> tuple[Callable[[Any], str], int]:
    """The function that writes one element, and the width to which all are padded."""
    if array.dtype.kind != "f":
        return str, max(len(str(x)) for x in array.ravel().tolist())
    values = array[np.isfinite(array) & (array != 0)].astype(np.float64)
    whole, exponents = True, False
    if values.size:
        low, high = np.abs(values).min(), np.abs(values).max()
        whole = bool((values == np.trunc(values)).all())
        exponents = bool(high > 1000 * low or high > 1e8 or (not whole and low < 1e-4))
        if _options.sci_mode is not None:
            exponents = _options.sci_mode
    width = max([len(_float(x, whole, exponents)) for x in values.tolist()], default=1)
    return lambda x: _float(x, whole, exponents), width


def _float(x: float, whole: bool, exponents: bool) -> str:
    if exponents:
        return f"{x:.{_options.precision}e}"
    if whole:
        return f"{x:.0f}." if math.isfinite(x) else f"{x:.0f}"
    return f"{x:.{_options.precision}f}"


def _nested(array: np.ndarray, indent: int, short: bool, write: Any, width: int) -> str:
    """The array in brackets; `indent` is the column where it begins."""
    n = _options.edgeitems
    cut = short and array.ndim > 0 and len(array) > 2 * n
    if array.ndim == 0:
        return write(array.item())
    if array.ndim > 1:
        rows = [*array[:n], None, *array[len(array) - n :]] if cut else list(array)
        parts = ["..." if r is None else _nested(r, indent + 1, short, write, width) for r in rows]
        return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"
    ends = [*array[:n].tolist(), *array[len(array) - n :].tolist()] if cut else array.tolist()
    words = [f"{write(x):>{width}}" for x in ends]
    if cut:
        words.insert(n, " ...")
    per_line = max(1, (_options.linewidth - indent) // (width + 2))
    lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"

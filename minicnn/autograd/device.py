"""Where a tensor's memory is: `minicnn.device("cpu")`, `minicnn.device("cuda", 1)`.

"emulator" is a GPU played by the CPU (backend/emulator): the same code path as "cuda", slowly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..backend import arrays as backend


class device:
    """A place for tensors: its `type` ("cpu", "cuda" or "emulator") and its `index` (None: the
    current one).

    Raises RuntimeError for a type that does not exist. Naming "cuda" is always allowed; moving a
    tensor there is an error where no GPU can be used.
    """

    __slots__ = ("index", "type")
    _TYPES = ("cpu", "cuda", "emulator")

    def __init__(self, type: Any, index: int | None = None):
        if isinstance(type, device):
            type, index = type.type, type.index
        elif isinstance(type, str):
            name, colon, number = type.partition(":")
            if colon and index is None and number.isdigit():
                type, index = name, int(number)
            elif colon:
                raise RuntimeError(f"device: {type!r} is not a device; write 'cuda' or 'cuda:0'")
        elif isinstance(type, int):
            type, index = "cuda", type
        if type not in self._TYPES:
            raise RuntimeError(f"device: expected one of {', '.join(self._TYPES)}, got {type!r}")
        if index is not None and index < 0:
            raise RuntimeError(f"device: index expects 0 or more, got {index}")
        self.type: str = type
        self.index = index

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            try:
                other = device(other)
            except RuntimeError:
                return False  # the name of no device
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"


CPU = device("cpu")


def check_one_device(function: str, *inputs: Any) -> None:
    """RuntimeError unless the tensors and arrays among the inputs are all on one device."""
    for x in inputs:
        if x is not None and type(getattr(x, "array", x)) is not np.ndarray:
            break
    else:
        return
    arrays = [getattr(x, "array", x) for x in inputs if x is not None]
    _refuse_mixture(function, dict.fromkeys(map(backend.place, arrays)))


def _refuse_mixture(function: str, places: Iterable[tuple[str, int | None]]) -> None:
    names = [str(device(*p)) for p in places]
    if len(names) > 1:
        raise RuntimeError(
            f"{function}: expects all tensors on one device, got {' and '.join(names)}; "
            "move them with .to(...)"
        )


def on_one_device(function: str, inputs: Sequence[Any]) -> list[Any] | None:
    """Inputs that an op could not take together, with those of the CPU that have no dimensions
    moved to where the others are, as numbers would be. None if there is nothing to move.

    Raises RuntimeError: other inputs are on different devices.
    """
    arrays = [getattr(x, "array", x) for x in inputs]
    places = [backend.place(a) if backend.is_array(a) else None for a in arrays]
    found = [p for p in dict.fromkeys(places) if p is not None]
    if len(found) < 2:
        return None
    wide = {p for a, p in zip(arrays, places, strict=True) if p is not None and a.ndim}
    on_gpu = [p for p in found if p[0] != "cpu"]
    if len(on_gpu) > 1 or ("cpu", None) in wide:
        _refuse_mixture(function, found)
    there = device(*on_gpu[0])
    moved = []
    for x, p in zip(inputs, places, strict=True):
        if p != ("cpu", None):
            moved.append(x)
        else:
            moved.append(x.to(there) if hasattr(x, "array") else backend.move(x, *on_gpu[0]))
    return moved

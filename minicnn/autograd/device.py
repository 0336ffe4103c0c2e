"""Where a tensor's memory is: `minicnn.device("cpu")`, `minicnn.device("cuda", 1)`."""

from __future__ import annotations

from typing import Any


class device:
    """A place for tensors: its `type` ("cpu" or "cuda") and its `index` (None: the current one).

    Raises RuntimeError for a type that does not exist. Naming "cuda" is always allowed; moving a
    tensor there is an error where no GPU can be used.
    """

    __slots__ = ("index", "type")
    _TYPES = ("cpu", "cuda")

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
        self.type: str = type
        self.index = index

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            other = device(other)
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"


CPU = device("cpu")

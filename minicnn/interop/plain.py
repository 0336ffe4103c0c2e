"""What a pickle built is looked over once: plain data of a bounded depth and size, no circles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autograd import Tensor, device
from .allowed import Name
from .safetensors import FormatError

_MAX_DEPTH = 100
_MAX_SIZE = 10_000_000  # values, one that stands in two places counted twice
_LEAVES = (Tensor, np.ndarray, np.generic, np.dtype, device, str, bytes, int, float, complex)


def check_plain(obj: Any) -> None:
    """FormatError unless `obj` is a tree of tensors, arrays, numbers, texts and containers.

    A pickle can say "a list of twice the list before" a hundred times over. It takes no memory,
    but whoever walks that list would walk 2**100 places; so the places are counted.
    """
    _walk(obj, 0, {})


def _walk(obj: Any, depth: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """(places, levels) of `obj`. `known` holds them for what was seen, and (0, 0) on the way."""
    children = _children(obj)
    if children is None:
        return 1, 0
    if depth > _MAX_DEPTH:
        raise FormatError(f"its data are more than {_MAX_DEPTH} levels deep")
    if id(obj) in known:
        places, levels = known[id(obj)]
        if not places:
            raise FormatError("its data contain themselves")
        if depth + levels > _MAX_DEPTH:
            raise FormatError(f"its data are more than {_MAX_DEPTH} levels deep")
        return places, levels
    known[id(obj)] = 0, 0
    places, levels = 1, 0
    for child in children:
        more, below = _walk(child, depth + 1, known)
        places, levels = places + more, max(levels, below + 1)
        if places > _MAX_SIZE:
            raise FormatError(f"its data unfold to more than {_MAX_SIZE} values")
    known[id(obj)] = places, levels
    return places, levels


def _children(obj: Any) -> Iterator[Any] | None:
    """What a container holds (keys are plain already); None for a value or an empty container."""
    if obj is None or isinstance(obj, _LEAVES):
        return None
    if isinstance(obj, dict):
        more = [obj._metadata] if hasattr(obj, "_metadata") else []
        return iter([*obj.values(), *more]) if obj or more else None
    if isinstance(obj, (list, tuple, set, frozenset)):
        return iter(obj) if obj else None
    if isinstance(obj, Name):
        raise FormatError(f"its data hold {obj.path} itself, not an object of it")
    raise FormatError("its data hold a bare storage; save a tensor that shows it")

"""Nested Python data with tensors in it, as arrays plus a JSON text, and back.

Strings, integers, booleans, None, finite floats and lists stand in the JSON as they are. Anything
else is an object with exactly one member, whose name says what it is:

    {"tensor": name}   {"array": name}   {"scalar": name}     an array of the file, by its name
    {"dict": [[key, value], ...]}   {"ordered": [...]}        keys need not be strings
    {"tuple": [...]}   {"float": "nan"}   {"dtype": "float32"}   {"device": "cpu"}

An array of the file has the path to its place as name: {"model": {"conv.weight": w}} stores w as
"model.conv.weight", and a state_dict's names are its keys. Tensors that are the same memory, shape
and strides (tied weights) are stored once, and share memory again when they come back.
"""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Size, Tensor, device
from ..backend import arrays as backend
from .safetensors import FormatError

_MAX_DEPTH = 100
_MAX_EQUAL_HASHES = 100  # of the keys of a dict
_DTYPES = {np.dtype(code).name for code in "?bhilqBHILQefdFD"}


class Encoder:
    """`encode(obj)` gives the JSON-able tree; `arrays` then holds what it refers to."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._known: dict[Any, str] = {}

    def encode(self, obj: Any, path: str = "", depth: int = 0) -> Any:
        """The tree of `obj`. TypeError, with the path, for what cannot be stored."""
        if depth > _MAX_DEPTH:
            raise ValueError(
                f"save: more than {_MAX_DEPTH} levels deep at {path[:80]!r} (a cycle?)"
            )
        if obj is None or type(obj) in (bool, int, str):
            return obj
        if type(obj) is float:
            return obj if math.isfinite(obj) else {"float": repr(obj)}
        if isinstance(obj, Tensor):
            return {"tensor": self._store(obj.array, path)}
        if backend.is_array(obj):
            return {"array": self._store(obj, path)}
        if isinstance(obj, np.generic):
            return {"scalar": self._store(np.asarray(obj), path)}
        if isinstance(obj, np.dtype) and obj.name in _DTYPES:
            return {"dtype": obj.name}
        if isinstance(obj, device):
            return {"device": str(obj)}
        if isinstance(obj, dict):
            kind = "ordered" if isinstance(obj, OrderedDict) else "dict"
            pairs = obj.items()
            return {
                kind: [
                    [self._key(k, path), self.encode(v, _join(path, k), depth + 1)]
                    for k, v in pairs
                ]
            }
        if type(obj) in (list, tuple, Size):
            items = [self.encode(v, _join(path, i), depth + 1) for i, v in enumerate(obj)]
            return items if type(obj) is list else {"tuple": items}
        raise TypeError(f"save: {_at(path)} is a {type(obj).__name__}; {_advice(obj)}")

    def _key(self, key: Any, path: str) -> Any:
        if key is None or type(key) in (bool, int, float, str):
            return self.encode(key, path)
        if type(key) in (tuple, Size):
            return {"tuple": [self._key(k, path) for k in key]}
        raise TypeError(f"save: {_at(path)} has a key of type {type(key).__name__}: {key!r}")

    def _store(self, array: Any, path: str) -> str:
        if array.dtype.kind not in "biufc":
            raise TypeError(
                f"save: {_at(path)} is an array of {array.dtype}; only numbers can be stored"
            )
        memory = (*backend.place(array), backend.address(array))
        where = (*memory, array.shape, array.strides, array.dtype.str)
        if where in self._known:
            return self._known[where]
        name, n = path or "value", 1
        while name in self.arrays or name == "__metadata__":
            n += 1
            name = f"{path or 'value'}#{n}"
        self.arrays[name] = backend.to_numpy(array)
        self._known[where] = name
        return name


def decode(text: str, arrays: dict[str, np.ndarray], source: str) -> Any:
    """What `Encoder.encode` was given. FormatError for a tree that means nothing."""
    try:
        return _Decoder(arrays, source).build(json.loads(text))
    except FormatError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError, RuntimeError) as error:
        raise FormatError(f"{source}: its structure is damaged ({error})") from None


class _Decoder:
    """`build(node)` gives what a node of the tree stands for."""

    def __init__(self, arrays: dict[str, np.ndarray], source: str) -> None:
        self.arrays = arrays
        self.source = source
        self.makers: dict[str, Callable[[Any], Any]] = {
            "tensor": lambda name: Tensor(self.array(name)),
            "array": self.array,
            "scalar": lambda name: self.array(name)[()],
            "dict": self.table,
            "ordered": lambda pairs: OrderedDict(self.table(pairs)),
            "tuple": lambda items: tuple(self.build(v) for v in _list(items)),
            "float": lambda text: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text],
            "dtype": _dtype,
            "device": device,
        }

    def build(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.build(v) for v in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((tag, value),) = node.items()
            if tag in self.makers:
                return self.makers[tag](value)
        raise FormatError(
            f"{self.source}: its structure holds {str(node)[:60]!r}, which means nothing"
        )

    def array(self, name: Any) -> np.ndarray:
        if not isinstance(name, str) or name not in self.arrays:
            raise FormatError(f"{self.source}: refers to an array {name!r} that it does not hold")
        return self.arrays[name]

    def table(self, pairs: Any) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        hashes: Counter[int] = Counter()
        for pair in _list(pairs):
            k, v = _list(pair)
            key = self.build(k)
            hashes[hash(key)] += 1
            if hashes[hash(key)] > _MAX_EQUAL_HASHES:  # each is compared with all of them
                raise FormatError(
                    f"{self.source}: its structure has keys that were made to cost time"
                )
            found[key] = self.build(v)
        return found


def _list(node: Any) -> list[Any]:
    if not isinstance(node, list):
        raise TypeError(f"{str(node)[:20]!r} is no list")
    return node


def _dtype(name: Any) -> np.dtype[Any]:
    if name not in _DTYPES:
        raise ValueError(f"no type {str(name)[:20]!r}")
    return np.dtype(name)


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _at(path: str) -> str:
    return f"the value at {path!r}" if path else "the object"


def _advice(obj: Any) -> str:
    if hasattr(obj, "state_dict"):
        return "save its state_dict() instead, and load it with load_state_dict()"
    return "tensors, arrays, numbers, strings, None, dicts, lists and tuples of them can be stored"

"""The few names that the pickle of a file of weights may use, and what they make here.

A name is never looked up in a module: it is a key of a table in this file (plain Python and NumPy
data) or of tensors.py (storages and tensors), and what stands there is our own function.

    file says                     becomes
    collections.OrderedDict       itself, with its `_metadata` (what a state_dict says of versions)
    defaultdict, Counter, set     themselves
    argparse.Namespace            a dict of its attributes
    torch.Size                    a tuple
    torch.device                  minicnn.device; its name, a str, for a device unknown here
    torch.float32, ...            numpy.dtype (bfloat16: that of float32)
    NumPy scalars and arrays      themselves, if they are numbers
"""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import device
from .safetensors import FormatError

_MAX_ODD_KEYS = 1000
_MAX_SHOWN = 256  # letters of a name in an error
_CODES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}
_UNREAD = {  # in a tensor's place
    "_rebuild_sparse_tensor": "for a sparse tensor; save its to_dense()",
    "_rebuild_qtensor": "for a quantized tensor; save its dequantize()",
    "_rebuild_nested_tensor": "for a nested tensor",
    "_rebuild_meta_tensor_no_storage": "for a tensor without values",
    "_rebuild_wrapper_subclass": "for a subclass of Tensor",
}


class Name:
    """What GLOBAL pushes: a name of the allow-list, and the function of ours behind it."""

    __slots__ = ("build", "hashes", "path")

    def __init__(self, path: str, build: Callable[..., Any], hashes: bool = False):
        self.path = path
        self.build = build
        self.hashes = hashes  # puts the elements of its arguments into a hash table

    def __call__(self, *args: Any) -> Any:
        return self.build(*args)


def refuse(module: str, name: str) -> FormatError:
    """The error for a name that no file of weights needs."""
    path = ascii(f"{module[:_MAX_SHOWN]}.{name[:_MAX_SHOWN]}")[1:-1]
    if name in _UNREAD or (module == "torch" and re.fullmatch(r"[a-z]+\d\w*", name)):
        path += f", {_UNREAD.get(name, 'a type that NumPy does not have')}"
    advice = "Only tensors and plain data are read, and nothing of the file was run"
    if name[:1].isupper():
        advice += "; if a whole model was saved, save its state_dict() instead"
    return FormatError(f"it asks for {path}. {advice}")


def check_key(key: Any, odd: list[int]) -> None:
    """FormatError for a key of a dict or an element of a set that could be made to cost time.

    Hashes of texts are seeded and those of small integers differ. Other hashes can be made to
    agree, and that of a tuple of tuples of ... takes time exponential in its depth; so only flat
    tuples pass, and `odd[0]` counts them all.
    """
    kind = type(key)
    if kind is str or kind is bool or key is None or (kind is int and abs(key) < 2**60):
        return
    odd[0] += 1
    if odd[0] > _MAX_ODD_KEYS:
        raise FormatError(f"more than {_MAX_ODD_KEYS} keys that are neither texts nor integers")
    parts = key if kind is tuple else (key,)
    plain = (str, bool, int, float, bytes, type(None))
    if len(parts) > 64 or not all(type(part) in plain for part in parts):
        raise FormatError(f"a {kind.__name__} as a key")


def build_state(target: Any, state: Any) -> Any:
    """What BUILD makes of an object and its state: the same object but for a dtype."""
    if type(target) is OrderedDict:
        if not (type(state) is dict and list(state) == ["_metadata"]):
            raise TypeError("an OrderedDict with attributes other than _metadata")
        if not isinstance(state["_metadata"], dict):
            raise TypeError("_metadata is no dict")
        target._metadata = state["_metadata"]  # type: ignore[attr-defined]
        return target
    if type(target) is dict:  # an argparse.Namespace
        if type(state) is not dict or not all(type(key) is str for key in state):
            raise TypeError("attributes that have no names")
        target.update(state)
        return target
    if type(target) is np.ndarray:
        return _fill_array(target, state)
    if isinstance(target, np.dtype):
        return _ordered(target, state)
    raise TypeError(f"a {type(target).__name__} has no state")


# ---------------------------------------------------------------------- Python's own


def _ordered_dict(*args: Any) -> OrderedDict[Any, Any]:
    """Python 2 gave the items as a list of lists."""
    result: OrderedDict[Any, Any] = OrderedDict()
    for pair in args[0] if args else ():
        key, value = pair
        if type(key) is not str:
            raise TypeError("a key that is no text")
        result[key] = value
    return result


_FACTORIES = {t.__name__: t for t in (list, dict, set, int, float, str)}


def _namespace() -> dict[str, Any]:
    return {}


def _default_dict(factory: Any = None) -> defaultdict[Any, Any]:
    if factory is None:
        return defaultdict()
    kind = _FACTORIES.get(factory.path.split(".")[-1]) if type(factory) is Name else None
    if kind is None:
        raise TypeError("only list, dict, set, int, float and str may make its values")
    return defaultdict(kind)


def _counter(counts: Any = None) -> Counter[Any]:
    if not (counts is None or type(counts) is dict):
        raise TypeError("a Counter of other than a dict")
    result: Counter[Any] = Counter()
    dict.update(result, counts or {})
    return result


def _set(items: Any = ()) -> set[Any]:
    return set(_sequence(items))


def _frozen_set(items: Any = ()) -> frozenset[Any]:
    return frozenset(_sequence(items))


def _sequence(items: Any) -> Any:
    if type(items) not in (list, tuple, set, frozenset):
        raise TypeError(f"a set of a {type(items).__name__}")
    return items


def _no_call(*args: Any) -> Any:
    raise TypeError("it is not to be called")


def _complex(real: Any, imaginary: Any) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise TypeError("a complex number of other than two floats")
    return complex(real, imaginary)


def _bytes(*args: Any) -> bytes:
    if args:
        raise TypeError("only empty bytes are made by name")
    return b""


def _byte_array(*args: Any) -> bytes:
    """A bytearray in protocol 2, of bytes (Python 2: of a text); bytes will do."""
    if len(args) == 1 and type(args[0]) is bytes:
        return args[0]
    return _encode(*args) if args else b""


def _encode(text: Any, encoding: Any) -> bytes:
    """How protocol 2 writes bytes."""
    if type(text) is not str or type(encoding) is not str or encoding != "latin1":
        raise TypeError("only latin1 is known")
    return text.encode("latin1")


# ---------------------------------------------------------------------- NumPy's


def _dtype(code: Any, align: Any = False, copy: Any = True) -> np.dtype[Any]:
    if type(code) is not str or code not in _CODES:
        raise TypeError("a type other than a number's")
    return np.dtype(code, copy=True)  # one of its own, so that BUILD finds it in the memo


def _ordered(dtype: np.dtype[Any], state: Any) -> np.dtype[Any]:
    """The dtype in the byte order that its state (3, "<", None, ...) gives."""
    if type(state) is not tuple or state[1:2] not in [("<",), (">",), ("|",), ("=",)]:
        raise TypeError("a type's state without a byte order")
    other = dtype.newbyteorder(state[1])
    return dtype if other == dtype else other


def _contents(dtype: Any, data: Any, count: int) -> np.ndarray:
    """A new array of `count` numbers that `data` holds exactly, in this machine's byte order."""
    if not isinstance(dtype, np.dtype):
        raise TypeError("numbers without a type")
    if type(data) is str:
        data = data.encode("latin1")  # bytes that Python 2 wrote
    if type(data) is not bytes or len(data) != count * dtype.itemsize:
        raise TypeError(f"{count} numbers of {dtype} of other than as many bytes")
    if dtype.kind == "b" and data.strip(b"\0\1"):
        raise TypeError("a truth value other than 0 and 1")
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))


def _scalar(dtype: Any, data: Any) -> Any:
    return _contents(dtype, data, 1)[0]


def _count(shape: Any) -> int:
    if type(shape) is not tuple or len(shape) > 64:
        raise TypeError("a shape that is none")
    if not all(type(n) is int and 0 <= n < 2**62 for n in shape):
        raise TypeError("sizes that are none")
    return math.prod(shape)


def _new_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    if type(kind) is not Name or kind.path != "numpy.ndarray":
        raise TypeError("an array that is not to be filled")
    return np.empty(0, np.int8)


def _fill_array(target: np.ndarray, state: Any) -> np.ndarray:
    if type(state) is not tuple or len(state) != 5 or target.size:
        raise TypeError("an array's state that is none")
    _, shape, dtype, fortran, data = state
    values = _contents(dtype, data, _count(shape))
    # The one way to change an array in place, so that all who hold it see it; all is checked.
    content: Any = (1, shape, values.dtype, bool(fortran), values.tobytes())
    target.__setstate__(content)
    return target


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """How protocol 5 writes arrays."""
    if order not in ("C", "F"):
        raise TypeError("an order other than C and F")
    return _contents(dtype, data, _count(shape)).reshape(shape, order=order)


# ---------------------------------------------------------------------- PyTorch's values


def _size(shape: Any = ()) -> tuple[int, ...]:
    _count(shape)
    return shape  # a plain tuple, which may be a key or the size of a tensor


def _device(kind: Any, index: Any = None) -> Any:
    if type(kind) is not str or len(kind) > 64 or not (index is None or type(index) is int):
        raise TypeError("a device without a name")
    try:
        return device(kind, index)
    except RuntimeError:  # "mps", "xpu"
        return kind if index is None else f"{kind}:{index}"


_PYTHON: dict[str, Callable[..., Any]] = {
    "set": _set, "frozenset": _frozen_set, "complex": _complex, "bytes": _bytes,
    "bytearray": _byte_array,
    "list": _no_call, "dict": _no_call, "int": _no_call, "float": _no_call, "str": _no_call,
}  # fmt: skip
_CORE: dict[str, Callable[..., Any]] = {"scalar": _scalar, "_reconstruct": _new_array}
_MODULES: dict[str, dict[str, Callable[..., Any]]] = {
    "builtins": _PYTHON,
    "__builtin__": _PYTHON,
    "collections": {
        "OrderedDict": _ordered_dict, "defaultdict": _default_dict, "Counter": _counter,
    },
    "argparse": {"Namespace": _namespace},
    "_codecs": {"encode": _encode},
    "numpy": {"dtype": _dtype, "ndarray": _no_call},
    "numpy.core.multiarray": _CORE,
    "numpy._core.multiarray": _CORE,
    "numpy.core.numeric": {"_frombuffer": _from_buffer},
    "numpy._core.numeric": {"_frombuffer": _from_buffer},
    "torch": {"Size": _size, "device": _device},
}  # fmt: skip
PLAIN = {
    (module, name): Name(f"{module}.{name}", build, hashes=build in (_set, _frozen_set))
    for module, names in _MODULES.items()
    for name, build in names.items()
}

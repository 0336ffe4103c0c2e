"""The storages and tensors that PyTorch's pickles describe, as NumPy arrays over shared memory.

A storage is a run of numbers; a tensor is a window on one: element (i, j, ...) of a tensor is
number offset + i*stride[0] + j*stride[1] + ... of its storage. So tied weights, slices, transposed
and expanded tensors all share memory, in the file and here.

While a pickle runs, only windows are laid: a storage's array is reserved when its first tensor
asks for it, once its size has been held against the file, and its numbers are read when the pickle
is done, in the order of the file.

NumPy has no bfloat16: such storages become float32, which holds every bfloat16 exactly.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Tensor
from .allowed import PLAIN, Name, build_state, refuse
from .safetensors import FormatError

# Equal to float32, but known apart from it: what it describes is stored in two bytes.
BFLOAT16 = np.dtype("f4", metadata={"stored as": "bfloat16"})
_UNTYPED = np.dtype("u1", metadata={"stored as": "bytes"})  # its first tensor says of what
_DTYPES = {
    name: np.dtype(name)
    for name in (
        "float64", "float32", "float16", "int8", "int16", "int32", "int64", "bool",
        "uint8", "uint16", "uint32", "uint64", "complex64", "complex128",
    )
}  # fmt: skip
_DTYPES["bfloat16"] = BFLOAT16
_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "CharStorage": "int8", "ShortStorage": "int16",
    "IntStorage": "int32", "LongStorage": "int64", "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
}  # fmt: skip
_KNOWN = {id(dtype) for dtype in (*_DTYPES.values(), _UNTYPED)}  # others come from NumPy's pickles
_CLASSES = ("torch.Tensor", "torch.nn.parameter.Parameter")
_MAX_DIMS = 64  # NumPy's
_MAX_REPEATED = 2**24  # elements of a tensor that has more of them than its storage


def stored_bytes(dtype: np.dtype[Any]) -> int:
    """The bytes that one number takes in a file."""
    return 2 if dtype is BFLOAT16 else dtype.itemsize


class Storage:
    """`numel` numbers of one type in the file, and the array that they will fill.

    `key` is the file's name for it, `location` the device that it was on.
    """

    def __init__(self, key: str, dtype: np.dtype[Any], numel: int, location: str):
        self.key = key
        self.dtype = dtype
        self.numel = self.declared = numel  # `typed` may turn bytes into numbers
        self.location = location
        self.array: np.ndarray | None = None  # of the plain type, without metadata
        self.windows: dict[Any, np.ndarray] = {}

    @property
    def nbytes(self) -> int:
        """Its size in the file."""
        return self.numel * stored_bytes(self.dtype)

    def typed(self, dtype: np.dtype[Any]) -> None:
        """Settles the type of an untyped storage; ValueError if it is settled otherwise."""
        if self.dtype is _UNTYPED and self.array is None:
            self.numel, rest = divmod(self.numel, stored_bytes(dtype))
            if rest:
                raise ValueError(f"storage {self.key!a} is no whole number of {dtype}")
            self.dtype = dtype
        if self.dtype is not dtype:
            raise ValueError(f"storage {self.key!a} holds {self.dtype}, not {dtype}")

    def window(
        self, offset: int, size: tuple[int, ...], stride: tuple[int, ...], room: int
    ) -> np.ndarray:
        """The array of a tensor; the same for the same tensor. Nothing beyond `room` is reached."""
        if 0 in size:
            return self._window(offset, size, stride, room)
        # Where an axis is one long its stride may be any number. Free numbers can be chosen so that
        # thousands of keys have one hash; those that lead into the storage are too small for it.
        key = offset, size, tuple(s if n > 1 else 0 for n, s in zip(size, stride, strict=True))
        if key not in self.windows:
            self.windows[key] = self._window(offset, size, stride, room)
        return self.windows[key]

    def _window(
        self, offset: int, size: tuple[int, ...], stride: tuple[int, ...], room: int
    ) -> np.ndarray:
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if (last if count else offset - 1) >= room:
            raise ValueError(
                f"a tensor of shape {size!s:.80}, strides {stride!s:.80} and offset {offset} "
                f"reaches beyond the {room} numbers of storage {self.key!a}"
            )
        if count > max(self.numel, _MAX_REPEATED):
            raise ValueError(
                f"a tensor of shape {size!s:.80} repeats the {self.numel} numbers of storage "
                f"{self.key!a} to more than {_MAX_REPEATED}"
            )
        dtype = np.dtype(self.dtype.char)
        if self.array is None:
            self.array = np.empty(self.numel, dtype)
        if not count:
            return np.empty(size, dtype)
        width = dtype.itemsize
        steps = [step * width if n > 1 else width for n, step in zip(size, stride, strict=True)]
        return np.ndarray(size, dtype, self.array, offset * width, steps)

    def fill(self, read_into: Callable[[memoryview], None], byte_order: str) -> None:
        """Reads its numbers, which are in `byte_order`, "little" or "big"."""
        if self.array is None or not self.numel:
            return
        array = np.empty(self.numel, "u2") if self.dtype is BFLOAT16 else self.array
        read_into(array.view(np.uint8).data)
        if byte_order != sys.byteorder:
            array.byteswap(inplace=True)
        if self.dtype is BFLOAT16:  # the upper half of a float32
            np.left_shift(array, 16, out=self.array.view(np.uint32), dtype=np.uint32)
        if self.dtype.kind == "b" and (self.array.view(np.uint8) > 1).any():
            raise FormatError(f"storage {self.key!a} of truth values holds other than 0 and 1")


class Part:
    """The numbers from `start` on of a storage: how the legacy format kept a storage's views."""

    def __init__(self, storage: Storage, start: int, numel: int):
        self.storage = storage
        self.start = start
        self.numel = numel


class Tensors:
    """What the pickle of one file may ask for: its storages and its tensors.

    Args:
        check: is given each storage when it is declared; FormatError if the file cannot hold it.

    `storages` are those declared, `locations` the names of the devices that tensors were on,
    by the tensors' id.
    """

    def __init__(self, check: Callable[[Storage], None]):
        self.check = check
        self.storages: dict[str, Storage] = {}
        self.locations: dict[int, str] = {}
        makers: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v3"): self._typed_tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): self._parameter,
            ("torch._tensor", "_rebuild_from_type_v2"): self._of_type,
            ("torch", "Tensor"): _no_call,
            ("torch.nn.parameter", "Parameter"): self._old_parameter,
            ("torch.autograd.variable", "Variable"): self._old_parameter,
        }
        for module in ("torch", "torch.cuda"):  # the classes of tensors before PyTorch 0.4
            for name in _STORAGES:
                makers[module, name.replace("Storage", "Tensor")] = _old_tensor
        self.names = {key: Name(".".join(key), make) for key, make in makers.items()}

    def find(self, module: str, name: str) -> Any:
        """What GLOBAL pushes; FormatError for a name that is not on the list."""
        if (module, name) in PLAIN:
            return PLAIN[module, name]
        if (module, name) in self.names:
            return self.names[module, name]
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module == "torch" and name in _STORAGES:
            return _DTYPES[_STORAGES[name]]
        if module in ("torch", "torch.storage") and name == "UntypedStorage":
            return _UNTYPED
        raise refuse(module, name)

    def storage(self, reference: Any) -> Storage | Part:
        """The storage of a persistent id ("storage", type, key, location, numel[, view])."""
        if (
            type(reference) is not tuple
            or len(reference) not in (5, 6)
            or reference[0] != "storage"
        ):
            raise FormatError("a persistent id that is no storage's")
        _, dtype, key, location, numel, *view = reference
        if id(dtype) not in _KNOWN or type(key) is not str or type(location) is not str:
            raise FormatError("a storage's type, key or device is none")
        if type(numel) is not int or numel < 0:
            raise FormatError(f"storage {key!a} has a size that is none")
        if key not in self.storages:
            storage = Storage(key, dtype, numel, location[:64])
            self.check(storage)
            self.storages[key] = storage
        storage = self.storages[key]
        size = numel * stored_bytes(dtype)
        if storage.nbytes != size or (storage.dtype is not dtype and dtype is not _UNTYPED):
            raise FormatError(f"storage {key!a} is declared twice, in two ways")
        if not view or view[0] is None:
            return storage
        match view[0]:
            case (str(), int(start), int(count)) if 0 <= start <= start + count <= numel:
                return Part(storage, start, count)
        raise FormatError(f"a view of storage {key!a} that lies beyond it")

    def _tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False,
        hooks: Any = None, metadata: Any = None,
    ) -> Tensor:  # fmt: skip
        if type(storage) not in (Storage, Part):
            raise TypeError("a tensor without a storage")
        whole, start = (storage.storage, storage.start) if type(storage) is Part else (storage, 0)
        whole.typed(whole.dtype if whole.dtype is not _UNTYPED else _DTYPES["uint8"])
        if metadata:
            raise TypeError("a conjugated or negated view; save its resolve_conj()")
        for numbers in (size, stride, (offset,)):
            if type(numbers) is not tuple or not all(type(n) is int and n >= 0 for n in numbers):
                raise TypeError("sizes, strides or an offset that are no counts")
        if len(size) != len(stride) or len(size) > _MAX_DIMS:
            raise TypeError(f"{len(size)} sizes and {len(stride)} strides")
        array = whole.window(start + offset, size, stride, start + storage.numel)
        tensor = Tensor(array, requires_grad=_flag(requires_grad))
        self.locations[id(tensor)] = whole.location
        return tensor

    def _typed_tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any,
        hooks: Any, dtype: Any, metadata: Any = None,
    ) -> Tensor:  # fmt: skip
        """Types without a storage class of their own, such as uint16."""
        if type(storage) is not Storage or id(dtype) not in _KNOWN:
            raise TypeError("a tensor without a storage or a type")
        storage.typed(dtype)
        return self._tensor(storage, offset, size, stride, requires_grad, hooks, metadata)

    def _parameter(self, data: Any, requires_grad: Any, hooks: Any, state: Any = None) -> Tensor:
        """A tensor that requires its gradient; Python attributes (its state) are left out."""
        if not isinstance(data, Tensor):
            raise TypeError("a parameter of no tensor")
        parameter = Tensor(data, requires_grad=_flag(requires_grad))
        self.locations[id(parameter)] = self.locations.get(id(data), "cpu")
        return parameter

    def _old_parameter(self, data: Any = None) -> Tensor:
        """PyTorch before 0.4 pickled a Parameter by its class; its state follows."""
        return self._parameter(_old_tensor() if data is None else data, True, None)

    def set_state(self, target: Any, state: Any) -> Any:
        """BUILD: PyTorch before 0.4 gave tensors and parameters their contents by it."""
        if not isinstance(target, Tensor):
            return build_state(target, state)
        match state:
            case (storage, offset, size, stride):
                data = self._tensor(storage, offset, size, stride)
                self._become(target, data, target.requires_grad)
            case (Tensor() as data, _, _, bool(requires_grad), _):
                self._become(target, data, requires_grad)
            case (bool(requires_grad), _, _):
                target.requires_grad = requires_grad
            case _:
                raise TypeError("a tensor's state that is none")
        return target

    def _become(self, target: Tensor, data: Tensor, requires_grad: bool) -> None:
        target.requires_grad = False
        target.array = data.array.view()
        target.requires_grad = requires_grad  # which integers cannot
        self.locations[id(target)] = self.locations.get(id(data), "cpu")

    def _of_type(self, make: Any, kind: Any, args: Any, state: Any) -> Tensor:
        """A tensor with Python attributes, which are left out. Subclasses were refused by name."""
        if type(make) is not Name or make not in self.names.values() or type(args) is not tuple:
            raise TypeError("a tensor of an unknown maker")
        if type(kind) is not Name or kind.path not in _CLASSES:
            raise TypeError("a tensor of an unknown class")
        if make.path.endswith("_rebuild_from_type_v2"):
            raise TypeError("a tensor within a tensor")
        return make(*args)


def _old_tensor() -> Tensor:
    return Tensor(np.empty(0, np.float32))


def _no_call(*args: Any) -> Any:
    raise TypeError("it is not to be called")


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError("requires_grad is no truth value")
    return value

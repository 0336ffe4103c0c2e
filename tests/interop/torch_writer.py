"""Writes PyTorch's file formats without PyTorch, honest files and lying ones alike."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np

STORAGE = {
    "float64": "Double", "float32": "Float", "float16": "Half", "bfloat16": "BFloat16",
    "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long", "uint8": "Byte",
    "bool": "Bool", "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip


class Global(NamedTuple):
    """A name for the GLOBAL instruction."""

    module: str
    name: str


class Call:
    """What REDUCE makes of a Global and arguments, and BUILD of a state."""

    def __init__(self, module: str, name: str, *args: Any, state: Any = None, new: bool = False):
        self.function, self.args, self.state, self.new = Global(module, name), args, state, new


class Persistent:
    """A persistent id."""

    def __init__(self, *parts: Any):
        self.parts = parts


class Raw:
    """Instructions as they are."""

    def __init__(self, code: bytes):
        self.code = code


def pickled(obj: Any) -> bytes:
    """The pickle of `obj` in protocol 2, with the memo used for texts as Python does."""
    out, memo = io.BytesIO(), {}
    _write(obj, out, memo)
    return b"\x80\x02" + out.getvalue() + b"."


def _write(obj: Any, out: io.BytesIO, memo: dict[str, int] | None) -> None:
    def write(*parts: Any) -> None:
        for part in parts:
            out.write(part) if type(part) is bytes else _write(part, out, memo)

    if isinstance(obj, Raw):
        write(obj.code)
    elif obj is None or type(obj) is bool:
        write({None: b"N", True: b"\x88", False: b"\x89"}[obj])
    elif type(obj) is int:
        size = obj.bit_length() // 8 + 1
        short = b"K" + bytes([obj]) if 0 <= obj < 256 else None
        write(short or b"\x8a" + bytes([size]) + obj.to_bytes(size, "little", signed=True))
    elif type(obj) is float:
        write(b"G" + struct.pack(">d", obj))
    elif type(obj) is str and memo and obj in memo:
        write(b"j" + struct.pack("<I", memo[obj]))
    elif type(obj) is str:
        data = obj.encode()
        write(b"X" + struct.pack("<I", len(data)) + data)
        if memo is not None:
            memo[obj] = len(memo)
            write(b"r" + struct.pack("<I", memo[obj]))
    elif isinstance(obj, Global):
        write(f"c{obj.module}\n{obj.name}\n".encode())
    elif isinstance(obj, Call):
        write(obj.function, tuple(obj.args), b"\x81" if obj.new else b"R")
        if obj.state is not None:
            write(obj.state, b"b")
    elif isinstance(obj, Persistent):
        write(obj.parts, b"Q")
    elif isinstance(obj, dict):
        write(b"}(", *(part for item in obj.items() for part in item), b"u")
    elif isinstance(obj, list):
        write(b"](", *obj, b"e")
    elif isinstance(obj, tuple):
        write(b"(", *obj, b"t")
    else:
        raise TypeError(f"no instruction for a {type(obj).__name__}")


def ordered(items: dict[str, Any] | None = None, state: Any = None) -> Any:
    """An OrderedDict with its items, in the order of instructions that pickle uses."""
    pairs = (part for item in (items or {}).items() for part in item)
    made = [Call("collections", "OrderedDict"), Raw(b"("), *pairs, Raw(b"u")]
    return Sequence(*made, *([state, Raw(b"b")] if state is not None else []))


class Sequence(Raw):
    """Objects and instructions one behind the other, which leave one object."""

    def __init__(self, *parts: Any):
        out = io.BytesIO()
        for part in parts:
            _write(part, out, None)
        super().__init__(out.getvalue())


def storage(
    key: str, dtype: str, numel: int, location: str = "cpu", view: tuple[Any, ...] = ()
) -> Persistent:
    """The persistent id of a storage; the legacy format has a sixth field, the view."""
    kind = Global("torch", f"{STORAGE[dtype]}Storage")
    return Persistent("storage", kind, key, location, numel, *view)


def tensor(where: Any, size: Any, stride: Any = None, offset: Any = 0, grad: Any = False) -> Call:
    """A tensor of a storage, as every PyTorch since 0.4 writes it."""
    if stride is None:
        stride = tuple(int(np.prod(size[i + 1 :])) for i in range(len(size)))
    return Call(
        "torch._utils", "_rebuild_tensor_v2", where, offset, size, stride, grad, ordered()
    )  # fmt: skip


def archive(
    obj: Any,
    storages: dict[str, bytes],
    folder: str = "archive",
    order: bytes | None = b"little",
    method: int = zipfile.ZIP_STORED,
    more: dict[str, bytes] | None = None,
) -> bytes:
    """The zip format. `obj` may be the bytes of a pickle."""
    code = obj if isinstance(obj, bytes) else pickled(obj)
    records = {"data.pkl": code, **({"byteorder": order} if order else {})}
    records |= {f"data/{key}": data for key, data in storages.items()}
    records |= {"version": b"3\n", ".data/serialization_id": b"1" * 40}
    return zipped(
        {f"{folder}/{name}": data for name, data in records.items()} | (more or {}), method
    )


def zipped(records: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in records.items():
            file.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def stream(
    obj: Any,
    storages: dict[str, tuple[int, bytes]],
    keys: Any = None,
    magic: Any = 0x1950A86A20F9469CFC6C,
    protocol: Any = 1001,
) -> bytes:
    """The legacy format. `storages` gives the count of numbers and the bytes by key."""
    about = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    code = obj if isinstance(obj, bytes) else pickled(obj)
    head = pickled(magic) + pickled(protocol) + pickled(about) + code
    head += pickled(list(storages) if keys is None else keys)
    return head + b"".join(struct.pack("<q", n) + data for n, data in storages.values())

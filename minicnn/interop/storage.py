"""minicnn.save and minicnn.load: what torch.save and torch.load are used for, without trust."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from typing import Any, BinaryIO, cast

from ..autograd import Tensor
from ..autograd import device as device_type
from ..backend import arrays as backend
from . import numpy_files, safetensors, torch_files
from .files import atomic_write
from .safetensors import FormatError
from .structure import Encoder, decode
from .zip_records import Archive, whole

_KEY = "minicnn.structure"


def save(obj: Any, f: Any, *, metadata: dict[str, str] | None = None) -> None:
    """Stores `obj` in a safetensors file: no pickle, so that reading it can never run code.

    Args:
        obj: a state_dict, or any nesting of dicts, lists and tuples of tensors, arrays, numbers,
            strings and None, such as {"epoch": 3, "model": net.state_dict(), "optimizer": ...}.
            Tensors that share all their memory (tied weights) are stored once and share it again
            after `load`; other views are stored as copies. Gradients and graphs are not stored.
        f: a path, or an open binary file. A path is written atomically: a full disk or a kill
            leaves what was there before.
        metadata: strings by name that travel along, {"arch": "resnet18"};
            `minicnn.interop.read_metadata` and every reader of safetensors files find them.

    The tensors of a state_dict stand in the file under its keys, those of a nested dict under
    dotted paths ("model.conv.weight"), for any reader of safetensors files.

    Raises TypeError for what cannot be stored (a Module: save its state_dict), ValueError for
    metadata whose names begin with "minicnn.", OSError for what the disk refuses.
    """
    encoder = Encoder()
    tree = encoder.encode(obj)
    notes = {_KEY: json.dumps(tree, separators=(",", ":"), allow_nan=False), **_checked(metadata)}
    if hasattr(f, "write"):
        safetensors.write(f, encoder.arrays, notes)
        return
    with atomic_write(f) as file:
        safetensors.write(file, encoder.arrays, notes)


def _checked(metadata: Any) -> dict[str, str]:
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise TypeError(f"save: metadata expects a dict, got {type(metadata).__name__}")
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"save: metadata expects strings by name, got {key!r}: {value!r}")
        if key.startswith("minicnn."):
            raise ValueError(f"save: metadata has a name that minicnn uses itself: {key!r}")
    return metadata


def read_metadata(f: Any) -> dict[str, str]:
    """The metadata of a safetensors file, whoever wrote it; its tensors are not read.

    Args:
        f: a path, or an open binary file that can seek.

    Raises FormatError for another file.
    """
    with _opened("read_metadata", f) as file:
        source = _source("read_metadata", f)
        found = safetensors.read_metadata(file, safetensors.remaining_size(file), source)
    return {key: value for key, value in found.items() if key != _KEY}


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
) -> Any:
    """What a file of weights holds, in the structure in which it was saved.

    The content says which of these the file is, not its name:
        what `save` wrote, any other safetensors file (a dict of tensors),
        what torch.save wrote since PyTorch 0.4: a state_dict, or a checkpoint that holds one,
        NumPy's .npz (a dict of tensors) and .npy (a tensor).

    No file can run code. PyTorch's pickles are read by an interpreter that builds tensors, arrays,
    numbers, strings and containers of them, and refuses every other name (see interop/allowed.py,
    which also says what becomes of them). bfloat16 becomes float32, which holds it exactly, and
    `save` writes that. Tensors that share a storage share memory here; a parameter is a tensor that
    requires its gradient.

    Args:
        f: a path, or an open binary file that can seek.
        map_location: where tensors shall go: a device or its name, a dict {"cuda:0": "cpu"}, or a
            function (tensor, "cuda:0") -> tensor or None, given where the tensor was saved from.
            Default: the CPU, where every file is read. Elsewhere, tensors share memory only if
            they are the same elements.
        pickle_module, weights_only, mmap: accepted for PyTorch's sake. weights_only=False changes
            nothing: no code is run.

    Raises FormatError (a ValueError) for a file that is cut short, damaged, of another format, or
    that asks for more than data; nothing is returned of it. Memory is taken for what a file holds,
    never for what it claims. FileNotFoundError and other OSErrors as the system words them.
    """
    with _opened("load", f) as file:
        obj, locations = _load_file(file, _source("load", f))
    return obj if map_location is None else _moved(obj, map_location, locations, {})


def _load_file(file: BinaryIO, source: str) -> tuple[Any, dict[int, str]]:
    """The object, and where its tensors were, by their id; on the CPU if it is not said."""
    start = file.tell()
    first = file.read(512)
    if not isinstance(first, bytes):
        raise TypeError(f"{source}: is open as text; open it in binary mode, 'rb'")
    file.seek(start)
    if _is_safetensors(first):
        return _load_safetensors(file, source), {}
    try:
        if first.startswith(numpy_files.MAGIC):
            return Tensor(numpy_files.read_npy(file, safetensors.remaining_size(file))), {}
        if first.startswith(b"\x80"):
            return torch_files.read_stream(file)
        if first.startswith(b"PK"):
            return _load_zip(file)
    except FormatError as error:
        raise FormatError(f"{source}: {error}") from None
    except MemoryError:
        raise FormatError(f"{source}: does not fit into memory") from None
    if first[257:262] == b"ustar":
        raise FormatError(
            f"{source}: is a tar archive; PyTorch's format before 0.4 was one, which is not read"
        )
    raise FormatError(
        f"{source}: is no safetensors file, nor one of PyTorch's or NumPy's; it "
        + (f"begins with {first[:16]!r}" if first else "is empty")
    )


def _is_safetensors(first: bytes) -> bool:
    """A header begins behind its length, whatever that looks like."""
    return first[8:9] == b"{" and not first.startswith(numpy_files.MAGIC)


def _load_safetensors(file: BinaryIO, source: str) -> Any:
    arrays, metadata = safetensors.read(file, safetensors.remaining_size(file), source)
    if _KEY in metadata:
        return decode(metadata[_KEY], arrays, source)
    return {name: Tensor(array) for name, array in arrays.items()}


def _load_zip(file: BinaryIO) -> tuple[Any, dict[int, str]]:
    archive = Archive(whole(file))
    if torch_files.is_archive(archive):
        return torch_files.read_archive(archive)
    if all(name.endswith(".npy") for name in archive.records):
        return {name: Tensor(x) for name, x in numpy_files.read_npz(archive).items()}, {}
    raise FormatError("it is a zip archive, but neither of PyTorch's (data.pkl) nor an .npz")


def _opened(function: str, f: Any) -> contextlib.AbstractContextManager[BinaryIO]:
    """The file `f`, or the file at that path, which is closed afterwards."""
    if hasattr(f, "read"):
        return contextlib.nullcontext(f)
    if not isinstance(f, (str, bytes, os.PathLike)):  # an integer would be a descriptor, and closed
        kind = type(f).__name__
        raise TypeError(f"{function}: f expects a path or an open binary file, got {kind}")
    return open(f, "rb")


def _source(function: str, f: Any) -> str:
    name = getattr(f, "name", None) if hasattr(f, "read") else os.fspath(f)
    return f"{function}: {name}" if isinstance(name, str) else function


def _moved(obj: Any, where: Any, locations: dict[int, str], done: dict[Any, Any]) -> Any:
    """`obj` with its tensors moved; those that were the same memory still are.

    `done` holds what was moved: tensors by their memory, containers by their id.
    """
    if isinstance(obj, Tensor):
        place = backend.address(obj.array), obj.array.shape, obj.array.strides
        key = (obj.requires_grad, obj.dtype, *place)
        if key not in done:
            done[key] = _move(obj, where, locations.get(id(obj), "cpu"))
        return done[key]
    if not isinstance(obj, (dict, list, tuple)):
        return obj
    if id(obj) not in done:
        result: Any
        if isinstance(obj, dict):
            result = copy.copy(obj)  # with a defaultdict's factory, a state_dict's _metadata
            for name, value in obj.items():
                result[name] = _moved(value, where, locations, done)
        else:
            result = type(obj)([_moved(value, where, locations, done) for value in obj])
        done[id(obj)] = result
    return done[id(obj)]


def _move(tensor: Tensor, where: Any, location: str) -> Tensor:
    if isinstance(where, dict):
        where = where.get(location, "cpu")
    elif not isinstance(where, (str, int, device_type)):
        result = where(tensor, location)
        return tensor if result is None else cast(Tensor, result)
    place = device_type(where)
    if place.type == "cpu":
        return tensor
    return tensor.detach().to(place).requires_grad_(tensor.requires_grad)

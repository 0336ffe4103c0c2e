"""minicnn.save and minicnn.load: what torch.save and torch.load are used for, without pickle."""

from __future__ import annotations

import json
import os
from typing import Any, BinaryIO, cast

from ..autograd import Tensor
from ..autograd import device as device_type
from . import safetensors
from .files import atomic_write
from .safetensors import FormatError
from .structure import Encoder, decode

_KEY = "minicnn.structure"


def save(obj: Any, f: Any) -> None:
    """Stores `obj` in a safetensors file: no pickle, so that reading it can never run code.

    Args:
        obj: a state_dict, or any nesting of dicts, lists and tuples of tensors, arrays, numbers,
            strings and None, such as {"epoch": 3, "model": net.state_dict(), "optimizer": ...}.
            Tensors that share all their memory (tied weights) are stored once and share it again
            after `load`; other views are stored as copies. Gradients and graphs are not stored.
        f: a path, or an open binary file. A path is written atomically: a full disk or a kill
            leaves what was there before.

    The tensors of a state_dict stand in the file under its keys, those of a nested dict under
    dotted paths ("model.conv.weight"), for any reader of safetensors files.

    Raises TypeError for what cannot be stored (a Module: save its state_dict), OSError for what
    the disk refuses.
    """
    encoder = Encoder()
    tree = encoder.encode(obj)
    metadata = {_KEY: json.dumps(tree, separators=(",", ":"), allow_nan=False)}
    if hasattr(f, "write"):
        safetensors.write(f, encoder.arrays, metadata)
        return
    with atomic_write(f) as file:
        safetensors.write(file, encoder.arrays, metadata)


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
) -> Any:
    """What `save` stored in `f`, in the same structure. A foreign safetensors file gives a dict.

    Args:
        f: a path, or an open binary file that can seek.
        map_location: where tensors shall go: a device or its name, a dict {"cpu": "cuda"}, or a
            function (tensor, "cpu") -> tensor or None. Default: the CPU, where every file is read.
        pickle_module, weights_only, mmap: accepted for PyTorch's sake; nothing is unpickled here.

    Raises FormatError (a ValueError) for a file that is cut short, damaged or of another format;
    nothing is returned of it. FileNotFoundError and other OSErrors as the system words them.
    """
    if hasattr(f, "read"):
        obj = _load_file(f, _source(f))
    else:
        with open(f, "rb") as file:
            obj = _load_file(file, f"load: {os.fspath(f)}")
    return obj if map_location is None else _moved(obj, map_location, {})


def _load_file(file: BinaryIO, source: str) -> Any:
    start = file.tell()
    _refuse_others(file.read(9), source)
    file.seek(start)
    arrays, metadata = safetensors.read(file, safetensors.remaining_size(file), source)
    if _KEY in metadata:
        return decode(metadata[_KEY], arrays, source)
    return {name: Tensor(array) for name, array in arrays.items()}


def _refuse_others(first: bytes, source: str) -> None:
    """Names the formats that are often mistaken for this one."""
    if first[8:] == b"{":  # where a header begins, whatever its length looks like
        return
    if first[:2] == b"PK" or first[:1] == b"\x80":
        raise FormatError(
            f"{source}: looks like a PyTorch .pth file (or a NumPy .npz), not safetensors; minicnn "
            "does not read it. Where PyTorch is installed, convert it once: safetensors.torch."
            "save_file(torch.load('in.pth', weights_only=True), 'out.safetensors')"
        )
    if first[:6] == b"\x93NUMPY":
        raise FormatError(f"{source}: is a NumPy .npy file; read it with numpy.load")


def _source(file: Any) -> str:
    name = getattr(file, "name", None)
    return f"load: {name}" if isinstance(name, str) else "load"


def _moved(obj: Any, where: Any, done: dict[int, Tensor]) -> Any:
    """`obj` with its tensors moved; those that shared memory still do."""
    if isinstance(obj, Tensor):
        key = id(obj.array)
        if key not in done:
            done[key] = _move(obj, where)
        return done[key]
    if isinstance(obj, dict):
        return type(obj)((k, _moved(v, where, done)) for k, v in obj.items())
    if isinstance(obj, (list, tuple)):
        return type(obj)([_moved(v, where, done) for v in obj])
    return obj


def _move(tensor: Tensor, where: Any) -> Tensor:
    if isinstance(where, dict):
        where = where.get("cpu", "cpu")
    elif not isinstance(where, (str, int, device_type)):
        result = where(tensor, "cpu")
        return tensor if result is None else cast(Tensor, result)
    place = device_type(where)
    return tensor if place.type == "cpu" else tensor.to(place)

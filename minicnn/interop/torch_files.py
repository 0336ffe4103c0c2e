"""PyTorch's two file formats, .pth or .pt or .bin: a zip archive, and before 1.6 one stream.

The archive has one folder of any name: data.pkl, a pickle whose persistent ids name storages;
data/KEY, the numbers of each storage; byteorder, "little" or "big".

The stream is five pickles, one behind the other: a magic number, the protocol 1001, a dict about
the machine, the object, and the list of its storages' keys; then each storage, as the count of its
numbers (8 bytes) and the numbers, always with their low byte first.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, BinaryIO

from .allowed import refuse
from .pickle_machine import Machine
from .plain import check_plain
from .safetensors import FormatError, remaining_size
from .streams import read_into
from .tensors import Storage, Tensors
from .zip_records import Archive

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_THREADED = 1 << 22  # bytes from which on threads are worth starting
_MAX_INFLATED = 1 << 20  # of a compressed pickle, which makes objects much larger than itself


def is_archive(archive: Archive) -> bool:
    """Whether a zip archive is PyTorch's."""
    return any(name.count("/") == 1 and name.endswith("/data.pkl") for name in archive.records)


def read_archive(archive: Archive) -> tuple[Any, dict[int, str]]:
    """The object of a PyTorch archive, and where its tensors were (see Tensors.locations)."""
    folder = _folder(archive)
    order = _byte_order(archive, f"{folder}byteorder")

    def check(storage: Storage) -> None:
        record = archive.records.get(f"{folder}data/{storage.key}")
        if record is None:
            raise FormatError(f"storage {storage.key!a} is not in the archive")
        if record.size != storage.nbytes:
            raise FormatError(
                f"storage {storage.key!a} is to be {storage.nbytes} bytes; "
                f"its record has {record.size}"
            )

    tensors = Tensors(check)
    obj = _unpickle(_open_pickle(archive, f"{folder}data.pkl"), tensors)
    fill = partial(_fill, archive, f"{folder}data/", order)
    if sum(storage.nbytes for storage in tensors.storages.values()) < _THREADED:
        for storage in tensors.storages.values():
            fill(storage)
    else:  # reading, summing and unpacking leave Python's lock to others
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(fill, tensors.storages.values()))
    return obj, tensors.locations


def _fill(archive: Archive, folder: str, order: str, storage: Storage) -> None:
    storage.fill(partial(archive.read_into, f"{folder}{storage.key}"), order)


def _folder(archive: Archive) -> str:
    """The name of the archive's one folder, with a slash."""
    folders = {name.split("/")[0] + "/" for name in archive.records}
    if len(folders) != 1:
        raise FormatError("a PyTorch archive has one folder, this one has several")
    folder = folders.pop()
    if f"{folder}constants.pkl" in archive.records:
        raise FormatError(
            "it is a TorchScript program (torch.jit.save), which has code to run; "
            "save the state_dict() of the model instead"
        )
    return folder


def _byte_order(archive: Archive, name: str) -> str:
    if name not in archive.records:
        return "little"  # what PyTorch before 2.1 means
    record = archive.records[name]
    order = archive.read(name) if record.size < 10 else b""
    if order not in (b"little", b"big"):
        raise FormatError("its record byteorder is neither little nor big")
    return order.decode()


def _open_pickle(archive: Archive, name: str) -> BinaryIO:
    record = archive.records[name]
    if record.deflated and record.size > _MAX_INFLATED:
        raise FormatError(
            f"its record {name!a} claims {record.size} bytes; a compressed pickle may have "
            f"{_MAX_INFLATED} (PyTorch does not compress)"
        )
    return io.BytesIO(archive.read(name))


def _unpickle(file: BinaryIO, tensors: Tensors) -> Any:
    obj = Machine(file, tensors.find, tensors.storage, tensors.set_state).run()
    check_plain(obj)
    return obj


# ---------------------------------------------------------------------- the stream


def read_stream(file: BinaryIO) -> tuple[Any, dict[int, str]]:
    """The object of a legacy file, and where its tensors were (see Tensors.locations)."""
    size = remaining_size(file)
    declared = 0

    def check(storage: Storage) -> None:
        nonlocal declared
        declared += storage.nbytes
        if declared > size:
            raise FormatError(f"its storages claim {declared} bytes of a file of {size}")

    if Machine(file, refuse_all).run() != _MAGIC:
        raise FormatError("it is a pickle, but none that torch.save wrote")
    if Machine(file, refuse_all).run() != _PROTOCOL:
        raise FormatError(f"its protocol is other than {_PROTOCOL}")
    Machine(file, refuse_all).run()
    tensors = Tensors(check)
    obj = _unpickle(file, tensors)
    keys = Machine(file, refuse_all).run()
    if type(keys) is not list or any(type(key) is not str for key in keys):
        raise FormatError("its list of storages is none")
    if len(keys) != len(set(keys)) or set(keys) != set(tensors.storages):
        raise FormatError("its list of storages differs from those of its tensors")
    for key in keys:
        _read_storage(file, tensors.storages[key])
    return obj, tensors.locations


def refuse_all(module: str, name: str) -> Any:
    """For the pickles that hold numbers and texts alone."""
    raise refuse(module, name)


def _read_storage(file: BinaryIO, storage: Storage) -> None:
    count = int.from_bytes(file.read(8), "little")
    if count != storage.declared:
        raise FormatError(f"storage {storage.key!a} of {storage.declared} numbers has {count}")
    if remaining_size(file) < storage.nbytes:
        raise FormatError(f"the file ends within storage {storage.key!a}")
    end = file.tell() + storage.nbytes
    storage.fill(partial(_read_exactly, file), "little")
    file.seek(end)


def _read_exactly(file: BinaryIO, target: memoryview) -> None:
    if read_into(file, target) != len(target):
        raise FormatError("the file became shorter while it was read")

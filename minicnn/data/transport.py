"""How batches and exceptions travel from a worker process to the program.

A batch is pickled with protocol 5, which leaves the memory of large arrays out of the stream. What
is small goes through the pipe. What is large is written into a memory file (memfd: memory with a
file descriptor and no name), and only its descriptor goes through the pipe:

    worker                                                    program
    write stream and arrays into a new memfd
    send (label, sizes), descriptor, close it  --pipe-->      map it, close the descriptor
                                                              unpickle: the arrays are the mapping

So nothing is copied on the program's side, the arrays are writable and its own, and their memory
goes when they do. No name exists that a killed process could leave in /dev/shm, and the size of
/dev/shm does not matter. The file is written, not mapped, by the worker: where there is no memory
left, `write` says so, while a mapping would crash (SIGBUS). The batch then takes the pipe, as it
always does where the system has no memfd (macOS, Windows).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import sys
import traceback
import weakref
from collections.abc import Iterable
from multiprocessing import reduction
from typing import Any

_SMALL = 1 << 16  # bytes: below, an array stays in the stream, and a message in the pipe
_ALIGNED = 64  # bytes: where an array may begin in the memory file
# Maps are counted by the system, and before Python 3.13 each one keeps a descriptor open: a program
# that collects thousands of batches gets copies from here on.
_MAPPED_AT_MOST = 128
_MAP: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
_mapped: list[weakref.ref[mmap.mmap]] = []


# ---------------------------------------------------------------- messages


def send(connection: Any, label: Any, value: Any) -> None:
    """Sends `value`, with a label that is read before it. What `value`'s pickling raises is raised
    before anything is sent."""
    outside: list[pickle.PickleBuffer] = []

    def stays(buffer: pickle.PickleBuffer) -> bool:
        large = len(buffer.raw()) >= _SMALL
        if large:
            outside.append(buffer)
        return not large

    stream = pickle.dumps(value, 5, buffer_callback=stays)
    parts = [memoryview(stream), *(b.raw() for b in outside)]
    sizes = [len(part) for part in parts]
    memory = _memory_of(parts) if sum(sizes) >= _SMALL else None
    connection.send_bytes(pickle.dumps((label, sizes, memory is not None)))
    if memory is None:
        for part in parts:
            connection.send_bytes(part)
        return
    try:
        reduction.send_handle(connection, memory, None)
    finally:
        os.close(memory)


def receive(connection: Any) -> tuple[Any, Message]:
    """The label of the next message, and the message, to be opened or dropped.

    Raises EOFError or OSError if the sender is gone, or went in the middle of it.
    """
    label, sizes, in_memory = pickle.loads(connection.recv_bytes())
    if not in_memory:
        return label, Message([bytearray(connection.recv_bytes()) for _ in sizes])
    try:
        memory = reduction.recv_handle(connection)
    except RuntimeError as error:  # the descriptor was lost on its way
        raise OSError(
            "DataLoader: a batch came without its memory; are too many files open (ulimit -n)?"
        ) from error
    try:
        starts = _starts(sizes)
        content = _contents(memory, starts[-1])
    finally:
        os.close(memory)
    return label, Message([content[s : s + n] for s, n in zip(starts, sizes, strict=False)])


class Message:
    """What came with a label; `open` gives its value."""

    def __init__(self, parts: list[Any]) -> None:
        self._parts = parts

    def open(self) -> Any:
        """The value that was sent, over the memory that it came in."""
        return pickle.loads(self._parts[0], buffers=self._parts[1:])


# ---------------------------------------------------------------- memory files


def _starts(sizes: list[int]) -> list[int]:
    """Where the parts begin in a memory file, and where the last one ends."""
    starts = [0]
    for size in sizes:
        starts.append(-(-(starts[-1] + size) // _ALIGNED) * _ALIGNED)
    return starts


def _memory_of(parts: list[memoryview]) -> int | None:
    """The descriptor of a memory file with the parts in it; None if that cannot be had."""
    if not hasattr(os, "memfd_create"):
        return None
    memory = None
    try:
        memory = os.memfd_create("minicnn-batch")
        starts = _starts([len(part) for part in parts])
        for part, start in zip(parts, starts, strict=False):
            _write(memory, part, start)
        os.ftruncate(memory, starts[-1])
        return memory
    except OSError:  # no memory, no descriptors, or not allowed: the pipe will do
        if memory is not None:
            os.close(memory)
        return None


def _write(file: int, part: memoryview, start: int) -> None:
    done = 0
    while done < len(part):  # a write ends at 2 GB
        done += os.pwrite(file, part[done:], start + done)


def _contents(memory: int, size: int) -> memoryview:
    """The bytes of a memory file, writable: mapped, or copied if many are mapped already."""
    if len(_mapped) >= _MAPPED_AT_MOST:
        _mapped[:] = [mapping for mapping in _mapped if mapping() is not None]
    if len(_mapped) < _MAPPED_AT_MOST:
        with contextlib.suppress(OSError):
            mapping = mmap.mmap(memory, size, **_MAP)
            _mapped.append(weakref.ref(mapping))
            return memoryview(mapping)
    content = memoryview(bytearray(size))
    done = 0
    while done < size:
        done += os.preadv(memory, [content[done:]], done)
    return content


# ---------------------------------------------------------------- exceptions


def packed(error: BaseException, where: str) -> tuple[Any, str]:
    """`error` and the text of its traceback, so that they can be sent. `where` it was caught."""
    text = "".join(traceback.format_exception(error)).rstrip()
    note = f"Caught {type(error).__name__} in {where}. Original traceback:\n{text}"
    for candidate in _forms(error):
        # Some exceptions can be pickled but not made again from that, so it is tried here.
        with contextlib.suppress(Exception):
            stream = pickle.dumps(candidate)
            str(_made(pickle.loads(stream)))
            return stream, note
    raise AssertionError("an Exception of a string can always be pickled")


def unpacked(sent: tuple[Any, str]) -> BaseException:
    """The exception that was packed, of the same type if that can be found here, else of the
    nearest one above it. The worker's traceback is a note under its message."""
    stream, note = sent
    error = _made(pickle.loads(stream))
    error.add_note(note)
    return error


def _forms(error: BaseException) -> Iterable[Any]:
    """The exception itself; or what it can be made of without its __init__; or what is like it."""
    yield error
    kind = type(error)
    yield kind, error.args, vars(error)
    yield kind, error.args, {}
    yield kind, (str(error),), {}
    for base in kind.__mro__[1:]:
        if issubclass(base, Exception) or base is BaseException:
            yield base, (f"{kind.__name__}: {error}",), {}
    yield Exception, (kind.__name__,), {}


def _made(form: Any) -> BaseException:
    if isinstance(form, BaseException):
        return form
    kind, args, attributes = form
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error

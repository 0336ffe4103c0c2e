"""An interpreter of pickles that builds data and runs nothing.

A pickle is a program for a small machine: a stack, a memo, and some sixty instructions of one byte
each, with their operands behind them. This pickle of {"w": (1, 2)} shows most of the idea:

    bytes              instruction      stack afterwards
    80 02              PROTO 2
    7d                 EMPTY_DICT       {}
    71 00              BINPUT 0         {}                  memo[0] is that dict
    58 01000000 77     BINUNICODE "w"   {} "w"
    4b 01              BININT1 1        {} "w" 1
    4b 02              BININT1 2        {} "w" 1 2
    86                 TUPLE2           {} "w" (1, 2)
    73                 SETITEM          {"w": (1, 2)}
    2e                 STOP             the result is on top

MARK lays the stack aside and begins a new one; what takes "all down to the mark" (TUPLE, APPENDS,
SETITEMS) takes that one whole. BINGET fetches from the memo, which is how two places hold one
object. Two instructions make a pickle a programming language, and dangerous: GLOBAL pushes
whatever a module calls by a name (os.system), REDUCE calls what lies below a tuple with it. Here
GLOBAL asks an allow-list (allowed.py), and REDUCE calls only what came from there. The
instructions are described in CPython's Lib/pickletools.py; those that no PyTorch since 0.4
writes (the text instructions of protocol 0, extension codes, buffers outside the stream) are
refused.

What bounds the cost: an instruction takes at least one byte of the file and does a bounded piece of
work, apart from REDUCE and BUILD, which are charged for the size of their arguments. A declared
length is held against what the file still has before it is read. So a pickle takes at most about a
hundred times its own bytes in memory (an empty dict is one byte there and 64 here).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from .allowed import Name, build_state, check_key
from .safetensors import FormatError

_FREE_WORK, _WORK_PER_BYTE = 1_000_000, 32  # bytes that REDUCE and BUILD may make
_MAX_LINE = 256  # of a module's or a class's name
_MAX_LONG = 64  # bytes of an integer


class Machine:
    """Runs the pickle that begins where `file` stands, and leaves `file` behind its STOP.

    Args:
        file: open, binary, seekable.
        find_global: (module, name) -> the Name or value that GLOBAL pushes, or FormatError.
        persistent_load: what BINPERSID makes of its operand; None where there is none.
        set_state: what BUILD makes of (object, state): the object, unless it cannot be changed.

    `run()` returns the object. FormatError, with the place in the file, for anything but a sound
    pickle of data; nothing that the file names is ever imported or called.
    """

    def __init__(
        self,
        file: BinaryIO,
        find_global: Callable[[str, str], Any],
        persistent_load: Callable[[Any], Any] | None = None,
        set_state: Callable[[Any, Any], Any] = build_state,
    ):
        self.file = file
        self.find_global = find_global
        self.persistent_load = persistent_load
        self.set_state = set_state
        self.start = file.tell()
        self.end = file.seek(0, os.SEEK_END)
        file.seek(self.start)
        self.stack: list[Any] = []
        self.aside: list[list[Any]] = []  # the stacks below the marks
        self.memo: dict[int, Any] = {}
        self.odd_keys = [0]  # see check_key
        self.work = 0

    def run(self) -> Any:
        """The object that the pickle describes."""
        read, table = self.file.read, _INSTRUCTIONS
        try:
            while (code := read(1)) != b".":
                table[code](self)
            if self.aside or len(self.stack) != 1:
                raise FormatError("it stops with other than one object on its stack")
            return self.stack.pop()
        except KeyError:
            what = f"no instruction {code[0]:#04x} is known" if code else "it has no end"
        except IndexError:
            what = "it takes from an empty stack"
        except FormatError as error:
            what = str(error)
        where = self.file.tell() - self.start
        raise FormatError(f"its pickle is refused at byte {where}: {what}") from None

    # ------------------------------------------------------------------ operands

    def take(self, n: int) -> bytes:
        """The next n bytes. Memory is taken only for bytes that are there."""
        if n > 4096 and n > self.end - self.file.tell():
            raise FormatError(f"{n} bytes are announced, more than the file has")
        data = self.file.read(n)
        if len(data) != n:
            raise FormatError(f"it ends within {n} bytes")
        return data

    def number(self, code: str) -> Any:
        """The next operand, in the code of `struct`."""
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def line(self) -> str:
        """The next text up to a line's end."""
        line = self.file.readline(_MAX_LINE)
        if line[-1:] != b"\n":
            raise FormatError(f"a name of more than {_MAX_LINE} bytes, or cut short")
        return _text(line[:-1])

    # ------------------------------------------------------------------ the stack

    def items(self) -> list[Any]:
        """What lies above the last mark; the mark goes."""
        items = self.stack
        if not self.aside:
            raise FormatError("it looks for a mark that was not set")
        self.stack = self.aside.pop()
        return items

    def recall(self, index: int) -> None:
        """Pushes what the memo holds at `index`."""
        if index not in self.memo:
            raise FormatError(f"its memo has no entry {index}")
        self.stack.append(self.memo[index])

    def charge(self, *values: Any) -> None:
        """Counts what a call may make of `values`; FormatError beyond what the file has paid for.

        Else a pickle of two lines, one long list and many sets of it, would fill the memory.
        """
        self.work += 64 + sum(_weight(value) for value in values)
        paid = _FREE_WORK + _WORK_PER_BYTE * (self.file.tell() - self.start)
        if self.work > paid:
            raise FormatError(f"it makes more than {paid} bytes of so few")

    def call(self, function: Any, *args: Any) -> Any:
        """`function(*args)`, its complaints about the arguments as FormatError."""
        try:
            return function(*args)
        except FormatError:
            raise
        except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
            name = getattr(function, "path", "an object's state")
            raise FormatError(f"{name} cannot be made of what it is given ({error})") from None


def _weight(value: Any) -> int:
    """The bytes that a copy of `value` may take."""
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        return 64 * len(value)
    return len(value) if isinstance(value, (str, bytes, bytearray)) else 0


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise FormatError("a text that is not UTF-8") from None


def _old_text(data: bytes) -> str | bytes:
    """Python 2 wrote texts and bytes alike."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


# ---------------------------------------------------------------------- the instructions


def _proto(m: Machine) -> None:
    version = m.take(1)[0]
    if version > 5:
        raise FormatError(f"protocol {version}, of which nothing is known")


def _frame(m: Machine) -> None:
    size = m.number("<Q")
    if size > m.end - m.file.tell():
        raise FormatError(f"a frame of {size} bytes, more than the file has")


def _long(m: Machine, size: int) -> None:
    if not 0 <= size <= _MAX_LONG:
        raise FormatError(f"an integer of {size} bytes; at most {_MAX_LONG} are read")
    m.stack.append(int.from_bytes(m.take(size), "little", signed=True))


def _mark(m: Machine) -> None:
    m.aside.append(m.stack)
    m.stack = []


def _pop(m: Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.items()  # a mark alone is what goes


def _tuple_of(n: int) -> Callable[[Machine], None]:
    def make(m: Machine) -> None:
        if len(m.stack) < n:
            raise FormatError(f"a tuple of {n} of a stack of {len(m.stack)}")
        m.stack[-n:] = [tuple(m.stack[-n:])]

    return make


def _tuple(m: Machine) -> None:
    items = m.items()
    m.stack.append(tuple(items))


def _append(m: Machine, values: list[Any]) -> None:
    target = m.stack[-1]
    if type(target) is not list:
        raise FormatError(f"values are appended to a {type(target).__name__}")
    target.extend(values)


def _set_items(m: Machine, items: list[Any]) -> None:
    target = m.stack[-1]
    if not isinstance(target, dict):
        raise FormatError(f"items are set in a {type(target).__name__}")
    if len(items) % 2:
        raise FormatError("a key has no value")
    for i in range(0, len(items), 2):
        key = items[i]
        if type(key) is not str:
            check_key(key, m.odd_keys)
        target[key] = items[i + 1]


def _add_items(m: Machine, items: list[Any]) -> None:
    target = m.stack[-1]
    if type(target) is not set:
        raise FormatError(f"elements are added to a {type(target).__name__}")
    for item in items:
        check_key(item, m.odd_keys)
    target.update(items)


def _frozenset(m: Machine, items: list[Any]) -> None:
    for item in items:
        check_key(item, m.odd_keys)
    m.stack.append(frozenset(items))


def _empty_set(m: Machine) -> None:
    m.charge((None,) * 4)
    m.stack.append(set())


def _global(m: Machine, module: Any, name: Any) -> None:
    if type(module) is not str or type(name) is not str:
        raise FormatError("a global's name is no text")
    m.stack.append(m.find_global(module, name))


def _stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    _global(m, module, name)


def _reduce(m: Machine) -> None:
    args, function = m.stack.pop(), m.stack.pop()
    if type(function) is not Name:
        raise FormatError(f"a {type(function).__name__} is called as a function")
    if type(args) is not tuple:
        raise FormatError(f"{function.path} is called with a {type(args).__name__}, not a tuple")
    for arg in args:
        if function.hashes and isinstance(arg, (list, tuple)):
            for item in arg:
                check_key(item, m.odd_keys)
    m.charge(*args)
    m.stack.append(m.call(function, *args))


def _build(m: Machine) -> None:
    state, target = m.stack.pop(), m.stack[-1]
    m.charge(state, *(state if type(state) is tuple else ()))
    result = m.call(m.set_state, target, state)
    if result is target:
        return
    m.stack[-1] = result  # a dtype, which cannot be changed
    m.charge(m.memo)
    m.memo = {i: result if value is target else value for i, value in m.memo.items()}


def _persistent(m: Machine) -> None:
    if m.persistent_load is None:
        raise FormatError("a persistent id, which only tensors have")
    m.stack.append(m.call(m.persistent_load, m.stack.pop()))


def _push(value: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(value(m))


def _put(index: Callable[[Machine], int]) -> Callable[[Machine], None]:
    def put(m: Machine) -> None:
        m.memo[index(m)] = m.stack[-1]

    return put


_INSTRUCTIONS: dict[bytes, Callable[[Machine], object]] = {
    b"\x80": _proto,
    b"\x95": _frame,
    # numbers and constants
    b"N": _push(lambda m: None),
    b"\x88": _push(lambda m: True),
    b"\x89": _push(lambda m: False),
    b"J": _push(lambda m: m.number("<i")),
    b"K": _push(lambda m: m.take(1)[0]),
    b"M": _push(lambda m: m.number("<H")),
    b"G": _push(lambda m: m.number(">d")),
    b"\x8a": lambda m: _long(m, m.take(1)[0]),
    b"\x8b": lambda m: _long(m, m.number("<i")),
    # texts and bytes
    b"X": _push(lambda m: _text(m.take(m.number("<I")))),
    b"\x8c": _push(lambda m: _text(m.take(m.take(1)[0]))),
    b"\x8d": _push(lambda m: _text(m.take(m.number("<Q")))),
    b"U": _push(lambda m: _old_text(m.take(m.take(1)[0]))),
    b"T": _push(lambda m: _old_text(m.take(m.number("<I")))),
    b"C": _push(lambda m: m.take(m.take(1)[0])),
    b"B": _push(lambda m: m.take(m.number("<I"))),
    b"\x8e": _push(lambda m: m.take(m.number("<Q"))),
    b"\x96": _push(lambda m: m.take(m.number("<Q"))),  # a bytearray; bytes will do
    # containers
    b"(": _mark,
    b")": _push(lambda m: ()),
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"t": _tuple,
    b"]": _push(lambda m: []),
    b"a": lambda m: _append(m, [m.stack.pop()]),
    b"e": lambda m: _append(m, m.items()),
    b"}": _push(lambda m: {}),
    b"s": lambda m: _set_items(m, [m.stack.pop(-2), m.stack.pop()]),
    b"u": lambda m: _set_items(m, m.items()),
    b"\x8f": _empty_set,
    b"\x90": lambda m: _add_items(m, m.items()),
    b"\x91": lambda m: _frozenset(m, m.items()),
    # the stack and the memo
    b"0": _pop,
    b"1": lambda m: m.items(),
    b"2": _push(lambda m: m.stack[-1]),
    b"q": _put(lambda m: m.take(1)[0]),
    b"r": _put(lambda m: m.number("<I")),
    b"\x94": _put(lambda m: len(m.memo)),
    b"h": lambda m: m.recall(m.take(1)[0]),
    b"j": lambda m: m.recall(m.number("<I")),
    # objects
    b"c": lambda m: _global(m, m.line(), m.line()),
    b"\x93": _stack_global,
    b"R": _reduce,
    b"\x81": _reduce,  # cls.__new__(cls, *args), which for the allow-list's classes is the same
    b"b": _build,
    b"Q": _persistent,
}

"""Feeds minicnn.load with damaged and hostile files of every format, and counts what it does.

python scripts/fuzz_files.py --files 100000 --seed 0

Each file must give a result or a FormatError, within two seconds of the processor, without
opening, importing, compiling or running anything, and without memory beyond what it holds.
Whatever does not is printed with the seed and the number that make the file again, and the exit
status is 1.

    damage      bits, bytes and numbers changed, pieces cut out, doubled or taken from another file
    payload     the same inside a zip archive, with checksums and sizes made right again
    structure   the zip directory's fields, the names and the order of its records
    pickle      instructions of a sound pickle removed, doubled, exchanged, or given other operands
    grammar     pickles made up from all instructions, with names that would run something
"""

from __future__ import annotations

import argparse
import collections
import io
import pickletools
import random
import resource
import signal
import sys
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import minicnn
from minicnn.interop import FormatError

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "interop"))
import torch_writer as writer

LIMIT_SECONDS = 2.0
LIMIT_BYTES = 32 << 20  # and 150 times the file: what a pickle of small containers may make
TRACED = 8  # one in so many files is loaded with every allocation counted
BANNED = (
    "exec", "compile", "import", "open", "os.", "subprocess.", "socket.", "ctypes.", "pickle.",
    "marshal.", "shutil.", "urllib.", "glob.", "tempfile.", "builtins.input", "code.",
    "_thread.",
)  # fmt: skip
HOSTILE = [
    ("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "exec"),
    ("__builtin__", "eval"), ("builtins", "getattr"), ("subprocess", "Popen"), ("sys", "exit"),
    ("builtins", "__import__"), ("torch.hub", "load"), ("torch", "load"), ("numpy", "load"),
    ("torch.storage", "_load_from_bytes"), ("functools", "partial"), ("operator", "attrgetter"),
    ("collections", "OrderedDict.__init__"), ("minicnn", "load"),
    ("torch._utils", "torch.os.system"),
    ("numpy.core.multiarray", "fromfile"), ("copyreg", "_reconstructor"), ("a" * 300, "b"),
]  # fmt: skip
SIZES = [0, 1, 2, 7, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1]


# ---------------------------------------------------------------------- sound files


def an_object() -> tuple[Any, dict[str, np.ndarray]]:
    """A checkpoint with much of what checkpoints hold, and its storages."""
    arrays = {"0": np.arange(24, dtype="f4"), "1": np.ones(6, "f8"), "2": np.array([1, 0, 1], "?")}
    arrays |= {"3": np.arange(4, dtype="u2"), "4": np.arange(5)}
    first = writer.storage("0", "float32", 24)
    state = writer.ordered(
        {
            "conv.weight": writer.tensor(first, (2, 3, 4)),
            "tied": writer.tensor(first, (4, 6), (1, 4)),
            "part": writer.tensor(first, (3,), (0,), 5),
            "mask": writer.tensor(writer.storage("2", "bool", 3), (3,)),
            "half": writer.tensor(writer.storage("3", "bfloat16", 4), (2, 2)),
            "count": writer.tensor(writer.storage("4", "int64", 5), (), (), 4),
        },
        {"_metadata": writer.ordered({"": {"version": 1}})},
    )
    double = writer.tensor(writer.storage("1", "float64", 6), (6,), grad=True)
    dtype = writer.Call(
        "numpy", "dtype", "f8", False, True, state=(3, "<", None, None, None, -1, -1, 0)
    )
    number = writer.Call("_codecs", "encode", "\0\0\0\0\0\0\xf0?", "latin1")
    obj = {
        "epoch": 3, "best": 0.5, "state_dict": state, "none": None, "list": [1, (2, True), "text"],
        "parameter": writer.Call("torch._utils", "_rebuild_parameter", double, True, None),
        "scalar": writer.Call("numpy._core.multiarray", "scalar", dtype, number),
        "array": writer.Call(
            "numpy._core.multiarray", "_reconstruct", writer.Global("numpy", "ndarray"), (0,),
            writer.Call("_codecs", "encode", "b", "latin1"), state=(1, (1,), dtype, False, number),
        ),
        "args": writer.Call("argparse", "Namespace", state={"lr": 0.1}, new=True),
        "size": writer.Call("torch", "Size", (2, 3)), "dtype": writer.Global("torch", "float32"),
        "device": writer.Call("torch", "device", "cpu"),
        "set": writer.Call("__builtin__", "set", [1, 2]),
    }  # fmt: skip
    return obj, arrays


def seeds() -> dict[str, bytes]:
    """A small sound file of each format."""
    obj, arrays = an_object()
    raw = {key: array.tobytes() for key, array in arrays.items()}
    plain = {"w": np.arange(6.0).reshape(2, 3), "b": np.array(True), "e": np.zeros((0, 2), "f2")}
    files = {name: io.BytesIO() for name in ("safetensors", "npz", "npz deflated", "npy")}
    minicnn.save({"model": plain, "epoch": 3}, files["safetensors"], metadata={"arch": "net"})
    np.savez(files["npz"], **plain)
    np.savez_compressed(files["npz deflated"], **plain)
    np.save(files["npy"], plain["w"].T)
    return {
        "pth": writer.archive(obj, raw),
        "pth deflated": writer.archive(obj, raw, method=zipfile.ZIP_DEFLATED),
        "legacy": writer.stream(obj, {k: (a.size, a.tobytes()) for k, a in arrays.items()}),
        **{name: file.getvalue() for name, file in files.items()},
    }


# ---------------------------------------------------------------------- what is done to them


def damage(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Changes that know nothing of the format."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, kind = rng.randrange(len(out) + 1), rng.randrange(8)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = rng.randrange(256)
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + rng.choice((1, 2, 8, 64))]
        elif kind == 4:
            out[at:at] = out[at : at + rng.choice((1, 4, 64))]
        elif kind == 5:
            begin = rng.randrange(len(other))
            out[at:] = other[begin:]
        else:
            width = rng.choice((2, 4, 8))
            value = (rng.choice(SIZES) + rng.choice((-1, 0, 1))) % (1 << 8 * width)
            out[at : at + width] = value.to_bytes(width, rng.choice(("little", "little", "big")))
    return bytes(out)


def payload(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Damage within one record of an archive, which is sound again around it."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        method = file.infolist()[0].compress_type
        records = {info.filename: file.read(info) for info in file.infolist()}
    names = list(records)
    name = rng.choice([n for n in names if n.endswith((".pkl", ".npy"))] * 4 + names)
    records[name] = damage(records[name], other, rng)
    return writer.zipped(records, method)


def structure(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Lies in the headers and the directory of an archive."""
    out = bytearray(data)
    marks = {b"PK\1\2": 46, b"PK\3\4": 30, b"PK\5\6": 22}
    places = [(m, i) for m in marks for i in range(len(out)) if out.startswith(m, i)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        mark, at = rng.choice(places)
        if rng.random() < 0.2:  # a name
            begin = at + marks[mark]
            name = rng.choice((b"../", b"/x/", b"a\\b", b"C:/", b"data/", b"\0"))
            out[begin : begin + len(name)] = name
            continue
        field, width = rng.choice(
            [(4, 2), (6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4)]
        )
        value = rng.choice((*SIZES, rng.randrange(len(out)), rng.choice(places)[1])) % 256**width
        out[at + field : at + field + width] = value.to_bytes(width, "little")
    return bytes(out)


def instructions(code: bytes) -> list[bytes]:
    """The pickle cut into its instructions."""
    places = [place for _, _, place in pickletools.genops(code)]
    return [code[a:b] for a, b in zip(places, [*places[1:], len(code)], strict=True)]


SOUND = instructions(writer.pickled(an_object()[0]))


def hostile_call(rng: random.Random) -> bytes:
    """A pickle's way to run a command."""
    module, name = rng.choice(HOSTILE)
    argument = b"X\x0e\0\0\0touch /tmp/bad"
    if rng.random() < 0.3:
        return (
            writer.pickled(module)[2:-1]
            + writer.pickled(name)[2:-1]
            + b"\x93"
            + argument
            + b"\x85R"
        )
    return f"c{module}\n{name}\n".encode() + argument + rng.choice((b"\x85R", b"\x85\x81", b"}b"))


def an_instruction(rng: random.Random) -> bytes:
    """Any instruction, most with operands that lie."""
    kind = rng.randrange(10)
    if kind < 5:
        return rng.choice(SOUND)
    if kind == 5:
        return hostile_call(rng)
    if kind == 6:  # a length that lies
        code = bytes([rng.choice(b"XBT\x8b\x8d\x8e\x96\x95\x8a")])
        width = 4 if code in b"XBT\x8b" else 1 if code == b"\x8a" else 8
        return code + (rng.choice(SIZES) % 256**width).to_bytes(width, "little") + b"abc"
    if kind == 7:  # the memo
        code, width = rng.choice([(b"h", 1), (b"q", 1), (b"j", 4), (b"r", 4)])
        return code + rng.randrange(min(256**width, 40)).to_bytes(width, "little")
    if kind == 8:
        return rng.choice(
            (b"2", b"0", b"1", b"(", b"t", b"e", b"u", b"\x90", b"\x91", b"\x94", b"Q")
        )
    return bytes([rng.randrange(256)]) + rng.randbytes(rng.choice((0, 1, 2, 4)))


def mutated_pickle(rng: random.Random) -> bytes:
    """A sound pickle with a few instructions removed, doubled, exchanged or put in."""
    code = list(SOUND)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, kind = rng.randrange(1, len(code) - 1), rng.randrange(5)
        if kind == 0:
            del code[at]
        elif kind == 1:
            code.insert(at, code[at])
        elif kind == 2:
            to = rng.randrange(1, len(code) - 1)
            code[at], code[to] = code[to], code[at]
        elif kind == 3:
            code[at] = an_instruction(rng)
        else:  # another number: a size, a stride, an offset, a count
            numbers = [i for i, part in enumerate(code) if part[:1] in b"KM\x8a"]
            value = rng.choice((*SIZES, -1, -(2**63), 2**70, 5, 24, 25))
            code[rng.choice(numbers)] = writer.pickled(value)[2:-1]
    return b"".join(code)


def made_up_pickle(rng: random.Random) -> bytes:
    """Instructions at random; one in five, many of the same and then what would walk the result."""
    parts = [an_instruction(rng) for _ in range(rng.choice((3, 10, 40)))]
    if rng.random() < 0.2:
        start = rng.choice((b"]", b"}", b")", b"(", b"K\1", b"\x8f", b"X\1\0\0\0a"))
        step = rng.choice(
            (b"h\0", b"2", b"\x86", b"\x85q\0", b"(", b"a", b"h\0\x86q\0", b"0(h\0h\0tq\0")
        )
        made = rng.choice((b"set", b"frozenset", b"dict", b"complex"))
        walk = rng.choice(
            (b"0}h\0Ns", b"0(h\0\x91", b"0c__builtin__\n" + made + b"\nh\0\x85R", b"")
        )
        parts = [start, b"q\0", *[step] * rng.choice((30, 90, 3000)), walk]
    return b"\x80\x02" + b"".join(parts) + rng.choice((b".", b"t.", b"0.", b""))


def wrapped(make: Callable[[random.Random], bytes], data: bytes, rng: random.Random) -> bytes:
    """A pickle in the format of the seed `data`."""
    _, arrays = an_object()
    code = make(rng)
    if data[:2] == b"PK":
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        return writer.archive(code, {k: a.tobytes() for k, a in arrays.items()}, method=method)
    return writer.stream(code, {k: (a.size, a.tobytes()) for k, a in arrays.items()})


def strategies(name: str) -> dict[str, Callable[[bytes, bytes, random.Random], bytes]]:
    """What can be done to a seed of this format."""
    found: dict[str, Callable[[bytes, bytes, random.Random], bytes]] = {"damage": damage}
    if name.startswith(("pth", "npz")):
        found |= {"payload": payload, "structure": structure}
    if name.startswith(("pth", "legacy")):
        found["pickle"] = lambda data, _, rng: wrapped(mutated_pickle, data, rng)
        found["grammar"] = lambda data, _, rng: wrapped(made_up_pickle, data, rng)
    return found


def files(count: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """(format, strategy, bytes) of the campaign's files; each depends on its number alone."""
    sound = seeds()
    kinds = [(name, how) for name in sound for how in strategies(name)]
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        name, how = kinds[number % len(kinds)]
        other = sound[rng.choice(list(sound))]
        yield name, how, strategies(name)[how](sound[name], other, rng)


# ---------------------------------------------------------------------- the guard


class Hang(BaseException):
    """The time limit."""


class Guard:
    """Watches what happens while a file is loaded."""

    def __init__(self) -> None:
        self.on = False
        self.thread = threading.get_ident()  # others of the program may open what they like
        self.events: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event.startswith(BANNED) and threading.get_ident() == self.thread:
            self.events.append(f"{event} {str(args)[:80]}")

    def load(self, data: bytes, traced: bool = False) -> tuple[str, str]:
        """("read" or "refused", "") or ("FAILED", why)."""
        signal.signal(signal.SIGPROF, _hang)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if traced:
            tracemalloc.start()
        self.events, self.on, self.thread = [], True, threading.get_ident()
        signal.setitimer(signal.ITIMER_PROF, LIMIT_SECONDS)
        try:
            minicnn.load(io.BytesIO(data), weights_only=False)
            outcome, why = "read", ""
        except FormatError as error:
            outcome, why = "refused", ""
            if "not fit into memory" in str(error):
                outcome, why = "FAILED", str(error)
        except BaseException as error:
            outcome, why = "FAILED", f"{type(error).__name__}: {error}"[:200]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.on = False
        limit = LIMIT_BYTES + 150 * len(data)
        peak = tracemalloc.get_traced_memory()[1] if traced else 0
        tracemalloc.stop()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        if max(peak, grown) > limit:
            outcome, why = "FAILED", f"took {max(peak, grown)} bytes for a file of {len(data)}"
        if self.events:
            outcome, why = "FAILED", f"did {self.events[0]}"
        return outcome, why


def _hang(*args: Any) -> None:
    raise Hang(f"more than {LIMIT_SECONDS} s")


def campaign(count: int, seed: int) -> tuple[collections.Counter[tuple[str, str, str]], list[str]]:
    """The outcomes by (format, strategy, outcome), and a line for each failure."""
    guard, outcomes, failures = Guard(), collections.Counter(), []
    for data in seeds().values():
        guard.load(data)  # what is imported on first use is imported now
    for name, data in seeds().items():
        if guard.load(data)[0] != "read":
            failures.append(f"the sound {name}: {guard.load(data)}")
    for number, (name, how, data) in enumerate(files(count, seed)):
        outcome, why = guard.load(data, traced=number % TRACED == 0)
        outcomes[name, how, outcome] += 1
        if why:
            failures.append(f"seed {seed}, file {number} ({name}, {how}): {why}")
    return outcomes, failures


def main() -> None:
    """Runs the campaign and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begin = time.perf_counter()
    outcomes, failures = campaign(options.files, options.seed)
    print(f"{'format':14} {'strategy':10} {'files':>8} {'read':>8} {'refused':>8} {'failed':>8}")
    for name, how in dict.fromkeys(key[:2] for key in outcomes):
        counts = [outcomes[name, how, outcome] for outcome in ("read", "refused", "FAILED")]
        print(f"{name:14} {how:10} {sum(counts):8} {counts[0]:8} {counts[1]:8} {counts[2]:8}")
    total = collections.Counter()
    for (_, _, outcome), n in outcomes.items():
        total[outcome] += n
    print(
        f"{options.files} files in {time.perf_counter() - begin:.0f} s: {total['read']} read, "
        f"{total['refused']} refused, {total['FAILED']} failed"
    )
    print("\n".join(failures[:20]))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()

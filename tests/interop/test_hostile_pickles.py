"""Pickles that would run something, lie about sizes, or cost time and memory: refused."""

from __future__ import annotations

import io
import re
import struct
import time
import tracemalloc

import numpy as np
import pytest
from torch_writer import (
    Call,
    Global,
    Persistent,
    Raw,
    Sequence,
    archive,
    ordered,
    storage,
    stream,
    tensor,
)

import minicnn
from minicnn.interop import FormatError

NUMBERS = {"0": np.arange(24, dtype=np.float32).tobytes()}
F32, I32 = storage("0", "float32", 24), storage("0", "int32", 24)


def refusal(content):
    """The text of the FormatError."""
    with pytest.raises(FormatError) as caught:
        minicnn.load(io.BytesIO(content), weights_only=False)
    return str(caught.value)


def both(obj):
    """`obj` in both formats."""
    legacy = {key: (len(data) // 4, data) for key, data in NUMBERS.items()}
    return archive(obj, NUMBERS), stream(obj, legacy)


@pytest.mark.parametrize(
    "path",
    [
        "os.system", "posix.system", "builtins.eval", "builtins.exec", "builtins.getattr",
        "builtins.__import__", "subprocess.Popen", "torch.load", "torch.hub.load", "numpy.load",
        "torch.storage._load_from_bytes", "functools.partial", "operator.attrgetter",
        "collections.OrderedDict.__init__", "torch._utils.os.system", "codecs.encode",
        "numpy.core.multiarray.fromfile",
        "copyreg._reconstructor", "minicnn.load", "builtins.type", "builtins.object", "torch.save",
    ],
)  # fmt: skip
def test_any_other_name_is_refused_and_nothing_runs(path, tmp_path):
    module, _, name = path.rpartition(".")
    canary = tmp_path / "canary"
    command = f"touch {canary}"
    length = struct.pack("<I", len(command))
    stacked = f"X{chr(len(module))}\0\0\0{module}X{chr(len(name))}\0\0\0{name}".encode()
    for obj in (
        Call(module, name, command),
        Call(module, name, command, new=True),
        Call(module, name, state={"x": command}, new=True),
        Raw(stacked + b"\x93X" + length + command.encode() + b"\x85R"),
        {"weights": ordered(), "note": Call(module, name, command)},
        Global(module, name),
    ):
        for content in both(obj):
            text = refusal(content)
            assert f"it asks for {path}" in text and "nothing of the file was run" in text
    assert not canary.exists()


def test_a_whole_model_is_named_and_the_way_out_said():
    obj = Call("torchvision.models.resnet", "ResNet", new=True, state={"training": True})
    for content in both(obj):
        text = refusal(content)
        assert "asks for torchvision.models.resnet.ResNet" in text
        assert "save its state_dict() instead" in text


def test_what_numpy_has_no_type_for_is_named():
    assert "torch.QInt8Storage" in refusal(
        archive(Persistent("storage", Global("torch", "QInt8Storage"), "0", "cpu", 24), NUMBERS)
    )
    assert "a type that NumPy does not have" in refusal(
        archive(Global("torch", "float8_e4m3fn"), {})
    )
    assert "save its to_dense()" in refusal(
        archive(Global("torch._utils", "_rebuild_sparse_tensor"), {})
    )


def test_a_name_that_would_spoil_a_terminal_is_quoted():
    assert "it asks for \\x1b[2J.\\u2028" in refusal(archive(Global("\x1b[2J", "\u2028"), {}))


# ---------------------------------------------------------------------- without sense

I8 = struct.pack("<Q", 2**62)
BROKEN = {
    "nothing": (b"\x80\x02.", "other than one object"),
    "two objects": (b"\x80\x02NN.", "other than one object"),
    "a mark left": (b"\x80\x02(N.", "other than one object"),
    "no end": (b"\x80\x02N", "it has no end"),
    "protocol 9": (b"\x80\x09N.", "protocol 9"),
    "unknown": (b"\x80\x02\xff.", "no instruction 0xff is known"),
    "of protocol 0": (b"\x80\x02I1\n.", "no instruction 0x49 is known"),
    "empty stack": (b"\x80\x020.", "it looks for a mark"),
    "tuple of an empty stack": (b"\x80\x02\x86.", "a tuple of 2 of a stack of 0"),
    "no mark": (b"\x80\x02NNt.", "it looks for a mark"),
    "memo": (b"\x80\x02h\5.", "its memo has no entry 5"),
    "append to a tuple": (b"\x80\x02)Na.", "values are appended to a tuple"),
    "append to nothing": (b"\x80\x02Na.", "it takes from an empty stack"),
    "items in a list": (b"\x80\x02]NNs.", "items are set in a list"),
    "key without value": (b"\x80\x02}(Nu.", "a key has no value"),
    "elements of a list": (b"\x80\x02](N\x90.", "elements are added to a list"),
    "list as a key": (b"\x80\x02}]Ns.", "a list as a key"),
    "dict in a set": (b"\x80\x02(}\x91.", "a dict as a key"),
    "call of a dict": (b"\x80\x02})R.", "a dict is called as a function"),
    "call without a tuple": (
        b"\x80\x02ccollections\nOrderedDict\nNR.",
        "called with a NoneType, not a tuple",
    ),
    "state of a list": (b"\x80\x02]}b.", "a list has no state"),
    "persistent id of a number": (b"\x80\x02K\1Q.", "a persistent id that is no storage's"),
    "text of 4 GB": (b"\x80\x02X\xff\xff\xff\xff.", "4294967295 bytes are announced"),
    "text of 2^62": (b"\x80\x02\x8d" + I8 + b".", "4611686018427387904 bytes are announced"),
    "bytes of 2^62": (b"\x80\x02\x8e" + I8 + b".", "4611686018427387904 bytes are announced"),
    "a frame of 2^62": (b"\x80\x02\x95" + I8 + b".", "a frame of 4611686018427387904 bytes"),
    "integer of 2 GB": (b"\x80\x02\x8b\xff\xff\xff\x7f.", "an integer of 2147483647 bytes"),
    "integer of -1 bytes": (b"\x80\x02\x8b\xff\xff\xff\xff.", "an integer of -1 bytes"),
    "text cut short": (b"\x80\x02X\x05\0\0\0ab", "it ends within 5 bytes"),
    "not UTF-8": (b"\x80\x02X\x01\0\0\0\xff.", "a text that is not UTF-8"),
    "an endless name": (b"\x80\x02c" + b"a" * 5000, "a name of more than 256 bytes"),
    "name is a number": (b"\x80\x02K\1K\2\x93.", "a global's name is no text"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pickles(name):
    code, message = BROKEN[name]
    assert message in refusal(archive(code, {}))
    assert re.search("its pickle is refused at byte [0-9]+: ", refusal(archive(code, {})))
    if not code.startswith(b"\x80\x02c" + b"a") and name not in ("no end", "text cut short"):
        assert message in refusal(stream(code, {}))


SIZES = [-1, -(2**63), 2**31, 2**62, 2**63, 2**64, 2**500, True, 1.0, "1", None, (1,)]


@pytest.mark.parametrize("value", SIZES, ids=lambda v: str(v)[:20])
def test_sizes_strides_and_offsets_that_lie(value):
    lies = [
        tensor(F32, (value,), (1,)),
        tensor(F32, (4, value), (1, 1)),
        tensor(F32, (0, value), (1, 1)),
        tensor(F32, (2,), (value,)),
        tensor(F32, (0,), (1,), value),
        tensor(F32, (1,), (1,), value),
        tensor(F32, value or 1, (1,)),
        tensor(F32, (1,), value or 1),
        tensor(storage("0", "float32", value), (1,), (1,)),
        Call("torch", "Size", (value,)),
    ]
    harmless = {2**31: [2, 9], (1,): [6, 7]}.get(value, [])  # an empty tensor, a Size; the truth
    for index, obj in enumerate(lies):
        if index in harmless:
            minicnn.load(io.BytesIO(archive(obj, NUMBERS)))
            continue
        for content in both(obj):
            refusal(content)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (tensor(F32, (25,)), "reaches beyond the 24 numbers of storage '0'"),
        (tensor(F32, (2, 2), (1, 23)), "reaches beyond"),
        (tensor(F32, (1,), (1,), 24), "reaches beyond"),
        (tensor(F32, (0,), (1,), 25), "reaches beyond"),
        (tensor(F32, (2**20, 2**20), (0, 0)), "repeats the 24 numbers of storage '0'"),
        (tensor(F32, (2**62,), (0,)), "repeats the 24"),
        (tensor(F32, (0, 2**40, 2**40), (1, 1, 1)), "cannot be made of what it is given"),
        (tensor(F32, (2,), (1, 1)), "1 sizes and 2 strides"),
        (tensor(F32, (1,) * 65, (1,) * 65), "65 sizes and 65 strides"),
        (tensor(storage("0", "float32", 23), (1,)), "storage '0'"),
        (tensor(storage("0", "float32", 2**40), (1,)), "4398046511104"),
        (tensor(storage("0", "float64", 24), (1,)), "storage '0'"),
        (tensor(storage("../0", "float32", 24), (1,)), "storage"),
        (tensor(Persistent("storage", 1, "0", "cpu", 24), (1,)), "a storage's type, key or device"),
        (tensor(Persistent("module", 1, "0", "cpu", 24), (1,)), "a persistent id that"),
        ([F32, storage("0", "int32", 24)], "is declared twice, in two ways"),
        (F32, "hold a bare storage"),
        (Global("torch", "Size"), "its data hold torch.Size itself"),
        (Call("torch._utils", "_rebuild_parameter", 1, True, None), "a parameter of no tensor"),
        (Call("torch._utils", "_rebuild_tensor_v2", 1, 0, (), ()), "a tensor without a storage"),
        (Call("torch._utils", "_rebuild_tensor_v2"), "cannot be made of what it is given"),
        (Call("torch", "FloatTensor", new=True, state=(1, 2)), "a tensor's state that is none"),
        (tensor(F32, (1,), (1,), 0, grad=1), "requires_grad is no truth value"),
        (Call("torch.nn.parameter", "Parameter", state=(I32, 0, (), ())), "only floating tensors"),
        (Call("argparse", "Namespace", new=True, state={1: 2}), "attributes that have no names"),
        (ordered({}, {"items": 1}), "an OrderedDict with attributes other than _metadata"),
        (ordered({}, {"_metadata": 1}), "_metadata is no dict"),
        (Call("collections", "defaultdict", Global("torch", "Size")), "may make its values"),
        (Call("__builtin__", "bytes", 2**40), "only empty bytes"),
        (Call("__builtin__", "list", (1,)), "it is not to be called"),
        (Call("_codecs", "encode", "a", "rot13"), "only latin1 is known"),
        (Call("numpy", "dtype", "O", False, True), "a type other than a number's"),
        (Call("numpy", "dtype", "V8", False, True), "a type other than a number's"),
        (Call("__builtin__", "set", [{}]), "a dict as a key"),
        (Call("__builtin__", "set", "abc"), "a set of a str"),
        (Call("collections", "OrderedDict", [[[1], 2]]), "a key that is no text"),
    ],
    ids=str,
)  # fmt: skip
def test_objects_that_lie(obj, message):
    for content in both(obj):
        text = refusal(content)
        assert message in text or "bytes of a file of" in text


DTYPE = Call("numpy", "dtype", "f8", False, True)


@pytest.mark.parametrize(
    "state",
    [
        (1, (2**60,), DTYPE, False, b"x"),
        (1, (2,), DTYPE, False, "x" * 8),
        (1, (-1,), DTYPE, False, "x" * 8),
        (1, (1,) * 65, DTYPE, False, "x" * 8),
        (1, (1,), "f8", False, "x" * 8),
        (1, (1,), DTYPE, False, [1]),
        (1, (1,), DTYPE, False),
        {},
        None,
    ],
    ids=str,
)
def test_numpy_arrays_that_lie(state):
    if isinstance(state, tuple):
        state = tuple(Raw(b"C\x01x") if part == b"x" else part for part in state)
    kind = Global("numpy", "ndarray")
    made = Call("numpy.core.multiarray", "_reconstruct", kind, (0,), "b", state=state)
    if state is None:  # an array of another class
        made = Call("numpy.core.multiarray", "_reconstruct", Global("torch", "Size"), (0,), "b")
    assert "refused" in refusal(archive(made, {}))


def test_the_storages_of_a_stream_are_those_of_its_tensors():
    data = {"0": (24, NUMBERS["0"])}
    obj = tensor(F32, (24,))
    for keys in ([], ["0", "0"], ["1"], ["0", "1"], "0", [0], {"0": 1}):
        assert "its list of storages" in refusal(stream(obj, data, keys=keys))
    assert "storage '0' of 24 numbers has 23" in refusal(stream(obj, {"0": (23, NUMBERS["0"])}))
    assert "storage '0' of 24 numbers has" in refusal(stream(obj, {"0": (-1, NUMBERS["0"])}))
    assert "the file ends within storage '0'" in refusal(stream(obj, data)[:-1])
    whole = stream({"a": obj, "text": "x" * 20}, data)
    for n in range(len(whole)):
        refusal(whole[:n])


def test_truth_values_are_0_and_1():
    for content in (
        archive(tensor(storage("b", "bool", 2), (2,)), {"b": b"\x01\x02"}),
        stream(tensor(storage("b", "bool", 2), (2,)), {"b": (2, b"\x01\x02")}),
    ):
        assert "storage 'b' of truth values holds other than 0 and 1" in refusal(content)


# ---------------------------------------------------------------------- what costs time or memory


def nested(start, step, n):
    """`start`, then n times `step` on what the memo holds at 0."""
    return b"\x80\x02" + start + b"q\0" + (step + b"q\0") * n + b"."


ENTRY_OF_MEGABYTE = b"X" + struct.pack("<I", 10**6) + b"x" * 10**6
COSTLY = {
    "lists of lists twice over": nested(b"]", b"0](h\0h\0e", 90),
    "tuples of tuples twice over": nested(b")", b"h\0\x86", 90),
    "such a tuple as a key": nested(b")", b"h\0\x86", 60)[:-1] + b"0}h\0Ns.",
    "such a tuple in a set": nested(b")", b"h\0\x86", 60)[:-1] + b"0(h\0\x91.",
    "such a tuple in a set by name": nested(b")", b"h\0\x86", 60)[:-1]
    + b"0c__builtin__\nset\nh\0\x85\x85R.",
    "such a tuple in a frozenset": nested(b")", b"h\0\x86", 60)[:-1]
    + b"0c__builtin__\nfrozenset\nh\0\x85R.",
    "a hundred thousand levels": nested(b"]", b"\x85", 100_000),
    "a list in itself": b"\x80\x02]q\0h\0a.",
    "a dict in itself": b"\x80\x02}q\0X\1\0\0\0ah\0s.",
    "one long list, many sets": b"\x80\x02](" + b"K\1" * 50_000 + b"e\x85q\x000]("
    + b"c__builtin__\nset\nh\0R" * 20_000 + b"e.",
    "one long text, many copies": b"\x80\x02" + ENTRY_OF_MEGABYTE + b"X\6\0\0\0latin1\x86q\x000]("
    + b"c_codecs\nencode\nh\0R" * 5000 + b"e.",
    "keys of one hash": b"\x80\x02}(" + b"".join(
        b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") + b"N" for k in range(1, 30_000)
    ) + b"u.",
    "many empty sets": b"\x80\x04](" + b"\x8f" * 1_000_000 + b"e.",
    "a name of a megabyte": b"\x80\x02" + ENTRY_OF_MEGABYTE + b"q\0h\0\x93.",
}  # fmt: skip


@pytest.mark.parametrize("name", COSTLY)
def test_costly_pickles_are_refused_in_time_and_in_little_memory(name):
    code = COSTLY[name]
    content = archive(code, {})
    refusal(content)  # imports
    tracemalloc.start()
    begin = time.process_time()
    text = refusal(content)
    seconds, peak = time.process_time() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 5 and peak < 20e6 + 100 * len(code)
    assert re.search(
        "levels deep|unfold|themselves|more than .* bytes of so few|as a key|keys that|asks for xx",
        text,
    )
    assert len(text) < 1000


@pytest.mark.parametrize("code", [b"}", b"N\x85"])
def test_small_containers_take_a_hundred_times_their_bytes(code):
    """As pickle_machine.py says; looking them over takes no more than building them."""
    content = archive(b"\x80\x02(" + code * 100_000 + b"t.", {})
    tracemalloc.start()
    assert len(minicnn.load(io.BytesIO(content))) == 100_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120 * len(content)


def test_windows_are_told_apart_in_time():
    """The stride of an axis of length one is free: here all have one hash."""
    make = Global("torch._utils", "_rebuild_tensor_v2")
    for size in ((1,), (0,)):
        lie = [Raw(b"q\0"), make, Raw(b"q\1"), Raw(b"00](")]
        for k in range(10_000):
            lie += [Raw(b"h\1(h\0"), 0, size, (k * (2**61 - 1),), False, None, Raw(b"tR")]
        code = b"\x80\x02" + Sequence(F32, *lie, Raw(b"e")).code + b"."
        begin = time.process_time()
        found = minicnn.load(io.BytesIO(archive(code, NUMBERS)))
        assert time.process_time() - begin < 2
        assert len(found) == 10_000 and found[-1].shape == size


def test_a_compressed_pickle_stays_small():
    code = b"\x80\x02X\0\0\x10\0" + b"x" * (1 << 20)
    assert "a compressed pickle may have 1048576" in refusal(archive(code + b".", {}, method=8))
    assert len(minicnn.load(io.BytesIO(archive(code + b".", {})))) == 1 << 20


def test_values_in_several_places_are_read():
    """The limit is for data that unfold without end, not for ties."""
    found = minicnn.load(io.BytesIO(archive(nested(b"]", b"0](h\0h\0e", 15), {})))
    assert len(found) == 2 and found[0] is found[1]
    content = archive(nested(b"]", b"0](h\0h\0eq\0", 22), {})  # 2**23 places
    begin = time.process_time()
    found = minicnn.load(io.BytesIO(content), map_location="cpu")
    assert found[0] is found[1] and time.process_time() - begin < 1


def test_no_memory_is_taken_for_a_lie():
    lies = [
        *both(tensor(storage("0", "float32", 2**40), (1,))),
        *both(tensor(F32, (2**24 + 1,), (0,))),
        archive(b"\x80\x02X\xff\xff\xff\x7f", {}),
        stream(b"\x80\x02\x8e" + I8, {}),
    ]
    for content in lies:
        refusal(content)
        tracemalloc.start()
        refusal(content)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1_000_000

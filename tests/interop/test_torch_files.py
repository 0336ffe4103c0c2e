"""PyTorch's files, written here by hand: both formats, every type, shared and strided tensors."""

from __future__ import annotations

import io
import zipfile
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest
import torch_writer as writer
from torch_writer import Call, Global, Raw, archive, ordered, pickled, storage, stream, tensor

import minicnn
from minicnn import nn
from minicnn.interop import FormatError

FORMATS = ["zip", "legacy"]
NUMBERS = np.arange(24, dtype=np.float32)


def load(content, **options):
    return minicnn.load(io.BytesIO(content), **options)


def read(form, obj, arrays, **options):
    """`obj` through a file of this format; `arrays` fill the storages."""
    if form == "zip":
        return load(archive(obj, {k: a.tobytes() for k, a in arrays.items()}), **options)
    return load(stream(obj, {k: (a.size, a.tobytes()) for k, a in arrays.items()}), **options)


def value(obj):
    """`obj` read back where no storage is needed."""
    return load(archive(obj, {}))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", [d for d in writer.STORAGE if d != "bfloat16"])
def test_every_type(form, dtype):
    numbers = np.array([0, 1, 1, 0, 1]).astype(dtype)
    found = read(form, tensor(storage("k", dtype, 5), (5,)), {"k": numbers})
    assert (
        type(found) is minicnn.Tensor
        and found.dtype == dtype
        and found.array.dtype.metadata is None
    )
    np.testing.assert_array_equal(found.array, numbers)
    found.array[...] = 1  # what was loaded can be trained


@pytest.mark.parametrize("form", FORMATS)
def test_bfloat16_becomes_float32_exactly(form):
    exact = np.array([1.0, -2.5, 3.3895314e38, 1e-40, np.inf, 0.0], np.float32)
    exact = (exact.view(np.uint32) & 0xFFFF0000).view(np.float32)
    halves = (exact.view(np.uint32) >> 16).astype(np.uint16)
    found = read(form, tensor(storage("k", "bfloat16", 6), (2, 3)), {"k": halves})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.array, exact.reshape(2, 3))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "float32"])
def test_types_without_a_storage_class(form, dtype):
    numbers = np.arange(6).astype(dtype)
    raw = writer.Persistent(
        "storage", Global("torch.storage", "UntypedStorage"), "k", "cpu", numbers.nbytes
    )
    name = Global("torch", dtype)
    obj = Call("torch._utils", "_rebuild_tensor_v3", raw, 1, (5,), (1,), False, None, name)
    content = numbers.view(np.uint8)
    np.testing.assert_array_equal(read(form, obj, {"k": content}).array, numbers[1:])


@pytest.mark.parametrize("form", FORMATS)
def test_windows_on_one_storage_share_its_memory(form):
    where = storage("k", "float32", 24)
    windows = {
        "whole": tensor(where, (2, 3, 4)),
        "turned": tensor(where, (4, 6), (1, 4)),
        "expanded": tensor(where, (5, 2), (0, 1), 6),
        "every third": tensor(where, (8,), (3,)),
        "one": tensor(where, (), (), 23),
        "none": tensor(where, (0, 7), (7, 1), 24),
        "one of a kind": tensor(where, (1, 2), (2**40, 1)),
    }
    found = read(form, windows, {"k": NUMBERS})
    as_strided = np.lib.stride_tricks.as_strided
    expected = {
        "whole": NUMBERS.reshape(2, 3, 4),
        "turned": as_strided(NUMBERS, (4, 6), (4, 16)),
        "expanded": as_strided(NUMBERS[6:], (5, 2), (0, 4)),
        "every third": NUMBERS[::3],
        "one": NUMBERS[23],
        "none": np.zeros((0, 7)),
        "one of a kind": NUMBERS[None, :2],
    }
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name].array, array)
    found["whole"].array[...] = 0
    assert not any(found[name].array.any() for name in windows)


def test_the_other_byte_order():
    """Only the zip format says what it has; the legacy one is always little."""
    arrays = {"a": NUMBERS.astype(">f4"), "b": np.array([1 + 2j], ">c8"), "c": np.array([7], ">i8")}
    kinds = {"a": "float32", "b": "complex64", "c": "int64"}
    obj = {k: tensor(storage(k, kinds[k], a.size), (a.size,)) for k, a in arrays.items()}
    found = load(archive(obj, {k: a.tobytes() for k, a in arrays.items()}, order=b"big"))
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key].array, array)
        assert found[key].dtype.isnative
    halves = tensor(storage("h", "bfloat16", 2), (2,))
    assert load(archive(halves, {"h": b"\x3f\x80\x40\x00"}, order=b"big")).tolist() == [1, 2]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("folder", ["archive", "resnet18-f37072fd", "a b", "é"])
def test_any_folder_stored_or_deflated(method, folder):
    obj = {"w": tensor(storage("0", "float32", 24), (24,))}
    content = archive(obj, {"0": NUMBERS.tobytes()}, folder, None, method)
    np.testing.assert_array_equal(load(content)["w"].array, NUMBERS)


def test_many_large_records(tmp_path):
    """Enough bytes for several threads, from a file."""
    rng = np.random.default_rng(0)
    arrays = {str(i): rng.integers(9, size=200_000).astype("f4") for i in range(7)}
    obj = ordered({k: tensor(storage(k, "float32", a.size), (a.size,)) for k, a in arrays.items()})
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = archive(obj, {k: a.tobytes() for k, a in arrays.items()}, method=method)
        (tmp_path / "net.pth").write_bytes(content)
        for key, found in minicnn.load(tmp_path / "net.pth").items():
            np.testing.assert_array_equal(found.array, arrays[key])
    damaged = bytearray(archive(obj, {k: a.tobytes() for k, a in arrays.items()}))
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(FormatError, match=r"record 'archive/data/3' is damaged: its checksum"):
        load(bytes(damaged))


def test_a_state_dict_with_its_metadata_enters_a_module():
    net = nn.BatchNorm2d(2)
    where = storage("0", "float32", 8)
    names = ["weight", "bias", "running_mean", "running_var"]
    items = {name: tensor(where, (2,), (1,), 2 * i) for i, name in enumerate(names)}
    old = load(archive(ordered(items), {"0": NUMBERS[:8].tobytes()}))
    assert type(old) is OrderedDict and not hasattr(old, "_metadata")
    net.load_state_dict(old)  # from before there was a num_batches_tracked
    assert net.running_var.tolist() == [6, 7]
    metadata = {"_metadata": ordered({"": {"version": 2}})}
    new = load(archive(ordered(items, metadata), {"0": NUMBERS[:8].tobytes()}))
    assert new._metadata == {"": {"version": 2}}
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        net.load_state_dict(new)
    moved = load(
        archive(ordered(items, metadata), {"0": NUMBERS[:8].tobytes()}), map_location="cpu"
    )
    assert moved._metadata == new._metadata


@pytest.mark.parametrize("form", FORMATS)
def test_a_checkpoint_comes_as_it_is(form):
    state = ordered({"module.w": tensor(storage("0", "float32", 24), (24,))})
    obj = {"epoch": 90, "arch": "resnet18", "state_dict": state, "best_acc1": 69.75, "last": None}
    obj["optimizer"] = {
        "state": {},
        "param_groups": [{"lr": 0.1, "params": [0, 1], "nesterov": True}],
    }
    found = read(form, obj, {"0": NUMBERS})
    assert list(found["state_dict"]) == ["module.w"] and found["best_acc1"] == 69.75
    assert {k: v for k, v in found.items() if k != "state_dict"} == {
        k: v for k, v in obj.items() if k != "state_dict"
    }


def test_parameters():
    data = tensor(storage("0", "float32", 24), (24,), grad=True)
    for args, grad in [((data, True, ordered()), True), ((data, False, None), False)]:
        for name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            more = ({"note": 1},) if name.endswith("state") else ()
            obj = Call("torch._utils", name, *args, *more)
            found = load(archive(obj, {"0": NUMBERS.tobytes()}))
            assert type(found) is minicnn.Tensor and found.requires_grad is grad
    assert load(archive(data, {"0": NUMBERS.tobytes()})).requires_grad


def test_a_tensor_with_attributes():
    where = storage("0", "float32", 24)
    make, kind = Global("torch._utils", "_rebuild_tensor_v2"), Global("torch", "Tensor")
    args = (where, 0, (24,), (1,), False, ordered())
    obj = Call("torch._tensor", "_rebuild_from_type_v2", make, kind, args, {"note": 1})
    np.testing.assert_array_equal(load(archive(obj, {"0": NUMBERS.tobytes()})).array, NUMBERS)


def test_files_of_the_year_2017():
    """Tensors by their class and a state, parameters by theirs: PyTorch 0.1 to 0.3."""
    where = storage("0", "float32", 24, "cuda:0", view=(None,))
    by_class = Call("torch", "FloatTensor", new=True, state=(where, 0, (4, 6), (6, 1)))
    by_function = Call("torch._utils", "_rebuild_tensor", where, 0, (4, 6), (6, 1))
    module = "torch.nn.parameter"
    obj = {
        "class": by_class,
        "function": by_function,
        "0.1": Call(module, "Parameter", new=True, state=(by_class, None, None, True, False)),
        "0.3": Call(module, "Parameter", by_function, state=(False, False, ordered())),
    }
    found = read("legacy", obj, {"0": NUMBERS})
    for tensor_ in found.values():
        np.testing.assert_array_equal(tensor_.array, NUMBERS.reshape(4, 6))
    assert [t.requires_grad for t in found.values()] == [False, False, True, False]


def test_views_of_a_legacy_storage():
    whole, part = (storage("0", "float32", 24, view=(v,)) for v in (None, ("1", 6, 10)))
    obj = [tensor(whole, (24,)), tensor(part, (2, 5)), tensor(part, (3,), (1,), 7)]
    a, b, c = read("legacy", obj, {"0": NUMBERS})
    np.testing.assert_array_equal(b.array, NUMBERS[6:16].reshape(2, 5))
    np.testing.assert_array_equal(c.array, NUMBERS[13:16])
    a.array[...] = 0
    assert not b.array.any()
    with pytest.raises(FormatError, match="reaches beyond"):
        read("legacy", tensor(part, (11,)), {"0": NUMBERS})
    with pytest.raises(FormatError, match="a view of storage '0' that lies beyond it"):
        read("legacy", storage("0", "float32", 24, view=(("1", 20, 5),)), {"0": NUMBERS})


# ---------------------------------------------------------------------- plain values


DTYPE = Call("numpy", "dtype", "f8", False, True, state=(3, "<", None, None, None, -1, -1, 0))
BIG = Call("numpy", "dtype", "i2", False, True, state=(3, ">", None, None, None, -1, -1, 0))


def text_bytes(data):
    return Call("_codecs", "encode", data.decode("latin1"), "latin1")


def numpy_array(shape, dtype, fortran, data, core="numpy._core"):
    kind = Global("numpy", "ndarray")
    state = (1, shape, dtype, fortran, text_bytes(data))
    return Call(f"{core}.multiarray", "_reconstruct", kind, (0,), text_bytes(b"b"), state=state)


PLAIN = {
    "numbers": ([0, 255, 256, -1, 2**31, -(2**63), 2**80, 0.1, True, None],) * 2,
    "tuples": (((), (1,), (1, (2, 3))),) * 2,
    "Counter": (Call("collections", "Counter", {"a": 2}), Counter(a=2)),
    "defaultdict": (
        Call("collections", "defaultdict", Global("__builtin__", "list")),
        defaultdict(list),
    ),
    "OrderedDict of Python 2": (
        Call("collections", "OrderedDict", [["a", 1], ["b", 2]]),
        OrderedDict(a=1, b=2),
    ),
    "set": (Call("__builtin__", "set", [1, "a", (2, 3)]), {1, "a", (2, 3)}),
    "frozenset": (Call("builtins", "frozenset", [1]), frozenset([1])),
    "complex": (Call("__builtin__", "complex", 1.0, 2.0), 1 + 2j),
    "bytearray": (Call("__builtin__", "bytearray", "\xff", "latin1"), b"\xff"),
    "bytearray of bytes": (Call("__builtin__", "bytearray", Raw(b"C\x01a")), b"a"),
    "no bytes": (Call("__builtin__", "bytes"), b""),
    "bytes": (text_bytes(b"\0\xff"), b"\0\xff"),
    "Namespace": (Call("argparse", "Namespace", new=True, state={"lr": 0.1}), {"lr": 0.1}),
    "Size": (Call("torch", "Size", (2, 3)), (2, 3)),
    "Size as a key": ({Call("torch", "Size", (2, 3)): 1}, {(2, 3): 1}),
    "device": (Call("torch", "device", "cuda", 1), minicnn.device("cuda", 1)),
    "strange device": (Call("torch", "device", "mps", 0), "mps:0"),
    "dtype": (Global("torch", "int64"), np.dtype("int64")),
    "dtype bfloat16": (Global("torch", "bfloat16"), np.dtype("float32")),
    "scalar": (
        Call("numpy.core.multiarray", "scalar", DTYPE, text_bytes(np.float64(2.5).tobytes())),
        np.float64(2.5),
    ),
    "scalar of Python 2": (
        Call("numpy.core.multiarray", "scalar", BIG, Raw(b"U\x02\x00\x07")), np.int16(7),
    ),
    "protocol 4": (Raw(b"\x95\x08\0\0\0\0\0\0\0\x8f(\x8c\x01a\x94\x90"), {"a"}),
    "protocol 4 frozenset": (Raw(b"(K\1K\2\x91"), frozenset([1, 2])),
    "long texts": (
        Raw(b"(\x8d\x01\0\0\0\0\0\0\0a\x8e\x01\0\0\0\0\0\0\0b\x96\x01\0\0\0\0\0\0\0cC\x01dt"),
        ("a", b"b", b"c", b"d"),
    ),
    "texts of Python 2": (Raw(b"(U\x01aU\x01\xffT\x01\0\0\0bt"), ("a", b"\xff", "b")),
    "pops": (Raw(b"K\1K\x0220(K\x051\x86"), (1, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_plain_values(name):
    written, expected = PLAIN[name]
    for form in FORMATS:
        found = read(form, written, {})
        assert found == expected and type(found) is type(expected)
    if name == "defaultdict":
        assert found["new"] == []


def test_numpy_arrays():
    x = np.arange(6.0).reshape(2, 3)
    for core in ("numpy.core", "numpy._core"):
        obj = [
            numpy_array((2, 3), DTYPE, False, x.tobytes(), core),
            numpy_array((2, 3), DTYPE, True, x.tobytes("F"), core),
            numpy_array((3,), BIG, False, np.arange(3, dtype=">i2").tobytes(), core),
            Call(f"{core}.numeric", "_frombuffer", text_bytes(x.tobytes()), DTYPE, (2, 3), "C"),
        ]
        found = value(obj)
        for array, expected in zip(found, [x, x, np.arange(3), x], strict=True):
            assert type(array) is np.ndarray and array.dtype.isnative and array.flags.writeable
            np.testing.assert_array_equal(array, expected)


def test_one_object_in_two_places_stays_one():
    """Through the memo, also where BUILD puts another dtype in the place of the first."""
    twice = Raw(b"]r\x09\0\0\0j\x09\0\0\0\x86")
    a, b = value(twice)
    assert a == [] and a is b
    code = b"cnumpy\ndtype\n(X\2\0\0\0i2\x89\x88tRr\x09\0\0\0(K\3X\1\0\0\0>tbj\x09\0\0\0\x86"
    assert value(Raw(code)) == (np.dtype(">i2"), np.dtype(">i2"))


# ---------------------------------------------------------------------- where tensors go


@pytest.mark.parametrize("form", FORMATS)
def test_map_location_is_told_where_tensors_were(form):
    obj = {
        "gpu": tensor(storage("0", "float32", 24, "cuda:0"), (24,)),
        "cpu": tensor(storage("1", "float32", 24), (24,)),
    }
    obj["parameter"] = Call("torch._utils", "_rebuild_parameter", obj["gpu"], True, None)
    arrays, told = {"0": NUMBERS, "1": NUMBERS}, []
    found = read(form, obj, arrays, map_location=lambda t, place: told.append((type(t), place)))
    assert found.keys() == obj.keys()
    assert told == [
        (minicnn.Tensor, "cuda:0"), (minicnn.Tensor, "cpu"), (minicnn.Tensor, "cuda:0"),
    ]  # fmt: skip
    for where in ("cpu", {"cuda:0": "cpu"}, {}, minicnn.device("cpu")):
        assert read(form, obj, arrays, map_location=where)["gpu"].device.type == "cpu"


def test_map_location_keeps_ties_parameters_and_containers():
    where = storage("0", "float32", 24, "cuda:0")
    tied = tensor(where, (24,))
    obj = ordered(
        {
            "a": tied,
            "b": tied,
            "p": Call("torch._utils", "_rebuild_parameter", tied, True, None),
            "d": Call("collections", "defaultdict", Global("builtins", "list")),
        },
        {"_metadata": ordered()},
    )
    content = archive(obj, {"0": NUMBERS.tobytes()})
    found = load(content, map_location={"cuda:0": "emulator"})
    assert found["a"].device.type == "emulator" and found["a"] is found["b"]
    assert found["p"].requires_grad and found["p"].is_leaf and found["p"] is not found["a"]
    assert found["d"]["new"] == [] and found._metadata == {}


def test_the_arguments_of_torch_load_are_taken():
    content = archive([1], {})
    assert load(content, weights_only=False, mmap=True, map_location="cpu") == [1]
    assert minicnn.load(io.BytesIO(content), "cpu", None) == [1]


def test_a_file_within_a_file():
    for content in (archive([1], {}), stream([1], {})):
        file = io.BytesIO(b"before" + content)
        file.seek(6)
        assert minicnn.load(file) == [1]


def test_a_file_that_can_only_read():
    """No readinto, as some files in archives and in the cloud."""

    class Reader:
        def __init__(self, content):
            self.file = io.BytesIO(content)

        def __getattr__(self, name):
            if name == "readinto":
                raise AttributeError(name)
            return getattr(self.file, name)

    obj = tensor(storage("0", "float32", 24), (24,))
    for content in (
        archive(obj, {"0": NUMBERS.tobytes()}), stream(obj, {"0": (24, NUMBERS.tobytes())}),
    ):  # fmt: skip
        np.testing.assert_array_equal(minicnn.load(Reader(content)).array, NUMBERS)


def test_pickles_of_other_programs_are_refused():
    with pytest.raises(FormatError, match=r"none that torch\.save wrote"):
        load(pickled({"a": 1}))
    with pytest.raises(FormatError, match="its protocol is other than 1001"):
        load(stream([], {}, protocol=1002))

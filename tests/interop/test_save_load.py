"""minicnn.save and minicnn.load: structures, sharing, files, and what is refused."""

from __future__ import annotations

import io
import math
import os
import threading
from collections import OrderedDict

import numpy as np
import pytest
from safetensors import safe_open

import minicnn
from minicnn import nn
from minicnn.interop import FormatError, read_metadata
from minicnn.interop import files as files_module


def same(a, b):
    """Equal in structure, types, values and dtypes."""
    if isinstance(a, (minicnn.Tensor, np.ndarray, np.generic)):
        tensors = isinstance(a, minicnn.Tensor), isinstance(b, minicnn.Tensor)
        left, right = np.asarray(getattr(a, "array", a)), np.asarray(getattr(b, "array", b))
        return (
            tensors[0] == tensors[1]
            and isinstance(a, np.generic) == isinstance(b, np.generic)
            and left.dtype == right.dtype
            and left.shape == right.shape
            and left.tobytes() == right.tobytes()
        )
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def through(obj):
    buffer = io.BytesIO()
    minicnn.save(obj, buffer)
    buffer.seek(0)
    return minicnn.load(buffer)


EXAMPLES = {
    "state_dict": OrderedDict(
        w=minicnn.Tensor(np.arange(6.0).reshape(2, 3)), b=minicnn.Tensor(np.ones(3))
    ),
    "checkpoint": {
        "epoch": 3,
        "model": {"conv.weight": minicnn.Tensor(np.ones((2, 1, 3, 3), np.float32))},
        "optimizer": {
            "state": {0: {"step": 7, "m": minicnn.Tensor(np.zeros(2))}},
            "groups": [{"lr": 0.1}],
        },
        "best": 0.987654321,
    },
    "numbers": [1, -(2**80), 0.1, 1e-320, True, None, "text \u2713", ""],
    "infinities": [math.nan, math.inf, -math.inf],
    "tuple": ((1, 2), [(), []], {}),
    "keys": {1: "a", "1": "b", (2, 3): "c", None: "d", True and 5.5: "e"},
    "arrays": [
        np.arange(3, dtype=np.int16),
        np.float32(2.5),
        np.array(7),
        np.zeros((0, 3)),
        np.True_,
    ],
    "names that collide": {"a": {"b": np.ones(1)}, "a.b": np.zeros(2), "__metadata__": np.ones(3)},
    "dtype": [np.dtype("float16"), minicnn.device("cpu")],
    "top": minicnn.Tensor(np.array([1, 2, 3])),
    "bare": 5,
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_structures_come_back(name):
    assert same(through(EXAMPLES[name]), EXAMPLES[name])


@pytest.mark.parametrize(
    "dtype",
    ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", ">f4", ">i2"],
)
def test_every_dtype(dtype):
    array = np.random.default_rng(0).integers(0, 2, (3, 4)).astype(dtype)
    back = through({"x": array})["x"]
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype.newbyteorder("=")


def test_any_memory_order():
    x = np.arange(24.0).reshape(2, 3, 4)
    for view in (x.transpose(2, 0, 1), x[:, ::-1], x[:, :, 1], np.asfortranarray(x), x[0:0]):
        assert same(through([view]), [np.ascontiguousarray(view)])


def test_shared_memory_is_stored_once_and_shared_again():
    w = minicnn.Tensor(np.ones((100, 100)))
    buffer = io.BytesIO()
    minicnn.save({"encoder": w, "decoder": w.detach(), "part": w[0]}, buffer)
    assert len(buffer.getvalue()) < 1.1 * w.array.nbytes + 2000
    buffer.seek(0)
    back = minicnn.load(buffer)
    back["encoder"].array[0, 0] = 5
    assert back["decoder"].array[0, 0] == 5 and back["part"].array[0] == 1


def test_views_that_only_look_alike_are_stored_apart():
    x = np.arange(9.0).reshape(3, 3)
    views = [x, x.T, x.view(np.int64), x[:2, :2], x[:2, 1:]]
    assert same(through(views), [np.ascontiguousarray(v) for v in views])


def test_parameters_and_modules(tmp_path):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(4, 5))
    minicnn.save(net.state_dict(), tmp_path / "net.safetensors")
    other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(4, 5))
    other.load_state_dict(minicnn.load(tmp_path / "net.safetensors", weights_only=True))
    for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a.array, b.array)
    with pytest.raises(
        TypeError, match=r"save: the object is a Sequential; save its state_dict\(\)"
    ):
        minicnn.save(net, tmp_path / "other.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"a": [1, object()]}, r"the value at 'a\.1' is a object"),
        ({"a": {1, 2}}, "is a set"),
        ({"a": b"bytes"}, "is a bytes"),
        ({object(): 1}, "has a key of type object"),
        ({"a": np.array(["x"])}, "only numbers can be stored"),
    ],
)
def test_what_cannot_be_stored(obj, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        minicnn.save(obj, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_page_that_was_saved_for_a_file_is_shown():
    with pytest.raises(FormatError, match=r"nor one of PyTorch's .* begins with b'<html><title>40"):
        minicnn.load(io.BytesIO(b"<html><title>404 Not found"))


def test_what_load_takes(tmp_path):
    path = tmp_path / "x"
    path.write_text("text")
    with open(path) as file, pytest.raises(TypeError, match=r"load: .*x: .* in binary mode, 'rb'"):
        minicnn.load(file)
    with pytest.raises(TypeError, match="load: f expects a path or an open binary file, got int"):
        minicnn.load(3)  # which open() takes for a descriptor, and closes
    with pytest.raises(TypeError, match="read_metadata: f expects a path or an open binary file"):
        read_metadata(None)


def test_a_cycle_is_an_error(tmp_path):
    obj: list = []
    obj.append(obj)
    with pytest.raises(ValueError, match="a cycle"):
        minicnn.save(obj, tmp_path / "x")


def test_map_location():
    data = {"a": [minicnn.Tensor(np.ones(2))]}
    buffer = io.BytesIO()
    minicnn.save(data, buffer)
    for where in (
        "cpu",
        minicnn.device("cpu"),
        {"cuda": "cpu"},
        lambda t, place: t,
        lambda t, place: None,
    ):
        buffer.seek(0)
        assert same(minicnn.load(buffer, map_location=where), data)
    buffer.seek(0)
    doubled = minicnn.load(buffer, map_location=lambda t, place: t * 2)
    assert doubled["a"][0].array.tolist() == [2, 2]
    buffer.seek(0)
    with pytest.raises((RuntimeError, ValueError)):
        minicnn.load(buffer, map_location="nowhere")


def test_file_objects_keep_their_position():
    buffer = io.BytesIO()
    buffer.write(b"before")
    minicnn.save([1], buffer)
    buffer.seek(6)
    assert minicnn.load(buffer) == [1]


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (b"PK\x03\x04", "its zip directory is damaged or missing"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9", "its pickle is refused at byte 15"),
        (b"\x93NUMPY\x01\x00", "claims a header|describes no array"),
        (b"x" * 257 + b"ustar", "is a tar archive; PyTorch's format before 0.4"),
    ],
)
def test_the_format_is_told_by_the_content(first, message, tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(first + bytes(100))
    with pytest.raises(FormatError, match=rf"net\.safetensors: .*({message})"):
        minicnn.load(path)


def test_metadata_travels_along(tmp_path):
    path = tmp_path / "net.safetensors"
    notes = {"arch": "resnet18", "note": "\u2713 \n", "z": "", "a": "x" * 5}
    minicnn.save({"w": minicnn.Tensor(np.ones(3))}, path, metadata=notes)
    assert read_metadata(path) == notes
    with open(path, "rb") as file:
        assert read_metadata(file) == notes
    assert minicnn.load(path)["w"].tolist() == [1, 1, 1]
    with safe_open(path, "numpy") as file:
        assert {k: file.metadata()[k] for k in notes} == notes
        assert file.get_tensor("w").tolist() == [1, 1, 1]
    first = path.read_bytes()
    minicnn.save({"w": minicnn.Tensor(np.ones(3))}, path, metadata=dict(reversed(notes.items())))
    assert path.read_bytes() == first
    minicnn.save([1], path)
    assert read_metadata(path) == {}


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        ({"minicnn.structure": "{}"}, ValueError, "a name that minicnn uses itself"),
        ({"a": 1}, TypeError, "expects strings by name, got 'a': 1"),
        ({1: "a"}, TypeError, "expects strings by name"),
        ("arch", TypeError, "metadata expects a dict, got str"),
    ],
)
def test_metadata_that_cannot_travel(metadata, error, message, tmp_path):
    with pytest.raises(error, match=message):
        minicnn.save({}, tmp_path / "x", metadata=metadata)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", [b"", b"PK\3\4" + bytes(50), b"\5\0\0\0\0\0\0\0[1,2]", b"\2\0\0\0\0\0\0\0{}x"[:9]]
)
def test_metadata_of_another_file(content):
    with pytest.raises(FormatError, match="read_metadata: "):
        read_metadata(io.BytesIO(content))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        minicnn.load(tmp_path / "none")


# ---------------------------------------------------------------------- nothing is lost


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "x.safetensors"
    minicnn.save({"old": np.arange(5)}, path)
    return path


def check_kept(path):
    assert same(minicnn.load(path), {"old": np.arange(5)})
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def no_space(*args):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(step, kept, monkeypatch):
    monkeypatch.setattr(files_module.os, step, no_space)
    with pytest.raises(OSError, match="No space left") as caught:
        minicnn.save({"new": np.zeros(1000)}, kept)
    assert (caught.value.filename, caught.value.filename2) == (str(kept), None)
    monkeypatch.undo()
    check_kept(kept)


@pytest.mark.parametrize("room", [0, 4, 100, 1000])
def test_a_failing_write_leaves_the_old_file(room, kept, monkeypatch):
    real_open = open

    class Failing:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            self.file.write(data[:room])
            no_space()

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            self.file.close()

    monkeypatch.setattr(files_module, "open", lambda *a: Failing(real_open(*a)), raising=False)
    with pytest.raises(OSError, match="No space left"):
        minicnn.save({"a": np.zeros(1000), "b": np.zeros(10)}, kept)
    monkeypatch.undo()
    check_kept(kept)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_written_to_and_stays(tmp_path):
    """As root, /dev/null would otherwise become a file."""
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    reader.start()
    files_module.write_bytes(pipe, b"numbers")
    assert pipe.is_fifo() and [*tmp_path.iterdir()] == [pipe]
    reader.join(10)
    assert found == [b"numbers"]


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        files_module.write_bytes(tmp_path, b"numbers")
    assert not [*tmp_path.parent.glob("*minicnn-tmp")]


def test_ctrl_c_in_a_save_leaves_the_old_file(kept, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(files_module.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        minicnn.save({"new": np.zeros(1000)}, kept)
    monkeypatch.undo()
    check_kept(kept)


def test_bytes_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    events = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(
        files_module.os, "fsync", lambda fd: (events.append("fsync"), real_fsync(fd))
    )
    monkeypatch.setattr(
        files_module.os, "replace", lambda a, b: (events.append("replace"), real_replace(a, b))
    )
    minicnn.save([np.ones(3)], tmp_path / "x")
    assert events[:2] == ["fsync", "replace"]


def test_two_threads_may_save_the_same_file(tmp_path):
    """Each has a temporary file of its own; the last one to end leaves its content."""
    path = tmp_path / "x"
    first_is_open, second_is_done = threading.Event(), threading.Event()

    def first():
        with files_module.atomic_write(path) as file:
            file.write(b"first, ")
            first_is_open.set()
            second_is_done.wait(10)
            file.write(b"whole")

    thread = threading.Thread(target=first)
    thread.start()
    assert first_is_open.wait(10)
    files_module.write_bytes(path, b"second")
    assert path.read_bytes() == b"second"
    second_is_done.set()
    thread.join()
    assert path.read_bytes() == b"first, whole" and os.listdir(tmp_path) == ["x"]


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    """Not the temporary one beside it."""
    path = tmp_path / "nowhere" / "x.safetensors"
    with pytest.raises(FileNotFoundError) as error:
        minicnn.save([1], path)
    assert error.value.filename == str(path) and error.value.filename2 is None
    with pytest.raises(FileNotFoundError) as error:
        minicnn.load(path)
    assert error.value.filename == str(path)


def test_a_path_of_bytes(tmp_path):
    path = os.fsencode(tmp_path / "ключи.safetensors")
    minicnn.save([1], path)
    assert minicnn.load(path) == [1]


def test_a_name_as_long_as_can_be(tmp_path):
    path = tmp_path / ("ä" * 120 + ".safetensors")
    minicnn.save([1], path)
    assert minicnn.load(path) == [1]


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symbolic links")
def test_a_link_is_followed(tmp_path):
    (tmp_path / "far").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "far" / "file")
    minicnn.save([1], link)
    assert link.is_symlink() and minicnn.load(tmp_path / "far" / "file") == [1]


def test_shapes_are_kept_as_tuples(tmp_path):
    x = minicnn.zeros(2, 3)
    minicnn.save({"shape": x.shape, x.size(): 1}, tmp_path / "a.safetensors")
    assert minicnn.load(tmp_path / "a.safetensors") == {"shape": (2, 3), (2, 3): 1}

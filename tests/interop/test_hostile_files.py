"""Files that are damaged or that lie: refused with a FormatError, before memory is taken."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import tracemalloc

import numpy as np
import pytest

import minicnn
from minicnn.interop import FormatError, safetensors


def whole() -> bytes:
    buffer = io.BytesIO()
    data = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [np.array([True, False]), 1.5]}
    minicnn.save(data, buffer)
    return buffer.getvalue()


def raw(header, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def structure(tree) -> dict:
    return {"__metadata__": {"minicnn.structure": json.dumps(tree)}}


BAD = {
    "empty": (b"", "too few"),
    "seven bytes": (b"1234567", "too few"),
    "header longer than the file": (raw({}, length=10**6), "claims a header of 1000000 bytes"),
    "header of 2^63": (raw({}, length=2**63), "claims a header"),
    "no JSON": (raw(b"{nonsense"), "is not JSON"),
    "not UTF-8": (raw(b'{"\xff":1}'), "is not JSON"),
    "a list": (raw(b"[]      "), "not a JSON object"),
    "deep nesting": (raw(b'{"a":' + b"[" * 200_000), "is not JSON"),
    "same name twice": (raw(b'{"a":1,"a":2}'), "twice"),
    "metadata of numbers": (raw({"__metadata__": {"a": 1}}), "strings to strings"),
    "metadata no table": (raw({"__metadata__": [1]}), "strings to strings"),
    "entry no table": (raw({"a": 5}), "should have dtype, shape"),
    "entry incomplete": (raw({"a": {"dtype": "F32", "shape": [2]}}), "should have dtype, shape"),
    "unknown dtype": (raw({"a": entry("F12")}, bytes(8)), "is of type 'F12'"),
    "dtype no string": (raw({"a": entry(["F32"])}, bytes(8)), "is of type"),
    "negative shape": (raw({"a": entry(shape=(-2,))}, bytes(8)), "has shape"),
    "float shape": (raw({"a": entry(shape=(2.0,))}, bytes(8)), "has shape"),
    "boolean shape": (raw({"a": entry(shape=(True, 2))}, bytes(8)), "has shape"),
    "three offsets": (raw({"a": entry(offsets=(0, 8, 9))}, bytes(8)), "data_offsets"),
    "offsets backwards": (raw({"a": entry(offsets=(8, 0))}, bytes(8)), "data_offsets"),
    "size and offsets differ": (raw({"a": entry(shape=(3,))}, bytes(8)), "takes 12 bytes"),
    "huge shape": (raw({"a": entry(shape=(2**40, 2**40))}, bytes(8)), "takes"),
    "shape times zero": (
        raw({"a": entry(shape=(0, 2**61, 2**61), offsets=(0, 0))}),
        "'a' of shape",
    ),
    "65 dimensions": (
        raw({"a": entry(shape=(1,) * 65, offsets=(0, 4))}, bytes(4)),
        "65 dimensions",
    ),
    "gap": (raw({"a": entry(offsets=(4, 12))}, bytes(12)), "begins at byte 4"),
    "overlap": (raw({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "begins at byte 4"),
    "bytes left over": (raw({"a": entry()}, bytes(9)), "cut short or damaged"),
    "bytes missing": (raw({"a": entry()}, bytes(7)), "cut short or damaged"),
    "BOOL of 7": (raw({"a": entry("BOOL", (1,), (0, 1))}, b"\x07"), "other than 0 and 1"),
    "structure no JSON": (
        raw({"__metadata__": {"minicnn.structure": "{"}}),
        "structure is damaged",
    ),
    "unknown tag": (raw(structure({"object": "x"})), "means nothing"),
    "two tags": (raw(structure({"tensor": "a", "array": "a"})), "means nothing"),
    "absent array": (raw(structure({"tensor": "a"})), "that it does not hold"),
    "name no string": (raw(structure({"tensor": [1]})), "that it does not hold"),
    "pairs no pairs": (raw(structure({"dict": [[1, 2, 3]]})), "structure is damaged"),
    "key unhashable": (raw(structure({"dict": [[[1], 2]]})), "structure is damaged"),
    "no float": (raw(structure({"float": "1"})), "structure is damaged"),
    "no dtype": (raw(structure({"dtype": "nonsense"})), "structure is damaged"),
    "no device": (raw(structure({"device": "moon"})), "structure is damaged"),
    "deep structure": (raw({"__metadata__": {"minicnn.structure": "[" * 100_000}}), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name, tmp_path):
    content, message = BAD[name]
    with pytest.raises(FormatError, match=message):
        minicnn.load(io.BytesIO(content))
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"x\.safetensors: "):
        minicnn.load(path)


def test_a_header_of_any_length_is_not_read(monkeypatch):
    content = whole()
    monkeypatch.setattr(safetensors, "_MAX_HEADER", 20)
    with pytest.raises(FormatError, match="claims a header of"):
        minicnn.load(io.BytesIO(content))


def test_every_truncation_is_refused():
    content = whole()
    for n in range(len(content)):
        with pytest.raises(FormatError):
            minicnn.load(io.BytesIO(content[:n]))


def test_no_memory_is_taken_for_a_lie():
    for content in (raw({}, length=2**40), raw({"a": entry(shape=(2**31,), offsets=(0, 2**33))})):
        tracemalloc.start()
        with pytest.raises(FormatError):
            minicnn.load(io.BytesIO(content))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()


def test_a_file_that_shrinks_while_it_is_read():
    class Shrinking(io.BytesIO):
        def read(self, n=-1):
            return super().read(n) if self.tell() < 100 else b""

    with pytest.raises(FormatError, match="cut short"):
        minicnn.load(Shrinking(whole()))


def test_mutated_files_give_a_result_or_a_format_error():
    content, rng = whole(), np.random.default_rng(0)
    for _ in range(3000):
        mutant = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            mutant[rng.integers(len(mutant))] = rng.integers(256)
        with contextlib.suppress(FormatError):
            minicnn.load(io.BytesIO(bytes(mutant)))


def test_bfloat16_becomes_float32():
    values = np.array([[1.0, -2.5], [0.0, 3e38]], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    loaded = minicnn.load(io.BytesIO(raw({"a": entry("BF16", (2, 2), (0, 8))}, halves)))["a"]
    assert loaded.dtype == np.float32 and loaded.shape == (2, 2)
    np.testing.assert_allclose(loaded.array, values, rtol=2**-7)
    scalar = minicnn.load(io.BytesIO(raw({"a": entry("BF16", (), (0, 2))}, halves[:2])))["a"]
    assert scalar.shape == () and scalar.item() == 1.0

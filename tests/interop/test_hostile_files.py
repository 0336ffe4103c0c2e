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


REFUSED = "was cut short or damaged, or is no safetensors file"

BAD = {
    "empty": (b"", "is no safetensors file, .*; it is empty"),
    "seven bytes": (b"1234567", "is no safetensors file, .*; it begins with b'1234567'"),
    "header longer than the file": (raw({}, length=10**6), "claims a header of 1000000 bytes"),
    "header of 2^63": (raw({}, length=2**63), "claims a header"),
    "no JSON": (raw(b"{nonsense"), REFUSED),
    "not UTF-8": (raw(b'{"\xff":1}'), REFUSED),
    "a list": (raw(b"[]      "), "is no safetensors file, .*; it begins with"),
    "deep nesting": (raw(b'{"a":' + b"[" * 200_000), REFUSED),
    "metadata of numbers": (raw({"__metadata__": {"a": 1}}), REFUSED),
    "metadata no table": (raw({"__metadata__": [1]}), REFUSED),
    "entry no table": (raw({"a": 5}), REFUSED),
    "entry incomplete": (raw({"a": {"dtype": "F32", "shape": [2]}}), REFUSED),
    "unknown dtype": (raw({"a": entry("F12")}, bytes(8)), REFUSED),
    "dtype no string": (raw({"a": entry(["F32"])}, bytes(8)), REFUSED),
    "negative shape": (raw({"a": entry(shape=(-2,))}, bytes(8)), REFUSED),
    "float shape": (raw({"a": entry(shape=(2.0,))}, bytes(8)), REFUSED),
    "boolean shape": (raw({"a": entry(shape=(True, 2))}, bytes(8)), REFUSED),
    "three offsets": (raw({"a": entry(offsets=(0, 8, 9))}, bytes(8)), REFUSED),
    "offsets backwards": (raw({"a": entry(offsets=(8, 0))}, bytes(8)), REFUSED),
    "size and offsets differ": (raw({"a": entry(shape=(3,))}, bytes(8)), REFUSED),
    "huge shape": (raw({"a": entry(shape=(2**40, 2**40))}, bytes(8)), REFUSED),
    "shape times zero": (
        raw({"a": entry(shape=(0, 2**61, 2**61), offsets=(0, 0))}),
        "'a' of shape",
    ),
    "65 dimensions": (
        raw({"a": entry(shape=(1,) * 65, offsets=(0, 4))}, bytes(4)),
        "'a' of shape",
    ),
    "dimension of 2^63": (raw({"a": entry(shape=(0, 2**63), offsets=(0, 0))}), "'a' of shape"),
    "offsets of 2^64": (raw({"a": entry(offsets=(2**64 - 8, 2**64 - 1))}, bytes(8)), REFUSED),
    "number of 5000 digits": (
        raw(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":' + b"1" * 5000 + b"}}"),
        REFUSED,
    ),
    "type of 8 bits": (
        raw({"a": entry("F8_E4M3", (2,), (0, 2))}, bytes(2)),
        "F8_E4M3, which NumPy",
    ),
    "gap": (raw({"a": entry(offsets=(4, 12))}, bytes(12)), REFUSED),
    "overlap": (raw({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), REFUSED),
    "bytes left over": (raw({"a": entry()}, bytes(9)), REFUSED),
    "bytes missing": (raw({"a": entry()}, bytes(7)), REFUSED),
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
    "pairs a text": (raw(structure({"dict": ["ab"]})), "'ab' is no list"),
    "tuple of a text": (raw(structure({"tuple": "ab"})), "'ab' is no list"),
    "key unhashable": (raw(structure({"dict": [[[1], 2]]})), "structure is damaged"),
    "no float": (raw(structure({"float": "1"})), "structure is damaged"),
    "no dtype": (raw(structure({"dtype": "nonsense"})), "structure is damaged"),
    **{
        f"dtype {text!s:.12}": (raw(structure({"dtype": text})), "structure is damaged")
        for text in ("O", "object", "V1000000000", "f4,f4", None, 5, [["a", "O"]], {"names": []})
    },
    "keys of one hash": (
        raw(structure({"dict": [[k * (2**61 - 1), 0] for k in range(30_000)]})),
        "keys that were made to cost time",
    ),
    "the same key": (raw(structure({"dict": [["a", 0]] * 1000})), "keys that were made to cost"),
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
            return super().read(min(n, 100) if n >= 0 else 100)

    with pytest.raises(FormatError, match="cut short"):
        minicnn.load(Shrinking(whole()))


def test_a_file_without_an_end():
    class Endless(io.BytesIO):
        """As devices are: 0 bytes long, and always more to read."""

        def read(self, n=-1):
            assert n >= 0, "would never end"
            return raw({}, bytes(1000))[:n]

    with pytest.raises(FormatError, match="cut short"):
        minicnn.load(Endless())


def test_mutated_files_give_a_result_or_a_format_error():
    content, rng = whole(), np.random.default_rng(0)
    for _ in range(3000):
        mutant = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            mutant[rng.integers(len(mutant))] = rng.integers(256)
        with contextlib.suppress(FormatError):
            minicnn.load(io.BytesIO(bytes(mutant)))


def test_mutated_headers_give_what_they_say_or_a_format_error():
    """Most mutants of a whole file hit numbers or text; these hit what decides over memory."""
    buffer, rng = io.BytesIO(), np.random.default_rng(1)
    arrays = {"w": np.arange(12, dtype="f4").reshape(3, 4), "n": np.array(7), "e": np.zeros((0, 2))}
    safetensors.write(buffer, arrays, {})
    content = buffer.getvalue()
    header = 8 + int.from_bytes(content[:8], "little")
    judged = {True: 0, False: 0}
    for _ in range(3000):
        mutant = bytearray(content)
        at = rng.integers(header)
        mutant[at] = rng.integers(32, 127) if at >= 8 else rng.integers(256)
        try:
            loaded = minicnn.load(io.BytesIO(bytes(mutant)))
        except FormatError:
            judged[False] += 1
        else:
            judged[True] += 1
            assert sum(x.array.nbytes for x in loaded.values()) == len(content) - header
    assert min(judged.values()) > 50


@pytest.mark.parametrize("key", ["dtype", "shape", "data_offsets"])
def test_entries_of_any_json_give_a_format_error(key):
    numbers = [-1, 0, 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1, 2**64, 1e300]
    pairs = [[a, b] for a in numbers for b in numbers]
    for value in [*numbers, None, True, "", "F64", {}, [], [[]], *pairs]:
        with pytest.raises(FormatError, match="load: "):
            minicnn.load(io.BytesIO(raw({"a": {**entry(), key: value}}, bytes(8))))


def test_bfloat16_becomes_float32():
    values = np.array([[1.0, -2.5], [0.0, 3e38]], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    loaded = minicnn.load(io.BytesIO(raw({"a": entry("BF16", (2, 2), (0, 8))}, halves)))["a"]
    assert loaded.dtype == np.float32 and loaded.shape == (2, 2)
    np.testing.assert_allclose(loaded.array, values, rtol=2**-7)
    scalar = minicnn.load(io.BytesIO(raw({"a": entry("BF16", (), (0, 2))}, halves[:2])))["a"]
    assert scalar.shape == () and scalar.item() == 1.0

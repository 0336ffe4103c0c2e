"""Zip archives that lie about their records: refused before anything is read."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from torch_writer import archive, pickled, storage, tensor, zipped

import minicnn
from minicnn.interop import FormatError
from minicnn.interop.zip_records import Archive

W = np.arange(24, dtype=np.float32)
NET = archive({"w": tensor(storage("0", "float32", 24), (24,))}, {"0": W.tobytes()})


def refusal(content):
    with pytest.raises(FormatError) as caught:
        minicnn.load(io.BytesIO(content))
    return str(caught.value)


def entry(content, name):
    """Where the directory's entry for `name` begins, and where its record's header does."""
    begin = content.index(b"PK\1\2")
    while content[begin + 46 : begin + 46 + len(name)] != name:
        begin = content.index(b"PK\1\2", begin + 1)
    return begin, struct.unpack_from("<I", content, begin + 42)[0]


def patched(content, at, code, value):
    out = bytearray(content)
    struct.pack_into(code, out, at, value)
    return bytes(out)


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/x", "a//x", "a\\x", "C:x", "a/./x", "..", "a/..", "nul\0x"],
)
def test_names_that_lead_out_of_the_archive(name):
    content = zipped({"archive/data.pkl": pickled(1), name.replace("\0", "#"): b"x"})
    content = content.replace(b"nul#x", b"nul\0x")
    assert "has a name that leads out of the archive" in refusal(content)


def test_a_name_that_stands_twice():
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(out, "w") as file:
            for _ in range(2):
                file.writestr("archive/data.pkl", pickled(1))
    assert "'archive/data.pkl' stands twice" in refusal(out.getvalue())


def test_sizes_that_lie():
    at, _ = entry(NET, b"archive/data/0")
    larger = patched(NET, at + 24, "<I", 97)
    assert "is stored, in another size" in refusal(larger)
    assert "reaches over what follows it" in refusal(patched(larger, at + 20, "<I", 97))
    assert "reaches over" in refusal(patched(larger, at + 20, "<I", 2**31))
    # Both say 2**32 - 2: a stored record larger than its file
    huge = patched(patched(NET, at + 20, "<I", 2**32 - 2), at + 24, "<I", 2**32 - 2)
    assert "reaches over" in refusal(huge)


def test_records_that_overlap():
    (one, _), (two, place) = (entry(NET, name) for name in (b"archive/version", b"archive/data/0"))
    content = patched(NET, one + 42, "<I", place)
    assert "another name where it stands" in refusal(content)
    inside = NET.index(b"PK\3\4") + 4
    assert "not where the directory says" in refusal(patched(NET, one + 42, "<I", inside))
    assert two != one


def test_a_record_within_another():
    """The header of a second record is the content of the first: a zip that holds itself."""
    inner = zipped({"b": b"x" * 50})[: 30 + 1 + 50]
    content = zipped({"a": inner, "b": b"x" * 50})
    at, _ = entry(content, b"b")
    assert "reaches over what follows it" in refusal(patched(content, at + 42, "<I", 31))


def test_damaged_bytes_are_found_by_their_checksum():
    at = NET.index(W[5:9].tobytes())
    assert "'archive/data/0' is damaged: its checksum" in refusal(patched(NET, at, "B", 1))
    deflated = archive(
        {"w": tensor(storage("0", "float32", 24), (24,))}, {"0": W.tobytes()},
        method=zipfile.ZIP_DEFLATED,
    )  # fmt: skip
    at, _ = entry(deflated, b"archive/data/0")
    assert "its checksum is another" in refusal(patched(deflated, at + 16, "<I", 5))


def test_archives_that_were_saved_without_checksums():
    """torch.serialization.set_crc32_options(False) writes zeros in their place."""
    content = NET
    for name in (b"archive/data.pkl", b"archive/data/0", b"archive/byteorder"):
        content = patched(content, entry(content, name)[0] + 16, "<I", 0)
    np.testing.assert_array_equal(minicnn.load(io.BytesIO(content))["w"].array, W)


def deflated(claimed, content):
    """An .npz whose record says that it unpacks to `claimed` bytes, in both of its headers."""
    raw = zipped({"x.npy": content}, zipfile.ZIP_DEFLATED)
    at, header = entry(raw, b"x.npy")
    return patched(patched(raw, at + 24, "<I", claimed), header + 22, "<I", claimed)


def test_deflated_records_that_unpack_to_another_size():
    npy = io.BytesIO()
    np.save(npy, W)
    content = npy.getvalue()
    for claimed in (0, 1, len(content) - 1, len(content) + 1, 2 * len(content)):
        text = refusal(deflated(claimed, content))
        assert f"'x.npy' does not unpack to {claimed} bytes" in text
    np.testing.assert_array_equal(
        minicnn.load(io.BytesIO(deflated(len(content), content)))["x"].array, W
    )


def test_deflate_streams_that_are_none():
    raw = zipped({"x.npy": bytes(500)}, zipfile.ZIP_DEFLATED)
    at = raw.index(b"x.npy") + 5
    assert "'x.npy' is damaged" in refusal(patched(raw, at, "B", 0xFF))
    endless = zlib.compressobj(wbits=-15)
    code = endless.compress(bytes(500)) + endless.flush(zlib.Z_SYNC_FLUSH)  # no end mark
    assert len(code) < 500
    stored = zipped({"x.npy": code})
    begin, header = entry(stored, b"x.npy")
    for at, value in ((begin + 10, 8), (header + 8, 8)):
        stored = patched(stored, at, "<H", value)
    for at in (begin + 24, header + 22):
        stored = patched(stored, at, "<I", 500)
    assert "does not unpack to 500 bytes" in refusal(stored)


def test_bombs_are_not_unpacked():
    npy = io.BytesIO()
    np.save(npy, np.zeros(30 << 20, np.uint8))
    bomb = zipped({"x.npy": npy.getvalue()}, zipfile.ZIP_DEFLATED)
    pickle_bomb = archive(b"\x80\x02(" + b"}" * (3 << 20) + b"t.", {}, method=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 50_000
    for content, message in ((bomb, "more than 50 to one"), (pickle_bomb, "data.pkl' claims")):
        refusal(content)
        tracemalloc.start()
        assert message in refusal(content)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()
    zeros = io.BytesIO()
    np.savez_compressed(zeros, mask=np.zeros(4_000_000, np.uint8))
    zeros.seek(0)
    assert not minicnn.load(zeros)["mask"].any()


def test_other_methods_and_encryption():
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert "compressed by other than deflate" in refusal(zipped({"x.npy": b"x"}, method))
    at, _ = entry(NET, b"archive/data/0")
    assert "'archive/data/0' is encrypted" in refusal(patched(NET, at + 8, "<H", 1))


def test_archives_of_others():
    for records, message in [
        ({"a/b.txt": b"x"}, "neither of PyTorch's (data.pkl) nor an .npz"),
        ({"data.pkl": pickled(1)}, "neither of PyTorch's"),
        ({"a/data.pkl": pickled(1), "b/data/0": b""}, "has one folder, this one has several"),
        ({"a/data.pkl": pickled(1), "a/constants.pkl": b""}, "a TorchScript program"),
        ({"a/data.pkl": pickled(1), "a/byteorder": b"middle"}, "neither little nor big"),
        ({"a/data.pkl": pickled(1), "a/byteorder": b"l" * 1000}, "neither little nor big"),
    ]:
        assert message in refusal(zipped(records))


def test_every_truncation_is_refused():
    for n in range(len(NET)):
        refusal(NET[:n])


def test_every_changed_byte_gives_the_same_or_an_error():
    """Only what nothing reads (dates, versions, padding) may change without notice."""
    for at in range(len(NET)):
        damaged = bytearray(NET)
        damaged[at] ^= 0x41
        try:
            found = minicnn.load(io.BytesIO(bytes(damaged)))
        except FormatError:
            continue
        np.testing.assert_array_equal(found["w"].array, W)


def test_records_in_the_order_of_the_file():
    assert list(Archive(io.BytesIO(zipped({"b": b"1", "a": b"2"}))).records) == ["b", "a"]
    assert Archive(io.BytesIO(zipped({"b": b"1", "a": b"2"}))).read("a") == b"2"


def test_a_file_that_shrinks_while_it_is_read():
    class Shrinking(io.BytesIO):
        short = False

        def readinto(self, target):
            return (
                super().readinto(memoryview(target)[: len(target) // 2]) if len(target) > 1 else 0
            )

    with pytest.raises(FormatError, match="the file became shorter"):
        minicnn.load(Shrinking(NET))


@pytest.mark.parametrize("lie", [2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("field", ["size", "packed", "offset"])
def test_numbers_of_64_bits_that_lie(field, lie):
    """Numbers too large for 32 bits stand in an extra field, here for a record of one byte."""
    numbers = {"size": 1, "packed": 1, "offset": 0} | {field: lie}
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 0, 0, 0, 0, 1, 1, 5, 0) + b"x.npyN"
    extra = struct.pack("<2H3Q", 1, 24, *numbers.values())
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, 5, len(extra),
        0, 0, 0, 0, 2**32 - 1,
    ) + b"x.npy" + extra  # fmt: skip
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)
    text = refusal(local + entry + end)
    assert "points before the file or behind" in text if field == "offset" else "x.npy" in text

"""The IDX parser: every type; and hostile files, which end in an IDXError and take no memory."""

import gzip
import io
import struct
import tracemalloc

import numpy as np
import pytest

from minicnn.datasets import IDXError, read_idx

TYPES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx(array):
    """The bytes of an IDX file."""
    header = struct.pack(f">2xBB{array.ndim}I", TYPES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)


@pytest.fixture
def write(tmp_path):
    def write(content, name="file-idx3-ubyte"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_reads_every_type(write, dtype, zipped):
    array = (np.random.default_rng(0).standard_normal((3, 2, 4)) * 100).astype(dtype)
    content = gzip.compress(idx(array)) if zipped else idx(array)
    out = read_idx(write(content))
    assert out.dtype == np.dtype(dtype)
    assert out.dtype.isnative
    assert np.array_equal(out, array)
    out[0] = 0  # it is the reader's own memory


def test_expectations_that_hold(write):
    path = write(idx(IMAGES))
    assert np.array_equal(read_idx(path, np.uint8, (None, 4, 5)), IMAGES)
    assert np.array_equal(read_idx(path, "uint8", (3, None, None), max_bytes=60), IMAGES)
    assert read_idx(write(idx(IMAGES[:0])), shape=(0, 4, 5)).shape == (0, 4, 5)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "no")


GOOD = idx(IMAGES)
ZIPPED = gzip.compress(GOOD, mtime=0)
HOSTILE = {
    "empty": (b"", "too short for an IDX header, 0 bytes"),
    "three bytes": (GOOD[:3], "too short for an IDX header, 3 bytes"),
    "html": (b"<html>404</html>", "not an IDX file: it begins with 3c 68 74 6d"),
    "unknown type": (b"\0\0\x0a\x03" + GOOD[4:], "begins with 00 00 0a 03"),
    "no dimensions": (b"\0\0\x08\0" + GOOD[4:], "begins with 00 00 08 00"),
    "header cut": (GOOD[:10], "ends within the sizes of its 3 dimensions"),
    "255 dimensions": (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0", "255 dimensions, at most 64"),
    "data cut": (GOOD[:-1], "60 bytes, but the file of 75 bytes cannot hold that many"),
    "no data": (GOOD[:16], "cannot hold that many"),
    "trailing byte": (GOOD + b"\0", "holds 61: 1 too many"),
    "oversized": (b"\0\0\x08\x03" + b"\xff" * 12, "more than the 268435456 bytes allowed"),
    "oversized doubles": (b"\0\0\x0e\x01\x10\0\0\0", "more than the 268435456 bytes allowed"),
    "zero times huge": (b"\0\0\x08\x03" + b"\0" * 4 + b"\xff" * 8, "bytes allowed"),
    "zipped, cut": (ZIPPED[:-12], "broken gzip data|truncated"),
    "zipped, cut in the header": (ZIPPED[:5], "broken gzip data"),
    "zipped, bad checksum": (ZIPPED[:-8] + b"\0\0\0\0" + ZIPPED[-4:], "broken gzip data"),
    "zipped, garbage": (b"\x1f\x8b\x08\0" + b"\xff" * 60, "broken gzip data"),
    "zipped, too little": (gzip.compress(GOOD[:-1]), "truncated: .* 60 bytes, holds 59"),
    "zipped, too much": (gzip.compress(GOOD + b"\0"), "more data follows"),
    "zipped, two members": (ZIPPED + ZIPPED, "more data follows"),
    "zipped, oversized": (
        gzip.compress(b"\0\0\x08\x01\x0f\xff\xff\xff"),
        "268435455 bytes, but the file of .* cannot hold that many",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(write, name):
    content, text = HOSTILE[name]
    path = write(content)
    with pytest.raises(IDXError, match=text) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_expectations_that_fail(write):
    path = write(GOOD)
    with pytest.raises(IDXError, match="holds uint8 values, expected int32"):
        read_idx(path, np.int32)
    for shape in ((None, 4, 6), (None, 4), (2, 4, 5), (None,) * 4):
        with pytest.raises(IDXError, match=r"3 dimensions of sizes \(3, 4, 5\), expected"):
            read_idx(path, shape=shape)
    with pytest.raises(IDXError, match="more than the 59 bytes allowed"):
        read_idx(path, max_bytes=59)


def test_a_gzip_bomb_is_not_unpacked(write):
    bomb = io.BytesIO()
    with gzip.open(bomb, "wb", compresslevel=9) as stream:
        stream.write(GOOD)
        for _ in range(64):
            stream.write(bytes(1 << 20))
    path = write(bomb.getvalue())
    tracemalloc.start()
    try:
        with pytest.raises(IDXError, match="more data follows"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_fuzz(write):
    """Mutated headers, cut and lengthened files: an array that fits its file, or an IDXError."""
    rng = np.random.default_rng(20)
    outcomes = {"read": 0, "refused": 0}
    tracemalloc.start()
    try:
        for k in range(300):
            content = bytearray(GOOD)
            for _ in range(rng.integers(1, 4)):
                kind = rng.integers(4)
                if kind == 0 and content:
                    content[rng.integers(min(len(content), 17))] = rng.integers(256)
                elif kind == 1:
                    content = content[: rng.integers(len(content) + 1)]
                elif kind == 2:
                    content += rng.bytes(rng.integers(1, 40))
                elif content:
                    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
            if k % 2:
                content = bytearray(gzip.compress(bytes(content)))
                if k % 4 == 1:
                    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
            path = write(content)
            try:
                out = read_idx(path, max_bytes=1 << 20)
                assert out.nbytes <= len(gzip.decompress(content) if k % 2 else content)
                outcomes["read"] += 1
            except IDXError as error:
                assert str(path) in str(error)
                outcomes["refused"] += 1
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert min(outcomes.values()) > 20, outcomes

"""Our files are the safetensors library's, and we refuse what it refuses."""

from __future__ import annotations

import io

import numpy as np
import pytest

import minicnn
from minicnn.interop import FormatError

safetensors = pytest.importorskip("safetensors")
numpy_files = pytest.importorskip("safetensors.numpy")

ARRAYS = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "h": np.ones(3, np.float16),
    "n": np.array(7, np.int64),
    "e": np.zeros((0, 2), np.uint8),
}


def test_the_library_reads_our_files(tmp_path):
    path = tmp_path / "x.safetensors"
    minicnn.save({name: minicnn.Tensor(x) for name, x in ARRAYS.items()}, path)
    for name, x in numpy_files.load_file(path).items():
        np.testing.assert_array_equal(x, ARRAYS[name])
        assert x.dtype == ARRAYS[name].dtype


def test_we_read_the_librarys_files(tmp_path):
    path = tmp_path / "x.safetensors"
    numpy_files.save_file(ARRAYS, path, {"note": "hello"})
    loaded = minicnn.load(path)
    assert set(loaded) == set(ARRAYS)
    for name, x in loaded.items():
        assert isinstance(x, minicnn.Tensor) and x.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(x.array, ARRAYS[name])


def test_mutated_headers_are_judged_alike():
    content, rng = numpy_files.save(ARRAYS), np.random.default_rng(1)
    header = 8 + int.from_bytes(content[:8], "little")
    judged = {True: 0, False: 0}
    for _ in range(3000):
        mutant = bytearray(content)
        at = rng.integers(header)
        mutant[at] = rng.integers(32, 127) if at >= 8 else rng.integers(256)
        theirs = ours = True
        try:
            expected = {
                name: entry["shape"] for name, entry in safetensors.deserialize(bytes(mutant))
            }
        except safetensors.SafetensorError:
            theirs = False
        try:
            got = {
                name: list(x.shape) for name, x in minicnn.load(io.BytesIO(bytes(mutant))).items()
            }
        except FormatError:
            ours = False
        # The library knows a few more types than NumPy has; we may refuse those.
        assert ours <= theirs, bytes(mutant[8:header])
        if ours:
            assert got == expected
        judged[ours] += 1
    assert min(judged.values()) > 50

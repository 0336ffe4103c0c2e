"""safetensors files: exchange with other programs, the same bytes every time, what is refused."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
from safetensors import numpy as numpy_files

import minicnn
from minicnn.interop import safetensors

ARRAYS = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "h": np.ones(3, np.float16),
    "n": np.array(7, np.int64),
    "e": np.zeros((0, 2), np.uint8),
    "t": np.arange(6.0).reshape(2, 3).T,
}


def test_others_read_our_files(tmp_path):
    path = tmp_path / "x.safetensors"
    minicnn.save({name: minicnn.Tensor(x) for name, x in ARRAYS.items()}, path)
    found = numpy_files.load_file(path)
    assert set(found) == set(ARRAYS)
    for name, x in found.items():
        np.testing.assert_array_equal(x, ARRAYS[name])
        assert x.dtype == ARRAYS[name].dtype


def test_we_read_the_files_of_others(tmp_path):
    path = tmp_path / "x.safetensors"
    plain = {name: x.copy() for name, x in ARRAYS.items()}
    numpy_files.save_file(plain, path, {"note": "hello", "format": "pt"})
    loaded = minicnn.load(path)
    assert list(loaded) == sorted(ARRAYS)  # the library itself gives a random order
    for name, x in loaded.items():
        assert isinstance(x, minicnn.Tensor) and x.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(x.array, ARRAYS[name])
        x.array[...] = 1  # what was loaded can be trained
    with open(path, "rb") as file:
        arrays, metadata = safetensors.read(file, path.stat().st_size, "x")
    assert set(arrays) == set(ARRAYS) and metadata == {"note": "hello", "format": "pt"}


def test_the_same_content_gives_the_same_bytes_in_every_process():
    code = (
        "import io, hashlib, numpy as np, minicnn; b = io.BytesIO(); "
        "minicnn.save({c: np.full(3, i) for i, c in enumerate('qwertyuiop')}, b); "
        "print(hashlib.sha256(b.getvalue()).hexdigest())"
    )
    here = io.BytesIO()
    minicnn.save({c: np.full(3, i) for i, c in enumerate("qwertyuiop")}, here)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == hashlib.sha256(here.getvalue()).hexdigest()


def test_a_type_that_the_format_lacks(tmp_path):
    with pytest.raises(TypeError, match="'x' is of type complex128, which safetensors does not"):
        minicnn.save({"x": np.zeros(2, np.complex128)}, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_more_text_than_a_reader_takes(tmp_path):
    with pytest.raises(ValueError, match=r"save: .*header too large"):
        minicnn.save("x" * 100_000_000, tmp_path / "x")
    assert not list(tmp_path.iterdir())

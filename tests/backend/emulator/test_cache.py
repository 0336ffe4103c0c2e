"""The folder of built kernels: what stays, what goes, and several that build at once."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from minicnn.backend import emulator
from minicnn.backend.emulator import build, cache

pytestmark = pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler")


@pytest.fixture
def put(tmp_path, monkeypatch):
    """A function that puts a file of so many bytes, last used so many days ago, into the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache.folder().mkdir(parents=True)

    def put(name, days, size=100):
        path = cache.folder() / name
        path.write_bytes(bytes(size))
        used = time.time() - days * cache.DAY
        os.utime(path, (used, used))
        return path

    return put


@pytest.fixture
def runtime():
    """The emulator's own library, from the cache of this user."""
    return build.runtime()


def left():
    return sorted(path.name for path in cache.folder().iterdir() if path.name != "lock")


def test_what_nobody_asked_for_in_a_month_goes(put):
    put("a.so", 40), put("b.so", 31), put("c.so", 29), put("d.so", 0)
    cache.prune()
    assert left() == ["c.so", "d.so"]


def test_beyond_the_limit_the_longest_forgotten_go(put, monkeypatch):
    monkeypatch.setattr(cache, "MOST_BYTES", 250)
    put("a.so", 3), put("b.so", 5), put("c.so", 4), put("d.so", 0.5)
    cache.prune()
    assert left() == ["a.so", "d.so"]
    put("e.so", 0, 1000)  # today's stay, whatever their size
    cache.prune()
    assert left() == ["d.so", "e.so"]


def test_what_is_asked_for_stays(put):
    library = put("a.so", 40)
    assert cache.has(library) and not cache.has(library.with_name("b.so"))
    cache.prune()
    assert left() == ["a.so"]


def test_what_a_process_has_loaded_stays(runtime, put):
    library = put("a.so", 0)
    shutil.copyfile(runtime, library)
    ctypes.CDLL(str(library))
    old = time.time() - 40 * cache.DAY
    os.utime(library, (old, old))
    put("b.so", 40)
    cache.prune()
    assert "a.so" in left() and "b.so" not in left()


def test_what_a_killed_build_left_goes(put):
    folder = cache.folder() / "tmp123"
    folder.mkdir()
    (folder / "kernel.o").write_bytes(bytes(10))
    cache.prune()
    assert left() == ["tmp123"]
    os.utime(folder, (0, 0))
    cache.prune()
    assert left() == []


def test_what_another_process_removes_meanwhile_does_not_matter(put):
    put("b.so", 40)
    (cache.folder() / "gone").symlink_to("nowhere")
    cache.prune()
    assert left() == ["gone"]


def test_a_build_that_fails_leaves_nothing(put):
    with pytest.raises(KeyError), cache.building(cache.folder() / "a.so") as folder:
        (folder / "library.so").write_bytes(b"half")
        raise KeyError
    assert left() == []


CODE = """
import sys
from pathlib import Path
from minicnn.backend import emulator
y = emulator.Device().zeros(4)
emulator.Device().kernel(Path(sys.argv[1]), "fill")((1,), (4,), (y,))
print(y.tolist())
"""


def test_several_processes_build_the_same_at_once(runtime, put, tmp_path):
    file = tmp_path / "fill.cu"
    shutil.copyfile(runtime, cache.folder() / runtime.name)
    file.write_text('extern "C" __global__ void fill(float* y) { y[threadIdx.x] = 7; }')
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}

    def run(_):
        command = [sys.executable, "-c", CODE, str(file)]
        return subprocess.run(command, env=environment, capture_output=True, text=True).stdout

    with ThreadPoolExecutor(3) as pool:
        assert {*pool.map(run, range(3))} == {"[7.0, 7.0, 7.0, 7.0]\n"}
    assert [name.split("-")[0] for name in left()] == ["fill", "runtime"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    library = cache.folder() / "some.so"
    message = r"file/minicnn/emulator, where .*set XDG_CACHE_HOME"
    with pytest.raises(RuntimeError, match=message), cache.building(library):
        pass
    assert (tmp_path / "file").is_file()


def test_what_is_in_a_folder_that_may_only_be_read_is_used(put, monkeypatch):
    library = put("some.so", 1, 0)

    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(os, "utime", refuse)
    assert cache.has(library)

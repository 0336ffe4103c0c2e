"""Building kernels: what is cached, what is built anew, and what the errors say."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from minicnn.backend import emulator
from minicnn.backend.emulator import build, cache, device

KERNELS = Path(__file__).parent / "kernels"
needs_compiler = pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler")

FILL = """#include "value.cuh"
extern "C" __global__ void fill(float* y) { y[threadIdx.x] = VALUE * SCALE; }
"""


@pytest.fixture
def fill(tmp_path, monkeypatch):
    """A folder with fill.cu and value.cuh, and a cache with nothing but the emulator's library."""
    runtime = build.runtime()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache.folder().mkdir(parents=True)
    shutil.copy(runtime, cache.folder())
    (tmp_path / "fill.cu").write_text(FILL)
    (tmp_path / "value.cuh").write_text("constexpr float VALUE = 2;\n")
    return tmp_path / "fill.cu"


def filled(file, scale=1):
    d = emulator.Device()
    y = d.empty(3)
    d.kernel(file, "fill", {"SCALE": scale})((1,), (3,), (y,))
    return y.tolist()


@needs_compiler
def test_an_edited_file_header_or_constant_builds_anew(fill):
    assert filled(fill) == [2, 2, 2]
    assert filled(fill, scale=3) == [6, 6, 6]
    fill.with_name("value.cuh").write_text("constexpr float VALUE = 5;\n")
    assert filled(fill) == [5, 5, 5]
    fill.write_text(FILL.replace("VALUE *", "VALUE +"))
    assert filled(fill) == [6, 6, 6]
    assert len([*cache.folder().glob("fill-*")]) == 4


@needs_compiler
def test_what_is_built_is_built_once(fill, monkeypatch):
    first = build.build(fill, ["fill"], {"SCALE": 1}, checked=False)
    monkeypatch.setattr(build.subprocess, "run", None)
    assert build.build(fill, ["fill"], {"SCALE": 1}, checked=False) == first


@needs_compiler
def test_a_file_that_does_not_compile_shows_the_compilers_words(fill):
    fill.write_text(FILL.replace("SCALE;", "SCALE"))
    with pytest.raises(
        emulator.CompileError, match=r"fill does not compile:\n(.*\n)*.*fill.cu:2:\d+: error"
    ):
        filled(fill)
    assert len([*cache.folder().glob("*.so")]) == 1
    fill.write_text(FILL)
    with pytest.raises(emulator.CompileError, match="nothing"):
        emulator.Device().kernel(fill, "nothing", {"SCALE": 1})((1,), (1,), ())


@needs_compiler
@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("int main() { k<<<1, 2>>>(nullptr); }", "host code is not emulated, only kernels"),
        ("void f(void** x) { cudaMalloc(x, 4); }", "or between #ifdef __CUDACC__ and #endif"),
        ("#include <cuda_fp16.h>", "half precision is not emulated"),
        ("#include <cooperative_groups.h>", "cooperative groups are not emulated"),
        ("__device__ unsigned f() { return __activemask(); }", "__activemask is not emulated"),
        ("#include <mma.h>", "tensor cores are not emulated"),
    ],
)
def test_what_is_not_emulated_is_told_after_the_compilers_words(fill, text, hint):
    fill.write_text(text + '\nextern "C" __global__ void k(float* x) { x[0] = 1; }\n')
    with pytest.raises(emulator.CompileError) as caught:
        emulator.Device().kernel(fill, "k").build()
    last = str(caught.value).splitlines()[-1]
    assert hint in last and "error:" in str(caught.value)


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build, "compiler", lambda: None)
    kernel = emulator.Device().kernel(KERNELS / "saxpy.cu", "saxpy", {"NEW": 1})
    with pytest.raises(RuntimeError, match="install g\\+\\+ or clang\\+\\+, or set CXX"):
        kernel((1,), (1,), ())


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_on_other_systems_the_error_says_that_linux_is_needed(monkeypatch, system):
    monkeypatch.setattr(build.sys, "platform", system)
    build.compiler.cache_clear()
    try:
        assert build.compiler() is None and "needs Linux" in build.unavailable()
        assert build.unavailable().endswith(f"; this is {system}")
    finally:
        build.compiler.cache_clear()


def test_a_file_that_is_nowhere_is_not_found():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.cu"):
        emulator.Device().kernel("nowhere.cu", "f")


ARRAY = np.zeros(4, np.float32)
RIGHT = (ARRAY, ARRAY.copy(), np.float32(1), np.int32(4))


@needs_compiler
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (RIGHT[:3], "saxpy: takes 4 arguments, got 3"),
        (
            (ARRAY.astype(np.float64), *RIGHT[1:]),
            "x expects an array of float32, got ndarray float64",
        ),
        ((np.float32(1), *RIGHT[1:]), "x expects an array of float32, got float32 float32"),
        ((*RIGHT[:2], 1.0, RIGHT[3]), "a expects a NumPy scalar of float32, got float"),
        ((*RIGHT[:3], 4), "n expects a NumPy scalar of int32, got int"),
        ((*RIGHT[:3], np.int64(4)), "n expects a NumPy scalar of int32, got int64 int64"),
        ((*RIGHT[:3], ARRAY), "n expects a NumPy scalar of int32, got ndarray float32"),
        ((*RIGHT[:3], None), "n expects a NumPy scalar of int32, got NoneType"),
    ],
)
def test_arguments_of_another_type_are_refused(args, message):
    with pytest.raises(TypeError, match=message):
        emulator.Device().kernel(KERNELS / "saxpy.cu", "saxpy")((1,), (4,), args)


@needs_compiler
@pytest.mark.parametrize(
    ("grid", "block", "shared_mem", "message"),
    [
        ((), (4,), 0, "grid expects one to three positive sizes"),
        ((1,), (0,), 0, "block expects one to three positive sizes"),
        ((1, 1, 1, 1), (4,), 0, "grid expects one to three positive sizes"),
        ((1,), (64, 32), 0, "a block has at most 1024 threads"),
        ((1,), (4,), 1 << 20, "a block has at most 232448 bytes of dynamic shared memory"),
    ],
)
def test_sizes_that_no_gpu_has_are_refused(grid, block, shared_mem, message):
    kernel = emulator.Device().kernel(KERNELS / "saxpy.cu", "saxpy")
    with pytest.raises(ValueError, match=message):
        kernel(grid, block, RIGHT, shared_mem=shared_mem)


def test_an_order_that_is_none_is_refused():
    with pytest.raises(ValueError, match="order expects one of forward, reversed, shuffled"):
        emulator.Device(order="sideways")
    with pytest.raises(ValueError, match="order expects"), emulator.emulation(order="sideways"):
        pass
    assert device.current_device().order == "forward"

"""What a .cu file declares, read from its text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from minicnn.backend import kernel_source

KERNELS = Path(__file__).parent / "emulator" / "kernels"

TEXT = """
// __global__ void commented_out(int a) {}
extern "C" {
__global__ void __launch_bounds__(THREADS * sizeof(float), 2) first(float *x, const float* y) {
    if (x) { *x = *y; }
}
}
__global__ __launch_bounds__(64) void second(const Shape shape, float4* z, int a[4]) {}
static __global__ void third() {}
__global__ void declared_only(int);
template <class T, int N = 3>
__global__ void of_any(T* __restrict__ x, unsigned count) {}
namespace inner {
extern "C" __global__ void fourth(int a) {}
}
constexpr int THREADS = 64;
"""


def names(parameters):
    return [p.name for p in parameters]


def test_kernels_in_every_form():
    source = kernel_source.parse(TEXT)
    assert [*source.kernels] == ["first", "second", "third"]
    assert [*source.instances] == ["of_any", "fourth"]
    assert source.constants == {"THREADS": 64}
    assert names(source.parameters("first")) == ["x", "y"]
    assert names(source.parameters("of_any<float, 4>")) == ["x", "count"]
    assert names(source.parameters("inner::fourth")) == ["a"]
    assert source.parameters("third") == source.parameters("fifth") == ()


def test_what_is_written_and_what_is_not_understood():
    source = kernel_source.parse(TEXT)
    assert [p.is_written for p in source.kernels["first"]] == [True, False]
    assert [p.type for p in source.kernels["second"]] == ["?", "float4", "?"]
    assert names(source.kernels["second"])[:2] == ["shape", "z"]


def test_the_kernels_of_the_tests_are_all_seen():
    sources = {p.name: kernel_source.parse(p.read_text()) for p in KERNELS.glob("*.cu")}
    assert [*sources["saxpy.cu"].kernels] == ["saxpy", "saxpy4"]
    assert [*sources["sums.cu"].kernels] == ["tree", "shuffles", "whole"]
    assert names(sources["matmul.cu"].parameters("matmul<8, 2>")) == ["a", "b", "c"]


def test_a_name_is_the_projects_own_file_wherever_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool.cu").write_text("")
    (tmp_path / "other.cu").write_text("")
    assert kernel_source.find("pool.cu") == (kernel_source.folder() / "pool.cu").resolve()
    assert kernel_source.find("./other.cu") == kernel_source.find("other.cu")
    assert kernel_source.find(tmp_path / "pool.cu") == (tmp_path / "pool.cu").resolve()
    with pytest.raises(FileNotFoundError, match=r"no kernel file 'nowhere\.cu'"):
        kernel_source.find("nowhere.cu")


def test_import_minicnn_reads_no_kernels():
    code = "import sys, minicnn; assert 'minicnn.backend.kernel_source' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

"""What reaches CuPy: a module of our own in its place writes down how it is called."""

from __future__ import annotations

import shutil
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from minicnn.backend.cuda import compiler, launcher, sources


class FakeCupy(ModuleType):
    """As much of CuPy as a CudaDevice uses: two GPUs, and a list of what was done on which."""

    def __init__(self):
        super().__init__("cupy")
        self.current, self.done = [0], []
        runtime = SimpleNamespace(getDeviceCount=lambda: 2)
        self.cuda = SimpleNamespace(runtime=runtime, Device=lambda n: FakeGpu(self, n))

    def RawModule(self, *, code, options):
        assert isinstance(code, str) and isinstance(options, tuple)
        self.done.append(("module", code, options))
        return SimpleNamespace(get_function=lambda name: self.function(name))

    def function(self, name):
        self.done.append(("function", self.current[-1], name))

        def launch(grid, block, args, *, shared_mem=0):
            assert type(grid) is type(block) is type(args) is tuple
            self.done.append(("launch", self.current[-1], name, grid, block, args, shared_mem))

        return launch

    def empty(self, shape, dtype):
        return FakeArray(self, np.empty(shape, dtype))

    def zeros(self, shape, dtype):
        return FakeArray(self, np.zeros(shape, dtype))

    def asarray(self, x):
        return FakeArray(self, np.array(x))


class FakeGpu:
    def __init__(self, cupy, number):
        self.cupy, self.id = cupy, number

    def __enter__(self):
        self.cupy.current.append(self.id)

    def __exit__(self, *_):
        self.cupy.current.pop()


class FakeArray:
    """An array of a GPU: values, and an address where NumPy's would be."""

    def __init__(self, cupy, values):
        self.values, self.gpu = values, cupy.current[-1]
        self.data = SimpleNamespace(ptr=values.ctypes.data)
        for name in ("dtype", "shape", "size", "nbytes", "strides", "flags"):
            setattr(self, name, getattr(values, name))


@pytest.fixture
def cupy(monkeypatch):
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


def test_a_launch(cupy):
    device = compiler.CudaDevice(1)
    x, y = (device.zeros(70000, np.float32) for _ in range(2))
    constants = {"SCALAR": "float"}
    for _ in range(2):
        launcher.launch(device, "special.cu", "erf_of", constants, threads=70000, x=x, y=y, count=7)
    launcher.launch(device, "special.cu", "erfc_of", constants, threads=1, x=x, y=y, count=7)
    module, *rest = cupy.done
    text = (sources.folder() / "special.cu").read_text(encoding="utf-8")
    assert module == ("module", text, compiler.options(constants))
    launch = ("launch", 1, "erf_of", (274,), (256,), (x, y, np.uint32(7)), 0)
    assert rest[:3] == [("function", 1, "erf_of"), launch, launch]  # compiled once, on that GPU
    assert [entry[:3] for entry in rest[3:]] == [
        ("function", 1, "erfc_of"),
        ("launch", 1, "erfc_of"),
    ]
    assert type(rest[1][5][2]) is np.uint32
    assert cupy.current == [0]


def test_a_missing_array_is_a_null_pointer_of_eight_bytes(cupy):
    device = compiler.CudaDevice(0)
    device.kernel("optim.cu", "sgd", {"SCALAR": "float"})([1], [2], (None, np.int32(1)), 16)
    *_, (_, _, _, grid, block, (null, one), shared_mem) = cupy.done
    assert (grid, block, shared_mem) == ((1,), (2,), 16)
    assert (null, one) == (0, 1) and null.nbytes == 8 and one.nbytes == 4


def test_other_constants_and_other_gpus_compile_anew(cupy):
    first, second = compiler.CudaDevice(0), compiler.CudaDevice(1)
    for device in (first, second):
        for constants in ({"SCALAR": "float"}, {"SCALAR": "double"}):
            device.kernel("parts.cu", "add_parts", constants)
    assert [entry[0] for entry in cupy.done].count("module") == 4
    kernel = first.kernel("pool.cu", "max_pool_forward", {"SCALAR": "float", "A": 1, "B": 2})
    again = first.kernel("pool.cu", "avg_pool_forward", {"B": 2, "A": 1, "SCALAR": "float"})
    assert kernel is not again
    assert [entry[0] for entry in cupy.done].count("module") == 5  # the order does not matter


def test_arrays_are_made_on_their_gpu(cupy):
    device = compiler.CudaDevice(1)
    arrays = [device.empty(3, np.float64), device.asarray(np.ones(2)), device.zeros(2, np.int32)]
    table = device.pointers(arrays)
    assert [x.gpu for x in (*arrays, table)] == [1, 1, 1, 1]
    assert table.dtype == np.uint64 and table.values.tolist() == [x.data.ptr for x in arrays]


def test_a_gpu_that_is_not_there(cupy):
    for index in (-1, 2):
        with pytest.raises(RuntimeError, match=f"cuda:{index} does not exist: the driver lists 2"):
            compiler.CudaDevice(index)


def test_an_edited_header_gives_other_options(tmp_path, monkeypatch):
    """CuPy's cache goes by the text of the .cu file and by these."""
    for path in sources.folder().glob("*.cu*"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(sources, "folder", lambda: tmp_path)

    def options():
        sources.source_hash.cache_clear()
        return compiler.options({"SCALAR": "float", "B": 1, "A": 2})

    try:
        first = options()
        assert first == options()
        assert first[0] == "--std=c++17" and f"-I{tmp_path}" in first
        assert first[-3:] == ("-DA=2", "-DB=1", "-DSCALAR=float")
        header = tmp_path / "windows.cuh"
        header.write_text(header.read_text() + "// edited\n")
        assert options() != first
    finally:
        sources.source_hash.cache_clear()

"""The launcher refuses what a GPU would take without a word."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import backend
from minicnn.backend import cuda
from minicnn.backend.cuda import compiler, gpu, launcher, sources
from minicnn.backend.geometry import ConvGeometry, PoolGeometry

PARAMETERS = sources.parse(
    """\
// extern "C" __global__ void commented_out(int a) {}
constexpr int THREADS = 128;
extern "C" __global__ void __launch_bounds__(THREADS) k(const scalar* __restrict__ x,
        scalar* __restrict__ y, const scalar* __restrict__ OPTIONAL w, unsigned count, int shift,
        double eps, unsigned long long key, scalar* const* __restrict__ table) {}
    """
)


def arguments(**changed):
    x, y = np.arange(6, dtype=np.float32), np.zeros(6, np.float32)
    given = {"x": x, "y": y, "w": None, "count": 6, "shift": -1, "eps": 1, "key": 2**64 - 1}
    return {**given, "table": np.zeros(2, np.uint64), **changed}


def check(constants=None, **changed):
    constants = constants or {"SCALAR": "float"}
    return launcher.checked_arguments("k", PARAMETERS.kernels["k"], constants, arguments(**changed))


def test_what_a_file_declares():
    assert PARAMETERS.constants == {"THREADS": 128}
    [(name, parameters)] = PARAMETERS.kernels.items()
    assert name == "k"
    assert [p.name for p in parameters] == ["x", "y", "w", "count", "shift", "eps", "key", "table"]
    assert [p.name for p in parameters if p.is_written] == ["y"]
    assert [p.name for p in parameters if p.is_optional] == ["w"]
    assert [p.name for p in parameters if p.is_table] == ["table"]


@pytest.mark.parametrize(
    "text",
    [
        'extern "C" __global__ void k(Shape shape[2]) {}',
        "template <class T> __global__ void k(T* x) {}",
    ],
)
def test_declarations_that_are_not_understood(text):
    with pytest.raises(ValueError, match=r"cannot read the parameter|is not a plain __global__"):
        sources.parse(text)


def test_every_kernel_file_is_understood():
    files = sorted(path.name for path in sources.folder().glob("*.cu"))
    assert files
    for file in files:
        kernels = sources.read(file).kernels
        assert kernels
        types = {p.type for parameters in kernels.values() for p in parameters} - {"scalar"}
        assert types <= set(launcher.TYPES), file


def test_numbers_come_in_the_declared_types():
    args = check()
    assert [type(a) for a in args[3:7]] == [np.uint32, np.int32, np.float64, np.uint64]
    assert args[2] is None


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"x": None}, TypeError, "x expects an array, got None"),
        ({"x": [1.0]}, TypeError, "x expects an array, got list"),
        ({"x": np.float32(1)}, TypeError, "x expects an array, got float32"),
        ({"x": np.zeros(6)}, TypeError, "x expects float32, got float64"),
        ({"x": np.zeros(6, ">f4")}, TypeError, "x expects float32, got >f4"),
        ({"x": np.zeros(12, np.float32)[::2]}, ValueError, "x expects its indices' order"),
        ({"table": np.zeros(2, np.int64)}, TypeError, "table expects uint64, got int64"),
        ({"count": 6.0}, TypeError, "count expects an integer, got 6.0"),
        ({"count": True}, TypeError, "count expects an integer, got True"),
        ({"count": -1}, ValueError, "count expects 0 to 4294967295, got -1"),
        ({"shift": 2**31}, ValueError, "shift expects -2147483648 to 2147483647"),
        ({"eps": "1"}, TypeError, "eps expects a number, got '1'"),
        ({"other": 1}, TypeError, "k: takes x, y, w, .*, got .*other"),
    ],
)
def test_wrong_arguments(changed, error, message):
    with pytest.raises(error, match=message):
        check(**changed)


def test_what_is_written_lies_apart_and_is_writable():
    x = np.zeros(10, np.float32)
    with pytest.raises(ValueError, match="y is written and overlaps x"):
        check(x=x[:6], y=x[4:])
    check(x=x[:6], w=x[4:])  # two that are read may overlap
    x.flags.writeable = False
    with pytest.raises(ValueError, match="y is written, but the array is read-only"):
        check(y=x)
    check(x=x)
    unaligned = np.zeros(25, np.uint8)[1:].view(np.float32)
    with pytest.raises(ValueError, match="x expects an address divisible by 4"):
        check(x=unaligned)


def test_32_bit_indices():
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (0, 2**31))
    check(x=huge)  # nothing in it
    with pytest.raises(ValueError, match="expects fewer than 2\\^31 threads"):
        launcher.launch(None, "im2col.cu", "im2col", {"SCALAR": "float"}, threads=2**31)


@pytest.mark.parametrize(
    ("grid", "block", "message"),
    [
        ((1, 65536), (32,), "grid expects"),
        ((0,), (32,), "grid expects"),
        ((1,), (1, 1, 65), "block expects"),
        ((1,), (64, 32), "at most 1024 threads"),
        ((1, 1, 1, 1), (32,), "grid expects"),
    ],
)
def test_sizes_that_no_gpu_has(grid, block, message):
    with pytest.raises(ValueError, match=message):
        launcher.check_sizes("k", grid, block)
    with pytest.raises(ValueError, match="at most 49152 bytes"):
        launcher.check_sizes("k", (1,), (32,), 50000)


def test_primitives_name_what_is_wrong(device):
    geometry = ConvGeometry.of((1, 2, 5, 5), (3, 2, 3, 3))
    x, w = device.zeros((1, 2, 5, 5), np.float32), device.zeros((3, 2, 3, 3), np.float32)
    with pytest.raises(ValueError, match=r"conv_forward: x expects shape \(1, 2, 5, 5\), got"):
        cuda.conv_forward(x[:, :1], w, None, geometry)
    with pytest.raises(TypeError, match=r"conv_forward: expects floating arrays .* got int64"):
        cuda.conv_forward(x.astype(np.int64), w.astype(np.int64), None, geometry)
    pool = PoolGeometry.of((1, 2, 5, 5), 2)
    y, indices = cuda.max_pool_forward(x, pool)
    with pytest.raises(ValueError, match="max_pool_backward: indices expects shape"):
        cuda.max_pool_backward(y, indices[:, :1], x.shape)
    with pytest.raises(TypeError, match="max_pool_backward: indices expects integers"):
        cuda.max_pool_backward(y, y, x.shape)
    with pytest.raises(ValueError, match="are not of PoolGeometry"):
        cuda.max_pool_backward(y, indices, (1, 2, 6, 5), pool)


def test_arrays_of_no_device():
    with pytest.raises(TypeError, match=r"no kernels run on arrays of type numpy\.ndarray"):
        cuda.softmax_forward(np.zeros((2, 2), np.float32), 1)


def test_an_edited_header_changes_the_hash(tmp_path, monkeypatch):
    (tmp_path / "common.cuh").write_text("// one")
    monkeypatch.setattr(sources, "folder", lambda: tmp_path)
    before = sources.source_hash.__wrapped__()
    (tmp_path / "common.cuh").write_text("// two")
    assert sources.source_hash.__wrapped__() != before


def test_copies_stay_on_their_gpu():
    """CuPy copies to the current one, and a kernel of another would read what is elsewhere."""
    if (reason := backend.why_not("cuda")) is not None:
        pytest.skip(reason)
    if gpu.count() < 2:
        pytest.skip("needs two GPUs")
    x = compiler.device(1).asarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    [copy] = launcher.prepared("f", x=(x.T, None))
    assert backend.place(copy) == ("cuda", 1)
    np.testing.assert_array_equal(copy.get(), x.get().T)
    [same] = launcher.prepared("f", x=(x, None))
    assert same is x

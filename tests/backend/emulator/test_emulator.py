"""Right kernels on the emulator: in every order of threads, checked and not, in both precisions."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from minicnn.backend import emulator

pytestmark = pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler")

KERNELS = Path(__file__).parent / "kernels"
MODES = [(order, checked) for order in emulator.ORDERS for checked in (False, True)]


@pytest.fixture(params=MODES, ids=lambda mode: mode[0] + " checked" * mode[1])
def device(request):
    order, checked = request.param
    return emulator.Device(order, seed=3, checked=checked, workers=2)


@pytest.mark.parametrize("name", ["saxpy", "saxpy4"])
@pytest.mark.parametrize("n", [1, 127, 1000])
def test_an_element_or_four_a_thread(device, name, n):
    x, y = device.asarray(np.arange(n, dtype=np.float32)), device.asarray(np.ones(n, np.float32))
    device.kernel(KERNELS / "saxpy.cu", name)((8,), (128,), (x, y, np.float32(2), np.int32(n)))
    assert (y == 2 * x + 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["tree", "shuffles"])
def test_sums_over_a_block(device, name, dtype):
    x, sums = device.asarray(np.arange(1000, dtype=dtype)), device.empty(4, dtype)
    kernel = device.kernel(
        KERNELS / "sums.cu", name, {"SCALAR": {"f": "float", "d": "double"}[x.dtype.char]}
    )
    kernel((4,), (256,), (x, sums, np.int32(1000)), shared_mem=256 * x.itemsize)
    assert (sums == [x[i : i + 256].sum() for i in range(0, 1000, 256)]).all()


def test_the_last_block_sums_what_the_others_wrote(device):
    x, sums = device.asarray(np.arange(1000, dtype=np.float64)), device.empty(32, np.float64)
    finished, total = device.zeros(1, np.uint32), device.empty(1, np.float64)
    kernel = device.kernel(KERNELS / "sums.cu", "whole", {"SCALAR": "double"})
    kernel((32,), (32,), (x, sums, finished, total, np.int32(1000)))
    assert total[0] == x.sum()


def test_transposition_through_a_tile(device):
    x, y = device.asarray(np.arange(3500, dtype=np.float32).reshape(50, 70)), device.empty((70, 50))
    kernel = device.kernel(KERNELS / "transpose.cu", "transpose", {"ROWS": 50, "COLUMNS": 70})
    kernel((3, 2), (32, 8), (x, y))
    assert (y == x.T).all()


def test_histogram_by_atomics(device):
    x = device.asarray(np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8))
    counts = device.zeros(256, np.int32)
    device.kernel(KERNELS / "histogram.cu", "histogram")((3,), (256,), (x, counts, np.int32(5000)))
    assert (counts == np.bincount(x, minlength=256)).all()


@pytest.mark.parametrize("instance", ["matmul<8, 1>", "matmul<8, 2>"])
def test_an_instance_of_a_template(device, instance):
    a, b = np.random.default_rng(0).integers(-3, 4, (2, 35, 35)).astype(np.float32)
    c = device.empty((35, 35))
    blocks = 5 if instance == "matmul<8, 1>" else 3
    kernel = device.kernel(KERNELS / "matmul.cu", instance, {"SIZE": 35})
    kernel((blocks, blocks), (8, 8), (device.asarray(a), device.asarray(b), c))
    assert (device.asnumpy(c) == a @ b).all()


def test_a_table_of_pointers(device):
    sizes = device.asarray(np.array([3, 100, 41], np.int32))
    x = [device.asarray(np.ones(n, np.float32)) for n in sizes]
    g = [device.asarray(np.arange(n, dtype=np.float32)) for n in sizes]
    kernel = device.kernel(KERNELS / "lists.cu", "step")
    kernel((3,), (32,), (device.pointers(x), device.pointers(g), sizes, np.float32(0.5)))
    for after, gradient in zip(x, g, strict=True):
        assert (after == 1 - 0.5 * gradient).all()


def test_warp_operations(device):
    values = np.arange(64, dtype=np.int32) * 3 % 37
    out = device.empty((8, 64), np.int32)
    device.kernel(KERNELS / "warps.cu", "warps")((1,), (64,), (device.asarray(values), out))
    lanes = values.reshape(2, 32)
    i = np.arange(32)
    expected = [
        lanes[:, (i // 8 * 8) + 3],
        np.where(i % 16 < 2, lanes, np.roll(lanes, 2, 1)),
        np.where(i < 27, np.roll(lanes, -5, 1), lanes),
        lanes[:, i ^ 6],
        np.repeat((lanes % 2 << i).sum(1, dtype=np.uint32).view(np.int32)[:, None], 32, 1),
        np.repeat((lanes > 35).any(1)[:, None], 32, 1),
        np.repeat((lanes >= 0).all(1)[:, None], 32, 1),
        np.full((2, 32), (values > 10).sum()),
    ]
    for row, right in zip(device.asnumpy(out), expected, strict=True):
        assert (row == np.asarray(right).ravel()).all()


def test_three_dimensions_of_blocks_and_threads(device):
    out = device.empty(2 * 3 * 2 * 2 * 4 * 3, np.int32)
    device.kernel(KERNELS / "warps.cu", "numbers")((2, 3, 2), (3, 4, 2), (out,))
    assert (device.asnumpy(out) == np.arange(out.size)).all()


def test_a_missing_barrier_shows_as_another_answer():
    answers = []
    for order in emulator.ORDERS:
        device = emulator.Device(order)
        y = device.zeros(64)
        kernel = device.kernel(KERNELS / "mistakes.cu", "forgets_the_barrier")
        kernel((1,), (64,), (y, y, np.int32(64)), shared_mem=256)
        answers.append(np.isnan(y).sum())
    assert answers[0] == answers[1] == 32 and answers[2] > 0


def test_what_is_never_written_is_nan():
    device = emulator.Device()
    assert np.isnan(device.empty((2, 3))).all() and (device.empty(3, np.int64) == -1).all()
    assert device.empty(()).shape == ()


def test_arrays_keep_their_type_and_find_their_device():
    x = emulator.emulated(np.ones((2, 3), np.float32))
    for y in (x + 1, x[0], x.T.copy(), np.exp(x), x.astype(np.float64), x.reshape(6)):
        assert type(y) is emulator.EmulatedArray
    assert x.kernel_device is emulator.current_device()
    with emulator.emulation("reversed", checked=True) as device:
        assert x.kernel_device is device and device.checked
    assert not x.kernel_device.checked
    assert type(device.asnumpy(x)) is np.ndarray
    assert device.asnumpy(x).ctypes.data == x.ctypes.data


def test_other_threads_see_what_the_process_has_set():
    def seen():
        found = []
        thread = threading.Thread(target=lambda: found.append(emulator.current_device()))
        thread.start()
        thread.join()
        return found[0]

    before = emulator.current_device()
    with emulator.emulation("reversed") as device:
        assert emulator.current_device() is device and seen() is before
        with emulator.emulation("shuffled") as inner:
            assert emulator.current_device() is inner
        assert emulator.current_device() is device
        emulator.configure("shuffled", seed=5)
        assert emulator.current_device() is device
        assert (seen().order, seen().seed) == ("shuffled", 5)
    assert emulator.current_device() is seen()
    emulator.configure()
    assert seen().order == "forward" and not seen().checked


def test_the_portable_switch_gives_the_same(monkeypatch):
    monkeypatch.setenv("MINICNN_EMULATOR_UCONTEXT", "1")
    device = emulator.Device("reversed", workers=2)
    x, sums = device.asarray(np.arange(512, dtype=np.float64)), device.empty(2, np.float64)
    kernel = device.kernel(KERNELS / "sums.cu", "tree", {"SCALAR": "double", "PORTABLE": 1})
    kernel((2,), (256,), (x, sums, np.int32(512)), shared_mem=2048)
    assert sums.sum() == x.sum()


def test_import_minicnn_loads_no_emulator():
    code = "import sys, minicnn; assert 'minicnn.backend.emulator' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

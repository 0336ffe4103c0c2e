"""Freed memory is used again by the next array, and by nothing that is still held."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import minicnn
from minicnn.backend.cpu import memory, scratch, threads

glibc = pytest.mark.skipif(memory._libc() is None, reason="needs glibc's malloc")


def program(text: str, **environment: str) -> str:
    code = textwrap.dedent(text)
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


STEPS = """
import ctypes, sys
import numpy as np
import minicnn
from minicnn.backend.cpu import memory
nn, F = minicnn.nn, minicnn.nn.functional

minicnn.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(inplace=True), nn.AvgPool2d(2),
    nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.Conv2d(64, 64, 1), nn.Dropout(),
    nn.Flatten(), nn.Linear(64 * 64, 10),
)
optimizer = minicnn.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
rng = np.random.default_rng(0)
x = minicnn.tensor(rng.standard_normal((16, 3, 32, 32)).astype(np.float32))
target = minicnn.tensor(rng.integers(0, 10, 16))

def step():
    optimizer.zero_grad()
    y = net(x)
    loss = F.cross_entropy(y, target)
    loss.backward()
    optimizer.step()
    return y, loss.item()
"""


@glibc
def test_poisoned_free_memory_changes_nothing():
    """glibc fills what is freed with a byte: whoever read freed memory would compute with it."""
    code = STEPS + textwrap.dedent("""
    kept, losses = [], []
    for _ in range(4):
        y, loss = step()
        kept.append((y.array, y.array.copy()))
        losses.append(loss)
        minicnn.empty_cache()
    assert all((now == then).all() for now, then in kept)
    print(losses)
    """)
    poison = "import ctypes\nassert ctypes.CDLL(None).mallopt(-6, 0x7F)\n"  # M_PERTURB
    assert program(poison + code) == program(code)


@glibc
def test_the_poison_is_there():
    """So that the test above can fail: memory read after it was freed holds the poison."""
    code = """
    import ctypes
    import numpy as np
    from minicnn.backend.cpu import memory
    assert memory.keep_freed() and ctypes.CDLL(None).mallopt(-6, 0x7F)
    array = np.zeros(1 << 20, np.uint8)
    address = array.ctypes.data
    hold = np.zeros(100, np.uint8)
    del array
    print(ctypes.c_ubyte.from_address(address + (1 << 19)).value)
    """
    assert program(code) == str(0x7F)


@glibc
def test_steps_touch_no_new_pages_once_they_have_run():
    code = STEPS + textwrap.dedent("""
    import resource
    def faults():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        step()
    before = faults()
    for _ in range(5):
        step()
    print(faults() - before)
    """)
    plain = int(program(code, MALLOC_TRIM_THRESHOLD_="131072"))  # the environment's wins
    kept = int(program(code))
    assert kept < plain / 5


@glibc
def test_empty_cache_gives_memory_back():
    code = """
    import numpy as np
    import minicnn
    from minicnn.backend.cpu import memory
    assert memory.keep_freed()
    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096
    before = resident()
    arrays = [np.ones(1 << 22, np.uint8) for _ in range(50)]
    held = np.ones(1 << 20, np.uint8)
    del arrays
    kept = resident()
    minicnn.empty_cache()
    assert held.all()
    print(kept - before > 150 << 20, resident() - before < 50 << 20)
    """
    assert program(code) == "True True"


def test_empty_cache_frees_the_scratch_of_all_threads():
    ready, go = threading.Event(), threading.Event()
    held = {}

    def other():
        scratch.take("test", (1000,), np.dtype(np.float32))
        held["before"] = "test" in scratch.held()
        ready.set()
        go.wait(20)
        held["after"] = "test" in scratch.held()

    thread = threading.Thread(target=other)
    thread.start()
    assert ready.wait(20)
    mine = scratch.take("mine", (1000,), np.dtype(np.float32))
    mine[...] = 3
    minicnn.empty_cache()
    assert (mine == 3).all()  # what is in use stays
    assert "mine" not in scratch.held()
    go.set()
    thread.join(20)
    assert held == {"before": True, "after": False}


def test_results_are_right_after_empty_cache_between_forward_and_backward():
    threads_before = threads.get_num_threads()
    threads.set_num_threads(2)
    try:
        x = minicnn.ones(8, 3, 16, 16, requires_grad=True)
        w = minicnn.ones(4, 3, 3, 3, requires_grad=True)
        y = minicnn.nn.functional.conv2d(x, w)
        minicnn.empty_cache()
        y.sum().backward()
        assert (w.grad.array == 8 * 14 * 14).all()
    finally:
        threads.set_num_threads(threads_before)

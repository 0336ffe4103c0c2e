"""The checked mode: it finds every planted mistake, on its line, and nothing in what is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minicnn.backend import emulator
from minicnn.backend.emulator import build

pytestmark = pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler")

FILE = Path(__file__).parent / "kernels" / "mistakes.cu"

# kernel: the kind of its mistake, and words of its report
MISTAKES = {
    "reads_past_the_end": ("out of bounds", "reads 4 bytes at byte 800 of x, which has 800"),
    "forgets_the_bound": ("out of bounds", "writes 4 bytes at byte 800 of y, which has 800"),
    "reads_before_the_start": ("out of bounds", "reads 4 bytes that begin 4 bytes before x"),
    "follows_a_wild_pointer": ("out of bounds", "reads 4 bytes where no array is"),
    "takes_too_little_shared_memory": ("out of bounds", "byte 256 of dynamic shared memory"),
    "leaves_its_row": ("out of index", "takes element 8, which the array does not have"),
    "leaves_its_registers": ("out of index", "takes element 4, which the array does not have"),
    "reads_what_nobody_wrote": ("uninitialised", "at byte 256 of part, which nobody has written"),
    "forgets_the_barrier": ("race", "of part; thread ("),
    "writes_again_too_soon": ("race", "read it at mistakes.cu:"),
    "trusts_the_warp": ("race", "nothing orders them"),
    "adds_without_atomics": ("race", "of y; thread (0, 0, 0) of block (0, 0, 0) "),
    "mixes_atomics_and_stores": ("race", "updated it atomically"),
    "reads_another_block": ("race", "of y; thread (0, 0, 0) of block ("),
    "waits_in_a_branch": ("divergence", "the other has returned: thread (32, 0, 0)"),
    "waits_at_two_barriers": ("divergence", "the other at another one: thread (32, 0, 0) is at"),
    "spins": ("endless", "goes on and on: it may wait for a thread that has no turn"),
    "waits_once_more": ("divergence", "has returned: thread (0, 0, 0)"),
    "returns_before_the_barrier": ("divergence", "has returned: thread (8, 0, 0)"),
    "waits_for_absent_lanes": ("divergence", "for a lane that does not come: thread (16, 0, 0)"),
    "shuffles_and_waits": ("divergence", "a lane that does not come: thread (8, 0, 0) is at"),
    "reads_a_lane_outside_its_mask": ("divergence", "shuffles from a lane outside its mask"),
    "forgets_itself_in_the_mask": ("divergence", "is not in the mask"),
    "reads_four_at_an_odd_place": ("misaligned", "of x, and the address is no multiple of 16"),
    "overflows": ("arithmetic", "multiplies signed integers whose product does not fit"),
    "divides_by_zero": ("arithmetic", "divides an integer by zero"),
    "breaks_its_promise": ("failure", "assert(number() < n)"),
}
# Found without checks too, since the threads cannot go on.
UNCHECKED = ["waits_at_two_barriers", "waits_for_absent_lanes", "shuffles_and_waits"]
UNCHECKED += ["reads_a_lane_outside_its_mask", "forgets_itself_in_the_mask", "breaks_its_promise"]


def line_of_mistake(kernel):
    lines = FILE.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if f" {kernel}(" in line)
    return next(i for i, line in enumerate(lines, 1) if i > start and "// HERE" in line)


def run(device, kernel):
    x, y = device.asarray(np.ones(200, np.float32)), device.zeros(200)
    device.kernel(FILE, kernel)((4,), (64,), (x, y, np.int32(200)), shared_mem=256)


@pytest.mark.parametrize("order", emulator.ORDERS)
@pytest.mark.parametrize("kernel", MISTAKES)
def test_every_planted_mistake_is_found_on_its_line(kernel, order):
    kind, words = MISTAKES[kernel]
    if kind == "misaligned" and "clang" in build.version(emulator.compiler()):
        pytest.skip("clang++ splits the copy of a float4 and does not check its alignment")
    with pytest.raises(emulator.KernelError) as error:
        run(emulator.Device(order, checked=True), kernel)
    assert kind in {report.kind for report in error.value.reports}
    assert {Path(report.file) for report in error.value.reports} == {FILE}
    assert f"mistakes.cu:{line_of_mistake(kernel)}" in str(error.value)
    if order == "forward":
        assert words in str(error.value)


@pytest.mark.parametrize("kernel", UNCHECKED)
def test_threads_that_wait_for_each_other_do_not_hang(kernel):
    with pytest.raises(emulator.KernelError, match=f"mistakes.cu:{line_of_mistake(kernel)}"):
        run(emulator.Device(workers=2), kernel)
    run_right(emulator.Device(workers=2))


def run_right(device):
    """After a launch that was given up, the next one starts afresh."""
    x, sums = device.asarray(np.arange(512, dtype=np.float64)), device.empty(2, np.float64)
    kernel = device.kernel(FILE.with_name("sums.cu"), "shuffles", {"SCALAR": "double"})
    kernel((2,), (256,), (x, sums, np.int32(512)))
    assert sums.sum() == x.sum()


def test_a_table_of_pointers_reaches_its_arrays_and_no_further():
    device = emulator.Device(checked=True)
    table = device.pointers([device.zeros(64), device.zeros(63)])
    before = table.copy()
    kernel = device.kernel(FILE, "reads_past_an_array_of_a_table")
    with pytest.raises(emulator.KernelError, match=r"at byte 252 of arrays\[1\], which has 252"):
        kernel((1,), (64,), (table, np.int32(64)))
    assert (table == before).all()


def test_a_null_pointer_is_out_of_bounds():
    device = emulator.Device(checked=True)
    with pytest.raises(emulator.KernelError, match=r"mistakes.cu:\d+: (out of bounds|misaligned)"):
        device.kernel(FILE, "forgets_the_bound")((1,), (64,), (None, None, np.int32(200)))


def test_a_view_of_an_array_ends_where_it_ends():
    device = emulator.Device(checked=True)
    x = device.zeros(1000)
    saxpy = device.kernel(FILE.with_name("saxpy.cu"), "saxpy")
    saxpy((1,), (64,), (x[:64], x[64:128], np.float32(1), np.int32(64)))
    with pytest.raises(emulator.KernelError, match="at byte 252 of x"):
        saxpy((1,), (64,), (x[:63], x[64:128], np.float32(1), np.int32(64)))


def test_reports_can_be_read_one_by_one():
    with pytest.raises(emulator.KernelError) as error:
        run(emulator.Device(checked=True), "forgets_the_barrier")
    report = next(report for report in error.value.reports if report.kind == "race")
    assert report.block == (0, 0, 0) and 0 <= report.thread[0] < 64 and report.thread[1:] == (0, 0)
    assert str(error.value).startswith("kernel forgets_the_barrier:\n  mistakes.cu:")

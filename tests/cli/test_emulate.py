"""`minicnn emulate`: the project's own kernels, edited copies of them, and a learner's own."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import command_line
import pytest

from minicnn.backend import emulator, kernel_source
from minicnn.backend.cuda.samples import SAMPLES
from minicnn.backend.emulator import build

pytestmark = pytest.mark.slow  # a sweep

call = partial(command_line.call, "emulate")

needs_compiler = pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler")

KERNELS = Path(__file__).parents[1] / "backend" / "emulator" / "kernels"
OWN = sorted(path.name for path in kernel_source.folder().glob("*.cu"))


@pytest.fixture
def edited(tmp_path):
    """A function that copies one of the project's files with a text in it replaced."""

    def edit(file, old, new):
        text = (kernel_source.folder() / file).read_text(encoding="utf-8")
        assert old in text
        (tmp_path / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        return tmp_path / file

    return edit


def test_every_file_has_samples():
    assert sorted(SAMPLES) == OWN


@needs_compiler
@pytest.mark.parametrize("file", OWN)
def test_nothing_is_found_in_the_projects_own_kernels(file):
    lines = call(file, "--check").splitlines()
    assert " ".join(lines[0].split()) == "kernel grid block bytes ms MB/s checked ms found"
    rows = [line.split() for line in lines[1:-1] if not line.rstrip().endswith(":")]
    source = kernel_source.parse((kernel_source.folder() / file).read_text(encoding="utf-8"))
    assert {row[0] for row in rows} == {*source.kernels}
    assert all(float(row[4]) > 0 and float(row[6]) > 0 and row[7] == "-" for row in rows)
    assert lines[-1] == f"{len(rows)} launch{'es' * (len(rows) > 1)}, 0 mistakes"


@needs_compiler
def test_a_barrier_that_a_learner_removed(edited):
    """The README shows some of the lines; they are what the command prints."""
    path = edited("dropout.cu", "    __syncthreads();\n", "")
    lines = path.read_text(encoding="utf-8").splitlines()
    written = 1 + next(i for i, line in enumerate(lines) if "    kept[threadIdx.x] = " in line)
    read = 1 + next(i for i, line in enumerate(lines) if "kept[e / WORDS]" in line)
    block = "of block (0, 0, 0)"
    output = call(path, "--check", code=1).splitlines()
    assert output[3:5] == ["2 launches, 8 mistakes", "dropout:"] and "dropout_mask:" in output
    assert output[5:8] == [
        f"  dropout.cu:{read}: uninitialised: thread (0, 0, 0) {block} reads 1 byte at byte 32 of "
        "kept, which nobody has written",
        f"  dropout.cu:{read}: race: thread (24, 0, 0) {block} reads 1 byte at byte 3 of kept; "
        f"thread (3, 0, 0) wrote it at dropout.cu:{written}, and nothing orders them",
        f"  dropout.cu:{written}: race: thread (32, 0, 0) {block} writes 1 byte at byte 32 of "
        f"kept; thread (0, 0, 0) read it at dropout.cu:{read}, and nothing orders them",
    ]
    assert "run reversed, the threads give another result: y[1] is" in output[8]
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert {*re.findall(r"^  dropout\.cu:.*$", readme, re.MULTILINE)} <= {*output}
    unchecked = call(path, code=1)
    assert "run reversed, the threads give another result: y[1] is" in unchecked
    assert "the result is not that of the project's own file: y[" in unchecked


@needs_compiler
def test_a_bound_that_is_off_by_one(edited):
    path = edited("pool.cu", "if (e >= count) return;", "if (e > count) return;")
    output = call(path, "--check", code=1)
    assert "11 launches, 1 mistake\n" in output
    line = r"pool\.cu:\d+: out of bounds: thread \(122, 0, 0\) of block \(1, 0, 0\) reads 4 bytes"
    assert re.search(line, output)
    [line] = [line for line in call(path, code=1).splitlines() if "pool.cu:" in line]
    assert line == "  pool.cu: out of bounds: max_pool_forward writes beside indices"


@needs_compiler
def test_a_result_that_is_wrong_in_every_order(edited):
    path = edited("pool.cu", "value > best ||", "value < best ||")
    output = call(path, "--check", "--kernel", "max_pool_forward", code=1)
    assert "2 launches, 2 mistakes" in output
    assert "max_pool_forward, adaptive:" in output and "differ)" in output


@needs_compiler
def test_a_header_beside_the_copy_goes_before_the_projects_own(edited):
    path = edited("pool.cu", "return;", "return ;")
    edited(
        "windows.cuh", "h + PADDING - (KERNEL - 1) * DILATION", "h + PADDING - KERNEL * DILATION"
    )
    output = call(path, "--kernel", "avg_pool_backward", code=1)
    assert "the result is not that of the project's own file: grad_x[2] is" in output


@needs_compiler
def test_a_header_beside_the_copy_is_found_by_the_projects_own(edited):
    """im2col.cu includes windows.cuh, which is not here, and that includes common.cuh."""
    edited("common.cuh", "blockIdx.x * blockDim.x + threadIdx.x", "blockIdx.x + threadIdx.x")
    path = edited("im2col.cu", "return;", "return ;")
    assert "race: thread (" in call(path, "--check", "--kernel", "im2col", code=1)


@needs_compiler
def test_a_learners_own_kernels(tmp_path):
    given = ("--arg", "a=2", "--arg", "x=float32[40,25]:1.5", "--block", 128)
    lines = call(KERNELS / "saxpy.cu", "--check", *given).splitlines()
    assert lines[1].split()[:4] == ["saxpy", "8", "128", "8,000"]
    assert lines[-1] == "2 launches, 0 mistakes"
    own = tmp_path / "own.cu"
    own.write_text(
        "#include <cuda_runtime.h>\n"
        "__global__ void twice(float *x, const int n) {\n"
        "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
        "    if (i <= n) x[i] = 2 * x[i];\n"
        "}\n"
    )
    output = call(own, "--check", code=1)
    assert "own.cu:4: out of bounds: thread (232, 0, 0) of block (3, 0, 0) reads 4" in output
    given = ("--kernel", "tree", "--define", "SCALAR=double", "--shared", 2048)
    lines = call(KERNELS / "sums.cu", "--check", *given).splitlines()
    assert lines[1].split()[:3] == ["tree", "4", "256"]
    given = ("--kernel", "forgets_the_barrier", "--block", 64, "--shared", 256)
    assert "race: thread" in call(KERNELS / "mistakes.cu", "--check", *given, code=1)


@needs_compiler
@pytest.mark.parametrize("check", [[], ["--check"]], ids=["unchecked", "checked"])
def test_a_kernel_that_calls_nothing(check, tmp_path):
    file = tmp_path / "one.cu"
    file.write_text('extern "C" __global__ void one(float* y) {\n    y[0] = 1.0f;\n}\n')
    lines = call(file, *check, "--grid", 1, "--block", 1).splitlines()
    assert lines[1].split()[:3] == ["one", "1", "1"]


@needs_compiler
@pytest.mark.parametrize("check", [[], ["--check"]], ids=["unchecked", "checked"])
def test_kernels_that_crash_or_never_end_are_told_once(check):
    given = ("--block", 4, "--arg", "x=int32[4]:0", "--arg", "y=int32[4]", "--seconds", 0.2)
    kernels = ("divides", "recurses", "turns_for_ever", "copies")
    words = [word for kernel in kernels for word in ("--kernel", kernel)]
    lines = call(KERNELS / "crashes.cu", *check, *words, *given, "--grid", 1, code=1).splitlines()
    assert "4 launches, 3 mistakes" in lines
    assert any("arithmetic: thread (0, 0, 0) of block (0, 0, 0) divides" in line for line in lines)
    assert any("failure: thread (0, 0, 0) of block (0, 0, 0) has filled" in line for line in lines)
    assert any("endless: thread (0, 0, 0) of block (0, 0, 0) is still" in line for line in lines)


@needs_compiler
def test_an_instance_of_a_template():
    given = ("--grid", "3x3", "--block", "8x8", "--define", "SIZE=35", "--size", 35 * 35)
    lines = call(KERNELS / "matmul.cu", "--kernel", "matmul<8, 2>", *given).splitlines()
    assert lines[1].split()[:4] == ["matmul<8,", "2>", "3x3", "8x8"]


@needs_compiler
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["saxpy.cu"], r"saxpy: cannot guess an argument; give --arg a=NUMBER (float32)"),
        (["saxpy.cu", "--arg", "a=2", "--arg", "b=3"], "no kernel takes b: saxpy, saxpy4"),
        (["saxpy.cu", "--arg", "a=two"], "--arg a expects a number (float32), got 'two'"),
        (["saxpy.cu", "--arg", "a=1", "--arg", "n=-9e9"], "--arg n expects a number (int32)"),
        (["saxpy.cu", "--arg", "x=1"], "--arg x expects an array such as float32[1000]"),
        (["saxpy.cu", "--arg", "x"], "--arg expects NAME=VALUE, got 'x'"),
        (["saxpy.cu", "--grid", "0"], "--grid expects one to three sizes, such as 8x4, got '0'"),
        (["saxpy.cu", "--kernel", "saxpi"], "has no kernel 'saxpi'; it has saxpy, saxpy4"),
        (["matmul.cu"], "has no kernel that is not a template: name an instance"),
        (["lists.cu"], "step: cannot guess an argument; give --arg"),
    ],
)
def test_what_is_refused(arguments, message):
    assert message in call(KERNELS / arguments[0], *arguments[1:], code=1)


@needs_compiler
def test_arrays_of_another_type_are_refused():
    message = "x expects an array of float32, got EmulatedArray float64"
    given = ("--arg", "a=1", "--arg", "x=float64[10]")
    assert message in call(KERNELS / "saxpy.cu", *given, code=1)


@needs_compiler
def test_a_file_that_does_not_compile_shows_the_compilers_words(edited):
    output = call(edited("special.cu", "unsigned e =", "unsigned e"), code=1)
    assert "special does not compile" in output and "special.cu:13:" in output
    assert "error:" in output


def test_a_file_that_is_nowhere_and_a_machine_without_a_compiler(monkeypatch):
    assert "no kernel file 'nowhere.cu'" in call("nowhere.cu", code=1)
    monkeypatch.setattr(build, "compiler", lambda: None)
    monkeypatch.delenv("CXX", raising=False)
    assert "install g++ or clang++" in call("special.cu", "--define", "NEW=1", code=1)

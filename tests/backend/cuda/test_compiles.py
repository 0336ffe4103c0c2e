"""Every kernel compiles for every architecture: no warnings, no spills, nothing over its budget."""

from __future__ import annotations

import importlib.util
import math
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from minicnn.backend import emulator
from minicnn.backend.cuda import nvrtc, occupancy, sources
from minicnn.backend.cuda.instances import ARCHITECTURES, blocks, instances
from minicnn.backend.cuda.launcher import DEFAULT_THREADS

if os.environ.get("MINICNN_TESTS_CUPY"):
    pytest.skip("CuPy's stand-in compiles nothing", allow_module_level=True)

needs_nvrtc = pytest.mark.skipif(nvrtc.version() is None, reason="no CuPy or no NVRTC")
ONE = {"SCALAR": "float"}


@pytest.fixture(scope="module")
def builds():
    """For each architecture the builds to come, from two processes (NVRTC takes turns in one)."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield {arch: pool.submit(nvrtc.build_all, arch) for arch in ARCHITECTURES}
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def script():
    """scripts/kernel_table.py, which writes the tables in kernels/README.md."""
    path = Path(__file__).parents[3] / "scripts" / "kernel_table.py"
    spec = importlib.util.spec_from_file_location("kernel_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problems(build, file, constants, arch):
    """What is wrong with a build, in words."""
    threads = sources.read(file).constants.get("THREADS", DEFAULT_THREADS)
    wanted = blocks(file, constants)
    yield from build.remarks
    for name, usage in build.kernels.items():
        if usage.spilled or usage.stack:
            yield f"{name} keeps values in memory: {usage}"
        by_registers = occupancy.blocks_by_registers(threads, usage.registers)
        if by_registers < wanted:
            yield f"{name}: registers for {by_registers} blocks, wanted {wanted}: {usage}"
        by_shared = occupancy.blocks_by_shared(arch, usage.shared)
        if by_shared < wanted:
            yield f"{name}: shared memory for {by_shared} blocks, wanted {wanted}: {usage}"


def test_every_file_has_an_instance_and_a_budget():
    files = {file for file, _, constants in instances() if blocks(file, constants) >= 1}
    assert files == {p.name for p in sources.folder().glob("*.cu")}
    keys = [(file, word) for file, word, _ in instances()]
    assert len(set(keys)) == len(keys)


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_instance_compiles(builds, script, arch):
    """Other versions of NVRTC than that of the tables allocate registers in their own ways."""
    built = builds[arch].result()
    is_judged = script.written_with(script.README.read_text("utf-8")) == nvrtc.version()
    for file, word, constants in instances():
        build = built[file, word]
        assert set(build.kernels) == set(sources.read(file).kernels)
        found = [*(problems(build, file, constants, arch) if is_judged else build.remarks)]
        assert not found, "\n".join([f"{file} ({word}) for {arch}:", *found])


@needs_nvrtc
@pytest.mark.slow
def test_the_tables_are_up_to_date(builds, script):
    text = script.README.read_text(encoding="utf-8")
    if script.written_with(text) != nvrtc.version():
        pytest.skip(f"the tables are from NVRTC {script.written_with(text)}")
    built = {arch: builds[arch].result() for arch in ARCHITECTURES}
    assert script.updated(text, built) == text, "run python scripts/kernel_table.py"


def test_the_tables_have_every_kernel_and_instance(script):
    """The same without NVRTC, but for the numbers."""
    text = script.README.read_text(encoding="utf-8")
    for path in script.files():
        assert f"| [{path.name}]({path.name}) | {script.summary(path)} |\n" in text
    for file, word, _ in instances():
        section = text.partition(f"### {file}\n")[2].partition("### ")[0]
        for kernel in sources.read(file).kernels:
            assert f"\n| {kernel} | {word} | " in section, "run python scripts/kernel_table.py"


@pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler")
def test_the_example_of_a_launch(script, capsys):
    text = script.README.read_text(encoding="utf-8")
    exec(text.partition("```python\n")[2].partition("```")[0], {})
    printed = [float(word) for word in capsys.readouterr().out.strip("[]\n").split()]
    assert printed == pytest.approx([math.erf(x) for x in (-2, -1, 0, 1, 2)], rel=1e-6)


# What the tests above must find: a kernel for each kind of problem.


def problems_of(body, parameters="float* x, int n", bounds=""):
    text = f'extern "C" __global__ void {bounds} k({parameters}) {{ {body} }}'
    build = nvrtc.build_text(text, "planted.cu", ONE, "sm_80")
    return "\n".join(problems(build, "softmax.cu", ONE, "sm_80"))


@needs_nvrtc
def test_a_sound_kernel_has_no_problems():
    assert problems_of("x[threadIdx.x] *= n;") == ""


@needs_nvrtc
def test_warnings_are_found():
    assert "warning #177-D" in problems_of("int never = 3; x[threadIdx.x] = n;")


SUMS = """
    float s[%d];
    for (int i = 0; i < %d; ++i) s[i] = x[i * n];
    for (int j = 0; j < n; ++j)
        for (int i = 0; i < %d; ++i) s[i] = s[i] * s[(i + 1) %% %d] + x[i * n + j];
    for (int i = 0; i < %d; ++i) x[i * n] = s[i];
"""


@needs_nvrtc
def test_spilled_registers_are_found():
    found = problems_of(SUMS % ((64,) * 5), bounds="__launch_bounds__(1024, 2)")
    assert "k keeps values in memory" in found


@needs_nvrtc
def test_arrays_in_slow_memory_are_found():
    found = problems_of("float s[9]; for (int i = 0; i < n; ++i) s[x[i] > 0] = i; x[0] = s[n];")
    assert "k keeps values in memory" in found


@needs_nvrtc
def test_too_many_registers_are_found():
    found = problems_of(SUMS % ((80,) * 5), bounds="__launch_bounds__(256)")
    assert "wanted 4" in found and "registers for" in found
    assert "memory" not in found


@needs_nvrtc
def test_too_much_shared_memory_is_found():
    body = "__shared__ float s[11000]; s[n] = n; __syncthreads(); x[n] = s[threadIdx.x];"
    assert "shared memory for 3 blocks, wanted 4" in problems_of(body)


@needs_nvrtc
def test_errors_carry_the_compilers_words():
    with pytest.raises(nvrtc.CompileError, match=r"planted.cu does not compile for sm_80:\n.*"):
        problems_of("x[0] = nothing;")


LOG = """\
ptxas info    : 44 bytes gmem, 88 bytes cmem[4]
ptxas info    : Compiling entry function 'first' for 'sm_75'
ptxas info    : Function properties for first
ptxas         .     16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 58 registers, used 1 barriers, 192 bytes smem, 412 bytes cmem[0]
ptxas info    : Function properties for helper
ptxas         .     8 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Compile time = 14.691 ms
ptxas info    : Compiling entry function 'second' for 'sm_75'
ptxas info    : Function properties for second
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 21 registers, used 0 barriers, 372 bytes cmem[0]
ptxas info    : Compile time = 3.5 ms
ptxas warning : Something
\0"""


def test_reading_a_log():
    build = nvrtc.read_log(LOG)
    assert build.kernels == {
        "first": nvrtc.Usage(registers=58, shared=192, stack=24, spilled=12),
        "second": nvrtc.Usage(registers=21, shared=0, stack=0, spilled=0),
    }
    assert build.remarks == ("ptxas warning : Something",)

"""Mistakes planted in copies of the project's own kernels: every one of them is found.

Each is an edit that a tired programmer might make. The checked mode must report it, of the right
kind and on the right line, or the results must differ from those of the file as it is.
"""

from __future__ import annotations

import functools
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from minicnn.backend import emulator, kernel_source
from minicnn.backend.cuda.samples import SAMPLES, Numbers
from minicnn.backend.emulator import build, cache
from minicnn.backend.emulator.study import check, record

pytestmark = [
    pytest.mark.skipif(emulator.compiler() is None, reason="no C++ compiler"),
    pytest.mark.slow,  # a sweep
]


class Planted(NamedTuple):
    """In `file`, or a header, `old` becomes `new`, and `kernel` of the file shows it.

    Spaces in `old` stand for any. kind: what is reported; or "result", other numbers than those of
    the file as it is. place: words on the line that is reported.
    """

    file: str
    kernel: str
    old: str
    new: str
    kind: str
    place: str = ""


BOUNDS, SHARED, RACE = "out of bounds", "out of index", "race"
BARRIER = "__syncthreads();"

MISTAKES = {
    # Beside an array
    "one thread too many": Planted(
        *("pool.cu", "max_pool_forward"),
        *("if (e >= count) return;", "if (e > count) return;", BOUNDS, "values[number]"),
    ),
    "one thread too many, <": Planted(
        *("special.cu", "erf_of"),
        *("if (e < count) y[e] = erf(", "if (e <= count) y[e] = erf(", BOUNDS, "erf(x[e])"),
    ),
    "left padding not left out": Planted(
        *("im2col.cu", "im2col"),
        *("Height::inside(i, p) && Width::inside(j, q))", "Height::inside(i, p))"),
        *(BOUNDS, "x[plane * INPUTS +"),
    ),
    "channel of the batch": Planted(
        *("batchnorm.cu", "batch_norm_apply"),
        *("e / PLACES % channels;\n    scalar scale", "e / PLACES;\n    scalar scale"),
        *(BOUNDS, "sqrt(var[c]"),
    ),
    "last chunk not cut": Planted(
        *("optim.cu", "gradient_squares"),
        *("stop = min(sizes[tensor], start + CHUNK);", "stop = start + CHUNK;"),
        *(BOUNDS, "sum += grad[e] * grad[e];"),
    ),
    "rows of a tile not bounded": Planted(
        *("conv.cu", "conv_forward"),
        *("row < from.rows && s < stop", "s < stop", BOUNDS, "return w["),
    ),
    "entry of the next row": Planted(
        *("resample.cu", "resample"),
        *("entry < starts[j + 1]", "entry <= starts[j + 1]", BOUNDS, "line[columns[entry]"),
    ),
    "plane of the outputs": Planted(
        *("depthwise.cu", "depthwise_forward"),
        *("x + plane / MULTIPLIER * INPUTS", "x + plane * INPUTS", BOUNDS, "Width::input(j, q))];"),
    ),
    "last part of a sum not cut": Planted(
        *("conv.cu", "conv_grad_weight"),
        *("min(sums, (part + 1) * chunk)", "(part + 1) * chunk", BOUNDS),
    ),
    "a label that is no class": Planted(
        *("cross_entropy.cu", "cross_entropy_forward"),
        *(
            "bool is_class = 0 <= label && label < classes;\n    scalar log",
            "bool is_class = true; scalar log",
        ),
        *(BOUNDS, "x[line[int(label)]]"),
    ),
    "one gradient for all taken for one each": Planted(
        *("cross_entropy.cu", "cross_entropy_backward"),
        *("g[by_sample ? n : 0]", "g[n]", BOUNDS, "g[n]"),
    ),
    "threads beyond the last set": Planted(
        *("groupnorm.cu", "group_norm_forward"),
        *("if (!exists) number = sets - 1;", "", BOUNDS, "return values[m]"),
    ),
    # Beside shared memory
    "warps counted from one": Planted(
        *("softmax.cu", "softmax_forward"),
        *("of_warp[threadIdx.x / WARP] = value", "of_warp[threadIdx.x / WARP + 1] = value"),
        *(SHARED, "of_warp[threadIdx.x / WARP + 1]"),
    ),
    "a byte for each element": Planted(
        *("dropout.cu", "dropout"),
        *("kept[threadIdx.x] = (", "kept[threadIdx.x * WORDS] = (", BOUNDS, "kept[threadIdx.x *"),
    ),
    # Shared memory that nobody wrote
    "a number left out": Planted(
        *("optim.cu", "adam"),
        *("corrected[1] = scalar(sqrt(", "scalar unused = scalar(sqrt("),
        *("uninitialised", "root = corrected[1]"),
    ),
    "first slice not put": Planted(
        *("conv.cu", "conv_grad_weight"),
        *("slice.put(a_slices[0], b_slices[0]);", "", "uninitialised", "_slices[now][s]["),
    ),
    "only the first warp writes": Planted(
        *("batchnorm.cu", "batch_norm_sums"),
        *("if (threadIdx.x % WARP == 0) of_warp", "if (threadIdx.x == 0) of_warp"),
        *("uninitialised", "over_lanes<Op, WARPS>(of_warp["),
    ),
    # Races in a block
    "no barrier before the warps' moments are read": Planted(
        *("batchnorm.cu", "batch_norm_moments"),
        *(f"{BARRIER} int from", "int from", RACE, "merged_over_lanes<WARPS>({n[from]"),
    ),
    "no barrier after a block's sum": Planted(
        *("depthwise.cu", "depthwise_grad_weight"),
        *("__syncthreads();  // nobody", "// nobody", RACE, "of_warp[threadIdx.x / WARP] = value"),
    ),
    "one buffer instead of two": Planted(
        *("conv.cu", "conv_grad_input"),
        *("slice.put(a_slices[1 - now], b_slices[1 - now])", "slice.put(a_slices[0], b_slices[0])"),
        *(RACE, "_slice["),
    ),
    "no barrier between slices": Planted(
        *("conv.cu", "conv_forward"),
        *("__syncthreads();\n        now =", "now =", "uninitialised", "_slices[now][s]["),
    ),
    "no barrier after the mask": Planted(
        *("dropout.cu", "dropout_mask"),
        *(BARRIER, "", RACE, "kept[e / WORDS]"),
    ),
    "no barrier after the first thread": Planted(
        *("optim.cu", "adam"),
        *(BARRIER, "", RACE, "rate = corrected[0]"),
    ),
    "no barrier before the next column": Planted(
        *("groupnorm.cu", "group_norm_grad_affine"),
        *("__syncthreads();  // before the next", "// before the next", RACE, "of_row["),
    ),
    "every lane writes the mean": Planted(
        *("groupnorm.cu", "group_norm_forward"),
        *("if (set.lane != 0) return;", "", RACE, "mean[set.number] ="),
    ),
    # Races between blocks
    "number in the block": Planted(
        *("pool.cu", "max_pool_backward"),
        *("grad_x[e] = sum;", "grad_x[threadIdx.x] = sum;", RACE, "grad_x[threadIdx.x]"),
    ),
    "parts of a channel in one place": Planted(
        *("batchnorm.cu", "batch_norm_moments"),
        *("means[c * gridDim.y + split]", "means[c]", RACE, "means[c] ="),
    ),
    "blocks add without atomics": Planted(
        *("optim.cu", "gradient_squares"),
        *("partial[blockIdx.x] = sum", "partial[0] += sum", RACE, "partial[0] += sum"),
    ),
    "two features in one place": Planted(
        *("depthwise.cu", "depthwise_grad_weight"),
        *("(part * features + f) *", "(part * features + f / 2) *", RACE, "parts[(part"),
    ),
    # Barriers and warps
    "barrier in a branch": Planted(
        *("batchnorm.cu", "batch_norm_moments"),
        *(f"{BARRIER} int from", f"if (threadIdx.x < WARP) {BARRIER} int from"),
        *("divergence", "if (threadIdx.x < WARP)"),
    ),
    "threads that return before a sum": Planted(
        *("optim.cu", "gradient_squares"),
        *("scalar sum = 0;", "scalar sum = 0; if (part.start + threadIdx.x >= part.stop) return;"),
        *("divergence", "__shfl_xor_sync(ALL_LANES, value"),
    ),
    "a mask without the last lane": Planted(
        *("softmax.cu", "log_softmax_backward"),
        *("0xffffffffu", "0x7fffffffu", "divergence", "__shfl_xor_sync(ALL_LANES, value"),
    ),
    "lanes of half a warp": Planted(
        *("batchnorm.cu", "batch_norm_moments"),
        *("__shfl_xor_sync(ALL_LANES, mine.n", "__shfl_xor_sync(0xffffu, mine.n"),
        *("divergence", "mine.n, offset)"),
    ),
    # Alignment and arithmetic
    "two at an odd place": Planted(
        *("special.cu", "erfc_of"),
        *("erfc(x[e])", "erfc(reinterpret_cast<const float2*>(x + e)->x)", "misaligned", "float2"),
    ),
    "a short at an odd byte": Planted(
        *("dropout.cu", "dropout"),
        *("kept[e / WORDS] >>", "*reinterpret_cast<const short*>(kept + e / WORDS) >>"),
        *("misaligned", "const short*"),
    ),
    "a product that does not fit": Planted(
        *("im2col.cu", "col2im"),
        *("int tap = (r * Height::taps + p) * Width::taps", "int tap = (r * 3 + p) * (1 << 30)"),
        *("arithmetic", "entries[tap * OUTPUTS"),
    ),
    # Other numbers
    "a tree without its last step": Planted(
        *("softmax.cu", "softmax_backward"),
        *("offset = LANES / 2; offset > 0;", "offset = LANES / 2; offset > 1;", "result"),
    ),
    "deviations of the parts' means forgotten": Planted(
        *("batchnorm.cu", "batch_norm_moments"),
        *(" + delta * delta * a.n * part}", "}", "result"),
    ),
    "the last part forgotten": Planted(
        *("parts.cu", "add_parts"),
        *("part < splits", "part + 1 < splits", "result"),
    ),
    "parts beyond the first warp's added twice": Planted(
        *("optim.cu", "clip_coefficient"),
        *("b += THREADS) sum += partial[b]", "b += WARP) sum += partial[b]", "result"),
    ),
    "parts that overlap": Planted(
        *("depthwise.cu", "depthwise_grad_weight"),
        *("part * chunk", "part * (chunk - 1)", "result"),
    ),
    "momentum forgotten": Planted(
        *("optim.cu", "sgd"),
        *("g + momentum * velocity", "g + velocity", "result"),
    ),
    "a tap of the wrong row": Planted(
        *("im2col.cu", "col2im"),
        *("Height::output(h, p)", "Height::output(h, 0)", "result"),
    ),
    "entries left out": Planted(
        *("softmax.cu", "log_softmax_forward"),
        *("a += PER_LINE) sum += exp", "a += PER_LINE + 1) sum += exp", "result"),
    ),
    "the smallest wins": Planted(
        *("pool.cu", "max_pool_forward"),
        *("value > best ||", "value < best ||", "result"),
    ),
}


@functools.cache
def launch_of(file, kernel):
    """The last recorded launch of the kernel: softmax's with a block for each line."""
    for word, calls in reversed(SAMPLES[file].items()):
        for launch in record(lambda device, calls=calls: calls(Numbers(device)), word):
            if launch.kernel == kernel:
                return launch
    raise LookupError(f"no sample of {file} launches {kernel}")


@pytest.mark.parametrize("name", MISTAKES)
def test_every_planted_mistake_is_found(name, tmp_path, monkeypatch):
    planted = MISTAKES[name]
    if planted.kind == "misaligned" and "clang" in build.version(emulator.compiler()):
        pytest.skip("clang++ does not check the alignment of every access")
    launch = launch_of(planted.file, planted.kernel)
    built_in(tmp_path, monkeypatch)
    shutil.copy(kernel_source.folder() / planted.file, tmp_path)
    source, text = edited(planted)
    (tmp_path / source.name).write_text(text, encoding="utf-8")

    found = check(launch, tmp_path / planted.file).findings
    of_kind = [finding for finding in found if finding.kind == planted.kind]
    assert of_kind, found
    if planted.place:
        assert any(planted.place in line_of(finding) for finding in of_kind), of_kind


def edited(planted):
    """(path, text) of the file, or the first of the project's headers, that has what is edited."""
    folder = kernel_source.folder()
    old = re.compile(r"\s+".join(map(re.escape, planted.old.split())))
    for path in [folder / planted.file, *sorted(folder.glob("*.cuh"))]:
        text, found = old.subn(lambda _: planted.new, path.read_text(encoding="utf-8"), count=1)
        if found:
            return path, text
    raise LookupError(f"{planted.file} has changed: plant this mistake anew: {planted.old!r}")


def built_in(folder, monkeypatch):
    """What is built from now on stays in the folder and not in the user's cache."""
    runtime = build.runtime()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    cache.folder().mkdir(parents=True)
    shutil.copy(runtime, cache.folder())


def line_of(finding):
    """The line of the source that the finding is about."""
    return Path(finding.file).read_text(encoding="utf-8").splitlines()[finding.line - 1]


@pytest.mark.parametrize("file, kernel", sorted({(p.file, p.kernel) for p in MISTAKES.values()}))
def test_nothing_is_found_where_nothing_was_planted(file, kernel):
    assert check(launch_of(file, kernel)).findings == []


def test_there_is_a_mistake_of_each_kind_in_many_files():
    kinds = {planted.kind for planted in MISTAKES.values()}
    assert kinds == {BOUNDS, SHARED, "uninitialised", RACE, "divergence", "misaligned"} | {
        *("arithmetic", "result")
    }
    assert len(MISTAKES) >= 24 and len({planted.file for planted in MISTAKES.values()}) >= 6

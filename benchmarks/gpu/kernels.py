"""Stage `kernels`: each kernel's time against what its bytes and its operations must take.

And convolution's two ways, the kernels or im2col and cuBLAS, side by side.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from minicnn.backend.cuda.conv import conv_algorithm

from .cases import Case, Launch, cases, every_kernel, recorded
from .device import open_device
from .machine import ceilings
from .run import Run

_COUNTED = ("conv.cu", "depthwise.cu")  # the files whose operations are compared with a matmul's


def kernels(run: Run) -> None:
    """Measures the launches of all cases."""
    device = open_device(run.device)
    limits = ceilings(run, device)
    run.note("ceilings", limits)
    run.note("precision", "float32, no tensor cores")
    for case in cases(small=not device.is_gpu):
        run.attempt(case.label, partial(_measure, run, device, case, limits), 3)
        device.release()
    convolutions = [case for case in cases(small=not device.is_gpu) if case.passes is not None]
    for case in convolutions if device.is_gpu else convolutions[:2]:
        run.attempt(f"two ways: {case.label}", partial(_both_ways, run, device, case), 3)
        device.release()
    measured = {entry["kernel"] for entry in run.results.get("kernels", [])}
    for kernel in sorted(every_kernel() - measured):
        run.fail(kernel, "has no figure: see the cases that were skipped, or that failed")


def _measure(run: Run, device: Any, case: Case, limits: dict[str, float]) -> None:
    calls = case.make(device)
    calls()  # compiles
    with recorded(device.kernels) as launches:
        calls()
    done: set[Any] = set()
    for launch in launches:
        key = (launch.kernel, launch.grid, launch.array_bytes())
        if key in done:
            continue
        done.add(key)
        seconds, how = device.seconds(launch.again, 5 if run.quick else 15)
        run.add("kernels", _entry(case, launch, seconds, how, limits))


def _both_ways(run: Run, device: Any, case: Case) -> None:
    """Each pass of a convolution by the kernels, and by im2col and cuBLAS: whole primitives."""
    assert case.passes is not None
    for name, call in case.passes(device).items():
        entry: dict[str, Any] = {"case": case.label, "pass": name, "flops": case.flops}
        for way in ("implicit", "im2col"):
            with conv_algorithm(way):
                # cuBLAS cannot be captured through CuPy; to compare, neither is.
                seconds, _ = device.seconds(call, 5 if run.quick else 11, captured=False)
            entry[f"{way}_microseconds"] = seconds * 1e6
        run.add("two_ways", entry)


def _entry(
    case: Case, launch: Launch, seconds: float, how: str, limits: dict[str, float]
) -> dict[str, Any]:
    moved = case.bytes.get(launch.kernel, launch.array_bytes())
    flops = case.flops if launch.file in _COUNTED else 0
    of_copy = moved / seconds / limits["copy_bytes_per_s"]
    of_matmul = flops / seconds / limits["fp32_flop_per_s"]
    return {
        "kernel": launch.kernel,
        "file": launch.file,
        "case": case.label,
        "grid": launch.grid,
        "block": launch.block,
        "microseconds": seconds * 1e6,
        "bytes": moved,
        "flops": flops,
        "of_copy": of_copy,
        "of_matmul": of_matmul if flops else None,
        # No run can take less than the longer of its two minima.
        "of_limit": max(of_copy, of_matmul),
        "launched": how,
    }

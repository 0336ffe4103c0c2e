"""Stages `versions` and `machine`: what this machine is, and how fast it copies and multiplies."""

from __future__ import annotations

import platform
import shutil
import statistics
import subprocess
import time
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

import minicnn
from minicnn.backend.cuda import sources

from ..common import commit
from ..common import machine as host
from .device import normal, open_device
from .run import Run

_QUERY = "name,driver_version,pstate,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu"


def versions(run: Run) -> None:
    """Names and versions of everything that decides a figure.

    The GPU comes first: without its name there is no report, and importing PyTorch may take long.
    """
    device = run.attempt(run.device, lambda: open_device(run.device))
    if device is not None:
        for name, value in device.facts().items():
            run.note(name, value)
    run.note("host", host())
    run.note("python", platform.python_version())
    run.note("minicnn", minicnn.__version__)
    run.note("commit", commit())
    run.note("kernels", f"hash {sources.source_hash()}")
    for package in ("numpy", "cupy", "torch", "triton"):
        found = [d for d in metadata.distributions() if _is(package, d)]
        run.note(f"{package}_package", [f"{d.metadata['Name']} {d.version}" for d in found])
    run.attempt("nvidia-smi", lambda: run.note("nvidia_smi", _nvidia_smi()))
    run.attempt("PyTorch", lambda: run.note("torch", _torch()))


def _is(package: str, distribution: metadata.Distribution) -> bool:
    name = (distribution.metadata["Name"] or "").lower()
    return name == package or (package == "cupy" and name.startswith("cupy-cuda"))


def _torch() -> dict[str, Any] | str:
    try:
        import torch
    except ImportError as error:
        return f"not installed ({error})"
    facts: dict[str, Any] = {"version": torch.__version__, "cuda": torch.version.cuda}
    if torch.cuda.is_available():
        facts["cudnn"] = torch.backends.cudnn.version()
    return facts


def _nvidia_smi() -> dict[str, str] | str:
    if shutil.which("nvidia-smi") is None:
        return "not installed"
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader", "--id=0"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if told.returncode:
        return f"failed: {(told.stdout + told.stderr).strip()[-200:]}"
    values = [value.strip() for value in told.stdout.strip().split(",")]
    return dict(zip(_QUERY.split(","), values, strict=False))


def machine(run: Run) -> None:
    """Copy bandwidth and matrix products: what the kernels are measured against."""
    device = open_device(run.device)
    for name, value in ceilings(run, device).items():
        run.note(name, value)
    size = 2**28 if device.is_gpu else 2**16
    for name, copy in device.host_copies(size).items():
        seconds = run.attempt(name, partial(_wall, copy, 3 if run.quick else 7))
        if seconds is not None:
            run.add("host_copies", {"what": name, "bytes": size, "gb_per_s": size / seconds / 1e9})
    for n in (2048, 4096, 8192) if device.is_gpu else (32,):
        for kind in ("fp32", "tf32", "fp64"):
            what = f"matmul {n}, {kind}"
            rate = run.attempt(what, partial(_matmul, run, device, n, kind), 2)
            if rate is not None:
                entry = {"n": n, "kind": kind, "tflop_per_s": rate / 1e12}
                run.add("matmul", entry)
    run.attempt("nvidia-smi", lambda: run.note("after_the_products", _nvidia_smi()))


def ceilings(run: Run, device: Any) -> dict[str, float]:
    """Bytes a second of a large copy (reads and writes counted), operations a second in fp32.

    What one run on one machine gives within a minute; kernels are compared with these.
    """
    size = min(2**30, device.free_bytes() // 8) if device.is_gpu else 2**20
    source = device.kernels.zeros((size,), np.uint8)
    target = device.kernels.zeros((size,), np.uint8)
    repeats = 5 if run.quick else 15
    seconds, _ = device.seconds(device.copy(target, source), repeats, captured=False)
    n = 4096 if device.is_gpu else 64
    return {
        "copy_bytes": size,
        "copy_bytes_per_s": 2 * size / seconds,
        "fp32_matmul_n": n,
        "fp32_flop_per_s": _matmul(run, device, n, "fp32"),
    }


def _matmul(run: Run, device: Any, n: int, kind: str) -> float:
    """Operations a second of a product of two n x n matrices by the array library (cuBLAS)."""
    dtype = np.float64 if kind == "fp64" else np.float32
    a, b = normal(device, n, n).astype(dtype), normal(device, n, n).astype(dtype)
    out, repeats = device.kernels.zeros((n, n), dtype), 5 if run.quick else 15

    def product() -> None:
        device.xp.dot(a, b, out=out)

    if kind == "tf32":
        with device.tf32():
            seconds, _ = device.seconds(product, repeats, captured=False)
    else:
        seconds, _ = device.seconds(product, repeats, captured=False)
    return 2 * n**3 / seconds


def _wall(run: Any, repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)

"""What one differentiable op costs besides its arithmetic: 2x2 arrays, against PyTorch.

python -m benchmarks.op_overhead
"""

from __future__ import annotations

import numpy as np

import minicnn
from benchmarks.common import interleaved, machine, report

OPS = 500


def chain(lib, make):
    """Forward: y = x * w, OPS times over; and the same followed by backward."""
    x, w, one = make(np.full((2, 2), 0.999)), make(np.ones((2, 2))), make(np.ones((2, 2)))
    x.requires_grad_()

    def forward():
        y = x
        for _ in range(OPS):
            y = lib.mul(y, w)
        return y

    return forward, lambda: forward().backward(one)


def measured(rounds: int = 100) -> dict[str, dict[str, list[float]]]:
    """Seconds of OPS ops, forward, and forward with backward, by library."""
    libs = {"minicnn": (minicnn, minicnn.from_numpy)}
    try:
        import torch

        torch.set_num_threads(1)
        libs["torch"] = (torch, torch.from_numpy)
    except ImportError:
        pass
    passes = {}
    for k, what in enumerate(["forward", "forward and backward"]):
        passes[what] = interleaved({name: chain(*lib)[k] for name, lib in libs.items()}, rounds)
    return passes


def main() -> None:
    """Prints microseconds an op."""
    print(machine())
    for what, times in measured().items():
        print(what)
        report(times, list(times)[-1], 1e6 / OPS, "us/op")
        if "torch" not in times:
            print("PyTorch is not installed: no comparison")


if __name__ == "__main__":
    main()

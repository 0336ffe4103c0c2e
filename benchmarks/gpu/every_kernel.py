"""Runs every kernel once, at small sizes: what a sanitizer is put on.

python -m benchmarks.gpu.every_kernel --device cuda
"""

from __future__ import annotations

import argparse

from .cases import cases, every_kernel, recorded
from .device import open_device


def main() -> None:
    """Prints how many kernels ran, and which did not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.every_kernel")
    parser.add_argument("--device", choices=("cuda", "emulator"), default="cuda")
    device = open_device(parser.parse_args().device)
    ran: set[str] = set()
    with device.without_pool(), recorded(device.kernels) as launches:
        for case in cases(small=True):
            case.make(device)()
            device.synchronize()
            ran |= {launch.kernel for launch in launches}
            launches.clear()
    missing = every_kernel() - ran
    print(f"{len(ran)} kernels ran" + (f", not {', '.join(sorted(missing))}" * bool(missing)))


if __name__ == "__main__":
    main()

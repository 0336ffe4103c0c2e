"""`import minicnn` against `import numpy`: whole processes, in turn. Aim: at most 1.3 times.

python -m benchmarks.import_time
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.common import interleaved, machine, report


def measured(rounds: int = 30) -> dict[str, list[float]]:
    """The seconds that a process takes to import each, less those of an empty process."""

    # Installed packages are compiled once; so is this one, in the uncounted first round.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

    def process(code: str):
        return lambda: subprocess.run([sys.executable, "-c", code], check=True, env=env)

    times = interleaved(
        {
            "nothing": process("pass"),
            "numpy": process("import numpy"),
            "minicnn": process("import minicnn"),
        },
        rounds,
    )
    start = sorted(times.pop("nothing"))[rounds // 2]
    return {who: [t - start for t in values] for who, values in times.items()}


def main() -> None:
    """Prints the medians."""
    print(machine())
    report(measured(), "numpy")


if __name__ == "__main__":
    main()

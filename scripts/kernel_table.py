"""Writes the list of kernel files and what each kernel uses into kernels/README.md.

python scripts/kernel_table.py            # after a kernel or its instances changed: a minute
python scripts/kernel_table.py --check    # says whether the tables are up to date

It compiles everything for every architecture through NVRTC, which needs CuPy but no GPU.
"""

from __future__ import annotations

import multiprocessing
import re
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from minicnn.backend.cuda import nvrtc, sources
from minicnn.backend.cuda.instances import ARCHITECTURES, instances
from minicnn.backend.cuda.launcher import DEFAULT_THREADS
from minicnn.backend.cuda.nvrtc import Build, Usage
from minicnn.backend.cuda.occupancy import occupancy

README = Path(__file__).parent.parent / "kernels" / "README.md"
BEGIN = "<!-- tables: written by scripts/kernel_table.py -->\n"
END = "<!-- end of tables -->\n"

Builds = Mapping[str, Mapping[tuple[str, str], Build]]  # by architecture; by file and word


def build_everything() -> Builds:
    """All instances for all architectures, in two processes."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        return dict(zip(ARCHITECTURES, pool.map(nvrtc.build_all, ARCHITECTURES), strict=True))


def updated(text: str, builds: Builds) -> str:
    """The file with the tables as they should be."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{README} lacks {BEGIN.strip()} or {END.strip()}")
    return f"{before}{BEGIN}\n{tables(builds)}\n{END}{after}"


def written_with(text: str) -> str:
    """The version of NVRTC that the tables are from."""
    found = re.search(r"Compiled by NVRTC ([0-9.]+)", text)
    return found[1] if found else ""


def tables(builds: Builds) -> str:
    """Everything between the two marks."""
    lines = ["| file | what it holds |", "| --- | --- |"]
    lines += [f"| [{path.name}]({path.name}) | {summary(path)} |" for path in files()]
    lines += ["", "## What each kernel uses", "", LEGEND.format(version=nvrtc.version())]
    for path in files():
        if path.suffix == ".cu":
            lines += ["", f"### {path.name}", "", *table(path.name, builds)]
    return "\n".join(lines) + "\n"


LEGEND = """\
Compiled by NVRTC {version} for the instances in `minicnn/backend/cuda/instances.py`; other versions
differ by a few registers. *Shared* is in bytes a block, which has the given number of *threads*.
Under each architecture: the registers of a thread, the theoretical occupancy (the threads that are
resident on a multiprocessor at the same time, of those that it can have:
`minicnn/backend/cuda/occupancy.py`), and what limits it if it is not 100%: r registers, s shared
memory, b the number of blocks, t threads, of which too few are left for one more block."""


def files() -> list[Path]:
    """Kernels first, then headers."""
    paths = sources.folder().glob("*.cu*")
    return sorted(paths, key=lambda path: (path.suffix, path.name))


def summary(path: Path) -> str:
    """The first sentence of the file."""
    first: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("// "):
            break
        first.append(line[3:])
    return re.split(r"(?<=\.)\s", " ".join(first))[0].replace("|", "\\|")


def table(file: str, builds: Builds) -> Iterator[str]:
    """The lines of a file's table: one for each kernel of each instance."""
    heads = ["kernel", "instance", "threads", "shared", *ARCHITECTURES]
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    threads = sources.read(file).constants.get("THREADS", DEFAULT_THREADS)
    words = [word for other, word, _ in instances() if other == file]
    for name in sources.read(file).kernels:
        for word in words:
            used = [builds[arch][file, word].kernels[name] for arch in ARCHITECTURES]
            shared = "/".join(map(str, sorted({usage.shared for usage in used})))
            cells = [cell(*pair, threads) for pair in zip(ARCHITECTURES, used, strict=True)]
            yield f"| {' | '.join([name, word, str(threads), shared, *cells])} |"


def cell(arch: str, usage: Usage, threads: int) -> str:
    """Registers, occupancy and its limit."""
    filled = occupancy(arch, threads, usage.registers, usage.shared)
    limit = "" if filled.fraction == 1 else f" {filled.limit[0]}"
    return f"{usage.registers} {filled.fraction:.0%}{limit}"


def main() -> None:
    """Writes, or compares."""
    text = README.read_text(encoding="utf-8")
    if nvrtc.version() is None:
        sys.exit("this needs CuPy and NVRTC: pip install -e '.[test]'")
    new = updated(text, build_everything())
    if sys.argv[1:] == ["--check"]:
        sys.exit(text != new and "kernels/README.md is out of date: run this without --check")
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()

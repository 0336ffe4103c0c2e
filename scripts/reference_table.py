"""Writes the README's tables: the networks, and all operations.

python scripts/reference_table.py            # after a network or an operation was added or changed
python scripts/reference_table.py --check    # says whether the README is up to date
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

from minicnn import catalog, models
from minicnn.models.published import PUBLISHED

README = Path(__file__).parent.parent / "README.md"


def networks_table() -> str:
    """A row for each file of models/, the oldest first: what it is, its networks, their weights."""
    files = defaultdict(list)
    for info in models.available().values():
        files[info.make.__module__].append(info)
    lines = ["| read | networks | weights |", "|---|---|---|"]
    for module, infos in sorted(files.items(), key=lambda item: (year(item[1]), item[0])):
        file = f"{module.replace('.', '/')}.py"
        names = ", ".join(f"`{i.name}` {millions(i.parameters)}" for i in infos)
        weights = sum(len(PUBLISHED[i.name]) for i in infos if i.name in PUBLISHED)
        link = f"[`{module.rpartition('.')[2]}.py`]({file})"
        lines.append(f"| {link}: {title(module)} | {names} | {weights or ''} |")
    return "\n".join(lines) + "\n"


def year(infos: list[models.ModelInfo]) -> str:
    """When the first of these networks was published, by their descriptions; the last if unsaid."""
    return min(re.findall(r"(\d{4})\)", " ".join(i.description for i in infos)), default="9999")


def title(module: str) -> str:
    """What a network's file says that it is: its docstring up to the paper."""
    text = " ".join((sys.modules[module].__doc__ or "").split())
    return text.partition(" (")[0].partition(". ")[0]


def millions(n: int) -> str:
    """A number of parameters with three digits: 11.7M, 270K."""
    unit, name = (1_000_000, "M") if n >= 1_000_000 else (1_000, "K")
    value = n / unit
    return f"{value:.{max(0, 3 - len(str(int(value))))}f}{name}"


TABLES = {"operations": catalog.reference_table, "networks": networks_table}


def updated(text: str) -> str:
    """The README with the tables as they should be."""
    for name, table in TABLES.items():
        begin = f"<!-- {name}: written by scripts/reference_table.py -->\n"
        end = f"<!-- end of {name} -->\n"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{README} lacks {begin.strip()} or {end.strip()}")
        text = f"{before}{begin}\n{table()}\n{end}{after}"
    return text


def main() -> None:
    """Writes, or compares."""
    text = README.read_text(encoding="utf-8")
    new = updated(text)
    if sys.argv[1:] == ["--check"]:
        sys.exit(text != new and "the README's tables are out of date: run this without --check")
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()

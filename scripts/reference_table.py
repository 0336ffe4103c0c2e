"""Writes the table of all operations into the README's reference section.

python scripts/reference_table.py            # after an operation was added or changed
python scripts/reference_table.py --check    # says whether the README is up to date
"""

from __future__ import annotations

import sys
from pathlib import Path

from minicnn import catalog

README = Path(__file__).parent.parent / "README.md"
BEGIN = "<!-- operations: written by scripts/reference_table.py -->\n"
END = "<!-- end of operations -->\n"


def updated(text: str) -> str:
    """The README with the table as it should be."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{README} lacks {BEGIN.strip()} or {END.strip()}")
    return f"{before}{BEGIN}\n{catalog.reference_table()}\n{END}{after}"


def main() -> None:
    """Writes, or compares."""
    text = README.read_text(encoding="utf-8")
    new = updated(text)
    if sys.argv[1:] == ["--check"]:
        sys.exit(text != new and "the README's table is out of date: run this without --check")
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()

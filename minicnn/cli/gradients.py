"""`minicnn gradcheck`: operations of the catalog, checked and tabulated."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from math import isnan
from typing import Any

from .. import catalog


def chosen(names: Sequence[str]) -> list[catalog.Op]:
    """The operations of these names; all that have a gradient, if there are none.

    A family's name (conv, pool, ...) stands for all that have a gradient in it; a name that is an
    operation's too (dropout) for that operation alone. Raises ValueError for a name that is
    neither.
    """
    ops = catalog.ops()
    if not names:
        return [op for op in ops.values() if op.gradient]
    families: dict[str, list[catalog.Op]] = {}
    for op in ops.values():
        if op.gradient:
            families.setdefault(op.family, []).append(op)
    found: dict[str, catalog.Op] = {}
    for name in names:
        if name not in ops and name not in families:
            near = difflib.get_close_matches(name, [*ops, *families], 3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise ValueError(
                f"gradcheck: there is no operation {name!r}{hint} "
                f"Families: {', '.join(families)}; without a name, all are checked"
            )
        found |= {op.name: op for op in ([ops[name]] if name in ops else families[name])}
    return list(found.values())


def check_all(
    ops: Sequence[catalog.Op], configurations: int, second: bool, console: Any
) -> list[catalog.Row]:
    """Checks one operation after the other, with a bar where there is a terminal."""
    from rich.progress import Progress

    rows = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(ops))
        for op in ops:
            progress.update(task, description=op.name)
            rows.append(catalog.check(op, configurations, second))
            progress.advance(task)
    return rows


def table(rows: Sequence[catalog.Row]) -> Any:
    """The rows as a Rich table: op, configurations, worst error, verdict."""
    from rich.table import Table

    out = Table(box=None, pad_edge=False)
    out.add_column("op", overflow="fold")  # a narrow terminal breaks names, it cuts none
    out.add_column("configurations", justify="right", overflow="fold")
    out.add_column("worst error", justify="right", overflow="fold")
    out.add_column("verdict", overflow="fold")
    for row in rows:
        out.add_row(
            row.name,
            str(row.configurations or "-"),
            "-" if isnan(row.error) else f"{row.error:.1e}",
            row.verdict,
            style=None if row.right else "bold red",
        )
    return out

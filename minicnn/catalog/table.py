"""The reference table of the README: `python -m minicnn.catalog` prints it."""

from __future__ import annotations

from .case import Op, ops
from .facts import facts

_HEADER = """| operation | backends | second derivatives | derived in |
|---|---|---|---|
"""


def reference_table() -> str:
    """Every op with its backends, its second derivatives and where it is derived, as Markdown."""
    return _HEADER + "".join([_row(op) for op in ops().values()])


def _row(op: Op) -> str:
    known = facts(op)
    backends = ", ".join(known.backends) or "any"
    second = "no gradient" if not known.gradient else "yes" if known.second else "no"
    file = f"{op.module.__name__.replace('.', '/')}.py"
    where = f"[`{file.removeprefix('minicnn/')}`]({file})"
    if op.section:
        where += f", {op.section}"
    return f"| `{op.name}` | {backends} | {second} | {where} |\n"

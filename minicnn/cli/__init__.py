"""The command `minicnn`: `main` is its entry point."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Runs the command with the arguments of the process."""
    for stream in (sys.stdout, sys.stderr):  # None where the process has none
        # A Windows code page lacks the lines of a tree: `minicnn summary lenet > layers.txt`.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "click"):
            raise
        sys.exit(f"minicnn: the command line needs Typer: pip install typer ({error})")
    except KeyboardInterrupt:
        sys.exit(130)
    app(prog_name="minicnn")


__all__ = ["main"]

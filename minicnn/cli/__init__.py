"""The command `minicnn`: `main` is its entry point."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command with the arguments of the process."""
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "click"):
            raise
        sys.exit(f"minicnn: the command line needs Typer: pip install typer ({error})")
    app(prog_name="minicnn")


__all__ = ["main"]

"""The command `minicnn`, called from a test: `call("evaluate", folder)`. Skips without Typer."""

from __future__ import annotations

import os
from typing import Any

import pytest

typer_testing = pytest.importorskip("typer.testing")
from minicnn.cli.app import app  # noqa: E402


def call(*arguments: Any, code: int = 0, traceback: bool = False) -> str:
    """The command's output; the exit code must be `code`, and no traceback may show unasked."""
    # Wide, so that no line is wrapped where a test looks for words.
    wide = {"COLUMNS": os.environ.get("COLUMNS", "200")}
    result = typer_testing.CliRunner().invoke(app, [str(a) for a in arguments], env=wide)
    assert result.exit_code == code, (result.output, result.exception)
    assert traceback or "Traceback" not in result.output
    return result.output

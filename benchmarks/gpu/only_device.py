"""A plugin for pytest: of all tests those of one device, whose results it writes to a file.

The environment names both: MINICNN_ONLY_DEVICE is a parameter of the tests to run, MINICNN_TOLD
the file. With MINICNN_SHARE=1/4 every fourth of them runs, from number 1 on. A file of tests that
imports a package which is not installed is left out, a test that comes to need one is skipped; both
are told.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

LINES = 8


def missing_imports(path: Path) -> list[str]:
    """The packages that a file imports at its top and that are not installed."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return sorted(name for name in names if find_spec(name) is None)


def is_for(name: str, word: str) -> bool:
    """True for test[float32-cuda] and the word "cuda", not for test_cuda[backend/cuda/pool.py]."""
    _, _, parameters = name.partition("[")
    return re.search(rf"(?<![\w./]){re.escape(word)}(?![\w./])", parameters) is not None


class Told:
    """Counts results, and keeps the end of each failure."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: dict[str, str] = {}
        self.skips: Counter[str] = Counter()
        self.left_out: dict[str, str] = {}
        self.warnings = self.seconds = 0.0

    def write(self) -> None:
        """Everything so far, so that a run that is stopped has told something."""
        told = {
            "passed": self.counts["passed"],
            "failed": len(self.failures),
            "skipped": sum(self.skips.values()),
            "deselected": self.counts["deselected"],
            "warnings": int(self.warnings),
            "seconds": self.seconds,
            "why_skipped": dict(self.skips),
            "left_out": self.left_out,
            "failures": self.failures,
        }
        Path(os.environ["MINICNN_TOLD"]).write_text(json.dumps(told), encoding="utf-8")

    def pytest_ignore_collect(self, collection_path):
        if collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
            return None
        missing = missing_imports(collection_path)
        if missing:
            self.left_out[collection_path.name] = f"needs {', '.join(missing)}"
        return True if missing else None

    def pytest_collection_modifyitems(self, config, items):
        word = os.environ["MINICNN_ONLY_DEVICE"]
        chosen = [item for item in items if is_for(item.name, word)]
        others = [item for item in items if not is_for(item.name, word)]
        self.counts["deselected"] = len(others)
        config.hook.pytest_deselected(items=others)
        number, shares = map(int, os.environ.get("MINICNN_SHARE", "0/1").split("/"))
        items[:] = chosen[number::shares]
        self.write()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self):
        try:
            return (yield)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if not package or find_spec(package) is not None:
                raise
            pytest.skip(f"needs {package}")

    def pytest_warning_recorded(self):
        self.warnings += 1

    def pytest_collectreport(self, report):
        if report.failed:
            self._failed(report)

    def pytest_runtest_logreport(self, report):
        self.seconds += report.duration
        if report.failed:
            self._failed(report)
        elif report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else "xfail"
            self.skips[str(why)] += 1
        elif report.when == "call":
            self.counts["passed"] += 1
        if report.failed or report.when == "teardown":
            self.write()

    def _failed(self, report):
        name = report.nodeid if report.when == "call" else f"{report.nodeid} ({report.when})"
        self.failures[name] = "\n".join(str(report.longrepr).rstrip().splitlines()[-LINES:])
        self.write()


def pytest_configure(config: pytest.Config) -> None:
    """Joins the run."""
    config.pluginmanager.register(Told())

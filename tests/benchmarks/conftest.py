"""The benchmarks are no part of the package: tests find them beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root():
    """The checkout."""
    return ROOT


if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

"""What the tests of networks share. The helpers beside them are imported by their names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from minicnn import nn

HERE = str(Path(__file__).parent)

if HERE not in sys.path:
    sys.path.insert(0, HERE)


@pytest.fixture
def unfilled(monkeypatch):
    """Initial values of millions of weights take seconds; most tests look at none of them."""
    for kind in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_", "trunc_normal_"):
        monkeypatch.setattr(nn.init, kind, lambda x, *args, **kwargs: x)
    for kind in ("constant_", "zeros_", "ones_"):
        monkeypatch.setattr(nn.init, kind, lambda x, *args, **kwargs: x)

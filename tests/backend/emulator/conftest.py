"""The emulator's own tests build kernels as users do."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _as_users_build(monkeypatch):
    monkeypatch.delenv("MINICNN_EMULATOR_OPTIMIZE", raising=False)

"""Softmax kernels with a block for each line."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend.cuda import softmax


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_block_for_each_line(both, normal, name, dtype, monkeypatch):
    monkeypatch.setattr(softmax, "_LONG", 100)
    [y] = both.close(f"{name}_forward", normal((3, 300), dtype), 1)
    both.close(f"{name}_backward", normal((3, 300), dtype), y, 1, ulps=64)

"""torchvision, where it is installed, as an oracle.

Its wheel is built against PyTorch with CUDA. Beside a PyTorch for CPUs alone its compiled
operations cannot be loaded, and importing it fails over two of them, which no network uses.
Declaring their signatures first is enough.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest

_OPS = ("nms", "qnms")
_declared: list[Any] = []  # a Library takes its declarations back when it goes


def torchvision() -> Any:
    """The module; skips the test where PyTorch or torchvision is missing."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not _declared:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for op in _OPS:
            if not hasattr(torch.ops.torchvision, op):
                library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torchvision", reason="torchvision is not installed")

"""torchvision, where it is installed, as an oracle.

Its wheel is built against PyTorch with CUDA. Beside a PyTorch for CPUs alone its compiled
operations cannot be loaded, and importing it fails over two of them, which no network uses. It is
then imported again after their signatures have been declared.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import pytest

_OPS = ("nms", "qnms")
_declared: list[Any] = []  # it takes its declarations back when it goes


def torchvision() -> Any:
    """The module; skips the test where PyTorch or torchvision is missing."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _import()
        except RuntimeError as error:
            if "does not exist" not in str(error):
                raise
        _declare()
        return _import()


def _import() -> Any:
    return pytest.importorskip("torchvision", reason="torchvision is not installed")


def _declare() -> None:
    from torch.library import Library

    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the failed import has left
    library = Library("torchvision", "FRAGMENT")
    for op in _OPS:
        library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)

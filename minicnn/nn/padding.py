"""Layers that pad x (N, C, H, W): padding is a number, or (left, right, top, bottom)."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from .conv import ntuple
from .module import Module


class _Pad2d(Module):
    mode = "constant"

    def __init__(self, padding: Any):
        super().__init__()
        self.padding = ntuple(padding, 4)
        if len(self.padding) != 4:
            raise ValueError(
                f"{type(self).__name__}: padding expects a number or 4 of them, got {padding!r}"
            )

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, mode=self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad2d(_Pad2d):
    """Pads with one value."""

    def __init__(self, padding: Any, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, mode="constant", value=self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPad2d(ConstantPad2d):
    """Pads with zeros."""

    def __init__(self, padding: Any):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ReflectionPad2d(_Pad2d):
    """Pads with the mirror image; the border itself is not repeated."""

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """Pads with copies of the border."""

    mode = "replicate"


class CircularPad2d(_Pad2d):
    """Pads with the opposite side."""

    mode = "circular"

"""Layers that pad x (N, C, *size) or (C, *size), with 1, 2 or 3 dimensions of size.

padding is a number, or (left, right), (left, right, top, bottom), (..., front, back): the last
dimension first.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from .conv import ntuple
from .module import Module


class _Pad(Module):
    """What the layers share: `dims` counts the dimensions of size, `mode` is that of pad."""

    dims = 0
    mode = ""

    def __init__(self, padding: Any):
        super().__init__()
        self.padding = ntuple(padding, 2 * self.dims)
        if len(self.padding) != 2 * self.dims:
            raise ValueError(
                f"{type(self).__name__}: padding expects a number or {2 * self.dims} of them, got "
                f"{padding!r}"
            )

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, mode=self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Any, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, mode="constant", value=self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """x (N, C, L) with `value` around it."""

    dims = 1


class ConstantPad2d(_ConstantPad):
    """x (N, C, H, W) with `value` around it."""

    dims = 2


class ConstantPad3d(_ConstantPad):
    """x (N, C, D, H, W) with `value` around it."""

    dims = 3


class ZeroPad1d(ConstantPad1d):
    """x (N, C, L) with zeros around it."""

    def __init__(self, padding: Any):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """x (N, C, H, W) with zeros around it."""

    def __init__(self, padding: Any):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """x (N, C, D, H, W) with zeros around it."""

    def __init__(self, padding: Any):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ReflectionPad(_Pad):
    mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """x (N, C, L) with its mirror image around it; the edge is not repeated."""

    dims = 1


class ReflectionPad2d(_ReflectionPad):
    """x (N, C, H, W) with its mirror image around it; the edge is not repeated."""

    dims = 2


class ReflectionPad3d(_ReflectionPad):
    """x (N, C, D, H, W) with its mirror image around it; the edge is not repeated."""

    dims = 3


class _ReplicationPad(_Pad):
    mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """x (N, C, L) with copies of its edge around it."""

    dims = 1


class ReplicationPad2d(_ReplicationPad):
    """x (N, C, H, W) with copies of its edge around it."""

    dims = 2


class ReplicationPad3d(_ReplicationPad):
    """x (N, C, D, H, W) with copies of its edge around it."""

    dims = 3


class _CircularPad(_Pad):
    mode = "circular"


class CircularPad1d(_CircularPad):
    """x (N, C, L) with its opposite side around it."""

    dims = 1


class CircularPad2d(_CircularPad):
    """x (N, C, H, W) with its opposite side around it."""

    dims = 2


class CircularPad3d(_CircularPad):
    """x (N, C, D, H, W) with its opposite side around it."""

    dims = 3

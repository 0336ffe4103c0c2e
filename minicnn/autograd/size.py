"""Shapes by their name."""

from __future__ import annotations

from math import prod


class Size(tuple):
    """The sizes of a tensor's dimensions: a tuple, by the name that PyTorch has for it.

    It tells a shape from data: `Tensor(x.size())` has x's shape, `Tensor((2, 3))` holds 2 and 3.
    """

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        return prod(self)

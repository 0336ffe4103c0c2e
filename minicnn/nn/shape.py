"""Layers that change the shape alone."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from .module import Module


class Flatten(Module):
    """The dimensions from start_dim to end_dim become one: (N, C, H, W) gives (N, C*H*W)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Any:
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Dimension `dim` becomes several of the given sizes, one of which may be -1."""

    def __init__(self, dim: int, unflattened_size: Any):
        super().__init__()
        if isinstance(dim, bool) or not isinstance(dim, int):
            raise TypeError(f"Unflatten: dim expects an integer, got {dim!r}")
        sizes = tuple(unflattened_size) if hasattr(unflattened_size, "__iter__") else None
        if sizes is None or not all(isinstance(size, int) for size in sizes):
            raise TypeError(
                f"Unflatten: unflattened_size expects integers, got {unflattened_size!r}"
            )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Any) -> Any:
        return F.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"

"""What several ops ask of their inputs before they compute anything."""

from __future__ import annotations

from typing import Any

from .shape import reshape


def check_floating(function: str, name: str, value: Any) -> None:
    """TypeError unless `value` is a Tensor or an array of a floating (or complex) type."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        got = type(value).__name__
        raise TypeError(f"{function}: {name} expects a Tensor or an array, got {got}")
    if dtype.kind not in "fc":
        raise TypeError(f"{function}: {name} expects a floating type, got {dtype}")


def with_batch(x: Any, dims: int) -> Any:
    """x (N, C, *size) itself; x (C, *size) as a batch of one. `dims` counts the spatial axes."""
    return reshape(x, (1, *x.shape)) if x.ndim == dims + 1 else x


def without_batch(y: Any) -> Any:
    """The only image of a batch of one."""
    return reshape(y, y.shape[1:])

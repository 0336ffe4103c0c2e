"""ReLU: the library's own element-wise functions."""

from __future__ import annotations

from typing import Any

from ..arrays import array_module


def relu_forward(x: Any, over: bool = False) -> Any:
    """y = max(x, 0); NaN stays. y like x: a new array, or x itself, written over, if `over`."""
    y = array_module(x).maximum(x, 0)
    if not over:
        return y
    x[...] = y
    return x


def relu_backward(grad_y: Any, y: Any) -> Any:
    """grad_x = grad_y where y != 0, else 0."""
    return grad_y * (y != 0)

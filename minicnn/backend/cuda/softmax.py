"""Softmax and its logarithm: kernels/softmax.cu.

The sums run along one axis of arrays of any shape; results are like the first argument.
"""

from __future__ import annotations

from math import prod
from typing import Any

from .launcher import device_of, launch, prepared, scalar

BLOCK = 256  # THREADS in the kernels' file
_LONG = 2048  # entries of a contiguous line from which a whole block works on it


def softmax_forward(x: Any, axis: int) -> Any:
    """y[a] = exp(x[a] - m) / sum over b of exp(x[b] - m), with m = max x."""
    return _launch("softmax_forward", "y", axis, x=x)


def softmax_backward(grad_y: Any, y: Any, axis: int) -> Any:
    """grad_x[a] = y[a] * (grad_y[a] - sum over b of grad_y[b] * y[b])."""
    return _launch("softmax_backward", "grad_x", axis, y=y, grad_y=grad_y)


def log_softmax_forward(x: Any, axis: int) -> Any:
    """y[a] = (x[a] - m) - log(sum over b of exp(x[b] - m)), with m = max x."""
    return _launch("log_softmax_forward", "y", axis, x=x)


def log_softmax_backward(grad_y: Any, y: Any, axis: int) -> Any:
    """grad_x[a] = grad_y[a] - exp(y[a]) * sum over b of grad_y[b]."""
    return _launch("log_softmax_backward", "grad_x", axis, y=y, grad_y=grad_y)


def _launch(kernel: str, out: str, axis: int, **arrays: Any) -> Any:
    """The kernel's result, in shape and dtype like the first of the arrays."""
    first = next(iter(arrays.values()))
    device, dtype, shape = device_of(first), first.dtype, tuple(first.shape)
    wanted = {name: (array, shape) for name, array in arrays.items()}
    values = dict(zip(arrays, prepared(kernel, **wanted), strict=True))
    values[out] = device.empty(shape, values[next(iter(arrays))].dtype)
    lines, length, inner, per_line = lines_along(shape, axis)
    if lines * length > 0:
        launch(
            device,
            "softmax.cu",
            kernel,
            {**scalar(values[out].dtype), "PER_LINE": per_line},
            grid=(-(-lines * per_line // BLOCK),),
            lines=lines,
            length=length,
            inner=inner,
            **values,
        )
    return values[out].astype(dtype, copy=False)


def lines_along(shape: tuple[int, ...], axis: int) -> tuple[int, int, int, int]:
    """How many lines there are, their length, the step in them, and how many threads share one."""
    axis %= max(len(shape), 1)
    length = shape[axis] if shape else 1
    lines, inner = prod(shape) // max(length, 1), prod(shape[axis + 1 :])
    return lines, length, inner, 1 if inner > 1 or length < 4 else 32 if length < _LONG else BLOCK

"""Gradients kept within bounds before an optimizer's step.

Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013,
algorithm 1: if the norm of all gradients together exceeds max_norm, they are scaled down to it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...autograd import Tensor
from ...backend import arrays as backend


def _gradients(parameters: Any) -> list[Tensor]:
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in parameters if p.grad is not None]


def _norm(array: Any, p: float) -> Any:
    """The p-norm of all elements, as a number of the array's own library."""
    if array.size == 0:
        return array.dtype.type(0)
    if array.dtype.itemsize < 4:  # the squares of float16 overflow beyond 255
        array = array.astype("float32")
    if p == 2:
        flat = array.ravel(order="K")
        return (flat @ flat) ** 0.5
    if p == math.inf:
        return abs(array).max()
    if p == -math.inf:
        return abs(array).min()
    if p == 0:
        return (array != 0).sum().astype(array.dtype)
    return (abs(array) ** p).sum() ** (1 / p)


def get_total_norm(
    tensors: Any,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors together, as if they were one vector; 0 for none.

    norm_type: 1, 2, inf, ... RuntimeError if it is not finite and error_if_nonfinite says so.
    `foreach` is accepted and has no effect.
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return Tensor._wrap(np.zeros((), np.float32))
    xp: Any = backend.array_module(tensors[0].array)
    total = _norm(xp.stack([xp.asarray(_norm(t.array, norm_type)) for t in tensors]), norm_type)
    if error_if_nonfinite and not bool(xp.isfinite(total)):
        raise RuntimeError(
            f"get_total_norm: the norm of order {norm_type} of the gradients is {float(total)}; "
            "with error_if_nonfinite=False they would be scaled by it all the same"
        )
    return Tensor._wrap(xp.asarray(total))


def clip_grads_with_norm_(
    parameters: Any, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Multiplies the gradients of the parameters by max_norm / total_norm where that is below 1."""
    # 1e-6 as in PyTorch: no division by zero, and results a little below max_norm.
    coefficient = float(max_norm) / (total_norm.array + total_norm.dtype.type(1e-6))
    coefficient = coefficient.clip(max=1)
    for grad in _gradients(parameters):
        grad.array *= coefficient.astype(grad.dtype)
        _changed(grad, "clip_grad_norm_")


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales all gradients by one factor so that their norm together is at most max_norm.

    Returns the norm before. Parameters without a gradient count for nothing. RuntimeError if the
    norm is not finite and error_if_nonfinite says so; the gradients are then unchanged.
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Clamps every element of every gradient to [-clip_value, clip_value]."""
    limit = float(clip_value)
    for grad in _gradients(parameters):
        np.clip(grad.array, -limit, limit, out=grad.array)
        _changed(grad, "clip_grad_value_")


def _changed(grad: Tensor, name: str) -> None:
    grad._version[0] += 1
    grad._version[1] = name

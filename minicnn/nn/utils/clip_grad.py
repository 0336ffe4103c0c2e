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
from ...backend.cpu.matmul import inner
from ...backend.cuda import optim as kernels


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
        if type(array) is np.ndarray:
            flat = array.ravel(order="K")
            return inner(flat, flat) ** 0.5
        flat = array.reshape(-1)
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
    arrays, norm_type = [t.array for t in tensors], float(norm_type)
    if norm_type == 2 and kernels.fits(arrays):
        total = kernels.MultiTensor(arrays).clip_coefficient(arrays, 1.0)[0].reshape(())
    else:
        total = _total_norm(arrays, norm_type)
    if error_if_nonfinite:
        _check_finite(total, norm_type)
    return Tensor._wrap(total)


def _total_norm(arrays: list[Any], p: float) -> Any:
    """The norm of all arrays together, on the device of the first."""
    if not arrays:
        return np.zeros((), np.float32)
    xp: Any = backend.array_module(arrays[0])
    parts = []
    for array in arrays:
        with backend.on_device_of(array):
            part = _norm(array, p)
        parts.append(backend.like(arrays[0], part))
    with backend.on_device_of(arrays[0]):
        return xp.asarray(_norm(xp.stack(parts), p))


def _check_finite(total: Any, p: float) -> None:
    """RuntimeError for NaN or infinity. On a GPU this waits until the norm is known."""
    if not math.isfinite(total):
        raise RuntimeError(
            f"get_total_norm: the norm of order {p} of the gradients is {float(total)}; "
            "with error_if_nonfinite=False they would be scaled by it all the same"
        )


def clip_grads_with_norm_(
    parameters: Any, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Multiplies the gradients of the parameters by max_norm / total_norm where that is below 1."""
    _scale(_gradients(parameters), _coefficient(total_norm, float(max_norm)))


def _coefficient(total: Tensor, max_norm: float) -> Any:
    # 1e-6 as in PyTorch: no division by zero, and results a little below max_norm.
    with backend.on_device_of(total.array):
        return (max_norm / (total.array + total.dtype.type(1e-6))).clip(max=1)


def _scale(grads: list[Tensor], coefficient: Any) -> None:
    for grad in grads:
        factor = backend.like(grad.array, coefficient)
        with backend.on_device_of(grad.array):
            grad.array *= factor.astype(grad.dtype)
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
    norm is not finite and error_if_nonfinite says so; the gradients are then unchanged. On a GPU
    nothing waits for the norm unless error_if_nonfinite asks what it is.
    """
    grads = _gradients(parameters)
    arrays = [grad.array for grad in grads]
    if norm_type == 2 and kernels.fits(arrays):
        tables = kernels.MultiTensor(arrays)
        norm, clip = tables.clip_coefficient(arrays, float(max_norm))
        if error_if_nonfinite:
            _check_finite(norm.reshape(()), norm_type)
        tables.scale(clip)
        for grad in grads:
            _changed(grad, "clip_grad_norm_")
        return Tensor._wrap(norm.reshape(()))
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    _scale(grads, _coefficient(total, float(max_norm)))
    return total


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Clamps every element of every gradient to [-clip_value, clip_value]."""
    limit = float(clip_value)
    for grad in _gradients(parameters):
        with backend.on_device_of(grad.array):
            np.clip(grad.array, -limit, limit, out=grad.array)
        _changed(grad, "clip_grad_value_")


def _changed(grad: Tensor, name: str) -> None:
    grad._version[0] += 1
    grad._version[1] = name

"""What several ops ask of their inputs before they compute anything."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from ..autograd import dtypes
from ..autograd.device import check_one_device
from ..backend.geometry import AXES
from .arithmetic import cast
from .shape import check_tensors, reshape


def check_array(function: str, name: str, value: Any) -> None:
    """TypeError unless `value` is a Tensor or an array."""
    if not hasattr(value, "dtype"):
        got = type(value).__name__
        raise TypeError(f"{function}: {name} expects a Tensor or an array, got {got}")


def check_floating(function: str, name: str, value: Any) -> None:
    """TypeError unless `value` is a Tensor or an array of a floating (or complex) type."""
    check_array(function, name, value)
    if value.dtype.kind not in "fc":
        raise TypeError(f"{function}: {name} expects a floating type, got {value.dtype}")


def of_one_floating_type(function: str, *tensors: Any) -> list[Any]:
    """The tensors in the type in which they meet.

    TypeError if that is not floating, RuntimeError if their shapes do not broadcast.
    """
    check_tensors(function, *tensors)
    dtype = dtypes.result_type(*tensors)
    if dtype.kind != "f":
        raise TypeError(f"{function}: one of the inputs expects a floating type, got {dtype}")
    try:
        np.broadcast_shapes(*[t.shape for t in tensors])
    except ValueError:
        shapes = " and ".join([str(tuple(t.shape)) for t in tensors])
        raise RuntimeError(f"{function}: shapes {shapes} do not broadcast") from None
    return [cast(t, dtype) for t in tensors]


def check_per_channel(function: str, x: Any, named: dict[str, Any]) -> None:
    """ValueError or TypeError unless each value is None or (C,) of the type of x (N, C, ...).

    With a float16 x they may have another type. RuntimeError for running statistics that require
    a gradient, and for values on another device than x.
    """
    C, shape = x.shape[1], tuple(x.shape)
    for name, t in named.items():
        if t is None:
            continue
        check_floating(function, name, t)
        if tuple(t.shape) != (C,):
            raise ValueError(
                f"{function}: {name} expects shape ({C},), one for each channel of x "
                f"{shape}, got {tuple(t.shape)}"
            )
        check_type_of_x(function, name, t, x)
        if name.startswith("running") and getattr(t, "requires_grad", False):
            raise RuntimeError(f"{function}: {name} is a statistic and cannot require a gradient")
    check_one_device(function, x, *named.values())


def check_type_of_x(function: str, name: str, t: Any, x: Any) -> None:
    """TypeError unless t has x's type; a float16 x may meet parameters of another."""
    if t.dtype != x.dtype and x.dtype != "float16":
        raise TypeError(f"{function}: {name} expects x's type {x.dtype}, got {t.dtype}")


def check_trailing(function: str, x: Any, normalized_shape: Any, named: dict[str, Any]) -> Any:
    """`normalized_shape` as a tuple, if x ends in it and each value is None or of that shape.

    Raises ValueError where not, TypeError for a normalized_shape that holds no integers and for
    values that have not the type of x, RuntimeError for values on another device than x.
    """
    check_floating(function, "x", x)
    try:
        trailing = tuple(index(n) for n in normalized_shape)
    except TypeError:
        raise TypeError(
            f"{function}: normalized_shape expects a tuple of integers, got {normalized_shape!r}"
        ) from None
    shape = tuple(x.shape)
    if not trailing:
        raise ValueError(f"{function}: normalized_shape expects at least one axis, got ()")
    if shape[-len(trailing) :] != trailing:
        raise ValueError(
            f"{function}: normalized_shape expects the last axes of x {shape}, got {trailing}"
        )
    for name, t in named.items():
        if t is None:
            continue
        check_floating(function, name, t)
        if tuple(t.shape) != trailing:
            raise ValueError(
                f"{function}: {name} expects normalized_shape {trailing}, got {tuple(t.shape)}"
            )
        check_type_of_x(function, name, t, x)
    check_one_device(function, x, *named.values())
    return trailing


def with_batch(function: str, x: Any, dims: int) -> Any:
    """x (N, C, *size) itself; x (C, *size) as a batch of one. `dims` counts the spatial axes.

    ValueError for another number of axes.
    """
    if x.ndim == dims + 2:
        return x
    if x.ndim == dims + 1:
        return reshape(x, (1, *x.shape))
    single = ", ".join(("C", *AXES.get(dims, ("...",))))
    raise ValueError(
        f"{function}: x expects {dims + 2} axes (N, {single}) or {dims + 1} ({single}), "
        f"got {x.ndim}: x {tuple(x.shape)}"
    )


def without_batch(y: Any) -> Any:
    """The only image of a batch of one."""
    return reshape(y, y.shape[1:])

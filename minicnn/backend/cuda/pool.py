"""Pooling and unpooling: kernels/pool.cu."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..geometry import AdaptiveGeometry, Ints, PoolGeometry
from .launcher import (
    Constants,
    adaptive_windows,
    device_of,
    integers,
    launch,
    prepared,
    scalar,
    windows,
)

_FILE = "pool.cu"


def _x_shape(x: Any, geometry: PoolGeometry) -> Ints:
    return (*x.shape[:2], *geometry.size)


def _y_shape(x: Any, geometry: PoolGeometry) -> Ints:
    return (*x.shape[:2], *geometry.out_size)


# Max pooling


def max_pool_forward(x: Any, geometry: PoolGeometry, positions: bool = True) -> tuple[Any, Any]:
    """y[n,c,i,j] = max over p,q of x[n,c,h,k]; indices[n,c,i,j] = h*W + k of the winner.

    x (N,C,H,W); results (N,C,OH,OW), the second int64 in any case. Integers of 64 bits are
    refused, with a TypeError: no kernel compares them.
    """
    y_shape = _y_shape(x, geometry)
    return _max_pool("max_pool_forward", x, _x_shape(x, geometry), y_shape, windows(geometry))


def adaptive_max_pool_forward(x: Any, out_size: Ints) -> tuple[Any, Any]:
    """Max pooling whose window (i, j) covers rows floor(i*H/OH) .. ceil((i+1)*H/OH) - 1.

    Columns likewise. x (N,C,H,W); results (N,C,OH,OW), the second int64.
    """
    where = adaptive_windows(tuple(x.shape[2:]), tuple(out_size))
    y_shape = (*x.shape[:2], *out_size)
    return _max_pool("adaptive_max_pool_forward", x, x.shape, y_shape, where)


def _max_pool(
    function: str, x: Any, x_shape: Ints, y_shape: Ints, where: Constants
) -> tuple[Any, Any]:
    device, dtype = device_of(x), x.dtype
    if dtype.kind in "iu" and dtype.itemsize <= 4:
        x = x.astype(np.float64)  # which holds them exactly
    [x] = prepared(function, x=(x, x_shape))
    y = device.empty(y_shape, x.dtype)
    indices = device.empty(y_shape, np.int64)
    constants = {**scalar(x.dtype), **where}
    launch(
        device,
        _FILE,
        "max_pool_forward",
        constants,
        threads=y.size,
        x=x,
        y=y,
        indices=indices,
        count=y.size,
    )
    return y.astype(dtype, copy=False), indices


def max_pool_backward(
    grad_y: Any,
    indices: Any,
    x_shape: Ints,
    geometry: PoolGeometry | AdaptiveGeometry | None = None,
) -> Any:
    """grad_x[n,c,h,k] = sum of grad_y[n,c,i,j] over the (i,j) with indices[n,c,i,j] = h*W + k.

    grad_y and indices (N,C,OH,OW); result (N,C,H,W). With the geometry that the indices come from,
    each pixel looks into the few windows over it; without, a thread walks each plane.
    """
    function = "max_pool_backward"
    device, dtype = device_of(grad_y), grad_y.dtype
    [grad_y] = prepared(function, grad_y=(grad_y, None))
    indices = integers(function, "indices", _positions(indices, geometry), grad_y.shape)
    grad_x = device.empty(tuple(x_shape), grad_y.dtype)
    arrays = {"grad_y": grad_y, "indices": indices, "grad_x": grad_x}
    if geometry is None:
        _walk(device, "max_pool_scatter", tuple(x_shape), grad_y.shape, **arrays)
        return grad_x.astype(dtype, copy=False)
    if (geometry.size, geometry.out_size) != (grad_x.shape[2:], grad_y.shape[2:]):
        raise ValueError(f"{function}: x {x_shape} and grad_y {grad_y.shape} are not of {geometry}")
    constants = {**scalar(grad_y.dtype), **windows(geometry)}
    count = grad_x.size
    launch(device, _FILE, function, constants, threads=count, count=count, **arrays)
    return grad_x.astype(dtype, copy=False)


def _positions(indices: Any, geometry: PoolGeometry | AdaptiveGeometry | None) -> Any:
    """h*W + k, also where the indices are numbers of taps, as another backend may give them."""
    if indices.dtype != np.uint8:
        return indices
    assert isinstance(geometry, PoolGeometry)
    return geometry.positions(indices, device_of(indices).xp)


def max_pool_gather(
    x: Any, indices: Any, geometry: PoolGeometry | AdaptiveGeometry | None = None
) -> Any:
    """y[n,c,i,j] = x[n,c,h,k] where indices[n,c,i,j] = h*W + k: the adjoint of the backward.

    x (N,C,H,W), indices (N,C,OH,OW); result (N,C,OH,OW).
    """
    indices = _positions(indices, geometry)
    N, C = x.shape[:2]
    planes = x.reshape(N, C, prod(x.shape[2:]))
    places = indices.reshape(N, C, prod(indices.shape[2:]))
    return device_of(x).xp.take_along_axis(planes, places, 2).reshape(indices.shape)


# Unpooling


def max_unpool_forward(x: Any, indices: Any, out_size: Ints) -> Any:
    """y[n,c,h,k] = x[n,c,i,j] for the last (i,j) with indices[n,c,i,j] = h*W + k; 0 if none has.

    x and indices (N,C,OH,OW); result (N,C,H,W) with out_size (H,W).
    """
    device, dtype = device_of(x), x.dtype
    [x] = prepared("max_unpool_forward", x=(x, None))
    indices = integers("max_unpool_forward", "indices", indices, x.shape)
    y = device.empty((*x.shape[:2], *out_size), x.dtype)
    _walk(device, "max_unpool_forward", y.shape, x.shape, x=x, indices=indices, y=y)
    return y.astype(dtype, copy=False)


def max_unpool_backward(grad_y: Any, indices: Any) -> Any:
    """grad_x[n,c,i,j] = grad_y[n,c,h,k] if (i,j) is the last with the number h*W + k, else 0.

    grad_y (N,C,H,W), indices (N,C,OH,OW); result like those.
    """
    function = "max_unpool_backward"
    device, dtype = device_of(grad_y), grad_y.dtype
    [grad_y] = prepared(function, grad_y=(grad_y, None))
    indices = integers(function, "indices", indices, (*grad_y.shape[:2], *indices.shape[2:]))
    grad_x = device.empty(indices.shape, grad_y.dtype)
    arrays = {"grad_y": grad_y, "indices": indices, "grad_x": grad_x}
    arrays["last"] = device.empty(grad_y.shape, np.int32)
    _walk(device, function, grad_y.shape, indices.shape, **arrays)
    return grad_x.astype(dtype, copy=False)


def _walk(device: Any, kernel: str, x_shape: Ints, y_shape: Ints, **arrays: Any) -> None:
    """A kernel with a thread for each plane, which uses no more of the windows than the sizes."""
    dtype = arrays["grad_y" if "grad_y" in arrays else "x"].dtype
    constants = {**scalar(dtype), **adaptive_windows(tuple(x_shape[2:]), tuple(y_shape[2:]))}
    planes = x_shape[0] * x_shape[1]
    launch(device, _FILE, kernel, constants, threads=planes, planes=planes, **arrays)


# Stochastic pooling


def stochastic_pool_forward(x: Any, u: Any, geometry: PoolGeometry) -> tuple[Any, Any]:
    """y[n,c,i,j] = x[n,c,h,k], where the pixel (h,k) of the window is drawn with u[n,c,i,j].

    x (N,C,H,W), not negative; u float64 (N,C,OH,OW); results like u, y of x's type and int64.
    """
    function = "stochastic_pool_forward"
    device, dtype = device_of(x), x.dtype
    [values] = prepared(function, x=(x, _x_shape(x, geometry)))
    [u] = prepared(function, u=(u, _y_shape(x, geometry)))
    indices = device.empty(u.shape, np.int64)
    constants = {**scalar(values.dtype), **windows(geometry)}
    count = indices.size
    arrays = {"x": values, "u": u, "indices": indices}
    launch(device, _FILE, function, constants, threads=count, count=count, **arrays)
    return max_pool_gather(values, indices).astype(dtype, copy=False), indices


# Average pooling


def avg_pool_forward(
    x: Any,
    geometry: PoolGeometry,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """y[n,c,i,j] = (sum over p,q of x[n,c,h,k]) / divisor(i,j). x (N,C,H,W); result (N,C,OH,OW)."""
    where = {**windows(geometry), **_divisor(count_include_pad, divisor_override)}
    shapes = _x_shape(x, geometry), _y_shape(x, geometry)
    return _avg_forward("avg_pool_forward", x, *shapes, where)


def avg_pool_backward(
    grad_y: Any,
    x_shape: Ints,
    geometry: PoolGeometry,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """grad_x[n,c,h,k] = sum of grad_y[n,c,i,j] / divisor(i,j) over the (i,j) that read (h,k).

    grad_y (N,C,OH,OW); result (N,C,H,W).
    """
    where = {**windows(geometry), **_divisor(count_include_pad, divisor_override)}
    y_shape = (*x_shape[:2], *geometry.out_size)
    return _avg_backward("avg_pool_backward", grad_y, y_shape, tuple(x_shape), where)


def adaptive_avg_pool_forward(x: Any, out_size: Ints) -> Any:
    """y[n,c,i,j] = mean of x over rows floor(i*H/OH) .. ceil((i+1)*H/OH) - 1, columns likewise.

    x (N,C,H,W); result (N,C,OH,OW).
    """
    where = adaptive_windows(tuple(x.shape[2:]), tuple(out_size))
    y_shape = (*x.shape[:2], *out_size)
    return _avg_forward("adaptive_avg_pool_forward", x, x.shape, y_shape, where)


def adaptive_avg_pool_backward(grad_y: Any, x_shape: Ints) -> Any:
    """grad_x[n,c,h,k] = sum over the windows (i,j) over (h,k) of grad_y[n,c,i,j] / (window's size).

    grad_y (N,C,OH,OW); result (N,C,H,W).
    """
    where = adaptive_windows(tuple(x_shape[2:]), tuple(grad_y.shape[2:]))
    y_shape = (*x_shape[:2], *grad_y.shape[2:])
    return _avg_backward("adaptive_avg_pool_backward", grad_y, y_shape, tuple(x_shape), where)


def _divisor(count_include_pad: bool, divisor_override: int | None) -> Constants:
    """The constants for what sums are divided by."""
    if divisor_override is not None:
        return {"DIVISOR": int(divisor_override)}
    return {"COUNT_PADDING": int(count_include_pad)}


def _avg_forward(function: str, x: Any, x_shape: Ints, y_shape: Ints, where: Constants) -> Any:
    device, dtype = device_of(x), x.dtype
    [x] = prepared(function, x=(x, x_shape))
    y = device.empty(y_shape, x.dtype)
    constants = {**scalar(x.dtype), **where}
    count = y.size
    launch(device, _FILE, "avg_pool_forward", constants, threads=count, x=x, y=y, count=count)
    return y.astype(dtype, copy=False)


def _avg_backward(
    function: str, grad_y: Any, y_shape: Ints, x_shape: Ints, where: Constants
) -> Any:
    device, dtype = device_of(grad_y), grad_y.dtype
    [grad_y] = prepared(function, grad_y=(grad_y, y_shape))
    grad_x = device.empty(x_shape, grad_y.dtype)
    constants = {**scalar(grad_y.dtype), **where}
    arrays = {"grad_y": grad_y, "grad_x": grad_x}
    count = grad_x.size
    launch(device, _FILE, "avg_pool_backward", constants, threads=count, count=count, **arrays)
    return grad_x.astype(dtype, copy=False)

"""Convolution of images: which algorithm serves, by the sizes, the type and the memory order.

    depthwise     each channel has a kernel of its own: tap by tap
    pointwise     1x1 at stride 1: one product of matrices
    winograd      3x3 and 5x5 at stride 1 with 16 channels or more, in float32: fewer products
    im2col        all others: by `columns`, for a handful of channels by `rows`; at stride 1, and
                  for many channels, grad_x by `turned`

The first two and the last are exact up to rounding and stand in for whatever was named but cannot
serve (see `algorithm`). A backward for x and w together may share work that either needs.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy import ndarray

from ..geometry import ConvGeometry
from . import algorithm, columns, pointwise, rows, threads, turned
from .chunks import channel_totals
from .depthwise import depthwise_forward, depthwise_grad_input, depthwise_grad_weight
from .layout import NHWC
from .precision import working_dtype

_WINOGRAD = {"winograd2": 2, "winograd4": 4}


@cache
def _winograd() -> Any:
    """The module, loaded when it is first asked: its exact fractions take `import` some 5 ms."""
    with threads.loading:
        from . import winograd

        return winograd


def conv_forward(
    x: ndarray, w: ndarray, b: ndarray | None, geometry: ConvGeometry, relu: bool = False
) -> ndarray:
    """y = x * w + b, or max(0, that) with `relu` (see `reference.conv_forward`).

    x (N,C,H,W), w (F,C/G,KH,KW), b (F,) or None; result (N,F,OH,OW) in a memory order of its own.
    """
    dtype = working_dtype(x.dtype, w.dtype)
    name = _algorithm(x, geometry, dtype)
    if geometry.batch == 0:
        y = np.zeros(geometry.y_shape, dtype)
    elif name in _WINOGRAD:
        y = _winograd().forward(x, w, b, geometry, _WINOGRAD[name], relu=relu)
    elif name == "direct":
        y = depthwise_forward(x, w, b, geometry, dtype)
        y = np.maximum(y, 0, out=y) if relu else y
    else:
        module = pointwise if name == "pointwise" else _im2col(geometry, dtype)
        y = module.forward(x, w, b, geometry, dtype, relu)
    return y.astype(np.result_type(x, w), copy=False)


def conv_grad_input(grad_y: ndarray, w: ndarray, geometry: ConvGeometry) -> ndarray:
    """The adjoint of x -> y (see `reference.conv_grad_input`).

    grad_y (N,F,OH,OW), w (F,C/G,KH,KW); result (N,C,H,W) in a memory order of its own.
    """
    dtype = working_dtype(grad_y.dtype, w.dtype)
    name = _algorithm(grad_y, geometry, dtype)
    if geometry.batch == 0:
        grad_x = np.zeros(geometry.x_shape, dtype)
    elif name in _WINOGRAD:
        grad_x = _winograd().grad_input(grad_y, w, geometry, _WINOGRAD[name])
    elif name == "direct":
        grad_x = depthwise_grad_input(grad_y, w, geometry, dtype)
    elif name == "pointwise":
        grad_x = pointwise.grad_input(grad_y, w, geometry, dtype)
    elif rows.gives_gradient(geometry, dtype):
        grad_x = rows.grad_input(grad_y, w, geometry, dtype)
    elif _is_turned(geometry):
        grad_x = turned.grad_input(grad_y, w, geometry, dtype)
    else:
        grad_x = columns.grad_input(grad_y, w, geometry, dtype)
    return grad_x.astype(np.result_type(grad_y, w), copy=False)


def conv_grad_weight(x: ndarray, grad_y: ndarray, geometry: ConvGeometry) -> ndarray:
    """The adjoint of w -> y (see `reference.conv_grad_weight`).

    x (N,C,H,W), grad_y (N,F,OH,OW); result (F,C/G,KH,KW).
    """
    return _grad_weight(x, grad_y, geometry, False)[0]


def conv_backward(
    grad_y: ndarray,
    x: ndarray | None,
    w: ndarray | None,
    geometry: ConvGeometry,
    needs: tuple[bool, bool, bool],
) -> tuple[ndarray | None, ndarray | None, ndarray | None]:
    """(grad_x, grad_w, grad_b), as far as `needs` says (see `reference.conv_backward`)."""
    need_x, need_w, need_b = needs
    grad_x = grad_w = grad_b = None
    if need_x and need_w:
        assert x is not None and w is not None
        name = _algorithm(grad_y, geometry, working_dtype(grad_y.dtype, x.dtype, w.dtype))
        if name in _WINOGRAD and geometry.batch:
            m = _WINOGRAD[name]
            grad_x, grad_w = _winograd().backward(x, w, grad_y, geometry, m, True, True)
    if need_x and grad_x is None:
        assert w is not None
        grad_x = conv_grad_input(grad_y, w, geometry)
    if need_w and grad_w is None:
        assert x is not None
        grad_w, grad_b = _grad_weight(x, grad_y, geometry, need_b)
    if need_b and grad_b is None:
        grad_b = bias_gradient(grad_y, geometry)
    return grad_x, grad_w, grad_b


def _grad_weight(
    x: ndarray, grad_y: ndarray, geometry: ConvGeometry, bias: bool
) -> tuple[ndarray, ndarray | None]:
    """grad_w and, where it costs next to nothing and `bias` asks for it, grad_b."""
    dtype = working_dtype(x.dtype, grad_y.dtype)
    result_type = np.result_type(x, grad_y)
    name = _algorithm(x, geometry, dtype)
    grad_b = None
    if geometry.batch == 0:
        grad_w = np.zeros(geometry.w_shape, dtype)
    elif name in _WINOGRAD:
        grad_w = _winograd().grad_weight(x, grad_y, geometry, _WINOGRAD[name])
    elif name == "direct":
        grad_w = depthwise_grad_weight(x, grad_y, geometry, dtype)
    elif name == "pointwise":
        grad_w = pointwise.grad_weight(x, grad_y, geometry, dtype)
    else:
        module = _im2col(geometry, dtype)
        grad_w, grad_b = module.grad_weight(x, grad_y, geometry, dtype, bias)
    if grad_b is not None:
        grad_b = grad_b.astype(result_type, copy=False)
    return grad_w.astype(result_type, copy=False), grad_b


def _algorithm(x: ndarray, geometry: ConvGeometry, dtype: np.dtype) -> str:
    """The name of what serves; x: that array of the product which columns would be made of."""
    name = _by_geometry(geometry, algorithm.chosen(), dtype == np.float32)
    return "im2col" if name == "pointwise" and not pointwise.serves(x, geometry) else name


@lru_cache(maxsize=4096)
def _by_geometry(geometry: ConvGeometry, chosen: str, single: bool) -> str:
    """The same whatever the memory order; single: in float32."""
    if chosen == "im2col":
        return chosen
    if chosen in ("auto", *_WINOGRAD) and single and _winograd().supports(geometry):
        if chosen in _WINOGRAD:
            return chosen
        if m := _winograd().worthwhile(geometry):
            return f"winograd{m}"
    if geometry.groups == geometry.in_channels > 1:
        return "direct"
    return "pointwise"


def _im2col(geometry: ConvGeometry, dtype: np.dtype) -> Any:
    """The module that serves."""
    return rows if rows.serves(geometry, dtype) else columns


def _is_turned(geometry: ConvGeometry) -> bool:
    """Whether grad_x is cheaper as convolutions of grad_y than by col2im.

    In N,H,W,C order always, unless x has next to no channels: then its runs are too short.
    In C,H,W,N order col2im adds long runs; columns of grad_y have F*KH*KW entries, where it makes
    and adds up C*KH*KW.
    """
    if columns.order_of(geometry) == NHWC:
        return geometry.in_channels // geometry.groups >= 8
    return geometry.stride == (1, 1) and geometry.out_channels <= 2 * geometry.in_channels


def bias_gradient(grad_y: ndarray, geometry: ConvGeometry) -> ndarray:
    """grad_b[f] = sum over n,i,j of grad_y[n,f,i,j], for images."""
    if geometry.batch == 0:
        return np.zeros(geometry.out_channels, grad_y.dtype)
    return channel_totals(grad_y, geometry)

"""Convolution: kernels/im2col.cu."""

from __future__ import annotations

from math import prod
from typing import Any

from ..geometry import ConvGeometry
from .launcher import device_of, launch, prepared, scalar, windows


def im2col(x: Any, geometry: ConvGeometry) -> Any:
    """cols[n, (c,p,q), (i,j)] = x[n,c,h,k], zero in the padding.

    x (N,C,H,W); result (N, C*KH*KW, OH*OW).
    """
    device, dtype = device_of(x), x.dtype
    [x] = prepared("im2col", x=(x, geometry.x_shape))
    N, C = geometry.x_shape[:2]
    cols = device.empty((N, C * prod(geometry.kernel), prod(geometry.out_size)), x.dtype)
    constants = {**scalar(x.dtype), **windows(geometry)}
    count = cols.size
    launch(device, "im2col.cu", "im2col", constants, threads=count, x=x, cols=cols, count=count)
    return cols.astype(dtype, copy=False)


def col2im(cols: Any, geometry: ConvGeometry) -> Any:
    """x[n,c,h,k] = sum of cols[n, (c,p,q), (i,j)] over every (p,q,i,j) that reads (h,k).

    cols (N, C*KH*KW, OH*OW); result (N,C,H,W).
    """
    device, dtype = device_of(cols), cols.dtype
    N, C = geometry.x_shape[:2]
    shape = (N, C * prod(geometry.kernel), prod(geometry.out_size))
    [cols] = prepared("col2im", cols=(cols, shape))
    x = device.empty(geometry.x_shape, cols.dtype)
    constants = {**scalar(x.dtype), **windows(geometry)}
    count = x.size
    launch(device, "im2col.cu", "col2im", constants, threads=count, cols=cols, x=x, count=count)
    return x.astype(dtype, copy=False)

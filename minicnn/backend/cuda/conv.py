"""Convolution: kernels/conv.cu and kernels/depthwise.cu, or gemm.py.

There are two ways to the same sums. `implicit` is the kernels of this folder, which read x where
a product with the columns of im2col would read these. `im2col` writes the columns out and leaves
the product to cuBLAS. By default, `auto` takes

    the product          for windows of one pixel with stride 1 and no padding (1x1 convolutions),
                         where x itself is the columns and nothing has to be written out
    the implicit kernels everywhere else

This rule follows from the memory that it saves; no GPU has measured it yet. To compare:

    with cuda.conv_algorithm("im2col"):
        y = cuda.conv_forward(x, w, b, geometry)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from ..geometry import ConvGeometry
from . import gemm
from .launcher import Constants, device_of, launch, prepared, scalar, windows
from .parts import cut, total

_FILE = "conv.cu"
_DEPTHWISE = "depthwise.cu"

_BLOCKS = 512  # enough for every multiprocessor of a large GPU to have several
_FEW = 128  # fewer would leave some of them without any
_SIDES = (16, 32, 64, 128)  # of a tile; in double precision 64 is the largest
_CHUNK = 1024  # positions, at least, of a part of the weight gradient
_TAPS = 64  # a depthwise weight gradient keeps its sums in registers, up to so many

ALGORITHMS = ("auto", "implicit", "im2col")


class _Choice(threading.local):
    """What `conv_algorithm` chose in this thread."""

    algorithm = "auto"


_choice = _Choice()


@contextmanager
def conv_algorithm(name: str) -> Iterator[None]:
    """In this thread, until the block ends, convolution and its gradients are computed so.

    `name` is 'auto', 'implicit' or 'im2col', as the head of this file says.

    Raises:
        ValueError: another name.
    """
    if name not in ALGORITHMS:
        names = ", ".join(map(repr, ALGORITHMS))
        raise ValueError(f"conv_algorithm: name expects one of {names}, got {name!r}")
    before, _choice.algorithm = _choice.algorithm, name
    try:
        yield
    finally:
        _choice.algorithm = before


def _by_columns(geometry: ConvGeometry) -> bool:
    chosen = _choice.algorithm
    return chosen == "im2col" or (chosen == "auto" and gemm.is_pointwise(geometry))


def _constants(geometry: ConvGeometry, dtype: Any) -> dict[str, int | str]:
    F, C = geometry.w_shape[:2]
    groups: Constants = {"GROUPS": geometry.groups, "GROUP_C": C, "GROUP_F": F // geometry.groups}
    return {**scalar(dtype), **windows(geometry), **groups, "RELU": 0}


def _tiles(rows: int, columns: int, depth: int, dtype: Any) -> dict[str, int | str]:
    """Tiles that `depth` products of so many rows and columns fill, and shared memory holds."""
    sides = _SIDES if dtype.itemsize == 4 else _SIDES[:-1]
    tile_m, tile_n = [
        next((side for side in sides if side >= size), sides[-1]) for size in (rows, columns)
    ]
    if (tile_m, tile_n) == (32, 128):  # the one pair for which ptxas spills, on sm_80
        tile_n = 64
    # Large tiles fetch less, but must not leave multiprocessors idle.
    for side, enough in ((64, _BLOCKS), (32, _FEW)):
        if depth * _blocks(rows, columns, tile_m, tile_n) < enough:
            tile_m, tile_n = min(tile_m, side), min(tile_n, side)
    return {"TILE_M": tile_m, "TILE_N": tile_n}


def _blocks(rows: int, columns: int, tile_m: int, tile_n: int) -> int:
    return -(-rows // tile_m) * -(-columns // tile_n)


def _grid(rows: int, columns: int, tiles: Constants, depth: int) -> tuple[int, int, int]:
    return -(-columns // int(tiles["TILE_N"])), -(-rows // int(tiles["TILE_M"])), depth


def _is_depthwise(geometry: ConvGeometry) -> bool:
    return geometry.w_shape[1] == 1 and geometry.groups > 1


def _depthwise_constants(geometry: ConvGeometry, dtype: Any) -> dict[str, int | str]:
    multiplier = geometry.out_channels // geometry.groups
    return {**scalar(dtype), **windows(geometry), "MULTIPLIER": multiplier, "RELU": 0}


def conv_forward(x: Any, w: Any, b: Any | None, geometry: ConvGeometry, relu: bool = False) -> Any:
    """y[n,f,i,j] = b[f] + sum over c,p,q of w[f,c,p,q] * x[n,c,h,k]; max(0, that) with `relu`.

    x (N,C,H,W), w (F,C/G,KH,KW), b (F,) or None; result (N,F,OH,OW). The kernels add b and cut
    below 0 while the sums are still in registers, so neither costs a pass over y.
    """
    device, dtype = device_of(x), np.result_type(x.dtype, w.dtype)
    F, G = geometry.out_channels, geometry.groups
    shapes = {"x": (x, geometry.x_shape), "w": (w, geometry.w_shape), "bias": (b, (F,))}
    x, w, bias = prepared("conv_forward", **shapes)
    if _by_columns(geometry):
        return gemm.forward(device, x, w, bias, geometry, relu).astype(dtype, copy=False)
    y = device.empty(geometry.y_shape, x.dtype)
    arrays = {"x": x, "w": w, "bias": bias, "y": y}
    if _is_depthwise(geometry):
        constants = {**_depthwise_constants(geometry, x.dtype), "RELU": int(relu)}
        sizes = {"features": F, "count": y.size}
        launch(
            device, _DEPTHWISE, "depthwise_forward", constants, threads=y.size, **arrays, **sizes
        )
        return y.astype(dtype, copy=False)
    rows, columns = F // G, geometry.batch * prod(geometry.out_size)
    tiles = _tiles(rows, columns, G, x.dtype)
    constants = {**_constants(geometry, x.dtype), **tiles, "RELU": int(relu)}
    grid = _grid(rows, columns, tiles, G)
    launch(device, _FILE, "conv_forward", constants, grid=grid, batch=geometry.batch, **arrays)
    return y.astype(dtype, copy=False)


def conv_grad_input(grad_y: Any, w: Any, geometry: ConvGeometry) -> Any:
    """grad_x[n,c,h,k] = sum over f,p,q,i,j that read (h,k) of w[f,c,p,q] * grad_y[n,f,i,j].

    grad_y (N,F,OH,OW), w (F,C/G,KH,KW); result (N,C,H,W).
    """
    device, dtype = device_of(grad_y), np.result_type(grad_y.dtype, w.dtype)
    shapes = {"grad_y": (grad_y, geometry.y_shape), "w": (w, geometry.w_shape)}
    grad_y, w = prepared("conv_grad_input", **shapes)
    if _by_columns(geometry):
        return gemm.grad_input(device, grad_y, w, geometry).astype(dtype, copy=False)
    grad_x = device.empty(geometry.x_shape, grad_y.dtype)
    arrays = {"grad_y": grad_y, "w": w, "grad_x": grad_x}
    if _is_depthwise(geometry):
        constants = _depthwise_constants(geometry, grad_y.dtype)
        sizes = {"features": geometry.out_channels, "count": grad_x.size}
        kernel, count = "depthwise_grad_input", grad_x.size
        launch(device, _DEPTHWISE, kernel, constants, threads=count, **arrays, **sizes)
        return grad_x.astype(dtype, copy=False)
    rows, columns = geometry.w_shape[1], geometry.batch * prod(geometry.size)
    tiles = _tiles(rows, columns, geometry.groups, grad_y.dtype)
    constants = {**_constants(geometry, grad_y.dtype), **tiles}
    grid = _grid(rows, columns, tiles, geometry.groups)
    launch(device, _FILE, "conv_grad_input", constants, grid=grid, batch=geometry.batch, **arrays)
    return grad_x.astype(dtype, copy=False)


def conv_grad_weight(x: Any, grad_y: Any, geometry: ConvGeometry) -> Any:
    """grad_w[f,c,p,q] = sum over n,i,j of x[n,c,h,k] * grad_y[n,f,i,j].

    x (N,C,H,W), grad_y (N,F,OH,OW); result (F,C/G,KH,KW).
    """
    device, dtype = device_of(x), np.result_type(x.dtype, grad_y.dtype)
    shapes = {"x": (x, geometry.x_shape), "grad_y": (grad_y, geometry.y_shape)}
    x, grad_y = prepared("conv_grad_weight", **shapes)
    positions = geometry.batch * prod(geometry.out_size)
    if positions == 0:
        return device.zeros(geometry.w_shape, dtype)
    if _by_columns(geometry):
        return gemm.grad_weight(device, x, grad_y, geometry).astype(dtype, copy=False)
    F, G = geometry.out_channels, geometry.groups
    if _is_depthwise(geometry) and prod(geometry.kernel) <= _TAPS:
        splits, chunk = cut(positions, _CHUNK, _BLOCKS // F)
        parts = device.empty((splits, *geometry.w_shape), x.dtype)
        constants = _depthwise_constants(geometry, x.dtype)
        sizes = {"features": F, "positions": positions, "chunk": chunk}
        file, kernel, grid = _DEPTHWISE, "depthwise_grad_weight", (F, splits, 1)
    else:
        rows, columns = F // G, prod(geometry.w_shape[1:])
        tiles = _tiles(rows, columns, G * -(-positions // _CHUNK), x.dtype)
        blocks = G * prod(_grid(rows, columns, tiles, 1))
        splits, chunk = cut(positions, _CHUNK, _BLOCKS // blocks)
        parts = device.empty((splits, *geometry.w_shape), x.dtype)
        constants = {**_constants(geometry, x.dtype), **tiles}
        sizes = {"batch": geometry.batch, "splits": splits, "chunk": chunk}
        file, kernel, grid = _FILE, "conv_grad_weight", _grid(rows, columns, tiles, G * splits)
    launch(device, file, kernel, constants, grid=grid, x=x, grad_y=grad_y, parts=parts, **sizes)
    return total(device, parts).astype(dtype, copy=False)


def conv_backward(
    grad_y: Any,
    x: Any | None,
    w: Any | None,
    geometry: ConvGeometry,
    needs: tuple[bool, bool, bool],
) -> tuple[Any | None, Any | None, Any | None]:
    """(grad_x, grad_w, grad_b), each None unless `needs` says that it is needed.

    grad_y (N,F,OH,OW); x (N,C,H,W) and w (F,C/G,KH,KW), or None where nothing needs them.
    """
    need_x, need_w, need_b = needs
    grad_b = None
    if need_b:
        wide = np.float32 if grad_y.dtype == np.float16 else grad_y.dtype
        axes = (0, *range(2, grad_y.ndim))
        grad_b = grad_y.sum(axis=axes, dtype=wide).astype(grad_y.dtype, copy=False)
    return (
        conv_grad_input(grad_y, w, geometry) if need_x else None,
        conv_grad_weight(x, grad_y, geometry) if need_w else None,
        grad_b,
    )

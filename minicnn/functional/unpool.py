"""Unpooling: each maximum back to where it stood, among zeros (Zeiler and Fergus 2014).

    x (N, C, OH, OW) input, the result of a max pooling
    b(n,c,i,j) the place (h,k) that it came from, which the pooling returns as h*W + k
    y (N, C, H, W) output

In one dimension or three, read each pair of indices as one or three.


Forward
-------
(1)  y[n,c,h,k] = x[n,c,i,j] for the last (i,j) with b(n,c,i,j) = (h,k), and 0 if there is none

Where the windows of the pooling overlap, one place may be named by several (i,j). What is written
there last, in reading order, stays: not the sum. (In PyTorch, whose threads share the work, any of
them may stay.) After a max pooling they are equal anyway.

The pooling's input may have been of several sizes. Unless told, it is taken to be the smallest,
the one that has no row left over:

(2)  H = (OH - 1)*S + KH - 2*P       W likewise

and output_size may differ from that by less than S:

(3)  (OH - 1)*S + KH - 2*P - S < H < (OH - 1)*S + KH - 2*P + S

It is no inverse of pooling, which has none: what was not a maximum is lost.


Backward
--------
For given places y is linear in x, and x[n,c,i,j] reaches y at b(n,c,i,j) alone, unless a later one
was written over it: then it reaches nothing.

(4)  grad_x[n,c,i,j] = grad_y[n,c, b(n,c,i,j)] if (i,j) is the last of its place, else 0

PyTorch computes the same but for the last clause: there what was written over gets grad_y as well,
as if (1) were a sum. The two agree wherever no place is named twice, as after every pooling whose
windows do not overlap.

(4) is the adjoint of (1), <y, grad_y> = <x, grad_x>, and (1) that of (4): derivatives of any order
alternate between the two. Without the clause that would not be so.


By hand
-------
Max pooling of [[1,2,3],[4,9,6],[7,8,5]] with kernel 2, stride 1 finds 9 four times, in the middle:
b = (1,1), as a number 4. For x = [[1,2],[3,4]] at these places, H = 1*1 + 2 = 3 and

     y = [[0,0,0], [0,4,0], [0,0,0]]          grad_y = [[1,2,3],[4,5,6],[7,8,9]] gives
     grad_x = [[0,0], [0,5]]                  ([[5,5], [5,5]] in PyTorch)
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import backend
from ..autograd.function import Function
from ..backend.geometry import unpool_out_size
from .checks import check_floating, with_batch, without_batch
from .operands import on_its_device, raw

__all__ = ["max_unpool1d", "max_unpool2d", "max_unpool3d"]


class MaxUnpool(Function):
    """y: formula (1).  grad_x: (4)."""

    def forward(self, x: Any, indices: Any, *, out_size: tuple[int, ...]) -> Any:
        self.save(indices)
        return backend.of(x).max_unpool_forward(x, indices, out_size)

    def backward(self, grad_y: Any) -> Any:
        (indices,) = self.saved
        return MaxUnpoolAdjoint.apply(grad_y, indices), None


class MaxUnpoolAdjoint(Function):
    """grad_x of unpooling: formula (4). Its own gradient is (1)."""

    def forward(self, grad_y: Any, indices: Any) -> Any:
        self.out_size = grad_y.shape[2:]
        self.save(indices)
        return backend.of(grad_y).max_unpool_backward(grad_y, indices)

    def backward(self, v: Any) -> Any:
        (indices,) = self.saved
        return MaxUnpool.apply(v, indices, out_size=self.out_size), None


# ---------------------------------------------------------------------- public functions


def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any:
    """`max_unpool2d` of (N, C, OL), or a single sequence (C, OL)."""
    windows = [kernel_size, stride, padding, output_size, "max_unpool1d"]
    return _max_unpool(input, indices, windows, 1)


def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any:
    """Zeros with input[n,c,i,j] at place indices[n,c,i,j] = h*W + k: formula (1).

    Args:
        input: (N, C, OH, OW), or a single image (C, OH, OW). N may be 0.
        indices: int64, of the input's shape, as max_pool2d with return_indices gives them.
        kernel_size, stride, padding: those of the pooling; stride None means kernel_size.
        output_size: (H, W), or (N, C, H, W), of which the first two are not looked at; None for
            formula (2).

    Returns:
        (N, C, H, W) of the input's dtype.

    Raises:
        ValueError: shapes that do not belong together, a size outside (3).
        TypeError: an input that is not floating, indices that are not int64.
        IndexError: an index that is not of the output's plane. Nothing was written then.
    """
    windows = [kernel_size, stride, padding, output_size, "max_unpool2d"]
    return _max_unpool(input, indices, windows, 2)


def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any:
    """`max_unpool2d` of (N, C, OD, OH, OW), or a single volume (C, OD, OH, OW).

    Places are (d*H + h)*W + k.
    """
    windows = [kernel_size, stride, padding, output_size, "max_unpool3d"]
    return _max_unpool(input, indices, windows, 3)


@on_its_device
def _max_unpool(input: Any, indices: Any, windows: list[Any], dims: int) -> Any:
    """`windows` is what `unpool_out_size` asks of the caller, the function's name at its end."""
    function = windows[-1]
    check_floating(function, "x", input)
    if getattr(indices, "dtype", None) != np.int64:
        got = getattr(indices, "dtype", type(indices).__name__)
        raise TypeError(f"{function}: indices expects int64, got {got}")
    if tuple(indices.shape) != tuple(input.shape):
        raise ValueError(
            f"{function}: indices expects the shape of x {tuple(input.shape)}, "
            f"got {tuple(indices.shape)}"
        )
    x, places = with_batch(function, input, dims), with_batch(function, indices, dims)
    out_size = unpool_out_size(x.shape, *windows)
    plane = prod(out_size)
    numbers = raw(places)
    wrong = numbers[(numbers < 0) | (numbers >= plane)]
    if wrong.size:
        raise IndexError(
            f"{function}: indices expects 0 to {plane - 1} in an output of {out_size}, "
            f"got {wrong[0]}; if what was pooled was larger, say so by output_size"
        )
    y = MaxUnpool.apply(x, places, out_size=out_size)
    return y if x is input else without_batch(y)

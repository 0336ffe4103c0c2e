"""Memory orders. A shape is always (N,C,H,W); what varies is which axis lies innermost in memory.

Copying windows into columns is fast when long runs of the input are contiguous in memory and stay
so in the columns:

* N,H,W,C: a window's row is one run of KW*C numbers. Best when there are many channels.
* C,H,W,N: a row of outputs is one run of OW*N numbers, whatever the number of channels.

NumPy's element-wise functions keep the memory order of their input, so the order that a convolution
chooses for its result is the order that the layers after it find.
"""

from __future__ import annotations

import numpy as np

NCHW = (0, 1, 2, 3)
NHWC = (0, 2, 3, 1)
CHWN = (1, 2, 3, 0)

Order = tuple[int, ...]


def order_of(x: np.ndarray) -> Order:
    """The order that x (N, C, *size) lies in, by its innermost axis."""
    strides = [abs(s) if n > 1 else 0 for s, n in zip(x.strides, x.shape, strict=True)]
    itemsize = x.itemsize
    as_it_is = tuple(range(x.ndim))
    if strides[-1] == itemsize:
        return as_it_is
    if strides[1] == itemsize:
        return (0, *as_it_is[2:], 1)
    if strides[0] == itemsize:
        return (*as_it_is[1:], 0)
    return as_it_is


def empty(shape: tuple[int, ...], order: Order, dtype: np.dtype) -> np.ndarray:
    """A new array of shape (N, C, *size), contiguous in `order`."""
    array = np.empty([shape[axis] for axis in order], dtype)
    return array.transpose(inverse(order))


def inverse(order: Order) -> Order:
    """The permutation that undoes `order`."""
    return tuple([order.index(axis) for axis in range(len(order))])

"""Diagonals, triangles, and windows along a dimension: parts of x that no slice is.

All are linear in x, each number of y being one of x or 0; the gradients are the adjoints.

Diagonals
---------

(1)  y[i] = x[i-min(k,0),i+max(k,0)]             grad_x[i-min(k,0),i+max(k,0)] = grad_y[i]

Number k above the main diagonal (below it, if k is negative); grad_x is 0 elsewhere.

Triangles
---------

(2)  y[i,j] = x[i,j] if j - i <= k else 0        grad_x[i,j] = grad_y[i,j] if j - i <= k else 0

That is tril; triu has j - i >= k.

Windows
-------

(3)  y[i,p] = x[i*S+p]                           grad_x[h] = sum over i*S + p = h of grad_y[i,p]

`Tensor.unfold`, p = 0 ... K-1. Windows overlap where S < K: then one x[h] stands in several, and
collects from all of them.

By hand: x = (1, 2, 3) has for K = 2, S = 1 the windows (1, 2) and (2, 3); for grad_y of ones grad_x
is (1, 2, 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function, Tensor
from .operands import on_its_device, raw
from .reduce import sum
from .shape import axis_of

__all__ = ["diag", "diag_embed", "diagflat", "diagonal", "trace", "tril", "triu"]

# ---------------------------------------------------------------------- diagonals


class Diagonal(Function):
    """y[...,i] = x[i-min(k,0),i+max(k,0)] along two axes, a view;  grad_x by OnDiagonal."""

    view = True

    def forward(self, x: Any, *, offset: int, axes: tuple[int, int]) -> Any:
        self.offset, self.axes, self.x_shape = offset, axes, x.shape
        y = np.diagonal(x, offset, *axes)
        return _writeable(y) if type(x) is np.ndarray and x.flags.writeable else y

    def backward(self, grad_y: Any) -> Any:
        return OnDiagonal.apply(grad_y, offset=self.offset, axes=self.axes, shape=self.x_shape)


class OnDiagonal(Function):
    """The adjoint of Diagonal: y is zero but for its diagonal, x;  grad_x = grad_y's diagonal."""

    def forward(self, x: Any, *, offset: int, axes: tuple[int, int], shape: tuple[int, ...]) -> Any:
        self.offset, self.axes = offset, axes
        y = backend.array_module(x).zeros(shape, x.dtype)
        place = np.diagonal(y, offset, *axes)
        _writeable(place)[...] = x
        return y

    def backward(self, grad_y: Any) -> Any:
        return Diagonal.apply(grad_y, offset=self.offset, axes=self.axes)


def _writeable(diagonal: Any) -> Any:
    """NumPy's views of diagonals are read-only for old reasons; those of other devices are not."""
    if type(diagonal) is np.ndarray:
        diagonal.flags.writeable = True
    return diagonal


def _two_axes(function: str, dim1: int, dim2: int, ndim: int) -> tuple[int, int]:
    axes = axis_of(function, dim1, ndim), axis_of(function, dim2, ndim)
    if axes[0] == axes[1] or ndim < 2:
        raise RuntimeError(
            f"{function}: dim1 and dim2 expect two different dimensions of {ndim}, got {dim1} and "
            f"{dim2}"
        )
    return axes


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of dimensions dim1 and dim2, as a new last dimension. A view.

    offset: how far above the main diagonal. RuntimeError if dim1 and dim2 are the same.
    """
    return Diagonal.apply(input, offset=offset, axes=_two_axes("diagonal", dim1, dim2, input.ndim))


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices, in dimensions dim1 and dim2, with the last dimension of `input` as diagonal."""
    ndim = input.ndim + 1
    axes = _two_axes("diag_embed", dim1, dim2, ndim)
    size = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for axis in sorted(axes):
        shape.insert(axis, size)
    return OnDiagonal.apply(input, offset=offset, axes=axes, shape=tuple(shape))


def diag(input: Any, diagonal: int = 0) -> Any:
    """A matrix with this diagonal, of a vector; the diagonal, of a matrix.

    diagonal: how far above the main one. RuntimeError for other numbers of dimensions.
    """
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(f"diag: expects a vector or a matrix, got shape {tuple(input.shape)}")
    return Diagonal.apply(input, offset=diagonal, axes=(0, 1))


def diagflat(input: Any, offset: int = 0) -> Any:
    """A matrix with all elements of `input` on its diagonal."""
    return diag_embed(input.reshape(-1), offset)


def trace(input: Any) -> Any:
    """The sum of a matrix's diagonal. RuntimeError for other numbers of dimensions."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expects a matrix, got shape {tuple(input.shape)}")
    return sum(Diagonal.apply(input, offset=0, axes=(0, 1)))


@on_its_device
def fill_diagonal_(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Writes a number on the main diagonal, x[i,i,...]; with `wrap` again below a tall matrix.

    RuntimeError for fewer than 2 dimensions, or for more of different sizes.
    """
    if self.ndim < 2 or (self.ndim > 2 and len(set(self.shape)) > 1):
        raise RuntimeError(
            "fill_diagonal_: expects a matrix, or more dimensions of equal size, got shape "
            f"{tuple(self.shape)}"
        )
    mask = backend.array_module(self.array).zeros(self.shape, bool)
    np.fill_diagonal(mask, True, wrap=wrap)
    return self.masked_fill_(mask, fill_value)


# ---------------------------------------------------------------------- triangles


class Triangle(Function):
    """y[i,j] = x[i,j] inside a triangle, 0 outside;  grad_x[i,j] = grad_y[i,j] inside, 0 outside.

    Lower: j - i <= diagonal. Upper: j - i >= diagonal.
    """

    def forward(self, x: Any, *, diagonal: int, lower: bool) -> Any:
        self.diagonal, self.lower = diagonal, lower
        return np.tril(x, diagonal) if lower else np.triu(x, diagonal)

    def backward(self, grad_y: Any) -> Any:
        return Triangle.apply(grad_y, diagonal=self.diagonal, lower=self.lower)


def _triangle(function: str, input: Any, diagonal: int, lower: bool) -> Any:
    if input.ndim < 2:
        raise RuntimeError(
            f"{function}: expects at least 2 dimensions, got shape {tuple(input.shape)}"
        )
    return Triangle.apply(input, diagonal=diagonal, lower=lower)


def tril(input: Any, diagonal: int = 0) -> Any:
    """The lower triangle of a matrix, or of a stack of them; zeros above `diagonal`."""
    return _triangle("tril", input, diagonal, True)


def triu(input: Any, diagonal: int = 0) -> Any:
    """The upper triangle of a matrix, or of a stack of them; zeros below `diagonal`."""
    return _triangle("triu", input, diagonal, False)


# ---------------------------------------------------------------------- windows


class Windows(Function):
    """y[...,i,...,p] = x[...,i*S+p,...] along one axis, a view;  grad_x by AddWindows."""

    view = True

    def forward(self, x: Any, *, axis: int, size: int, step: int) -> Any:
        self.axis, self.step, self.x_shape = axis, step, x.shape
        windows_of = np.lib.stride_tricks.sliding_window_view
        # Views on a device can be written as they are.
        can = {"writeable": x.flags.writeable} if type(x) is np.ndarray else {}
        return windows_of(x, size, axis, **can)[(slice(None),) * axis + (slice(None, None, step),)]

    def backward(self, grad_y: Any) -> Any:
        return AddWindows.apply(grad_y, axis=self.axis, step=self.step, shape=self.x_shape)


class AddWindows(Function):
    """The adjoint of Windows: y[...,i*S+p,...] += x[...,i,...,p];  grad_x = grad_y's windows."""

    def forward(self, x: Any, *, axis: int, step: int, shape: tuple[int, ...]) -> Any:
        self.axis, self.step, self.size = axis, step, x.shape[-1]
        y = backend.array_module(x).zeros(shape, x.dtype)
        count = x.shape[axis]
        for p in range(self.size):
            stop = p + (count - 1) * step + 1
            y[(slice(None),) * axis + (slice(p, stop, step),)] += x[..., p]
        return y

    def backward(self, grad_y: Any) -> Any:
        return Windows.apply(grad_y, axis=self.axis, size=self.size, step=self.step)


def windows(input: Any, dimension: int, size: int, step: int) -> Any:
    """`Tensor.unfold`: windows of `size` elements, `step` apart, along a dimension. A view.

    The windows are numbered along that dimension, their elements along a new last one. RuntimeError
    for a size that does not fit, or a step below 1.
    """
    axis = axis_of("unfold", dimension, input.ndim)
    length = raw(input).shape[axis] if input.ndim else 1
    if not 0 < size <= length or step < 1 or input.ndim == 0:
        raise RuntimeError(
            f"unfold: size expects 1 to {length} and step 1 or more for dimension {dimension} of a "
            f"tensor of shape {tuple(input.shape)}, got {size} and {step}"
        )
    return Windows.apply(input, axis=axis, size=size, step=step)

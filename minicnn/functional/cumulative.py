"""Running results along a dimension: y[i] is made from x[0] ... x[i].

So x[k] takes part in every y[i] with i >= k, and its gradient comes from all of these.

Running sums
------------

(1)  y[i] = x[0] + ... + x[i]        grad_x[k] = sum over i >= k of grad_y[i]

The gradient is a running sum itself, from the end.

Running products
----------------

(2)  y[i] = x[0] * ... * x[i]        grad_x[k] = sum over i >= k of grad_y[i] * P[i,k]

P[i,k] is the product of x[0] ... x[i] without x[k]: y[i] / x[k] where x[k] is not 0, and right also
where it is.

Running extremes
----------------

(3)  y[i] = x[j(i)]                  grad_x[k] = sum over i with j(i) = k of grad_y[i]

j(i) is where the largest (smallest) of x[0] ... x[i] stands, the last one of equal ones.

Differences
-----------

(4)  y[i] = x[i+1] - x[i]            grad_x[k] = grad_y[k-1] - grad_y[k]

grad_y is 0 outside its range.

By hand: x = (2, 3, 0) has the running sums (2, 5, 5) and products (2, 6, 0). For grad_y = (1, 1, 1)
the sums' gradient is (3, 2, 1) and the products' (1 + 3 + 0, 2 + 0, 6).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function
from .arithmetic import cast, mul, sub
from .arrange import Flip
from .compare import ne
from .index import gather
from .operands import ValuesIndices, first_place, on_its_device, raw, wrapped
from .reduce import numpy_names
from .shape import Slice, axis_of, cat, clone

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "diff"]


class Cumsum(Function):
    """y[i] = sum of x[k] for k <= i;  grad_x[k] = sum of grad_y[i] for i >= k."""

    def forward(self, x: Any, *, axis: int) -> Any:
        self.axis = axis
        # float16 holds 11 bits: sums need more.
        dtype = np.float32 if x.dtype == np.float16 else x.dtype
        return np.cumsum(x, axis=axis, dtype=dtype).astype(x.dtype, copy=False)

    def backward(self, grad_y: Any) -> Any:
        turned = Flip.apply(grad_y, dims=(self.axis,))
        return Flip.apply(Cumsum.apply(turned, axis=self.axis), dims=(self.axis,))


@numpy_names
def cumsum(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """Running sums along `dim`. Integers and bools are summed in int64."""
    if dtype is not None or input.dtype.kind in "biu":
        input = cast(input, np.int64 if dtype is None else dtype)
    axis = axis_of("cumsum", dim, input.ndim)
    return Cumsum.apply(input, axis=axis) if input.ndim else clone(input)


@numpy_names
def cumprod(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """Running products along `dim`. Integers and bools are multiplied in int64.

    Multiplied over distances 1, 2, 4, ...: then y[i] holds the last 2, 4, 8, ... factors, and the
    gradient is right where factors are 0, since nothing is divided by.
    """
    if dtype is not None or input.dtype.kind in "biu":
        input = cast(input, np.int64 if dtype is None else dtype)
    axis = axis_of("cumprod", dim, input.ndim)
    y, distance = clone(input), 1
    before = (slice(None),) * axis
    while input.ndim and distance < input.shape[axis]:
        first = Slice.apply(y, index=(*before, slice(0, distance)))
        later = Slice.apply(y, index=(*before, slice(distance, None)))
        earlier = Slice.apply(y, index=(*before, slice(0, input.shape[axis] - distance)))
        y = cat([first, mul(later, earlier)], axis)
        distance *= 2
    return y


@on_its_device
def _running(name: str, best: Any, input: Any, dim: int) -> ValuesIndices:
    x = raw(input)
    axis = axis_of(name, dim, x.ndim)
    if x.ndim == 0:
        return ValuesIndices(clone(input), first_place(input))
    values = _so_far(best, x, axis)
    places = backend.array_module(x).arange(x.shape[axis])
    places = places.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    new = np.where((x == values) | (x != x), places, 0)  # NaN stays the best once it came
    indices = wrapped(_so_far(np.maximum, new, axis), input)
    return ValuesIndices(gather(input, axis, indices), indices)


def _so_far(best: Any, x: Any, axis: int) -> Any:
    """best.accumulate(x, axis). On a device over distances 1, 2, 4, ..., as `cumprod`."""
    if type(x) is np.ndarray:
        return best.accumulate(x, axis=axis)
    y, distance = x.copy(), 1
    rows = np.moveaxis(y, axis, 0)
    while distance < len(rows):
        rows[distance:] = best(rows[distance:], rows[:-distance])
        distance *= 2
    return y


def cummax(input: Any, dim: int) -> ValuesIndices:
    """`(values, indices)`: the largest so far along `dim`, and where it is, the last of equals."""
    return _running("cummax", np.maximum, input, dim)


def cummin(input: Any, dim: int) -> ValuesIndices:
    """`(values, indices)`: the smallest so far along `dim`, and where it is, the last of equals."""
    return _running("cummin", np.minimum, input, dim)


def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Differences of neighbours along `dim`, n times over; of bools, where they differ.

    prepend, append: tensors put before and after first. RuntimeError for a negative n.
    """
    if n < 0 or input.ndim == 0:
        raise RuntimeError(
            f"diff: expects n >= 0 and at least one dimension, got {n}, shape {tuple(input.shape)}"
        )
    axis = axis_of("diff", dim, input.ndim)
    if n == 0:
        return input
    parts = [x for x in (prepend, input, append) if x is not None]
    y = cat(parts, axis) if len(parts) > 1 else input
    before = (slice(None),) * axis
    for _ in range(min(n, y.shape[axis])):
        later = Slice.apply(y, index=(*before, slice(1, None)))
        earlier = Slice.apply(y, index=(*before, slice(0, -1)))
        y = ne(later, earlier) if y.dtype.kind == "b" else sub(later, earlier)
    return y

"""Order: sorting, and what depends on it.

Sorting
-------

A sorted tensor is a rearrangement of x, y[i] = x[s(i)]; the largest, the middle one and so on are
parts of it. Which element that is, s, does not change when x moves a little; so s has no gradient,
and y has that of indexing:

(1)  grad_x[k] = sum of grad_y[i] over all i with s(i) = k

Among equal elements the first one counts.

Quantiles
---------

A quantile lies between two places of the sorted x: p = q * (n - 1), and f and c are p rounded down
and up.

(2)  y = x[f] + (p - f) * (x[c] - x[f])
     grad_x[f] = (1 - (p - f)) * grad_y,  grad_x[c] = (p - f) * grad_y

By hand: x = (5, 1, 3) sorted is (1, 3, 5), from the places (1, 2, 0); grad_y = (1, 10, 100) comes
back as (100, 1, 10). The quantile 0.25 has p = 0.5: y = 2, and half of grad_y each for 1 and 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from .arithmetic import lerp
from .index import gather, getitem, masked_select
from .operands import ValuesIndices, first_place, on_its_device, raw, refuse_bools, wrapped
from .reduce import Amax, numpy_names
from .shape import Reshape, axis_of, clone, flatten, movedim, squeeze

__all__ = [
    "argsort",
    "bincount",
    "bucketize",
    "histc",
    "isin",
    "kthvalue",
    "median",
    "mode",
    "msort",
    "nanmedian",
    "quantile",
    "searchsorted",
    "sort",
    "topk",
    "unique",
]


@on_its_device
def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The indices (int64) that sort `input` along `dim`; equal elements keep their order."""
    x = raw(input)
    axis = axis_of("argsort", dim, x.ndim)
    if x.ndim == 0:
        return first_place(input)
    if descending:  # turned twice, so that equal elements keep their order here too
        order = x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable")
        return wrapped(backend.copy(np.flip(order, axis)), input)
    return wrapped(np.argsort(x, axis=axis, kind="stable"), input)


def sort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """`(values, indices)`, sorted along `dim`; equal elements keep their order; NaN is largest."""
    indices = argsort(input, dim, descending)
    return ValuesIndices(gather(input, dim, indices), indices)


def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """`(values, indices)` of the k largest (or smallest) along `dim`, in order.

    RuntimeError if there are not k.
    """
    axis = axis_of("topk", dim, input.ndim)
    size = input.shape[axis] if input.ndim else 1
    if not 0 <= k <= size:
        raise RuntimeError(f"topk: k expects 0 to {size}, the size of dim {dim}, got {k}")
    indices = argsort(input, dim, descending=largest)
    if input.ndim:
        indices = getitem(indices, (slice(None),) * axis + (slice(0, k),))
    return ValuesIndices(gather(input, dim, indices), indices)


@on_its_device
def unique(
    input: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements in rising order (`sorted` or not), or the different slices along
    `dim`; also where each went, and how often each occurs (int64).
    """
    x = raw(input)
    axis = None if dim is None else axis_of("unique", dim, x.ndim)
    if axis is not None:
        x = backend.to_numpy(x)  # CuPy compares slices one by one from Python
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, axis=axis)
    parts = [values]
    parts += [inverse.reshape(x.shape if axis is None else -1)] if return_inverse else []
    parts += [counts] if return_counts else []
    outs = tuple([wrapped(backend.like(raw(input), p), input) for p in parts])
    return outs if len(outs) > 1 else outs[0]


@on_its_device
def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each of 0, 1, 2, ... occurs in `input`, or the sum of its weights there."""
    w = raw(weights)
    y = np.bincount(raw(input), w, minlength=minlength)
    if w is not None and w.dtype.kind == "f":
        y = y.astype(w.dtype)
    return wrapped(y, input)


def msort(input: Any) -> Any:
    """Sorted along the first dimension: the values alone."""
    return sort(input, 0).values


# ---------------------------------------------------------------------- the one in the middle


def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """`(values, indices)` of the k-th smallest along `dim`, counted from 1.

    RuntimeError if k is not in 1 ... the size.
    """
    axis = axis_of("kthvalue", dim, input.ndim)
    size = input.shape[axis] if input.ndim else 1
    if not 1 <= k <= size:
        raise RuntimeError(f"kthvalue: k expects 1 to {size}, the size of dim {dim}, got {k}")
    return _taken(input, raw(argsort(input, axis)), k - 1, axis, keepdim)


@on_its_device
def _taken(x: Any, order: Any, place: Any, axis: int, keepdim: bool) -> ValuesIndices:
    """The element at `place` of the sorted ones, along an axis: a number, or one for each row."""
    if x.ndim == 0:
        return ValuesIndices(clone(x), first_place(x))
    if isinstance(place, int):
        chosen = order[(slice(None),) * axis + (slice(place, place + 1),)].copy()
    else:
        chosen = np.take_along_axis(order, place, axis)
    indices = wrapped(chosen, x)
    values = gather(x, axis, indices)
    if keepdim:
        return ValuesIndices(values, indices)
    return ValuesIndices(squeeze(values, axis), squeeze(indices, axis))


@on_its_device
def _middle(name: str, input: Any, dim: int | None, keepdim: bool, skip_nan: bool) -> Any:
    x = raw(input)
    refuse_bools(name, x)
    if dim is None:
        if not x.size:
            return wrapped(backend.array_module(x).full((), np.nan, x.dtype), input)
        flat = np.sort(x, axis=None)  # NaN comes last
        count = int((flat == flat).sum())
        bad = count < x.size and (not skip_nan or not count)
        middle = flat[-1] if bad else flat[(count - 1) // 2]
        equal = np.isnan(x) if bad else x == middle
        return Amax.apply(masked_select(input, equal), axes=(0,), keepdim=False)
    axis = axis_of(name, dim, x.ndim)
    if x.ndim and not x.shape[axis]:
        raise IndexError(f"{name}: dim {dim} of a tensor of shape {x.shape} has no elements")
    if not x.ndim:
        return _taken(input, None, 0, axis, keepdim)
    order = np.argsort(x, axis=axis, kind="stable")
    count = (x == x).sum(axis=axis, keepdims=True)
    place = np.maximum(count - 1, 0) // 2
    if not skip_nan:  # the first NaN, where there is one
        place = np.where(count < x.shape[axis], count, place)
    return _taken(input, order, place, axis, keepdim)


@numpy_names
def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle one of all elements, the lower of two; with `dim`, `(values, indices)`.

    NaN if there is one. Over all, elements equal to it share the gradient evenly; along a dim the
    one at the index gets it. IndexError along a dimension without elements.
    """
    return _middle("median", input, dim, keepdim, skip_nan=False)


@numpy_names
def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """As `median`, of the elements that are not NaN; NaN if there are none."""
    return _middle("nanmedian", input, dim, keepdim, skip_nan=True)


@numpy_names
@on_its_device
def mode(input: Any, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """`(values, indices)`: what occurs most often along `dim`, the smallest of several, and where
    it occurs last. RuntimeError along a dimension without elements."""
    x = raw(input)
    axis = axis_of("mode", dim, x.ndim)
    if x.ndim and not x.shape[axis]:
        raise RuntimeError(f"mode: dim {dim} of a tensor of shape {x.shape} has no elements")
    if not x.ndim:
        return _taken(input, None, 0, axis, keepdim)
    order = np.argsort(x, axis=axis, kind="stable")
    rows = np.moveaxis(np.take_along_axis(x, order, axis), axis, -1)
    # How often the element was there already, up to here.
    runs = backend.array_module(x).ones(rows.shape, np.int64)
    for i in range(1, rows.shape[-1]):
        runs[..., i] += np.where(rows[..., i] == rows[..., i - 1], runs[..., i - 1], 0)
    place = np.expand_dims(np.argmax(runs, -1), axis)
    return _taken(input, order, place, axis, keepdim)


_PLACES: dict[str, Any] = {
    "linear": None, "lower": np.floor, "higher": np.ceil, "nearest": np.round, "midpoint": None,
}  # fmt: skip


@numpy_names
def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Any:  # fmt: skip
    """The value below which a fraction q of the elements lies, along `dim` or of all.

    Between two elements the way is taken that interpolation says: "linear", "lower", "higher",
    "nearest", "midpoint". A vector q gives a result for each, in a new first dimension. NaN if an
    element is. RuntimeError for integers, for q outside [0, 1], of no elements.
    """
    fractions = np.asarray(backend.to_numpy(raw(q)), np.float64)
    if input.dtype.kind != "f":
        raise RuntimeError(f"quantile: expects a floating type, got {input.dtype}")
    if fractions.ndim > 1 or not ((fractions >= 0) & (fractions <= 1)).all():
        raise RuntimeError(f"quantile: q expects numbers from 0 to 1, at most a vector, got {q}")
    if interpolation not in _PLACES:
        raise RuntimeError(f"quantile: interpolation expects one of {', '.join(_PLACES)}, "
                           f"got {interpolation!r}")  # fmt: skip
    whole = (1,) * input.ndim
    x, axis = (flatten(input), 0) if dim is None else (input, axis_of("quantile", dim, input.ndim))
    x = flatten(x) if x.ndim == 0 else x
    if not x.shape[axis]:
        raise RuntimeError(f"quantile: no elements, shape {tuple(input.shape)}")
    y = _between(movedim(sort(x, axis).values, axis, 0), fractions.reshape(-1), interpolation)
    if keepdim:
        kept = whole if dim is None else tuple(
            [1 if i == axis else n for i, n in enumerate(input.shape)])  # fmt: skip
        y = Reshape.apply(y, shape=(y.shape[0], *kept))
    return y if fractions.ndim else squeeze(y, 0)


@on_its_device
def _between(x: Any, q: np.ndarray, interpolation: str) -> Any:
    """The quantiles q of what is sorted along the first dimension."""
    n = x.shape[0]
    place = q * (n - 1)
    rounded = _PLACES[interpolation]
    low, high = [(rounded or f)(place).astype(np.int64) for f in (np.floor, np.ceil)]
    weight = np.full_like(place, 0.5) if interpolation == "midpoint" else place - low
    weight = weight.reshape(-1, *(1,) * (x.ndim - 1)).astype(x.dtype)
    nan = np.isnan(raw(x)[-1])  # the last one of the sorted is NaN if any is
    low, high = backend.like(raw(x), low), backend.like(raw(x), high)
    if nan.any():
        spoilt = np.where(nan, n - 1, low.reshape(weight.shape))
        full = np.broadcast_to(spoilt, (len(q), *x.shape[1:]))
        above = np.where(nan, n - 1, high.reshape(weight.shape))
        above = np.broadcast_to(above, full.shape)
        a, b = gather(x, 0, full), gather(x, 0, above)
    else:
        a, b = getitem(x, low), getitem(x, high)
    return lerp(a, b, wrapped(backend.like(raw(x), weight), x))


# ---------------------------------------------------------------------- places, without gradient


@on_its_device
def searchsorted(
    sorted_sequence: Any, input: Any, *, out_int32: bool = False, right: bool = False,
    side: str | None = None, sorter: Any = None,
) -> Any:  # fmt: skip
    """Where each element of `input` would stand in the rising `sorted_sequence` (int64).

    Before equal ones; after them with right=True (or side="right"). Either a vector, or rows that
    fit those of `input`. `sorter`: the indices that sort the sequence. RuntimeError for shapes that
    do not fit.
    """
    rows, values = raw(sorted_sequence), raw(input)
    if not backend.is_array(values):
        values = backend.array_module(rows).asarray(values)
    if sorter is not None:
        rows = np.take_along_axis(rows, raw(sorter), -1)
    if side not in (None, "left", "right"):
        raise RuntimeError(f"searchsorted: side expects 'left' or 'right', got {side!r}")
    if rows.ndim != 1 and rows.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            f"searchsorted: expects a vector, or rows for rows: {rows.shape}, {values.shape}"
        )
    way: Any = side or ("right" if right else "left")
    if rows.ndim == 1:
        y = np.searchsorted(rows, values, way)
    else:
        y = backend.array_module(rows).empty(values.shape, np.int64)
        for place in np.ndindex(rows.shape[:-1]):
            y[place] = np.searchsorted(rows[place], values[place], way)
    y = backend.as_array(y).astype(np.int32 if out_int32 else np.int64)
    return wrapped(y, sorted_sequence, input)


def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """The number of the interval between rising `boundaries` in which each element lies."""
    if raw(boundaries).ndim != 1:
        raise RuntimeError(
            f"bucketize: boundaries expects a vector, got shape {raw(boundaries).shape}"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@on_its_device
def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Any:
    """True where an element is one of `test_elements` (with `invert`: where it is not)."""
    a, b = raw(elements), raw(test_elements)
    return wrapped(np.isin(a, b, assume_unique, invert), elements, test_elements)


@on_its_device
def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0) -> Any:
    """How many elements fall into each of `bins` equal intervals from min to max, in x's type.

    min = max = 0: from the smallest to the largest. RuntimeError for integers or bins < 1.
    """
    x = raw(input).reshape(-1)
    if x.dtype.kind != "f" or bins < 1:
        raise RuntimeError(f"histc: expects a floating type and bins > 0, got {x.dtype}, {bins}")
    if min == max and x.size:
        min, max = x.min().item(), x.max().item()
    if min == max:
        min, max = min - 1, max + 1
    inside = x[(x >= min) & (x <= max)]
    places = np.minimum(((inside - min) / (max - min) * bins).astype(np.int64), bins - 1)
    return wrapped(np.bincount(places, minlength=bins).astype(x.dtype), input)

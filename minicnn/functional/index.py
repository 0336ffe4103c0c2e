"""Indexing: elements chosen by position.

(1)  y[i] = x[s(i)]
(2)  grad_x[k] = sum of grad_y[i] over all i with s(i) = k

(1) is linear in x and (2) its adjoint: every grad_y[i] is added to grad_x[s(i)]. Where several i
choose the same element (a repeated index), its gradients add up. s is given by

    basic       integers, slices, None, Ellipsis: a view, as in NumPy and PyTorch; no element twice
    advanced    masks, integer tensors, lists: a copy; elements may repeat
    gather      one index for each element of y; along dim 1 (likewise along the others):

(3)  y[i,j] = x[i,K[i,j]]
(4)  grad_x[i,k] = sum of grad_y[i,j] over all j with K[i,j] = k

Writing goes the other way: y is x but for v at the places s(i), and what was there gets nothing.

(5)  y[s(i)] = v[i]     grad_v[i] = grad_y[s(i)],  grad_x[k] = 0 if k is an s(i) else grad_y[k]
(6)  y[s(i)] += v[i]    grad_v[i] = grad_y[s(i)],  grad_x[k] = grad_y[k]

By hand: x = (5, 6, 7), s = (2, 0, 2): y = (7, 5, 7), and grad_y = (1, 10, 100) comes back as
(10, 0, 101).

An index that mixes both kinds is taken in two steps, the basic part first. That is PyTorch's rule;
NumPy's differs where an integer stands apart from an array: x[0, :, [1, 2]].
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function, Tensor, inplace
from ..autograd import device as Device
from .arithmetic import cast, move
from .choice import where
from .operands import on_its_device, raw, wrapped, zero_gradient
from .shape import Reshape, Slice, axis_of, broadcast_shapes, broadcast_to, flatten, sum_to

__all__ = [
    "argwhere",
    "gather",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "nonzero",
    "one_hot",
    "scatter",
    "scatter_add",
    "take",
    "take_along_dim",
]

# ---------------------------------------------------------------------- adding at repeated places


def _add_at(flat: Any, g: Any, rows: int) -> Any:
    """out[r] = sum of g[k] over all k with flat[k] = r; g has shape (len(flat), columns)."""
    here = type(g) is np.ndarray
    if here and g.shape[1] == 1 and g.dtype.kind == "f":
        return np.bincount(flat, g[:, 0], minlength=rows).astype(g.dtype)[:, None]
    out = backend.array_module(g).zeros((rows, g.shape[1]), g.dtype)
    if flat.size:  # equal places side by side, then one sum for each run of them
        order = np.argsort(flat, kind="stable")
        places, g = flat[order], g[order]
        if here:
            first = np.flatnonzero(np.r_[True, places[1:] != places[:-1]])
            out[places[first]] = np.add.reduceat(g, first, axis=0)
        else:
            sums, last = _sums_of_runs(places, g)
            out[places[last]] = sums[last]
    return out


def _sums_of_runs(places: Any, g: Any) -> tuple[Any, Any]:
    """Running sums of g within each run of equal places, and where the runs end.

    For devices: sums over distances 1, 2, 4, ... up to the longest run. Their order is always the
    same, which that of atomic additions is not, and no sum is a difference of larger ones.
    """
    xp = backend.array_module(g)
    count = xp.arange(len(places)) - np.searchsorted(places, places)  # elements before, in its run
    distance = 1
    while distance <= int(count.max()):
        inside = (count[distance:] >= distance)[:, None]
        g[distance:] += np.where(inside, g[:-distance], g.dtype.type(0))
        distance *= 2
    ends = xp.ones(places.shape, bool)
    ends[:-1] = places[1:] != places[:-1]
    return g, np.flatnonzero(ends)


class Take(Function):
    """y = x[index], for an index of integer arrays, masks and full slices;  grad_x by AddAt."""

    def forward(self, x: Any, *, index: tuple[Any, ...]) -> Any:
        self.x_shape, self.index = x.shape, index
        return x[index]

    def backward(self, grad_y: Any) -> Any:
        return AddAt.apply(grad_y, index=self.index, shape=self.x_shape)


class AddAt(Function):
    """The adjoint of Take: y[index] += x, repeated places adding up;  grad_x = grad_y[index]."""

    def forward(self, x: Any, *, index: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
        self.index = index
        if len(index) == 1 and index[0].dtype.kind == "b":  # a mask names no place twice
            y = backend.array_module(x).zeros(shape, x.dtype)
            y[index] = x
            return y
        taken = [i for i, k in enumerate(index) if not isinstance(k, slice)]
        rest = [i for i in range(len(shape)) if i not in taken]
        sizes = [shape[i] for i in taken]
        arrays = np.broadcast_arrays(*[np.where(k < 0, k + shape[i], k) for i in taken
                                       for k in (index[i],)])  # fmt: skip
        flat = arrays[0].ravel()
        if flat.size:
            flat = np.ravel_multi_index(tuple([k.ravel() for k in arrays]), tuple(sizes))
        ndim = arrays[0].ndim
        together = taken[-1] - taken[0] == len(taken) - 1  # else the chosen dimensions come first
        start = taken[0] if together else 0
        g = np.moveaxis(x, range(start, start + ndim), range(ndim))
        columns = [shape[i] for i in rest]
        y = _add_at(flat, g.reshape(flat.size, int(np.prod(columns))), int(np.prod(sizes)))
        y = y.reshape(*sizes, *columns)
        return np.moveaxis(y, range(y.ndim), [*taken, *rest])

    def backward(self, grad_y: Any) -> Any:
        return Take.apply(grad_y, index=self.index)


# ---------------------------------------------------------------------- x[index]


def getitem(x: Any, index: Any) -> Any:
    """x[index]: a view for integers, slices, None and Ellipsis; a copy for masks and arrays.

    Raises IndexError for places that do not exist, for masks of another shape and for indices that
    are no integers; ValueError for a step that is not positive.
    """
    basic, advanced = _parse(index, x.shape)
    try:
        y = x if basic is None else Slice.apply(x, index=basic)
        return y if advanced is None else Take.apply(y, index=_placed(y, advanced))
    except IndexError as error:
        raise IndexError(f"index: {error}; the tensor has shape {tuple(x.shape)}") from None


def _parse(index: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Splits an index into its basic and its advanced part; None for a part that does nothing."""
    if type(index) is int:
        return (index, Ellipsis), None
    keys = [_key(k) for k in (index if isinstance(index, tuple) else (index,))]
    if not any(hasattr(k, "dtype") for k in keys):
        return (*[_checked(k) for k in keys], *([] if Ellipsis in keys else [Ellipsis])), None
    used = sum([k.ndim if _is_mask(k) else k is not None and k is not Ellipsis for k in keys])
    if used > len(shape):
        raise IndexError(f"index: {used} indices for a tensor of {len(shape)} dimensions: {shape}")
    basic: list[Any] = []
    advanced: list[Any] = []
    axis = 0  # the dimension of x that the next key is for
    for k in keys if any(k is Ellipsis for k in keys) else [*keys, Ellipsis]:
        if not hasattr(k, "dtype"):
            width = len(shape) - used if k is Ellipsis else 1
            basic += [slice(None)] * width if k is Ellipsis else [_checked(k)]
            advanced += [] if isinstance(k, int) else [slice(None)] * width
            axis += width if k is not None else 0
            continue
        if _is_mask(k) and not k.ndim and len(shape):  # x[True]: x[None], or nothing of it
            basic, advanced = [*basic, None], [*advanced, np.zeros(int(k), np.int64)]
            continue
        width = k.ndim if _is_mask(k) else 1
        if _is_mask(k) and k.shape != tuple(shape[axis : axis + width]):
            raise IndexError(
                f"index: the mask of shape {k.shape} does not fit dimension {axis} and on of a "
                f"tensor of shape {tuple(shape)}"
            )
        basic += [slice(None)] * width
        whole = _is_mask(k) and width == len(shape) == used and len(keys) == 1
        advanced += [k] if whole else _chosen(k) if _is_mask(k) else [k]
        axis += width
    trivial = all(isinstance(k, slice) and k == slice(None) for k in basic)
    return None if trivial else tuple(basic), tuple(advanced)


@on_its_device
def _chosen(mask: Any) -> list[Any]:
    """Where a mask is True: an array of indices for each of its dimensions."""
    return list(mask.nonzero())


def _is_mask(k: Any) -> bool:
    return hasattr(k, "dtype") and k.dtype.kind == "b"


def _key(k: Any) -> Any:
    """One part of an index: an int, a slice, None, Ellipsis, or an array of integers or bools."""
    if k is None or k is Ellipsis or isinstance(k, slice):
        return k
    if isinstance(k, (list, tuple, range)):
        k = np.asarray([backend.to_numpy(raw(v)) for v in k]) if len(k) else np.zeros(0, np.int64)
    elif isinstance(k, bool):
        k = np.asarray(k)
    k = raw(k)
    if type(k) is np.ndarray or backend.is_array(k):
        if k.dtype.kind not in "bi":
            raise IndexError(f"index: tensors as indices are of integers or bools, not {k.dtype}")
        # A copy: backward needs the index as it is now.
        return k.item() if k.ndim == 0 and k.dtype.kind == "i" else backend.copy(k)
    try:
        return operator.index(k)
    except TypeError:
        raise IndexError(
            f"index: expects integers, slices, None, ..., masks or integer tensors, got {k!r}"
        ) from None


def beside(function: str, x: Any, k: Any) -> Any:
    """The index k on the device of x: that of the CPU goes with every tensor.

    RuntimeError for an index on another device.
    """
    x = raw(x)
    if type(k) is np.ndarray and type(x) is np.ndarray:
        return k
    here, there = backend.place(x), backend.place(k)
    if there not in (here, ("cpu", None)):
        place = "the CPU" if here[0] == "cpu" else f"{Device(*here)} or on the CPU"
        raise RuntimeError(
            f"{function}: index expects a tensor on {place}, got one on {Device(*there)}; "
            "move it with .to(...)"
        )
    return backend.like(x, k)


def _placed(x: Any, advanced: tuple[Any, ...]) -> tuple[Any, ...]:
    """An advanced index with its arrays on the device of x. IndexError, there, for places that are
    not: on the CPU NumPy finds these itself; on a GPU an index outside wraps around."""
    x = raw(x)
    here = type(x) is np.ndarray
    for k in advanced:
        here = here and (type(k) is np.ndarray or type(k) is slice)
    return advanced if here else _placed_on_device(x, advanced)


@on_its_device
def _placed_on_device(x: Any, advanced: tuple[Any, ...]) -> tuple[Any, ...]:
    keys = tuple([k if isinstance(k, slice) else beside("index", x, k) for k in advanced])
    for i, (k, size) in enumerate(zip(keys, x.shape, strict=False)):
        if isinstance(k, slice) or _is_mask(k) or not k.size:
            continue
        if k.min() < -size or k.max() >= size:
            raise IndexError(f"dimension {i} of size {size} has no place {k.min()} or {k.max()}")
    return keys


def _checked(k: Any) -> Any:
    """A slice with plain integers and a positive step."""
    if not isinstance(k, slice):
        return k
    start, stop, step = [
        None if v is None else operator.index(v) for v in (k.start, k.stop, k.step)
    ]
    if step is not None and step <= 0:
        raise ValueError(f"index: the step of a slice expects a positive number, got {step}")
    return slice(start, stop, step)


# ---------------------------------------------------------------------- x[index] = value


class Copy(Function):
    """y = b in the shape and type of a;  grad_a = 0,  grad_b = grad_y. What `a.copy_(b)` writes."""

    function = "copy_"

    def forward(self, a: Any, b: Any) -> Any:
        b = backend.as_array(b)
        self.shape = b.shape
        if b.dtype.kind not in "biufc":
            raise TypeError(f"copy_: expects numbers, got {b!r:.60}")
        try:
            return np.broadcast_to(backend.like(a, b.astype(a.dtype, copy=False)), a.shape)
        except ValueError:
            raise RuntimeError(
                f"copy_: values of shape {self.shape} do not broadcast to {a.shape}"
            ) from None

    def backward(self, grad_y: Any) -> Any:
        need_a, need_b = self.needs_input_grad
        grad_a = zero_gradient(grad_y) if need_a else None
        return grad_a, sum_to(grad_y, self.shape) if need_b else None


class CopyPart(Copy):
    """As Copy, where a is a part of a larger tensor: the rest of it carries the gradient on."""

    def backward(self, grad_y: Any) -> Any:
        return None, sum_to(grad_y, self.shape) if self.needs_input_grad[1] else None


def _everywhere(x: Any) -> Any:
    """A mask of x's shape that is True in all places."""
    return backend.array_module(raw(x)).ones(x.shape, bool)


def number_of(value: Any, x: Any) -> Any:
    """A number, or a tensor of one, in the type of x and on its device, without dimensions."""
    if isinstance(value, Tensor):
        return cast(move(value, x.device) if isinstance(x, Tensor) else value, x.dtype)
    if not backend.is_array(value) or type(value) is np.ndarray:
        value = np.asarray(value, x.dtype)
    return backend.like(raw(x), value.astype(x.dtype, copy=False))


class IndexPut(Function):
    """y = x, but y[index] = v;  grad_x = grad_y with zeros at index,  grad_v = grad_y[index]."""

    def forward(self, x: Any, v: Any, *, index: tuple[Any, ...]) -> Any:
        self.index, self.v_shape = index, np.shape(v)
        y = x.copy(order="K")
        try:
            y[index] = v
        except ValueError:
            raise RuntimeError(
                f"index: values of shape {self.v_shape} do not broadcast to {y[index].shape}"
            ) from None
        return y

    def backward(self, grad_y: Any) -> Any:
        grad_x = grad_v = None
        if self.needs_input_grad[0]:
            kept = _everywhere(grad_y)
            kept[self.index] = False
            grad_x = where(kept, grad_y, 0.0)
        if self.needs_input_grad[1]:
            grad_v = sum_to(Take.apply(grad_y, index=self.index), self.v_shape)
        return grad_x, grad_v


@on_its_device
def setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value, in place and differentiable: `value` is converted to the type of x.

    Raises as `getitem`; RuntimeError if `value` does not broadcast to x[index], or if x is a leaf
    that requires a gradient.
    """
    basic, advanced = _parse(index, x.shape)
    value = move(value if isinstance(value, Tensor) else Tensor(np.asarray(value)), x.device)
    try:
        target = x if basic is None else Slice.apply(x, index=basic)
        advanced = None if advanced is None else _placed(target, advanced)
        place = target.array if advanced is None else target.array[advanced]
    except IndexError as error:
        raise IndexError(f"index: {error}; the tensor has shape {tuple(x.shape)}") from None
    extra = value.ndim - place.ndim
    if extra > 0 and value.shape[:extra] == (1,) * extra:
        value = Reshape.apply(value, shape=value.shape[extra:])
    if advanced is None:
        inplace("index", target, CopyPart.apply, value)
    else:
        inplace("index", target, IndexPut.apply, value, index=advanced)


# ---------------------------------------------------------------------- along one dimension


def _grid(index: Any, axis: int) -> tuple[Any, ...]:
    """`index` along `axis`, each element's own position along the others: for x[grid]."""
    xp, ndim = backend.array_module(index), index.ndim
    grid = [
        index if i == axis else xp.arange(n).reshape((n,) + (1,) * (ndim - 1 - i))
        for i, n in enumerate(index.shape)
    ]
    return tuple(grid)


class Gather(Function):
    """y[i,j] = x[i, index[i,j]] (axis 1);  grad_x by ScatterAdd."""

    def forward(self, x: Any, *, index: Any, axis: int) -> Any:
        self.x_shape, self.index, self.axis = x.shape, index, axis
        return x[_grid(index, axis)]

    def backward(self, grad_y: Any) -> Any:
        return ScatterAdd.apply(grad_y, index=self.index, axis=self.axis, shape=self.x_shape)


class ScatterAdd(Function):
    """The adjoint of Gather: y[i, index[i,j]] += x[i,j];  grad_x[i,j] = grad_y[i, index[i,j]]."""

    def forward(self, x: Any, *, index: Any, axis: int, shape: tuple[int, ...]) -> Any:
        self.index, self.axis = index, axis
        grid = _grid(index, axis)
        if index.shape[axis] == 1:  # one place for each: none is named twice
            y = backend.array_module(x).zeros(shape, x.dtype)
            y[grid] = x
            return y
        return AddAt.apply(x, index=grid, shape=shape)

    def backward(self, grad_y: Any) -> Any:
        return Gather.apply(grad_y, index=self.index, axis=self.axis)


@on_its_device
def _along(function: str, input: Any, dim: int, index: Any, others: Any = ()) -> tuple[Any, int]:
    """The index, checked and counted from the front, and the axis."""
    k = beside(function, input, raw(index))
    axis = axis_of(function, dim, input.ndim)
    if k.dtype.kind not in "iu":
        raise RuntimeError(f"{function}: index expects integers, got {k.dtype}")
    small = all(
        k.ndim == x.ndim and (i == axis or n <= x.shape[i]) for x in (input, *others)
         for i, n in enumerate(k.shape[: x.ndim])
    )  # fmt: skip
    if k.ndim != input.ndim or not small:
        raise RuntimeError(
            f"{function}: index expects {input.ndim} dimensions, none but dim {dim} larger than "
            f"those of the tensors: index {k.shape}, tensor {tuple(input.shape)}"
        )
    size = input.shape[axis] if input.ndim else 1
    if k.size and not (k.min() >= 0 and k.max() < size):
        wrong = k.min() if k.min() < 0 else k.max()
        raise IndexError(
            f"{function}: index expects 0 to {size - 1} along dim {dim} of a tensor of shape "
            f"{tuple(input.shape)}, got {wrong}"
        )
    return backend.copy(k), axis  # backward needs the index as it is now


@on_its_device
def _as_vector(function: Any, input: Any, dim: int, index: Any, *rest: Any) -> Any:
    """`function` of a tensor without dimensions, which counts as a vector of one element."""
    rest = tuple([flatten(v) if hasattr(v, "ndim") else v for v in rest])
    y = function(flatten(input), dim, np.atleast_1d(raw(index)), *rest)
    return Reshape.apply(y, shape=())


def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """y[i,j] = input[i, index[i,j]] for dim 1, likewise for others; y has the shape of `index`.

    Gradients are dense, also with sparse_grad=True. RuntimeError if the shapes do not fit,
    IndexError for an index out of range.
    """
    if input.ndim == 0:
        y = gather(flatten(input), dim, raw(index).reshape(-1))
        return Reshape.apply(y, shape=raw(index).shape)
    k, axis = _along("gather", input, dim, index)
    return Gather.apply(input, index=k, axis=axis)


@on_its_device
def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Any:
    """As `gather`, after both are broadcast against each other in all dimensions but `dim`."""
    if dim is None:
        return take(input, raw(indices).reshape(-1))
    k = raw(indices)
    axis = axis_of("take_along_dim", dim, input.ndim)
    k = np.where(k < 0, k + (input.shape[axis] if input.ndim else 1), k)  # from the end, as take
    if k.ndim != input.ndim:
        raise RuntimeError(
            f"take_along_dim: indices expects {input.ndim} dimensions, got shape {k.shape}"
        )
    one = tuple([1 if i == axis else n for i, n in enumerate(input.shape)])
    shape = broadcast_shapes(one, tuple([1 if i == axis else n for i, n in enumerate(k.shape)]))
    full = [(*shape[:axis], x.shape[axis], *shape[axis + 1 :]) for x in (input, k)]
    return gather(broadcast_to(input, full[0]), axis, broadcast_to(k, full[1]))


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """y = input, y[i, index[i,j]] += src[i,j] (dim 1); repeats add up. Errors as `gather`."""
    if input.ndim == 0:
        return _as_vector(scatter_add, input, dim, index, src)
    k, axis = _along("scatter_add", input, dim, index, (src,))
    part = getitem(src, tuple([slice(0, n) for n in k.shape]))
    return input + ScatterAdd.apply(part, index=k, axis=axis, shape=tuple(input.shape))


class Scatter(Function):
    """y = x, but y[i, index[i,j]] = v[i,j];  grad_x zero there, grad_v = grad_y there."""

    def forward(self, x: Any, v: Any, *, index: Any, axis: int) -> Any:
        self.index, self.axis = index, axis
        y = x.copy()
        y[_grid(index, axis)] = v
        return y

    def backward(self, grad_y: Any) -> Any:
        grad_x = grad_v = None
        if self.needs_input_grad[0]:
            kept = _everywhere(grad_y)
            kept[_grid(self.index, self.axis)] = False
            grad_x = where(kept, grad_y, 0.0)
        if self.needs_input_grad[1]:
            grad_v = Gather.apply(grad_y, index=self.index, axis=self.axis)
        return grad_x, grad_v


def scatter(input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None) -> Any:
    """y = input, but y[i, index[i,j]] = src[i,j] (dim 1), or one number. Errors as `gather`.

    For an input of one dimension the index may be a tensor of none.
    """
    src = value if src is None else src
    if src is None:
        raise TypeError("scatter: expects src, a tensor, or value, a number")
    if input.ndim == 0:
        return _as_vector(scatter, input, dim, index, src)
    if input.ndim == 1 and not raw(index).ndim:
        index = raw(index).reshape(1)
    if not hasattr(src, "ndim") or src.ndim == 0:
        k, axis = _along("scatter", input, dim, index)
        value = broadcast_to(number_of(src, input), k.shape)
        return Scatter.apply(input, value, index=k, axis=axis)
    k, axis = _along("scatter", input, dim, index, (src,))
    part = getitem(src, tuple([slice(0, n) for n in k.shape]))
    return Scatter.apply(input, part, index=k, axis=axis)


@on_its_device
def _rows(function: str, input: Any, dim: int, index: Any) -> tuple[Any, ...]:
    """The index for x[..., index, ...] along `dim`, where index is a vector of integers."""
    k = backend.copy(np.atleast_1d(beside(function, input, raw(index))))  # backward needs it so
    axis = axis_of(function, dim, input.ndim)
    if k.ndim != 1 or k.dtype.kind not in "iu":
        raise IndexError(
            f"{function}: index expects a vector of integers, got {k.dtype} of shape {k.shape}"
        )
    size = input.shape[axis] if input.ndim else 1
    if k.size and not (k.min() >= 0 and k.max() < size):
        raise IndexError(
            f"{function}: index expects 0 to {size - 1} along dim {dim} of a tensor of shape "
            f"{tuple(input.shape)}, got {k.min() if k.min() < 0 else k.max()}"
        )
    return (*[slice(None)] * axis, k, *[slice(None)] * (max(input.ndim, 1) - axis - 1))


def index_select(input: Any, dim: int, index: Any) -> Any:
    """The elements `index` (one dimension, integers) of dimension `dim`, in that order."""
    if input.ndim == 0:
        return _as_vector(index_select, input, dim, index)
    rows = _rows("index_select", input, dim, index)
    return Take.apply(input, index=rows)


def _source(function: str, input: Any, rows: tuple[Any, ...], source: Any) -> Any:
    """`source`, if it has one part for each place of the index, and the type of `input`."""
    k = next(i for i, r in enumerate(rows) if not isinstance(r, slice))
    wanted = (*input.shape[:k], len(rows[k]), *input.shape[k + 1 :])
    source = Reshape.apply(source, shape=(1,)) if source.ndim == 0 else source
    if tuple(source.shape) != wanted or source.dtype != input.dtype:
        raise RuntimeError(
            f"{function}: source expects shape {wanted} and type {input.dtype}, got "
            f"{tuple(source.shape)} and {source.dtype}"
        )
    return source


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    """y = input, y[index[i]] += alpha * source[i] (dim 0, likewise others); repeats add up.

    Raises IndexError for an index out of range, RuntimeError for shapes or types that differ.
    """
    if input.ndim == 0:
        return _as_vector(lambda *a: index_add(*a, alpha=alpha), input, dim, index, source)
    rows = _rows("index_add", input, dim, index)
    source = _source("index_add", input, rows, source)
    added = AddAt.apply(source, index=rows, shape=tuple(input.shape))
    return input + (added if alpha == 1 else added * alpha)


def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """y = input, but y[index[i]] = source[i] (dim 0, likewise others). Errors as `index_add`."""
    if input.ndim == 0:
        return _as_vector(index_copy, input, dim, index, source)
    rows = _rows("index_copy", input, dim, index)
    return IndexPut.apply(input, _source("index_copy", input, rows, source), index=rows)


@on_its_device
def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """y = input, but y[index[i]] = value, a number or a tensor of one. IndexError out of range."""
    if getattr(value, "ndim", 0):
        raise RuntimeError(f"index_fill: value expects one number, got shape {value.shape}")
    if input.ndim == 0:
        return Reshape.apply(index_fill(flatten(input), dim, index, value), shape=())
    rows = _rows("index_fill", input, dim, index)
    value = number_of(value, input)
    rows = tuple([r if isinstance(r, slice) else np.unique(r) for r in rows])  # each place once
    return IndexPut.apply(input, value, index=rows)


@on_its_device
def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """y = input, but y[indices] = values; with `accumulate` y[indices] += values, repeats adding.

    indices: a tuple of integer tensors or masks. Errors as `getitem`; RuntimeError for values of
    another type, or that do not broadcast.
    """
    basic, advanced = _parse(tuple(indices), input.shape)
    if basic is not None or advanced is None:
        raise IndexError("index_put: indices expects a tuple of integer tensors or masks")
    if values.dtype != input.dtype:
        raise RuntimeError(
            f"index_put: values expects type {input.dtype}, that of the tensor, got {values.dtype}"
        )
    advanced = _placed(input, advanced)
    if not accumulate:
        return IndexPut.apply(input, values, index=advanced)
    values = broadcast_to(values, raw(input)[advanced].shape)
    return input + AddAt.apply(values, index=advanced, shape=tuple(input.shape))


@on_its_device
def take(input: Any, index: Any) -> Any:
    """y[i] = the element number index[i] of all elements in a row; y has the shape of `index`.

    Negative numbers count from the end. IndexError out of range.
    """
    k = beside("take", input, raw(index))
    if k.dtype.kind not in "iu":
        raise RuntimeError(f"take: index expects integers, got {k.dtype}")
    size = int(np.prod(input.shape))
    if k.size and not (k.min() >= -size and k.max() < size):
        raise IndexError(f"take: index expects {-size} to {size - 1}, got {k.min()} to {k.max()}")
    row = Reshape.apply(input, shape=(size,))
    return Take.apply(row, index=(backend.copy(k),))


# ---------------------------------------------------------------------- masks


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """`input`, but `value` (a number, or a tensor of one) where `mask`. RuntimeError for a mask
    that is not bool, or a fraction into integers."""
    m = raw(mask)
    if m.dtype.kind != "b":
        raise RuntimeError(f"masked_fill: mask expects bools, got {m.dtype}")
    if getattr(value, "ndim", 0):
        raise RuntimeError(f"masked_fill: value expects one number, got shape {tuple(value.shape)}")
    if not isinstance(value, Tensor) and input.dtype.kind in "iu" and value != int(value):
        raise RuntimeError(f"masked_fill: {input.dtype} cannot hold {value}")
    return where(mask, number_of(value, input), input)


@on_its_device
def masked_select(input: Any, mask: Any) -> Any:
    """The elements of `input` where `mask`, in one dimension; both are broadcast first."""
    m = raw(mask)
    shape = broadcast_shapes(tuple(input.shape), m.shape)
    return getitem(broadcast_to(input, shape), np.broadcast_to(m, shape))


@on_its_device
def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """`input`, but the elements of `source`, in a row, one after the other where `mask`.

    RuntimeError for a mask that is not bool, types that differ, or too few elements.
    """
    shape = broadcast_shapes(tuple(input.shape), raw(mask).shape)
    m = np.broadcast_to(beside("masked_scatter", input, raw(mask)), shape)
    input = broadcast_to(input, shape)
    count = int(m.sum())
    if m.dtype.kind != "b" or source.dtype != input.dtype:
        raise RuntimeError(
            f"masked_scatter: expects a mask of bools and a source of type {input.dtype}, got "
            f"{m.dtype} and {source.dtype}"
        )
    if int(np.prod(source.shape)) < count:
        raise RuntimeError(
            f"masked_scatter: the mask has {count} places, source of shape {tuple(source.shape)} "
            "fewer elements"
        )
    part = Slice.apply(flatten(source), index=(slice(0, count),))
    return IndexPut.apply(input, part, index=(backend.copy(m),))


@on_its_device
def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """Where `input` is not zero: one row of indices for each element, shape (count, ndim), int64.

    With as_tuple: one vector for each dimension, for indexing.
    """
    x = raw(input)
    found = np.atleast_1d(x).nonzero()
    if as_tuple:
        return tuple([wrapped(k, input) for k in found])
    rows = np.stack(found, axis=1)
    return wrapped(rows if x.ndim else rows[:, :0], input)


def argwhere(input: Any) -> Any:
    """As `nonzero`."""
    return nonzero(input)


@on_its_device
def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """y[..., k] = 1 where k is the class number, else 0 (int64). num_classes -1: the largest + 1.

    Raises RuntimeError for types other than integers, or classes out of range.
    """
    k = raw(tensor)
    if k.dtype.kind not in "iu":
        raise RuntimeError(f"one_hot: expects integers, got {k.dtype}")
    if num_classes == -1:
        if not k.size:
            raise RuntimeError("one_hot: num_classes must be given for an empty tensor")
        num_classes = int(k.max()) + 1
    if k.size and (k.min() < 0 or k.max() >= num_classes):
        raise RuntimeError(
            f"one_hot: classes expect 0 to {num_classes - 1}, got {k.min()} to {k.max()}"
        )
    classes = backend.array_module(k).arange(num_classes)
    return wrapped((k[..., None] == classes).astype(np.int64), tensor)

"""Shape: the same numbers under other indices.

None of these operations computes anything: s says which element of x stands at index i of y, and
the gradient goes back the way the numbers came:

(1)  y[i] = x[s(i)]
(2)  grad_x[k] = sum of grad_y[i] over all i with s(i) = k

If every element is used at most once (reshape, permute, slice) that is the inverse
rearrangement, with zeros where nothing came from. If one is used several times (expand), a sum.

Views: reshape (where memory order allows), permute, expand and slices return the memory of x under
another shape and strides, as in PyTorch. A change in place of the one is a change of the other, for
the numbers and for the gradients.

By hand: for x = (1, 2, 3), x[1:] is (2, 3), and grad_y = (10, 20) comes back as (0, 10, 20);
x expanded to two rows gets from grad_y with the rows (1, 2, 3) and (10, 20, 30) their sum,
(11, 22, 33). How parts are put together, turned and repeated: arrange.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Function, Tensor
from .operands import into

__all__ = [
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "cat",
    "chunk",
    "clone",
    "concat",
    "concatenate",
    "contiguous",
    "expand",
    "expand_as",
    "flatten",
    "moveaxis",
    "movedim",
    "narrow",
    "permute",
    "ravel",
    "reshape",
    "reshape_as",
    "select",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "swapdims",
    "t",
    "transpose",
    "unbind",
    "unflatten",
    "unsqueeze",
    "view",
    "view_as",
]

# ---------------------------------------------------------------------- arguments


def listed(function: str, tensors: Any) -> list[Any]:
    """`tensors` as a list. TypeError for a single tensor, and for what is none."""
    if hasattr(tensors, "ndim"):
        raise TypeError(f"{function}: expects a list or tuple of tensors, got one tensor")
    parts = list(tensors)
    check_tensors(function, *parts)
    return parts


def check_tensors(function: str, *values: Any) -> None:
    """TypeError unless all `values` are Tensors or arrays."""
    for x in values:
        if not hasattr(x, "ndim"):
            raise TypeError(f"{function}: expects Tensors or arrays, got {type(x).__name__}")


def axis_of(function: str, dim: Any, ndim: int) -> int:
    """`dim` counted from the front. IndexError if a tensor of `ndim` dimensions has none such."""
    n = ndim or 1  # a 0-dimensional tensor lets itself be asked for dimension 0
    try:
        axis = dim.__index__()
    except AttributeError:
        raise TypeError(f"{function}: dim expects an integer, got {dim!r}") from None
    if not -n <= axis < n:
        raise IndexError(
            f"{function}: dim expects {-n} to {n - 1} for a tensor of {ndim} dimensions, got {dim}"
        )
    return axis % n


def axes_of(function: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """The axes that `dim` (an integer, several, or None for all) names, counted from the front."""
    if dim is None or dim == () or dim == []:
        return tuple(range(ndim))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    axes = tuple([axis_of(function, d, ndim) for d in dims])
    if len(set(axes)) != len(axes):
        raise RuntimeError(f"{function}: dim {tuple(dims)} names a dimension twice")
    return axes if ndim else ()


def sizes_of(function: str, sizes: tuple[Any, ...], named: Any = None) -> tuple[int, ...]:
    """The sizes given as `f(2, 3)`, `f((2, 3))`, `f([2, 3])`, or by keyword (`named`).

    TypeError for what is no integer.
    """
    if named is not None:
        sizes = (*sizes, named)
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    try:
        return tuple([n.__index__() for n in sizes])
    except AttributeError:
        raise TypeError(f"{function}: sizes are integers, got {sizes}") from None


# ---------------------------------------------------------------------- reshape and its kin


class Reshape(Function):
    """y has the elements of x in the same order;  grad_x = grad_y in the shape of x."""

    def forward(self, x: Any, *, shape: tuple[int, ...]) -> Any:
        self.x_shape = x.shape
        y = x.reshape(shape)
        self.view = x.flags.c_contiguous or np.may_share_memory(x, y)
        return y

    def backward(self, grad_y: Any) -> Any:
        return Reshape.apply(grad_y, shape=self.x_shape)


def _full_shape(function: str, x: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with its -1, if it has one, computed. RuntimeError if the elements do not fit."""
    size = math.prod(x.shape)
    known = math.prod([n for n in shape if n != -1])
    unknown = shape.count(-1)
    fits = known == size if not unknown else unknown == 1 and known > 0 and size % known == 0
    if not fits or any(n < -1 for n in shape):
        raise RuntimeError(
            f"{function}: shape {shape} cannot hold the {size} elements of a tensor of shape "
            f"{tuple(x.shape)}"
        )
    return tuple([size // known if n == -1 else n for n in shape]) if unknown else shape


def reshape(input: Any, *sizes: Any, shape: Any = None) -> Any:
    """The same elements, in the same order, in another shape; one size may be -1.

    A view of `input` where its memory order allows, else a copy. RuntimeError if the number of
    elements differs.
    """
    return Reshape.apply(
        input, shape=_full_shape("reshape", input, sizes_of("reshape", sizes, shape))
    )


def view(input: Any, *shape: Any) -> Any:
    """As `reshape`, but never a copy; `view(dtype)` reads the bytes as another type, no gradient.

    Raises RuntimeError if the number of elements differs, or if the elements do not lie in memory
    in such an order that the new shape can be a view: then use reshape, or contiguous() first.
    """
    if len(shape) == 1 and isinstance(shape[0], (np.dtype, type)):
        if not isinstance(input, Tensor):
            return input.view(shape[0])
        out = Tensor._wrap(input.array.view(shape[0]))
        out._version = input._version
        return out
    full = _full_shape("view", input, sizes_of("view", shape))
    y = Reshape.apply(input, shape=full)
    a, b = (input.array, y.array) if isinstance(input, Tensor) else (input, y)
    if not a.flags.c_contiguous and a.size and not np.may_share_memory(a, b):
        raise RuntimeError(
            f"view: a tensor of shape {tuple(a.shape)} with strides "
            f"{tuple(s // a.itemsize for s in a.strides)} cannot be seen as {full} without a copy; "
            "use reshape"
        )
    return y


def view_as(input: Any, other: Any) -> Any:
    """`input.view(other.shape)`."""
    return view(input, other.shape)


def reshape_as(input: Any, other: Any) -> Any:
    """`input.reshape(other.shape)`."""
    return reshape(input, tuple(other.shape))


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The dimensions start_dim to end_dim, both included, become one: (N,C,H,W) to (N,C*H*W)."""
    shape = tuple(input.shape)
    first = axis_of("flatten", start_dim, len(shape))
    last = axis_of("flatten", end_dim, len(shape))
    if first > last:
        raise RuntimeError(
            f"flatten: start_dim expects at most end_dim, got {start_dim} and {end_dim} for {shape}"
        )
    merged = math.prod(shape[first : last + 1])
    return Reshape.apply(input, shape=(*shape[:first], merged, *shape[last + 1 :]))


def ravel(input: Any) -> Any:
    """All elements in one dimension."""
    return flatten(input)


def unflatten(input: Any, dim: int, sizes: Any) -> Any:
    """Dimension `dim` becomes several of these sizes, of which one may be -1."""
    shape = tuple(input.shape)
    axis = axis_of("unflatten", dim, len(shape))
    sizes = sizes_of("unflatten", (sizes,))
    known = math.prod([n for n in sizes if n != -1])
    if sizes.count(-1) == 1 and known:
        sizes = tuple([shape[axis] // known if n == -1 else n for n in sizes])
    if math.prod(sizes) != shape[axis]:
        raise RuntimeError(
            f"unflatten: sizes {sizes} do not multiply up to {shape[axis]}, the size of dim {dim} "
            f"of a tensor of shape {shape}"
        )
    return Reshape.apply(input, shape=(*shape[:axis], *sizes, *shape[axis + 1 :]))


def squeeze(input: Any, dim: Any = None) -> Any:
    """Without the dimensions of size 1: all of them, or those in `dim`. A view."""
    shape = tuple(input.shape)
    axes = axes_of("squeeze", dim, len(shape)) if dim != () else ()
    kept = [n for i, n in enumerate(shape) if n != 1 or i not in axes]
    return Reshape.apply(input, shape=tuple(kept))


def unsqueeze(input: Any, dim: int) -> Any:
    """With one more dimension, of size 1, at `dim`. A view."""
    shape = tuple(input.shape)
    axis = axis_of("unsqueeze", dim, len(shape) + 1)
    return Reshape.apply(input, shape=(*shape[:axis], 1, *shape[axis:]))


# ---------------------------------------------------------------------- the order of dimensions


class Permute(Function):
    """y[i_p0, i_p1, ...] = x[i_0, i_1, ...];  grad_x = grad_y in the inverse order."""

    view = True

    def forward(self, x: Any, *, dims: tuple[int, ...]) -> Any:
        self.dims = dims
        return x.transpose(dims)

    def backward(self, grad_y: Any) -> Any:
        inverse = sorted(range(len(self.dims)), key=self.dims.__getitem__)
        return Permute.apply(grad_y, dims=tuple(inverse))


def permute(input: Any, *order: Any, dims: Any = None) -> Any:
    """The dimensions in the order `dims`: number i of the result is number dims[i]. A view."""
    order = sizes_of("permute", order, dims)
    axes = tuple([axis_of("permute", d, input.ndim) for d in order])
    if sorted(axes) != list(range(input.ndim)):
        raise RuntimeError(
            f"permute: dims expects each of the {input.ndim} dimensions once, got {order}"
        )
    return Permute.apply(input, dims=axes)


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged. A view."""
    dims = list(range(input.ndim))
    a, b = axis_of("transpose", dim0, input.ndim), axis_of("transpose", dim1, input.ndim)
    if dims:
        dims[a], dims[b] = dims[b], dims[a]
    return Permute.apply(input, dims=tuple(dims))


def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    """`transpose` under NumPy's name."""
    return transpose(input, axis0, axis1)


swapdims = transpose


def t(input: Any) -> Any:
    """A matrix transposed; tensors of one or no dimension as they are. A view."""
    if input.ndim > 2:
        raise RuntimeError(
            f"t: expects at most 2 dimensions, got shape {tuple(input.shape)}; use transpose or .mT"
        )
    return Permute.apply(input, dims=tuple(range(input.ndim))[::-1])


def movedim(input: Any, source: Any, destination: Any) -> Any:
    """The dimensions `source` moved to the places `destination`; the others keep their order."""
    source = axes_of("movedim", source, input.ndim)
    destination = axes_of("movedim", destination, input.ndim)
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: source and destination expect as many dims as each other, got {source} and "
            f"{destination}"
        )
    order = [d for d in range(input.ndim) if d not in source]
    for place, d in sorted(zip(destination, source, strict=True)):
        order.insert(place, d)
    return Permute.apply(input, dims=tuple(order))


moveaxis = movedim


# ---------------------------------------------------------------------- broadcasting


class Expand(Function):
    """y[i,j] = x[0,j] for every i;  grad_x[0,j] = sum over i of grad_y[i,j]."""

    view = True

    def forward(self, x: Any, *, shape: tuple[int, ...]) -> Any:
        self.x_shape = x.shape
        return x[...] if x.shape == shape else np.broadcast_to(x, shape)

    def backward(self, grad_y: Any) -> Any:
        return sum_to(grad_y, self.x_shape)


class SumTo(Function):
    """The adjoint of Expand: y[0,j] = sum over i of x[i,j];  grad_x[i,j] = grad_y[0,j]."""

    def forward(self, x: Any, *, shape: tuple[int, ...]) -> Any:
        self.x_shape = x.shape
        lead = x.ndim - len(shape)
        ones = [i for i in range(lead, x.ndim) if shape[i - lead] == 1 != x.shape[i]]
        # float16 holds 11 bits: sums need more. Integers stay what they are.
        dtype = np.float32 if x.dtype == np.float16 else x.dtype
        y = x.sum(axis=(*range(lead), *ones), dtype=dtype).reshape(shape)
        return y.astype(x.dtype, copy=False)

    def backward(self, grad_y: Any) -> Any:
        return Expand.apply(grad_y, shape=self.x_shape)


def sum_to(input: Any, shape: tuple[int, ...]) -> Any:
    """`input` summed over those dimensions that broadcasting from `shape` added or stretched.

    What every broadcasting op does to its gradients: a number used many times collects them all.
    """
    return input if input.shape == shape else SumTo.apply(input, shape=shape)


def broadcast_to(input: Any, shape: Any) -> Any:
    """`input` repeated along dimensions of size 1, or in front, up to `shape`. A view, read-only.

    RuntimeError if the shapes do not allow it. In `expand`, -1 stands for the size that is there.
    """
    return expand(input, shape)


def expand(input: Any, *sizes: Any) -> Any:
    """`input` repeated along dimensions of size 1, or in front; -1 keeps a size. A view, read-only.

    RuntimeError if a size other than 1 would change.
    """
    shape, old = sizes_of("expand", sizes), tuple(input.shape)
    lead = len(shape) - len(old)
    full = tuple([old[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape)])
    pairs = zip(old, full[max(lead, 0) :], strict=False)
    if lead < 0 or any(n < 0 for n in full) or any(m not in (1, n) for m, n in pairs):
        raise RuntimeError(f"expand: a tensor of shape {old} cannot be expanded to {shape}")
    return Expand.apply(input, shape=full)


def expand_as(input: Any, other: Any) -> Any:
    """`input.expand(other.shape)`."""
    return expand(input, other.shape)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that tensors of these shapes broadcast to. RuntimeError if they do not."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise RuntimeError(
            f"broadcast_shapes: shapes {', '.join(map(str, shapes))} do not broadcast"
        ) from None


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """All tensors expanded to their common shape."""
    shape = broadcast_shapes(*[tuple(x.shape) for x in tensors])
    return tuple([expand(x, shape) for x in tensors])


# ---------------------------------------------------------------------- parts


class Slice(Function):
    """y = x[index], a view, for an index of integers, slices, None and one Ellipsis.

    grad_x is zero but for grad_x[index] = grad_y.
    """

    view = True

    def forward(self, x: Any, *, index: Any) -> Any:
        self.x_shape, self.index = x.shape, index
        return x[index]

    def backward(self, grad_y: Any) -> Any:
        return Unslice.apply(grad_y, shape=self.x_shape, index=self.index)


class Unslice(Function):
    """The adjoint of Slice: y is zero but for y[index] = x;  grad_x = grad_y[index]."""

    def forward(self, x: Any, *, shape: tuple[int, ...], index: Any) -> Any:
        self.index = index
        y = backend.array_module(x).zeros(shape, x.dtype)
        y[index] = x
        return y

    def backward(self, grad_y: Any) -> Any:
        return Slice.apply(grad_y, index=self.index)


def narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    """The elements start to start + length - 1 of dimension `dim`. A view.

    Raises IndexError or RuntimeError where they are not all inside.
    """
    axis = _dimension_of("narrow", dim, input)
    size, start = input.shape[axis], int(start)
    if not -size <= start <= size:
        raise IndexError(f"narrow: start expects {-size} to {size}, got {start}")
    start = start + size if start < 0 else start
    if length < 0 or start + length > size:
        raise RuntimeError(
            f"narrow: start {start} and length {length} leave dimension {dim}, of size {size}"
        )
    return part_of(input, axis, start, start + length)


def part_of(x: Any, axis: int, start: int | None, stop: int | None) -> Any:
    """x[start:stop] along one axis: a view."""
    return Slice.apply(x, index=(slice(None),) * axis + (slice(start, stop), Ellipsis))


def select(input: Any, dim: int, index: int) -> Any:
    """Element `index` of dimension `dim`, which disappears. A view. IndexError if out of range."""
    axis = axis_of("select", dim, input.ndim)
    if input.ndim == 0:
        raise IndexError("select: a 0-dimensional tensor has no dimension to select from")
    size = input.shape[axis]
    if not -size <= index < size:
        raise IndexError(
            f"select: index expects {-size} to {size - 1} in dimension {dim} of a tensor of shape "
            f"{tuple(input.shape)}, got {index}"
        )
    return Slice.apply(input, index=(slice(None),) * axis + (int(index), Ellipsis))


def _dimension_of(function: str, dim: int, x: Any) -> int:
    """`axis_of` for a tensor that has dimensions. RuntimeError if it has none."""
    if x.ndim == 0:
        raise RuntimeError(f"{function}: expects at least one dimension, got a tensor of shape ()")
    return axis_of(function, dim, x.ndim)


def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Parts of one size (the last may be smaller), or of the given sizes, along `dim`. Views."""
    axis = _dimension_of("split", dim, tensor)
    size = tensor.shape[axis]
    if isinstance(split_size_or_sections, (tuple, list)):
        sections = list(split_size_or_sections)
        if sum(sections) != size or any(n < 0 for n in sections):
            raise RuntimeError(
                f"split: sizes expect to sum up to {size}, the size of dim {dim} of a tensor of "
                f"shape {tuple(tensor.shape)}, got {sections}"
            )
    else:
        step = split_size_or_sections
        if step < 0 or (step == 0 and size):
            raise RuntimeError(f"split: split_size expects a positive number, got {step}")
        sections = [min(step, size - i) for i in range(0, size, step)] if size else [0]
    stops = np.cumsum(sections).tolist()
    pairs = zip(stops, sections, strict=True)
    return tuple([part_of(tensor, axis, stop - n, stop) for stop, n in pairs])


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most `chunks` parts of equal size (the last may be smaller) along `dim`. Views."""
    if chunks <= 0:
        raise RuntimeError(f"chunk: chunks expects a positive number, got {chunks}")
    size = input.shape[_dimension_of("chunk", dim, input)]
    return split(input, -(-size // chunks), dim) if size else split(input, [0] * chunks, dim)


def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """All parts along `dim`, without that dimension. Views."""
    axis = _dimension_of("unbind", dim, input)
    return tuple([select(input, axis, i) for i in range(input.shape[axis])])


class Cat(Function):
    """y = the parts one after the other along dim;  each part's gradient is its part of grad_y."""

    def forward(self, *parts: Any, dim: int) -> Any:
        self.dim, self.shapes = dim, [x.shape for x in parts]
        return np.concatenate([x for x in parts if x.shape != (0,)] or parts[:1], axis=dim)

    def backward(self, grad_y: Any) -> Any:
        grads, start = [], 0
        for shape, need in zip(self.shapes, self.needs_input_grad, strict=True):
            stop = start + (0 if shape == (0,) else shape[self.dim])
            part = part_of(grad_y, self.dim, start, stop) if need else None
            grads.append(Reshape.apply(part, shape=(0,)) if need and shape == (0,) else part)
            start = stop
        return tuple(grads)


def cat(tensors: Any, dim: int = 0, *, axis: int | None = None, out: Any = None) -> Any:
    """Tensors one after the other along `dim` (or `axis`); all other sizes must be equal.

    Types meet by promotion. Raises ValueError for no tensors, RuntimeError for shapes that do not
    fit, naming them. An empty tensor of shape (0,) is skipped, as in PyTorch. Written into `out`,
    if given.
    """
    parts = listed("cat", tensors)
    if not parts:
        raise ValueError("cat: expects at least one tensor, got none")
    parts = _of_one_type(parts)
    shapes = [tuple(x.shape) for x in parts if tuple(x.shape) != (0,)] or [(0,)]
    axis = axis_of("cat", dim if axis is None else axis, len(shapes[0]))
    rests = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len(rests) != 1 or len({len(shape) for shape in shapes}) != 1 or shapes[0] == ():
        raise RuntimeError(
            f"cat: all sizes but that of dimension {dim} must be equal, got shapes "
            f"{', '.join(map(str, shapes))}"
        )
    return into(out, Cat.apply(*parts, dim=axis), "cat")


def _of_one_type(parts: list[Any]) -> list[Any]:
    if len({x.dtype for x in parts}) == 1:
        return parts
    from ..autograd.dtypes import result_type
    from .arithmetic import cast

    dtype = result_type(*parts)
    return [cast(x, dtype) for x in parts]


concat = concatenate = cat


def stack(tensors: Any, dim: int = 0, *, axis: int | None = None, out: Any = None) -> Any:
    """Tensors of one shape along a new dimension `dim` (or `axis`). RuntimeError if they differ."""
    parts = listed("stack", tensors)
    shapes = [tuple(x.shape) for x in parts]
    if not parts:
        raise RuntimeError("stack: expects at least one tensor, got none")
    if len(set(shapes)) != 1:
        raise RuntimeError(
            f"stack: expects tensors of one shape, got {', '.join(map(str, shapes))}"
        )
    axis = axis_of("stack", dim if axis is None else axis, parts[0].ndim + 1)
    y = Cat.apply(*_of_one_type([unsqueeze(x, axis) for x in parts]), dim=axis)
    return into(out, y, "stack")


# ---------------------------------------------------------------------- copies


class Clone(Function):
    """y = x in new memory, in the same order ("K") or in that of the dimensions ("C")."""

    def forward(self, x: Any, *, order: Any = "K") -> Any:
        return x.copy(order=order)

    def backward(self, grad_y: Any) -> Any:
        return grad_y


def clone(input: Any, *, memory_format: Any = None) -> Any:
    """A copy, through which gradients flow. `memory_format` is accepted and has no effect."""
    return Clone.apply(input)


def contiguous(input: Any, memory_format: Any = None) -> Any:
    """`input` itself if its memory order is that of its dimensions, else such a copy."""
    array = input.array if isinstance(input, Tensor) else input
    return input if array.flags.c_contiguous else Clone.apply(input, order="C")

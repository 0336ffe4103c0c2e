"""Shapes: reshaping, permuting, broadcasting, parts, joining, diagonals, copies and types."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case, Draw, alias, entered, entry, op


def some(draw: Draw, low: int = 1, high: int = 4) -> np.ndarray:
    """A tensor of so many dimensions."""
    return draw.normal(*draw.shape(draw.integer(low, high)))


def dim_of(draw: Draw, x: np.ndarray) -> int:
    """One of its dimensions, from the front or from the end."""
    return draw.integer(-x.ndim, x.ndim - 1)


# ---------------------------------------------------------------------- reshape and its kin


def other_shape(draw: Draw, x: np.ndarray) -> tuple[int, ...]:
    """The sizes in another order, joined, with one -1 perhaps."""
    sizes = draw.rng.permutation(x.shape).tolist()
    if len(sizes) > 1 and draw.boolean():
        sizes[:2] = [sizes[0] * sizes[1]]
    if draw.boolean():
        sizes[draw.integer(0, len(sizes) - 1)] = -1
    return tuple(sizes)


@op(section="Reshape")
def reshape(draw: Draw) -> Case:
    """Of tensors in any memory order."""
    x = some(draw)
    shape = other_shape(draw, x)
    if draw.turn(True, False):
        return Case("reshape", x, shape)
    return Case(lambda library, x: (x + 1).transpose(0, -1).reshape(*shape), x)


@op(section="Reshape")
def view(draw: Draw) -> Case:
    """Never a copy."""
    x = some(draw)
    return Case("Tensor.view", x, *other_shape(draw, x))


for name in ("view_as", "reshape_as", "expand_as"):

    def as_other(draw: Draw, name: str = name) -> Case:
        """The shape of another tensor."""
        x = some(draw)
        other = (2, *x.shape) if name == "expand_as" else tuple(draw.rng.permutation(x.shape))
        return Case(f"Tensor.{name}", x, np.zeros(other, np.int64))

    entry(name, as_other, section="Expand" if name == "expand_as" else "Reshape", count=6)


@op(section="Reshape")
def flatten(draw: Draw) -> Case:
    """From one dimension to another."""
    x = some(draw)
    first = draw.integer(0, x.ndim - 1)
    return Case("flatten", x, first, draw.integer(first, x.ndim - 1) - draw.choice(0, x.ndim))


@op(section="Reshape", count=4)
def ravel(draw: Draw) -> Case:
    """All in one row."""
    return Case("ravel", some(draw, 0))


@op(section="Reshape")
def unflatten(draw: Draw) -> Case:
    """One dimension into several, one of them computed."""
    x = draw.normal(2, 12, 3)
    return Case("unflatten", x, draw.choice(1, -2), draw.choice((3, 4), (2, -1), (-1, 3, 2)))


@op(section="Reshape")
def squeeze(draw: Draw) -> Case:
    """All dimensions of size 1, or one or two that may be."""
    x = draw.normal(*draw.shape(draw.integer(2, 4), 1, 2))
    return draw.choice(Case("squeeze", x), Case("squeeze", x, dim_of(draw, x)),
                       Case("squeeze", x, (0, -1)))  # fmt: skip


@op(section="Reshape")
def unsqueeze(draw: Draw) -> Case:
    """A new dimension anywhere."""
    x = some(draw, 0)
    return Case("unsqueeze", x, draw.integer(-x.ndim - 1, x.ndim))


# ---------------------------------------------------------------------- the order of dimensions


@op(section="Permute")
def permute(draw: Draw) -> Case:
    """Any order."""
    x = some(draw)
    return Case("permute", x, tuple(draw.rng.permutation(x.ndim).tolist()))


@op(section="Permute")
def transpose(draw: Draw) -> Case:
    """Any two."""
    x = some(draw)
    return Case("transpose", x, dim_of(draw, x), dim_of(draw, x))


@op(section="Permute", count=6)
def t(draw: Draw) -> Case:
    """A matrix or less."""
    return Case("t", some(draw, 0, 2))


@op(section="Permute")
def movedim(draw: Draw) -> Case:
    """One or several."""
    x = some(draw, 2)
    a, b = draw.rng.permutation(x.ndim)[:2].tolist(), draw.rng.permutation(x.ndim)[:2].tolist()
    return draw.choice(
        Case("movedim", x, a[0], b[0] - x.ndim), Case("movedim", x, tuple(a), tuple(b))
    )


# ---------------------------------------------------------------------- broadcasting


@op(section="Expand")
def expand(draw: Draw) -> Case:
    """Sizes of 1, new dimensions, -1 for those that stay."""
    shape = draw.shape(draw.integer(1, 3))
    x = draw.normal(*draw.broadcast(shape))
    sizes = [-1 if i >= len(shape) - x.ndim and n == x.shape[i - len(shape)] else n
             for i, n in enumerate(shape)]  # fmt: skip
    return Case("Tensor.expand", x, *draw.choice(shape, sizes))


@op(section="Expand", count=6)
def broadcast_to(draw: Draw) -> Case:
    """To a larger shape."""
    shape = draw.shape(draw.integer(1, 3))
    return Case("broadcast_to", draw.normal(*draw.broadcast(shape)), shape)


@op(section="Expand", count=6)
def broadcast_tensors(draw: Draw) -> Case:
    """Two against each other."""
    shape = draw.shape(draw.integer(1, 3))
    x, y = draw.normal(*draw.broadcast(shape)), draw.normal(*draw.broadcast(shape))
    return Case("broadcast_tensors", x, y)


@op(gradient=False, count=6)
def broadcast_shapes(draw: Draw) -> Case:
    """Two shapes."""
    shape = draw.shape(draw.integer(1, 3))
    return Case(
        lambda library, a, b: tuple(library.broadcast_shapes(a, b)),
        draw.broadcast(shape),
        draw.broadcast(shape),
    )


@op(section="Expand")
def repeat(draw: Draw) -> Case:
    """Also with new dimensions in front."""
    x = some(draw, 0, 3)
    return Case("Tensor.repeat", x, *draw.shape(x.ndim + draw.integer(0, 1) + (not x.ndim), 1, 3))


@op(section="Expand")
def tile(draw: Draw) -> Case:
    """More or fewer counts than dimensions."""
    return Case("tile", some(draw, 1, 3), draw.shape(draw.integer(1, 4), 1, 2))


@op(section="Expand")
def repeat_interleave(draw: Draw) -> Case:
    """Along a dimension or over all."""
    x = some(draw, 1, 3)
    dim = dim_of(draw, x)
    counts = draw.integers(0, 2, x.shape[dim])
    counts[0] += 1
    return draw.choice(
        Case("repeat_interleave", x, draw.integer(1, 3)),
        Case("repeat_interleave", x, draw.integer(1, 3), dim),
        Case("repeat_interleave", x, counts, dim),
        Case("repeat_interleave", x, np.array([2]), dim),
    )


# ---------------------------------------------------------------------- parts


@op(section="Slice")
def narrow(draw: Draw) -> Case:
    """Any part."""
    x = some(draw)
    dim = dim_of(draw, x)
    start = draw.integer(0, x.shape[dim] - 1)
    return Case("narrow", x, dim, start, draw.integer(1, x.shape[dim] - start))


@op(section="Slice")
def select(draw: Draw) -> Case:
    """From the front or the end."""
    x = some(draw)
    dim = dim_of(draw, x)
    return Case("select", x, dim, draw.integer(-x.shape[dim], x.shape[dim] - 1))


@op(section="Slice")
def split(draw: Draw) -> Case:
    """By one size or by several."""
    x = draw.normal(5, 6)
    return draw.choice(Case("split", x, draw.integer(1, 6), draw.choice(0, 1, -1)),
                       Case("split", x, [1, 2, 3], 1), Case("split", x, [0, 5], 0))  # fmt: skip


entry(
    "split_with_sizes",
    lambda draw: Case("Tensor.split_with_sizes", draw.normal(5, 6), [1, 2, 3], 1),
    section="Slice",
    count=2,
)


@op(section="Slice")
def chunk(draw: Draw) -> Case:
    """Fewer parts than asked for where they do not fit."""
    x = some(draw)
    return Case("chunk", x, draw.integer(1, 5), dim_of(draw, x))


@op(section="Slice")
def unbind(draw: Draw) -> Case:
    """All parts of a dimension."""
    x = some(draw)
    return Case("unbind", x, dim_of(draw, x))


@op(section="Slice")
def tensor_split(draw: Draw) -> Case:
    """Into a number of parts, or at places."""
    x = draw.normal(7, 3)
    return Case(
        "tensor_split", x, draw.choice(1, 3, 9, (2,), (1, 4), (5, 2, 30)), draw.choice(0, 1)
    )


for name, shape in (("hsplit", (2, 4)), ("vsplit", (4, 2)), ("dsplit", (2, 1, 4))):

    def cut(draw: Draw, name: str = name, shape: tuple[int, ...] = shape) -> Case:
        """Into equal parts, or at places."""
        return Case(name, draw.normal(*shape), draw.choice(1, 2, 4, (1,), (1, 3)))

    entry(name, cut, section="Slice", count=6)

# ---------------------------------------------------------------------- joining


def alike(draw: Draw, dim: int, ndim: int) -> list[np.ndarray]:
    """Tensors that differ in one size."""
    shape = list(draw.shape(ndim))
    shapes = [[*shape[:dim], draw.integer(1, 3), *shape[dim + 1 :]] for _ in range(3)]
    return [draw.normal(*s) for s in shapes[: draw.integer(1, 3)]]


@op(section="Cat")
def cat(draw: Draw) -> Case:
    """One to three parts; an empty one too."""
    ndim = draw.integer(1, 3)
    dim = draw.integer(0, ndim - 1)
    parts = alike(draw, dim, ndim)
    parts += [draw.normal(0)] * draw.integer(0, 1)
    return Case("cat", parts, dim - draw.choice(0, ndim))


@op(section="Cat")
def stack(draw: Draw) -> Case:
    """Along a new dimension anywhere."""
    shape = draw.shape(draw.integer(0, 3))
    parts = [draw.normal(*shape) for _ in range(draw.integer(1, 3))]
    return Case("stack", parts, draw.integer(-len(shape) - 1, len(shape)))


for name, dim in (("hstack", 1), ("vstack", 0), ("dstack", 2), ("column_stack", 1)):

    def stacked(draw: Draw, name: str = name, dim: int = dim) -> Case:
        """Tensors of few or many dimensions."""
        if draw.boolean():
            return Case(name, alike(draw, dim, draw.integer(max(2, dim + 1), 4)))
        return Case(name, [draw.normal(3) for _ in range(draw.integer(1, 3))])

    entry(name, stacked, section="Cat")

for name in ("atleast_1d", "atleast_2d", "atleast_3d"):

    def at_least(draw: Draw, name: str = name) -> Case:
        """One tensor, or several."""
        return draw.choice(Case(name, some(draw, 0)), Case(name, some(draw, 0), some(draw, 0)))

    entry(name, at_least, section="Reshape", count=6)


@op(section="Expand")
def meshgrid(draw: Draw) -> Case:
    """One to three vectors, either way round."""
    vectors = [draw.normal(draw.integer(1, 4)) for _ in range(draw.integer(1, 3))]
    return Case("meshgrid", *vectors, indexing=draw.choice("ij", "xy"))


@op(section="Cat", count=6)
def cartesian_prod(draw: Draw) -> Case:
    """One to three vectors."""
    vectors = [draw.normal(draw.integer(1, 3)) for _ in range(draw.integer(1, 3))]
    return Case("cartesian_prod", *vectors)


# ---------------------------------------------------------------------- turned


@op(section="Flip")
def flip(draw: Draw) -> Case:
    """One or several dimensions."""
    x = some(draw)
    dims = draw.rng.permutation(x.ndim)[: draw.integer(1, x.ndim)].tolist()
    return Case("flip", x, draw.choice(dims, tuple([d - x.ndim for d in dims])))


@op(section="Cat")
def roll(draw: Draw) -> Case:
    """Along one or two dimensions, or over all."""
    x = some(draw, 2)
    return draw.choice(Case("roll", x, draw.integer(-5, 5)),
                       Case("roll", x, draw.integer(-5, 5), dim_of(draw, x)),
                       Case("roll", x, (1, -2), (0, 1)))  # fmt: skip


entry("fliplr", lambda draw: Case("fliplr", some(draw, 2)), section="Flip", count=4)
entry("flipud", lambda draw: Case("flipud", some(draw, 1)), section="Flip", count=4)


@op(section="Flip")
def rot90(draw: Draw) -> Case:
    """Any number of quarters, in any plane."""
    x = some(draw, 2)
    plane = draw.choice((0, 1), (1, 0), (-1, 0))
    return Case("rot90", x, draw.integer(-4, 5), plane)


# ---------------------------------------------------------------------- copies

entry("clone", lambda draw: Case("clone", some(draw, 0)), section="Clone", count=4)


@op(section="Clone", count=4)
def contiguous(draw: Draw) -> Case:
    """Of a tensor that is not."""
    return Case(lambda library, x: x.transpose(0, 1).contiguous(), some(draw, 2))


# ---------------------------------------------------------------------- diagonals, windows

for name, section in (("tril", "Triangles"), ("triu", "Triangles")):

    def triangle(draw: Draw, name: str = name) -> Case:
        """Of matrices, and of stacks of them."""
        return Case(name, some(draw, 2), diagonal=draw.integer(-2, 3))

    entry(name, triangle, section=section)


@op(section="Diagonals")
def diagonal(draw: Draw) -> Case:
    """Of any two dimensions."""
    x = some(draw, 2)
    a, b = draw.rng.permutation(x.ndim)[:2].tolist()
    reach = draw.integer(1 - x.shape[a], x.shape[b] - 1)
    return Case("diagonal", x, reach, a, b - draw.choice(0, x.ndim))


@op(section="Diagonals")
def diag_embed(draw: Draw) -> Case:
    """Into any two dimensions."""
    x = some(draw, 1, 3)
    a, b = draw.rng.permutation(x.ndim + 1)[:2].tolist()
    return draw.choice(Case("diag_embed", x, draw.integer(-2, 2)),
                       Case("diag_embed", x, draw.integer(-2, 2), a, b))  # fmt: skip


@op(section="Diagonals")
def diag(draw: Draw) -> Case:
    """Of a vector or a matrix."""
    x = some(draw, 1, 2)
    reach = draw.integer(-2, 2) if x.ndim == 1 else draw.integer(1 - x.shape[0], x.shape[1] - 1)
    return Case("diag", x, reach)


@op(section="Diagonals", count=4)
def diagflat(draw: Draw) -> Case:
    """Of anything."""
    return Case("diagflat", some(draw, 0, 2), draw.integer(-1, 1))


@op(section="Diagonals", count=6)
def trace(draw: Draw) -> Case:
    """Of a matrix."""
    return Case("trace", some(draw, 2, 2))


def windows(draw: Draw) -> Case:
    """Windows that overlap, touch, or leave gaps."""
    x = some(draw, 1, 3)
    dim = dim_of(draw, x)
    return Case("Tensor.unfold", x, dim, draw.integer(1, x.shape[dim]), draw.integer(1, 3))


entry("Tensor.unfold", windows, section="Windows", count=20)


# ---------------------------------------------------------------------- types


@op(section="Cast")
def to(draw: Draw) -> Case:
    """Another type. Not a narrower one: differences cannot see through its rounding."""
    x = some(draw)
    name = draw.choice("int64", "bool", "float64", "uint8")

    def call(library: Any, x: Any) -> Any:
        return x.abs().to(getattr(library, name)) * x

    return Case(call, x)


for new, old in {
    "moveaxis": "movedim", "swapaxes": "transpose", "swapdims": "transpose", "concat": "cat",
    "concatenate": "cat", "row_stack": "vstack",
}.items():  # fmt: skip
    alias(new, entered(old))

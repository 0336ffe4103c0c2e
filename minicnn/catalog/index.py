"""Indexing, masks, gathering and scattering, embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case, Draw, entry, op


def some(draw: Draw, low: int = 1, high: int = 3) -> np.ndarray:
    """A tensor of so many dimensions."""
    return draw.normal(*draw.shape(draw.integer(low, high)))


def dim_of(draw: Draw, x: np.ndarray) -> int:
    """One of its dimensions, from the front or from the end."""
    return draw.integer(-x.ndim, x.ndim - 1)


def places(draw: Draw, x: np.ndarray, dim: int, repeats: bool = True) -> np.ndarray:
    """A vector of places along a dimension."""
    n = x.shape[dim]
    if repeats:
        return draw.integers(0, n - 1, draw.integer(1, 4))
    return draw.rng.permutation(n)[: draw.integer(1, n)]


# ---------------------------------------------------------------------- x[index]

BASIC: tuple[Any, ...] = (
    1, -1, slice(1, None), slice(None, None, 2), None, Ellipsis, (slice(None), 0),
    (Ellipsis, None, slice(0, 2)), (0, slice(1, 3), None),
)  # fmt: skip


def part(draw: Draw) -> Case:
    """Integers, slices, None, Ellipsis, tensors of integers, masks, and mixtures."""
    x = draw.normal(3, 4, 2)
    k, m = draw.integers(-3, 2, 2), draw.mask(3)
    index = draw.choice(*BASIC)
    return draw.choice(
        Case(lambda library, x: x[index], x),
        Case(lambda library, x, k: x[k], x, k),
        Case(lambda library, x, k: x[:, k, 0], x, k),
        Case(lambda library, x, k: x[1, :, k % 2], x, k),
        Case(lambda library, x, k: x[k, ..., k % 2], x, k),
        Case(lambda library, x, m: x[m], x, m),
        Case(lambda library, x, m: x[m, 1:, None], x, m),
        Case(lambda library, x, m: x[m], x, draw.mask(3, 4, 2)),
    )


def changed(draw: Draw) -> Case:
    """x[index] = value for all of these, of a copy of x."""
    x = draw.normal(3, 4, 2)
    k, m = np.array([2, -3]), draw.mask(3)

    def put(library: Any, x: Any, value: Any, index: Any) -> Any:
        y = x * 1
        y[index] = value
        return y

    return draw.choice(
        Case(put, x, draw.normal(4, 2), 1),
        Case(lambda library, x, v: put(library, x, v, (slice(None), slice(1, 3))), x,
             draw.normal(2, 1)),
        Case(put, x, draw.normal(2, 1, 2), k),
        Case(put, x, draw.normal(1, 2), m),
        Case(lambda library, x: put(library, x, 2.5, (Ellipsis, 0)), x),
    )  # fmt: skip


entry("Tensor.__getitem__", part, section="Slice", count=30)
entry("Tensor.__setitem__", changed, section="IndexPut", count=20)

# ---------------------------------------------------------------------- along one dimension


def fitting(draw: Draw, x: np.ndarray, dim: int, unique: bool = False) -> np.ndarray:
    """An index for gather and scatter: not larger than x but along dim."""
    shape = [draw.integer(1, n) for n in x.shape]
    if unique:
        full = np.moveaxis(np.zeros(x.shape, np.int64), dim, -1)
        order = draw.rng.permuted(full + np.arange(x.shape[dim]), axis=-1)
        return np.moveaxis(order, -1, dim)[tuple([slice(0, n) for n in shape])]
    shape[dim] = draw.integer(1, 4)
    return draw.integers(0, x.shape[dim] - 1, *shape)


@op(section="Gather")
def gather(draw: Draw) -> Case:
    """Along any dimension, places repeating."""
    x = some(draw)
    dim = dim_of(draw, x)
    return Case("gather", x, dim, fitting(draw, x, dim))


@op(section="Gather")
def take_along_dim(draw: Draw) -> Case:
    """Along a dimension, or over all."""
    x = some(draw)
    dim = dim_of(draw, x)
    shape = list(x.shape)
    shape[dim] = 2
    k = draw.integers(0, x.shape[dim] - 1, *shape)
    return draw.choice(Case("take_along_dim", x, k, dim), Case("take_along_dim", x, k.reshape(-1)))


@op(section="ScatterAdd")
def scatter_add(draw: Draw) -> Case:
    """Places that repeat add up."""
    x = some(draw)
    dim = dim_of(draw, x)
    k = fitting(draw, x, dim)
    return Case("scatter_add", x, dim, k, draw.normal(*k.shape))


@op(section="Scatter")
def scatter(draw: Draw) -> Case:
    """A tensor or a number, to different places."""
    x = some(draw)
    dim = dim_of(draw, x)
    k = fitting(draw, x, dim, unique=True)
    return draw.choice(
        Case("scatter", x, dim, k, draw.normal(*k.shape)),
        Case(lambda library, x, k: library.scatter(x, dim, k, 1.5), x, k),
        Case("Tensor.scatter", x, dim, k, value=-1.0),
    )


@op(section="Take")
def index_select(draw: Draw) -> Case:
    """Along any dimension, places repeating."""
    x = some(draw)
    dim = dim_of(draw, x)
    return Case("index_select", x, dim, places(draw, x, dim))


def rows(draw: Draw, name: str, repeats: bool, **options: Any) -> Case:
    """A function of (x, dim, index, source)."""
    x = some(draw)
    dim = dim_of(draw, x)
    k = places(draw, x, dim, repeats)
    shape = list(x.shape)
    shape[dim] = len(k)
    return Case(name, x, dim, k, draw.normal(*shape), **options)


entry(
    "index_add",
    lambda draw: rows(draw, "index_add", True, alpha=draw.choice(1, -0.5)),
    section="AddAt",
)
entry("index_copy", lambda draw: rows(draw, "index_copy", False), section="IndexPut")


@op(section="IndexPut")
def index_fill(draw: Draw) -> Case:
    """By a number or a tensor of one."""
    x = some(draw)
    dim = dim_of(draw, x)
    value = draw.choice(2.5, draw.normal())
    return Case("index_fill", x, dim, places(draw, x, dim), value)


@op(section="IndexPut")
def index_put(draw: Draw) -> Case:
    """Different places, or repeated ones that add up."""
    x = draw.normal(3, 4)
    if draw.boolean():
        i, j = draw.integers(0, 2, 4), draw.integers(0, 3, 4)
        return Case(
            lambda library, x, i, j, v: library.index_put(x, (i, j), v, accumulate=True),
            x, i, j, draw.normal(*draw.choice((4,), (1,))),
        )  # fmt: skip
    k = draw.rng.permutation(3)[:2]
    return Case(lambda library, x, k, v: library.index_put(x, (k,), v), x, k, draw.normal(2, 4))


@op(section="Take")
def take(draw: Draw) -> Case:
    """Numbers over all elements, negative ones too."""
    x = some(draw)
    return Case("take", x, draw.integers(-x.size, x.size - 1, *draw.shape(2)))


# ---------------------------------------------------------------------- masks


@op(section="Where")
def masked_fill(draw: Draw) -> Case:
    """By a number or a tensor of one; the mask broadcasts."""
    x = some(draw)
    value = draw.choice(0.0, float("-inf"), draw.normal())
    return Case("masked_fill", x, draw.mask(*draw.broadcast(x.shape)), value)


@op(section="Take")
def masked_select(draw: Draw) -> Case:
    """The mask broadcasts."""
    x = draw.normal(*draw.shape(2, 2))
    mask = draw.mask(*draw.broadcast(x.shape)) if draw.boolean() else draw.mask(*x.shape)
    mask.flat[0] = True
    return Case("masked_select", x, mask)


@op(section="IndexPut")
def masked_scatter(draw: Draw) -> Case:
    """More elements than places."""
    x = some(draw, 2)
    return Case("masked_scatter", x, draw.mask(*x.shape), draw.normal(x.size + 1))


@op(gradient=False)
def nonzero(draw: Draw) -> Case:
    """As rows, or as vectors."""
    return Case("nonzero", draw.integers(0, 1, *draw.shape(draw.integer(1, 3))),
                as_tuple=draw.boolean())  # fmt: skip


@op(gradient=False, count=6)
def argwhere(draw: Draw) -> Case:
    """As rows."""
    return Case("argwhere", draw.mask(*draw.shape(2)))


@op(gradient=False)
def one_hot(draw: Draw) -> Case:
    """As many classes as there are, or more."""
    x = draw.integers(0, 4, *draw.shape(draw.integer(1, 2)))
    return Case("nn.functional.one_hot", x, draw.choice(-1, 5, 7))


@op(section="Embedding", count=20)
def embedding(draw: Draw) -> Case:
    """With a filler, with gradients scaled by frequency, with a largest length."""
    options: dict[str, Any] = draw.choice({}, {"padding_idx": 1}, {"padding_idx": -1})
    options |= draw.choice({}, {"scale_grad_by_freq": True})
    k, w = draw.integers(0, 4, *draw.shape(draw.integer(1, 2))), draw.normal(5, 3)
    if options.get("padding_idx") or options.get("scale_grad_by_freq"):
        # Other derivatives than those of y: differences cannot confirm them; PyTorch does.
        used = k.reshape(-1)
        k = np.unique(used[used != options.get("padding_idx", 9) % 5])
        k = k if k.size else np.array([0])
    return Case("nn.functional.embedding", k, w, **options)

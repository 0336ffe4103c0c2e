"""Reductions, running results and order: sums, extremes, norms, sorting."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case, Draw, entry, op


def dims(draw: Draw, ndim: int) -> Any:
    """None, one dimension or several, from the front or from the end."""
    several = draw.rng.permutation(ndim)[: draw.integer(1, ndim)].tolist()
    signed = [d - ndim * draw.integer(0, 1) for d in several]
    return draw.choice(None, signed[0], signed[0], tuple(signed))


def one_dim(draw: Draw, ndim: int) -> int:
    """One dimension, from the front or from the end."""
    return draw.integer(-ndim, ndim - 1)


def reduction(draw: Draw, name: str, x: np.ndarray | None = None) -> Case:
    """Over all, one or several dimensions, kept or not."""
    x = draw.normal(*draw.shape(draw.integer(1, 4))) if x is None else x
    dim = dims(draw, x.ndim)
    if dim is None:
        return Case(name, x)
    return Case(name, x, dim=dim, keepdim=draw.boolean())


def wide(draw: Draw) -> np.ndarray:
    """Dimensions of 2 and more, so that a variance exists."""
    return draw.normal(*draw.shape(draw.integer(1, 3), 2))


for name, section in (("sum", "Sum"), ("mean", "Mean")):

    def total(draw: Draw, name: str = name) -> Case:
        """In its own type, or in float64."""
        case = reduction(draw, name)
        if draw.boolean():
            case.call = lambda library, x, **o: getattr(library, name)(
                x, dtype=library.float64, **o
            )
        return case

    entry(name, total, section=section, count=20)

for name in ("nansum", "nanmean"):

    def without_nan(draw: Draw, name: str = name) -> Case:
        """With NaN at some places, but nowhere along a whole dimension: 0/0 has no slope."""
        case = reduction(draw, name)
        x = case.inputs[0]

        def call(library: Any, x: Any, mask: Any, **options: Any) -> Any:
            return getattr(library, name)(library.where(mask, np.nan, x), **options)

        mask = (draw.rng.random(x.shape) < 0.5) & (np.indices(x.shape).min(0) > 0)
        return Case(call, x, mask, **case.options)

    entry(name, without_nan, section="Sum" if name == "nansum" else "Mean")

for name in ("var", "std", "var_mean", "std_mean"):

    def spread(draw: Draw, name: str = name) -> Case:
        """With a correction, or unbiased or not."""
        case = reduction(draw, name, wide(draw))
        case.options |= draw.choice({}, {"correction": draw.integer(0, 1)}, {"unbiased": False})
        if "unbiased" in case.options and "dim" not in case.options:
            case.inputs = (*case.inputs, case.options.pop("unbiased"))
        return case

    entry(name, spread, section="Var" if name.startswith("var") else "Std", count=20)


@op(section="Mul", count=20)
def prod(draw: Draw) -> Case:
    """With zeros among the factors."""
    x = draw.normal(*draw.shape(draw.integer(1, 3)))
    if draw.boolean():
        x.flat[draw.integer(0, x.size - 1)] = 0
    return draw.choice(Case("prod", x), Case("prod", x, one_dim(draw, x.ndim), draw.boolean()))


for name, section in (("amax", "Amax"), ("amin", "Amin")):

    def extreme(draw: Draw, name: str = name) -> Case:
        """Without ties."""
        return reduction(draw, name, draw.distinct(*draw.shape(draw.integer(1, 3))))

    entry(name, extreme, section=section)


def along(draw: Draw, name: str) -> Case:
    """Without ties, over one dimension, kept or not."""
    x = draw.distinct(*draw.shape(draw.integer(1, 3)))
    return Case(name, x, dim=one_dim(draw, x.ndim), keepdim=draw.boolean())


for name, section in (("max", "MaxAlong"), ("min", "MinAlong")):

    def best(draw: Draw, name: str = name) -> Case:
        """Of all, along a dimension, or of two tensors."""
        x = draw.distinct(2, *draw.shape(2))
        return draw.choice(Case(name, x[0]), along(draw, name), Case(name, x[0], x[1]))

    entry(name, best, section=section, count=15)

for name in ("argmax", "argmin"):

    def place(draw: Draw, name: str = name) -> Case:
        """With ties: the first counts."""
        x = draw.integers(0, 2, *draw.shape(draw.integer(1, 3)))
        case = draw.choice(Case(name, x), Case(name, x, one_dim(draw, x.ndim), draw.boolean()))
        return case if draw.boolean() else along(draw, name)

    entry(name, place, gradient=False)


@op(section="Amax")
def aminmax(draw: Draw) -> Case:
    """Both at once."""
    return draw.choice(along(draw, "aminmax"), Case("aminmax", draw.distinct(2, 3)))


for name in ("any", "all"):

    def whether(draw: Draw, name: str = name) -> Case:
        """Of bools and numbers."""
        x = draw.integers(0, 1, *draw.shape(draw.integer(1, 3)))
        x = draw.choice(x, x > 0, x.astype(np.uint8), x * 0.5)
        return reduction(draw, name, x)

    entry(name, whether, gradient=False)


@op(gradient=False)
def count_nonzero(draw: Draw) -> Case:
    """Over all or some dimensions."""
    x = draw.integers(0, 1, *draw.shape(draw.integer(1, 3)))
    return Case("count_nonzero", x, dim=dims(draw, x.ndim))


@op(section="LogSumExp")
def logsumexp(draw: Draw) -> Case:
    """Over one or several dimensions."""
    x = draw.normal(*draw.shape(draw.integer(1, 3))) * 3
    dim = dims(draw, x.ndim)
    return Case("logsumexp", x, 0 if dim is None else dim, keepdim=draw.boolean())


P_NORMS = (2, float("inf"), 1, float("-inf"), 3, "fro", 2.5)  # 0 has no gradient


@op(section="Norm2", count=40)
def norm(draw: Draw) -> Case:
    """Every p, over all or some dimensions."""
    shape = draw.shape(draw.integer(1, 3))
    x = draw.distinct(*shape) + draw.rng.choice([0.03, 0.07])
    p = draw.turn(*P_NORMS)
    dim = dims(draw, x.ndim)
    if p == "fro" and isinstance(dim, int):
        dim = (dim,)
    return Case("norm", x, p, dim=dim, keepdim=dim is not None and draw.boolean())


@op(section="Norm2")
def dist(draw: Draw) -> Case:
    """The norm of a difference."""
    apart = draw.distinct(*draw.shape(2))
    apart = (apart - apart.min() + 0.2) * draw.rng.choice([-1, 1], apart.shape)  # no |.| is a tie
    x = draw.normal(*apart.shape)
    return Case("dist", x, x + apart, draw.turn(2, 1, 3, float("inf")))


@op(section="Norm2")
def cdist(draw: Draw) -> Case:
    """Two sets of rows, also in stacks that broadcast."""
    n, i, j, k = draw.shape(4)
    a, b = draw.choice(((i, k), (j, k)), ((n, i, k), (n, j, k)), ((n, i, k), (j, k)))
    x, y = draw.normal(*a), draw.normal(*b) + 3
    return Case("cdist", x, y, draw.choice(2.0, 1.0, 3.0))


@op(section="Norm2")
def renorm(draw: Draw) -> Case:
    """Some parts longer than allowed, some not."""
    x = draw.normal(*draw.shape(draw.integer(2, 4), 2))
    return Case("renorm", x, draw.turn(2, 1, 2.5), one_dim(draw, x.ndim), draw.choice(0.5, 1.5))


# ---------------------------------------------------------------------- running results


@op(section="Running sums")
def cumsum(draw: Draw) -> Case:
    """Along any dimension."""
    x = draw.normal(*draw.shape(draw.integer(1, 4)))
    return Case("cumsum", x, one_dim(draw, x.ndim))


@op(section="Running products")
def cumprod(draw: Draw) -> Case:
    """With zeros among the factors."""
    x = draw.normal(*draw.shape(draw.integer(1, 3), 1, 6))
    if draw.boolean():
        x.flat[draw.integer(0, x.size - 1)] = 0
    return Case("cumprod", x, one_dim(draw, x.ndim))


for name in ("cummax", "cummin"):

    def running(draw: Draw, name: str = name) -> Case:
        """Without ties."""
        x = draw.distinct(*draw.shape(draw.integer(1, 3), 1, 6))
        return Case(name, x, one_dim(draw, x.ndim))

    entry(name, running, section="Running extremes")


@op(section="Differences")
def diff(draw: Draw) -> Case:
    """Once or twice, with parts before or after."""
    x = draw.normal(*draw.shape(2, 2, 5))
    dim = one_dim(draw, 2)
    edge = np.take(draw.normal(*x.shape), [0], axis=dim)
    ends: dict[str, Any] = draw.choice({}, {}, {"prepend": edge}, {"append": edge})
    return Case("diff", x, draw.integer(0, 3), dim, **ends)


# ---------------------------------------------------------------------- order


@op(section="Sorting")
def sort(draw: Draw) -> Case:
    """Up and down."""
    x = draw.distinct(*draw.shape(draw.integer(1, 3), 1, 6))
    return Case("sort", x, dim=one_dim(draw, x.ndim), descending=draw.boolean(), stable=True)


@op(gradient=False)
def argsort(draw: Draw) -> Case:
    """Stable: equal elements keep their order."""
    x = draw.integers(0, 3, *draw.shape(draw.integer(1, 3), 1, 6))
    return Case("argsort", x, dim=one_dim(draw, x.ndim), descending=draw.boolean(), stable=True)


@op(section="Sorting", count=4)
def msort(draw: Draw) -> Case:
    """The values along the first dimension."""
    return Case("msort", draw.distinct(*draw.shape(2, 1, 6)))


@op(section="Sorting")
def topk(draw: Draw) -> Case:
    """The largest or the smallest."""
    x = draw.distinct(*draw.shape(draw.integer(1, 3), 1, 6))
    dim = one_dim(draw, x.ndim)
    return Case("topk", x, draw.integer(1, x.shape[dim]), dim, largest=draw.boolean())


@op(section="Sorting")
def kthvalue(draw: Draw) -> Case:
    """The k-th smallest."""
    x = draw.distinct(*draw.shape(draw.integer(1, 3), 1, 6))
    dim = one_dim(draw, x.ndim)
    return Case("kthvalue", x, draw.integer(1, x.shape[dim]), dim, keepdim=draw.boolean())


@op(gradient=False)  # a step aside and nothing occurs twice: differences cannot see it
def mode(draw: Draw) -> Case:
    """With elements that occur several times."""
    x = draw.integers(0, 2, *draw.shape(draw.integer(1, 3), 1, 5)) * 1.0
    return Case("mode", x, dim=one_dim(draw, x.ndim), keepdim=draw.boolean())


for name in ("median", "nanmedian"):

    def middle(draw: Draw, name: str = name) -> Case:
        """Of all or along a dimension."""
        return draw.choice(Case(name, draw.distinct(*draw.shape(2))), along(draw, name))

    entry(name, middle, section="Sorting")


@op(section="Quantiles", count=20)
def quantile(draw: Draw) -> Case:
    """One or several fractions, every interpolation."""
    x = draw.distinct(*draw.shape(draw.integer(1, 3), 1, 6))
    options: dict[str, Any] = {} if draw.boolean() else {
        "dim": one_dim(draw, x.ndim), "keepdim": draw.boolean()}  # fmt: skip
    q = draw.choice(0.0, 0.25, 0.6, 1.0)
    ways = ("linear", "lower", "higher", "nearest", "midpoint")
    return Case("quantile", x, q, interpolation=draw.choice(*ways), **options)


@op(gradient=False)
def unique(draw: Draw) -> Case:
    """Of all elements, or of slices, with inverse and counts."""
    x = draw.integers(0, 3, *draw.shape(2, 1, 5))
    return Case(
        "unique",
        x,
        return_inverse=draw.boolean(),
        return_counts=draw.boolean(),
        dim=draw.choice(None, None, 0, 1),
    )


@op(gradient=False)
def bincount(draw: Draw) -> Case:
    """With weights or without."""
    x = draw.integers(0, 4, draw.integer(1, 6))
    weights: dict[str, Any] = draw.choice({}, {"weights": draw.normal(*x.shape)})
    return Case("bincount", x, minlength=draw.choice(0, 7), **weights)


@op(gradient=False)
def histc(draw: Draw) -> Case:
    """Between given ends, or those of the data."""
    ends = draw.choice((0, 0), (-1, 1), (-0.5, 2))
    return Case("histc", draw.normal(*draw.shape(2)), draw.integer(1, 6), *ends)


@op(gradient=False)
def searchsorted(draw: Draw) -> Case:
    """In a vector, or in rows; before or after equal ones."""
    rows = np.sort(draw.integers(0, 6, 3, 5), axis=-1)
    values = draw.integers(-1, 7, 3, 4)
    options: dict[str, Any] = draw.choice(
        {}, {"right": True}, {"side": "right"}, {"out_int32": True}
    )
    return draw.choice(
        Case("searchsorted", rows, values, **options),
        Case("searchsorted", rows[0], values, **options),
    )


@op(gradient=False)
def bucketize(draw: Draw) -> Case:
    """Before or after equal boundaries."""
    edges = np.sort(draw.integers(0, 6, 4))
    return Case("bucketize", draw.integers(-1, 7, 2, 3), edges, right=draw.boolean())


@op(gradient=False)
def isin(draw: Draw) -> Case:
    """In or not in."""
    return Case("isin", draw.integers(0, 5, 3, 4), draw.integers(0, 5, 3), invert=draw.boolean())

"""Comparisons, logic, bits and other questions: bools, without gradient."""

from __future__ import annotations

import numpy as np

from .case import Case, Draw, alias, entered, entry


def numbers(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers -2 ... 2, so that some are equal, as one type or another."""
    return draw.integers(-2, 2, *shape).astype(draw.choice(np.float64, np.float32, np.int64))


def pair(draw: Draw, name: str) -> Case:
    """Two tensors that broadcast, or a tensor and a number."""
    shape = draw.shape(draw.integer(0, 3), 0)
    a, b = numbers(draw, draw.broadcast(shape)), numbers(draw, draw.broadcast(shape))
    return Case(name, a, draw.choice(b, b, 1, 0.5))


for name in ("eq", "ne", "lt", "le", "gt", "ge"):

    def comparison(draw: Draw, name: str = name) -> Case:
        """Numbers, some of them equal."""
        return pair(draw, name)

    entry(name, comparison, gradient=False)

for name in ("logical_and", "logical_or", "logical_xor"):

    def logical(draw: Draw, name: str = name) -> Case:
        """Numbers and bools."""
        shape = draw.shape(draw.integer(0, 3), 0)
        a, b = numbers(draw, draw.broadcast(shape)), numbers(draw, draw.broadcast(shape))
        return Case(name, a, draw.choice(b, b != 0))

    entry(name, logical, gradient=False)

for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):

    def bits(draw: Draw, name: str = name) -> Case:
        """Integers or bools."""
        shape = draw.shape(2)
        a, b = draw.integers(-9, 9, *shape), draw.integers(-9, 9, *draw.broadcast(shape))
        return draw.choice(Case(name, a, b), Case(name, a > 0, b > 0), Case(name, a, 5))

    entry(name, bits, gradient=False)

for name in ("logical_not", "bitwise_not"):

    def one(draw: Draw, name: str = name) -> Case:
        """Integers or bools."""
        a = draw.integers(-1, 1, *draw.shape(2))
        return Case(name, draw.choice(a, a > 0))

    entry(name, one, gradient=False, count=6)


def odd(draw: Draw, *shape: int) -> np.ndarray:
    """Numbers, NaN and infinities."""
    return draw.rng.choice([0.0, 1.5, -2.0, np.nan, np.inf, -np.inf], shape)


for name in ("isnan", "isinf", "isfinite"):

    def question(draw: Draw, name: str = name) -> Case:
        """Numbers of every kind."""
        return Case(name, odd(draw, *draw.shape(2)))

    entry(name, question, gradient=False, count=6)


def close(draw: Draw, name: str) -> Case:
    """Numbers that are close, equal, or not."""
    a = draw.normal(2, 3)
    b = a + draw.choice(0, 1e-9, 1e-4, 1) * draw.normal(2, 3)
    tolerances = draw.choice({}, {"rtol": 1e-2}, {"atol": 1e-3})
    if draw.boolean():
        a[0, 0] = b[0, 0] = np.nan
    return Case(name, a, b, equal_nan=draw.boolean(), **tolerances)


entry("isclose", lambda draw: close(draw, "isclose"), gradient=False)
entry("allclose", lambda draw: close(draw, "allclose"), gradient=False)


def same(draw: Draw) -> Case:
    """Equal, different, or of another shape."""
    a = draw.integers(0, 1, 2, 1)
    return Case("equal", a, draw.choice(a, draw.integers(0, 1, 2, 1), a[0]))


entry("equal", same, gradient=False)

for new, old in {
    "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge",
}.items():  # fmt: skip
    alias(new, entered(old))

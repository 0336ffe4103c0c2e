"""New tensors: from data, by a rule, at random; and what Tensor has beside the functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .case import Case, Draw, entry, op

TYPES = ("float32", "float64", "float16", "int64", "int32", "uint8", "bool")


def maker(name: str, call: Callable[..., Any], torch: bool = True, count: int = 6) -> None:
    """A function without tensors among its arguments: call(library, draw)."""

    def make(draw: Draw) -> Case:
        state = draw.rng.bit_generator.state

        def again(library: Any) -> Any:
            draw.rng.bit_generator.state = state  # every library and every call draws the same
            return call(library, draw)

        return Case(again)

    make.__module__ = __name__
    entry(name, make, gradient=False, torch=torch, count=count)


def dtype_of(library: Any, draw: Draw) -> dict[str, Any]:
    """No dtype, or one."""
    return draw.choice({}, {"dtype": getattr(library, draw.choice(*TYPES))})


# ---------------------------------------------------------------------- from data

DATA: tuple[Any, ...] = (
    1, 2.5, True, [], [1, 2], [[1.5, 2], [3, 4]], [True, False], ((1, 2), (3, 4)), [[1], [2.5]],
    np.arange(3), np.ones((2, 1), np.float32), [np.ones(2), np.zeros(2)],
)  # fmt: skip


@op(gradient=False, count=30)
def tensor(draw: Draw) -> Case:
    """Numbers, lists, arrays, of every type."""
    data = draw.choice(*range(len(DATA)))
    return Case(lambda library: library.tensor(DATA[data], **dtype_of(library, Draw("type", data))))


for name in ("as_tensor", "asarray", "from_numpy"):

    def shared(draw: Draw, name: str = name) -> Case:
        """Of an array."""
        array = draw.normal(2, 3).astype(draw.choice(np.float32, np.float64, np.int64))
        return Case(lambda library: getattr(library, name)(array))

    entry(name, shared, gradient=False, count=6)

maker("scalar_tensor", lambda library, draw: library.scalar_tensor(draw.choice(2, 0.5)))

for name in ("FloatTensor", "DoubleTensor", "LongTensor", "IntTensor", "HalfTensor", "ByteTensor",
             "BoolTensor"):  # fmt: skip

    def legacy(library: Any, draw: Draw, name: str = name) -> Any:
        """A list in that type."""
        return getattr(library, name)([1, 0, 1])

    maker(name, legacy, count=1)

# ---------------------------------------------------------------------- constant, by a rule

for name in ("zeros", "ones"):

    def constant(library: Any, draw: Draw, name: str = name) -> Any:
        """Sizes as numbers or as a tuple; every type."""
        shape, function = draw.shape(draw.integer(0, 3), 0), getattr(library, name)
        options = dtype_of(library, draw)
        return (
            function(*shape, **options) if shape and draw.boolean() else function(shape, **options)
        )

    maker(name, constant)

for name in ("zeros_like", "ones_like"):

    def like(library: Any, draw: Draw, name: str = name) -> Any:
        """The shape and the type of another."""
        x = library.tensor(draw.normal(*draw.shape(2, 0)))
        return getattr(library, name)(x, **dtype_of(library, draw))

    maker(name, like)

maker(
    "empty",
    lambda library, draw: library.empty(draw.shape(2), **dtype_of(library, draw)).ndim,
)
maker("empty_like", lambda library, draw: library.empty_like(library.ones(2)).ndim)
maker(
    "full",
    lambda library, draw: library.full(
        draw.shape(2, 0), draw.choice(2, 0.5, True), **dtype_of(library, draw)
    ),
)
maker(
    "full_like",
    lambda library, draw: library.full_like(
        library.tensor(draw.normal(2, 3)), draw.choice(2, 0.5), **dtype_of(library, draw)
    ),
)
maker(
    "arange",
    lambda library, draw: library.arange(
        *draw.choice((5,), (2, 7), (1, 9, 3), (7, 1, -2), (0.5, 3), (0, 1, 0.25), (0,))
    ),
    count=12,
)
maker(
    "linspace",
    lambda library, draw: library.linspace(
        draw.choice(0, -1.5), draw.choice(1, 4), draw.integer(0, 6), dtype=library.float64
    ),
)
maker(
    "logspace",
    lambda library, draw: library.logspace(
        0, draw.choice(1, 2), draw.integer(1, 6), draw.choice(10.0, 2.0), dtype=library.float64
    ),
)
maker(
    "eye",
    lambda library, draw: library.eye(
        draw.integer(0, 4), *draw.choice((), (3,)), **dtype_of(library, draw)
    ),
)
for name in ("tril_indices", "triu_indices"):

    def corner(library: Any, draw: Draw, name: str = name) -> Any:
        """Any size and offset."""
        return getattr(library, name)(draw.integer(1, 4), draw.integer(1, 4), draw.integer(-2, 2))

    maker(name, corner)

# ---------------------------------------------------------------------- random

RANDOM: dict[str, Callable[[Any, Draw], Any]] = {
    "rand": lambda library, draw: library.rand(2, 3),
    "randn": lambda library, draw: library.randn(2, 3, dtype=library.float64),
    "rand_like": lambda library, draw: library.rand_like(library.ones(2)),
    "randn_like": lambda library, draw: library.randn_like(library.ones(2)),
    "randint": lambda library, draw: library.randint(-2, 5, (2, 3)),
    "randint_like": lambda library, draw: library.randint_like(library.ones(2), 5),
    "randperm": lambda library, draw: library.randperm(5),
    "normal": lambda library, draw: library.normal(1.0, 2.0, (2, 3)),
    "bernoulli": lambda library, draw: library.bernoulli(library.full((2, 3), 0.3)),
    "multinomial": lambda library, draw: library.multinomial(library.ones(5), 3),
}
IN_PLACE = {
    "normal_": (1.0, 2.0), "uniform_": (-1, 1), "random_": (3,), "bernoulli_": (0.3,),
    "exponential_": (2.0,),
}  # fmt: skip


def seeded(library: Any, draw: Draw, call: Callable[[Any, Draw], Any]) -> Any:
    """What a random function gives after seed 3."""
    library.manual_seed(3)
    return call(library, draw)


for name, _drawn in RANDOM.items():
    maker(name, partial(seeded, call=_drawn), torch=False)

for name, given in IN_PLACE.items():

    def filled(library: Any, draw: Draw, name: str = name, args: tuple[Any, ...] = given) -> Any:
        """From the same seed."""
        library.manual_seed(3)
        return getattr(library.zeros(2, 3), name)(*args)

    maker(name, filled, torch=False)

# ---------------------------------------------------------------------- questions about a tensor

maker("is_tensor", lambda library, draw: library.is_tensor(draw.choice(1, library.ones(2))))
maker(
    "is_floating_point",
    lambda library, draw: library.is_floating_point(library.ones(1, **dtype_of(library, draw))),
)
maker(
    "is_complex",
    lambda library, draw: library.is_complex(library.ones(1, **dtype_of(library, draw))),
    count=2,
)
maker("is_nonzero", lambda library, draw: library.is_nonzero(library.tensor([draw.integer(0, 1)])))
maker(
    "promote_types",
    lambda library, draw: str(
        library.promote_types(
            getattr(library, draw.choice(*TYPES)), getattr(library, draw.choice(*TYPES))
        )
    ).removeprefix("torch."),
    count=20,
)
maker(
    "can_cast",
    lambda library, draw: library.can_cast(
        getattr(library, draw.choice(*TYPES)), getattr(library, draw.choice(*TYPES))
    ),
    count=20,
)
maker("numel", lambda library, draw: library.numel(library.ones(draw.shape(3, 0))))

# ---------------------------------------------------------------------- Tensor's own

for name in ("float", "double", "half", "int", "long", "short", "byte", "bool"):

    def converted(draw: Draw, name: str = name) -> Case:
        """From floating numbers and integers."""
        x = draw.choice(np.abs(draw.normal(2, 3)) * 3, draw.integers(0, 5, 2, 3))
        return Case(f"Tensor.{name}", x)

    entry(name, converted, section="Cast", gradient=False, count=4)

entry(
    "type_as",
    lambda draw: Case("Tensor.type_as", draw.normal(2), draw.integers(0, 1, 2)),
    gradient=False,
    count=2,
)
entry("cpu", lambda draw: Case("Tensor.cpu", draw.normal(2)), count=2)


@op(gradient=False, count=2)
def type(draw: Draw) -> Case:
    """In another type."""
    return Case(lambda library, x: x.type(library.int64), draw.normal(2))


def copied(draw: Draw) -> Case:
    """Broadcast into a copy of another tensor."""
    x = draw.normal(*draw.shape(2))
    return Case(lambda library, x, y: (x * 1).copy_(y), x, draw.normal(*draw.broadcast(x.shape)))


def filled_with(draw: Draw) -> Case:
    """With a number or a tensor of one."""
    value = draw.choice(2.5, draw.normal())
    return Case(lambda library, x, v: (x * 1).fill_(v), draw.normal(2, 3), value)


entry(
    "zero_",
    lambda draw: Case(lambda library, x: (x * 1).zero_(), draw.normal(2)),
    section="Copy",
    count=2,
)


def on_the_diagonal(draw: Draw) -> Case:
    """Of a matrix, wide or tall, wrapped or not."""
    wrap = draw.boolean()
    return Case(
        lambda library, x: (x * 1).fill_diagonal_(0.5, wrap=wrap),
        draw.normal(*draw.choice((2, 3), (7, 3), (2, 2, 2))),
    )


entry("copy_", copied, section="Copy", count=6)
entry("fill_", filled_with, section="Copy", count=4)
entry("fill_diagonal_", on_the_diagonal, section="Where", count=6)

NEW: dict[str, tuple[Any, ...]] = {
    "new": ([1, 2],), "new_zeros": ((2, 3),), "new_ones": ((2,),), "new_full": ((2,), 0.5),
    "new_tensor": ([1, 2],),
}  # fmt: skip
for name, wanted in NEW.items():

    def new(draw: Draw, name: str = name, args: tuple[Any, ...] = wanted) -> Case:
        """In a tensor's type."""
        return Case(
            f"Tensor.{name}", draw.normal(2).astype(draw.choice(np.float64, np.float32)), *args
        )

    entry(name, new, gradient=False, count=4)

maker("new_empty", lambda library, draw: library.ones(2).new_empty(3).ndim)

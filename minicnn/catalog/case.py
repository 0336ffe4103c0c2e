"""What the catalog is made of: an Op, the Draw that it makes its choices with, and the Case."""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

# In the order in which a reader meets them.
FAMILIES = (
    "conv",
    "pool",
    "norm",
    "activation",
    "loss",
    "dropout",
    "resize",
    "pad",
    "shuffle",
    "linear",
    "arithmetic",
    "compare",
    "reduce",
    "shape",
    "index",
    "creation",
)


class Draw:
    """Choices and arrays from a seed. Arrays are float64 unless their name says otherwise."""

    def __init__(self, name: str, number: int) -> None:
        # crc32 and not hash(), which differs from one process to the next.
        self.rng = np.random.default_rng([zlib.crc32(name.encode()), number])
        self._turn = number

    def integer(self, low: int, high: int) -> int:
        """One of low ... high, both included."""
        return int(self.rng.integers(low, high + 1))

    def choice(self, *values: Any) -> Any:
        """One of the values."""
        return values[self.rng.integers(len(values))]

    def turn(self, *values: Any) -> Any:
        """One of the values, in turn: a few configurations meet all of them.

        For what makes an op take another way, such as a mode. Several calls go through all pairs.
        """
        self._turn, k = divmod(self._turn, len(values))
        return values[k]

    def boolean(self) -> bool:
        """True or False."""
        return self.choice(False, True)

    def uniform(self, low: float, high: float) -> float:
        """A number between low and high."""
        return float(self.rng.uniform(low, high))

    def shape(self, dims: int, low: int = 1, high: int = 4) -> tuple[int, ...]:
        """`dims` sizes of low ... high."""
        return tuple([self.integer(low, high) for _ in range(dims)])

    def broadcast(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that broadcasts to `shape`: some sizes 1, some in front left out."""
        sizes = [self.choice(1, n, n) for n in shape]
        return tuple(sizes[self.integer(0, len(sizes)) if self.boolean() else 0 :])

    def normal(self, *shape: int) -> np.ndarray:
        """Normal numbers."""
        return self.rng.standard_normal(shape)

    def positive(self, *shape: int) -> np.ndarray:
        """Numbers of 0.5 and more."""
        return np.abs(self.normal(*shape)) + 0.5

    def distinct(self, *shape: int) -> np.ndarray:
        """Numbers that are 0.1 or more apart, in random order: no maximum among them is a tie."""
        count = int(np.prod(shape))
        steps = np.arange(count) - count / 2 + self.rng.uniform(0.1, 0.9)
        return self.rng.permutation(0.1 * steps + 0.03).reshape(shape)

    def away(self, *kinks: float, shape: tuple[int, ...], by: float = 0.05) -> np.ndarray:
        """Normal numbers, those within `by` of a kink moved away from it."""
        values = self.rng.standard_normal(shape)
        for kink in kinks:
            near = np.abs(values - kink) < by
            values[near] = kink + np.where(values[near] < kink, -1, 1) * 2 * by
        return values

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """int64 numbers of low ... high, both included."""
        return self.rng.integers(low, high + 1, shape)

    def mask(self, *shape: int) -> np.ndarray:
        """bools."""
        return self.rng.random(shape) < 0.5


def _array(value: Any) -> Any:
    """NumPy makes scalars of arrays without axes; they become arrays again."""
    return np.asarray(value) if isinstance(value, np.generic) else value


class Case:
    """One configuration of an operation: what to call, on which inputs, with which options.

    Args:
        call: a name in the library ("nn.functional.conv2d", "Tensor.view"), or a function of
            (library, *inputs, **options).
        inputs: float64 arrays are differentiated; other arrays become tensors too; lists of arrays
            become lists of tensors; anything else is passed on.
        options: passed on; arrays become tensors that are not differentiated.

    The library is minicnn, or PyTorch to compare with: the names are the same.
    """

    def __init__(self, call: str | Callable[..., Any], *inputs: Any, **options: Any) -> None:
        self.call = call
        self.inputs = tuple([_array(value) for value in inputs])
        self.options = {name: _array(value) for name, value in options.items()}

    def arrays(self) -> list[np.ndarray]:
        """The arrays among the inputs, those in lists too, in order."""
        found = []
        for value in self.inputs:
            values = value if isinstance(value, list) else [value]
            found += [v for v in values if isinstance(v, np.ndarray)]
        return found

    def astype(self, dtype: Any) -> Case:
        """The same with every float64 array rounded to `dtype`."""

        def convert(value: Any) -> Any:
            if isinstance(value, list):
                return [convert(v) for v in value]
            double = isinstance(value, np.ndarray) and value.dtype == np.float64
            return value.astype(dtype) if double else value

        options = {name: convert(value) for name, value in self.options.items()}
        return Case(self.call, *map(convert, self.inputs), **options)

    def tensors(self, library: Any, requires_grad: bool = True) -> list[Any]:
        """The arrays as tensors of the library; floating ones require a gradient."""
        return [
            library.tensor(a, requires_grad=requires_grad and a.dtype.kind == "f")
            for a in self.arrays()
        ]

    def run(self, library: Any, tensors: list[Any]) -> Any:
        """What the call returns, with these tensors in place of the arrays."""
        rest = iter(tensors)
        inputs = [self._replace(value, rest) for value in self.inputs]
        options = {
            name: library.tensor(value) if isinstance(value, np.ndarray) else value
            for name, value in self.options.items()
        }
        if not isinstance(self.call, str):
            return self.call(library, *inputs, **options)
        function = library
        for part in self.call.split("."):
            function = getattr(function, part)
        return function(*inputs, **options)

    def _replace(self, value: Any, tensors: Iterator[Any]) -> Any:
        if isinstance(value, list):
            return [self._replace(v, tensors) for v in value]
        return next(tensors) if isinstance(value, np.ndarray) else value

    def __str__(self) -> str:
        """The shapes and options, to find the configuration again."""
        parts = [self._text(value) for value in self.inputs]
        parts += [f"{name}={self._text(value)}" for name, value in self.options.items()]
        return ", ".join(parts)

    def _text(self, value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(self._text, value))}]"
        return f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else repr(value)


class Op:
    """An entry of the catalog.

    Attributes:
        name: the function's name in minicnn.nn.functional, in minicnn or of Tensor.
        family: the file of the catalog that lists it.
        section: the heading in its module's docstring, or the Function, that derives its gradient.
        gradient: False for what has none (comparisons, indices).
        torch: False where PyTorch has no function that computes the same.
        count: how many configurations the tests try.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[Draw], Case],
        section: str | None,
        gradient: bool,
        torch: bool,
        count: int,
    ) -> None:
        self.name, self.make, self.section = name, make, section
        self.gradient, self.torch, self.count = gradient, torch, count
        self.family = make.__module__.rpartition(".")[2]

    def case(self, number: int) -> Case:
        """Configuration `number`: always the same one."""
        return self.make(Draw(self.name, number))

    @property
    def function(self) -> Callable[..., Any]:
        """The public function itself."""
        library = sys.modules["minicnn"]
        if self.name.startswith("Tensor."):  # where another function has the name alone
            return getattr(library.Tensor, self.name.removeprefix("Tensor."))
        for place in (library.nn.functional, library, library.Tensor):
            if callable(getattr(place, self.name, None)):  # minicnn.float is a type, not a function
                return getattr(place, self.name)
        raise LookupError(f"catalog: minicnn has no function {self.name!r}")

    @property
    def module(self) -> ModuleType:
        """The module that derives the gradient: the function's, or that of the Function named."""
        own = sys.modules[self.function.__module__]
        if self.section in (own.__doc__ or "").splitlines():
            return own
        families = [name for name in sorted(sys.modules) if name.startswith("minicnn.functional.")]
        for name in (own.__name__, *families):
            found = getattr(sys.modules[name], self.section or "", None)
            if getattr(found, "__module__", "") == name:
                return sys.modules[name]
        return own


_OPS: dict[str, Op] = {}


def op(
    *,
    section: str | None = None,
    gradient: bool = True,
    torch: bool = True,
    count: int = 10,
) -> Callable[[Callable[[Draw], Case]], Op]:
    """Enters a function that draws a Case under its own name (less a final underscore).

    Arguments as the attributes of Op. Raises ValueError if the name is taken.
    """

    def enter(make: Callable[[Draw], Case]) -> Op:
        name = make.__name__.removesuffix("_")
        return entry(name, make, section=section, gradient=gradient, torch=torch, count=count)

    return enter


def entry(
    name: str,
    make: Callable[[Draw], Case],
    *,
    section: str | None = None,
    gradient: bool = True,
    torch: bool = True,
    count: int = 10,
) -> Op:
    """`op` for a row of a table: a maker under another name than its own."""
    if name in _OPS:
        raise ValueError(f"catalog: {name} is listed twice")
    _OPS[name] = Op(name, make, section, gradient, torch, count)
    return _OPS[name]


def entered(name: str) -> Op:
    """The entry of that name."""
    return _OPS[name]


def alias(name: str, of: Op, **attributes: Any) -> Op:
    """Enters another name of a public function: the same cases, called by that name."""

    def make(draw: Draw) -> Case:
        case = of.make(draw)
        case.call = f"{str(case.call).rpartition('.')[0]}.{name}".removeprefix(".")
        return case

    make.__module__ = of.make.__module__
    same = {"section": of.section, "gradient": of.gradient, "torch": of.torch, "count": 4}
    return entry(name, make, **{**same, **attributes})


@cache
def ops() -> dict[str, Op]:
    """Every entry by name, family after family."""
    importlib.import_module("minicnn.nn.functional")
    for family in FAMILIES:
        importlib.import_module(f"{__package__}.{family}")
    return {name: entry for f in FAMILIES for name, entry in _OPS.items() if entry.family == f}

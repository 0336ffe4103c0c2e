"""What can be seen of an operation by running it: its Functions, its primitives, its backends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

from .. import backend
from ..autograd import Function
from ..backend import cpu, cuda, reference
from .case import Case, Op

_WRITTEN = {"reference": reference, "cpu": cpu, "cuda": cuda}  # cuda's serve the emulator too
CONFIGURATIONS = 5  # that are run and checked: an op may take another way for other options


class Facts(NamedTuple):
    """What an operation is made of.

    functions: the Functions applied, forward and backward. primitives: what it asks of a backend.
    backends: those that have all of these, usable on this machine or not; none if it needs no
    primitive. gradient: whether it has one, be it one that is too coarse to check, as float()'s.
    second: whether second derivatives can be taken.
    """

    functions: frozenset[type[Function]]
    primitives: frozenset[str]
    backends: tuple[str, ...]
    gradient: bool
    second: bool


class _Noting:
    """Stands for a backend module and notes what is taken from it."""

    def __init__(self, module: ModuleType, names: set[str]) -> None:
        self._module, self._names = module, names

    def __getattr__(self, name: str) -> Any:
        self._names.add(name)
        return getattr(self._module, name)


@contextmanager
def _noting(functions: set[type[Function]], primitives: set[str]) -> Iterator[None]:
    apply, of = Function.apply.__func__, backend.of  # type: ignore[attr-defined]

    def noting_apply(cls: type[Function], *args: Any, **options: Any) -> Any:
        functions.add(cls)
        return apply(cls, *args, **options)

    with (
        mock.patch.object(Function, "apply", classmethod(noting_apply)),
        mock.patch.object(backend, "of", lambda x: _Noting(of(x), primitives)),
    ):
        yield


@cache
def facts(op: Op, configurations: int = CONFIGURATIONS) -> Facts:
    """Runs a few configurations of an operation, forward and backward, and looks on."""
    functions: set[type[Function]] = set()
    primitives: set[str] = set()
    asked = op.gradient or op.section is not None  # a Function may pass what none can check
    with _noting(functions, primitives):
        passed = [
            _differentiate(op.case(number), asked, functions) for number in range(configurations)
        ]
    backends = [
        name
        for name, module in _WRITTEN.items()
        if primitives and all(hasattr(module, p) for p in primitives)
    ]
    gradient = op.gradient or any(passed)
    second = gradient and _twice(functions)
    return Facts(frozenset(functions), frozenset(primitives), tuple(backends), gradient, second)


def _twice(functions: set[type[Function]]) -> bool:
    return all(f.differentiable_backward for f in functions)


def _differentiate(case: Case, gradient: bool, functions: set[type[Function]]) -> bool:
    """Runs a configuration, its backward, and where that is differentiable the backward's.

    False where nothing that comes out has a gradient.
    """
    minicnn = sys.modules["minicnn"]
    inputs = case.tensors(minicnn, gradient)
    out = case.run(minicnn, inputs)
    outs = out if isinstance(out, (tuple, list)) else [out]
    roots = [y for y in outs if getattr(y, "requires_grad", False)]
    if not roots:
        return False
    leaves = [x for x in inputs if x.requires_grad]
    cotangents = [y.detach().clone().requires_grad_() for y in roots]
    twice = _twice(functions)
    grads = minicnn.autograd.grad(roots, leaves, cotangents, create_graph=twice, allow_unused=True)
    again = [g for g in grads if g is not None and g.requires_grad]
    if again:
        minicnn.autograd.backward(again, [g.detach() for g in again])
    return True

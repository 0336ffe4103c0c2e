"""Dropout. Its masks are minicnn's own, and each case seeds the generator before it draws one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .case import Case, Draw, op


def _seeded(name: str, seed: int) -> Callable[..., Any]:
    def call(library: Any, *inputs: Any, **options: Any) -> Any:
        library.manual_seed(seed)
        return getattr(library.nn.functional, name)(*inputs, **options)

    return call


def _case(draw: Draw, name: str, dims: int) -> Case:
    call = _seeded(name, draw.integer(0, 1000))
    p = draw.choice(0.0, 0.2, 0.5, 0.8, draw.uniform(0, 1))
    return Case(call, draw.normal(*draw.shape(dims)), p=p, training=True)


@op(section="Dropout", torch=False)
def dropout(draw: Draw) -> Case:
    """Any shape, single elements."""
    return _case(draw, "dropout", draw.integer(0, 4))


@op(section="Dropout", torch=False)
def dropout1d(draw: Draw) -> Case:
    """(N, C, L) and (C, L)."""
    return _case(draw, "dropout1d", draw.integer(2, 3))


@op(section="Dropout", torch=False)
def dropout2d(draw: Draw) -> Case:
    """(N, C, H, W)."""
    return _case(draw, "dropout2d", 4)


@op(section="Dropout", torch=False)
def dropout3d(draw: Draw) -> Case:
    """(N, C, D, H, W) and (C, D, H, W)."""
    return _case(draw, "dropout3d", draw.integer(4, 5))


@op(section="Alpha dropout", torch=False)
def alpha_dropout(draw: Draw) -> Case:
    """Any shape, single elements."""
    return _case(draw, "alpha_dropout", draw.integer(0, 4))


@op(section="Alpha dropout", torch=False)
def feature_alpha_dropout(draw: Draw) -> Case:
    """Whole channels of (N, C, ...)."""
    return _case(draw, "feature_alpha_dropout", draw.integer(2, 5))

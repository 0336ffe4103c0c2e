"""Normalisations, with and without parameters and running statistics."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .case import Case, Draw, op


def _parameters(draw: Draw, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """A weight and a bias; one, or both, may be missing."""
    w, b = [draw.normal(*shape) if draw.boolean() else None for _ in range(2)]
    return w, b


def _with_statistics(draw: Draw, name: str, x: np.ndarray, own: str, **options: Any) -> Case:
    """A norm that may remember statistics, the options mean and var: they are written in place.

    `own` is the name of the option that says whether x's own statistics are normalised by.
    """
    C = x.shape[1]
    uses_own = draw.boolean()
    remembers = not uses_own or draw.boolean()
    options |= {own: uses_own, "eps": draw.choice(1e-5, 1e-3, 0.1)}
    if remembers:
        options |= {"momentum": draw.choice(0.1, 0.0, 1.0, 0.3)}
        options |= {"mean": draw.normal(C), "var": draw.positive(C)}

    def call(
        library: Any, x: Any, w: Any, b: Any, mean: Any = None, var: Any = None, **options: Any
    ) -> Any:
        return getattr(library.nn.functional, name)(x, mean, var, w, b, **options)

    return Case(call, x, *_parameters(draw, (C,)), **options)


@op(section="Backward, compact", count=40)
def batch_norm(draw: Draw) -> Case:
    """(N, C) to (N, C, D, H, W), in training and in evaluation."""
    shape = (draw.integer(3, 5), draw.integer(1, 3), *draw.shape(draw.integer(0, 3), high=3))
    return _with_statistics(draw, "batch_norm", 2 * draw.normal(*shape) + 1, "training")


@op(section="Backward", count=40)
def instance_norm(draw: Draw) -> Case:
    """(N, C, L) to (N, C, D, H, W), by the input's own statistics or remembered ones."""
    spatial = (draw.integer(3, 5), *draw.shape(draw.integer(0, 2), high=3))
    x = 2 * draw.normal(draw.integer(1, 3), draw.integer(1, 3), *spatial) + 1
    return _with_statistics(draw, "instance_norm", x, "use_input_stats")


@op(section="Backward", count=40)
def group_norm(draw: Draw) -> Case:
    """One to three groups; (N, C) too."""
    G, each = draw.integer(1, 3), draw.integer(1, 3)
    spatial = draw.shape(draw.integer(0, 3), high=3)
    if each * prod(spatial) < 3:  # two values always become -1 and 1
        each = 3
    x = 2 * draw.normal(draw.integer(1, 3), G * each, *spatial) + 1
    w, b = _parameters(draw, (G * each,))
    b = None if w is None else b  # PyTorch 2.13 fails on a bias alone
    eps = draw.choice(1e-5, 1e-3, 0.1)
    return Case("nn.functional.group_norm", x, G, w, b, eps=eps)


def _trailing(draw: Draw) -> tuple[np.ndarray, tuple[int, ...]]:
    """x, and the shape of its last axes, one or more, that hold three values or more."""
    last = (*draw.shape(draw.integer(0, 2), high=3), draw.integer(3, 5))
    return 2 * draw.normal(*draw.shape(draw.integer(0, 2)), *last) + 1, last


@op(section="Backward", count=40)
def layer_norm(draw: Draw) -> Case:
    """Over one to three last axes."""
    x, last = _trailing(draw)
    w, b = _parameters(draw, last)
    return Case("nn.functional.layer_norm", x, last, w, b, eps=draw.choice(1e-5, 1e-3, 0.1))


@op(section="Backward", count=40)
def rms_norm(draw: Draw) -> Case:
    """Over one to three last axes; eps that of the type, or given."""
    x, last = _trailing(draw)
    w = _parameters(draw, last)[0]
    return Case("nn.functional.rms_norm", x, last, w, eps=draw.choice(None, 1e-5, 0.1))


@op(section="Backward", count=40)
def local_response_norm(draw: Draw) -> Case:
    """Windows of odd and even size, narrower and wider than there are channels."""
    x = 2 * draw.normal(*draw.shape(draw.integer(3, 5)))
    return Case(
        "nn.functional.local_response_norm",
        x,
        draw.integer(1, 6),
        alpha=draw.choice(1e-4, 0.5, 2.0),
        beta=draw.choice(0.75, 0.5, 1.0, 2.0),
        k=draw.choice(1.0, 2.0, 0.3),
    )


@op(section="Normalising", count=40)
def normalize(draw: Draw) -> Case:
    """Norms of several powers, over one axis, several or all."""
    x = draw.distinct(*draw.shape(draw.integer(1, 4), low=2, high=3))
    dim = draw.choice(0, -1, None, tuple(range(x.ndim)))
    p = draw.choice(2.0, 1.0, 3.0, float("inf"))
    return Case("nn.functional.normalize", x, p, dim, eps=draw.choice(1e-12, 0.01))

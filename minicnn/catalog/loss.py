"""Losses, and the similarity of vectors: with weights and every reduction."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case, Draw, op


def _reduction(draw: Draw) -> str:
    return draw.choice("mean", "sum", "none")


# ---------------------------------------------------------------------- classes


def _classes(draw: Draw) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """The shape of the scores, (C,) to (N, C, d1, d2), that of the labels, and C."""
    C = draw.integer(2, 4)
    if draw.integer(0, 5) == 0:
        return (C,), (), C
    N, spatial = draw.integer(1, 4), draw.shape(draw.integer(0, 2), high=3)
    return (N, C, *spatial), (N, *spatial), C


def _labels(draw: Draw, shape: tuple[int, ...], C: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Labels, some of them to be ignored, but not all; and the options."""
    t = draw.integers(0, C - 1, *shape)
    options: dict[str, Any] = {"reduction": _reduction(draw)}
    if draw.boolean():
        options["weight"] = draw.positive(C)
    if t.size > 1 and draw.boolean():
        options["ignore_index"] = ignored = draw.choice(-100, -1, C)
        t.flat[1 :: draw.integer(1, 3)] = ignored
    return t, options


@op(section="Cross-entropy", count=60)
def cross_entropy(draw: Draw) -> Case:
    """Labels and probabilities, weights, ignored samples, smoothing."""
    shape, of_labels, C = _classes(draw)
    x = 2 * draw.normal(*shape)
    t, options = _labels(draw, of_labels, C)
    if draw.boolean():
        options["label_smoothing"] = draw.uniform(0, 1)
    if draw.integer(0, 2) == 0:
        options.pop("ignore_index", None)
        t = draw.rng.random(shape)
    return Case("nn.functional.cross_entropy", x, t, **options)


@op(section="Negative log-likelihood", count=40)
def nll_loss(draw: Draw) -> Case:
    """Weights and ignored samples."""
    shape, of_labels, C = _classes(draw)
    t, options = _labels(draw, of_labels, C)
    return Case("nn.functional.nll_loss", draw.normal(*shape), t, **options)


# ---------------------------------------------------------------------- differences


def _pair(draw: Draw, *kinks: float) -> tuple[np.ndarray, np.ndarray]:
    """x and a target whose difference keeps away from the kinks."""
    t = draw.normal(*draw.shape(draw.integer(0, 4)))
    return t + draw.away(*kinks, shape=t.shape), t


def _weighted(draw: Draw, x: np.ndarray) -> dict[str, Any]:
    """A reduction, and half of the time a weight for each element."""
    options: dict[str, Any] = {"reduction": _reduction(draw)}
    return options | ({"weight": draw.positive(*x.shape)} if draw.boolean() else {})


@op(section="Squared and absolute error", count=40)
def mse_loss(draw: Draw) -> Case:
    """Of any shape; with weights."""
    x, t = _pair(draw)
    return Case("nn.functional.mse_loss", x, t, **_weighted(draw, x))


@op(section="Squared and absolute error", count=40)
def l1_loss(draw: Draw) -> Case:
    """Away from equality; with weights."""
    x, t = _pair(draw, 0)
    return Case("nn.functional.l1_loss", x, t, **_weighted(draw, x))


@op(section="Huber", count=40)
def huber_loss(draw: Draw) -> Case:
    """Away from the distance delta; with weights."""
    delta = draw.choice(1.0, 0.5, 2.0)
    x, t = _pair(draw, -delta, delta)
    return Case("nn.functional.huber_loss", x, t, delta=delta, **_weighted(draw, x))


@op(section="Huber", count=40)
def smooth_l1_loss(draw: Draw) -> Case:
    """Away from the distance beta; beta 0 is l1."""
    beta = draw.choice(1.0, 0.5, 2.0, 0.0)
    x, t = _pair(draw, -beta, beta)
    return Case("nn.functional.smooth_l1_loss", x, t, beta=beta, reduction=_reduction(draw))


# ---------------------------------------------------------------------- probabilities


def _broadcasting(draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Positive numbers of a shape that broadcasts to the given one."""
    kept = [n if draw.boolean() else 1 for n in shape]
    return draw.positive(*kept[draw.integer(0, len(kept)) :])


def _probabilities(draw: Draw, *shape: int) -> np.ndarray:
    return 0.05 + 0.9 * draw.rng.random(shape)


@op(section="Binary cross-entropy", count=40)
def binary_cross_entropy(draw: Draw) -> Case:
    """Probabilities away from 0 and 1; with weights that broadcast."""
    shape = draw.shape(draw.integer(0, 4))
    options: dict[str, Any] = {"reduction": _reduction(draw)}
    if draw.boolean():
        options["weight"] = _broadcasting(draw, shape)
    x, t = _probabilities(draw, *shape), _probabilities(draw, *shape)
    return Case("nn.functional.binary_cross_entropy", x, t, **options)


@op(section="Binary cross-entropy", count=40)
def binary_cross_entropy_with_logits(draw: Draw) -> Case:
    """Scores, with weights and pos_weights that broadcast."""
    shape = draw.shape(draw.integer(0, 4))
    options: dict[str, Any] = {"reduction": _reduction(draw)}
    for name in ("weight", "pos_weight"):
        if draw.boolean():
            options[name] = _broadcasting(draw, shape)
    x, t = 3 * draw.normal(*shape), _probabilities(draw, *shape)
    return Case("nn.functional.binary_cross_entropy_with_logits", x, t, **options)


@op(section="Kullback-Leibler divergence", count=40)
def kl_div(draw: Draw) -> Case:
    """Targets as probabilities and as their logarithms."""
    shape = draw.shape(draw.integer(1, 4))
    log_target = draw.boolean()
    t = _probabilities(draw, *shape)
    return Case(
        "nn.functional.kl_div",
        np.log(_probabilities(draw, *shape)),
        np.log(t) if log_target else t,
        reduction=draw.choice("batchmean", "sum", "none"),
        log_target=log_target,
    )


# ---------------------------------------------------------------------- vectors


@op(section="Cosine similarity", count=40)
def cosine_similarity(draw: Draw) -> Case:
    """Along any axis; x2 may broadcast."""
    shape = draw.shape(draw.integer(1, 4), low=2)
    dim = draw.integer(-len(shape), len(shape) - 1)
    axis = dim % len(shape)
    other = [n if k == axis or draw.boolean() else 1 for k, n in enumerate(shape)]
    x1, x2 = draw.normal(*shape), draw.normal(*other)
    return Case("nn.functional.cosine_similarity", x1, x2, dim, draw.choice(1e-8, 1e-6))

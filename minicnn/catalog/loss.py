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


@op(section="Distance", count=40)
def pairwise_distance(draw: Draw) -> Case:
    """Several powers; x2 may broadcast."""
    shape = (*draw.shape(draw.integer(0, 2)), draw.integer(2, 4))
    x2 = draw.normal(*shape[draw.integer(0, len(shape) - 1) :])
    x1 = x2 + draw.away(0, shape=shape)
    options = {"p": draw.choice(2.0, 1.0, 3.0), "keepdim": draw.boolean()}
    return Case("nn.functional.pairwise_distance", x1, x2, eps=draw.choice(1e-6, 0.01), **options)


# ---------------------------------------------------------------------- margins


def _signs(draw: Draw, *shape: int) -> np.ndarray:
    return np.where(draw.mask(*shape), 1.0, -1.0)


@op(section="Two by two", count=40)
def margin_ranking_loss(draw: Draw) -> Case:
    """Away from the margin; the target is no variable."""
    shape, margin = draw.shape(draw.integer(0, 3)), draw.choice(0.0, 0.5, -0.3)
    t, x2 = _signs(draw, *shape), draw.normal(*shape)
    x1 = x2 + t * (margin + draw.away(0, shape=shape))
    options = {"target": t, "margin": margin, "reduction": _reduction(draw)}
    return Case("nn.functional.margin_ranking_loss", x1, x2, **options)


@op(section="Two by two", count=40)
def hinge_embedding_loss(draw: Draw) -> Case:
    """Away from the margin."""
    margin = draw.choice(1.0, 0.5)
    x = draw.away(margin, shape=draw.shape(draw.integer(0, 3)))
    options = {"target": _signs(draw, *x.shape), "margin": margin, "reduction": _reduction(draw)}
    return Case("nn.functional.hinge_embedding_loss", x, **options)


@op(section="Two by two", count=40)
def cosine_embedding_loss(draw: Draw) -> Case:
    """Pairs, or one; with the margin of a cosine that random pairs do not have."""
    N, D = draw.shape(draw.integer(0, 1)), draw.integer(2, 4)
    options = {"margin": draw.choice(0.0, 0.3), "reduction": _reduction(draw)}
    x1, x2 = draw.normal(*N, D), draw.normal(*N, D)
    return Case("nn.functional.cosine_embedding_loss", x1, x2, target=_signs(draw, *N), **options)


@op(section="Two by two", count=40)
def soft_margin_loss(draw: Draw) -> Case:
    """Of any shape."""
    x = 2 * draw.normal(*draw.shape(draw.integer(0, 3)))
    t = _signs(draw, *x.shape)
    return Case("nn.functional.soft_margin_loss", x, target=t, reduction=_reduction(draw))


def _triplet(draw: Draw) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The anchor, what is near and what is far, and the options that both functions have."""
    shape = (*draw.shape(draw.integer(0, 2)), draw.integer(2, 4))
    tensors = [draw.normal(*shape) for _ in range(3)]
    options = {"margin": draw.choice(1.0, 0.3, 2.0), "swap": draw.boolean()}
    return tensors, options | {"reduction": _reduction(draw)}


@op(section="Triplets", count=40)
def triplet_margin_loss(draw: Draw) -> Case:
    """Several powers, with and without swap."""
    tensors, options = _triplet(draw)
    p = draw.choice(2.0, 1.0, 3.0)
    return Case("nn.functional.triplet_margin_loss", *tensors, p=p, **options)


@op(section="Triplets", count=40)
def triplet_margin_with_distance_loss(draw: Draw) -> Case:
    """The ordinary distance, and one minus the cosine."""
    tensors, options = _triplet(draw)
    by_angle = draw.boolean()

    def call(library: Any, *tensors: Any, **options: Any) -> Any:
        F = library.nn.functional

        def distance(x1: Any, x2: Any) -> Any:
            return 1 - F.cosine_similarity(x1, x2, -1)

        distance_function = distance if by_angle else None
        return F.triplet_margin_with_distance_loss(
            *tensors, distance_function=distance_function, **options
        )

    return Case(call, *tensors, **options)


def _scores(draw: Draw) -> np.ndarray:
    return draw.normal(*draw.shape(draw.integer(0, 1)), draw.integer(2, 5))


@op(section="Classes", count=40)
def multi_margin_loss(draw: Draw) -> Case:
    """Both powers, with weights, of one sample and of several."""
    x = _scores(draw)
    options = {"p": draw.choice(1, 2), "margin": draw.choice(1.0, 0.3)}
    if draw.boolean():
        options["weight"] = draw.positive(x.shape[-1])
    t = np.asarray(draw.integers(0, x.shape[-1] - 1, *x.shape[:-1]))
    return Case("nn.functional.multi_margin_loss", x, t, reduction=_reduction(draw), **options)


@op(section="Classes", count=40)
def multilabel_margin_loss(draw: Draw) -> Case:
    """None, some or all of the classes."""
    x = _scores(draw)
    t = np.argsort(draw.normal(*x.shape), axis=-1)
    t[..., draw.integer(0, x.shape[-1]) :] = -1
    return Case("nn.functional.multilabel_margin_loss", x, t, reduction=_reduction(draw))


@op(section="Classes", count=40)
def multilabel_soft_margin_loss(draw: Draw) -> Case:
    """Targets 0 and 1, with weights."""
    x = _scores(draw)
    options: dict[str, Any] = {"reduction": _reduction(draw)}
    if draw.boolean():
        options["weight"] = draw.positive(x.shape[-1])
    t = draw.mask(*x.shape).astype(float)
    return Case("nn.functional.multilabel_soft_margin_loss", x, target=t, **options)


# ---------------------------------------------------------------------- likelihoods


@op(section="Counts", count=40)
def poisson_nll_loss(draw: Draw) -> Case:
    """Of the rate and of its logarithm, with Stirling's approximation."""
    shape, log_input = draw.shape(draw.integer(0, 3)), draw.boolean()
    options = {"log_input": log_input, "full": draw.boolean(), "eps": draw.choice(1e-8, 0.01)}
    x = draw.normal(*shape) if log_input else draw.positive(*shape)
    t = draw.integers(0, 5, *shape) + 0.5
    return Case("nn.functional.poisson_nll_loss", x, t, reduction=_reduction(draw), **options)


@op(section="Normal numbers", count=40)
def gaussian_nll_loss(draw: Draw) -> Case:
    """Variances of the input's shape, without its last axis, or with one of length 1."""
    shape = draw.shape(draw.integer(1, 3), low=2)
    var = draw.positive(*draw.choice(shape, shape[:-1], (*shape[:-1], 1)))
    options = {"full": draw.boolean(), "eps": draw.choice(1e-6, 0.1)}
    x, t = draw.normal(*shape), draw.normal(*shape)
    return Case("nn.functional.gaussian_nll_loss", x, t, var, reduction=_reduction(draw), **options)

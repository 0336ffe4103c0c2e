"""Margins and likelihoods: extremes, empty batches, types, errors (as PyTorch's)."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.nn import functional as F

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 4, 5))
LABELS = np.array([0, 4, 2, 2])


def test_soft_margin_of_any_score():
    x = minicnn.tensor([1e4, -1e4, 1e4, -1e4], dtype=minicnn.float64, requires_grad=True)
    y = F.soft_margin_loss(x, minicnn.tensor([1, 1, -1, -1]), reduction="none")
    y.sum().backward()
    assert y.tolist() == [0, 1e4, 1e4, 0] and x.grad.tolist() == [0, -1, 1, 0]


def test_ties_have_pytorchs_gradients(parity):
    """At a margin that is just kept: 1 where a clamp decides, 0 in the sums over classes."""
    x, ones = np.zeros((2, 3)), np.ones((2, 3))
    parity(
        lambda lib, x: lib.nn.functional.margin_ranking_loss(x, lib.zeros(2, 3), lib.ones(2, 3)), x
    )
    parity(lambda lib, x: lib.nn.functional.hinge_embedding_loss(x, -lib.ones(2, 3)), ones)
    parity(lambda lib, x: lib.nn.functional.multi_margin_loss(x, lib.tensor([0, 1]), margin=0), x)
    listed = np.array([[0, -1, -1]] * 2)
    x = np.array([[1.0, 0, 0]] * 2)
    parity(lambda lib, x: lib.nn.functional.multilabel_margin_loss(x, lib.tensor(listed)), x)


@pytest.mark.parametrize("p", [1, 2])
def test_classes_that_a_score_of_minus_infinity_rules_out(p, parity):
    x = np.array([[1.0, -np.inf, 0.5, 2.0]] * 2)
    parity(
        lambda lib, x: lib.nn.functional.multi_margin_loss(
            x, lib.tensor([0, 3]), p, weight=lib.tensor([1.0, 2, 3, 4], dtype=lib.float64)
        ),
        x,
    )
    parity(
        lambda lib, x: lib.nn.functional.multilabel_margin_loss(
            x, lib.tensor([[0, 3, -1, -1], [2, -1, 0, 0]])
        ),
        x,
    )


def test_empty_batches():
    none, t = minicnn.zeros(0, 5, requires_grad=True), minicnn.zeros(0, dtype=minicnn.int64)
    for loss in (
        F.multi_margin_loss(none, t, reduction="sum"),
        F.multilabel_margin_loss(none, none.long(), reduction="sum"),
        F.triplet_margin_loss(none, none, none, reduction="sum"),
        F.cosine_embedding_loss(none, none, t, reduction="sum"),
        F.poisson_nll_loss(none, none, reduction="sum"),
        F.gaussian_nll_loss(none, none, none, reduction="sum"),
    ):
        loss.backward()
        assert loss.item() == 0


def test_types(parity):
    """The target of a sign loss has no say; that of a likelihood meets the input's type."""
    x, signs = X.astype(np.float32), np.sign(Y)
    f = "float32"
    assert F.hinge_embedding_loss(x, signs).dtype == f
    assert F.cosine_embedding_loss(x, x, signs[:, 0]).dtype == f
    parity(lambda lib, x, y: lib.nn.functional.poisson_nll_loss(x, y), x, abs(Y), rtol=1e-6)
    parity(lambda lib, x, y: lib.nn.functional.pairwise_distance(x, y), x, Y)
    parity(lambda lib, x: lib.nn.functional.margin_ranking_loss(x, x, lib.ones(4, 5).long()), x)


def test_labels_of_one_sample_keep_their_shape(parity):
    for t in (2, [2]):
        parity(
            lambda lib, x, t=t: lib.nn.functional.multi_margin_loss(
                x, lib.tensor(t), reduction="none"
            ),
            X[0],
        )


def test_a_variance_as_a_number():
    found = F.gaussian_nll_loss(minicnn.tensor(X), minicnn.tensor(Y), 2.0)
    wanted = F.gaussian_nll_loss(minicnn.tensor(X), minicnn.tensor(Y), minicnn.full((4, 5), 2.0))
    np.testing.assert_allclose(found.item(), wanted.item(), rtol=1e-6)


def call(name, *args, **options):
    """The function of either library; lists become tensors."""

    def run(lib, x):
        rest = [lib.tensor(a) if isinstance(a, np.ndarray) else a for a in args]
        return getattr(lib.nn.functional, name)(x, *rest, **options)

    return run


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("margin_ranking_loss: inputs and target expect one number of axes, got shapes",
         call("margin_ranking_loss", X, X[0])),
        (r"margin_ranking_loss: shapes \(4, 5\) and \(4, 3\) and \(4, 5\) do not broadcast",
         call("margin_ranking_loss", X[:, :3], X)),
        ("margin_ranking_loss: reduction expects",
         call("margin_ranking_loss", X, X, reduction="x")),
        (r"cosine_embedding_loss: expects inputs \(N, D\) and a target \(N,\)",
         call("cosine_embedding_loss", X, X)),
        ("triplet_margin_loss: margin expects a positive number, got 0",
         call("triplet_margin_loss", X, X, margin=0)),
        ("triplet_margin_loss: anchor, positive and negative expect one number of axes",
         call("triplet_margin_loss", X[0], X)),
        ("triplet_margin_with_distance_loss: margin expects",
         call("triplet_margin_with_distance_loss", X, X, margin=-1)),
        ("multi_margin_loss: p expects 1 or 2, got 3", call("multi_margin_loss", LABELS, 3)),
        ("multi_margin_loss: target holds the label 5 at index \\(1,\\); with 5 classes",
         call("multi_margin_loss", LABELS + np.array([0, 1, 0, 0]))),
        ("multi_margin_loss: target holds the label -1", call("multi_margin_loss", LABELS - 1)),
        (r"multi_margin_loss: target expects shape \(4,\) for input \(4, 5\), got \(2,\)",
         call("multi_margin_loss", LABELS[:2])),
        ("multi_margin_loss: target expects integer labels, got float64",
         call("multi_margin_loss", LABELS * 1.0)),
        (r"multi_margin_loss: weight expects shape \(5,\), got \(2,\)",
         call("multi_margin_loss", LABELS, 1, 1.0, np.ones(2))),
        ("multilabel_margin_loss: target holds the label -2",
         call("multilabel_margin_loss", np.full((4, 5), -2))),
        (r"multilabel_margin_loss: target expects shape \(4, 5\)",
         call("multilabel_margin_loss", LABELS)),
        ("gaussian_nll_loss: var expects no negative number, got -1",
         call("gaussian_nll_loss", X, -np.ones((4, 5)))),
        (r"gaussian_nll_loss: var expects input's shape \(4, 5\).* got \(5,\)",
         call("gaussian_nll_loss", X, np.ones(5))),
        (r"poisson_nll_loss: shapes \(4, 5\) and \(4, 3\) do not broadcast",
         call("poisson_nll_loss", X[:, :3])),
        (r"pairwise_distance: shapes \(4, 5\) and \(4, 3\) do not broadcast",
         call("pairwise_distance", X[:, :3])),
        ("rrelu: lower and upper expect finite numbers, lower <= upper, got 0.3 and 0.1",
         call("rrelu", 0.3, 0.1)),
        ("rrelu: lower and upper expect finite numbers", call("rrelu", 0.3, float("inf"))),
        ("gumbel_softmax: dim expects", call("gumbel_softmax", dim=2)),
    ],
)  # fmt: skip
def test_errors(text, function, refuses):
    refuses(function, X, match=text)


def test_types_are_refused():
    integers = minicnn.ones(2, 2, dtype=minicnn.int64)
    for name in ("hinge_embedding_loss", "multi_margin_loss", "multilabel_margin_loss"):
        with pytest.raises(TypeError, match=f"{name}: input expects a floating type, got int64"):
            getattr(F, name)(integers, integers)
    for name in ("soft_margin_loss", "poisson_nll_loss", "pairwise_distance"):
        with pytest.raises(TypeError, match=f"{name}: one of the inputs expects a floating type"):
            getattr(F, name)(integers, integers)
    with pytest.raises(TypeError, match="rrelu: x expects a floating type, got int64"):
        F.rrelu(integers)
    with pytest.warns(UserWarning, match="gumbel_softmax: eps has no effect"):
        F.gumbel_softmax(minicnn.ones(3), eps=0.1)

"""The layers of margins, likelihoods, random slopes and lazy instance norm, against PyTorch's."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minicnn
from minicnn import nn

torch = pytest.importorskip("torch")
tnn = torch.nn

RNG = np.random.default_rng(0)
X, Y, Z = RNG.normal(size=(3, 4, 5))
SIGNS = np.where(RNG.random((4, 5)) < 0.5, 1.0, -1.0)
LABELS, LISTED = np.array([0, 4, 2, 2]), np.array([[0, 2, -1, 3, 1]] * 4)
W = RNG.uniform(0.5, 2, 5)

LAYERS = {  # name: (how to build it from either nn and a weight, its inputs)
    "margin": (lambda nn, w: nn.MarginRankingLoss(0.5), (X, Y, SIGNS)),
    "margin, summed": (lambda nn, w: nn.MarginRankingLoss(reduction="sum"), (X, Y, SIGNS)),
    "cosine": (lambda nn, w: nn.CosineEmbeddingLoss(0.2), (X, Y, SIGNS[:, 0])),
    "hinge": (lambda nn, w: nn.HingeEmbeddingLoss(), (X, SIGNS)),
    "hinge, none": (lambda nn, w: nn.HingeEmbeddingLoss(0.5, reduction="none"), (X, SIGNS)),
    "soft margin": (lambda nn, w: nn.SoftMarginLoss(), (X, SIGNS)),
    "triplet": (lambda nn, w: nn.TripletMarginLoss(0.5, p=1, swap=True), (X, Y, Z)),
    "triplet, default": (lambda nn, w: nn.TripletMarginLoss(), (X, Y, Z)),
    "distance": (lambda nn, w: nn.TripletMarginWithDistanceLoss(), (X, Y, Z)),
    "distance of one's own": (
        lambda nn, w: nn.TripletMarginWithDistanceLoss(
            distance_function=nn.PairwiseDistance(1), margin=0.3, swap=True, reduction="sum"
        ),
        (X, Y, Z),
    ),
    "multi margin": (lambda nn, w: nn.MultiMarginLoss(), (X, LABELS)),
    "multi margin squared": (lambda nn, w: nn.MultiMarginLoss(2, 0.5, w), (X, LABELS)),
    "labels": (lambda nn, w: nn.MultiLabelMarginLoss(reduction="none"), (X, LISTED)),
    "soft labels": (lambda nn, w: nn.MultiLabelSoftMarginLoss(w), (X, (SIGNS + 1) / 2)),
    "poisson": (lambda nn, w: nn.PoissonNLLLoss(), (X, abs(Y))),
    "poisson, full": (lambda nn, w: nn.PoissonNLLLoss(False, True, eps=0.1), (abs(X), 3 * abs(Y))),
    "gaussian": (lambda nn, w: nn.GaussianNLLLoss(full=True), (X, Y, abs(Z))),
    "pairwise": (lambda nn, w: nn.PairwiseDistance(1.0, keepdim=True), (X, Y)),
    "rrelu": (lambda nn, w: nn.RReLU(0.1, 0.5).eval(), (X,)),
    "rrelu in place": (lambda nn, w: nn.Sequential(nn.ELU(), nn.RReLU(0.2, 0.2, True)), (X,)),
    "softmax2d": (lambda nn, w: nn.Softmax2d(), (X.reshape(2, 2, 5),)),
    "hardtanh": (lambda nn, w: nn.Hardtanh(-0.3, 0.4, inplace=False), (X,)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_layer(name):
    build, inputs = LAYERS[name]
    found = []
    for library, nets in ((minicnn, nn), (torch, tnn)):
        layer = build(nets, library.tensor(W))
        first = library.tensor(inputs[0], requires_grad=True)
        y = layer(first, *map(library.tensor, inputs[1:]))
        y.sum().backward()
        found.append((repr(layer), list(layer.state_dict()), y.detach(), first.grad))
    ours, theirs = found
    assert ours[:2] == theirs[:2]
    for a, b in zip(ours[2:], theirs[2:], strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12, strict=True)


def test_rrelu_draws_in_training_alone():
    layer, x = nn.RReLU(), -minicnn.ones(1000)
    y = layer(x)
    assert -1 / 3 <= y.min().item() < -0.32 and -0.14 < y.max().item() <= -1 / 8
    minicnn.manual_seed(3)
    first = layer(x)
    minicnn.manual_seed(3)
    assert np.array_equal(layer(x).array, first.array)
    assert not np.array_equal(layer(x).array, first.array)
    np.testing.assert_allclose(layer.eval()(x).array, -(1 / 8 + 1 / 3) / 2, rtol=1e-6)


def test_settings_are_checked_when_built():
    with pytest.raises(ValueError, match="TripletMarginLoss: margin expects a positive number"):
        nn.TripletMarginLoss(0)
    with pytest.raises(ValueError, match="TripletMarginWithDistanceLoss: margin expects"):
        nn.TripletMarginWithDistanceLoss(margin=-1)
    with pytest.raises(ValueError, match="MultiMarginLoss: p expects 1 or 2, got 3"):
        nn.MultiMarginLoss(3)
    with pytest.raises(ValueError, match=r"Softmax2d: expects .* got shape \(4, 5\)"):
        nn.Softmax2d()(minicnn.ones(4, 5))
    with pytest.warns(FutureWarning, match="Hardtanh: min_value is old; write min_val"):
        layer = nn.Hardtanh(min_value=-2)
    assert (layer.min_val, layer.max_val) == (-2, 1)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    ["", "affine=False", "track_running_stats=False", "affine=False, track_running_stats=False"],
)
@pytest.mark.parametrize("norm", ["Instance", "Batch"])
def test_lazy_norms(norm, dims, options):
    built = [eval(f"nets.Lazy{norm}Norm{dims}d({options})") for nets in (nn, tnn)]
    assert re.sub(", bias=True", "", repr(built[0])) == re.sub(", bias=True", "", repr(built[1]))
    assert list(built[0].state_dict()) == list(built[1].state_dict())
    ours, x = built[0], minicnn.randn(2, 3, *[4] * dims)
    y = ours(x)
    assert type(ours).__name__ == f"{norm}Norm{dims}d" and ours.num_features == 3
    plain = eval(f"nn.{norm}Norm{dims}d(3, {options or 'affine=True, track_running_stats=True'})")
    if norm == "Instance" and options == "affine=False":
        plain = eval(f"nn.InstanceNorm{dims}d(3, track_running_stats=True)")
    if norm == "Instance" and options == "track_running_stats=False":
        plain = eval(f"nn.InstanceNorm{dims}d(3, affine=True)")
    assert np.array_equal(plain(x).array, y.array)
    assert list(plain.state_dict()) == list(ours.state_dict())
    for a, b in zip(plain.state_dict().values(), ours.state_dict().values(), strict=True):
        assert np.array_equal(a.array, b.array)


def test_a_lazy_instance_norm_knows_an_input_without_a_batch():
    layer = nn.LazyInstanceNorm2d()
    assert layer(minicnn.randn(3, 4, 5)).shape == (3, 4, 5) and layer.num_features == 3


def test_a_lazy_instance_norm_refuses_other_ranks_and_stays_lazy():
    layer = nn.LazyInstanceNorm2d()
    with pytest.raises(ValueError, match="expects 3 or 4 dimensions"):
        layer(minicnn.ones(2, 3))
    assert layer.has_uninitialized_params() and layer.num_features == 0


def test_a_lazy_instance_norm_loads_a_state_dict():
    known = nn.InstanceNorm1d(3, affine=True, track_running_stats=True)
    known(minicnn.randn(2, 3, 5))
    layer = nn.LazyInstanceNorm1d()
    layer.load_state_dict(known.state_dict())
    x = minicnn.randn(2, 3, 5)
    assert np.array_equal(layer.eval()(x).array, known.eval()(x).array) and layer.num_features == 3

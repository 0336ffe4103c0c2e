"""nn.Embedding and functional.embedding: look-up, gradients, options, PyTorch's numbers."""

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.nn import functional as F

K = np.array([[2, 0, 2], [1, 2, 4]])
W = np.random.default_rng(0).standard_normal((5, 3))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding_idx": 2},
        {"padding_idx": -3},
        {"scale_grad_by_freq": True},
        {"padding_idx": 0, "scale_grad_by_freq": True},
        {"max_norm": 1.0},
        {"max_norm": 0.7, "norm_type": 1.0},
        {"max_norm": 1.5, "norm_type": float("inf"), "padding_idx": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_as_pytorch(options, dtype):
    torch = pytest.importorskip("torch")
    found = []
    for lib in (minicnn, torch):
        w = lib.tensor(W.astype(dtype), requires_grad=True)
        y = lib.nn.functional.embedding(lib.tensor(K), w, **options)
        (y * lib.tensor(np.arange(18.0).reshape(2, 3, 3).astype(dtype))).sum().backward()
        found.append([v.detach().numpy() for v in (y, w.grad, w)])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12 if dtype == np.float64 else 1e-5)


def test_layer():
    minicnn.manual_seed(1)
    layer = nn.Embedding(400, 500, padding_idx=-1)
    assert layer.padding_idx == 399 and not layer.weight.array[399].any()
    w = layer.weight.array[:399]
    assert abs(w.mean()) < 5 / np.sqrt(w.size) and abs(w.std() - 1) < 5 / np.sqrt(w.size)
    assert list(layer.state_dict()) == ["weight"]
    y = layer(minicnn.tensor([[3, 399]]))
    assert y.shape == (1, 2, 500) and not y.detach().array[0, 1].any()
    y.sum().backward()
    assert not layer.weight.grad.array[399].any() and (layer.weight.grad.array[3] == 1).all()
    assert layer(minicnn.zeros(0, dtype=minicnn.int64)).shape == (0, 500)
    before = layer.weight.array.copy()
    layer.reset_parameters()
    assert (layer.weight.array != before).any() and not layer.weight.array[399].any()


def test_from_pretrained():
    layer = nn.Embedding.from_pretrained(minicnn.tensor(W), padding_idx=1)
    assert not layer.weight.requires_grad and layer.num_embeddings == 5
    np.testing.assert_array_equal(layer(minicnn.tensor(K)).array, W[K])
    assert nn.Embedding.from_pretrained(minicnn.tensor(W), freeze=False).weight.requires_grad


def test_repr_is_pytorchs():
    torch = pytest.importorskip("torch")
    for options in (
        {},
        {"padding_idx": 2},
        {"max_norm": 1.0, "norm_type": 1.0},
        {"scale_grad_by_freq": True},
    ):
        assert repr(nn.Embedding(5, 3, **options)) == repr(torch.nn.Embedding(5, 3, **options))


def test_second_derivatives():
    k, w = minicnn.tensor(K), minicnn.tensor(W, requires_grad=True)
    assert minicnn.autograd.gradgradcheck(lambda w: F.embedding(k, w) ** 3, [w])
    y = F.embedding(k, w, padding_idx=2, scale_grad_by_freq=True)
    (g,) = minicnn.autograd.grad(y.pow(3).sum(), [w], create_graph=True)
    (h,) = minicnn.autograd.grad(g.sum(), [w])
    expected = 6 * W
    expected[[2, 3]] = 0
    np.testing.assert_allclose(h.array, expected, rtol=1e-12)


def test_the_index_may_change_after_the_look_up():
    k, w = minicnn.tensor([1, 2]), minicnn.tensor(W, requires_grad=True)
    y = F.embedding(k, w)
    k.fill_(0)
    y.sum().backward()
    assert w.grad.array.sum(1).tolist() == [0, 3, 3, 0, 0]


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda w: F.embedding(minicnn.tensor([5]), w), "0 to 4, got 5"),
        (lambda w: F.embedding(minicnn.tensor([-1]), w), "0 to 4, got -1"),
        (lambda w: F.embedding(minicnn.tensor([0.5]), w), "expects integers"),
        (lambda w: F.embedding(minicnn.tensor([0]), w[0]), "vectors, size"),
        (lambda w: F.embedding(minicnn.tensor([0]), w, 7), "padding_idx expects -5 to 4"),
        (lambda w: F.embedding(minicnn.tensor([0]), w, sparse=True), "sparse"),
        (lambda w: nn.Embedding(4, 2, padding_idx=4), "padding_idx expects -4 to 3"),
        (lambda w: nn.Embedding(4, 2, sparse=True), "sparse"),
        (lambda w: nn.Embedding(4, 2, _weight=w), r"shape \(4, 2\)"),
        (lambda w: nn.Embedding.from_pretrained(w[0]), "matrix"),
    ],
)
def test_errors(call, text):
    with pytest.raises((RuntimeError, ValueError, IndexError), match=text):
        call(minicnn.tensor(W))

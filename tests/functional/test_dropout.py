"""Dropout: the formulas against the code, statistics of the mask, derivatives, seeds, errors."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.functional.dropout import dropout, dropout1d, dropout2d

ALL = {"dropout": (dropout, 4), "dropout1d": (dropout1d, 3), "dropout2d": (dropout2d, 4)}


def leaf(array):
    return Tensor(np.array(array, float), requires_grad=True)


@pytest.fixture(autouse=True)
def seeded():
    minicnn.manual_seed(0)


def test_example_by_hand(monkeypatch):
    import sys

    module = sys.modules["minicnn.functional.dropout"]  # the package's attribute is the function
    mask = np.array([True, False, False, True])
    monkeypatch.setattr(module, "draw_mask", lambda x, shape, p: mask)
    x = leaf([1, 2, 3, 4])
    y = dropout(x, 0.5)
    y.backward(Tensor(np.ones(4)))
    assert y.tolist() == [2, 0, 0, 8]
    assert x.grad.tolist() == [2, 0, 0, 2]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("name", ALL)
def test_formulas_1_and_2(name, p):
    function, rank = ALL[name]
    x = leaf(np.random.default_rng(0).uniform(1, 2, (40, 30, 5, 4)[:rank]))
    grad_y = np.random.default_rng(1).normal(size=x.shape)
    y = function(x, p)
    y.backward(Tensor(grad_y))
    m = y.detach().array != 0
    np.testing.assert_allclose(y.detach().array, m * x.array / (1 - p), rtol=1e-14)
    np.testing.assert_allclose(x.grad.array, m * grad_y / (1 - p), rtol=1e-14)
    if name == "dropout":
        assert len({row.tobytes() for row in m.reshape(-1, 4)}) > 4
    else:  # a channel is kept or dropped as a whole
        assert np.array_equal(m, np.broadcast_to(m[:, :, :1][..., :1], m.shape))
    kept = m.mean() if name == "dropout" else m.reshape(40, 30, -1)[:, :, 0].mean()
    n = m.size if name == "dropout" else 1200
    assert abs(kept - (1 - p)) < 4 * np.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("name", ALL)
def test_derivatives(name):
    function, rank = ALL[name]
    x = leaf(np.random.default_rng(0).normal(size=(2, 3, 4, 2)[:rank]))

    def seeded(x):
        minicnn.manual_seed(7)
        return function(x, 0.4)

    assert gradcheck(seeded, x)
    assert gradgradcheck(seeded, x)
    assert gradgradcheck(lambda x: seeded(x * x), x)


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_mask(name):
    function, rank = ALL[name]
    x = np.ones((4, 5, 6, 7)[:rank], np.float32)
    first = function(x)
    second = function(x)
    minicnn.manual_seed(0)
    assert np.array_equal(function(x), first)
    assert not np.array_equal(first, second)
    minicnn.manual_seed(0)
    order = (0, *range(rank - 1, 0, -1))
    other = np.ascontiguousarray(x.transpose(order)).transpose(order)
    assert np.array_equal(function(other), first)
    assert first.dtype == np.float32


@pytest.mark.parametrize("name", ALL)
def test_evaluation_and_the_ends_of_p(name):
    function, rank = ALL[name]
    x = leaf(np.ones((2, 3, 2, 2)[:rank]))
    before = minicnn.backend.random.default_generator().get_state()
    assert function(x, 0.5, training=False) is x
    assert function(x, 0.0) is x
    assert np.array_equal(minicnn.backend.random.default_generator().get_state(), before)
    y = function(x, 1.0)
    y.backward(Tensor(np.ones(y.shape)))
    assert not y.detach().array.any() and not x.grad.array.any()


def test_the_expectation_is_the_input():
    x = np.full(200_000, 3.0, np.float32)
    assert abs(dropout(x, 0.3).mean() - 3) < 0.02


def test_inplace():
    x = leaf(np.ones((3, 4, 2)))
    for function in (dropout, dropout1d, dropout2d):
        minicnn.manual_seed(1)
        wanted = function(x, 0.5)
        minicnn.manual_seed(1)
        middle = x * 1.0
        memory = middle.array
        assert function(middle, 0.5, inplace=True) is middle
        assert middle.array is memory and np.array_equal(memory, wanted.detach().array)
        x.grad = None
        middle.backward(Tensor(np.ones(x.shape)))
        assert np.array_equal(x.grad.array, wanted.detach().array)
    raw = np.ones((3, 4))
    assert dropout(raw, 0.5, inplace=True) is raw and set(raw.ravel()) == {0, 2}


def test_channels_without_a_batch_axis():
    x = leaf(np.ones((50, 4)))
    y = dropout1d(x, 0.5)
    rows = y.detach().array
    assert y.shape == (50, 4) and np.all(rows == rows[:, :1]) and len(np.unique(rows)) == 2
    middle = x * 1.0
    assert dropout1d(middle, 0.5, inplace=True) is middle
    middle.backward(Tensor(np.ones((50, 4))))
    assert np.array_equal(x.grad.array, middle.detach().array)
    assert dropout1d(x, 0.5, training=False) is x
    assert dropout2d(np.ones((2, 3, 4))).shape == (2, 3, 4)


def test_an_empty_batch_and_a_scalar():
    x = leaf(np.zeros((0, 3)))
    y = dropout(x)
    y.backward(Tensor(np.zeros((0, 3))))
    assert y.shape == x.grad.shape == (0, 3)
    assert dropout(leaf(1.0)).shape == ()


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("name", ALL)
def test_errors(name, p):
    function, rank = ALL[name]
    x = np.ones((1,) * rank)
    with pytest.raises(ValueError, match=f"{name}: p expects a probability from 0 to 1, got {p}"):
        function(x, p)
    with pytest.raises(ValueError, match=f"{name}: p expects"):
        function(x, p, training=False)
    with pytest.raises(TypeError, match=f"{name}: x expects a floating type, got int64"):
        function(x.astype(int))
    if rank > 3 and name != "dropout":
        with pytest.raises(ValueError, match=r"dropout2d: x expects \(N, C, H, W\), got \(2, 3\)"):
            function(np.ones((2, 3)))
    if name == "dropout1d":
        with pytest.raises(ValueError, match=r"dropout1d: x expects \(N, C, L\) or \(C, L\)"):
            function(np.ones((2, 3, 4, 5)))


@pytest.mark.parametrize("name", ALL)
def test_pytorch_agrees_on_all_but_the_numbers(name):
    torch = pytest.importorskip("torch")
    function, rank = ALL[name]
    theirs = getattr(torch.nn.functional, name)
    x = np.random.default_rng(0).uniform(1, 2, (3, 4, 5, 6)[:rank])
    for p in (0.0, 0.25, 1.0):
        a, b = function(x, p), theirs(torch.tensor(x), p).numpy()
        both = (a != 0) & (b != 0)
        assert np.array_equal(a[both], b[both]) and both.any() == (p < 1)

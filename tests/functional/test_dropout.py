"""Dropout: the formulas against the code, statistics of the mask, derivatives, seeds, errors."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.backend import reference
from minicnn.functional.dropout import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)

# name: (function, axes of its input)
ALL = {
    "dropout": (dropout, 4),
    "dropout1d": (dropout1d, 3),
    "dropout2d": (dropout2d, 4),
    "dropout3d": (dropout3d, 5),
}
ALPHA = {
    "alpha_dropout": (alpha_dropout, 4),
    "feature_alpha_dropout": (feature_alpha_dropout, 4),
}
BOTH = {**ALL, **ALPHA}
SHAPE = (40, 30, 5, 4, 3)


def leaf(array):
    return Tensor(np.array(array, float), requires_grad=True)


@pytest.fixture(autouse=True)
def seeded():
    minicnn.manual_seed(0)


def generator_state():
    return minicnn.backend.random.default_generator().get_state()


@pytest.mark.parametrize("name", BOTH)
def test_derivatives(name):
    function, rank = BOTH[name]
    x = leaf(np.random.default_rng(0).normal(size=(2, 3, 4, 2, 2)[:rank]))

    def seeded(x):
        minicnn.manual_seed(7)
        return function(x, 0.4, training=True)

    assert gradcheck(seeded, x)
    assert gradgradcheck(seeded, x)
    assert gradgradcheck(lambda x: seeded(x * x), x)


@pytest.mark.parametrize("name", ALL)
def test_evaluation_and_the_ends_of_p(name):
    function, rank = ALL[name]
    x = leaf(np.ones((2, 3, 2, 2, 2)[:rank]))
    before = generator_state()
    assert function(x, 0.5, training=False) is x
    assert function(x, 0.0) is x
    assert np.array_equal(generator_state(), before)
    y = function(x, 1.0)
    y.backward(Tensor(np.ones(y.shape)))
    assert not y.detach().array.any() and not x.grad.array.any()


def test_the_expectation_is_the_input():
    x = np.full(200_000, 3.0, np.float32)
    assert abs(dropout(x, 0.3).mean() - 3) < 0.02


@pytest.mark.parametrize("name", BOTH)
def test_inplace(name):
    function, rank = BOTH[name]
    x = leaf(np.ones((3, 4, 2, 2, 2)[:rank]))
    wanted = function(x, 0.5, training=True)
    minicnn.manual_seed(0)
    middle = x * 1.0
    memory = middle.array
    assert function(middle, 0.5, training=True, inplace=True) is middle
    assert middle.array is memory and np.array_equal(memory, wanted.detach().array)
    grads = []
    for y in (wanted, middle):
        x.grad = None
        y.backward(Tensor(np.ones(x.shape)))
        grads.append(x.grad.array)
    assert np.array_equal(*grads) and grads[0].any()


def test_inplace_of_arrays():
    raw = np.ones((3, 4))
    assert dropout(raw, 0.5, inplace=True) is raw and set(raw.ravel()) == {0, 2}


@pytest.mark.parametrize("function, shape", [(dropout1d, (50, 4)), (dropout3d, (50, 2, 1, 2))])
def test_channels_without_a_batch_axis(function, shape):
    x = leaf(np.ones(shape))
    y = function(x, 0.5)
    rows = y.detach().array.reshape(50, 4)
    assert y.shape == shape and np.all(rows == rows[:, :1]) and len(np.unique(rows)) == 2
    middle = x * 1.0
    assert function(middle, 0.5, inplace=True) is middle
    middle.backward(Tensor(np.ones(shape)))
    assert np.array_equal(x.grad.array, middle.detach().array)
    assert function(x, 0.5, training=False) is x


@pytest.mark.parametrize(
    "function, shape, mask_shape",
    [
        (dropout2d, (30, 20, 4), (30, 20, 1)),  # N, C, L
        (dropout2d, (30, 20), (30, 20)),
        (dropout2d, (30, 20, 2, 2, 2), (30, 20, 1, 1, 1)),
        (dropout3d, (30, 4, 2), (30, 1, 1)),  # C, then the rest
        (dropout3d, (30,), (30,)),
    ],
)
def test_other_ranks_warn_and_are_taken_as_pytorch_takes_them(function, shape, mask_shape):
    with pytest.warns(UserWarning, match=f"{function.__name__}: x expects .* got .* taken for"):
        m = function(np.ones(shape)) != 0
    entries = m[tuple([slice(0, 1) if n == 1 else slice(None) for n in mask_shape])]
    assert entries.shape == mask_shape
    assert np.array_equal(m, np.broadcast_to(entries, shape)) and 0 < entries.mean() < 1


def test_an_empty_batch_and_a_scalar():
    x = leaf(np.zeros((0, 3)))
    y = dropout(x)
    y.backward(Tensor(np.zeros((0, 3))))
    assert y.shape == x.grad.shape == (0, 3)
    assert dropout(leaf(1.0)).shape == ()


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("name", BOTH)
def test_errors(name, p):
    function, rank = BOTH[name]
    x = np.ones((1,) * rank)
    for training in (True, False):
        before = generator_state()
        with pytest.raises(ValueError, match=f"{name}: p expects a probability .* 0 to 1, got {p}"):
            function(x, p, training)
        assert np.array_equal(generator_state(), before)
    with pytest.raises(TypeError, match=f"{name}: x expects a floating type, got int64"):
        function(x.astype(int), 0.5, True)
    with pytest.raises(TypeError, match=f"{name}: x expects a Tensor or an array, got list"):
        function([1.0], 0.5, False)


@pytest.mark.parametrize("p", ["half", None, 1j])
@pytest.mark.parametrize("name", BOTH)
def test_a_probability_that_is_no_number(name, p, refuses):
    def call(lib, x):
        return getattr(lib.nn.functional, name)(x, p, True)

    refuses(call, np.ones((1,) * BOTH[name][1]), match=f"{name}: p expects a probability .* got ")
    layer = {"dropout": "Dropout", "alpha_dropout": "AlphaDropout"}.get(name, "Dropout2d")
    with pytest.raises(TypeError, match=f"{layer}: p expects a probability from 0 to 1, got "):
        getattr(minicnn.nn, layer)(p)


@pytest.mark.parametrize("name", BOTH)
def test_what_is_not_changed_may_have_any_type(name, parity):
    x = np.ones((2, 3, 4, 1, 2)[: BOTH[name][1]], int)
    for p, training in ((0.5, False), (0.0, True)):
        parity(
            lambda lib, t, p=p, training=training: getattr(lib.nn.functional, name)(t, p, training),
            x,
            grads=False,
        )


def test_a_refused_change_in_place_draws_nothing():
    before = generator_state()
    with pytest.raises(RuntimeError, match="dropout_: a leaf that requires a gradient cannot be"):
        dropout(leaf(np.ones(3)), 0.5, inplace=True)
    assert np.array_equal(generator_state(), before)


def test_errors_about_the_shape(refuses):
    def call(name):
        return lambda lib, x: getattr(lib.nn.functional, name)(x, 0.5, True)

    for shape in ((2,), (2, 3, 4, 5)):
        refuses(call("dropout1d"), np.ones(shape), match=r"dropout1d: x expects \(N, C, L\) or")
    refuses(call("feature_alpha_dropout"), np.ones(2), match=r"x expects \(N, C, ...\), got \(2,\)")
    with pytest.warns(UserWarning):
        refuses(call("dropout2d"), np.ones(2), match=r"dropout2d: x expects \(N, C, ...\)")
    assert feature_alpha_dropout(np.ones(2)).shape == (2,)  # off: any shape passes, as in PyTorch


# ---------------------------------------------------------------------- the mask


def test_nothing_of_the_inputs_size_is_kept():
    x = leaf(np.ones((50, 60)))
    y = dropout(x)
    node = y.grad_fn
    assert node.saved == ()
    assert not [v for v in vars(node).values() if isinstance(v, np.ndarray)]
    assert set(node.options) == {"p", "key", "mask_shape"}


def test_backward_computes_the_mask_again_from_the_key():
    x = leaf(np.ones((50, 60)))
    y = dropout(x, 0.3)
    m = y.detach().array != 0
    dropout(x, 0.3)  # draws go on in between
    y.backward(Tensor(np.ones(x.shape)), retain_graph=True)
    first = x.grad.array.copy()
    assert np.array_equal(first != 0, m)
    x.grad = None
    y.backward(Tensor(np.ones(x.shape)))
    assert np.array_equal(x.grad.array, first)


def test_the_mask_is_formula_3_in_the_order_of_the_indices():
    key = minicnn.Generator().manual_seed(0).numpy.bit_generator.random_raw()
    m = dropout(np.ones((3, 4, 5)), 0.3).ravel() != 0
    words = [reference.dropout_word(key, e) for e in range(60)]
    assert m.tolist() == [w >= round(0.3 * 2**32) for w in words]


@pytest.mark.parametrize("name", BOTH)
def test_every_backend_has_the_same_mask(name):
    function, rank = BOTH[name]
    x = np.random.default_rng(0).standard_normal((3, 4, 3, 2, 2)[:rank])
    masks, grads = [], []
    for backend in minicnn.backend.available():
        minicnn.manual_seed(5)
        t = leaf(x)
        with minicnn.use_backend(backend):
            y = function(t, 0.4, True)
            y.backward(Tensor(np.ones(x.shape)))
        masks.append(y.detach().array)
        grads.append(t.grad.array)
    assert len(masks) > 1
    assert all(np.array_equal(m, masks[0]) for m in masks)
    assert all(np.array_equal(g, grads[0]) for g in grads) and not grads[0].all()


@pytest.mark.parametrize("name", BOTH)
def test_the_mask_does_not_depend_on_the_memory_order(name):
    function, rank = BOTH[name]
    x = np.random.default_rng(0).standard_normal((4, 5, 6, 7, 2)[:rank])
    wanted = function(x, 0.5, True)
    for other in (np.asfortranarray(x), np.repeat(x, 2, -1)[..., ::2], x[::-1].copy()[::-1]):
        minicnn.manual_seed(0)
        assert np.array_equal(function(other, 0.5, True), wanted)


def test_calls_differ_and_a_generator_set_back_repeats_them():
    x = np.ones(1000)
    dropout(x)
    minicnn.rand(3)  # leaves half a block of the stream behind
    state = generator_state()
    first, second = dropout(x), dropout(x)
    assert not np.array_equal(first, second)
    agreement = (first == second).mean()
    assert abs(agreement - 0.5) < 0.08  # and know nothing of each other
    minicnn.backend.random.default_generator().set_state(state)
    assert np.array_equal(dropout(x), first) and np.array_equal(dropout(x), second)


def test_masks_leave_the_stream_of_other_numbers_in_step():
    """However large the input, a call takes one number of 64 bits."""
    states = []
    for count in (1, 10_000):
        minicnn.manual_seed(1)
        dropout(np.ones(count))
        states.append(generator_state())
    assert np.array_equal(*states)


@pytest.mark.parametrize("p", [1e-12, 0.001, 0.25, 0.9])
def test_statistics(p):
    """The share of zeros, runs of them, and each of the eight words of a block."""
    count = 400_000
    m = dropout(np.ones(count), p) == 0
    sigma = np.sqrt(p * (1 - p) / count)
    assert abs(m.mean() - p) <= 4.5 * sigma + 1e-12
    pairs = (m[1:] & m[:-1]).mean()
    assert abs(pairs - p * p) <= 4.5 * np.sqrt(p * p / count) + 1e-12
    for share in m.reshape(-1, 8).mean(0):
        assert abs(share - p) <= 4.5 * sigma * np.sqrt(8) + 1e-12


# ---------------------------------------------------------------------- alpha dropout


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("name", ALPHA)
def test_alpha_dropout_keeps_mean_and_variance(name, p):
    x = np.random.default_rng(0).standard_normal((1000, 400))
    y = ALPHA[name][0](x, p, training=True)
    assert abs(y.mean()) < 0.02 and abs(y.var() - 1) < 0.03
    dropped = np.bincount(np.unique(y.round(12), return_inverse=True)[1].ravel()).max()
    assert abs(dropped / y.size - p) < 0.01  # one value, that of the dropped ones


def test_feature_alpha_dropout_drops_channels():
    y = feature_alpha_dropout(np.random.default_rng(0).standard_normal((20, 30, 4, 5)), 0.5, True)
    flat = (y == y[:, :, :1, :1]).all((2, 3))
    assert abs(flat.mean() - 0.5) < 0.1


@pytest.mark.parametrize("name", ALPHA)
def test_alpha_dropout_is_off_unless_training(name):
    x = leaf(np.ones((2, 3, 4)))
    assert ALPHA[name][0](x) is x and ALPHA[name][0](x, 0.3) is x
    assert not ALPHA[name][0](x, 1.0, True).detach().array.any()


@pytest.mark.parametrize("name", ALPHA)
def test_pytorch_agrees_on_the_values_of_alpha_dropout(name):
    """The masks differ; but an element that both keep, or both drop, has one value."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x = np.random.default_rng(0).uniform(1, 2, (20, 30, 3))
    for p in (0.2, 0.5, 1.0):
        mine = ALPHA[name][0](x, p, True)
        theirs = getattr(torch.nn.functional, name)(torch.tensor(x), p, True).numpy()
        kept, dropped = (mine > 0) & (theirs > 0), (mine < 0) & (theirs < 0)
        assert (kept.any() and dropped.any()) or p == 1
        same = kept | dropped if p < 1 else np.full(x.shape, True)
        np.testing.assert_allclose(mine[same], theirs[same], rtol=1e-12)


# ---------------------------------------------------------------------- PyTorch


@pytest.mark.parametrize("name", ALL)
def test_pytorch_agrees_on_all_but_the_numbers(name):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    function, rank = ALL[name]
    theirs = getattr(torch.nn.functional, name)
    x = np.random.default_rng(0).uniform(1, 2, (3, 4, 5, 6, 2)[:rank])
    for p in (0.0, 0.25, 1.0):
        a, b = function(x, p), theirs(torch.tensor(x), p).numpy()
        both = (a != 0) & (b != 0)
        assert np.array_equal(a[both], b[both]) and both.any() == (p < 1)

"""The numbered formulas of functional/dropout.py, evaluated as they stand there."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Tensor
from minicnn.backend import reference
from minicnn.nn import functional as F

ELEMENTS = [("dropout", 2), ("dropout", 4), ("alpha_dropout", 3)]
CHANNELS = [("dropout1d", 3), ("dropout2d", 4), ("dropout3d", 5), ("feature_alpha_dropout", 4)]
ORDINARY = [case for case in ELEMENTS + CHANNELS if "alpha" not in case[0]]
ALPHA = [case for case in ELEMENTS + CHANNELS if "alpha" in case[0]]
PROBABILITIES = [0.1, 0.5, 0.8]
SIZES = (2, 3, 2, 3, 2)
S = -1.0507009873554805 * 1.6732632423543772


def mask(name, shape, p):
    """m by formula (3), from the key that the next call will draw. It draws nothing itself."""
    generator = minicnn.backend.random.default_generator()
    state = generator.get_state()
    key = generator.numpy.bit_generator.random_raw()
    generator.set_state(state)
    if (name, len(shape)) in CHANNELS:
        channels = shape[:2] + (1,) * (len(shape) - 2)
    else:
        channels = shape
    m = np.zeros(channels)
    for e, place in enumerate(np.ndindex(*channels)):
        m[place] = 1 if reference.dropout_word(key, e) >= round(p * 2**32) else 0
    return np.broadcast_to(m, shape)


def run(name, rank, p):
    """x, y, grad_y, grad_x and the mask of one call."""
    rng = np.random.default_rng(rank)
    x, grad_y = rng.normal(size=SIZES[:rank]), rng.normal(size=SIZES[:rank])
    minicnn.manual_seed(rank)
    m = mask(name, x.shape, p)
    t = Tensor(x, requires_grad=True)
    y = getattr(F, name)(t, p, training=True)
    y.backward(Tensor(grad_y))
    return x, y.detach().array, grad_y, t.grad.array, m


@pytest.mark.parametrize("p", PROBABILITIES)
@pytest.mark.parametrize("name, rank", ORDINARY)
def test_1_and_2_and_3(name, rank, p):
    x, y, grad_y, grad_x, m = run(name, rank, p)
    for i in np.ndindex(*x.shape):
        assert y[i] == pytest.approx(m[i] * x[i] / (1 - p), rel=1e-14)
        assert grad_x[i] == pytest.approx(m[i] * grad_y[i] / (1 - p), rel=1e-14)


@pytest.mark.parametrize("p", [0.0, 1e-6, 1 / 3, 0.999999, 1.0])
def test_4_probability_of_a_zero(p, monkeypatch):
    """Of the 2^32 words, those below round(p * 2^32) give a zero, and only those."""
    zeros = round(p * 2**32)
    assert abs(zeros / 2**32 - p) <= 2**-33 and (zeros / 2**32 == p or 0 < p < 1)
    words = [word for word in (0, zeros - 1, zeros, 2**32 - 1) if 0 <= word < 2**32]
    monkeypatch.setattr(reference, "dropout_word", lambda key, e: words[e])
    y = reference.dropout(np.ones(len(words)), p, 0, (len(words),))
    assert [value == 0 for value in y] == [word < zeros for word in words]


@pytest.mark.parametrize("p", [0.0, 0.01, 1 / 3, 0.99, 1.0])
def test_4_share_of_zeros(p):
    """The words are uniform: the share of zeros is p, up to five standard deviations."""
    n = 400_000
    zeros = (F.dropout(minicnn.ones(n), p).array == 0).sum()
    assert abs(zeros - n * p) <= 5 * math.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("p", PROBABILITIES)
@pytest.mark.parametrize("name, rank", ALPHA)
def test_5_and_6_and_7_alpha_dropout(name, rank, p):
    x, y, grad_y, grad_x, m = run(name, rank, p)
    a = 1 / math.sqrt((1 - p) * (1 + p * S**2))
    b = -a * p * S
    c = a * (1 - p)
    assert c == pytest.approx(math.sqrt((1 - p) / (1 + p * S**2)))
    for i in np.ndindex(*x.shape):
        u = m[i] * x[i] + (1 - m[i]) * S
        assert y[i] == pytest.approx(a * u + b, rel=1e-12, abs=1e-13)
        assert y[i] == pytest.approx(c * (m[i] * (x[i] - S) / (1 - p) + S), rel=1e-12, abs=1e-13)
        assert grad_x[i] == pytest.approx(a * m[i] * grad_y[i], rel=1e-13)


@pytest.mark.parametrize("p", PROBABILITIES)
def test_5_brings_mean_0_and_variance_1_back(p):
    """Over both values of m and x = +-1, weighted by their probabilities: exact, not a sample."""
    a = 1 / math.sqrt((1 - p) * (1 + p * S**2))
    b = -a * p * S
    outcomes = [(p, S), ((1 - p) / 2, 1.0), ((1 - p) / 2, -1.0)]
    mean = sum(weight * (a * u + b) for weight, u in outcomes)
    square = sum(weight * (a * u + b) ** 2 for weight, u in outcomes)
    assert abs(mean) < 1e-14 and abs(square - 1) < 1e-14


def test_by_hand():
    """With a key whose first four words are kept, dropped, dropped, kept."""
    words = ([reference.dropout_word(key, e) >= 2**31 for e in range(4)] for key in range(1000))
    key = list(words).index([True, False, False, True])
    from minicnn.functional.dropout import Dropout

    x = Tensor(np.array([1.0, 2, 3, 4]), requires_grad=True)
    y = Dropout.apply(x, p=0.5, key=key, mask_shape=(4,))
    y.backward(Tensor(np.ones(4)))
    assert y.tolist() == [2, 0, 0, 8]
    assert x.grad.tolist() == [2, 0, 0, 2]

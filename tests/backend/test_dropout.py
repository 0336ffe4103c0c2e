"""The mask of dropout: the generator it comes from, word by word, and the backends' agreement."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from thread_counts import on_threads

from minicnn.backend import cpu, reference

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
given = hypothesis.given

WORD = st.integers(0, 2**64 - 1)
ONES = 2**64 - 1

# The vectors that the generator's authors publish (Random123, kat_vectors): counter, key, block.
KNOWN = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (ONES, ONES, ONES, ONES),
        (ONES, ONES),
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


@pytest.mark.parametrize("counter, key, block", KNOWN)
def test_philox_is_the_published_one(counter, key, block):
    assert reference.philox(counter, key) == block


@given(counter=st.tuples(WORD, WORD, WORD, WORD), key=st.tuples(WORD, WORD))
def test_philox_is_numpys(counter, key):
    """NumPy raises its counter, a number of 256 bits, before it makes a block."""
    number = sum(c << 64 * k for k, c in enumerate(counter))
    bits = np.random.Philox(counter=(number - 1) % 2**256, key=key[0] + (key[1] << 64))
    assert bits.random_raw(4).tolist() == list(reference.philox(counter, key))


@pytest.mark.parametrize("key", [0, 7, ONES])
def test_words_are_the_halves_of_the_blocks(key):
    words = [reference.dropout_word(key, e) for e in range(24)]
    for t in range(3):
        block = reference.philox((t, 0, 0, 0), (key, 1))
        for k, number in enumerate(block):
            low, high = words[8 * t + 2 * k : 8 * t + 2 * k + 2]
            assert low + (high << 32) == number


def mask(module, p, key, shape):
    return module.dropout(np.ones(shape), p, key, shape) != 0


@given(
    p=st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0, 2.0**-33, 1e-300, 1 - 2.0**-34]),
    key=WORD,
    shape=st.lists(st.integers(0, 5), max_size=4).map(tuple),
    whole=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    order=st.sampled_from("CF"),
)
def test_the_backends_agree_to_the_bit(p, key, shape, whole, dtype, order):
    mask_shape = shape if whole else shape[:2] + (1,) * (len(shape) - 2)
    rng = np.random.default_rng(0)
    x = np.asarray(rng.integers(-9, 10, shape), dtype)
    y = cpu.dropout(np.asarray(x, order=order), p, key, mask_shape)
    wanted = reference.dropout(x, p, key, mask_shape)
    assert y.dtype == wanted.dtype == dtype and y.shape == wanted.shape == shape
    assert np.array_equal(y != 0, wanted != 0)
    if dtype == np.float64 or p == 0.5:
        assert np.array_equal(y, wanted)
    np.testing.assert_allclose(y, wanted, rtol=1e-6)


@pytest.mark.parametrize("module", [cpu, reference])
def test_an_element_whose_word_is_the_threshold_is_kept(module):
    """So that as many words drop an element as formula (4) of functional/dropout.py says."""
    for e in range(3):
        word = reference.dropout_word(3, e)
        for threshold, kept in ((word - 1, True), (word, True), (word + 1, False)):
            assert mask(module, threshold / 2**32, 3, (3,))[e] == kept


def test_a_mask_of_many_runs(monkeypatch):
    """The runs that the fast version works in leave no seam, whatever their length."""
    shape = (3, 7, 11)
    wanted = mask(reference, 0.4, 99, shape)
    for run in (8, 64, 2**15):
        monkeypatch.setattr(sys.modules[cpu.dropout.__module__], "_RUN", run)
        assert np.array_equal(mask(cpu, 0.4, 99, shape), wanted)
        x = np.asfortranarray(np.ones(shape))
        assert np.array_equal(cpu.dropout(x, 0.4, 99, shape) != 0, wanted)


def test_a_large_mask_at_its_far_end():
    """Element e depends on e alone: the last ones of a mask longer than many runs."""
    count = 2**17 + 5
    m = mask(cpu, 0.5, 3, (count,))
    for e in (2**15 - 1, 2**15, 2**16 + 3, count - 1):
        assert m[e] == (reference.dropout_word(3, e) >= 2**31)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_mask_does_not_depend_on_the_number_of_threads(order):
    count = 2**18 + 3
    x = np.ones((3, count), np.float32, order=order)
    first, *others = on_threads(lambda: cpu.dropout(x, 0.5, 3, x.shape))
    for y in others:
        np.testing.assert_array_equal(y, first)
    for e in np.random.default_rng(0).integers(0, 3 * count, 99):
        assert (first.reshape(-1)[e] != 0) == (reference.dropout_word(3, int(e)) >= 2**31)


def test_half_precision_is_rounded_once():
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float16)
    y = cpu.dropout(x, 0.3, 5, x.shape)
    assert y.dtype == np.float16
    assert np.array_equal(y, reference.dropout(x, 0.3, 5, x.shape))


@pytest.mark.parametrize("order", ["C", "F"])
def test_inputs_are_not_changed_and_the_memory_order_is_kept(order):
    x = np.asarray(np.random.default_rng(0).standard_normal((4, 3, 5)), order=order)
    before = x.copy()
    y = cpu.dropout(x, 0.5, 1, x.shape)
    assert np.array_equal(x, before) and y.strides == x.strides


def test_nan_shows_where_it_is_dropped_too():
    """0 * NaN is NaN, as in PyTorch: a broken activation cannot hide behind the mask."""
    x = np.full(64, np.nan)
    for module in (cpu, reference):
        assert np.isnan(module.dropout(x, 0.5, 1, x.shape)).all()

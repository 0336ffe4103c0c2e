"""Generators: seeds, states that restore to the same bits, and states that are refused."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from minicnn.backend import random


def draw(generator):
    """Numbers of several kinds, so that every buffer of the stream is in use."""
    g = generator.numpy
    return [
        g.standard_normal(5),
        g.integers(0, 2**31, 3, dtype=np.uint32),
        g.random(4, dtype=np.float32),
        g.permutation(7),
    ]


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_same_seed_gives_the_same_bits():
    one, other = random.Generator().manual_seed(3), random.Generator().manual_seed(3)
    assert equal(draw(one), draw(other))
    assert not equal(draw(one), draw(random.Generator().manual_seed(4)))


def test_a_new_generator_starts_from_a_fixed_seed():
    assert random.Generator().initial_seed() == random.Generator().initial_seed()
    assert equal(draw(random.Generator()), draw(random.Generator()))


def test_manual_seed_starts_anew_under_a_generator_that_is_held():
    generator = random.Generator().manual_seed(5)
    held = generator.numpy
    first = held.random(3)
    assert generator.manual_seed(5) is generator
    assert np.array_equal(held.random(3), first)


def test_the_stream_is_philox_keyed_by_the_seed():
    wanted = np.random.Generator(np.random.Philox(key=11)).random(6)
    assert np.array_equal(random.Generator().manual_seed(11).numpy.random(6), wanted)


def test_seed_draws_a_new_one():
    generator = random.Generator()
    seeds = {generator.seed() for _ in range(3)}
    assert len(seeds) == 3
    assert generator.initial_seed() in seeds


def test_negative_seeds_count_back_from_two_to_the_64():
    generator = random.Generator().manual_seed(-1)
    assert generator.initial_seed() == 2**64 - 1


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_seeds_out_of_range(seed):
    generator = random.Generator().manual_seed(1)
    with pytest.raises(ValueError, match=f"got {seed}"):
        generator.manual_seed(seed)
    assert generator.initial_seed() == 1


@pytest.mark.parametrize("seed", [1.0, "1", None])
def test_seeds_of_another_type(seed):
    with pytest.raises(TypeError, match="seed expects an integer"):
        random.manual_seed(seed)


@pytest.mark.parametrize("warm_up", range(5))
def test_a_state_restores_to_the_same_bits(warm_up):
    generator = random.Generator().manual_seed(7)
    generator.numpy.random(warm_up)
    generator.numpy.integers(0, 9, warm_up, dtype=np.uint32)  # leaves half a word over
    state = generator.get_state()
    assert (state.dtype, state.shape) == (np.uint8, (120,))
    wanted = draw(generator)
    other = random.Generator()
    other.set_state(bytes_through_a_file(state))
    assert equal(draw(other), wanted)
    assert other.initial_seed() == 7
    generator.set_state(state)
    assert equal(draw(generator), wanted)


def bytes_through_a_file(state):
    return np.frombuffer(state.tobytes(), np.uint8)


def test_a_state_is_a_copy():
    generator = random.Generator().manual_seed(7)
    state = generator.get_state()
    kept = state.copy()
    generator.numpy.random(9)
    assert np.array_equal(state, kept)
    generator.set_state(state)
    state[:] = 0
    assert np.array_equal(generator.get_state(), kept)


def malformed_states():
    good = random.Generator().manual_seed(7).get_state()
    yield "too short", good[:-1]
    yield "too long", np.append(good, good)
    yield "another dtype", good.astype(np.int64)
    yield "two axes", good.reshape(2, 60)
    yield "an object", object()
    yield "zeros", np.zeros_like(good)
    for name, word in (("magic", 0), ("seed", 1), ("key", 6), ("position", 12), ("flag", 13)):
        bad = good.copy()
        bad.view("<u8")[word] += 1000
        yield name, bad
    bad = good.copy()
    bad.view("<u8")[14] = 2**32
    yield "half word", bad


@pytest.mark.parametrize("state", [pytest.param(s, id=name) for name, s in malformed_states()])
def test_a_malformed_state_changes_nothing(state):
    generator = random.Generator().manual_seed(9)
    generator.numpy.random(3)
    before = generator.get_state()
    with pytest.raises(ValueError, match=r"^Generator\.set_state: new_state"):
        generator.set_state(state)
    assert np.array_equal(generator.get_state(), before)
    assert generator.initial_seed() == 9


def test_the_default_generator_is_seeded_by_manual_seed():
    assert random.manual_seed(12) is random.default_generator()
    wanted = draw(random.default_generator())
    random.manual_seed(12)
    assert equal(draw(random.default_generator("cpu")), wanted)


def test_devices_that_are_not_there():
    with pytest.raises(
        ValueError, match="Generator: device expects 'cpu', 'cuda' or 'emulator', got 'tpu'"
    ):
        random.Generator("tpu")
    with pytest.raises(
        ValueError, match="default_generator: device expects 'cpu', 'cuda' or 'emulator', got 'tpu'"
    ):
        random.default_generator("tpu")


def test_repr_says_the_seed():
    assert repr(random.Generator().manual_seed(3)) == "<minicnn.Generator device='cpu' seed=3>"


def test_threads_that_come_first_at_once_share_one_stream(monkeypatch):
    philox = np.random.Philox

    def slow(**options):
        time.sleep(0.02)
        return philox(**options)

    monkeypatch.setattr(np.random, "Philox", slow)
    generator, numbers = random.Generator(), []
    threads = [
        threading.Thread(target=lambda: numbers.append(generator.numpy.bit_generator.random_raw()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(numbers)) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_a_fork_while_another_thread_draws():
    """The child would wait for ever for a lock whose owner is not there. A minute is a hang."""
    code = """
    import os, signal, threading, time
    from minicnn.backend import random
    numpy = random.default_generator().numpy
    drawing = threading.Event()
    def draw():
        with numpy.bit_generator.lock:
            drawing.set()
            time.sleep(0.2)
    thread = threading.Thread(target=draw)
    thread.start()
    drawing.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        numpy.standard_normal(3)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    numpy.standard_normal(3)
    thread.join()
    print(code, numpy.bit_generator.lock.acquire(blocking=False))
    """
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stdout.split() == ["0", "True"], result.stderr

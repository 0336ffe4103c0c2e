"""Which backend serves an array, and how `use_backend` overrides it."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from minicnn import backend


def test_numpy_arrays_are_served_by_cpu():
    class Sub(np.ndarray):
        pass

    assert backend.of(np.zeros(3)) is backend.cpu
    assert backend.of(np.zeros(3).view(Sub)) is backend.cpu
    assert backend.of(np.float32(1)) is backend.cpu
    assert backend.array_module(np.zeros(3)) is np


def test_other_things_are_refused():
    with pytest.raises(TypeError, match=r"^backend\.of: x expects an array, got list$"):
        backend.of([1, 2])


def test_use_backend_nests_and_ends():
    x = np.zeros(3)
    with backend.use_backend("reference"):
        assert backend.of(x) is backend.reference
        with backend.use_backend("cpu"):
            assert backend.of(x) is backend.cpu
        assert backend.of(x) is backend.reference
    assert backend.of(x) is backend.cpu


def test_use_backend_ends_with_an_error():
    with pytest.raises(KeyError), backend.use_backend("reference"):
        raise KeyError
    assert backend.of(np.zeros(1)) is backend.cpu


def test_use_backend_is_this_threads_alone():
    seen = []
    with backend.use_backend("reference"):
        thread = threading.Thread(target=lambda: seen.append(backend.of(np.zeros(1))))
        thread.start()
        thread.join()
    assert seen == [backend.cpu]


def test_unknown_names():
    wanted = r"name expects one of 'reference', 'cpu'.*got 'gpu'"
    with pytest.raises(ValueError, match=wanted), backend.use_backend("gpu"):
        pass
    assert {"reference", "cpu"} <= set(backend.available())


def test_every_backend_has_the_same_functions_with_the_same_parameters():
    names = [n for n in backend.cpu.__all__ if not n.startswith("_")]
    assert len(names) >= 21
    for name in names:
        wanted = inspect.signature(getattr(backend.reference, name))
        assert inspect.signature(getattr(backend.cpu, name)) == wanted, name


def test_primitives_that_are_loaded_when_first_asked_for():
    """All are listed before; each is its family's own, also where eight threads ask at once."""
    code = """
        import sys, threading
        from minicnn.backend import cpu

        assert "minicnn.backend.cpu.conv" not in sys.modules
        assert set(cpu.__all__) <= set(dir(cpu))
        found, start = [], threading.Barrier(8)

        def ask():
            start.wait()
            found.append([getattr(cpu, name) for name in cpu.__all__])

        sys.setswitchinterval(1e-6)
        askers = [threading.Thread(target=ask) for _ in range(8)]
        for thread in askers:
            thread.start()
        for thread in askers:
            thread.join()
        assert len(found) == 8 and all(primitives == found[0] for primitives in found)
        for name, primitive in zip(cpu.__all__, found[0], strict=True):
            assert getattr(sys.modules[primitive.__module__], name) is primitive
        assert not hasattr(cpu, "conv_forwards")
        print("listed and found")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "listed and found", done.stderr

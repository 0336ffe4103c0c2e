"""Which backend serves an array, and how `use_backend` overrides it."""

from __future__ import annotations

import inspect
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

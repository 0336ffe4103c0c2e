"""The formulas of functional/embedding.py, each evaluated as displayed, against the code."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Function
from minicnn.functional import embedding

RNG = np.random.default_rng(3)
K = np.array([2, 0, 2, 3, 2])
W = RNG.standard_normal((5, 3))


def look_up(w):
    return np.array([[w[K[i], c] for c in range(3)] for i in range(5)])


def test_1_and_2_look_up(formula):
    e = np.array([[1.0 if r == K[i] else 0.0 for r in range(5)] for i in range(5)])
    np.testing.assert_allclose(np.einsum("ir,rc->ic", e, W), look_up(W))
    formula(
        lambda w: embedding(minicnn.tensor(K), w),
        [W],
        look_up,
        lambda g, w: np.einsum("ir,ic->rc", e, g),
    )
    formula(
        lambda w: embedding(minicnn.tensor(K), w),
        [W],
        look_up,
        lambda g, w: np.array(
            [[sum(g[i, c] for i in range(5) if K[i] == r) * 1.0 for c in range(3)]
             for r in range(5)]
        ),
    )  # fmt: skip


@pytest.mark.parametrize("padding_idx", [None, 2, 0])
def test_3_by_frequency(formula, padding_idx):
    def grad_w(g, w):
        grad = np.zeros((5, 3))
        for r in set(K.tolist()) - {padding_idx}:
            often = [i for i in range(5) if K[i] == r]
            grad[r] = sum(g[i] for i in often) / len(often)
        return grad

    formula(
        lambda w: embedding(minicnn.tensor(K), w, padding_idx, scale_grad_by_freq=True),
        [W],
        look_up,
        grad_w,
    )


def test_by_hand():
    w = minicnn.tensor([[1.0, 2], [3, 4], [5, 6]], requires_grad=True)
    k = minicnn.tensor([2, 0, 2])
    y = embedding(k, w)
    assert y.tolist() == [[5, 6], [1, 2], [5, 6]]
    y.sum().backward()
    assert w.grad.tolist() == [[1, 1], [0, 0], [2, 2]]
    w.grad = None
    embedding(k, w, scale_grad_by_freq=True).sum().backward()
    assert w.grad.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_no_function_is_missing():
    """Every Function of the file is one that the tests above call."""
    found = {
        name
        for name, value in vars(importlib.import_module("minicnn.functional.embedding")).items()
        if isinstance(value, type)
        and issubclass(value, Function)
        and value.__module__ == "minicnn.functional.embedding"
    }
    assert found == {"Embedding"}

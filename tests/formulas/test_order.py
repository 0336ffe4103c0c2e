"""The formulas of functional/order.py, each evaluated as displayed, against the code."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minicnn import functional as F

X = np.array([2.0, -1.0, 5.0, 0.5, 3.0, 7.0])


def s(x):
    """s(i): where the i-th smallest stands, the first of equal ones first."""
    return sorted(range(len(x)), key=lambda k: x[k])


@pytest.mark.parametrize("x", [X, np.array([1.0, 2, 1, 0, 2, 1])])
@pytest.mark.parametrize(
    "function, places",
    [
        (lambda t: F.sort(t).values, [0, 1, 2, 3, 4, 5]),
        (lambda t: F.sort(t, stable=True, descending=False)[0][1:3], [1, 2]),
        (lambda t: F.topk(t, 2, largest=False).values, [0, 1]),
        (lambda t: F.kthvalue(t, 4, keepdim=True).values, [3]),
        (lambda t: F.median(t, 0, keepdim=True).values, [2]),
    ],
)
def test_1_order(formula, x, function, places):
    formula(
        function,
        [x],
        lambda x: np.array([x[s(x)[i]] for i in places]),
        lambda g, x: np.array(
            [sum(g[n] for n, i in enumerate(places) if s(x)[i] == k) * 1.0 for k in range(6)]
        ),
    )


@pytest.mark.parametrize("q", [0.0, 0.3, 0.5, 0.77, 1.0])
def test_2_quantile(formula, q):
    p = q * (len(X) - 1)
    f, c = math.floor(p), math.ceil(p)

    def y(x):
        x = sorted(x)
        return x[f] + (p - f) * (x[c] - x[f])

    def grad_x(g, x):
        grad = np.zeros(6)
        grad[s(x)[f]] += (1 - (p - f)) * g
        grad[s(x)[c]] += (p - f) * g
        return grad

    formula(lambda t: F.quantile(t, q), [X], y, grad_x)


def test_by_hand():
    x = F.tensor([5.0, 1.0, 3.0], requires_grad=True)
    values, places = F.sort(x)
    assert values.tolist() == [1, 3, 5] and places.tolist() == [1, 2, 0]
    values.backward(F.tensor([1.0, 10.0, 100.0]))
    assert x.grad.tolist() == [100, 1, 10]
    x.grad = None
    y = F.quantile(x, 0.25)
    y.backward()
    assert y.item() == 2 and x.grad.tolist() == [0, 0.5, 0.5]

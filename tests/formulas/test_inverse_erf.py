"""The formulas of functional/inverse_erf.py, each evaluated as displayed, against the code."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn.functional import erfinv

X = np.array([-0.999999, -0.7, -0.4, -1e-9, 0.0, 1e-300, 0.3, 0.5, 0.95, 1 - 1e-14])


def test_1_the_inverse():
    y = erfinv(X)
    for k, x in enumerate(X):
        there = math.erf(y[k])
        slope = 2 / math.sqrt(math.pi) * math.exp(-(y[k] ** 2))  # an error in y, seen in erf(y)
        assert abs(there - x) <= 4e-16 * (abs(x) + slope * abs(y[k])), x
        if abs(x) > 0.5:
            assert math.isclose(math.erfc(abs(y[k])), 1 - abs(x), rel_tol=1e-13)


def test_2_its_gradient(formula):
    formula(
        erfinv,
        [X[1:-1]],
        erfinv,
        lambda g, x: g * math.sqrt(math.pi) / 2 * np.exp(erfinv(x) ** 2),
        rtol=1e-11,
    )


@pytest.mark.parametrize("x", [0.1, 0.6, 0.99])
def test_3_halleys_steps_triple_the_digits(x):
    y, exact = erfinv(np.array(x)).item() * 1.002, erfinv(np.array(x)).item()
    errors = []
    for _ in range(2):
        u = (math.erf(y) - x) / (2 / math.sqrt(math.pi) * math.exp(-(y**2)))
        y = y - u / (1 + y * u)
        errors.append(abs(y / exact - 1))
    assert errors[0] < 1e-7 and errors[1] < 1e-14


def test_ends_and_types():
    y = erfinv(minicnn.tensor([-1.0, 1.0, 1.5, float("nan")]))
    assert y.tolist()[:2] == [-math.inf, math.inf] and y.isnan().tolist()[2:] == [True, True]
    assert y.dtype == minicnn.float32
    t = minicnn.empty(20000).uniform_(-1, 1).erfinv_().mul_(math.sqrt(2))
    assert abs(t.mean().item()) < 0.04 and abs(t.std().item() - 1) < 0.03

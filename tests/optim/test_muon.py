"""Muon: the orthogonalization, a step by hand, errors. Courses: test_parity.py."""

import numpy as np
import pytest

import minicnn
from minicnn import nn, optim
from minicnn.optim.muon import orthogonalized


def parameter(*shape, seed=0):
    return nn.Parameter(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (1, 5)])
def test_singular_values_come_near_1_and_directions_stay(shape):
    rng = np.random.default_rng(1)
    u, _, v = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    matrix = (u * np.linspace(1, 3, min(shape))) @ v
    found = orthogonalized(matrix)
    assert found.dtype == np.float32 and found.shape == shape
    turned = u.T @ found @ v.T
    assert (np.diag(turned) > 0.6).all() and (np.diag(turned) < 1.3).all()
    np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=0.05)


def test_an_iteration_is_the_polynomial_of_the_singular_values():
    x = np.diag([3.0, 4.0])
    s = np.array([0.6, 0.8])  # divided by the norm, 5
    found = orthogonalized(x, (2.0, -1.5, 0.5), steps=1)
    np.testing.assert_allclose(found, np.diag(2 * s - 1.5 * s**3 + 0.5 * s**5), atol=0.01)


def test_results_have_the_bits_of_bfloat16():
    bits = orthogonalized(np.random.default_rng(2).normal(size=(5, 7))).view(np.uint32)
    assert not (bits & 0xFFFF).any()
    # 1 + 2^-8 lies between the neighbours 1 and 1 + 2^-7: the even one of them is 1.
    found = orthogonalized(np.array([[1 + 2.0**-8]]), (1.0, 0.0, 0.0), steps=0)
    assert found.item() == 1
    assert orthogonalized(np.zeros((2, 3))).tolist() == [[0] * 3] * 2


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("adjust, ratio", [(None, 3**0.5), ("match_rms_adamw", 0.2 * 6**0.5)])
def test_steps_by_hand(nesterov, adjust, ratio):
    p, m = parameter(6, 2), 0
    opt = optim.Muon([p], 0.1, 0.5, 0.8, nesterov, adjust_lr_fn=adjust)
    for seed in range(3):
        grad, x = parameter(6, 2, seed=seed + 5).array, p.array.copy()
        p.grad = minicnn.tensor(grad)
        opt.step()
        m = 0.8 * m + 0.2 * grad
        u = orthogonalized(0.8 * m + 0.2 * grad if nesterov else m).astype(float)
        np.testing.assert_allclose(p.array, x * (1 - 0.05) - 0.1 * ratio * u, rtol=1e-12)


def test_a_matrix_is_found():
    p, goal = parameter(3, 4), parameter(3, 4, seed=1).array
    opt = optim.Muon([p], lr=0.02, weight_decay=0)
    for _ in range(300):
        opt.zero_grad()
        ((p - minicnn.tensor(goal)) ** 2).sum().backward()
        opt.step()
    np.testing.assert_allclose(p.array, goal, atol=0.1)


def test_errors():
    p = parameter(2, 2)
    for params, settings, text in (
        ([nn.Parameter(np.zeros(3))], {}, r"2 axes, one has shape \(3,\)"),
        ([p], {"lr": -1}, "Invalid learning rate: -1"),
        ([p], {"momentum": -1}, "Invalid momentum value: -1"),
        ([p], {"weight_decay": -1}, "Invalid weight_decay value: -1"),
        ([p], {"adjust_lr_fn": "none"}, "adjust_lr_fn expects .*'none'"),
        ([p], {"ns_coefficients": (1, 2)}, "three numbers"),
        ([p], {"ns_steps": 100}, "fewer than 100"),
    ):
        with pytest.raises(ValueError, match=f"Muon: .*{text}"):
            optim.Muon(params, **settings)

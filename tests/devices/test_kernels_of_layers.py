"""Layers whose kernels are more than element by element: values and derivatives, on each device."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F
from minicnn.backend.cuda import pool

pytestmark = pytest.mark.slow  # a sweep

R = np.random.default_rng(0)
X, W, B = [R.normal(size=shape).astype(np.float32) for shape in ((4, 6, 5, 5), (6,), (6,))]
TRANSPOSED = R.normal(size=(6, 2, 3, 3)).astype(np.float32)
LABELS = R.integers(0, 6, (4, 5, 5))
LABELS[0, 0, :3] = -100


def cross_entropy(reduction):
    def loss(x, w):
        labels = minicnn.tensor(LABELS, device=x.device)
        weight = abs(w.detach())
        return F.cross_entropy(x, labels, weight, reduction=reduction, label_smoothing=0.1) * w[0]

    return loss


POOLS = {
    "max": lambda x: F.max_pool2d(x, 3, 2, 1) ** 2,
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, 3) ** 2,
    "infinite power": lambda x: F.lp_pool2d(x, float("inf"), 3) ** 2,
    "stochastic": lambda x: F.stochastic_pool2d(abs(x), 3) ** 2,
}
CASES = {
    **{f"cross-entropy, {r}": (cross_entropy(r), X, W) for r in ("none", "sum", "mean")},
    "group norm": (lambda x, w, b: F.group_norm(x, 3, w, b) ** 2, X, W, B),
    "layer norm": (lambda x, w: F.layer_norm(x, (5, 5), w.expand(5, 6)[:, :5]) ** 2, X, W),
    "instance norm": (lambda x, w, b: F.instance_norm(x, None, None, w, b) ** 2, X, W, B),
    "transposed": (lambda x, w: F.conv_transpose2d(x, w, None, 2, 1, 1, 3) ** 2, X, TRANSPOSED),
    **{name: (pooling, X) for name, pooling in POOLS.items()},
}


def results(device, function, *arrays):
    """y, the gradients of the sum of its squares, and those of the sum of their squares."""
    minicnn.manual_seed(0)
    inputs = [minicnn.tensor(a, device=device, requires_grad=True) for a in arrays]
    y = function(*inputs)
    plain = minicnn.autograd.grad((y * y).sum(), inputs, retain_graph=True)
    grads = minicnn.autograd.grad((y * y).sum(), inputs, create_graph=True)
    sum((g * g).sum() for g in grads).backward()
    found = [y, *plain, *[t.grad for t in inputs]]
    assert {t.device.type for t in found} == {minicnn.device(device).type}
    return [t.detach().cpu().numpy() for t in found]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_values_and_derivatives_are_those_of_the_cpu(gpu, case):
    for found, wanted in zip(results(gpu, *case), results("cpu", *case), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=4e-6 * max(abs(wanted).max(), 1))


@pytest.mark.parametrize("pooling", POOLS.values(), ids=POOLS)
def test_pooling_never_walks_planes(gpu, pooling, monkeypatch):
    """Its indices come from windows, so that each pixel can look into those over it."""
    monkeypatch.setattr(pool, "_walk", None)
    results(gpu, pooling, X)

"""Batch norm's derivation, formula by formula, node by node and compact, beside the code."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.functional.norm import BatchNorm, batch_norm

EPS = 0.1
# (N, C), (N, C, L), (N, C, H, W), (N, C, D, H, W): batch norm 1d, 2d and 3d.
SHAPES = [(5, 3), (4, 3, 3), (3, 2, 2, 3), (2, 3, 2, 1, 2)]
each_shape = pytest.mark.parametrize("shape", SHAPES)


class Derivation:
    """Every symbol of the derivation for one channel c, by its formula. m counts its M values."""

    def __init__(self, x, w, grad_y, c):
        values = np.moveaxis(x, 1, 0)[c].ravel()
        self.w, self.grad_y = w[c], np.moveaxis(grad_y, 1, 0)[c].ravel()
        self.M = M = len(values)
        self.mean = mean = sum(values) / M  # (1)
        self.var = var = sum((values - mean) ** 2) / M  # (2)
        self.r = r = 1 / np.sqrt(var + EPS)  # (3)
        self.x_hat = (values - mean) * r  # (4)
        # Node by node, backwards.
        self.grad_b = sum(self.grad_y)  # (6)
        self.grad_w = sum(self.grad_y * self.x_hat)  # (7)
        self.grad_x_hat = self.w * self.grad_y  # (8)
        u = values - mean
        self.grad_r = sum(self.grad_x_hat * u)  # (9)
        self.grad_var = -1 / 2 * r**3 * self.grad_r  # (10)
        self.grad_u = self.grad_x_hat * r + self.grad_var * 2 * u / M  # (11)
        self.grad_mean = -sum(self.grad_u)  # (12)
        self.node_by_node = self.grad_u + self.grad_mean / M  # (13)
        share = self.grad_b / M + self.x_hat * self.grad_w / M
        self.compact = self.w * r * (self.grad_y - share)  # (14)


def problem(shape):
    """x, w, b and a random cotangent; the tensors; y; and the derivation of each channel."""
    rng = np.random.default_rng(0)
    C = shape[1]
    x, w, b = rng.normal(2, 3, shape), rng.normal(size=C), rng.normal(size=C)
    grad_y = rng.normal(size=shape)
    leaves = [minicnn.tensor(a, requires_grad=True) for a in (x, w, b)]
    y, mean, var = BatchNorm.apply(*leaves, eps=EPS)
    y.backward(minicnn.tensor(grad_y))
    found = {"y": y.detach().array, "mean": mean.array, "var": var.array}
    found |= dict(zip(("x", "w", "b"), [t.grad.array for t in leaves], strict=True))
    return found, b, [Derivation(x, w, grad_y, c) for c in range(C)]


def channel(array, c):
    """x[m]: the values of channel c in the order that the derivation counts them."""
    return np.moveaxis(array, 1, 0)[c].ravel()


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@each_shape
def test_1_and_2_statistics(shape):
    found, _, derived = problem(shape)
    close(found["mean"], [d.mean for d in derived])
    close(found["var"], [d.var for d in derived])


@each_shape
def test_3_and_4_and_5_output(shape):
    found, b, derived = problem(shape)
    for c, d in enumerate(derived):
        close(channel(found["y"], c), d.w * d.x_hat + b[c])


@each_shape
def test_6_and_7_gradients_of_weight_and_bias(shape):
    found, _, derived = problem(shape)
    close(found["b"], [d.grad_b for d in derived])
    close(found["w"], [d.grad_w for d in derived])


@each_shape
def test_8_and_9_and_10_and_11_and_12_and_13_node_by_node(shape):
    found, _, derived = problem(shape)
    for c, d in enumerate(derived):
        close(channel(found["x"], c), d.node_by_node)


@each_shape
def test_14_compact_is_node_by_node(shape):
    found, _, derived = problem(shape)
    for c, d in enumerate(derived):
        close(d.compact, d.node_by_node)
        close(channel(found["x"], c), d.compact)


def test_10_and_11_and_12_steps_of_the_simplification():
    """What the compact form says of the nodes: grad_r, the second summand of (11), grad_mean."""
    for d in problem((3, 2, 2, 3))[2]:
        close(d.grad_r, d.w * d.grad_w / d.r)
        close(d.grad_u - d.grad_x_hat * d.r, -d.w * d.r * d.x_hat * d.grad_w / d.M)
        close(d.grad_mean, -d.w * d.r * d.grad_b)


def test_14_is_orthogonal_to_shift_and_stretch():
    rng = np.random.default_rng(1)
    x, grad_y = rng.normal(size=(4, 2, 3, 3)), rng.normal(size=(4, 2, 3, 3))
    leaf = minicnn.tensor(x, requires_grad=True)
    BatchNorm.apply(leaf, None, None, eps=0.0)[0].backward(minicnn.tensor(grad_y))
    centred = x - x.mean(axis=(0, 2, 3), keepdims=True)
    close(np.einsum("nchw->c", leaf.grad.array), 0)
    close(np.einsum("nchw,nchw->c", leaf.grad.array, centred), 0)


@each_shape
def test_15_before_a_relu(shape):
    rng = np.random.default_rng(0)
    C = shape[1]
    x, grad_z, w, b = rng.normal(size=shape), rng.normal(size=shape), *rng.normal(size=(2, C))
    leaves = [minicnn.tensor(a, requires_grad=True) for a in (x, w, b)]
    z, _, _ = BatchNorm.apply(*leaves, eps=EPS, relu=True)
    z.backward(minicnn.tensor(grad_z))
    grad_y = grad_z * (z.detach().array > 0)
    for c in range(C):
        d = Derivation(x, w, grad_y, c)
        close(channel(z.detach().array, c), np.maximum(w[c] * d.x_hat + b[c], 0))
        close(channel(leaves[0].grad.array, c), d.compact)
        close(leaves[1].grad.array[c], d.grad_w)
        close(leaves[2].grad.array[c], d.grad_b)


@each_shape
def test_16_evaluation(shape):
    rng = np.random.default_rng(0)
    C = shape[1]
    x, grad_y = rng.normal(2, 3, shape), rng.normal(size=shape)
    w, b, mean, var = rng.normal(size=C), rng.normal(size=C), rng.normal(size=C), rng.random(C)
    leaves = [minicnn.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = batch_norm(leaves[0], minicnn.tensor(mean), minicnn.tensor(var), *leaves[1:], eps=EPS)
    y.backward(minicnn.tensor(grad_y))
    for c in range(C):
        r = 1 / np.sqrt(var[c] + EPS)
        g, x_hat = channel(grad_y, c), (channel(x, c) - mean[c]) * r
        close(channel(y.detach().array, c), w[c] * x_hat + b[c])
        close(channel(leaves[0].grad.array, c), w[c] * r * g)
        close(leaves[1].grad.array[c], sum(g * x_hat))
        close(leaves[2].grad.array[c], sum(g))


@each_shape
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0])
def test_17_running_statistics(shape, momentum):
    rng = np.random.default_rng(0)
    C = shape[1]
    x, mean, var = rng.normal(2, 3, shape), rng.normal(size=C), rng.random(C)
    running = minicnn.tensor(mean), minicnn.tensor(var)
    batch_norm(minicnn.tensor(x), *running, training=True, momentum=momentum)
    for c in range(C):
        M = channel(x, c).size
        of_x = Derivation(x, np.ones(C), x, c)
        close(running[0].array[c], (1 - momentum) * mean[c] + momentum * of_x.mean)
        unbiased = of_x.var * M / (M - 1)
        close(running[1].array[c], (1 - momentum) * var[c] + momentum * unbiased)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    x, w, b = [minicnn.tensor(a, requires_grad=True) for a in ([[1.0], [3.0]], [2.0], [0.0])]
    mean, var = minicnn.zeros(1), minicnn.zeros(1)
    with minicnn.use_backend(backend):
        y, batch_mean, batch_var = BatchNorm.apply(x, w, b, eps=0.0)
        y.backward(minicnn.tensor([[1.0], [0.0]]))
        batch_norm(x, mean, var, training=True, momentum=1.0)
    assert y.tolist() == [[-2], [2]]
    assert (batch_mean.item(), batch_var.item()) == (2, 1)
    assert (mean.item(), var.item()) == (2, 2)
    assert (b.grad.item(), w.grad.item()) == (1, -1)
    assert x.grad.tolist() == [[0], [0]]

"""Layer, group and instance norm, formula by formula, as loops over their sets of values."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F

EPS = 0.1
RNG = np.random.default_rng(0)


class Sets:
    """(1) to (10) for sets of values, given as places in x; w and b lie along x.

    `p` tells which weight each value of x has; grad_w and grad_b are summed over those that share.
    """

    def __init__(self, x, w, b, grad_y, sets):
        self.mean, self.var, self.grad_x_by_9 = [], [], np.empty_like(x)
        self.x_hat, self.y, self.grad_x = np.empty_like(x), np.empty_like(x), np.empty_like(x)
        for place in sets:
            values = x[place].ravel()
            M, shape = len(values), x[place].shape
            mean = sum(values) / M  # (1)
            var = sum((values - mean) ** 2) / M  # (2)
            r = 1 / np.sqrt(var + EPS)  # (3)
            x_hat = (values - mean) * r  # (4)
            y = w[place].ravel() * x_hat + b[place].ravel()  # (5)
            g = w[place].ravel() * grad_y[place].ravel()  # (8)
            # (9), as [m, l]: (1 if l = m) - 1/M - x_hat[m] * x_hat[l] / M
            slopes = r * (np.eye(M) - 1 / M - x_hat[:, None] * x_hat[None, :] / M)
            grad_x = r * (g - sum(g) / M - x_hat * sum(g * x_hat) / M)  # (10)
            self.mean.append(mean)
            self.var.append(var)
            self.x_hat[place], self.y[place] = x_hat.reshape(shape), y.reshape(shape)
            self.grad_x[place] = grad_x.reshape(shape)
            self.grad_x_by_9[place] = np.einsum("m,ml->l", g, slopes).reshape(shape)


def layer(case):
    """x, w and b of normalized_shape, the sets n (or n,c), and p = (c,i,j) (or (i,j))."""
    last = {"layer over c,i,j": 3, "layer over i,j": 2, "layer over j": 1}[case]
    shape = (2, 3, 4, 3)
    trailing, before = shape[-last:], shape[:-last]
    w, b = RNG.normal(size=trailing), RNG.normal(size=trailing)
    sets = [np.s_[place] for place in np.ndindex(before)]
    axes = tuple(range(len(before)))
    return shape, w, b, w, b, sets, axes, lambda x, w, b: F.layer_norm(x, trailing, w, b, EPS)


def group(case):
    """The sets (n, c // (C/G)), and p = c."""
    G, shape = {
        "two groups": (2, (2, 4, 3, 2)),
        "one group": (1, (2, 3, 4)),
        "instance": (3, (2, 3, 4, 2)),
        "no positions": (2, (3, 6)),
    }[case]
    N, C = shape[:2]
    w, b = RNG.normal(size=C), RNG.normal(size=C)
    lying = (C,) + (1,) * (len(shape) - 2)
    each = C // G
    sets = [np.s_[n, k * each : (k + 1) * each] for n in range(N) for k in range(G)]
    axes = (0, *range(2, len(shape)))

    def function(x, w, b):
        if case == "instance":
            return F.instance_norm(x, None, None, w, b, eps=EPS)
        return F.group_norm(x, G, w, b, EPS)

    return shape, w, b, w.reshape(lying), b.reshape(lying), sets, axes, function


CASES = {f"layer over {axes}": layer for axes in ("c,i,j", "i,j", "j")}
CASES |= dict.fromkeys(("two groups", "one group", "instance", "no positions"), group)


@pytest.fixture(params=CASES)
def problem(request):
    """The code's y and gradients for a random cotangent, and those of the formulas."""
    shape, w, b, lying_w, lying_b, sets, axes, function = CASES[request.param](request.param)
    x, grad_y = RNG.normal(1, 2, shape), RNG.normal(size=shape)
    leaves = [minicnn.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = function(*leaves)
    y.backward(minicnn.tensor(grad_y))
    along = [np.broadcast_to(t, shape) for t in (lying_w, lying_b)]
    found = [y.detach().array, *[t.grad.array for t in leaves]]
    return found, Sets(x, *along, grad_y, sets), grad_y, axes


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_1_and_2_and_3_and_4_and_5_output(problem):
    (y, *_), derived, _, _ = problem
    close(y, derived.y)


def test_6_and_7_gradients_of_weight_and_bias(problem):
    (_, _, grad_w, grad_b), derived, grad_y, axes = problem
    close(grad_b, grad_y.sum(axes))  # (6)
    close(grad_w, (grad_y * derived.x_hat).sum(axes))  # (7)


def test_8_and_9_and_10_input_gradient(problem):
    (_, grad_x, _, _), derived, _, _ = problem
    close(derived.grad_x, derived.grad_x_by_9)
    close(grad_x, derived.grad_x)


def test_the_sets_of_batch_norm():
    """Batch norm's sets are the c: the same formulas."""
    x, grad_y, w, b = (RNG.normal(size=s) for s in ((3, 2, 4), (3, 2, 4), 2, 2))
    leaf = minicnn.tensor(x, requires_grad=True)
    y = F.batch_norm(leaf, None, None, minicnn.tensor(w), minicnn.tensor(b), True, eps=EPS)
    y.backward(minicnn.tensor(grad_y))
    along = [np.broadcast_to(t[:, None], x.shape) for t in (w, b)]
    derived = Sets(x, *along, grad_y, [np.s_[:, c] for c in range(2)])
    close(y.detach().array, derived.y)
    close(leaf.grad.array, derived.grad_x)


def test_11_running_statistics():
    N, C, M, momentum = 3, 2, 4, 0.3
    x, mean, var = RNG.normal(2, 3, (N, C, M)), RNG.normal(size=C), RNG.random(C)
    running = minicnn.tensor(mean), minicnn.tensor(var)
    F.instance_norm(minicnn.tensor(x), *running, momentum=momentum)
    ones = np.ones_like(x)
    derived = Sets(x, ones, ones, ones, [np.s_[n, c] for n in range(N) for c in range(C)])
    of_each = np.reshape(derived.mean, (N, C)), np.reshape(derived.var, (N, C))
    for c in range(C):
        new = sum(of_each[0][:, c]) / N
        close(running[0].array[c], (1 - momentum) * mean[c] + momentum * new)
        new = sum(of_each[1][:, c]) / N * M / (M - 1)
        close(running[1].array[c], (1 - momentum) * var[c] + momentum * new)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_by_hand(norm, backend):
    x = minicnn.tensor([[1.0, 2, 3]], dtype=minicnn.float64, requires_grad=True)
    w = minicnn.tensor([3.0, 2, 1], dtype=minicnn.float64, requires_grad=True)
    b = minicnn.zeros(3, dtype=minicnn.float64, requires_grad=True)
    with minicnn.use_backend(backend):
        if norm == "layer":
            y = F.layer_norm(x, (3,), w, b, 1 / 3)
        else:
            y = F.group_norm(x, 1, w, b, 1 / 3)
        y.backward(minicnn.tensor([[1.0, 0, 0]], dtype=minicnn.float64))
    close(y.detach().array, [[-3, 0, 1]])
    close(b.grad.array, [1, 0, 0])
    close(w.grad.array, [-1, 0, 0])
    close(x.grad.array, [[1, -1, 0]])

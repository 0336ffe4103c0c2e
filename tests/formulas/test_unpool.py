"""Each formula of functional/unpool.py, evaluated as it stands there, against the code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import functional as F
from minicnn.autograd import Tensor
from minicnn.functional.unpool import MaxUnpool, MaxUnpoolAdjoint


@st.composite
def problems(draw):
    """x, places (often the same one several times), and an output size."""
    dims = draw(st.integers(1, 3))
    size, out_size = (tuple([draw(st.integers(1, 4)) for _ in range(dims)]) for _ in "xy")
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.normal(size=(2, 2, *size))
    return x, rng.integers(0, np.prod(out_size), x.shape), out_size


def last_of_its_place(indices):
    """For every n,c and place: the last (i,j) with it, in reading order."""
    return {(n, c, int(indices[n, c, *o])): o for n, c, *o in np.ndindex(*indices.shape)}


@given(problems())
def test_1_4_forward_and_backward(problem):
    x, indices, out_size = problem
    grad_y = np.random.default_rng(1).normal(size=(2, 2, *out_size))
    y, grad_x = np.zeros(grad_y.shape), np.zeros(x.shape)
    for (n, c, number), o in last_of_its_place(indices).items():
        h = np.unravel_index(number, out_size)
        y[n, c, *h] = x[n, c, *o]
        grad_x[n, c, *o] = grad_y[n, c, *h]
    leaf = Tensor(x, requires_grad=True)
    result = MaxUnpool.apply(leaf, indices, out_size=out_size)
    result.backward(Tensor(grad_y))
    assert np.array_equal(result.detach().array, y)
    assert np.array_equal(leaf.grad.array, grad_x)


@given(problems())
def test_1_is_the_adjoint_of_4(problem):
    x, indices, out_size = problem
    g = np.random.default_rng(2).normal(size=(2, 2, *out_size))
    y = MaxUnpool.apply(x, indices, out_size=out_size)
    grad_x = MaxUnpoolAdjoint.apply(g, indices)
    np.testing.assert_allclose((y * g).sum(), (x * grad_x).sum(), rtol=1e-12, atol=1e-12)
    # With every gradient that PyTorch hands out it is not, where a place is named twice.
    flat = indices.reshape(2, 2, -1)
    gathered = np.take_along_axis(g.reshape(2, 2, -1), flat, 2).reshape(x.shape)
    twice = len(last_of_its_place(indices)) < x.size
    assert twice == (not np.isclose((y * g).sum(), (x * gathered).sum(), rtol=1e-9, atol=1e-12))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_2_3_the_size(dims):
    """Every size of which pooling makes OH is accepted; the usual one is the smallest of them."""
    unpool, pool = getattr(F, f"max_unpool{dims}d"), getattr(F, f"max_pool{dims}d")
    for K, S, P in [(2, 2, 0), (3, 2, 1), (2, 3, 0), (3, 1, 1), (4, 3, 2)]:
        for H in range(K, K + 7):
            x = np.random.default_rng(H).normal(size=(1, 1, *[H] * dims))
            y, indices = pool(x, K, S, P, return_indices=True)
            OH = y.shape[-1]
            usual = (OH - 1) * S + K - 2 * P
            assert unpool(y, indices * 0, K, S, P).shape[2:] == (usual,) * dims
            # The rows left over are at most S - 1.
            assert usual <= H < usual + S
            assert unpool(y, indices, K, S, P, x.shape).shape == x.shape
            for size in range(usual - S - 1, usual + S + 2):
                good = usual - S < size < usual + S and size > 0
                if good:
                    assert unpool(y, indices * 0, K, S, P, [size] * dims).shape[-1] == size
                else:
                    with pytest.raises(ValueError, match=f"max_unpool{dims}d: output_size"):
                        unpool(y, indices * 0, K, S, P, [size] * dims)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_by_hand(backend):
    image = np.array([[[[1.0, 2, 3], [4, 9, 6], [7, 8, 5]]]])
    x = Tensor(np.array([[[[1.0, 2], [3, 4]]]]), requires_grad=True)
    with minicnn.use_backend(backend):
        _, indices = F.max_pool2d(image, 2, 1, return_indices=True)
        assert indices.tolist() == [[[[4, 4], [4, 4]]]]
        y = F.max_unpool2d(x, indices, 2, 1)
        y.backward(Tensor(np.arange(1.0, 10).reshape(1, 1, 3, 3)))
    assert y.detach().array.tolist() == [[[[0, 0, 0], [0, 4, 0], [0, 0, 0]]]]
    assert x.grad.array.tolist() == [[[[0, 0], [0, 5]]]]


def test_by_hand_in_pytorch():
    torch = pytest.importorskip("torch")
    x = torch.tensor([[[[1.0, 2], [3, 4]]]], requires_grad=True)
    indices = torch.full((1, 1, 2, 2), 4)
    y = torch.nn.functional.max_unpool2d(x, indices, 2, 1)
    y.backward(torch.arange(1.0, 10).reshape(1, 1, 3, 3))
    assert y[0, 0, 1, 1].item() in (1, 2, 3, 4)  # whichever thread came last
    assert x.grad.tolist() == [[[[5, 5], [5, 5]]]]

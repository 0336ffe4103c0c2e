"""What repr shows of a tensor, and minicnn.set_printoptions."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn


@pytest.fixture(autouse=True)
def _default_options():
    yield
    minicnn.set_printoptions(profile="default")


EXAMPLES = [
    (3.0, "tensor(3.)"),
    ([0.1, 0.2], "tensor([0.1000, 0.2000])"),
    ([1.0, -2.5, 300], "tensor([  1.0000,  -2.5000, 300.0000])"),
    ([1e-5, 1.0], "tensor([1.0000e-05, 1.0000e+00])"),
    ([1.0, 2e6], "tensor([1.0000e+00, 2.0000e+06])"),
    ([float("nan"), 1.0], "tensor([nan, 1.])"),
    ([[1, 20], [3, 4]], "tensor([[ 1, 20],\n        [ 3,  4]])"),
    ([True, False], "tensor([ True, False])"),
    ([[[0.0]], [[1.0]]], "tensor([[[0.]],\n\n        [[1.]]])"),
    ([], "tensor([])"),
    ([[]], "tensor([], size=(1, 0))"),
    (list(range(1001)), "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
]


@pytest.mark.parametrize(("data", "text"), EXAMPLES)
def test_examples(data, text):
    assert repr(minicnn.tensor(data)) == str(minicnn.tensor(data)) == text


def test_notes():
    x = minicnn.ones(2, requires_grad=True)
    assert repr(x) == "tensor([1., 1.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 2.], grad_fn=<MulBackward>)"
    assert repr(minicnn.ones(1, dtype=minicnn.float64)) == "tensor([1.], dtype=float64)"
    assert repr(minicnn.zeros(0, dtype=minicnn.int64)) == "tensor([], dtype=int64)"
    long = repr(minicnn.arange(26.0).requires_grad_())
    assert long.splitlines()[-1] == "       requires_grad=True)"
    assert max(map(len, long.splitlines())) <= 80


def test_a_large_tensor_is_summarised_quickly():
    text = repr(minicnn.zeros(300, 300, 30))
    assert text.count(" ...,") == 6 * 6 + 6 + 1
    assert len(text) < 3000


def test_options():
    x = minicnn.tensor([[1 / 3, 1.0], [2.0, 1e-7]])
    minicnn.set_printoptions(precision=2, sci_mode=False)
    assert repr(x) == "tensor([[0.33, 1.00],\n        [2.00, 0.00]])"
    minicnn.set_printoptions(sci_mode=True)
    assert repr(x[0]) == "tensor([3.33e-01, 1.00e+00])"
    minicnn.set_printoptions(profile="full")
    assert "..." not in repr(minicnn.arange(2000))
    minicnn.set_printoptions(threshold=4, edgeitems=1, linewidth=40)
    assert repr(minicnn.arange(5)) == "tensor([0,  ..., 4])"
    assert repr(minicnn.ones(2, 3)) == "tensor([[1.,  ..., 1.],\n        [1.,  ..., 1.]])"
    minicnn.set_printoptions(profile="short")
    assert repr(x[0]) == "tensor([0.33, 1.00])"
    with pytest.raises(ValueError, match="profile expects one of default, short, full, got 'no'"):
        minicnn.set_printoptions(profile="no")


def tensors_to_print():
    rng = np.random.default_rng(0)
    for shape in [(), (1,), (30,), (3, 20), (2, 1, 3, 2), (0, 3), (2000,), (7, 200), (3, 40, 12)]:
        x = np.asarray(rng.standard_normal(shape), np.float32)
        holes = np.where(x > 1, np.float32(np.nan), np.where(x < -1, np.float32(-np.inf), x))
        yield from (x, np.sign(x), x * 1e9, x * 1e-6, np.exp(5 * x), x * 0, np.round(50 * x), holes)
        yield from ((100 * x).astype(np.int64), x > 0)


OPTIONS = [
    {}, {"precision": 2}, {"profile": "short"}, {"sci_mode": False, "linewidth": 120},
    {"sci_mode": True}, {"profile": "default", "threshold": 20, "edgeitems": 1},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_as_pytorch_prints(options):
    torch = pytest.importorskip("torch")
    torch.set_printoptions(**options)
    minicnn.set_printoptions(**options)
    try:
        for x in tensors_to_print():
            theirs = repr(torch.tensor(x)).replace("torch.", "")
            assert repr(minicnn.tensor(x)) == theirs
            if x.dtype.kind == "f":
                theirs = repr(torch.tensor(x, requires_grad=True))
                assert repr(minicnn.tensor(x, requires_grad=True)) == theirs
    finally:
        torch.set_printoptions(profile="default")

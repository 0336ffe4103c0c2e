"""Operators and methods of Tensor, and tensors among NumPy arrays."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import minicnn
from minicnn.functional import methods


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


OPERATORS = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "eq", "ne", "lt", "le", "gt",
             "ge"]  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name, parity):
    op = getattr(operator, name)
    smooth = name not in ("floordiv", "mod")
    parity(lambda lib, s, t: op(s, t), numbers(2, 3), numbers(3, seed=1), grads=smooth)
    parity(lambda lib, s: op(s, 1.25), numbers(2, 3), grads=smooth)
    parity(lambda lib, s: op(1.25, s), numbers(2, 3), grads=smooth)
    parity(lambda lib, s: op(s, 2), np.array([1, 2, 3]))
    parity(lambda lib, s: op(2, s), np.array([1, 2, 3]))


@pytest.mark.parametrize("name", [*OPERATORS, "matmul"])
def test_numpy_arrays_beside_tensors(name):
    """`array op tensor` and `tensor op array` are tensors, with gradients; no object arrays."""
    op = getattr(operator, name)
    a, b = numbers(3, 3), numbers(3, 3, seed=1)
    expected = op(a, b)
    for left, right in ((a, minicnn.tensor(b)), (minicnn.tensor(a), b)):
        y = op(left, right)
        assert type(y) is minicnn.Tensor
        assert y.dtype == expected.dtype
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)


def test_gradients_through_numpy_arrays():
    x = minicnn.tensor(numbers(2, 2), requires_grad=True)
    a = numbers(2, 2, seed=1)
    (a * x + a @ x + np.float64(2) * x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), a + a.sum(0)[:, None] + 2)


@pytest.mark.parametrize("number", [np.float64(2), np.float32(2), np.int64(2), np.array(2.0)])
def test_numpy_scalars_do_not_promote(number):
    for x in (minicnn.ones(2), minicnn.tensor(1.0)):
        for y in (x * number, number * x, x + number, number - x, x / number):
            if isinstance(number, np.ndarray) and x.ndim == 0:
                continue  # an array of no dimensions is a tensor of none: float64 wins
            assert y.dtype == minicnn.float32
    y = minicnn.tensor([1, 2]) * np.float64(0.5)
    assert y.dtype == minicnn.float32


def test_numpy_functions():
    x = minicnn.tensor(numbers(2, 2))
    np.testing.assert_allclose(np.exp(x).numpy(), np.exp(x.numpy()))
    assert np.asarray(x) is not None
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert np.stack([x, x]).shape == (2, 2, 2)
    out = numbers(2, 2)
    out += x  # NumPy's own in-place form
    assert type(out) is np.ndarray
    with pytest.raises(RuntimeError, match="requires a gradient"):
        np.exp(minicnn.ones(1, requires_grad=True))


def test_bits(parity):
    a, b = np.array([True, True, False]), np.array([True, False, False])
    i, j = np.array([6, 3]), np.array([3, 5])
    for op in (operator.and_, operator.or_, operator.xor):
        parity(lambda lib, s, t, op=op: op(s, t), a, b)
        parity(lambda lib, s, t, op=op: op(s, t), i, j)
        parity(lambda lib, s, op=op: op(s, True), a)
        parity(lambda lib, s, op=op: op(5, s), i)
    parity(lambda lib, s: ~s, a)
    parity(lambda lib, s: ~s, i)
    parity.raises(lambda lib, s: s & s, numbers(2), match="bitwise_and: expects bools or integers")
    parity.raises(lambda lib, s: ~s, numbers(2), match="bitwise_not: expects bools or integers")


def test_one_argument(parity):
    parity(lambda lib, s: -s + abs(s) - (+s) * s.T.mT, numbers(2, 2))
    parity(lambda lib, s: s.T, numbers(2, 3))
    parity(lambda lib, s: s.mT, numbers(2, 3, 4))


def test_every_name_in_the_table_is_a_method():
    names = [name for names in methods.METHODS.values() for name in names.split()]
    assert len(names) == len(set(names))
    for name in names:
        assert callable(getattr(minicnn.Tensor, name))
        assert getattr(minicnn, name) is getattr(minicnn.Tensor, name), name


def test_pytorch_has_them_too():
    """A name that PyTorch's Tensor lacks would be a name that nobody looks for."""
    torch = pytest.importorskip("torch")
    names = [n for table in methods.METHODS.values() for n in table.split()]
    names += [n + "_" for table in methods.IN_PLACE.values() for n in table.split()]
    missing = [n for n in names if not hasattr(torch.Tensor, n)]
    assert missing == ["repeat_interleave"] * ("repeat_interleave" in missing)


@pytest.mark.parametrize(
    "name", ["float", "double", "half", "int", "long", "short", "byte", "bool"]
)
def test_conversions(name, parity):
    for x in (np.array([0.0, 1.7, -2.3]), np.array([0, 1, 2])):
        x = np.abs(x) if name == "byte" else x
        parity(lambda lib, t: getattr(t, name)(), x, rtol=1e-3)
    same = getattr(minicnn.ones(2), name)()
    assert getattr(same, name)() is same


def test_to(parity):
    x = numbers(2)
    for fn in (
        lambda lib, t: t.to(lib.float32),
        lambda lib, t: t.to("cpu", lib.float32),
        lambda lib, t: t.to("cpu"),
        lambda lib, t: t.to(dtype=lib.int64, device=lib.device("cpu")),
        lambda lib, t: t.to(lib.zeros(1)),
        lambda lib, t: t.to(lib.float64, copy=True),
        lambda lib, t: t.type(lib.float32),
        lambda lib, t: t.type_as(lib.tensor(1)),
        lambda lib, t: t.to("cpu", non_blocking=True),
    ):
        parity(fn, x, rtol=1e-6)
    t = minicnn.ones(2)
    assert t.to(minicnn.float32) is t
    assert t.to(t) is t
    assert t.to(minicnn.float32, copy=True) is not t
    assert t.type() == "minicnn.FloatTensor"
    assert t.type("torch.DoubleTensor").dtype == minicnn.float64


def test_unknown_operands():
    class Other:
        def __radd__(self, other):
            return "reflected"

    assert minicnn.ones(2) + Other() == "reflected"
    for op in (operator.add, operator.lt, operator.matmul, operator.and_, operator.iadd):
        with pytest.raises(TypeError):
            op(minicnn.ones(2), "text")


def test_tensors_are_hashable():
    a, b = minicnn.ones(2), minicnn.ones(2)
    assert {a: 1, b: 2}[b] == 2


def test_chained_methods(parity):
    parity(lambda lib, x: x.sub(1).abs().clamp(min=0.1).log().sum(0).mean(), numbers(3, 4))
    parity(lambda lib, x: x.softmax(1).log_softmax(0).relu().tanh().sigmoid(), numbers(3, 4))

"""Products of matrices: values, gradients and errors, beside finite differences and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn.autograd import gradcheck, gradgradcheck


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def leaf(array):
    return minicnn.tensor(array, requires_grad=True)


def functional(lib):
    return minicnn.functional if lib is minicnn else lib.nn.functional


RANKS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (2, 3, 4)),
    ((1, 2, 3), (5, 3, 1)),
    ((2, 0), (0, 3)),
    ((0, 3), (3, 2)),
    ((0, 2, 3), (3, 2)),
    ((1, 1), (1, 1)),
]


@pytest.mark.parametrize("shapes", RANKS, ids=str)
def test_matmul(shapes, parity):
    a, b = (numbers(*s, seed=k) for k, s in enumerate(shapes))
    parity(lambda lib, s, t: s @ t, a, b)
    parity(lambda lib, s, t: lib.matmul(s, t), a.astype("f"), b.astype("f"), rtol=1e-5)
    assert gradcheck(minicnn.matmul, (leaf(a), leaf(b)))
    assert gradgradcheck(minicnn.matmul, (leaf(a), leaf(b)))


@given(st.tuples(*[st.integers(1, 4)] * 4), st.booleans(), st.booleans())
@settings(max_examples=15)
def test_matmul_is_exact_on_integers(sizes, turned_a, turned_b):
    """And so are its adjoints: <a b, g> = <a, g b^T> = <b, a^T g>, in any memory order."""
    n, i, j, k = sizes
    rng = np.random.default_rng(0)
    a, b, g = (rng.integers(-9, 9, s).astype(float) for s in ((n, i, j), (n, j, k), (n, i, k)))
    x = leaf(np.asfortranarray(a) if turned_a else a)
    w = leaf(np.asfortranarray(b) if turned_b else b)
    y = x @ w
    y.backward(minicnn.tensor(g))
    expected = np.array([[[sum(a[m, p, q] * b[m, q, r] for q in range(j)) for r in range(k)]
                          for p in range(i)] for m in range(n)])  # fmt: skip
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    inner = (expected * g).sum()
    assert inner == (a * x.grad.numpy()).sum() == (b * w.grad.numpy()).sum()


def test_named_products(parity):
    a, b, c, v = numbers(2, 3), numbers(3, 4, seed=1), numbers(5, 3, 4, seed=2), numbers(3, seed=3)
    parity(lambda lib, s, t: lib.mm(s, t), a, b)
    parity(lambda lib, s, t: lib.bmm(s.expand(5, 2, 3), t), a, c)
    parity(lambda lib, s, t: s.mv(t), a, v)
    parity(lambda lib, s, t: lib.dot(s, t), v, v)
    parity(lambda lib, s, t: lib.outer(s, t), v, b[:, 0])
    parity(lambda lib, s, t, u: lib.addmm(u, s, t, beta=2, alpha=3), a, b, b[0])
    parity(lambda lib, s, t: s @ t, np.arange(6).reshape(2, 3), np.arange(3))
    parity(lambda lib, s, t: s.t() @ t.t(), b, a)


@pytest.mark.parametrize("lead", [(), (4,), (2, 4), (2, 1, 3), (0,)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear(lead, bias, parity):
    arrays = [numbers(*lead, 3), numbers(5, 3, seed=1)] + [numbers(5, seed=2)] * bias
    parity(lambda lib, *a: functional(lib).linear(*a), *arrays)
    parity(lambda lib, *a: functional(lib).linear(*a), *[a.astype("f") for a in arrays], rtol=1e-5)
    assert gradcheck(minicnn.linear, [leaf(a) for a in arrays])
    assert gradgradcheck(minicnn.linear, [leaf(a) for a in arrays])


def test_the_gradient_of_columns_has_their_memory_order():
    """Flat images that were computed with N innermost: no copy on the way there nor back."""
    images = np.ascontiguousarray(numbers(3, 2, 2, 4)).transpose(3, 0, 1, 2)
    w, b, seen = leaf(numbers(5, 12, seed=1)), leaf(numbers(5, seed=2)), []
    x = minicnn.from_numpy(images).requires_grad_().flatten(1)
    assert x.array.flags.f_contiguous and np.may_share_memory(x.array, images)
    x.register_hook(lambda grad: seen.append(grad.array))
    minicnn.linear(x, w, b).square().sum().backward()
    assert seen[0].flags.f_contiguous
    rows = leaf(np.ascontiguousarray(x.array))
    minicnn.linear(rows, w, b).square().sum().backward()
    assert rows.grad.array.flags.c_contiguous
    np.testing.assert_allclose(seen[0], rows.grad.array, rtol=1e-12)
    columns = [
        leaf(np.asfortranarray(numbers(4, 3))),
        leaf(numbers(5, 3, seed=1)),
        leaf(numbers(5)),
    ]
    assert gradcheck(minicnn.linear, columns) and gradgradcheck(minicnn.linear, columns)


def test_linear_with_a_vector(parity):
    parity(lambda lib, x, w: functional(lib).linear(x, w), numbers(4, 3), numbers(3))


def test_linear_does_not_change_its_bias():
    x, w, b = minicnn.ones(2, 3), minicnn.ones(1, 3), minicnn.ones(1)
    minicnn.linear(x, w, b)
    assert b.tolist() == [1]


@pytest.mark.parametrize(
    "equation",
    ["ij,jk->ik", "ij,jk", "nc,fc->nf", "i,j->ij", "bij,bjk->bik", "ij->", "ij->ji", "ij,ij->",
     "ij,kj,j->ik", "ijk->k", "ab,cd->"],
)  # fmt: skip
def test_einsum(equation, parity):
    letters = sorted(set(equation) - set(",->"))
    sizes = {c: 2 + k % 3 for k, c in enumerate(letters)}
    terms = equation.partition("->")[0].split(",")
    arrays = [numbers(*[sizes[c] for c in term], seed=k) for k, term in enumerate(terms)]
    parity(lambda lib, *a: lib.einsum(equation, *a), *arrays)
    assert gradcheck(lambda *a: minicnn.einsum(equation, *a), [leaf(a) for a in arrays])
    assert gradgradcheck(lambda *a: minicnn.einsum(equation, *a), [leaf(a) for a in arrays])


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda lib: lib.ones(2, 3) @ lib.ones(2, 3), r"matmul: the inner .* \(2, 3\) and \(2, 3"),
        (lambda lib: lib.ones(3) @ lib.ones(2), r"matmul: the inner sizes differ: \(3,\) and \(2"),
        (lambda lib: lib.ones(2, 2, 3) @ lib.ones(3, 3, 2), "matmul: the stacks do not broadcast"),
        (lambda lib: lib.ones(2) @ lib.tensor(2.0), "matmul: expects at least one dimension"),
        (lambda lib: lib.ones(2) @ lib.ones(2).double(), "matmul: expects one type, got float32"),
        (lambda lib: lib.mm(lib.ones(2, 3), lib.ones(3)), "mm: expects tensors of 2 and 2"),
        (lambda lib: lib.bmm(lib.ones(2, 2, 3), lib.ones(1, 3, 2)), "bmm: the first sizes"),
        (lambda lib: lib.mv(lib.ones(2, 3), lib.ones(2)), "mv: the inner sizes differ"),
        (lambda lib: lib.dot(lib.ones(2, 3), lib.ones(2)), "dot: expects tensors of 1 and 1"),
        (lambda lib: lib.outer(lib.ones(2, 3), lib.ones(2)), "outer: expects two vectors"),
        (lambda lib: functional(lib).linear(lib.ones(2, 4), lib.ones(5, 3)),
         r"linear: weight expects 3 input features, x has 4: x \(2, 4\), weight \(5, 3\)"),
        (lambda lib: functional(lib).linear(lib.ones(2, 3), lib.ones(5, 3), lib.ones(4)),
         r"linear: bias expects shape \(5,\), got \(4,\)"),
        (lambda lib: functional(lib).linear(lib.ones(2, 3), lib.ones(5, 3).double()),
         "linear: expects one type, got x float32, weight float64"),
        (lambda lib: functional(lib).linear(lib.tensor(1.0), lib.ones(5, 3)), "linear: expects x"),
        (lambda lib: lib.einsum("ij,jk->ik", lib.ones(2, 3), lib.ones(2, 3)), "does not fit"),
        (lambda lib: lib.einsum("ij->ik", lib.ones(2, 3)), "einsum: letters"),
        (lambda lib: lib.einsum("ij,jk", lib.ones(2, 3)), "einsum"),
    ],
)  # fmt: skip
def test_errors(fn, message, refuses):
    refuses(fn, match=message)


def test_raw_arrays_give_raw_arrays():
    assert type(minicnn.matmul(numbers(2, 3), numbers(3, 2))) is np.ndarray
    assert type(minicnn.linear(numbers(2, 3), numbers(4, 3), numbers(4))) is np.ndarray


def test_what_is_no_tensor_is_named():
    x = minicnn.ones(2, 2)
    with pytest.raises(TypeError, match="matmul: expects Tensors or arrays, got int"):
        x @ 3
    with pytest.raises(TypeError, match="linear: expects Tensors or arrays, got NoneType"):
        minicnn.nn.functional.linear(x, None)
    with pytest.raises(TypeError, match="outer: expects Tensors or arrays, got list"):
        minicnn.outer([1.0], x[0])

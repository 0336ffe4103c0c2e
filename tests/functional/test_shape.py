"""Shapes: values, gradients, shared memory and errors, beside NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

import minicnn
from minicnn.autograd import gradcheck, gradgradcheck
from minicnn.functional.shape import sum_to

# every function as a call that works in both libraries; the input has shape (2, 3, 4)
CASES = {
    "reshape": lambda lib, x: x.reshape(4, 6),
    "reshape -1": lambda lib, x: lib.reshape(x, (-1, 8)),
    "view": lambda lib, x: x.view(6, -1),
    "view_as": lambda lib, x: x.view_as(lib.zeros(24)),
    "flatten": lambda lib, x: lib.flatten(x, 1),
    "flatten all": lambda lib, x: x.flatten(),
    "ravel": lambda lib, x: x.ravel(),
    "unflatten": lambda lib, x: x.unflatten(2, (2, -1)),
    "transpose": lambda lib, x: x.transpose(0, -1),
    "swapaxes": lambda lib, x: x.swapaxes(1, 2),
    "permute": lambda lib, x: x.permute(2, 0, 1),
    "permute tuple": lambda lib, x: lib.permute(x, (1, -1, 0)),
    "mT": lambda lib, x: x.mT,
    "t": lambda lib, x: x[0].t(),
    "T": lambda lib, x: x[0].T,
    "movedim": lambda lib, x: lib.movedim(x, 0, 2),
    "movedim many": lambda lib, x: lib.movedim(x, (0, 2), (1, 0)),
    "squeeze": lambda lib, x: x[:1, :, :1].squeeze(),
    "squeeze dim": lambda lib, x: x[:1].squeeze(0),
    "squeeze nothing": lambda lib, x: x.squeeze(1),
    "squeeze dims": lambda lib, x: x[:1, :, :1].squeeze((0, 1, 2)),
    "unsqueeze": lambda lib, x: x.unsqueeze(1),
    "unsqueeze last": lambda lib, x: lib.unsqueeze(x, -1),
    "expand": lambda lib, x: x[:, :1].expand(5, 2, 3, -1),
    "expand_as": lambda lib, x: x[:1].expand_as(x),
    "broadcast_to": lambda lib, x: lib.broadcast_to(x[:, :, :1], (2, 3, 2)),
    "broadcast_tensors": lambda lib, x: lib.broadcast_tensors(x[:, :1], x[0]),
    "repeat": lambda lib, x: x.repeat(2, 1, 3),
    "repeat more": lambda lib, x: x.repeat(2, 1, 1, 2),
    "tile": lambda lib, x: lib.tile(x, (2,)),
    "repeat_interleave": lambda lib, x: x.repeat_interleave(2, 1),
    "repeat_interleave flat": lambda lib, x: lib.repeat_interleave(x, 3),
    "narrow": lambda lib, x: x.narrow(2, 1, 2),
    "narrow from the end": lambda lib, x: lib.narrow(x, 2, -3, 2),
    "select": lambda lib, x: x.select(1, -1),
    "split": lambda lib, x: lib.split(x, 3, 2),
    "split sizes": lambda lib, x: x.split([1, 0, 2], dim=1),
    "chunk": lambda lib, x: x.chunk(3, -1),
    "unbind": lambda lib, x: lib.unbind(x, 1),
    "cat": lambda lib, x: lib.cat([x, x * 2, x[:, :1]], 1),
    "cat of nothing": lambda lib, x: lib.cat([lib.zeros(0, dtype=lib.float64), x]),
    "stack": lambda lib, x: lib.stack((x, x * 2), -1),
    "clone": lambda lib, x: x.clone(),
    "contiguous": lambda lib, x: x.transpose(0, 1).contiguous(),
    "flip": lambda lib, x: lib.flip(x, (0, 2)),
    "flip method": lambda lib, x: x.flip(1),
    "roll": lambda lib, x: lib.roll(x, 1, 2),
    "roll many": lambda lib, x: x.roll((1, -2), (0, 2)),
    "roll flat": lambda lib, x: x.roll(5),
}


class _Functional:
    """minicnn under the names that the cases use, whatever minicnn.nn holds."""

    nn = type("nn", (), {"functional": minicnn.functional})

    def __getattr__(self, name):
        return getattr(minicnn, name)


LIB = _Functional()


def leaf(array):
    return minicnn.tensor(array, requires_grad=True)


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("case", CASES)
def test_derivatives(case):
    x = leaf(numbers(2, 3, 4))
    assert gradcheck(lambda t: CASES[case](LIB, t), x)
    assert gradgradcheck(lambda t: CASES[case](LIB, t * t), x)


@pytest.mark.parametrize("case", CASES)
def test_parity(case, parity):
    def fn(lib, x):
        return CASES[case](LIB if lib is minicnn else lib, x)

    parity(fn, numbers(2, 3, 4))
    parity(lambda lib, x: fn(lib, x * x), numbers(2, 3, 4).astype("f"), rtol=1e-6)


@given(shape=array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3), data=st.data())
def test_reshape_and_permute_of_any_shape(shape, data):
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    order = data.draw(st.permutations(range(len(shape))))
    t = minicnn.tensor(x).permute(order)
    np.testing.assert_array_equal(t.numpy(), x.transpose(order))
    np.testing.assert_array_equal(t.reshape(x.size).numpy(), x.transpose(order).ravel())
    np.testing.assert_array_equal(t.flatten().reshape(t.shape).numpy(), t.numpy())


@given(shapes=mutually_broadcastable_shapes(num_shapes=1, max_dims=3, max_side=3))
def test_sum_to_is_the_adjoint_of_expand(shapes):
    """<expand(x), y> = <x, sum_to(y)>, exactly, on integers."""
    small, large = shapes.input_shapes[0], (2, *shapes.result_shape)
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-9, 9, s).astype(float) for s in (small, large))
    left = (minicnn.expand(x, large) * y).sum()
    assert left == (x * sum_to(y, small)).sum()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0)])
def test_sum_to_adds_float16_up_in_float32(order):
    """4096 times 0.1: added one by one in float16 they would miss the sum by far."""
    y = np.full((64, 3, 64), 0.1, np.float16)
    y = np.ascontiguousarray(y.transpose(order)).transpose(np.argsort(order))
    total = sum_to(y, (3, 1))
    assert total.dtype == np.float16 and total.shape == (3, 1)
    assert np.all(total == np.float16(4096 * float(y[0, 0, 0])))
    b = minicnn.tensor(np.zeros((3, 1), np.float16), requires_grad=True)
    (minicnn.tensor(y) * 0 + b).backward(minicnn.Tensor(y))
    assert np.array_equal(b.grad.numpy(), total)


# ---------------------------------------------------------------------- memory

VIEWS = [
    "reshape", "view", "view_as", "flatten", "ravel", "unflatten", "transpose", "permute", "mT",
    "t", "T", "movedim", "squeeze", "squeeze dim", "unsqueeze", "expand", "expand_as", "narrow",
    "select", "split", "chunk", "unbind",
]  # fmt: skip
COPIES = ["repeat", "cat", "stack", "clone", "contiguous", "flip", "roll", "tile"]


@pytest.mark.parametrize("case", VIEWS)
def test_views_share_memory(case):
    x = minicnn.tensor(numbers(2, 3, 4))
    y = CASES[case](LIB, x)
    for part in y if isinstance(y, tuple) else [y]:
        assert np.shares_memory(part.numpy(), x.numpy())


@pytest.mark.parametrize("case", COPIES)
def test_copies_do_not(case):
    x = minicnn.tensor(numbers(2, 3, 4))
    assert not np.shares_memory(CASES[case](LIB, x).numpy(), x.numpy())


def test_reshape_copies_where_it_must():
    x = minicnn.tensor(numbers(2, 3))
    y = x.t().reshape(6)
    assert not np.shares_memory(y.numpy(), x.numpy())
    y.zero_()  # a copy: x does not change
    assert (x != 0).all()
    assert x.contiguous() is x
    v = leaf(numbers(2, 3))
    w = v * 1
    z = (w * w).sum()
    w.t().reshape(6).zero_()  # what z saved is untouched, and known to be
    z.backward()
    np.testing.assert_allclose(v.grad.numpy(), 2 * numbers(2, 3))


def test_view_refuses_to_copy(parity):
    parity.raises(lambda lib, x: x.t().view(6), numbers(2, 3), match="cannot be seen as .* reshape")
    parity(lambda lib, x: x.t().view(3, 2, 1), numbers(2, 3))
    parity(lambda lib, x: x.view(lib.int64), numbers(2, 3), grads=False)


def test_clone_keeps_the_memory_order():
    x = minicnn.tensor(numbers(2, 3)).t()
    assert x.clone().stride() == x.stride()
    assert x.contiguous().is_contiguous()


def test_expanded_tensors_are_read_only(refuses):
    refuses(lambda lib, x: x.expand(2, 3).add_(1), numbers(3), match="expanded")


# ---------------------------------------------------------------------- types and errors


def test_cat_and_stack_promote(parity):
    a, b = np.ones((2, 2), "f"), np.ones((2, 2), "i8")
    for other in (b, a.astype("d"), a > 0):
        parity(lambda lib, s, t: lib.cat([s, t]), a, other, rtol=1e-6)
        parity(lambda lib, s, t: lib.stack([t, s]), a, other, rtol=1e-6)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda lib, x: x.reshape(5), r"reshape: shape \(5,\) cannot hold the 6 elements"),
        (lambda lib, x: x.reshape(-1, -1), "reshape: shape"),
        (lambda lib, x: x.view(-1, 4), "view: shape"),
        (lambda lib, x: x.reshape(-2, -3), "reshape: shape"),
        (lambda lib, x: x[:0].reshape(-1, 0), "reshape: shape"),
        (lambda lib, x: x.flatten(1, 0), "flatten: start_dim"),
        (lambda lib, x: x.flatten(0, 5), "flatten: dim expects -2 to 1"),
        (lambda lib, x: x.unflatten(1, (2, 2)), "unflatten: sizes"),
        (lambda lib, x: x.transpose(0, 2), "transpose: dim expects -2 to 1"),
        (lambda lib, x: x.permute(0, 0), "permute: dims"),
        (lambda lib, x: x.permute(0), "permute: dims"),
        (lambda lib, x: x.unsqueeze(4), "unsqueeze: dim expects -3 to 2"),
        (lambda lib, x: x.unsqueeze(0).t(), "t: expects at most 2"),
        (lambda lib, x: x.movedim((0, 1), 0), "movedim"),
        (lambda lib, x: x.expand(4, 3), r"expand: a tensor of shape \(2, 3\) cannot"),
        (lambda lib, x: x.expand(3), "expand"),
        (lambda lib, x: x.expand(-1, 2, 3), "expand"),
        (lambda lib, x: x.repeat(2), "repeat: repeats expects at least 2"),
        (lambda lib, x: x.narrow(0, 1, 2), "narrow: start 1 and length 2"),
        (lambda lib, x: x.narrow(0, 3, 1), "narrow: start expects -2 to 2"),
        (lambda lib, x: x.select(0, 2), "select: index expects -2 to 1"),
        (lambda lib, x: x.split([1, 1], 1), "split: sizes expect to sum up to 3"),
        (lambda lib, x: x.split(-1), "split: split_size expects"),
        (lambda lib, x: x.chunk(0), "chunk: chunks expects a positive"),
        (lambda lib, x: lib.cat([]), "cat: expects at least one"),
        (lambda lib, x: lib.cat([x, x[:1]], 1), r"cat: all sizes but .* \(2, 3\), \(1, 3\)"),
        (lambda lib, x: lib.cat([x, x[0]]), "cat: all sizes"),
        (lambda lib, x: lib.stack([x, x[:1]]), "stack: expects tensors of one shape"),
        (lambda lib, x: lib.stack([]), "stack: expects at least one"),
        (lambda lib, x: x.flip(0, 0), "flip: dim .* twice"),
        (lambda lib, x: x.roll((1, 2), 0), "roll: shifts and dims"),
        (lambda lib, x: lib.broadcast_tensors(x, x[:, :2]), "broadcast_shapes: shapes"),
    ],
)
def test_errors(fn, message, refuses):
    refuses(fn, numbers(2, 3), match=message)


def test_zero_dimensions(parity):
    x = np.array(2.0)
    for fn in (
        lambda lib, t: t.reshape(1, 1),
        lambda lib, t: t.flatten(),
        lambda lib, t: t.squeeze(0),
        lambda lib, t: t.unsqueeze(0),
        lambda lib, t: t.transpose(0, -1),
        lambda lib, t: t.t(),
        lambda lib, t: t.expand(2, 3),
        lambda lib, t: t.repeat(3),
        lambda lib, t: lib.stack([t, t]),
        lambda lib, t: t.permute(()),
    ):
        parity(fn, x)
    parity.raises(lambda lib, t: lib.cat([t, t]), x)
    parity.raises(lambda lib, t: t.unbind(), x)


def test_empty_tensors(parity):
    x = numbers(0, 3)
    for fn in (
        lambda lib, t: t.reshape(3, 0),
        lambda lib, t: t.view(3, 0),
        lambda lib, t: t.flatten(),
        lambda lib, t: t.chunk(2),
        lambda lib, t: t.split(2),
        lambda lib, t: t.flip(0),
        lambda lib, t: t.roll(1, 0),
        lambda lib, t: t.repeat(2, 2),
        lambda lib, t: lib.cat([t, t], 1),
        lambda lib, t: t.unbind(1),
        lambda lib, t: t.expand(0, 3),
    ):
        parity(fn, x)


def test_parts_of_what_has_none_and_what_is_no_tensor():
    number = minicnn.tensor(1.0)
    for parts in (lambda: number.split(1), lambda: number.chunk(2), lambda: number.unbind()):
        with pytest.raises(RuntimeError, match=r"(split|chunk|unbind): expects at least one dim"):
            parts()
    for join in (minicnn.cat, minicnn.stack):
        with pytest.raises(TypeError, match=f"{join.__name__}: expects Tensors or arrays, got"):
            join([minicnn.ones(1), [2.0]])

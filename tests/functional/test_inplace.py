"""Changes in place: values, gradients, views and the errors that protect them, beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.autograd import gradcheck, gradgradcheck


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


def leaf(array):
    return minicnn.tensor(array, requires_grad=True)


METHODS = {
    "add_": lambda lib, y, b: y.add_(b),
    "add_ alpha": lambda lib, y, b: y.add_(b, alpha=2),
    "sub_": lambda lib, y, b: y.sub_(b),
    "mul_": lambda lib, y, b: y.mul_(b),
    "mul_ number": lambda lib, y, b: y.mul_(3),
    "div_": lambda lib, y, b: y.div_(b),
    "pow_": lambda lib, y, b: y.pow_(2),
    "neg_": lambda lib, y, b: y.neg_(),
    "abs_": lambda lib, y, b: y.abs_(),
    "exp_": lambda lib, y, b: y.exp_(),
    "log_": lambda lib, y, b: y.log_(),
    "sqrt_": lambda lib, y, b: y.sqrt_(),
    "square_": lambda lib, y, b: y.square_(),
    "reciprocal_": lambda lib, y, b: y.reciprocal_(),
    "clamp_": lambda lib, y, b: y.clamp_(0.8, 1.5),
    "round_": lambda lib, y, b: y.round_(),
    "zero_": lambda lib, y, b: y.zero_(),
    "fill_": lambda lib, y, b: y.fill_(2.5),
    "fill_ tensor": lambda lib, y, b: y.fill_(b[0]),
    "copy_": lambda lib, y, b: y.copy_(b),
    "masked_fill_": lambda lib, y, b: y.masked_fill_(y > 1, 0.0),
    "relu_": lambda lib, y, b: y.relu_(),
    "sigmoid_": lambda lib, y, b: y.sigmoid_(),
    "tanh_": lambda lib, y, b: y.tanh_(),
    "erf_": lambda lib, y, b: y.erf_(),
    "erfc_": lambda lib, y, b: y.erfc_(),
    "set a row": lambda lib, y, b: y.__setitem__(0, b),
    "set a column": lambda lib, y, b: y.__setitem__((slice(None), 1), b[0]),
    "set by mask": lambda lib, y, b: y.__setitem__(y > 1, 0.0),
    "set by list": lambda lib, y, b: y.__setitem__([1, 0], b),
    "unsqueeze_": lambda lib, y, b: y.unsqueeze_(0),
    "squeeze_": lambda lib, y, b: y.squeeze_(),
    "t_": lambda lib, y, b: y.t_(),
    "transpose_": lambda lib, y, b: y.transpose_(0, 1),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods(name, parity):
    """On a result, on a view of it, and after it was used by an op that did not save it."""

    def on_a_result(lib, x, b):
        y = x * 1
        METHODS[name](lib, y, b)
        return y * 2

    def beside_an_addition(lib, x, b):
        y = x + 1
        z = y + 1
        METHODS[name](lib, y, b)
        return z, y

    def on_a_view(lib, x, b):
        y = x * 1
        METHODS[name](lib, y[1:], b)
        return y

    x, b = numbers(2, 3), numbers(3, seed=1)
    parity(on_a_result, x, b)
    parity(beside_an_addition, x, b)
    if name not in ("set by list", "set a column"):
        parity(on_a_view, x, b)
    assert gradcheck(lambda s, t: on_a_result(minicnn, s, t), (leaf(x), leaf(b)))


def test_methods_return_their_tensor():
    x = minicnn.ones(2)
    for name in ("add_", "mul_", "sub_", "div_", "copy_", "fill_"):
        assert getattr(x, name)(2) is x
    assert x.exp_() is x
    assert x.zero_() is x
    before = x
    x += 1
    assert x is before


# Programs with views: x has shape (2, 3), b shape (3).


def rows(lib, x, b):
    y = x * 2
    y[0] = b
    y[1] += b * x[0]
    return y


def out_plus_equals(lib, x, b):
    out = lib.zeros(2, 3, dtype=lib.float64)
    for i in range(3):
        out += x * b[i]
    return out


def assemble(lib, x, b):
    out = lib.zeros(4, 3, dtype=lib.float64)
    out[:2] = x
    out[2:] = b * 3
    out[1, 1] = 5
    return out * out


def view_then_base(lib, x, b):
    y = x * 1
    v = y[0]
    y *= 2
    return v + b, y


def base_then_view(lib, x, b):
    y = x * 1
    v = y.view(6)
    v[2:4] = b[:2]
    return y, v


def view_of_a_view(lib, x, b):
    y = x * 1
    v = y.t()[1:]
    w = v[0]
    w.mul_(b[:2])
    v += 1
    return y, v, w


def two_views(lib, x, b):
    y = x * 1
    v, w = y[:, :2], y[:, 1:]
    v.mul_(2)
    w.mul_(b[:2])
    return v, w, y


def through_reshape(lib, x, b):
    y = x * 1
    y.reshape(3, 2)[1] = b[1:]
    y.unsqueeze(0).squeeze(0).add_(b)
    return y


def detached(lib, x, b):
    y = x * 1
    y.detach().mul_(0)
    return y + b


def no_grad(lib, x, b):
    y = x + 1
    with lib.no_grad():
        y.mul_(2)
    return y + b


def number_becomes_differentiable(lib, x, b):
    y = lib.zeros(3, dtype=lib.float64)
    v = y[1:]
    v.copy_(b[1:])
    return y * x


def twice(lib, x, b):
    y = x * 1
    y += b
    y *= b
    y -= 1
    y /= 2
    y **= 2
    return y


def reshaped_views(lib, x, b):
    y = x * 1
    v = y[1]
    v.unsqueeze_(0)
    v *= b
    return y, v


def masks(lib, x, b):
    y = x * b
    y[y > 1] = 0
    y[:, [0, 2]] *= 3
    return y


PROGRAMS = [rows, out_plus_equals, assemble, view_then_base, base_then_view, view_of_a_view,
            two_views, through_reshape, detached, no_grad, number_becomes_differentiable, twice,
            reshaped_views, masks]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_programs(program, parity):
    parity(program, numbers(2, 3), numbers(3, seed=1))


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p not in (detached, no_grad)],
                         ids=lambda p: p.__name__)  # fmt: skip
def test_derivatives_of_programs(program):
    inputs = leaf(numbers(2, 3) + 0.01), leaf(numbers(3, seed=1))
    assert gradcheck(lambda x, b: program(minicnn, x, b), inputs)
    assert gradgradcheck(lambda x, b: program(minicnn, x, b), inputs)


def test_a_tensor_times_itself():
    """PyTorch refuses this, because the product saved what it overwrites; here it keeps a copy."""

    def program(x):
        y = x + 0
        y.mul_(y)
        z = y + 0
        z[0] = z[1].clone() * z[0].clone()
        return y, z

    assert gradcheck(program, leaf(numbers(2, 3)))
    assert gradgradcheck(program, leaf(numbers(2, 3)))


# ---------------------------------------------------------------------- what may not be done

# each: makes y, computes z, which may have saved y, changes y; does the backward of z still work?
CONFLICTS = {
    "mul saves": (lambda y: y * y, lambda y: y.add_(1), False),
    "exp saves its result": (lambda y: y.exp(), lambda y: y.add_(1), True),
    "exp's result changed": (lambda y: y.exp(), None, False),
    "sqrt's result changed": (lambda y: y.sqrt(), None, False),
    "add does not": (lambda y: y + y, lambda y: y.add_(1), True),
    "sum does not": (lambda y: y.sum(), lambda y: y.add_(1), True),
    "mean does not": (lambda y: y.mean(0), lambda y: y.zero_(), True),
    "by a number": (lambda y: y * 3, lambda y: y.mul_(2), True),
    "pow saves": (lambda y: y**2, lambda y: y.mul_(2), False),
    "through a view": (lambda y: y * y, lambda y: y[0].zero_(), False),
    "through an index": (lambda y: y * y, lambda y: y.__setitem__((0, 0), 1.0), False),
    "view was saved": (lambda y: y[0] * y[1], lambda y: y.mul_(2), False),
    "other view": (lambda y: y.t() @ y, lambda y: y.view(6).mul_(2), False),
    "a row saves another": (lambda y: y[1] * y[0], lambda y: y[1].add_(1), False),
    "matmul saves": (lambda y: y @ y.t(), lambda y: y.add_(1), False),
    "log saves": (lambda y: y.log(), lambda y: y.add_(1), False),
    "neg does not": (lambda y: -y, lambda y: y.add_(1), True),
    "through .data": (lambda y: y + 1, lambda y: y.data.add_(1), True),
    "unseen through .data": (lambda y: y * y, lambda y: y.data.add_(1), True),
    "through detach": (lambda y: y * y, lambda y: y.detach().add_(1), False),
    "max with indices": (lambda y: y.max(1)[0], lambda y: y.add_(1), True),
    "maximum saves": (lambda y: y.clamp(min=1), lambda y: y.add_(1), False),
    "var saves": (lambda y: y.var(0), lambda y: y.add_(1), False),
    "under no_grad": (lambda y: y * y, "no_grad", False),
    "relu saves its result": (lambda y: y.relu(), lambda y: y.add_(1), True),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_changed_saved_values(name, parity):
    compute, change, fine = CONFLICTS[name]

    def run(lib):
        x = lib.tensor(numbers(2, 3), requires_grad=True)
        y = x * 1
        z = compute(y)
        if change is None:
            z.mul_(2)
        elif change == "no_grad":
            with lib.no_grad():
                y.add_(1)
        else:
            change(y)
        z.sum().backward()
        return x.grad

    if fine:
        parity.same(run(minicnn), run(parity.torch))
        return
    with pytest.raises(RuntimeError):
        run(parity.torch)
    with pytest.raises(RuntimeError, match=r"Backward: .*was changed in place by \w+ .*version"):
        run(minicnn)


def test_a_changed_condition_is_noticed():
    x, c = leaf(numbers(3)), minicnn.tensor([True, False, True])
    y = minicnn.where(c, x, 0.0).sum()
    c.zero_()
    with pytest.raises(RuntimeError, match=r"WhereBackward: .* changed in place by zero_"):
        y.backward()


def test_the_error_names_both_ops():
    x = leaf(numbers(3))
    y = x * 1
    z = (y * y).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"MulBackward: .*\(3,\).* changed in place by add_"):
        z.backward()


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda lib: lib.ones(2).add_(lib.ones(3, 2)), r"add_: the result has shape \(3, 2\)"),
        (lambda lib: lib.tensor([1]).add_(1.5), "add_: the result has type float32"),
        (lambda lib: lib.tensor([1]).div_(2), "div_: the result has type"),
        (lambda lib: lib.ones(2, requires_grad=True).add_(1), "add_: a leaf that requires"),
        (lambda lib: lib.ones(2, requires_grad=True)[0].zero_(), "zero_: a leaf that requires"),
        (lambda lib: lib.ones(2, requires_grad=True).view(2).exp_(), "exp_: a leaf"),
        (lambda lib: lib.ones(2).expand(3, 2).mul_(2), "mul_: this tensor .* expanded"),
        (lambda lib: lib.ones(2, requires_grad=True).unsqueeze_(0), "unsqueeze_: a leaf"),
        (lambda lib: lib.ones(2).copy_(lib.ones(3)), "copy_: values of shape"),
        (lambda lib: lib.ones(2).fill_(lib.ones(2)), "fill_: expects one number"),
        (lambda lib: lib.ones(2).uniform_(1, 0), "uniform_: expects from <= to"),
        (lambda lib: lib.ones(2).normal_(0, -1), "normal: std expects"),
    ],
)
def test_errors(fn, message, refuses):
    refuses(fn, match=message)


def test_a_failed_change_changes_nothing():
    x = minicnn.tensor([1, 2])
    for change in (lambda: x.add_(1.5), lambda: x.add_(minicnn.ones(3, 2, dtype=minicnn.int64))):
        with pytest.raises(RuntimeError):
            change()
    assert x.tolist() == [1, 2]
    y = leaf(numbers(2))
    with pytest.raises(RuntimeError):
        y += 1
    np.testing.assert_array_equal(y.detach().numpy(), numbers(2))
    assert y._version[0] == 0


def test_leaves_under_no_grad():
    x = leaf(numbers(2))
    with minicnn.no_grad():
        x -= 0.5
        x[0] = 7
    assert x.requires_grad
    assert x.is_leaf
    assert x[0].item() == 7


def test_types_in_place(parity):
    parity(lambda lib, t: t.add_(1), np.array([1, 2]))
    parity(lambda lib, t: t.copy_(lib.tensor([1.7, 2.2])), np.array([1, 2]))
    parity(lambda lib, t: (t * 1).add_(lib.ones(2)), numbers(2))
    parity(lambda lib, t: (t * 1).mul_(lib.ones(2, dtype=lib.float64)), numbers(2).astype("f"))
    parity(lambda lib, t: t.logical_not() & (t > 0) | (t < 0) ^ (t == 0), np.array([0, 1]))
    parity(lambda lib, t: t.fill_(3.7), np.array([0, 1]))


def test_an_integer_tensor_takes_any_integers():
    """They wrap around, as in PyTorch."""
    pixels = minicnn.tensor([1, 250], dtype=minicnn.uint8)
    pixels += minicnn.tensor([1, 10])
    assert pixels.dtype == minicnn.uint8
    assert pixels.tolist() == [2, 4]
    with pytest.raises(RuntimeError, match="mul_: the result has type float32"):
        pixels.mul_(1.5)
    with pytest.raises(TypeError, match="expects numbers"):
        pixels[0] = "a"


def test_a_view_whose_base_was_turned_since():
    """Its place in the new shape is unknown: an error, never another element's gradient."""
    x = minicnn.ones(2, 2, requires_grad=True)
    base = x * 1
    view = base[0]
    base.t_()
    base *= minicnn.tensor([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(RuntimeError, match="take the view anew"):
        view.sum()

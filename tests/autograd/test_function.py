"""Functions written by users: minicnn's form and PyTorch's static form."""

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Function, Tensor, gradcheck, gradgradcheck


class Cube(Function):
    """The worked example of function.py."""

    def forward(self, x):
        self.save(x)
        return x * x * x

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y * 3 * x * x


class Exp(Function):
    """Saves its own output."""

    def forward(self, x):
        y = np.exp(x)
        self.save(y)
        return y

    def backward(self, grad_y):
        (y,) = self.saved
        return grad_y * y


class StaticRelu(Function):
    """As PyTorch's tutorial on custom functions writes it."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x.clamp(min=0) * scale

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * (x > 0) * ctx.scale, None


def leaf(rng, *shape):
    return Tensor(rng.standard_normal(shape), requires_grad=True)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_on_arrays_it_returns_arrays_and_builds_nothing():
    y = Cube.apply(np.array([2.0]))
    assert isinstance(y, np.ndarray)
    assert y.item() == 8


def test_first_and_second_derivative(rng):
    x = leaf(rng, 3, 2)
    assert gradcheck(Cube.apply, x)
    assert gradgradcheck(Cube.apply, x)


def test_saved_output_is_differentiable(rng):
    x = leaf(rng, 4)
    assert gradcheck(Exp.apply, x)
    assert gradgradcheck(Exp.apply, x)


def test_saved_output_makes_no_cycle():
    import gc
    import weakref

    gc.collect()
    gc.disable()
    try:
        y = Exp.apply(Tensor(np.ones(2), requires_grad=True))
        node, array = weakref.ref(y.grad_fn), weakref.ref(y.array)
        del y
        assert node() is None
        assert array() is None
    finally:
        gc.enable()


def test_a_saved_intermediate_is_a_constant_under_create_graph():
    """Documented: what is neither input nor output must be recomputed to be differentiated."""

    class Forgetful(Function):
        def forward(self, x):
            self.save(np.square(x))  # an intermediate
            return x * x * x

        def backward(self, grad_y):
            return grad_y * 3 * self.saved[0]

    x = Tensor(np.array([2.0]), requires_grad=True)
    assert gradcheck(Forgetful.apply, x)
    assert not gradgradcheck(Forgetful.apply, x, raise_exception=False)


def test_static_form(rng):
    x = leaf(rng, 5)
    y = StaticRelu.apply(x, 3.0)
    np.testing.assert_array_equal(y.detach().numpy(), np.maximum(x.detach().numpy(), 0) * 3)
    assert gradcheck(lambda x: StaticRelu.apply(x, 3.0), x)
    assert gradgradcheck(lambda x: StaticRelu.apply(x, 3.0), x)


def test_static_form_guards_what_it_saved(rng):
    x = leaf(rng, 5)
    z = x * 1
    y = StaticRelu.apply(z, 1.0)
    z += 1
    with pytest.raises(RuntimeError, match=r"StaticReluBackward.*changed in place by add_"):
        y.sum().backward()


def test_mark_non_differentiable():
    class WithMask(Function):
        @staticmethod
        def forward(ctx, x):
            mask = (x > 0).to(minicnn.float64)
            ctx.mark_non_differentiable(mask)
            ctx.save_for_backward(mask)
            return x * mask, mask

        @staticmethod
        def backward(ctx, grad_y, grad_mask):
            return grad_y * ctx.saved_tensors[0]

    x = Tensor(np.array([-1.0, 2.0]), requires_grad=True)
    y, mask = WithMask.apply(x)
    assert y.requires_grad
    assert not mask.requires_grad
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 1])


def test_static_form_sees_zeros_for_outputs_without_a_gradient():
    class WithPlace(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x.argmax(0)

        @staticmethod
        def backward(ctx, grad_y, grad_place):
            assert grad_place.shape == (2,)
            assert not grad_place.any()
            return grad_y * 2

    x = Tensor(np.array([[1.0, 2.0]]), requires_grad=True)
    WithPlace.apply(x)[0].sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[2, 2]])


def test_form_with_setup_context(rng):
    class Scaled(Function):
        @staticmethod
        def forward(x, by):
            return x * x * by

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.by = inputs
            assert output.shape == x.shape
            ctx.save_for_backward(x)

        @staticmethod
        def backward(ctx, grad_y):
            (x,) = ctx.saved_tensors
            return grad_y * 2 * x * ctx.by, None

    x = leaf(rng, 4)
    assert gradcheck(lambda x: Scaled.apply(x, 3.0), x)
    assert gradgradcheck(lambda x: Scaled.apply(x, 3.0), x)


def test_static_form_is_inherited_method_by_method():
    class Twice(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad_y):
            return grad_y * 2

    class OtherForward(Twice):
        @staticmethod
        def forward(ctx, x):
            return x * 5

    class OtherBackward(Twice):
        @staticmethod
        def backward(ctx, grad_y):
            return grad_y * 7

    for function, y, g in ((OtherForward, 5, 2), (OtherBackward, 2, 7)):
        x = Tensor(np.array([1.0]), requires_grad=True)
        out = function.apply(x)
        out.backward()
        assert (out.item(), x.grad.item()) == (y, g)


def test_integer_outputs_are_not_differentiable():
    class Both(Function):
        def forward(self, x):
            return x * 2, np.argsort(x)

        def backward(self, grad_y, grad_order):
            return grad_y * 2

    y, order = Both.apply(Tensor(np.array([3.0, 1.0]), requires_grad=True))
    assert y.requires_grad
    assert not order.requires_grad
    y.sum().backward()


def test_none_and_numbers_as_inputs():
    class Affine(Function):
        def forward(self, x, w, b):
            self.save(w)
            return x * w if b is None else x * w + b

        def backward(self, grad_y):
            return grad_y * self.saved[0], None, None

    x = Tensor(np.array([3.0]), requires_grad=True)
    Affine.apply(x, 2.0, None).backward()
    assert x.grad.item() == 2


class TestOneArrayInTwoTensors:
    """Saved arrays are told apart by identity, so one ndarray must not serve two tensors."""

    @pytest.mark.parametrize("make", [Tensor, minicnn.from_numpy, minicnn.as_tensor])
    def test_two_leaves_over_one_ndarray(self, make):
        values = np.array([2.0, 3.0])
        a, b = make(values).requires_grad_(), make(values).requires_grad_()
        assert np.shares_memory(a.array, b.array)
        (first,) = minicnn.autograd.grad((a * b * a).sum(), a, create_graph=True)
        by_a, by_b = minicnn.autograd.grad(first.sum(), [a, b])
        np.testing.assert_array_equal(by_a.numpy(), 2 * values)
        np.testing.assert_array_equal(by_b.numpy(), 2 * values)

    def test_a_forward_that_returns_its_input(self):
        class Identity(Function):
            def forward(self, x):
                return x

            def backward(self, grad_y):
                return grad_y

        x = Tensor(np.array([2.0]), requires_grad=True)
        assert gradgradcheck(lambda x: Identity.apply(x) * x * x, x)

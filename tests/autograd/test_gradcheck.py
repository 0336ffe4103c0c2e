"""gradcheck itself: what it accepts, what it says, and that nothing wrong passes quietly."""

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Function, GradcheckError, Tensor, gradcheck, gradgradcheck


def leaf(*shape, seed=0, dtype=np.float64):
    values = np.random.default_rng(seed).standard_normal(shape)
    return Tensor(values.astype(dtype), requires_grad=True)


def message(fn, inputs, **options):
    with pytest.raises(GradcheckError) as e:
        gradcheck(fn, inputs, **options)
    return str(e.value)


class TestAccepts:
    def test_smooth_functions(self):
        x, w = leaf(3, 4), leaf(4, seed=1)
        assert gradcheck(lambda x, w: (x * w).exp().sum(1), (x, w))
        assert gradgradcheck(lambda x, w: (x * w).exp().sum(1), (x, w))

    def test_several_outputs_and_unchecked_inputs(self):
        x, c = leaf(3), Tensor(np.arange(3.0))
        assert gradcheck(lambda x, c: (x * c, x.exp(), (x > 0)), (x, c))

    def test_input_that_fn_ignores(self):
        assert gradcheck(lambda x, w: x * 2, (leaf(3), leaf(2)))

    def test_empty_input(self):
        assert gradcheck(lambda x: x * 2, leaf(0, 3))

    def test_large_and_small_scales(self):
        for scale in (1e-6, 1e6):
            x = Tensor(leaf(4).array * scale, requires_grad=True)
            assert gradcheck(lambda x: x * x, x)

    def test_one_step_as_pytorch_does(self):
        assert gradcheck(lambda x: x.exp(), leaf(3), eps=1e-6, atol=1e-4)

    def test_away_from_the_kink(self):
        x = Tensor(np.array([-1.0, 1e-3, 2.0]), requires_grad=True)
        assert gradcheck(lambda x: x.clamp(min=0), x)

    @pytest.mark.parametrize(
        ("fn", "x"),
        [
            (lambda x: x.norm(), np.array([1e-6, -2e-6, 3e-6])),
            (lambda x: x.var(), 1e6 + np.array([0.5, -1.0, 2.0, 0.25])),
            (lambda x: (x * 1e5).sin(), np.array([0.3, -0.7, 1.9])),
            (lambda x: (x - x.mean()) / x.std(), 1e3 + 1e-2 * np.array([0.5, -1.0, 2.0, 0.25])),
        ],
        ids=["tiny input", "large mean", "sharp bends", "normalisation far from zero"],
    )
    def test_smooth_functions_that_bend_within_a_small_step(self, fn, x):
        assert gradcheck(fn, Tensor(x, requires_grad=True))

    @pytest.mark.parametrize(
        ("fn", "x"),
        [
            (lambda x: 1 / x, [-1e-4, 0.3, 1.0, -1e4]),
            (lambda x: x.log(), [1e-8, 1e-3, 1.0, 1e8]),
            (lambda x: x.sqrt(), [1e-10, 1e-3, 1e6]),
            (lambda x: x * x + x, [0.0, 1e5, 1e-5]),
            (lambda x: x**1.5, [1e-6, 1.0]),
            (lambda x: x.norm(), [1e-20, 2e-20]),
            (lambda x: x.clamp(min=0), [1e-7, -1e-7, 3.0]),
            (abs, [1e-3, 1e6]),
            (lambda x: 1 / (x - 1), [1.001, 0.9999]),
            (lambda x: (x * 1e4).tanh(), [1e-5, 2e-4, 0.3]),
        ],
    )
    def test_inputs_of_all_sizes_at_once(self, fn, x):
        """Beside a pole, the end of a domain or a kink, which a step for the largest leaps over."""
        leaf = Tensor(np.array(x), requires_grad=True)
        assert gradcheck(fn, leaf)
        assert gradgradcheck(fn, leaf)

    @pytest.mark.parametrize(
        ("fn", "x"),
        [
            (lambda x: x.exp(), [700.0, 1.0, -3.0]),
            (lambda x: x**100, [1000.0, 900.0]),
            (lambda x: x * x, [1e150, 2e150]),
            (lambda x: x * 1e-30, [1.0, 2.0]),
            (lambda x: x.sigmoid(), [50.0, -50.0, 700.0]),
        ],
    )
    def test_values_near_overflow_and_underflow(self, fn, x):
        assert gradcheck(fn, Tensor(np.array(x), requires_grad=True))

    def test_a_function_that_refuses_scattered_memory(self):
        assert gradcheck(lambda x: x.view(6) * 2, leaf(2, 3))

    def test_a_function_of_the_memory_order(self):
        def fn(x):
            y = x * 1
            y.reshape(3, 2)[1] = 7.0  # lost if y is not contiguous, for then it is a copy
            return y

        assert gradcheck(fn, leaf(2, 3))

    def test_the_inputs_are_left_alone(self):
        x = leaf(3)
        before = x.array.copy()
        gradcheck(lambda x: x * x, x)
        np.testing.assert_array_equal(x.array, before)
        assert x.grad is None

    def test_works_under_no_grad(self):
        with minicnn.no_grad():
            assert gradcheck(lambda x: x * x, leaf(2))


class Off(Function):
    """y = x^2 with a gradient that is wrong by 0.1% at one index."""

    def forward(self, x):
        self.save(x)
        return x * x

    def backward(self, grad_y):
        wrong = np.ones(grad_y.shape)
        wrong[1, 2] = 1.001
        return 2 * self.saved[0] * grad_y * wrong


class TestExplains:
    def test_wrong_backward_names_input_index_and_values(self):
        x, w = leaf(2, 3), leaf(2, 3, seed=1)
        text = message(lambda w, x: w + Off.apply(x), (w, x))
        assert "input 1, index (1, 2)" in text
        assert "analytic" in text
        assert "numeric" in text
        assert "wrong backward" in text

    @pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
    def test_a_gradient_that_is_not_finite(self, value):
        class NotFinite(Off):
            def backward(self, grad_y):
                g = 2 * self.saved[0] * grad_y
                g[2] = value
                return g

        text = message(NotFinite.apply, leaf(4))
        assert "index (2,)" in text
        assert "wrong backward" in text

    def test_wrong_backward_at_values_that_float32_holds(self):
        x = Tensor(np.array([1.5, 0.25]), requires_grad=True)
        assert "wrong backward" in message(lambda x: x + x.detach(), x)

    def test_a_function_that_is_not_finite(self):
        x = Tensor(np.array([-1.0]), requires_grad=True)
        assert "not finite" in message(lambda x: x.log(), x)
        x = Tensor(np.array([800.0]), requires_grad=True)
        assert "not finite" in message(lambda x: x.exp(), x)

    def test_a_slope_that_does_not_settle_proves_nothing(self):
        x = Tensor(np.array([0.3, -1.2, 0.7]), requires_grad=True)
        assert "not settled" in message(lambda x: x + 1e9, x)
        x = Tensor(np.array([0.3, -0.7, 1.9]), requires_grad=True)
        assert "not settled" in message(lambda x: (x * 1e9).sin(), x)

    def test_what_fn_returns(self):
        with pytest.raises(TypeError, match="must return a Tensor or a tuple of them, got float"):
            gradcheck(lambda x: 3.0, leaf(2))

    def test_returns_false_if_asked(self):
        assert gradcheck(Off.apply, leaf(2, 3), raise_exception=False) is False

    def test_one_wrong_element_among_many(self):
        class OneOff(Off):
            def backward(self, grad_y):
                g = 2 * self.saved[0] * grad_y
                g[17, 41] += 1e-3
                return g

        assert "index (17, 41)" in message(OneOff.apply, leaf(30, 50))

    @pytest.mark.parametrize("at", [0.0, -0.0])
    def test_kink_of_relu(self, at):
        x = Tensor(np.array([1.0, at, -1.0]), requires_grad=True)
        text = message(lambda x: x.clamp(min=0), x)
        assert "index (1,)" in text
        assert "kink or tie" in text

    def test_kink_that_central_differences_cannot_see(self):
        """At 0 the central difference of |x| is 0, and so is its conventional gradient."""
        assert "kink or tie" in message(abs, Tensor(np.array([0.0, 3.0]), requires_grad=True))

    def test_tie_of_max(self):
        x = Tensor(np.array([2.0, 5.0, 5.0]), requires_grad=True)
        assert "kink or tie" in message(lambda x: x.max(0).values, x)

    def test_float32_inside(self):
        def fn(x):
            return (x.to(minicnn.float32) * 1.1).exp()

        assert "float32 rounding" in message(fn, leaf(3))

    def test_float32_inputs_are_checked_in_float64(self):
        assert gradcheck(lambda x: x.exp(), leaf(3, dtype=np.float32))

    def test_float32_input_whose_gradient_loses_its_digits(self):
        """(x + 1e8) - 1e8 has gradient 1; times x, float32 sees x + 0 or x + 8."""
        x = leaf(5, dtype=np.float32)
        text = message(lambda x: ((x + 1e8) - 1e8) * x, x)
        assert "float32 rounding" in text

    def test_not_deterministic_forward(self):
        rng = np.random.default_rng(0)
        text = message(lambda x: x * float(rng.standard_normal()), leaf(3))
        assert "not deterministic" in text

    def test_not_deterministic_backward(self):
        rng = np.random.default_rng(0)

        class Moody(Function):
            def forward(self, x):
                return x * 1

            def backward(self, grad_y):
                return grad_y * rng.standard_normal()

        assert "not deterministic" in message(Moody.apply, leaf(3))

    def test_nan_is_never_right(self):
        class Nan(Function):
            def forward(self, x):
                return x * 1

            def backward(self, grad_y):
                return grad_y * np.nan

        assert "analytic nan" in message(Nan.apply, leaf(3))
        with np.errstate(all="ignore"):
            assert not gradcheck(lambda x: x * np.nan, leaf(3), raise_exception=False)

    def test_backward_that_changes_its_input(self):
        class Rude(Function):
            def forward(self, x):
                self.save(x)
                return x * x

            def backward(self, grad_y):
                (x,) = self.saved
                g = 2 * x * grad_y
                x *= 1.5
                return g

        assert "in place" in message(Rude.apply, leaf(3))

    def test_backward_that_changes_its_gradient(self):
        class Rude(Function):
            def forward(self, x):
                return x * 2

            def backward(self, grad_y):
                grad_y *= 2
                return grad_y

        assert "in place" in message(Rude.apply, leaf(3))

    def test_wrong_only_when_one_input_needs_a_gradient(self):
        class Lazy(Function):
            def forward(self, a, b):
                self.save(a, b)
                return a * b

            def backward(self, grad_y):
                a, b = self.saved
                if not all(self.needs_input_grad):
                    return grad_y, grad_y
                return grad_y * b, grad_y * a

        assert "input 0" in message(Lazy.apply, (leaf(3), leaf(3, seed=1)))

    def test_detached_inside(self):
        assert "detached" in message(lambda x: x.detach() * 2, leaf(3))

    def test_half_detached_inside(self):
        assert "wrong backward" in message(lambda x: x * x.detach(), leaf(3))

    def test_nothing_to_check(self):
        with pytest.raises(ValueError, match="no input requires a gradient"):
            gradcheck(lambda x: x, Tensor(np.ones(2)))

    def test_second_derivative_wrong(self):
        class Half(Function):
            def forward(self, x):
                self.save(x)
                return x * x * x

            def backward(self, grad_y):
                (x,) = self.saved
                return grad_y * 3 * x * getattr(x, "array", x)  # one factor escapes the graph

        assert gradcheck(Half.apply, leaf(3))
        assert not gradgradcheck(Half.apply, leaf(3), raise_exception=False)

    def test_second_path_that_differs(self):
        """Under create_graph this backward goes another way, and loses a factor there."""

        class Forked(Function):
            def forward(self, x):
                self.save(x)
                return x * x

            def backward(self, grad_y):
                (x,) = self.saved
                return grad_y * x if self.create_graph else grad_y * x * 2

        assert gradcheck(Forked.apply, leaf(3))
        with pytest.raises(GradcheckError, match="create_graph=True"):
            gradgradcheck(Forked.apply, leaf(3))

"""no_grad and its kin as contexts and decorators; anomaly mode."""

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Function, Tensor, detect_anomaly, set_detect_anomaly


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


def recorded():
    return (leaf(1.0) * 2).requires_grad


class TestSwitches:
    def test_contexts_nest_and_restore(self):
        assert recorded()
        with minicnn.no_grad():
            assert not recorded()
            with minicnn.enable_grad():
                assert recorded()
            assert not recorded()
        assert recorded()

    def test_restored_after_an_error(self):
        with pytest.raises(KeyError), minicnn.no_grad():
            raise KeyError
        assert recorded()

    @pytest.mark.parametrize("decorator", [minicnn.no_grad(), minicnn.no_grad])
    def test_decorators(self, decorator):
        @decorator
        def inner(value):
            """Kept."""
            return value, recorded()

        assert inner(3) == (3, False)
        assert inner.__doc__ == "Kept."
        assert recorded()

    def test_recursive_decorator(self):
        @minicnn.no_grad()
        def down(n):
            return recorded() if n == 0 else down(n - 1)

        assert down(3) is False
        assert recorded()

    def test_generators_switch_only_inside(self):
        @minicnn.no_grad()
        def generate():
            yield recorded()
            yield recorded()

        for inside in generate():
            assert inside is False
            assert recorded()

    def test_inference_mode(self):
        with minicnn.inference_mode():
            assert minicnn.is_inference_mode_enabled()
            assert not recorded()
        with minicnn.inference_mode(False):
            assert recorded()
        assert minicnn.inference_mode()(recorded)() is False
        assert minicnn.inference_mode(recorded)() is False

    def test_set_grad_enabled_acts_at_once(self):
        before = minicnn.is_grad_enabled()
        try:
            minicnn.set_grad_enabled(False)
            assert not recorded()
        finally:
            minicnn.set_grad_enabled(before)
        with minicnn.set_grad_enabled(False):
            assert not recorded()
        assert recorded()

    def test_set_grad_enabled_as_decorator(self):
        @minicnn.set_grad_enabled(False)
        def inner():
            return recorded()

        assert recorded()
        assert inner() is False


class TestAnomaly:
    def test_forward_is_named_with_the_user_s_line(self):
        x = leaf(1.0, -1.0)
        with detect_anomaly(), np.errstate(all="ignore"):
            y = x * 1
            with pytest.raises(
                RuntimeError, match=r"Log: the forward made nan at index \(1,\)"
            ) as e:
                y.log()  # the line to be named
        assert "test_modes.py" in str(e.value)
        assert "the line to be named" in str(e.value)
        assert "inputs are all finite" in str(e.value)

    def test_input_that_was_bad_already(self):
        with detect_anomaly(), pytest.raises(RuntimeError, match="input 0 already held one"):
            leaf(np.nan) * 2

    def test_backward_is_named_with_the_forward_s_line(self):
        class Bad(Function):
            def forward(self, x):
                return x * 1

            def backward(self, grad_y):
                return grad_y * np.inf

        x = leaf(1.0, 2.0)
        with detect_anomaly():
            y = Bad.apply(x)  # called here
            with pytest.raises(RuntimeError, match=r"BadBackward: the backward made inf") as e:
                y.sum().backward()
        assert "called here" in str(e.value)
        assert x.grad is None

    def test_off_by_default_and_set_at_once(self):
        with np.errstate(all="ignore"):
            leaf(-1.0).log()
            set_detect_anomaly(True)
            try:
                with pytest.raises(RuntimeError, match="Log"):
                    leaf(-1.0).log()
            finally:
                set_detect_anomaly(False)
            leaf(-1.0).log()


def test_the_switches_take_their_argument_by_pytorch_s_name():
    with minicnn.autograd.set_grad_enabled(mode=False):
        assert not minicnn.is_grad_enabled()
    assert minicnn.is_grad_enabled()
    with set_detect_anomaly(mode=True):
        assert minicnn.autograd.is_anomaly_enabled()
    assert not minicnn.autograd.is_anomaly_enabled()


def test_anomaly_mode_around_the_backward_alone_says_why_it_has_no_line():
    y = leaf(0.0).sqrt()
    with detect_anomaly(), pytest.raises(RuntimeError, match=r"Sqrt.*outside of anomaly mode"):
        y.backward()


def test_set_detect_anomaly_is_undone_after_a_with():
    with np.errstate(all="ignore"):
        with set_detect_anomaly(True), pytest.raises(RuntimeError, match="Log"):
            leaf(-1.0).log()
        leaf(-1.0).log()

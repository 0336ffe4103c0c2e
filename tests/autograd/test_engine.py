"""The backward pass: order, accumulation, freeing, hooks, grad(), depth, no reference cycles."""

import gc
import sys
import threading
import weakref

import numpy as np
import pytest

import minicnn
from minicnn.autograd import Function, Tensor, grad


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


class Square(Function):
    def forward(self, x):
        self.save(x)
        return x * x

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y * 2 * x


class TestGradients:
    def test_chain(self):
        x = leaf(1.0, 2.0, 3.0)
        (x * x * 2).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), [4.0, 8.0, 12.0])

    def test_a_weight_used_twice_gets_the_sum(self):
        w, x = leaf(3.0), leaf(5.0)
        (w * x + w * w).sum().backward()
        assert w.grad.item() == 5 + 2 * 3

    def test_an_input_given_twice_to_one_op(self):
        x = leaf(3.0)
        (x * x).sum().backward()
        assert x.grad.item() == 6

    def test_diamond_waits_for_all_paths(self):
        """The shared middle must be processed once, after both of its users."""
        calls = []

        class Watched(Function):
            def forward(self, x):
                return x * 1

            def backward(self, grad_y):
                calls.append(grad_y.copy())
                return grad_y

        x = leaf(2.0)
        middle = Watched.apply(x)
        long_way = middle * 3
        for _ in range(5):
            long_way = long_way * 1
        (middle + long_way).sum().backward()
        assert len(calls) == 1
        assert calls[0].item() == 4

    def test_second_backward_adds_to_grad(self):
        x = leaf(3.0)
        for n in (1, 2, 3):
            (x * x).sum().backward()
            assert x.grad.item() == 6 * n

    def test_unused_output_of_several_counts_as_zero(self):
        x = leaf(1.0, 2.0, 3.0, 4.0)
        a, _ = minicnn.split(x, 2)
        a.sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), [1, 1, 0, 0])

    def test_gradient_has_the_input_s_type(self):
        x = Tensor(np.ones(3, np.float32), requires_grad=True)
        (x.to(minicnn.float64) * 2).sum().backward()
        assert x.grad.dtype == np.float32

    def test_backward_with_inputs_changes_only_those(self):
        x, w = leaf(2.0), leaf(3.0)
        middle = x * w
        (middle * middle).sum().backward(inputs=[w, middle])
        assert x.grad is None
        assert w.grad.item() == 2 * 6 * 2
        assert middle.grad.item() == 12


class TestMemoryOfGradients:
    def test_grads_of_two_leaves_never_share_memory(self):
        x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
        y = x + w
        y.backward(Tensor(np.ones(2)))
        assert not np.shares_memory(x.grad.array, w.grad.array)
        x.grad.array *= 100
        np.testing.assert_array_equal(w.grad.numpy(), [1, 1])

    def test_the_gradient_argument_is_not_kept(self):
        x = leaf(1.0, 2.0)
        g = Tensor(np.array([5.0, 6.0]))
        (x + 0.0).backward(g)
        x.backward(g)
        g.array[:] = -1
        np.testing.assert_array_equal(x.grad.numpy(), [10, 12])

    def test_grads_are_writable_although_sum_s_backward_broadcasts(self):
        x = leaf(1.0, 2.0)
        x.sum().backward()
        x.grad.array += 1
        np.testing.assert_array_equal(x.grad.numpy(), [2, 2])

    def test_a_function_that_returns_what_it_saved(self):
        constant = np.array([7.0, 8.0])

        class Odd(Function):
            def forward(self, x):
                self.save(constant)
                return x * constant

            def backward(self, grad_y):
                return self.saved[0]

        x = leaf(1.0, 1.0)
        Odd.apply(x).sum().backward()
        x.grad.array *= 0
        np.testing.assert_array_equal(constant, [7, 8])

    def test_three_paths_do_not_change_a_gradient_that_is_seen_elsewhere(self):
        x = leaf(1.0, 2.0)
        y = x * 1
        seen = []
        y.register_hook(lambda g: seen.append(g.numpy().copy()))
        g = np.ones(2)
        (y + y + y).backward(Tensor(g))
        np.testing.assert_array_equal(g, 1)
        np.testing.assert_array_equal(seen[0], [3, 3])

    def test_grad_returns_separate_arrays(self):
        x, w = leaf(1.0), leaf(2.0)
        gx, gw = grad(x + w, [x, w])
        assert not np.shares_memory(gx.array, gw.array)
        again = grad(x + w, [x, x])
        assert not np.shares_memory(again[0].array, again[1].array)

    def test_create_graph_gives_each_leaf_a_gradient_of_its_own(self):
        x, w = leaf(1.0), leaf(2.0)
        (x + w).backward(create_graph=True)
        with minicnn.no_grad():
            x.grad.zero_()
        assert (x.grad.item(), w.grad.item()) == (0, 1)


class TestFreeing:
    def test_second_pass_without_retain_graph_is_an_error_that_names_the_op(self):
        x = leaf(3.0)
        y = x * x
        y.sum().backward()
        with pytest.raises(RuntimeError, match=r"MulBackward.*freed.*retain_graph=True"):
            y.sum().backward()
        assert x.grad.item() == 6

    def test_retain_graph(self):
        x = leaf(3.0)
        y = (x * x).sum()
        y.backward(retain_graph=True)
        y.backward()
        assert x.grad.item() == 12

    def test_saved_arrays_are_freed_as_the_pass_goes(self):
        """When the first op's backward runs, what the last op saved is gone."""
        seen = {}

        class First(Function):
            def forward(self, x):
                return x * 1

            def backward(self, grad_y):
                seen["saved of last"] = last_node._saved
                return grad_y

        y = Square.apply(First.apply(leaf(2.0)))
        last_node = y.grad_fn
        y.backward()
        assert seen["saved of last"] is None

    def test_an_activation_that_no_backward_saved_is_freed_during_forward(self):
        x = leaf(*np.ones(10))
        y = x + 1.0
        alive = weakref.ref(y)
        z = y + 1.0
        del y
        assert alive() is None
        z.sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), np.ones(10))

    def test_no_reference_cycles(self):
        """With the garbage collector off, everything goes by reference counts alone."""
        gc.collect()
        gc.disable()
        try:
            x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
            y = (x * w).exp()
            z = (y.view(2, 1) + w).sum()
            y.retain_grad()
            handle = y.register_hook(lambda g: g * 1)
            nodes = [weakref.ref(t.grad_fn) for t in (y, z)]
            tensors = [weakref.ref(t) for t in (x, w, y, z)]
            z.backward(retain_graph=True)
            z.backward(create_graph=False)
            del x, w, y, z, handle
            assert [ref() for ref in tensors] == [None] * 4
            assert [ref() for ref in nodes] == [None] * 2
        finally:
            gc.enable()

    def test_no_reference_cycles_after_changes_in_place(self):
        gc.collect()
        gc.disable()
        try:
            x = leaf(1.0, 2.0)
            y = x * 2
            y[0] += 1.0
            view = y[1]
            view *= x[0]
            tensors = [weakref.ref(t) for t in (x, y, view)]
            y.sum().backward()
            del x, y, view
            assert [ref() for ref in tensors] == [None] * 3
        finally:
            gc.enable()


class TestDepth:
    @pytest.mark.parametrize("depth", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
    def test_deep_chain_neither_overflows_nor_crashes_when_freed(self, depth):
        x = leaf(1.0)
        y = x
        for _ in range(depth):
            y = y + 1.0
        y.backward()
        assert x.grad.item() == 1
        del y

    def test_views_of_views_share_the_way_that_led_to_them(self):
        x = leaf(1.0)
        y = base = x * 1
        for _ in range(10_000):
            y = y.reshape(1)
        assert sys.getsizeof(y._view[1]) < 1000
        y.mul_(3.0)
        base.backward()
        assert x.grad.item() == 3

    @pytest.mark.slow
    def test_deep_chain_dropped_without_backward(self):
        y = leaf(1.0)
        for _ in range(100_000):
            y = y + 1.0
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None


class TestSkipping:
    def test_backward_sees_which_inputs_need_a_gradient(self):
        seen = []

        class Product(Function):
            def forward(self, a, b):
                seen.append(self.needs_input_grad)
                self.save(a, b)
                return a * b

            def backward(self, grad_y):
                seen.append(self.needs_input_grad)
                _, b = self.saved
                return grad_y * b, None

        x, constant = leaf(2.0), Tensor(np.array([3.0]))
        Product.apply(x, constant).backward()
        assert seen == [(True, False), (True, False)]
        assert constant.grad is None

    def test_grad_runs_only_what_leads_to_its_inputs(self):
        ran = []

        class Named(Function):
            def forward(self, x, *, name):
                self.label = name
                return x * 1

            def backward(self, grad_y):
                ran.append(self.label)
                return grad_y

        x, w = leaf(1.0), leaf(2.0)
        y = Named.apply(x, name="x") * Named.apply(w, name="w")
        (g,) = grad(y, w, retain_graph=True)
        assert g.item() == 1
        assert ran == ["w"]
        assert w.grad is None
        y.backward()
        assert sorted(ran) == ["w", "w", "x"]
        assert (x.grad.item(), w.grad.item()) == (2, 1)

    def test_grad_leaves_what_is_below_its_inputs(self):
        x = leaf(2.0)
        h = x * x
        (g,) = grad(h * 3, h)
        assert g.item() == 3
        h.backward()  # what x * x saved is there still
        assert x.grad.item() == 4

    def test_no_graph_where_nothing_needs_a_gradient(self):
        y = Tensor(np.ones(2)) * 2.0
        assert not y.requires_grad
        assert y.grad_fn is None
        with pytest.raises(RuntimeError, match="does not require a gradient"):
            y.sum().backward()

    def test_integers_have_no_gradient(self):
        with pytest.raises(RuntimeError, match="floating"):
            Tensor(np.array([1, 2]), requires_grad=True)


class TestGradFunction:
    def test_intermediate_and_leaf(self):
        x = leaf(3.0)
        y = x * x
        gx, gy = grad(y * y, [x, y])
        assert gx.item() == 4 * 27
        assert gy.item() == 18

    def test_unused(self):
        x, w = leaf(1.0), leaf(2.0)
        with pytest.raises(RuntimeError, match="do not depend on input 1"):
            grad(x * 2, [x, w])
        assert grad(x * 2, [x, w], allow_unused=True)[1] is None
        assert grad(x * 2, [x, w], materialize_grads=True)[1].item() == 0

    def test_grad_outputs(self):
        x = leaf(1.0, 2.0)
        (g,) = grad(x * x, x, grad_outputs=Tensor(np.array([1.0, 10.0])))
        np.testing.assert_array_equal(g.numpy(), [2, 40])

    def test_several_outputs(self):
        x = leaf(2.0)
        (g,) = grad([x * 3, x * x], x)
        assert g.item() == 7

    def test_higher_derivatives(self):
        x = leaf(2.0)
        y = x * x * x * x
        for expected in (4 * 8, 12 * 4, 24 * 2, 24.0, 0.0):
            (y,) = grad(y.sum(), x, create_graph=True, materialize_grads=True)
            assert y.item() == expected
            if not y.requires_grad:
                break

    def test_create_graph_through_backward(self):
        x = leaf(3.0)
        (x * x * x).sum().backward(create_graph=True)
        assert x.grad.requires_grad
        (second,) = grad(x.grad.sum(), x)
        assert second.item() == 18

    def test_refusal_by_name(self):
        class Fused(Square):
            differentiable_backward = False

        x = leaf(3.0)
        assert grad(Fused.apply(x), x)[0].item() == 6
        with pytest.raises(RuntimeError, match=r"FusedBackward.*create_graph"):
            grad(Fused.apply(x), x, create_graph=True)


class TestErrors:
    def test_arguments(self):
        x = leaf(1.0)
        with pytest.raises(RuntimeError, match=r"one gradient for each of 1 tensors, got 2"):
            minicnn.autograd.backward([x * 1], [Tensor(np.ones(1))] * 2)
        with pytest.raises(TypeError, match=r"grad: starts from Tensors, got str"):
            grad("y", x)
        with pytest.raises(TypeError, match=r"grad: input 1 expects a Tensor, got int"):
            grad(x * 1, [x, 3])

    def test_size_of_a_dimension_that_is_not(self):
        assert Tensor(np.ones((2, 3))).size(-1) == 3
        with pytest.raises(IndexError, match=r"size: dim 2 .* \(2, 3\)"):
            Tensor(np.ones((2, 3))).size(2)

    def test_gradient_needed_for_more_than_one_element(self):
        with pytest.raises(RuntimeError, match=r"shape \(2,\).*must be given"):
            (leaf(1.0, 2.0) * 2).backward()

    def test_gradient_of_another_shape(self):
        with pytest.raises(RuntimeError, match=r"\(3,\).*\(2,\)"):
            (leaf(1.0, 2.0) * 2).backward(Tensor(np.ones(3)))

    def test_wrong_shape_from_a_backward(self):
        class Wrong(Function):
            def forward(self, x):
                return x * 1

            def backward(self, grad_y):
                return grad_y[:1]

        with pytest.raises(RuntimeError, match=r"WrongBackward.*shape \(1,\).*input 0.*\(2,\)"):
            Wrong.apply(leaf(1.0, 2.0)).sum().backward()

    def test_wrong_number_of_gradients(self):
        class Wrong(Function):
            def forward(self, a, b):
                return a * b

            def backward(self, grad_y):
                return grad_y

        with pytest.raises(RuntimeError, match="returned 1 gradients for 2 inputs"):
            Wrong.apply(leaf(1.0), leaf(2.0)).backward()

    def test_missing_methods(self):
        class Empty(Function):
            pass

        with pytest.raises(NotImplementedError, match=r"Empty\.forward"):
            Empty.apply(leaf(1.0))


class TestSwitchingALeaf:
    def test_asking_again_changes_nothing(self):
        x = leaf(3.0)
        seen = []
        x.register_hook(lambda g: seen.append(g.item()))
        y = x * x
        x.requires_grad_(True)
        x.requires_grad = True
        (g,) = grad(y, x, retain_graph=True)
        y.backward()
        assert (g.item(), x.grad.item(), seen) == (6, 6, [6, 6])

    def test_a_leaf_that_was_switched_off_gets_nothing(self):
        x, w = leaf(3.0), leaf(5.0)
        y = x * w
        x.requires_grad_(False)
        y.backward()
        assert x.grad is None
        assert w.grad.item() == 3
        assert not (x * 2).requires_grad

    def test_off_and_on_again(self):
        x = leaf(3.0)
        y = x * x
        x.requires_grad_(False).requires_grad_(True)
        assert grad(y, x)[0].item() == 6


class TestDetachingInPlace:
    def test_history_ends_here(self):
        x = leaf(3.0)
        h = x * x
        y = h * 2
        assert h.detach_() is h
        assert not h.requires_grad
        assert h.grad_fn is None
        y.backward()  # recorded before
        assert x.grad.item() == 12
        assert not (h * 2).requires_grad

    def test_a_view_is_refused(self):
        with pytest.raises(RuntimeError, match="detach_: a view"):
            (leaf(1.0, 2.0) * 1)[0].detach_()


class TestHooks:
    def test_hook_replaces_the_gradient(self):
        x = leaf(1.0)
        y = x * 2
        y.register_hook(lambda g: g * 10)
        y.backward()
        assert x.grad.item() == 20

    @pytest.mark.parametrize("what", [lambda g: g.sum(), lambda g: g.float(), lambda g: 3.0])
    def test_what_a_hook_may_return(self, what):
        x = leaf(1.0, 2.0)
        x.register_hook(what)
        with pytest.raises((RuntimeError, TypeError), match="a hook return"):
            (x * 2).sum().backward()
        assert x.grad is None

    def test_hook_on_a_leaf_sees_the_sum(self):
        x = leaf(1.0)
        seen = []
        x.register_hook(lambda g: seen.append(g.item()))
        (x * 2 + x * 3).backward()
        assert seen == [5]

    def test_removal(self):
        x = leaf(1.0)
        y = x * 2
        handle = y.register_hook(lambda g: g * 10)
        handle.remove()
        handle.remove()
        y.backward()
        assert x.grad.item() == 2

    def test_retain_grad(self):
        x = leaf(2.0)
        y = x * x
        y.retain_grad()
        assert y.retains_grad
        (y * y).backward()
        assert y.grad.item() == 8

    def test_no_gradient_no_hook(self):
        with pytest.raises(RuntimeError, match="does not require"):
            Tensor(np.ones(1)).register_hook(print)


def test_threads_have_their_own_switch():
    """no_grad in one thread leaves another thread's graph alone."""
    inside, recorded = threading.Event(), []
    done = threading.Event()

    def other():
        inside.wait()
        recorded.append((leaf(1.0) * 2).requires_grad)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with minicnn.no_grad():
        inside.set()
        done.wait()
    thread.join()
    assert recorded == [True]

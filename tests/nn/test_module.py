"""Module: members, traversal, modes, moving, hooks, copies, texts."""

import copy
import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.fc = nn.Linear(8, 3)
        self.register_buffer("scratch", minicnn.zeros(2), persistent=False)

    def forward(self, x):
        return self.fc(F.relu(self.norm(self.conv(x))).flatten(1))


def images():
    return minicnn.randn(5, 1, 4, 4)


# ---------------------------------------------------------------------- members


def test_attributes_are_registered_by_what_they_are():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "conv.weight", "conv.bias", "norm.weight", "norm.bias", "fc.weight", "fc.bias",
    ]  # fmt: skip
    assert [n for n, _ in net.named_buffers()] == [
        "scratch", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
    ]  # fmt: skip
    assert [n for n, _ in net.named_children()] == ["conv", "norm", "fc"]
    assert [n for n, _ in net.named_modules()] == ["", "conv", "norm", "fc"]
    assert list(net.children()) == [net.conv, net.norm, net.fc]
    assert list(net.modules()) == [net, net.conv, net.norm, net.fc]
    assert len(list(net.parameters(recurse=False))) == 0
    assert [n for n, _ in net.fc.named_parameters(prefix="head")] == ["head.weight", "head.bias"]
    assert "fc" in dir(net)
    assert "weight" in dir(net.fc)


def test_shared_members_appear_once():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = self.b = nn.Linear(2, 2)
            self.c = nn.Linear(2, 2)
            self.c.weight = self.a.weight
            self.register_buffer("m", minicnn.zeros(1))
            self.register_buffer("n", self.m)

    net = Shared()
    assert [n for n, _ in net.named_parameters()] == ["a.weight", "a.bias", "c.bias"]
    assert [n for n, _ in net.named_parameters(remove_duplicate=False)] == [
        "a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias",
    ]  # fmt: skip
    assert [n for n, _ in net.named_modules(remove_duplicate=False)] == ["", "a", "b", "c"]
    assert [n for n, _ in net.named_children()] == ["a", "c"]
    assert [n for n, _ in net.named_buffers()] == ["m"]
    assert set(net.state_dict()) == {
        "m", "n", "a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias",
    }  # fmt: skip


def test_a_shared_weight_gets_the_sum_of_its_gradients():
    fc = nn.Linear(2, 2, bias=False)
    x = minicnn.randn(3, 2)
    (fc(x).sum() + 2 * fc(x).sum()).backward()
    np.testing.assert_allclose(fc.weight.grad.array, 3 * np.tile(x.array.sum(0), (2, 1)), rtol=1e-5)


def test_assignment_before_init_is_a_clear_error():
    class Early(nn.Module):
        def __init__(self, value):
            self.value = value
            super().__init__()

    for value in (nn.Parameter(minicnn.zeros(1)), nn.Linear(1, 1), nn.Buffer(minicnn.zeros(1))):
        with pytest.raises(AttributeError, match=r"Early.*before Module.__init__.*super"):
            Early(value)

    class Never(nn.Module):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match="super"):
        Never().parameters().__next__()
    with pytest.raises(AttributeError, match="super"):
        Never().register_buffer("b", minicnn.zeros(1))
    with pytest.raises(AttributeError, match="super"):
        Never()(1)


def test_a_tensor_cannot_replace_a_parameter_nor_a_layer():
    net = Net()
    before = net.fc.weight
    with pytest.raises(TypeError, match="Tensor as parameter 'weight'"):
        net.fc.weight = minicnn.zeros(3, 8)
    with pytest.raises(TypeError, match="int as child module 'fc'"):
        net.fc = 3
    with pytest.raises(TypeError, match="list as buffer 'scratch'"):
        net.scratch = [1, 2]
    assert net.fc.weight is before
    net.fc.bias = None
    assert net.fc.bias is None
    assert [n for n, _ in net.fc.named_parameters()] == ["weight"]
    net.scratch = minicnn.ones(3)
    assert net.scratch.shape == (3,)
    assert "scratch" not in net.state_dict()


def test_an_attribute_changes_its_kind():
    net = nn.Module()
    net.x = 1
    net.x = nn.Parameter(minicnn.zeros(1))
    assert "x" in dict(net.named_parameters())
    net.x = nn.Linear(1, 1)
    assert [n for n, _ in net.named_parameters()] == ["x.weight", "x.bias"]
    del net.x
    assert not hasattr(net, "x")
    with pytest.raises(AttributeError, match="no attribute 'x'"):
        net.x  # noqa: B018
    net.b = nn.Buffer(minicnn.zeros(2), persistent=False)
    assert [n for n, _ in net.named_buffers()] == ["b"]
    assert not net.state_dict()
    del net.b
    with pytest.raises(AttributeError):
        del net.b


@pytest.mark.parametrize("register", ["register_parameter", "register_buffer", "add_module"])
def test_names_are_checked(register):
    net = Net()
    for name in ("", "a.b", "forward", "training"):
        with pytest.raises(KeyError):
            getattr(net, register)(name, None)
    with pytest.raises(TypeError, match="string"):
        getattr(net, register)(3, None)
    with pytest.raises(TypeError, match="got int"):
        getattr(net, register)("fresh", 3)


def test_a_parameter_is_a_leaf():
    with pytest.raises(ValueError, match="result of an op"):
        w = nn.Parameter(minicnn.zeros(1))
        w._edge = (w * 2)._edge
        nn.Module().register_parameter("w", w)


def test_lookup_by_path():
    net = nn.Sequential(Net(), nn.ReLU())
    assert net.get_submodule("0.fc") is net[0].fc
    assert net.get_submodule("") is net
    assert net.get_parameter("0.fc.bias") is net[0].fc.bias
    assert net.get_buffer("0.norm.running_mean") is net[0].norm.running_mean
    with pytest.raises(AttributeError, match=r"no module 'fd'.*0\.fd"):
        net.get_submodule("0.fd")
    with pytest.raises(AttributeError, match="no parameter 'running_mean'"):
        net.get_parameter("0.norm.running_mean")
    net.set_submodule("0.fc", nn.Identity())
    assert isinstance(net[0].fc, nn.Identity)
    with pytest.raises(ValueError, match="set_submodule"):
        net.set_submodule("", nn.Identity())


# ---------------------------------------------------------------------- modes and moving


def test_calling_a_module_without_forward_names_it():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty"):
        Empty()(1)


def test_train_eval_and_apply_reach_all_modules():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    with pytest.raises(ValueError, match="mode"):
        net.train("yes")
    seen = []
    assert net.apply(seen.append) is net
    assert seen == [net.conv, net.norm, net.fc, net]


def test_requires_grad_and_zero_grad():
    net = Net()
    net.conv.requires_grad_(False)
    net(images()).sum().backward()
    assert net.conv.weight.grad is None
    assert net.fc.weight.grad is not None
    kept = net.fc.weight.grad
    net.zero_grad(set_to_none=False)
    assert np.shares_memory(net.fc.weight.grad.array, kept.array)
    assert not kept.array.any()
    net.zero_grad()
    assert net.fc.weight.grad is None


def test_casting_keeps_identity_and_integer_buffers():
    net = Net()
    params = list(net.parameters())
    net(images()).sum().backward()
    assert net.double() is net
    assert all(a is b for a, b in zip(params, net.parameters(), strict=True))
    assert {p.dtype for p in params} == {minicnn.float64}
    assert {p.grad.dtype for p in params} == {minicnn.float64}
    assert net.norm.running_mean.dtype == minicnn.float64
    assert net.norm.num_batches_tracked.dtype == minicnn.int64
    assert net.to(minicnn.float32).fc.weight.dtype == minicnn.float32
    assert net.half().fc.weight.dtype == minicnn.float16
    assert net.to("cpu", minicnn.float64).fc.weight.dtype == minicnn.float64
    assert net.to(minicnn.zeros(1)).fc.weight.dtype == minicnn.float32
    assert net.to(device="cpu").cpu().float().fc.bias.dtype == minicnn.float32
    assert net.type(minicnn.float64).norm.num_batches_tracked.dtype == minicnn.float64
    with pytest.raises(TypeError, match="floating"):
        net.to(minicnn.int64)
    with pytest.raises(TypeError, match="expects a device"):
        net.to([1])
    with pytest.raises(TypeError, match="colour"):
        net.to(colour="red")


def test_gradients_follow_a_cast_after_the_first_use():
    fc = nn.Linear(2, 2)
    fc(minicnn.randn(1, 2)).sum().backward()
    fc.double().zero_grad()
    x = minicnn.randn(1, 2).double()
    fc(x).sum().backward()
    assert fc.weight.grad.dtype == minicnn.float64
    np.testing.assert_array_equal(fc.weight.grad.array[0], x.array[0])


def test_moving_to_a_gpu_that_is_not_there():
    if minicnn.cuda.is_available():
        pytest.skip("a GPU is here")
    net = nn.Linear(1, 1)
    with pytest.raises(RuntimeError):
        net.cuda()


# ---------------------------------------------------------------------- hooks


def test_forward_hooks_see_and_replace():
    fc = nn.Linear(2, 2)
    seen = []
    a = fc.register_forward_pre_hook(lambda m, args: seen.append(("pre", m, args)))
    b = fc.register_forward_hook(lambda m, args, out: seen.append(("post", m, args, out)))
    x = minicnn.randn(1, 2)
    y = fc(x)
    assert seen[0] == ("pre", fc, (x,))
    assert seen[1][:3] == ("post", fc, (x,))
    assert seen[1][3] is y
    a.remove(), b.remove(), b.remove()
    seen.clear()
    fc(x)
    assert not seen
    with fc.register_forward_pre_hook(lambda m, args: minicnn.zeros(1, 2)):
        np.testing.assert_array_equal(fc(x).array[0], fc.bias.array)
    with fc.register_forward_hook(lambda m, args, out: out * 0):
        assert not fc(x).array.any()
    assert fc(x).array.any()


def test_hooks_with_keywords_and_order():
    class Scale(nn.Module):
        def forward(self, x, by=1):
            return x * by

    scale, order = Scale(), []
    scale.register_forward_hook(lambda *a: order.append("first"))
    scale.register_forward_hook(lambda *a: order.append("front"), prepend=True)
    scale.register_forward_pre_hook(
        lambda m, args, kwargs: (args, {"by": kwargs["by"] + 1}), with_kwargs=True
    )
    scale.register_forward_hook(lambda m, args, kwargs, out: out + kwargs["by"], with_kwargs=True)
    assert scale(minicnn.tensor([10.0]), by=2).item() == 33
    assert order == ["front", "first"]
    scale.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="pair"):
        scale(minicnn.tensor([10.0]), by=2)


def test_full_backward_hook_sees_both_gradients():
    fc = nn.Linear(3, 2)
    x = minicnn.randn(4, 3, requires_grad=True)
    g = minicnn.randn(4, 2)
    seen = []
    fc.register_full_backward_hook(lambda m, gi, go: seen.append((m, gi, go)))
    fc(x).backward(g)
    (module, grad_input, grad_output) = seen[0]
    assert module is fc
    assert len(grad_input) == len(grad_output) == 1
    np.testing.assert_array_equal(grad_output[0].array, g.array)
    np.testing.assert_allclose(grad_input[0].array, g.array @ fc.weight.array, rtol=1e-5)
    np.testing.assert_array_equal(grad_input[0].array, x.grad.array)
    fc(minicnn.randn(4, 3)).backward(g)  # the input needs no gradient
    assert seen[1][1] == (None,)
    with minicnn.no_grad():
        fc(x)
    assert len(seen) == 2


def test_backward_hooks_replace_gradients():
    fc = nn.Linear(3, 2)
    x = minicnn.randn(1, 3, requires_grad=True)
    fc.register_full_backward_pre_hook(lambda m, go: (go[0] * 2,))
    fc.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10,))
    fc(x).sum().backward()
    np.testing.assert_allclose(x.grad.array[0], 20 * fc.weight.array.sum(0), rtol=1e-5)
    np.testing.assert_allclose(fc.bias.grad.array, [2, 2])
    fc.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    with pytest.raises(RuntimeError, match="returned 2 gradients, expected 1"):
        fc(x).sum().backward()


def test_backward_hooks_of_several_inputs_and_outputs():
    class Two(nn.Module):
        def forward(self, a, n, b):
            return a * b, n, a + b

    two, seen = Two(), []
    two.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    a = minicnn.tensor([2.0], requires_grad=True)
    b = minicnn.tensor([3.0])
    p, n, s = two(a, 7, b)
    assert n == 7
    (p + 5 * s).backward()
    (grad_input, grad_output) = seen[0]
    assert [None if g is None else g.item() for g in grad_input] == [8.0, None, None]
    assert [None if g is None else g.item() for g in grad_output] == [1.0, None, 5.0]
    assert a.grad.item() == 8


def test_backward_hooks_keep_named_tuples():
    """Networks with several heads give their outputs by name, some of them None."""

    class Heads(NamedTuple):
        logits: Any
        aux: Any
        spare: Any = None

    class Net(nn.Module):
        def forward(self, x):
            return Heads(2 * x, 3 * x)

    net, seen = Net(), []
    net.register_full_backward_hook(lambda m, gi, go: seen.append(go))
    result = net(minicnn.tensor([1.0], requires_grad=True))
    assert type(result) is Heads and result.spare is None
    (result.logits + 5 * result.aux).backward()
    assert [None if g is None else g.item() for g in seen[0]] == [1.0, 5.0, None]


def test_backward_hooks_under_create_graph():
    class Cube(nn.Module):
        def forward(self, x):
            return x * x * x

    cube = Cube()
    cube.register_full_backward_hook(lambda m, gi, go: (gi[0] * 2,))
    x = minicnn.tensor([2.0], requires_grad=True)
    (first,) = minicnn.autograd.grad(cube(x), x, create_graph=True)
    assert first.item() == 24
    (second,) = minicnn.autograd.grad(first, x)
    assert second.item() == 24  # what was doubled already is not doubled again


def test_a_gated_input_is_not_taken_for_the_tensor_it_came_from():
    class Times(nn.Module):
        def forward(self, x):
            return x * outside

    outside = minicnn.tensor([3.0], requires_grad=True)
    times = Times()
    times.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10,))
    (first,) = minicnn.autograd.grad(times(outside), outside, create_graph=True)
    assert first.item() == 33  # 10 * 3 through the gate, 3 beside it
    (second,) = minicnn.autograd.grad(first, outside)
    assert second.item() == 11


def test_in_place_behind_a_backward_hook_is_noticed():
    net = nn.Sequential(nn.Tanh(), nn.ReLU(inplace=True))
    net[0].register_full_backward_hook(lambda m, gi, go: None)
    with pytest.raises(RuntimeError, match="in place"):
        net(minicnn.randn(2, requires_grad=True)).sum().backward()


def test_a_change_behind_the_gate_is_noticed_by_what_was_saved_before_it():
    class Doubled(nn.Module):
        def forward(self, x):
            with minicnn.no_grad():
                x.mul_(2)
            return x + 1

    net = nn.Sequential(nn.Tanh(), Doubled())
    net[1].register_full_backward_hook(lambda m, gi, go: None)
    with pytest.raises(RuntimeError, match=r"TanhBackward.*mul_"):
        net(minicnn.randn(2, requires_grad=True)).sum().backward()


# ---------------------------------------------------------------------- copies


def test_deepcopy_and_pickle():
    net = Net()
    net.tied = net.fc.weight
    net(images()).sum().backward()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        for (name, a), (other, b) in zip(
            net.state_dict().items(), twin.state_dict().items(), strict=True
        ):
            assert name == other
            np.testing.assert_array_equal(a.array, b.array)
            assert not np.shares_memory(a.array, b.array)
        assert twin.tied is twin.fc.weight
        assert twin.fc.weight is not net.fc.weight
        assert isinstance(twin.fc.weight, nn.Parameter)
        assert twin.fc.weight.requires_grad
        x = images()
        np.testing.assert_array_equal(net.eval()(x).array, twin.eval()(x).array)


def test_no_reference_cycles_through_hooks():
    import gc
    import weakref

    gc.disable()
    try:
        fc = nn.Linear(2, 2)
        fc.register_full_backward_hook(lambda m, gi, go: None)
        x = minicnn.randn(1, 2, requires_grad=True)
        y = fc(x)
        inside = weakref.ref(y.grad_fn)
        y.sum().backward()
        del y
        assert inside() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------------- text


def test_repr():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 3)
            self.inner = nn.Sequential(nn.ReLU())
            self.gone = None

        def extra_repr(self):
            return "size=2"

    assert repr(Outer()) == (
        "Outer(\n  size=2\n  (fc): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (inner): Sequential(\n    (0): ReLU()\n  )\n)"
    )
    assert repr(nn.Parameter(minicnn.zeros(1))).startswith("Parameter containing:\ntensor([0.]")


def test_parameter():
    x = minicnn.randn(2, 3)
    p = nn.Parameter(x)
    assert np.shares_memory(p.array, x.array)
    assert p.requires_grad
    assert not nn.Parameter(x, requires_grad=False).requires_grad
    assert type(p * 2) is minicnn.Tensor
    assert nn.Parameter().shape == (0,)
    with pytest.raises(TypeError, match="Parameter: data expects"):
        nn.Parameter("weights")
    with pytest.raises(RuntimeError, match="floating"):
        nn.Parameter(minicnn.tensor([1, 2]))

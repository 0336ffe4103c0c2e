"""state_dict and load_state_dict: keys, messages, and that a failed load changes nothing."""

from collections import OrderedDict

import numpy as np
import pytest

import minicnn
from minicnn import nn


def net():
    return nn.Sequential(
        OrderedDict(conv=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2), fc=nn.Linear(8, 3))
    )


def values(module):
    return {name: t.array.copy() for name, t in module.state_dict().items()}


def assert_same(module, before):
    after = values(module)
    assert after.keys() == before.keys()
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_keys_share_memory_and_carry_versions():
    a = net()
    state = a.state_dict()
    assert list(state) == [
        "conv.weight", "conv.bias", "norm.weight", "norm.bias", "norm.running_mean",
        "norm.running_var", "norm.num_batches_tracked", "fc.weight", "fc.bias",
    ]  # fmt: skip
    assert np.shares_memory(state["fc.weight"].array, a.fc.weight.array)
    assert not state["fc.weight"].requires_grad
    assert a.state_dict(keep_vars=True)["fc.weight"] is a.fc.weight
    assert state._metadata["norm"] == {"version": 2}
    assert list(a.fc.state_dict(prefix="head.")) == ["head.weight", "head.bias"]
    assert state["norm.num_batches_tracked"].dtype == minicnn.int64


@pytest.mark.parametrize("form", ["tensors", "arrays", "float64"])
def test_load_copies(form):
    a, b = net(), net()
    state = a.state_dict()
    if form == "arrays":
        state = {name: t.array for name, t in state.items()}
    if form == "float64":
        state = {name: t.double() for name, t in state.items()}
    params = list(b.parameters())
    result = b.load_state_dict(state)
    assert result.missing_keys == [] and result.unexpected_keys == []
    assert str(result) == "<All keys matched successfully>"
    assert_same(b, values(a))
    assert all(p is q for p, q in zip(params, b.parameters(), strict=True))
    assert not np.shares_memory(a.fc.weight.array, b.fc.weight.array)
    assert b.fc.weight.dtype == minicnn.float32
    assert b.norm.num_batches_tracked.dtype == minicnn.int64


def test_load_is_noticed_by_a_graph_that_needs_the_old_values():
    fc = nn.Linear(2, 2)
    x = minicnn.randn(1, 2, requires_grad=True)
    y = fc(x).sum()
    fc.load_state_dict(fc.state_dict())
    with pytest.raises(RuntimeError, match="load_state_dict"):
        y.backward()


def test_missing_unexpected_and_misshaped_keys_are_all_named():
    a = net()
    state = dict(values(a))
    del state["conv.bias"]
    state["extra"] = np.zeros(1)
    state["fc.extra.deep"] = np.zeros(1)
    state["fc.weight"] = np.zeros((3, 9))
    state["fc.bias"] = "three"
    state["conv.weight"] = np.full((2, 1, 3, 3), "x")
    for name in state:
        if isinstance(state[name], np.ndarray) and state[name].dtype.kind == "f":
            state[name] = state[name] + 1
    before = values(a)
    with pytest.raises(RuntimeError) as error:
        a.load_state_dict(state)
    lines = str(error.value).split("\n\t")
    assert lines[0] == "Error(s) in loading state_dict for Sequential:"
    assert lines[1] == 'Missing key(s) in state_dict: "conv.bias". '
    assert lines[2] == 'Unexpected key(s) in state_dict: "extra", "fc.extra.deep". '
    assert any(
        line == "size mismatch for fc.weight: copying a param with shape (3, 9) from checkpoint, "
        "the shape in current model is (3, 8)."
        for line in lines
    )
    assert any('"fc.bias"' in line and "str" in line for line in lines)
    assert any('"conv.weight"' in line and "<U1" in line for line in lines)
    assert_same(a, before)


def test_a_late_error_leaves_the_first_layers_alone():
    a = net()
    state = {name: array + 1 for name, array in values(a).items()}
    state["fc.bias"] = np.zeros(7)  # the last key of all
    before = values(a)
    for strict in (True, False):
        with pytest.raises(RuntimeError, match=r"size mismatch for fc\.bias"):
            a.load_state_dict(state, strict=strict)
        assert_same(a, before)


def test_read_only_memory_is_found_before_anything_is_written():
    a = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    a[1].bias.data = np.broadcast_to(np.float32(1), (2,))
    before = values(a)
    with pytest.raises(RuntimeError, match=r"1\.bias.*read-only"):
        a.load_state_dict({name: array + 1 for name, array in before.items()})
    assert_same(a, before)


def test_not_strict_loads_what_fits_and_says_what_does_not():
    a = net()
    state = {"fc.weight": np.ones((3, 8)), "other": np.zeros(1)}
    result = a.load_state_dict(state, strict=False)
    assert "fc.bias" in result.missing_keys
    assert result.unexpected_keys == ["other"]
    assert (a.fc.weight.array == 1).all()
    missing, unexpected = result
    assert "other" in str(result) and missing and unexpected


def test_no_dict():
    with pytest.raises(TypeError, match="list"):
        net().load_state_dict([1])
    with pytest.raises(TypeError, match="expects names as keys, got 0"):
        net().load_state_dict({0: minicnn.zeros(1)})


def test_num_batches_tracked_may_be_missing_from_old_files():
    a = nn.BatchNorm2d(2)
    a.num_batches_tracked.array[...] = 5
    state = {k: v for k, v in values(a).items() if k != "num_batches_tracked"}
    a.load_state_dict(state)
    assert a.num_batches_tracked.item() == 5
    new = a.state_dict()
    del new["num_batches_tracked"]  # a file of version 2 that lacks it is broken
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        a.load_state_dict(new)


def test_assign_makes_the_given_tensors_the_parameters():
    a = net()
    a.fc.weight.requires_grad_(False)
    state = {name: t.double() for name, t in a.state_dict().items()}
    a.load_state_dict(state, assign=True)
    assert a.fc.weight.dtype == minicnn.float64
    assert np.shares_memory(a.fc.weight.array, state["fc.weight"].array)
    assert isinstance(a.fc.weight, nn.Parameter)
    assert not a.fc.weight.requires_grad and a.fc.bias.requires_grad
    assert a.norm.running_mean.dtype == minicnn.float64


def test_old_keys_can_be_remapped_by_a_hook_or_a_subclass():
    class Renamed(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args):
            if prefix + "w" in state_dict:
                state_dict[prefix + "weight"] = state_dict.pop(prefix + "w")
            super()._load_from_state_dict(state_dict, prefix, *args)

    def rename(module, state_dict, prefix, *args):
        if prefix + "b" in state_dict:
            state_dict[prefix + "bias"] = state_dict.pop(prefix + "b")

    a = nn.Sequential(Renamed(2, 2))
    a[0].register_load_state_dict_pre_hook(rename)
    state = {"0.w": np.ones((2, 2)), "0.b": np.full(2, 3.0)}
    a.load_state_dict(state)
    assert set(state) == {"0.w", "0.b"}
    assert (a[0].weight.array == 1).all() and (a[0].bias.array == 3).all()


def test_single_numbers_load_in_both_shapes():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.s = nn.Parameter(np.zeros((), np.float32))

    scale = Scale()
    scale.load_state_dict({"s": np.array([2.0])})
    assert scale.s.item() == 2 and scale.s.shape == ()
    scale.load_state_dict({"s": np.array(3.0)})
    assert scale.s.item() == 3


def test_tied_parameters_are_saved_under_both_names():
    a = nn.ModuleDict({"in": nn.Linear(2, 2), "out": nn.Linear(2, 2)})
    a["out"].weight = a["in"].weight
    state = a.state_dict()
    assert np.shares_memory(state["in.weight"].array, state["out.weight"].array)
    a.load_state_dict({name: t.array + 1 for name, t in state.items()})
    assert a["in"].weight is a["out"].weight

"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from collections import OrderedDict

import numpy as np
import pytest

import minicnn
from minicnn import nn


def names(module):
    return list(module._modules)


def test_sequential_in_all_its_forms():
    a, b, c = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)
    net = nn.Sequential(a, b, c)
    x = minicnn.randn(4, 2)
    np.testing.assert_array_equal(net(x).array, c(b(a(x))).array)
    assert len(net) == 3
    assert list(net) == [a, b, c]
    assert net[0] is a and net[-1] is c
    assert names(net[1:]) == ["1", "2"]
    assert isinstance(net[:2], nn.Sequential) and list(net[:2]) == [a, b]
    with pytest.raises(IndexError, match="index 3"):
        net[3]
    with pytest.raises(IndexError, match="index -4"):
        net[-4]
    named = nn.Sequential(OrderedDict(first=a, act=b))
    assert names(named) == ["first", "act"]
    assert named.first is a
    assert nn.Sequential()(x) is x


def test_sequential_changes():
    a, b, c, d = (nn.Linear(2, 2) for _ in range(4))
    net = nn.Sequential(a)
    assert net.append(b) is net
    net.extend([c])
    net.insert(1, d)
    assert list(net) == [a, d, b, c] and names(net) == ["0", "1", "2", "3"]
    net.insert(-1, nn.ReLU())
    assert isinstance(net[3], nn.ReLU) and net[4] is c
    del net[1]
    assert list(net)[:2] == [a, b] and names(net) == ["0", "1", "2", "3"]
    del net[1:]
    assert list(net) == [a]
    net[0] = d
    assert net[0] is d and net[-1] is d
    assert net.pop(0) is d and len(net) == 0
    net.add_module("last", a)
    assert net[0] is a
    both = nn.Sequential(a, b) + nn.Sequential(c)
    assert list(both) == [a, b, c]
    both += nn.Sequential(d)
    assert list(both) == [a, b, c, d]
    assert list(nn.Sequential(a) * 2) == [a, a]
    with pytest.raises(TypeError, match="Module"):
        net.append("relu")
    with pytest.raises(TypeError, match="Module"):
        net.insert(0, "relu")
    with pytest.raises(IndexError, match="insert"):
        net.insert(9, a)
    with pytest.raises(TypeError, match="Sequential"):
        net + [a]  # noqa: RUF005
    with pytest.raises(ValueError, match="positive"):
        net * 0


def test_appending_to_a_slice_keeps_what_is_there():
    a, b, c = (nn.Linear(2, 2) for _ in range(3))
    tail = nn.Sequential(a, b, b)[1:]  # names 1 and 2
    tail.append(c)
    assert list(tail) == [b, b, c]


def test_cutting_the_head_off():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(2, 2))
    body = nn.Sequential(*list(net.children())[:-1])
    assert body(minicnn.randn(1, 1, 3, 3)).shape == (1, 2, 1, 1)


def test_module_list():
    a, b, c = (nn.Linear(2, 2) for _ in range(3))
    layers = nn.ModuleList([a])
    layers.append(b).extend([c])
    assert [n for n, _ in layers.named_parameters()][:2] == ["0.weight", "0.bias"]
    assert list(layers) == [a, b, c] and layers[-1] is c
    assert isinstance(layers[1:], nn.ModuleList) and list(layers[1:]) == [b, c]
    layers.insert(0, c)
    layers[1] = b
    del layers[2]
    assert list(layers) == [c, b, c] and names(layers) == ["0", "1", "2"]
    assert layers.pop(-1) is c and len(layers) == 2
    layers += [a]
    assert list(layers + [b]) == [c, b, a, b]  # noqa: RUF005
    del layers[1:]
    assert list(layers) == [c]
    with pytest.raises(TypeError, match="several modules"):
        layers.extend(3)
    with pytest.raises(IndexError):
        layers[5]
    with pytest.raises(NotImplementedError, match="ModuleList"):
        layers(1)


def test_module_dict():
    a, b = nn.Linear(2, 2), nn.ReLU()
    layers = nn.ModuleDict({"z": a, "act": b})
    assert list(layers) == ["z", "act"] and layers["z"] is a
    assert "z" in layers and "y" not in layers and len(layers) == 2
    layers.update([("y", b)])
    layers.update(nn.ModuleDict({"x": a}))
    assert list(layers.keys()) == ["z", "act", "y", "x"]
    assert layers.pop("z") is a
    del layers["x"]
    assert list(layers.items()) == [("act", b), ("y", b)]
    assert list(layers.values()) == [b, b]
    layers.clear()
    assert not len(layers)
    with pytest.raises(TypeError, match="ModuleDict"):
        layers.update(3)
    with pytest.raises(ValueError, match="pairs"):
        layers.update([("a", b, 1)])
    with pytest.raises(TypeError, match="Module"):
        layers["a"] = 1
    with pytest.raises(KeyError):
        layers["nothing"]


def test_parameter_list():
    p = nn.Parameter(minicnn.zeros(2))
    params = nn.ParameterList([p, minicnn.ones(3, 4)])
    assert params[0] is p and isinstance(params[1], nn.Parameter)
    assert [n for n, _ in params.named_parameters()] == ["0", "1"]
    params.append(minicnn.ones(1)).extend([p])
    params += [p]
    assert len(params) == 5 and len(list(params)) == 5
    assert list(params[:1]) == [p] and params[-1] is p
    params[1] = p
    assert params[1] is p
    assert list(params.state_dict()) == ["0", "1", "2", "3", "4"]
    assert "(2): Parameter containing: [float32 of size 1]" in repr(params)
    with pytest.raises(IndexError, match="ParameterList"):
        params[9]
    with pytest.raises(TypeError, match="several values"):
        params.extend(p)
    with pytest.raises(RuntimeError, match="called"):
        params(1)


def test_parameter_dict():
    p = nn.Parameter(minicnn.zeros(2))
    params = nn.ParameterDict({"b": minicnn.ones(1), "a": p})
    assert list(params) == ["a", "b"] and params["a"] is p
    assert [n for n, _ in params.named_parameters()] == ["a", "b"]
    params["c"] = minicnn.ones(3)
    assert "c" in params and len(params) == 3 and params.get("d") is None
    assert params.setdefault("d", p) is p and params.setdefault("c", p).shape == (3,)
    assert params.pop("a") is p and list(params.keys()) == ["b", "c", "d"]
    assert [k for k, _ in params.items()] == ["b", "c", "d"]
    assert params.values()[2] is p
    assert "(d): Parameter containing: [float32 of size 2]" in repr(params)
    del params["b"]
    params.clear()
    assert not list(params.parameters()) and repr(params) == "ParameterDict()"
    with pytest.raises(KeyError):
        params["b"]
    with pytest.raises(KeyError, match="attribute"):
        params["training"] = p
    with pytest.raises(TypeError, match="string"):
        params[1] = p
    with pytest.raises(RuntimeError, match="called"):
        params(1)


def test_module_list_repr_counts_equal_neighbours():
    layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)] + [nn.ReLU()])
    assert repr(layers) == (
        "ModuleList(\n  (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)\n"
        "  (3): ReLU()\n)"
    )
    assert repr(nn.ModuleList()) == "ModuleList()"

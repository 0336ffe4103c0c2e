"""Pooling layers: each calls the function of its name, and takes and prints what PyTorch's does."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.nn import functional as F

SIZE = (6, 5, 4)


def x(dims):
    return minicnn.from_numpy(np.random.default_rng(0).uniform(0.1, 1, (2, 3, *SIZE[:dims])))


LAYERS = [
    ("MaxPool#", (3, 2, 1), {"dilation": 1, "ceil_mode": True}),
    ("MaxPool#", (2,), {"return_indices": True}),
    ("AvgPool#", (3, 2, 1), {"ceil_mode": True, "count_include_pad": False}),
    ("AvgPool#", (2,), {}),
    ("AdaptiveAvgPool#", (3,), {}),
    ("AdaptiveMaxPool#", (2,), {"return_indices": True}),
    ("LPPool#", (2, 3), {"stride": 2, "ceil_mode": True}),
    ("LPPool#", (1.5, 2), {}),
]


def function_of(name):
    names = {"Max": "max", "Avg": "avg", "Adaptive": "adaptive_", "LP": "lp_"}
    for ours, theirs in names.items():
        name = name.replace(ours, theirs, 1)
    return getattr(F, name.replace("Pool", "_pool").replace("__", "_"))


def arrays(outs):
    return [y.array for y in (outs if isinstance(outs, tuple) else (outs,))]


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("name", "arguments", "options"), LAYERS)
def test_layers_call_the_function_of_their_name(name, arguments, options, dims):
    name = name.replace("#", f"{dims}d")
    layer = getattr(nn, name)(*arguments, **options)
    wanted = function_of(name)(x(dims), *arguments, **options)
    for again in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        for a, b in zip(arrays(again(x(dims))), arrays(wanted), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not list(layer.parameters()) and not layer.state_dict()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_unpooling_undoes_where_it_can(dims):
    pool = getattr(nn, f"MaxPool{dims}d")(2, 2, return_indices=True)
    unpool = getattr(nn, f"MaxUnpool{dims}d")(2, stride=2)
    y, indices = pool(x(dims))
    z = unpool(y, indices, output_size=x(dims).size())
    assert z.shape == x(dims).shape
    np.testing.assert_array_equal(pool(z)[0].array, y.array)
    wanted = getattr(F, f"max_unpool{dims}d")(y, indices * 0, 2)
    np.testing.assert_array_equal(unpool(y, indices * 0).array, wanted.array)


def test_average_pooling_by_another_divisor():
    layer = nn.AvgPool3d(2, divisor_override=1)
    np.testing.assert_allclose(layer(x(3)).array, 8 * nn.AvgPool3d(2)(x(3)).array, rtol=1e-12)


def test_stochastic_pooling_draws_in_training_alone():
    layer = nn.StochasticPool2d(3, 2, padding=1, ceil_mode=True)
    y = layer(x(2))
    assert np.isin(y.array, x(2).array).all()
    minicnn.manual_seed(3)
    y = layer(x(2))
    minicnn.manual_seed(3)
    wanted = F.stochastic_pool2d(x(2), 3, 2, 1, True)
    np.testing.assert_array_equal(y.array, wanted.array)
    layer.eval()
    mean = F.stochastic_pool2d(x(2), 3, 2, 1, True, training=False)
    np.testing.assert_array_equal(layer(x(2)).array, mean.array)
    shown = "StochasticPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)"
    assert repr(layer) == shown


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_arguments_and_repr_are_those_of_pytorch(dims):
    theirs = pytest.importorskip("torch").nn
    each = tuple(range(1, dims + 1))
    for name, *calls in (
        ("MaxPool#", ((2,), {}), ((each, 2, each), {"ceil_mode": True})),
        ("AvgPool#", ((2,), {}), ((each,), {"stride": each, "padding": 1})),
        ("AdaptiveAvgPool#", ((2,), {}), ((each,), {})),
        ("AdaptiveMaxPool#", ((2,), {}), ((each,), {"return_indices": True})),
        ("LPPool#", ((2, 3), {}), ((1.5, 2, 1, True), {})),
        ("MaxUnpool#", ((2,), {}), ((each, 3, 1), {})),
    ):
        name = name.replace("#", f"{dims}d")
        mine, other = getattr(nn, name), getattr(theirs, name)
        for arguments, options in calls:
            a, b = mine(*arguments, **options), other(*arguments, **options)
            assert repr(a) == repr(b)
            for key in vars(b).keys() - vars(theirs.Module()).keys():
                assert getattr(a, key) == getattr(b, key), (name, key)
        ours = inspect.signature(mine).parameters.values()
        wanted = inspect.signature(other).parameters.values()
        assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in wanted]

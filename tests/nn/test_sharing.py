"""A user's own initialiser, and one parameter in several places."""

import copy

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.nn import functional as F


def my_init(m):
    if type(m) == nn.Linear:  # noqa: E721  as the book has it: a subclass is not meant
        nn.init.uniform_(m.weight, -10, 10)
        m.weight.data *= m.weight.data.abs() >= 5


def net_of(*layers):
    minicnn.manual_seed(2)
    return nn.Sequential(*layers)


# ---------------------------------------------------------------------- initialisers


def test_apply_visits_every_module_children_first():
    net = net_of(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1))
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "ReLU", "Sequential", "Linear", "Sequential"]


def test_a_users_initialiser():
    net = net_of(nn.Linear(20, 256), nn.ReLU(), nn.Conv2d(1, 1, 3), nn.Linear(256, 10))
    conv = net[2].weight.detach().clone()
    net.apply(my_init)
    for layer in (net[0], net[3]):
        w = layer.weight.array
        assert ((w == 0) | ((np.abs(w) >= 5) & (np.abs(w) <= 10))).all()
        assert 0.4 < (w == 0).mean() < 0.6
        assert layer.weight.requires_grad and layer.weight.is_leaf and layer.weight.grad_fn is None
    np.testing.assert_array_equal(net[2].weight.array, conv.array)


def test_values_set_through_data():
    net = net_of(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    before = net[0].weight.detach().clone()
    net[0].weight.data[:] += 1
    net[0].weight.data[0, 0] = 42
    w = net[0].weight.array
    assert w[0, 0] == 42
    np.testing.assert_array_equal(w[1:], before.array[1:] + 1)
    net[2].bias.data.fill_(3)
    net[2].weight.data.zero_()
    y = net(minicnn.randn(2, 4))
    np.testing.assert_array_equal(y.detach().array, [[3.0], [3.0]])
    y.sum().backward()
    assert net[0].weight.grad is not None


def test_initialisers_by_kind_of_layer():
    def init_normal(m):
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, mean=0, std=0.01)
            nn.init.zeros_(m.bias)
        if type(m) in (nn.Conv2d,):
            nn.init.xavier_uniform_(m.weight)

    net = net_of(nn.Conv2d(3, 20, 5), nn.Flatten(), nn.Linear(500, 400)).apply(init_normal)
    assert abs(net[2].weight.array.std() - 0.01) < 2e-4 and not net[2].bias.array.any()
    bound = np.sqrt(6 / (75 + 500))
    assert 0.99 * bound < np.abs(net[0].weight.array).max() <= bound


def test_the_same_as_pytorch_writes():
    torch = pytest.importorskip("torch")
    for lib in (minicnn, torch):
        net = lib.nn.Sequential(lib.nn.Linear(2, 2), lib.nn.ReLU(), lib.nn.Linear(2, 1))
        net.apply(
            lambda m, lib=lib: (
                lib.nn.init.constant_(m.weight, 1) if type(m) == lib.nn.Linear else None  # noqa: E721
            )
        )
        net[0].weight.data[:] += 1
        with lib.no_grad():
            net[2].weight *= 3
            net[0].bias.copy_(lib.tensor([1.0, 2.0]))
            net[2].bias.zero_()
        y = net(lib.ones(1, 2))
        assert y.item() == 3 * (5 + 6)


# ---------------------------------------------------------------------- one layer, two places


def twice(shared=True):
    """Linear, shared, ReLU, shared (or its copy), ReLU, Linear."""
    minicnn.manual_seed(4)
    layer = nn.Linear(8, 8)
    other = layer if shared else copy.deepcopy(layer)
    return nn.Sequential(
        nn.Linear(4, 8), layer, nn.ReLU(), other, nn.ReLU(), nn.Linear(8, 1)
    ).double()


def test_a_shared_layer_has_one_parameter():
    net = twice()
    assert net[1] is net[3] and net[1].weight is net[3].weight
    names = [name for name, _ in net.named_parameters()]
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias", "5.weight", "5.bias"]
    assert len(list(net.parameters())) == 6
    everywhere = [name for name, _ in net.named_parameters(remove_duplicate=False)]
    assert "3.weight" in everywhere and len(everywhere) == 8
    assert {"1.weight", "3.weight", "1.bias", "3.bias"} <= net.state_dict().keys()
    assert [name for name, _ in net.named_modules()] == ["", "0", "1", "2", "4", "5"]
    net[1].weight.data[0, 0] = 100
    assert net[3].weight.array[0, 0] == 100


def test_the_gradient_is_the_sum():
    shared, separate = twice(), twice(shared=False)
    x = minicnn.randn(5, 4, dtype=minicnn.float64)
    for net in (shared, separate):
        net(x).square().sum().backward()
    for name in ("weight", "bias"):
        mine = getattr(shared[1], name).grad
        sum_of_both = getattr(separate[1], name).grad + getattr(separate[3], name).grad
        assert getattr(separate[1], name).grad.abs().max() > 0
        assert getattr(separate[3], name).grad.abs().max() > 0
        np.testing.assert_allclose(mine.array, sum_of_both.array, rtol=1e-12)
    np.testing.assert_allclose(shared[0].weight.grad.array, separate[0].weight.grad.array)


def test_a_shared_convolution_too():
    minicnn.manual_seed(1)
    conv = nn.Conv2d(2, 2, 3, padding=1).double()
    copies = [copy.deepcopy(conv) for _ in range(3)]
    x = minicnn.randn(2, 2, 5, 4, dtype=minicnn.float64)
    F.relu(conv(F.relu(conv(conv(x))))).sum().backward()
    F.relu(copies[2](F.relu(copies[1](copies[0](x))))).sum().backward()
    expected = sum(c.weight.grad.array for c in copies)
    np.testing.assert_allclose(conv.weight.grad.array, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: minicnn.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: minicnn.optim.Adam(p, lr=0.1),
    ],
)
def test_the_optimizer_steps_it_once(make):
    net = twice()
    optimizer = make(net.parameters())
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 6
    plain = [p.detach().clone().requires_grad_() for p in net.parameters()]
    reference = make(plain)
    x = minicnn.randn(5, 4, dtype=minicnn.float64)
    for _ in range(3):
        optimizer.zero_grad()
        net(x).square().sum().backward()
        for p, q in zip(net.parameters(), plain, strict=True):
            q.grad = p.grad.clone()
        optimizer.step()
        reference.step()
    for p, q in zip(net.parameters(), plain, strict=True):
        np.testing.assert_array_equal(p.array, q.array)
    assert net[1].weight is net[3].weight


def test_sharing_survives_copies_and_loading(tmp_path):
    net = twice()
    again = copy.deepcopy(net)
    assert again[1] is again[3] and again[1] is not net[1]
    assert len(list(again.parameters())) == 6
    for p in net.parameters():
        p.data += 1
    again.load_state_dict(net.state_dict())
    assert again[1].weight is again[3].weight
    minicnn.save(net.state_dict(), tmp_path / "net.pt")
    fresh = twice()
    fresh.load_state_dict(minicnn.load(tmp_path / "net.pt"))
    assert fresh[1].weight is fresh[3].weight
    x = minicnn.randn(3, 4, dtype=minicnn.float64)
    for other in (again, fresh):
        np.testing.assert_array_equal(other(x).detach().array, net(x).detach().array)
    assert again.float()[1].weight is again[3].weight
    assert again[1].weight.dtype == minicnn.float32


# ---------------------------------------------------------------------- tied by assignment


class Tied(nn.Module):
    """An embedding whose matrix is the output layer's weight as well."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(6, 3)
        self.out = nn.Linear(3, 6, bias=False)
        self.out.weight = self.table.weight

    def forward(self, k):
        return self.out(self.table(k))


def test_weights_tied_by_assignment():
    minicnn.manual_seed(0)
    net = Tied().double()
    assert net.out.weight is net.table.weight
    assert [name for name, _ in net.named_parameters()] == ["table.weight"]
    assert list(net.state_dict()) == ["table.weight", "out.weight"]
    k = minicnn.tensor([1, 4, 1])
    c = minicnn.randn(3, 6, dtype=minicnn.float64)
    (net(k) * c).sum().backward()
    w, g = net.table.weight.detach().array, c.array
    y = w[k.array]
    expected = g.T @ y  # as the output layer's weight
    np.add.at(expected, k.array, g @ w)  # and as the table
    np.testing.assert_allclose(net.table.weight.grad.array, expected, rtol=1e-12)
    twin = copy.deepcopy(net)
    assert twin.out.weight is twin.table.weight


def test_tied_layers_of_one_kind():
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.weight = a.weight
    net = nn.Sequential(a, b)
    assert len(list(net.parameters())) == 3
    x = minicnn.randn(2, 3)
    net(x).sum().backward()
    optimizer = minicnn.optim.SGD(net.parameters(), lr=0.5)
    before, grad = a.weight.array.copy(), a.weight.grad.array
    optimizer.step()
    np.testing.assert_allclose(a.weight.array, before - 0.5 * grad, rtol=1e-6)
    assert b.weight.array is a.weight.array
    with pytest.raises(TypeError):
        b.weight = minicnn.zeros(3, 3)  # a tensor is no parameter

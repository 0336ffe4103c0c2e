"""Layers on devices: moved there, made there, loaded there, initialised as on the CPU."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minicnn
from minicnn import backend, nn
from minicnn.nn import functional as F
from minicnn.nn import init


def network(**options):
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, **options),
        nn.BatchNorm2d(2, **options),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 2, **options),
    )


def members(module):
    return [*module.parameters(), *module.buffers()]


def close(x, y, rtol=1e-5, atol=1e-6):
    x, y = [t.detach().cpu().numpy() for t in (x, y)]
    np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


@pytest.fixture
def x():
    minicnn.manual_seed(0)
    return minicnn.randn(3, 1, 4, 4)


def test_a_network_moves_as_it_is(gpu, x):
    net = network()
    net(x).square().sum().backward()
    before, grads = list(net.parameters()), [p.grad for p in net.parameters()]
    assert net.to(gpu, non_blocking=True) is net
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    assert all(t.device.type == gpu for t in members(net))
    for p, grad in zip(before, grads, strict=True):
        assert p.grad.device.type == gpu
        close(p.grad, grad)
    net.cpu()
    assert all(t.device.type == "cpu" for t in [*members(net), *(p.grad for p in before)])


def test_training_mode_gives_the_same_on_each_device(gpu, x):
    here = network()
    there = copy.deepcopy(here).to(gpu)
    for net, batch in ((here, x), (there, x.to(gpu))):
        for _ in range(2):
            net.zero_grad(set_to_none=False)
            F.cross_entropy(net(batch), minicnn.tensor([0, 1, 1], device=batch.device)).backward()
    for name, p in here.named_parameters():
        close(there.get_parameter(name).grad, p.grad)
    for name, buffer in here.named_buffers():
        close(there.get_buffer(name), buffer)
    assert there[1].num_batches_tracked.item() == 2
    here.eval()
    there.eval()
    close(here(x), there(x.to(gpu)))


def test_to_takes_type_and_device_together(gpu):
    net = network().to(gpu, minicnn.float64, True)
    assert {t.dtype for t in net.parameters()} == {minicnn.float64}
    assert net[1].num_batches_tracked.dtype == minicnn.int64
    assert all(t.device.type == gpu for t in members(net))
    assert network().to(minicnn.zeros(1, device=gpu))[0].weight.device.type == gpu


def test_a_device_that_cannot_be_used_changes_nothing():
    if minicnn.cuda.is_available():
        pytest.skip("there is a GPU")
    net = network()
    arrays = [t.array for t in members(net)]
    with pytest.raises(RuntimeError, match="no GPU can be used"):
        net.cuda()
    assert all(t.array is a for t, a in zip(members(net), arrays, strict=True))


LAYERS = [
    (nn.Conv1d, (2, 3, 3)),
    (nn.Conv2d, (2, 3, 3)),
    (nn.Conv3d, (2, 3, 3)),
    (nn.ConvTranspose2d, (2, 3, 3)),
    (nn.Linear, (2, 3)),
    (nn.BatchNorm2d, (3,)),
    (nn.InstanceNorm2d, (3, 1e-5, 0.1, True, True)),
    (nn.GroupNorm, (2, 4)),
    (nn.LayerNorm, (4,)),
    (nn.RMSNorm, (4,)),
    (nn.Embedding, (3, 4, 0)),
    (nn.PReLU, ()),
]


@pytest.mark.parametrize("kind, sizes", LAYERS, ids=[kind.__name__ for kind, _ in LAYERS])
def test_layers_are_made_on_a_device(gpu, kind, sizes):
    minicnn.manual_seed(1)
    here = kind(*sizes)
    minicnn.manual_seed(1)
    there = kind(*sizes, device=gpu)
    assert members(there)
    for a, b in zip(members(here), members(there), strict=True):
        assert b.device.type == gpu
        assert a.tolist() == b.tolist()


FILLS = [
    (init.uniform_, ()),
    (init.normal_, ()),
    (init.trunc_normal_, (0, 1, -0.3, 0.1)),
    (init.constant_, (2,)),
    (init.zeros_, ()),
    (init.ones_, ()),
    (init.eye_, ()),
    (init.xavier_uniform_, ()),
    (init.xavier_normal_, ()),
    (init.kaiming_uniform_, ()),
    (init.kaiming_normal_, ()),
    (init.orthogonal_, ()),
    (init.sparse_, (0.5,)),
]


@pytest.mark.parametrize("fill, options", FILLS, ids=[fill.__name__ for fill, _ in FILLS])
def test_the_seed_gives_the_same_weights_on_each_device(gpu, fill, options):
    weights = [minicnn.full((3, 4), 9.0, device=device) for device in ("cpu", gpu)]
    for w in weights:
        minicnn.manual_seed(5)
        assert fill(w, *options) is w
    assert weights[1].device.type == gpu
    assert weights[0].tolist() == weights[1].tolist()


def test_lazy_layers_appear_where_they_were_sent(gpu, x):
    def layers(**options):
        return nn.Sequential(
            nn.LazyConv2d(2, 3, **options),
            nn.LazyBatchNorm2d(**options),
            nn.Flatten(),
            nn.LazyLinear(2, **options),
        )

    for net in (layers().to(gpu), layers(device=gpu)):
        net(x.to(gpu)).sum().backward()
        assert all(t.device.type == gpu for t in members(net))
    lazy = nn.LazyLinear(2, device=gpu)
    lazy.load_state_dict({"weight": minicnn.ones(2, 3), "bias": minicnn.zeros(2)})
    assert lazy.weight.device.type == gpu
    assert lazy.weight.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_state_dicts_go_between_devices(gpu):
    minicnn.manual_seed(2)
    here, there = network(), network().to(gpu)
    state = there.state_dict()
    assert state["0.weight"].device.type == gpu
    here.load_state_dict(state)
    assert here[0].weight.device.type == "cpu"
    close(here[0].weight, there[0].weight, 0, 0)
    init.zeros_(there[0].weight)
    there.load_state_dict(here.state_dict())
    assert there[0].weight.device.type == gpu
    close(here[0].weight, there[0].weight, 0, 0)
    there.load_state_dict(here.state_dict(), assign=True)
    assert there[0].weight.device.type == "cpu"


def test_copies_stay_and_pickles_come_home(gpu):
    there = network().to(gpu)
    twin = copy.deepcopy(there)
    assert twin[0].weight.device.type == gpu
    init.zeros_(twin[0].weight)
    assert there[0].weight.abs().sum().item() > 0
    home = pickle.loads(pickle.dumps(there))
    assert home[0].weight.device.type == "cpu"
    close(home[0].weight, there[0].weight, 0, 0)


def test_lists_of_parameters_and_vectors(gpu):
    values = nn.ParameterList([minicnn.ones(2), minicnn.zeros(3)]).to(gpu)
    named = nn.ParameterDict({"a": minicnn.ones(2)}).to(gpu)
    assert all(p.device.type == gpu for p in [*values, *named.values()])
    vector = nn.utils.parameters_to_vector(values)
    assert vector.device.type == gpu
    nn.utils.vector_to_parameters(vector + 1, values)
    assert values[0].tolist() == [2, 2]
    nn.utils.vector_to_parameters(minicnn.arange(5.0), values)
    assert values[1].device.type == gpu
    assert values[1].tolist() == [2, 3, 4]


def test_hooks_see_what_is_on_the_device(gpu):
    layer, seen = nn.Linear(3, 2).to(gpu), []
    layer.register_forward_hook(lambda m, i, o: seen.append(o.device.type))
    layer.register_full_backward_hook(lambda m, gi, go: seen.append(go[0].device.type))
    layer.weight.register_hook(lambda g: g * 2)
    layer(minicnn.ones(1, 3, device=gpu, requires_grad=True)).sum().backward()
    assert seen == [gpu, gpu]
    assert layer.weight.grad.tolist() == [[2, 2, 2], [2, 2, 2]]


# Clipping


def with_gradients(device, dtype=minicnn.float32):
    rng = np.random.default_rng(0)
    params = [nn.Parameter(minicnn.zeros(s, device=device)) for s in ((3, 4), (70, 61), (), (0, 2))]
    for p in params:
        p.grad = minicnn.tensor(rng.normal(size=p.shape), dtype=dtype, device=device)
    return params


@pytest.mark.parametrize("norm", [1, 2, 3, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 1e5])
def test_clipping_by_norm(gpu, norm, max_norm):
    here, there = with_gradients("cpu"), with_gradients(gpu)
    versions = [p.grad._version[0] for p in there]
    total = nn.utils.clip_grad_norm_(iter(there), max_norm, norm)
    assert total.device.type == gpu
    assert total.shape == ()
    close(total, nn.utils.clip_grad_norm_(here, max_norm, norm))
    for p, q in zip(here, there, strict=True):
        close(p.grad, q.grad)
    assert all(p.grad._version[0] > v for p, v in zip(there, versions, strict=True))
    again = nn.utils.get_total_norm([p.grad for p in there], norm)
    close(again, nn.utils.get_total_norm([p.grad for p in here], norm))


def test_norms_of_gradients_in_several_places(gpu):
    here, there = with_gradients("cpu"), with_gradients("cpu")
    there[1].grad = there[1].grad.to(gpu)
    there[2].grad = there[2].grad.to(minicnn.float64)
    close(nn.utils.clip_grad_norm_(there, 1.0), nn.utils.clip_grad_norm_(here, 1.0))
    assert there[1].grad.device.type == gpu
    for p, q in zip(here, there, strict=True):
        close(p.grad, q.grad)


def test_a_norm_that_is_not_finite(gpu):
    params = with_gradients(gpu)
    params[0].grad.array[0, 0] = np.nan
    before = params[1].grad.tolist()
    with pytest.raises(RuntimeError, match=r"norm of order 2\.0 of the gradients is nan"):
        nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert params[1].grad.tolist() == before
    assert np.isnan(nn.utils.clip_grad_norm_(params, 1.0).item())
    assert np.isnan(params[1].grad.cpu().numpy()).all()


def test_clipping_by_value(gpu):
    params = with_gradients(gpu)
    nn.utils.clip_grad_value_(params, 0.25)
    assert max(p.grad.abs().max().item() for p in params if p.numel()) == 0.25


def test_a_second_device_keeps_its_own():
    if (reason := backend.why_not("emulator")) is not None:
        pytest.skip(reason)
    second = minicnn.device("emulator", 1)
    net = nn.Sequential(nn.LazyConv2d(2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    net.to(second)
    net(minicnn.ones(2, 1, 4, 4, device=second)).sum().backward()
    assert nn.utils.clip_grad_norm_(net.parameters(), 0.1).device == second
    assert nn.utils.clip_grad_norm_(net.parameters(), 0.1, 1).device == second
    net.zero_grad(set_to_none=False)
    net.load_state_dict(net.state_dict())
    assert all(t.device == second for t in [*members(net), *(p.grad for p in net.parameters())])


def test_a_gradient_that_comes_twice_is_scaled_twice(gpu):
    norms = []
    for params in (with_gradients("cpu")[:1], with_gradients(gpu)[:1]):
        norms.append(nn.utils.clip_grad_norm_(params * 2, 0.5).item())
        norms.append(params[0].grad.norm().item())
    np.testing.assert_allclose(norms[2:], norms[:2], rtol=1e-5)

"""Optimizers on devices: the CPU's trajectory, in one launch where there is a kernel for it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minicnn
from minicnn import backend, nn, optim
from minicnn.backend.cuda.optim import MultiTensor

SHAPES = [(3, 4), (), (0, 2), (5000,), (2, 3, 1, 1)]
EVERY = {
    "SGD": {},
    "Adam": {},
    "AdamW": {},
    "Adagrad": {},
    "Adadelta": {"lr": 1.0},
    "Adamax": {},
    "NAdam": {},
    "RAdam": {},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "Rprop": {},
}


def pair(gpu, shapes=SHAPES, dtypes=(np.float32,)):
    """Equal parameters on the CPU and on the device."""
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=s).astype(dtypes[i % len(dtypes)]) for i, s in enumerate(shapes)]
    here = [nn.Parameter(a.copy()) for a in arrays]
    return here, [nn.Parameter(minicnn.tensor(a, device=gpu)) for a in arrays]


def give_gradients(here, there, seed, without=()):
    rng = np.random.default_rng(seed)
    for i, (p, q) in enumerate(zip(here, there, strict=True)):
        g = rng.normal(size=p.shape).astype(p.dtype)
        p.grad = None if i in without else minicnn.tensor(g)
        q.grad = None if i in without else minicnn.tensor(g, device=q.device)


def assert_equal(here, there, rtol=2e-6, atol=2e-6):
    for p, q in zip(here, there, strict=True):
        assert p.dtype == q.dtype
        found = q.detach().cpu().numpy()
        np.testing.assert_allclose(found, p.detach().numpy(), rtol=rtol, atol=atol)


def follow(kind, gpu, options, steps=4, dtypes=(np.float32,), **tolerance):
    here, there = pair(gpu, dtypes=dtypes)
    a, b = getattr(optim, kind)(here, **options), getattr(optim, kind)(there, **options)
    for i in range(steps):
        give_gradients(here, there, i, without=(1,) if i == 1 else ())
        a.step()
        b.step()
        assert_equal(here, there, **tolerance)
    return a, b


@pytest.fixture
def launches(monkeypatch):
    """Counts what is done with tables of addresses, by name."""
    counts = {"__init__": 0, "sgd": 0, "adam": 0}

    def counted(name):
        plain = getattr(MultiTensor, name)

        def method(*args, **kwargs):
            counts[name] += 1
            return plain(*args, **kwargs)

        monkeypatch.setattr(MultiTensor, name, method)

    for name in counts:
        counted(name)
    return counts


@pytest.mark.parametrize("kind", EVERY)
def test_every_optimizer_goes_the_same_way(gpu, kind):
    options = {"lr": 0.05, **EVERY[kind]}
    a, b = follow(kind, gpu, options, rtol=1e-5, atol=1e-5)
    for p in b.param_groups[0]["params"]:
        for name, value in b.state[p].items():
            if value is not None:
                on_cpu = name in ("step", "mu_product")
                assert value.device.type == ("cpu" if on_cpu else gpu), name
    # From one device to the other, and on from there.
    b.load_state_dict(a.state_dict())
    a.load_state_dict(b.state_dict())
    here, there = a.param_groups[0]["params"], b.param_groups[0]["params"]
    give_gradients(here, there, 9)
    a.step()
    b.step()
    assert_equal(here, there, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind, options", [
    ("LBFGS", {"lr": 0.5, "line_search_fn": "strong_wolfe"}),
    ("LBFGS", {"lr": 0.5, "history_size": 2}),
    ("Muon", {"lr": 0.1}),
])  # fmt: skip
def test_optimizers_of_vectors_and_matrices(gpu, kind, options):
    here, there = pair(gpu, [(3, 4), (4, 2)])
    made = [getattr(optim, kind)(params, **options) for params in (here, there)]

    def closure(params, optimizer):
        optimizer.zero_grad()
        loss = ((params[0] @ params[1] - 1) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(3):
        for params, optimizer in zip((here, there), made, strict=True):
            optimizer.step(lambda p=params, o=optimizer: closure(p, o))
        assert_equal(here, there, rtol=1e-3, atol=1e-3)
    made[1].load_state_dict(made[0].state_dict())
    made[1].step(lambda: closure(there, made[1]))
    state = made[1].state[there[0]]
    vector = state["d" if kind == "LBFGS" else "momentum_buffer"]
    assert vector.device.type == gpu


SGDS = [
    {"lr": 0.1},
    {"lr": 0.1, "weight_decay": 0.3, "maximize": True},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True},
]
ADAMS = [
    {"lr": 0.05},
    {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True},
    {"lr": 0.05, "betas": (0.5, 0.8), "eps": 1e-3, "maximize": True},
]
FUSED = [("SGD", o) for o in SGDS] + [(kind, o) for kind in ("Adam", "AdamW") for o in ADAMS]


@pytest.mark.parametrize("kind, options", FUSED)
def test_fused_steps_in_float64(gpu, launches, kind, options):
    follow(kind, gpu, options, dtypes=(np.float64,), rtol=1e-12, atol=1e-13)
    assert launches["sgd"] + launches["adam"] > 0


@pytest.mark.parametrize("kind, options", FUSED)
def test_fused_steps_in_several_types(gpu, launches, kind, options):
    dtypes = (np.float32, np.float64, np.float16)
    follow(kind, gpu, options, dtypes=dtypes, rtol=1e-2, atol=1e-2)
    assert launches["sgd"] + launches["adam"] > 0


@pytest.mark.parametrize("options", [{"fused": False}, {"foreach": False}])
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_one_by_one_if_asked(gpu, launches, kind, options):
    follow(kind, gpu, {"lr": 0.1, **options})
    assert launches["__init__"] == 0


def test_tables_are_made_once(gpu, launches):
    here, there = pair(gpu)
    a, b = [optim.Adam(params, lr=0.1) for params in (here, there)]
    schedules = [optim.lr_scheduler.ExponentialLR(o, 0.5) for o in (a, b)]
    for i in range(4):
        give_gradients(here, there, i)
        for part in (a, b, *schedules):
            part.step()
    assert launches == {"__init__": 1, "sgd": 0, "adam": 4}
    there[0].data = there[0].data * 2
    here[0].data = here[0].data * 2
    a.step()
    b.step()
    assert launches["__init__"] == 2
    b.load_state_dict(b.state_dict())
    a.step()
    b.step()
    assert launches["__init__"] == 3
    assert_equal(here, there)


def test_a_step_uploads_two_small_tables(gpu, monkeypatch):
    """The addresses of the gradients, and the settings: the learning rate may be a new one."""
    here, there = pair(gpu, [(3, 4), (5,)])
    optimizer, sizes = optim.SGD(there, lr=0.1, momentum=0.9), []
    give_gradients(here, there, 0)
    optimizer.step()
    device = optimizer._tables.of(
        there, momenta=[optimizer.state[p]["momentum_buffer"] for p in there]
    )._device
    for name in ("asarray", "pointers"):
        plain = getattr(type(device), name)
        count = len if name == "pointers" else np.size
        monkeypatch.setattr(
            device,
            name,
            lambda x, plain=plain, count=count: sizes.append(count(x)) or plain(device, x),
            raising=False,
        )
    optimizer.param_groups[0]["lr"] = 0.2
    optimizer.step()
    assert sorted(sizes)[-2:] == [2, 4]


def test_groups_and_their_settings(gpu, launches):
    here, there = pair(gpu)
    made = [
        optim.SGD([{"params": p[:2], "lr": 0.1}, {"params": p[2:], "momentum": 0.9}], lr=0.01)
        for p in (here, there)
    ]
    for i in range(3):
        give_gradients(here, there, i)
        for optimizer in made:
            optimizer.step()
    assert_equal(here, there)
    assert launches["sgd"] == 6


def test_parameters_that_no_kernel_takes(gpu, launches):
    """Transposed ones, one that comes twice, and two over the same memory."""
    results = []
    for device in ("cpu", gpu):
        base = minicnn.arange(24.0, device=device)
        twice = nn.Parameter(minicnn.ones(3, device=device))
        params = [
            nn.Parameter(minicnn.arange(6.0, device=device).reshape(2, 3).T),
            twice,
            twice,
            nn.Parameter(minicnn.ones(2, device=device)),
        ]
        shared = [nn.Parameter(base[:16]), nn.Parameter(base[8:])]
        with pytest.warns(UserWarning, match="duplicate parameters"):
            made = [optim.SGD(params, lr=0.1, momentum=0.9), optim.SGD(shared, lr=0.1)]
        for _ in range(2):
            for p in (*params, *shared):
                p.grad = minicnn.ones_like(p).detach() * 2
            for optimizer in made:
                optimizer.step()
        results.append([*params, *shared])
    assert_equal(*results)
    assert launches["sgd"] == 2  # the one that stands alone, and nothing else


def test_gradients_in_another_order_of_memory(gpu, launches):
    here, there = pair(gpu, [(3, 4)])
    give_gradients(here, there, 0)
    there[0].grad = minicnn.tensor(here[0].grad.numpy().T.copy(), device=gpu).T
    for params in (here, there):
        optim.Adam(params, lr=0.1).step()
    assert_equal(here, there)
    assert launches["adam"] == 1


def test_what_lies_on_different_devices_is_named(gpu):
    here, there = pair(gpu, [(2,)])
    optimizer = optim.SGD(there, lr=0.1, momentum=0.9)
    there[0].grad = minicnn.ones(2)
    with pytest.raises(RuntimeError, match=rf"SGD.step: .* on {gpu}:0, its gradient on cpu"):
        optimizer.step()
    assert_equal(here, there)
    for kind in ("SGD", "Adagrad"):
        model = nn.Linear(2, 1)
        optimizer = getattr(optim, kind)(model.parameters(), lr=0.1)
        model(minicnn.ones(1, 2)).sum().backward()
        optimizer.param_groups[0]["momentum"] = 0.9
        optimizer.step()
        model.to(gpu)
        with pytest.raises(RuntimeError, match=r"move a model before its optimizer's first step"):
            optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.step()


def test_lbfgs_names_what_lies_on_different_devices(gpu):
    model = nn.Linear(2, 1)
    optimizer = optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)

    def loss():
        optimizer.zero_grad()
        y = model(minicnn.ones(1, 2, device=model.weight.device)).square().sum()
        y.backward()
        return y

    optimizer.step(loss)
    model.to(gpu)
    count = optimizer.state_dict()["state"][0]["n_iter"]
    with pytest.raises(RuntimeError, match=rf"LBFGS.step: .* on {gpu}:0, its d on cpu; move a mod"):
        optimizer.step(loss)
    assert optimizer.state_dict()["state"][0]["n_iter"] == count
    model.bias.data = model.bias.data.cpu()
    with pytest.raises(RuntimeError, match=r"LBFGS.step: expects all tensors on one device"):
        optimizer.step(loss)


def test_copies_of_an_optimizer(gpu):
    here, there = pair(gpu, [(2,)])
    give_gradients(here, there, 0)
    optimizer = optim.Adam(there, lr=0.1)
    optimizer.step()
    twin = copy.deepcopy(optimizer)
    optimizer.step()
    assert twin.param_groups[0]["params"][0].tolist() != there[0].tolist()
    twin.step()
    assert twin.param_groups[0]["params"][0].tolist() == there[0].tolist()
    assert pickle.loads(pickle.dumps(optimizer)).param_groups[0]["lr"] == 0.1


def test_gradients_are_cleared_where_they_are(gpu):
    here, there = pair(gpu, [(2,)])
    give_gradients(here, there, 0)
    grad = there[0].grad
    optim.SGD(there).zero_grad(set_to_none=False)
    assert there[0].grad is grad
    assert grad.tolist() == [0, 0]


@pytest.mark.parametrize("kind", EVERY)
def test_the_second_device(kind):
    if (reason := backend.why_not("emulator")) is not None:
        pytest.skip(reason)
    second = minicnn.device("emulator", 1)
    here, there = pair(second)
    made = [getattr(optim, kind)(params, lr=0.1) for params in (here, there)]
    for i in range(2):
        give_gradients(here, there, i)
        for optimizer in made:
            optimizer.step()
    assert_equal(here, there, rtol=1e-5, atol=1e-5)
    made[1].load_state_dict(made[0].state_dict())
    made[1].step()


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_two_ways_at_once_are_refused(kind):
    with pytest.raises(RuntimeError, match="fused=True and foreach=True exclude each other"):
        getattr(optim, kind)([nn.Parameter(minicnn.ones(2))], foreach=True, fused=True)

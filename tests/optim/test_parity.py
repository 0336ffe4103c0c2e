"""Optimizers and schedules against PyTorch: trajectories, state_dicts, texts."""

import inspect
import itertools
import warnings

import numpy as np
import pytest

import minicnn
from minicnn import nn, optim
from minicnn.optim import lr_scheduler

pytestmark = pytest.mark.slow  # a sweep: each is quick, all of them are not

torch = pytest.importorskip("torch")
schedules = torch.optim.lr_scheduler


def options(**choices):
    keys = list(choices)
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*choices.values())]


CASES = [
    ("SGD", o)
    for o in options(
        momentum=[0, 0.9],
        dampening=[0, 0.3],
        weight_decay=[0, 0.05],
        nesterov=[False, True],
        maximize=[False, True],
    )
    if not o["nesterov"] or (o["momentum"] and not o["dampening"])
]
CASES += [
    (name, o)
    for name in ("Adam", "AdamW")
    for o in options(
        betas=[(0.9, 0.999), (0.4, 0.8)],
        weight_decay=[0, 0.05],
        amsgrad=[False, True],
        maximize=[False, True],
    )
]
CASES += [("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.1, "eps": 1e-3})]
ADAPTIVE = [
    *[("Adamax", o) for o in options(betas=[(0.9, 0.999), (0.4, 0.8)])],
    *[
        (name, o)
        for name in ("NAdam", "RAdam")
        for o in options(betas=[(0.9, 0.999), (0.4, 0.8)], decoupled_weight_decay=[False, True])
    ],
    ("NAdam", {"momentum_decay": 0.3, "eps": 1e-3}),
    *[
        ("RMSprop", o)
        for o in options(alpha=[0.99, 0.4], momentum=[0, 0.9], centered=[False, True])
    ],
    *[("Adagrad", o) for o in options(lr_decay=[0, 0.1], initial_accumulator_value=[0, 0.5])],
    *[("Adadelta", o) for o in options(rho=[0.9, 0.5], eps=[1e-6, 1e-2])],
]
CASES += [
    (name, {**o, **shared})
    for name, o in ADAPTIVE
    for shared in options(weight_decay=[0, 0.05], maximize=[False, True])
]
CASES += [
    ("Rprop", o)
    for o in options(
        etas=[(0.5, 1.2), (0.3, 1.7)], step_sizes=[(1e-6, 50), (5e-3, 0.05)], maximize=[False, True]
    )
]
EVERY = ["SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "Adagrad"]
EVERY += ["Adadelta"]


def pair(dtype):
    """The same parameters twice: ours and theirs."""
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=s).astype(dtype) for s in ((4, 3), (3,), ())]
    ours = [nn.Parameter(np.array(a)) for a in arrays]
    return ours, [torch.nn.Parameter(torch.tensor(a)) for a in arrays]


def gradients(ours, theirs, rng):
    """Gradients that depend on where the parameters are, so that an error would grow."""
    for p, q in zip(ours, theirs, strict=True):
        noise = rng.normal(size=p.shape)
        p.grad = minicnn.Tensor(np.asarray(np.sin(3 * p.array) + noise, p.dtype))
        q.grad = torch.tensor(np.sin(3 * q.detach().numpy()) + noise, dtype=q.dtype)


def equal(ours, theirs, tolerance):
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.array, q.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("name, settings", CASES)
def test_trajectory(name, settings, dtype, tolerance):
    ours, theirs = pair(dtype)
    groups = [
        [{"params": ps[:2]}, {"params": ps[2:], "lr": 0.03, "weight_decay": 0.2}]
        for ps in (ours, theirs)
    ]
    a = getattr(optim, name)(groups[0], lr=0.01, **settings)
    b = getattr(torch.optim, name)(groups[1], lr=0.01, **settings)
    rng = np.random.default_rng(2)
    for _ in range(20):
        gradients(ours, theirs, rng)
        a.step(), b.step()
        equal(ours, theirs, tolerance)
    mine, other = a.state_dict(), b.state_dict()
    assert mine["param_groups"] == other["param_groups"]
    assert mine["state"].keys() == other["state"].keys()
    for i, values in other["state"].items():
        for key, value in values.items():
            if value is None:  # PyTorch's SGD notes a momentum that it does not use
                continue
            assert mine["state"][i][key].dtype == np.dtype(str(value.dtype)[6:])
            np.testing.assert_allclose(
                mine["state"][i][key].array, value.numpy(), rtol=tolerance, atol=tolerance
            )


@pytest.mark.parametrize(
    "name, settings",
    [
        ("SGD", {"momentum": 0.9}),
        ("Adam", {"amsgrad": True}),
        ("RMSprop", {"momentum": 0.9, "centered": True}),
        *[(name, {}) for name in EVERY[2:]],
    ],
)
def test_state_dicts_travel_both_ways(name, settings):
    ours, theirs = pair("float64")
    a = getattr(optim, name)(ours, lr=0.01, **settings)
    b = getattr(torch.optim, name)(theirs, lr=0.01, **settings)
    rng = np.random.default_rng(2)
    for _ in range(3):
        gradients(ours, theirs, rng)
        b.step()
    for p, q in zip(ours, theirs, strict=True):
        p.array[...] = q.detach().numpy()
    a.load_state_dict(b.state_dict())
    b.load_state_dict(b.state_dict())  # which casts NAdam's mu_product, there as here
    for _ in range(3):
        gradients(ours, theirs, rng)
        a.step(), b.step()
    equal(ours, theirs, 1e-12)
    saved = a.state_dict()
    saved["state"] = {
        i: {k: torch.tensor(v.numpy()) for k, v in values.items()}
        for i, values in saved["state"].items()
    }
    b.load_state_dict(saved)
    gradients(ours, theirs, rng)
    a.step(), b.step()
    equal(ours, theirs, 1e-12)


# A last bit of float32 can decide how bfloat16 rounds, and the iteration makes that some per cent
# of a step, whose size is lr = 0.05; in float64 it does not happen here.
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 4e-3)])
@pytest.mark.parametrize(
    "settings",
    [
        *options(nesterov=[False, True], adjust_lr_fn=[None, "original", "match_rms_adamw"]),
        {"ns_steps": 2, "ns_coefficients": (2.0, -1.5, 0.5), "weight_decay": 0, "momentum": 0.3},
    ],
)
def test_muon(settings, dtype, tolerance):
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=s).astype(dtype) for s in ((4, 3), (3, 5), (1, 1))]
    ours = [nn.Parameter(np.array(a)) for a in arrays]
    theirs = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    a = optim.Muon(ours, lr=0.05, **settings)
    b = torch.optim.Muon(theirs, lr=0.05, **settings)
    for _ in range(5):
        gradients(ours, theirs, rng)
        a.step(), b.step()
        equal(ours, theirs, tolerance)
    assert a.state_dict()["param_groups"] == b.state_dict()["param_groups"]
    a.load_state_dict(b.state_dict())
    saved = a.state_dict()
    saved["state"] = {
        i: {"momentum_buffer": torch.tensor(values["momentum_buffer"].numpy())}
        for i, values in saved["state"].items()
    }
    b.load_state_dict(saved)
    gradients(ours, theirs, rng)
    a.step(), b.step()
    equal(ours, theirs, tolerance)
    assert repr(a) == repr(b)


def bowl(module, params):
    """A loss that is no quadratic, with its minimum away from 0."""
    loss = 0
    for i, p in enumerate(params):
        loss = loss + ((p - 0.3) ** 4).sum() + (i + 1) * ((p * p).sum() - 1) ** 2 * 0.1
        loss = loss + module.sin(p * 2).sum()
    return loss


def closure(module, opt, params):
    def evaluate():
        opt.zero_grad()
        loss = bowl(module, params)
        loss.backward()
        return loss

    return evaluate


LBFGS = [
    *options(line_search_fn=["strong_wolfe"], max_iter=[1, 4, 20], history_size=[2, 100]),
    {"line_search_fn": "strong_wolfe", "lr": 30.0, "max_iter": 6},
    {"line_search_fn": "strong_wolfe", "lr": 0.02, "max_iter": 6},
    {"line_search_fn": "strong_wolfe", "lr": 0.02, "max_eval": 4},
    {"lr": 0.1, "max_iter": 5},
    {"lr": 0.1, "max_iter": 5, "history_size": 2, "max_eval": 3},
    {"lr": 0.1, "tolerance_change": 0.05},
    {"lr": 0.1, "tolerance_grad": 0.5},
]


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("settings", LBFGS)
def test_lbfgs(settings, dtype, tolerance):
    ours, theirs = pair(dtype)
    a, b = optim.LBFGS(ours, **settings), torch.optim.LBFGS(theirs, **settings)
    f, g = closure(minicnn, a, ours), closure(torch, b, theirs)
    for _ in range(3):
        loss, other = a.step(f), b.step(g)
        assert loss.item() == pytest.approx(other.item(), rel=tolerance, abs=tolerance)
        equal(ours, theirs, tolerance)
        if dtype == "float64":
            mine, other = a.state[ours[0]], b.state[theirs[0]]
            assert (mine["func_evals"], mine["n_iter"]) == (other["func_evals"], other["n_iter"])
            assert len(mine["old_dirs"]) == len(other["old_dirs"])
            assert other.keys() - mine.keys() <= {"al"}  # scratch that PyTorch keeps there
    assert a.state_dict()["param_groups"] == b.state_dict()["param_groups"]
    assert repr(a) == repr(b)


def test_states_of_lbfgs_travel_both_ways():
    ours, theirs = pair("float64")
    settings = {"lr": 0.1, "max_iter": 3}
    a, b = optim.LBFGS(ours, **settings), torch.optim.LBFGS(theirs, **settings)
    f, g = closure(minicnn, a, ours), closure(torch, b, theirs)
    b.step(g)
    for p, q in zip(ours, theirs, strict=True):
        p.array[...] = q.detach().numpy()
    a.load_state_dict(b.state_dict())
    a.step(f), b.step(g)
    equal(ours, theirs, 1e-12)

    def theirs_of(value):
        if isinstance(value, list):
            return [theirs_of(part) for part in value]
        return torch.tensor(value.numpy()) if isinstance(value, minicnn.Tensor) else value

    saved = a.state_dict()
    saved["state"] = {0: {key: theirs_of(value) for key, value in saved["state"][0].items()}}
    b.load_state_dict(saved)
    a.step(f), b.step(g)
    equal(ours, theirs, 1e-12)


@pytest.mark.parametrize(
    "ours, theirs",
    [(getattr(optim, name), getattr(torch.optim, name)) for name in [*EVERY, "LBFGS", "Muon"]]
    + [(getattr(lr_scheduler, name), getattr(schedules, name)) for name in schedules.__all__],
    ids=lambda cls: cls.__name__,
)
def test_arguments_and_defaults(ours, theirs):
    def arguments(cls):
        parameters = inspect.signature(cls).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters]

    assert arguments(ours) == arguments(theirs)


def test_repr():
    ours, theirs = pair("float32")
    for name in EVERY:
        assert repr(getattr(optim, name)(ours)) == repr(getattr(torch.optim, name)(theirs))


# ---------------------------------------------------------------------- schedules

SCHEDULES = [
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 9, "power": 2.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 2, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 0.95 + 0.01 * t}),
    ("MultiplicativeLR", {"lr_lambda": [lambda t: 1 / (t + 1), lambda t: 0.9]}),
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 1, "gamma": 0.9}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 11], "gamma": 0.5}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 3}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.9, "end_factor": 0.1, "total_iters": 7}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("CosineAnnealingLR", {"T_max": 10}),
    ("CosineAnnealingLR", {"T_max": 4, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": lambda t: 0.95**t}),
    ("LambdaLR", {"lr_lambda": [lambda t: 1 / (t + 1), lambda t: t + 1]}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3}),
    ("CyclicLR", {"base_lr": [0.1, 0.2], "max_lr": [1, 2], "step_size_up": 3, "step_size_down": 4}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 2, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5, "cycle_momentum": False}),
    (
        "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3, "mode": "exp_range", "gamma": 0.9},
    ),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 1, "step_size_up": 3, "scale_fn": lambda x: 1 / x}
        | {"base_momentum": [0.5, 0.6], "max_momentum": [0.8, 0.9]},
    ),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 1, "step_size_up": 3, "mode": "mine"}
        | {"scale_fn": lambda x: 0.9**x, "scale_mode": "iterations"},
    ),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 17}),
    ("OneCycleLR", {"max_lr": [0.4, 0.2], "epochs": 4, "steps_per_epoch": 5, "pct_start": 0.45}),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 17, "three_phase": True, "div_factor": 10}),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 20, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 20, "cycle_momentum": False}),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 18, "base_momentum": [0.5, 0.6]}),
]


def two_groups(module, params, method):
    settings = {"momentum": 0.9} if method == "SGD" else {}
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.3}]
    return getattr(module, method)(groups, lr=0.1, **settings)


def rates(optimizer):
    keys = ("lr", "momentum", "betas", "initial_lr", "max_lr", "min_lr")
    keys += ("max_momentum", "base_momentum")
    return [[group.get(key) for key in keys] for group in optimizer.param_groups]


@pytest.mark.parametrize("method", ["SGD", "Adam"])
@pytest.mark.parametrize("name, settings", SCHEDULES)
def test_schedule(name, settings, method):
    ours, theirs = pair("float32")
    a, b = two_groups(optim, ours, method), two_groups(torch.optim, theirs, method)
    s = getattr(lr_scheduler, name)(a, **settings)
    t = getattr(schedules, name)(b, **settings)
    for _ in range(16):
        assert rates(a) == rates(b)
        assert s.get_last_lr() == t.get_last_lr()
        assert s.last_epoch == t.last_epoch
        a.step(), b.step()
        s.step(), t.step()
    extra = {"_get_lr_called_within_step", "_is_initial"}
    assert set(s.state_dict()) == set(t.state_dict()) - extra
    # A new one that loads PyTorch's state goes on as PyTorch does.
    fresh_ours, _ = pair("float32")
    c = two_groups(optim, fresh_ours, method)
    again = getattr(lr_scheduler, name)(c, **settings)
    again.load_state_dict(t.state_dict())
    c.load_state_dict(b.state_dict())
    c.step(), b.step(), again.step(), t.step()
    assert rates(c) == rates(b)


@pytest.mark.parametrize("name, settings", SCHEDULES[:17])
def test_schedule_at_a_given_epoch_and_resumed(name, settings):
    ours, theirs = pair("float32")
    a, b = two_groups(optim, ours, "SGD"), two_groups(torch.optim, theirs, "SGD")
    a.step(), b.step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        s = getattr(lr_scheduler, name)(a, **settings)
        t = getattr(schedules, name)(b, **settings)
        for epoch in (7, 2, 12):
            s.step(epoch), t.step(epoch)
            assert rates(a) == rates(b)
        # Built again on groups that remember their first rate.
        s = getattr(lr_scheduler, name)(a, **settings, last_epoch=4)
        t = getattr(schedules, name)(b, **settings, last_epoch=4)
        for _ in range(5):
            assert rates(a) == rates(b)
            s.step(), t.step()


def test_two_schedules_act_together():
    ours, theirs = pair("float32")
    a, b = two_groups(optim, ours, "SGD"), two_groups(torch.optim, theirs, "SGD")
    both = []
    for module, opt in ((lr_scheduler, a), (schedules, b)):
        both.append([module.ExponentialLR(opt, 0.9), module.StepLR(opt, 2), module.LinearLR(opt)])
    for _ in range(8):
        a.step(), b.step()
        for s in (*both[0], *both[1]):
            s.step()
        assert rates(a) == rates(b)


def test_warm_restarts_at_fractions_of_epochs():
    for settings in ({"T_0": 3}, {"T_0": 2, "T_mult": 2}):
        ours, theirs = pair("float32")
        a, b = two_groups(optim, ours, "SGD"), two_groups(torch.optim, theirs, "SGD")
        s = lr_scheduler.CosineAnnealingWarmRestarts(a, **settings)
        t = schedules.CosineAnnealingWarmRestarts(b, **settings)
        for epoch in (0.25, 0.5, 2, 3.75, 6.5, None, None, 0, 14.0, None, 1.5, None):
            s.step(epoch), t.step(epoch)
            assert rates(a) == rates(b) and (s.T_cur, s.T_i) == (t.T_cur, t.T_i)


COMPOSED = [
    lambda m, o: m.SequentialLR(
        o, [m.ConstantLR(o, 0.1, 3), m.ExponentialLR(o, 0.9), m.StepLR(o, 2)], [4, 9]
    ),
    lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.2, 1, 5), m.CosineAnnealingLR(o, T_max=6, eta_min=0.01)], [5]
    ),
    lambda m, o: m.SequentialLR(
        o, [m.PolynomialLR(o, 4), m.CosineAnnealingWarmRestarts(o, 3)], [3]
    ),
    lambda m, o: m.SequentialLR(
        o, [m.MultiplicativeLR(o, lambda t: 0.9), m.CyclicLR(o, 0.1, 0.5, 3)], [6]
    ),
    lambda m, o: m.SequentialLR(o, [m.StepLR(o, 3), m.LinearLR(o)], [0]),
    lambda m, o: m.SequentialLR(
        o,
        [m.SequentialLR(o, [m.ConstantLR(o), m.ExponentialLR(o, 0.5)], [3]), m.StepLR(o, 2)],
        [7],
    ),
    lambda m, o: m.SequentialLR(
        o, [m.ChainedScheduler([m.StepLR(o, 2), m.ExponentialLR(o, 0.5)]), m.LinearLR(o)], [5]
    ),
    lambda m, o: m.ChainedScheduler([m.ConstantLR(o, 0.1, 4), m.ExponentialLR(o, 0.9)]),
    lambda m, o: m.ChainedScheduler([m.LinearLR(o), m.StepLR(o, 3)], optimizer=o),
]


def keys(state):
    """The names in a state_dict, with those of the state_dicts in it."""
    ignored = {"_get_lr_called_within_step", "_is_initial"}
    inner = [keys(s) for s in state.get("_schedulers", [])]
    return set(state) - ignored, inner


@pytest.mark.filterwarnings("ignore:.*before .optimizer.step:UserWarning")  # of composed ones
@pytest.mark.parametrize("make", COMPOSED)
def test_composed_schedules(make):
    ours, theirs = pair("float32")
    a, b = two_groups(optim, ours, "SGD"), two_groups(torch.optim, theirs, "SGD")
    s, t = make(lr_scheduler, a), make(schedules, b)
    for _ in range(16):
        assert rates(a) == rates(b) and s.get_last_lr() == t.get_last_lr()
        a.step(), b.step()
        s.step(), t.step()
    assert keys(s.state_dict()) == keys(t.state_dict())
    fresh_ours, _ = pair("float32")
    c = two_groups(optim, fresh_ours, "SGD")
    again = make(lr_scheduler, c)
    again.load_state_dict(t.state_dict())
    c.load_state_dict(b.state_dict())
    for _ in range(3):
        c.step(), b.step()
        again.step(), t.step()
        assert rates(c) == rates(b)


@pytest.mark.parametrize(
    "settings",
    [
        *options(
            mode=["min", "max"],
            threshold_mode=["rel", "abs"],
            patience=[0, 2],
            cooldown=[0, 2],
        ),
        {"factor": 0.5, "patience": 1, "min_lr": 0.04, "threshold": 0.1},
        {"factor": 0.5, "patience": 0, "min_lr": [0.04, 0.2]},
        {"factor": 0.5, "patience": 0, "eps": 0.06},
    ],
)
def test_reduce_on_plateau(settings):
    ours, theirs = pair("float32")
    a, b = two_groups(optim, ours, "SGD"), two_groups(torch.optim, theirs, "SGD")
    s = lr_scheduler.ReduceLROnPlateau(a, **settings)
    t = schedules.ReduceLROnPlateau(b, **settings)
    for value in np.random.default_rng(4).normal(1, 0.3, 25):
        s.step(minicnn.tensor(value)), t.step(torch.tensor(value))
        assert rates(a) == rates(b) and s.get_last_lr() == t.get_last_lr()
    assert s.state_dict() == t.state_dict()
    assert a.param_groups[1]["lr"] < 0.3
    again = lr_scheduler.ReduceLROnPlateau(a)
    again.load_state_dict(t.state_dict())
    assert again.state_dict() == t.state_dict()

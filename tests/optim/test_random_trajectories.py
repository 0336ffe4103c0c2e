"""Random options, groups, events and schedules, followed for many steps beside PyTorch's."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn import nn, optim

pytestmark = pytest.mark.slow  # a sweep: each is quick, all of them are not

torch = pytest.importorskip("torch")

MODULES = ((optim, nn.Parameter), (torch.optim, torch.nn.Parameter))
some = st.sampled_from
yes_or_no = st.booleans()

BETAS = st.tuples(some([0.0, 0.4, 0.9]), some([0.5, 0.8, 0.999]))
SHARED = {
    "lr": some([0.0, 0.001, 0.01, 0.1]),
    "weight_decay": some([0, 0.05, 0.3]),
    "maximize": yes_or_no,
    "foreach": some([None, True, False]),
}
ADAM = {**SHARED, "betas": BETAS, "eps": some([1e-8, 1e-3, 0.1])}
ETAS, SIZES = some([(0.5, 1.2), (0.1, 3.0)]), some([(1e-6, 50), (1e-3, 0.05)])
OPTIONS = {
    "SGD": {**SHARED, "momentum": some([0, 0.5, 0.9]), "dampening": some([0, 0.3, 1])},
    "Adam": {**ADAM, "amsgrad": yes_or_no, "decoupled_weight_decay": yes_or_no},
    "AdamW": {**ADAM, "amsgrad": yes_or_no},
    "Adamax": ADAM,
    "NAdam": {**ADAM, "momentum_decay": some([0, 0.5]), "decoupled_weight_decay": yes_or_no},
    "RAdam": {**ADAM, "decoupled_weight_decay": yes_or_no},
    "RMSprop": {
        **SHARED,
        "alpha": some([0.5, 0.99]),
        "eps": some([1e-8, 1e-3]),
        "momentum": some([0, 0.9]),
        "centered": yes_or_no,
    },
    "Rprop": {"lr": SHARED["lr"], "maximize": yes_or_no, "etas": ETAS, "step_sizes": SIZES},
    "Adagrad": {
        **SHARED,
        "lr_decay": some([0, 0.1]),
        "initial_accumulator_value": some([0, 0.5]),
        "eps": some([1e-10, 1e-2]),
    },
    "Adadelta": {**SHARED, "rho": some([0.0, 0.5, 0.9]), "eps": some([1e-6, 1e-2])},
}


@st.composite
def options(draw, name):
    chosen = draw(st.fixed_dictionaries(OPTIONS[name]))
    if name == "SGD" and chosen["momentum"] and not chosen["dampening"]:
        chosen["nesterov"] = draw(yes_or_no)
    return chosen


class Pair:
    """An optimizer of ours and PyTorch's, over equal parameters."""

    def __init__(self, name, default, groups, rng):
        self.name, self.rng = name, rng
        self.params: tuple[list, list] = ([], [])
        made = [self.group(own, shapes) for own, shapes in groups]
        self.optimizers = [
            getattr(module, name)([pair[i] for pair in made], **default)
            for i, (module, _) in enumerate(MODULES)
        ]

    def group(self, own, shapes):
        arrays = [self.rng.normal(size=shape) for shape in shapes]
        ours = [nn.Parameter(a.copy()) for a in arrays]
        theirs = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
        self.params[0].extend(ours)
        self.params[1].extend(theirs)
        return {"params": ours, **own}, {"params": theirs, **own}

    def add_group(self, own, shapes):
        for optimizer, group in zip(self.optimizers, self.group(own, shapes), strict=True):
            optimizer.add_param_group(group)

    def reload(self, from_torch):
        """New optimizers go on from the state_dicts of the old ones, or both from PyTorch's."""
        states = [optimizer.state_dict() for optimizer in self.optimizers]
        for i, (module, _) in enumerate(MODULES):
            groups = [{"params": g["params"]} for g in self.optimizers[i].param_groups]
            self.optimizers[i] = getattr(module, self.name)(groups, lr=7.0)
            self.optimizers[i].load_state_dict(states[1 if from_torch else i])

    def change(self, key, value):
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group[key] = value

    def step(self):
        for p, q in zip(*self.params, strict=True):
            kind = self.rng.integers(10)
            noise = self.rng.normal(size=p.shape)
            g = np.asarray(np.sin(3 * p.array) + noise if kind > 1 else 0 * noise)
            p.grad = minicnn.Tensor(g.copy()) if kind else None
            q.grad = torch.tensor(g) if kind else None
        for optimizer in self.optimizers:
            optimizer.step()
        for p, q in zip(*self.params, strict=True):
            np.testing.assert_allclose(p.array, q.detach().numpy(), rtol=1e-9, atol=1e-9)

    def compare_states(self):
        ours, theirs = [optimizer.state_dict() for optimizer in self.optimizers]
        assert ours["param_groups"] == theirs["param_groups"]
        assert ours["state"].keys() == theirs["state"].keys()
        for number, values in theirs["state"].items():
            # PyTorch's SGD writes None for a momentum that it does not use.
            named = {key: value for key, value in values.items() if value is not None}
            assert ours["state"][number].keys() == named.keys()
            for key, value in named.items():
                np.testing.assert_allclose(
                    ours["state"][number][key].array, value.numpy(), rtol=1e-6, atol=1e-9
                )


SHAPES = st.lists(some([(4, 3), (3,), (), (1,), (0,), (2, 1, 3)]), min_size=1, max_size=3)


@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=10)
@given(data=st.data())
def test_fifty_steps(name, data):
    """Missing and zero gradients, groups that come later, new rates, states saved and loaded."""
    chosen = st.one_of(st.just({}), options(name))
    groups = data.draw(st.lists(st.tuples(chosen, SHAPES), min_size=1, max_size=2))
    events = data.draw(st.dictionaries(st.integers(1, 49), some("gtslr"), max_size=4))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    pair = Pair(name, data.draw(options(name)), groups, rng)
    for t in range(50):
        event = events.get(t)
        if event == "g":
            pair.add_group(data.draw(chosen), [(2, 2)])
        elif event in ("s", "t"):
            pair.reload(from_torch=event == "t")
        elif event == "l":
            pair.change("lr", 0.02)
        elif event == "r" and name == "SGD":
            pair.change("nesterov", False)
            pair.change("momentum", 0.7 * (t % 2))
        pair.step()
    pair.compare_states()


# ---------------------------------------------------------------------- schedules

COUNTS = st.integers(1, 12)
FACTORS = st.floats(0.1, 1.0).map(lambda x: round(x, 3))
LAMBDAS = some([lambda t: 0.9**t, lambda t: 1 / (t + 1), lambda t: 1.0])
MOMENTA = st.floats(0.1, 0.9).map(lambda x: round(x, 3))
MOMENTUM = {"cycle_momentum": yes_or_no, "base_momentum": MOMENTA, "max_momentum": MOMENTA}
SCHEDULES = {
    "StepLR": {"step_size": COUNTS, "gamma": FACTORS},
    "MultiStepLR": {"milestones": st.lists(st.integers(0, 40), max_size=4), "gamma": FACTORS},
    "ConstantLR": {"factor": FACTORS, "total_iters": st.integers(0, 30)},
    "LinearLR": {
        "start_factor": FACTORS,
        "end_factor": FACTORS | st.just(0.0),
        "total_iters": COUNTS,
    },
    "ExponentialLR": {"gamma": FACTORS},
    "PolynomialLR": {"total_iters": st.integers(1, 40), "power": some([0.5, 1.0, 2, 0.0])},
    "CosineAnnealingLR": {"T_max": COUNTS, "eta_min": some([0.0, 0.01])},
    "CosineAnnealingWarmRestarts": {
        "T_0": COUNTS,
        "T_mult": some([1, 2, 3]),
        "eta_min": some([0.0, 0.01]),
    },
    "LambdaLR": {"lr_lambda": LAMBDAS | st.tuples(LAMBDAS, LAMBDAS).map(list)},
    "MultiplicativeLR": {"lr_lambda": LAMBDAS | st.tuples(LAMBDAS, LAMBDAS).map(list)},
    "CyclicLR": {
        "base_lr": FACTORS | st.tuples(FACTORS, FACTORS).map(list),
        "max_lr": FACTORS,
        "step_size_up": COUNTS,
        "step_size_down": st.none() | COUNTS,
        "mode": some(["triangular", "triangular2", "exp_range"]),
        "gamma": some([1.0, 0.9]),
        "scale_fn": some([None, None, lambda x: 1 / (1 + x)]),
        "scale_mode": some(["cycle", "iterations"]),
        **MOMENTUM,
    },
    "OneCycleLR": {
        "max_lr": FACTORS,
        "total_steps": st.integers(1, 70),
        "pct_start": some([0.0, 0.25, 0.3, 0.61]),
        "anneal_strategy": some(["cos", "linear"]),
        "div_factor": some([1.0, 25.0]),
        "final_div_factor": some([2.0, 1e4]),
        "three_phase": yes_or_no,
        **MOMENTUM,
    },
}


@st.composite
def schedules(draw):
    name = draw(some(list(SCHEDULES)))
    return name, draw(st.fixed_dictionaries(SCHEDULES[name]))


def built(module, chosen, how, milestones, method):
    """Two groups, and the schedulers to be stepped."""
    parameter = dict(MODULES)[module]
    ps = [parameter((minicnn if module is optim else torch).ones(2)) for _ in range(2)]
    momentum = {"momentum": 0.9} if method == "SGD" else {}
    groups = [{"params": ps[:1]}, {"params": ps[1:], "lr": 0.3}]
    optimizer = getattr(module, method)(groups, lr=0.1, **momentum)
    make = module.lr_scheduler
    made = [getattr(make, name)(optimizer, **keywords) for name, keywords in chosen]
    if how == "sequence":
        made = [make.SequentialLR(optimizer, made, milestones)]
    elif how == "chain":
        made = [make.ChainedScheduler(made)]
    return optimizer, made


def stepped(fn):
    """(the kind of error or None, how many warnings)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fn()
        except (ValueError, ZeroDivisionError) as error:
            return type(error), len(caught)
    return None, len(caught)


def settings_of(optimizer):
    keys = ("lr", "momentum", "betas", "initial_lr", "max_lr", "min_lr", "max_momentum")
    return [
        [group.get(key) for key in (*keys, "base_momentum")] for group in optimizer.param_groups
    ]


@pytest.mark.parametrize("how", ["all", "sequence", "chain"])
@settings(max_examples=25)
@given(data=st.data())
def test_sixty_epochs(how, data):
    """Rates and momenta to the last bit, the same warnings, the same ends; saved and loaded."""
    chosen = data.draw(st.lists(schedules(), min_size=1, max_size=3))
    method = data.draw(some(["SGD", "Adam"]))
    times = st.lists(st.integers(0, 30), min_size=len(chosen) - 1, max_size=len(chosen) - 1)
    milestones = sorted(data.draw(times))
    forgets_a_step = data.draw(some([False, False, True]))  # which PyTorch warns of
    reloads = data.draw(st.sets(st.integers(2, 59), max_size=2))

    def new():
        return [built(module, chosen, how, milestones, method) for module, _ in MODULES]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # compositions built before the first step warn
        pairs = new()
    for epoch in range(60):
        (a, ours), (b, theirs) = pairs
        assert settings_of(a) == settings_of(b)
        for s, t in zip(ours, theirs, strict=True):
            assert s.get_last_lr() == t.get_last_lr()
            assert getattr(s, "last_epoch", None) == getattr(t, "last_epoch", None)
        if epoch in reloads:
            saved = [(o.state_dict(), [s.state_dict() for s in made]) for o, made in pairs]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pairs = new()
            for (optimizer, made), (state, states) in zip(pairs, saved, strict=True):
                for s, state_of_s in zip(made, states, strict=True):
                    s.load_state_dict(state_of_s)
                optimizer.load_state_dict(state)
        if not forgets_a_step or epoch > 1:
            [optimizer.step() for optimizer, _ in pairs]
        found = [stepped(lambda made=made: [s.step() for s in made]) for _, made in pairs]
        assert found[0] == found[1]
        if found[0][0] is not None:  # as OneCycleLR's end
            return

"""Schedules: values in closed form, resuming, warnings, errors. Trajectories: test_parity.py."""

import json
import math
import warnings

import numpy as np
import pytest

import minicnn
from minicnn import nn, optim
from minicnn.optim import lr_scheduler


def sgd(lr=1.0, **settings):
    p = nn.Parameter(minicnn.zeros(1))
    p.grad = minicnn.zeros(1)
    return optim.SGD([p], lr=lr, momentum=0.9, **settings)


def course(make, steps, opt=None):
    """The rates of the first epochs."""
    opt = opt or sgd()
    schedule, seen = make(opt), []
    for _ in range(steps):
        seen.append(opt.param_groups[0]["lr"])
        assert schedule.get_last_lr() == seen[-1:]
        opt.step(), schedule.step()
    return np.array(seen)


T = np.arange(12)


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda o: lr_scheduler.StepLR(o, 4, 0.5), 0.5 ** (T // 4)),
        (lambda o: lr_scheduler.MultiStepLR(o, [3, 7], 0.5), 0.5 ** (1.0 * (T >= 3) + (T >= 7))),
        (lambda o: lr_scheduler.ExponentialLR(o, 0.9), 0.9**T),
        (lambda o: lr_scheduler.ConstantLR(o, 0.5, 4), np.where(T < 4, 0.5, 1)),
        (lambda o: lr_scheduler.LinearLR(o, 0.5, 1.0, 5), np.minimum(0.5 + 0.1 * T, 1)),
        (lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (t + 1)), 1 / (T + 1)),
        (
            lambda o: lr_scheduler.CosineAnnealingLR(o, 5, 0.1),
            0.1 + 0.45 * (1 + np.cos(math.pi * T / 5)),
        ),
        (lambda o: lr_scheduler.PolynomialLR(o, 8, 2.0), np.maximum(1 - T / 8, 0) ** 2),
        (lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: t), np.cumprod(np.maximum(T, 1.0))),
        (
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2, 0.1),
            0.1
            + 0.45
            * (
                1
                + np.cos(
                    math.pi
                    * np.array([0, 1 / 2, 0, 1 / 4, 1 / 2, 3 / 4, 0] + [k / 8 for k in range(1, 6)])
                )
            ),
        ),
        (
            lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.5, 2, 3),
            0.1 + 0.4 * np.array([0, 1 / 2, 1, 2 / 3, 1 / 3] * 2 + [0, 1 / 2]),
        ),
        (
            lambda o: lr_scheduler.CyclicLR(o, 0.0, 1.0, 2, mode="triangular2"),
            np.array([0, 0.5, 1, 0.5, 0, 0.25, 0.5, 0.25, 0, 0.125, 0.25, 0.125]),
        ),
        (
            lambda o: lr_scheduler.SequentialLR(
                o, [lr_scheduler.ConstantLR(o, 0.1, 9), lr_scheduler.ExponentialLR(o, 0.5)], [4]
            ),
            np.where(T < 4, 0.1, 0.5 ** np.maximum(T - 4.0, 0)),
        ),
        (
            lambda o: lr_scheduler.ChainedScheduler(
                [lr_scheduler.ConstantLR(o, 0.1, 4), lr_scheduler.ExponentialLR(o, 0.5)]
            ),
            np.where(T < 4, 0.1, 1) * 0.5**T,
        ),
    ],
)
def test_closed_forms(make, expected):
    np.testing.assert_allclose(course(make, len(T)), expected, rtol=1e-12, atol=1e-14)


def test_one_cycle():
    opt = sgd()
    momenta = []
    schedule = lr_scheduler.OneCycleLR(opt, max_lr=1.0, total_steps=10, pct_start=0.3)
    rates = []
    for i in range(10):
        rates.append(opt.param_groups[0]["lr"])
        momenta.append(opt.param_groups[0]["momentum"])
        opt.step()
        if i < 9:
            schedule.step()
    assert rates[0] == pytest.approx(1 / 25) and rates[2] == pytest.approx(1)
    assert rates[-1] == pytest.approx(1 / 25 / 1e4)
    assert momenta[0] == pytest.approx(0.95) and momenta[2] == pytest.approx(0.85)
    assert momenta[-1] == pytest.approx(0.95)
    assert rates.index(max(rates)) == momenta.index(min(momenta)) == 2
    schedule.step()
    with pytest.raises(ValueError, match="step 11 of a schedule of 10"):
        schedule.step()
    assert schedule.last_epoch == 10


def test_a_cycle_whose_rise_has_no_length():
    rates = course(lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=10, pct_start=0.1), 9)
    assert rates[0] == 1 and (np.diff(rates) < 0).all()


def test_one_cycle_turns_beta1_of_adam():
    p = nn.Parameter(minicnn.zeros(1))
    opt = optim.Adam([p], betas=(0.5, 0.7))
    lr_scheduler.OneCycleLR(opt, 0.1, total_steps=10)
    assert opt.param_groups[0]["betas"] == (0.95, 0.7)


class Warmup:
    def __init__(self, n):
        self.n = n

    def __call__(self, t):
        return min(1.0, t / self.n)


@pytest.mark.parametrize(
    "make",
    [
        lambda o: lr_scheduler.StepLR(o, 2),
        lambda o: lr_scheduler.MultiStepLR(o, [3, 5]),
        lambda o: lr_scheduler.CosineAnnealingLR(o, 4),
        lambda o: lr_scheduler.LambdaLR(o, Warmup(5)),
        lambda o: lr_scheduler.LinearLR(o, total_iters=9),
        lambda o: lr_scheduler.OneCycleLR(o, 0.5, total_steps=20),
        lambda o: lr_scheduler.PolynomialLR(o, 8),
        lambda o: lr_scheduler.MultiplicativeLR(o, Warmup(5)),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2),
        lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.5, 3),
        lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.5, 3, scale_fn=Warmup(2)),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LambdaLR(o, Warmup(5)), lr_scheduler.MultiStepLR(o, [2, 3])], [3]
        ),
        lambda o: lr_scheduler.ChainedScheduler(
            [lr_scheduler.LinearLR(o), lr_scheduler.MultiStepLR(o, [3, 5])]
        ),
    ],
)
def test_resuming_through_json_goes_on_as_before(make):
    whole = course(make, 10)
    opt = sgd()
    schedule = make(opt)
    for _ in range(4):
        opt.step(), schedule.step()
    saved = json.loads(json.dumps([schedule.state_dict(), opt.state_dict()["param_groups"]]))
    other = sgd()
    resumed = make(other)
    resumed.load_state_dict(saved[0])
    other.load_state_dict({"state": {}, "param_groups": saved[1]})
    rest = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(6):
            rest.append(other.param_groups[0]["lr"])
            resumed.step()
    np.testing.assert_array_equal(rest, whole[4:])


def test_the_momentum_of_a_cycle_falls_while_the_rate_rises():
    opt = sgd()
    schedule = lr_scheduler.CyclicLR(opt, 0.0, 1.0, 2, base_momentum=0.5, max_momentum=0.9)
    momenta = []
    for _ in range(5):
        momenta.append(opt.param_groups[0]["momentum"])
        opt.step(), schedule.step()
    np.testing.assert_allclose(momenta, [0.9, 0.7, 0.5, 0.7, 0.9])


def test_warm_restarts_go_to_fractions_of_epochs():
    opt = sgd()
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(opt, 2, 2)
    for epoch, part in ((0.5, 1 / 4), (2, 0), (3.5, 1.5 / 4), (8, 2 / 8)):
        schedule.step(epoch)
        assert schedule.get_last_lr() == pytest.approx([(1 + math.cos(math.pi * part)) / 2])
    with pytest.raises(ValueError, match="epoch expects >= 0, got -1"):
        schedule.step(-1)
    assert schedule.last_epoch == 8


def plateau(values, **settings):
    """The rates after each value."""
    opt = sgd()
    schedule, seen = lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, **settings), []
    for value in values:
        schedule.step(value)
        assert schedule.get_last_lr() == [opt.param_groups[0]["lr"]]
        seen.append(opt.param_groups[0]["lr"])
    return seen


def test_plateaus():
    assert plateau([3, 2, 2, 2, 1, 1], patience=1) == [1, 1, 1, 0.5, 0.5, 0.5]
    assert plateau([3, 3, 3, 3], patience=0) == [1, 0.5, 0.25, 0.125]
    assert plateau([3, 3, 3, 3], patience=0, cooldown=1) == [1, 0.5, 0.5, 0.25]
    assert plateau([3, 3, 3], patience=0, min_lr=0.4) == [1, 0.5, 0.4]
    assert plateau([3, 3], patience=0, eps=0.6) == [1, 1]
    assert plateau([1, 2, 2], patience=0, mode="max") == [1, 1, 0.5]
    assert plateau([10, 9.5], patience=0, threshold=0.1) == [1, 0.5]
    assert plateau([10, 9.5], patience=0, threshold=0.4, threshold_mode="abs") == [1, 1]
    assert plateau([1, math.nan], patience=0) == [1, 0.5]


def test_a_plateau_goes_on_as_before_through_json():
    values = [3, 2, 2.5, 2.2, 1.9, 2, 2, 2, 2]
    whole = plateau(values, patience=1, cooldown=1)
    opt = sgd()
    first = lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=1, cooldown=1)
    for value in values[:4]:
        first.step(value)
    second = lr_scheduler.ReduceLROnPlateau(opt)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    rest = []
    for value in values[4:]:
        second.step(value)
        rest.append(opt.param_groups[0]["lr"])
    assert rest == whole[4:] and len(set(rest)) > 1


def test_a_plateau_and_groups_that_are_added():
    for min_lr in (0.1, [0.1]):
        opt = sgd()
        schedule = lr_scheduler.ReduceLROnPlateau(opt, patience=0, factor=0.01, min_lr=min_lr)
        opt.add_param_group({"params": [nn.Parameter(minicnn.zeros(1))]})
        if isinstance(min_lr, list):
            with pytest.raises(RuntimeError, match="min_lrs has 1 rates, the optimizer has 2"):
                schedule.step(1)
            assert schedule.last_epoch == 0
        else:
            schedule.step(1), schedule.step(1)
            assert schedule.get_last_lr() == [0.1, 0.1]
    with pytest.warns(UserWarning, match="deprecated"):
        lr_scheduler.ReduceLROnPlateau(sgd()).step(1, epoch=3)


def test_composed_schedules_refuse_broken_states():
    opt = sgd()
    parts = [lr_scheduler.StepLR(opt, 2), lr_scheduler.MultiStepLR(opt, [3])]
    schedule = lr_scheduler.SequentialLR(opt, parts, [2])
    good = schedule.state_dict()
    first, second = good["_schedulers"]
    for states in ([first], 3, [{**first, "last_epoch": 7}, {}]):
        with pytest.raises(ValueError, match="load_state_dict"):
            schedule.load_state_dict({**good, "last_epoch": 9, "_schedulers": states})
    with pytest.raises(ValueError):
        broken = [{**first, "last_epoch": 7}, {**second, "milestones": {"three": 1}}]
        schedule.load_state_dict({**good, "_schedulers": broken})
    assert schedule.state_dict() == good


def test_errors_of_composed_schedules():
    opt = sgd()
    step, other = lr_scheduler.StepLR(opt, 2), lr_scheduler.StepLR(sgd(), 2)
    chain, wait = lr_scheduler.ChainedScheduler([step]), lr_scheduler.ReduceLROnPlateau(opt)
    sequence = lr_scheduler.SequentialLR
    for make, error, text in (
        (lambda: sequence(opt, [], []), ValueError, "SequentialLR: .*got none"),
        (lambda: sequence(3, [step], []), TypeError, "SequentialLR: optimizer expects"),
        (lambda: sequence(opt, [step, 3], [1]), TypeError, r"schedulers\[1\] expects .* int"),
        (lambda: sequence(opt, [step, wait], [1]), ValueError, "ReduceLROnPlateau"),
        (lambda: sequence(opt, [step, other], [1]), ValueError, "another optimizer"),
        (lambda: sequence(opt, [step], [1]), ValueError, "expects 0 epochs for 1 .* got 1"),
        (lambda: sequence(opt, [step, chain], [1]), ValueError, r"only schedulers\[0\]"),
        (lambda: lr_scheduler.ChainedScheduler([]), ValueError, "ChainedScheduler: .*got none"),
        (lambda: lr_scheduler.ChainedScheduler([step, other]), ValueError, "another optimizer"),
    ):
        with pytest.raises(error, match=text):
            make()
    assert step.last_epoch == 0


SEVERAL = [
    lambda o: lr_scheduler.StepLR(o, 3),
    lambda o: lr_scheduler.LinearLR(o),
    lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=5),
    lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.5, 3),
    lambda o: lr_scheduler.OneCycleLR(o, 1.0, 20),
    lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.StepLR(o, 2)], [3]
    ),
    lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
]


@pytest.mark.filterwarnings("ignore:.*before .optimizer.step:UserWarning")
@pytest.mark.parametrize("make", SEVERAL)
def test_a_rate_that_is_a_tensor_is_filled(make):
    rate = minicnn.tensor(0.5, dtype=minicnn.float64)
    a, b = sgd(lr=rate), sgd(lr=0.5)
    s, t = make(a), make(b)
    seen = []
    for _ in range(8):
        assert a.param_groups[0]["lr"] is rate
        assert rate.item() == pytest.approx(b.param_groups[0]["lr"], rel=1e-12)
        seen.append((s.get_last_lr(), t.get_last_lr()))
        a.step(), b.step(), s.step(), t.step()
    for ours, floats in seen:  # later steps have left what was returned alone
        assert float(ours[0]) == pytest.approx(floats[0], rel=1e-12)


def test_a_plateau_fills_a_rate_that_is_a_tensor():
    rate = minicnn.tensor(0.5)
    schedule = lr_scheduler.ReduceLROnPlateau(sgd(lr=rate), patience=0, factor=0.5)
    schedule.step(1.0), schedule.step(1.0)
    assert rate.item() == 0.25


def test_rates_below_zero_can_be_saved_and_loaded():
    """A linear fall to 0 ends a rounding error below it."""
    opt = sgd(lr=0.7)
    schedule = lr_scheduler.LinearLR(opt, start_factor=0.816, end_factor=0.0, total_iters=26)
    for _ in range(26):
        opt.step(), schedule.step()
    assert -1e-12 < opt.param_groups[0]["lr"] < 0
    again = sgd()
    again.load_state_dict(opt.state_dict())
    assert again.param_groups[0]["lr"] == opt.param_groups[0]["lr"]


def test_stepping_in_the_wrong_order_warns_once():
    opt = sgd()
    schedule = lr_scheduler.StepLR(opt, 2)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        schedule.step()
    schedule.step()
    opt = sgd()
    schedule = lr_scheduler.StepLR(opt, 2)
    opt.step(), schedule.step()


def test_an_epoch_as_argument_is_deprecated():
    opt = sgd()
    schedule = lr_scheduler.ExponentialLR(opt, 0.5)
    opt.step()
    with pytest.warns(UserWarning, match="deprecated"):
        schedule.step(3)
    assert schedule.get_last_lr() == [0.125]


def test_a_schedule_of_ones_own():
    class Halved(lr_scheduler.LRScheduler):
        def get_lr(self):
            return [lr / 2**self.last_epoch for lr in self.base_lrs]

    np.testing.assert_array_equal(course(Halved, 4), [1, 0.5, 0.25, 0.125])
    with pytest.raises(NotImplementedError, match="LRScheduler"):
        lr_scheduler.LRScheduler(sgd())


def test_broken_states_are_refused():
    opt = sgd()
    schedule = lr_scheduler.MultiStepLR(opt, [3])
    good = schedule.state_dict()
    for bad in (
        [1],
        {k: v for k, v in good.items() if k != "last_epoch"},
        {**good, "base_lrs": [1.0, 2.0]},
    ):
        with pytest.raises(ValueError, match=r"MultiStepLR\.load_state_dict"):
            schedule.load_state_dict(bad)
    with pytest.raises(ValueError):
        schedule.load_state_dict({**good, "last_epoch": 9, "milestones": {"three": 1}})
    assert schedule.state_dict() == good


def test_errors():
    opt = sgd()
    for make, error, text in (
        (lambda: lr_scheduler.StepLR(3, 2), TypeError, "StepLR: optimizer expects"),
        (lambda: lr_scheduler.OneCycleLR(3, 2), TypeError, "OneCycleLR: optimizer expects"),
        (lambda: lr_scheduler.LambdaLR(3, 2), TypeError, "LambdaLR: optimizer expects"),
        (lambda: lr_scheduler.StepLR(opt, 0), ValueError, "step_size"),
        (lambda: lr_scheduler.CosineAnnealingLR(opt, 0), ValueError, "T_max"),
        (lambda: lr_scheduler.LambdaLR(opt, [abs, abs]), ValueError, "lr_lambda expects 1"),
        (lambda: lr_scheduler.ConstantLR(opt, 2), ValueError, "factor"),
        (lambda: lr_scheduler.LinearLR(opt, 0), ValueError, "start_factor"),
        (lambda: lr_scheduler.LinearLR(opt, end_factor=2), ValueError, "end_factor"),
        (lambda: lr_scheduler.OneCycleLR(opt, 1.0), ValueError, "total_steps"),
        (lambda: lr_scheduler.OneCycleLR(opt, 1.0, epochs=3), ValueError, "steps_per_epoch"),
        (lambda: lr_scheduler.OneCycleLR(opt, 1.0, -3), ValueError, "total_steps.*-3"),
        (lambda: lr_scheduler.OneCycleLR(opt, 1.0, 9, pct_start=2.0), ValueError, "pct_start"),
        (lambda: lr_scheduler.OneCycleLR(opt, 1.0, 9, anneal_strategy="x"), ValueError, "'x'"),
        (lambda: lr_scheduler.OneCycleLR(opt, [1.0, 2.0], 9), ValueError, "max_lr expects 1"),
        (lambda: lr_scheduler.StepLR(opt, 2, last_epoch=3), KeyError, "initial_lr"),
        (lambda: lr_scheduler.MultiplicativeLR(opt, 0.5), TypeError, "MultiplicativeLR.*float"),
        (lambda: lr_scheduler.CosineAnnealingWarmRestarts(opt, 0), ValueError, "T_0"),
        (lambda: lr_scheduler.CosineAnnealingWarmRestarts(opt, 1.5), ValueError, "T_0"),
        (lambda: lr_scheduler.CosineAnnealingWarmRestarts(opt, 1, 0), ValueError, "T_mult"),
        (lambda: lr_scheduler.CosineAnnealingWarmRestarts(opt, 1, 1, "0"), ValueError, "eta_min"),
        (lambda: lr_scheduler.CyclicLR(3, 0.1, 1), TypeError, "CyclicLR: optimizer expects"),
        (lambda: lr_scheduler.CyclicLR(opt, [1, 2], 1), ValueError, "base_lr expects 1"),
        (lambda: lr_scheduler.CyclicLR(opt, 0.1, 1, mode="x"), ValueError, "mode expects.*'x'"),
        (lambda: lr_scheduler.ReduceLROnPlateau(3), TypeError, "optimizer expects"),
        (lambda: lr_scheduler.ReduceLROnPlateau(opt, factor=1.0), ValueError, "factor"),
        (lambda: lr_scheduler.ReduceLROnPlateau(opt, "low"), ValueError, "mode.*'low'"),
        (
            lambda: lr_scheduler.ReduceLROnPlateau(opt, threshold_mode="x"),
            ValueError,
            "threshold_mode.*'x'",
        ),
        (lambda: lr_scheduler.ReduceLROnPlateau(opt, min_lr=[1, 2]), ValueError, "min_lr expects"),
    ):
        with pytest.raises(error, match=text):
            make()
        assert "initial_lr" not in opt.param_groups[0] and opt.param_groups[0]["lr"] == 1
    plain = optim.Rprop([nn.Parameter(minicnn.zeros(1))])
    with pytest.raises(ValueError, match=r"CyclicLR: .* momentum or betas"):
        lr_scheduler.CyclicLR(plain, 0.1, 1)

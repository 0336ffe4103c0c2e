"""Adamax, NAdam, RAdam, RMSprop, Rprop, Adagrad, Adadelta: formulas, errors, memory."""

import tracemalloc

import numpy as np
import pytest

import minicnn
from minicnn import nn, optim
from minicnn.optim import passes

NAMES = ["Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "Adagrad", "Adadelta"]


def parameter(*values, grad=None, dtype="float64"):
    p = nn.Parameter(np.array(values, dtype))
    if grad is not None:
        p.grad = minicnn.tensor(np.array(grad, dtype))
    return p


def steps(opt, p, count=8):
    """(t, gradient, parameter before, parameter after) of each step, with random gradients."""
    rng = np.random.default_rng(3)
    for t in range(1, count + 1):
        grad, before = rng.normal(size=p.shape), p.array.copy()
        p.grad = minicnn.tensor(grad)
        opt.step()
        yield t, grad, before, p.array


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_adamax_follows_its_formulas():
    p, m, u = parameter(1.0, -2.0, 3.0), 0, 0
    opt = optim.Adamax([p], 0.1, (0.7, 0.8), 0.05, 0.3, maximize=True)
    for t, grad, x, after in steps(opt, p):
        g = -grad + 0.3 * x
        m, u = 0.7 * m + 0.3 * g, np.maximum(0.8 * u, abs(g) + 0.05)
        close(after, x - 0.1 / (1 - 0.7**t) * m / u)


@pytest.mark.parametrize("decoupled", [False, True])
def test_nadam_follows_its_formulas(decoupled):
    p, m, v, product = parameter(1.0, -2.0, 3.0), 0, 0, 1
    with_double = minicnn.get_default_dtype()
    minicnn.set_default_dtype(minicnn.float64)  # in which the product of the momenta is then kept
    try:
        opt = optim.NAdam([p], 0.1, (0.7, 0.8), 0.05, 0.3, 0.5, decoupled)
        for t, grad, x, after in steps(opt, p):
            g = grad if decoupled else grad + 0.3 * x
            x = x * (1 - 0.1 * 0.3) if decoupled else x
            mu, following = (0.7 * (1 - 0.96 ** (k * 0.5) / 2) for k in (t, t + 1))
            product = product * mu
            m, v = 0.7 * m + 0.3 * g, 0.8 * v + 0.2 * g**2
            step = (1 - mu) / (1 - product) * g + following / (1 - product * following) * m
            close(after, x - 0.1 * step / (np.sqrt(v / (1 - 0.8**t)) + 0.05))
    finally:
        minicnn.set_default_dtype(with_double)


@pytest.mark.parametrize("decoupled", [False, True])
def test_radam_follows_its_formulas(decoupled):
    p, m, v, kinds = parameter(1.0, -2.0, 3.0), 0, 0, []
    opt = optim.RAdam([p], 0.1, (0.7, 0.9), 0.05, 0.3, decoupled)
    for t, grad, x, after in steps(opt, p, 12):
        g = grad if decoupled else grad + 0.3 * x
        x = x * (1 - 0.1 * 0.3) if decoupled else x
        m, v = 0.7 * m + 0.3 * g, 0.9 * v + 0.1 * g**2
        rho = 19 - 2 * t * 0.9**t / (1 - 0.9**t)
        kinds.append(rho > 5)
        step = m / (1 - 0.7**t)
        if rho > 5:
            r = np.sqrt((rho - 4) * (rho - 2) * 19 / ((19 - 4) * (19 - 2) * rho))
            step = step * r * np.sqrt(1 - 0.9**t) / (np.sqrt(v) + 0.05)
        close(after, x - 0.1 * step)
    assert not kinds[0] and kinds[-1]


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0, 0.6])
def test_rmsprop_follows_its_formulas(centered, momentum):
    p, v, a, b = parameter(1.0, -2.0, 3.0), 0, 0, 0
    opt = optim.RMSprop([p], 0.1, 0.8, 0.05, 0.3, momentum, centered, maximize=True)
    for _, grad, x, after in steps(opt, p):
        g = -grad + 0.3 * x
        v, a = 0.8 * v + 0.2 * g**2, 0.8 * a + 0.2 * g
        b = momentum * b + g / (np.sqrt(v - a**2 if centered else v) + 0.05)
        close(after, x - 0.1 * b)


def test_rprop_by_hand():
    p = parameter(0.0, 0.0, 0.0)
    opt = optim.Rprop([p], lr=0.1, etas=(0.5, 1.2), step_sizes=(0.04, 0.13))
    course = [
        ([3.0, 3.0, 0.0], [-0.1, -0.1, 0.0]),  # the first step has size lr
        ([1.0, -1.0, 2.0], [-0.22, -0.1, -0.1]),  # longer; at rest after a turn, half as long
        ([5.0, -1.0, 2.0], [-0.35, -0.05, -0.22]),  # no longer than 0.13
        ([5.0, 1.0, 2.0], [-0.48, -0.05, -0.35]),
    ]
    for grad, expected in course:
        p.grad = minicnn.tensor(np.array(grad))
        opt.step()
        close(p.array, expected)
    close(opt.state[p]["step_size"].array, [0.13, 0.04, 0.13])


def test_rprop_takes_no_step_where_there_is_no_sign():
    p = nn.Parameter(np.array([1.0, 1.0]))
    opt = optim.Rprop([p], lr=0.5)
    for g in ([np.nan, 1.0], [1.0, 1.0]):
        p.grad = minicnn.tensor(np.array(g))
        opt.step()
    np.testing.assert_array_equal(p.array, [0.5, 0.5 - 0.6])


def test_adagrad_follows_its_formulas():
    p, s = parameter(1.0, -2.0, 3.0), 0.4
    opt = optim.Adagrad([p], 0.1, 0.2, 0.3, 0.4, 0.05, maximize=True)
    assert opt.state[p]["step"].item() == 0 and opt.state[p]["sum"].tolist() == [0.4] * 3
    for t, grad, x, after in steps(opt, p):
        g = -grad + 0.3 * x
        s = s + g**2
        close(after, x - 0.1 / (1 + (t - 1) * 0.2) * g / (np.sqrt(s) + 0.05))


def test_adagrad_takes_a_group_that_is_added_later():
    p, q = parameter(1.0), parameter(1.0, grad=[2.0])
    opt = optim.Adagrad([p], lr=0.1, initial_accumulator_value=5, eps=0)
    opt.add_param_group({"params": [q]})
    opt.step()
    close(q.array, [1 - 0.1 * 2 / 3])


def test_adadelta_follows_its_formulas():
    p, v, u = parameter(1.0, -2.0, 3.0), 0, 0
    opt = optim.Adadelta([p], 0.1, 0.8, 0.05, 0.3, maximize=True)
    for _, grad, x, after in steps(opt, p):
        g = -grad + 0.3 * x
        v = 0.8 * v + 0.2 * g**2
        s = np.sqrt(u + 0.05) / np.sqrt(v + 0.05) * g
        u = 0.8 * u + 0.2 * s**2
        close(after, x - 0.1 * s)


SETTINGS = {"Adadelta": {"lr": 30.0}, "Adagrad": {"lr": 0.5}, "RMSprop": {"lr": 0.01}}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("maximize", [False, True])
def test_the_top_or_bottom_of_a_quadratic_is_found(name, maximize):
    p = parameter(1.5, -1.0)
    opt = getattr(optim, name)([p], **SETTINGS.get(name, {"lr": 0.05}), maximize=maximize)
    curve = minicnn.tensor(np.array([1.0, 4.0])) * (-1 if maximize else 1)
    for _ in range(400):
        opt.zero_grad()
        (curve * (p - 0.5) ** 2).sum().backward()
        opt.step()
    np.testing.assert_allclose(p.array, 0.5, atol=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_and_memory_orders_change_nothing(name, monkeypatch):
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=(5, 7, 3)), rng.normal(size=(3, 5, 7, 3))

    def run(block, order):
        monkeypatch.setattr(passes, "_PIECE", block)
        p = nn.Parameter(np.array(start, order=order[0]))
        extra = {"momentum": 0.9, "centered": True} if name == "RMSprop" else {}
        opt = getattr(optim, name)([p], lr=0.1, **extra)
        for grad in grads:
            p.grad = minicnn.Tensor(np.array(grad, order=order[1]))
            opt.step()
        return p.array

    whole = run(1 << 16, "CC")
    assert abs(whole - start).max() > 1e-3
    for block in (4, 50):
        for order in ("CC", "FC", "CF"):
            np.testing.assert_array_equal(run(block, order), whole)


@pytest.mark.parametrize("name", NAMES)
def test_no_new_arrays_in_the_steady_state(name, one_thread):
    p = nn.Parameter(minicnn.zeros(1000, 300))
    p.grad = minicnn.ones(1000, 300)
    opt = getattr(optim, name)([p])
    opt.step()
    tracemalloc.start()
    try:
        opt.step()
        assert tracemalloc.get_traced_memory()[1] < 20_000  # the parameter has 1.2 MB
    finally:
        tracemalloc.stop()


def test_momentum_that_is_turned_on_later_begins_with_zeros():
    p = parameter(1.0, grad=[1.0])
    opt = optim.RMSprop([p], lr=0.1, alpha=1.0, eps=1.0)  # v stays 0, so that g / s = g
    opt.step()
    opt.param_groups[0]["momentum"] = 0.5
    opt.step(), opt.step()
    close(p.array, [1 - 0.1 * (1 + 1 + 1.5)])


@pytest.mark.parametrize(
    "name, settings, text",
    [(name, {"lr": -1}, "Invalid learning rate: -1") for name in NAMES]
    + [(name, {"differentiable": True}, "differentiable") for name in NAMES]
    + [(name, {"eps": -1}, "Invalid epsilon value: -1") for name in NAMES if name != "Rprop"]
    + [(name, {"weight_decay": -1}, "Invalid weight_decay") for name in NAMES if name != "Rprop"]
    + [(name, {"betas": (0.9, 1)}, "index 1: 1") for name in ("Adamax", "NAdam", "RAdam")]
    + [
        ("NAdam", {"momentum_decay": -1}, "Invalid momentum_decay value: -1"),
        ("RMSprop", {"momentum": -1}, "Invalid momentum value: -1"),
        ("RMSprop", {"alpha": -1}, "Invalid alpha value: -1"),
        ("Rprop", {"etas": (0.5, 0.9)}, "Invalid eta values: 0.5, 0.9"),
        ("Rprop", {"step_sizes": (1,)}, "step_sizes, a pair"),
        ("Adagrad", {"lr_decay": -1}, "Invalid lr_decay value: -1"),
        ("Adagrad", {"initial_accumulator_value": -1}, "initial_accumulator_value"),
        ("Adadelta", {"rho": 1.5}, "Invalid rho value: 1.5"),
    ],
)
def test_settings_out_of_range(name, settings, text):
    with pytest.raises(ValueError, match=f"{name}: .*{text}"):
        getattr(optim, name)([parameter(1.0)], **settings)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_that_lacks_something_is_refused(name):
    p = parameter(1.0, grad=[1.0])
    opt = getattr(optim, name)([p])
    opt.step()
    saved = opt.state_dict()
    key = next(key for key in saved["state"][0] if key != "step")
    del saved["state"][0][key]
    with pytest.raises(ValueError, match=f"lacks .*{key}"):
        opt.load_state_dict(saved)

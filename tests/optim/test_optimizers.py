"""Optimizers: a step by hand, groups, errors, state_dict, memory. Courses: test_parity.py."""

import copy
import math
import pickle
import time
import tracemalloc

import numpy as np
import pytest
from thread_counts import on_threads

import minicnn
from minicnn import nn, optim
from minicnn.optim import optimizer as optimizer_module
from minicnn.optim import passes


def parameter(*values, grad=None, dtype="float64"):
    p = nn.Parameter(np.array(values, dtype))
    if grad is not None:
        p.grad = minicnn.tensor(np.array(grad, dtype))
    return p


# ---------------------------------------------------------------------- by hand


def test_sgd_by_hand():
    p = parameter(1.0, -2.0, grad=[0.5, 1.0])
    opt = optim.SGD([p], lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.01)
    opt.step()
    g1 = np.array([0.5 + 0.01, 1 - 0.02])
    np.testing.assert_allclose(p.array, [1, -2] - 0.1 * g1, rtol=1e-14)
    x1 = p.array.copy()
    opt.step()
    v = 0.9 * g1 + 0.5 * (np.array([0.5, 1]) + 0.01 * x1)
    np.testing.assert_allclose(p.array, x1 - 0.1 * v, rtol=1e-14)


def test_nesterov_by_hand():
    p = parameter(1.0, grad=[2.0])
    opt = optim.SGD([p], lr=0.1, momentum=0.5, nesterov=True)
    opt.step()
    np.testing.assert_allclose(p.array, [1 - 0.1 * (2 + 0.5 * 2)])


def test_the_first_step_of_adam_has_size_lr():
    p = parameter(1.0, 1.0, grad=[1e-3, -50.0])
    optim.Adam([p], lr=0.01, eps=0).step()
    np.testing.assert_allclose(p.array, [0.99, 1.01], rtol=1e-12)
    q = parameter(1.0, grad=[3.0])
    optim.AdamW([q], lr=0.01, weight_decay=0.5, eps=0).step()
    np.testing.assert_allclose(q.array, [1 * (1 - 0.005) - 0.01], rtol=1e-12)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_follows_its_formulas(amsgrad, decoupled):
    rng = np.random.default_rng(0)
    x, m, v, largest = rng.normal(size=3), 0, 0, 0
    p = parameter(*x)
    opt = optim.Adam(
        [p], 0.1, (0.7, 0.8), 0.05, 0.3, amsgrad, maximize=True, decoupled_weight_decay=decoupled
    )
    for t in range(1, 6):
        grad = rng.normal(size=3) / t**2  # falling, so that the largest v is an old one
        p.grad = minicnn.tensor(grad)
        opt.step()
        g = -grad + (0 if decoupled else 0.3) * x
        x = x * (1 - 0.1 * 0.3) if decoupled else x
        m, v = 0.7 * m + 0.3 * g, 0.8 * v + 0.2 * g**2
        largest = np.maximum(largest, v) if amsgrad else v
        x = x - 0.1 * (m / (1 - 0.7**t)) / (np.sqrt(largest / (1 - 0.8**t)) + 0.05)
        np.testing.assert_allclose(p.array, x, rtol=1e-12)


def test_maximize_climbs_but_decay_still_shrinks():
    p = parameter(2.0, grad=[1.0])
    optim.SGD([p], lr=0.1, weight_decay=0.25, maximize=True).step()
    np.testing.assert_allclose(p.array, [2 - 0.1 * (-1 + 0.5)])


def test_maximize_climbs():
    for make in (optim.SGD, optim.Adam, optim.AdamW):
        p = parameter(0.0, grad=[1.0])
        make([p], lr=0.1, maximize=True).step()
        assert p.array[0] > 0


def test_parameters_without_gradient_are_left_alone():
    p, q = parameter(1.0, grad=[1.0]), parameter(1.0)
    opt = optim.SGD([p, q], lr=0.1, momentum=0.9, weight_decay=1.0)
    opt.step()
    assert q.array[0] == 1 and q not in opt.state and p in opt.state


def test_closure_is_called_with_gradients_on_and_its_loss_returned():
    p = parameter(3.0)
    opt = optim.SGD([p], lr=0.25)

    def closure():
        opt.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with minicnn.no_grad():
        assert opt.step(closure).item() == 9
    assert p.array[0] == 1.5
    assert opt.step() is None


# ---------------------------------------------------------------------- in place


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
def test_a_stale_backward_is_detected(make):
    w = nn.Parameter(minicnn.ones(2, 2))
    x = minicnn.randn(2, 2, requires_grad=True)
    memory = w.array
    y = (x @ w).sum()
    y.backward(retain_graph=True)
    make([w], lr=0.1).step()
    assert w.array is memory
    with pytest.raises(RuntimeError, match=rf"{make.__name__}\.step"):
        y.backward()


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, momentum=0.9), optim.Adam])
def test_no_new_arrays_in_the_steady_state(make, one_thread):
    p = nn.Parameter(minicnn.zeros(1000, 300))
    p.grad = minicnn.ones(1000, 300)
    opt = make([p])
    opt.step()
    tracemalloc.start()
    try:
        opt.step()
        assert tracemalloc.get_traced_memory()[1] < 20_000  # the parameter has 1.2 MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_blocks_and_memory_orders_change_nothing(name, monkeypatch):
    rng = np.random.default_rng(0)
    start, grad = rng.normal(size=(5, 7, 3)), rng.normal(size=(5, 7, 3))

    def run(block, order):
        monkeypatch.setattr(passes, "_PIECE", block)
        p = nn.Parameter(np.array(start, order=order[0]))
        p.grad = minicnn.Tensor(np.array(grad, order=order[1]))
        extra = {"momentum": 0.9, "nesterov": True} if name == "SGD" else {"amsgrad": True}
        opt = getattr(optim, name)([p], lr=0.1, weight_decay=0.1, **extra)
        for _ in range(3):
            opt.step()
        return p.array

    whole = run(1 << 16, "CC")
    assert abs(whole - start).max() > 0.1
    for block in (4, 10, 50):
        for order in ("CC", "FC", "CF", "FF"):
            np.testing.assert_array_equal(run(block, order), whole)


ELEMENT_WISE = ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"]


@pytest.mark.parametrize("name", [*ELEMENT_WISE, "Rprop", "SGD"])
def test_the_number_of_threads_changes_nothing(name, monkeypatch):
    """Of large parameters, which are cut, and of small ones, which go together."""
    monkeypatch.setattr(passes, "_PIECE", 1000)
    shapes = [(70, 60), (3,), (20, 5, 6), (1,), (), (999,), (0, 4)]

    def steps():
        rng = np.random.default_rng(0)
        params = [nn.Parameter(rng.normal(size=s)) for s in shapes]
        opt = getattr(optim, name)(params, lr=0.1)
        for _ in range(3):
            for p in params:
                p.grad = minicnn.Tensor(np.asarray(rng.normal(size=p.shape)))
            opt.step()
        return np.concatenate([p.array.ravel() for p in params])

    first, *others = on_threads(steps)
    for result in others:
        np.testing.assert_array_equal(result, first)


def test_memory_that_two_parameters_share_is_changed_by_one_after_the_other(monkeypatch):
    monkeypatch.setattr(passes, "_PIECE", 100)
    memory = np.zeros(1000)

    def steps():
        memory[...] = 1
        params = [nn.Parameter(memory[:800]), nn.Parameter(memory[200:]), nn.Parameter(memory)]
        for p in params:
            p.grad = minicnn.ones(p.shape, dtype=minicnn.float64)
        optim.SGD(params, lr=0.25, weight_decay=2).step()
        return memory.copy()

    for result in on_threads(steps):
        # x <- x / 2 - 1/4, twice at the ends and three times in the middle
        np.testing.assert_array_equal(
            result[[0, 199, 200, 799, 800]], [-0.125] * 2 + [-0.3125] * 2 + [-0.125]
        )


def test_no_change_of_shared_memory_begins_before_the_one_in_front_is_made(monkeypatch):
    monkeypatch.setattr(passes, "_PIECE", 100)
    memory, begun = np.zeros(400), []

    def first(x):
        time.sleep(0.01)
        begun.append("first")

    def work():
        begun.clear()
        changes = passes.Pass()
        changes.add(first, memory[:300])
        changes.add(lambda x: begun.append("second"), memory[100:])
        changes.run()
        return begun == sorted(begun) and set(begun) == {"first", "second"}

    assert all(on_threads(work))


def test_what_was_changed_before_an_error_stays_changed():
    class Half(optim.Optimizer):
        def _update(self, p, grad, state, group):
            if p.array.size > 1:
                raise ValueError("too large")
            self._change(lambda x, g: np.subtract(x, g, out=x), p.array, grad)

    p, q = parameter(3.0, grad=[1.0]), parameter(1.0, 2.0, grad=[1.0, 1.0])
    opt = Half([p, q], {})
    with pytest.raises(ValueError, match="too large"):
        opt.step()
    assert p.item() == 2 and q.tolist() == [1, 2]


def test_scalars_and_float16():
    p = nn.Parameter(np.array(1.0, "float32"))
    h = nn.Parameter(np.ones(3, "float16"))
    for make in (lambda p: optim.SGD(p, lr=0.1, momentum=0.9), optim.Adam):
        p.grad, h.grad = minicnn.tensor(1.0), minicnn.ones(3, dtype=minicnn.float16)
        opt = make([p, h])
        opt.step(), opt.step()
    assert p.array < 1 and p.array.shape == () and p.dtype == minicnn.float32
    assert h.dtype == minicnn.float16 and (h.array < 1).all()


def test_zero_grad():
    p = parameter(1.0, grad=[2.0])
    opt = optim.SGD([p, parameter(1.0)], lr=0.1)
    kept = p.grad.array
    opt.zero_grad(set_to_none=False)
    assert np.shares_memory(p.grad.array, kept) and kept[0] == 0
    opt.zero_grad()
    assert p.grad is None


# ---------------------------------------------------------------------- groups and errors


def test_zero_grad_keeps_the_gradient_that_others_hold():
    p = nn.Parameter(np.ones(2))
    opt = optim.SGD([p])
    p.grad = held = minicnn.ones(2, dtype=minicnn.float64)
    opt.zero_grad(set_to_none=False)
    assert p.grad is held and not held.array.any()
    p.grad = minicnn.ones(2, requires_grad=True) * 2
    opt.zero_grad(set_to_none=False)
    assert not p.grad.requires_grad and not p.grad.array.any()


def test_a_rate_that_is_a_tensor():
    rate = minicnn.tensor([0.5])
    p = nn.Parameter(np.ones(2))
    p.grad = minicnn.ones(2, dtype=minicnn.float64)
    opt = optim.SGD([p], lr=rate)
    rate.fill_(0.25)
    opt.step()
    np.testing.assert_array_equal(p.array, [0.75, 0.75])
    with pytest.raises(ValueError, match=r"SGD: Tensor lr must be 1-element, got shape \(2,\)"):
        optim.SGD([p], lr=minicnn.tensor([0.1, 0.2]))


def test_a_group_without_momentum_leaves_nesterov_idle():
    a, b = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))
    groups = [{"params": [a]}, {"params": [b], "momentum": 0}]
    opt = optim.SGD(groups, lr=0.5, momentum=0.5, nesterov=True)
    a.grad = b.grad = minicnn.ones(2, dtype=minicnn.float64)
    opt.step()
    np.testing.assert_array_equal(a.array, [0.25, 0.25])
    np.testing.assert_array_equal(b.array, [0.5, 0.5])


def test_groups_have_their_own_settings():
    p, q = parameter(1.0, grad=[1.0]), parameter(1.0, grad=[1.0])
    opt = optim.SGD([{"params": [p]}, {"params": q, "lr": 0.5}], lr=0.1)
    opt.step()
    np.testing.assert_allclose([p.item(), q.item()], [0.9, 0.5])
    r = parameter(1.0, grad=[1.0])
    opt.add_param_group({"params": iter([r]), "momentum": 0.9})
    assert opt.param_groups[2]["lr"] == 0.1 and opt.param_groups[2]["params"] == [r]
    opt.param_groups[0]["lr"] = 0
    opt.step()
    np.testing.assert_allclose([p.item(), q.item(), r.item()], [0.9, 0.0, 0.9])


def test_named_parameters():
    net = nn.Linear(2, 2)
    opt = optim.SGD(net.named_parameters(), lr=0.1)
    assert opt.param_groups[0]["param_names"] == ["weight", "bias"]
    assert opt.param_groups[0]["params"][1] is net.bias
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="names"):
        opt.add_param_group({"params": [parameter(1.0)]})
    with pytest.raises(ValueError, match="names"):
        optim.SGD([("a", parameter(1.0)), parameter(1.0)])


def test_errors_of_the_constructor():
    p = parameter(1.0)
    for params, error, text in (
        ([], ValueError, "empty parameter list"),
        (p, TypeError, "got one Tensor"),
        ([1.0], TypeError, "can only optimize Tensors, got float"),
        ([p * 2], ValueError, "non-leaf"),
        ([{"params": {p}}], TypeError, "order"),
        ([{"params": [p]}, {"params": [p]}], ValueError, "more than one parameter group"),
        ([{"lr": 1.0}], ValueError, "'params'"),
        ([{"params": [p]}, p], TypeError, "dict"),
        ([{"params": [p], "lr": -1.0}], ValueError, "Invalid learning rate: -1"),
    ):
        with pytest.raises(error, match=text):
            optim.SGD(params, lr=0.1)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([p, p], lr=0.1)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda p: optim.SGD(p, lr=-1), "SGD: Invalid learning rate: -1"),
        (lambda p: optim.SGD(p, momentum=-1), "Invalid momentum value: -1"),
        (lambda p: optim.SGD(p, weight_decay=-1), "Invalid weight_decay value: -1"),
        (lambda p: optim.SGD(p, nesterov=True), "Nesterov momentum requires"),
        (lambda p: optim.SGD(p, nesterov=True, momentum=1, dampening=1), "Nesterov"),
        (lambda p: optim.Adam(p, lr=-1), "Adam: Invalid learning rate"),
        (lambda p: optim.Adam(p, eps=-1), "Invalid epsilon value"),
        (lambda p: optim.Adam(p, betas=(1.0, 0.9)), "beta parameter at index 0: 1.0"),
        (lambda p: optim.AdamW(p, betas=(0.9, -1)), "AdamW: Invalid beta parameter at index 1"),
        (lambda p: optim.Adam(p, betas=(0.9,)), "pair"),
        (lambda p: optim.AdamW(p, weight_decay=-1), "Invalid weight_decay value"),
        (lambda p: optim.Adam(p, differentiable=True), "differentiable"),
    ],
)
def test_settings_are_checked(make, text):
    with pytest.raises(ValueError, match=text):
        make([parameter(1.0)])


def test_a_failed_group_is_not_added():
    p = parameter(1.0)
    opt = optim.SGD([p], lr=0.1)
    group = {"params": [parameter(2.0)], "momentum": -3}
    with pytest.raises(ValueError, match="momentum"):
        opt.add_param_group(group)
    assert len(opt.param_groups) == 1 and "lr" not in group


def test_a_gradient_of_another_shape_changes_nothing():
    p, q = parameter(1.0, grad=[1.0]), parameter(1.0, 2.0, grad=[1.0])
    opt = optim.Adam([p, q])
    with pytest.raises(RuntimeError, match=r"shape \(2,\).*shape \(1,\)"):
        opt.step()
    assert p.item() == 1 and not opt.state


def test_an_optimizer_of_ones_own():
    class Sign(optim.Optimizer):
        def __init__(self, params, lr=optimizer_module.required):
            super().__init__(params, {"lr": lr})

        @minicnn.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(group["lr"] * p.grad.sign())

    p = parameter(1.0, grad=[-7.0])
    Sign([p], lr=0.5).step()
    assert p.item() == 1.5
    with pytest.raises(ValueError, match="'lr'"):
        Sign([p])
    with pytest.raises(NotImplementedError, match="_update"):
        optim.Optimizer([p], {}).step()


def test_repr():
    text = repr(optim.SGD([parameter(1.0)], lr=0.5))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0\n") and "lr: 0.5" in text


# ---------------------------------------------------------------------- state_dict


def trained(make, steps=3):
    p, q = parameter(1.0, 2.0), parameter(3.0)
    opt = make([{"params": [p]}, {"params": [q], "lr": 0.05}])
    for i in range(steps):
        p.grad, q.grad = minicnn.tensor(p.array * (i + 1)), minicnn.tensor(q.array - i)
        opt.step()
    return p, q, opt


MAKERS = [
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: optim.Adam(p, lr=0.1, amsgrad=True),
    lambda p: optim.AdamW(p, lr=0.1),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_loaded_state_goes_on_to_the_same_bits(make):
    p, q, opt = trained(make)
    saved = pickle.loads(pickle.dumps(opt.state_dict()))
    assert list(saved["state"]) == [0, 1] and saved["param_groups"][1]["params"] == [1]
    p2, q2 = parameter(*p.array), parameter(*q.array)
    other = make([{"params": [p2]}, {"params": [q2]}])
    other.load_state_dict(saved)
    assert other.param_groups[1]["lr"] == 0.05 and other.param_groups[1]["params"] == [q2]
    for a, b in ((p, p2), (q, q2)):
        a.grad, b.grad = minicnn.tensor(a.array), minicnn.tensor(a.array)
    opt.step(), other.step()
    np.testing.assert_array_equal(p.array, p2.array)
    np.testing.assert_array_equal(q.array, q2.array)
    for values in saved["state"].values():  # loading has copied
        for key, value in values.items():
            assert not np.shares_memory(value.array, other.state[p2][key].array)


def test_loading_casts_to_the_parameters_type():
    _, _, opt = trained(MAKERS[1])
    saved = opt.state_dict()
    p, q = parameter(1.0, 1.0, dtype="float32"), parameter(1.0, dtype="float32")
    other = MAKERS[1]([{"params": [p]}, {"params": [q]}])
    saved["state"][0] = {k: v.numpy() for k, v in saved["state"][0].items()}  # arrays do as well
    other.load_state_dict(saved)
    assert other.state[p]["exp_avg"].dtype == minicnn.float32
    assert other.state[p]["step"].item() == 3
    assert opt.state_dict()["state"][1]["exp_avg"].dtype == minicnn.float64
    opt.load_state_dict(other.state_dict())
    assert opt.state_dict()["state"][1]["exp_avg"].dtype == minicnn.float64
    assert opt.state_dict()["state"][1]["step"].dtype == minicnn.float32  # a count, no direction


def test_older_and_other_state_dicts():
    p, _, opt = trained(lambda p: optim.Adam(p, lr=0.1))
    saved = opt.state_dict()
    for i, values in saved["state"].items():
        values["step"] = 3 + i  # a number, as old files have it
    for group in saved["param_groups"]:
        del group["decoupled_weight_decay"]
    q, r = parameter(1.0, 1.0), parameter(1.0)
    other = optim.AdamW([{"params": [q]}, {"params": [r]}])
    other.load_state_dict(saved)
    assert other.state[r]["step"].item() == 4
    assert other.param_groups[0]["decoupled_weight_decay"] is True
    other.load_state_dict(opt.state_dict())
    assert other.param_groups[0]["decoupled_weight_decay"] is True
    q.grad, r.grad = minicnn.tensor(q.array), minicnn.tensor(r.array)
    other.step()
    assert other.state[r]["step"].item() == 4
    np.testing.assert_array_equal(opt.state[p]["step"].array, 3)


def test_a_malformed_state_dict_changes_nothing():
    p, _, opt = trained(MAKERS[1])
    good = copy.deepcopy(opt.state_dict())

    def broken(change):
        bad = copy.deepcopy(good)
        bad["param_groups"][0]["lr"] = 123.0
        bad["state"][0]["step"].array[...] = 99
        change(bad)
        return bad

    groups = opt.param_groups
    for change, text in (
        (lambda d: d.pop("state"), "'state'"),
        (lambda d: d.pop("param_groups"), "'param_groups'"),
        (lambda d: d["param_groups"].pop(), "different number of parameter groups: 1"),
        (lambda d: d["param_groups"][1].update(params=[]), "doesn't match the size"),
        (lambda d: d["param_groups"][1].pop("params"), "doesn't match the size"),
        (lambda d: d["param_groups"][1].update(lr=math.nan), "Invalid learning rate"),
        (lambda d: d["param_groups"][1].update(eps=-1), "Invalid epsilon value"),
        (lambda d: d["param_groups"][1].update(lr="fast"), "wrong type"),
        (lambda d: d["state"].update({7: {}}), "got 7"),
        (lambda d: d["state"].update({1: 3}), "got 1: int"),
        (lambda d: d["state"][1].update(exp_avg=minicnn.zeros(4)), r"exp_avg has shape \(4,\)"),
        (lambda d: d["state"][1].update(exp_avg="zeros"), "exp_avg expects an array"),
        (lambda d: d["state"][1].pop("max_exp_avg_sq"), "parameter 1 lacks .*max_exp_avg_sq"),
    ):
        with pytest.raises(ValueError, match=text):
            opt.load_state_dict(broken(change))
        assert opt.param_groups is groups and groups[0]["lr"] == 0.1
        assert opt.state[p]["step"].item() == 3
    with pytest.raises(ValueError, match="load_state_dict"):
        opt.load_state_dict([1])


def test_a_loaded_group_shares_nothing_with_the_state():
    p = nn.Parameter(np.ones(2))
    opt = optim.SGD([p], lr=minicnn.tensor(0.5))
    saved = opt.state_dict()
    opt.load_state_dict(saved)
    opt.param_groups[0]["lr"].fill_(0.1)
    assert saved["param_groups"][0]["lr"].item() == 0.5


def test_copies_are_independent():
    p, _, opt = trained(MAKERS[0])
    for twin in (copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        p2 = twin.param_groups[0]["params"][0]
        assert p2 is not p
        np.testing.assert_array_equal(
            twin.state[p2]["momentum_buffer"].array, opt.state[p]["momentum_buffer"].array
        )
        p2.grad = minicnn.ones(2, dtype=minicnn.float64)
        before = p.array.copy()
        twin.step()
        np.testing.assert_array_equal(p.array, before)
        assert (p2.array != before).all()

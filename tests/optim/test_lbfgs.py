"""L-BFGS: by hand, on quadratics and Rosenbrock's valley, its line search, states, errors."""

import pickle

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import minicnn
from minicnn import nn, optim
from minicnn.optim.lbfgs import cubic_minimum, strong_wolfe


def problem(loss_of, start, **settings):
    p = nn.Parameter(np.array(start))
    opt = optim.LBFGS([p], **settings)

    def closure():
        opt.zero_grad()
        loss = loss_of(p)
        loss.backward()
        return loss

    return p, opt, closure


def rosenbrock(p):
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def test_two_iterations_by_hand():
    curve = np.array([1.0, 4.0])
    p, opt, closure = problem(
        lambda p: (minicnn.tensor(curve) * p * p).sum() / 2,
        [2.0, 1.0],
        lr=0.5,
        max_iter=2,
        max_eval=5,
    )
    assert opt.step(closure).item() == 4  # the loss at the start
    g0 = curve * [2, 1]
    s = -0.5 / abs(g0).sum() * g0
    g1 = curve * (np.array([2, 1]) + s)
    y = g1 - g0
    rho, eye = 1 / (y @ s), np.eye(2)
    h = (y @ s) / (y @ y) * eye
    h = (eye - rho * np.outer(s, y)) @ h @ (eye - rho * np.outer(y, s)) + rho * np.outer(s, s)
    np.testing.assert_allclose(p.array, np.array([2, 1]) + s - 0.5 * h @ g1, rtol=1e-12)
    assert opt.state[p]["n_iter"] == 2 and opt.state[p]["func_evals"] == 2


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_a_quadratic_is_solved(search):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    matrix, b = root @ root.T + np.eye(5), rng.normal(size=5)
    p, opt, closure = problem(
        lambda p: (p @ (minicnn.tensor(matrix) @ p)) / 2 - (minicnn.tensor(b) * p).sum(),
        np.zeros(5),
        line_search_fn=search,
        max_iter=100,
        tolerance_change=1e-14,
    )
    opt.step(closure)
    np.testing.assert_allclose(p.array, np.linalg.solve(matrix, b), atol=1e-6)


def test_the_valley_of_rosenbrock():
    p, opt, closure = problem(
        rosenbrock, [-1.2, 1.0], line_search_fn="strong_wolfe", max_iter=60, tolerance_change=1e-14
    )
    opt.step(closure)
    np.testing.assert_allclose(p.array, 1, atol=1e-5)
    assert opt.state[p]["func_evals"] < 75
    before = opt.state[p]["func_evals"]
    opt.step(closure)
    assert opt.state[p]["func_evals"] <= before + 3  # nothing is left to do


def test_the_steps_are_the_same_on_any_number_of_blas_threads():
    steps = set()
    for number in (1, 2, 3, 4):
        with threadpool_limits(number, user_api="blas"):
            minicnn.manual_seed(0)
            x = nn.Parameter(minicnn.randn(100_003, dtype=minicnn.float64))
            optimizer = optim.LBFGS([x], max_iter=3)

            def closure(x=x, optimizer=optimizer):
                optimizer.zero_grad()
                loss = ((x - 1) ** 4).sum()
                loss.backward()
                return loss

            optimizer.step(closure)
            steps.add(x.detach().numpy().tobytes())
    assert len(steps) == 1


def test_several_parameters_of_which_one_has_no_gradient():
    p, q = nn.Parameter(np.ones((2, 2))), nn.Parameter(np.array(3.0))
    unused = nn.Parameter(np.ones(3))
    opt = optim.LBFGS([p, unused, q], max_iter=50, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        loss = ((p - 2) ** 2).sum() + (q + p.sum()) ** 2
        loss.backward()
        return loss

    with minicnn.no_grad():
        opt.step(closure)
    np.testing.assert_allclose(p.array, 2, atol=1e-5)
    np.testing.assert_allclose(q.array, -8, atol=1e-5)
    np.testing.assert_array_equal(unused.array, 1)


def point(f, slope):
    return lambda t: (t, f(t), None, slope(t))


@pytest.mark.parametrize("guess", [1e-3, 0.3, 1.0, 40.0])
def test_wolfes_conditions_hold(guess):
    along = point(lambda t: (t - 2) ** 2 + np.cos(3 * t), lambda t: 2 * (t - 2) - 3 * np.sin(3 * t))
    start = along(0.0)
    (t, f, _, slope), evals = strong_wolfe(along, start, guess, 1.0, 25)
    assert f <= start[1] + 1e-4 * t * start[3] and abs(slope) <= 0.9 * abs(start[3])
    assert 1 <= evals <= 25


def test_the_line_search_ends_when_its_evaluations_do():
    steep = point(lambda t: -t, lambda t: -1.0)  # falls forever
    (t, *_), evals = strong_wolfe(steep, steep(0.0), 1.0, 1.0, 3)
    assert t > 100 and evals == 4
    rising = point(lambda t: t * t - t / 2, lambda t: 2 * t - 1 / 2)
    (t, *_), evals = strong_wolfe(rising, rising(0.0), 1.0, 1.0, 0)
    assert t == 0 and evals == 1


def test_the_minimum_of_a_cubic():
    cubic = point(lambda t: t**3 - 3 * t, lambda t: 3 * t * t - 3)  # its minimum is at 1
    for a, b in ((0.0, 3.0), (3.0, 0.0), (-0.5, 1.5)):
        assert cubic_minimum(cubic(a), cubic(b)) == pytest.approx(1)
    assert cubic_minimum(cubic(0.0), cubic(0.5), (0.6, 0.8)) == 0.8
    falling = point(lambda t: -t - t**3, lambda t: -1 - 3 * t * t)
    assert cubic_minimum(falling(0.0), falling(1.0)) == 0.5


def test_the_minimum_of_lines_points_and_nothing():
    def end(t, f, slope):
        return t, f, None, np.float64(slope)

    assert cubic_minimum(end(0, 1.0, -1), end(1, 0.0, -1), (1.01, 10)) == 10  # falls for ever
    assert cubic_minimum(end(0, 0.0, 1), end(1, 1.0, 1), (1.01, 10)) == 1.01
    assert cubic_minimum(end(0, np.nan, -1), end(1, 1.0, 1)) == 0.5
    assert cubic_minimum(end(0, 1.0, -1), end(0.0, 1.0, -1)) == 0


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("settings", [{"max_iter": 0}, {"lr": 0.0}])
def test_a_step_of_no_length(search, settings):
    """As a schedule ends that goes down to 0."""
    p, opt, closure = problem(rosenbrock, [-1.0, 2.0], line_search_fn=search, **settings)
    assert opt.step(closure).item() == opt.step(closure).item() == 104
    np.testing.assert_array_equal(p.array, [-1, 2])


def test_a_loaded_state_goes_on_to_the_same_bits():
    p, opt, closure = problem(rosenbrock, [-1.2, 1.0], lr=0.1, max_iter=4)
    opt.step(closure)
    saved = pickle.loads(pickle.dumps(opt.state_dict()))
    q, other, again = problem(rosenbrock, p.array, lr=0.1, max_iter=4)
    other.load_state_dict(saved)
    opt.step(closure), other.step(again)
    np.testing.assert_array_equal(p.array, q.array)
    assert not np.shares_memory(saved["state"][0]["old_dirs"][0].array, other.state[q]["d"].array)
    _, larger, _ = problem(rosenbrock, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"d has shape \(2,\), expects \(3,\)"):
        larger.load_state_dict(saved)
    assert not larger.state
    del saved["state"][0]["n_iter"]
    with pytest.raises(ValueError, match=r"lacks .*n_iter"):
        other.load_state_dict(saved)


def test_a_stale_backward_is_detected():
    p, opt, closure = problem(lambda p: (p * p).sum(), [1.0, 2.0])
    loss = (p * p).sum()
    opt.step(closure)
    with pytest.raises(RuntimeError, match=r"LBFGS\.step"):
        loss.backward()


def test_errors():
    p, q = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    for params, settings, text in (
        ([p], {"lr": -1}, "Invalid learning rate: -1"),
        ([p], {"line_search_fn": "armijo"}, "line_search_fn .*'armijo'"),
        ([{"params": [p]}, {"params": [q]}], {}, "one parameter group"),
    ):
        with pytest.raises(ValueError, match=f"LBFGS: .*{text}"):
            optim.LBFGS(params, **settings)

"""nn.init: moments, bounds, seeds, errors."""

import math
import threading

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.nn import init


def big(*shape, dtype=minicnn.float32):
    return minicnn.empty(*(shape or (400, 500)), dtype=dtype)


def close_to(sample, mean, std):
    """Mean and deviation of 200,000 draws: 5 standard errors."""
    n = sample.size
    assert abs(sample.mean() - mean) < 5 * std / math.sqrt(n)
    assert abs(sample.std() - std) < 5 * std / math.sqrt(n)


@pytest.mark.parametrize("dtype", [minicnn.float32, minicnn.float64])
def test_uniform_and_normal(dtype):
    t = init.uniform_(big(dtype=dtype), -2, 4)
    assert t.array.min() >= -2 and t.array.max() <= 4 and t.dtype == dtype
    close_to(t.array.astype("float64"), 1, 6 / math.sqrt(12))
    # Each quarter of the interval holds a quarter of the draws.
    assert abs(np.histogram(t.array, 4, (-2, 4))[0] / t.array.size - 0.25).max() < 0.006
    t = init.normal_(big(dtype=dtype), 3, 0.5)
    close_to(t.array.astype("float64"), 3, 0.5)
    assert abs((abs(t.array - 3) < 0.5).mean() - 0.6827) < 0.006


@pytest.mark.parametrize(
    "mean, std, a, b",
    [
        (0, 1, -2, 2),
        (0, 0.02, -2, 2),
        (1, 2, 0, 1.5),
        (0, 1, 2, 9),
        (0, 1, 1.5, 3),
        (0, 1, -9, -3),
        (0, 1, 3, 3.1),
    ],
)
def test_trunc_normal(mean, std, a, b):
    t = init.trunc_normal_(big(dtype=minicnn.float64), mean, std, a, b).array
    assert t.min() > a and t.max() < b  # nothing was clipped to the bounds
    # The density restricted to [a, b], integrated on a fine grid.
    z = np.linspace(max(a, mean - 12 * std), min(b, mean + 12 * std), 200001)
    p = np.exp(-((z - mean) ** 2) / (2 * std**2))
    p /= p.sum()
    expected = (p * z).sum()
    close_to(t, expected, math.sqrt((p * (z - expected) ** 2).sum()))


def test_trunc_normal_float32_stays_within_bounds():
    t = init.trunc_normal_(big(), 0, 1, -0.1, 0.1)
    assert t.dtype == minicnn.float32
    assert (t.array >= np.float32(-0.1)).all() and (t.array <= np.float32(0.1)).all()


def test_fixed_values():
    t = minicnn.empty(3, 4)
    assert init.constant_(t, 2.5) is t and (t.array == 2.5).all()
    assert not init.zeros_(t).array.any()
    assert (init.ones_(t).array == 1).all()
    np.testing.assert_array_equal(init.eye_(t).array, np.eye(3, 4))


def test_dirac_passes_channels_on():
    w = init.dirac_(minicnn.empty(4, 2, 3, 3), groups=2)
    x = minicnn.randn(1, 4, 5, 5)
    y = nn.functional.conv2d(x, w, padding=1, groups=2)
    np.testing.assert_array_equal(y.array, x.array)


def test_xavier_and_kaiming_have_their_variances():
    shape = (60, 40, 5, 7)  # fan_in 1400, fan_out 2100
    for fill, std in (
        (lambda t: init.xavier_normal_(t, 2.0), 2 * math.sqrt(2 / 3500)),
        (lambda t: init.xavier_uniform_(t, 2.0), 2 * math.sqrt(2 / 3500)),
        (init.kaiming_normal_, math.sqrt(2 / 1400)),
        (lambda t: init.kaiming_uniform_(t, 0.5), math.sqrt(2 / 1.25 / 1400)),
        (lambda t: init.kaiming_normal_(t, mode="fan_out"), math.sqrt(2 / 2100)),
        (lambda t: init.kaiming_uniform_(t, nonlinearity="tanh"), 5 / 3 / math.sqrt(1400)),
    ):
        close_to(fill(big(*shape)).array.astype("float64"), 0, std)
    bound = math.sqrt(3) * 2 * math.sqrt(2 / 3500)
    t = init.xavier_uniform_(big(*shape), 2.0).array
    assert 0.999 * bound < abs(t).max() <= bound


def test_variance_is_kept_through_layers():
    x = minicnn.randn(64, 500)
    for _ in range(5):
        w = init.kaiming_normal_(minicnn.empty(500, 500), nonlinearity="relu")
        x = nn.functional.relu(x @ w.t())
    assert 0.5 < (x.array**2).mean() < 2


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (6, 2, 3), (3, 2, 2, 2)])
def test_orthogonal(shape):
    t = init.orthogonal_(minicnn.empty(*shape, dtype=minicnn.float64), gain=3)
    m = t.array.reshape(shape[0], -1)
    product = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(product, 9 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_signs_are_random():
    firsts = [init.orthogonal_(minicnn.empty(3, 3)).array[0, 0] > 0 for _ in range(60)]
    assert 10 < sum(firsts) < 50


def test_sparse():
    t = init.sparse_(minicnn.empty(100, 50), 0.3, std=2.0).array
    assert ((t == 0).sum(axis=0) == 30).all()
    assert 1.8 < t[t != 0].std() < 2.2


def test_generator_and_seed():
    g = minicnn.Generator()
    for fill in (init.uniform_, init.normal_, init.trunc_normal_, init.orthogonal_):
        a = fill(minicnn.empty(5, 5), generator=g.manual_seed(3)).array
        b = fill(minicnn.empty(5, 5), generator=g.manual_seed(3)).array
        c = fill(minicnn.empty(5, 5), generator=g).array
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
    minicnn.manual_seed(5)
    a = nn.Conv2d(2, 3, 3)
    minicnn.manual_seed(5)
    b = nn.Conv2d(2, 3, 3)
    np.testing.assert_array_equal(a.weight.array, b.weight.array)


def test_filling_is_not_recorded_but_noticed():
    w = nn.Parameter(minicnn.zeros(2, 2))
    assert init.normal_(w) is w and w.is_leaf
    x = minicnn.randn(2, 2, requires_grad=True)
    y = (x @ w).sum()
    init.ones_(w)
    with pytest.raises(RuntimeError, match="constant_"):
        y.backward()


def test_empty_and_half_tensors():
    assert init.kaiming_uniform_(minicnn.empty(3, 0)).shape == (3, 0)
    assert init.orthogonal_(minicnn.empty(0, 3)).shape == (0, 3)
    t = init.normal_(big(dtype=minicnn.float16))
    assert t.dtype == minicnn.float16 and 0.9 < t.array.astype("float32").std() < 1.1


def test_gains():
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("leaky_relu", 0.5) == math.sqrt(2 / 1.25)
    assert init.calculate_gain("conv2d") == 1


def test_errors():
    t = minicnn.empty(3)
    for fill in (init.xavier_normal_, init.kaiming_uniform_, init.orthogonal_):
        with pytest.raises(ValueError, match=rf"{fill.__name__}.*2 dim.*\(3,\)"):
            fill(t)
    for fill in (init.eye_, lambda t: init.sparse_(t, 0.1), init.dirac_):
        with pytest.raises(ValueError, match="dimensions"):
            fill(t)
    m = minicnn.empty(3, 3)
    for call, text in (
        (lambda: init.uniform_(t, 2, 1), "a <= b"),
        (lambda: init.normal_(t, 0, -1), "std"),
        (lambda: init.trunc_normal_(t, a=2, b=1), "a < b"),
        (lambda: init.kaiming_normal_(m, mode="fan"), "fan_in"),
        (lambda: init.kaiming_normal_(m, nonlinearity="gelou"), "gelou"),
        (lambda: init.calculate_gain("leaky_relu", "x"), "negative_slope"),
        (lambda: init.dirac_(minicnn.empty(3, 3, 1), groups=2), "groups"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


def test_layers_start_within_one_over_sqrt_fan_in():
    conv = nn.Conv2d(8, 64, 3, groups=2)  # fan_in 36
    fc = nn.Linear(100, 300)
    for layer, fan_in in ((conv, 36), (fc, 100)):
        bound = 1 / math.sqrt(fan_in)
        assert 0.9 * bound < abs(layer.weight.array).max() <= bound
        assert 0.8 * bound < abs(layer.bias.array).max() <= bound
        assert abs(layer.weight.array.std() - bound / math.sqrt(3)) < 0.03 * bound


# ---------------------------------------------------------------------- as PyTorch

OLD = ["uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "xavier_normal",
       "kaiming_uniform", "kaiming_normal", "orthogonal", "sparse"]  # fmt: skip


def test_all_of_torch_nn_init_is_there():
    torch = pytest.importorskip("torch")
    public = {
        name
        for name, value in vars(torch.nn.init).items()
        if callable(value) and not name.startswith("_") and not isinstance(value, type)
    } - {"Callable", "Literal", "ParamSpec", "TypeVar"}
    assert public >= {*OLD, "trunc_normal_"}
    assert not [name for name in public if not callable(getattr(init, name, None))]


@pytest.mark.parametrize("name", OLD)
def test_old_names_warn_and_fill(name):
    args = {"constant": (2.0,), "sparse": (0.5,)}.get(name, ())
    shape = (4, 3, 3) if name == "dirac" else (4, 3)
    expected = text = None
    with pytest.warns(FutureWarning) as caught:
        minicnn.manual_seed(1)
        t = getattr(init, name)(minicnn.empty(*shape), *args)
    text = str(caught[0].message)
    minicnn.manual_seed(1)
    expected = getattr(init, name + "_")(minicnn.empty(*shape), *args)
    np.testing.assert_array_equal(t.array, expected.array)
    assert f"nn.init.{name}`" in text and f"nn.init.{name}_`" in text
    assert caught[0].filename == __file__  # the user's line
    torch = pytest.importorskip("torch")
    with pytest.warns(FutureWarning) as theirs:
        getattr(torch.nn.init, name)(torch.empty(*shape), *args)
    assert text == str(theirs[0].message)


@pytest.mark.parametrize(
    "shape, groups",
    [((4, 4, 3), 1), ((4, 2, 3), 2), ((6, 2, 3, 4), 3), ((2, 5, 2, 2), 1), ((5, 3, 3, 1, 5), 1)],
)
def test_dirac_and_eye_are_pytorchs(shape, groups):
    torch = pytest.importorskip("torch")
    mine = init.dirac_(minicnn.empty(*shape), groups).array
    np.testing.assert_array_equal(mine, torch.nn.init.dirac_(torch.empty(*shape), groups).numpy())
    assert mine.sum() == groups * min(shape[0] // groups, shape[1])
    mine = init.eye_(minicnn.empty(*shape[:2])).array
    np.testing.assert_array_equal(mine, torch.nn.init.eye_(torch.empty(*shape[:2])).numpy())


def test_gains_are_pytorchs():
    torch = pytest.importorskip("torch")
    names = ["linear", "sigmoid", "tanh", "relu", "selu", "leaky_relu"]
    names += [f"conv{t}{n}d" for n in (1, 2, 3) for t in ("", "_transpose")]
    for name in names:
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    for slope in (0, 0.2, 2):
        mine = init.calculate_gain("leaky_relu", slope)
        assert mine == torch.nn.init.calculate_gain("leaky_relu", slope)
    with pytest.raises(ValueError, match="negative_slope"):
        init.calculate_gain("leaky_relu", True)


SCALED = {
    "uniform_": lambda i, t: i.uniform_(t, -1, 3),
    "normal_": lambda i, t: i.normal_(t, 2, 3),
    "trunc_normal_": lambda i, t: i.trunc_normal_(t, 0.5, 1, -1, 1),
    "xavier_uniform_": lambda i, t: i.xavier_uniform_(t, 1.5),
    "xavier_normal_": lambda i, t: i.xavier_normal_(t),
    "kaiming_uniform_": lambda i, t: i.kaiming_uniform_(t, 0.3, "fan_out"),
    "kaiming_normal_": lambda i, t: i.kaiming_normal_(t, nonlinearity="relu"),
    "selu": lambda i, t: i.kaiming_normal_(t, nonlinearity="selu"),
    "orthogonal_": lambda i, t: i.orthogonal_(t, 2),
    "sparse_": lambda i, t: i.sparse_(t.flatten(1), 0.25, 0.5),
}


@pytest.mark.parametrize("name", SCALED)
def test_the_distribution_is_pytorchs(name):
    """Two samples of 60,000: equal moments, and equal distributions by Kolmogorov and Smirnov."""
    torch = pytest.importorskip("torch")
    minicnn.manual_seed(0), torch.manual_seed(0)
    shape = (200, 12, 5, 5)
    a = SCALED[name](init, minicnn.empty(*shape)).array.ravel()
    b = SCALED[name](torch.nn.init, torch.empty(*shape)).numpy().ravel()
    n = a.size
    assert abs(a.mean() - b.mean()) < 5 * b.std() * math.sqrt(2 / n)
    assert abs(a.std() / b.std() - 1) < 0.02
    places = np.sort(np.concatenate([a, b]))
    steps = [np.searchsorted(np.sort(v), places, "right") / n for v in (a, b)]
    assert np.abs(steps[0] - steps[1]).max() < 2.2 * math.sqrt(2 / n)  # p about 1e-4


def test_generators_are_used_and_the_global_one_is_left_alone():
    for fill in (
        lambda t, g: init.xavier_uniform_(t, generator=g),
        lambda t, g: init.xavier_normal_(t, generator=g),
        lambda t, g: init.kaiming_uniform_(t, generator=g),
        lambda t, g: init.kaiming_normal_(t, generator=g),
        lambda t, g: init.sparse_(t, 0.5, generator=g),
    ):
        state = minicnn.get_rng_state()
        a = fill(minicnn.empty(4, 4), minicnn.Generator().manual_seed(3))
        b = fill(minicnn.empty(4, 4), minicnn.Generator().manual_seed(3))
        np.testing.assert_array_equal(a.array, b.array)
        np.testing.assert_array_equal(np.asarray(state), np.asarray(minicnn.get_rng_state()))


def test_nothing_drawn_leaves_tensors_and_generators_alone():
    fills = {
        "uniform": init.uniform_, "normal": init.normal_, "trunc": init.trunc_normal_,
        "xavier": init.xavier_uniform_, "kaiming": init.kaiming_normal_,
        "orthogonal": init.orthogonal_, "sparse": lambda t: init.sparse_(t, 0.5),
    }  # fmt: skip
    before = np.asarray(minicnn.get_rng_state()).copy()
    others = []
    with init.nothing_drawn():
        for name, fill in fills.items():
            t = minicnn.full((4, 4), 7.0)
            assert fill(t) is t and (t.array == 7).all(), name
        assert (init.ones_(minicnn.full((2,), 7.0)).array == 1).all()
        assert np.array_equal(np.asarray(minicnn.get_rng_state()), before)
        thread = threading.Thread(
            target=lambda: others.append(init.uniform_(minicnn.full((4,), 7.0)))
        )
        thread.start()
        thread.join()
    assert (others[0].array < 7).all()
    with pytest.raises(KeyError), init.nothing_drawn():
        raise KeyError
    for name, fill in fills.items():
        assert not (fill(minicnn.full((4, 4), 7.0)).array == 7).all(), name

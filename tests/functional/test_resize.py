"""interpolate: derivatives, adjoints, types, memory, PyTorch's rounding and errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn.autograd import gradcheck, gradgradcheck
from minicnn.nn.functional import interpolate

AXES = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
MODES = ["nearest", "nearest-exact", "area", *AXES]
WEIGHTED = list(AXES)


def leaf(array):
    return minicnn.tensor(array, requires_grad=True)


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def image(mode, low=2):
    """x (2, 2, ...) with as many axes as the mode takes."""
    dims = AXES.get(mode, 2)
    return numbers(2, 2, *[low + k for k in range(dims)])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 3, 5])
def test_derivatives(mode, size):
    x = leaf(image(mode))
    assert gradcheck(lambda t: interpolate(t, size, mode=mode), x)
    assert gradgradcheck(lambda t: interpolate(t * t, size, mode=mode), x, directions=1)


@settings(max_examples=60)
@given(
    mode=st.sampled_from(MODES),
    sizes=st.tuples(*[st.integers(1, 6)] * 3),
    new=st.tuples(*[st.integers(1, 9)] * 3),
    align=st.booleans(),
    order=st.sampled_from(["C", "F"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    antialias=st.booleans(),
)
def test_backward_is_the_adjoint_on_every_backend(mode, sizes, new, align, order, dtype, antialias):
    """<y(x), g> = <x, grad_x(g)>, and the reference loops give the same."""
    dims = AXES.get(mode, 3)
    options = {"align_corners": align} if mode in WEIGHTED else {}
    if mode in ("bilinear", "bicubic"):
        options["antialias"] = antialias
    rng = np.random.default_rng(0)
    x = np.asarray(rng.standard_normal((2, 1, *sizes[:dims])), dtype, order=order)
    g = rng.standard_normal((2, 1, *new[:dims])).astype(dtype)
    results = []
    for name in minicnn.backend.available():
        t = minicnn.from_numpy(x).requires_grad_()
        with minicnn.use_backend(name):
            y = interpolate(t, new[:dims], mode=mode, **options)
            y.backward(minicnn.tensor(g))
        assert y.dtype == t.grad.dtype == dtype
        results.append((y.detach().numpy(), t.grad.numpy()))
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    (y, grad_x), *others = results
    for other in others:
        np.testing.assert_allclose(other[0], y, atol=tolerance)
        np.testing.assert_allclose(other[1], grad_x, atol=10 * tolerance)
    assert (y * g).sum() == pytest.approx((x * grad_x).sum(), rel=tolerance, abs=20 * tolerance)


def test_nothing_is_kept_of_the_input():
    y = interpolate(leaf(numbers(1, 2, 8, 8)), scale_factor=2, mode="bilinear")
    node = y.grad_fn
    while node is not None:
        assert not node.saved if not node.is_leaf else True
        assert not [v for v in vars(node).values() if isinstance(v, np.ndarray)]
        node = node.next_functions[0][0] if node.next_functions else None


@pytest.mark.parametrize("mode", MODES)
def test_the_same_size_gives_a_copy(mode):
    x = leaf(image(mode))
    y = interpolate(x, tuple(x.shape[2:]), mode=mode)
    assert np.array_equal(y.detach().numpy(), x.detach().numpy())
    assert not np.shares_memory(y.detach().numpy(), x.detach().numpy())
    y.backward(minicnn.ones_like(y))
    assert (x.grad == 1).all()


@pytest.mark.parametrize("mode", MODES)
def test_constants_stay_constant_and_arrays_give_arrays(mode):
    x = np.full_like(image(mode), 3.0)
    for options in ({"size": 7}, {"scale_factor": 0.5}, {"scale_factor": 2.3}):
        y = interpolate(x, mode=mode, **options)
        assert isinstance(y, np.ndarray)
        np.testing.assert_allclose(y, 3.0, rtol=1e-13)


def test_nearest_copies_every_bit():
    x = np.array([[[np.nan, -0.0, np.inf, 5e-324]]])
    y = interpolate(x, 8)
    assert y.tobytes() == np.repeat(x, 2, -1).tobytes()
    labels = np.arange(12, dtype=np.uint8).reshape(1, 1, 3, 4)
    out = interpolate(minicnn.tensor(labels), scale_factor=2)
    assert out.dtype == np.uint8
    assert np.array_equal(out.numpy(), labels.repeat(2, 2).repeat(2, 3))


def test_half_precision_is_computed_in_single():
    x = numbers(1, 2, 5, 4).astype(np.float16)
    t = leaf(x)
    y = interpolate(t, (7, 9), mode="bilinear")
    y.backward(minicnn.ones_like(y))
    assert y.dtype == t.grad.dtype == np.float16
    single = interpolate(x.astype(np.float32), (7, 9), mode="bilinear")
    assert np.array_equal(y.detach().numpy(), single.astype(np.float16))


def test_an_empty_batch():
    x = leaf(np.zeros((0, 3, 4, 4)))
    y = interpolate(x, 7, mode="bicubic")
    y.backward(minicnn.ones_like(y))
    assert y.shape == (0, 3, 7, 7) and x.grad.shape == x.shape


# ---------------------------------------------------------------------- PyTorch


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_positions_round_as_in_pytorch(mode, dtype):
    """Which pixel is read, for many sizes: float32 and float64 round to different neighbours."""
    torch = pytest.importorskip("torch")
    for n in (1, 2, 3, 14, 26, 39):
        x = np.arange(n, dtype=dtype).reshape(1, 1, n)
        sizes = [{"size": m} for m in range(1, 60)]
        factors = [{"scale_factor": f} for f in (0.7, 1.1, 4 / 3, 1.7, 2.3, 3.1) if int(n * f)]
        for options in sizes + factors:
            mine = interpolate(x, mode=mode, **options)
            theirs = torch.nn.functional.interpolate(torch.tensor(x), mode=mode, **options)
            if mode == "linear":
                np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-6, atol=1e-6)
            else:
                assert np.array_equal(mine, theirs.numpy()), (n, options)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_gradients_are_those_of_pytorch_on_a_real_size(mode, parity):
    x = numbers(1, 2, 17, 23)
    for size in ((34, 46), (8, 50), (17, 5)):
        parity(lambda lib, t, s=size: lib.nn.functional.interpolate(t, s, mode=mode), x)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("factors", [(1.2, 2.0), (1.5, 1.1), (1.2, 1.1), (1.0, 1.2), (1.2, 0.5)])
def test_antialias_leaves_a_size_that_stays_as_it_is(mode, factors, parity):
    """Whatever the factor. PyTorch's backward is not that of its forward here: values alone."""
    x = numbers(2, 1, 3, 5)
    options = {"scale_factor": factors, "mode": mode, "antialias": True}
    parity(lambda lib, t: lib.nn.functional.interpolate(t, **options), x, grads=False)
    size = tuple([int(n * f) for n, f in zip(x.shape[2:], factors, strict=True)])
    if size == x.shape[2:]:
        assert np.array_equal(interpolate(x, **options), x)
    t = leaf(x)
    assert gradcheck(lambda t: interpolate(t, **options), t, directions=1)


SHAPES = {3: (1, 2, 5), 4: (1, 2, 5, 4), 5: (1, 2, 5, 4, 3), 2: (2, 3), 6: (1, 1, 2, 2, 2, 2)}


@pytest.mark.parametrize(
    "rank, options, message",
    [
        (4, {}, "expects either size or scale_factor, got neither"),
        (4, {"size": 3, "scale_factor": 2.0}, "either size or scale_factor, got 3 and 2.0"),
        (4, {"size": (3, 3, 3)}, "size expects one number, or one for each of the 2 spatial axes"),
        (4, {"scale_factor": (2.0,)}, "scale_factor expects one number, or one for each of the 2"),
        (4, {"size": (3, 2.5)}, "size expects integers, got "),
        (4, {"size": 0}, "sizes are positive, got "),
        (4, {"size": (2, -1)}, "sizes are positive, got "),
        (4, {"scale_factor": 0.1}, r"sizes are positive, got \(0, 0\) from scale_factor 0.1"),
        (4, {"scale_factor": "two"}, "scale_factor expects finite numbers, got 'two'"),
        (4, {"scale_factor": (2.0, np.nan)}, r"scale_factor expects finite numbers, got \(2.0"),
        (4, {"scale_factor": np.inf}, "scale_factor expects finite numbers, got inf"),
        (4, {"scale_factor": -1.0}, r"sizes are positive, got \(-5, -4\) from scale_factor -1.0"),
        (4, {"size": np.array([2, 2])}, "size expects integers, got array"),
        (4, {"size": 3, "mode": ["nearest"]}, r"mode expects one of .* got \['nearest'\]"),
        (4, {"size": 3, "recompute_scale_factor": True}, "recompute_scale_factor goes with"),
        (4, {"size": 3, "align_corners": False}, "align_corners goes with the modes 'linear'"),
        (4, {"size": 3, "mode": "area", "align_corners": True}, "align_corners goes with the"),
        (4, {"size": 3, "antialias": True}, "antialias goes with the modes 'bilinear'"),
        (3, {"size": 3, "mode": "linear", "antialias": True}, "antialias goes with the modes"),
        (4, {"size": 3, "mode": "lanczos"}, "mode 'lanczos' expects antialias=True and no"),
        (
            4,
            {"size": 3, "mode": "lanczos", "antialias": True, "align_corners": True},
            "mode 'lanczos' expects antialias=True and no align_corners, got antialias=True",
        ),
        (4, {"size": 3, "mode": "linear"}, r"mode 'linear' expects an input of 3 axes"),
        (3, {"size": 3, "mode": "bilinear"}, r"mode 'bilinear' expects an input of 4 axes"),
        (5, {"size": 3, "mode": "bicubic"}, r"mode 'bicubic' expects an input of 4 axes"),
        (4, {"size": 3, "mode": "trilinear"}, r"mode 'trilinear' expects an input of 5 axes"),
        (2, {"size": 3}, r"expects an input of 3 or 4 or 5 axes, \(N, C, ...\), got \(2, 3\)"),
        (6, {"size": 3}, "expects an input of 3 or 4 or 5 axes"),
        (4, {"size": 3, "mode": "cubic"}, "mode expects one of 'nearest', 'nearest-exact'"),
    ],
)
def test_errors(rank, options, message, refuses):
    def fn(lib, x):
        return lib.nn.functional.interpolate(x, **options)

    refuses(fn, numbers(*SHAPES[rank]), match=f"interpolate: .*{message}")


def test_types_that_it_refuses(refuses):
    for mode in ("nearest", "bilinear", "area"):
        refuses(
            lambda lib, x, mode=mode: lib.nn.functional.interpolate(x, 2, mode=mode),
            np.arange(12).reshape(1, 1, 3, 4),
            match=f"interpolate: input expects a floating type .* got int64 with mode '{mode}'",
        )
    with pytest.raises(TypeError, match="got uint8 with mode 'bilinear'"):
        interpolate(np.zeros((1, 1, 2, 2), np.uint8), 3, mode="bilinear")
    with pytest.raises(
        TypeError, match=r"interpolate: size expects integers, got tensor\(\[2, 2\]"
    ):
        interpolate(numbers(1, 1, 2, 2), minicnn.tensor([2, 2]))
    with pytest.raises(TypeError, match="got list"):
        interpolate([[[1.0]]], 3)

"""pad: derivatives, values and refusals as PyTorch's, over widths, sizes and dimensions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn.autograd import gradcheck, gradgradcheck
from minicnn.nn.functional import pad

MODES = ["constant", "reflect", "replicate", "circular"]
BORDERS = MODES[1:]


def leaf(array):
    return minicnn.tensor(array, requires_grad=True)


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape)


@st.composite
def paddings(draw, negative=True):
    """A mode, a shape and widths that it can serve: 1 to 3 dimensions, with batch or without."""
    mode, dims = draw(st.sampled_from(MODES)), draw(st.integers(1, 3))
    lead = draw(st.sampled_from([(2,), (2, 3)]))
    sizes, widths = [], []
    for _ in range(dims):
        n = draw(st.integers(1, 5))
        largest = {"reflect": n - 1, "circular": n}.get(mode, 4)
        low = -(n // 2) if negative else 0
        lo, hi = draw(st.integers(low, largest)), draw(st.integers(low, largest))
        if mode == "circular":  # what is cut cannot be gone round in
            lo, hi = (min(w, n + min(lo, 0) + min(hi, 0)) for w in (lo, hi))
        sizes.append(n)
        widths = [lo, hi, *widths] if lo + n + hi > 0 else [0, 0, *widths]
    return mode, (*lead, *sizes), tuple(widths)


@settings(max_examples=60)
@given(paddings())
def test_values_and_gradients_are_those_of_pytorch(parity, drawn):
    mode, shape, widths = drawn
    parity(lambda lib, x: lib.nn.functional.pad(x, widths, mode=mode), numbers(*shape))


@given(paddings())
@pytest.mark.slow
def test_derivatives(drawn):
    mode, shape, widths = drawn
    x = leaf(numbers(*shape))
    assert gradcheck(lambda t: pad(t, widths, mode=mode), x, directions=1)
    assert gradgradcheck(lambda t: pad(t * t, widths, mode=mode), x, directions=1)


@settings(max_examples=50)
@given(paddings(), st.sampled_from(["C", "F"]), st.sampled_from(["f4", "f8"]))
def test_backward_is_the_adjoint_on_every_backend(drawn, order, dtype):
    """<pad(x), g> = <x, grad_x(g)>, exactly, on integers."""
    mode, shape, widths = drawn
    rng = np.random.default_rng(0)
    x = np.asarray(rng.integers(-9, 10, shape), dtype, order=order)
    for name in minicnn.backend.available():
        t = minicnn.from_numpy(x).requires_grad_()
        with minicnn.use_backend(name):
            y = pad(t, widths, mode=mode)
            g = rng.integers(-9, 10, tuple(y.shape)).astype(dtype)
            y.backward(minicnn.tensor(g))
        assert y.dtype == t.grad.dtype == dtype
        assert (y.detach().numpy() * g).sum() == (x * t.grad.numpy()).sum()
        assert not np.shares_memory(y.detach().numpy(), x)


@given(paddings(negative=False))
def test_values_are_those_of_numpy(drawn):
    mode, shape, widths = drawn
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    pairs = list(zip(widths[0::2], widths[1::2], strict=True))[::-1]
    pairs = [(0, 0)] * (len(shape) - len(pairs)) + pairs
    names = {"replicate": "edge", "circular": "wrap"}
    assert np.array_equal(pad(x, widths, mode=mode), np.pad(x, pairs, names.get(mode, mode)))


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 0, 3)])
def test_a_constant_around_any_shape(shape, parity):
    x = numbers(*shape)
    for widths in ((), (1, 2), (-1, 2), (1, 0, 0, 2), (0, -1, 2, 0)):
        if len(widths) <= 2 * len(shape):
            for value in (None, 0, 2.5, -np.inf):
                parity(lambda lib, t, w=widths, v=value: lib.nn.functional.pad(t, w, value=v), x)


def test_types_are_kept(parity):
    for x in (np.arange(12).reshape(1, 3, 4), np.arange(12, dtype=np.uint8).reshape(1, 3, 4)):
        for mode in MODES:
            parity(lambda lib, t, m=mode: lib.nn.functional.pad(t, (1, 2), m), x, grads=False)
    half = pad(numbers(1, 3, 4).astype(np.float16), (1, 2), "reflect")
    assert half.dtype == np.float16
    assert pad(numbers(1, 3, 4) * 1j, (1, 2), "circular").dtype == np.complex128


def test_negative_widths_by_hand():
    """Reflected and replicated values are those of all of x; circular ones, of what is left."""
    x = np.arange(5.0)[None]
    assert pad(x, (-4, 2), mode="reflect").tolist() == [[4, 3, 2]]
    assert pad(x, (-6, 2), mode="reflect").tolist() == [[2]]
    assert pad(x, (2, -4), mode="replicate").tolist() == [[0, 0, 0]]
    assert pad(x, (-2, 3), mode="circular").tolist() == [[2, 3, 4, 2, 3, 4]]
    # PyTorch reads memory that it has not written here.
    with pytest.raises(RuntimeError, match=r"pad: mode 'circular' expects widths of at most 3"):
        pad(x, (-2, 4), mode="circular")


def test_an_empty_batch():
    for mode in MODES:
        x = leaf(np.zeros((0, 2, 4)))
        y = pad(x, (1, 2), mode)
        y.backward(minicnn.ones_like(y))
        assert y.shape == (0, 2, 7) and x.grad.shape == x.shape


def test_nothing_is_kept_of_the_input():
    for mode in MODES:
        node = pad(leaf(numbers(1, 2, 4)), (1, 2), mode).grad_fn
        assert node.saved == () and not [v for v in vars(node).values() if hasattr(v, "shape")
                                         and isinstance(v, np.ndarray)]  # fmt: skip


X = (1, 2, 4)


@pytest.mark.parametrize(
    ("shape", "widths", "mode", "message"),
    [
        (X, (1,), "constant", "two numbers for each of at most 3"),
        (X, (1,) * 8, "constant", "two numbers for each of at most 3"),
        (X, (1,), "reflect", "two numbers for each of at most 3"),
        (X, (-3, -3), "constant", "leaves less than nothing"),
        (X, (4, 0), "reflect", "widths of at most 3 for dimension 2"),
        (X, (5, 0), "circular", "widths of at most 4 for dimension 2"),
        (X, (-2, 4), "reflect", "widths of at most 3 for dimension 2"),
        (X, (-6, 1), "replicate", "leaves less than nothing"),
        (X, (-2, -2), "replicate", r"widths \(-2, -2\) leave nothing of dimension 2"),
        (X, (-1, -3), "reflect", r"widths \(-1, -3\) leave nothing of dimension 2"),
        (X, (5, -5), "constant", r"widths \(5, -5\) cut off more than dimension 2"),
        (X, (-5, 5), "constant", r"widths \(-5, 5\) cut off more than dimension 2"),
        (X, (3, -5), "circular", r"widths \(3, -5\) cut off more than dimension 2"),
        (X, (1, 1), "mirror", "mode expects one of 'constant', 'reflect'"),
        *[
            (shape, widths, mode, f"mode '{mode}' expects widths for the 1 to 3 last dimensions")
            for mode in BORDERS
            for shape, widths in [
                ((4,), (1, 1)),
                ((4, 4), (1, 1, 1, 1)),
                (X, ()),
                (X, (1, 1, 1, 1, 0, 0)),
                ((1, 2, 4, 4), (1, 1)),
                ((1, 2, 4, 4), (1,) * 8),
                ((1, 1, 2, 4, 4), (1,) * 4),
                ((1, 1, 1, 2, 4, 4), (1,) * 6),
            ]
        ],
        ((1, 0, 4), (1, 1), "reflect", "mode 'reflect' expects sizes other than 0"),
        ((0, 3, 4), (1, 1, 1, 1), "replicate", "mode 'replicate' expects sizes other than 0"),
        ((1, 2, 0), (0, 1), "circular", "widths of at most 0 for dimension 2"),
    ],
)
def test_errors(shape, widths, mode, message, refuses):
    def fn(lib, x):
        return lib.nn.functional.pad(x, widths, mode=mode)

    refuses(fn, numbers(*shape), match=f"pad: .*{message}")


@pytest.mark.parametrize("mode", BORDERS)
def test_a_value_is_for_constants(mode, refuses):
    refuses(
        lambda lib, x: lib.nn.functional.pad(x, (1, 1), mode, 2.0),
        numbers(*X),
        match=f"pad: value is for mode 'constant' alone, got 2.0 with '{mode}'",
    )
    assert pad(numbers(*X), (1, 1), mode, 0.0).shape == (1, 2, 6)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("i8", np.nan), ("i4", np.inf), ("i8", 1e19), ("u1", -2), ("u1", 256.0), ("f2", 1e6)],
)
def test_a_value_that_the_type_cannot_hold(dtype, value, refuses):
    refuses(
        lambda lib, x: lib.nn.functional.pad(x, (1, 1), "constant", value),
        np.ones(X, dtype),
        match=f"pad: value expects a number that {np.dtype(dtype)} can hold, got ",
    )


def test_values_that_the_type_can_hold(parity):
    for dtype, value in (("i8", 1.9), ("u1", 255), ("f2", np.inf), ("f4", 1e38), ("f4", np.nan)):
        parity(
            lambda lib, x, v=value: lib.nn.functional.pad(x, (1, 1), "constant", v),
            np.ones(X, dtype),
            grads=False,
        )
    assert pad(numbers(*X), (1, 0), value=minicnn.tensor(2.0))[0, 0, 0] == 2


def test_arguments_of_other_types(refuses):
    for value in ("a", 1j, [1.0]):
        refuses(
            lambda lib, x, v=value: lib.nn.functional.pad(x, (1, 1), value=v),
            numbers(*X),
            match="pad: value expects a number, got ",
        )
    for widths in (3, None, (1.5, 1), "ab"):
        refuses(
            lambda lib, x, w=widths: lib.nn.functional.pad(x, w),
            numbers(*X),
            match="pad: pad expects a tuple of integers, got ",
        )
    with pytest.raises(TypeError, match="pad: input expects a Tensor or an array, got list"):
        pad([1.0], (1, 1))

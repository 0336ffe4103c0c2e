"""unfold and fold: PyTorch's numbers, derivatives, types, errors; what one does with windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.functional.conv import conv2d
from minicnn.functional.fold import fold, unfold


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@st.composite
def windows(draw):
    """The size of an image, and windows that fit in."""
    axes = []
    for _ in "HW":
        K, D, P, S = (draw(st.integers(low, 3)) for low in (1, 1, 0, 1))
        axes.append((max(1, D * (K - 1) + 1 - 2 * P) + draw(st.integers(0, 3)), K, D, P, S))
    size, *options = zip(*axes, strict=True)
    return size, options


@given(windows(), st.integers(0, 2), st.integers(1, 3))
def test_fold_is_the_adjoint_of_unfold(problem, N, C):
    size, options = problem
    x = normal(0, N, C, *size)
    cols = unfold(x, *options)
    c = normal(1, *cols.shape)
    back = fold(c, size, *options)
    assert back.shape == x.shape
    assert (cols * c).sum() == pytest.approx((x * back).sum(), rel=1e-12, abs=1e-12)


@settings(max_examples=10)
@given(windows())
def test_derivatives(problem):
    size, options = problem
    x = Tensor(normal(0, 1, 2, *size), requires_grad=True)
    cols = Tensor(unfold(normal(1, 2, *size), *options), requires_grad=True)
    assert gradcheck(lambda x: unfold(x, *options), x, directions=1)
    assert gradcheck(lambda c: fold(c, size, *options), cols, directions=1)
    assert gradgradcheck(lambda x: unfold(x, *options) ** 2, x, directions=1)
    assert gradgradcheck(lambda c: fold(c, size, *options) ** 2, cols, directions=1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex128", "bool"])
def test_types_are_kept(dtype, parity):
    x = (normal(0, 2, 3, 5, 6) > 0.3).astype(dtype)
    parity(lambda lib, x: lib.nn.functional.unfold(x, 2, 1, 1, (2, 1)), x, grads=False)
    cols = unfold(x, 2, 1, 1, (2, 1))
    parity(lambda lib, c: lib.nn.functional.fold(c, (5, 6), 2, 1, 1, (2, 1)), cols, grads=False)


def test_a_single_image_and_an_empty_batch(parity):
    for shape in ((3, 4, 5), (0, 3, 4, 5)):
        parity(lambda lib, x: lib.nn.functional.unfold(x, 2), normal(0, *shape))
    for shape in ((12, 12), (0, 12, 12)):
        parity(lambda lib, c: lib.nn.functional.fold(c, (4, 5), 2), normal(0, *shape))


def test_any_memory_order_gives_the_same():
    x = normal(0, 2, 3, 4, 5)
    wanted = unfold(x, 2, padding=1)
    assert np.array_equal(unfold(np.asfortranarray(x), 2, padding=1), wanted)
    assert np.array_equal(unfold(x[:, ::-1][:, ::-1], 2, padding=1), wanted)
    back = fold(wanted, (4, 5), 2, padding=1)
    assert np.array_equal(fold(np.asfortranarray(wanted), (4, 5), 2, padding=1), back)


def test_convolution_is_unfold_and_a_product():
    x, w = Tensor(normal(0, 2, 3, 6, 5)), Tensor(normal(1, 4, 3, 3, 2))
    y = w.reshape(4, -1) @ unfold(x, (3, 2), padding=1, stride=2)
    wanted = conv2d(x, w, padding=1, stride=2)
    np.testing.assert_allclose(y.reshape(wanted.shape).array, wanted.array, rtol=1e-12)


def test_a_median_filter_by_windows():
    """An operation that has no kernel: unfold, then whatever one likes."""
    x = Tensor(normal(0, 1, 1, 5, 6))
    median = np.median(unfold(x, 3).array, axis=1).reshape(3, 4)
    for i, j in np.ndindex(3, 4):
        assert median[i, j] == np.median(x.array[0, 0, i : i + 3, j : j + 3])


def test_patches_with_overlap_are_averaged_back():
    x = normal(0, 2, 3, 7, 7)
    m = fold(unfold(np.ones_like(x), 3, stride=2), 7, 3, stride=2)
    np.testing.assert_allclose(fold(unfold(x, 3, stride=2), 7, 3, stride=2) / m, x, rtol=1e-12)


def test_raw_arrays_give_raw_arrays():
    assert type(unfold(np.ones((1, 1, 3, 3)), 2)) is np.ndarray
    assert type(fold(np.ones((1, 4, 4)), 3, 2)) is np.ndarray


X = np.zeros((1, 2, 5, 4))


@pytest.mark.parametrize(
    ("text", "x", "args"),
    [
        (r"x expects 4 axes \(N, C, H, W\) or 3 \(C, H, W\), got 2: x \(5, 4\)", X[0, 0], (2,)),
        (r"kernel_size \(5, 5\).* more than the padded input \(5, 4\): x \(1, 2", X, (5,)),
        ("kernel_size expects an integer or a tuple of 2", X, ((2, 2, 2),)),
        ("kernel_size expects an integer", X, (2.0,)),
        ("kernel_size expects an integer", X, (True,)),
        ("kernel_size expects positive", X, (0,)),
        ("dilation expects positive", X, (2, 0)),
        ("padding expects non-negative", X, (2, 1, -1)),
        ("stride expects positive", X, (2, 1, 0, 0)),
        ("x expects no empty axis but the batch", np.zeros((1, 0, 5, 4)), (2,)),
        ("x expects a floating type or bool, got int64", X.astype(int), (2,)),
    ],
)
def test_errors_of_unfold(refuses, text, x, args):
    refuses(lambda lib, x: lib.nn.functional.unfold(x, *args), x, match="unfold: " + text)


COLS = np.zeros((1, 8, 12))


@pytest.mark.parametrize(
    ("text", "cols", "args"),
    [
        (r"x expects \(N, C\*KH\*KW, L\) or .*, got \(1, 1, 8, 12\)", COLS[None], ((5, 4), 2)),
        (r"x expects a multiple of 3 rows for kernel_size \(3, 1\), got 8", COLS, ((5, 4), (3, 1))),
        (
            r"x expects 9 columns, one for each of \(3, 3\) windows of an image of output_size "
            r"\(4, 4\), got 12: x \(1, 8, 12\)",
            COLS,
            (4, 2),
        ),
        (r"kernel_size \(2, 2\).* more than the padded input \(1, 4\)", COLS, ((1, 4), 2)),
        ("output_size expects positive", COLS, ((0, 4), 2)),
        ("output_size expects an integer", COLS, ((5.0, 4), 2)),
        ("kernel_size expects positive", COLS, ((5, 4), 0)),
        ("stride expects positive", COLS, ((5, 4), 2, 1, 0, 0)),
        ("x expects .* got", np.zeros((1, 0, 12)), ((5, 4), 2)),
        ("x expects a floating type or bool, got int64", COLS.astype(int), ((5, 4), 2)),
    ],
)
def test_errors_of_fold(refuses, text, cols, args):
    refuses(lambda lib, c: lib.nn.functional.fold(c, *args), cols, match="fold: " + text)


def test_what_is_no_array_is_refused():
    for function, args in ((unfold, (2,)), (fold, (4, 2))):
        with pytest.raises(TypeError, match="x expects a Tensor or an array, got list"):
            function([[1.0]], *args)

"""Indexing: values, gradients of repeated places, views and errors, beside NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn.autograd import gradcheck, gradgradcheck


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def leaf(array):
    return minicnn.tensor(array, requires_grad=True)


SHAPE = (3, 4, 5)
BASIC = {
    "integer": lambda lib: 1,
    "negative": lambda lib: -1,
    "two": lambda lib: (0, 2),
    "all": lambda lib: (2, 3, -5),
    "slice": lambda lib: slice(1, None),
    "step": lambda lib: (slice(None, None, 2), slice(1, 4, 2)),
    "far slice": lambda lib: slice(-10, 10),
    "empty slice": lambda lib: slice(2, 1),
    "none": lambda lib: (None, 1, None, slice(2)),
    "ellipsis": lambda lib: (..., 0),
    "ellipsis in the middle": lambda lib: (0, ..., slice(1, 3)),
    "ellipsis alone": lambda lib: ...,
    "nothing": lambda lib: (),
    "numpy integer": lambda lib: np.int64(1),
    "tensor integer": lambda lib: (lib.tensor(1), slice(None)),
    "slice of tensors": lambda lib: slice(lib.tensor(0), lib.tensor(2)),
}
ADVANCED = {
    "list": lambda lib: [0, 2],
    "repeats": lambda lib: [1, 1, 0, 1],
    "tensor": lambda lib: lib.tensor([[0, 1], [2, 2]]),
    "negative": lambda lib: lib.tensor([-1, 0]),
    "int32": lambda lib: lib.tensor([1, 2], dtype=lib.int32),
    "array": lambda lib: np.array([2, 0]),
    "pairs": lambda lib: ([0, 1, 2], [3, 3, 0]),
    "pairs that broadcast": lambda lib: (lib.tensor([[0], [1]]), lib.tensor([1, 2, 2])),
    "second": lambda lib: (slice(None), [0, 0, 3]),
    "last": lambda lib: (..., lib.tensor([4, 4])),
    "slice and list": lambda lib: (slice(1), [0, 0], slice(None, None, 2)),
    "apart": lambda lib: ([0, 1], slice(None), [4, 4]),
    "integer and list": lambda lib: (0, [1, 1]),
    "integer apart from list": lambda lib: (0, slice(None), [1, 2, 1]),
    "list and integer": lambda lib: ([0, 0], 1),
    "none and list": lambda lib: (None, [0, 1]),
    "list, none, list": lambda lib: ([0, 1], None, [0, 1]),
    "whole mask": lambda lib: lib.arange(60).reshape(3, 4, 5) % 3 == 0,
    "front mask": lambda lib: lib.tensor([True, False, True]),
    "two-dimensional mask": lambda lib: lib.arange(12).reshape(3, 4) % 2 == 0,
    "mask behind": lambda lib: (slice(None), lib.arange(20).reshape(4, 5) > 9),
    "mask of lists": lambda lib: [True, False, True],
    "mask and integer": lambda lib: (1, lib.tensor([True, False, True, True])),
    "mask and list": lambda lib: (lib.tensor([True, False, True]), [1, 2]),
    "mask of nothing": lambda lib: lib.zeros(3, dtype=lib.bool),
    "empty list": lambda lib: lib.zeros(0, dtype=lib.int64),
    "none, and lists apart": lambda lib: (None, [0, 1, 1], slice(None), [4, 0, 0]),
    "a slice, and lists apart": lambda lib: (slice(None), [1, 1], None, [4, 0]),
    "two of three, three-dimensional": lambda lib: (
        lib.tensor([[[0, 1]]]), slice(None), lib.tensor([[[1]], [[0]]])),
}  # fmt: skip
ALL = {
    **{f"basic {k}": v for k, v in BASIC.items()},
    **{f"adv {k}": v for k, v in ADVANCED.items()},
}


@pytest.mark.parametrize("case", ALL)
def test_getitem(case, parity):
    parity(lambda lib, x: x[ALL[case](lib)], numbers(*SHAPE))
    parity(lambda lib, x: x.transpose(0, 2).transpose(0, 2)[ALL[case](lib)] * 2, numbers(*SHAPE))
    parity(lambda lib, x: x[ALL[case](lib)], np.arange(60).reshape(SHAPE))


# what NumPy gives, except that it takes an integer beside an array for an array, PyTorch does not
LIKE_NUMPY = [k for k in ALL if "integer apart" not in k and "of tensors" not in k]


@pytest.mark.parametrize("case", LIKE_NUMPY)
def test_getitem_values(case):
    x = numbers(*SHAPE)
    index = ALL[case](minicnn)
    plain = (
        tuple([np.asarray(k) if isinstance(k, minicnn.Tensor) else k for k in index])
        if (isinstance(index, tuple))
        else np.asarray(index)
        if isinstance(index, minicnn.Tensor)
        else index
    )
    np.testing.assert_array_equal(minicnn.tensor(x)[index].numpy(), x[plain])
    y = minicnn.tensor(x)
    y[index] = 3
    x[plain] = 3
    np.testing.assert_array_equal(y.numpy(), x)


@pytest.mark.parametrize("case", ALL)
def test_getitem_derivatives(case):
    x = leaf(numbers(*SHAPE))
    assert gradcheck(lambda t: t[ALL[case](minicnn)], x)
    assert gradgradcheck(lambda t: (t * t)[ALL[case](minicnn)], x)


@pytest.mark.parametrize("case", ALL)
def test_setitem(case, parity):
    def whole(lib, x, v):
        y = x * 1
        y[ALL[case](lib)] = v
        return y

    parity(whole, numbers(*SHAPE), np.array(7.0))
    parity(lambda lib, x: whole(lib, x, 3), numbers(*SHAPE))
    parity(lambda lib, x: whole(lib, x, 3.7), np.arange(60).reshape(SHAPE))


def names_a_place_twice(index):
    places = minicnn.arange(60).reshape(SHAPE)[index(minicnn)]
    return len(np.unique(places.numpy())) < places.numel()


@pytest.mark.parametrize("case", [k for k in ALL if not names_a_place_twice(ALL[k])])
def test_setitem_of_parts(case, parity):
    """A value for each place; places named twice have no defined value, so they stay out."""
    array = numbers(*SHAPE)
    shape = tuple(minicnn.tensor(array)[ALL[case](minicnn)].shape)

    def fn(lib, x, v):
        y = x * 1
        y[ALL[case](lib)] = v
        return y

    parity(fn, array, numbers(*shape, seed=1))
    x, v = leaf(array), leaf(numbers(*shape, seed=1))
    assert gradcheck(lambda s, t: fn(minicnn, s, t), (x, v))
    assert gradgradcheck(lambda s, t: fn(minicnn, s * s, t * t), (x, v))


@given(data=st.data())
@settings(max_examples=60)
def test_any_index(data, parity):
    """Random mixtures of every kind of index."""
    keys, axis = [], 0
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    common = data.draw(st.sampled_from([(2,), (2, 1), ()]))
    while axis < 3 and data.draw(st.booleans()):
        kind = data.draw(st.sampled_from(["int", "slice", "none", "array", "mask"]))
        n = SHAPE[axis]
        if kind == "int":
            keys.append(int(rng.integers(-n, n)))
        elif kind == "slice":
            keys.append(slice(int(rng.integers(0, n)), n, int(rng.integers(1, 3))))
        elif kind == "array":
            keys.append(rng.integers(-n, n, common))
        elif kind == "mask":
            mask = np.zeros(n, bool)
            mask[rng.permutation(n)[:2]] = True
            keys.append(mask)
        else:
            keys.append(None)
        axis += kind != "none"
    if len(keys) < 3 and data.draw(st.booleans()):
        keys.insert(data.draw(st.integers(0, len(keys))), ...)
        if any(isinstance(k, np.ndarray) for k in keys) and axis == 3:
            keys.remove(...)

    def index(lib):
        return tuple([lib.tensor(k) if isinstance(k, np.ndarray) else k for k in keys])

    x = numbers(*SHAPE)
    try:
        parity.torch.tensor(x)[index(parity.torch)]
    except (IndexError, RuntimeError):
        with pytest.raises((IndexError, RuntimeError)):
            minicnn.tensor(x)[index(minicnn)]
        return
    parity(lambda lib, t: t[index(lib)], x)

    def put(lib, t):
        y = t + 0
        y[index(lib)] = 2.0
        return y

    parity(put, x)


def test_repeated_places_add_up():
    x = leaf(np.zeros(3))
    y = x[[0, 0, 2, 0]]
    y.backward(minicnn.tensor([1.0, 2.0, 4.0, 8.0], dtype=minicnn.float64))
    assert x.grad.tolist() == [11, 0, 4]


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda x, k: x[k], [0, 0, 3]),
        (lambda x, k: minicnn.gather(x, 0, k), [0, 0, 3]),
        (lambda x, k: minicnn.index_select(x, 0, k), [0, 0, 3]),
        (lambda x, k: x.scatter_add(0, k, x[:2]), [5, 6, 4]),
    ],
)
def test_an_index_may_change_later(use, expected):
    x, k, weights = leaf(numbers(3)), minicnn.tensor([2, 2]), minicnn.tensor([1.0, 2.0, 4.0])
    y = use(x, k)
    y = (y * weights[: len(y)]).sum()
    k.zero_()
    y.backward()
    assert x.grad.tolist() == expected


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("columns", [1, 7])
def test_adding_at_many_places(dtype, columns):
    """Exact on small integers, whichever way the sums are made."""
    rng = np.random.default_rng(0)
    index = rng.integers(0, 9, 50)
    g = rng.integers(-4, 5, (50, columns)).astype(dtype)
    x = leaf(np.zeros((9, columns), dtype))
    x[minicnn.tensor(index)].backward(minicnn.tensor(g))
    expected = np.zeros((9, columns), dtype)
    np.add.at(expected, index, g)
    np.testing.assert_array_equal(x.grad.numpy(), expected)
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("case", BASIC)
def test_basic_indexing_gives_views(case):
    x = minicnn.tensor(numbers(*SHAPE))
    y = x[BASIC[case](minicnn)]
    assert y.numel() == 0 or np.shares_memory(x.numpy(), y.numpy())


def test_advanced_indexing_gives_copies():
    x = minicnn.tensor(numbers(*SHAPE))
    for case in ADVANCED.values():
        assert not np.shares_memory(x.numpy(), x[case(minicnn)].numpy())


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (lambda lib: 3, r"index: .*out of bounds.*shape \(3, 4, 5\)"),
        (lambda lib: (0, 0, 0, 0), "index: too many indices"),
        (lambda lib: slice(None, None, -1), "index: the step of a slice expects a positive"),
        (lambda lib: [5], "index: .*out of bounds"),
        (lambda lib: lib.tensor([1.0]), "index: tensors as indices .* not float"),
        (lambda lib: lib.tensor([True, False]), r"index: the mask of shape \(2,\) does not fit"),
        (lambda lib: ([0, 1], [0, 1, 2]), "index: shape mismatch"),
        (lambda lib: 1.5, "index: expects integers"),
        (lambda lib: "a", "index: expects integers"),
        (lambda lib: (0, 0, 0, [0]), "index: 4 indices"),
    ],
)
def test_errors(index, message, refuses):
    def put(lib, x):
        x[index(lib)] = 0

    refuses(lambda lib, x: x[index(lib)], numbers(*SHAPE), match=message)
    refuses(put, numbers(*SHAPE), match=message)


def test_two_ellipses():
    with pytest.raises(IndexError, match=r"index: .*ellipsis"):
        minicnn.ones(2, 3)[..., ...]


def test_setitem_errors(parity):
    def put(index, value):
        def fn(lib, x):
            x[index] = lib.tensor(value)

        return fn

    x = numbers(2, 3)
    parity.raises(put(0, [1.0, 2.0]), x, match=r"copy_: values of shape \(2,\)")
    parity.raises(put([0, 1], [1.0, 2.0]), x, match=r"index: values of shape \(2,\)")
    parity(lambda lib, t: put((0,), [[1.0, 2.0, 3.0]])(lib, y := t * 1) or y, x)
    t = leaf(x)
    with pytest.raises(RuntimeError, match="index: a leaf that requires a gradient"):
        t[0] = 1
    with pytest.raises(RuntimeError, match="index: a leaf that requires a gradient"):
        t[[0]] = 1
    np.testing.assert_array_equal(t.detach().numpy(), x)


def test_iteration(parity):
    parity(lambda lib, x: [row * i for i, row in enumerate(x)], numbers(3, 2))


# ---------------------------------------------------------------------- functions


INDEX = np.array([[0, 2, 1], [2, 2, 0]])


def test_gather_and_scatter(parity):
    x, k = numbers(3, 3), INDEX
    src = numbers(2, 3, seed=1)
    for fn in (
        lambda lib, t, i, s: lib.gather(t, 0, i),
        lambda lib, t, i, s: t.gather(1, i),
        lambda lib, t, i, s: t.gather(-1, i[:, :1]),
        lambda lib, t, i, s: lib.take_along_dim(t, i[:1], 0),
        lambda lib, t, i, s: lib.take_along_dim(t, i[0]),
        lambda lib, t, i, s: t.scatter_add(0, i, s),
        lambda lib, t, i, s: lib.scatter_add(t, 1, i, s),
        lambda lib, t, i, s: t.scatter(0, i, 5.0),
        lambda lib, t, i, s: t.scatter(1, i[:, :1], s[:, :1]),
        lambda lib, t, i, s: lib.index_select(t, 1, i[1]),
        lambda lib, t, i, s: t.index_select(0, i[1, :1]),
        lambda lib, t, i, s: lib.zeros(2, 3).scatter_(1, i[:, :1], 1),
    ):
        parity(fn, x, k, src)
    index = minicnn.tensor(k)
    for dim in (0, 1):
        assert gradgradcheck(lambda t, d=dim: minicnn.gather(t * t, d, index), leaf(x))
        assert gradcheck(lambda t, s, d=dim: t.scatter_add(d, index, s), (leaf(x), leaf(src)))
    single = index[:, :1]
    assert gradgradcheck(lambda t, s: (t * t).scatter(1, single, s * s), (leaf(x), leaf(src)))


def test_masks(parity):
    x, m = numbers(2, 3), np.array([[True, False, True], [False, False, True]])
    for fn in (
        lambda lib, t, k: lib.masked_fill(t, k, -1.0),
        lambda lib, t, k: t.masked_fill(k[0], float("-inf")),
        lambda lib, t, k: t.float().masked_fill(k, lib.tensor(2.0)),
        lambda lib, t, k: lib.masked_select(t, k),
        lambda lib, t, k: t.masked_select(k[0]),
        lambda lib, t, k: lib.nonzero(k),
        lambda lib, t, k: k.nonzero(as_tuple=True),
        lambda lib, t, k: lib.argwhere(t > 0),
        lambda lib, t, k: k.sum().nonzero(),
    ):
        parity(fn, x, m)
    assert gradcheck(lambda t: t.masked_fill(minicnn.tensor(m), 0.0), leaf(x))
    value = leaf(np.array(2.0))
    assert gradcheck(lambda t, v: t.masked_fill(minicnn.tensor(m), v), (leaf(x), value))


def test_order(parity):
    x = np.array([[3.0, 1.0, np.nan, 2.0], [0.0, -1.0, 5.0, 4.0]])
    for fn in (
        lambda lib, t: tuple(lib.sort(t, 1)),
        lambda lib, t: tuple(t.sort(descending=True)),
        lambda lib, t: lib.argsort(t, 0),
        lambda lib, t: tuple(lib.topk(t[1:], 2)),
        lambda lib, t: tuple(t.topk(1, 0, largest=False)),
        lambda lib, t: tuple(t[0, 0].sort()),
        lambda lib, t: lib.unique(lib.tensor([3, 1, 1]), return_inverse=True, return_counts=True),
        lambda lib, t: lib.bincount(lib.tensor([0, 2, 2]), minlength=5),
    ):
        parity(fn, x)
    ties = minicnn.tensor([1.0, 2.0, 2.0, 1.0])
    assert ties.argsort().tolist() == [0, 3, 1, 2]
    assert ties.argsort(descending=True).tolist() == [1, 2, 0, 3]


def test_one_hot():
    torch = pytest.importorskip("torch")
    k = [[0, 2], [1, 1]]
    for n in (-1, 5):
        mine = minicnn.one_hot(minicnn.tensor(k), n)
        assert mine.tolist() == torch.nn.functional.one_hot(torch.tensor(k), n).tolist()
        assert mine.dtype == minicnn.int64
    with pytest.raises(RuntimeError, match="one_hot: classes expect 0 to 1, got 0 to 2"):
        minicnn.one_hot(minicnn.tensor(k), 2)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda lib, x: x.gather(0, lib.tensor([[5]])), "gather: index expects 0 to 1 along dim 0"),
        (lambda lib, x: x.gather(0, lib.tensor([[-1]])), "gather: index expects 0 to 1"),
        (lambda lib, x: x.gather(0, lib.tensor([0])), "gather: index expects 2 dimensions"),
        (lambda lib, x: x.gather(0, lib.tensor([[1.0]])), "gather: index expects integers"),
        (lambda lib, x: x.gather(0, lib.zeros(2, 4, dtype=lib.int64)), "none but dim 0 larger"),
        (lambda lib, x: x.index_select(1, lib.tensor([3])), "index_select: index expects 0 to 2"),
        (lambda lib, x: x.index_select(0, lib.tensor([[0]])), "index_select: index expects"),
        (lambda lib, x: x.masked_fill(lib.ones(2, 3), 0), "masked_fill: mask expects bools"),
        (lambda lib, x: x.masked_fill(x > 0, lib.ones(2)), "masked_fill: value expects one"),
        (lambda lib, x: x.topk(4), "topk: k expects 0 to 3"),
        (lambda lib, x: x.sort(2), "argsort: dim expects"),
        (lambda lib, x: x.scatter_add(0, lib.tensor([[0, 0]]), x[:, :1]), "scatter_add: index"),
    ],
)
def test_function_errors(fn, message, refuses):
    refuses(fn, numbers(2, 3), match=message)


def test_scatter_needs_something_to_write():
    with pytest.raises(TypeError, match="scatter: expects src, a tensor, or value, a number"):
        minicnn.zeros(3).scatter_(0, minicnn.tensor([1]))

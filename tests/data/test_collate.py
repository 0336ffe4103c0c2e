"""default_collate and default_convert: types, dtypes, containers, errors; equal to PyTorch's."""

from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import minicnn
from minicnn import Tensor
from minicnn.data import default_collate, default_convert

Point = namedtuple("Point", "x y")


def f32(*values):
    return np.array(values, np.float32)


# Batches of NumPy arrays stand for tensors; `tensors` turns them into either library's.
BATCHES = [
    [1, 2, 3],
    [1.5, 2.5],
    [1, 2.5],
    [2.5, 1],
    [True, False],
    [True, 2],
    [np.float32(1), np.float32(2)],
    [np.float64(1), np.float64(2)],
    [np.int16(1), np.int16(2)],
    [np.bool_(True), np.bool_(False)],
    [f32(1, 2), f32(3, 4)],
    [np.array(1), np.array(2)],
    [np.zeros((2, 0), np.uint8)] * 3,
    [(f32(1), 5), (f32(2), 6)],
    [[f32(1), 5], [f32(2), 6]],
    [{"a": f32(1), "b": [1, 2]}, {"a": f32(2), "b": [3, 4]}],
    [OrderedDict(z=1, a=2), OrderedDict(z=3, a=4)],
    [Point(1, f32(2)), Point(3, f32(4))],
    ["one", "two"],
    [b"one", b"two"],
    [("a", 1), ("b", 2)],
    [{"deep": (1, {"er": [f32(1, 2)]})}] * 2,
]


def tensors(x, wrap):
    """`x` with its arrays wrapped by `wrap`."""
    if isinstance(x, np.ndarray):
        return wrap(x)
    if isinstance(x, dict):
        return type(x)((k, tensors(v, wrap)) for k, v in x.items())
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(tensors(v, wrap) for v in x))
    if isinstance(x, (list, tuple)):
        return type(x)(tensors(v, wrap) for v in x)
    return x


def described(x):
    """Structure, container types, dtypes and values, of either library's tensors."""
    if hasattr(x, "numpy") and not isinstance(x, np.generic):
        a = x.numpy()
        return ("tensor", a.dtype.name, a.shape, a.tolist())
    if isinstance(x, dict):
        return (type(x).__name__, [(k, described(v)) for k, v in x.items()])
    if isinstance(x, (list, tuple)):
        return (type(x).__name__, [described(v) for v in x])
    return x


@pytest.mark.parametrize("wrapped", [False, True], ids=["arrays", "tensors"])
@pytest.mark.parametrize("batch", BATCHES, ids=repr)
def test_equals_pytorch(batch, wrapped):
    torch = pytest.importorskip("torch")
    ours = default_collate(tensors(batch, Tensor) if wrapped else batch)
    theirs = torch.utils.data.default_collate(
        tensors(batch, torch.from_numpy) if wrapped else batch
    )
    assert described(ours) == described(theirs)


@pytest.mark.parametrize("sample", [b[0] for b in BATCHES] + [None, np.array(["a"])], ids=repr)
def test_convert_equals_pytorch(sample):
    torch = pytest.importorskip("torch")
    ours, theirs = default_convert(sample), torch.utils.data.default_convert(sample)
    assert described(ours) == described(theirs)


def test_numbers_without_pytorch():
    expected = {"int64": [1, 2], "float64": [1.0, 2.0], "bool": [True, False]}
    for name, batch in expected.items():
        out = default_collate(batch)
        assert (out.dtype, out.numpy().tolist()) == (np.dtype(name), batch)
    assert default_collate([1, 2.5]).dtype == minicnn.float32


def test_tuples_become_lists_and_nothing_is_shared():
    x = [f32(1, 2), f32(3, 4)]
    out = default_collate([(Tensor(x[0]), 7), (Tensor(x[1]), 8)])
    assert type(out) is list
    assert out[0].numpy().tolist() == [[1, 2], [3, 4]]
    assert out[1].numpy().tolist() == [7, 8]
    x[0][:] = 9
    assert out[0].numpy()[0].tolist() == [1, 2]
    assert not default_collate([Tensor(x[0], requires_grad=True)]).requires_grad


def test_a_container_keeps_its_other_state():
    class Tagged(dict):
        tag = None

    first = Tagged(a=1)
    first.tag = "kept"
    out = default_collate([first, Tagged(a=2)])
    assert out.tag == "kept"
    assert out["a"].numpy().tolist() == [1, 2]
    assert first["a"] == 1


@pytest.mark.parametrize(
    ("batch", "error", "text"),
    [
        ([], IndexError, "batch is empty"),
        ([None, None], TypeError, "found <class 'NoneType'>"),
        ([object()], TypeError, "dicts or lists; found <class 'object'>"),
        ([np.array(["a"])], TypeError, "found an array of <U1"),
        ([np.zeros(2), np.zeros(3)], RuntimeError, r"\(2,\) at sample 0 and \(3,\) at sample 1"),
        ([(1, 2), (3,)], RuntimeError, "equal size, got 2 at sample 0 and 1 at sample 1"),
        ([1, "a"], TypeError, "<class 'int'> and <class 'str'> in one batch"),
        ([{"a": None}], TypeError, "NoneType"),
        ([{"a": 1}, {"b": 1}], KeyError, "a"),
    ],
    ids=repr,
)
def test_errors(batch, error, text):
    with pytest.raises(error, match=text):
        default_collate(batch)

"""Types, sizes of zero and in-place forms of all element-wise functions and reductions, as PyTorch.

The functions and their inputs come from the catalog; here the inputs take every type, or no
element, or are changed in place. Where PyTorch refuses, so must we; where it has an answer, ours
has the same type, shape and values.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

import minicnn
from minicnn import catalog
from minicnn.functional import methods

torch = pytest.importorskip("torch")

TYPES = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64")
ERRORS = (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError)
ROWS = np.array([[0, 1, 3], [2, 1, 1]])


def outcome(library, fn):
    """What fn(library) returns, as a list; or None if it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            out = fn(library)
        except ERRORS:
            return None
    return list(out) if isinstance(out, (tuple, list)) else [out]


def agree(fn, where, rtol=None):
    mine, theirs = outcome(minicnn, fn), outcome(torch, fn)
    assert (mine is None) == (theirs is None), (
        f"{where}: {'refused' if mine is None else 'accepted'} here, not in PyTorch"
    )
    for a, b in zip(mine or [], theirs or [], strict=True):
        if not isinstance(a, minicnn.Tensor):
            assert a == b, where
            continue
        assert str(a.dtype) == str(b.dtype).removeprefix("torch."), where
        assert tuple(a.shape) == tuple(b.shape), where
        tolerance = rtol or {"float16": 2e-3, "float32": 2e-6}.get(str(a.dtype), 1e-12)
        np.testing.assert_allclose(
            a.array.astype(float), b.numpy().astype(float), tolerance, tolerance, err_msg=where
        )


def typed(library, name, values=ROWS):
    return library.tensor(np.asarray(values).astype(name))


UNARY = [
    "abs",
    "neg",
    "square",
    "reciprocal",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "tan",
    "atan",
    "sinh",
    "cosh",
    "asinh",
    "sign",
    "floor",
    "ceil",
    "trunc",
    "round",
    "frac",
    "isnan",
    "isinf",
    "isfinite",
    "logical_not",
    "bitwise_not",
    "nan_to_num",
    "logit",
    "positive",
    "deg2rad",
    "rad2deg",
    "sgn",
]
BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "floor_divide",
    "remainder",
    "fmod",
    "pow",
    "maximum",
    "minimum",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "atan2",
    "hypot",
    "xlogy",
    "true_divide",
    "rsub",
]
REDUCE = [
    "sum",
    "mean",
    "prod",
    "var",
    "std",
    "amax",
    "amin",
    "max",
    "min",
    "argmax",
    "argmin",
    "any",
    "all",
    "count_nonzero",
    "nansum",
    "nanmean",
    "cumsum",
    "cumprod",
    "norm",
    "logsumexp",
    "median",
    "sort",
    "argsort",
    "cummax",
    "aminmax",
]


@pytest.mark.parametrize("name", UNARY)
def test_one_operand_of_every_type(name):
    for dtype in TYPES:
        if name == "logit" and dtype not in ("float32", "float64"):
            continue  # of 0 and 1: infinities that float16 rounds otherwise
        agree(lambda lib, d=dtype: getattr(lib, name)(typed(lib, d)), f"{name} of {dtype}")


@pytest.mark.parametrize("name", BINARY)
def test_two_operands_of_every_pair_of_types(name):
    values = np.array([[1, 2, 3], [1, 1, 2]])
    for a, b in itertools.product(TYPES, TYPES):
        for other in (values[0], 2):  # a vector, and a tensor without dimensions

            def fn(lib, a=a, b=b, other=other):
                return getattr(lib, name)(typed(lib, a, values), typed(lib, b, other))

            agree(fn, f"{name} of {a} and {b} {np.shape(other)}", 2e-3)


TENSORS_ALONE = {
    "atan2", "hypot", "logical_and", "logical_or", "logical_xor", "maximum", "minimum",
}  # fmt: skip


@pytest.mark.parametrize("name", [n for n in BINARY if n not in TENSORS_ALONE])
@pytest.mark.parametrize("number", [2, 1.5, True])
def test_a_number_beside_every_type(name, number):
    for dtype in TYPES:
        if (name, number, dtype) == ("pow", True, "bool"):
            continue  # PyTorch has an answer here, but none for two tensors of bools

        def fn(lib, d=dtype):
            return getattr(lib, name)(typed(lib, d), number)

        agree(fn, f"{name} of {dtype} and {number}", 2e-3)


@pytest.mark.parametrize("name", REDUCE)
def test_reductions_of_every_type(name):
    for dtype in TYPES:

        def whole(lib, d=dtype):
            return getattr(lib, name)(typed(lib, d, [[3, 1, 2], [0, 5, 4]]))

        def along(lib, d=dtype):
            out = getattr(lib, name)(typed(lib, d, [[0, 1, 2], [3, 5, 4]]), dim=0)
            return out if name not in ("argsort", "sort", "median", "cummax") or d != "bool" else 0

        if not name.startswith("cum"):
            agree(whole, f"{name} of {dtype}", 3e-3)
        agree(along, f"{name} of {dtype} along 0", 3e-3)


@pytest.mark.parametrize("name", [*UNARY, *REDUCE])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_no_elements(name, shape):
    def fn(lib, **options):
        return getattr(lib, name)(lib.zeros(*shape, dtype=lib.float64), **options)

    if name not in ("cumsum", "cumprod", "cummax", "logsumexp", "bitwise_not"):
        agree(fn, f"{name} of {shape}")
    if name in REDUCE:
        for dim in range(len(shape)):
            for keepdim in (False, True):
                options = {"dim": dim}
                if name not in ("sort", "argsort", "count_nonzero") and not name.startswith("cum"):
                    options["keepdim"] = keepdim
                agree(lambda lib, o=options: fn(lib, **o), f"{name} of {shape}, {options}")


@pytest.mark.parametrize("name", BINARY)
def test_two_operands_without_elements(name):
    whole = "int64" if name.startswith("bitwise") else "float64"
    for a, b in (((0,), (1,)), ((2, 0), (2, 1)), ((0, 3), (3,)), ((0,), (2,))):

        def fn(lib, a=a, b=b):
            x, y = [lib.zeros(*s, dtype=getattr(lib, whole)) for s in (a, b)]
            return getattr(lib, name)(x, y)

        agree(fn, f"{name} of {a} and {b}")


# ---------------------------------------------------------------------- in place

IN_PLACE = [name for names in methods.IN_PLACE.values() for name in names.split()]
# Whose catalog calls them by another way than their name; tested in their own files.
OTHERWISE = {"index_put", "nan_to_num"}


def with_in_place_form():
    ops = catalog.ops()
    return [n for n in IN_PLACE if n in ops and ops[n].torch and n not in OTHERWISE]


def changed(library, x, *rest, name, **options):
    x = x.clone()
    return getattr(x, f"{name}_")(*rest, **options)


def values_and_gradients(library, case, gradient):
    """As arrays; None if the library refuses, [] for gradients that it has not."""
    tensors = case.tensors(library, gradient)
    y = outcome(library, lambda lib: case.run(lib, tensors))
    if y is None:
        return None
    grads = []
    if y[0].requires_grad:
        cotangent = np.linspace(1, 2, y[0].numel() + 1)[1:].reshape(tuple(y[0].shape))
        try:
            y[0].backward(library.tensor(cotangent))
            grads = [t.grad.numpy(force=True) for t in tensors if t.requires_grad]
        except NotImplementedError:
            pass  # of PyTorch's asinh_, acosh_ and atanh_
    return y[0].numpy(force=True), grads


@pytest.mark.parametrize("name", with_in_place_form())
def test_in_place_forms(name):
    """x.f_(...) writes what f(x, ...) returns into x, with the same gradients, as PyTorch does."""
    op, tried = catalog.ops()[name], 0
    for number in range(op.count):
        case = op.case(number)
        if not isinstance(case.call, str) or not isinstance(case.inputs[0], np.ndarray):
            continue
        plain = values_and_gradients(minicnn, case, op.gradient)
        if plain is None or plain[0].shape != case.inputs[0].shape:
            continue
        written = catalog.Case(changed, *case.inputs, name=name, **case.options)
        mine, theirs = [values_and_gradients(x, written, op.gradient) for x in (minicnn, torch)]
        where = f"{name}_, configuration {number}: {case}"
        assert (mine is None) == (theirs is None), where
        if mine is None:
            continue
        tried += 1
        assert mine[0].dtype == case.inputs[0].dtype == theirs[0].dtype, where
        np.testing.assert_allclose(mine[0], theirs[0], 1e-9, 1e-12, err_msg=where)
        np.testing.assert_allclose(mine[0], plain[0].astype(mine[0].dtype), err_msg=where)
        for grads in filter(None, (theirs[1], plain[1])):
            for a, b in zip(mine[1], grads, strict=True):
                np.testing.assert_allclose(a, b, 1e-9, 1e-12, err_msg=where)
    assert tried


ODD = {
    "sum to a type": lambda t: t.arange(3).sum(dtype=t.int32),
    "sum of fractions to integers": lambda t: t.tensor([1.7, 2.7]).sum(dtype=t.int32),
    "sum to bool": lambda t: t.sum(t.arange(3), dtype=t.bool),
    "cumsum to a type": lambda t: t.cumsum(t.arange(3), 0, dtype=t.int32),
    "cumsum of no dimension": lambda t: t.tensor(True).cumsum(0),
    "prod to bool": lambda t: t.arange(3).prod(dtype=t.bool),
    "maximum of one bool": lambda t: t.tensor(True).max(0),
    "running maximum of one bool": lambda t: t.tensor(True).cummax(0),
    "mode of one bool": lambda t: t.tensor(True).mode(),
    "float16 deviation": lambda t: t.tensor([400.0, -400, 3], dtype=t.float16).std(),
    "float16 norm": lambda t: t.tensor([400.0, -400, 3], dtype=t.float16).norm(),
    "float16 4-norm": lambda t: t.tensor([40.0, -40, 3], dtype=t.float16).norm(4),
    "float16 running sum": lambda t: t.ones(3000, dtype=t.float16).cumsum(0)[-1],
    "addbmm of int32": lambda t: t.addbmm(
        t.ones(2, 2, dtype=t.int32),
        t.ones(2, 2, 3, dtype=t.int32),
        t.ones(2, 3, 2, dtype=t.int32),
    ),
    "addmv of integers, fractions as factors": lambda t: t.addmv(
        t.tensor([4, 5]), t.ones(2, 3, dtype=t.int64), t.tensor([1, 2, 3]), beta=1.9, alpha=2.9
    ),
    "arange by its end": lambda t: t.arange(end=4),
    "arange of fractions to integers": lambda t: t.arange(0.0, -8.5, -4.0, dtype=t.int64),
    "arange to infinity": lambda t: t.arange(0, float("inf"), 2),
    "full wraps around": lambda t: t.full((2,), -1, dtype=t.uint8),
    "full_like wraps around": lambda t: t.full_like(t.zeros(2, dtype=t.uint8), -3),
    "full of too large a number": lambda t: t.full((2,), 256, dtype=t.uint8),
    "full_like of too small a number": lambda t: t.full_like(t.zeros(2, dtype=t.int8), -129),
    "full_like of a tensor": lambda t: t.full_like(t.zeros(2), t.tensor(2)),
    "einsum by numbers": lambda t: t.einsum(
        t.arange(6.0).view(2, 3), [0, 1], t.ones(3, 4), [1, 2], [2, 0]
    ),
    "einsum by numbers, with dots": lambda t: t.einsum(
        t.arange(6.0).view(2, 3), [..., 1], t.ones(3), [1], [...]
    ),
    "einsum by numbers, no output": lambda t: t.einsum(
        t.arange(6.0).view(2, 3), [1, 0], t.ones(3, 4), [0, 2]
    ),
    "einsum by too large a number": lambda t: t.einsum(t.ones(2), [52], [52]),
    "narrow of no dimension": lambda t: t.narrow(t.tensor(1.0), 0, 0, 1),
    "heaviside with a number": lambda t: t.heaviside(t.tensor([1.0]), 2.0),
    "index by True": lambda t: t.arange(6).view(2, 3)[True],
    "index by False": lambda t: t.arange(6).view(2, 3)[False],
    "index by a bool and more": lambda t: t.arange(6).view(2, 3)[t.tensor(True), 1],
    "index by more and a bool": lambda t: t.arange(6).view(2, 3)[:, True],
    "mask of a number": lambda t: t.tensor(3.0)[t.tensor(True)],
    "masked_scatter, a larger mask": lambda t: t.masked_scatter(
        t.arange(2), t.tensor([[True, False], [False, True]]), t.tensor([7, 8])
    ),
    "take_along_dim from the end": lambda t: t.take_along_dim(
        t.arange(6).view(2, 3), t.tensor([[-1], [0]]), 1
    ),
}


@pytest.mark.parametrize("case", ODD, ids=str)
def test_odd_types_and_indices_are_pytorchs(case):
    agree(ODD[case], case)


NO_DIMENSION = {
    "gather": lambda t, x, v: t.gather(x, 0, t.tensor([0, 0])),
    "index_select": lambda t, x, v: t.index_select(x, 0, t.tensor([0])),
    "scatter": lambda t, x, v: t.scatter(x, 0, t.tensor(0), v),
    "scatter a number": lambda t, x, v: t.scatter(x, 0, t.tensor([0]), 2.5) + 0 * v,
    "scatter_add": lambda t, x, v: t.scatter_add(x, -1, t.tensor(0), v),
    "index_add": lambda t, x, v: t.index_add(x, 0, t.tensor([0]), v, alpha=3),
    "index_copy": lambda t, x, v: t.index_copy(x, 0, t.tensor([0]), v),
    "index_fill": lambda t, x, v: t.index_fill(x, 0, t.tensor([0]), v),
}


@pytest.mark.parametrize("name", NO_DIMENSION)
def test_tensors_without_dimensions_can_be_indexed(name):
    results = []
    for library in (minicnn, torch):
        x, v = (library.tensor(n, dtype=library.float64, requires_grad=True) for n in (3.0, 5.0))
        y = NO_DIMENSION[name](library, x, v)
        (y * 2).sum().backward()
        grads = [0.0 if p.grad is None else p.grad.item() for p in (x, v)]
        results.append((y.tolist(), tuple(y.shape), grads))
    assert results[0] == results[1]


WRITTEN = {
    "add": lambda t, a, b, out: t.add(a, b, alpha=2, out=out),
    "sub": lambda t, a, b, out: t.sub(a, b, out=out),
    "mul": lambda t, a, b, out: t.mul(a, b, out=out),
    "div": lambda t, a, b, out: t.div(a, b, out=out),
    "div, rounded": lambda t, a, b, out: t.div(a, b, rounding_mode="floor", out=out),
    "matmul": lambda t, a, b, out: t.matmul(a, b, out=out),
    "mm": lambda t, a, b, out: t.mm(a, b.T, out=out),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_results_are_written_into_out(name):
    for kind in ("float32", "int64"):
        agree(lambda t, kind=kind: WRITTEN[name](
            t, t.arange(4.0).view(2, 2), t.ones(2, 2) * 3, t.empty(2, 2, dtype=getattr(t, kind))
        ), f"{name}, {kind}")  # fmt: skip
    a = minicnn.arange(4.0).view(2, 2)
    assert WRITTEN[name](minicnn, a, a + 1, a) is a


def test_stacks_are_written_into_out():
    a, out = minicnn.ones(2, 2), minicnn.zeros(2, 2, 2)
    assert minicnn.stack([a, a], out=out) is out and out.sum() == 8
    assert minicnn.bmm(out, out, out=out) is out and out.sum() == 16
    assert minicnn.cat([a, 3 * a], out=out.view(4, 2)).sum() == 16 and out.sum() == 16


def test_out_refuses_what_it_cannot_hold():
    a = minicnn.ones(2, 2)
    with pytest.raises(RuntimeError, match=r"add: out expects shape \(2, 2\)"):
        minicnn.add(a, a, out=a[0])
    with pytest.raises(RuntimeError, match=r"mul: .* room for float32"):
        minicnn.mul(a, a, out=minicnn.zeros(2, 2, dtype=minicnn.int64))
    w = minicnn.ones(2, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"matmul: .* no gradient"):
        minicnn.matmul(a, w, out=a)
    with minicnn.no_grad():
        assert minicnn.matmul(a, w, out=a) is a and a.sum() == 8


def test_sums_of_float16_matrices_have_more_digits_than_float16():
    ones = minicnn.ones(3000, 1, 1, dtype=minicnn.float16)
    y = minicnn.addbmm(minicnn.zeros(1, 1, dtype=minicnn.float16), ones, ones)
    assert y.item() == 3000 and y.dtype == minicnn.float16


def test_a_number_to_scatter_keeps_its_gradient():
    w = minicnn.tensor(2.0, dtype=minicnn.float64, requires_grad=True)
    y = minicnn.zeros(2, 3).scatter(1, minicnn.tensor([[0, 1], [2, 0]]), w)
    (y * y).sum().backward()
    assert w.grad.item() == 16 and w.grad.dtype == minicnn.float64
    with pytest.raises(TypeError, match="full: expects a number"):
        minicnn.full((2,), w)


REFUSED = {
    "cat: expects a list": lambda: minicnn.cat(minicnn.ones(2), minicnn.ones(2)),
    "stack: expects a list": lambda: minicnn.stack(minicnn.ones(2)),
    "eye: sizes are integers": lambda: minicnn.eye(2.5),
    "eye: sizes expect 0 or more": lambda: minicnn.eye(2, -1),
    "linspace: steps expects an integer": lambda: minicnn.linspace(0, 1, 5.0),
    "reshape: sizes are integers": lambda: minicnn.ones(2).reshape(2.0),
    "permute: sizes are integers": lambda: minicnn.ones(2).permute("n"),
    "repeat: sizes are integers": lambda: minicnn.ones(2).repeat(1.5),
    "roll: a tensor without dimensions": lambda: minicnn.roll(minicnn.tensor(1.0), 0, 0),
    "multinomial: expects at least 1": lambda: minicnn.multinomial(minicnn.ones(2), 0),
    "multinomial: .* finite": lambda: minicnn.multinomial(minicnn.tensor([1, float("inf")]), 1),
    "masked_scatter: .* fewer": lambda: minicnn.masked_scatter(
        minicnn.zeros(2), minicnn.ones(3, 2, dtype=minicnn.bool), minicnn.ones(5)
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_errors_name_the_function_and_the_argument(message):
    with pytest.raises((TypeError, RuntimeError, IndexError), match=f"^{message}"):
        REFUSED[message]()

"""Edges and refusals of the newer tensor operations: NaN, ties, wrong shapes, views, in place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn.functional.diagonals import AddWindows, Diagonal, OnDiagonal, Windows
from minicnn.functional.index import AddAt, Gather, ScatterAdd, Take

NAN = float("nan")
X = np.random.default_rng(0).standard_normal((3, 4))
K = np.array([0, 2])


# ---------------------------------------------------------------------- NaN and ties


@pytest.mark.parametrize(
    "values", [[1.0, NAN, 3, NAN], [2.0, 2, 1, 2], [NAN, NAN], [5.0], [0.0, -0.0, 0.0]]
)
def test_nan_and_ties(values, parity):
    x = np.array(values)
    for fn in (
        lambda lib, t: tuple(lib.cummax(t, 0)),
        lambda lib, t: tuple(lib.cummin(t, 0)),
        lambda lib, t: lib.median(t),
        lambda lib, t: lib.nanmedian(t),
        lambda lib, t: lib.nansum(t),
        lambda lib, t: lib.quantile(t, 0.4),
        lambda lib, t: lib.nan_to_num(t, 7.0),
    ):
        parity(fn, x)
    # Of NaN alone PyTorch's gradient is NaN times 0; here nothing flows to NaN.
    parity(lambda lib, t: lib.nanmean(t), x, grads=not np.isnan(x).all())
    if len(x) > 1:  # PyTorch does not say which of equal ones it takes
        parity(lambda lib, t: lib.median(t, 0).values, x, grads=False)
        parity(lambda lib, t: lib.kthvalue(t, 2).values, x, grads=False)


def test_infinities(parity):
    x = np.array([np.inf, -np.inf, 0.0, 1.0])
    for fn in (
        lambda lib, t: lib.nan_to_num(t),
        lambda lib, t: lib.logaddexp(t, t.flip(0)),
        lambda lib, t: lib.hypot(t, lib.ones_like(t)),
        lambda lib, t: lib.atan2(t, t.flip(0)),
        lambda lib, t: lib.exp2(t),
        lambda lib, t: lib.xlogy(lib.zeros_like(t), t),
    ):
        parity(fn, x, grads=False)
    parity(lambda lib, t: lib.nan_to_num(t.float()), x, grads=False)
    parity(lambda lib, t: lib.logit(t), np.array([-0.1, 0.0, 0.3, 1.0, 1.1]), grads=False)


def test_quantiles(parity):
    x = X.copy()
    x[1, 2] = NAN
    q = np.array([0.1, 0.5, 0.9])
    for lib_q in (lambda lib: lib.tensor(q), lambda lib: 0.25):
        for options in ({}, {"dim": 0}, {"dim": 1, "keepdim": True}, {"keepdim": True}):
            for way in ("linear", "lower", "higher", "nearest", "midpoint"):
                parity(
                    lambda lib, t, o=options, w=way, f=lib_q: lib.quantile(
                        t, f(lib), interpolation=w, **o
                    ),
                    x,
                )


def test_mode_sends_the_gradient_where_it_is(parity):
    x = np.array([[1.0, 2, 2, 1, 3], [5, 4, 4, 4, 5]])
    parity(lambda lib, t: tuple(lib.mode(t)), x)
    parity(lambda lib, t: tuple(t.mode(0, keepdim=True)), x)
    parity(lambda lib, t: tuple(lib.mode(t[0, 0])), x)


def test_renorm_holds_filters(parity):
    w = np.random.default_rng(0).standard_normal((4, 2, 3, 3))
    parity(lambda lib, t: t.clone().renorm_(2, 0, 1), w)
    t = minicnn.tensor(w).renorm(2, 0, 1)
    assert np.linalg.norm(t.numpy().reshape(4, -1), axis=1).max() < 1


def test_types_of_types():
    torch = pytest.importorskip("torch")
    names = ["bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64"]
    for a in names:
        for b in names:
            mine, theirs = [(getattr(lib, a), getattr(lib, b)) for lib in (minicnn, torch)]
            assert minicnn.can_cast(*mine) == torch.can_cast(*theirs), (a, b)
            wanted = str(torch.promote_types(*theirs)).removeprefix("torch.")
            assert str(minicnn.promote_types(*mine)) == wanted, (a, b)
    x = minicnn.zeros(2, 3)
    assert (x.itemsize, x.nbytes) == (4, 24)
    assert minicnn.asarray(x.array).array.base is not None  # shares memory
    assert not np.shares_memory(minicnn.asarray(x.array, copy=True).array, x.array)
    assert minicnn.asarray([1.0], requires_grad=True).requires_grad


# ---------------------------------------------------------------------- sequences, places


def test_searchsorted_and_bucketize(parity):
    rows = np.array([1.0, 3, 3, 5])
    for fn in (
        lambda lib, s, v: lib.searchsorted(s, v),
        lambda lib, s, v: lib.searchsorted(s, v, side="right", out_int32=True),
        lambda lib, s, v: lib.searchsorted(s.flip(0), v, sorter=lib.tensor([3, 2, 1, 0])),
        lambda lib, s, v: lib.bucketize(v, s, right=True),
        lambda lib, s, v: lib.isin(v, s, invert=True),
    ):
        parity(fn, rows, np.array([[3.0, 0], [5, 9]]), grads=False)


def test_unique(parity):
    x = np.array([[3, 1, 3], [0, 1, 0], [3, 1, 3]])
    parity(lambda lib, t: lib.unique(t), x)
    parity(lambda lib, t: lib.unique(t, True, True, True), x)
    parity(lambda lib, t: lib.unique(t, dim=0, return_inverse=True, return_counts=True), x)
    parity(lambda lib, t: t.unique(dim=1), x)


def test_repeated_places(parity):
    k = np.array([2, 0, 1])
    parity(lambda lib, k: lib.repeat_interleave(k), k)
    parity(lambda lib, k: lib.tensor(X).repeat_interleave(k, 0, output_size=3), k)
    parity.raises(
        lambda lib, k: lib.repeat_interleave(lib.tensor(X), k, 1), k, match="or 4 of them"
    )
    parity.raises(lambda lib, k: lib.repeat_interleave(k, -1), k, match="none negative")


def test_put_and_scatter_methods(parity):
    m = np.array([True, False, True])
    for fn in (
        lambda lib, t, k, m: t.clone().index_put_((k,), lib.tensor(2.5, dtype=t.dtype)),
        lambda lib, t, k, m: t.clone().index_put_((m,), lib.ones(2, 4, dtype=t.dtype)),
        lambda lib, t, k, m: t.index_put((k, k), t[0, :2], accumulate=True),
        lambda lib, t, k, m: t.clone().nan_to_num_(1.0),
        lambda lib, t, k, m: t.masked_scatter(m[:, None], t.flip(0)),
        lambda lib, t, k, m: t.index_fill(1, k, 3),
        lambda lib, t, k, m: t.index_fill(0, lib.tensor(1), 3.5),
        lambda lib, t, k, m: t.clone().fill_diagonal_(0),
        lambda lib, t, k, m: t.T.clone().fill_diagonal_(1.5, wrap=True),
        lambda lib, t, k, m: t.clone().swapaxes_(0, 1).t_().transpose_(0, 1).unsqueeze_(0),
    ):
        parity(fn, X, K, m)


# ---------------------------------------------------------------------- views


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.diagonal(1),
        lambda t: t.unfold(1, 2, 1),
        lambda t: t.unfold(0, 2, 1)[0],
        lambda t: minicnn.diag(t),
        lambda t: minicnn.tensor_split(t, 2)[1],
        lambda t: minicnn.hsplit(t, 2)[0],
    ],
)
def test_views_share_memory_and_history(view):
    x = minicnn.tensor(X)
    assert np.shares_memory(view(x).numpy(), x.numpy())
    leaf = minicnn.tensor(X, requires_grad=True)
    y = leaf * 2
    part = view(y)
    if part.grad_fn is not None and part._view[1] is not None:
        part.mul_(0)  # what the view writes, the base has too
        y.sum().backward()
        written = np.zeros_like(X)
        view(minicnn.tensor(written)).fill_(1)
        w = minicnn.zeros(3, 4)
        view(w).fill_(1)
        np.testing.assert_array_equal(leaf.grad.array, np.where(w.array == 1, 0, 2))


def test_overlapping_windows_written_in_place(parity):
    def fn(lib, t):
        y = t * 1
        y.unfold(1, 2, 2).mul_(3)
        return y

    parity(fn, X)


# ---------------------------------------------------------------------- adjoints, exactly


def integers(rng, shape, dtype, order):
    a = rng.integers(-9, 10, shape).astype(dtype)
    return np.asfortranarray(a) if order == "F" else a


@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    seed=st.integers(0, 999),
    dtype=st.sampled_from(["float32", "float64"]),
    order=st.sampled_from("CF"),
    data=st.data(),
)
def test_adjoints_to_the_bit(shape, seed, dtype, order, data):
    """<A x, g> = <x, A^T g>, on whole numbers, for what moves numbers and adds them."""
    rng = np.random.default_rng(seed)
    x, shape = integers(rng, shape, dtype, order), tuple(shape)
    axis = data.draw(st.integers(0, len(shape) - 1))
    size, step = data.draw(st.integers(1, shape[axis])), data.draw(st.integers(1, 4))
    other = data.draw(st.integers(0, len(shape) - 1).filter(lambda i: i != axis))
    offset = data.draw(st.integers(1 - shape[axis], shape[other] - 1))
    k = rng.integers(0, shape[axis], 6)
    along = rng.integers(0, shape[axis], shape)
    rows = (*[slice(None)] * axis, k, *[slice(None)] * (len(shape) - axis - 1))
    pairs = [
        (Windows, {"axis": axis, "size": size, "step": step}, AddWindows,
         {"axis": axis, "step": step, "shape": shape}),
        (Diagonal, {"offset": offset, "axes": (axis, other)}, OnDiagonal,
         {"offset": offset, "axes": (axis, other), "shape": shape}),
        (Take, {"index": rows}, AddAt, {"index": rows, "shape": shape}),
        (Gather, {"index": along, "axis": axis}, ScatterAdd,
         {"index": along, "axis": axis, "shape": shape}),
    ]  # fmt: skip
    for there, options, back, back_options in pairs:
        y = there.apply(x, **options)
        g = integers(rng, y.shape, dtype, order)
        grad_x = back.apply(g, **back_options)
        assert grad_x.shape == shape and grad_x.dtype == y.dtype == x.dtype
        assert (y * g).sum() == (x * grad_x).sum(), there.__name__


# ---------------------------------------------------------------------- einsum


def test_einsum_of_many_kinds(parity):
    a, b = X, np.random.default_rng(1).standard_normal((4, 5))
    q = np.random.default_rng(2).standard_normal((2, 3, 4))
    for fn in (
        lambda lib, a, b, q: lib.einsum("...c,cd->...d", q, b),
        lambda lib, a, b, q: lib.einsum("...,...", a, a),
        lambda lib, a, b, q: lib.einsum("nij, nij -> n", q, q),
        lambda lib, a, b, q: lib.einsum("bij,ij->b", q, a),
        lambda lib, a, b, q: lib.einsum("bij,bij->ij", q, a[None]),  # a size of 1 broadcasts
        lambda lib, a, b, q: lib.einsum("ii", b[:, :4]),
        lambda lib, a, b, q: lib.einsum("iijj->ij", q[:, :2, :, None].expand(2, 2, 4, 4)),
        lambda lib, a, b, q: lib.einsum("ij,jk", [a, b]),
        lambda lib, a, b, q: lib.einsum("...ij->...ji", q),
        lambda lib, a, b, q: lib.einsum("Ab,bC->AC", a, b),
    ):
        parity(fn, a, b, q)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "fn, message",
    [
        (lambda lib, x: lib.lerp(x, x.float(), 0.5), "lerp: expects tensors of one floating type"),
        (lambda lib, x: lib.lerp(x, x[:, :3], 0.5), "lerp: shapes"),
        (lambda lib, x: lib.addcdiv(x.long(), x.long(), x.long()), "addcdiv: expects a floating"),
        (lambda lib, x: lib.addcmul(x, x, x[:, :3]), "mul: shapes"),
        (lambda lib, x: lib.positive(x > 0), "positive: expects numbers"),
        (lambda lib, x: lib.heaviside(x, x.float()), "heaviside: expects one type"),
        (lambda lib, x: lib.heaviside(x, x[:, :3]), "heaviside: shapes"),
        (lambda lib, x: lib.frac(x.long()), "frac: expects a floating type"),
        (lambda lib, x: lib.hypot(x.long(), x.long()), "hypot: expects a floating type"),
        (lambda lib, x: lib.atan2(x, x[:, :3]), "atan2: shapes"),
        (lambda lib, x: lib.logaddexp(x, x[:, :3]), "logaddexp: shapes"),
        (lambda lib, x: lib.xlogy(x, x[:, :3]), "xlogy: shapes"),
        (lambda lib, x: lib.floor(x > 0), "floor: expects numbers, got bools"),
        (lambda lib, x: lib.abs(x > 0), "abs: expects numbers, got bools"),
        (lambda lib, x: lib.pow(x > 0, x > 0), "pow: expects numbers, got bools"),
        (lambda lib, x: lib.bitwise_or(x, x), "bitwise_or: expects bools or integers"),
        (lambda lib, x: lib.bitwise_not(x), "bitwise_not: expects bools or integers"),
        (lambda lib, x: lib.nanmean(x.long()), "nanmean: expects a floating type"),
        (lambda lib, x: lib.cumprod(x, 2), "cumprod: dim expects"),
        (lambda lib, x: lib.cummax(x, -3), "cummax: dim expects"),
        (lambda lib, x: lib.diff(x, -1), "diff: expects n >= 0"),
        (lambda lib, x: lib.kthvalue(x, 0), "kthvalue: k expects 1 to 4"),
        (lambda lib, x: lib.kthvalue(x, 5), "kthvalue: k expects 1 to 4"),
        (lambda lib, x: lib.median(x[:, :0], 1), "median: dim 1 .* has no elements"),
        (lambda lib, x: lib.median(x, 2), "median: dim expects"),
        (lambda lib, x: lib.quantile(x.long(), 0.5), "quantile: expects a floating type"),
        (lambda lib, x: lib.quantile(x, 1.5), "quantile: q expects numbers from 0 to 1"),
        (lambda lib, x: lib.quantile(x, 0.5, interpolation="cubic"), "quantile: interpolation"),
        (lambda lib, x: lib.quantile(x[:0], 0.5), "quantile: no elements"),
        (lambda lib, x: lib.searchsorted(x, x[:2]), "searchsorted: expects a vector, or rows"),
        (lambda lib, x: lib.searchsorted(x[0], x, side="up"), "searchsorted: side"),
        (lambda lib, x: lib.bucketize(x, x), "bucketize: boundaries"),
        (lambda lib, x: lib.histc(x, 0), "histc: expects"),
        (lambda lib, x: lib.unique(x, dim=2), "unique: dim expects"),
        (lambda lib, x: lib.cdist(x, x[:, :3]), "cdist: expects two sets of rows"),
        (lambda lib, x: lib.cdist(x[0], x), "cdist: expects two sets of rows"),
        (lambda lib, x: lib.renorm(x, 0, 0, 1), "renorm: expects p > 0"),
        (lambda lib, x: lib.renorm(x, 2, 0, -1), "renorm: expects p > 0"),
        (lambda lib, x: lib.renorm(x[0], 2, 0, 1), "renorm: expects p > 0"),
        (lambda lib, x: lib.mode(x[:, :0]), "mode: dim -1"),
        (lambda lib, x: lib.is_nonzero(x), "is_nonzero: expects one element"),
        (lambda lib, x: lib.index_add(x, 0, lib.tensor([3]), x[:1]), "index_add: index expects 0"),
        (lambda lib, x: lib.index_add(x, 0, lib.tensor([1]), x[:2]), "index_add: source expects"),
        (lambda lib, x: lib.index_add(x, 0, lib.tensor([1]), x[:1].float()), "index_add: source"),
        (lambda lib, x: lib.index_add(x, 2, lib.tensor([1]), x), "index_add: dim expects"),
        (lambda lib, x: lib.index_copy(x, 1, lib.tensor([4]), x[:, :1]), "index_copy: index"),
        (lambda lib, x: lib.index_fill(x, 0, lib.tensor([3]), 1.0), "index_fill: index expects"),
        (lambda lib, x: lib.index_fill(x, 0, lib.tensor([0.5]), 1.0), "index_fill: index expects"),
        (lambda lib, x: lib.index_fill(x, 0, lib.tensor([0]), x), "index_fill: value"),
        (lambda lib, x: lib.index_put(x, (lib.tensor([3]),), x[0]), "out of bounds"),
        (lambda lib, x: lib.index_put(x, (lib.tensor([0]),), x[0].float()), "index_put: values"),
        (lambda lib, x: lib.take(x, lib.tensor([12])), "take: index expects -12 to 11"),
        (lambda lib, x: lib.take(x, lib.tensor([0.5])), "take: index expects integers"),
        (lambda lib, x: lib.masked_scatter(x, x > -9, x[0]), "masked_scatter: the mask has 12"),
        (lambda lib, x: lib.masked_scatter(x, x > 0, x.float()), "masked_scatter: expects"),
        (lambda lib, x: lib.masked_scatter(x, x, x), "masked_scatter: expects"),
        (lambda lib, x: lib.diagonal(x, 0, 1, 1), "diagonal: dim1 and dim2"),
        (lambda lib, x: lib.diagonal(x[0]), "diagonal"),
        (lambda lib, x: lib.diag(x[None]), "diag: expects a vector or a matrix"),
        (lambda lib, x: lib.diag_embed(x, 0, 1, 1), "diag_embed: dim1 and dim2"),
        (lambda lib, x: lib.trace(x[0]), "trace: expects a matrix"),
        (lambda lib, x: lib.tril(x[0]), "tril: expects at least 2 dimensions"),
        (lambda lib, x: lib.triu(x[0]), "triu: expects at least 2 dimensions"),
        (lambda lib, x: x.unfold(1, 5, 1), "unfold: size expects 1 to 4"),
        (lambda lib, x: x.unfold(1, 2, 0), "unfold: size expects"),
        (lambda lib, x: x[0].clone().fill_diagonal_(1), "fill_diagonal_: expects"),
        (lambda lib, x: x[None].clone().fill_diagonal_(1), "fill_diagonal_: expects"),
        (lambda lib, x: lib.fliplr(x[0]), "fliplr"),
        (lambda lib, x: lib.flipud(x[0, 0]), "flipud"),
        (lambda lib, x: lib.rot90(x, 1, (0, 0)), "rot90"),
        (lambda lib, x: lib.rot90(x, 1, (0,)), "rot90"),
        (lambda lib, x: lib.hsplit(x, 3), "hsplit: dimension 1, of size 4"),
        (lambda lib, x: lib.vsplit(x[0], 2), "vsplit: expects at least 2"),
        (lambda lib, x: lib.dsplit(x, 2), "dsplit: expects at least 3"),
        (lambda lib, x: lib.tensor_split(x, 0), "tensor_split: expects at least 1"),
        (lambda lib, x: lib.vstack([]), "vstack: expects at least one"),
        (lambda lib, x: lib.hstack([x, x[:2]]), "cat: all sizes"),
        (lambda lib, x: lib.meshgrid(x[0], x[0], indexing="yx"), "meshgrid: indexing"),
        (lambda lib, x: lib.meshgrid(x, x[0], indexing="ij"), "meshgrid: expects vectors"),
        (lambda lib, x: lib.baddbmm(x, x, x), "bmm: expects"),
        (lambda lib, x: lib.baddbmm(x, x[None], x.t()[None].float()), "bmm: expects one type"),
        (lambda lib, x: lib.addmm(x, x, x), "mm: the inner sizes"),
        (lambda lib, x: lib.addmm(x, x, x.t()), "addmm: input of shape|broadcast"),
        (lambda lib, x: lib.addmm(x[:, :3].float(), x, x.t()), "addmm: expects one type"),
        (lambda lib, x: lib.addmv(x[0], x, x[0]), "addmv|broadcast"),
        (lambda lib, x: lib.inner(x, x[:, :3]), "inner: the last sizes"),
        (lambda lib, x: lib.tensordot(x, x, 1), "tensordot: sizes and types"),
        (lambda lib, x: lib.tensordot(x, x, 3), "tensordot: dims expects 0 to 2"),
        (lambda lib, x: lib.einsum("ij,jk->ik", x, x), "does not fit"),
        (lambda lib, x: lib.einsum("ijk->i", x), "does not fit"),
        (lambda lib, x: lib.einsum("ij->ii", x), "letters of the output"),
        (lambda lib, x: lib.einsum("i1->i", x), "einsum: expects letters"),
        (lambda lib, x: lib.einsum("ii->i", x), "two sizes"),
        (lambda lib, x: x.exponential_(0), "exponential_: lambd"),
        (lambda lib, x: lib.randint_like(x, 3, 3), "randint: expects low < high"),
        (lambda lib, x: lib.logspace(0, 1, -1), "logspace: steps"),
    ],
)
def test_errors(fn, message, refuses):
    refuses(fn, X, match=message)


def test_beta_zero_drops_what_is_there():
    bad = minicnn.full((2, 2), NAN, requires_grad=True)
    y = minicnn.addmm(bad, minicnn.ones(2, 3), minicnn.ones(3, 2), beta=0)
    assert (y == 3).all()
    y.sum().backward()
    assert not bad.grad.any()


def test_random_functions():
    minicnn.manual_seed(0)
    x = minicnn.empty(20000).exponential_(4.0)
    assert x.min() >= 0 and abs(x.mean().item() - 0.25) < 0.01 and abs(x.std() - 0.25) < 0.015
    k = minicnn.randint_like(minicnn.zeros(2000, dtype=minicnn.float64), -1, 3)
    assert k.dtype == minicnn.float64 and set(k.tolist()) == {-1, 0, 1, 2}
    assert minicnn.randint_like(k, 2, dtype=minicnn.int32).dtype == minicnn.int32

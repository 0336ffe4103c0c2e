"""Losses: every formula against the code, derivatives, ignored and bad labels, parity, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn.autograd import GradcheckError, Tensor, gradcheck, gradgradcheck
from minicnn.functional.activation import log_softmax
from minicnn.functional.loss import cross_entropy, l1_loss, mse_loss, nll_loss

few = settings(max_examples=25, deadline=None, derandomize=True)
BACKENDS = ["cpu", "reference"]


def leaf(array):
    return Tensor(np.array(array, float), requires_grad=True)


def second_derivatives(fn, *inputs):
    """gradgradcheck, and: the gradient that can be differentiated again is the ordinary one."""
    assert gradgradcheck(fn, inputs)
    y = fn(*inputs)
    u = Tensor(np.random.default_rng(9).normal(size=y.shape))
    plain = minicnn.autograd.grad(y, inputs, u, retain_graph=True)
    graph = minicnn.autograd.grad(y, inputs, u, create_graph=True)
    for a, b in zip(plain, graph, strict=True):
        np.testing.assert_allclose(a.array, b.detach().array, rtol=1e-11, atol=1e-13)


def arrays(*shapes, seed=0):
    r = np.random.default_rng(seed)
    return [r.normal(size=s) for s in shapes]


@st.composite
def problems(draw):
    """Scores, labels (some ignored), class weights, options."""
    C = draw(st.integers(1, 4))
    extent = draw(st.sampled_from([(1,), (4,), (2, 3), (2, 2, 2)]))
    r = np.random.default_rng(draw(st.integers(0, 99)))
    labels = r.integers(0, C, extent)
    options = {
        "ignore_index": draw(st.sampled_from([-100, -1] + [0] * (C > 1))),
        "reduction": draw(st.sampled_from(["mean", "sum", "none"])),
    }
    labels[r.random(extent) < 0.3] = options["ignore_index"]
    labels.flat[0] = C - 1  # seldom is everything ignored
    weight = r.uniform(0.5, 2, C) if draw(st.booleans()) else None
    return r.normal(size=(extent[0], C, *extent[1:])), labels, weight, options


def by_formula(x, labels, weight, ignore_index, reduction, label_smoothing=0.0):
    """Formulas (1), (2), (4) and (5) sample by sample: the loss, and grad_x for grad_y of ones."""
    C = x.shape[1]
    W = np.ones(C) if weight is None else weight
    loss, grad_x = np.zeros(labels.shape), np.zeros(x.shape)
    v = np.where(labels == ignore_index, 0, W[np.where(labels == ignore_index, 0, labels)])
    M = {"mean": v.sum()}.get(reduction, 1)
    for n, *d in np.ndindex(*labels.shape):
        t = labels[n, *d]
        if t == ignore_index:
            continue
        scores = x[n, :, *d]
        p = np.exp(scores) / np.exp(scores).sum()
        q = (1 - label_smoothing) * (np.arange(C) == t) + label_smoothing / C
        Q = W * q
        loss[n, *d] = -(Q * np.log(p)).sum()
        grad_x[n, :, *d] = (p * Q.sum() - Q) / M
    return loss if reduction == "none" else loss.sum() / M, grad_x


# ---------------------------------------------------------------------- the derivation


@few
@given(problems(), st.sampled_from([0.0, 0.1, 1.0]))
def test_cross_entropy_formulas(problem, smoothing):
    x, labels, weight, options = problem
    tx = leaf(x)
    y = cross_entropy(tx, labels, weight, **options, label_smoothing=smoothing)
    y.backward(Tensor(np.ones(y.shape)))
    loss, grad_x = by_formula(x, labels, weight, **options, label_smoothing=smoothing)
    np.testing.assert_allclose(y.detach().array, loss, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(tx.grad.array, grad_x, rtol=1e-12, atol=1e-14)


@few
@given(problems())
def test_nll_formulas_and_the_fused_path(problem):
    x, labels, weight, options = problem
    log_p, fused, composed = leaf(log_softmax(x, 1)), leaf(x), leaf(x)
    y = nll_loss(log_p, labels, weight, **options)
    grad_y = np.random.default_rng(1).normal(size=y.shape)
    y.backward(Tensor(grad_y))
    kept = labels != options["ignore_index"]
    t = np.where(kept, labels, 0)
    v = kept * (1.0 if weight is None else weight[t])
    g = grad_y / v.sum() if options["reduction"] == "mean" else grad_y
    onehot = np.moveaxis(np.eye(x.shape[1])[t], -1, 1)
    np.testing.assert_allclose(log_p.grad.array, -(g * v)[:, None] * onehot, rtol=1e-12)  # (3)
    a, b = (
        cross_entropy(fused, labels, weight, **options),
        nll_loss(log_softmax(composed, 1), labels, weight, **options),
    )
    a.backward(Tensor(grad_y))
    b.backward(Tensor(grad_y))
    np.testing.assert_allclose(a.detach().array, b.detach().array, rtol=1e-12)
    np.testing.assert_allclose(fused.grad.array, composed.grad.array, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_probabilities_as_targets(reduction, weighted):
    x, q, W = arrays((3, 4, 2), (3, 4, 2), (4,))
    q, W = np.abs(q), np.abs(W) if weighted else None
    y = cross_entropy(x, q, W, reduction=reduction, label_smoothing=0.2)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    Q = (0.8 * q + 0.2 / 4) * (1 if W is None else W[:, None])
    loss = -(Q * np.log(p)).sum(1)
    wanted = {"none": loss, "sum": loss.sum(), "mean": loss.sum() / 6}[reduction]
    np.testing.assert_allclose(y, wanted, rtol=1e-12)
    onehot = np.moveaxis(np.eye(4)[np.array([[0, 1], [2, 3], [3, 3]])], -1, 1)
    labels = np.array([[0, 1], [2, 3], [3, 3]])
    a, b = cross_entropy(x, onehot), cross_entropy(x, labels)
    np.testing.assert_allclose(a, b, rtol=1e-12)


# ---------------------------------------------------------------------- derivatives


@settings(few, max_examples=6)
@given(problems(), st.sampled_from([0.0, 0.1]))
def test_gradcheck(problem, smoothing):
    x, labels, weight, options = problem
    more = {"label_smoothing": smoothing}
    functions = [
        lambda x: cross_entropy(x, labels, weight, **options, **more),
        lambda x: nll_loss(x, labels, weight, **options),
    ]
    for f in functions:
        assert gradcheck(f, leaf(x))
        second_derivatives(f, leaf(x))
    second_derivatives(lambda x: functions[1](log_softmax(x, 1)), leaf(x))


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_gradcheck_of_the_others(reduction):
    x, q, t, W = arrays((2, 3), (2, 3), (2, 3), (3,))

    def soft(x, q):
        return cross_entropy(x, q * q, np.abs(W), reduction=reduction, label_smoothing=0.1)

    for f in (soft, lambda a, b: mse_loss(a, b, reduction=reduction)):
        assert gradcheck(f, (leaf(x), leaf(q)))
        second_derivatives(f, leaf(x), leaf(q))
    far = lambda a, b: l1_loss(a, b, reduction=reduction)  # noqa: E731
    assert gradcheck(far, (leaf(x), leaf(x + np.sign(t) * 3)))
    second_derivatives(far, leaf(x), leaf(x + np.sign(t) * 3))
    with pytest.raises(GradcheckError, match="kink or tie"):
        gradcheck(lambda a: l1_loss(a, x, reduction=reduction), leaf(x))


def test_second_derivative_does_not_use_a_changed_label():
    """Labels are copied: a buffer that is filled anew does not change an earlier loss."""
    x, t = leaf(arrays((3, 4))[0]), np.array([0, 1, 2])
    y = cross_entropy(x, Tensor(t))
    t[:] = 3
    y.backward()
    z = leaf(x.array)
    cross_entropy(z, np.array([0, 1, 2])).backward()
    assert np.array_equal(x.grad.array, z.grad.array)


# ---------------------------------------------------------------------- unusual labels and sizes


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
def test_all_ignored(loss):
    x = leaf(np.zeros((2, 3)))
    y = loss(x, np.array([-100, -100]))
    assert math.isnan(y.item())
    y.backward()
    assert not x.grad.array.any()
    assert loss(np.zeros((2, 3)), np.array([-100, -100]), reduction="sum") == 0


def test_an_ignored_sample_may_be_infinite():
    x = leaf(np.array([[-np.inf, 0.0], [1, 2]]))
    y = nll_loss(x, np.array([0, 1]), ignore_index=0)
    y.backward()
    assert y.item() == -2 and x.grad.array.tolist() == [[0, 0], [0, -1]]


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
def test_an_empty_batch(loss):
    x, t = leaf(np.zeros((0, 3))), np.zeros(0, int)
    assert math.isnan(loss(x, t).item())
    assert loss(x, t, reduction="sum").item() == 0
    y = loss(x, t, reduction="none")
    assert y.shape == (0,)
    y.backward(Tensor(np.zeros(0)))
    assert x.grad.shape == (0, 3)
    with np.errstate(invalid="ignore"):
        assert math.isnan(cross_entropy(x, Tensor(np.zeros((0, 3)))).item())
        assert math.isnan(mse_loss(x, Tensor(np.zeros((0, 3)))).item())


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_a_single_sample_needs_no_batch_axis(reduction):
    (x,) = arrays((4,))
    for loss in (cross_entropy, nll_loss):
        y = loss(Tensor(x), Tensor(np.array(2)), reduction=reduction)
        assert y.shape == ()
        np.testing.assert_allclose(y.item(), loss(x[None], np.array([2]), reduction="sum"))
        assert gradgradcheck(lambda x, f=loss: f(x, np.array(2), reduction=reduction), leaf(x))
    q = np.array([0.1, 0.2, 0.3, 0.4])
    y = cross_entropy(x, q, reduction=reduction)
    np.testing.assert_allclose(y, cross_entropy(x[None], q[None], reduction="sum"))


def test_labels_of_any_integer_type_and_memory_order():
    x, t = arrays((4, 3, 2))[0], np.array([[0, 1], [2, 0], [1, 1], [2, 2]])
    wanted = cross_entropy(x, t)
    for dtype in (np.uint8, np.int8, np.int32):
        assert cross_entropy(x, t.astype(dtype)) == wanted
    last = np.ascontiguousarray(x.transpose(0, 2, 1)).transpose(0, 2, 1)
    tx = leaf(0)
    tx.array = last
    y = cross_entropy(tx, np.repeat(t, 2, 1)[:, ::2])
    y.backward()
    np.testing.assert_allclose(y.item(), wanted, rtol=1e-13)
    z = leaf(x)
    cross_entropy(z, t).backward()
    np.testing.assert_allclose(tx.grad.array, z.grad.array, rtol=1e-12)


@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss"])
def test_extremes_are_silent_and_as_in_pytorch(loss, parity):
    x = np.array([1e200, 1e308, np.inf, -np.inf, np.nan, np.inf])
    t = np.array([0, -1e308, 0, 0, 0, np.inf])
    parity(lambda lib, x, t: getattr(lib.nn.functional, loss)(x, t, reduction="none"), x, t)


def test_float32_stays_float32_and_large_scores_stay_finite():
    x = leaf(0)
    x.array = np.array([[1e4, -1e4, 0], [1e38, 0, -1e38]], np.float32)
    y = cross_entropy(x, np.array([1, 0]), reduction="none")
    y.backward(Tensor(np.ones(2, np.float32)))
    assert y.detach().array.tolist() == [2e4, 0]
    assert x.grad.array.tolist() == [[1, -1, 0], [0, 0, 0]]
    assert y.dtype == x.grad.dtype == np.float32


def test_float16_means_of_more_than_it_can_count(parity):
    """70,000 samples and 140,000 scores, where float16 ends at 65504."""
    x = np.random.default_rng(0).normal(size=(70000, 2)).astype(np.float16)
    q = np.full((70000, 2), 0.5, np.float16)

    def of_probabilities(lib, x, q):
        return lib.nn.functional.cross_entropy(x, q)

    def divergence(lib, x, q):
        return lib.nn.functional.kl_div(x, q, reduction="batchmean")

    for function in (of_probabilities, divergence):
        parity(function, x, q, rtol=2e-2)  # the gradients are subnormal numbers
    parity(lambda lib, x: lib.nn.functional.mse_loss(x, x * 0), x, rtol=2e-2)


def test_probabilities_have_no_label_to_ignore(refuses):
    q = np.full((2, 3), 1 / 3)
    text = "cross_entropy: ignore_index is for labels"
    refuses(
        lambda lib, x, q: lib.nn.functional.cross_entropy(x, q, ignore_index=0), q, q, match=text
    )


def test_float16_counts_in_float32():
    x = leaf(0)
    x.array = np.zeros((1, 2, 70_000), np.float16)
    for loss, value in ((cross_entropy, math.log(2)), (nll_loss, 0)):
        y = loss(x, np.zeros((1, 70_000), int))
        assert y.dtype == np.float16 and abs(y.item() - value) < 1e-3
        x.grad = None
        y.backward()
        assert np.all(abs(x.grad.array[:, 0]) > 0)


@pytest.mark.parametrize("label", [3, 10, -1, 255])
@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
def test_a_label_out_of_range_is_named(loss, label):
    t = np.array([[0, 1], [2, label]])
    text = (
        rf"{loss.__name__}: target holds the label {label} at index \(1, 1\); with 3 classes "
        r"a label is 0 to 2 \(or ignore_index=-100\)"
    )
    with pytest.raises(IndexError, match=text):
        loss(np.zeros((2, 3, 2)), t)


x23, t2 = np.zeros((2, 3)), np.zeros(2, int)


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (
            TypeError,
            "nll_loss: target expects integer labels, got float64",
            lambda: nll_loss(x23, x23),
        ),
        (
            TypeError,
            "cross_entropy: target expects integer labels, got bool",
            lambda: cross_entropy(x23, t2 > 0),
        ),
        (
            TypeError,
            "cross_entropy: target expects integer labels, got list",
            lambda: cross_entropy(x23, [0, 1]),
        ),
        (
            ValueError,
            r"cross_entropy: target expects probabilities of input's shape \(2, 3\), or integer "
            r"labels, got float64 \(2,\)",
            lambda: cross_entropy(x23, np.zeros(2)),
        ),
        (
            ValueError,
            r"cross_entropy: target expects shape \(2,\), a label for each sample of input "
            r"\(2, 3\), got \(2, 1\)",
            lambda: cross_entropy(x23, t2[:, None]),
        ),
        (
            ValueError,
            r"nll_loss: target expects shape \(2, 4\)",
            lambda: nll_loss(np.zeros((2, 3, 4)), t2),
        ),
        (
            ValueError,
            r"cross_entropy: weight expects shape \(3,\), one for each class, got \(2,\)",
            lambda: cross_entropy(x23, t2, np.ones(2)),
        ),
        (
            TypeError,
            "cross_entropy: weight expects input's type float64, got float32",
            lambda: cross_entropy(x23, t2, np.ones(3, np.float32)),
        ),
        (
            RuntimeError,
            "cross_entropy: weight is not differentiated",
            lambda: cross_entropy(x23, t2, leaf(np.ones(3))),
        ),
        (
            TypeError,
            "cross_entropy: input expects a floating type, got int64",
            lambda: cross_entropy(x23.astype(int), t2),
        ),
        (
            ValueError,
            "cross_entropy: input expects .* got .2, 0.",
            lambda: cross_entropy(np.zeros((2, 0)), t2),
        ),
        (
            ValueError,
            "nll_loss: reduction expects 'none', 'mean' or 'sum', got 'avg'",
            lambda: nll_loss(x23, t2, reduction="avg"),
        ),
        (
            ValueError,
            "cross_entropy: label_smoothing expects 0 to 1, got 1.5",
            lambda: cross_entropy(x23, t2, label_smoothing=1.5),
        ),
        (
            ValueError,
            r"mse_loss: expects shapes that broadcast: input \(2, 3\), target \(2,\)",
            lambda: mse_loss(x23, np.zeros(2)),
        ),
        (
            TypeError,
            "l1_loss: one of input and target expects a floating type, got int64",
            lambda: l1_loss(t2, t2),
        ),
        (
            TypeError,
            "mse_loss: input and target expect a Tensor or an array, got float",
            lambda: mse_loss(x23, 1.0),
        ),
        (
            ValueError,
            r"mse_loss: weight expects input's shape \(2, 3\), got \(3,\)",
            lambda: mse_loss(x23, x23, weight=np.ones(3)),
        ),
    ],
)
def test_errors(error, text, call):
    with pytest.raises(error, match=text):
        call()


def test_shapes_that_differ_broadcast_with_a_warning():
    x, t = arrays((2, 3), (3,))
    with pytest.warns(UserWarning, match=r"mse_loss: the shapes differ .* \(2, 3\), target \(3,\)"):
        assert gradcheck(mse_loss, (leaf(x), leaf(t)))


def test_the_older_arguments():
    x, t = arrays((2, 3), (2, 3))
    for old, new in (
        ({"size_average": False}, "sum"),
        ({"size_average": True}, "mean"),
        ({"reduce": False}, "none"),
        ({"reduce": True}, "mean"),
    ):
        with pytest.warns(UserWarning, match=f"write reduction='{new}'"):
            assert np.array_equal(mse_loss(x, t, **old), mse_loss(x, t, reduction=new))


def test_types_meet_as_in_pytorch():
    x = np.ones((2, 3), np.float32)
    assert mse_loss(x, np.zeros((2, 3), int)).dtype == np.float32
    assert mse_loss(Tensor(x), Tensor(np.zeros((2, 3)))).dtype == np.float64


# ---------------------------------------------------------------------- parity


@few
@given(problems(), st.sampled_from([0.0, 0.1]), st.booleans())
def test_parity_with_pytorch(problem, smoothing, single):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    x, labels, weight, options = problem
    dtype, tolerance = (np.float32, 1e-5) if single else (np.float64, 1e-10)
    x = x.astype(dtype)
    W = None if weight is None else weight.astype(dtype)
    cW = None if W is None else torch.tensor(W)
    q = np.abs(x[::-1]).copy()
    more = {"label_smoothing": smoothing}
    soft = {"reduction": options["reduction"], **more}
    pairs = [
        (lambda a: nll_loss(a, labels, W, **options),
         lambda a: F.nll_loss(a, torch.tensor(labels), cW, **options)),
        (lambda a: cross_entropy(a, labels, W, **options, **more),
         lambda a: F.cross_entropy(a, torch.tensor(labels), cW, **options, **more)),
        (lambda a: cross_entropy(a, Tensor(q), W, **soft),
         lambda a: F.cross_entropy(a, torch.tensor(q), cW, **soft)),
        (lambda a: mse_loss(a, Tensor(q), reduction=options["reduction"]),
         lambda a: F.mse_loss(a, torch.tensor(q), reduction=options["reduction"])),
        (lambda a: l1_loss(a, Tensor(q), reduction=options["reduction"]),
         lambda a: F.l1_loss(a, torch.tensor(q), reduction=options["reduction"])),
    ]  # fmt: skip
    for ours, theirs in pairs:
        tx, cx = leaf(0), torch.tensor(x, requires_grad=True)
        tx.array = x
        y, ty = ours(tx), theirs(cx)
        g = np.random.default_rng(3).normal(size=y.shape)
        y.backward(Tensor(np.array(g, dtype)))
        ty.backward(torch.tensor(np.array(g, dtype)))
        for a, b in ((y.detach(), ty.detach()), (tx.grad, cx.grad)):
            np.testing.assert_allclose(
                a.array, b.numpy(), rtol=tolerance, atol=tolerance, strict=True
            )

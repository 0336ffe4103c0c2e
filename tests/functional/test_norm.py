"""batch_norm: its derivation in both forms against the code, derivatives, statistics, parity."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import catalog
from minicnn.autograd import Tensor, gradcheck, gradgradcheck
from minicnn.functional.norm import batch_norm

BACKENDS = ["cpu", "reference"]


def leaf(array):
    return Tensor(np.array(array), requires_grad=True)


def second_derivatives(fn, *inputs):
    """gradgradcheck, and: the gradient that can be differentiated again is the ordinary one."""
    assert gradgradcheck(fn, inputs)
    y = fn(*inputs)
    u = Tensor(np.random.default_rng(9).normal(size=y.shape))
    plain = minicnn.autograd.grad(y, inputs, u, retain_graph=True)
    graph = minicnn.autograd.grad(y, inputs, u, create_graph=True)
    for a, b in zip(plain, graph, strict=True):
        np.testing.assert_allclose(a.array, b.detach().array, rtol=1e-11, atol=1e-13)


def inputs(shape, seed=0):
    r = np.random.default_rng(seed)
    return r.normal(2, 3, shape), r.normal(size=shape[1]), r.normal(size=shape[1])


# ---------------------------------------------------------------------- statistics


@pytest.mark.parametrize("backend", BACKENDS)
def test_running_statistics_are_written_in_place(backend):
    x = inputs((3, 2, 2, 2))[0]
    mean, var = Tensor(np.array([1.0, 2.0])), Tensor(np.array([3.0, 4.0]))
    place = mean.array
    with minicnn.use_backend(backend):
        batch_norm(Tensor(x), mean, var, training=True, momentum=0.3)
    by_channel = x.swapaxes(0, 1).reshape(2, -1)
    assert mean.array is place  # in place: whoever shares the memory sees it
    wanted = 0.7 * np.array([1.0, 2]) + 0.3 * by_channel.mean(axis=1)
    np.testing.assert_allclose(mean.array, wanted, rtol=1e-12)
    wanted = 0.7 * np.array([3.0, 4]) + 0.3 * by_channel.var(axis=1, ddof=1)
    np.testing.assert_allclose(var.array, wanted, rtol=1e-10)
    before = mean.array.copy()
    batch_norm(Tensor(x), mean, var)
    assert np.array_equal(mean.array, before)


# ---------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(5, 2), (3, 2, 4), (2, 3, 2, 2), (2, 1, 2, 2, 2)])
def test_gradcheck(shape, backend):
    x, w, b = map(leaf, inputs(shape))
    stats = np.linspace(0, 1, shape[1]), np.linspace(1, 2, shape[1])
    with minicnn.use_backend(backend):
        assert gradcheck(lambda *a: batch_norm(a[0], None, None, *a[1:], True), (x, w, b))
        assert gradcheck(lambda a: batch_norm(a, None, None, training=True), x)
        assert gradcheck(lambda *a: batch_norm(a[0], *stats, *a[1:]), (x, w, b))
        assert gradcheck(lambda a: batch_norm(a, *stats), x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_second_derivatives(training, affine):
    x, w, b = map(leaf, inputs((3, 2, 2, 2)))
    stats = (None, None) if training else (np.array([0.5, 1]), np.array([2.0, 3]))

    def f(x, w=None, b=None):
        return batch_norm(x, *stats, w, b, training, eps=0.1)

    second_derivatives(f, *((x, w, b) if affine else (x,)))


def test_third_derivative():
    x = leaf(inputs((4, 1))[0])

    def gradient_of_gradient(x):
        with minicnn.enable_grad():  # finite differences call without gradients
            x = x if x.requires_grad else x.detach().requires_grad_()
            y = (batch_norm(x, None, None, training=True, eps=0.1) ** 3).sum()
            (g,) = minicnn.autograd.grad(y, x, create_graph=True)
            (h,) = minicnn.autograd.grad((g * g).sum(), x, create_graph=True)
        return h

    assert gradcheck(gradient_of_gradient, x)


def test_complex_step_of_the_formulas():
    """(1) to (5) at x + i*h*v: the imaginary part is the derivative, without rounding."""
    (x, w, b), h = inputs((3, 2, 2, 3)), 1e-30
    r = np.random.default_rng(1)
    v, u = r.normal(size=x.shape), r.normal(size=x.shape)
    z = x + 1j * h * v
    centred = z - z.mean(axis=(0, 2, 3), keepdims=True)
    y = centred / np.sqrt((centred**2).mean(axis=(0, 2, 3), keepdims=True) + 1e-5)
    y = y * w[:, None, None] + b[:, None, None]
    tx = leaf(x)
    batch_norm(tx, None, None, Tensor(w), Tensor(b), True).backward(Tensor(u))
    np.testing.assert_allclose((tx.grad.array * v).sum(), (u * y.imag / h).sum(), rtol=1e-11)


# ---------------------------------------------------------------------- types, shapes, state


def test_float16_keeps_statistics_in_float32():
    x = inputs((8, 2, 4, 4))[0].astype(np.float16)
    mean, var = Tensor(np.zeros(2, np.float32)), Tensor(np.ones(2, np.float32))
    tx, w, b = leaf(x), leaf(np.ones(2, np.float32)), leaf(np.zeros(2, np.float32))
    for training in (True, False):
        tx.grad = None
        y = batch_norm(tx, mean, var, w, b, training)
        y.backward(Tensor(np.ones(y.shape, np.float16)))
        assert (y.dtype, tx.grad.dtype, w.grad.dtype) == ("float16", "float16", "float32")
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mean.array, 0.1 * wide.mean(axis=(0, 2, 3)), rtol=1e-5)
    wanted = batch_norm(wide, None, None, training=True)
    np.testing.assert_allclose(
        batch_norm(x, None, None, training=True).astype(float), wanted, atol=5e-3
    )


def test_memory_order_does_not_matter():
    x, w, b = inputs((3, 4, 5, 2))
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    results = []
    for array in (x, last, np.repeat(x, 2, axis=2)[:, :, ::2]):
        tx = leaf(0.0)
        tx.array = array
        y = batch_norm(tx, None, None, Tensor(w), Tensor(b), True)
        y.backward(Tensor(np.cos(x)))
        results.append((y.detach().array, tx.grad.array))
    for y, grad_x in results[1:]:
        np.testing.assert_allclose(y, results[0][0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(grad_x, results[0][1], rtol=1e-12, atol=1e-12)


def test_second_derivatives_of_an_empty_batch_are_zero():
    x, w = Tensor(np.zeros((0, 2, 3)), requires_grad=True), leaf([1.0, 2.0])
    y = batch_norm(x, None, None, w, training=True)
    u = Tensor(np.zeros(y.shape), requires_grad=True)
    grad_x, grad_w = minicnn.autograd.grad(y, (x, w), u, create_graph=True)
    again = minicnn.autograd.grad((grad_x.sum(), grad_w.sum()), (x, w, u), allow_unused=True)
    assert again[1].tolist() == [0, 0] and grad_w.tolist() == [0, 0]


def test_an_empty_batch_changes_no_statistics():
    mean, var = np.ones(3), np.full(3, 2.0)
    x, w, b = leaf(np.zeros((0, 3, 2, 2))), leaf(np.ones(3)), leaf(np.ones(3))
    for training in (True, False):
        y = batch_norm(x, mean, var, w, b, training)
        y.backward(Tensor(np.zeros(y.shape)))
        assert y.shape == x.grad.shape == (0, 3, 2, 2)
        assert not w.grad.array.any() and not b.grad.array.any()
    assert mean.tolist() == [1] * 3 and var.tolist() == [2] * 3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(2, 3, 0, 2), (2, 3, 0), (0, 3)])
def test_channels_without_a_value(shape, backend):
    x, w, b = leaf(np.zeros(shape)), leaf(np.ones(3)), leaf(np.ones(3))
    with minicnn.use_backend(backend):
        for training in (True, False):
            y = batch_norm(x, np.ones(3), np.ones(3), w, b, training)
            y.backward(Tensor(np.zeros(shape)))
            assert y.shape == x.grad.shape == shape and not w.grad.array.any()


EXTREMES = {
    "infinite": lambda x: x * np.inf,
    "one infinite": lambda x: np.where(x == x.max(), np.inf, x),
    "NaN": lambda x: np.where(x == x.max(), np.nan, x),
    "squares overflow": lambda x: x * 1e200,
    "squares underflow": lambda x: x * 1e-200,
    "constant": lambda x: x * 0,
    "far from 0": lambda x: x + 1e6,
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("extreme", EXTREMES)
def test_extremes_are_silent_and_as_in_pytorch(extreme, training, parity):
    x = EXTREMES[extreme](inputs((4, 2, 3))[0])
    statistics = np.array([[0.5, -1.0], [2.0, 3.0]])

    def function(lib, x, w, b):
        mean, var = [lib.tensor(values) for values in statistics]
        y = lib.nn.functional.batch_norm(x, mean, var, w, b, training)
        return y, mean, var

    parity(function, x, *inputs((4, 2, 3))[1:], rtol=1e-8)


def test_float16_statistics_may_overflow():
    x = np.array([[6e4], [-6e4]], np.float16)
    var = np.ones(1, np.float16)
    batch_norm(x, np.zeros(1, np.float16), var, training=True)
    assert var[0] == np.inf


def test_a_training_step_between_forward_and_backward_of_an_evaluation():
    x, w, b = inputs((4, 2))
    mean, var = Tensor(np.zeros(2)), Tensor(np.ones(2))
    tx, tw = leaf(x), leaf(w)
    y = batch_norm(tx, mean, var, tw, Tensor(b))
    batch_norm(Tensor(x), mean, var, training=True)
    y.backward(Tensor(np.ones(y.shape)))
    np.testing.assert_allclose(tw.grad.array, x.sum(0) / np.sqrt(1 + 1e-5), rtol=1e-12)
    np.testing.assert_allclose(tx.grad.array, np.ones((4, 1)) * w / np.sqrt(1 + 1e-5), rtol=1e-12)


def test_a_constant_channel_has_variance_zero():
    mean, var = np.zeros(1, np.float32), np.ones(1, np.float32)
    y = batch_norm(np.full((4, 1, 2, 2), 3, np.float32), mean, var, training=True, momentum=1.0)
    assert not y.any() and mean[0] == 3 and var[0] == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("dtype", "spread"), [("float32", 1e-4), ("float64", 1e-9)])
def test_a_variance_far_below_eps_is_remembered(backend, dtype, spread):
    """var + eps rounds to eps: the variance cannot be had from the inverse deviation."""
    x = (spread * inputs((8, 2, 3, 3))[0]).astype(dtype)
    mean, var = np.zeros(2, dtype), np.ones(2, dtype)
    with minicnn.use_backend(backend):
        batch_norm(x, mean, var, training=True, momentum=1.0, eps=1.0)
    wanted = x.astype(np.float64).var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(var, wanted, rtol=1e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize(
    ("error", "text", "args"),
    [
        (
            ValueError,
            r"Expected more than 1 value per channel when training, got input size \(1, 3, 1, 1\)",
            (np.zeros((1, 3, 1, 1)), np.zeros(3), np.ones(3), None, None, True),
        ),
        (ValueError, r"x expects \(N, C\)", (np.zeros(3), None, None, None, None, True)),
        (ValueError, "evaluation .training=False. expects", (np.zeros((2, 3)), None, None)),
        (
            ValueError,
            r"running_var expects shape \(3,\), one for each channel of x \(2, 3\), got \(4,\)",
            (np.zeros((2, 3)), np.zeros(3), np.zeros(4)),
        ),
        (
            ValueError,
            r"weight expects shape \(3,\)",
            (np.zeros((2, 3)), np.zeros(3), np.ones(3), np.ones(2), None, True),
        ),
        (
            TypeError,
            "bias expects x's type float64, got float32",
            (np.zeros((2, 3)), np.zeros(3), np.ones(3), None, np.ones(3, np.float32), True),
        ),
        (TypeError, "x expects a floating type", (np.zeros((2, 3), int), None, None)),
        (
            ValueError,
            "running_mean and running_var must either both be None .* got running_mean alone",
            (np.zeros((2, 3)), np.zeros(3), None, None, None, True),
        ),
        (
            ValueError,
            "eps expects a positive number in training, got 0.0",
            (np.zeros((2, 3)), np.zeros(3), np.ones(3), None, None, True, 0.1, 0),
        ),
        (
            RuntimeError,
            "running_mean is a statistic",
            (np.zeros((2, 3)), leaf(np.zeros(3)), np.ones(3), None, None, True),
        ),
    ],
)
def test_errors_leave_the_statistics_alone(error, text, args):
    before = [None if a is None else np.array(getattr(a, "array", a)) for a in args[1:3]]
    with pytest.raises(error, match="batch_norm: .*" + text):
        batch_norm(*args)
    for a, b in zip(args[1:3], before, strict=True):
        assert a is None or np.array_equal(getattr(a, "array", a), b)


# ---------------------------------------------------------------------- parity


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 1.0])
@pytest.mark.parametrize("spread", [1e-4, 1.0, 1e4])
def test_parity_of_the_running_variance(spread, eps):
    torch = pytest.importorskip("torch")
    x = (spread * inputs((16, 3, 4, 4))[0]).astype(np.float32)
    ours, theirs = np.full(3, spread**2, np.float32), torch.full((3,), spread**2)
    batch_norm(x, np.zeros(3, np.float32), ours, training=True, eps=eps)
    torch.nn.functional.batch_norm(torch.tensor(x), torch.zeros(3), theirs, training=True, eps=eps)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_parity_of_what_is_remembered(name):
    """On the catalog's configurations: every rank, momentum and choice of parameters."""
    torch = pytest.importorskip("torch")
    op = catalog.ops()[name]
    cases = [op.case(number) for number in range(op.count)]
    remembering = [case for case in cases if "mean" in case.options]
    assert len(remembering) > 20
    for case in remembering:
        options, found = dict(case.options), []
        statistics = options.pop("mean"), options.pop("var")
        for library in (minicnn, torch):
            running = [library.tensor(values) for values in statistics]
            arrays = [None if a is None else library.tensor(a) for a in case.inputs]
            case.call(library, *arrays, *running, **options)
            found.append([t.numpy() for t in running])
        np.testing.assert_allclose(*found, rtol=1e-12, err_msg=str(case))
        changed = any(not np.array_equal(*pair) for pair in zip(found[0], statistics, strict=True))
        own = options.get("training", options.get("use_input_stats"))
        assert changed == bool(own and options["momentum"]), str(case)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (3, 4, 3, 5)])
def test_parity_over_several_steps(shape, dtype, tolerance):
    torch = pytest.importorskip("torch")
    r = np.random.default_rng(0)
    C = shape[1]
    mean, var = r.normal(size=C).astype(dtype), r.uniform(1, 2, C).astype(dtype)
    ours = [Tensor(mean.copy()), Tensor(var.copy())]
    theirs = [torch.tensor(mean), torch.tensor(var)]
    w, b = (r.normal(size=C).astype(dtype) for _ in "wb")
    tw, tb, cw, cb = leaf(w), leaf(b), *(torch.tensor(a, requires_grad=True) for a in (w, b))
    for step in range(6):
        training = step != 4
        x = r.normal(1, 2, shape).astype(dtype)
        g = r.normal(size=shape).astype(dtype)
        tx, cx = leaf(x), torch.tensor(x, requires_grad=True)
        y = batch_norm(tx, *ours, tw, tb, training, 0.2, 1e-3)
        ty = torch.nn.functional.batch_norm(cx, *theirs, cw, cb, training, 0.2, 1e-3)
        y.backward(Tensor(g))
        ty.backward(torch.tensor(g))
        pairs = [(y.detach(), ty), (tx.grad, cx.grad), (tw.grad, cw.grad), (tb.grad, cb.grad)]
        for a, c in pairs + list(zip(ours, theirs, strict=True)):
            np.testing.assert_allclose(
                a.array, c.detach().numpy(), rtol=tolerance, atol=tolerance, strict=True
            )

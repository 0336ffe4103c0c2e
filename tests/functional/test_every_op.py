"""One table of all differentiable ops: both derivatives, PyTorch's numbers, and nothing left out.

Each family's own file tests it in depth. This one makes sure that no op escapes: the last test
fails for a Function that no line of the table uses.
"""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn import functional
from minicnn.autograd import Function, gradcheck, gradgradcheck

USED: set[type] = set()


def F(lib):
    return lib.nn.functional


IDX = np.array([2, 0, 2])
LABELS = np.array([1, 0, 3])
MASK = np.array([[True, False, True, False]] * 3)

# name: (function of (library, *tensors), shapes of the inputs)
OPS = {
    "add": (lambda lib, a, b: lib.add(a, b, alpha=2), [(3, 4), (4,)]),
    "sub": (lambda lib, a, b: lib.sub(a, b, alpha=2), [(3, 1), (4,)]),
    "rsub": (lambda lib, a: 1 - a, [(3, 4)]),
    "mul": (lambda lib, a, b: a * b, [(3, 4), (3, 1)]),
    "div": (lambda lib, a, b: a / (b.abs() + 1), [(3, 4), (1, 4)]),
    "rdiv": (lambda lib, a: 2 / (a.abs() + 1), [(3, 4)]),
    "pow": (lambda lib, a: a**3, [(3, 4)]),
    "pow of tensors": (lambda lib, a, b: (a.abs() + 0.5) ** b, [(3, 4), (4,)]),
    "power of a number": (lambda lib, a: 2.0**a, [(3, 4)]),
    "neg": (lambda lib, a: -a, [(3,)]),
    "abs": (lambda lib, a: a.abs(), [(3, 4)]),
    "exp": (lambda lib, a: lib.exp(a), [(3, 4)]),
    "expm1": (lambda lib, a: lib.expm1(a), [(3, 4)]),
    "log": (lambda lib, a: lib.log(a.abs() + 0.5), [(3, 4)]),
    "log1p": (lambda lib, a: lib.log1p(a.abs()), [(3, 4)]),
    "sqrt": (lambda lib, a: lib.sqrt(a.abs() + 0.5), [(3, 4)]),
    "rsqrt": (lambda lib, a: lib.rsqrt(a.abs() + 0.5), [(3, 4)]),
    "square": (lambda lib, a: lib.square(a), [(3, 4)]),
    "reciprocal": (lambda lib, a: lib.reciprocal(a.abs() + 0.5), [(3, 4)]),
    "sin": (lambda lib, a: lib.sin(a), [(3, 4)]),
    "cos": (lambda lib, a: lib.cos(a), [(3, 4)]),
    "floor": (lambda lib, a: lib.floor(a) * a, [(3, 4)]),
    "floor division": (lambda lib, a: lib.div(a, 0.7, rounding_mode="floor") * a, [(3, 4)]),
    "remainder": (lambda lib, a, b: (a * 9) % (b.abs() + 0.5), [(3, 4), (4,)]),
    "fmod": (lambda lib, a, b: lib.fmod(a * 9, b.abs() + 0.5), [(3, 4), (4,)]),
    "maximum": (lambda lib, a, b: lib.maximum(a, b), [(3, 4), (4,)]),
    "minimum": (lambda lib, a, b: lib.minimum(a, b), [(3, 4), (4,)]),
    "where": (lambda lib, a, b: lib.where(a.detach() > 0, a, b), [(3, 4), (4,)]),
    "clamp": (lambda lib, a: lib.clamp(a, -0.5, 0.5), [(3, 4)]),
    "clamp by tensors": (lambda lib, a, b: lib.clamp(a, b - 1, b + 1), [(3, 4), (4,)]),
    "matmul": (lambda lib, a, b: a @ b, [(2, 3, 4), (4, 5)]),
    "matrix times vector": (lambda lib, a, b: a @ b, [(3, 4), (4,)]),
    "dot": (lambda lib, a, b: lib.dot(a, b), [(4,), (4,)]),
    "outer": (lambda lib, a, b: lib.outer(a, b), [(3,), (4,)]),
    "addmm": (lambda lib, a, b, c: lib.addmm(a, b, c), [(3, 5), (3, 4), (4, 5)]),
    "einsum": (lambda lib, a, b: lib.einsum("nc,ncd->nd", a, b), [(3, 4), (3, 4, 2)]),
    "linear": (lambda lib, x, w, b: F(lib).linear(x, w, b), [(2, 3, 4), (5, 4), (5,)]),
    "sum": (lambda lib, a: a.sum((0, 2), keepdim=True), [(2, 3, 4)]),
    "mean": (lambda lib, a: a.mean(1), [(2, 3, 4)]),
    "var": (lambda lib, a: a.var(1), [(3, 4)]),
    "biased var": (lambda lib, a: a.var((0, 1), unbiased=False), [(3, 4)]),
    "std": (lambda lib, a: a.std(0, keepdim=True), [(3, 4)]),
    "prod": (lambda lib, a: a.prod(1), [(3, 4)]),
    "cumsum": (lambda lib, a: a.cumsum(1), [(3, 4)]),
    "max": (lambda lib, a: a.max(), [(3, 4)]),
    "max over dim": (lambda lib, a: a.max(1)[0], [(3, 4)]),
    "min over dim": (lambda lib, a: a.min(0)[0], [(3, 4)]),
    "amax": (lambda lib, a: a.amax((0, 1)), [(3, 4)]),
    "amin": (lambda lib, a: a.amin(1), [(3, 4)]),
    "logsumexp": (lambda lib, a: lib.logsumexp(a, 1), [(3, 4)]),
    "norm": (lambda lib, a: lib.norm(a, 2, 1), [(3, 4)]),
    "norm 1": (lambda lib, a: lib.norm(a, 1, 1), [(3, 4)]),
    "reshape": (lambda lib, a: a.reshape(4, -1), [(3, 4)]),
    "view": (lambda lib, a: a.view(2, 6), [(3, 4)]),
    "flatten": (lambda lib, a: a.flatten(1), [(2, 3, 4)]),
    "transpose": (lambda lib, a: a.transpose(0, 2), [(2, 3, 4)]),
    "permute": (lambda lib, a: a.permute(2, 0, 1), [(2, 3, 4)]),
    "squeeze": (lambda lib, a: a.squeeze(1), [(3, 1, 4)]),
    "unsqueeze": (lambda lib, a: a.unsqueeze(-1), [(3, 4)]),
    "expand": (lambda lib, a: a.expand(2, 3, -1), [(1, 4)]),
    "expand_as": (lambda lib, a, b: a.expand_as(b) * b, [(1, 4), (3, 4)]),
    "cat": (lambda lib, a, b: lib.cat([a, b], 1), [(3, 2), (3, 4)]),
    "stack": (lambda lib, a, b: lib.stack([a, b], 1), [(3, 2), (3, 2)]),
    "split": (lambda lib, a: lib.split(a, 3, 1), [(2, 7)]),
    "chunk": (lambda lib, a: lib.chunk(a, 2), [(5, 2)]),
    "unbind": (lambda lib, a: lib.unbind(a, 1), [(2, 3)]),
    "flip": (lambda lib, a: lib.flip(a, [1]), [(3, 4)]),
    "roll": (lambda lib, a: lib.roll(a, 1, 1), [(3, 4)]),
    "repeat": (lambda lib, a: a.repeat(2, 3), [(3, 4)]),
    "clone": (lambda lib, a: a.clone(), [(3, 4)]),
    "interpolate": (
        lambda lib, x: F(lib).interpolate(x, (5, 3), mode="bicubic", align_corners=True),
        [(1, 2, 3, 4)],
    ),
    "pad": (lambda lib, a: F(lib).pad(a, (1, 2, -1, 1)), [(3, 4)]),
    "pad reflect": (lambda lib, a: F(lib).pad(a, (1, 2), "reflect"), [(2, 3, 4)]),
    "pad replicate": (lambda lib, a: F(lib).pad(a, (1, 2), "replicate"), [(2, 3, 4)]),
    "pad circular": (lambda lib, a: F(lib).pad(a, (1, 2), "circular"), [(2, 3, 4)]),
    "slice": (lambda lib, a: a[1:, ::2], [(3, 4)]),
    "integer index": (lambda lib, a: a[1], [(3, 4)]),
    "None and ellipsis": (lambda lib, a: a[..., None, 1:], [(3, 4)]),
    "array index": (lambda lib, a: a[IDX], [(3, 4)]),
    "tensor index": (lambda lib, a: a[lib.tensor(IDX), 1:3], [(3, 4)]),
    "mask index": (lambda lib, a: a[lib.tensor(MASK)], [(3, 4)]),
    "index_select": (lambda lib, a: a.index_select(0, lib.tensor(IDX)), [(3, 4)]),
    "gather": (lambda lib, a: a.gather(1, lib.tensor(LABELS[:, None])), [(3, 4)]),
    "masked_fill": (lambda lib, a: a.masked_fill(lib.tensor(MASK), 2.0), [(3, 4)]),
    "scatter": (
        lambda lib, a, b: lib.scatter(a, 1, lib.tensor(LABELS[:, None]), b),
        [(3, 4), (3, 1)],
    ),
    "scatter_add": (
        lambda lib, a, b: lib.scatter_add(a, 1, lib.tensor(LABELS[:, None]), b),
        [(3, 4), (3, 1)],
    ),
    "set by slice": (lambda lib, a, b: put(a, (slice(1, 3),), b), [(3, 4), (4,)]),
    "set by array": (lambda lib, a, b: put(a, IDX[:2], b), [(3, 4), (4,)]),
    "add in place": (lambda lib, a, b: a.clone().add_(b), [(3, 4), (4,)]),
    "copy in place": (lambda lib, a, b: a.clone().copy_(b), [(3, 4), (4,)]),
    "conv2d": (
        lambda lib, x, w, b: F(lib).conv2d(x, w, b, stride=2, padding=1, dilation=(1, 2), groups=2),
        [(2, 4, 6, 5), (4, 2, 3, 2), (4,)],
    ),
    "conv2d same": (
        lambda lib, x, w: F(lib).conv2d(x, w, padding="same"),
        [(1, 2, 4, 4), (3, 2, 2, 3)],
    ),
    "conv_transpose2d": (
        lambda lib, x, w, b: F(lib).conv_transpose2d(x, w, b, 2, 1, 1, 2),
        [(2, 4, 3, 2), (4, 3, 3, 3), (6,)],
    ),
    "unfold": (lambda lib, x: F(lib).unfold(x, (2, 3), padding=1), [(2, 2, 4, 3)]),
    "fold": (lambda lib, x: F(lib).fold(x, (4, 3), 2), [(2, 8, 6)]),
    "channel_shuffle": (lambda lib, x: F(lib).channel_shuffle(x, 2), [(2, 6, 3)]),
    "pixel_shuffle": (lambda lib, x: F(lib).pixel_shuffle(x, 2), [(2, 4, 3, 2)]),
    "pixel_unshuffle": (lambda lib, x: F(lib).pixel_unshuffle(x, 2), [(2, 2, 4, 2)]),
    "max_pool2d": (lambda lib, x: F(lib).max_pool2d(x, 3, 2, 1, ceil_mode=True), [(2, 2, 6, 5)]),
    "avg_pool2d": (
        lambda lib, x: F(lib).avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        [(2, 2, 6, 5)],
    ),
    "adaptive_avg_pool2d": (lambda lib, x: F(lib).adaptive_avg_pool2d(x, (3, 2)), [(2, 2, 5, 4)]),
    "adaptive_max_pool2d": (lambda lib, x: F(lib).adaptive_max_pool2d(x, (3, 2)), [(2, 2, 5, 4)]),
    "lp_pool2d": (lambda lib, x: F(lib).lp_pool2d(x, 2, 2, 1), [(2, 2, 4, 3)]),
    "max_unpool2d": (
        lambda lib, x: F(lib).max_unpool2d(x, lib.arange(12).reshape(1, 2, 2, 3), 2),
        [(1, 2, 2, 3)],
    ),
    "batch_norm": (
        lambda lib, x, w, b: F(lib).batch_norm(x, None, None, w, b, training=True),
        [(4, 2, 3, 2), (2,), (2,)],
    ),
    "batch_norm in evaluation": (
        lambda lib, x, w, b: F(lib).batch_norm(
            x,
            lib.tensor([0.1, -0.2], dtype=x.dtype),
            lib.tensor([0.5, 2.0], dtype=x.dtype),
            w,
            b,
        ),
        [(4, 2, 3), (2,), (2,)],
    ),
    "layer_norm": (
        lambda lib, x, w, b: F(lib).layer_norm(x, (3, 4), w, b, eps=0.1),
        [(2, 2, 3, 4), (3, 4), (3, 4)],
    ),
    "group_norm": (
        lambda lib, x, w, b: F(lib).group_norm(x, 2, w, b),
        [(3, 4, 3, 2), (4,), (4,)],
    ),
    "instance_norm": (
        lambda lib, x, w, b: F(lib).instance_norm(x, None, None, w, b, eps=0.1),
        [(3, 2, 4), (2,), (2,)],
    ),
    "instance_norm by running statistics": (
        lambda lib, x, w, b: F(lib).instance_norm(
            x,
            lib.tensor([0.1, -0.2], dtype=x.dtype),
            lib.tensor([0.5, 2.0], dtype=x.dtype),
            w,
            b,
            use_input_stats=False,
        ),
        [(4, 2, 3), (2,), (2,)],
    ),
    "rms_norm": (
        lambda lib, x, w: F(lib).rms_norm(x, (3, 4), w, eps=0.1),
        [(2, 3, 4), (3, 4)],
    ),
    "local_response_norm": (
        lambda lib, x: F(lib).local_response_norm(x, 4, 0.5, 0.75, 2.0),
        [(2, 5, 2, 2)],
    ),
    "relu": (lambda lib, x: F(lib).relu(x), [(3, 4)]),
    "leaky_relu": (lambda lib, x: F(lib).leaky_relu(x, 0.1), [(3, 4)]),
    "sigmoid": (lambda lib, x: lib.sigmoid(x), [(3, 4)]),
    "tanh": (lambda lib, x: lib.tanh(x), [(3, 4)]),
    "silu": (lambda lib, x: F(lib).silu(x), [(3, 4)]),
    "elu": (lambda lib, x: F(lib).elu(x, 0.7), [(3, 4)]),
    "softplus": (lambda lib, x: F(lib).softplus(x, 2), [(3, 4)]),
    "hardtanh": (lambda lib, x: F(lib).hardtanh(x), [(3, 4)]),
    "prelu": (lambda lib, x, w: F(lib).prelu(x, w), [(3, 4, 2), (4,)]),
    "prelu of one weight": (lambda lib, x, w: F(lib).prelu(x, w), [(4,), (1,)]),
    "selu": (lambda lib, x: F(lib).selu(x), [(3, 4)]),
    "celu": (lambda lib, x: F(lib).celu(x, 0.5), [(3, 4)]),
    "rrelu": (lambda lib, x: F(lib).rrelu(x, 0.2, 0.2, training=True), [(3, 4)]),
    "logsigmoid": (lambda lib, x: F(lib).logsigmoid(x), [(3, 4)]),
    "softsign": (lambda lib, x: F(lib).softsign(x), [(3, 4)]),
    "erf": (lambda lib, x: lib.erf(x), [(3, 4)]),
    "erfc": (lambda lib, x: x.erfc(), [(3, 4)]),
    "gelu": (lambda lib, x: F(lib).gelu(x), [(3, 4)]),
    "gelu by tanh": (lambda lib, x: F(lib).gelu(x, approximate="tanh"), [(3, 4)]),
    "mish": (lambda lib, x: F(lib).mish(x), [(3, 4)]),
    "hardswish": (lambda lib, x: F(lib).hardswish(3 * x), [(3, 4)]),
    "glu": (lambda lib, x: F(lib).glu(x, 1), [(3, 4, 2)]),
    "threshold": (lambda lib, x: F(lib).threshold(x, 0.1, 0.7), [(3, 4)]),
    "hardshrink": (lambda lib, x: F(lib).hardshrink(x), [(3, 4)]),
    "softshrink": (lambda lib, x: F(lib).softshrink(x, 0.3), [(3, 4)]),
    "tanhshrink": (lambda lib, x: F(lib).tanhshrink(x), [(3, 4)]),
    "softmin": (lambda lib, x: F(lib).softmin(x, 1), [(3, 4)]),
    "softmax": (lambda lib, x: F(lib).softmax(x, 1), [(3, 4)]),
    "log_softmax": (lambda lib, x: F(lib).log_softmax(x, 0), [(3, 4)]),
    "nll_loss": (lambda lib, x: F(lib).nll_loss(x, lib.tensor(LABELS)), [(3, 4)]),
    "cross_entropy": (
        lambda lib, x: F(lib).cross_entropy(x, lib.tensor(LABELS), label_smoothing=0.1),
        [(3, 4)],
    ),
    "cross_entropy of probabilities": (
        lambda lib, x, p: F(lib).cross_entropy(x, F(lib).softmax(p, 1), reduction="sum"),
        [(3, 4), (3, 4)],
    ),
    "mse_loss": (lambda lib, x, y: F(lib).mse_loss(x, y), [(3, 4), (3, 4)]),
    "huber_loss": (lambda lib, x, y: F(lib).huber_loss(x, y, delta=0.7), [(3, 4), (3, 4)]),
    "smooth_l1_loss": (
        lambda lib, x, y: F(lib).smooth_l1_loss(x, y, reduction="none", beta=0.5),
        [(3, 4), (3, 4)],
    ),
    "binary_cross_entropy": (
        lambda lib, x, y: F(lib).binary_cross_entropy(lib.sigmoid(x), lib.sigmoid(y)),
        [(3, 4), (3, 4)],
    ),
    "binary_cross_entropy_with_logits": (
        lambda lib, x, y: F(lib).binary_cross_entropy_with_logits(x, y),
        [(3, 4), (3, 4)],
    ),
    "binary_cross_entropy_with_logits weighted": (
        lambda lib, x, y: F(lib).binary_cross_entropy_with_logits(
            x,
            y,
            lib.tensor([[0.5], [2.0], [1.5]], dtype=x.dtype),
            reduction="sum",
            pos_weight=lib.tensor([2.0, 1.0, 0.5, 3.0], dtype=x.dtype),
        ),
        [(3, 4), (3, 4)],
    ),
    "kl_div": (
        lambda lib, x, y: F(lib).kl_div(x, lib.sigmoid(y), reduction="batchmean"),
        [(3, 4), (3, 4)],
    ),
    "kl_div of logarithms": (
        lambda lib, x, y: F(lib).kl_div(x, y, reduction="none", log_target=True),
        [(3, 4), (1, 4)],
    ),
    "normalize": (lambda lib, x: F(lib).normalize(x), [(3, 4)]),
    "normalize by another norm": (lambda lib, x: F(lib).normalize(x, 3.0, (0, 2)), [(3, 4, 2)]),
    "cosine_similarity": (
        lambda lib, x, y: F(lib).cosine_similarity(x, y, dim=-1),
        [(3, 4), (2, 1, 4)],
    ),
    "l1_loss": (lambda lib, x, y: F(lib).l1_loss(x, y, reduction="none"), [(3, 4), (3, 4)]),
}


def put(a, index, value):
    y = a.clone()
    y[index] = value
    return y


def seeded_dropout(x):
    minicnn.manual_seed(3)
    return functional.dropout(x, 0.4)


def seeded_pooling(x):
    minicnn.manual_seed(3)
    return F(minicnn).stochastic_pool2d(x * x + 0.5, 2)


OWN = {
    "stochastic_pool2d": (lambda lib, x: seeded_pooling(x), [(2, 2, 4, 4)]),
    "stochastic_pool2d in evaluation": (
        lambda lib, x: F(lib).stochastic_pool2d(x * x + 0.5, 3, 1, training=False),
        [(2, 2, 4, 4)],
    ),
    "dropout": (lambda lib, x: seeded_dropout(x), [(5, 4)]),  # PyTorch draws other masks
    # PyTorch's slope is a float32 1/6 also in float64; test_activation.py compares it.
    "hardsigmoid": (lambda lib, x: F(lib).hardsigmoid(3 * x), [(3, 4)]),
}


def arrays(shapes, seed, fortran=False):
    rng = np.random.default_rng(seed)
    values = [rng.standard_normal(shape) for shape in shapes]
    return [np.asfortranarray(v) for v in values] if fortran else values


@pytest.fixture
def noted(monkeypatch):
    """Notes which Functions are applied."""
    apply = Function.apply.__func__

    def noting(cls, *args, **options):
        USED.add(cls)
        return apply(cls, *args, **options)

    monkeypatch.setattr(Function, "apply", classmethod(noting))


def all_functions():
    found = set()
    for info in pkgutil.iter_modules(functional.__path__):
        module = importlib.import_module(f"minicnn.functional.{info.name}")
        found |= {
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Function) and value is not Function
        }
    return found


@pytest.mark.parametrize("name", [*OPS, *OWN])
def test_derivatives(name, noted):
    fn, shapes = {**OPS, **OWN}[name]

    @settings(max_examples=3)
    @given(seed=st.integers(0, 1000), fortran=st.booleans())
    def check(seed, fortran):
        inputs = [
            minicnn.from_numpy(a).requires_grad_()
            for a in arrays(shapes, seed, fortran and name != "view")
        ]
        assert gradcheck(lambda *xs: fn(minicnn, *xs), inputs, directions=1)
        assert gradgradcheck(lambda *xs: fn(minicnn, *xs), inputs, directions=1)

    check()


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_parity(name, dtype, rtol, parity):
    fn, shapes = OPS[name]
    for seed in (20, 21, 22):
        parity(fn, *[a.astype(dtype) for a in arrays(shapes, seed)], rtol=rtol)


def test_no_function_is_left_out(request):
    """Runs after the table (pytest keeps the order of a file)."""
    ran = {item.name for item in request.session.items if item.fspath == request.node.fspath}
    if not all(f"test_derivatives[{name}]" in ran for name in [*OPS, *OWN]):
        pytest.skip("only part of the table was run")
    # Cast rounds, which differences in float64 cannot see; test_methods.py has it.
    for op in minicnn.catalog.ops().values():
        USED.update(minicnn.catalog.facts(op).functions)
    missing = {f for f in all_functions() - USED if f.__name__ != "Cast"}
    assert not missing, f"no line of the table uses {sorted(f.__name__ for f in missing)}"

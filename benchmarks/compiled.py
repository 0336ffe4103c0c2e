"""Would a whole training step gain from loops that Numba compiles?

    pip install numba
    python -m benchmarks.compiled [--rounds 9] [NAME ...]

Depthwise convolution (3x3), batch norm with its ReLU and the backward of 2x2 pooling are what NumPy
does worst, needing several passes where a loop needs one. Here a network is trained in two ways in
turn, in one process: with minicnn as it is, and with those primitives replaced by the loops of
compiled_kernels.py, which run on minicnn's own threads. In a step before, which compiles them, each
result of theirs is held against minicnn's. They serve the sizes that these networks have; other
sizes, and other memory orders, go to minicnn's primitive.

Two things did not gain, and stay minicnn's: stride 1 on images so narrow that a row of the batch
has fewer than 512 entries, where `banded` multiplies matrices; and the change from one memory order
to the other (`reorder`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np

from minicnn.backend import cpu
from minicnn.backend.cpu import conv, layout, threads
from minicnn.backend.cpu.reorder import as_other, batch_last

from .common import machine, table
from .cpu import nets
from .cpu.cases import STEPS
from .cpu.libraries.with_modules import open_minicnn

try:
    from . import compiled_kernels as kernels
except ModuleNotFoundError as error:
    if error.name not in ("numba", "llvmlite"):
        raise
    sys.exit("benchmarks.compiled needs Numba: pip install numba")

NAMES = ("depthwise", "lenet5-64", "lenet5-256", "lenet5-max-256", "vgg11-bn", "resnet18")
THREADS = 2
TOLERANCE = 1e-4  # of what is compiled, in the largest entry of what minicnn gives
_NARROW = 512  # entries of a row of the batch below which minicnn's matrix products are faster
_AIM = 1 << 17  # entries of a piece: no interpreter between its loops, so fewer than for NumPy


def main() -> None:
    """Prints the gain of each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=9, help="steps of each kind (default: 9)")
    options = parser.parse_args()
    names = options.names or NAMES
    if unknown := set(names) - set(STEPS):
        parser.error(f"no step is called {', '.join(unknown)}: there are {', '.join(STEPS)}")
    print(machine() + f", {THREADS} threads\n")
    rows = [measured(name, options.rounds) for name in names]
    print(table(("net", "NumPy, ms", "with Numba, ms", "gain"), rows))


def measured(name: str, rounds: int) -> tuple[str, float, float, float]:
    """A row of the table, after the compiled primitives were checked."""
    case = STEPS[name]
    batch = nets.batch(case.shape, case.classes)
    trainer = open_minicnn(THREADS).trainer(case.built(), *batch)
    with replaced(checked):
        trainer.step()
    ways: dict[str, list[float]] = {"NumPy": [], "Numba": []}
    for k in range(rounds + 2):
        for way, seconds in ways.items():
            with replaced() if way == "Numba" else replaced(None):
                took = sum(trainer.step())
            if k > 1:
                seconds.append(took * 1e3)
    plain, compiled = [statistics.median(ways[way]) for way in ("NumPy", "Numba")]
    return case.title, plain, compiled, plain / compiled


# ---------------------------------------------------------------- in the place of minicnn's


def as_it_is(compiled: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled primitive, or the original where that gives None."""

    @wraps(original)
    def primitive(*arguments: Any, **options: Any) -> Any:
        result = compiled(*arguments, **options)
        return original(*arguments, **options) if result is None else result

    return primitive


def checked(compiled: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """The same, held against the original.

    Raises:
        AssertionError: they differ.
    """

    @wraps(original)
    def primitive(*arguments: Any, **options: Any) -> Any:
        wanted, got = original(*arguments, **options), compiled(*arguments, **options)
        if got is None:
            return wanted
        pairs = zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]
        for mine, theirs in pairs:
            scale = float(np.abs(theirs).max())
            if theirs.ndim == 1:  # before another batch norm a weight's gradient cancels to 0
                scale = max(scale, float(np.abs(arguments[0]).max()))
            error = float(np.abs(mine - theirs).max()) / scale
            assert error <= TOLERANCE, f"{original.__name__}: differs by {error:.1e} of {scale:.1e}"
            assert mine.dtype == theirs.dtype and mine.strides == theirs.strides
        return got

    return primitive


@contextmanager
def replaced(how: Callable[..., Any] | None = as_it_is) -> Iterator[None]:
    """In the block minicnn's primitives are the compiled ones; None: as ever."""
    before = [(place, f.__name__, getattr(place, f.__name__)) for place, f in PRIMITIVES]
    try:
        for (place, compiled), (_, name, original) in zip(PRIMITIVES, before, strict=True):
            if how is not None:
                setattr(place, name, how(compiled, original))
        yield
    finally:
        for place, name, original in before:
            setattr(place, name, original)


def _each(kernel: Callable[..., Any], length: int, size: int, *arguments: Any) -> None:
    """kernel(..., begin, end) on minicnn's threads, for all of an axis of that length."""

    def work(piece: slice) -> None:
        kernel(*arguments, piece.start, piece.stop)

    threads.each(work, threads.pieces(length, size, _AIM), size)


def _stride(geometry: Any, dtype: np.dtype) -> int | None:
    """1 or 2, of a depthwise convolution that is compiled."""
    g = geometry
    same = (g.kernel, g.padding, g.dilation) == ((3, 3), ((1, 1), (1, 1)), (1, 1))
    if not same or dtype != np.float32 or g.out_channels != g.in_channels:
        return None
    if g.stride == (2, 2) and not (g.size[0] % 2 or g.size[1] % 2):
        return 2
    return 1 if g.stride == (1, 1) and g.size[1] * g.batch >= _NARROW else None


def _rows(x: np.ndarray) -> np.ndarray:
    """x, in C,H,W,N order, as (C,H,W*N)."""
    N, C, H, W = x.shape
    return x.transpose(layout.CHWN).reshape(C, H, W * N)


def _pairs(x: np.ndarray) -> np.ndarray:
    """x, in that order, as (C,H,W/2,2,N)."""
    N, C, H, W = x.shape
    return x.transpose(layout.CHWN).reshape(C, H, W // 2, 2, N)


def depthwise_forward(x: Any, w: Any, b: Any, geometry: Any, dtype: Any) -> Any:
    stride = _stride(geometry, dtype)
    if stride is None or b is not None:
        return None
    x, y, w = batch_last(x, dtype), layout.empty(geometry.y_shape, layout.CHWN, dtype), w[:, 0]
    if stride == 1:
        _each(kernels.depthwise, len(w), 4 * y.size, _rows(x), w, _rows(y), len(x))
    else:
        _each(kernels.depthwise_halving, len(w), 4 * y.size, _pairs(x), w, y.transpose(layout.CHWN))
    return y


def depthwise_grad_input(grad_y: Any, w: Any, geometry: Any, dtype: Any) -> Any:
    stride = _stride(geometry, dtype)
    if stride is None:
        return None
    g, grad_x = batch_last(grad_y, dtype), layout.empty(geometry.x_shape, layout.CHWN, dtype)
    w = np.ascontiguousarray(w[:, 0])
    if stride == 1:
        turned = np.ascontiguousarray(w[:, ::-1, ::-1])
        _each(kernels.depthwise, len(w), 4 * g.size, _rows(g), turned, _rows(grad_x), len(g))
    else:
        halving = kernels.depthwise_halving_input
        _each(halving, len(w), 4 * g.size, g.transpose(layout.CHWN), w, _pairs(grad_x))
    return grad_x


def depthwise_grad_weight(x: Any, grad_y: Any, geometry: Any, dtype: Any) -> Any:
    stride = _stride(geometry, dtype)
    if stride is None:
        return None
    x, g = batch_last(x, dtype), batch_last(grad_y, dtype)
    grad_w = np.empty((x.shape[1], 3, 3), dtype)
    if stride == 1:
        kernel = kernels.depthwise_weight
        _each(kernel, len(grad_w), 4 * g.size, _rows(x), _rows(g), grad_w, len(x))
    else:
        kernel = kernels.depthwise_halving_weight
        _each(kernel, len(grad_w), 4 * g.size, _pairs(x), g.transpose(layout.CHWN), grad_w)
    return grad_w.reshape(geometry.w_shape)


def _matrix(x: np.ndarray) -> tuple[str, np.ndarray] | None:
    """x (N,C,H,W) as (C,M) of C,H,W,N or (M,C) of N,H,W,C; None in another order."""
    if x.ndim != 4 or x.dtype != np.float32:
        return None
    for name, order in (("channels", layout.CHWN), ("rows", layout.NHWC)):
        if (values := x.transpose(order)).flags.c_contiguous:
            shape = (x.shape[1], -1) if name == "channels" else (-1, x.shape[1])
            return name, values.reshape(shape)
    return None


def batch_norm_forward(x: Any, weight: Any, bias: Any, eps: float, relu: bool = False) -> Any:
    found = _matrix(x)
    if found is None or weight is None:
        return None
    form, values = found
    y, mean, var = np.empty_like(x), np.empty(x.shape[1]), np.empty(x.shape[1])
    out = _matrix(y)[1]  # type: ignore[index]
    if form == "channels":
        kernel = kernels.norm_channels
        _each(kernel, len(values), x.size, values, weight, bias, eps, relu, out, mean, var)
        return y, mean.astype(x.dtype), var.astype(x.dtype)
    u = values[0].copy()
    s, q = _totals(kernels.moments_rows, values, u) / len(values)
    mean, var = u + s, np.maximum(q - s * s, 0)
    u = mean.astype(x.dtype)
    scale = weight / np.sqrt(var + eps)
    offset = (bias - (mean - u) * scale).astype(x.dtype)
    a = scale.astype(x.dtype)
    _each(kernels.scale_rows, len(values), x.size, values, u, a, offset, relu, out)
    return y, u, var.astype(x.dtype)


def _totals(kernel: Callable[..., Any], values: np.ndarray, *others: Any) -> np.ndarray:
    """(2,C) float64: what a kernel adds up over the rows of matrices (M,C), in a fixed order."""
    pieces = threads.pieces(len(values), values.size, _AIM)
    sums = np.zeros((len(pieces), 2, values.shape[1]))

    def work(number: int) -> None:
        piece = pieces[number]
        kernel(values, *others, sums[number], piece.start, piece.stop)

    threads.each(work, range(len(pieces)), values.size)
    return sums.sum(axis=0)


def batch_norm_backward(
    grad_y: Any, x: Any, weight: Any, mean: Any, inv_std: Any, y: Any = None
) -> Any:
    found = _matrix(x)
    if found is None or weight is None:
        return None
    form, values = found
    grad_x = np.empty_like(x)
    g, out = _matrix(as_other(grad_y, x))[1], _matrix(grad_x)[1]  # type: ignore[index]
    ours = None if y is None else _matrix(y)[1]  # type: ignore[index]
    a, M = weight * inv_std, x.size // x.shape[1]
    if form == "channels":
        grad_w, grad_b = np.empty_like(weight), np.empty_like(weight)
        arguments = (g, values, ours, a, mean, inv_std, out, grad_w, grad_b)
        _each(kernels.norm_channels_back, len(values), x.size, *arguments)
        return grad_x, grad_w, grad_b
    grad_b, products = _totals(kernels.products_rows, g, values, ours, mean)
    grad_w = products * inv_std
    b, k = [v.astype(x.dtype) for v in (-a * inv_std * grad_w / M, -a * grad_b / M)]
    _each(kernels.combine_rows, M, x.size, g, values, ours, mean, a, b, k, out)
    return grad_x, grad_w.astype(x.dtype), grad_b.astype(x.dtype)


def _halves(geometry: Any, array: np.ndarray) -> Any:
    """The axes of an array before 2x2 pooling that tiles it, outermost first; else None."""
    g, order = geometry, layout.order_of(array)
    if g is None:
        return None
    window = (g.kernel, g.stride, g.padding, g.dilation)
    tiles = window == ((2, 2), (2, 2), (0, 0), (1, 1))
    if not tiles or any(H % 2 for H in g.size) or order == layout.NCHW:
        return None
    return order if array.transpose(order).flags.c_contiguous else None


def max_pool_backward(grad_y: Any, indices: Any, x_shape: Any, geometry: Any = None) -> Any:
    order = _halves(geometry, indices) if indices.dtype == np.uint8 else None
    if order is None or grad_y.dtype != np.float32:
        return None
    g, grad_x = as_other(grad_y, indices), layout.empty(x_shape, order, grad_y.dtype)
    arrays = [array.transpose(order) for array in (g, indices, grad_x)]
    _each(kernels.max_pool_back, len(arrays[0]), grad_x.size, *arrays)
    return grad_x


def avg_pool_backward(
    grad_y: Any,
    x_shape: Any,
    geometry: Any,
    count_include_pad: Any = True,
    divisor_override: Any = None,
) -> Any:
    order = _halves(geometry, grad_y)
    if order is None or grad_y.dtype != np.float32 or divisor_override is not None:
        return None
    grad_x = layout.empty(x_shape, order, grad_y.dtype)
    arrays = [array.transpose(order) for array in (grad_y, grad_x)]
    _each(kernels.avg_pool_back, len(arrays[0]), grad_x.size, *arrays)
    return grad_x


# Where minicnn looks for a primitive, and what stands in for it.
PRIMITIVES: tuple[tuple[Any, Callable[..., Any]], ...] = (
    (conv, depthwise_forward),
    (conv, depthwise_grad_input),
    (conv, depthwise_grad_weight),
    (cpu, batch_norm_forward),
    (cpu, batch_norm_backward),
    (cpu, max_pool_backward),
    (cpu, avg_pool_backward),
)


if __name__ == "__main__":
    main()

"""Pooling and unpooling in one, two and three dimensions, with random windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case, Draw, op

Options = dict[str, Any]


def _windows(draw: Draw, dims: int) -> tuple[tuple[int, ...], Options]:
    """A spatial size and the windows that fit in it, with every form that an option can have."""
    most = 3 if dims < 3 else 2
    K = draw.shape(dims, 1, most)
    D = draw.shape(dims, 1, 2)
    if draw.boolean():  # one number for all axes
        K, D = K[:1] * dims, D[:1] * dims
    spans = [d * (k - 1) + 1 for k, d in zip(K, D, strict=True)]
    size = tuple([span + draw.integer(0, 3 if dims < 3 else 2) for span in spans])
    options = {
        "kernel_size": K if len(set(K)) > 1 else draw.choice(K, K[0]),
        "stride": draw.choice(None, 1, 2, draw.shape(dims, 1, 3)),
        "padding": draw.choice(0, tuple([draw.integer(0, k // 2) for k in K])),
        "dilation": D if len(set(D)) > 1 else draw.choice(D, D[0]),
        "ceil_mode": draw.boolean(),
    }
    return size, options


def _lead(draw: Draw) -> tuple[int, ...]:
    """N and C, or C alone."""
    return draw.choice((1, 2), (2, 1), (2, 2), (2,))


def _max_pool(draw: Draw, name: str, dims: int) -> Case:
    size, options = _windows(draw, dims)
    options["return_indices"] = draw.boolean()
    return Case(f"nn.functional.{name}", draw.distinct(*_lead(draw), *size), **options)


@op(section="Max pooling", count=40)
def max_pool1d(draw: Draw) -> Case:
    """Windows that overlap, leave pixels out, hang over the end."""
    return _max_pool(draw, "max_pool1d", 1)


@op(section="Max pooling", count=40)
def max_pool2d(draw: Draw) -> Case:
    """As max_pool1d."""
    return _max_pool(draw, "max_pool2d", 2)


@op(section="Max pooling", count=40)
def max_pool3d(draw: Draw) -> Case:
    """As max_pool1d."""
    return _max_pool(draw, "max_pool3d", 3)


@op(section="Max pooling")
def max_pool1d_with_indices(draw: Draw) -> Case:
    """The pair, whatever return_indices says."""
    return _max_pool(draw, "max_pool1d_with_indices", 1)


@op(section="Max pooling")
def max_pool2d_with_indices(draw: Draw) -> Case:
    """The pair, whatever return_indices says."""
    return _max_pool(draw, "max_pool2d_with_indices", 2)


@op(section="Max pooling")
def max_pool3d_with_indices(draw: Draw) -> Case:
    """The pair, whatever return_indices says."""
    return _max_pool(draw, "max_pool3d_with_indices", 3)


def _avg_pool(draw: Draw, name: str, dims: int) -> Case:
    size, options = _windows(draw, dims)
    del options["dilation"]
    options["count_include_pad"] = draw.boolean()
    if dims > 1:
        options["divisor_override"] = draw.choice(None, None, 3, -2)
    return Case(f"nn.functional.{name}", draw.normal(*_lead(draw), *size), **options)


@op(section="Average pooling", count=40)
def avg_pool1d(draw: Draw) -> Case:
    """With padding that counts or not."""
    return _avg_pool(draw, "avg_pool1d", 1)


@op(section="Average pooling", count=40)
def avg_pool2d(draw: Draw) -> Case:
    """With padding that counts or not, and divisors of the caller's."""
    return _avg_pool(draw, "avg_pool2d", 2)


@op(section="Average pooling", count=40)
def avg_pool3d(draw: Draw) -> Case:
    """As avg_pool2d."""
    return _avg_pool(draw, "avg_pool3d", 3)


def _adaptive(draw: Draw, name: str, dims: int) -> Case:
    size = draw.shape(dims, 1, 6 if dims < 3 else 4)
    # PyTorch takes no None in one dimension.
    each = [draw.choice(draw.integer(1, 5), *[None] * (dims > 1)) for _ in size]
    options: Options = {"output_size": draw.choice(tuple(each), draw.integer(1, 4))}
    if "max" in name:
        options["return_indices"] = draw.boolean()
    return Case(f"nn.functional.{name}", draw.distinct(*_lead(draw), *size), **options)


@op(section="Average", count=40)
def adaptive_avg_pool1d(draw: Draw) -> Case:
    """To fewer values, as many, or more."""
    return _adaptive(draw, "adaptive_avg_pool1d", 1)


@op(section="Average", count=40)
def adaptive_avg_pool2d(draw: Draw) -> Case:
    """As adaptive_avg_pool1d."""
    return _adaptive(draw, "adaptive_avg_pool2d", 2)


@op(section="Average", count=40)
def adaptive_avg_pool3d(draw: Draw) -> Case:
    """As adaptive_avg_pool1d."""
    return _adaptive(draw, "adaptive_avg_pool3d", 3)


@op(section="Maximum", count=40)
def adaptive_max_pool1d(draw: Draw) -> Case:
    """To fewer values, as many, or more."""
    return _adaptive(draw, "adaptive_max_pool1d", 1)


@op(section="Maximum", count=40)
def adaptive_max_pool2d(draw: Draw) -> Case:
    """As adaptive_max_pool1d."""
    return _adaptive(draw, "adaptive_max_pool2d", 2)


@op(section="Maximum", count=40)
def adaptive_max_pool3d(draw: Draw) -> Case:
    """As adaptive_max_pool1d."""
    return _adaptive(draw, "adaptive_max_pool3d", 3)


@op(section="Maximum")
def adaptive_max_pool1d_with_indices(draw: Draw) -> Case:
    """The pair, whatever return_indices says."""
    return _adaptive(draw, "adaptive_max_pool1d_with_indices", 1)


@op(section="Maximum")
def adaptive_max_pool2d_with_indices(draw: Draw) -> Case:
    """The pair, whatever return_indices says."""
    return _adaptive(draw, "adaptive_max_pool2d_with_indices", 2)


@op(section="Maximum")
def adaptive_max_pool3d_with_indices(draw: Draw) -> Case:
    """The pair, whatever return_indices says."""
    return _adaptive(draw, "adaptive_max_pool3d_with_indices", 3)


def _lp_pool(draw: Draw, name: str, dims: int) -> Case:
    size, options = _windows(draw, dims)
    del options["padding"], options["dilation"]
    if dims == 1:  # where PyTorch takes no tuple
        options["kernel_size"] = int(np.ravel(options["kernel_size"])[0])
    p = draw.turn(2, -float("inf"), 3, float("inf"), 0.5, 1, 1.5, 4)
    x = draw.distinct(*_lead(draw), *size)
    x = x - x.min() + 0.1  # distinct absolute values
    if p in (1, 2, 4) or abs(p) == float("inf"):
        x = x * np.sign(draw.normal(*x.shape))
    return Case(f"nn.functional.{name}", x, p, **options)


@op(section="Backward", count=40)
def lp_pool1d(draw: Draw) -> Case:
    """Norms of every kind, of numbers of both signs where they have one."""
    return _lp_pool(draw, "lp_pool1d", 1)


@op(section="Backward", count=40)
def lp_pool2d(draw: Draw) -> Case:
    """As lp_pool1d."""
    return _lp_pool(draw, "lp_pool2d", 2)


@op(section="Backward", count=40)
def lp_pool3d(draw: Draw) -> Case:
    """As lp_pool1d."""
    return _lp_pool(draw, "lp_pool3d", 3)


def _max_unpool(draw: Draw, name: str, dims: int) -> Case:
    lead, pooled = _lead(draw), draw.shape(dims, 1, 3)
    K = draw.shape(dims, 1, 3)
    S = draw.choice(None, draw.shape(dims, 1, 3))
    P = tuple([draw.integer(0, (k - 1) // 2) for k in K])
    axes = zip(pooled, K, S or K, P, strict=True)
    size = [(o - 1) * s + k - 2 * p for o, k, s, p in axes]
    options: Options = {"stride": S, "padding": P}
    if draw.boolean():
        size = [h + draw.integer(0, s - 1) for h, s in zip(size, S or K, strict=True)]
        options["output_size"] = draw.choice(tuple(size), (1, 1, *size))
    # Each place once: PyTorch's gradient is another where it is named twice.
    planes = [draw.rng.permutation(np.prod(size))[: np.prod(pooled)] for _ in range(np.prod(lead))]
    indices = np.reshape(planes, (*lead, *pooled))
    return Case(f"nn.functional.{name}", draw.normal(*lead, *pooled), indices, K, **options)


@op(section="Backward", count=40)
def max_unpool1d(draw: Draw) -> Case:
    """To the usual size and to others, each place named once."""
    return _max_unpool(draw, "max_unpool1d", 1)


@op(section="Backward", count=40)
def max_unpool2d(draw: Draw) -> Case:
    """As max_unpool1d."""
    return _max_unpool(draw, "max_unpool2d", 2)


@op(section="Backward", count=40)
def max_unpool3d(draw: Draw) -> Case:
    """As max_unpool1d."""
    return _max_unpool(draw, "max_unpool3d", 3)


@op(section="Training", torch=False)
def stochastic_pool2d(draw: Draw) -> Case:
    """Drawn and in evaluation; PyTorch has no such pooling."""
    size, options = _windows(draw, 2)
    del options["dilation"]
    options["training"] = draw.boolean()
    seed = draw.integer(0, 2**31)

    def seeded(library: Any, x: Any, **options: Any) -> Any:
        generator = library.Generator().manual_seed(seed)
        return library.nn.functional.stochastic_pool2d(x, generator=generator, **options)

    return Case(seeded, draw.positive(*_lead(draw), *size), **options)

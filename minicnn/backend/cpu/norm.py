"""Batch normalisation, on the threads. Formulas and derivations stand in `functional.norm`.

x is worked on in blocks in its memory order (channels.py), with scratch that stays in the cache.

**One pass for the statistics, where that loses no digits.** Over the M values of a channel

    var = (sum of x[m]^2) / M - mean^2

subtracts two nearly equal numbers where the mean is large against the spread, and may even come out
negative. A relative error e of the first term, which is var + mean^2, becomes e * (1 + mean^2/var)
in var: 5e at most, if the mean is at most 2 deviations from zero. Only where it is not is x read a
second time, for the deviations d[m] = x[m] - u from the rounded mean u:

    mean = u + (sum of d[m]) / M          var = (sum of d[m]^2) / M - ((sum of d[m]) / M)^2

Likewise y = x * scale + offset, with -mean * scale within the offset, is as good as subtracting the
mean first, unless it is large; and so in the backward.

Infinities, and numbers whose squares overflow, become NaN or 0 in silence.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from . import scratch, threads
from .channels import Block, Channels
from .elementwise import long_loops, positive_part, where_not_zero
from .precision import working
from .reorder import as_other

# The mean is near zero if it is at most so many deviations away.
_NEAR = 2.0


def _near(mean: ndarray, var: ndarray) -> bool:
    """Whether x can be taken as it is, in all channels."""
    spread = abs(var)
    return bool((np.isfinite(spread) & (abs(mean) ** 2 <= _NEAR**2 * spread)).all())


class _Around:
    """The values of x around u, a number for each channel; as they are where u is None."""

    def __init__(self, channels: Channels, x: ndarray, u: ndarray | None) -> None:
        self.u, self.values, self._channels = u, channels.flat(x), channels
        self._column = None if u is None else channels.spread(u, x.dtype)

    def __call__(self, block: Block, out: ndarray | None = None) -> ndarray:
        """x - u of a block, in `out` or in scratch; for u None a view of x."""
        x = self._channels.of(self.values, block)
        if self._column is None:
            return x
        if out is None:
            out = scratch.take("deviations", x.shape, x.dtype)
        return np.subtract(x, self._channels.along(self._column, block), out=out)

    def rest(self, mean: ndarray) -> ndarray:
        """mean - u: what is still to be subtracted."""
        return mean if self.u is None else mean - self.u


def _means(channels: Channels, around: _Around) -> tuple[ndarray, ndarray]:
    """The means of d = x - u and of d^2 in each channel, in float64."""
    sums, squares = [channels.sums(around.values.dtype) for _ in range(2)]

    def add_up(block: Block) -> None:
        d = around(block)
        channels.put_sum(sums, block, d)
        channels.put_products(squares, block, d, d)

    threads.each(add_up, channels.blocks)
    return sums.sum(axis=0) / channels.M, squares.sum(axis=0) / channels.M


def _moments(channels: Channels, x: ndarray) -> tuple[ndarray, ndarray, _Around]:
    """mean and var (C,) in float64, and x around what it can be normalised from."""
    around = _Around(channels, x, None)
    mean, square = _means(channels, around)
    var = square - mean * mean
    if not _near(mean, var):
        around = _Around(channels, x, np.where(np.isfinite(mean), mean, 0).astype(x.dtype))
        rest, square = _means(channels, around)
        mean, var = around.u + rest, square - rest * rest
        if var.dtype.kind == "f":
            var = np.maximum(var, 0)  # of equal values it may be -1e-20
    return mean, var, around


@np.errstate(all="ignore")
def batch_norm_forward(
    x: ndarray, weight: ndarray | None, bias: ndarray | None, eps: float, relu: bool = False
) -> tuple[ndarray, ndarray, ndarray]:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, with each channel's own mean and variance.

    x (N,C,*), weight and bias (C,) or None; y like x, mean and var (C,). The variance is the
    biased one. An empty channel has mean 0 and variance 0. With `relu` y is max(0, that).
    """
    long_loops()
    channels, values = Channels(x), working(x)
    mean, var, around = _moments(channels, values)
    inv_std = 1 / np.sqrt(var + eps)
    y = _normalised(channels, around, mean, inv_std, weight, bias, relu)
    dtype = values.dtype
    return y.astype(x.dtype, copy=False), mean.astype(dtype), var.astype(dtype)


@np.errstate(all="ignore")
def batch_norm_inference(
    x: ndarray,
    weight: ndarray | None,
    bias: ndarray | None,
    mean: ndarray,
    var: ndarray,
    eps: float,
) -> ndarray:
    """y = (x - mean) / sqrt(var + eps) * weight + bias, with the given mean and var (C,)."""
    long_loops()
    channels, values = Channels(x), working(x)
    wide = np.result_type(values.dtype, np.float64)
    mean, var = mean.astype(wide), var.astype(wide) + eps
    u = None if _near(mean, var) else mean.astype(values.dtype)
    around = _Around(channels, values, u)
    y = _normalised(channels, around, mean, 1 / np.sqrt(var), weight, bias, False)
    return y.astype(x.dtype, copy=False)


def _normalised(channels, around, mean, inv_std, weight, bias, relu: bool) -> ndarray:
    """(x - mean) * inv_std * weight + bias = (x - u) * scale + offset; no less than 0 if `relu`."""
    dtype = around.values.dtype
    y, flat_y = channels.new(dtype)
    scale = (inv_std if weight is None else inv_std * weight).astype(dtype)
    offset = (0 if bias is None else bias) - around.rest(mean) * scale
    scale, offset = channels.spread(scale, dtype), channels.spread(offset, dtype)

    def normalise(block: Block) -> None:
        target = channels.of(flat_y, block)
        np.multiply(around(block, target), channels.along(scale, block), out=target)
        target += channels.along(offset, block)
        if relu:
            positive_part(target, target)

    threads.each(normalise, channels.blocks)
    return y


@np.errstate(all="ignore")
def batch_norm_backward(
    grad_y: ndarray,
    x: ndarray,
    weight: ndarray | None,
    mean: ndarray,
    inv_std: ndarray,
    y: ndarray | None = None,
) -> tuple[ndarray, ndarray, ndarray]:
    """grad_x (like x), grad_w (C,), grad_b (C,) of `batch_norm_forward`.

    With inv_std = 1 / sqrt(var + eps) and x_hat = (x - mean) * inv_std, grad_b = sum of grad_y and
    grad_w = sum of grad_y * x_hat,

        grad_x = weight * inv_std * (grad_y - grad_b/M - x_hat * grad_w/M)

    of the form a * grad_y + b * (x - u) + c. Given y, the forward's with `relu`, grad_y counts
    where y is not 0 only.
    """
    long_loops()
    channels, values = Channels(x), working(x)
    dtype, wide = values.dtype, np.result_type(values.dtype, np.float64)
    mean, inv_std = mean.astype(wide), inv_std.astype(wide)
    u = None if _near(mean, inv_std**-2) else mean.astype(dtype)
    around, g = _Around(channels, values, u), channels.flat(as_other(working(grad_y), values))
    grad_x, target = channels.new(dtype)
    masked = None if y is None else (channels.flat(y), target)
    grad_b, products = _sums(channels, around, g, masked)
    if y is not None:
        g = target
    grad_w = (products - around.rest(mean) * grad_b) * inv_std
    a = inv_std if weight is None else inv_std * weight
    b = -a * inv_std * grad_w / channels.M
    c = -a * grad_b / channels.M - b * around.rest(mean)
    a, b, c = [channels.spread(v, dtype) for v in (a, b, c)]

    def combine(block: Block) -> None:
        out = channels.of(target, block)
        part = scratch.take("products", out.shape, dtype)
        np.multiply(around(block, part), channels.along(b, block), out=part)
        part += channels.along(c, block)
        np.multiply(channels.of(g, block), channels.along(a, block), out=out)
        out += part

    threads.each(combine, channels.blocks)
    return grad_x.astype(x.dtype, copy=False), grad_w.astype(dtype), grad_b.astype(dtype)


def _sums(channels, around, g, masked) -> tuple[ndarray, ndarray]:
    """The sums of g and of g * (x - u) in each channel, in float64.

    Given masked = (y, target), of g * (y != 0), which is put into target on the way.
    """
    sums, products = [channels.sums(g.dtype) for _ in range(2)]

    def add_up(block: Block) -> None:
        values = channels.of(g, block)
        if masked is not None:
            values = where_not_zero(values, *[channels.of(flat, block) for flat in masked])
        channels.put_sum(sums, block, values)
        channels.put_products(products, block, values, around(block))

    threads.each(add_up, channels.blocks)
    return sums.sum(axis=0), products.sum(axis=0)


@np.errstate(all="ignore")
def rms_norm_forward(x: ndarray, weight: ndarray | None, eps: float) -> tuple[ndarray, ndarray]:
    """y = x * r * weight, r = 1 / sqrt(mean square of the row + eps).

    x (N,C), weight (C,) or None; y like x, r (N,).
    """
    values = working(x)
    r = ((values * values).sum(axis=1) / max(1, x.shape[1]) + eps) ** -0.5
    y = values * r[:, None]
    if weight is not None:
        y *= weight
    return y.astype(x.dtype, copy=False), r.astype(values.dtype, copy=False)


@np.errstate(all="ignore")
def rms_norm_backward(
    grad_y: ndarray, x: ndarray, weight: ndarray | None, r: ndarray
) -> tuple[ndarray, ndarray]:
    """grad_x (like x), grad_w (C,) of `rms_norm_forward`.

    With x_hat = x * r and g = weight * grad_y, grad_w = sum over n of grad_y * x_hat and

        grad_x = r * (g - x_hat * (sum over c of g * x_hat) / C).
    """
    g, x_hat = working(grad_y), working(x) * r[:, None]
    product = g * x_hat
    grad_w = product.sum(axis=0)
    if weight is not None:
        g = g * weight
        product *= weight
    along = product.sum(axis=1) / max(1, x.shape[1])
    grad_x = np.multiply(x_hat, along[:, None], out=x_hat)
    np.subtract(g, grad_x, out=grad_x)
    grad_x *= r[:, None]
    return grad_x.astype(x.dtype, copy=False), grad_w


def channel_sums(x: ndarray, before: int, after: int) -> ndarray:
    """y[:,c] = sum of x[:,d] over c - before <= d <= c + after; x (N,C,*), y like x."""
    values = working(x)
    y = values.copy(order="K")
    C = x.shape[1]
    for step in range(1, min(after, C - 1) + 1):
        y[:, :-step] += values[:, step:]
    for step in range(1, min(before, C - 1) + 1):
        y[:, step:] += values[:, :-step]
    return y.astype(x.dtype, copy=False)

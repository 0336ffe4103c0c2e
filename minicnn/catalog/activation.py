"""Activations, away from their kinks: not in place and in place, on any number of axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case, Draw, op


def _case(draw: Draw, name: str, x: np.ndarray, inplace: bool = True, **options: Any) -> Case:
    """nn.functional.<name>(x, **options), or half of the time the same in place of a copy of x."""
    if not inplace or draw.boolean():
        return Case(f"nn.functional.{name}", x, **options)

    def in_place(library: Any, x: Any, **options: Any) -> Any:
        return getattr(library.nn.functional, name)(x.clone(), inplace=True, **options)

    return Case(in_place, x, **options)


def _away(draw: Draw, *kinks: float) -> np.ndarray:
    return draw.away(*kinks, shape=draw.shape(draw.integer(0, 4)))


# ---------------------------------------------------------------------- element by element


@op(section="ReLU", count=15)
def relu(draw: Draw) -> Case:
    """Away from 0."""
    return _case(draw, "relu", _away(draw, 0))


@op(section="Hardtanh", count=15)
def relu6(draw: Draw) -> Case:
    """Away from 0 and 6."""
    return _case(draw, "relu6", 4 * _away(draw, 0, 1.5))


@op(section="LeakyReLU", count=15)
def leaky_relu(draw: Draw) -> Case:
    """Slopes of either sign, and steeper than 1; PyTorch takes negative ones not in place alone."""
    slope = draw.choice(0.01, 0.2, 0.0, 3.0, -0.5)
    return _case(draw, "leaky_relu", _away(draw, 0), slope >= 0, negative_slope=slope)


@op(section="PReLU", count=15)
def prelu(draw: Draw) -> Case:
    """A weight for each channel, or one for all."""
    x = _away(draw, 0)
    channels = x.shape[1] if x.ndim > 1 else 1
    return Case("nn.functional.prelu", x, draw.normal(*draw.choice((), (1,), (channels,))))


@op(section="Sigmoid", count=15)
def sigmoid(draw: Draw) -> Case:
    """As a function and as a method in place."""
    x = 3 * _away(draw)
    return Case(draw.choice("sigmoid", lambda library, x: x.clone().sigmoid_()), x)


@op(section="LogSigmoid", count=15)
def logsigmoid(draw: Draw) -> Case:
    """Scores of both signs."""
    return _case(draw, "logsigmoid", 5 * _away(draw), False)


@op(section="Tanh", count=15)
def tanh(draw: Draw) -> Case:
    """As a function and as a method in place."""
    return Case(draw.choice("tanh", lambda library, x: x.clone().tanh_()), _away(draw))


@op(section="Softsign", count=15)
def softsign(draw: Draw) -> Case:
    """Away from 0, where the second derivative jumps."""
    return _case(draw, "softsign", _away(draw, 0), False)


@op(section="SiLU", count=15)
def silu(draw: Draw) -> Case:
    """Also called swish."""
    return _case(draw, "silu", 3 * _away(draw))


@op(section="ELU", count=15)
def elu(draw: Draw) -> Case:
    """Away from 0; PyTorch takes no negative alpha in place."""
    return _case(draw, "elu", _away(draw, 0), alpha=draw.choice(1.0, 0.5, 1.7))


@op(section="ELU", count=15)
def celu(draw: Draw) -> Case:
    """Powers of two, since PyTorch rounds 1 / alpha to float32."""
    return _case(draw, "celu", _away(draw, 0), alpha=draw.choice(1.0, 0.5, 2.0))


@op(section="ELU", count=15)
def selu(draw: Draw) -> Case:
    """Away from 0."""
    return _case(draw, "selu", _away(draw, 0))


@op(section="Softplus", count=15)
def softplus(draw: Draw) -> Case:
    """Both sides of the threshold, and thresholds so low that the two sides differ."""
    beta, threshold = draw.choice(1.0, 2.0, 0.5), draw.choice(20.0, 1.0, -1.0)
    x = _away(draw, threshold / beta)
    return _case(draw, "softplus", x, False, beta=beta, threshold=threshold)


@op(section="Hardtanh", count=15)
def hardtanh(draw: Draw) -> Case:
    """Away from both bounds."""
    low, high = draw.choice((-1.0, 1.0), (-0.5, 0.8), (0.3, 2.0))
    return _case(draw, "hardtanh", _away(draw, low, high), min_val=low, max_val=high)


@op(section="Hardsigmoid", torch=False)
def hardsigmoid(draw: Draw) -> Case:
    """Away from -3 and 3. PyTorch rounds the slope 1/6 to float32."""
    return _case(draw, "hardsigmoid", 3 * _away(draw, -1, 1))


# ---------------------------------------------------------------------- with a gate


@op(section="GELU", count=15)
def gelu(draw: Draw) -> Case:
    """Exact and by tanh."""
    return _case(draw, "gelu", _away(draw), False, approximate=draw.choice("none", "tanh"))


@op(section="Mish", count=15)
def mish(draw: Draw) -> Case:
    """Both signs."""
    return _case(draw, "mish", 2 * _away(draw))


@op(section="Hardswish", count=15)
def hardswish(draw: Draw) -> Case:
    """Away from -3 and 3."""
    return _case(draw, "hardswish", 3 * _away(draw, -1, 1))


@op(section="GLU", count=15)
def glu(draw: Draw) -> Case:
    """Halves along any axis."""
    shape = list(draw.shape(draw.integer(1, 4)))
    dim = draw.integer(-len(shape), len(shape) - 1)
    shape[dim] *= 2
    return Case("nn.functional.glu", draw.normal(*shape), dim=dim)


# ---------------------------------------------------------------------- shrinking


@op(section="Threshold", count=15)
def threshold(draw: Draw) -> Case:
    """Away from the threshold."""
    at = draw.uniform(-1, 1)
    value = draw.uniform(-3, 3)
    return _case(draw, "threshold", _away(draw, at), threshold=at, value=value)


@op(section="Hardshrink", count=15)
def hardshrink(draw: Draw) -> Case:
    """Away from both ends."""
    lambd = draw.choice(0.5, 0.2, 1.0)
    return _case(draw, "hardshrink", _away(draw, -lambd, lambd), False, lambd=lambd)


@op(section="Softshrink", count=15)
def softshrink(draw: Draw) -> Case:
    """Away from both ends."""
    lambd = draw.choice(0.5, 0.2, 1.0)
    return _case(draw, "softshrink", _away(draw, -lambd, lambd), False, lambd=lambd)


@op(section="Tanhshrink", count=15)
def tanhshrink(draw: Draw) -> Case:
    """Far enough from 0 that x - tanh(x) keeps its digits."""
    return _case(draw, "tanhshrink", _away(draw, 0), False)


# ---------------------------------------------------------------------- the error function


@op(section="Erf", count=15)
def erf(draw: Draw) -> Case:
    """As a function and as a method in place."""
    return Case(draw.choice("erf", lambda library, x: x.clone().erf_()), _away(draw))


@op(section="Erfc", count=15)
def erfc(draw: Draw) -> Case:
    """Both signs."""
    return Case(draw.choice("erfc", "Tensor.erfc"), _away(draw))


# ---------------------------------------------------------------------- with random numbers


@op(section="Drawing a slope", count=15)
def rrelu(draw: Draw) -> Case:
    """In evaluation; in training with a range of one slope, the same from every generator."""
    training = draw.boolean()
    lower = draw.uniform(0.05, 0.3)
    upper = lower if training else draw.uniform(0.3, 0.6)
    x = _away(draw, 0)
    return _case(draw, "rrelu", x, lower=lower, upper=upper, training=training)


@op(section="Drawing a class", torch=False)
def gumbel_softmax(draw: Draw) -> Case:
    """With the same random numbers at every call."""
    x = draw.normal(*draw.shape(draw.integer(1, 3)))
    tau, dim, seed = draw.uniform(0.5, 2), draw.integer(-x.ndim, x.ndim - 1), draw.integer(0, 99)

    def seeded(library: Any, x: Any) -> Any:
        library.manual_seed(seed)
        return library.nn.functional.gumbel_softmax(x, tau, dim=dim)

    return Case(seeded, x)


# ---------------------------------------------------------------------- along an axis


def _along_an_axis(draw: Draw, name: str) -> Case:
    x = 2 * draw.normal(*draw.shape(draw.integer(1, 4)))
    dim = draw.integer(-x.ndim, x.ndim - 1)
    if draw.boolean():
        return Case(f"nn.functional.{name}", x, dim=dim)

    def in_float64(library: Any, x: Any) -> Any:
        return getattr(library.nn.functional, name)(x, dim, dtype=library.float64)

    return Case(in_float64, x)


@op(section="Softmax", count=15)
def softmax(draw: Draw) -> Case:
    """Any axis."""
    return _along_an_axis(draw, "softmax")


@op(section="Log-softmax", count=15)
def log_softmax(draw: Draw) -> Case:
    """Any axis."""
    return _along_an_axis(draw, "log_softmax")


@op(section="Softmax", count=15)
def softmin(draw: Draw) -> Case:
    """Any axis."""
    return _along_an_axis(draw, "softmin")

"""Values for parameters before training: fill a tensor in place and return it.

Why the scale matters. One output of a layer is y = sum over k of w_k x_k, with fan_in terms. If the
weights and inputs are independent and the weights have mean 0,

    var(y) = fan_in * var(w) * E[x^2].

Backward, one grad_x is the sum of w * grad_y over fan_out outputs:

    var(grad_x) = fan_out * var(w) * var(grad_y).

For conv2d, w (F, C/G, KH, KW): fan_in = C/G * KH * KW, and fan_out = F * KH * KW.

- Xavier (Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
  networks", AISTATS 2010). Near zero tanh is the identity, so E[x^2] = var(x). Signals keep their
  variance forward if var(w) = 1/fan_in and backward if var(w) = 1/fan_out; the compromise is
  var(w) = 2 / (fan_in + fan_out).
- Kaiming (He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015). If x = relu(z) with z
  symmetric around 0, half of it is lost: E[x^2] = var(z)/2. So var(w) = 2 / fan_in. A leaky slope a
  leaves E[x^2] = (1 + a^2)/2 * var(z), so var(w) = 2 / ((1 + a^2) fan_in) = gain^2 / fan_in.

A uniform distribution on [-r, r] has variance r^2/3: r = sqrt(3) * std.

Layers here start as PyTorch's do: kaiming_uniform_ with a = sqrt(5), which is r = 1/sqrt(fan_in).
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np

from ..autograd import Tensor
from ..backend.random import default_generator
from .state import copy_into

_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}
_PROPOSALS = 2**15  # drawn at a time: few enough to stay in a CPU's second cache
_Fill = TypeVar("_Fill", bound=Callable[..., Tensor])
_nothing_drawn: ContextVar[bool] = ContextVar("nothing_drawn", default=False)


@contextlib.contextmanager
def nothing_drawn() -> Iterator[None]:
    """Within it nothing here draws random numbers: tensors keep what their memory happens to hold.

    For networks that get all their weights right afterwards: drawing 138 million numbers for VGG-16
    takes longer than reading them. Fixed values (ones_, zeros_) are set; so is what a layer draws
    without nn.init. Of this thread alone.
    """
    before = _nothing_drawn.set(True)
    try:
        yield
    finally:
        _nothing_drawn.reset(before)


def _draws(fill: _Fill) -> _Fill:
    """Marks a function that `nothing_drawn` makes leave its tensor as it is."""

    @functools.wraps(fill)
    def unless_told(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return tensor if _nothing_drawn.get() else fill(tensor, *args, **kwargs)

    return unless_told  # type: ignore[return-value]


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much the weights' deviation must exceed 1/sqrt(fan) for this nonlinearity.

    relu: sqrt(2), He et al. 2015, eq. 10; leaky_relu: sqrt(2 / (1 + slope^2)), eq. 15, where param
    is the slope (0.01). tanh: 5/3, and selu: 3/4, were found by trying; self-normalizing networks
    (Klambauer et al. 2017, section 2) want "linear". The others: 1. ValueError for an unknown name.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"calculate_gain: negative_slope expects a number, got {param!r}")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        names = ", ".join([*_GAINS, "leaky_relu"])
        raise ValueError(f"calculate_gain: expects one of {names}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def _fans(function: str, tensor: Tensor) -> tuple[int, int]:
    """fan_in and fan_out of a weight (F, C/G, *kernel)."""
    if tensor.ndim < 2:
        raise ValueError(
            f"{function}: fan_in and fan_out need at least 2 dimensions, got shape {tensor.shape}"
        )
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """The name by which layers copied from PyTorch ask for both."""
    return _fans("fan_in_and_fan_out", tensor)


def _rng(tensor: Tensor, generator: Any) -> Any:
    return (default_generator(tensor.device) if generator is None else generator).numpy


def _drawn_type(tensor: Tensor) -> Any:
    """The type random numbers are drawn in: float32 also for float16."""
    return np.float64 if tensor.dtype == np.float64 else np.float32


# ---------------------------------------------------------------------- distributions


@_draws
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on [a, b). ValueError if a > b."""
    if a > b:
        raise ValueError(f"uniform_: expects a <= b, got a={a}, b={b}")
    values = _rng(tensor, generator).random(tensor.shape, dtype=_drawn_type(tensor))
    values *= b - a
    values += a
    copy_into(tensor, values, "uniform_")
    return tensor


@_draws
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with this mean and standard deviation. ValueError if std < 0."""
    if std < 0:
        raise ValueError(f"normal_: expects std >= 0, got {std}")
    values = _rng(tensor, generator).standard_normal(tensor.shape, dtype=_drawn_type(tensor))
    values *= std
    values += mean
    copy_into(tensor, values, "normal_")
    return tensor


@_draws
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Normal with this mean and deviation, cut off outside [a, b].

    ValueError if a >= b or std <= 0.
    """
    if not (a < b and std > 0):
        raise ValueError(f"trunc_normal_: expects a < b and std > 0, got a={a}, b={b}, std={std}")
    rng = _rng(tensor, generator)
    z = _standard_normal_between((a - mean) / std, (b - mean) / std, tensor.numel(), rng)
    values = np.clip(mean + std * z, a, b).reshape(tensor.shape).astype(tensor.dtype)
    # A bound may be no number of the tensor's type; the nearest one can lie outside.
    copy_into(tensor, np.clip(values, a, b), "trunc_normal_")
    return tensor


def _standard_normal_between(low: float, high: float, count: int, rng: Any) -> np.ndarray:
    """Draws proposals and keeps the accepted ones until there are enough.

    Robert, "Simulation of truncated normal variables", Statistics and Computing 5, 1995: where the
    interval lies in the tail, an exponential or (narrow interval) a uniform proposal.
    """
    if high < 0:
        return -_standard_normal_between(-high, -low, count, rng)
    nearest = max(low, 0.0)  # the point of the interval where the density is largest
    rate = (nearest + math.sqrt(nearest**2 + 4)) / 2
    values, have = np.empty(count), 0
    while have < count:
        n = min(2 * (count - have) + 16, _PROPOSALS)
        if (high - low) * rate < 2:
            z = rng.uniform(low, high, n)
            accepted = rng.random(n) < np.exp((nearest**2 - z**2) / 2)
        elif low > 0:
            z = low + rng.exponential(1 / rate, n)
            accepted = (rng.random(n) < np.exp(-((z - rate) ** 2) / 2)) & (z <= high)
        else:
            z = rng.standard_normal(n)
            accepted = (z >= low) & (z <= high)
        z = z[accepted][: count - have]
        values[have : have + len(z)] = z
        have += len(z)
    return values


# ---------------------------------------------------------------------- fixed values


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element is `val`."""
    copy_into(tensor, np.asarray(val), "constant_")
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Every element is 0."""
    return constant_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Every element is 1."""
    return constant_(tensor, 1)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix: a linear layer passes its input on. ValueError unless 2-dimensional."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: expects 2 dimensions, got shape {tensor.shape}")
    copy_into(tensor, np.eye(tensor.shape[0], tensor.shape[1]), "eye_")
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight (F, C/G, *kernel) that passes on as many channels as it can.

    In each group, channel c goes to output c: a one in the middle of the kernel, Dirac's delta of
    Zagoruyko and Komodakis, "DiracNets", 2017, eq. 3. ValueError unless the tensor has 3 to 5
    dimensions and F is divisible by groups.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError(f"dirac_: expects 3 to 5 dimensions, got shape {tensor.shape}")
    if groups <= 0 or tensor.shape[0] % groups:
        raise ValueError(f"dirac_: {tensor.shape[0]} outputs cannot be split into {groups} groups")
    outputs = tensor.shape[0] // groups
    values = np.zeros(tensor.shape)
    middle = tuple(size // 2 for size in tensor.shape[2:])
    for g in range(groups):
        for c in range(min(outputs, tensor.shape[1])):
            values[(g * outputs + c, c, *middle)] = 1
    copy_into(tensor, values, "dirac_")
    return tensor


# ---------------------------------------------------------------------- scaled to the layer


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform with variance gain^2 * 2/(fan_in + fan_out): Glorot and Bengio 2010, eq. 16."""
    bound = math.sqrt(3.0) * _xavier_std("xavier_uniform_", tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with variance gain^2 * 2/(fan_in + fan_out): Glorot and Bengio 2010, eq. 12."""
    return normal_(tensor, 0.0, _xavier_std("xavier_normal_", tensor, gain), generator)


def _xavier_std(function: str, tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2.0 / max(sum(_fans(function, tensor)), 1))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform with variance gain^2/fan: He et al. 2015, eq. 10 (fan_in) and 14 (fan_out).

    a: the negative slope of the leaky_relu that follows. ValueError for an unknown mode.
    """
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal with variance gain^2/fan: He et al. 2015, eq. 10 and 14. As kaiming_uniform_."""
    std = _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(function: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fans = dict(zip(("fan_in", "fan_out"), _fans(function, tensor), strict=True))
    if str(mode).lower() not in fans:
        raise ValueError(f"{function}: mode expects 'fan_in' or 'fan_out', got {mode!r}")
    # A tensor without elements has nothing to be scaled.
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fans[str(mode).lower()], 1))


@_draws
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Orthonormal rows, or columns where there are fewer, times gain; dimensions 1.. are flattened.

    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks", 2013, section 3. ValueError for fewer than 2 dimensions.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: expects at least 2 dimensions, got shape {tensor.shape}")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    normal = _rng(tensor, generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(normal)
    # QR leaves the signs to the library; these make q uniform over the orthogonal matrices
    # (Mezzadri, "How to generate random matrices from the classical compact groups", 2007).
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    values = gain * (q.T if rows < columns else q)
    copy_into(tensor, values.reshape(tensor.shape), "orthogonal_")
    return tensor


@_draws
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal, with a fraction `sparsity` of each column set to zero. ValueError unless a matrix.

    Martens, "Deep learning via Hessian-free optimization", ICML 2010, section 5: few connections,
    so that a unit does not saturate from the start, however many inputs it has.
    """
    if tensor.ndim != 2:
        raise ValueError(f"sparse_: expects 2 dimensions, got shape {tensor.shape}")
    rng = _rng(tensor, generator)
    values = std * rng.standard_normal(tensor.shape)
    zeros = math.ceil(sparsity * tensor.shape[0])
    order = rng.random(tensor.shape).argsort(axis=0)
    values[order < zeros] = 0
    copy_into(tensor, values, "sparse_")
    return tensor


# ---------------------------------------------------------------------- old names


def _old(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The name without underscore, from before 2018: it warns, and fills all the same."""
    new = function.__name__
    old = new.removesuffix("_")

    def fill(*args: Any, **kwargs: Any) -> Tensor:
        text = f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`."
        warnings.warn(text, FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    fill.__name__ = fill.__qualname__ = old
    fill.__doc__ = f"The old name of `{new}`; warns (FutureWarning)."
    return fill


uniform, normal = _old(uniform_), _old(normal_)
constant, eye, dirac = _old(constant_), _old(eye_), _old(dirac_)
xavier_uniform, xavier_normal = _old(xavier_uniform_), _old(xavier_normal_)
kaiming_uniform, kaiming_normal = _old(kaiming_uniform_), _old(kaiming_normal_)
orthogonal, sparse = _old(orthogonal_), _old(sparse_)

"""For each kernel file, small calls of primitives that between them launch every kernel of it.

To show what a kernel does, and to look for mistakes in an edited copy. The sizes are awkward on
purpose: several blocks, the last of them not full, windows that overlap and reach into padding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import cuda
from ..geometry import ConvGeometry, PoolGeometry
from ..taps import Taps
from . import optim


class Numbers:
    """Arrays on a device, the same ones each time."""

    def __init__(self, device: Any) -> None:
        self.device, self._rng = device, np.random.default_rng(0)

    def normal(self, *shape: int) -> Any:
        """Normally distributed float32 numbers."""
        return self.device.asarray(self._rng.standard_normal(shape).astype(np.float32))

    def positive(self, *shape: int, dtype: Any = np.float32) -> Any:
        """Numbers between 0 and 1."""
        return self.device.asarray(self._rng.random(shape).astype(dtype))

    def places(self, below: int, *shape: int) -> Any:
        """int64 numbers from 0 on."""
        return self.device.asarray(self._rng.integers(0, below, shape))


Sample = Callable[[Numbers], Any]


def _convolution(on: Numbers) -> None:
    geometry = ConvGeometry.of((3, 6, 25, 23), (20, 3, 3, 3), (20,), padding=1, groups=2)
    _convolve(on, geometry)


def _depthwise(on: Numbers) -> None:
    _convolve(on, ConvGeometry.of((3, 6, 25, 23), (12, 1, 3, 3), (12,), padding=1, groups=6))


def _convolve(on: Numbers, geometry: ConvGeometry) -> None:
    x, w, b = on.normal(*geometry.x_shape), on.normal(*geometry.w_shape), on.normal(20)
    grad_y = on.normal(*geometry.y_shape)
    cuda.conv_forward(x, w, b[: geometry.out_channels], geometry)
    cuda.conv_grad_input(grad_y, w, geometry)
    cuda.conv_grad_weight(x, grad_y, geometry)


def _columns(on: Numbers) -> None:
    geometry = ConvGeometry.of((2, 3, 12, 11), (4, 3, 3, 3), None, (2, 1), 1, (1, 2))
    cuda.col2im(cuda.im2col(on.normal(*geometry.x_shape), geometry), geometry)


def _windows(on: Numbers) -> None:
    geometry = PoolGeometry.of((3, 3, 13, 11), 3, 2, 1)
    x, shape = on.positive(3, 3, 13, 11), (3, 3, 13, 11)
    y, indices = cuda.max_pool_forward(x, geometry)
    grad_y = on.normal(*y.shape)
    cuda.max_pool_backward(grad_y, indices, shape, geometry)
    cuda.stochastic_pool_forward(x, on.positive(*y.shape, dtype=np.float64), geometry)
    cuda.avg_pool_forward(x, geometry)
    cuda.avg_pool_backward(grad_y, shape, geometry)


def _adaptive(on: Numbers) -> None:
    shape = (3, 3, 13, 11)
    y, _ = cuda.adaptive_max_pool_forward(on.normal(*shape), (5, 4))
    cuda.adaptive_avg_pool_forward(on.normal(*shape), (5, 4))
    cuda.adaptive_avg_pool_backward(on.normal(*y.shape), shape)


def _indices(on: Numbers) -> None:
    indices, x = on.places(13 * 11, 3, 3, 5, 4), on.normal(3, 3, 5, 4)
    cuda.max_pool_backward(x, indices, (3, 3, 13, 11))
    cuda.max_unpool_forward(x, indices, (13, 11))
    cuda.max_unpool_backward(on.normal(3, 3, 13, 11), indices)


def _batch_norm(on: Numbers) -> None:
    x, weight, bias = on.normal(4, 3, 48, 47), on.normal(3), on.normal(3)
    _, mean, var = cuda.batch_norm_forward(x, weight, bias, 1e-5)
    cuda.batch_norm_backward(on.normal(*x.shape), x, weight, mean, var)


def _group_norm(*shape: int) -> Sample:
    def norm(on: Numbers) -> None:
        x, weight, bias = on.normal(*shape), on.normal(shape[1]), on.normal(shape[1])
        _, mean, var = cuda.group_norm_forward(x, weight, bias, 3, 1e-5)
        grad_y = on.normal(*shape)
        cuda.group_norm_grad_input(grad_y, x, weight, mean, var)
        cuda.group_norm_grad_affine(grad_y, x, mean, var)

    return norm


def _cross_entropy(*shape: int, smoothing: float = 0.1, mean: bool = False) -> Sample:
    """On labels of which some are left out: those of class 2, and those that are no class."""

    def loss(on: Numbers) -> None:
        x, weight = on.normal(*shape), on.positive(shape[1])
        target = on.places(shape[1], shape[0], *shape[2:])
        ignored = 2
        if mean:
            target.reshape(-1)[::3], ignored = -100, -100
        loss, m, total = cuda.cross_entropy_forward(x, target, weight, ignored, smoothing)
        g = on.normal(*loss.shape)
        if mean:
            g = g.sum()
        cuda.cross_entropy_backward(g, x, target, weight, m, total, ignored, smoothing)

    return loss


def _lines(*shape: int) -> Sample:
    def softmax(on: Numbers) -> None:
        y = cuda.softmax_forward(on.normal(*shape), 1)
        cuda.softmax_backward(on.normal(*shape), y, 1)
        y = cuda.log_softmax_forward(on.normal(*shape), 1)
        cuda.log_softmax_backward(on.normal(*shape), y, 1)

    return softmax


def _dropout(on: Numbers) -> None:
    x = on.normal(49, 100)
    cuda.dropout(x, 0.3, 1234, x.shape)
    cuda.dropout(x, 0.3, 1234, (49, 1))


def _optimizers(on: Numbers) -> None:
    shapes = [(70, 61), (1,), (5, 3), *[(7,)] * 30]  # more parts than a warp has lanes
    params, grads = [[on.normal(*shape) for shape in shapes] for _ in range(2)]
    states = {
        name: [on.positive(*shape) for shape in shapes]
        for name in ("momenta", "squares", "largest")
    }
    method = optim.MultiTensor(params, **states)
    _, clip = method.clip_coefficient(grads, 0.5)
    optim.MultiTensor(grads).scale(clip)
    method.sgd(grads, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True, clip=clip)
    method.adam(grads, lr=0.1, betas=(0.9, 0.99), eps=1e-8, step=3, weight_decay=0.01)


def _resampling(on: Numbers) -> None:
    rng = np.random.default_rng(0)
    taps = Taps.of((9, 5), rng.integers(0, 9, 20), rng.integers(0, 5, 20), rng.random(20))
    cuda.resample(on.normal(6, 5, 23), taps, 1)


def _error_functions(on: Numbers) -> None:
    cuda.erf(on.normal(3, 333))
    cuda.erfc(on.normal(3, 333))


# For each file {a word for what is launched: the calls}.
SAMPLES: Mapping[str, Mapping[str, Sample]] = {
    "batchnorm.cu": {"": _batch_norm},
    "conv.cu": {"two groups": _convolution},
    "cross_entropy.cu": {
        "a warp a line": _cross_entropy(21, 33),
        "places": _cross_entropy(5, 9, 7),
        "a block a line": _cross_entropy(4, 2100, smoothing=0.0, mean=True),
    },
    "depthwise.cu": {"two a channel": _depthwise},
    "dropout.cu": {"": _dropout},
    "groupnorm.cu": {
        "a warp a set": _group_norm(3, 6, 5, 4),
        "a block a set": _group_norm(3, 6, 25, 24),
        "few places": _group_norm(20, 36, 3, 2),
    },
    "im2col.cu": {"": _columns},
    "optim.cu": {"": _optimizers},
    "parts.cu": {"": _convolution},
    "pool.cu": {"3x3 windows": _windows, "adaptive": _adaptive, "indices": _indices},
    "resample.cu": {"": _resampling},
    "softmax.cu": {
        "a thread a line": _lines(4, 10, 30),
        "a warp a line": _lines(21, 33),
        "a block a line": _lines(3, 2100),
    },
    "special.cu": {"": _error_functions},
}

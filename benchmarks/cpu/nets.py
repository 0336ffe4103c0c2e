"""The networks that are trained side by side, as plain data that every library can be built from.

    Chain(Conv(1, 6, 5, padding=2), ReLU(), AvgPool(2), Flatten(), Linear(1176, 10))

libraries/ has an interpreter for each library. `weights` gives the values that all begin with. A
rival's environment may hold an old Python and no minicnn: this file imports NumPy alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Conv:
    """(N,C,H,W) to (N,features,OH,OW)."""

    channels: int
    features: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = True


@dataclass(frozen=True)
class BatchNorm:
    """Over N, H and W, by the batch's own mean and variance."""

    channels: int
    eps: float = 1e-5


@dataclass(frozen=True)
class ReLU:
    """max(x, 0), in place where the library can."""


@dataclass(frozen=True)
class MaxPool:
    """The largest of each window; `ceil` lets the last windows reach over the edge."""

    kernel: int
    stride: int
    padding: int = 0
    ceil: bool = False


@dataclass(frozen=True)
class AvgPool:
    """The mean of each kernel x kernel square; the squares do not overlap."""

    kernel: int


@dataclass(frozen=True)
class GlobalAvgPool:
    """(N,C,H,W) to (N,C,1,1)."""


@dataclass(frozen=True)
class Flatten:
    """(N,C,H,W) to (N,C*H*W)."""


@dataclass(frozen=True)
class Dropout:
    """Half of the entries are set to 0, the others doubled."""


@dataclass(frozen=True)
class Linear:
    """(N,inputs) to (N,outputs)."""

    inputs: int
    outputs: int


@dataclass(frozen=True, init=False)
class Several:
    """Layers in one."""

    parts: tuple[Any, ...]

    def __init__(self, *parts: Any) -> None:
        object.__setattr__(self, "parts", parts)


class Chain(Several):
    """One layer after the other; with none, x itself."""


class Sum(Several):
    """The sum of what each layer makes of x."""


class Concat(Several):
    """What each layer makes of x, their channels side by side."""


def each_layer(net: Any) -> Iterator[Any]:
    """The layers of a network, in the order in which every interpreter meets them."""
    if isinstance(net, Several):
        for part in net.parts:
            yield from each_layer(part)
    else:
        yield net


def weights(net: Any, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """(weight, bias) of every layer that has them: He's normal values; 1 and 0 for BatchNorm."""
    rng = np.random.default_rng(seed)
    for layer in each_layer(net):
        if not isinstance(layer, (Conv, Linear, BatchNorm)):
            continue
        if isinstance(layer, BatchNorm):
            yield np.ones(layer.channels, np.float32), np.zeros(layer.channels, np.float32)
            continue
        if isinstance(layer, Conv):
            shape = (layer.features, layer.channels // layer.groups, layer.kernel, layer.kernel)
        else:
            shape = (layer.outputs, layer.inputs)
        w = rng.standard_normal(shape, np.float32)
        w *= np.float32((2 / (w.size / shape[0])) ** 0.5)
        with_bias = isinstance(layer, Linear) or layer.bias
        b = rng.standard_normal(shape[0], np.float32) if with_bias else None
        yield w, None if b is None else b * np.float32(0.01)


def batch(shape: tuple[int, ...], classes: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(images of `shape`, their classes as int64): noise, as no figure here depends on them."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape, np.float32), rng.integers(0, classes, shape[0])


# ---------------------------------------------------------------- the networks


def lenet5(pool: str = "avg") -> Chain:
    """LeNet-5 with ReLU, images padded by 2: (N,1,28,28) to (N,10)."""
    halve = AvgPool(2) if pool == "avg" else MaxPool(2, 2)
    maps = (Conv(1, 6, 5, padding=2), ReLU(), halve, Conv(6, 16, 5), ReLU(), halve, Flatten())
    dense = (Linear(400, 120), ReLU(), Linear(120, 84), ReLU(), Linear(84, 10))
    return Chain(*maps, *dense)


def vgg11_bn() -> Chain:
    """VGG-11 with batch norm and one dense layer: (N,3,32,32) to (N,10)."""
    layers, channels = [], 3
    for features, convolutions in ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)):
        for _ in range(convolutions):
            layers += [Conv(channels, features, 3, padding=1), BatchNorm(features), ReLU()]
            channels = features
        layers.append(MaxPool(2, 2))
    return Chain(*layers, Flatten(), Linear(512, 10))


def resnet(blocks: tuple[int, ...] = (2, 2, 2, 2)) -> Chain:
    """A ResNet for small images, without pooling in the stem; ResNet-18 as it comes."""
    layers, channels = [Conv(3, 64, 3, padding=1, bias=False), BatchNorm(64), ReLU()], 64
    for stage, count in enumerate(blocks):
        for block in range(count):
            features, stride = 64 * 2**stage, 2 if stage and not block else 1
            layers += [_residual(channels, features, stride), ReLU()]
            channels = features
    return Chain(*layers, GlobalAvgPool(), Flatten(), Linear(channels, 10))


def _residual(channels: int, features: int, stride: int) -> Sum:
    body = Chain(
        Conv(channels, features, 3, stride, 1, bias=False),
        BatchNorm(features),
        ReLU(),
        Conv(features, features, 3, 1, 1, bias=False),
        BatchNorm(features),
    )
    if stride == 1 and channels == features:
        return Sum(body, Chain())
    shortcut = Chain(Conv(channels, features, 1, stride, bias=False), BatchNorm(features))
    return Sum(body, shortcut)


def alexnet() -> Chain:
    """AlexNet in one tower, as PyTorch's users know it: (N,3,224,224) to (N,1000)."""
    pool = MaxPool(3, 2)
    return Chain(
        *(Conv(3, 64, 11, 4, 2), ReLU(), pool),
        *(Conv(64, 192, 5, padding=2), ReLU(), pool),
        *(Conv(192, 384, 3, padding=1), ReLU()),
        *(Conv(384, 256, 3, padding=1), ReLU()),
        *(Conv(256, 256, 3, padding=1), ReLU(), pool),
        *(Flatten(), Dropout(), Linear(9216, 4096), ReLU()),
        *(Dropout(), Linear(4096, 4096), ReLU(), Linear(4096, 1000)),
    )


def depthwise() -> Chain:
    """A small MobileNet: seven depthwise separable convolutions, (N,3,32,32) to (N,10)."""
    layers, channels = [Conv(3, 32, 3, padding=1, bias=False), BatchNorm(32), ReLU()], 32
    widths = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
    for features, stride in widths:
        layers += [Conv(channels, channels, 3, stride, 1, channels, bias=False)]
        layers += [BatchNorm(channels), ReLU(), Conv(channels, features, 1, bias=False)]
        layers += [BatchNorm(features), ReLU()]
        channels = features
    return Chain(*layers, GlobalAvgPool(), Flatten(), Linear(512, 10))


def densenet(layers_a_block: int = 16, growth: int = 12) -> Chain:
    """DenseNet-BC of 100 layers, as minicnn.models.densenet_bc_100: (N,3,32,32) to (N,10)."""
    channels = 2 * growth
    layers: list = [Conv(3, channels, 3, padding=1, bias=False)]
    for block in range(3):
        if block:
            layers += [BatchNorm(channels), ReLU(), Conv(channels, channels // 2, 1, bias=False)]
            layers.append(AvgPool(2))
            channels //= 2
        for _ in range(layers_a_block):
            new = (BatchNorm(channels), ReLU(), Conv(channels, 4 * growth, 1, bias=False))
            new += (BatchNorm(4 * growth), ReLU())
            new += (Conv(4 * growth, growth, 3, padding=1, bias=False),)
            layers.append(Concat(Chain(), Chain(*new)))
            channels += growth
    layers += [BatchNorm(channels), ReLU(), GlobalAvgPool(), Flatten(), Linear(channels, 10)]
    return Chain(*layers)


def googlenet() -> Chain:
    """GoogLeNet for small images, as minicnn.models.googlenet without its other heads."""
    pool = MaxPool(3, 2, ceil=True)
    return Chain(
        *(_conv(3, 64, 3), _conv(64, 64, 1), _conv(64, 192, 3), pool),
        _inception(192, 64, 96, 128, 16, 32, 32),
        *(_inception(256, 128, 128, 192, 32, 96, 64), pool),
        _inception(480, 192, 96, 208, 16, 48, 64),
        _inception(512, 160, 112, 224, 24, 64, 64),
        _inception(512, 128, 128, 256, 24, 64, 64),
        _inception(512, 112, 144, 288, 32, 64, 64),
        *(_inception(528, 256, 160, 320, 32, 128, 128), MaxPool(2, 2, ceil=True)),
        _inception(832, 256, 160, 320, 32, 128, 128),
        _inception(832, 384, 192, 384, 48, 128, 128),
        *(GlobalAvgPool(), Flatten(), Linear(1024, 10)),
    )


def _conv(channels: int, features: int, kernel: int) -> Chain:
    convolution = Conv(channels, features, kernel, padding=kernel // 2, bias=False)
    return Chain(convolution, BatchNorm(features, 1e-3), ReLU())


def _inception(
    channels: int, ones: int, to_threes: int, threes: int, to_fives: int, fives: int, pooled: int
) -> Concat:
    """Four branches; the third has 3x3 too where the paper has 5x5, as in minicnn.models."""
    return Concat(
        _conv(channels, ones, 1),
        Chain(_conv(channels, to_threes, 1), _conv(to_threes, threes, 3)),
        Chain(_conv(channels, to_fives, 1), _conv(to_fives, fives, 3)),
        Chain(MaxPool(3, 1, 1), _conv(channels, pooled, 1)),
    )


def tiny() -> Chain:
    """Every kind of layer once, to try a library with: (N,3,8,8) to (N,4)."""
    return Chain(
        *(Conv(3, 4, 3, padding=1), BatchNorm(4), ReLU(), MaxPool(3, 2, ceil=True)),
        Sum(Conv(4, 4, 3, 1, 1, groups=4, bias=False), Chain()),
        *(Concat(Chain(), Conv(4, 2, 1)), AvgPool(2), MaxPool(3, 1, 1)),
        *(Flatten(), Dropout(), Linear(24, 8), ReLU(), Linear(8, 4)),
    )

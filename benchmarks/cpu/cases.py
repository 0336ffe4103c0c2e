"""What is measured: whole training steps, and the sizes at which it is watched how time grows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from . import nets


@dataclass(frozen=True)
class Case:
    """A training step.

    Args:
        title: in the report.
        net: a function of nets.py.
        shape: of the images, (N,C,H,W).
        classes: how many.
        options: of the net.
    """

    title: str
    net: str
    shape: tuple[int, int, int, int]
    classes: int = 10
    options: dict[str, Any] = field(default_factory=dict)

    def request(self) -> dict[str, Any]:
        """What worker.py is asked to prepare."""
        return {"net": [self.net, self.options], "shape": self.shape, "classes": self.classes}

    def built(self) -> Any:
        """The network."""
        return getattr(nets, self.net)(**self.options)

    def of(self, batch: int) -> Case:
        """The same with another batch."""
        return replace(self, shape=(batch, *self.shape[1:]))


def _lenet(batch: int, pool: str) -> Case:
    word = {"avg": "average", "max": "max"}[pool]
    title = f"LeNet-5, {word} pooling, batch {batch}"
    return Case(title, "lenet5", (batch, 1, 28, 28), options={"pool": pool})


STEPS = {
    "lenet5-256": _lenet(256, "avg"),
    "lenet5-64": _lenet(64, "avg"),
    "lenet5-max-256": _lenet(256, "max"),
    "lenet5-max-64": _lenet(64, "max"),
    "vgg11-bn": Case("VGG-11-BN, 32x32, batch 64", "vgg11_bn", (64, 3, 32, 32)),
    "resnet18": Case("ResNet-18 for CIFAR, batch 32", "resnet", (32, 3, 32, 32)),
    "alexnet": Case("AlexNet, 224x224, batch 16", "alexnet", (16, 3, 224, 224), 1000),
    "depthwise": Case("depthwise net, 32x32, batch 64", "depthwise", (64, 3, 32, 32)),
    "densenet": Case("DenseNet-BC-100, 32x32, batch 16", "densenet", (16, 3, 32, 32)),
    "googlenet": Case("GoogLeNet, 32x32, batch 32", "googlenet", (32, 3, 32, 32)),
}

# Case -> the most that minicnn's step may take, in steps of the faster PyTorch layout.
GOALS = {
    "lenet5-256": 0.95,
    "lenet5-max-256": 0.95,
    "lenet5-64": 1.15,
    "lenet5-max-64": 1.15,
    "vgg11-bn": 0.95,
    "resnet18": 1.05,
    "alexnet": 1.20,
    "depthwise": 2.5,
}
MEMORY_GOAL = 1.0  # peak memory, in that of the PyTorch layout that takes less
# minicnn is to be so many times as fast as these two, in these cases.
TIMES_FASTER = 4.0
SLOWER = ("Chainer", "DeZero")
FASTER_CASES = ("lenet5-256", "lenet5-64", "vgg11-bn", "resnet18", "alexnet")


def _resnet(title: str, size: int, blocks: int) -> Case:
    return Case(title, "resnet", (16, 3, size, size), options={"blocks": (blocks,) * 4})


# What grows -> the case at each size.
SCALING = {
    "batch, LeNet-5": {n: _lenet(n, "avg") for n in (1, 16, 64, 256, 1024)},
    "batch, VGG-11-BN": {n: STEPS["vgg11-bn"].of(n) for n in (4, 16, 64)},
    "image size, ResNet-18, batch 16": {n: _resnet(f"{n}x{n}", n, 2) for n in (16, 32, 64)},
    "blocks a stage, ResNet, batch 16": {n: _resnet(f"{n} blocks", 32, n) for n in (1, 2, 3)},
}
THREADS = [STEPS[name] for name in ("lenet5-256", "vgg11-bn", "resnet18", "depthwise")]


@dataclass(frozen=True)
class Op:
    """One layer, forward and backward, at one size.

    `algorithms` are those that minicnn could take for a convolution; each is measured too.
    """

    title: str
    layer: Any
    shape: tuple[int, ...]
    algorithms: tuple[str, ...] = ()


def _convolution(what: str, shape: tuple[int, ...], *arguments: int, **options: int) -> Op:
    layer = nets.Conv(shape[1], *arguments, **options)
    title = f"convolution, {what}, x {_size(shape)}"
    return Op(title, layer, shape, _algorithms(layer))


def _algorithms(layer: nets.Conv) -> tuple[str, ...]:
    """Those of minicnn.backends.cpu that can serve; () where there is no choice."""
    if layer.groups > 1:
        return ("im2col", "direct")
    if layer.kernel in (3, 5) and layer.stride == 1:
        return ("im2col", "winograd2", "winograd4")
    return ("im2col", "pointwise") if (layer.kernel, layer.stride) == (1, 1) else ()


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _op(what: str, layer: Any, *shape: int) -> Op:
    return Op(f"{what}, x {_size(shape)}", layer, shape)


OPS = (
    _convolution("5x5 to 6", (256, 1, 28, 28), 6, 5, padding=2),
    _convolution("5x5 to 16", (256, 6, 14, 14), 16, 5),
    _convolution("3x3 to 64", (64, 3, 32, 32), 64, 3, padding=1),
    _convolution("3x3 to 64", (32, 64, 32, 32), 64, 3, padding=1),
    _convolution("3x3 to 128", (64, 64, 16, 16), 128, 3, padding=1),
    _convolution("3x3 to 256", (64, 256, 8, 8), 256, 3, padding=1),
    _convolution("3x3 to 512", (64, 512, 4, 4), 512, 3, padding=1),
    _convolution("3x3 to 512", (64, 512, 2, 2), 512, 3, padding=1),
    _convolution("3x3 to 128, stride 2", (32, 64, 32, 32), 128, 3, stride=2, padding=1),
    _convolution("1x1 to 128, stride 2", (32, 64, 32, 32), 128, 1, stride=2),
    _convolution("1x1 to 128", (64, 64, 16, 16), 128, 1),
    _convolution("11x11 to 64, stride 4", (16, 3, 224, 224), 64, 11, stride=4, padding=2),
    _convolution("5x5 to 192", (16, 64, 27, 27), 192, 5, padding=2),
    _convolution("3x3 depthwise", (64, 128, 16, 16), 128, 3, padding=1, groups=128),
    _convolution("3x3 depthwise, stride 2", (64, 64, 32, 32), 64, 3, 2, 1, groups=64),
    _op("max pooling 2x2", nets.MaxPool(2, 2), 64, 64, 32, 32),
    _op("max pooling 3x3, stride 2", nets.MaxPool(3, 2), 16, 64, 55, 55),
    _op("average pooling 2x2", nets.AvgPool(2), 256, 6, 28, 28),
    _op("global average pooling", nets.GlobalAvgPool(), 64, 512, 4, 4),
    _op("batch norm", nets.BatchNorm(64), 64, 64, 32, 32),
    _op("batch norm", nets.BatchNorm(512), 64, 512, 4, 4),
    _op("ReLU", nets.ReLU(), 64, 64, 32, 32),
    _op("dropout", nets.Dropout(), 16, 9216),
    _op("linear to 4096", nets.Linear(9216, 4096), 16, 9216),
    _op("linear to 120", nets.Linear(400, 120), 256, 400),
    _op("cross-entropy", "cross_entropy", 256, 10),
    _op("cross-entropy", "cross_entropy", 256, 1000),
    Op("SGD with momentum, ResNet-18", "sgd", ()),
)

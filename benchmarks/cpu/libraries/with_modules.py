"""minicnn and PyTorch, whose programs are the same: Module, Tensor, cross_entropy, optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nets
from ..cases import OPS
from . import EAGER, LR, MOMENTUM, timed


def open_minicnn(threads: int) -> Any:
    """minicnn with so many threads."""
    import minicnn

    minicnn.set_num_threads(threads)
    return Library(minicnn, f"minicnn {minicnn.__version__}")


def open_torch(threads: int, channels_last: bool = False) -> Any:
    """PyTorch with so many threads, in one of its memory orders."""
    import torch

    torch.set_num_threads(threads)
    return Library(torch, f"PyTorch {torch.__version__}", channels_last)


class Library:
    """One of the two.

    Args:
        lib: the module, `minicnn` or `torch`.
        version: its name and version.
        channels_last: PyTorch's memory order N,H,W,C instead of N,C,H,W.
    """

    def __init__(self, lib: Any, version: str, channels_last: bool = False) -> None:
        self.lib, self.version, self.channels_last = lib, version, channels_last

    def trainer(self, net: Any, x: np.ndarray, target: np.ndarray) -> Trainer:
        """The network of nets.py, ready to be trained on a batch."""
        return Trainer(self, net, x, target)

    def op(self, title: str, algorithm: str = "") -> Op:
        """An operation of cases.py, by its title; convolutions by minicnn's named algorithm."""
        if algorithm:
            self.lib.backends.cpu.conv_algorithm = algorithm
        return Op(self, next(op for op in OPS if op.title == title))

    def ordered(self, value: Any) -> Any:
        """A Module or Tensor, in the memory order that is wanted."""
        if not self.channels_last:
            return value
        return value.to(memory_format=self.lib.channels_last)


class Trainer:
    """A network, its optimizer and a batch."""

    parts = EAGER

    def __init__(self, library: Library, net: Any, x: np.ndarray, target: np.ndarray) -> None:
        lib = self.lib = library.lib
        self.module = _with_weights(lib, net, library.ordered(build(lib, net)))
        self.x, self.target = library.ordered(lib.from_numpy(x)), lib.from_numpy(target)
        self.optimizer = lib.optim.SGD(self.module.parameters(), lr=LR, momentum=MOMENTUM)
        self.value = 0.0

    def loss(self) -> float:
        """The loss at this step, for which dropout is put aside."""
        dropouts = [m for m in self.module.modules() if isinstance(m, self.lib.nn.Dropout)]
        for dropout in dropouts:
            dropout.p = 0.0
        self.step()
        for dropout in dropouts:
            dropout.p = 0.5
        return self.value

    def step(self) -> tuple[float, ...]:
        """Forward and loss; backward; the optimizer's step."""
        return timed(self._forward, self._backward, self.optimizer.step)

    def _forward(self) -> None:
        self.optimizer.zero_grad()
        self.loss_tensor = self.lib.nn.functional.cross_entropy(self.module(self.x), self.target)

    def _backward(self) -> None:
        self.loss_tensor.backward()
        self.value = self.loss_tensor.item()
        del self.loss_tensor


class Op:
    """An operation, with inputs of its size."""

    parts: tuple[str, ...] = ("forward", "backward")

    def __init__(self, library: Library, op: Any) -> None:
        lib = library.lib
        if op.layer == "sgd":
            self.parts, self.step = ("step",), _sgd(library)
            return
        rng = np.random.default_rng(0)
        x, target = nets.batch(op.shape, op.shape[-1])
        self.x = library.ordered(lib.from_numpy(x)) if x.ndim == 4 else lib.from_numpy(x)
        self.x.requires_grad_()
        if op.layer == "cross_entropy":
            target = lib.from_numpy(target)
            self.compute = lambda x: lib.nn.functional.cross_entropy(x, target)
        else:
            module = library.ordered(build(lib, op.layer, inplace=False))
            self.compute = _with_weights(lib, op.layer, module)
        y = self.compute(self.x).detach()
        grad_y = lib.from_numpy(rng.standard_normal(tuple(y.shape), np.float32))
        self.grad_y = library.ordered(grad_y) if y.ndim == 4 else grad_y

    def step(self) -> tuple[float, ...]:  # type: ignore[no-redef]
        """Forward; backward to x and to the parameters."""
        self.x.grad = None
        return timed(self._forward, self._backward)

    def _forward(self) -> None:
        self.y = self.compute(self.x)

    def _backward(self) -> None:
        self.y.backward(self.grad_y)
        del self.y


def _sgd(library: Library) -> Any:
    """One step of the optimizer over ResNet-18."""
    module = library.ordered(build(library.lib, nets.resnet()))
    params = list(module.parameters())
    for param in params:
        param.grad = param.detach() * 0.1
    optimizer = library.lib.optim.SGD(params, lr=LR, momentum=MOMENTUM)
    return lambda: timed(optimizer.step)


def _with_weights(lib: Any, net: Any, module: Any) -> Any:
    """The Module of a net with the net's weights."""
    layers = [layer for layer in module.modules() if getattr(layer, "weight", None) is not None]
    with lib.no_grad():
        for layer, (w, b) in zip(layers, nets.weights(net), strict=True):
            layer.weight.copy_(lib.from_numpy(w))
            if b is not None:
                layer.bias.copy_(lib.from_numpy(b))
    return module.train()


def build(lib: Any, layer: Any, inplace: bool = True) -> Any:
    """The Module for a layer of nets.py; `inplace` is that of ReLU."""
    nn = lib.nn
    if isinstance(layer, nets.Several):
        parts = [build(lib, part, inplace) for part in layer.parts]
        if isinstance(layer, nets.Chain):
            return nn.Sequential(*parts)
        return _branches(lib, isinstance(layer, nets.Sum), parts)
    if isinstance(layer, nets.Conv):
        window = (layer.kernel, layer.stride, layer.padding)
        options = {"groups": layer.groups, "bias": layer.bias}
        return nn.Conv2d(layer.channels, layer.features, *window, **options)
    if isinstance(layer, nets.BatchNorm):
        return nn.BatchNorm2d(layer.channels, layer.eps)
    if isinstance(layer, nets.MaxPool):
        return nn.MaxPool2d(layer.kernel, layer.stride, layer.padding, ceil_mode=layer.ceil)
    if isinstance(layer, nets.AvgPool):
        return nn.AvgPool2d(layer.kernel)
    if isinstance(layer, nets.Linear):
        return nn.Linear(layer.inputs, layer.outputs)
    return {
        nets.ReLU: lambda: nn.ReLU(inplace=inplace),
        nets.GlobalAvgPool: lambda: nn.AdaptiveAvgPool2d(1),
        nets.Flatten: nn.Flatten,
        nets.Dropout: nn.Dropout,
    }[type(layer)]()


def _branches(lib: Any, add: bool, parts: list[Any]) -> Any:
    """A Module that adds what each part makes of x, or puts their channels side by side."""

    class Branches(lib.nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.parts = lib.nn.ModuleList(parts)

        def forward(self, x: Any) -> Any:
            results = [part(x) for part in self.parts]
            return sum(results[1:], results[0]) if add else lib.cat(results, 1)

    return Branches()

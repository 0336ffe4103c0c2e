"""tinygrad, its kernels compiled by clang, the step replayed by its JIT."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from tinygrad import Device, Tensor, TinyJit, dtypes
from tinygrad.nn.optim import SGD

from . import LR, MOMENTUM, WHOLE, functional, timed


def open(threads: int) -> Any:
    """tinygrad on the CPU; the environment sets its threads."""
    Device["CPU"]
    return Library()


class Library:
    """tinygrad."""

    version = f"tinygrad {version('tinygrad')}"

    def trainer(self, net: Any, x: np.ndarray, target: np.ndarray) -> Trainer:
        """The network of nets.py, ready to be trained on a batch."""
        return Trainer(net, x, target)


class Trainer:
    """A network, its optimizer and a batch."""

    parts = WHOLE

    def __init__(self, net: Any, x: np.ndarray, target: np.ndarray) -> None:
        Tensor.training = True
        arrays = functional.parameters(net)
        self.params = [None if a is None else Tensor(a).realize() for a in arrays]
        self.net, self.x = net, Tensor(x).realize()
        self.target = Tensor(target.astype(np.int32)).cast(dtypes.int).realize()
        held = [param for param in self.params if param is not None]
        self.optimizer = SGD(held, lr=LR, momentum=MOMENTUM)
        self.compiled = TinyJit(self._step)

    def loss(self) -> float:
        """The loss at this step, for which dropout is put aside. Nothing is compiled for later."""
        return float(self._step(dropout=False).item())

    def step(self) -> tuple[float, ...]:
        """One step; the third builds what the later ones replay."""
        return timed(lambda: self.compiled().item())

    def _step(self, dropout: bool = True) -> Any:
        self.optimizer.zero_grad()
        logits = functional.apply(_Ops, self.net, self.x, self.params, dropout)
        loss = logits.sparse_categorical_crossentropy(self.target).backward()
        return loss.realize(*self.optimizer.schedule_step())


class _Ops:
    def conv(x, layer, w, b):
        return x.conv2d(w, b, layer.groups, layer.stride, 1, layer.padding)

    def batch_norm(x, layer, weight, bias):
        mean = x.mean((0, 2, 3))
        var = (x - mean.reshape(1, -1, 1, 1)).square().mean((0, 2, 3))
        return x.batchnorm(weight, bias, mean, (var + layer.eps).rsqrt())

    def relu(x):
        return x.relu()

    def max_pool(x, layer):
        window = (layer.kernel, layer.kernel)
        return x.max_pool2d(window, layer.stride, 1, layer.padding, layer.ceil)

    def avg_pool(x, layer):
        return x.avg_pool2d((layer.kernel, layer.kernel))

    def global_avg_pool(x):
        return x.mean((2, 3), keepdim=True)

    def flatten(x):
        return x.flatten(1)

    def dropout(x):
        return x.dropout(0.5)

    def linear(x, w, b):
        return x.linear(w.T, b)

    def add(x, y):
        return x + y

    def concat(parts):
        return parts[0].cat(*parts[1:], dim=1)

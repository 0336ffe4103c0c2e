"""What a network costs and sees, counted while it runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import minicnn
from minicnn import nn


def multiply_adds(net: Any, side: int, dense: bool = True) -> int:
    """Multiplications in the convolutions, and the dense layers, for an image of side x side."""
    total = 0

    def add(layer: Any, inputs: Any, y: Any) -> None:
        nonlocal total
        total += y.numel() * math.prod(layer.weight.shape[1:])

    kinds = (nn.Conv2d, nn.Linear) if dense else nn.Conv2d
    hooks = [m.register_forward_hook(add) for m in net.modules() if isinstance(m, kinds)]
    with minicnn.no_grad():
        net.eval()(minicnn.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return total


def sees(layers: Any, side: int) -> tuple[int, int]:
    """The height and width of the pixels that one place in the middle depends on."""
    x = np.random.default_rng(0).normal(size=(1, 3, side, side))
    x = minicnn.Tensor(x).requires_grad_()
    y = layers.double().eval()(x)
    middle = y.shape[2] // 2
    y[0, :, middle, middle].sum().backward()
    touched = np.argwhere(np.abs(x.grad.array).sum((0, 1)))
    assert touched.min() > 0 and touched.max() < side - 1, "the image is too small"
    height, width = touched.max(0) - touched.min(0) + 1
    return int(height), int(width)

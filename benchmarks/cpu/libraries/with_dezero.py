"""DeZero, the framework of a textbook. It has no groups, no concatenation and no ceil mode."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import dezero
import dezero.functions as F
import numpy as np
from dezero.optimizers import MomentumSGD

from . import LR, MOMENTUM, functional


def open(threads: int) -> Any:
    """DeZero; its products take the threads of NumPy's BLAS, which the environment sets."""
    return Library()


class Library:
    """DeZero."""

    version = f"DeZero {version('dezero')} with NumPy {np.__version__}"

    def trainer(self, net: Any, x: np.ndarray, target: np.ndarray) -> Any:
        """The network of nets.py, ready to be trained on a batch."""
        params, layer = [], dezero.Layer()
        for number, array in enumerate(functional.parameters(net)):
            if array is not None and array.ndim == 2:
                array = np.ascontiguousarray(array.T)  # y = x W here
            params.append(None if array is None else dezero.Parameter(array))
            setattr(layer, f"p{number}", params[-1])
        optimizer = MomentumSGD(LR, MOMENTUM).setup(layer)
        return functional.ChainTrainer(_Ops, net, x, target, params, layer, optimizer)


class _Ops:
    add = F.add
    cross_entropy = F.softmax_cross_entropy
    dropout = F.dropout
    linear = F.linear
    relu = F.relu

    def conv(x, layer, w, b):
        if layer.groups != 1:
            raise NotImplementedError("DeZero has no grouped convolution")
        return F.conv2d(x, w, b, layer.stride, layer.padding)

    def batch_norm(x, layer, weight, bias):
        running = np.zeros((2, layer.channels), np.float32)
        return F.batch_nrom(x, weight, bias, *running, eps=layer.eps)

    def max_pool(x, layer):
        if layer.ceil:
            raise NotImplementedError("DeZero has no ceil mode")
        return F.pooling(x, layer.kernel, layer.stride, layer.padding)

    def avg_pool(x, layer):
        return F.average_pooling(x, layer.kernel, layer.kernel)

    def global_avg_pool(x):
        N, C, H, W = x.shape
        return F.sum(F.reshape(x, (N, C, H * W)), axis=2) / (H * W)

    def flatten(x):
        return F.reshape(x, (len(x), -1))

    def concat(parts):
        raise NotImplementedError("DeZero has no concatenation")

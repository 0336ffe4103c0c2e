"""Chainer on a CPU, by NumPy alone."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.functions as F
import numpy as np

from . import LR, MOMENTUM, functional


def open(threads: int) -> Any:
    """Chainer; its products take the threads of NumPy's BLAS, which the environment sets."""
    return Library()


class Library:
    """Chainer."""

    version = f"Chainer {chainer.__version__} with NumPy {np.__version__}"

    def trainer(self, net: Any, x: np.ndarray, target: np.ndarray) -> Any:
        """The network of nets.py, ready to be trained on a batch."""
        arrays = functional.parameters(net)
        params = [None if array is None else chainer.Parameter(array) for array in arrays]
        link = chainer.Link()
        with link.init_scope():
            for number, param in enumerate(params):
                setattr(link, f"p{number}", param)
        optimizer = chainer.optimizers.MomentumSGD(LR, MOMENTUM).setup(link)
        target = target.astype(np.int32)
        return functional.ChainTrainer(_Ops, net, x, target, params, link, optimizer)


class _Ops:
    add = F.add
    cross_entropy = F.softmax_cross_entropy
    dropout = F.dropout
    linear = F.linear
    relu = F.relu

    def conv(x, layer, w, b):
        return F.convolution_2d(x, w, b, layer.stride, layer.padding, groups=layer.groups)

    def batch_norm(x, layer, weight, bias):
        return F.batch_normalization(x, weight, bias, eps=layer.eps)

    def max_pool(x, layer):
        window = (layer.kernel, layer.stride, layer.padding)
        return F.max_pooling_2d(x, *window, cover_all=layer.ceil)

    def avg_pool(x, layer):
        return F.average_pooling_2d(x, layer.kernel)

    def global_avg_pool(x):
        return F.mean(x, axis=(2, 3))

    def flatten(x):
        return F.reshape(x, (len(x), -1))

    def concat(parts):
        return F.concat(parts, axis=1)

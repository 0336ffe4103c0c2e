"""Networks of nets.py for libraries of functions: one walk over the layers, a table of operations.

`ops` holds the functions conv(x, layer, w, b), batch_norm(x, layer, weight, bias), relu(x),
max_pool(x, layer), avg_pool(x, layer), global_avg_pool(x), flatten(x), dropout(x),
linear(x, w, b), add(x, y), concat(parts) and cross_entropy(logits, target).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import nets
from . import EAGER, timed


def parameters(net: Any) -> list[np.ndarray | None]:
    """Weight, bias, weight, bias ...; None where there is no bias."""
    return [array for pair in nets.weights(net) for array in pair]


def apply(ops: Any, net: Any, x: Any, params: list[Any], dropout: bool) -> Any:
    """The logits of images x."""
    return _walk(ops, net, x, iter(params), dropout)


def _walk(ops: Any, layer: Any, x: Any, params: Iterator[Any], dropout: bool) -> Any:
    if isinstance(layer, nets.Chain):
        for part in layer.parts:
            x = _walk(ops, part, x, params, dropout)
        return x
    if isinstance(layer, nets.Several):
        results = [_walk(ops, part, x, params, dropout) for part in layer.parts]
        return ops.concat(results) if isinstance(layer, nets.Concat) else ops.add(*results)
    if isinstance(layer, nets.Conv):
        return ops.conv(x, layer, next(params), next(params))
    if isinstance(layer, nets.BatchNorm):
        return ops.batch_norm(x, layer, next(params), next(params))
    if isinstance(layer, nets.Linear):
        return ops.linear(x, next(params), next(params))
    if isinstance(layer, nets.MaxPool):
        return ops.max_pool(x, layer)
    if isinstance(layer, nets.AvgPool):
        return ops.avg_pool(x, layer)
    if isinstance(layer, nets.Dropout):
        return ops.dropout(x) if dropout else x
    simple = {nets.ReLU: "relu", nets.GlobalAvgPool: "global_avg_pool", nets.Flatten: "flatten"}
    return getattr(ops, simple[type(layer)])(x)


class ChainTrainer:
    """A network in Chainer, or in DeZero, which took its interface from there.

    Args:
        ops: the table of operations.
        net, x, target: the network of nets.py and its batch.
        params: what `parameters` gave, as parameters of the library.
        holder: an object of the library that they are attributes of.
        optimizer: set up for the holder.
    """

    parts = EAGER

    def __init__(
        self,
        ops: Any,
        net: Any,
        x: np.ndarray,
        target: np.ndarray,
        params: list[Any],
        holder: Any,
        optimizer: Any,
    ) -> None:
        self.ops, self.net, self.x, self.target = ops, net, x, target
        self.params, self.holder, self.optimizer = params, holder, optimizer
        self.dropout = True
        self.value: Any = None

    def loss(self) -> float:
        """The loss at this step, for which dropout is put aside."""
        self.dropout = False
        self.step()
        self.dropout = True
        return float(self.value.data)

    def step(self) -> tuple[float, ...]:
        """Forward and loss; backward; the optimizer's step."""
        return timed(self._forward, self._backward, self.optimizer.update)

    def _forward(self) -> None:
        self.holder.cleargrads()
        logits = apply(self.ops, self.net, self.x, self.params, self.dropout)
        self.value = self.ops.cross_entropy(logits, self.target)

    def _backward(self) -> None:
        self.value.backward()
        self.value.unchain_backward()

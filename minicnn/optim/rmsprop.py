"""RMSprop."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor
from .optimizer import (
    Optimizer,
    average,
    average_square,
    with_decay,
)


class RMSprop(Optimizer):
    """Gradients divided by the root of their mean square.

        g <- grad + weight_decay * p                    (-grad + ... with maximize)
        v <- alpha * v + (1 - alpha) * g^2              the mean of the squares
        a <- alpha * a + (1 - alpha) * g                the mean, if centered
        s =  sqrt(v) + eps,                             sqrt(v - a^2) + eps  if centered
        b <- momentum * b + g / s                       b = g / s without momentum
        p <- p - lr * b

    Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5, 2012; centered, where
    s estimates the standard deviation: Graves, "Generating sequences with recurrent neural
    networks", 2013, equations 38 to 41 (but eps stands outside the root, as in PyTorch).

    foreach and capturable choose between implementations in PyTorch; they have no effect.
    Raises ValueError for settings out of range.
    """

    _arrays = ("square_avg", "momentum_buffer", "grad_avg")
    _not_negative = ("lr", "eps", "momentum", "weight_decay", "alpha")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        names = ["step", "square_avg"]
        names += ["momentum_buffer"] if group["momentum"] > 0 else []
        return (*names, "grad_avg") if group["centered"] else tuple(names)

    def _update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        _, arrays = self._counted(p, state, self._state_names(group)[1:])
        alpha, momentum = float(group["alpha"]), float(group["momentum"])

        def change(x: Any, g: Any, v: Any, *others: Any) -> None:
            t, d = self._scratch(g, 0), self._scratch(g, 1)
            g = with_decay(x, g, d, group["maximize"], float(group["weight_decay"]))
            average_square(v, g, alpha, t)
            if group["centered"]:
                a = others[-1]
                average(a, g, alpha, t)
                np.subtract(v, np.multiply(a, a, out=t), out=t)
            root = np.sqrt(t if group["centered"] else v, out=t)
            b = np.divide(g, np.add(root, group["eps"], out=t), out=t)
            if momentum > 0:
                np.multiply(others[0], momentum, out=others[0])
                b = np.add(others[0], b, out=others[0])
            np.subtract(x, np.multiply(b, float(group["lr"]), out=t), out=x)

        self._change(change, p.array, grad, *arrays)

"""Adadelta."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor
from .optimizer import Optimizer, average_square, with_decay


class Adadelta(Optimizer):
    """Steps in the units of the parameters: as large as the last ones, by the gradients' measure.

        g <- grad + weight_decay * p                    (-grad + ... with maximize)
        v <- rho * v + (1 - rho) * g^2                  the mean square of the gradients
        s =  sqrt(u + eps) / sqrt(v + eps) * g
        u <- rho * u + (1 - rho) * s^2                  the mean square of the steps
        p <- p - lr * s

    Zeiler, "ADADELTA: An adaptive learning rate method", 2012, algorithm 1, which has no lr: it is
    1 here unless set.

    foreach and capturable choose between implementations in PyTorch; they have no effect.
    Raises ValueError for settings out of range.
    """

    _arrays = ("square_avg", "acc_delta")
    _not_negative = ("lr", "eps", "weight_decay")

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _check_settings(self, group: dict[str, Any]) -> None:
        super()._check_settings(group)
        self._check(0 <= group["rho"] <= 1, "rho value", group["rho"])

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("step", *self._arrays)

    def _update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        _, arrays = self._counted(p, state, self._arrays)
        rho, eps = float(group["rho"]), float(group["eps"])

        def change(x: Any, g: Any, v: Any, u: Any) -> None:
            t, d, s = (self._scratch(g, slot) for slot in range(3))
            g = with_decay(x, g, d, group["maximize"], float(group["weight_decay"]))
            average_square(v, g, rho, t)
            np.sqrt(np.add(v, eps, out=t), out=t)
            np.sqrt(np.add(u, eps, out=s), out=s)
            np.multiply(np.divide(s, t, out=s), g, out=s)
            average_square(u, s, rho, t)
            np.subtract(x, np.multiply(s, float(group["lr"]), out=t), out=x)

        self._change(change, p.array, grad, *arrays)

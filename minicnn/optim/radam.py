"""RAdam."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Tensor
from .optimizer import (
    Optimizer,
    average,
    average_square,
    with_decay,
)


class RAdam(Optimizer):
    """Adam that waits with its adaptive steps until it has seen enough gradients.

        g <- grad + weight_decay * p                    (-grad + ... with maximize)
        m <- beta1 * m + (1 - beta1) * g,               m_hat = m / (1 - beta1^t)
        v <- beta2 * v + (1 - beta2) * g^2
        rho_inf = 2 / (1 - beta2) - 1,                  rho = rho_inf - 2 t beta2^t / (1 - beta2^t)
        p <- p - lr * m_hat                                                 if rho <= 5, otherwise
        p <- p - lr * r * m_hat * sqrt(1 - beta2^t) / (sqrt(v) + eps),
             r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))

    rho is the length of a plain mean that would vary as much as v does. While it is short, the
    variance of 1 / sqrt(v) has no bound; r makes up for what is left of it. Liu, Jiang, He, Chen,
    Liu, Gao and Han, "On the variance of the adaptive learning rate and beyond", ICLR 2020,
    algorithm 2. decoupled_weight_decay: p <- p - lr * weight_decay * p in place of the decay in g.

    foreach and capturable choose between implementations in PyTorch; they have no effect.
    Raises ValueError for settings out of range.
    """

    _arrays = ("exp_avg", "exp_avg_sq")
    _not_negative = ("lr", "eps", "weight_decay")
    _below_one = ("betas",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("step", *self._arrays)

    def _update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        step, arrays = self._counted(p, state, self._arrays)
        beta1, beta2 = map(float, group["betas"])
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        rate, factor = lr / (1 - beta1**step), _rectified(step, beta2)

        def change(x: Any, g: Any, m: Any, v: Any) -> None:
            t, d = self._scratch(g, 0), self._scratch(g, 1)
            if group["decoupled_weight_decay"]:
                np.multiply(x, 1 - lr * decay, out=x)
                g = with_decay(x, g, d, group["maximize"], 0)
            else:
                g = with_decay(x, g, d, group["maximize"], decay)
            average(m, g, beta1, t)
            average_square(v, g, beta2, t)
            if factor is None:
                np.multiply(m, rate, out=t)
            else:
                np.add(np.sqrt(v, out=t), group["eps"], out=t)
                np.divide(np.multiply(m, rate * factor, out=d), t, out=t)
            np.subtract(x, t, out=x)

        self._change(change, p.array, grad, *arrays)


def _rectified(step: float, beta2: float) -> float | None:
    """r * sqrt(1 - beta2^t), or None while rho is too short for it."""
    longest = 2 / (1 - beta2) - 1
    correction = 1 - beta2**step
    rho = longest - 2 * step * beta2**step / correction
    if rho <= 5:
        return None
    square = (rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho)
    return math.sqrt(square) * math.sqrt(correction)

"""Adamax."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor
from .optimizer import Optimizer, average, with_decay


class Adamax(Optimizer):
    """Adam with the largest gradient in place of the root of the mean square.

        g <- grad + weight_decay * p                    (-grad + ... with maximize)
        m <- beta1 * m + (1 - beta1) * g                the mean of the gradients
        u <- max(beta2 * u, |g| + eps)                  the largest one, slowly forgotten
        p <- p - lr / (1 - beta1^t) * m / u

    u is the limit, as q goes to infinity, of the mean of |g|^q to the power 1/q; a maximum needs no
    correction for its zero at the start. Kingma and Ba, "Adam: A method for stochastic
    optimization", ICLR 2015, algorithm 2 (with PyTorch's eps, which keeps u positive).

    foreach and capturable choose between implementations in PyTorch; they have no effect.
    Raises ValueError for settings out of range.
    """

    _arrays = ("exp_avg", "exp_inf")
    _not_negative = ("lr", "eps", "weight_decay")
    _below_one = ("betas",)

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("step", *self._arrays)

    def _update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        step, arrays = self._counted(p, state, self._arrays)
        beta1, beta2 = map(float, group["betas"])
        rate = float(group["lr"]) / (1 - beta1**step)

        def change(x: Any, g: Any, m: Any, u: Any) -> None:
            t, d = self._scratch(g, 0), self._scratch(g, 1)
            g = with_decay(x, g, d, group["maximize"], float(group["weight_decay"]))
            average(m, g, beta1, t)
            np.add(np.abs(g, out=t), group["eps"], out=t)
            np.maximum(np.multiply(u, beta2, out=u), t, out=u)
            np.divide(np.multiply(m, rate, out=t), u, out=t)
            np.subtract(x, t, out=x)

        self._change(change, p.array, grad, *arrays)

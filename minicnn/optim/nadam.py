"""NAdam."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Tensor
from .optimizer import (
    Optimizer,
    average,
    average_square,
    scalar_type,
    with_decay,
)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum: the step looks ahead by the gradient just seen.

        g     <- grad + weight_decay * p                (-grad + ... with maximize)
        mu_t  =  beta1 * (1 - 0.96^(t * momentum_decay) / 2)
        m     <- beta1 * m + (1 - beta1) * g
        v     <- beta2 * v + (1 - beta2) * g^2,         v_hat = v / (1 - beta2^t)
        p     <- p - lr * ((1 - mu_t) / (1 - mu_1 ... mu_t) * g
                           + mu_(t+1) / (1 - mu_1 ... mu_(t+1)) * m) / (sqrt(v_hat) + eps)

    The momentum mu_t grows from about beta1 / 2 towards beta1. Dozat, "Incorporating Nesterov
    momentum into Adam", ICLR workshop 2016. decoupled_weight_decay: p <- p - lr * weight_decay * p
    in place of the decay in g, as in AdamW. The state holds mu_1 ... mu_t as "mu_product".

    foreach and capturable choose between implementations in PyTorch; they have no effect.
    Raises ValueError for settings out of range.
    """

    _arrays = ("exp_avg", "exp_avg_sq")
    _not_negative = ("lr", "eps", "weight_decay", "momentum_decay")
    _below_one = ("betas",)

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("step", "mu_product", *self._arrays)

    def _update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if "mu_product" not in state:
            state["mu_product"] = Tensor._wrap(np.ones((), scalar_type()))
        step, arrays = self._counted(p, state, self._arrays)
        beta1, beta2 = map(float, group["betas"])
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        root = math.sqrt(1 - beta2**step)
        of_g, of_m = self._rates(state["mu_product"].array, step, lr, beta1, group)

        def change(x: Any, g: Any, m: Any, v: Any) -> None:
            t, d = self._scratch(g, 0), self._scratch(g, 1)
            if group["decoupled_weight_decay"]:
                np.multiply(x, 1 - lr * decay, out=x)
                g = with_decay(x, g, d, group["maximize"], 0)
            else:
                g = with_decay(x, g, d, group["maximize"], decay)
            average(m, g, beta1, t)
            average_square(v, g, beta2, t)
            np.multiply(g, of_g, out=d)
            np.add(d, np.multiply(m, of_m, out=t), out=d)
            np.divide(np.sqrt(v, out=t), root, out=t)  # sqrt(v_hat)
            np.divide(d, np.add(t, group["eps"], out=t), out=t)
            np.subtract(x, t, out=x)

        self._change(change, p.array, grad, *arrays)

    def _rates(
        self, product: Any, step: float, lr: float, beta1: float, group: dict[str, Any]
    ) -> tuple[float, float]:
        """The rates of g and of m; the product takes the new mu in."""
        decay = float(group["momentum_decay"])
        mu = beta1 * (1 - 0.5 * 0.96 ** (step * decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * decay))
        product *= mu
        so_far = float(product)
        return lr * (1 - mu) / (1 - so_far), lr * mu_next / (1 - so_far * mu_next)

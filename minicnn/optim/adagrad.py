"""Adagrad."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import arrays as backend
from .optimizer import Optimizer, scalar_type, with_decay


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares so far.

        g <- grad + weight_decay * p                    (-grad + ... with maximize)
        s <- s + g^2                                    s = initial_accumulator_value at first
        p <- p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Elements that seldom have a gradient keep their large steps. Duchi, Hazan and Singer, "Adaptive
    subgradient methods for online learning and stochastic optimization", JMLR 2011, figure 1.

    foreach and fused choose between implementations in PyTorch; they have no effect.
    Raises ValueError for settings out of range.
    """

    _arrays = ("sum",)
    _not_negative = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:  # the state stands before the first step, as in PyTorch
            for p in group["params"]:
                with backend.on_device_of(p.array):
                    self._fill(p, self.state[p])

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("step", "sum")

    def _fill(self, p: Tensor, state: dict[str, Any]) -> None:
        value = float(self.defaults["initial_accumulator_value"])
        state["step"] = Tensor._wrap(np.zeros((), scalar_type()))
        state["sum"] = Tensor._wrap(np.full_like(p.array, value))

    def _update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:  # of a group that was added later
            self._fill(p, state)
        step, arrays = self._counted(p, state, self._arrays)
        rate = float(group["lr"]) / (1 + (step - 1) * float(group["lr_decay"]))

        def change(x: Any, g: Any, s: Any) -> None:
            t, d = self._scratch(g, 0), self._scratch(g, 1)
            g = with_decay(x, g, d, group["maximize"], float(group["weight_decay"]))
            np.add(s, np.multiply(g, g, out=t), out=s)
            np.add(np.sqrt(s, out=t), group["eps"], out=t)
            np.divide(np.multiply(g, rate, out=d), t, out=t)
            np.subtract(x, t, out=x)

        self._change(change, p.array, grad, *arrays)

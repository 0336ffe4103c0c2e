"""Adam."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import arrays as backend
from .fused import gradients
from .optimizer import (
    Optimizer,
    average,
    average_square,
    with_decay,
)


class Adam(Optimizer):
    """Steps whose size adapts to each element's gradients.

        g <- grad + weight_decay * p                    (-grad + ... with maximize)
        m <- beta1 * m + (1 - beta1) * g                the mean of the gradients
        v <- beta2 * v + (1 - beta2) * g^2              and of their squares
        p <- p - lr * m_hat / (sqrt(v_hat) + eps)

    m and v start as zeros and are too small at first: after t steps the weights in the mean add up
    to 1 - beta1^t, so m_hat = m / (1 - beta1^t) and v_hat = v / (1 - beta2^t). Kingma and Ba,
    "Adam: A method for stochastic optimization", ICLR 2015, algorithm 1.

    amsgrad: v_hat uses the largest v so far (Reddi, Kale and Kumar, "On the convergence of Adam and
    beyond", ICLR 2018). decoupled_weight_decay: AdamW's form.
    On a device, all parameters are changed in one launch of a kernel; with fused=False or
    foreach=False they are changed one by one. On the CPU neither has an effect, and capturable
    nowhere.
    Raises ValueError for settings out of range.
    """

    _arrays = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _not_negative = ("lr", "eps", "weight_decay")
    _below_one = ("betas",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("step", *self._arrays[: 3 if group["amsgrad"] else 2])

    def _update_together(self, params: list[Any], group: dict[str, Any]) -> list[Any]:
        parts, others = self._tables.divided(params, group)
        names = self._state_names(group)[1:]
        kernel_names = dict(zip(("momenta", "squares", "largest"), names, strict=False))
        for part in parts:
            by_count: dict[float, list[Any]] = {}
            for p in part:
                with backend.on_device_of(p.array):
                    self._begin(p, self.state[p], names)
                by_count.setdefault(float(self.state[p]["step"].array), []).append(p)
            for some in by_count.values():
                states = {k: [self.state[p][v] for p in some] for k, v in kernel_names.items()}
                tables = self._tables.of(some, **states)
                if tables is None:
                    others = [*others, *some]
                    continue
                count = int(self.state[some[0]]["step"].array)
                tables.adam(gradients(some), step=count + 1, **_settings(group))
                for p in some:
                    self._count(self.state[p])
        return others

    def _update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        step, arrays = self._counted(p, state, self._state_names(group)[1:])
        beta1, beta2 = map(float, group["betas"])
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        decoupled = group["decoupled_weight_decay"]
        rate = lr / (1 - beta1**step)
        root = math.sqrt(1 - beta2**step)

        def change(x: Any, g: Any, m: Any, v: Any, *v_max: Any) -> None:
            t = self._scratch(g, 0)
            if decay and decoupled:
                np.multiply(x, 1 - lr * decay, out=x)
            d = 0 if decoupled else decay
            g = with_decay(x, g, self._scratch(g, 1), group["maximize"], d)
            average(m, g, beta1, t)
            average_square(v, g, beta2, t)
            largest = np.maximum(v_max[0], v, out=v_max[0]) if v_max else v
            np.divide(np.sqrt(largest, out=t), root, out=t)  # sqrt(v_hat)
            np.divide(m, np.add(t, group["eps"], out=t), out=t)
            np.subtract(x, np.multiply(t, rate, out=t), out=x)

        self._change(change, p.array, grad, *arrays)


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    """The group's settings as the kernel takes them."""
    beta1, beta2 = map(float, group["betas"])
    numbers = {name: float(group[name]) for name in ("lr", "eps", "weight_decay")}
    decoupled, maximize = bool(group["decoupled_weight_decay"]), bool(group["maximize"])
    return {**numbers, "betas": (beta1, beta2), "decoupled": decoupled, "maximize": maximize}

"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import arrays as backend
from .fused import gradients
from .optimizer import Optimizer, with_decay


class SGD(Optimizer):
    """Gradient descent, with momentum.

        g <- grad + weight_decay * p                    (-grad + ... with maximize)
        v <- momentum * v + (1 - dampening) * g         v = g at the first step
        g <- g + momentum * v  if nesterov,  else  v
        p <- p - lr * g

    Without momentum there is no v. Momentum: Polyak, "Some methods of speeding up the convergence
    of iteration methods", 1964; Nesterov's form as in Sutskever, Martens, Dahl and Hinton, "On the
    importance of initialization and momentum in deep learning", ICML 2013.

    On a device, all parameters are changed in one launch of a kernel; with fused=False or
    foreach=False they are changed one by one. On the CPU neither has an effect.
    Raises ValueError for settings out of range.
    """

    _arrays = ("momentum_buffer",)
    _not_negative = ("lr", "momentum", "weight_decay")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        # Not a check of each group: one of several may do without momentum, as in PyTorch.
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, defaults)

    def _update_together(self, params: list[Any], group: dict[str, Any]) -> list[Any]:
        parts, others = self._tables.divided(params, group)
        for part in parts:
            by_age: dict[bool, list[Any]] = {}
            for p in part:
                first = self.state.get(p, {}).get("momentum_buffer") is None
                by_age.setdefault(first, []).append(p)
            for first, some in by_age.items():
                if not self._fused(some, group, first):
                    others = [*others, *some]
        return others

    def _fused(self, params: list[Any], group: dict[str, Any], first: bool) -> bool:
        """One launch for parameters that all have a momentum, or all have none yet (`first`).

        False if the kernel cannot take them.
        """
        names = ("lr", "momentum", "dampening", "weight_decay")
        settings: dict[str, Any] = {name: float(group[name]) for name in names}
        states = {}
        if settings["momentum"]:
            with backend.on_device_of(params[0].array):
                states["momenta"] = [
                    Tensor._wrap(np.empty_like(p.array))
                    if first
                    else self.state[p]["momentum_buffer"]
                    for p in params
                ]
        tables = self._tables.of(params, **states)
        if tables is None:
            return False
        switches = {name: bool(group[name]) for name in ("nesterov", "maximize")}
        tables.sgd(gradients(params), first=first, **settings, **switches)
        for p, velocity in zip(params, states.get("momenta", ()), strict=False):
            self.state[p]["momentum_buffer"] = velocity
        return True

    def _update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        lr, momentum, decay = [float(group[name]) for name in ("lr", "momentum", "weight_decay")]
        new, nesterov, maximize = (
            1 - float(group["dampening"]),
            group["nesterov"],
            group["maximize"],
        )
        first = momentum != 0 and state.get("momentum_buffer") is None
        if first:
            state["momentum_buffer"] = Tensor._wrap(np.empty_like(p.array))

        def change(x: Any, g: Any, v: Any = None) -> None:
            t = self._scratch(g, 0)
            g = with_decay(x, g, t, maximize, decay)
            if first:
                v[...] = g
            elif momentum:
                np.multiply(v, momentum, out=v)
                np.add(v, g if new == 1 else np.multiply(g, new, out=self._scratch(g, 1)), out=v)
            if momentum and nesterov:
                g = np.add(g, np.multiply(v, momentum, out=self._scratch(g, 1)), out=t)
            elif momentum:
                g = v
            np.subtract(x, np.multiply(g, lr, out=t), out=x)

        velocity = [state["momentum_buffer"].array] if momentum else []
        self._change(change, p.array, grad, *velocity)

"""Rprop."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor
from .optimizer import Optimizer, with_decay


class Rprop(Optimizer):
    """Steps that follow the sign of each element's gradient, with a size of its own.

        g <- grad                                       (-grad with maximize)
        the sign as before (g * prev > 0):      s <- min(etas[1] * s, step_sizes[1])
        another sign (g * prev < 0):            s <- max(etas[0] * s, step_sizes[0]),  g <- 0
        p <- p - sign(g) * s,   prev <- g

    A change of sign means that the last step has passed over a minimum: the size is cut and the
    element rests for one step. s begins as lr, which is not used afterwards. For gradients of the
    whole data set; those of batches change their signs by chance. Riedmiller and Braun, "A direct
    adaptive method for faster backpropagation learning: the RPROP algorithm", 1993 (this form,
    which does not take steps back, is the iRprop- of Igel and Huesken, 2000).

    foreach and capturable choose between implementations in PyTorch; they have no effect.
    Raises ValueError for settings out of range.
    """

    _arrays = ("prev", "step_size")
    _not_negative = ("lr",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _check_settings(self, group: dict[str, Any]) -> None:
        super()._check_settings(group)
        etas = tuple(group["etas"])
        good = len(etas) == 2 and 0 < etas[0] < 1 < etas[1]
        self._check(good, "eta values", ", ".join(map(str, etas)))
        self._check(len(group["step_sizes"]) == 2, "step_sizes, a pair", group["step_sizes"])

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("step", *self._arrays)

    def _update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if "step_size" not in state:
            state["step_size"] = Tensor._wrap(np.full_like(p.array, float(group["lr"])))
        _, arrays = self._counted(p, state, self._arrays)
        smaller, larger = map(float, group["etas"])
        lowest, highest = map(float, group["step_sizes"])

        def change(x: Any, g: Any, prev: Any, size: Any) -> None:
            t, d = self._scratch(g, 0), self._scratch(g, 1)
            mask = self._scratch(g, 2, np.dtype(bool))
            g = with_decay(x, g, d, group["maximize"], 0)
            np.multiply(g, prev, out=t)
            prev[...] = g
            np.multiply(size, larger, out=size, where=np.greater(t, 0, out=mask))
            turned = np.less(t, 0, out=mask)
            np.multiply(size, smaller, out=size, where=turned)
            np.copyto(prev, 0, where=turned)
            np.minimum(np.maximum(size, lowest, out=size), highest, out=size)
            np.multiply(np.sign(prev, out=t), size, out=t)
            np.copyto(t, 0, where=np.isnan(prev, out=mask))  # no sign, no step
            np.subtract(x, t, out=x)

        self._change(change, p.array, grad, *arrays)

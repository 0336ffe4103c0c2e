"""AdamW."""

from __future__ import annotations

from typing import Any

from .adam import Adam


class AdamW(Adam):
    """Adam with the weight decay taken out of the gradient:

        p <- p - lr * weight_decay * p
        p <- p - lr * m_hat / (sqrt(v_hat) + eps)       m and v of the gradient alone

    In Adam the decay goes through m and v and is divided by sqrt(v_hat), so that elements with
    large gradients decay less. Loshchilov and Hutter, "Decoupled weight decay regularization",
    ICLR 2019, algorithm 2. Settings and errors as Adam's.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def load_state_dict(self, state_dict: Any) -> None:
        """As Optimizer.load_state_dict; what an Adam has saved goes on with decoupled decay."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True

"""Muon."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import cpu
from .optimizer import Optimizer, average

_ADJUSTMENTS = (None, "original", "match_rms_adamw")


class Muon(Optimizer):
    """Momentum whose every singular value is brought near 1. For matrices alone.

        m <- momentum * m + (1 - momentum) * grad
        u =  momentum * m + (1 - momentum) * grad if nesterov,  else  m
        p <- p - lr * weight_decay * p
        p <- p - lr * ratio * orthogonalized(u)         see `orthogonalized`

    So that all directions of the matrix learn at one pace, not only the few that dominate the
    gradient. ratio, for p of shape (A, B): sqrt(max(1, A / B)), "original"; or
    0.2 * sqrt(max(A, B)), "match_rms_adamw", with which steps are as large as AdamW's. Jordan,
    "Muon: An optimizer for hidden layers in neural networks", 2024; the second ratio: Liu et al.,
    "Muon is scalable for LLM training", 2025.

    Biases, and weights of convolutions, are for another optimizer.
    Raises ValueError for settings out of range and for parameters that are not matrices.
    """

    _arrays = ("momentum_buffer",)
    _not_negative = ("lr", "momentum", "weight_decay")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def _check_settings(self, group: dict[str, Any]) -> None:
        super()._check_settings(group)
        adjust = group["adjust_lr_fn"]
        if adjust not in _ADJUSTMENTS:
            raise ValueError(
                f"Muon: adjust_lr_fn expects None, 'original' or 'match_rms_adamw', got {adjust!r}"
            )
        coefficients = group["ns_coefficients"]
        self._check(len(coefficients) == 3, "ns_coefficients, three numbers", coefficients)
        self._check(group["ns_steps"] < 100, "ns_steps, fewer than 100", group["ns_steps"])
        for p in group["params"]:
            if p.ndim != 2:
                raise ValueError(f"Muon: expects parameters with 2 axes, one has shape {p.shape}")

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return self._arrays

    def _update(self, p: Tensor, grad: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = Tensor._wrap(np.zeros_like(p.array))
        m, t, u = state["momentum_buffer"].array, self._scratch(grad, 0), self._scratch(grad, 1)
        lr, momentum = float(group["lr"]), float(group["momentum"])
        average(m, grad, momentum, t)
        if group["nesterov"]:
            np.multiply(np.subtract(grad, m, out=u), 1 - momentum, out=u)
            np.add(m, u, out=u)
        else:
            u = m
        coefficients = tuple(map(float, group["ns_coefficients"]))
        step = orthogonalized(u, coefficients, group["ns_steps"], float(group["eps"]))
        np.multiply(p.array, 1 - lr * float(group["weight_decay"]), out=p.array)
        rate = lr * _ratio(group["adjust_lr_fn"], *p.shape)
        np.subtract(p.array, np.multiply(step, rate, out=t, dtype=t.dtype), out=p.array)


def _ratio(adjust: str | None, rows: int, columns: int) -> float:
    if adjust == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))


def orthogonalized(
    u: Any, coefficients: tuple[float, ...] = (3.4445, -4.7750, 2.0315), steps=5, eps=1e-7
) -> Any:
    """About U V^T, for the matrix u = U S V^T: its singular values brought near 1.

        x <- u / max(||u||, eps),   then, `steps` times,   x <- a x + (b A + c A^2) x,   A = x x^T

    With x = U S V^T, A = U S^2 U^T: an iteration maps each singular value s to a s + b s^3 + c s^5
    and leaves U and V. The usual coefficients bring all but the smallest into about 0.7 to 1.2
    quickly, rather than to 1 slowly. A matrix with more rows than columns is transposed first, so
    that A is the smaller of the two products.

    Results are rounded to bfloat16 (8 bits of mantissa), as PyTorch's are: that much is enough for
    a direction. Returns float32 of the shape of u.
    """
    a, b, c = map(np.float32, coefficients)
    x = _bfloat16(u.T if u.shape[0] > u.shape[1] else u)
    norm = _bfloat16(np.sqrt(np.sum(x * x)).reshape(1, 1))
    x = _bfloat16(x / np.maximum(norm, _bfloat16(np.full_like(norm, eps))))
    for _ in range(steps):
        gram = _bfloat16(_product(x, x.T))
        polynomial = _bfloat16(b * gram + c * _product(gram, gram))
        x = _bfloat16(a * x + _product(polynomial, x))
    return x.T if u.shape[0] > u.shape[1] else x


def _product(a: Any, b: Any) -> Any:
    """a @ b; in the CPU's memory with the same bits for any number of threads."""
    return cpu.matmul(a, b) if type(a) is np.ndarray else a @ b


def _bfloat16(a: Any) -> Any:
    """float32 of the 16 bits that bfloat16 has: the rest rounded away, ties to even."""
    bits = a.astype(np.float32, order="C", copy=False).view(np.uint32)
    rounded: Any = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.view(np.float32)

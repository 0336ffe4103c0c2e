"""Steps for all parameters on a device in one launch, by the kernels of backend/cuda/optim.py.

A network has dozens of parameters, most of them small: on a GPU, a launch for each op on each of
them would cost more time than the arithmetic. The kernels find the arrays through tables of their
addresses; these are kept from step to step while the arrays stay where they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import arrays as backend
from ..backend.cuda.optim import MultiTensor, fits


class Tables:
    """The tables of addresses of one optimizer's parameters and state."""

    def __init__(self) -> None:
        # By parameter: its array, and the device and type by which it goes with others; None if no
        # kernel takes it.
        self._kinds: dict[int, tuple[Any, Any]] = {}
        # By parameters: all arrays, and the tables, of this step and of the one before.
        self._now: dict[Any, tuple[list[Any], MultiTensor | None]] = {}
        self._before = self._now

    def begin(self) -> None:
        """A new step: what neither it nor the one before used is forgotten."""
        self._now, self._before = {}, self._now

    def divided(
        self, params: list[Tensor], group: dict[str, Any]
    ) -> tuple[list[list[Tensor]], list[Tensor]]:
        """Parameters that one launch can take, by device and type; and all others.

        The settings fused=False and foreach=False of the group keep all of them apart.
        """
        fused = group.get("fused")
        apart = not fused and (fused is False or group.get("foreach") is False)
        if apart or all(type(p.array) is np.ndarray for p in params):
            return [], params
        parts: dict[Any, list[Tensor]] = {}
        others = []
        times = Counter(map(id, params))
        for p in params:
            kind = self._kind(p) if times[id(p)] == 1 else None
            if kind is None:
                others.append(p)
            else:
                parts.setdefault(kind, []).append(p)
        return list(parts.values()), others

    def _kind(self, p: Tensor) -> Any:
        kept = self._kinds.get(id(p))
        if kept is None or kept[0] is not p.array:
            kind = (*backend.place(p.array), p.dtype) if fits([p.array]) else None
            kept = self._kinds[id(p)] = p.array, kind
        return kept[1]

    def of(self, params: Sequence[Tensor], **states: Sequence[Tensor]) -> MultiTensor | None:
        """The tables of these parameters and of what is remembered of each; None if no kernel can
        take them: arrays of other types than the parameters', or over the same memory."""
        key = tuple([id(p) for p in params])
        arrays = [t.array for column in (params, *states.values()) for t in column]
        before, tables = self._now.get(key) or self._before.get(key) or ([], None)
        same = len(before) == len(arrays)
        if not same or any(a is not b for a, b in zip(before, arrays, strict=True)):
            tables = _made(arrays, len(params), list(states))
        self._now[key] = arrays, tables
        return tables


def _made(arrays: list[Any], n: int, names: list[str]) -> MultiTensor | None:
    """Tables of n parameters, and of n arrays for each of the names behind them."""
    if not fits(arrays):
        return None
    columns = [arrays[i : i + n] for i in range(n, len(arrays), n)]
    return MultiTensor(arrays[:n], **dict(zip(names, columns, strict=True)))


def gradients(params: Sequence[Tensor]) -> list[Any]:
    """The gradients as the kernels take them: of their parameters' types, without gaps."""
    grads = [p.grad.array for p in params]  # type: ignore[union-attr]
    with backend.on_device_of(*grads):
        return [
            g.astype(p.dtype, order="C", copy=False) for p, g in zip(params, grads, strict=True)
        ]

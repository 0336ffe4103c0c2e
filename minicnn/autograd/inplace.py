"""Changes in place, and what they do to the graph.

`t.mul_(b)` computes t * b, writes the result into t's memory, and makes t the output of that
product: its old value, and its old edge, remain the product's input. Three things follow:

1. Whoever saved t's old value for a backward would now read the new one. Every tensor over the
   same memory shares a version number, which goes up, and Function.saved compares.
2. If t is a view of `base`, base changed too. Its history becomes WriteView(base before, t).
3. Other views of that base get their history anew from the base when next used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import arrays as backend
from ..backend.arrays import devices
from .function import Function
from .mode import mode
from .tensor import Tensor, recorded


def inplace(name: str, t: Tensor, fn: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """t becomes fn(t, *args), in its own memory; `name` is the op's name in messages.

    Raises RuntimeError: t is a leaf that requires a gradient (outside no_grad), the result has
    another shape, or its type cannot be held by t.
    """
    _check_allowed(name, t, *args)
    new = fn(t, *args, **kwargs)
    _check_fits(name, t, new)
    if new._edge is not None:
        _keep_old_value(new._edge[0], t)
    if devices.several:
        with backend.on_device_of(t.array):
            t.array[...] = new.array
    else:
        t.array[...] = new.array
    return _become(name, t, new)


def can_overwrite(t: Tensor) -> bool:
    """Whether `overwrite` serves: t is no view, and nobody looks at the values of single calls."""
    return (
        t._view is None
        and t.array.__class__ is np.ndarray
        and t.array.flags.writeable
        and mode.trace is None
        and not mode.anomaly
    )


def overwrite(name: str, t: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """As `inplace`, for an fn that writes its result over t's array itself, and needs no old value.

    If it saved the result, that is t's memory from now on, and a later change of t would spoil it.
    """
    _check_allowed(name, t)
    new = fn(t)
    _become(name, t, new)
    if new._edge is not None:
        node, known = new._edge[0], t._version
        node._guards = [
            (slot, index, known, known[0]) if version is new._version else (slot, index, version, n)
            for slot, index, version, n in node._guards
        ]
    return t


def _check_allowed(name: str, t: Tensor, *args: Any) -> None:
    base, replay, _ = t._view or (t, (), 0)
    if mode.grad and base.is_leaf and base.requires_grad and replay is not None:
        raise RuntimeError(
            f"{name}: a leaf that requires a gradient cannot be changed in place while gradients "
            "are recorded; do it under `with no_grad():`"
        )
    if mode.grad and replay is None and (t.requires_grad or recorded(*args)):
        raise RuntimeError(
            f"{name}: this view was made under no_grad or is one of several outputs of its op; "
            "changing it in place cannot be recorded. Use the form that is not in place"
        )


def _become(name: str, t: Tensor, new: Tensor) -> Tensor:
    """t, whose memory holds what `new` holds, gets its history."""
    t._version[0] += 1
    t._version[1] = name
    if mode.trace is not None:
        mode.trace.written(t, new)
    if mode.grad and new._requires_grad:
        if t._view is not None:
            base, replay, _ = t._view
            base._edge = WriteView.apply(base, new, replay=replay)._edge
            base._requires_grad = True
            t._view = (base, replay, base._version[0])
        t._edge, t._requires_grad = new._edge, True
    return t


def _check_fits(name: str, t: Tensor, new: Tensor) -> None:
    if new.array.shape != t.array.shape:
        raise RuntimeError(f"{name}: the result has shape {new.shape}, which {t.shape} cannot hold")
    integers = new.dtype.kind in "iu" and t.dtype.kind in "iu"  # wrap around, as in PyTorch
    if not integers and not np.can_cast(new.dtype, t.dtype, "same_kind"):
        raise RuntimeError(f"{name}: the result has type {new.dtype}, which {t.dtype} cannot hold")
    if not backend.is_writeable(t.array):
        raise RuntimeError(
            f"{name}: this tensor of shape {t.shape} is expanded or read-only; clone() it first"
        )


def _keep_old_value(node: Any, t: Tensor) -> None:
    """If the op itself saved t, it gets a copy before t is overwritten."""
    if not node._saved or not node._guards:
        return
    saved, guards = list(node._saved), []
    for guard in node._guards:
        slot, index, version, n = guard
        if version is t._version and saved[slot] is t.array:
            saved[slot] = backend.copy(t.array)
            guard = (slot, index, [n, None], n)
        guards.append(guard)
    node._saved, node._guards = tuple(saved), guards


def replay_view(base: Any, replay: Any) -> Any:
    """Applies the view ops of `replay`, (those before it, Function, options), to `base`."""
    steps = []
    while replay:
        replay, function, options = replay
        steps.append((function, options))
    for function, options in reversed(steps):
        base = function.apply(base, **options)
    return base


class WriteView(Function):
    """The base after one of its views was written: y = base, except view(y) = value.

    grad_base is grad_y, zero where the view is; grad_value = view(grad_y).
    """

    def forward(self, base: Any, value: Any, *, replay: Any) -> Any:
        self.replay = replay
        return base  # the view shares its memory, which holds `value` already

    def backward(self, grad_y: Any) -> Any:
        kept = np.ones_like(getattr(grad_y, "array", grad_y), bool)
        replay_view(kept, self.replay)[...] = False
        return grad_y * kept, replay_view(grad_y, self.replay)

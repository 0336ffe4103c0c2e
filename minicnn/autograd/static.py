"""Functions in PyTorch's form: static forward(ctx, ...) and backward(ctx, ...) on Tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from .mode import no_grad
from .tensor import Tensor


def adapt(cls: Any) -> None:
    """Turns the static methods of a Function subclass into the array form that `apply` calls."""
    user_forward, user_backward = cls.__dict__["forward"].__func__, cls.backward

    def forward(self: Any, *inputs: Any, **options: Any) -> Any:
        tensors = [Tensor._wrap(x) if isinstance(x, np.ndarray) else x for x in inputs]
        with no_grad():
            return _arrays(user_forward(self, *tensors, **options))

    def backward(self: Any, *grads: Any) -> Any:
        if self.create_graph:
            return user_backward(self, *grads)
        return _arrays(user_backward(self, *[Tensor._wrap(g) for g in grads]))

    def save_for_backward(self: Any, *tensors: Any) -> None:
        self.save(*_arrays(tensors))

    def mark_non_differentiable(self: Any, *outputs: Any) -> None:
        self.non_differentiable = _arrays(outputs)

    def saved_tensors(self: Any) -> tuple[Any, ...]:
        return tuple(Tensor._wrap(v) if isinstance(v, np.ndarray) else v for v in self.saved)

    cls.forward, cls.backward = forward, backward
    cls.save_for_backward, cls.mark_non_differentiable = save_for_backward, mark_non_differentiable
    cls.saved_tensors = property(saved_tensors)


def _arrays(values: Any) -> Any:
    if isinstance(values, tuple):
        return tuple(_arrays(v) for v in values)
    return values.array if isinstance(values, Tensor) else values

"""Functions in PyTorch's forms: static methods on Tensors, instead of methods on arrays.

forward(ctx, x, ...)                             ctx.save_for_backward(x); the older form
forward(x, ...) and setup_context(ctx, inputs, output)          the form since PyTorch 2
backward(ctx, grad_y)                            ctx.saved_tensors; the same for both
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend import arrays as backend
from .mode import unrecorded
from .tensor import Tensor


def adapt(cls: Any) -> None:
    """Turns the static methods of a Function subclass into the array form that `apply` calls."""
    own = cls.__dict__
    if isinstance(own.get("forward"), staticmethod):
        cls.forward = _forward(own["forward"].__func__, getattr(cls, "setup_context", None))
    if "backward" in own:
        cls.backward = _backward(cls.backward)
    cls.save_for_backward, cls.mark_non_differentiable = _save_for_backward, _mark
    cls.saved_tensors = property(_saved_tensors)


def _forward(user_forward: Callable[..., Any], setup_context: Any) -> Callable[..., Any]:
    def forward(self: Any, *inputs: Any, **options: Any) -> Any:
        tensors = tuple([Tensor._wrap(x) if backend.is_array(x) else x for x in inputs])
        with unrecorded():
            if setup_context is None:
                return _arrays(user_forward(self, *tensors, **options))
            y = user_forward(*tensors, **options)
            setup_context(self, tensors, y)
            return _arrays(y)

    return forward


def _backward(user_backward: Callable[..., Any]) -> Callable[..., Any]:
    def backward(self: Any, *grads: Any) -> Any:
        tensors = [
            _zeros(grads, *output) if g is None  # an output without a gradient
            else g if isinstance(g, Tensor) else Tensor._wrap(g)
            for g, output in zip(grads, self.outputs, strict=True)
        ]  # fmt: skip
        result = user_backward(self, *tensors)
        return result if self.create_graph else _arrays(result)

    return backward


def _zeros(grads: Any, shape: Any, dtype: Any) -> Tensor:
    """Zeros on the device of the gradients that are there."""
    like = next(g for g in grads if g is not None)
    return Tensor._wrap(backend.array_module(getattr(like, "array", like)).zeros(shape, dtype))


def _save_for_backward(self: Any, *tensors: Any) -> None:
    self.save(*_arrays(tensors))


def _mark(self: Any, *outputs: Any) -> None:
    self.non_differentiable = _arrays(outputs)


def _saved_tensors(self: Any) -> tuple[Any, ...]:
    return tuple([Tensor._wrap(v) if backend.is_array(v) else v for v in self.saved])


def _arrays(values: Any) -> Any:
    if isinstance(values, tuple):
        return tuple(_arrays(v) for v in values)
    return values.array if isinstance(values, Tensor) else values

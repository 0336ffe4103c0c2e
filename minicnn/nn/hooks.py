"""What happens around `forward` when a module has hooks.

Full backward hooks see the gradients of a module as a whole, whatever ops it is made of. Two gates,
identity functions, stand in the graph before and behind the module:

    args -> [gate in] -> forward -> [gate out] -> result

Backward runs through the gate behind first, which notes grad_output, then through the module, then
through the gate in front, where grad_input is known and the hooks are called with both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd import Function, Tensor, is_grad_enabled
from ..autograd.function import RemovableHandle


def add_hook(hooks: dict[int, Any], hook: Any, prepend: bool = False) -> RemovableHandle:
    """Registers `hook` behind the others, or before them with `prepend`."""
    others = dict(hooks)
    handle = RemovableHandle(hooks, hook)
    if prepend:
        hooks.clear()
        hooks.update({handle.id: hook, **others})
    return handle


def call_hooked(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """forward with all hooks around it."""
    args, kwargs = _call_pre_hooks(module, args, kwargs)
    watch = None
    if is_grad_enabled() and (module._backward_hooks or module._backward_pre_hooks):
        watch = _BackwardWatch(module)
        args = watch.before(args)
    result = module.forward(*args, **kwargs)
    for hook, with_kwargs in list(module._forward_hooks.values()):
        changed = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
        if changed is not None:
            result = changed
    return result if watch is None else watch.behind(result)


def _call_pre_hooks(module: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    for hook, with_kwargs in list(module._forward_pre_hooks.values()):
        changed = hook(module, args, kwargs) if with_kwargs else hook(module, args)
        if changed is None:
            continue
        if not with_kwargs:
            args = changed if isinstance(changed, tuple) else (changed,)
        elif isinstance(changed, tuple) and len(changed) == 2:
            args, kwargs = changed
        else:
            raise RuntimeError(
                "forward pre-hook: with_kwargs=True expects None or a pair (args, kwargs), "
                f"got {type(changed).__name__}"
            )
    return args, kwargs


class _Gate(Function):
    """y_k = x_k for any number of inputs. Backward hands the gradients to `at_backward`."""

    def forward(self, *xs: Any, at_backward: Callable[..., Any]) -> Any:
        self.at_backward = at_backward
        return tuple(x.view() for x in xs)  # arrays of their own: Function tells them by identity

    def backward(self, *grads: Any) -> Any:
        changed = self.at_backward([g if isinstance(g, Tensor) else Tensor._wrap(g) for g in grads])
        if self.create_graph:
            return tuple(changed)
        return tuple(None if g is None else g.array for g in changed)


class _BackwardWatch:
    """The two gates of one call of a module, and what passes from one to the other."""

    def __init__(self, module: Any):
        self.module = module
        self.inputs: tuple[bool, ...] = ()  # which of them go through the gate
        self.outputs: tuple[bool, ...] = ()
        self.grad_output: tuple[Any, ...] | None = None

    def before(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.inputs = _differentiable(args)
        return _through_gate(args, self.inputs, self.at_inputs)

    def behind(self, result: Any) -> Any:
        several = isinstance(result, (tuple, list))
        outputs = tuple(result) if several else (result,)
        self.outputs = _differentiable(outputs)
        outputs = _through_gate(outputs, self.outputs, self.at_outputs)
        if not several:
            return outputs[0]
        make = getattr(result, "_make", type(result))  # a named tuple takes its parts one by one
        return make(outputs)

    def at_outputs(self, grads: list[Any]) -> list[Any]:
        grad_output = _spread(grads, self.outputs)
        for hook in list(self.module._backward_pre_hooks.values()):
            changed = hook(self.module, grad_output)
            grad_output = _replaced("backward pre-hook", grad_output, changed)
        self.grad_output = grad_output
        if not any(self.inputs):
            self.at_inputs([])
        return _gathered(grad_output, self.outputs)

    def at_inputs(self, grads: list[Any]) -> list[Any]:
        if self.grad_output is None:
            # The gradient of a gradient, which reaches x without passing the module's output.
            return grads
        grad_input = _spread(grads, self.inputs)
        for hook in list(self.module._backward_hooks.values()):
            changed = hook(self.module, grad_input, self.grad_output)
            if changed is not None and not any(self.inputs):
                raise RuntimeError(
                    "backward hook: no input of the module requires a gradient, "
                    "so none can be replaced; return None"
                )
            grad_input = _replaced("backward hook", grad_input, changed)
        self.grad_output = None
        return _gathered(grad_input, self.inputs)


def _differentiable(values: tuple[Any, ...]) -> tuple[bool, ...]:
    return tuple(isinstance(x, Tensor) and x.requires_grad for x in values)


def _through_gate(
    values: tuple[Any, ...], chosen: tuple[bool, ...], at_backward: Callable[..., Any]
) -> tuple[Any, ...]:
    """The values, with the chosen ones led through one gate."""
    tensors = _gathered(values, chosen)
    if not tensors:
        return values
    gated = _Gate.apply(*tensors, at_backward=at_backward)
    for x, y in zip(tensors, gated, strict=True):
        # The same memory: an op in place on y must be noticed by those who saved x, and cannot be
        # recorded, because y is one of several outputs of the gate.
        y._version = x._version
        y._view = (x if x._view is None else x._view[0], None, x._version[0])
    left = iter(gated)
    return tuple(next(left) if gate else x for x, gate in zip(values, chosen, strict=True))


def _spread(grads: list[Any], chosen: tuple[bool, ...]) -> tuple[Any, ...]:
    """The gradients at the places that were chosen, None at the others."""
    left = iter(grads)
    return tuple(next(left) if gate else None for gate in chosen)


def _gathered(values: tuple[Any, ...], chosen: tuple[bool, ...]) -> list[Any]:
    return [x for x, gate in zip(values, chosen, strict=True) if gate]


def _replaced(name: str, grads: tuple[Any, ...], changed: Any) -> tuple[Any, ...]:
    if changed is None:
        return grads
    changed = changed if isinstance(changed, tuple) else (changed,)
    if len(changed) != len(grads):
        raise RuntimeError(f"{name}: returned {len(changed)} gradients, expected {len(grads)}")
    return changed

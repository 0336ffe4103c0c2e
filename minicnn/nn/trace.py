"""What a network does with its input, call by call, with the module in which each call stands."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from ..autograd import no_grad
from ..autograd.mode import mode
from ..autograd.trace import Call, Trace, Value, recording, tensors_in

__all__ = ["Call", "ModuleCall", "ModuleTrace", "Value", "trace"]


class ModuleCall:
    """One call of a module: its path ("" for the network), the Values it was given and gave."""

    __slots__ = ("inputs", "module", "outputs", "path")

    def __init__(self, path: str, module: Any, inputs: tuple[Value, ...]):
        self.path = path
        self.module = module
        self.inputs = inputs
        self.outputs: tuple[Value, ...] = ()


class ModuleTrace(Trace):
    """A Trace of a network: `calls` of Functions, and `module_calls` in the order of their start.

    `result` is what the network returned.
    """

    def __init__(self, strict: bool = True) -> None:
        super().__init__(strict)
        self.module_calls: list[ModuleCall] = []
        self.result: Any = None
        self._running: list[ModuleCall] = []

    def enter(self, path: str, module: Any, args: Any) -> None:
        """A module begins."""
        call = ModuleCall(path, module, tuple(self.value(t) for t in tensors_in(args)))
        self.module_calls.append(call)
        self._running.append(call)
        self.module = path

    def leave(self, module: Any, result: Any) -> None:
        """The module ends, and with it those in it that an exception ended, if it was caught."""
        while (call := self._running.pop()).module is not module:
            pass
        call.outputs = tuple(self.value(t) for t in tensors_in(result))
        self.module = self._running[-1].path if self._running else ""

    def outputs_of(self, path: str) -> tuple[Value, ...]:
        """What the module of this path returned, at its last call; KeyError if there was none."""
        for call in reversed(self.module_calls):
            if call.path == path:
                return call.outputs
        raise KeyError(f"trace: the module {path!r} was not called")


def trace(model: Any, *inputs: Any, graph: bool = False, strict: bool = True) -> ModuleTrace:
    """Runs `model(*inputs)` without a graph and notes every Function that runs on the way.

    With `graph`, gradients are recorded if they are on: what a call's `node` saved can be seen.

    The model runs as it is: in evaluation mode after `model.eval()`; in training, batch
    normalisation moves its running statistics and dropout draws random numbers, as ever. Its hooks
    run as well. What other threads do with it meanwhile is not noted. Raises what the model raises,
    and, if `strict`, RuntimeError for a use of memory that was changed in place through another
    view.
    """
    handles, empty = [], ModuleTrace(strict)
    with nullcontext() if graph else no_grad(), recording(*inputs, trace=empty) as record:
        try:
            for path, module in model.named_modules():
                handles.append(module.register_forward_pre_hook(_enter(record, path), prepend=True))
                handles.append(module.register_forward_hook(_leave(record)))
            record.result = model(*inputs)
        finally:
            for handle in handles:
                handle.remove()
        record.finish(record.result)
    return record


def _enter(record: ModuleTrace, path: str) -> Any:
    def enter(module: Any, args: Any) -> None:
        if mode.trace is record:  # another thread has a mode of its own
            record.enter(path, module, args)

    return enter


def _leave(record: ModuleTrace) -> Any:
    def leave(module: Any, args: Any, result: Any) -> None:
        if mode.trace is record:
            record.leave(module, result)

    return leave

"""Function: one differentiable op, and, where a graph is recorded, one node of it.

A worked example, the cube of every element:

    class Cube(Function):
        def forward(self, x):            # plain arrays come in
            self.save(x)                 # what backward needs
            return x * x * x

        def backward(self, grad_y):      # one gradient for each input of forward
            (x,) = self.saved
            return grad_y * 3 * x * x

    y = Cube.apply(x)

`backward` is written with operators and other Functions. On plain arrays, as in every ordinary
backward pass, they build no graph; under create_graph=True they get Tensors, and so the second
derivative of Cube needs no further line of code.
"""

from __future__ import annotations

import itertools
import re
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import arrays as backend
from ..backend.arrays import devices
from . import dtypes
from .anomaly import check_forward
from .device import check_one_device, on_one_device
from .hooks import RemovableHandle
from .mode import mode
from .tensor import Tensor

_numbers = itertools.count(1)


class Function:
    """Base class of all differentiable ops. See the worked example at the top of this file.

    forward(self, *arrays, **options) gets raw arrays (or numbers, or None) and returns an array or
    a tuple of arrays. backward(self, *grads) gets a gradient for each output and returns one for
    each positional input, None where `self.needs_input_grad[i]` is False. Options, which come by
    keyword, are never differentiated. backward must not change its arguments, nor keep what it
    returns: the engine may add to it.

    PyTorch's own form, `@staticmethod forward(ctx, ...)` on tensors, works as well.
    """

    view = False  # True: the output shares memory with input 0
    differentiable_backward = True  # False: create_graph=True is refused by name
    non_differentiable: tuple[Any, ...] = ()  # floating outputs that get no gradient all the same
    is_leaf = False

    function = ""  # the name in messages about arguments, where the class's own says less
    needs_input_grad: tuple[bool, ...] = ()
    create_graph = False  # while backward runs on Tensors
    number = 0  # nodes are numbered as they are made: an input's node has the lower number
    edges: Any = ()  # for each input: (node, output index), or None
    outputs: tuple[Any, ...] = ()  # for each output: (shape, dtype)
    places: tuple[Any, ...] = ()  # for each output: its device's type and index; (): all on the CPU
    where = ""  # the user's line that called, in anomaly mode
    hooks: dict[int, dict[int, Callable[..., Any]]] | None = None
    retained: dict[int, weakref.ref[Tensor]] | None = None
    _saved: tuple[Any, ...] | None = ()
    _guards: Any = ()  # for each saved input or output: (slot, index, version list, version)

    def forward(self, *arrays: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.forward is not written")

    def backward(self, *grads: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.backward is not written")

    @property
    def name(self) -> str:
        """The op's name in messages and in `repr(tensor)`: MulBackward for the Function Mul."""
        return f"{type(self).__name__}Backward"

    @property
    def op_name(self) -> str:
        """The op's name as a function: conv_grad_weight for the Function ConvGradWeight."""
        if self.function:
            return self.function
        words = re.findall("[A-Z][^A-Z]*", type(self).__name__)
        return "_".join(words).lower() or type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Function | None, int], ...]:
        """For each input the node that made it and which of its outputs it is; None: no gradient.

        AccumulateGrad stands for a leaf. Following it from `y.grad_fn` walks through the graph.
        """
        return tuple([edge or (None, 0) for edge in self.edges])

    def save(self, *values: Any) -> None:
        """Keeps arrays for backward, which reads them as `self.saved`."""
        self._saved = values

    @property
    def saved(self) -> tuple[Any, ...]:
        """What forward saved: arrays; under create_graph Tensors, inputs and outputs with edges.

        RuntimeError if it was freed by an earlier backward or changed in place since forward.
        """
        values = self._saved
        if values is None:
            raise RuntimeError(
                f"{self.name}: what forward saved was freed by an earlier backward; to go through "
                "the graph again, call the earlier one with retain_graph=True"
            )
        for slot, _, version, expected in self._guards:
            if version[0] != expected:
                raise RuntimeError(
                    f"{self.name}: a tensor of shape {np.shape(values[slot])} that its gradient "
                    f"needs was changed in place by {version[1]} (it is at version {version[0]}, "
                    f"expected {expected}); use the form that is not in place, or clone() first"
                )
        return self._saved_as_tensors(values) if self.create_graph else values

    def _saved_as_tensors(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        tensors = [Tensor._wrap(v) if backend.is_array(v) else v for v in values]
        for slot, index, version, _ in self._guards:
            edge = self.edges[index] if index >= 0 else (self, -1 - index)
            if not dtypes.is_floating(values[slot].dtype):
                continue
            tensors[slot] = Tensor._wrap(_as_array(values[slot]), edge)
            tensors[slot]._version = version
        return tuple(tensors)

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Any:
        """Runs forward; records a node if an input requires a gradient and gradients are on.

        With no Tensor among `inputs` it returns plain arrays and records nothing.
        """
        node = cls()
        recording = mode.grad
        any_tensor = False
        arrays, edges = [], []
        for x in inputs:
            edge = None
            if isinstance(x, Tensor):
                any_tensor = True
                if recording and (x._requires_grad or x._view is not None):
                    edge = (
                        x._edge if x._edge is not None and x._view is None else x._gradient_edge()
                    )
                x = x.array
            arrays.append(x)
            edges.append(edge)
        node.needs_input_grad = needs = tuple([edge is not None for edge in edges])
        try:
            if devices.several:
                with backend.on_device_of(*arrays):
                    result = node.forward(*arrays, **options)
            else:
                result = node.forward(*arrays, **options)
        except (TypeError, ValueError):
            moved = on_one_device(node.op_name, inputs)  # raises if that is what is wrong
            if moved is None:
                raise
            return cls.apply(*moved, **options)
        if not any_tensor:
            return result
        outs: tuple[Tensor, ...]
        if result.__class__ is np.ndarray:
            results, outs = (result,), (Tensor._wrap(result),)
        else:
            results = result if result.__class__ is tuple else (result,)
            outs = tuple([Tensor._wrap(_as_array(y)) for y in results])
            node.places = _places(outs)
        if mode.anomaly:
            check_forward(node, arrays, outs)
        if mode.trace is not None:
            mode.trace.add(node, inputs, options, outs)
        if True in needs:
            node.edges = edges
            node._record(inputs, arrays, results, outs)
        if node.view:
            node._mark_views(inputs[0], outs, options)
        return outs if result.__class__ is tuple else outs[0]

    def _record(self, inputs: Any, arrays: Any, results: Any, outs: tuple[Tensor, ...]) -> None:
        """Makes this Function a node of the graph, with guards on what forward saved."""
        self.number = next(_numbers)
        self.outputs = tuple([(y.array.shape, y.array.dtype) for y in outs])
        for k, y in enumerate(outs):
            for x in arrays:
                if y.array is x:  # handed on: saved arrays are told apart by identity
                    y.array = x.view()
            if y.array.dtype.kind in "fc" and not (
                self.non_differentiable and any(results[k] is n for n in self.non_differentiable)
            ):
                y._edge = (self, k)
                y._requires_grad = True
        if not self._saved:
            return
        guards = []
        for slot, value in enumerate(self._saved):
            for i, x in enumerate(arrays):
                if x is value and isinstance(inputs[i], Tensor):
                    version = inputs[i]._version
                    guards.append((slot, i, version, version[0]))
                    break
            else:
                for k, y in enumerate(results):
                    if y is value:
                        guards.append((slot, -1 - k, outs[k]._version, 0))
        self._guards = guards

    def _mark_views(self, x: Any, outs: tuple[Tensor, ...], options: dict[str, Any]) -> None:
        if not isinstance(x, Tensor):
            return
        base, replay, _ = x._view or (x, (), 0)
        if replay is not None:  # linked to what led here, not copied: views may be thousands deep
            replay = (replay, type(self), options) if mode.grad and len(outs) == 1 else None
        for y in outs:
            y._version = x._version
            y._view = (base, replay, x._version[0])

    def release(self) -> None:
        """Frees what forward saved."""
        if self._saved:
            self._saved = None
            self._guards = ()

    # ------------------------------------------------------------------ hooks

    def add_hook(self, index: int, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(grad)` when the gradient of output `index` is known."""
        if self.hooks is None:
            self.hooks = {}
        return RemovableHandle(self.hooks.setdefault(index, {}), hook)

    def add_retained(self, index: int, tensor: Tensor) -> None:
        """Fills `tensor.grad` with the gradient of output `index`. Weak: no cycle."""
        if self.retained is None:
            self.retained = {}
        self.retained[index] = weakref.ref(tensor)

    def retains(self, tensor: Tensor) -> bool:
        """True if `tensor.retain_grad()` was called."""
        return any(ref() is tensor for ref in (self.retained or {}).values())

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__
        if any(isinstance(own.get(name), staticmethod) for name in ("forward", "backward")):
            from .static import adapt

            adapt(cls)


class AccumulateGrad(Function):
    """The node of a leaf: adds what arrives to the leaf's `.grad`. It knows the leaf weakly."""

    is_leaf = True

    def __init__(self, leaf: Tensor):
        self.leaf = weakref.ref(leaf)
        self.number = next(_numbers)
        self.describe(leaf)

    def describe(self, leaf: Tensor) -> None:
        """Notes what a gradient of the leaf is like: once more after its data were replaced."""
        self.outputs = ((leaf.array.shape, leaf.array.dtype),)
        self.places = _places((leaf,))

    def accumulate(self, grad: Any, owned: bool) -> None:
        """Adds `grad`, a raw array or (under create_graph) a Tensor; copies it unless `owned`."""
        leaf = self.leaf()
        if leaf is None or not leaf._requires_grad:
            return
        if isinstance(grad, Tensor):
            leaf.grad = grad.clone() if leaf.grad is None else leaf.grad + grad
        elif leaf.grad is None:
            leaf.grad = Tensor._wrap(grad if owned else backend.copy(grad))
        else:
            _add_to(leaf.grad, grad)
            leaf.grad._version[0] += 1
            leaf.grad._version[1] = "backward"


def _add_to(total: Tensor, grad: Any) -> None:
    try:
        total.array += grad
    except (TypeError, ValueError):
        check_one_device("backward (a leaf's .grad, and the gradient to add to it)", total, grad)
        raise


def _places(outs: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """For each output its device's type and index; () if all are on the CPU."""
    for y in outs:
        if y.array.__class__ is not np.ndarray:
            return tuple([backend.place(y.array) for y in outs])
    return ()


def _as_array(y: Any) -> Any:
    return np.asarray(y) if isinstance(y, (np.generic, int, float)) else y  # NumPy's 0-d results

"""The backward pass.

Nodes are numbered as forward makes them, so a node's number is larger than those of all nodes it
got its inputs from. Taking nodes from a heap, largest number first, therefore meets each one after
everything that used its outputs: its gradient is complete, and one pass over the graph is enough.
No recursion: depth is limited by memory alone.

    y.backward():  heap {y's node: grad_y}
                   repeat: take the last node; grads = node.backward(grad);
                           add each to the node its edge leads to
"""

from __future__ import annotations

import heapq
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ..backend import arrays as backend
from ..backend.arrays import devices
from ..backend.cpu.elementwise import add
from . import dtypes
from .anomaly import first_bad
from .device import check_one_device, device
from .function import AccumulateGrad, Function
from .mode import _Switch, mode
from .tensor import Tensor


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Adds the gradients of `tensors` to the `.grad` of all leaves (or of `inputs` alone).

    Args: as `Tensor.backward`; grad_tensors holds one gradient for each tensor.
    """
    roots = _roots("backward", tensors, grad_tensors, create_graph)
    targets = None
    if inputs is not None:
        inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        targets = [_target("backward", i, x) for i, x in enumerate(inputs)]
    found = _run(roots, bool(retain_graph or create_graph), create_graph, targets)
    for x, edge in zip(inputs or [], targets or [], strict=True):
        if edge in found and not isinstance(edge[0], AccumulateGrad):
            AccumulateGrad(x).accumulate(*found[edge])
        elif edge in found:
            edge[0].accumulate(*found[edge])


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool = False,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs`, weighted by `grad_outputs`, with respect to `inputs`.

    `.grad` of no tensor changes. Returns a tuple, one Tensor for each input. For an input that the
    outputs do not depend on: None (allow_unused), zeros (materialize_grads), or a RuntimeError.

    NotImplementedError for only_inputs=False and is_grads_batched=True, PyTorch's options.
    """
    if not only_inputs or is_grads_batched:
        raise NotImplementedError("grad: only_inputs expects True, is_grads_batched False")
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    roots = _roots("grad", outputs, grad_outputs, create_graph)
    targets = [_target("grad", i, x) for i, x in enumerate(inputs)]
    found = _run(roots, bool(retain_graph or create_graph), create_graph, targets)
    results: list[Any] = []
    for i, (x, edge) in enumerate(zip(inputs, targets, strict=True)):
        if edge in found:
            g, owned = found[edge]
            results.append(g if create_graph else Tensor._wrap(g if owned else backend.copy(g)))
            found[edge] = (g, False)  # an input named twice gets arrays of its own
        elif materialize_grads:
            results.append(Tensor._wrap(_zeros(x.array, x.array.shape, x.array.dtype)))
        elif allow_unused:
            results.append(None)
        else:
            raise RuntimeError(
                f"grad: the outputs do not depend on input {i}; allow_unused=True gives None for it"
            )
    return tuple(results)


def _run(roots: Any, retain_graph: bool, create_graph: bool, targets: Any) -> dict[Any, Any]:
    """Goes through the graph. Returns {edge: (gradient, owned)} for the edges in `targets`."""
    heap: list[Any] = []
    buffers: dict[Function, list[Any]] = {}  # node -> a gradient for each output
    owned: set[Any] = set()  # edges whose gradient nobody else sees: the engine may add in place
    needed = None if targets is None else _needed({edge[0] for edge, _ in roots}, targets)
    found: dict[Any, Any] = dict.fromkeys(targets or ())

    def deliver(edge: Any, g: Any, grads: Any, node: Function | None) -> None:
        """Adds g, which `node` made from `grads`, to what has arrived at the edge's end."""
        target, k = edge
        slots = buffers.get(target)
        if slots is None:
            slots = buffers[target] = [None] * len(target.outputs)
            heapq.heappush(heap, (-target.number, target))
        if slots[k] is None:
            slots[k] = g
            if (target.is_leaf or edge in found) and _is_fresh(g, grads, node):
                owned.add(edge)
        else:
            with _on_device_of((g,)):
                if edge in owned and not create_graph:
                    slots[k] += g
                else:
                    slots[k] = add(slots[k], g)
                    owned.add(edge)

    for edge, g in roots:
        deliver(edge, g, (g,), None)
    with _Switch(grad=create_graph), np.errstate(all="ignore"):  # PyTorch warns of no NaN either
        while heap:
            node = heapq.heappop(heap)[1]
            grads = buffers.pop(node)
            if node.hooks or node.retained:
                _call_hooks(node, grads, owned, create_graph)
            if found:
                for k, g in enumerate(grads):
                    if (node, k) in found and g is not None:
                        found[node, k] = (g, (node, k) in owned)
            if isinstance(node, AccumulateGrad):
                if targets is None:
                    with _on_device_of(grads):
                        node.accumulate(grads[0], (node, 0) in owned)
            elif needed is None or any(e is not None and needed[e[0]] for e in node.edges):
                for edge, g in _run_node(node, grads, create_graph, needed):
                    deliver(edge, g, grads, node)
                if not retain_graph:
                    node.release()
    return {edge: entry for edge, entry in found.items() if entry is not None}


def _on_device_of(grads: Any) -> AbstractContextManager[Any]:
    """While several devices are in use: the gradients' is the current one, for a block."""
    if not devices.several:
        return _NOTHING
    return backend.on_device_of(*[getattr(g, "array", g) for g in grads])


_NOTHING = nullcontext()
_CPU = ("cpu", None)


def _run_node(node: Function, grads: list[Any], create_graph: bool, needed: Any) -> list[Any]:
    """Calls one backward. Returns (edge, gradient) for every input that needs one."""
    if len(grads) > 1 and any(g is None for g in grads):
        grads = _fill_in_zeros(node, grads)
    if devices.several:
        with _on_device_of(grads):
            result = _backward_with(node, grads, create_graph, needed)
    elif needed is None and not create_graph:
        result = node.backward(*grads)
    else:
        result = _backward_with(node, grads, create_graph, needed)
    if type(result) is not tuple:
        result = (result,)
    if len(result) > len(node.edges) and all(g is None for g in result[len(node.edges) :]):
        result = result[: len(node.edges)]  # None for arguments that were left out of apply
    if len(result) != len(node.edges):
        raise RuntimeError(
            f"{node.name}: backward returned {len(result)} gradients for {len(node.edges)} inputs"
        )
    pairs = []
    for edge, g in zip(node.edges, result, strict=True):
        if edge is None or g is None or (needed is not None and not needed[edge[0]]):
            continue
        target = edge[0]
        shape, dtype = target.outputs[edge[1]]
        if (
            g.__class__ is not np.ndarray
            or g.shape != shape
            or g.dtype is not dtype
            or target.places
            or mode.anomaly
        ):
            g = _checked(node, edge, g, create_graph)
        pairs.append((edge, g))
    return pairs


def _backward_with(node: Function, grads: list[Any], create_graph: bool, needed: Any) -> Any:
    """A backward on Tensors (create_graph), or one that skips what leads to no target."""
    if create_graph and not node.differentiable_backward:
        raise RuntimeError(
            f"{node.name}: its backward cannot be differentiated (create_graph=True)"
        )
    before = node.needs_input_grad
    if needed is not None:
        node.needs_input_grad = tuple(e is not None and needed[e[0]] for e in node.edges)
    node.create_graph = create_graph
    try:
        return node.backward(*grads)
    finally:
        node.create_graph = False
        node.needs_input_grad = before


def _checked(node: Function, edge: Any, g: Any, create_graph: bool) -> Any:
    """The gradient as the input's node needs it: an array of its shape, type and device, or an
    error. One without dimensions is moved there."""
    shape, dtype = edge[0].outputs[edge[1]]
    place = edge[0].places[edge[1]] if edge[0].places else _CPU
    i = node.edges.index(edge)
    if not create_graph:
        g = g.array if isinstance(g, Tensor) else g
        g = backend.as_array(g)
    elif not isinstance(g, Tensor):
        g = Tensor._wrap(backend.as_array(g))
    if g.shape != shape:
        raise RuntimeError(
            f"{node.name}: backward returned a gradient of shape {g.shape} for input {i}, "
            f"which has shape {shape}"
        )
    if (its_place := backend.place(getattr(g, "array", g))) != place:
        if shape:
            raise RuntimeError(
                f"{node.name}: backward returned a gradient on {device(*its_place)} for input {i}, "
                f"which is on {device(*place)}; move it with .to(...)"
            )
        g = g.to(device(*place)) if create_graph else backend.move(g, *place)
    if g.dtype != dtype:
        g = g.to(dtype) if create_graph else g.astype(dtype)
    if mode.anomaly and (at := first_bad(getattr(g, "array", g))) is not None:
        raise RuntimeError(
            f"{node.name}: the backward made {getattr(g, 'array', g)[at]} at index {at} of the "
            f"gradient of input {i}, of shape {shape}; its forward was called "
            + (f"at {node.where}" if node.where else "outside of anomaly mode, which noted no line")
        )
    return g


def _is_fresh(g: Any, grads: Any, node: Function | None) -> bool:
    """True if nobody else sees the memory of `g`: then the engine may keep it and add to it.

    A backward may hand on what it got (add), a view of it (reshape), or what it saved.
    """
    if isinstance(g, Tensor) or not backend.is_writeable(g):
        return False
    root = _memory(g)
    return all(_memory(other) is not root for other in (*grads, *((node and node._saved) or ())))


def _memory(array: Any) -> Any:
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _call_hooks(node: Function, grads: list[Any], owned: set[Any], create_graph: bool) -> None:
    for k, hooks in (node.hooks or {}).items():
        for hook in list(hooks.values()):
            if grads[k] is None:
                continue
            result = hook(grads[k] if create_graph else Tensor._wrap(grads[k]))
            owned.discard((node, k))
            if result is not None:
                _check_hooked(node, result, grads[k])
                grads[k] = result if create_graph else result.array
    for k, ref in (node.retained or {}).items():
        tensor = ref()
        if tensor is not None and grads[k] is not None:
            AccumulateGrad(tensor).accumulate(grads[k], False)


def _check_hooked(node: Function, result: Any, grad: Any) -> None:
    if not isinstance(result, Tensor):
        raise TypeError(
            f"{node.name}: a hook returns a Tensor or None, got {type(result).__name__}"
        )
    if (result.shape, result.dtype) != (grad.shape, grad.dtype):
        raise RuntimeError(
            f"{node.name}: a hook returned a gradient of shape {result.shape} and type "
            f"{result.dtype} for one of shape {grad.shape} and type {grad.dtype}"
        )
    check_one_device(f"{node.name}: a hook's gradient in place of another", grad, result)


def _needed(roots: set[Function], targets: list[Any]) -> dict[Function, bool]:
    """For every reachable node: does a path lead from it down to a target?"""
    seen, stack = set(roots), list(roots)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and edge[0] not in seen:
                seen.add(edge[0])
                stack.append(edge[0])
    ends = {edge[0] for edge in targets}
    needed: dict[Function, bool] = {}
    for node in sorted(seen, key=lambda n: n.number):  # inputs before what was made from them
        needed[node] = node in ends or any(e is not None and needed[e[0]] for e in node.edges)
    return needed


def _fill_in_zeros(node: Function, grads: list[Any]) -> list[Any]:
    """A floating output that nobody used has gradient zero."""
    like = next(g for g in grads if g is not None)
    filled = []
    for g, (shape, dtype) in zip(grads, node.outputs, strict=True):
        if g is None and dtypes.is_floating(dtype):
            zeros = _zeros(getattr(like, "array", like), shape, dtype)
            g = Tensor._wrap(zeros) if isinstance(like, Tensor) else zeros
        filled.append(g)
    return filled


def _zeros(like: Any, shape: Any, dtype: Any) -> Any:
    with backend.on_device_of(like):
        return backend.array_module(like).zeros(shape, dtype)


def _roots(function: str, tensors: Any, gradients: Any, create_graph: bool) -> list[Any]:
    """[(edge, gradient)] of the tensors that the pass starts from; checks shapes."""
    if isinstance(tensors, Tensor):
        tensors = [tensors]
        gradients = None if gradients is None else [gradients]
    if isinstance(gradients, Tensor):
        gradients = [gradients]
    if gradients is None:
        gradients = [None] * len(tensors)
    if len(gradients) != len(tensors):
        raise RuntimeError(
            f"{function}: expects one gradient for each of {len(tensors)} tensors, got "
            f"{len(gradients)}"
        )
    roots = []
    for y, g in zip(tensors, gradients, strict=True):
        if not isinstance(y, Tensor):
            raise TypeError(f"{function}: starts from Tensors, got {type(y).__name__}")
        edge = y._gradient_edge()
        if edge is None:
            raise RuntimeError(
                f"{function}: the tensor of shape {y.shape} does not require a gradient: "
                "no input of it does, or it was computed under no_grad"
            )
        if g is None:
            if y.array.size != 1:
                raise RuntimeError(
                    f"{function}: for a tensor of shape {y.shape} the gradient must be given; "
                    "only for a single element it is 1 by itself"
                )
            with backend.on_device_of(y.array):
                g = Tensor._wrap(backend.array_module(y.array).ones(y.shape, y.dtype))
        if not isinstance(g, Tensor):
            g = Tensor(backend.like(y.array, backend.as_array(g)))
        if g.shape != y.shape:
            raise RuntimeError(f"{function}: gradient has shape {g.shape}, the tensor {y.shape}")
        if y.array.__class__ is not np.ndarray or g.array.__class__ is not np.ndarray:
            g = _beside(function, y, g)
        g = g if g.dtype == y.dtype else g.to(y.dtype)
        roots.append((edge, g if create_graph else g.array))
    return roots


def _beside(function: str, y: Tensor, g: Tensor) -> Tensor:
    """The gradient on the device of its tensor, where a number is moved. RuntimeError for others
    that are elsewhere."""
    if y.ndim:
        check_one_device(f"{function} (a tensor, and the gradient given for it)", y, g)
    return g.to(y.device)


def _target(function: str, i: int, x: Any) -> Any:
    if not isinstance(x, Tensor):
        raise TypeError(f"{function}: input {i} expects a Tensor, got {type(x).__name__}")
    edge = x._gradient_edge()
    if edge is None:
        raise RuntimeError(f"{function}: input {i} of shape {x.shape} does not require a gradient")
    return edge

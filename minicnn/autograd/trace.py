"""Traces: which Functions a piece of code ran, and which results went into which.

    with recording(x) as trace:
        y = relu(conv2d(x, w, b))
    trace.finish(y)

    trace.calls     Conv(x, w, b) -> v1,  ReLU(v1) -> v2
    trace.inputs    x
    trace.outputs   v2

The graph of autograd holds what backward needs and nothing of what needs no gradient. A trace holds
every call, in the order in which they ran, with options and results; so a network can be written
down in another language (ONNX) or followed backwards (receptive fields).

A value is known by its memory: address, shape, strides and type. All arrays of a trace are kept, so
that no address is used twice, and `x.detach()` is still x. A change in place gives the memory a new
value; other views of that memory are then stale, and using one of them is an error, for what it
holds has not been recorded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backend import arrays as backend
from .inplace import WriteView
from .mode import mode
from .tensor import Tensor

_OVERLAP_WORK: Any = 1000  # what NumPy may try before two views of odd strides count as overlapping


class StaleView(RuntimeError):
    """A use of memory that was changed in place through another view."""


class Value:
    """A tensor in a trace: an input, the result of a call, or a constant (`call` is None).

    What was computed outside of a Function, such as argmax, has no call but `sources`: the Values
    that it was computed from.
    """

    __slots__ = ("array", "call", "number", "sources")

    def __init__(self, array: Any, call: Call | None, number: int):
        self.array = array
        self.call = call
        self.number = number
        self.sources: tuple[Value, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.array.shape

    @property
    def dtype(self) -> Any:
        """Its type."""
        return self.array.dtype

    def __repr__(self) -> str:
        return f"v{self.number}{tuple(self.shape)}"


class Call:
    """One Function that ran.

    `function` is its class and `node` the object; `inputs` has a Value for each tensor and what was
    given for other arguments; `options` came by keyword; `outputs` are Values. `module` is the path
    of the innermost module that was running, where modules are followed (nn.trace).
    """

    __slots__ = ("function", "inputs", "module", "node", "options", "outputs")

    def __init__(self, node: Any, inputs: tuple[Any, ...], options: dict[str, Any], module: str):
        self.node = node
        self.function = type(node)
        self.inputs = inputs
        self.options = options
        self.module = module
        self.outputs: tuple[Value, ...] = ()

    def __repr__(self) -> str:
        return f"{self.function.__name__}{self.inputs} -> {self.outputs}"


class Trace:
    """The calls of a piece of code, in order, with the values between them; see above.

    Unless it is `strict`, a view of memory that was changed in place since is taken for a constant,
    and `lost` is then True.
    """

    def __init__(self, strict: bool = True) -> None:
        self.strict, self.lost = strict, False
        self.calls: list[Call] = []
        self.inputs: tuple[Value, ...] = ()
        self.outputs: tuple[Value, ...] = ()
        self.module = ""  # the path of the module that runs
        self._values: dict[Any, Value] = {}  # by memory
        self._places: dict[Any, Any] = {}  # the arrays over that memory, which a change may replace
        self._stale: set[Any] = set()  # memory that was changed through another view
        self._kept: list[Any] = []  # arrays, so that no address is used twice

    def value(self, tensor: Any) -> Value:
        """What is known of this tensor or array; one not seen before becomes a constant.

        A strict trace raises StaleView for a view of memory that was changed in place since.
        """
        array = getattr(tensor, "array", tensor)
        key = _key(array)
        if key in self._stale:
            if self.strict:
                raise StaleView(
                    f"trace: a tensor of shape {tuple(array.shape)} is a view of another one that "
                    "was changed in place since, which a trace does not follow; use the form that "
                    "is not in place"
                )
            self.lost = True
            return self._new(array, None)
        return self._values[key] if key in self._values else self._new(array, None)

    def finish(self, *results: Any) -> None:
        """Names the results: tensors, or tuples, lists and dicts of them."""
        self.outputs = tuple(self.value(t) for t in tensors_in(results))

    def add(self, node: Any, inputs: Any, options: dict[str, Any], outs: Any) -> None:
        """Function.apply says here what it ran."""
        if isinstance(node, WriteView):  # autograd's own note of a change in place; see written()
            return
        known = tuple(self.value(x) if backend.is_array(_raw(x)) else x for x in inputs)
        call = Call(node, known, options, self.module)
        call.outputs = tuple(self._new(y.array, call) for y in outs)
        self.calls.append(call)

    def derive(self, tensor: Any, sources: Any) -> None:
        """The tensor was computed from the `sources`, by no Function."""
        if _key(tensor.array) not in self._values:
            self._new(tensor.array, None).sources = tuple([self.value(x) for x in sources])

    def written(self, tensor: Any, new: Any) -> None:
        """The memory of `tensor` was overwritten by the value of `new`."""
        value, array = self.value(new), tensor.array
        here = _key(array)
        self._stale |= {
            key for key, other in self._places.items() if key != here and _overlap(other, array)
        }
        self._put(here, array, value)

    def _new(self, array: Any, call: Call | None) -> Value:
        value = Value(array, call, len(self._kept) + 1)
        self._put(_key(array), array, value)
        return value

    def _put(self, key: Any, array: Any, value: Value) -> None:
        """The memory of `array` holds `value` from now on."""
        self._values[key], self._places[key] = value, array
        self._stale.discard(key)
        self._kept.append(array)


def tensors_in(results: Any) -> Iterator[Tensor]:
    """The tensors in a nesting of tuples, lists and dicts, from left to right."""
    if isinstance(results, Tensor):
        yield results
    elif isinstance(results, dict):
        yield from tensors_in(tuple(results.values()))
    elif isinstance(results, (tuple, list)):
        for part in results:
            yield from tensors_in(part)


@contextlib.contextmanager
def recording(*inputs: Any, trace: Any = None) -> Iterator[Any]:
    """In the block every Function that this thread runs on tensors is added to the trace given.

    `inputs` are tensors, or nestings of them, that the trace shall know as its inputs; `trace` is
    an empty Trace of your own kind.
    """
    trace, before = Trace() if trace is None else trace, mode.trace
    trace.inputs = tuple(trace.value(t) for t in tensors_in(inputs))
    mode.trace = trace
    try:
        yield trace
    finally:
        mode.trace = before


def _raw(x: Any) -> Any:
    return getattr(x, "array", x)


def _overlap(a: Any, b: Any) -> bool:
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        begin_a, begin_b = backend.address(a), backend.address(b)
        same = backend.place(a) == backend.place(b)
        return same and begin_a < begin_b + b.nbytes and begin_b < begin_a + a.nbytes
    try:
        return np.shares_memory(a, b, max_work=_OVERLAP_WORK)
    except np.exceptions.TooHardError:
        return True


def _key(array: Any) -> Any:
    address = backend.address(array) if array.size else id(array)
    return (*backend.place(array), address, array.shape, array.strides, array.dtype.str)

"""Tensor: an array, the gradient that belongs to it, and the edge into the graph that made it.

    array           the numbers, a NumPy (or CuPy) array object of this tensor's own; views of it
                    are others over the same memory
    _edge           (node, k): this tensor is output k of `node`. A leaf that requires a gradient
                    gets a node of its own, AccumulateGrad, at its first use; other leaves have None
    _version        [n, name]: how often an op in place changed the array, and the last one's name.
                    Views share the list. What a backward saved is checked against it
    _view           None, or (base, replay, n): this tensor is a view of `base`; `replay` holds
                    the view ops that lead there; n is base's version when `_edge` was made

Operators and methods such as `+` and `.sum()` are differentiable functions: functional/methods.py
attaches them. len, repr and the meeting with NumPy are in arraylike.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import arrays as backend
from . import dtypes
from .arraylike import ArrayLike
from .device import CPU, device
from .mode import mode
from .size import Size


class Tensor(ArrayLike):
    """An N-dimensional array that can be differentiated.

    `Tensor(ndarray)` shares the array's memory; a nested list or a number is copied into the
    default floating type; `Tensor(2, 3)` has that shape, `Tensor(y.size())` that of y, and no
    values yet. `minicnn.tensor(...)` is the function to use for data: it keeps the data's own type.

    Attributes: array (the raw ndarray), grad (a Tensor of the same shape, or None), requires_grad,
    shape, dtype, device, ndim, is_leaf, grad_fn.
    """

    __slots__ = ("__weakref__", "_edge", "_requires_grad", "_version", "_view", "array", "grad")
    array: Any

    def __init__(self, *data: Any, requires_grad: bool = False):
        size = data[0] if len(data) == 1 and type(data[0]) is Size else None
        if size is not None:
            self.array = np.zeros(size, dtypes.get_default_dtype())
        elif len(data) == 1 and not isinstance(data[0], int):
            value = data[0].array if isinstance(data[0], Tensor) else data[0]
            # A new array over the same memory: Function tells saved arrays apart by identity.
            self.array = value.view() if backend.is_array(value) else _from_python(value)
        elif all(isinstance(size, int) for size in data):
            self.array = np.zeros(data or (0,), dtypes.get_default_dtype())
        else:
            raise TypeError(f"Tensor: expects one array or list, or sizes, got {data}")
        self.grad: Tensor | None = None
        self._edge: tuple[Any, int] | None = None
        self._requires_grad = False
        self._version: list[Any] = [0, None]
        self._view: tuple[Any, Any, int] | None = None
        if requires_grad:
            self.requires_grad = True

    @staticmethod
    def _wrap(array: Any, edge: tuple[Any, int] | None = None) -> Tensor:
        """The quick constructor: no check, no copy."""
        self = object.__new__(Tensor)
        self.array = array
        self.grad = None
        self._edge = edge
        self._requires_grad = edge is not None
        self._version = [0, None]
        self._view = None
        return self

    # ------------------------------------------------------------------ the graph

    @property
    def requires_grad(self) -> bool:
        """True if gradients flow to this tensor. A leaf may be switched; a result may not."""
        if self._view is not None:
            self._follow_base()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and not dtypes.is_floating(self.array.dtype):
            raise RuntimeError(
                f"requires_grad: only floating tensors have gradients, not {self.dtype}"
            )
        if not self.is_leaf:
            if value:
                return
            raise RuntimeError(
                "requires_grad: only a leaf's can be switched off; "
                "use .detach() for a copy of this result without its history"
            )
        self._requires_grad = bool(value)  # the node stays, with its hooks, for the next time

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets `requires_grad` and returns this tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """True for tensors that no recorded op made: parameters, data, results under no_grad."""
        return self._edge is None or self._edge[0].is_leaf

    @property
    def grad_fn(self) -> Any:
        """The graph's node that made this tensor; None for a leaf."""
        if self._view is not None:
            self._follow_base()
        return None if self.is_leaf else self._edge[0]  # type: ignore[index]

    def _gradient_edge(self) -> tuple[Any, int] | None:
        """Where this tensor's gradient goes: (node, output index); None if it needs none."""
        if self._view is not None:
            self._follow_base()
        if self._edge is None and self._requires_grad:
            from .function import AccumulateGrad

            self._edge = (AccumulateGrad(self), 0)
        return self._edge if self._requires_grad else None

    def _follow_base(self) -> None:
        """If this view's base was changed in place since, the base's new history is the view's."""
        base, replay, n = self._view  # type: ignore[misc]
        if replay is None or base._version[0] == n or not base._requires_grad or base.is_leaf:
            return
        from .inplace import replay_view

        now = replay_view(base, replay)  # a new tensor, of the base as it is now
        if (now.array.shape, now.array.strides) != (self.array.shape, self.array.strides):
            raise RuntimeError(
                f"a view of shape {self.shape}: the shape of its base was changed since (squeeze_, "
                "unsqueeze_, t_ or transpose_), and then its values in place; take the view anew"
            )
        self._view = (base, replay, base._version[0])
        self._edge = now._edge
        self._requires_grad = True

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Adds d(self)/d(leaf), weighted by `gradient`, to the `.grad` of every leaf.

        Args: gradient, of this tensor's shape, may be left out for one element (then 1).
        retain_graph keeps saved arrays for a second call; create_graph records the backward itself,
        for higher derivatives. inputs: only these tensors' `.grad` are added to.
        Raises RuntimeError: no graph, a shape that differs, a graph that was freed.
        """
        from .engine import backward

        backward(self, gradient, retain_graph, create_graph, inputs)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Any:
        """Calls `hook(grad)` when this tensor's gradient is known; what it returns replaces it.

        Returns a handle with `.remove()`. Raises RuntimeError if no gradient flows here.
        """
        edge = self._gradient_edge()
        if edge is None:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        return edge[0].add_hook(edge[1], hook)

    def retain_grad(self) -> None:
        """Makes backward fill the `.grad` of this tensor although it is no leaf."""
        edge = self._gradient_edge()
        if edge is None:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        if not self.is_leaf:
            edge[0].add_retained(edge[1], self)

    @property
    def retains_grad(self) -> bool:
        """True after `retain_grad()` on a result."""
        return not self.is_leaf and self._edge[0].retains(self)  # type: ignore[index]

    def detach(self) -> Tensor:
        """The same memory without history: gradients stop here."""
        # A view, so that a Function that gets x and x.detach() can tell which of them it saved.
        out = Tensor._wrap(self.array.view())
        out._version = self._version
        return out

    def detach_(self) -> Tensor:
        """Takes this tensor's own history away. RuntimeError for a view, whose base has it too."""
        if self._view is not None:
            raise RuntimeError("detach_: a view cannot be cut off from its base; use .detach()")
        self._edge, self._requires_grad = None, False
        return self

    @property
    def data(self) -> Tensor:
        """The same memory without history, and changes in place through it go unnoticed."""
        return Tensor._wrap(self.array.view())

    @data.setter
    def data(self, value: Any) -> None:
        self.array = backend.as_array(getattr(value, "array", value)).view()
        if self._edge is not None and self.is_leaf:
            self._edge[0].describe(self)

    # ------------------------------------------------------------------ what it is

    @property
    def shape(self) -> Size:
        """The sizes of all dimensions."""
        return Size(self.array.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        if dim is None:
            return Size(self.array.shape)
        if not -self.array.ndim <= dim < self.array.ndim:
            raise IndexError(f"size: dim {dim} is not one of a tensor of shape {self.shape}")
        return self.array.shape[dim]

    @property
    def dtype(self) -> np.dtype:
        """The element type, e.g. `minicnn.float32`."""
        return self.array.dtype

    @property
    def device(self) -> device:
        """Where the memory is."""
        return CPU if type(self.array) is np.ndarray else device(*backend.place(self.array))

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    def dim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    def numel(self) -> int:
        """The number of elements."""
        return int(self.array.size)

    nelement, ndimension = numel, dim

    def item(self) -> Any:
        """The only element, as a Python number. RuntimeError if there are more or none."""
        if self.array.size != 1:
            raise RuntimeError(f"item: expects one element, this tensor has shape {self.shape}")
        return self.array.item()

    def tolist(self) -> Any:
        """Nested Python lists, or a number for a 0-dimensional tensor."""
        return self.array.tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The array itself, sharing memory. RuntimeError where gradients would be lost silently."""
        if force:
            return backend.to_numpy(self.array)
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires a gradient; use .detach().numpy()")
        if type(self.array) is not np.ndarray and self.device.type != "cpu":
            raise TypeError(f"numpy: this tensor is on {self.device}; use .cpu().numpy()")
        return self.array

    if TYPE_CHECKING:  # attached by functional/methods.py

        def __getattr__(self, name: str) -> Any: ...

        __add__: Any
        __radd__: Any
        __sub__: Any
        __rsub__: Any
        __mul__: Any
        __rmul__: Any
        __truediv__: Any
        __rtruediv__: Any
        __pow__: Any
        __rpow__: Any
        __matmul__: Any
        __neg__: Any
        __getitem__: Any
        __setitem__: Any
        __lt__: Any
        __le__: Any
        __gt__: Any
        __ge__: Any
        __iadd__: Any
        __isub__: Any
        __imul__: Any


def _from_python(data: Any) -> np.ndarray:
    array = np.asarray(data)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"Tensor: cannot hold values of type {array.dtype}")
    return array.astype(dtypes.get_default_dtype())


def recorded(*values: Any) -> bool:
    """True if an op on `values` would be recorded: gradients are on and one of them needs one."""
    return mode.grad and any(isinstance(x, Tensor) and x.requires_grad for x in values)

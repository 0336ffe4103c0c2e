"""How a tensor behaves as a Python object and among NumPy arrays: len, repr, copies, ufuncs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import arrays as backend
from . import dtypes, printing

UFUNC_OPS: dict[str, Callable[..., Any]] = {}  # NumPy's operators; functional/methods.py fills it


class ArrayLike:
    """The part of Tensor that has nothing to do with gradients."""

    __slots__ = ()
    __array_priority__ = 1000  # np_array * tensor asks the tensor once, not for each element

    if TYPE_CHECKING:  # Tensor has the rest

        def __getattr__(self, name: str) -> Any: ...

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.array.itemsize

    def is_floating_point(self) -> bool:
        """True for float16, float32 and float64."""
        return self.array.dtype.kind == "f"

    def is_contiguous(self) -> bool:
        """True if memory order is the order of the dimensions."""
        return bool(self.array.flags.c_contiguous)

    def stride(self, dim: int | None = None) -> Any:
        """Elements to step over for each dimension."""
        steps = tuple(s // self.array.itemsize for s in self.array.strides)
        return steps if dim is None else steps[dim]

    def data_ptr(self) -> int:
        """The address of the first element: equal for tensors that begin at the same memory."""
        return backend.address(self.array)

    @property
    def is_cuda(self) -> bool:
        """True if the memory is a GPU's."""
        return self.device.type == "cuda"

    def get_device(self) -> int:
        """The number of the device, -1 for the CPU."""
        index: int | None = self.device.index
        return -1 if index is None else index

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """`ndarray + tensor` is Tensor's op; `np.exp(tensor)` is NumPy's, without a gradient."""
        if method == "__call__" and not kwargs and (op := UFUNC_OPS.get(ufunc.__name__)):
            return op(*(self._operand(x) for x in inputs))
        if any(isinstance(out, ArrayLike) for out in kwargs.get("out", ())):
            return NotImplemented
        arrays = [x.numpy() if isinstance(x, ArrayLike) else x for x in inputs]
        result = getattr(ufunc, method)(*arrays, **kwargs)
        if "out" in kwargs:
            return result
        if isinstance(result, tuple):
            return tuple(self._wrap(np.asarray(y)) for y in result)
        return self._wrap(np.asarray(result))

    def _operand(self, x: Any) -> Any:
        """A NumPy array counts as a tensor, a NumPy scalar as a Python number."""
        if isinstance(x, np.generic):
            return x.item()
        return self._wrap(x) if backend.is_array(x) else x

    def __len__(self) -> int:
        if self.array.ndim == 0:
            raise TypeError("len: a 0-dimensional tensor has no length")
        return self.array.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if self.array.ndim == 0:
            raise TypeError("iteration over a 0-dimensional tensor")
        return (self.__getitem__(i) for i in range(len(self)))

    def _one_element(self, wanted: str) -> Any:
        if self.array.size != 1:
            raise RuntimeError(
                f"{wanted}: a tensor of shape {self.shape} has no single value; "
                "use .any(), .all() or .item()"
            )
        return self.array.item()

    def __bool__(self) -> bool:
        return bool(self._one_element("bool"))

    def __int__(self) -> int:
        return int(self._one_element("int"))

    def __float__(self) -> float:
        return float(self._one_element("float"))

    def __index__(self) -> int:
        value = self._one_element("index")
        if self.array.dtype.kind not in "iub":
            raise TypeError(f"index: only integer tensors can be an index, not {self.dtype}")
        return int(value)

    def __contains__(self, value: Any) -> bool:
        if isinstance(value, ArrayLike) and not value.array.ndim:
            value = value.array.item()
        with backend.on_device_of(self.array):
            return bool((self.array == getattr(value, "array", value)).any())

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.array.ndim == 0 else str(self), spec)

    def __repr__(self) -> str:
        notes = []
        evident = [np.int64, np.bool_] if self.array.size else []  # types that the numbers show
        if self.array.dtype not in [dtypes.get_default_dtype(), *evident]:
            notes.append(f"dtype={self.dtype}")
        if type(self.array) is not np.ndarray and self.device.type != "cpu":
            notes.append(f"device='{self.device}'")
        if self.grad_fn is not None:
            notes.append(f"grad_fn=<{self.grad_fn.name}>")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return printing.text_of(backend.to_numpy(self.array), notes)

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise RuntimeError(
                "only leaf tensors can be copied deeply or pickled; detach() it first"
            )
        # A file comes back on the CPU: the machine that reads it may have no such device.
        return _rebuild, (type(self), backend.to_numpy(self.array), self._requires_grad)

    def __copy__(self) -> Any:
        rebuild, (cls, _, requires_grad) = self.__reduce__()
        return rebuild(cls, self.array, requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        rebuild, (cls, _, requires_grad) = self.__reduce__()
        with backend.on_device_of(self.array):
            out = memo[id(self)] = rebuild(cls, backend.copy(self.array), requires_grad)
        if self.grad is not None:
            out.grad = self.grad.detach().clone()
        return out


def _rebuild(cls: Any, array: Any, requires_grad: bool) -> Any:
    return cls(array, requires_grad=requires_grad)

"""Parameter and Buffer: the tensors that a module owns and that its state_dict holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor, dtypes
from ..backend import arrays as backend


class Parameter(Tensor):
    """A tensor that is learnt. Assigned to an attribute of a Module, it is found by `parameters()`.

    Args: data, a Tensor or an array, whose memory is shared (a list is copied); requires_grad.
    Raises TypeError for data that is none of these, RuntimeError for integers that should require
    a gradient.
    """

    def __init__(self, data: Any = None, requires_grad: bool = True):
        if data is None:
            data = np.empty(0, dtypes.get_default_dtype())
        if not (isinstance(data, (Tensor, list)) or backend.is_array(data)):
            raise TypeError(
                f"{type(self).__name__}: data expects a Tensor or an array, "
                f"got {type(data).__name__}"
            )
        super().__init__(data, requires_grad=requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that belongs to a module and is not learnt, such as a running mean.

    Args: data as for Parameter; persistent, whether state_dict holds it.
    """

    def __init__(self, data: Any = None, *, persistent: bool = True, requires_grad: bool = False):
        super().__init__(
            np.empty(0, dtypes.get_default_dtype()) if data is None else data,
            requires_grad=requires_grad,
        )
        self.persistent = persistent


class _Uninitialized:
    """A tensor of a lazy layer, whose shape the first input tells."""

    _kind: Any = Tensor  # what it becomes
    array: Any
    data: Any

    def materialize(self, shape: tuple[int, ...]) -> None:
        """Becomes a tensor of this shape, with values still to be set."""
        xp: Any = backend.array_module(self.array)
        with backend.on_device_of(self.array):
            empty = xp.empty(shape, self.array.dtype)
        self.__class__ = self._kind
        self.data = Tensor(empty)

    @property
    def shape(self) -> Any:
        """RuntimeError: it has none yet."""
        raise RuntimeError(
            "shape: this tensor of a lazy layer has no shape yet; "
            "run the network once on a batch, or load a state_dict"
        )

    def size(self, dim: int | None = None) -> Any:
        """RuntimeError: it has none yet."""
        return self.shape

    def numel(self) -> int:
        """RuntimeError: it has no shape yet."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter of a lazy layer, before the first input."""

    _kind = Parameter


class UninitializedBuffer(_Uninitialized, Buffer):
    """A buffer of a lazy layer, before the first input."""

    _kind = Buffer


def is_lazy(tensor: Any) -> bool:
    """True for a tensor whose shape is still unknown."""
    return isinstance(tensor, _Uninitialized)

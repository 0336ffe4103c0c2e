"""What the element-wise ops do with their operands: unwrap them, and let their types meet.

Types meet by PyTorch's rules (autograd/dtypes.py): a Python number does not change a tensor's type
unless it is of a higher kind, and int64 * float32 is float32.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..autograd import Function, Tensor, dtypes
from ..autograd.device import check_one_device, on_one_device
from ..autograd.mode import mode
from ..backend.arrays import devices

# ---------------------------------------------------------------------- Tensors and raw arrays


def raw(x: Any) -> Any:
    """The array of a Tensor; anything else itself."""
    return x.array if isinstance(x, Tensor) else x


def wrapped(y: Any, *inputs: Any) -> Any:
    """`y`, computed from the inputs outside of a Function, as a Tensor if one of them was."""
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    if not tensors:
        return y
    result = Tensor._wrap(y if type(y) is np.ndarray else backend.as_array(y))
    if mode.trace is not None:
        mode.trace.derive(result, tensors)
    return result


def into(out: Any, y: Any, function: str) -> Any:
    """`y`; if a tensor `out` is given, that one, after y was written into it.

    RuntimeError if y has another shape, a higher kind of type, or a gradient, which would be lost.
    """
    if out is None:
        return y
    if getattr(y, "requires_grad", False):
        raise RuntimeError(f"{function}: what is written into out has no gradient; use no_grad()")
    if tuple(out.shape) != tuple(y.shape) or not np.can_cast(y.dtype, out.dtype, "same_kind"):
        raise RuntimeError(
            f"{function}: out expects shape {tuple(y.shape)} and room for {y.dtype}, got "
            f"{tuple(out.shape)} and {out.dtype}"
        )
    check_one_device(f"{function} (its result, and out)", y, out)
    return out.copy_(y)


class Zero(Function):
    """y = 0, whatever x is;  grad_x = 0."""

    def forward(self, x: Any) -> Any:
        return np.zeros_like(x)

    def backward(self, grad_y: Any) -> Any:
        return Zero.apply(grad_y)


def zero_gradient(grad_y: Any) -> Any:
    """A gradient of zeros; not grad_y * 0, which is NaN where grad_y is infinite."""
    return Zero.apply(grad_y)


class ValuesIndices(NamedTuple):
    """What choosing along a dimension returns: values, and their indices there."""

    values: Any
    indices: Any


def first_place(input: Any) -> Any:
    """The index of the only element of a tensor without dimensions: 0 (int64), on its device."""
    return wrapped(backend.array_module(raw(input)).zeros((), np.int64), input)


def on_its_device(function: Any) -> Any:
    """For functions that compute outside of a Function: where several devices are in use, that of
    the first tensor is the current one meanwhile, as the arrays of the result are made there.

    What such a function could not take together is looked at as in `Function.apply`: numbers of the
    CPU are moved, and arguments on different devices are refused by the name of the function, which
    is the first argument of those that several share.
    """

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        try:
            if not devices.several:
                return function(*args, **options)
            with backend.on_device_of(*[raw(x) for x in (*args, *options.values())]):
                return function(*args, **options)
        except TypeError:
            name = args[0] if args and isinstance(args[0], str) else function.__name__
            moved = on_one_device(name, (*args, *options.values()))
            if moved is None:
                raise
            there = dict(zip(options, moved[len(args) :], strict=True))
            return run(*moved[: len(args)], **there)

    return run


# ---------------------------------------------------------------------- types


def meet(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands in the type in which PyTorch lets them meet. The common cases come first."""
    if type(a) is np.ndarray:
        if type(b) is np.ndarray:
            if a.dtype is b.dtype:
                return a, b
        elif a.dtype.kind == "f" and (type(b) is float or type(b) is int):
            return a, b
    elif type(b) is np.ndarray and b.dtype.kind == "f" and (type(a) is float or type(a) is int):
        return a, b
    a, b = operand(name, a), operand(name, b)
    return in_type(a, b, dtypes.result_type(a, b))


def operand(name: str, x: Any) -> Any:
    """`x` itself, an array or a Python number; TypeError for anything else.

    NumPy gives scalars where arrays have no dimensions; they become arrays again.
    """
    if isinstance(x, np.generic):
        return np.asarray(x)
    if x.dtype.kind in "biufc" if hasattr(x, "dtype") else isinstance(x, _NUMBERS):
        return x
    got = getattr(x, "dtype", type(x).__name__)
    raise TypeError(f"{name}: expects tensors or numbers, got {got}")


_NUMBERS = (bool, int, float, complex)


def in_type(a: Any, b: Any, dtype: np.dtype) -> tuple[Any, Any]:
    """Both operands as arrays of one type."""
    return as_type(a, dtype), as_type(b, dtype)


def as_type(x: Any, dtype: np.dtype) -> Any:
    """An operand as an array of that type; itself if it is one."""
    if hasattr(x, "dtype"):
        return x if x.dtype is dtype else x.astype(dtype)
    # A number, which goes with arrays of any device. One that dtype cannot hold wraps around.
    return np.asarray(x).astype(dtype)[()]


def floating_operand(name: str, x: Any) -> Any:
    """An operand in a floating type: integers and bools become the default one."""
    if type(x) is np.ndarray and x.dtype.kind in "fc":
        return x
    x = operand(name, x)
    return as_type(x, floating_or_default(dtypes.result_type(x)))


def meet_floating(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands in the floating type in which they meet."""
    a, b = meet(name, a, b)
    return in_type(a, b, floating_or_default(dtypes.result_type(a, b)))


def refuse_bools(name: str, *operands: Any) -> None:
    """RuntimeError if an operand is bool: the function is one of numbers."""
    for x in operands:
        if x.dtype.kind == "b" if hasattr(x, "dtype") else isinstance(x, bool):
            raise RuntimeError(f"{name}: expects numbers, got bools")


def floating_or_default(dtype: np.dtype) -> np.dtype:
    """`dtype` if it is floating (or complex), else the default type."""
    return dtype if dtype.kind in "fc" else dtypes.get_default_dtype()


# ---------------------------------------------------------------------- shapes


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape; that of a Python number is ()."""
    return x.shape if hasattr(x, "shape") else ()


def mismatch(name: str, a: Any, b: Any) -> RuntimeError:
    """The error for two shapes that do not broadcast."""
    return RuntimeError(f"{name}: shapes {shape_of(a)} and {shape_of(b)} do not broadcast")


def compare(name: str, function: Any, a: Any, b: Any) -> Any:
    """function(a, b), without gradient. RuntimeError if the shapes do not broadcast."""
    if devices.several:
        with backend.on_device_of(raw(a), raw(b)):
            return _compare(name, function, a, b)
    return _compare(name, function, a, b)


def _compare(name: str, function: Any, a: Any, b: Any) -> Any:
    p, q = meet(name, raw(a), raw(b))
    try:
        y = function(p, q)
    except ValueError:
        raise mismatch(name, raw(a), raw(b)) from None
    except TypeError:
        moved = on_one_device(name, (p, q))
        if moved is None:
            raise
        y = function(*moved)
    return wrapped(y, a, b)
